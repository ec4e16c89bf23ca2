"""What another sender sent, out of its own record: one row an event, columns known by name or named."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from lendsignal.clock import to_us
from lendsignal.errors import InputError
from lendsignal.report.compare import Sent
from lendsignal.source.files.rows import BadRow, Cell, Layout, Row, columns_of, format_of, rows
from lendsignal.source.files.values import (
    TEXT,
    EpochMsColumn,
    EpochSColumn,
    NumberColumn,
    TimeColumn,
    Unreadable,
    text_of,
    value_of,
)

FIELDS: Mapping[str, Sequence[str]] = {
    "at": ("occurred_at", "event_time", "timestamp", "created_at", "time"),
    "event": ("event_name", "conversion", "name", "event_token"),
    "conversion_id": ("event_id", "transaction_id", "order_id", "dedupe_id"),
    "loan_id": ("loan", "contract_id"),
    "install": (
        "appsflyer_id",
        "adjust_id",
        "adid",
        "app_instance_id",
        "install_id",
        "gaid",
        "advertising_id",
    ),
    "user_id": ("customer_user_id", "external_id", "user"),
    "amount": ("value", "revenue", "event_revenue"),
    "currency": ("event_revenue_currency", "currency_code"),
}
"""What is read of a row, and what columns with it are called where nobody says."""

EPOCH_MS_FROM = Decimal(100_000_000_000)
"""A number of seconds this large lies in the year 5138: it is milliseconds."""


def sent_of(
    path: Path,
    columns: Mapping[str, str],
    *,
    timezone: str | None = None,
    refused: Callable[[BadRow], None] = lambda _: None,
) -> Iterator[Sent]:
    """Every row as an event that was sent; `refused` is told of those that cannot be read.

    `columns` name the column of a field where its name does not tell; an empty one: no column has it.
    `timezone` is that of times without an offset. Raises `InputError` where the file is no table, lacks a
    column that is named, or none has the time.
    """
    form = format_of(path.name)
    if form is None:
        raise InputError(path.name, "has a name that tells no format: .csv, .tsv, .jsonl or .parquet")
    try:
        written = TimeColumn(timezone=timezone)
    except ValueError as error:
        raise InputError("timezone", str(error)) from None
    layout = Layout(form, "\t" if ".tsv" in path.name.lower() else ",")
    header = columns_of(path, layout)
    for column in columns.values():
        if header is not None and column and column not in header:
            raise InputError(path.name, f"has no column {column!r}: it has {', '.join(header)}")
    named = None if header is None else _named(path, header, columns)
    for row in rows(path, layout):
        if isinstance(row, BadRow):
            refused(row)
            continue
        try:
            yield _sent(row, named or _named(path, tuple(row.cells), columns), written)
        except Unreadable as error:
            refused(BadRow(row.number, row.line, f"{error.column} {error.rule}"))


def _named(path: Path, header: Sequence[str], columns: Mapping[str, str]) -> dict[str, str]:
    """The column of each field that there is."""
    found: dict[str, str] = {}
    plain = {_plain(name): name for name in header}
    for field, others in FIELDS.items():
        said = columns.get(field)
        if said is not None:
            if said and said in header:
                found[field] = said
            continue
        name = next((plain[one] for one in (field, *others) if one in plain), None)
        if name is not None and name not in columns.values():
            found[field] = name
    if "at" not in found:
        raise InputError(
            path.name, f"has no column for the time: say --map at=COLUMN; it has {', '.join(header)}"
        )
    return found


def _sent(row: Row, named: Mapping[str, str], written: TimeColumn) -> Sent:
    def text(field: str) -> str:
        name = named.get(field)
        value = None if name is None else value_of(row.cells.get(name), TEXT, name, _taken)
        return "" if value is None or name is None else text_of(value, name).strip()

    amount = named.get("amount")
    return Sent(
        at_us=_moment(row.cells.get(named["at"]), named["at"], written),
        event=text("event"),
        conversion_id=text("conversion_id"),
        loan_id=text("loan_id"),
        install=text("install"),
        user_id=text("user_id"),
        amount=None if amount is None else _amount(row.cells.get(amount), amount),
        currency=text("currency").upper(),
        row=row.number,
    )


def _moment(cell: Cell, name: str, written: TimeColumn) -> int:
    """A date and time, or seconds or milliseconds since 1970."""
    if isinstance(cell, str) and re.fullmatch(r" *[0-9]{9,}(\.[0-9]+)? *", cell):
        cell = Decimal(cell.strip())
    column: TimeColumn | EpochMsColumn | EpochSColumn = written
    if isinstance(cell, int | float | Decimal) and not isinstance(cell, bool):
        column = EpochMsColumn() if cell >= EPOCH_MS_FROM else EpochSColumn()
    value = value_of(cell, column, name, _taken)
    if value is None:
        raise Unreadable(name, "is empty")
    assert not isinstance(value, str | bool | Decimal | list)
    return to_us(value.at)


def _amount(cell: Cell, name: str) -> Decimal | None:
    value = value_of(cell, NumberColumn(), name, _taken)
    assert value is None or isinstance(value, Decimal)
    return value


def _taken(name: str, rule: str) -> None:
    """A time that the clocks showed twice is taken as the earlier: an hour's doubt shows as a difference."""


def _plain(name: str) -> str:
    """A heading as we compare it: `AppsFlyer ID` and `appsflyer_id` are one."""
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")
