"""Loans by campaign and what campaigns cost, read from the tables; the two meet by one rule of binding."""

from collections import defaultdict
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np

from lendsignal.model.attribution import RETARGETING
from lendsignal.model.rates import Rates
from lendsignal.report.campaigns import Campaign, Campaigns, campaigns
from lendsignal.report.days import local_day
from lendsignal.report.development import NEVER
from lendsignal.report.loan_book import Floats, Ints, Kind, LoanBook, Loans, Place, Spent
from lendsignal.report.tables import Tables

LOANS = """
create or replace temp table bid_loan as
with paid_out as (
    select c.seq, c.user, c.loan_id, c.at_us, {app} as app, c.amount, coalesce(c.fee, 0) as fee, c.currency,
        c.term_days, c.due_day, c.product, c.loan_number,
        coalesce(o.channel, '') as channel, coalesce(o.campaign_id, '') as campaign_id,
        coalesce(o.campaign, '') as campaign
    from counted c
    left join bound b on b.seq = c.seq
    left join installation i on i.number = coalesce(b.{rule}, b.held)
    asof left join origin o on o.installation = i.number and c.at_us >= o.from_us
    where c.type = 'disbursed' and not c.test and not c.superseded and not c.reversed and not c.analytics
        and c.loan_id is not null and c.amount is not null and c.currency is not null
), put_off as (
    select user, loan_id, max(due_day) as last_due from counted
    where type = 'extended' and due_day is not null and not superseded group by all
), late as (
    select user, loan_id, min(at_us) as bad_us from counted
    where loan_id is not null and not superseded
        and (type = 'defaulted' or (type = 'overdue' and dpd >= {default_dpd})) group by all
), granted as (
    -- each score among those of its own model, for no two models count alike
    select c.user, c.at_us, (r.score - avg(r.score) over model)
        / nullif(stddev_pop(r.score) over model, 0) as score
    from counted c join raw_events r on r.seq = c.seq
    where c.type = 'credit_granted' and not c.superseded and r.score is not null
    window model as (partition by c.brand, r.score_version)
)
select row_number() over (order by p.at_us, p.seq) - 1 as place, p.*, a.country,
    {local_day} as day, {today} as today, e.last_due::date as put_off_to, l.bad_us, {bad_day} as bad_day,
    g.score
from paid_out p
left join app a on a.app = p.app
left join put_off e on e.user = p.user and e.loan_id = p.loan_id
left join late l on l.user = p.user and l.loan_id = p.loan_id
asof left join granted g on g.user = p.user and p.at_us >= g.at_us
"""

INSTALMENTS = """
create or replace temp table bid_instalment as
with planned as (
    select l.place, l.user, l.loan_id, l.app, l.today, s.due_day::date as due_day, s.amount
    from bid_loan l join instalment s on s.seq = l.seq where s.due_day is not null
), whole as (
    select * from planned union all
    select place, user, loan_id, app, today, coalesce(due_day::date, day + term_days), amount + fee
    from bid_loan l where coalesce(due_day::date, day + term_days) is not null
        and not exists (from planned p where p.place = l.place)
)
select place, user, loan_id, app, today, row_number() over loan as k, due_day,
    sum(amount) over loan as owed_so_far from whole
window loan as (partition by place order by due_day rows unbounded preceding)
"""

PAID = """
create or replace temp table bid_paid as
select l.place, c.at_us, {day} as day,
    sum(c.amount) over (partition by l.place order by c.at_us, c.seq) as paid
from bid_loan l join counted c on c.user = l.user and c.loan_id = l.loan_id
where c.type in ('repaid', 'recovered') and c.amount is not null and not c.superseded and not c.reversed
"""

NEARLY = 0.995
"""Paid is who has paid this part: schedules are rounded, and so are payments."""

MOST_DAYS = 730
"""Older loans and older spend say nothing of what to bid today."""

_COLUMNS = (
    "campaign_id, campaign, channel, product, country, term_days, currency, amount, fee, loan_number, score,"
    " date_diff('day', today, day), date_diff('day', today, bad_day), day,"
    " date_diff('day', today, put_off_to)"
)


def loan_book(
    tables: Tables, *, currency: str, rates: Rates | None = None, binding: str = "last_login"
) -> LoanBook:
    """Everything that advice on bids is made from, in one currency.

    Spend of campaigns and loans of the users they brought, as `binding` says. Loans without a due day are
    left out, as is money that no rate can convert; the notes count both. Days of spend are the accounts' own,
    days of loans those of their apps.
    """
    known = campaigns(tables)
    spend, last, left_out = _spend(tables, known, currency, rates)
    today = date(1970, 1, 1) if tables.as_of is None else tables.as_of.date()
    places = _places(tables, known, list(spend))
    _make(tables, binding)
    loans, kinds, notes = _loans(tables, known, {one: n for n, one in enumerate(spend)}, currency, rates)
    if left_out:
        notes = (*notes, f"{left_out:,} days of cost in currencies without a rate left out.")
    return LoanBook(
        campaigns=places,
        kinds=kinds,
        loans=loans,
        spent=_by_day(spend, last, today),
        today=today.isoformat(),
        currency=currency,
        binding=binding,
        notes=notes,
    )


def _make(tables: Tables, binding: str) -> None:
    app = "coalesce(nullif(i.app, ''), c.app)"
    as_of_us = "0" if tables.as_of is None else str(int(tables.as_of.timestamp() * 1_000_000))
    tables.db.execute(
        LOANS.format(
            app=app,
            rule=binding,
            default_dpd=tables.default_dpd,
            local_day=local_day(tables, "p.at_us", "p.app"),
            today=local_day(tables, as_of_us, "p.app"),
            bad_day=local_day(tables, "l.bad_us", "p.app"),
        )
    )
    tables.db.execute(INSTALMENTS)
    tables.db.execute(PAID.format(day=local_day(tables, "c.at_us", "l.app")))


def _loans(
    tables: Tables, known: Campaigns, numbers: dict[Campaign, int], currency: str, rates: Rates | None
) -> tuple[Loans, list[Kind], tuple[str, ...]]:
    due, paid_on = _instalments(tables)
    paid = dict(tables.rows("select place, max(paid) from bid_paid group by place"))
    kinds: dict[Kind, int] = {}
    rows: list[tuple[Any, ...]] = []
    without_due = without_rate = 0
    for place, one in enumerate(tables.rows(f"select {_COLUMNS} from bid_loan order by place")):
        (
            id_,
            name,
            channel,
            product,
            country,
            term,
            told,
            amount,
            fee,
            number,
            score,
            day,
            bad,
            local,
            until,
        ) = one
        if day < -MOST_DAYS:
            continue
        if place not in due:
            without_due += 1
            continue
        worth = Decimal(1) if told == currency else None
        if worth is None and rates is not None:
            worth = rates.converted(Decimal(1), local, told, currency)
        if worth is None:
            without_rate += 1
            continue
        factor = float(worth)
        days = [*due[place][:-1], max(due[place][-1], until if until is not None else due[place][-1])]
        kind = Kind(product or "", country or "", int(term or days[-1] - day), len(days))
        rows.append(
            (
                numbers.get(known.of(channel, id_, name), -1),
                kinds.setdefault(kind, len(kinds)),
                day,
                NEVER if bad is None else bad,
                days,
                paid_on[place],
                float(amount) * factor,
                float(fee) * factor,
                float(amount + fee) * factor,
                float(paid.get(place, 0)) * factor,
                float("nan") if score is None else float(score),
                number is not None and number > 1,
            )
        )
    notes = (
        *((f"{without_due:,} loans without a due day left out.",) if without_due else ()),
        *((f"{without_rate:,} loans in currencies without a rate left out.",) if without_rate else ()),
    )
    return _columns(rows), list(kinds), notes


def _columns(rows: list[tuple[Any, ...]]) -> Loans:
    def whole(place: int) -> Ints:
        return np.array([row[place] for row in rows], dtype=np.int64)

    def money(place: int) -> Floats:
        return np.array([row[place] for row in rows], dtype=np.float64)

    return Loans(
        campaign=whole(0),
        kind=whole(1),
        disbursed=whole(2),
        bad_on=whole(3),
        due=_ragged([row[4] for row in rows]),
        paid_on=_ragged([row[5] for row in rows]),
        amount=money(6),
        fee=money(7),
        owed=money(8),
        paid=money(9),
        score=money(10),
        is_repeat=np.array([row[11] for row in rows], dtype=np.bool_),
    )


def _ragged(parts: list[list[int]]) -> Ints:
    width = max(map(len, parts), default=1)
    return np.array([[*part, *[NEVER] * (width - len(part))] for part in parts], dtype=np.int64).reshape(
        len(parts), width
    )


def _instalments(tables: Tables) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Of each loan by its place: the days its instalments are due, and those all up to them were paid."""
    due: dict[int, list[int]] = defaultdict(list)
    paid_on: dict[int, list[int]] = defaultdict(list)
    for place, due_in, paid_in in tables.rows(
        "select i.place, date_diff('day', any_value(i.today), any_value(i.due_day)),"
        f" date_diff('day', any_value(i.today), min(p.day) filter (p.paid >= {NEARLY} * i.owed_so_far))"
        " from bid_instalment i left join bid_paid p on p.place = i.place"
        " group by i.place, i.k, i.owed_so_far order by i.place, i.k"
    ):
        due[place].append(due_in)
        paid_on[place].append(NEVER if paid_in is None else paid_in)
    return due, paid_on


def _spend(
    tables: Tables, known: Campaigns, currency: str, rates: Rates | None
) -> tuple[dict[Campaign, dict[date, float]], dict[str, date], int]:
    """Each campaign's cost by day, the last day that each channel tells of, and how many are left out."""
    spend: dict[Campaign, dict[date, float]] = defaultdict(lambda: defaultdict(float))
    last: dict[str, date] = {}
    missing = 0
    for channel, id_, name, day, told, amount in tables.rows(
        "select channel, campaign_id, campaign, day, currency, sum(amount) from spend"
        " group by all order by all"
    ):
        on = date.fromisoformat(str(day))
        worth = amount if told == currency else None
        if worth is None and rates is not None:
            worth = rates.converted(amount, on, told, currency)
        if worth is None:
            missing += 1
            continue
        last[channel] = max(last.get(channel, on), on)
        spend[known.of(channel, id_, name)][on] += float(worth)
    return spend, last, missing


def _by_day(spend: dict[Campaign, dict[date, float]], last: dict[str, date], today: date) -> Spent:
    first = min((day for days in spend.values() for day in days), default=today)
    width = min(max((max(last.values(), default=today) - first).days + 1, 1), MOST_DAYS)
    found = np.zeros((len(spend), width))
    for place, (campaign, days) in enumerate(spend.items()):
        for day, amount in days.items():
            at = width - 1 - (last[campaign.channel] - day).days
            if at >= 0:
                found[place, at] += amount
    until = [min((last[campaign.channel] - today).days, 0) for campaign in spend]
    return Spent(found, np.array(until, dtype=np.int64))


def _places(tables: Tables, known: Campaigns, spent: list[Campaign]) -> list[Place]:
    """The campaigns that cost something, and which of them win back rather than win."""
    came: dict[Campaign, list[int]] = defaultdict(lambda: [0, 0])
    for channel, id_, name, kind, n in tables.rows(
        "select channel, campaign_id, campaign, kind, count(*) from attribution group by all"
    ):
        came[known.of(channel, id_, name)][kind in RETARGETING] += n
    return [Place(one.channel, one.id, one.name, is_retargeting=came[one][1] > came[one][0]) for one in spent]
