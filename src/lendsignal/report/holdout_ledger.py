"""Out of the ledger, what each user of a holdout did: read once, set-wise.

It reads the lender's own events alone. What was delivered, attributed or bound to which phone is not looked
at, so that a reinstall or a new phone can move nobody from one arm to the other.
"""

from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from lendsignal.clock import MICROSECOND, from_us, to_us
from lendsignal.plan import ALWAYS, Holdout
from lendsignal.report.holdout_rows import Eligible, Entered, Floats
from lendsignal.report.tables import Tables

ENTERED = """
with known as (
    select user, min(at_us) filter (type = 'disbursed') as borrowed_us,
        min(at_us) filter (type in ('registered', 'disbursed')) as seen_us
    from counted where not test and not superseded and not reversed group by user
), entered as (
    select user, seen_us, greatest(case $eligible when 'borrowers' then borrowed_us else seen_us end,
        $begin_us) as entry_us
    from known where case $eligible when 'borrowers' then borrowed_us else seen_us end < $end_us
), loan as (
    select user, at_us, amount, coalesce(fee, 0) as fee, coalesce(currency, '') as currency
    from counted where type = 'disbursed' and not test and not superseded and not reversed
), bad as (
    select user, loan_id, min(at_us) as at_us, arg_min(outstanding, at_us) as outstanding
    from counted where (type = 'defaulted' or (type = 'overdue' and dpd >= $default_dpd))
        and not superseded group by all
), lost as (
    select b.user, b.at_us, coalesce(b.outstanding, c.amount) as amount
    from bad b join counted c on c.user = b.user and c.loan_id = b.loan_id and c.type = 'disbursed'
        and not c.superseded and not c.reversed
    where c.currency is not distinct from $currency
), after as (
    select e.user, count(*) as loans, sum(l.fee) filter (l.currency = $currency) as fees
    from entered e join loan l on l.user = e.user and l.at_us > e.entry_us
        and l.at_us <= e.entry_us + $horizon_us group by all
), gone as (
    select e.user, sum(b.amount) as lost from entered e join lost b on b.user = e.user
        and b.at_us > e.entry_us and b.at_us <= e.entry_us + $horizon_us group by all
), before as (
    select e.user, count(*) as loans, max(l.at_us) as last_us
    from entered e join loan l on l.user = e.user and l.at_us <= e.entry_us group by all
), late as (
    select e.user, count(distinct c.loan_id) as loans from entered e join counted c on c.user = e.user
        and c.type in ('overdue', 'defaulted') and c.at_us <= e.entry_us group by all
)
select e.user, e.entry_us, coalesce(a.loans, 0)::double as loans, coalesce(a.fees, 0)::double as fees,
    coalesce(g.lost, 0)::double as lost, coalesce(b.loans, 0)::double as before,
    (e.entry_us - coalesce(b.last_us, e.seen_us)) / 86400e6 as since_days,
    (e.entry_us - e.seen_us) / 86400e6 as known_days, coalesce(t.loans, 0)::double as late
from entered e left join after a using (user) left join gone g using (user)
left join before b using (user) left join late t using (user)
order by e.entry_us, e.user
"""

CURRENCY = """
select currency from counted where type = 'disbursed' and currency is not null and not test
group by currency order by count(*) desc, currency limit 1
"""


def entered(
    tables: Tables,
    begin: datetime,
    end: datetime | None = None,
    *,
    horizon: timedelta = timedelta(days=28),
    eligible: Eligible = "borrowers",
) -> Entered:
    """Every eligible user once, with what came of it within `horizon` of entering.

    Who was eligible at `begin` enters then; who becomes so later enters at that moment, up to `end`
    (exclusive). A loan at the moment of entering is from before. A loan counts as lost when it defaulted or
    was `derive.default_dpd` days past due within the horizon, with what was then outstanding.
    """
    currency = next((found for (found,) in tables.rows(CURRENCY)), None)
    found = tables.db.execute(
        ENTERED,
        {
            "eligible": eligible,
            "begin_us": to_us(begin),
            "end_us": to_us(end) if end is not None else 1 << 62,
            "horizon_us": horizon // MICROSECOND,
            "default_dpd": tables.default_dpd,
            "currency": currency or "",
        },
    ).fetchnumpy()
    column = {name: np.ma.getdata(values) for name, values in found.items()}
    loans, lost = _floats(column["loans"]), _floats(column["lost"])
    return Entered(
        users=tuple(column["user"].tolist()),
        known_us=np.asarray(column["entry_us"], dtype=np.int64) + horizon // MICROSECOND,
        outcomes={
            "reloan": np.asarray(loans > 0, dtype=np.float64),
            "loans": loans,
            "margin": np.asarray(_floats(column["fees"]) - lost),
            "loss": lost,
        },
        facts=np.column_stack(
            [
                np.log1p(_floats(column["before"])),
                np.log1p(_floats(column["since_days"])),
                np.log1p(_floats(column["known_days"])),
                _floats(column["late"]) / np.maximum(_floats(column["before"]), 1.0),
            ]
        ),
        currency=currency,
        as_of=tables.as_of,
    )


def began(one: Holdout) -> datetime | None:
    """When a holdout began by its settings; `None` where they do not say."""
    return None if one.live.from_us == ALWAYS.from_us else from_us(one.live.from_us)


def entered_by(
    tables: Tables,
    one: Holdout,
    begin: datetime,
    *,
    horizon: timedelta = timedelta(days=28),
    eligible: Eligible = "borrowers",
) -> Entered:
    """Who entered that holdout from `begin` until the end that its settings name."""
    end = None if one.live.until_us == ALWAYS.until_us else from_us(one.live.until_us)
    return entered(tables, begin, end, horizon=horizon, eligible=eligible)


def _floats(values: npt.ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)
