"""The lender's own ledger of loans: what was paid out, as its books have it, from CSV or other rows."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, tzinfo
from decimal import Decimal, InvalidOperation

from msgspec import Struct

from lendsignal.clock import to_us
from lendsignal.errors import InputError

FIELDS = ("loan_id", "paid_out_at", "amount", "currency")
"""What a line of the ledger must tell; `currency` may be the same for the whole file instead."""


class Paid(Struct, frozen=True, kw_only=True):
    """One loan of the ledger: `day` is local, `at_us` is `None` where the ledger knows only the day."""

    loan_id: str
    day: date
    at_us: int | None
    amount: Decimal
    currency: str


def read_ledger(
    lines: Iterable[str],
    *,
    columns: Mapping[str, str] | None = None,
    zone: tzinfo = UTC,
    currency: str | None = None,
) -> list[Paid]:
    """The loans of a CSV file with a header; `columns` says what the file calls each of `FIELDS`.

    Times are ISO 8601: with an offset as they stand, without one in `zone`; a date alone is that local day.
    Amounts are in major units, without thousands separators. `currency` holds where the file has no column
    for it. Columns are told apart by comma, semicolon or tab. Raises `InputError` that names line and field,
    never what stands there.
    """
    given = iter(lines)
    head = next(given, "").removeprefix("\ufeff")
    delimiter = max(",;\t", key=head.count)
    header = [cell.strip() for cell in next(csv.reader([head], delimiter=delimiter), [])]
    rows = ((number, cells) for number, cells in enumerate(csv.reader(given, delimiter=delimiter), start=2))
    return paid_of(header, rows, columns=columns, zone=zone, currency=currency)


def paid_of(
    header: Sequence[str],
    rows: Iterable[tuple[int, Sequence[str]]],
    *,
    columns: Mapping[str, str] | None = None,
    zone: tzinfo = UTC,
    currency: str | None = None,
) -> list[Paid]:
    """The same of rows that came otherwise, each with its number: cells are text, as in the file."""
    names = {field: (columns or {}).get(field, field) for field in FIELDS}
    places = {field: header.index(name) for field, name in names.items() if name in header}
    for field in FIELDS:
        if field not in places and (field != "currency" or currency is None):
            raise InputError(
                f"ledger line 1, {field}", f"has no column {names[field]!r}; name it with --column"
            )
    return [_paid(cells, places, number, zone, currency) for number, cells in rows if any(cells)]


def _paid(
    cells: Sequence[str], places: Mapping[str, int], number: int, zone: tzinfo, currency: str | None
) -> Paid:
    def told(field: str) -> str:
        place = places.get(field, len(cells))
        return cells[place].strip() if place < len(cells) else ""

    def refused(field: str, rule: str) -> InputError:
        return InputError(f"ledger line {number}, {field}", rule)

    loan_id, code = told("loan_id"), told("currency") or currency or ""
    if not loan_id:
        raise refused("loan_id", "is needed")
    if len(code) != 3 or not code.isalpha():
        raise refused("currency", "must be three letters, as in ISO 4217")
    try:
        amount = Decimal(told("amount"))
    except InvalidOperation:
        raise refused("amount", "must be a number such as 2500.00") from None
    if not amount.is_finite():
        raise refused("amount", "must be a number such as 2500.00")
    try:
        moment = datetime.fromisoformat(told("paid_out_at"))
    except ValueError:
        raise refused("paid_out_at", "must be ISO 8601, such as 2026-03-10T09:30:00+01:00") from None
    only_day = moment.time() == time() and len(told("paid_out_at")) <= len("2026-03-10")
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
    return Paid(
        loan_id=loan_id,
        day=moment.astimezone(zone).date(),
        at_us=None if only_day else to_us(moment),
        amount=amount,
        currency=code.upper(),
    )
