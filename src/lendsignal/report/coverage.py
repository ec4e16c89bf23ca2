"""Which ids the active users are known by, what they consented to, and which destinations reach them."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from lendsignal.clock import to_us
from lendsignal.log import Log
from lendsignal.model import DEVICE_SCOPED, INSTALL_SCOPED, ZERO_ID, Consent, Contact, IdKind, SkipReason
from lendsignal.plan import UserState
from lendsignal.report.layout import SHARE, Cell, Report, Table, columns, table
from lendsignal.report.rates import THIN, Rate
from lendsignal.report.slices import EVERYTHING, Slice, touch_facts
from lendsignal.report.tables import Tables
from lendsignal.resolve import Binding, device_at

KINDS = (*INSTALL_SCOPED, *DEVICE_SCOPED)
DAYS = 30
NOT_TOLD = "not told"

AT_ONCE = 2_000
"""Users whose states are read together."""

LOOKED_AT = 20_000
"""Users who are looked at one by one; of more, so many are drawn by a hash that knows nothing of them. A
share of one half is then known to ± 0.7 points."""

LATEST = """
create or replace temp table latest_event as
select user_key, arg_max(event_id, (moment_us, event_id)) as event_id from every_touch
where moment_us >= $since group by part, user_key
"""

SEEN = """
create or replace temp table latest_touch as
select f.part, f.user_key, t.seq, t.brand || ':' || t.user_id as user, coalesce(f.app, '') as app,
    coalesce(t.app_version, $not_told) as version, coalesce(t.os, $not_told) as os,
    split_part(coalesce(t.os_version, $not_told), '.', 1) as os_version,
    ' ' || coalesce(e.flags, '') || ' ' as flags, {ids}
from (select distinct part, user_key, app, event_id from touch_fact) f
join raw_touches t on t.user_key = f.user_key and t.event_id = f.event_id
left join (select seq, flags from raw_events where flags <> '') e on e.seq = t.seq
"""

COUNTS = """
select part, app, version, os, os_version, count(*), [{have}], [{unusable}] from latest_touch
group by all order by all
"""

DRAWN = """
select user, part, seq, app, version, os, os_version from latest_touch
where user_key in (select user_key from latest_touch group by user_key order by hash(user_key) limit $most)
order by user_key, part
"""


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
    `consents` by app, `reaches` by destination, and then by the app's and the phone's version."""

    users: int
    ids: Table
    versions: Table
    systems: Table
    consents: Table
    reaches: Table
    reaches_by_version: Table
    reaches_by_system: Table


Part: TypeAlias = tuple[str, ...]
Row: TypeAlias = tuple[Cell, ...]


class _Many(Struct, frozen=True):
    """Users alike in part, app, version and system: how many, and of each of `KINDS` how many have it."""

    part: Part
    app: str
    version: str
    os: str
    os_version: str
    users: int
    have: Sequence[int]
    unusable: Sequence[int]


class _Seen(Struct, frozen=True):
    """The latest touch of one user in one part."""

    user: str
    part: Part
    seq: int
    app: str
    version: str
    os: str
    os_version: str


class _Tale(Struct, frozen=True):
    """What one destination makes of one user: why not, or whether it is only for the contact."""

    destination: str
    why: SkipReason | None
    by_contact: bool


class _Layout(Struct, frozen=True):
    """Which columns stand before a table's own: those of the slice, then those of the table that it lacks."""

    one: Slice
    own: tuple[str, ...]

    @property
    def names(self) -> str:
        return " ".join((*self.one.names, *(name for name in self.own if name not in self.one.names)))

    def cells(self, part: Part, *own: str) -> Part:
        mine = (cell for name, cell in zip(self.own, own, strict=True) if name not in self.one.names)
        return (*part, *mine)


def coverage(
    tables: Tables,
    one: Slice = EVERYTHING,
    *,
    days: int = DAYS,
    log: Log | None = None,
    destinations: Mapping[str, Reach] | None = None,
    unasked: Mapping[str, bool] | None = None,
    most: int = LOOKED_AT,
) -> Coverage:
    """Of the users who showed their phone within so many days, the share that each id is known of.

    Counted by the latest touch of each user in the days before the youngest event came in, or on the days of
    the slice, and with its `every` by the latest of each span. Test users are left out. An id counts where it
    names somebody: neither all zeros nor unusable. Zeros, what users consented to and who could tell of them
    are read of `most` users from the `log`, as it is now; without it nothing is said of them. `unasked` tells
    by app whether a user who was never asked counts as consenting; `True` where an app is not named. Raises
    `InputError` where the slice names what there is not.
    """
    as_of = tables.as_of
    has_days = one.since is not None or one.until is not None
    _choose(tables, one, 0 if as_of is None or has_days else to_us(as_of - timedelta(days=days)))
    many = _counted(tables)
    users = tables.number("select count(distinct user_key) from latest_touch")
    drawn = [_Seen(user, tuple(part), *rest) for user, part, *rest in tables.rows(DRAWN, {"most": most})]
    zeros = {} if log is None else _zeros(log, drawn)
    known = {kind for kinds in zeros.values() for kind in kinds}
    in_use = [
        (place, kind)
        for place, kind in enumerate(KINDS)
        if kind in known or any(one.have[place] or one.unusable[place] for one in many)
    ]
    states = {} if log is None else {state.key: state for state in _states(log, drawn)}
    at_us = 0 if as_of is None else to_us(as_of)
    tales = {key: _tales(state, destinations or {}, unasked or {}, at_us) for key, state in states.items()}
    span = "on these days" if has_days else f"within {days} days"
    return Coverage(
        title=", ".join(filter(None, (f"Ids of the users active {span}", one.words))),
        as_of=as_of,
        users=users,
        ids=_ids(one, many, drawn, zeros, in_use),
        versions=_shares(
            "Share of users with each id, by the app's version",
            _Layout(one, ("app", "version")),
            [(each, (each.app, each.version)) for each in many],
            in_use,
        ),
        systems=_shares(
            "Share of users with each id, by the phone's system",
            _Layout(one, ("app", "os", "os_version")),
            [(each, (each.app, each.os, each.os_version)) for each in many],
            in_use,
        ),
        consents=_consents(one, drawn, states, unasked or {}),
        reaches=_reaches(one, drawn, tales, destinations or {}),
        reaches_by_version=_reaches_by(
            "Users of whom each destination could be told, by the app's version",
            _Layout(one, ("destination", "version")),
            [(each, (each.version,)) for each in drawn],
            tales,
        ),
        reaches_by_system=_reaches_by(
            "Users of whom each destination could be told, by the phone's system",
            _Layout(one, ("destination", "os", "os_version")),
            [(each, (each.os, each.os_version)) for each in drawn],
            tales,
        ),
        notes=_notes(users, most, log),
    )


def _notes(users: int, most: int, log: Log | None) -> tuple[str, ...]:
    if log is None:
        return ("Nothing is said of consents, and of whom destinations reach: there is no log.",)
    notes = ["Consents, and whom destinations reach, are those of now."]
    if users > most:
        notes.append(f"They, and zeros, are of {most:,} users drawn from all {users:,}.")
    return tuple(notes)


def _choose(tables: Tables, one: Slice, since_us: int) -> None:
    """Fills `latest_touch`: each user's latest touch from that moment on, by its part.

    Which is the latest does not depend on what is looked at: who moved on from a campaign is not of it.
    """
    touch_facts(tables, replace(one, by=(), where=()), into="every_touch")
    tables.db.execute(LATEST, {"since": since_us})
    latest = "(c.user_key, c.event_id) in (select (user_key, event_id) from latest_event)"
    touch_facts(tables, one, only=latest)
    ids = ", ".join(f"t.{kind.value}" for kind in KINDS)
    tables.db.execute(SEEN.format(ids=ids), {"not_told": NOT_TOLD})


def _counted(tables: Tables) -> list[_Many]:
    have = ", ".join(f"count({kind.value})" for kind in KINDS)
    unusable = ", ".join(f"count(*) filter (contains(flags, ' unusable_{kind.value} '))" for kind in KINDS)
    found = tables.rows(COUNTS.format(have=have, unusable=unusable))
    return [_Many(tuple(part), *rest) for part, *rest in found]


def _zeros(log: Log, drawn: Iterable[_Seen]) -> dict[int, frozenset[IdKind]]:
    """By touch the ids that it told as all zeros: the archive keeps no id that names nobody."""
    found: dict[int, frozenset[IdKind]] = {}
    for seq in sorted({one.seq for one in drawn}):
        for fact in log.read(seq - 1, 1):
            device = fact.event.device
            if fact.seq == seq and device is not None:  # an older one the log may have forgotten
                found[seq] = frozenset(kind for kind in KINDS if getattr(device, kind) == ZERO_ID)
    return found


def _states(log: Log, drawn: Iterable[_Seen]) -> Iterator[UserState]:
    """What is remembered of these users; those of whom nothing is decided yet are new."""
    waiting = iter(dict.fromkeys(one.user for one in drawn))
    while part := list(islice(waiting, AT_ONCE)):
        known = log.states(part)
        yield from (known.get(key) or UserState(key) for key in part)


def _ids(
    one: Slice,
    many: Iterable[_Many],
    drawn: Iterable[_Seen],
    zeros: Mapping[int, frozenset[IdKind]],
    in_use: Sequence[tuple[int, IdKind]],
) -> Table:
    layout = _Layout(one, ("app",))
    users: Counter[Part] = Counter()
    have: Counter[tuple[Part, int]] = Counter()
    unusable: Counter[tuple[Part, int]] = Counter()
    empty: Counter[tuple[Part, IdKind]] = Counter()
    for each in many:
        key = layout.cells(each.part, each.app)
        users[key] += each.users
        for place, _ in in_use:
            have[key, place] += each.have[place]
            unusable[key, place] += each.unusable[place]
    for seen in drawn:
        empty.update((layout.cells(seen.part, seen.app), kind) for kind in zeros.get(seen.seq, ()))
    rows: list[Row] = []
    for key in sorted(users):
        for place, kind in in_use:
            rate = Rate(have[key, place], users[key])
            bad, none = unusable[key, place], empty[key, kind]
            if rate.hits or none or bad:
                spread = (rate.value, rate.low, rate.high)
                rows.append((*key, kind.value, rate.n, rate.hits, *spread, none, bad, rate.remark))
    return table(
        "Users by the ids they are known by",
        columns(
            f"{layout.names} id users with_id share low high zeros unusable remark",
            share=SHARE,
            low=SHARE,
            high=SHARE,
        ),
        rows,
        "zeros: the phone gives out no id while tracking is off; unusable: the door left the id out."
        f"\nlow and high: the 95 % interval; thin: fewer than {THIN} users.",
    )


def _shares(
    title: str,
    layout: _Layout,
    parts: Iterable[tuple[_Many, tuple[str, ...]]],
    in_use: Sequence[tuple[int, IdKind]],
) -> Table:
    """The share of users with each id, wherever users are alike in what `layout` shows."""
    users: Counter[Part] = Counter()
    have: Counter[tuple[Part, int]] = Counter()
    for each, own in parts:
        key = layout.cells(each.part, *own)
        users[key] += each.users
        for place, _ in in_use:
            have[key, place] += each.have[place]
    rows: list[Row] = []
    for key, n in sorted(users.items()):
        shares = [Rate(have[key, place], n).value for place, _ in in_use]
        rows.append((*key, n, *shares, Rate(0, n).remark))
    names = [kind.value for _, kind in in_use]
    shown = columns(" ".join([layout.names, "users", *names, "remark"]), **dict.fromkeys(names, SHARE))
    return table(title, shown, rows)


def _consents(
    one: Slice, drawn: Iterable[_Seen], states: Mapping[str, UserState], unasked: Mapping[str, bool]
) -> Table:
    layout = _Layout(one, ("app",))
    counted: dict[Part, Counter[str]] = {}
    for seen in drawn:
        state = states.get(seen.user)
        if state is not None:
            answer = _answer(state.consent)
            counts = counted.setdefault(layout.cells(seen.part, seen.app), Counter())
            counts.update([answer, *(["may go"] if _may_go(answer, seen.app, unasked) else [])])
    rows: list[Row] = []
    for key, counts in sorted(counted.items()):
        answers = tuple(counts[answer] for answer in ("allowed", "forbidden", "not asked"))
        rate = Rate(counts["may go"], sum(answers))
        rows.append((*key, rate.n, *answers, rate.hits, rate.value, rate.low, rate.high, rate.remark))
    return table(
        "Whether the users' data may go to ad platforms",
        columns(
            f"{layout.names} users allowed forbidden not_asked may_go share low high remark",
            share=SHARE,
            low=SHARE,
            high=SHARE,
        ),
        rows,
        "may_go: allowed, and not asked where the configuration lets the app's country count as consenting.",
    )


def _tales(
    state: UserState, destinations: Mapping[str, Reach], unasked: Mapping[str, bool], at_us: int
) -> list[_Tale]:
    """What each destination of the app that the user is on would make of a conversion, were there one now."""
    binding = device_at(state.touches, at_us)
    if binding is None:
        return []
    app = binding.snapshot.app
    allowed = _may_go(_answer(state.consent), app, unasked)
    who = Known(
        user_id=state.key.partition(":")[2],
        binding=binding,
        contact=state.contact,
        consent=state.consent,
        at_us=at_us,
    )
    found = []
    for name, one in destinations.items():
        if one.app != app:
            continue
        why = one.tried(who) if allowed else SkipReason.NO_CONSENT
        by_contact = why is None and who.contact is not None and one.tried(without_contact(who)) is not None
        found.append(_Tale(name, why, by_contact))
    return found


def _reaches(
    one: Slice,
    drawn: Iterable[_Seen],
    tales: Mapping[str, Sequence[_Tale]],
    destinations: Mapping[str, Reach],
) -> Table:
    layout = _Layout(one, ())
    parts: dict[Part, None] = {} if one.names else {(): None}
    users: Counter[tuple[Part, str]] = Counter()
    reasons: Counter[tuple[Part, str, str]] = Counter()
    by_contact: Counter[tuple[Part, str]] = Counter()
    for seen in drawn:
        key = layout.cells(seen.part)
        parts[key] = None
        for tale in tales.get(seen.user, ()):
            users[key, tale.destination] += 1
            reasons[key, tale.destination, "" if tale.why is None else tale.why.value] += 1
            by_contact[key, tale.destination] += tale.by_contact
    rows: list[Row] = []
    for key in sorted(parts):
        for name, reach in destinations.items():
            rate = Rate(reasons[key, name, ""], users[key, name])
            if one.names and not rate.n:
                continue  # most parts know but the destinations of one app
            no_id, forbidden = reasons[key, name, "no_device_id"], reasons[key, name, "no_consent"]
            other = rate.n - rate.hits - no_id - forbidden
            told = (name, reach.kind, *((reach.app,) if "app" not in one.names else ()))
            spread = (rate.n, rate.hits, rate.value, rate.low, rate.high)
            rows.append((*key, *told, *spread, no_id, forbidden, other, by_contact[key, name], rate.remark))
    app = "" if "app" in one.names else "app"
    return table(
        "Users of whom each destination could be told",
        columns(
            f"{layout.names} destination kind {app} users could share low high no_device_id no_consent other"
            " by_contact_alone remark",
            share=SHARE,
            low=SHARE,
            high=SHARE,
        ),
        rows,
        "users: active ones who are on the destination's app now. could: a conversion of now would be sent."
        "\nby_contact_alone: of these, only because of the hashed e-mail or phone."
        "\nWhether the platform finds the user by what it is told, it says itself.",
    )


def _reaches_by(
    title: str,
    layout: _Layout,
    parts: Iterable[tuple[_Seen, tuple[str, ...]]],
    tales: Mapping[str, Sequence[_Tale]],
) -> Table:
    users: Counter[Part] = Counter()
    could: Counter[Part] = Counter()
    for seen, own in parts:
        for tale in tales.get(seen.user, ()):
            key = layout.cells(seen.part, tale.destination, *own)
            users[key] += 1
            could[key] += tale.why is None
    rows: list[Row] = []
    for key, n in sorted(users.items()):
        rate = Rate(could[key], n)
        rows.append((*key, n, rate.hits, rate.value, rate.low, rate.high, rate.remark))
    return table(
        title,
        columns(f"{layout.names} users could share low high remark", share=SHARE, low=SHARE, high=SHARE),
        rows,
    )


def without_contact(who: Known) -> Known:
    """The same user, had the lender no e-mail and no phone number."""
    return Known(user_id=who.user_id, binding=who.binding, contact=None, consent=who.consent, at_us=who.at_us)


def _may_go(answer: str, app: str, unasked: Mapping[str, bool]) -> bool:
    return answer == "allowed" or (answer == "not asked" and unasked.get(app, True))


def _answer(consent: Consent | None) -> str:
    if consent is None or consent.ad_user_data is None:
        return "not asked"
    return "allowed" if consent.ad_user_data else "forbidden"
