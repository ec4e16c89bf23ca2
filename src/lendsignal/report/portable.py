"""Reports that any column store can answer over the archive's files: the part of SQL that two engines share.

`lendsignal report` speaks DuckDB's own SQL and knows more (bindings, slices, what was undone); `dialect`
translates that. These five statements are for whoever asks a ClickHouse server himself: the same text runs on
both engines and gives the same rows. Days are those of UTC, moments as in the archive.
"""

import re
from collections.abc import Collection, Mapping
from typing import assert_never

from msgspec import Struct

from lendsignal.archive import TABLES
from lendsignal.archive.layout import Kind
from lendsignal.report.engine import Engine

__all__ = [
    "ATTRIBUTION",
    "DELAY",
    "FUNNEL",
    "PORTABLE",
    "SETTINGS",
    "SPEND",
    "WATERFALL",
    "Engine",
    "Portable",
    "statement",
]

SETTINGS = "join_use_nulls = 1, cast_keep_nullable = 1"
"""What ClickHouse is to be told so that what is missing is null there, as it is in standard SQL."""

_EMPTY: Mapping[Kind, str] = {Kind.MOMENT: "timestamp"}
"""Types that the two engines do not call the same."""

_TABLE = re.compile(r"\{(\w+)\}")


class Portable(Struct, frozen=True, kw_only=True):
    """One statement. `{events}` stands for that table of the archive; `columns` are those of its answer."""

    name: str
    meaning: str
    columns: tuple[str, ...]
    sql: str

    @property
    def tables(self) -> frozenset[str]:
        """The tables of the archive that it reads."""
        return frozenset(_TABLE.findall(self.sql))


FUNNEL = Portable(
    name="funnel",
    meaning="Events and users of each type: of several revisions the last, and no loan that was undone.",
    columns=("type", "events", "users"),
    sql="""
with told as (
    select type, user_key, loan_key, fact_key,
        row_number() over (partition by fact_key order by coalesce(revision, 0) desc, seq desc) as turn
    from {events} where verdict = 'taken' and type not like 'lendsignal.%'
        and user_key not in (select user_key from {events} where test and user_key is not null)
), undone as (
    select distinct loan_key from told
    where type in ('disbursement_reversed', 'loan_cancelled') and loan_key is not null
)
select type, count(*) as events, count(distinct user_key) as users from told
where (fact_key is null or turn = 1)
    and not (type = 'disbursed' and coalesce(loan_key, 0) in (select loan_key from undone))
group by type order by type
""",
)

WATERFALL = Portable(
    name="delivery waterfall",
    meaning="What became of every delivery; planned = accepted + dead + skipped + cancelled + waiting.",
    columns=(
        "destination",
        "conversion",
        "planned",
        "accepted",
        "dead",
        "skipped",
        "cancelled",
        "waiting",
    ),
    sql="""
with ending as (
    select delivery, what, row_number() over (partition by delivery order by pack desc, place desc) as turn
    from {outcomes} where what in ('accepted', 'dead', 'skipped', 'cancelled')
), last_one as (
    select delivery, what from ending where turn = 1
), known as (
    select p.destination as destination, p.conversion as conversion, p.rebinds as rebinds, e.what as ended,
        coalesce(e.what, case when p.skip is null then 'waiting' else 'skipped' end) as what
    from {deliveries} p left join last_one e on e.delivery = p.delivery
)
select destination, conversion, count(*) as planned,
    sum(case when what = 'accepted' then 1 else 0 end) as accepted,
    sum(case when what = 'dead' then 1 else 0 end) as dead,
    sum(case when what = 'skipped' then 1 else 0 end) as skipped,
    sum(case when what = 'cancelled' then 1 else 0 end) as cancelled,
    sum(case when what = 'waiting' then 1 else 0 end) as waiting
from known where rebinds is null or ended is not null
group by destination, conversion order by destination, conversion
""",
)

ATTRIBUTION = Portable(
    name="attribution",
    meaning="Who came, by channel, campaign and kind: of several sayings about one coming the last.",
    columns=("channel", "campaign", "kind", "comings"),
    sql="""
with saying as (
    select coalesce(a.channel, '') as source, coalesce(a.campaign, a.campaign_id, '') as name, a.kind as kind,
        row_number() over (
            partition by a.feed, a.app, a.mmp_id, a.kind, date_trunc('second', a.came_at)
            order by a.told_at desc, a.key
        ) as turn
    from {attributions} a
)
select source as channel, name as campaign, kind, count(*) as comings from saying where turn = 1
group by source, name, kind order by source, name, kind
""",
)

SPEND = Portable(
    name="spend",
    meaning="What ads cost, by channel, campaign and currency, in major units.",
    columns=("channel", "campaign", "currency", "amount", "impressions", "clicks"),
    sql="""
with paid as (
    select coalesce(s.channel, '') as source, coalesce(s.campaign, s.campaign_id, '') as name,
        s.currency as money, s.amount as cost, coalesce(s.impressions, 0) as shown,
        coalesce(s.clicks, 0) as clicked
    from {spend} s
)
select source as channel, name as campaign, money as currency, sum(cost) as amount, sum(shown) as impressions,
    sum(clicked) as clicks
from paid group by source, name, money order by source, name, money
""",
)

DELAY = Portable(
    name="posting delay",
    meaning="From the event to the platform's yes, in milliseconds by nearest rank; how many the same day.",
    columns=("destination", "conversion", "accepted", "p50_ms", "p90_ms", "same_day"),
    sql="""
with said_yes as (
    select delivery, min("at") as answered from {outcomes} where what = 'accepted' group by delivery
), happened as (
    select record, min(occurred_at) as occurred from {conversions} where rebinds is null group by record
), took as (
    select d.destination as destination, d.conversion as conversion,
        date_diff('microsecond', h.occurred, y.answered) / 1000 as ms,
        case when cast(h.occurred as date) = cast(y.answered as date) then 1 else 0 end as is_same_day
    from {deliveries} d join said_yes y on y.delivery = d.delivery
        join happened h on h.record = coalesce(d.rebinds, d.record)
), ranked as (
    select destination, conversion, ms, is_same_day,
        row_number() over (partition by destination, conversion order by ms) as place,
        count(*) over (partition by destination, conversion) as n
    from took
)
select destination, conversion, max(n) as accepted,
    min(case when place * 100 >= n * 50 then ms end) as p50_ms,
    min(case when place * 100 >= n * 90 then ms end) as p90_ms,
    sum(is_same_day) as same_day
from ranked group by destination, conversion order by destination, conversion
""",
)

PORTABLE: tuple[Portable, ...] = (FUNNEL, WATERFALL, ATTRIBUTION, SPEND, DELAY)
"""All of them, in the order of the docs."""


def statement(one: Portable, engine: Engine, root: str, there: Collection[str]) -> str:
    """The statement as an engine takes it, over the archive at `root`.

    `there` are the tables that have files: one that never had a row has none, and stands for no rows.
    """
    sql = _TABLE.sub(lambda found: _source(found[1], engine, root, there), one.sql).strip()
    return sql if engine is Engine.DUCKDB else f"{sql}\nsettings {SETTINGS}"


def _source(name: str, engine: Engine, root: str, there: Collection[str]) -> str:
    if name not in there:
        (table,) = (table for table in TABLES if table.name == name)
        columns = ", ".join(
            f'cast(null as {_EMPTY.get(column.kind, column.kind.value)}) as "{column.name}"'
            for column in table.columns
        )
        return f"(select {columns} from (select 1 as one) nothing where one = 0)"
    files = f"{root}/{name}/*/*.parquet".replace("'", "''")
    match engine:
        case Engine.DUCKDB:
            return f"read_parquet('{files}', union_by_name = true)"
        case Engine.CLICKHOUSE:
            return f"file('{files}', 'Parquet')"
        case _:
            assert_never(engine)
