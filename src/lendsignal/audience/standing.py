"""How every list stands: built, told, found by the platforms, moved, and what its look-alikes brought."""

from collections.abc import Iterable, Mapping, Sequence

from lendsignal.audience.files import Files, quoted
from lendsignal.audience.membership import Membership
from lendsignal.audience.planning import Left
from lendsignal.audience.settings import AudienceSettings
from lendsignal.clock import from_us
from lendsignal.log import Audiences
from lendsignal.report.layout import MONEY, SHARE, Cell, Reckoned, Report, Table, columns, table
from lendsignal.report.tables import Tables

DAY_US = 86_400_000_000

EARNED = """
with came as (
    select t.user_key, coalesce(nullif(o.campaign_id, ''), o.campaign) as campaign_id, o.campaign,
        min(t.at_us) as first_us
    from touch t join origin o on o.installation = t.installation and t.at_us >= o.from_us
    where not t.test group by all
), loan as (
    select c.user_key, c.loan, any_value(c.currency) filter (c.type = 'disbursed') as currency,
        sum(c.amount) filter (c.type = 'disbursed')::double as lent,
        sum(c.amount) filter (c.type in ('repaid', 'recovered'))::double as paid,
        min(c.at_us) filter (c.type = 'disbursed') as at_us,
        bool_or(c.type = 'repaid' and coalesce(c.closes_loan, c.outstanding = 0)) as closed,
        bool_or(c.type = 'defaulted' or (c.type = 'overdue' and c.dpd >= $default_dpd)) as lost
    from counted c where c.loan is not null and not c.test and not c.superseded and not c.reversed
    group by c.user_key, c.loan
)
select a.campaign, count(distinct a.user_key), count(distinct l.user_key), count(l.loan), l.currency,
    sum(l.lent), sum(case when l.closed or l.lost then coalesce(l.paid, 0) - l.lent end),
    count(*) filter (l.lost)
from came a left join loan l on l.user_key = a.user_key and l.at_us >= a.first_us
where a.campaign in (select unnest($campaigns)) or a.campaign_id in (select unnest($campaigns))
group by a.campaign, l.currency order by 1, 5
"""


class Standing(Reckoned, frozen=True, kw_only=True):
    """Every list in every account, and the lists side by side."""

    lists: Table
    accounts: Table
    overlap: Table
    left_out: Table


class Brought(Report, frozen=True, kw_only=True):
    """What came of the campaigns that run on look-alikes, and what lists brought beyond what would have come
    anyway, by their holdouts."""

    brought: Table
    effects: Table


def standing(
    book: Audiences,
    membership: Membership,
    files: Files,
    hidden: Mapping[tuple[str, str], str],
    now_us: int,
    left: Sequence[Left] = (),
) -> Standing:
    """As it is now. `hidden`: by list and account, why it is not sent there; `left`: what is there still."""
    names = sorted({sync.audience for sync in membership.syncs()} | set(book.built()))
    return Standing(
        title="Lists",
        lists=_lists(book, names, now_us),
        accounts=_accounts(book, membership, hidden, left, now_us),
        overlap=_overlap(book, files, names),
        left_out=table("Left out", columns("list reason users"), list(_left_out(book, names))),
    )


def _lists(book: Audiences, names: Iterable[str], now_us: int) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name in names:
        builds = book.builds(name)
        if not builds:
            rows.append((name, None, None, None, None, None, None))
            continue
        latest = builds[0]
        week = [one for one in builds if one.at_us >= latest.at_us - 7 * DAY_US]
        joined, gone = sum(one.joined for one in week), sum(one.gone for one in week)
        before = week[-1].members - week[-1].joined + week[-1].gone
        rows.append(
            (
                name,
                f"{from_us(latest.at_us):%Y-%m-%d %H:%M}",
                (now_us - latest.at_us) // (60_000_000),
                latest.members,
                joined,
                gone,
                gone / before if before else None,
            )
        )
    return table(
        "Lists as they were built",
        columns("list built_utc minutes_ago members joined_7d gone_7d left_share", left_share=SHARE),
        rows,
        "joined and gone within the seven days up to the latest build; a changed phone is one of each.",
    )


def _accounts(
    book: Audiences,
    membership: Membership,
    hidden: Mapping[tuple[str, str], str],
    left: Sequence[Left],
    now_us: int,
) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for sync in membership.syncs():
        counts, row = membership.counts(sync), book.sync(*sync.name)
        reasons = ", ".join(f"{reason} {n:,}" for reason, n in sorted(book.refusals(*sync.name).items()))
        state = sync.reason if sync.state == "paused" else sync.state
        rows.append(
            (
                sync.audience,
                sync.account,
                sync.code,
                counts.intended,
                counts.confirmed,
                counts.adds,
                counts.removes,
                counts.refused,
                row.size,
                row.match_rate,
                None if row.synced_us is None else f"{from_us(row.synced_us):%Y-%m-%d %H:%M}",
                state if not reasons else f"{state}; {reasons}",
            )
        )
    there = {(one.audience, one.account) for one in left}
    rows += [
        (name, account, *(None,) * 9, f"hidden: {why}")
        for (name, account), why in sorted(hidden.items())
        if (name, account) not in there
    ]
    rows += [_left(one, now_us) for one in left]
    return table(
        "Lists on the platforms",
        columns(
            "list account code intended confirmed to_add to_remove refused size match_rate in_step_utc state",
            match_rate=SHARE,
        ),
        rows,
        "size and match_rate: as the platform tells them. in_step: when it last had just what is intended.",
    )


def _left(one: Left, now_us: int) -> tuple[Cell, ...]:
    """A list that is not sent any more, and what becomes of it."""
    if not one.reachable:
        then = "its account is in the configuration no more: put it back, or empty the list there"
    elif one.empty_at_us is None:
        then = f"it stays until: lendsignal audience retire {one.audience}"
    elif one.is_due(now_us):
        then = "being emptied"
    else:
        then = f"emptied at {from_us(one.empty_at_us):%Y-%m-%d %H:%M} UTC"
    cells = (one.audience, one.account, one.code, 0, one.members, 0, one.members, None, None, None, None)
    return (*cells, f"left behind: {one.why}; {then}")


def _overlap(book: Audiences, files: Files, names: Sequence[str]) -> Table:
    """Pairs of lists, by their latest builds."""
    found = {name: build for name in names if (build := book.build(name)) is not None and build.members}
    rows: list[tuple[Cell, ...]] = []
    for place, (name, build) in enumerate(found.items()):
        for other, second in list(found.items())[place + 1 :]:
            one, two = (f"read_parquet({quoted(files.root / each.file)})" for each in (build, second))
            counted = files.db.execute(
                f"select count(*) from {one} a semi join {two} b on b.key = a.key"
            ).fetchone()
            both = int(counted[0]) if counted else 0
            if both:
                rows.append((name, other, both, both / build.members, both / second.members))
    return table(
        "On two lists at once",
        columns("list other both share_of_list share_of_other", share_of_list=SHARE, share_of_other=SHARE),
        rows,
    )


def _left_out(book: Audiences, names: Sequence[str]) -> Iterable[tuple[Cell, ...]]:
    from lendsignal.audience.preview import left_out_of

    for name in names:
        build = book.build(name)
        if build is not None:
            for reason, n in left_out_of(build.left_out).items():
                yield name, reason, n


def earned(tables: Tables, lists: Mapping[str, AudienceSettings]) -> Table:
    """What the users who came by each seed's look-alike campaigns brought so far, by the last login's origin.

    A campaign is named by its id or its name. `net` is of loans that are over: what came back less what was
    paid out. Whether they would have come anyway, only a holdout tells.
    """
    rows: list[tuple[Cell, ...]] = []
    for name, one in lists.items():
        if one.campaigns:
            asked = {"campaigns": list(one.campaigns), "default_dpd": tables.default_dpd}
            for campaign, users, borrowers, loans, currency, lent, net, lost in tables.rows(EARNED, asked):
                per_user = None if net is None or not users else round(net / users, 2)
                rows.append((name, campaign, users, borrowers, loans, currency, lent, net, lost, per_user))
    return table(
        "What look-alikes brought",
        columns(
            "list campaign users borrowers loans currency lent net lost_loans net_per_user",
            lent=MONEY,
            net=MONEY,
            net_per_user=MONEY,
        ),
        rows,
        "users who came by the campaigns that the list names; net: of loans that are over, what came back"
        "\nless what was paid out.",
    )
