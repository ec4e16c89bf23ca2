"""Which ids the active users are known by, what they consented to, and which destinations reach them."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import TypeAlias

from msgspec import Struct

from lendsignal.clock import to_us
from lendsignal.log import Log
from lendsignal.model import (
    DEVICE_SCOPED,
    INSTALL_SCOPED,
    ZERO_ID,
    Consent,
    Contact,
    Event,
    IdKind,
    SkipReason,
    id_of,
    is_touch,
    person_key,
)
from lendsignal.plan import UserState
from lendsignal.report.layout import SHARE, Cell, Report, Table, columns, table
from lendsignal.report.rates import THIN, Rate
from lendsignal.resolve import Binding, device_at

KINDS = (*INSTALL_SCOPED, *DEVICE_SCOPED)
DAYS = 30
NOT_TOLD = "not told"

AT_ONCE = 2_000
"""Users whose states are read together."""


class Known(Struct, frozen=True, kw_only=True):
    """What is known of one user at a moment, in microseconds since 1970: all that sending depends on."""

    user_id: str
    binding: Binding
    contact: Contact | None
    consent: Consent | None
    at_us: int


Tried: TypeAlias = Callable[[Known], SkipReason | None]
"""Why a conversion of such a user could not be sent to one destination; `None` where it could."""


class Reach(Struct, frozen=True):
    """A destination of one app, and what it would make of a user."""

    kind: str
    app: str
    tried: Tried


class Coverage(Report, frozen=True, kw_only=True):
    """`users` were active. `ids` by app, `versions` and `systems` by the app's and the phone's version,
    `consents` by app, `reaches` by destination."""

    users: int
    ids: Table
    versions: Table
    systems: Table
    consents: Table
    reaches: Table


class _Seen(Struct, frozen=True):
    """The latest touch of one user."""

    at: tuple[datetime, str]
    user: str
    app: str
    version: str
    system: tuple[str, str]
    have: frozenset[IdKind]
    zeros: frozenset[IdKind]
    unusable: frozenset[str]


def coverage(
    log: Log,
    days: int = DAYS,
    destinations: Mapping[str, Reach] | None = None,
    unasked: Mapping[str, bool] | None = None,
) -> Coverage:
    """Of the users who showed their phone within so many days, the share that each id is known of.

    Counted by the latest touch of each user in the days before the youngest event came in; test users are
    left out. An id counts where it names somebody: neither all zeros nor unusable. `unasked` tells by app
    whether a user who was never asked counts as consenting; `True` where an app is not named.
    """
    # Only the events of touches have the word; whatever else has it is looked at and passed over.
    last, youngest = _latest(fact.event for fact in log.scan(b"device"))
    # Events do not always arrive in their order: an import brings the past.
    arrived = [fact.event.received_at for fact in log.read(log.end() - 1, 1)]
    as_of = max([*arrived, *youngest], default=None)
    since = None if as_of is None else as_of - timedelta(days=days)
    latest = {user: one for user, one in last.items() if since is not None and one.at[0] >= since}
    states = {state.key: state for state in _states(log, latest) if not state.test}
    seen = [one for one in latest.values() if one.user in states]
    in_use = [kind for kind in KINDS if any(_is_about(kind, one) for one in seen)]
    return Coverage(
        title=f"Ids of the users active within {days} days",
        as_of=as_of,
        users=len(seen),
        ids=_ids(seen, in_use),
        versions=_shares(
            "Share of users with each id, by the app's version",
            "app version",
            [(one, (one.app, one.version)) for one in seen],
            in_use,
        ),
        systems=_shares(
            "Share of users with each id, by the phone's system",
            "app os os_version",
            [(one, (one.app, *one.system)) for one in seen],
            in_use,
        ),
        consents=_consents(seen, states, unasked or {}),
        reaches=_reaches(
            states.values(), destinations or {}, unasked or {}, 0 if as_of is None else to_us(as_of)
        ),
    )


def _latest(events: Iterable[Event]) -> tuple[Mapping[str, _Seen], list[datetime]]:
    """Each user's latest touch, and when the last touch of all arrived, where there is any."""
    found: dict[str, _Seen] = {}
    arrived: list[datetime] = []
    for event in events:
        if not is_touch(event) or event.device is None:
            continue
        if not arrived or event.received_at > arrived[0]:
            arrived = [event.received_at]
        user, at = person_key(event), (event.occurred_at, event.event_id)
        before = found.get(user)
        if before is not None and before.at > at:
            continue
        device = event.device
        found[user] = _Seen(
            at=at,
            user=user,
            app=event.app or "",
            version=device.app_version or NOT_TOLD,
            system=(device.os or NOT_TOLD, (device.os_version or NOT_TOLD).partition(".")[0]),
            have=frozenset(kind for kind in KINDS if id_of(device, kind) is not None),
            zeros=frozenset(kind for kind in KINDS if getattr(device, kind) == ZERO_ID),
            unusable=frozenset(flag.removeprefix("unusable_") for flag in event.flags),
        )
    return found, arrived


def _states(log: Log, users: Iterable[str]) -> Iterator[UserState]:
    """What is remembered of these users; those of whom nothing is decided yet are new."""
    waiting = iter(users)
    while part := list(islice(waiting, AT_ONCE)):
        known = log.states(part)
        yield from (known.get(key) or UserState(key) for key in part)


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


def _shares(
    title: str, parts: str, seen: Iterable[tuple[_Seen, tuple[str, ...]]], in_use: list[IdKind]
) -> Table:
    """The share of users with each id in every part that there is."""
    users: Counter[tuple[str, ...]] = Counter()
    have: Counter[tuple[tuple[str, ...], IdKind]] = Counter()
    for one, part in seen:
        users[part] += 1
        have.update((part, kind) for kind in one.have)
    rows: list[tuple[Cell, ...]] = []
    for part, n in sorted(users.items()):
        shares = [Rate(have[part, kind], n).value for kind in in_use]
        rows.append((*part, n, *shares, Rate(0, n).remark))
    names = [kind.value for kind in in_use]
    layout = columns(" ".join([parts, "users", *names, "remark"]), **dict.fromkeys(names, SHARE))
    return table(title, layout, rows)


def _consents(seen: Iterable[_Seen], states: Mapping[str, UserState], unasked: Mapping[str, bool]) -> Table:
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for one in seen:
        counted[one.app][_answer(states[one.user].consent)] += 1
    rows: list[tuple[Cell, ...]] = []
    for app, answers in sorted(counted.items()):
        allowed = answers["allowed"] + (answers["not asked"] if unasked.get(app, True) else 0)
        rate = Rate(allowed, answers.total())
        rows.append(
            (
                app,
                rate.n,
                answers["allowed"],
                answers["forbidden"],
                answers["not asked"],
                rate.hits,
                rate.value,
                rate.low,
                rate.high,
                rate.remark,
            )
        )
    return table(
        "Whether the users' data may go to ad platforms",
        columns(
            "app users allowed forbidden not_asked may_go share low high remark",
            share=SHARE,
            low=SHARE,
            high=SHARE,
        ),
        rows,
        "may_go: allowed, and not asked where the configuration lets the app's country count as consenting.",
    )


def _reaches(
    states: Iterable[UserState], destinations: Mapping[str, Reach], unasked: Mapping[str, bool], at_us: int
) -> Table:
    """What each destination would make of a conversion of each user, were there one now."""
    users: Counter[str] = Counter()
    reasons: Counter[tuple[str, str]] = Counter()
    by_contact: Counter[str] = Counter()
    for state in states:
        binding = device_at(state.touches, at_us)
        if binding is None:
            continue
        app = binding.snapshot.app
        allowed = _answer(state.consent) == "allowed" or (
            _answer(state.consent) == "not asked" and unasked.get(app, True)
        )
        who = Known(
            user_id=state.key.partition(":")[2],
            binding=binding,
            contact=state.contact,
            consent=state.consent,
            at_us=at_us,
        )
        for name, one in destinations.items():
            if one.app != app:
                continue
            users[name] += 1
            why = one.tried(who) if allowed else SkipReason.NO_CONSENT
            reasons[name, "" if why is None else why.value] += 1
            if why is None and who.contact is not None:
                by_contact[name] += one.tried(without_contact(who)) is not None
    rows: list[tuple[Cell, ...]] = []
    for name, one in destinations.items():
        rate = Rate(reasons[name, ""], users[name])
        no_id, forbidden = reasons[name, "no_device_id"], reasons[name, "no_consent"]
        rows.append(
            (
                name,
                one.kind,
                one.app,
                rate.n,
                rate.hits,
                rate.value,
                rate.low,
                rate.high,
                no_id,
                forbidden,
                rate.n - rate.hits - no_id - forbidden,
                by_contact[name],
                rate.remark,
            )
        )
    return table(
        "Users of whom each destination could be told",
        columns(
            "destination kind app users could share low high no_device_id no_consent other by_contact_alone"
            " remark",
            share=SHARE,
            low=SHARE,
            high=SHARE,
        ),
        rows,
        "users: active ones who are on the destination's app now. could: a conversion of now would be sent."
        "\nby_contact_alone: of these, only because of the hashed e-mail or phone."
        "\nWhether the platform finds the user by what it is told, it says itself.",
    )


def without_contact(who: Known) -> Known:
    """The same user, had the lender no e-mail and no phone number."""
    return Known(user_id=who.user_id, binding=who.binding, contact=None, consent=who.consent, at_us=who.at_us)


def _answer(consent: Consent | None) -> str:
    if consent is None or consent.ad_user_data is None:
        return "not asked"
    return "allowed" if consent.ad_user_data else "forbidden"
