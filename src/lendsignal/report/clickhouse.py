"""The tables of `tables` in ClickHouse, in this process: the same statements, answered by the other engine.

It reads the archive's files itself, where they lie in a folder; those of an object store are brought here
first. They, what is not archived yet, and what Python reckons between two statements lie in files of its own,
which are gone afterwards.
"""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import chdb
import msgspec

from lendsignal.archive.layout import Kind, Table
from lendsignal.report.dialect import TEMPORARY, asked_of, translated
from lendsignal.report.making import word
from lendsignal.report.sources import Sources
from lendsignal.report.tables import Base

if TYPE_CHECKING:
    import numpy as np

SETTINGS: Mapping[str, str] = {
    # What is missing is null, as in standard SQL, and what is not told apart is told once.
    "aggregate_functions_null_for_empty": "1",
    "cast_keep_nullable": "1",
    "data_type_default_nullable": "1",
    "join_use_nulls": "1",
    "union_default_mode": "'DISTINCT'",
    # A name is a column's before it is an alias, and a tuple's part is asked for by its name.
    "prefer_column_name_to_alias": "1",
    "enable_named_columns_in_function_tuple": "1",
    "joined_subquery_requires_alias": "0",
    "max_threads": str(os.cpu_count() or 1),
    "session_timezone": "'UTC'",
    # How answers are written.
    "output_format_json_named_tuples_as_objects": "0",
    "output_format_json_quote_64bit_integers": "0",
    "output_format_json_quote_decimals": "1",
    "output_format_json_quote_denormals": "1",
}
"""What ClickHouse is told so that it means what DuckDB means."""

TYPES: Mapping[Kind, str] = {
    Kind.TEXT: "String",
    Kind.WHOLE: "Int64",
    Kind.TRUTH: "Bool",
    Kind.REAL: "Float64",
    Kind.MONEY: "Decimal(38, 8)",
    Kind.DAY: "Date32",
    Kind.MOMENT: "DateTime64(6, 'UTC')",
}
"""What the columns of the archive are here; any of them may be null."""

_WRITTEN = "JSONCompactEachRowWithNamesAndTypes"

_connect: Callable[[str], Any] = chdb.connect
"""Not every one of its builds has types."""


class ClickHouse(Base):
    """A ClickHouse in memory that makes its tables when they are first asked for; `zones`: of the apps.

    Needs `lendsignal[clickhouse]`.
    """

    def __init__(self, make: Callable[[str], None], zones: Sequence[str]) -> None:
        self._make = make
        self._zones = zones
        self._asked: set[str] = set()
        self._files = tempfile.TemporaryDirectory(prefix="lendsignal-clickhouse-")
        self._engine = _connect(":memory:")
        # One process has one such server: what is ours stands in a database of its own.
        self._name = f"lendsignal_{token_hex(6)}"
        self._ask(f"create database {self._name}")
        self._ask(f"use {self._name}")
        for name, value in SETTINGS.items():
            self._ask(f"set {name} = {value}")

    def execute(self, query: str, parameters: Any = None) -> "Told":
        """A statement of DuckDB's; tables that it names and that are not there yet are made first."""
        for name in sorted(asked_of(query)):
            if name not in self._asked:
                self._asked.add(name)
                self._make(name)
        answer = Told(b"")
        for statement in translated(query, parameters or {}, self._zones):
            answer = self._ask(statement)
        return answer

    def temporary(self) -> set[str]:
        """The helping tables that reports made here."""
        found = self._ask(
            f"select name from system.tables where database = '{self._name}' and comment = '{TEMPORARY}'"
        )
        return {name for (name,) in found.fetchall()}

    def read(self, sources: Sources, name: str) -> None:
        """Makes a table of the archive known; files of an object store are brought here for it. Raises
        `DataError` where one cannot be read."""
        lying = sources.lying(name, copies=Path(self._files.name))
        files = list(lying.files)
        if lying.rows or not files:
            files.append(self._put_down(lying.table, lying.rows))
        shape = ", ".join(f"`{one.name}` Nullable({TYPES[one.kind]})" for one in lying.table.columns)
        rows = " union all ".join(
            f"select * from file({word(one)}, 'Parquet', {_text(shape)})" for one in files
        )
        self._ask(f"create view whole_{name} as {rows}")
        known = f" where {lying.known}" if lying.known else ""
        (query,) = translated(f"select * from whole_{name}{known}", {}, self._zones)
        self._ask(f"create view {name} as {query}")

    def register(self, name: str, found: object) -> None:
        """Lets statements name an object of Python's."""
        import duckdb

        path = self._path()
        with duckdb.connect() as db:
            db.register("arriving", found)
            db.execute(f"copy (select * from arriving) to {word(path)} (format parquet)")
        self._ask(f"create view {name} as select * from file({word(path)}, 'Parquet')")

    def unregister(self, name: str) -> None:
        """Lets it go."""
        self._ask(f"drop view {name}")

    def close(self) -> None:
        """Lets memory and disk go."""
        self._ask(f"drop database {self._name}")
        self._engine.close()
        self._files.cleanup()

    def _ask(self, statement: str) -> "Told":
        return Told(self._engine.query(statement, _WRITTEN).bytes())

    def _put_down(self, table: Table, rows: Sequence[tuple[object, ...]]) -> str:
        import duckdb

        from lendsignal.archive.parquet import arriving

        path = self._path()
        with duckdb.connect() as db:
            db.execute("set TimeZone = 'UTC'")
            with arriving(db, table, rows) as query:
                db.execute(f"copy ({query}) to {word(path)} (format parquet)")
        return path

    def _path(self) -> str:
        return f"{self._files.name}/{token_hex(6)}.parquet"


class Told:
    """What ClickHouse answered, in the kinds of values that DuckDB gives."""

    def __init__(self, said: bytes) -> None:
        names, types, *rows = said.splitlines() or (b"[]", b"[]")
        self._names: list[str] = msgspec.json.decode(names)
        self._types: list[str] = msgspec.json.decode(types)
        self._rows = [
            tuple(_value(one, kind) for one, kind in zip(msgspec.json.decode(row), self._types, strict=True))
            for row in rows
        ]

    def fetchall(self) -> list[Any]:
        """Every row that was not fetched yet."""
        return self.fetchmany(len(self._rows))

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row."""
        return next(iter(self.fetchmany(1)), None)

    def fetchmany(self, size: int) -> list[Any]:
        """The next rows, so many at most."""
        found, self._rows = self._rows[:size], self._rows[size:]
        return found

    def fetchnumpy(self) -> "dict[str, np.ndarray[Any, Any]]":
        """Every column as an array; what is null is masked."""
        columns = zip(*self._rows, strict=True) if self._rows else ((),) * len(self._names)
        return {
            name: _array(values, kind)
            for name, kind, values in zip(self._names, self._types, columns, strict=True)
        }


def _value(said: Any, kind: str) -> Any:
    kind = kind.removeprefix("Nullable(")
    if said is None:
        return None
    if kind.startswith("Decimal"):
        return Decimal(said)
    if kind.startswith("DateTime"):
        return datetime.fromisoformat(said).replace(tzinfo=UTC)
    if kind.startswith("Date"):
        return date.fromisoformat(said)
    if kind.startswith("Float"):
        return float(said)
    if kind.startswith("Array("):
        found = [_value(one, kind.removeprefix("Array(")) for one in said]
        # The quantiles of nothing: a list that is no list, which ClickHouse has no word for.
        return None if found and all(one != one for one in found) else found
    return said


def _array(values: Sequence[Any], kind: str) -> "np.ndarray[Any, Any]":
    import numpy as np

    kind = kind.removeprefix("Nullable(")
    known: Mapping[str, Any] = {"Int": np.int64, "UIn": np.int64, "Flo": np.float64, "Boo": np.bool_}
    missing = [value is None for value in values]
    if kind[:3] not in known:
        return np.array(values, dtype=object)
    filled = np.array([0 if value is None else value for value in values], dtype=known[kind[:3]])
    return np.ma.masked_array(filled, mask=missing) if any(missing) else filled


def _text(text: str) -> str:
    return "'" + text.replace("'", "\\'") + "'"
