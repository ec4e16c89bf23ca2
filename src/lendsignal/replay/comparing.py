"""Two data folders that were told the same, row by row: what was derived, sent and reported is to be equal.

Each folder numbers its events and decisions for itself. Such numbers are left out, and where one row speaks
of another by number it is told by the conversion that it is about.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import Any

from msgspec import Struct

from lendsignal.archive.layout import (
    CONVERSIONS,
    DELIVERIES,
    EVENTS,
    INSTALMENTS,
    OUTCOMES,
    TOUCHES,
    WITHDRAWALS,
    Row,
    Table,
)
from lendsignal.archive.taking import Rows, rows_of_log, rows_of_outcomes
from lendsignal.log import DataFolder, Log, open_deliveries, open_log
from lendsignal.plan import Placed, record_of
from lendsignal.report import (
    Report,
    Tables,
    attribution,
    bindings,
    delay,
    delivery,
    devices,
    funnel,
    installations,
    load,
)
from lendsignal.report.slices import Slice
from lendsignal.report.vintages import vintages

OF_ITS_OWN = frozenset(("seq", "record", "pack", "place"))
"""Columns that only number rows."""

ABOUT = {"rebinds": "record", "withdraws": "record", "delivery": "delivery"}
"""Columns that speak of a decision or a delivery by its number."""

DIGITS = 12
"""Of a figure that is no amount of money: sums of fractions end otherwise in another order of rows."""

AT_ONCE = 50_000
"""Events that are read together."""

SHOWN = 5
"""Rows of a difference that are shown."""

REPORTS: Mapping[str, Callable[[Tables], Report]] = {
    "funnel": funnel,
    "funnel by source": lambda tables: funnel(tables, Slice(by=("media_source",))),
    "bindings": bindings,
    "installations": installations,
    "devices": devices,
    "delivery": delivery,
    "delay": delay,
    "attribution": attribution,
    "vintages": vintages,
}
"""What is made of both folders as they stand."""


class Difference(Struct, frozen=True, kw_only=True):
    """A table or a report of both: rows that both have, and that only one has; `columns`: in which columns
    the first of those differ. Rows are shown by their columns' names."""

    rows: int
    only_one: int = 0
    only_other: int = 0
    columns: tuple[str, ...] = ()
    shown: tuple[dict[str, Any], ...] = ()

    @property
    def is_none(self) -> bool:
        """Whether both have the same."""
        return not self.only_one and not self.only_other


def differences(
    one: DataFolder, other: DataFolder, left_out: frozenset[str] = frozenset()
) -> dict[str, Difference]:
    """Every table and every report of two folders beside each other, by name.

    `left_out` are columns that are not compared: moments, where the two had clocks of their own. Of events
    only the lender's are compared: whoever works says the rules that are in force in his own words.
    """
    found: dict[str, Difference] = {}
    ours, theirs = _rows(one), _rows(other)
    for table in (EVENTS, TOUCHES, INSTALMENTS, CONVERSIONS, DELIVERIES, WITHDRAWALS, OUTCOMES):
        names = [name for name in table.names if name not in left_out]
        found[table.name] = _compared(
            (_named(row, names) for row in ours[table.name]),
            (_named(row, names) for row in theirs[table.name]),
        )
    with load(one) as tables, load(other) as others:
        for name, make in REPORTS.items():
            found[name] = _compared(_lines(make(tables)), _lines(make(others)))
    return found


def _rows(folder: DataFolder) -> dict[str, list[dict[str, Any]]]:
    """Every row of the archive's tables as the folder's own files have them, by table."""
    found: dict[str, list[dict[str, Any]]] = {}
    with closing(open_log(folder.log, read_only=True)) as log:
        conversion = _Conversions(log)
        for start in range(0, log.position(), AT_ONCE):
            rows: Rows
            rows, _ = rows_of_log(log, start, min(start + AT_ONCE, log.position()))
            for table in (EVENTS, TOUCHES, INSTALMENTS, CONVERSIONS, DELIVERIES, WITHDRAWALS):
                found.setdefault(table.name, []).extend(_told(table, rows[table.name], conversion))
        with closing(open_deliveries(folder.deliveries, read_only=True)) as sent:
            packs = (row for _, pack in rows_of_outcomes(sent, 0, sent.last_pack()) for row in pack)
            found[OUTCOMES.name] = list(_told(OUTCOMES, packs, conversion))
    found[EVENTS.name] = [row for row in found[EVENTS.name] if row["brand"] != "lendsignal"]
    return found


def _told(table: Table, rows: Iterable[Row], conversion: "_Conversions") -> Iterable[dict[str, Any]]:
    for row in rows:
        told = dict(zip(table.names, row, strict=True))
        for name in OF_ITS_OWN & told.keys():
            del told[name]
        for name, kind in ABOUT.items():
            if told.get(name) is not None:
                told[name] = conversion(told[name], kind)
        yield told


class _Conversions:
    """The conversions that a log's decisions are about; remembered."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._known: dict[int, str] = {}

    def __call__(self, number: int, kind: str) -> str:
        record, entry = record_of(number) if kind == "delivery" else (number, 0)
        if record not in self._known:
            found = self._log.record(record)
            self._known[record] = found.conversion.id if isinstance(found, Placed) else ""
        return f"{self._known[record]}/{entry}"


def _named(row: Mapping[str, Any], names: Iterable[str]) -> tuple[tuple[str, Any], ...]:
    return tuple((name, row[name]) for name in names if name in row)


def _lines(report: Report) -> Iterable[tuple[tuple[str, Any], ...]]:
    """A report's single figures and the rows of its tables, each with the name of where it stands."""
    told = report.to_data()
    tables = told.pop("tables")
    for name, value in told.items():
        yield (("figure", name), ("value", _figure(value)))
    for name, table in tables.items():
        for row in table["rows"]:
            yield (("table", name), *((column, _figure(value)) for column, value in row.items()))


def _figure(value: object) -> str:
    return f"{value:.{DIGITS}g}" if isinstance(value, float) else str(value)


def _compared(ours: Iterable[tuple[Any, ...]], theirs: Iterable[tuple[Any, ...]]) -> Difference:
    here, there = Counter(ours), Counter(theirs)
    only_one, only_other = here - there, there - here
    columns: tuple[str, ...] = ()
    if only_one and only_other:
        first, second = dict(min(only_one, key=repr)), dict(min(only_other, key=repr))
        columns = tuple(name for name in first if first[name] != second.get(name))
    return Difference(
        rows=(here & there).total(),
        only_one=only_one.total(),
        only_other=only_other.total(),
        columns=columns,
        shown=tuple(dict(row) for row in sorted([*only_one, *only_other], key=repr)[:SHOWN]),
    )
