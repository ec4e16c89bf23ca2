"""Puts a policy in force on a cluster: by one act, for all nodes, from a place in every slot on."""

from msgspec import Struct

from lendsignal.decide.decider import policy_changed
from lendsignal.log.cluster import rules_of
from lendsignal.log.postgres import Database, RuleRows, slots_of
from lendsignal.log.store import StoreSettings
from lendsignal.plan import PolicySource, version_of


class Put(Struct, frozen=True):
    """What came of it: the policy in force before (`None`: none was), the one wanted, whether that is new."""

    before: str | None
    policy: str
    changed: bool


def put_policy(
    store: StoreSettings, database: Database, source: PolicySource, now_us: int, *, dry_run: bool = False
) -> Put:
    """Puts `source` in force in every slot behind all that is there; with `dry_run` it only says what would
    be. Raises `LogError` where the store has no tables, or does not answer.
    """
    slots_of(database)  # says what to do where there are no tables
    wanted, before = version_of(source), RuleRows(database).wanted("policy")
    changes = before != wanted
    if changes and not dry_run:
        # Its moment tells one time of a policy from another: A, then B, then A again are three acts.
        event = policy_changed(wanted, now_us, now_us)
        changes = rules_of(store, database).put_policy(wanted, source, event)
    return Put(before, wanted, changes)
