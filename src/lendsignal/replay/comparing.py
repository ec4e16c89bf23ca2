"""Two data folders that were told the same, row by row: what was derived, sent and reported is to be equal.

Each folder numbers its events and decisions for itself. Such numbers are left out, and where one row speaks
of another by number it is told by the conversion that it is about.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from hashlib import blake2b
from typing import Any

import msgspec
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

COMPARED = (EVENTS, TOUCHES, INSTALMENTS, CONVERSIONS, DELIVERIES, WITHDRAWALS, OUTCOMES)
"""The tables whose rows are compared: what MMPs told is no folder's own."""

Named = tuple[tuple[str, Any], ...]
"""The values of a row, each with the name of its column."""

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
    one: DataFolder,
    other: DataFolder,
    left_out: frozenset[str] = frozenset(),
    tell: Callable[[str], None] = lambda what: None,
) -> dict[str, Difference]:
    """Every table and every report of two folders beside each other, by name.

    `left_out` are columns that are not compared: moments, where the two had clocks of their own. Of events
    only the lender's are compared: whoever works says the rules that are in force in his own words. `tell`
    hears what is compared next.
    """
    tell("tables")
    found = _of_tables(_Rows(one, left_out), _Rows(other, left_out))
    with load(one) as tables, load(other) as others:
        for name, make in REPORTS.items():
            tell(name)
            ours, theirs = Counter(_lines(make(tables))), Counter(_lines(make(others)))
            found[name] = _difference(ours, theirs, *_parted(ours, theirs))
    return found


def _of_tables(one: "_Rows", other: "_Rows") -> dict[str, Difference]:
    """By digests: all rows of two lenders side by side need more memory than a machine may have. Those that
    differ are read a second time."""
    ours, theirs = one.counted(), other.counted()
    only_one = {table.name: ours[table.name] - theirs[table.name] for table in COMPARED}
    only_other = {table.name: theirs[table.name] - ours[table.name] for table in COMPARED}
    first, second = one.first_of(only_one), other.first_of(only_other)
    return {
        table.name: _difference(
            ours[table.name], theirs[table.name], first.get(table.name, []), second.get(table.name, [])
        )
        for table in COMPARED
    }


class _Rows:
    """The rows of the archive's tables as a folder's own files have them, without some columns."""

    def __init__(self, folder: DataFolder, left_out: frozenset[str]) -> None:
        self._folder = folder
        self._left_out = left_out

    def __iter__(self) -> Iterator[tuple[str, Named]]:
        """Each row, by the name of its table."""
        with ExitStack() as opened:
            log = opened.enter_context(closing(open_log(self._folder.log, read_only=True)))
            sent = opened.enter_context(closing(open_deliveries(self._folder.deliveries, read_only=True)))
            conversion = _Conversions(log)
            for start in range(0, log.position(), AT_ONCE):
                rows: Rows
                rows, _ = rows_of_log(log, start, min(start + AT_ONCE, log.position()))
                for table in COMPARED:
                    if table is not OUTCOMES:
                        yield from self._told(table, rows[table.name], conversion)
            for _, pack in rows_of_outcomes(sent, 0, sent.last_pack()):
                yield from self._told(OUTCOMES, pack, conversion)

    def counted(self) -> dict[str, Counter[bytes]]:
        """How often each row is there, by its digest."""
        found: dict[str, Counter[bytes]] = {table.name: Counter() for table in COMPARED}
        for name, row in self:
            found[name][_digest(row)] += 1
        return found

    def first_of(self, wanted: Mapping[str, Collection[bytes]]) -> dict[str, list[Named]]:
        """Of the rows with these digests the first ones, as they are sorted."""
        found: dict[str, list[Named]] = {}
        if any(wanted.values()):
            for name, row in self:
                if _digest(row) in wanted[name]:
                    found[name] = sorted([*found.get(name, []), row], key=repr)[:SHOWN]
        return found

    def _told(
        self, table: Table, rows: Iterable[Row], conversion: "_Conversions"
    ) -> Iterator[tuple[str, Named]]:
        gone = OF_ITS_OWN | self._left_out
        for row in rows:
            told = dict(zip(table.names, row, strict=True))
            if table is EVENTS and told["brand"] == "lendsignal":
                continue
            for name, kind in ABOUT.items():
                if told.get(name) is not None:
                    told[name] = conversion(told[name], kind)
            yield table.name, tuple((name, value) for name, value in told.items() if name not in gone)


def _parted(ours: Counter[Named], theirs: Counter[Named]) -> tuple[list[Named], list[Named]]:
    """What only one of them has."""
    return sorted(ours - theirs, key=repr), sorted(theirs - ours, key=repr)


def _digest(row: Named) -> bytes:
    return blake2b(msgspec.json.encode([value for _, value in row]), digest_size=16).digest()


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


def _difference(
    ours: Counter[Any], theirs: Counter[Any], only_one: Sequence[Named], only_other: Sequence[Named]
) -> Difference:
    """`only_one`, `only_other`: the first of the rows that one of them alone has."""
    columns: tuple[str, ...] = ()
    if only_one and only_other:
        first, second = dict(only_one[0]), dict(only_other[0])
        columns = tuple(name for name in first if first[name] != second.get(name))
    return Difference(
        rows=(ours & theirs).total(),
        only_one=(ours - theirs).total(),
        only_other=(theirs - ours).total(),
        columns=columns,
        shown=tuple(dict(row) for row in sorted([*only_one, *only_other], key=repr)[:SHOWN]),
    )
