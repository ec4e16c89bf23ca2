"""Who came back on a new installation: reinstalls and other phones, by channel and week, and which ids last.

An *arrival* is a user's first login on an installation. The first of all is no return; any later one is a
reinstall where the phone is known to be the same, and a change of phone where it is known to be another.
"""

from collections import Counter, defaultdict
from functools import cache

from msgspec import Struct
from msgspec.structs import replace

from lendsignal.destination import registry
from lendsignal.model import INSTALL_SCOPED, IdKind
from lendsignal.report.layout import SHARE, Cell, Report, Table, columns, table
from lendsignal.report.rates import THIN, Rate
from lendsignal.report.slices import CAME_KEYS, Slice, cells_of
from lendsignal.report.tables import Tables

FIRST, REINSTALL, UNKNOWN = "first", "reinstall", "phone not known"
OTHER_PHONE, OTHER_PLATFORM = "other phone", "other phone, other platform"
OTHER_PHONE_AND_APP, OTHER_APP = "other phone, other app", "other app on the same phone"
RETURNS = (REINSTALL, OTHER_PHONE, OTHER_PLATFORM, OTHER_PHONE_AND_APP, OTHER_APP, UNKNOWN)
"""What a later arrival may be."""

PHONE_CHANGES = frozenset((OTHER_PHONE, OTHER_PLATFORM, OTHER_PHONE_AND_APP))

ARRIVED = """
with shown as (
    select t.user, t.at_us, t.event_id, t.installation, i.app, i.device, i.shown
    from touch t join installation i on i.number = t.installation where not t.test
), mine as (
    select *, row_number() over (partition by user, installation order by at_us, event_id) as times,
        lag(installation) over (partition by user order by at_us, event_id) as before
    from shown
)
select c.user, c.at_us, c.installation, c.app, c.device, b.number, b.app, b.device, {part} as part
from mine c join installation i on i.number = c.installation
    left join installation b on b.number = c.before
    left join app a on a.app = c.app
    asof left join origin_named o on o.installation = c.installation and c.at_us >= o.from_us
where c.times = 1 and not (b.device is not distinct from c.device and b.device is not null
    -- the same phone before its app showed an installation is not another installation
    and not (c.shown and b.shown)) and {held}
order by c.user, c.at_us, c.event_id
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
    arrivals = arrivals_of(tables, one)
    known = _known_ids(tables)
    return InstallationsReport(
        title=", ".join(filter(None, ("Installations", replace(one, by=(), every=None).words))),
        as_of=tables.as_of,
        users=_users(arrivals),
        weeks=_weeks(arrivals, one),
        ids=_ids(arrivals, known),
        reach=_reach(tables, known),
        notes=(
            "Phones are told apart by their own ids: where tracking is off, or an iPhone's ids changed with"
            f" the reinstall, an arrival is '{UNKNOWN}' or '{OTHER_PHONE}'.",
        ),
    )


def arrivals_of(tables: Tables, one: Slice = BY_WEEK) -> list[Arrival]:
    """Every arrival in the slice, by user and moment. Test users are left out."""
    platforms = tables.platforms
    part, held = cells_of(tables, one.only(CAME_KEYS, "an arrival"), "c.at_us", "c.app")
    found = tables.rows(ARRIVED.format(part=part, held=held))
    return [
        Arrival(
            user=user,
            at_us=at_us,
            kind=FIRST if before is None else _kind((old_app, old_phone), (app, phone), platforms),
            part=tuple(part),
            installation=installation,
            before=before,
        )
        for user, at_us, installation, app, phone, before, old_app, old_phone, part in found
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


def _weeks(arrivals: list[Arrival], sliced: Slice) -> Table:
    counted: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for one in arrivals:
        counted[one.part][one.kind] += 1
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
