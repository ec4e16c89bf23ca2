"""Rows to Parquet files, by DuckDB. The same rows in the same order make the same bytes."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from lendsignal.archive.layout import VERSION, Column, Kind, Row, Table
from lendsignal.errors import DataError

ROWS_IN_A_GROUP = 122_880
"""Rows that lie together: what a reader skips or reads at once."""

FILES = "{files}"
"""What a query calls the files it is asked over."""

_WRITTEN = (
    "(format parquet, compression zstd, row_group_size "
    f"{ROWS_IN_A_GROUP}, kv_metadata {{'lendsignal.layout': '{VERSION}'}})"
)


class Press:
    """Writes files. One thread of work, so that the order of rows is kept and other processes keep theirs."""

    def __init__(self) -> None:
        self._db = duckdb.connect(":memory:", config={"threads": 1})
        self._db.execute("set TimeZone = 'UTC'")
        self._db.execute("set memory_limit = '512MB'")
        # What does not fit into memory; by default that would lie in the folder we were started in.
        spill = Path(tempfile.gettempdir()) / f"lendsignal-archive-{os.getpid()}.spill"
        self._db.execute(f"set temp_directory = {quoted(spill)}")

    def write(self, table: Table, rows: Sequence[Row], path: Path) -> None:
        """Rows of a table into a file, in the given order."""
        with arriving(self._db, table, rows) as chosen:
            self._db.execute(f"copy ({chosen}) to {quoted(path)} {_WRITTEN}")

    def merge(self, table: Table, parts: Sequence[Path], path: Path) -> int:
        """Files of a table into one, ordered by its key; the number of its rows."""
        order, read = ", ".join(table.key), ", ".join(quoted(part) for part in parts)
        chosen = ", ".join(f'"{name}"' for name in table.names)
        query = f"select {chosen} from read_parquet([{read}], hive_partitioning = false) order by {order}"
        try:
            found = self._db.execute(f"copy ({query}) to {quoted(path)} {_WRITTEN}").fetchone()
        except duckdb.Error as error:
            raise DataError(f"the archive's {table.name} cannot be read: {error}") from error
        return int(found[0]) if found else 0

    def cut(self, table: Table, source: Path, path: Path, gone: str) -> int | None:
        """A file of a table without the rows that an SQL condition names, the others as they were and in
        their order; how many are left. `None`, and no file, where it names none of its rows."""
        read = f"{_read([source])} told"
        try:
            counted = self._db.execute(f"select count(*) filter ({gone}), count(*) from {read}").fetchone()
            assert counted is not None
            if not counted[0]:
                return None
            self._db.execute(
                f"copy (select * from {read} where ({gone}) is not true) to {quoted(path)} {_WRITTEN}"
            )
        except duckdb.Error as error:
            raise DataError(f"the archive's {table.name} cannot be read: {error}") from error
        return int(counted[1]) - int(counted[0])

    def gather(self, name: str, columns: str, query: str, files: Sequence[Path]) -> None:
        """Keeps what a query finds in files, which it calls `{files}`, as a table; empty without files."""
        self._db.execute(f"create or replace temp table {name} ({columns})")
        if files:
            self._db.execute(f"insert into {name} {query.replace(FILES, _read(files))}")

    def rows(self, query: str, files: Sequence[Path]) -> list[tuple[Any, ...]]:
        """What a query finds in files, which it calls `{files}`."""
        return self._db.execute(query.replace(FILES, _read(files))).fetchall()

    def close(self) -> None:
        """Lets the memory go."""
        self._db.close()


@contextmanager
def arriving(db: duckdb.DuckDBPyConnection, table: Table, rows: Sequence[Row]) -> Iterator[str]:
    """A query that finds these rows of a table, in the given order, with the table's columns and types."""
    columns = zip(*rows, strict=True) if rows else ((),) * len(table.columns)
    arrays = {
        column.name: _array(column, values) for column, values in zip(table.columns, columns, strict=True)
    }
    db.register("arriving", arrays)
    try:
        yield f"select {', '.join(_typed(column) for column in table.columns)} from arriving"
    finally:
        db.unregister("arriving")


def _read(files: Sequence[Path]) -> str:
    return f"read_parquet([{', '.join(map(quoted, files))}], hive_partitioning = false)"


def _typed(column: Column) -> str:
    name = f'"{column.name}"'
    match column.kind:
        case Kind.MOMENT:
            return f"make_timestamptz({name}) as {name}"
        case kind:
            return f"cast({name} as {kind.value}) as {name}"


def _array(column: Column, values: Sequence[Any]) -> "np.ndarray[Any, Any]":
    """A column as DuckDB takes it in fast; what is unknown is masked."""
    match column.kind:
        case Kind.WHOLE | Kind.MOMENT:
            return _masked(values, np.dtype(np.int64), 0)
        case Kind.TRUTH:
            return _masked(values, np.dtype(np.bool_), False)
        case Kind.REAL:
            return _masked(values, np.dtype(np.float64), 0.0)
        case Kind.MONEY | Kind.DAY:
            return np.array([None if value is None else str(value) for value in values], dtype=object)
        case Kind.TEXT:
            return np.array(values, dtype=object)


def _masked(values: Sequence[Any], kind: "np.dtype[Any]", unknown: object) -> "np.ndarray[Any, Any]":
    mask = [value is None for value in values]
    known = [unknown if value is None else value for value in values] if any(mask) else values
    return np.ma.masked_array(np.array(known, dtype=kind), mask=mask)


def quoted(path: Path | str) -> str:
    """A text or a path as SQL writes it."""
    return "'" + str(path).replace("'", "''") + "'"
