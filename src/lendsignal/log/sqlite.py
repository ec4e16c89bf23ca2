"""SQLite as we use it: write-ahead log, every commit on disk before it is said to be."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from lendsignal.errors import LogError

BUSY_MS = 30_000
CHECKPOINT_PAGES = 4_000
"""Pages in the write-ahead log (16 MB) before it is folded into the database."""


def connect(path: Path, schema: str, *, read_only: bool = False) -> apsw.Connection:
    """A connection with our pragmas; the tables are made where they are missing.

    Raises `LogError` with what to do where the file is damaged or cannot be opened.
    """
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    try:
        connection = apsw.Connection(str(path), flags=flags)
        connection.set_busy_timeout(BUSY_MS)
        if not read_only:
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = full")
            connection.execute(f"pragma wal_autocheckpoint = {CHECKPOINT_PAGES}")
            connection.execute(schema)
        elif not connection.execute("select 1 from sqlite_master where name = 'cursor'").fetchone():
            raise LogError(f"{path} is not ready yet")
        connection.execute("pragma temp_store = memory")
        connection.execute("pragma cache_size = -65536")
    except apsw.Error as error:
        raise LogError(f"{path}: {error}; see docs/how-to/recover-a-data-folder.md") from error
    return connection


@contextmanager
def transaction(db: apsw.Connection) -> Iterator[None]:
    """All of what is written within, or none of it; within another transaction it is a part of that one.

    Not `with connection`: apsw then keeps the interpreter to itself while it waits for another writer and
    for the disk, and every thread of the process stands still.
    """
    if db.in_transaction:
        yield
        return
    db.execute("begin immediate")
    try:
        yield
        db.execute("commit")
    except BaseException:
        if db.in_transaction:
            db.execute("rollback")
        raise


@contextmanager
def reading(db: apsw.Connection) -> Iterator[None]:
    """What is read within is one moment's, whatever others write meanwhile."""
    if db.in_transaction:
        yield
        return
    db.execute("begin")
    try:
        yield
    finally:
        db.execute("rollback")


def rows(db: apsw.Connection, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Every row of a query."""
    return db.execute(query, values).fetchall()


def row(db: apsw.Connection, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
    """The first row of a query, or `None`."""
    return db.execute(query, values).fetchone()
