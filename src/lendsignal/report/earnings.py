"""What loans earn and lose, and what that is beside the cost: by span of time, and by age of the cohort.

A loan *earns* the fees that are repaid, those of extensions too; where a repayment does not tell its fee, the
loan's own share of fees is taken. A loan that is lost (`defaulted`, or `derive.default_dpd` days past due)
*loses* the principal that is out at that moment, and what comes back afterwards makes the loss smaller. So
earned less lost is, of a loan that is over, all that came back less what was paid out.

Money stands where its loan's disbursement is bound to. The interval of a sum of money is that of a compound
Poisson sum: as if users came at random, each with what they brought, its variance is the sum of the squares
(W. Feller, An Introduction to Probability Theory and Its Applications I, 3rd ed., XII.2).
"""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from math import atanh, isfinite, sqrt, tanh
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from lendsignal.clock import to_us
from lendsignal.errors import InputError
from lendsignal.model.rates import Rates
from lendsignal.report.days import DAY_US, local_day
from lendsignal.report.layout import MONEY, SHARE, Cell, Table, columns, table
from lendsignal.report.rates import THIN, Z95
from lendsignal.report.slices import (
    AD_KEYS,
    CAME_KEYS,
    Cohort,
    Slice,
    came_facts,
    facts,
    period_of,
    spent_facts,
    tied,
    tied_facts,
    today,
    within,
)
from lendsignal.report.spend import rounded
from lendsignal.report.tables import Tables

HORIZONS = (0, 7, 14, 30, 60, 90)
"""Days after the day on which a cohort came, at which its return is told: D0 is that day itself."""

Part: TypeAlias = tuple[str, ...]

_Parts: TypeAlias = Mapping[int, Part] | None
"""What the numbers of parts stand for; `None`: parts stand for themselves."""

CASH = """
create or replace temp table {into} as
with f as (
    select {placed} as part, f.app, f.moment_us, b.user_key, b.currency, b.at_us, b.earned, b.lost
    from booked b join {facts} f on f.loan = b.loan
    {tied}
)
select {part} as part, f.user_key, {currency} as currency, f.earned{times_rate} as earned,
    f.lost{times_rate} as lost, {missing} as without_rate{beside}
from f
{rates}
where {held}
"""

TIED = "union all select place, app, moment_us, user_key, currency, at_us, earned, lost from {tied}"
"""What was prepared of loans and installations together: parts have numbers, for both."""

BROUGHT = ("currency", "at_us", "earned", "lost")

AGED = ", date_diff('day', {cohort_day}, {day}) as age, date_diff('day', {cohort_day}, {today}) as age_now"
"""How old a cohort was when the money moved, and is now."""

SUMS = """
with mine as (
    select part, currency, {mine} from {cash} where not without_rate group by part, currency, user_key
)
select part, currency, {sums} from mine group by part, currency
"""

EARLY, LATE = (7, 30, 90), 180
"""Days after a user's first loan: how much the first ones tell of the last."""

EARLY_VALUE = """
with first as (
    select user_key, arg_min(seq, at_us) as seq, min(at_us) as at_us from counted
    where type = 'disbursed' and not test and not superseded and not reversed and at_us <= $last
    group by user_key
), value as (
    select f.part, a.user_key, {values}
    from first a join {lent} f using (seq)
    join counted c on c.user_key = a.user_key and c.type = 'disbursed' and not c.superseded and not c.reversed
    group by all
), ranked as (select part, {ranks} from value)
select part, count(*), {correlations} from ranked group by part order by part
"""

EVER = -1
"""The horizon of all that there is so far."""


class Money(Struct, frozen=True):
    """Of one part, currency and horizon: exact sums, the sum of the users' squares, and how many paid."""

    earned: Decimal = Decimal(0)
    lost: Decimal = Decimal(0)
    squares: float = 0.0
    payers: int = 0


class Earnings(Struct, frozen=True, kw_only=True):
    """`worth` is so far, `horizons` by the cohort's age; `notes` say what neither has."""

    worth: Table
    horizons: Table
    notes: tuple[str, ...]


class Purse(Struct, frozen=True, kw_only=True):
    """In which currency money is told: `None`, in each its own. `rates` convert, each day by its own.

    Raises `InputError` for a currency that is not three capital letters: it becomes part of SQL.
    """

    currency: str | None = None
    rates: Rates | None = None

    def __post_init__(self) -> None:
        if self.currency is not None and re.fullmatch("[A-Z]{3}", self.currency) is None:
            raise InputError("currency", "must be three letters, such as USD")


AS_TOLD = Purse()


def earnings(tables: Tables, one: Slice, purse: Purse, cohort: Cohort | None = None) -> Earnings:
    """What the loans of the slice brought beside what the slice cost.

    `worth` has money by the day on which it moved, or with a `cohort` by that of the cohort. `horizons` are
    always by cohort: of installs, where an MMP tells of any, else of registrations.
    """
    _rates(tables, purse)
    aged: Cohort = cohort or (
        "install" if tables.number("select count(*) from attribution") else "registration"
    )
    parts = _cash(tables, one, purse, cohort, "cash")
    parts_aged = _cash(tables, one, purse, aged, "cash_aged")
    told = spent_facts(tables, one)
    _spent(tables, purse)
    notes = []
    if not told:
        notes.append(f"Cost is not told by {_unsplit(one)}: nothing is said of returns on it.")
    lacking = tables.number("select count(*) from cash where without_rate") + tables.number(
        "select count(*) from spent where amount is null"
    )
    if lacking:
        notes.append(f"{lacking:,} payments and costs have no rate to {purse.currency}: left out.")
    return Earnings(
        worth=_worth(tables, one, told, parts),
        horizons=_horizons(tables, one, aged, told, parts_aged),
        notes=tuple(notes),
    )


def spend_of(tables: Tables) -> dict[tuple[Part, str], Decimal]:
    """The cost of every part and currency of the slice that `earnings` was last asked for."""
    return {
        (tuple(part), currency): amount
        for part, currency, amount in tables.rows(
            "select part, currency, sum(amount) from spent where amount is not null group by all"
        )
    }


def _unsplit(one: Slice) -> str:
    return ", ".join(sorted(key.replace("_", " ") for key in one.keys.difference(AD_KEYS)))


def _rates(tables: Tables, purse: Purse) -> None:
    """Fills `fx(currency, day, rate)`: what one unit is worth, on every day of which there may be money."""
    tables.db.execute("create or replace temp table fx (currency varchar, day date, rate decimal(20, 14))")
    if purse.currency is None:
        return
    ((first, last),) = tables.rows(
        "select min(day), max(day) from (select make_timestamp(at_us)::date as day from booked"
        " union all select try_cast(day as date) from spend)"
    )
    told = [
        code
        for (code,) in tables.rows(
            "select distinct currency from booked union select distinct currency from spend order by 1"
        )
    ]
    rows = [
        (code, day.isoformat(), f"{rate:.14f}")
        for code in told
        for day in _days(first, last)
        for rate in [_rate(purse, day, code)]
        if rate is not None
    ]
    tables.fill_rows("fx", ("currency", "day", "rate"), rows)


def _rate(purse: Purse, day: date, code: str) -> Decimal | None:
    target = purse.currency or code
    if code == target:
        return Decimal(1)
    return None if purse.rates is None else purse.rates.at(day, code, target)


def _days(first: date | None, last: date | None) -> Sequence[date]:
    """A day more on either side: local days may begin before, and end after, those of UTC."""
    if first is None or last is None:
        return ()
    return [first + timedelta(days=n) for n in range(-1, (last - first).days + 2)]


def _cash(tables: Tables, one: Slice, purse: Purse, cohort: Cohort | None, into: str) -> _Parts:
    """Fills `into`: every payment and loss, where its loan belongs; what the numbers of parts stand for."""
    timeless = msgspec.structs.replace(one, every=None, since=None, until=None)
    # Each day has its own rate, and days are those of an app: without a cohort only events tell it.
    needs_app = cohort is None and purse.currency is not None
    how = None if needs_app else tied(tables, one, cohort)
    fact = _lent(tables, one if cohort else timeless, cohort, only="true" if how is None else how.rest(one))
    if how is not None:
        tied_facts(tables, one, how, into=f"{into}_tied", of="brought", cohort=cohort, beside=BROUGHT)
    part, held = "f.part", "true"
    if cohort is None:
        held = within(tables, one, "f.at_us", "f.app")
        if one.every is not None:
            part = f"list_prepend({period_of(tables, one.every, 'f.at_us', 'f.app')}, f.part)"
    day = local_day(tables, "f.at_us", "f.app")
    target = None if purse.currency is None else f"'{purse.currency}'"
    cohort_day = local_day(tables, "f.moment_us", "f.app")
    aged = AGED.format(cohort_day=cohort_day, today=today(tables, "f.app"), day=day)
    tables.db.execute(
        CASH.format(
            into=into,
            part=part,
            currency=target or "f.currency",
            times_rate="" if target is None else "::decimal(18, 4) * x.rate",
            missing="false" if target is None else "x.rate is null",
            beside=aged if into == "cash_aged" else "",
            facts=fact,
            placed="f.part" if how is None else "hash(f.part)",
            tied="" if how is None else TIED.format(tied=f"{into}_tied"),
            rates="" if target is None else f"left join fx x on x.currency = f.currency and x.day = {day}",
            held=held,
        )
    )
    if how is None:
        return None
    each = f"select place, part from {into}_tied_part union select distinct hash(part), part from {fact}"
    return {place: tuple(found) for place, found in tables.rows(each)}


def _lent(
    tables: Tables,
    one: Slice,
    cohort: Cohort | None = None,
    *,
    into: str | None = None,
    only: str = "true",
) -> str:
    """The table of the disbursements in a slice, of those for which the SQL `only` holds."""
    into = into or (f"lent_by_{cohort}" if cohort else "lent_at_all")
    lent = f"c.type = 'disbursed' and not c.superseded and not c.reversed and ({only})"
    facts(tables, one, into=into, only=lent, cohort=cohort, beside="c.loan")
    return into


def _spent(tables: Tables, purse: Purse) -> None:
    """Fills `spent(part, day, currency, amount)` from the facts of cost; `amount` is null without a rate."""
    if purse.currency is None:
        query = "select part, day::date as day, currency, amount from spent_fact"
    else:
        query = (
            f"select part, s.day::date as day, '{purse.currency}' as currency,"
            " s.amount::decimal(18, 4) * x.rate as amount"
            " from spent_fact s left join fx x on x.currency = s.currency and x.day = s.day::date"
        )
    tables.db.execute(f"create or replace temp table spent as {query}")


def _sums(
    tables: Tables, cash: str, horizons: Mapping[int, str], parts: _Parts
) -> dict[tuple[Part, str, int], Money]:
    """Of every part and currency what was earned and lost by each horizon; `horizons` has SQL of what is."""
    mine = ", ".join(
        f"sum(earned) filter ({held}) as earned_{place}, sum(lost) filter ({held}) as lost_{place}"
        for place, held in enumerate(horizons.values())
    )
    sums = ", ".join(
        f"sum(earned_{place}), sum(lost_{place}), sum(earned_{place}::double * earned_{place}::double),"
        f" count(*) filter (earned_{place} > 0)"
        for place in range(len(horizons))
    )
    return {
        (tuple(part) if parts is None else parts[part], currency, horizon): Money(*told)
        for part, currency, *found in tables.rows(SUMS.format(cash=cash, mine=mine, sums=sums))
        for horizon, told in zip(horizons, zip(*[iter(found)] * 4, strict=True), strict=True)
        if told[0] is not None
    }


def _worth(tables: Tables, one: Slice, told: bool, parts: _Parts) -> Table:
    found = _sums(tables, "cash", {EVER: "true"}, parts)
    spent = spend_of(tables)
    keys = {(part, currency) for part, currency, _ in found} | spent.keys()
    rows: list[tuple[Cell, ...]] = []
    for part, currency in ranked(keys, one, spent):
        money = found.get((part, currency, EVER), Money())
        cost = spent.get((part, currency), Decimal(0)) if told else None
        rows.append((*part, currency, *_beside(money, cost, currency), _thin(money.payers)))
    return table(
        "What it brought, beside what it cost",
        columns(f"{' '.join(one.names)} currency {BESIDE} remark", **UNITS),
        rows,
        "revenue: fees repaid. loss: principal out when a loan was lost, less what came back since."
        "\nmargin: revenue - loss - spend. roas: revenue / spend, with its 95 % interval."
        f"\nthin: fewer than {THIN} users paid a fee. Loans still running can still earn and be lost."
        "\nDays of cost are those of the ad account.",
    )


def _horizons(tables: Tables, one: Slice, aged: Cohort, told: bool, parts: _Parts) -> Table:
    came = _came(tables, one, aged)
    ((now,),) = tables.rows(f"select {today(tables, 'null::varchar')}")
    ripe_by = {n: f"age <= {n} and age_now > {n}" for n in HORIZONS}
    found = _sums(tables, "cash_aged", ripe_by, parts)
    spent = spend_of(tables)
    ripe = {
        (tuple(part), currency, horizon): amount
        for part, currency, horizon, amount in tables.rows(
            "select part, currency, horizon, sum(amount) from spent"
            " cross join (select unnest($horizons) as horizon)"
            " where amount is not null and date_diff('day', day, $now) > horizon group by all",
            {"horizons": list(HORIZONS), "now": now},
        )
    }
    keys = {(part, currency) for part, currency, _ in found} | spent.keys()
    rows: list[tuple[Cell, ...]] = []
    for part, currency in ranked(keys, one, spent):
        for horizon in HORIZONS:
            units, mature = came.get((part, horizon), (0, 0))
            cost = ripe.get((part, currency, horizon), Decimal(0)) if told else None
            money = found.get((part, currency, horizon), Money())
            shown = _beside(money, cost, currency) if mature else (None,) * len(BESIDE.split())
            share = mature / units if units else None
            words = (
                "empty" if not units else "not mature" if not mature else _thin(money.payers),
                "maturing" if 0 < mature < units else "",
            )
            remark = " ".join(filter(None, words))
            rows.append((*part, currency, f"D{horizon}", units, mature, share, *shown, remark))
    units_are = "installs" if aged == "install" else "registrations"
    return table(
        "Return by age of the cohort",
        columns(
            f"{' '.join(one.names)} currency horizon {units_are} mature mature_share {BESIDE} remark",
            mature_share=SHARE,
            **UNITS,
        ),
        rows,
        f"horizon: so many whole days after the day of {units_are[:-1]}; mature: of the {units_are}, those"
        "\nolder than that. All else is of the mature ones alone, the cost that of their days;"
        "\nnot mature: none is old enough yet; maturing: not all are.",
    )


BESIDE = "spend revenue loss margin roas low high"
UNITS = {
    "spend": MONEY,
    "revenue": MONEY,
    "loss": MONEY,
    "margin": MONEY,
    "roas": SHARE,
    "low": SHARE,
    "high": SHARE,
}


def _beside(money: Money, cost: Decimal | None, currency: str) -> tuple[Cell, ...]:
    earned, lost = rounded(money.earned, currency), rounded(money.lost, currency)
    if cost is None:
        return None, earned, lost, None, None, None, None
    spend = rounded(cost, currency)
    margin = earned - lost - spend
    if not cost:
        return spend, earned, lost, margin, None, None, None
    low, high = money_interval(float(money.earned), money.squares)
    return spend, earned, lost, margin, float(money.earned / cost), low / float(cost), high / float(cost)


def money_interval(total: float, squares: float) -> tuple[float, float]:
    """The 95 % interval of a sum over users who came at random; `squares` is the sum of theirs."""
    half = Z95 * sqrt(squares)
    return max(0.0, total - half), total + half


def count_interval(n: int) -> tuple[float, float]:
    """The 95 % score interval of a count of users who came at random: n + z²/2 ± z √(n + z²/4)."""
    middle, half = n + Z95 * Z95 / 2, Z95 * sqrt(n + Z95 * Z95 / 4)
    return max(0.0, middle - half), middle + half


def early_value(tables: Tables, one: Slice) -> Table:
    """How well the fees of a user's first days rank users as their fees of half a year do.

    Spearman's rank correlation; its interval by Fisher's transform with the standard error 1.03 / √(n - 3)
    (E. C. Fieller, H. O. Hartley and E. S. Pearson, Biometrika 44 (1957) 470-481).
    """
    days = (*EARLY, LATE)
    # Only whose first loan is old enough: who had one by then had the first one by then.
    last_us = (0 if tables.as_of is None else to_us(tables.as_of)) - LATE * DAY_US
    lent = _lent(tables, one, into="lent_early", only=f"c.at_us <= {last_us}")
    found = tables.rows(
        EARLY_VALUE.format(
            lent=lent,
            values=", ".join(
                f"coalesce(sum(c.fee) filter (c.at_us <= a.at_us + {n} * 86400000000), 0) as v{n}"
                for n in days
            ),
            ranks=", ".join(
                f"rank() over (partition by part order by v{n})"
                f" + (count(*) over (partition by part, v{n}) - 1) / 2 as r{n}"
                for n in days
            ),
            correlations=", ".join(f"corr(r{n}, r{LATE})" for n in EARLY),
        ),
        {"last": last_us},
    )
    rows: list[tuple[Cell, ...]] = []
    for part, users, *correlations in found:
        for n, correlation in zip(EARLY, correlations, strict=True):
            known = correlation is not None and isfinite(correlation) and users > 3
            low, high = _rank_interval(correlation, users) if known else (None, None)
            rows.append((*part, n, users, correlation if known else None, low, high, _thin(users)))
    return table(
        "What early value tells of later value",
        columns(f"{' '.join(one.names)} days users rank_correlation low high remark"),
        rows,
        f"Of users whose first loan is {LATE} days old: the rank correlation of the fees agreed with them by"
        f"\nso many days after it and by {LATE}; 1: whoever is ahead stays ahead, 0: it tells nothing."
        "\nlow, high: its 95 % interval. The days of the slice are those of the first loan.",
    )


def _rank_interval(correlation: float, n: int) -> tuple[float, float]:
    middle = atanh(min(max(correlation, -0.999999), 0.999999))
    half = Z95 * 1.03 / sqrt(n - 3)
    return tanh(middle - half), tanh(middle + half)


def _came(tables: Tables, one: Slice, aged: Cohort) -> dict[tuple[Part, int], tuple[int, int]]:
    """For each part and horizon how many came, and how many of them are older than that."""
    unit = "unit"
    if aged == "registration":
        only = "c.type = 'registered' and not c.superseded"
        facts(tables, one, into="unit", only=only, cohort="registration")
    elif one.keys.issubset(CAME_KEYS):
        came_facts(tables, one, kinds=coming_kinds(one), beside=OF_COMING)
        unit = "came_fact"
    else:  # installs know no loan: the cohort is those with one
        only = "c.type = 'disbursed' and not c.superseded and not c.reversed"
        facts(tables, one, into="unit", only=only, cohort="install")
    day = local_day(tables, "moment_us", "app")
    return {
        (tuple(part), horizon): (units, mature)
        for part, horizon, units, mature in tables.rows(
            "select part, h.horizon, sum(n)::bigint,"
            " coalesce(sum(n) filter (date_diff('day', day, today) > h.horizon), 0)::bigint"
            f" from (select part, {day} as day, {today(tables, 'app')} as today, count(*) as n from {unit}"
            " group by all) cross join (select unnest($horizons) as horizon) h group by all",
            {"horizons": list(HORIZONS)},
        )
    }


OF_COMING = "c.kind, c.installation"
"""What of each coming is looked at."""


def coming_kinds(one: Slice) -> tuple[str, ...]:
    """What counts as a coming under a rule: any that makes an origin, or the first install alone."""
    return ("install", "reinstall", "re_attribution") if one.binding == "last_login" else ("install",)


def ranked(
    keys: "set[tuple[Part, str]]", one: Slice, spent: Mapping[tuple[Part, str], Decimal]
) -> list[tuple[Part, str]]:
    """Parts in the order of a report: by time where it goes by time, then what cost most."""

    def place(key: tuple[Part, str]) -> Any:
        part, currency = key
        period = part[:1] if one.every is not None else ()
        return period, currency, -spent.get(key, Decimal(0)), part

    return sorted(keys, key=place)


def ranked_parts(parts: "Collection[Part]", one: Slice, weight: Mapping[Part, int]) -> list[Part]:
    """Parts by time where it goes by time, then the heaviest first."""
    return sorted(
        parts, key=lambda part: (part[:1] if one.every is not None else (), -weight.get(part, 0), part)
    )


def _thin(payers: int) -> str:
    return "thin" if payers < THIN else ""
