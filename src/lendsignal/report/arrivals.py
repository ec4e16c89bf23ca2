"""Who came back on a new installation: reinstalls and other phones, by channel and week, and which ids last.

An *arrival* is a user's first login on an installation. The first of all is no return; any later one is a
reinstall where the phone is known to be the same, and a change of phone where it is known to be another.
"""

from collections import Counter, defaultdict
from datetime import UTC, timedelta, tzinfo
from functools import cache

from msgspec import Struct

from lendsignal.clock import from_us
from lendsignal.destination import registry
from lendsignal.model import INSTALL_SCOPED, IdKind
from lendsignal.report.funnel import SLICE_OF
from lendsignal.report.layout import SHARE, Cell, Report, Table, columns, table
from lendsignal.report.rates import THIN, Rate
from lendsignal.report.tables import Tables

FIRST, REINSTALL, UNKNOWN = "first", "reinstall", "phone not known"
OTHER_PHONE, OTHER_PLATFORM = "other phone", "other phone, other platform"
OTHER_PHONE_AND_APP, OTHER_APP = "other phone, other app", "other app on the same phone"
RETURNS = (REINSTALL, OTHER_PHONE, OTHER_PLATFORM, OTHER_PHONE_AND_APP, OTHER_APP, UNKNOWN)
"""What a later arrival may be."""

PHONE_CHANGES = frozenset((OTHER_PHONE, OTHER_PLATFORM, OTHER_PHONE_AND_APP))

ARRIVED = f"""
with shown as (
    select t.user, t.at_us, t.event_id, t.installation, i.app, i.device, i.shown
    from touch t join installation i on i.number = t.installation where not t.test
), mine as (
    select *, row_number() over (partition by user, installation order by at_us, event_id) as times,
        lag(installation) over (partition by user order by at_us, event_id) as before
    from shown
)
select n.user, n.at_us, n.installation, n.app, n.device, o.number, o.app, o.device,
    {SLICE_OF["channel"].format(i="i", o="g")} as channel
from mine n join installation i on i.number = n.installation
    left join installation o on o.number = n.before
    asof left join origin g on g.installation = n.installation and n.at_us >= g.from_us
where n.times = 1 and not (o.device is not distinct from n.device and o.device is not null
    -- the same phone before its app showed an installation is not another installation
    and not (n.shown and o.shown))
order by n.user, n.at_us, n.event_id
"""

QUARTER_US = 900_000_000
"""No time zone's day begins within a quarter of an hour."""


class Arrival(Struct, frozen=True):
    """A user's first login on an installation; `before` is the one left, `None` at the first of all."""

    user: str
    at_us: int
    kind: str
    channel: str
    app: str
    installation: int
    before: int | None


class InstallationsReport(Report, frozen=True, kw_only=True):
    """`users` says who came back how, `weeks` when and by which channel, `ids` what each id outlives."""

    users: Table
    weeks: Table
    ids: Table
    reach: Table


def installations(tables: Tables) -> InstallationsReport:
    """What the logins show of installations and phones. `tables` must have been loaded with their ids."""
    arrivals = arrivals_of(tables)
    known = _known_ids(tables)
    return InstallationsReport(
        title="Installations",
        as_of=tables.as_of,
        users=_users(arrivals),
        weeks=_weeks(tables, arrivals),
        ids=_ids(arrivals, known),
        reach=_reach(tables, known),
        notes=(
            "Phones are told apart by their own ids: where tracking is off, or an iPhone's ids changed with"
            f" the reinstall, an arrival is '{UNKNOWN}' or '{OTHER_PHONE}'.",
        ),
    )


def arrivals_of(tables: Tables) -> list[Arrival]:
    """Every arrival, by user and moment. Test users are left out."""
    platforms = tables.platforms
    return [
        Arrival(
            user=user,
            at_us=at_us,
            kind=FIRST if before is None else _kind((old_app, old_phone), (app, phone), platforms),
            channel=channel,
            app=app,
            installation=installation,
            before=before,
        )
        for user, at_us, installation, app, phone, before, old_app, old_phone, channel in tables.rows(ARRIVED)
    ]


def _kind(old: tuple[str, int | None], new: tuple[str, int | None], platforms: dict[str, str]) -> str:
    """What lies between two installations of a user, each its app and its phone, where that is known."""
    (old_app, old_phone), (app, phone) = old, new
    if platforms.get(old_app) != platforms.get(app):
        return OTHER_PLATFORM  # no phone has both, whatever ids it shows
    if old_phone is None or phone is None:
        return UNKNOWN
    if old_phone != phone:
        return OTHER_PHONE if old_app == app else OTHER_PHONE_AND_APP
    return REINSTALL if old_app == app else OTHER_APP


def _users(arrivals: list[Arrival]) -> Table:
    users: dict[str, set[str]] = defaultdict(set)
    counted: Counter[str] = Counter()
    for one in arrivals:
        users[one.kind].add(one.user)
        counted[one.kind] += 1
    everybody = {one.user for one in arrivals}
    back = set().union(*(users[kind] for kind in RETURNS))
    rows: list[tuple[Cell, ...]] = []
    for name, who, n in (
        ("one installation", everybody - back, len(everybody - back)),
        *((kind, users[kind], counted[kind]) for kind in RETURNS),
    ):
        rate = Rate(len(who), len(everybody))
        rows.append((name, rate.hits, rate.value, rate.low, rate.high, n, rate.remark))
    return table(
        "Users by the installations they logged in on",
        columns("came users share low high arrivals remark", share=SHARE, low=SHARE, high=SHARE),
        rows,
        f"share: of the {len(everybody):,} users whose logins show an installation or phone, with interval."
        "\nA user may have come back in several ways. arrivals: first logins on an installation.",
    )


def _weeks(tables: Tables, arrivals: list[Arrival]) -> Table:
    @cache
    def monday(app: str, quarter: int) -> str:
        zone: tzinfo = tables.zones.get(app, UTC)
        day = from_us(quarter * QUARTER_US).astimezone(zone).date()
        return (day - timedelta(days=day.weekday())).isoformat()

    counted: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for one in arrivals:
        counted[monday(one.app, one.at_us // QUARTER_US), one.channel][one.kind] += 1
    rows: list[tuple[Cell, ...]] = []
    for (week, channel), kinds in sorted(counted.items()):
        n = kinds.total()
        reinstalls = Rate(kinds[REINSTALL], n)
        phones = Rate(sum(kinds[kind] for kind in PHONE_CHANGES), n)
        rows.append(
            (
                week,
                channel,
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
        "Arrivals by week and channel",
        columns(
            "week channel arrivals first reinstalls reinstall_share reinstall_low reinstall_high"
            " phone_changes phone_share phone_low phone_high other_platform other_app not_known remark",
            **dict.fromkeys(shares, SHARE),
        ),
        rows,
        "week: its Monday, in the app's time zone. channel: where the new installation came from by then."
        f"\nShares are of the arrivals of the row; thin: fewer than {THIN}."
        "\nother_platform is among phone_changes.",
    )


Known = dict[int, dict[str, set[str]]]
"""Installation → kind of id → the values it was seen with."""


def _known_ids(tables: Tables) -> Known:
    known: Known = defaultdict(lambda: defaultdict(set))
    for installation, kind, value in tables.rows("select installation, kind, value from known_id"):
        known[installation][kind].add(value)
    return known


def _ids(arrivals: list[Arrival], known: Known) -> Table:
    """Of the returns whose id is known on both sides, those on which it stayed the same."""
    both: Counter[tuple[str, str]] = Counter()
    kept: Counter[tuple[str, str]] = Counter()
    for one in arrivals:
        if one.before is None:
            continue
        change = "reinstall" if one.kind == REINSTALL else "other phone" if one.kind in PHONE_CHANGES else ""
        before, after = known.get(one.before, {}), known.get(one.installation, {})
        for kind in before.keys() & after.keys() if change else ():
            both[kind, change] += 1
            kept[kind, change] += not before[kind].isdisjoint(after[kind])
    rows: list[tuple[Cell, ...]] = []
    for kind in IdKind:
        for change in ("reinstall", "other phone"):
            rate = Rate(kept[kind, change], both[kind, change])
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


def _reach(tables: Tables, known: Known) -> Table:
    """Users whom an id of the first installation would no longer find."""
    found = tables.rows(
        "select user, arg_min(own, row(at_us, event_id)), arg_max(installation, row(at_us, event_id))"
        " from touch where not test and own is not null group by user"
    )
    both: Counter[str] = Counter()
    stale: Counter[str] = Counter()
    for _, first, last in found:
        before, now = known.get(first, {}), known.get(last, {})
        for kind in before.keys() & now.keys():
            both[kind] += 1
            stale[kind] += before[kind].isdisjoint(now[kind])
    needed = _needed_by()
    rows: list[tuple[Cell, ...]] = []
    for kind in IdKind:
        rate = Rate(stale[kind], both[kind])
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
