"""Three ledgers side by side: the lender's own, what we were told and sent, and what the platform recorded.

Towards the lender loans are matched by loan id, towards a platform by conversion id: loan ids never leave the
house, and the table of differences with platforms has none, so that it can be shown to the platform.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from msgspec import Struct, field

from lendsignal.clock import MICROSECOND, from_us
from lendsignal.model import ZERO_DECIMAL, plain
from lendsignal.plan.records import ENTRIES_PER_RECORD
from lendsignal.report.days import local_day, quoted
from lendsignal.report.layout import MONEY, SHARE, Cell, Report, Table, columns, table
from lendsignal.report.ledger import Paid
from lendsignal.report.ledger_slices import Apart, Part, apart
from lendsignal.report.rates import THIN, Rate
from lendsignal.report.slices import EVERYTHING, Slice
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
    coalesce(arg_min(currency, seq), ''), bool_or(reversed), bool_or(history), {part}
from counted c {joined} where type = 'disbursed' and loan_id is not null and not superseded and not test
    and ($brand is null or starts_with(user, $brand || ':'))
group by loan_id
"""

CALLED = """
create or replace temp table called as
select destination, kind, name from planned_delivery group by destination, kind, name
"""
"""What each destination is called, of which kind it is and how events are called there."""

KIND_OF = """
create or replace temp table kind_of as
select destination, any_value(kind) as kind from called group by destination
"""

SENT_AGAIN = f"""
create or replace temp table sent_again as
select record from conversion
where hash(id) in (select hash(id) from conversion group by hash(id) having count(*) > 1)
union all
select d.record from delivery d join kind_of k on k.destination = d.destination
where d.record in (  -- most records have one delivery, which has the first of the record's numbers
    select record from delivery where id <> record * {ENTRIES_PER_RECORD})
group by d.record, k.kind having count(*) > 1
"""
"""Records of conversions that one platform may have been to have more than once."""

STOOD_FOR = """
create or replace temp table stood_for as
-- a delivery that was moved to another destination is counted where it arrived
select delivery from (
    select d.id as delivery, row_number() over (
        partition by v.id, k.kind order by case when d.what = 'accepted' then 0 else 1 end, d.id desc) as turn
    from (select * from delivery where record in (select record from sent_again)) d
    join conversion v on v.record = d.record join kind_of k on k.destination = d.destination
) where turn > 1
"""
"""Deliveries that another one of the same conversion stands for, to the same platform."""

OURS = "d.at_us is not null"
"""SQL of whether a delivery `d` is of a conversion: a correction is of none, and has no moment."""

NOT_STOOD_FOR = " and d.id not in (select delivery from stood_for)"

FATES = """
select {part} as part, d.destination, d.conversion, count(distinct v.loan),
    count(*) filter (d.what = 'accepted'), count(*) filter (d.what in ('waiting', 'held', 'planned')),
    count(*) filter (d.what = 'dead'), count(*) filter (d.what in ('skipped', 'cancelled'))
from delivery d join (
    select record, case when loan_id is not null then hash(loan_id) end as loan from conversion
    where event_type = 'disbursed'
) v on v.record = d.record {joined}
where {ours} and {part} is not null group by all order by all
"""

SEEN = """
create or replace temp table seen_one as
select hash(conversion, mmp) as pair, mmp, app, conversion, min(at_us) as at_us, min(day) as day,
    any_value(name order by at_us) as name, any_value(amount order by at_us) as amount,
    any_value(currency order by at_us) as currency, sum(copies)::bigint as copies,
    any_value(part order by at_us) as part
from recorded_part where is_primary and conversion <> '' group by mmp, app, conversion
"""

MATCHED = """
create or replace temp table matched_one as
with covered as (
    select mmp, app, greatest(min(day), $since) as first_day, least(max(day), $until) as last_day
    from recorded where day <> '' group by all
), known as (
    select d.id as delivery, d.record, d.destination, d.conversion, k.kind, hash(v.id, k.kind) as pair,
        d.what, d.name, strftime({day}, '%Y-%m-%d') as day, v.app, {part} as part
    from delivery d join conversion v on v.record = d.record
    join kind_of k on k.destination = d.destination {joined}
    where {ours} and k.kind in (select mmp from recorded)
), wanted as (  -- of what is not accepted only that counts which the platform has all the same
    select w.*, a.amount, a.currency from known w left join valued a on a.id = w.delivery
    where w.what = 'accepted' or w.pair in (select pair from seen_one)
)
select coalesce(w.destination, '') as destination, coalesce(w.conversion, '') as conversion,
    coalesce(w.kind, r.mmp) as kind, w.record, r.conversion as seen_id, coalesce(w.what, '') as what, w.name,
    w.day, w.amount, w.currency, r.name as seen_name, r.day as seen_day, r.amount as seen_amount,
    r.currency as seen_currency, r.copies, c.first_day is not null as covered,
    case when w.pair is null then r.part else w.part end as part
from wanted w full join seen_one r on r.pair = w.pair
left join covered c on c.mmp = coalesce(w.kind, r.mmp) and c.app = coalesce(w.app, r.app)
    and coalesce(w.day, r.day) between c.first_day and c.last_day
where case when w.pair is null then r.part else w.part end is not null
"""

TOTALS = """
select part, {day} as day, destination, conversion, kind, count(*) filter (covered),
    count(*) filter (covered and what = 'accepted'), count(*) filter (covered and copies is not null),
    count(*) filter (covered and what = 'accepted' and copies is not null),
    count(*) filter (not covered and what = 'accepted' and day between $since and $until),
    coalesce(sum(amount) filter (covered and what = 'accepted'), 0),
    coalesce(sum(seen_amount) filter (covered), 0)
from matched_one group by all
"""

NOT_COVERED = """
select {part} as part, {day} as day, d.destination, d.conversion, k.kind, 0, 0, 0, 0, count(*), 0, 0
from delivery d join kind_of k on k.destination = d.destination {joined}
where {ours} and d.what = 'accepted' and k.kind not in (select mmp from recorded) and {part} is not null
    and {within}
group by 1, 2, 3, 4, 5
"""
"""What was accepted by platforms that told nothing at all, in the columns of `TOTALS`."""

DIFFERENT = """
with different as (
    select * from matched_one
    where covered and (copies is null or what <> 'accepted' or copies > 1 or name is distinct from seen_name
        or day is distinct from seen_day or amount is distinct from seen_amount
        or currency is distinct from seen_currency)
)
select m.part, m.destination, m.conversion, m.kind, coalesce(m.seen_id, v.id) as id, m.what, m.name, m.day,
    m.amount, m.currency, m.seen_name, m.seen_day, m.seen_amount, m.seen_currency, m.copies
from different m left join conversion v on v.record = m.record
order by id
"""

WITHOUT_ID = """
select r.mmp, r.name, r.day, r.amount, r.currency, r.part, sum(r.copies)::bigint
from recorded_part r
where r.part is not null and r.conversion = '' and r.is_primary and r.day between $since and $until
    and r.sent_by <> 'SDK'
    and (r.mmp, r.name) in (select (kind, name) from called)
group by all order by all
"""


RECORDED = """
create or replace temp table recorded_part as
select r.*, {part} as part from recorded r left join app a on a.app = r.app {joined}
"""


ALL_DAYS = ("0000-00-00", "9999-99-99")


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
    """`is_well` says that over all that was compared no kind of difference is beyond its limit; `checks` has
    each with its limit, in each part of a slice."""

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
    part: Part = ()


class _Told(Struct, frozen=True):
    """One loan as we were told it; `reversed` where it was taken back."""

    loan_id: str
    at_us: int
    received_us: int
    amount: Decimal | None
    currency: str
    reversed: bool
    history: bool
    by: Part | None


def reconcile(
    tables: Tables,
    ledger: Iterable[Paid] | None = None,
    one: Slice = EVERYTHING,
    *,
    zone: tzinfo,
    limits: Limits | None = None,
    late_after: timedelta = timedelta(hours=3),
    brand: str | None = None,
) -> Reconciliation:
    """The three ledgers, compared loan by loan and conversion by conversion. `tables` need `recorded`.

    Compared are the days that both sides cover, and of these those of the slice: of the lender's ledger the
    days from its first to its last loan, in `zone`, the ledger's own; of a platform's raw data the app's
    local days from the first to the last recorded event. A loan told more than `late_after` after it was
    paid out is late; so is an event that the platform has on another day than it happened. Imported history
    is never late. Without `ledger` the first step is left out. Raises `InputError` where the slice names
    what there is not.
    """
    sides = apart(tables, one, brand)
    days = (
        one.since.isoformat() if one.since else ALL_DAYS[0],
        one.until.isoformat() if one.until else ALL_DAYS[1],
    )
    limits = limits or Limits()
    books = (
        _Books() if ledger is None else _against_ledger(tables, ledger, sides, zone, days, late_after, brand)
    )
    counted = _counted(tables)
    tables.db.execute(RECORDED.format(part=sides.recorded, joined=sides.recorded_join))
    tables.db.execute(SEEN)
    conversions, platform, compared = _against_platforms(tables, sides, counted, days)
    checks = [
        *(_checks("ledger", sides, books.found, books.compared, limits) if ledger is not None else ()),
        *_checks("platform", sides, conversions, compared, limits),
    ]
    names = " ".join(sides.names)
    return Reconciliation(
        title=", ".join(filter(None, ("Reconciliation", one.words))),
        as_of=tables.as_of,
        is_well=_is_well(books.found, books.compared.total(), limits)
        and _is_well(conversions, compared.total(), limits),
        checks=table(
            "Differences and their limits",
            columns(
                f"{names} step check differences of share low high limit well remark",
                share=SHARE,
                low=SHARE,
                high=SHARE,
                limit=SHARE,
            ),
            checks,
            "ledger: the lender's loans against what we were told. platform: what was accepted against what"
            f"\nthe platform says it recorded. of: everything that was compared; thin: fewer than {THIN}.",
        ),
        ledger=_ledger(sides, books),
        sent=_sent(tables, sides, counted),
        platform=platform,
        ledger_differences=table(
            "Differences with the lender's ledger",
            columns(f"{names} what loan_id day told ledger"),
            [(*each.part, each.what, each.name, each.day, each.ours, each.theirs) for each in books.found],
        ),
        platform_differences=table(
            "Differences with the platforms",
            columns(f"{names} what destination conversion conversion_id day sent recorded"),
            [
                (
                    *each.part,
                    each.what,
                    each.destination,
                    each.conversion,
                    each.name,
                    each.day,
                    each.ours,
                    each.theirs,
                )
                for each in conversions
            ],
        ),
        notes=_notes(tables, books if ledger is not None else None, compared.total()),
    )


class _Books(Struct):
    """What the lender's ledger comes to beside what we were told.

    `sums`: by part, day and currency the loans and amounts of both sides. `compared`: loans by part.
    `unplaced`: loans that only the books know, and of which nothing tells whether they are in the slice.
    """

    found: list[_Found] = field(default_factory=list)
    sums: dict[tuple[Part, str, str], list[Decimal]] = field(default_factory=dict)
    compared: Counter[Part] = field(default_factory=Counter)
    unplaced: int = 0

    def add(
        self, part: Part, day: str, currency: str, place: int, amount: Decimal | None, *, count: bool = True
    ) -> None:
        """Counts a loan on one side: 0 the ledger's, 2 ours."""
        sums = self.sums.setdefault((part, day, currency), [Decimal(0)] * 4)
        sums[place] += count
        sums[place + 1] += amount or 0


def _against_ledger(
    tables: Tables,
    ledger: Iterable[Paid],
    sides: Apart,
    zone: tzinfo,
    days: tuple[str, str],
    late_after: timedelta,
    brand: str | None,
) -> _Books:
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
    query = TOLD.format(part=sides.told, joined=sides.told_join)
    told_of = {row[0]: _Told(*row) for row in tables.rows(query, {"brand": brand})}
    books = _Books()
    for booked in paid.values():
        told, text = told_of.get(booked.loan_id), booked.day.isoformat()
        by = sides.untold if told is None else told.by
        if by is None:
            books.unplaced += told is None
            continue
        part = sides.on(by, text)
        books.compared[part] += 1
        books.add(part, text, booked.currency, 0, booked.amount)
        if copies[booked.loan_id] > 1:
            lines = f"{copies[booked.loan_id]} lines"
            books.found.append(_Found("twice_in_ledger", booked.loan_id, text, "1 loan", lines, part=part))
        if told is None:
            worth = _worth(booked.amount, booked.currency)
            books.found.append(_Found("not_told", booked.loan_id, text, "", worth, part=part))
            continue
        amount = None if told.reversed else told.amount
        books.add(part, text, told.currency, 2, amount, count=not told.reversed)
        day = from_us(told.at_us).astimezone(zone).date()
        books.found += _between(told, day, booked, late_after // MICROSECOND, part)
    for told in told_of.values():
        day = from_us(told.at_us).astimezone(zone).date()
        if told.loan_id in paid or told.reversed or told.by is None or told.loan_id in on_other_days:
            continue
        if first <= day <= last and days[0] <= day.isoformat() <= days[1]:
            part, worth = sides.on(told.by, day.isoformat()), _worth(told.amount, told.currency)
            books.compared[part] += 1
            books.add(part, day.isoformat(), told.currency, 2, told.amount)
            books.found.append(_Found("not_in_ledger", told.loan_id, day.isoformat(), worth, "", part=part))
    books.found.sort(key=lambda each: (each.part, each.day, each.name, each.what))
    return books


def _between(told: _Told, day: date, booked: Paid, late_us: int, part: Part) -> list[_Found]:
    """What differs between a loan as we were told it, on that local day, and as it is in the books."""

    def differs(what: str, ours: str, theirs: str) -> _Found:
        return _Found(what, told.loan_id, booked.day.isoformat(), ours, theirs, part=part)

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


def _counted(tables: Tables) -> str:
    """SQL of whether a delivery `d` is counted; fills what it asks."""
    for query in (CALLED, KIND_OF, SENT_AGAIN):
        tables.db.execute(query)
    if not tables.number("select count(*) from sent_again"):
        return OURS
    tables.db.execute(STOOD_FOR)
    return OURS + NOT_STOOD_FOR


def _against_platforms(
    tables: Tables, sides: Apart, counted: str, days: tuple[str, str]
) -> tuple[list[_Found], Table, Counter[Part]]:
    """The differences, the table by destination and conversion, and how many conversions were compared."""
    span = {"since": days[0], "until": days[1]}
    found: list[_Found] = []
    counts: dict[tuple[Part, str, str], Counter[str]] = defaultdict(Counter)
    money: dict[tuple[Part, str, str], list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    compared: Counter[Part] = Counter()
    totals = _not_covered(tables, sides, counted, span)
    unlike: list[tuple[Any, ...]] = []
    if tables.number("select count(*) from recorded"):
        of_sides = {"part": sides.sent, "joined": sides.sent_join, "ours": counted}
        tables.db.execute(MATCHED.format(day=local_day(tables, "d.at_us", "v.app"), **of_sides), span)
        spans = "''" if sides.every is None else "coalesce(day, seen_day)"
        totals += tables.rows(TOTALS.format(day=spans), span)
        unlike = tables.rows(DIFFERENT)
    for (
        by,
        day,
        destination,
        conversion,
        kind,
        of,
        accepted,
        seen,
        matched,
        uncovered,
        sent,
        told,
    ) in totals:
        part = sides.on(by, day)
        key = (part, destination or f"({kind})", conversion or "(unknown)")
        if not of and not uncovered:
            continue
        compared[part] += of
        counts[key].update(accepted=accepted, recorded=seen, matched=matched, not_covered=uncovered)
        money[key] = [money[key][0] + sent, money[key][1] + told]
    for by, destination, conversion, kind, id_, what, *sides_of in unlike:
        ours, theirs, copies = sides_of[:4], sides_of[4:8], sides_of[8]
        part = sides.on(by, ours[1] or theirs[1])
        where = destination or f"({kind})", conversion or "(unknown)"
        for difference, said, told in _differences(what, tuple(ours), tuple(theirs), copies):
            counts[part, *where][WHY[difference]] += 1
            found.append(_Found(difference, id_, ours[1] or theirs[1], said, told, *where, part))
    for kind, name, day, amount, currency, by, copies in tables.rows(WITHOUT_ID, span):
        part = sides.on(by, day)
        key = (part, f"({kind})", "(unknown)")
        compared[part] += copies
        counts[key]["extra"] += copies
        counts[key]["recorded"] += copies
        worth = f"{copies} × {name} {_worth(amount, currency)}".strip()
        found.extend([_Found("without_id", "", day, "", worth, *key[1:], part)] * copies)
    found.sort(key=lambda each: (each.part, each.destination, each.day, each.name, each.what))
    rows: list[tuple[Cell, ...]] = [
        (
            *key[0],
            *key[1:],
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
                f"{' '.join(sides.names)} destination conversion accepted recorded matched missing extra"
                " differs late not_covered value_sent value_recorded value_difference",
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


def _not_covered(
    tables: Tables, sides: Apart, counted: str, span: Mapping[str, str]
) -> list[tuple[Any, ...]]:
    """Rows of `NOT_COVERED`; days are reckoned where the slice asks for them."""
    is_asked = sides.every is not None or (span["since"], span["until"]) != ALL_DAYS
    day = f"strftime({local_day(tables, 'd.at_us', 'v.app')}, '%Y-%m-%d')"
    within = f"{day} between {quoted(span['since'])} and {quoted(span['until'])}" if is_asked else "true"
    of_app = "join (select record, app from conversion) v on v.record = d.record" if is_asked else ""
    return tables.rows(
        NOT_COVERED.format(
            part=sides.sent,
            day="''" if sides.every is None else day,
            joined=f"{of_app} {sides.sent_join}",
            ours=counted,
            within=within,
        )
    )


_Side: TypeAlias = tuple[str | None, str | None, Decimal | None, str | None]
"""Of a conversion: event name, local day, value and its currency."""


def _differences(what: str, sent: _Side, seen: _Side, copies: int | None) -> list[tuple[str, str, str]]:
    """What differs, what we say of it and what the platform says."""
    name, day, amount, currency = sent
    seen_name, seen_day, seen_amount, seen_currency = seen
    told = _worth(seen_amount, seen_currency) or str(seen_name)
    if copies is None:
        return [("not_recorded", _worth(amount, currency) or str(name), "")]
    if not what:
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


def _is_well(found: Iterable[_Found], compared: int, limits: Limits) -> bool:
    """Over the whole slice: a part of few loans, or of those nobody told of, is no alarm by itself."""
    counts = Counter(WHY[each.what] for each in found)
    return all(not counts[check] or counts[check] / compared <= limits.of(check) for check in CHECKS)


def _checks(
    step: str, sides: Apart, found: Sequence[_Found], compared: Mapping[Part, int], limits: Limits
) -> list[tuple[Cell, ...]]:
    counts = Counter((each.part, WHY[each.what]) for each in found)
    rows: list[tuple[Cell, ...]] = []
    for part in sorted({*compared, *(each.part for each in found), *(() if sides.names else ((),))}):
        of = compared.get(part, 0)
        for check in CHECKS:
            n, limit = counts[part, check], limits.of(check)
            share = n / of if of else None
            # A conversion may differ in more than one way: it has the interval of one that differs in all.
            rate = Rate(min(n, of), of)
            well = (share or 0) <= limit
            rows.append((*part, step, check, n, of, share, rate.low, rate.high, limit, well, rate.remark))
    return rows


def _ledger(sides: Apart, books: _Books) -> Table:
    """By day and currency, or by the span that the slice asks for."""
    by_day = sides.every is None
    sums: dict[tuple[Part, str, str], list[Decimal]] = defaultdict(lambda: [Decimal(0)] * 4)
    for (part, day, currency), mine in books.sums.items():
        key = (part, day if by_day else "", currency)
        sums[key] = [before + more for before, more in zip(sums[key], mine, strict=True)]
    counts = Counter((each.part, each.day if by_day else "", WHY[each.what]) for each in books.found)
    rows: list[tuple[Cell, ...]] = []
    for (part, day, currency), (loans, amount, told, told_amount) in sorted(sums.items()):
        rows.append(
            (
                *part,
                *((day,) if by_day else ()),
                currency,
                int(loans),
                int(told),
                *(counts[part, day, check] for check in CHECKS),
                rounded(amount, currency),
                rounded(told_amount, currency),
                rounded(told_amount - amount, currency),
            )
        )
    return table(
        "The lender's ledger against what we were told",
        columns(
            f"{' '.join(sides.names)} {'day' if by_day else ''} currency loans_in_ledger loans_told missing"
            " extra differs late amount_in_ledger amount_told amount_difference",
            amount_in_ledger=MONEY,
            amount_told=MONEY,
            amount_difference=MONEY,
        ),
        rows,
        "Days are the ledger's own, in its time zone. Loans are matched by their id." if rows else "",
    )


def _sent(tables: Tables, sides: Apart, counted: str) -> Table:
    # Of a slice by days this table has all days: a loan is on its way for longer than one.
    names = " ".join(name for name in sides.names if name != sides.every)
    fates = FATES.format(part=sides.sent, joined=sides.sent_join, ours=counted)
    return table(
        "What became of the loans we were told",
        columns(f"{names} destination conversion loans accepted open dead never_sent"),
        [(*part, *rest) for part, *rest in tables.rows(fates)],
        "open: waiting, held or not read yet. never_sent: skipped or cancelled; `report delivery` says why.",
    )


def _notes(tables: Tables, books: _Books | None, compared: int) -> tuple[str, ...]:
    notes = []
    if books is None:
        notes.append("No ledger of the lender's was given: bring one with --ledger.")
    elif books.unplaced:
        notes.append(
            f"{books.unplaced:,} loans of the ledger that nobody told us of are in no slice like this: only"
            " what is told has a campaign."
        )
    if not tables.number("select count(*) from recorded"):
        notes.append("No raw data of a platform is here: see docs/how-to/reconcile-ledgers.md.")
    elif not compared:
        notes.append("Nothing that was sent falls on the days that the raw data covers.")
    return tuple(notes)


def _worth(amount: Decimal | None, currency: str | None) -> str:
    return "" if amount is None else f"{plain(amount)} {currency or ''}".strip()


def _cents(amount: Decimal) -> Decimal:
    return Decimal(plain(amount))
