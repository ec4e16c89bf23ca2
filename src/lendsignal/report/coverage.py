"""Which ids the users' phones are known by: their share by app, and by the app's version."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from msgspec import Struct

from lendsignal.log import Log
from lendsignal.model import (
    DEVICE_SCOPED,
    INSTALL_SCOPED,
    ZERO_ID,
    Event,
    IdKind,
    id_of,
    is_touch,
    person_key,
)
from lendsignal.report.layout import SHARE, Cell, Report, Table, columns, table
from lendsignal.report.rates import THIN, Rate

KINDS = (*INSTALL_SCOPED, *DEVICE_SCOPED)
DAYS = 30
NO_VERSION = "not told"


class Coverage(Report, frozen=True, kw_only=True):
    """`ids` by app, and `versions` by app and version; `users` is how many were active."""

    users: int
    ids: Table
    versions: Table


class _Seen(Struct, frozen=True):
    """The latest touch of one user."""

    at: tuple[datetime, str]
    app: str
    version: str
    have: frozenset[IdKind]
    zeros: frozenset[IdKind]
    unusable: frozenset[str]


def coverage(log: Log, days: int = DAYS) -> Coverage:
    """Of the users who showed their phone within so many days, the share that each id is known of.

    Counted by the latest touch of each user in the days before the youngest event came in. An id counts
    where it names somebody: neither all zeros nor unusable.
    """
    youngest = log.read(log.end() - 1, 1)
    as_of = youngest[0].event.received_at if youngest else None
    # Only the events of touches have the word; whatever else has it is looked at and passed over.
    touches = (fact.event for fact in log.scan(b"device"))
    seen = {} if as_of is None else _latest(touches, as_of - timedelta(days=days))
    in_use = [kind for kind in KINDS if any(_is_about(kind, one) for one in seen.values())]
    return Coverage(
        title=f"Ids of the users active within {days} days",
        as_of=as_of,
        users=len(seen),
        ids=_ids(seen.values(), in_use),
        versions=_versions(seen.values(), in_use),
    )


def _latest(events: Iterable[Event], since: datetime) -> Mapping[str, _Seen]:
    found: dict[str, _Seen] = {}
    for event in events:
        if event.occurred_at < since or not is_touch(event) or event.device is None:
            continue
        user, at = person_key(event), (event.occurred_at, event.event_id)
        before = found.get(user)
        if before is not None and before.at > at:
            continue
        device = event.device
        found[user] = _Seen(
            at=at,
            app=event.app or "",
            version=device.app_version or NO_VERSION,
            have=frozenset(kind for kind in KINDS if id_of(device, kind) is not None),
            zeros=frozenset(kind for kind in KINDS if getattr(device, kind) == ZERO_ID),
            unusable=frozenset(flag.removeprefix("unusable_") for flag in event.flags),
        )
    return found


def _is_about(kind: IdKind, one: _Seen) -> bool:
    return kind in one.have or kind in one.zeros or kind.value in one.unusable


def _ids(seen: Iterable[_Seen], in_use: list[IdKind]) -> Table:
    users: Counter[str] = Counter()
    have: Counter[tuple[str, IdKind]] = Counter()
    zeros: Counter[tuple[str, IdKind]] = Counter()
    unusable: Counter[tuple[str, str]] = Counter()
    for one in seen:
        users[one.app] += 1
        have.update((one.app, kind) for kind in one.have)
        zeros.update((one.app, kind) for kind in one.zeros)
        unusable.update((one.app, name) for name in one.unusable)
    rows: list[tuple[Cell, ...]] = []
    for app in sorted(users):
        for kind in in_use:
            rate = Rate(have[app, kind], users[app])
            bad = unusable[app, kind.value]
            if rate.hits or zeros[app, kind] or bad:
                spread = (rate.value, rate.low, rate.high)
                rows.append((app, kind.value, rate.n, rate.hits, *spread, zeros[app, kind], bad, rate.remark))
    return table(
        "Users by the ids they are known by",
        columns(
            "app id users with_id share low high zeros unusable remark", share=SHARE, low=SHARE, high=SHARE
        ),
        rows,
        "zeros: the phone gives out no id while tracking is off; unusable: the door left the id out."
        f"\nlow and high: the 95 % interval; thin: fewer than {THIN} users.",
    )


def _versions(seen: Iterable[_Seen], in_use: list[IdKind]) -> Table:
    users: Counter[tuple[str, str]] = Counter()
    have: Counter[tuple[str, str, IdKind]] = Counter()
    for one in seen:
        users[one.app, one.version] += 1
        have.update((one.app, one.version, kind) for kind in one.have)
    rows: list[tuple[Cell, ...]] = []
    for (app, version), n in sorted(users.items()):
        shares = [Rate(have[app, version, kind], n).value for kind in in_use]
        rows.append((app, version, n, *shares, Rate(0, n).remark))
    names = [kind.value for kind in in_use]
    layout = columns(" ".join(["app version users", *names, "remark"]), **dict.fromkeys(names, SHARE))
    return table("Share of users with each id, by the app's version", layout, rows)
