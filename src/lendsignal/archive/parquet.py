"""Rows to Parquet files, by DuckDB. The same rows in the same order make the same bytes."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from lendsignal.archive.layout import VERSION, Column, Kind, Row, Table
from lendsignal.errors import DataError

ROWS_IN_A_GROUP = 122_880
"""Rows that lie together: what a reader skips or reads at once."""

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
        self._db.execute(f"set temp_directory = {_quoted(spill)}")

    def write(self, table: Table, rows: Sequence[Row], path: Path) -> None:
        """Rows of a table into a file, in the given order."""
        columns = zip(*rows, strict=True) if rows else ((),) * len(table.columns)
        arrays = {
            column.name: _array(column, values) for column, values in zip(table.columns, columns, strict=True)
        }
        self._db.register("arriving", arrays)
        chosen = ", ".join(_typed(column) for column in table.columns)
        self._db.execute(f"copy (select {chosen} from arriving) to {_quoted(path)} {_WRITTEN}")
        self._db.unregister("arriving")

    def merge(self, table: Table, parts: Sequence[Path], path: Path) -> int:
        """Files of a table into one, ordered by its key; the number of its rows."""
        order, read = ", ".join(table.key), ", ".join(_quoted(part) for part in parts)
        chosen = ", ".join(f'"{name}"' for name in table.names)
        query = f"select {chosen} from read_parquet([{read}], hive_partitioning = false) order by {order}"
        try:
            found = self._db.execute(f"copy ({query}) to {_quoted(path)} {_WRITTEN}").fetchone()
        except duckdb.Error as error:
            raise DataError(f"the archive's {table.name} cannot be read: {error}") from error
        return int(found[0]) if found else 0

    def close(self) -> None:
        """Lets the memory go."""
        self._db.close()


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


def _quoted(path: Path | str) -> str:
    return "'" + str(path).replace("'", "''") + "'"
