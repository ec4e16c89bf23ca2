"""Three ledgers side by side: the lender's own, what we were told and sent, and what the platform recorded.

Towards the lender loans are matched by loan id, towards a platform by conversion id: loan ids never leave the
house, and the table of differences with platforms has none, so that it can be shown to the platform.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta, tzinfo
from decimal import Decimal
from typing import Literal, TypeAlias

from msgspec import Struct

from lendsignal.clock import MICROSECOND, from_us
from lendsignal.model import ZERO_DECIMAL, plain
from lendsignal.report.days import local_day
from lendsignal.report.layout import MONEY, SHARE, Cell, Report, Table, columns, table
from lendsignal.report.ledger import Paid
from lendsignal.report.spend import rounded
from lendsignal.report.tables import Tables

Difference: TypeAlias = Literal["missing", "extra", "differs", "late"]
"""The kinds of differences, which have a limit each."""

CHECKS: tuple[Difference, ...] = ("missing", "extra", "differs", "late")

WHY: Mapping[str, Difference] = {
    "not_told": "missing",
    "not_in_ledger": "extra",
    "twice_in_ledger": "extra",
    "reversed": "differs",
    "amount": "differs",
    "currency": "differs",
    "day": "differs",
    "told_late": "late",
    "not_recorded": "missing",
    "unknown_id": "extra",
    "without_id": "extra",
    "not_accepted": "extra",
    "recorded_twice": "extra",
    "value": "differs",
    "name": "differs",
    "redated": "late",
}
"""Every difference there is, and which limit it counts against."""

TOLD = """
select loan_id, arg_min(at_us, seq), arg_min(received_us, seq), arg_min(amount, seq),
    coalesce(arg_min(currency, seq), ''), bool_or(reversed), bool_or(history)
from counted where type = 'disbursed' and loan_id is not null and not superseded and not test
    and ($brand is null or starts_with(user, $brand || ':'))
group by loan_id
"""

SENT = """
create or replace temp table sent_one as
select v.id, s.kind, d.destination, d.conversion, d.name, d.what, d.at_us, v.app, v.loan_id, v.event_type,
    a.amount, a.currency
from delivery d join entry e on e.id = d.id join step s on s.step = e.step
join conversion v on v.record = coalesce(e.rebinds, e.record)
left join valued a on a.id = d.id
-- a delivery that was moved to another destination is counted where it arrived
qualify row_number() over (partition by v.id, s.kind order by d.what = 'accepted' desc, d.id desc) = 1
"""

FATES = """
select destination, conversion, count(distinct loan_id), count(*) filter (what = 'accepted'),
    count(*) filter (what in ('waiting', 'held', 'planned')), count(*) filter (what = 'dead'),
    count(*) filter (what in ('skipped', 'cancelled'))
from sent_one where event_type = 'disbursed' group by all order by all
"""

SEEN = """
create or replace temp table seen_one as
select mmp, app, conversion, min(at_us) as at_us, min(day) as day, any_value(name order by at_us) as name,
    any_value(amount order by at_us) as amount, any_value(currency order by at_us) as currency,
    sum(copies)::bigint as copies
from recorded where is_primary and conversion <> '' group by all
"""

MATCHED = """
with covered as (
    select mmp, app, greatest(min(day), $since) as first_day, least(max(day), $until) as last_day
    from recorded where day <> '' group by all
), wanted as (
    select s.*, strftime({day}, '%Y-%m-%d') as day from sent_one s
)
select coalesce(w.destination, ''), coalesce(w.conversion, ''), coalesce(w.kind, r.mmp),
    coalesce(w.id, r.conversion), w.what, w.name, w.day, w.amount, w.currency,
    r.name, r.day, r.amount, r.currency, r.copies, c.first_day is not null
from wanted w full join seen_one r on r.conversion = w.id and r.mmp = w.kind
left join covered c on c.mmp = coalesce(w.kind, r.mmp) and c.app = coalesce(w.app, r.app)
    and coalesce(w.day, r.day) between c.first_day and c.last_day
order by 4
"""

WITHOUT_ID = """
select r.mmp, r.name, r.day, r.amount, r.currency, sum(r.copies)::bigint
from recorded r
where r.conversion = '' and r.is_primary and r.day between $since and $until and r.sent_by <> 'SDK'
    and (r.mmp, r.name) in (select (kind, name) from step)
group by all order by all
"""


class Limits(Struct, frozen=True, kw_only=True):
    """The shares of all that was compared beyond which a kind of difference is an alarm; 0: the first one."""

    missing: float = 0.01
    extra: float = 0.01
    differs: float = 0.0
    late: float = 0.05

    def of(self, check: Difference) -> float:
        """The limit of one kind."""
        limit: float = getattr(self, check)
        return limit


class Reconciliation(Report, frozen=True, kw_only=True):
    """`is_well` says that no kind of difference is beyond its limit; `checks` has each with its limit."""

    is_well: bool
    checks: Table
    ledger: Table
    sent: Table
    platform: Table
    ledger_differences: Table
    platform_differences: Table


class _Found(Struct, frozen=True):
    """One difference; what the two sides say, as text."""

    what: str
    name: str
    day: str
    ours: str
    theirs: str
    destination: str = ""
    conversion: str = ""


class _Told(Struct, frozen=True):
    """One loan as we were told it; `reversed` where it was taken back."""

    loan_id: str
    at_us: int
    received_us: int
    amount: Decimal | None
    currency: str
    reversed: bool
    history: bool


def reconcile(
    tables: Tables,
    ledger: Iterable[Paid] | None = None,
    *,
    zone: tzinfo,
    limits: Limits | None = None,
    late_after: timedelta = timedelta(hours=3),
    brand: str | None = None,
    since: date | None = None,
    until: date | None = None,
) -> Reconciliation:
    """The three ledgers, compared loan by loan and conversion by conversion. `tables` need `recorded`.

    Compared are the days that both sides cover, between `since` and `until` (both included): of the lender's
    ledger the days from its first to its last loan, in `zone`, the ledger's own; of a platform's raw data the
    app's local days from the first to the last recorded event. A loan told more than `late_after` after it
    was paid out is late; so is an event that the platform has on another day than it happened. Imported
    history is never late. Without `ledger` the first step is left out.
    """
    days = (since.isoformat() if since else "0000-00-00", until.isoformat() if until else "9999-99-99")
    limits = limits or Limits()
    compared: dict[str, int] = {}
    money: dict[tuple[str, str], list[Decimal]] = {}
    loans: list[_Found] = []
    if ledger is not None:
        loans, money, compared["ledger"] = _against_ledger(tables, ledger, zone, days, late_after, brand)
    tables.db.execute(SENT)
    tables.db.execute(SEEN)
    conversions, platform, compared["platform"] = _against_platforms(tables, days)
    checks = [
        *(_checks("ledger", loans, compared["ledger"], limits) if ledger is not None else ()),
        *_checks("platform", conversions, compared["platform"], limits),
    ]
    return Reconciliation(
        title="Reconciliation",
        as_of=tables.as_of,
        is_well=all(row[-1] is True for row in checks),
        checks=table(
            "Differences and their limits",
            columns("step check differences of share limit well", share=SHARE, limit=SHARE),
            checks,
            "ledger: the lender's loans against what we were told. platform: what was accepted against what"
            "\nthe platform says it recorded. of: everything that was compared.",
        ),
        ledger=_ledger(loans, money),
        sent=_sent(tables),
        platform=platform,
        ledger_differences=table(
            "Differences with the lender's ledger",
            columns("what loan_id day told ledger"),
            [(one.what, one.name, one.day, one.ours, one.theirs) for one in loans],
        ),
        platform_differences=table(
            "Differences with the platforms",
            columns("what destination conversion conversion_id day sent recorded"),
            [
                (one.what, one.destination, one.conversion, one.name, one.day, one.ours, one.theirs)
                for one in conversions
            ],
        ),
        notes=_notes(tables, ledger is not None, compared["platform"]),
    )


def _against_ledger(
    tables: Tables,
    ledger: Iterable[Paid],
    zone: tzinfo,
    days: tuple[str, str],
    late_after: timedelta,
    brand: str | None,
) -> tuple[list[_Found], dict[tuple[str, str], list[Decimal]], int]:
    """The differences, for each day and currency loans and amounts of both sides, and how many loans."""
    paid: dict[str, Paid] = {}
    copies: Counter[str] = Counter()
    on_other_days: set[str] = set()
    for one in ledger:
        if days[0] <= one.day.isoformat() <= days[1]:
            paid.setdefault(one.loan_id, one)
            copies[one.loan_id] += 1
        else:
            on_other_days.add(one.loan_id)
    # A ledger without any loan covers every day that was asked for: what we were told is then all extra.
    first = min((one.day for one in paid.values()), default=date.min)
    last = max((one.day for one in paid.values()), default=date.max)
    found: list[_Found] = []
    sums: dict[tuple[str, str], list[Decimal]] = defaultdict(lambda: [Decimal(0)] * 4)
    compared = 0
    for one in paid.values():
        _add(sums, one.day.isoformat(), one.currency, 0, one.amount)
        if copies[one.loan_id] > 1:
            found.append(
                _Found("twice_in_ledger", one.loan_id, str(one.day), "1 loan", f"{copies[one.loan_id]} lines")
            )
    for row in tables.rows(TOLD, {"brand": brand}):
        told = _Told(*row)
        day = from_us(told.at_us).astimezone(zone).date()
        booked = paid.pop(told.loan_id, None)
        if booked is not None:
            compared += 1
            amount = None if told.reversed else told.amount
            _add(sums, booked.day.isoformat(), told.currency, 2, amount, count=not told.reversed)
            found += _between(told, day, booked, late_after // MICROSECOND)
        elif told.reversed or told.loan_id in on_other_days:
            continue
        elif first <= day <= last and days[0] <= day.isoformat() <= days[1]:
            compared += 1
            _add(sums, day.isoformat(), told.currency, 2, told.amount)
            worth = _worth(told.amount, told.currency)
            found.append(_Found("not_in_ledger", told.loan_id, str(day), worth, ""))
    for one in paid.values():
        compared += 1
        found.append(_Found("not_told", one.loan_id, str(one.day), "", _worth(one.amount, one.currency)))
    return sorted(found, key=lambda one: (one.day, one.name, one.what)), dict(sums), compared


def _between(told: _Told, day: date, booked: Paid, late_us: int) -> list[_Found]:
    """What differs between a loan as we were told it, on that local day, and as it is in the books."""

    def differs(what: str, ours: str, theirs: str) -> _Found:
        return _Found(what, told.loan_id, booked.day.isoformat(), ours, theirs)

    found = []
    ours, theirs = _worth(told.amount, told.currency), _worth(booked.amount, booked.currency)
    if told.reversed:
        found.append(differs("reversed", "taken back", theirs))
    if told.currency != booked.currency:
        found.append(differs("currency", ours, theirs))
    elif told.amount != booked.amount:
        found.append(differs("amount", ours, theirs))
    if day != booked.day:
        found.append(differs("day", day.isoformat(), booked.day.isoformat()))
    paid_us = told.at_us if booked.at_us is None else booked.at_us
    if not told.history and told.received_us - paid_us > late_us:
        found.append(differs("told_late", f"{(told.received_us - paid_us) // 1_000_000} s later", ""))
    return found


def _add(
    sums: dict[tuple[str, str], list[Decimal]],
    day: str,
    currency: str,
    place: int,
    amount: Decimal | None,
    *,
    count: bool = True,
) -> None:
    before = sums[day, currency]
    sums[day, currency] = [*before]
    sums[day, currency][place] += count
    sums[day, currency][place + 1] += amount or 0


def _against_platforms(tables: Tables, days: tuple[str, str]) -> tuple[list[_Found], Table, int]:
    """The differences, the table by destination and conversion, and how many conversions were compared."""
    span = {"since": days[0], "until": days[1]}
    found: list[_Found] = []
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    money: dict[tuple[str, str], list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    compared = 0
    for row in tables.rows(MATCHED.format(day=local_day(tables, "s.at_us", "s.app")), span):
        destination, conversion, kind, id_, what, name, day, amount, currency = row[:9]
        seen_name, seen_day, seen_amount, seen_currency, copies, covered = row[9:]
        key = destination or f"({kind})", conversion or "(unknown)"
        if what == "accepted" and not covered:
            counts[key]["not_covered"] += 1
        if not covered or (what != "accepted" and copies is None):
            continue
        compared += 1
        counts[key]["accepted"] += what == "accepted"
        counts[key]["recorded"] += copies is not None
        sums = money[key]
        money[key] = [sums[0] + ((amount or 0) if what == "accepted" else 0), sums[1] + (seen_amount or 0)]
        differences = _differences(
            what, (name, day, amount, currency), (seen_name, seen_day, seen_amount, seen_currency), copies
        )
        counts[key]["matched"] += what == "accepted" and copies is not None
        for difference, ours, theirs in differences:
            counts[key][WHY[difference]] += 1
            found.append(_Found(difference, id_, day or seen_day, ours, theirs, *key))
    for kind, name, day, amount, currency, copies in tables.rows(WITHOUT_ID, span):
        compared += copies
        key = f"({kind})", "(unknown)"
        counts[key]["extra"] += copies
        counts[key]["recorded"] += copies
        worth = f"{copies} × {name} {_worth(amount, currency)}".strip()
        found.extend([_Found("without_id", "", day, "", worth, *key)] * copies)
    found.sort(key=lambda one: (one.destination, one.day, one.name, one.what))
    rows: list[tuple[Cell, ...]] = [
        (
            *key,
            *(counts[key][name] for name in ("accepted", "recorded", "matched", *CHECKS, "not_covered")),
            _cents(money[key][0]),
            _cents(money[key][1]),
            _cents(money[key][1] - money[key][0]),
        )
        for key in sorted(counts)
    ]
    return (
        found,
        table(
            "Accepted against recorded",
            columns(
                "destination conversion accepted recorded matched missing extra differs late not_covered"
                " value_sent value_recorded value_difference",
                value_sent=MONEY,
                value_recorded=MONEY,
                value_difference=MONEY,
            ),
            rows,
            "Matched by conversion id, on the days that the raw data covers; not_covered: accepted on other"
            "\ndays, or by a platform whose raw data we do not have. Values are in the currencies they were"
            "\nsent in.",
        ),
        compared,
    )


_Side: TypeAlias = tuple[str | None, str | None, Decimal | None, str | None]
"""Of a conversion: event name, local day, value and its currency."""


def _differences(
    what: str | None, sent: _Side, seen: _Side, copies: int | None
) -> list[tuple[str, str, str]]:
    """What differs, what we say of it and what the platform says."""
    name, day, amount, currency = sent
    seen_name, seen_day, seen_amount, seen_currency = seen
    told = _worth(seen_amount, seen_currency) or str(seen_name)
    if copies is None:
        return [("not_recorded", _worth(amount, currency) or str(name), "")]
    if what is None:
        return [("unknown_id", "", told)]
    found = [] if what == "accepted" else [("not_accepted", what, told)]
    if copies > 1:
        found.append(("recorded_twice", "once", f"{copies} times"))
    if name != seen_name:
        found.append(("name", str(name), str(seen_name)))
    if day != seen_day:
        found.append(("redated", str(day), str(seen_day)))
    if _minor(amount, currency) != _minor(seen_amount, seen_currency):
        found.append(("value", _worth(amount, currency), _worth(seen_amount, seen_currency)))
    return found


def _minor(amount: Decimal | None, currency: str | None) -> tuple[Decimal, str]:
    """A value to the smallest coin: a value of nothing is no value, in whatever currency."""
    if not amount:
        return Decimal(0), ""
    return amount.quantize(Decimal(1) if currency in ZERO_DECIMAL else Decimal("0.01")), currency or ""


def _checks(step: str, found: Sequence[_Found], compared: int, limits: Limits) -> list[tuple[Cell, ...]]:
    counts = Counter(WHY[one.what] for one in found)
    rows: list[tuple[Cell, ...]] = []
    for check in CHECKS:
        share = counts[check] / compared if compared else None
        rows.append(
            (step, check, counts[check], compared, share, limits.of(check), (share or 0) <= limits.of(check))
        )
    return rows


def _ledger(found: Sequence[_Found], money: Mapping[tuple[str, str], Sequence[Decimal]]) -> Table:
    counts = Counter((one.day, WHY[one.what]) for one in found)
    rows: list[tuple[Cell, ...]] = []
    for (day, currency), (loans, amount, told, told_amount) in sorted(money.items()):
        rows.append(
            (
                day,
                currency,
                int(loans),
                int(told),
                *(counts[day, check] for check in CHECKS),
                rounded(amount, currency),
                rounded(told_amount, currency),
                rounded(told_amount - amount, currency),
            )
        )
    return table(
        "The lender's ledger against what we were told",
        columns(
            "day currency loans_in_ledger loans_told missing extra differs late amount_in_ledger amount_told"
            " amount_difference",
            amount_in_ledger=MONEY,
            amount_told=MONEY,
            amount_difference=MONEY,
        ),
        rows,
        "day: of the ledger, in its time zone. Loans are matched by their id." if rows else "",
    )


def _sent(tables: Tables) -> Table:
    return table(
        "What became of the loans we were told",
        columns("destination conversion loans accepted open dead never_sent"),
        tables.rows(FATES),
        "open: waiting, held or not read yet. never_sent: skipped or cancelled; `report delivery` says why.",
    )


def _notes(tables: Tables, has_ledger: bool, compared: int) -> tuple[str, ...]:
    notes = []
    if not has_ledger:
        notes.append("No ledger of the lender's was given: bring one with --ledger.")
    if not tables.number("select count(*) from recorded"):
        notes.append("No raw data of a platform is here: see docs/how-to/reconcile-ledgers.md.")
    elif not compared:
        notes.append("Nothing that was sent falls on the days that the raw data covers.")
    return tuple(notes)


def _worth(amount: Decimal | None, currency: str | None) -> str:
    return "" if amount is None else f"{plain(amount)} {currency or ''}".strip()


def _cents(amount: Decimal) -> Decimal:
    return Decimal(plain(amount))
