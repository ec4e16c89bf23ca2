"""What a report is made of: typed tables that print as text, CSV and JSON."""

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from lendsignal.model import plain

Cell: TypeAlias = str | int | float | Decimal | bool | None
"""One value of a table. Money is a `Decimal`, a share a number from 0 to 1; `None`: nothing to say."""

SHARE = "share"
"""The unit of numbers from 0 to 1: per cent in text, plain in CSV and JSON."""

SECONDS = "s"
"""The unit of spans of time, in seconds."""

MONEY = "money"
"""The unit of exact amounts in major units; the currency stands in a column of its own."""


class Column(Struct, frozen=True):
    """A column's name, as CSV and JSON have it, and the unit of its numbers (empty: a text or a count)."""

    name: str
    unit: str = ""


class Table(Struct, frozen=True, kw_only=True):
    """A titled table: every row has one cell for each column. `note` says how the numbers are to be read."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def records(self) -> list[dict[str, Cell]]:
        """The rows as mappings from column name to value."""
        names = [column.name for column in self.columns]
        return [dict(zip(names, row, strict=True)) for row in self.rows]

    def to_cells(self) -> list[list[str]]:
        """The table as people read it, cell by cell: the heading with units, then the rows."""
        heads = [
            f"{column.name} ({column.unit})" if column.unit == SECONDS else column.name
            for column in self.columns
        ]
        rows = [
            [_text(cell, column) for cell, column in zip(row, self.columns, strict=True)] for row in self.rows
        ]
        return [heads, *rows]

    def is_numeric(self, place: int) -> bool:
        """Whether the column at that place has no text in it, and is set to the right."""
        return all(not isinstance(row[place], str) for row in self.rows)

    def to_text(self) -> str:
        """The table for people: aligned columns, units in the heading."""
        if not self.rows:
            return "\n".join(filter(None, (self.title, "  nothing yet", _indented(self.note))))
        heads, *body = self.to_cells()
        widths = [max(map(len, parts)) for parts in zip(heads, *body, strict=True)]
        numeric = [self.is_numeric(place) for place in range(len(self.columns))]
        lines = [
            "  "
            + "  ".join(
                part.rjust(width) if right else part.ljust(width)
                for part, width, right in zip(line, widths, numeric, strict=True)
            ).rstrip()
            for line in (heads, *body)
        ]
        return "\n".join(filter(None, (self.title, *lines, _indented(self.note))))

    def to_csv(self) -> str:
        """One line of column names, then the rows; shares as plain numbers, nothing for `None`."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([column.name for column in self.columns])
        for row in self.rows:
            writer.writerow(["" if cell is None else _plain(cell) for cell in row])
        return out.getvalue()

    def to_data(self) -> dict[str, Any]:
        """The table as JSON's own kinds: amounts of money are strings, so that they stay exact."""
        return {
            "title": self.title,
            "columns": [{"name": column.name, "unit": column.unit} for column in self.columns],
            "rows": [{name: _plain(cell) for name, cell in row.items()} for row in self.records()],
            "note": self.note,
        }

    def to_json(self) -> str:
        """`to_data` as JSON text."""
        return msgspec.json.encode(self.to_data()).decode()


class Report(Struct, frozen=True, kw_only=True):
    """What every report has: a title, the arrival of the youngest event in it (UTC), and notes.

    A report's own fields are tables and single figures; `as_of` is `None` while there are no events.
    """

    title: str
    as_of: datetime | None
    notes: tuple[str, ...] = ()

    def tables(self) -> dict[str, Table]:
        """The report's tables by the name of their field."""
        return {name: value for name, value in self._fields() if isinstance(value, Table)}

    def to_text(self) -> str:
        """The report for people."""
        head = self._head()
        parts = [f"{head}\n{'=' * len(head)}", *(table.to_text() for table in self.tables().values())]
        if self.notes:
            parts.append("\n".join(self.notes))
        return "\n\n".join(parts) + "\n"

    def to_csv(self) -> dict[str, str]:
        """One CSV text for each table, by the table's name."""
        return {name: table.to_csv() for name, table in self.tables().items()}

    def to_data(self) -> dict[str, Any]:
        """The report as JSON's own kinds: figures, notes, and the tables by name."""
        figures = {
            name: value
            for name, value in self._fields()
            if isinstance(value, bool | int | float | str) and name != "title"
        }
        return {
            "title": self.title,
            "as_of": None if self.as_of is None else self.as_of.isoformat(),
            **figures,
            "tables": {name: table.to_data() for name, table in self.tables().items()},
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        """`to_data` as JSON text."""
        return msgspec.json.encode(self.to_data()).decode()

    def _head(self) -> str:
        stamp = "no events yet" if self.as_of is None else f"as of {self.as_of:%Y-%m-%d %H:%M:%S} UTC"
        return f"{self.title}, {stamp}"

    def _fields(self) -> Iterator[tuple[str, Any]]:
        return ((name, getattr(self, name)) for name in self.__struct_fields__)


class Reckoned(Report, frozen=True, kw_only=True):
    """A report that stands on what was asked and not on a ledger: it has no moment, and shows none."""

    as_of: datetime | None = None

    def _head(self) -> str:
        return self.title


def columns(names: str, **units: str) -> tuple[Column, ...]:
    """Columns from their names, written one after the other; `units` for those that have one."""
    return tuple(Column(name, units.get(name, "")) for name in names.split())


def table(title: str, layout: Sequence[Column], rows: Sequence[tuple[Cell, ...]], note: str = "") -> Table:
    """A table of these rows."""
    return Table(title=title, columns=tuple(layout), rows=tuple(rows), note=note)


def _plain(cell: Cell) -> str | int | float | bool | None:
    return plain(cell) if isinstance(cell, Decimal) else cell


def _text(cell: Cell, column: Column) -> str:
    match cell:
        case None:
            return "–"
        case bool():
            return "yes" if cell else "no"
        case Decimal():
            return f"{cell:,f}"
        case float() if column.unit == SHARE:
            return f"{cell:.2%}"
        case float():
            return f"{cell:,.2f}"
        case int():
            return f"{cell:,}"
        case str():
            return cell


def _indented(note: str) -> str:
    return "\n".join(f"  {line}" for line in note.splitlines())
