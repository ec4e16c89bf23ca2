"""What became of the loans that were paid out in one week or month: repaid, late, lost, and still to come."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.errors import InputError
from lendsignal.report.days import local_day
from lendsignal.report.development import NEVER, Curve, Days, Group, Shares, curve_of, developed
from lendsignal.report.funnel import exact
from lendsignal.report.layout import MONEY, SHARE, Cell, Report, Table, columns, table
from lendsignal.report.rates import THIN, Rate
from lendsignal.report.slices import Every, Slice, facts, period_of, today
from lendsignal.report.tables import Tables

Part: TypeAlias = tuple[str, ...]

BY_CAMPAIGN = Slice(by=("campaign",))

MEASURES = ("1dpd", "7dpd", "15dpd", "30dpd", "default")
"""Ever so many days past due, and lost."""

AGES = (7, 14, 30, 60, 90, 180)
"""Days since the disbursement, at which the repayment curve is told."""

SEEN_BY = "case " + " ".join(f"when age >= {age} then {age}" for age in reversed(AGES)) + " else -1 end"
"""SQL of the last of `AGES` that a loan has reached."""

PAID_BY = "case " + " ".join(f"when paid_age <= {age} then {age}" for age in AGES) + " else 1000000 end"
"""SQL of the first of `AGES` that a payment lies within."""

DUE_AGES = (-15, 0, 1, 3, 7, 15, 30, 45, 60, 90)
"""Days past the final due day, at which the development curve is told."""

LATER = (3, 7, 15, 30, 60)
"""Days past due, of which it is told how many first repayments came later."""

MATURE = 0.95
"""The part of its bad loans that is known, from which on a vintage counts as mature."""

LENT_PART = """
create or replace temp table lent_part as  -- a number is quicker to count by than what it stands for
select part, row_number() over (order by part) as place
from (select distinct part from lent_fact where loan is not null and amount is not null)
"""

LENT = """
create or replace temp table lent as
with due as (
    select seq, max(due_day) as last_due, sum(amount) as owed from instalment group by seq
), put_off as (
    select loan, max(due_day) as last_due from counted
    where type = 'extended' and loan is not null and due_day is not null and not superseded group by all
), aged as (
    select p.seq, p.loan, p.at_us, p.app, p.amount, p.amount + coalesce(p.fee, 0) as owed,
        coalesce(p.currency, '(none)') as currency, p.term_days, p.due_day, n.place,
        {local_day} as day, {vintage} as vintage, {today} as today
    from lent_fact p join lent_part n on n.part = p.part where p.loan is not null and p.amount is not null
)
select p.seq, p.loan, p.at_us, p.app, p.due_day, p.currency, p.amount, p.place,
    coalesce(d.owed, p.owed) as owed, p.day, p.vintage, p.today, date_diff('day', p.day, p.today) as age,
    greatest(try_cast(coalesce(d.last_due, p.due_day) as date), try_cast(e.last_due as date),
        case when coalesce(d.last_due, p.due_day, e.last_due) is null then p.day + p.term_days end) as due
from aged p left join due d on d.seq = p.seq
left join put_off e on e.loan = p.loan
"""

BAD = """
create or replace temp table bad as  -- the loans of which anything late was told, and when they were how late
with late as (
    select loan, {reached} from (
        select *, case type when 'defaulted' then 1000000 else dpd end as days from counted
        where type in ('overdue', 'defaulted') and loan is not null and not superseded
    ) group by loan
)
select p.loan, p.vintage, p.place, p.currency, p.owed, {columns}
from late l join lent p on p.loan = l.loan
"""

PAID = """
create or replace temp table paid_back as  -- by the ages that the loan and the payment have reached
select vintage, place, currency, {seen_by} as seen_by, {paid_by} as paid_by, sum(amount) as amount
from (
    select l.vintage, l.place, l.currency, l.age, c.amount, date_diff('day', l.day, {day}) as paid_age
    from lent l join counted c on c.loan = l.loan where {is_paid}
) group by all
"""

IS_PAID = "c.type in ('repaid', 'recovered') and c.amount is not null and not c.superseded and not c.reversed"

BOOK = """
with back as (
    select vintage, place, currency, sum(amount) as amount from paid_back group by vintage, place, currency
), book as (
    select vintage, place, currency, count(*) as loans, sum(amount) as amount, sum(owed) as owed
    from lent group by vintage, place, currency
)
select k.vintage, n.part, k.currency, k.loans, k.amount, k.owed, coalesce(b.amount, 0) as repaid
from book k join lent_part n on n.place = k.place
left join back b on b.vintage = k.vintage and b.place = k.place and b.currency = k.currency
order by k.vintage, n.part, k.currency
"""

BAD_BOOK = """
with back as (
    select b.loan, {at_bad},
        sum(c.amount) filter (b."us_default" is not null and c.at_us > b."us_default") as recovered
    from bad b join counted c on c.loan = b.loan where {is_paid} group by b.loan
), told as (
    select b.vintage, b.place, b.currency, coalesce(sum(k.recovered), 0) as recovered, {bad}
    from bad b left join back k on k.loan = b.loan group by b.vintage, b.place, b.currency
)
select t.vintage, n.part, t.* exclude (vintage, place) from told t join lent_part n on n.place = t.place
"""

FIRST_PAID = """
with repaid as (
    select loan, at_us, app, due_day from counted
    where type = 'repaid' and loan is not null and not superseded and not reversed
), first as (
    select loan, min(at_us) as at_us from repaid group by loan
), due as (  -- of the payments that tell which instalment they are for
    select loan, at_us, max(due_day) as due_day from repaid where due_day is not null group by loan, at_us
), at_app as (
    select loan, arg_min(app, at_us) as app from repaid
    where loan in (select loan from lent where nullif(app, '') is null) group by loan
), scheduled as (
    select seq, min(due_day) as due_day from instalment group by seq
), b as (
    select l.place, f.at_us, coalesce(nullif(l.app, ''), a.app) as app,
        try_cast(coalesce(nullif(d.due_day, ''), s.due_day, l.due_day) as date) as due
    from lent l join first f on f.loan = l.loan
    left join due d on d.loan = f.loan and d.at_us = f.at_us
    left join at_app a on a.loan = l.loan
    left join scheduled s on s.seq = l.seq
), told as (select place, due, {day} as day from b where due is not null
), counted_by as (select place, count(*) as n, {counts} from told group by place)
select p.part, c.* exclude (place) from counted_by c join lent_part p on p.place = c.place
order by c.n desc, p.part
"""

CURVE = """
with seen as (
    select vintage, currency, {seen_by} as seen_by, count(*) as n, sum(owed) as owed
    from lent group by all
), loans as (
    select vintage, currency, sum(n)::bigint as n, {seen} from seen group by vintage, currency
), back as (
    select vintage, currency, {paid} from paid_back group by vintage, currency
)
select l.vintage, l.currency, l.n, {told} from loans l
left join back b on b.vintage = l.vintage and b.currency = l.currency order by l.vintage, l.currency
"""
"""What was paid back by each age, of the loans that are that old."""


class Vintages(Report, frozen=True, kw_only=True):
    """`vintages` has money, `repayment` its curve, `delinquency` lateness and default with what is to come,
    `campaigns` the same by campaign (or what the report is sliced by), `punctuality` when the first repayment
    came, `development` the curves used."""

    vintages: Table
    repayment: Table
    delinquency: Table
    campaigns: Table
    punctuality: Table
    development: Table


class _Book(Struct, frozen=True):
    """One vintage, part and currency: exact sums, and for each measure how many loans and their balance."""

    vintage: str
    part: Part
    currency: str
    loans: int
    amount: Decimal
    owed: Decimal
    repaid: Decimal
    recovered: Decimal
    bad: Mapping[str, tuple[int, Decimal]]


class _Keys(Struct, frozen=True):
    """What each loan is told apart by: the names there are, in order, and the place of each loan's own."""

    names: "Sequence[_Name]"
    place: Days


class _Loans(Struct, frozen=True):
    """What curves are made of, one entry a loan: due ages at which it went bad and until which it is seen."""

    vintage: _Keys
    part: _Keys
    term: Days
    seen_until: Days
    bad_at: Mapping[str, Days]


def vintages(tables: Tables, one: Slice = BY_CAMPAIGN) -> Vintages:
    """Loans by when they were paid out, developed to maturity.

    A vintage is a week, or what `every` of the slice says; `by` is what `campaigns` is told apart by. Late
    and lost are as the lender's own `overdue` and `defaulted` events say; lost is a loan that defaulted or
    is `derive.default_dpd` days past due, whichever comes first. Days are those of the loan's app. A balance
    is what was outstanding when it happened, of principal and fee. Raises `InputError` where the slice names
    what there is not.
    """
    if "conversion" in one.by:  # a loan makes several, and would count in each
        raise InputError("by", "vintages are not told apart by conversion; see --where")
    every = one.every or "week"
    _lend(tables, one, every)
    books, loans = _books(tables), _loans(tables)
    curves = {measure: _curves(loans, measure) for measure in MEASURES}
    known = {measure: _known(loans, curves[measure]) for measure in MEASURES}
    words = replace(one, by=(), every=None).words
    return Vintages(
        title=", ".join(filter(None, (f"Vintages by {every}", words))),
        as_of=tables.as_of,
        vintages=_money(books, loans, known["default"]),
        repayment=_repayment(tables),
        delinquency=_delinquency(books, loans, known),
        campaigns=_campaigns(books, loans, known, one.by),
        punctuality=_punctuality(tables, one.by),
        development=_development(curves),
        notes=_notes(tables),
    )


def _lend(tables: Tables, one: Slice, every: Every) -> None:
    lent = "c.type = 'disbursed' and not c.superseded and not c.reversed"
    beside = "c.loan, c.at_us, c.amount, c.fee, c.currency, c.term_days, c.due_day"
    facts(tables, replace(one, every=None), into="lent_fact", only=lent, beside=beside)
    tables.db.execute(LENT_PART)
    tables.db.execute(
        LENT.format(
            local_day=local_day(tables, "p.at_us", "p.app"),
            vintage=period_of(tables, every, "p.at_us", "p.app"),
            today=today(tables, "p.app"),
        )
    )
    default = f"days >= {tables.default_dpd}"
    reached = {measure: f"days >= {measure.removesuffix('dpd')}" for measure in MEASURES[:-1]}
    reached["default"] = default
    tables.db.execute(
        BAD.format(
            reached=", ".join(
                f'min(at_us) filter ({test}) as "us_{measure}",'
                f' arg_min(outstanding, at_us) filter ({test}) as "left_{measure}"'
                for measure, test in reached.items()
            ),
            columns=", ".join(_reached_at(tables, measure) for measure in MEASURES),
        )
    )
    tables.db.execute(
        PAID.format(
            day=local_day(tables, "c.at_us", "c.app"), is_paid=IS_PAID, seen_by=SEEN_BY, paid_by=PAID_BY
        )
    )


def _reached_at(tables: Tables, measure: str) -> str:
    day = local_day(tables, f'l."us_{measure}"', "p.app")
    age = f"date_diff('day', p.due, {day})"
    known = ", ".join(f'l."{what}_{measure}" as "{what}_{measure}"' for what in ("us", "left"))
    return f'{known}, {age} as "age_{measure}"'


def _books(tables: Tables) -> list[_Book]:
    at_bad = ", ".join(
        f'sum(c.amount) filter (c.at_us <= b."us_{measure}") as "paid_{measure}"' for measure in MEASURES
    )
    bad = ", ".join(
        f'count(b."us_{measure}") as "n_{measure}", coalesce(sum(coalesce(b."left_{measure}",'
        f' greatest(b.owed - coalesce(k."paid_{measure}", 0), 0)))'
        f' filter (b."us_{measure}" is not null), 0) as "balance_{measure}"'
        for measure in MEASURES
    )
    told = {
        (vintage, tuple(part), currency): (recovered, counts)
        for vintage, part, currency, recovered, *counts in tables.rows(
            BAD_BOOK.format(at_bad=at_bad, bad=bad, is_paid=IS_PAID)
        )
    }
    none = Decimal(0), [0, Decimal(0)] * len(MEASURES)
    found = []
    for vintage, part, currency, loans, amount, owed, repaid in tables.rows(BOOK):
        recovered, counts = told.get((vintage, tuple(part), currency), none)
        by_measure = dict(zip(MEASURES, zip(counts[::2], counts[1::2], strict=True), strict=True))
        found.append(
            _Book(vintage, tuple(part), currency, loans, amount, owed, repaid, recovered, by_measure)
        )
    return found


def _loans(tables: Tables) -> _Loans:
    ages = ", ".join(f'coalesce(b."age_{measure}", {NEVER}) as "age_{measure}"' for measure in MEASURES)
    tables.db.execute(
        "create or replace temp table cell as select vintage, place, row_number() over () as number"
        " from (select distinct vintage, place from lent where due is not null)"
    )
    cells = tables.rows("select number, vintage, part from cell join lent_part using (place)")
    found = tables.db.execute(
        "select c.number, date_diff('day', l.day, l.due) as term,"
        f" date_diff('day', l.due, l.today) as seen_until, {ages}"
        " from lent l join cell c on c.vintage = l.vintage and c.place = l.place"
        " left join bad b on b.loan = l.loan where l.due is not null order by l.at_us, l.loan"
    ).fetchnumpy()
    of_cell = found["number"]
    return _Loans(
        _keys(of_cell, {number: vintage for number, vintage, _ in cells}),
        _keys(of_cell, {number: tuple(part) for number, _, part in cells}),
        found["term"].astype(np.int64),
        found["seen_until"].astype(np.int64),
        {measure: found[f"age_{measure}"].astype(np.int64) for measure in MEASURES},
    )


def _keys(of_cell: Days, names: "Mapping[int, _Name]") -> _Keys:
    """The keys of loans whose cell's number is known, and each cell's name."""
    known = sorted(set(names.values()))
    place = np.zeros(max(names, default=0) + 1, dtype=np.int64)
    for number, name in names.items():
        place[number] = known.index(name)
    return _Keys(known, place[of_cell])


def _curves(loans: _Loans, measure: str) -> dict[int | None, Curve]:
    """The curve of each term that has enough loans for its own, and under `None` that of all."""
    found: dict[int | None, Curve] = {}
    bad_at = loans.bad_at[measure]
    for term in (None, *np.unique(loans.term).tolist()):
        mine = np.ones(len(bad_at), dtype=np.bool_) if term is None else loans.term == term
        curve = curve_of(bad_at[mine], np.maximum(loans.seen_until[mine], _latest(bad_at[mine])))
        if curve is not None:
            found[term] = curve
    return found


def _latest(bad_at: Days) -> Days:
    """A loan that went bad is seen until then at least."""
    return np.where(bad_at < NEVER, bad_at, np.iinfo(np.int64).min)


def _known(loans: _Loans, curves: Mapping[int | None, Curve]) -> Shares | None:
    """For each loan the chance that it would be known to be bad by now, if it were; `None`: it is unknown."""
    if None not in curves:
        return None
    known = curves[None].at(loans.seen_until)
    for term, curve in curves.items():
        if term is not None:
            mine = loans.term == term
            known[mine] = curve.at(loans.seen_until[mine])
    return known


def _groups(
    loans: _Loans, keys: _Keys, known: Shares | None, measure: str
) -> "tuple[list[_Name], list[Group]]":
    """The groups of loans with one key, and what each amounts to; none where there is no curve."""
    if known is None:
        return [], []
    count = np.bincount(keys.place)
    bad = np.bincount(keys.place, weights=loans.bad_at[measure] < NEVER)
    exposure = np.bincount(keys.place, weights=known)
    return list(keys.names), [
        Group(int(n), int(k), float(worth)) for n, k, worth in zip(count, bad, exposure, strict=True)
    ]


def _money(books: Sequence[_Book], loans: _Loans, known: Shares | None) -> Table:
    names, groups = _groups(loans, loans.vintage, known, "default")
    maturity = {name: one.maturity for name, one in zip(names, groups, strict=True)}
    rows: list[tuple[Cell, ...]] = []
    for (vintage, currency), mine in _by(books, "vintage").items():
        owed, repaid = _sum(mine, "owed"), _sum(mine, "repaid")
        lost = sum(one.bad["default"][0] for one in mine)
        balance = sum((one.bad["default"][1] for one in mine), Decimal(0))
        back = _sum(mine, "recovered")
        rows.append(
            (
                vintage,
                currency,
                sum(one.loans for one in mine),
                exact(_sum(mine, "amount")),
                exact(owed),
                exact(repaid),
                _share(repaid, owed),
                lost,
                exact(balance),
                exact(back),
                _share(back, balance),
                maturity.get(vintage),
                _remark(sum(one.loans for one in mine), maturity.get(vintage)),
            )
        )
    return table(
        "Vintages",
        columns(
            "vintage currency loans amount owed repaid repaid_share lost balance_lost recovered recovery_rate"
            " maturity remark",
            amount=MONEY,
            owed=MONEY,
            repaid=MONEY,
            repaid_share=SHARE,
            balance_lost=MONEY,
            recovered=MONEY,
            recovery_rate=SHARE,
            maturity=SHARE,
        ),
        rows,
        "vintage: its first day. owed: principal and fee. repaid: recoveries included. recovered: what came"
        "\nafter the loan was lost, and recovery_rate its share of what was then outstanding."
        f"\nmaturity: part of its lost loans that should be known by now; maturing: less than {MATURE:.0%}.",
    )


def _repayment(tables: Tables) -> Table:
    seen = ", ".join(
        f"coalesce(sum(n) filter (seen_by >= {age}), 0)::bigint as seen_{age},"
        f" sum(owed) filter (seen_by >= {age}) as owed_{age}"
        for age in AGES
    )
    paid = ", ".join(
        f"sum(amount) filter (paid_by <= {age} and seen_by >= {age}) as paid_{age}" for age in AGES
    )
    told = ", ".join(f"l.seen_{age}, l.owed_{age}, coalesce(b.paid_{age}, 0) as paid_{age}" for age in AGES)
    curve = CURVE.format(seen_by=SEEN_BY, seen=seen, paid=paid, told=told)
    rows: list[tuple[Cell, ...]] = [
        (
            vintage,
            currency,
            age,
            seen,
            exact(owed),
            exact(repaid),
            _share(repaid, owed),
            "" if seen == loans else "maturing",
        )
        for vintage, currency, loans, *by_age in tables.rows(curve)
        for age, (seen, owed, repaid) in zip(AGES, zip(*[iter(by_age)] * 3, strict=True), strict=True)
        if seen
    ]
    return table(
        "Repayment curve",
        columns(
            "vintage currency age loans owed repaid repaid_share remark",
            owed=MONEY,
            repaid=MONEY,
            repaid_share=SHARE,
        ),
        rows,
        "age: days since the disbursement. Of the loans that are that old; maturing: not all are yet.",
    )


def _delinquency(books: Sequence[_Book], loans: _Loans, known: Mapping[str, Shares | None]) -> Table:
    outlook = _outlook(loans, loans.vintage, known)
    rows: list[tuple[Cell, ...]] = []
    for (vintage, currency), mine in _by(books, "vintage").items():
        n, owed = sum(one.loans for one in mine), _sum(mine, "owed")
        for measure in MEASURES:
            bad = sum(one.bad[measure][0] for one in mine)
            balance = sum((one.bad[measure][1] for one in mine), Decimal(0))
            group, final = outlook.get((measure, vintage), (None, None))
            rows.append(
                (
                    vintage,
                    currency,
                    measure,
                    n,
                    bad,
                    *_observed(bad, n),
                    exact(balance),
                    _share(balance, owed),
                    None if final is None else final.final,
                    None if final is None else final.final_low,
                    None if final is None else final.final_high,
                    None if group is None else group.maturity,
                    _remark(n, None if group is None else group.maturity),
                )
            )
    return table(
        "Late and lost, by count and by balance",
        columns(
            "vintage currency measure loans reached rate_by_count low high balance rate_by_balance"
            " developed developed_low developed_high maturity remark",
            rate_by_count=SHARE,
            low=SHARE,
            high=SHARE,
            balance=MONEY,
            rate_by_balance=SHARE,
            developed=SHARE,
            developed_low=SHARE,
            developed_high=SHARE,
            maturity=SHARE,
        ),
        rows,
        "measure: ever so many days past due, or lost. rates: so far, of all loans of the vintage, and of"
        "\nwhat they owe. developed: the rate by count that these loans come to, with its 95 % interval."
        "\nEmpty where fewer than 30 loans reached the measure: nothing is known of how it develops."
        "\nA vintage in several currencies is developed as one.",
    )


def _campaigns(
    books: Sequence[_Book], loans: _Loans, known: Mapping[str, Shares | None], by: tuple[str, ...]
) -> Table:
    outlook = _outlook(loans, loans.part, known)
    rows: list[tuple[Cell, ...]] = []
    for (part, currency), mine in _by(books, "part").items():
        n, owed = sum(one.loans for one in mine), _sum(mine, "owed")
        repaid = _sum(mine, "repaid")
        for measure in MEASURES:
            bad = sum(one.bad[measure][0] for one in mine)
            balance = sum((one.bad[measure][1] for one in mine), Decimal(0))
            group, found = outlook.get((measure, part), (None, None))
            rows.append(
                (
                    *part,
                    currency,
                    measure,
                    n,
                    exact(_sum(mine, "amount")),
                    _share(repaid, owed),
                    bad,
                    *_observed(bad, n),
                    _share(balance, owed),
                    None if found is None else found.rate,
                    None if found is None else found.rate_low,
                    None if found is None else found.rate_high,
                    None if group is None else group.maturity,
                    _remark(n, None if group is None else group.maturity),
                )
            )
    return table(
        f"By {' and '.join(key.replace('_', ' ') for key in by)}" if by else "All loans",
        columns(
            f"{' '.join(by)} currency measure loans amount repaid_share reached rate_by_count low high"
            " rate_by_balance developed developed_low developed_high maturity remark",
            amount=MONEY,
            repaid_share=SHARE,
            rate_by_count=SHARE,
            low=SHARE,
            high=SHARE,
            rate_by_balance=SHARE,
            developed=SHARE,
            developed_low=SHARE,
            developed_high=SHARE,
            maturity=SHARE,
        ),
        rows,
        "developed: the rate to expect of such loans, blended with that of all by as much as chance explains"
        "\nof the differences; compare campaigns by it and its interval, not by the rate so far.",
    )


_Name: TypeAlias = str | Part
"""What loans are gathered by: their vintage, or where they came from."""

_Outlook: TypeAlias = dict[tuple[str, _Name], tuple[Group, Any]]


def _outlook(loans: _Loans, keys: _Keys, known: Mapping[str, Shares | None]) -> _Outlook:
    """For each measure and key the group and what it comes to."""
    found: _Outlook = {}
    for measure, chances in known.items():
        names, groups = _groups(loans, keys, chances, measure)
        for name, group, final in zip(names, groups, developed(groups), strict=True):
            found[measure, name] = group, final
    return found


def _punctuality(tables: Tables, by: tuple[str, ...]) -> Table:
    days = "date_diff('day', due, day)"
    tests = {
        "early": f"{days} < 0",
        "on the day": f"{days} = 0",
        "late": f"{days} > 0",
        **{f"more than {n} days late": f"{days} > {n}" for n in LATER},
    }
    counts = ", ".join(f"count(*) filter ({test}) as n_{place}" for place, test in enumerate(tests.values()))
    found = tables.rows(FIRST_PAID.format(day=local_day(tables, "b.at_us", "b.app"), counts=counts))
    rows: list[tuple[Cell, ...]] = []
    for part, loans, *hits in found:
        for what, n in zip(tests, hits, strict=True):
            rate = Rate(n, loans)
            rows.append((*part, what, n, loans, rate.value, rate.low, rate.high, rate.remark))
    return table(
        "First repayment against its due day",
        columns(
            f"{' '.join(by)} first_repayment loans of share low high remark",
            share=SHARE,
            low=SHARE,
            high=SHARE,
        ),
        rows,
        "of: the loans with a repayment and a due day; its own, where the repayment tells it, else the loan's"
        "\nfirst. Days are those of the app. Who has not paid yet is not in it: see the delinquency above.",
    )


def _development(curves: Mapping[str, Mapping[int | None, Curve]]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for measure, of_terms in curves.items():
        for term, curve in of_terms.items():
            known = curve.at(np.array(DUE_AGES, dtype=np.int64))
            last = curve.first + len(curve.share) - 1
            before = 0.0
            for age, share in zip(DUE_AGES, known.tolist(), strict=True):
                if age <= last and share > before:
                    rows.append((measure, "all" if term is None else str(term), age, share, curve.bad))
                    before = share
    return table(
        "Development curves",
        columns("measure term due_age known reached", known=SHARE),
        rows,
        "known: the part of all loans that ever reach the measure which have by that many days past the final"
        "\ndue day; ages at which nothing new is known are left out. term: in days, or `all`, which is used"
        "\nfor terms with too few such loans of their own. reached: how many loans tell it.",
    )


def _notes(tables: Tables) -> tuple[str, ...]:
    told = (
        (
            tables.number("select count(*) from lent where due is null"),
            "loans have no due day: not developed",
        ),
        (
            tables.number(
                "select count(*) from counted where type = 'disbursed' and not test and not superseded"
                " and not reversed and (loan_id is null or amount is null)"
            ),
            "disbursements without a loan id or an amount left out",
        ),
    )
    notes = [f"{n:,} {words}." for n, words in told if n]
    lateness = "select count(*) from counted where type in ('overdue', 'defaulted')"
    if tables.number("select count(*) from lent") and not tables.number(lateness):
        notes.append("No `overdue` or `defaulted` event was told: nothing is known to be late or lost.")
    return tuple(notes)


def _by(books: Sequence[_Book], field: str) -> dict[tuple[Any, str], list[_Book]]:
    found: dict[tuple[Any, str], list[_Book]] = defaultdict(list)
    for one in books:
        found[getattr(one, field), one.currency].append(one)
    return dict(sorted(found.items()))


def _sum(books: Sequence[_Book], field: str) -> Decimal:
    return sum((getattr(one, field) for one in books), Decimal(0))


def _share(part: Decimal, whole: Decimal) -> float | None:
    return float(part / whole) if whole else None


def _observed(bad: int, n: int) -> tuple[float | None, float | None, float | None]:
    rate = Rate(bad, n)
    return rate.value, rate.low, rate.high


def _remark(loans: int, maturity: float | None) -> str:
    words = ("thin" if loans < THIN else "", "maturing" if maturity is not None and maturity < MATURE else "")
    return " ".join(filter(None, words))
