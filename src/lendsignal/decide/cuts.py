"""Looks at the grants of the last weeks: how the tiers' cuts do, and which should follow."""

from datetime import timedelta

from msgspec import Struct

from lendsignal.derive import CutTable, TierSettings
from lendsignal.derive.recut import Recut, recut
from lendsignal.log import Log
from lendsignal.plan import PolicySource
from lendsignal.report.grants import grants_of


class Cuts(Struct, frozen=True):
    """What a look came to, and the table that was in force, or on its way there, before it."""

    before: CutTable | None
    found: Recut


def look(log: Log, source: PolicySource, settings: TierSettings, now_us: int, *, asked: bool = False) -> Cuts:
    """How the cuts do at that moment and which table should follow; changes nothing.

    `asked`: every scope is cut anew, whatever it does.
    """
    tables = log.cut_tables()
    before = tables[-1] if tables else None
    policy = source.derive
    grants = grants_of(log, policy, source.people.test, now_us - settings.window // timedelta(microseconds=1))
    return Cuts(before, recut(grants, policy.tiers, settings, before, now_us, asked=asked))
