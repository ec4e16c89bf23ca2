"""Who came back on a new installation: reinstalls and other phones, by channel and week, and which ids last.

An *arrival* is a user's first login on an installation. The first of all is no return; any later one is a
reinstall where the phone is known to be the same, and a change of phone where it is known to be another.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import cache
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from lendsignal.destination import registry
from lendsignal.model import INSTALL_SCOPED, IdKind
from lendsignal.report.days import quoted
from lendsignal.report.installations import KINDS as KINDS_OF_ID
from lendsignal.report.layout import SHARE, Cell, Report, Table, columns, table
from lendsignal.report.rates import THIN, Rate
from lendsignal.report.slices import CAME_KEYS, Slice, cells_of
from lendsignal.report.tables import Tables

FIRST, REINSTALL, UNKNOWN = "first", "reinstall", "phone not known"
OTHER_PHONE, OTHER_PLATFORM = "other phone", "other phone, other platform"
OTHER_PHONE_AND_APP, OTHER_APP = "other phone, other app", "other app on the same phone"
RETURNS = (REINSTALL, OTHER_PHONE, OTHER_PLATFORM, OTHER_PHONE_AND_APP, OTHER_APP, UNKNOWN)
"""What a later arrival may be."""

KINDS = {
    "FIRST": FIRST,
    "REINSTALL": REINSTALL,
    "UNKNOWN": UNKNOWN,
    "OTHER_PHONE": OTHER_PHONE,
    "OTHER_PLATFORM": OTHER_PLATFORM,
    "OTHER_PHONE_AND_APP": OTHER_PHONE_AND_APP,
    "OTHER_APP": OTHER_APP,
}
"""The words by their names in the statement."""

PHONE_CHANGES = frozenset((OTHER_PHONE, OTHER_PLATFORM, OTHER_PHONE_AND_APP))

OF_USER = """
create or replace temp table of_user as  -- most have one installation: of the others alone more is asked
select user_key, any_value(brand) as brand, min(at_us) filter (installation is not null) as at_us,
    min(installation) as installation, max(installation) as last_installation,
    min(own) as own, max(own) as last_own, min(installation) filter (own is not null) as standing,
    max(installation) filter (own is not null) as last_standing
from touch where not test group by user_key
"""

ARRIVED = """
create or replace temp table arrived as
with mine as (
    select user_key, brand, at_us, event_id, installation,
        row_number() over (partition by user_key, installation order by at_us, event_id) as times,
        lag(installation) over (partition by user_key order by at_us, event_id) as before
    from touch where not test and installation is not null
        and user_key in (select user_key from of_user where installation <> last_installation)
    union all
    select user_key, brand, at_us, '' as event_id, installation, 1 as times, null::integer as before
    from of_user where installation = last_installation
), c as (
    select m.user_key, m.brand, m.at_us, m.event_id, m.installation, m.before, i.app, i.device, i.shown
    from mine m join installation i on i.number = m.installation where m.times = 1
)
select c.user_key, c.at_us, c.event_id, c.installation, b.number as before, {part} as part,
    case when b.number is null then '{FIRST}'
        -- no phone has both, whatever ids it shows
        when {old_platform} is distinct from {new_platform} then '{OTHER_PLATFORM}'
        when b.device is null or c.device is null then '{UNKNOWN}'
        when b.device <> c.device then if(b.app = c.app, '{OTHER_PHONE}', '{OTHER_PHONE_AND_APP}')
        when b.app = c.app then '{REINSTALL}' else '{OTHER_APP}' end as kind
from c join installation i on i.number = c.installation
    left join installation b on b.number = c.before
    left join app a on a.app = c.app
    left join origin_named o on o.installation = c.installation and c.at_us >= o.from_us
        and c.at_us < o.until_us
where not (b.device is not distinct from c.device and b.device is not null
    -- the same phone before its app showed an installation is not another installation
    and not (c.shown and b.shown)) and {held}
"""

BY_WEEK = Slice(by=("channel",), every="week")


class Arrival(Struct, frozen=True):
    """A user's first login on an installation, and the cells of the slice that it stands in.

    `before` is the installation that was left, `None` at the first of all.
    """

    user: str
    at_us: int
    kind: str
    part: tuple[str, ...]
    installation: int
    before: int | None


class InstallationsReport(Report, frozen=True, kw_only=True):
    """`users` says who came back how, `weeks` when and by which channel, `ids` what each id outlives."""

    users: Table
    weeks: Table
    ids: Table
    reach: Table


def installations(tables: Tables, one: Slice = BY_WEEK) -> InstallationsReport:
    """What the logins show of installations and phones. `tables` must have been loaded with their ids.

    The slice is of arrivals; `reach` looks at users as they are now, whatever the slice. Raises `InputError`
    where the slice names what an arrival is not told apart by.
    """
    _lay_out(tables, one)
    pairs = _kept(tables)
    return InstallationsReport(
        title=", ".join(filter(None, ("Installations", replace(one, by=(), every=None).words))),
        as_of=tables.as_of,
        users=_users(tables),
        weeks=_weeks(tables, one),
        ids=_ids(pairs),
        reach=_reach(tables, pairs),
        notes=(
            "Phones are told apart by their own ids: where tracking is off, or an iPhone's ids changed with"
            f" the reinstall, an arrival is '{UNKNOWN}' or '{OTHER_PHONE}'.",
        ),
    )


def arrivals_of(tables: Tables, one: Slice = BY_WEEK) -> list[Arrival]:
    """Every arrival in the slice, by user and moment. Test users are left out."""
    _lay_out(tables, one)
    found = tables.rows(
        "select u.user, a.at_us, a.kind, a.part, a.installation, a.before from arrived a"
        " join (select user_key, any_value(user) as user from touch group by user_key) u"
        " on u.user_key = a.user_key order by u.user, a.at_us, a.event_id"
    )
    return [
        Arrival(user=user, at_us=at_us, kind=kind, part=tuple(part), installation=installation, before=before)
        for user, at_us, kind, part, installation, before in found
    ]


def _lay_out(tables: Tables, one: Slice) -> None:
    """Makes the table `arrived`: every arrival in the slice, and what lies between it and the one before."""
    part, held = cells_of(tables, one.only(CAME_KEYS, "an arrival"), "c.at_us", "c.app")
    platforms = sorted(tables.platforms.items())
    of_app = (
        "case {} " + " ".join(f"when {quoted(app)} then {quoted(has)}" for app, has in platforms) + " end"
    )
    tables.db.execute(OF_USER)
    tables.db.execute(
        ARRIVED.format(
            part=part,
            held=held,
            old_platform=of_app.format("b.app") if platforms else "null",
            new_platform=of_app.format("c.app") if platforms else "null",
            **KINDS,
        )
    )


def _users(tables: Tables) -> Table:
    came = {
        kind: (users, n)
        for kind, users, n in tables.rows(
            "select kind, count(distinct user_key), count(*) from arrived group by kind"
        )
    }
    everybody, back = tables.rows(
        "select count(distinct user_key), count(distinct user_key) filter (before is not null) from arrived"
    )[0]
    rows: list[tuple[Cell, ...]] = []
    for name, who, n in (
        ("one installation", everybody - back, everybody - back),
        *((kind, *came.get(kind, (0, 0))) for kind in RETURNS),
    ):
        rate = Rate(who, everybody)
        rows.append((name, rate.hits, rate.value, rate.low, rate.high, n, rate.remark))
    return table(
        "Users by the installations they logged in on",
        columns("came users share low high arrivals remark", share=SHARE, low=SHARE, high=SHARE),
        rows,
        f"share: of the {everybody:,} users whose logins show an installation or phone, with interval."
        "\nA user may have come back in several ways. arrivals: first logins on an installation.",
    )


def _weeks(tables: Tables, sliced: Slice) -> Table:
    counted: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for part, kind, n in tables.rows("select part, kind, count(*) from arrived group by all"):
        counted[tuple(part)][kind] = n
    rows: list[tuple[Cell, ...]] = []
    for part, kinds in sorted(counted.items()):
        n = kinds.total()
        reinstalls = Rate(kinds[REINSTALL], n)
        phones = Rate(sum(kinds[kind] for kind in PHONE_CHANGES), n)
        rows.append(
            (
                *part,
                n,
                kinds[FIRST],
                reinstalls.hits,
                reinstalls.value,
                reinstalls.low,
                reinstalls.high,
                phones.hits,
                phones.value,
                phones.low,
                phones.high,
                kinds[OTHER_PLATFORM],
                kinds[OTHER_APP],
                kinds[UNKNOWN],
                phones.remark,
            )
        )
    shares = "reinstall_share reinstall_low reinstall_high phone_share phone_low phone_high".split()
    return table(
        f"Arrivals {replace(sliced, where=(), since=None, until=None, binding='last_login').words}".strip(),
        columns(
            f"{' '.join(sliced.names)} arrivals first reinstalls reinstall_share reinstall_low reinstall_high"
            " phone_changes phone_share phone_low phone_high other_platform other_app not_known remark",
            **dict.fromkeys(shares, SHARE),
        ),
        rows,
        "A week by its Monday, in the app's time zone; a channel is where the new installation came from."
        f"\nShares are of the arrivals of the row; thin: fewer than {THIN}."
        "\nother_platform is among phone_changes.",
    )


PAIR = """
create or replace temp table pair as
select before, installation, if(kind = $same, kind, $other) as change from arrived
where before is not null and kind in ({changes})
union all
select arg_min(own, row(at_us, event_id)) as before,
    arg_max(installation, row(at_us, event_id)) as installation,
    '' as change
from touch where not test and own is not null and user_key in (select user_key from of_user
    where own <> last_own or standing <> last_standing or own <> standing) group by user_key
"""
"""What a return left and where it came to; with no word for the change, each user's first and latest."""

PAIR_LOOK = """
create or replace temp table pair_look as select * from touch_look where shown in (
    select shown from look_number where installation in (
        select before from pair union select installation from pair))
"""

KEPT = """
with known as (
    select installation, kind, list(id) as ids
    from (select distinct installation, kind, hash(value) as id from ({known})) group by installation, kind
)
select a.kind, p.change, count(*), count(*) filter (list_has_any(a.ids, b.ids))
from pair p join known a on a.installation = p.before
    join known b on b.installation = p.installation and b.kind = a.kind
group by all
"""
"""Of pairs of installations those that both show a kind of id, and those that show the same."""

SHOWN = """
select {sums} from (
    select n.installation, {shows} from touch_look l join look_number n on n.shown = l.shown
    group by n.installation
) s join (
    select standing as installation, count(*) as n from of_user
    where own = last_own and standing = last_standing and own = standing group by standing
) u on u.installation = s.installation
"""
"""Of users who have one installation those who show a kind of id: it is the same first and last."""

_Kept: TypeAlias = Mapping[tuple[str, str], tuple[int, int]]
"""By kind of id and change: on how many pairs it stayed, and on how many it is known of both."""


def _kept(tables: Tables) -> _Kept:
    changes = ", ".join(f"'{kind}'" for kind in (REINSTALL, *sorted(PHONE_CHANGES)))
    words = {"same": REINSTALL, "other": OTHER_PHONE}
    tables.db.execute(PAIR.format(changes=changes), words)
    tables.db.execute(PAIR_LOOK)
    found = tables.rows(KEPT.format(known=tables.known_in("pair_look")))
    return {(kind, change): (kept, both) for kind, change, both, kept in found}


def _ids(counted: _Kept) -> Table:
    """Of the returns whose id is known on both sides, those on which it stayed the same."""
    rows: list[tuple[Cell, ...]] = []
    for kind in IdKind:
        for change in (REINSTALL, OTHER_PHONE):
            rate = Rate(*counted.get((kind.value, change), (0, 0)))
            if rate.n:
                rows.append(
                    (
                        kind.value,
                        _scope(kind),
                        change,
                        rate.n,
                        rate.hits,
                        rate.value,
                        rate.low,
                        rate.high,
                        rate.remark,
                    )
                )
    return table(
        "Which ids outlive a reinstall or a new phone",
        columns("id scope change returns kept share low high remark", share=SHARE, low=SHARE, high=SHARE),
        rows,
        "returns: with the id known before and after; kept: it was the same."
        "\nscope: what lendsignal takes the id for; one of an installation should be kept by no reinstall.",
    )


def _reach(tables: Tables, pairs: _Kept) -> Table:
    """Users whom an id of the first installation would no longer find."""
    sums = ", ".join(f"coalesce(sum(u.n) filter (s.has_{kind.value}), 0)::bigint" for kind in KINDS_OF_ID)
    shows = ", ".join(f"bool_or(l.{kind.value} is not null) as has_{kind.value}" for kind in KINDS_OF_ID)
    (found,) = tables.rows(SHOWN.format(sums=sums, shows=shows))
    same = dict(zip(KINDS_OF_ID, found, strict=True))
    needed = _needed_by()
    rows: list[tuple[Cell, ...]] = []
    for kind in IdKind:
        kept, both = pairs.get((kind.value, ""), (0, 0))
        rate = Rate(both - kept, both + same.get(kind, 0))
        if rate.n:
            words = ", ".join(needed.get(kind, ()))
            spread = (rate.value, rate.low, rate.high)
            rows.append((kind.value, _scope(kind), words, rate.n, rate.hits, *spread, rate.remark))
    return table(
        "What the first installation's ids would miss",
        columns(
            "id scope needed_by users stale stale_share low high remark",
            stale_share=SHARE,
            low=SHARE,
            high=SHARE,
        ),
        rows,
        "users: the id is known of their first and of their latest installation; stale: it is another now."
        "\nThe higher the share, the more of what is sent by the first installation goes to one that is gone."
        "\nneeded_by: the platforms that take nothing else.",
    )


def _scope(kind: IdKind) -> str:
    return "installation" if kind in INSTALL_SCOPED else "phone"


@cache
def _needed_by() -> dict[IdKind, tuple[str, ...]]:
    """The platforms that know an installation by one id alone."""
    found: dict[IdKind, list[str]] = defaultdict(list)
    for module in registry().values():
        if len(module.SPEC.any_of_ids) == 1:
            found[module.SPEC.any_of_ids[0]].append(module.SPEC.label)
    return {kind: tuple(sorted(labels)) for kind, labels in found.items()}
