"""SQLite as we use it: write-ahead log, every commit on disk before it is said to be."""

import re
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any

import apsw
import msgspec

from lendsignal.errors import Damaged, LogError, NotYet
from lendsignal.log.forms import known_form, note_form, refuse_other_form

BUSY_MS = 30_000
CHECKPOINT_PAGES = 4_000
"""Pages in the write-ahead log (16 MB) before it is folded into the database."""

CACHE_KIB = 65_536
"""Pages that who writes a file has at hand: states and open deliveries come back in any order."""

READ_CACHE_KIB = 8_192
"""Of who only reads: that goes on from where it was, and seldom looks at a page twice."""

PROGRESS_STEPS = 1_000
"""How often a look through a file looks at the time, in steps of SQLite's machine."""

GUIDE = "see docs/how-to/recover-a-data-folder.md"

FIRST_TABLE = re.compile(r"create table if not exists (\w+)")

DAMAGE = (apsw.CorruptError, apsw.NotADBError)
"""What SQLite says of a file that holds what it never wrote."""

UNREADABLE = (msgspec.DecodeError, zlib.error)
"""What those say who read what we keep inside: noise that SQLite has no eyes for."""


def connect(path: Path, schema: str, *, read_only: bool = False) -> apsw.Connection:
    """A connection with our pragmas; the tables are made where they are missing.

    Raises `LogError` with what to do where the file cannot be used: `Damaged` where it is no database any
    more, `NotYet` where it is only to be read and not made yet, `OtherForm` where another version of ours
    wrote it. Nothing is made in a file that another program keeps its tables in.
    """
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    try:
        connection = apsw.Connection(str(path), flags=flags)
        connection.set_busy_timeout(BUSY_MS)
        _refuse_a_stranger(connection, path, schema)
        refuse_other_form(connection, path.name)
        if not read_only:
            if connection.readonly("main"):
                raise LogError(f"{path} may not be written by this user; {GUIDE}")
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = full")
            connection.execute(f"pragma wal_autocheckpoint = {CHECKPOINT_PAGES}")
            with connection:  # whoever reads meanwhile sees all of the tables or none
                connection.execute(schema)
                note_form(connection, known_form(path.name))
        elif not connection.execute("select 1 from sqlite_master where name = 'cursor'").fetchone():
            raise NotYet(f"{path} is not ready yet")
        # What is deleted is overwritten where that costs no further write; see docs/reference/retention.md.
        connection.execute("pragma secure_delete = fast")
        connection.execute("pragma temp_store = memory")
        connection.execute(f"pragma cache_size = -{READ_CACHE_KIB if read_only else CACHE_KIB}")
    except DAMAGE as error:
        raise Damaged(path.name, str(error)) from error
    except (apsw.CantOpenError, apsw.ReadOnlyError) as error:
        if read_only and not path.exists():
            raise NotYet(f"{path} is not there yet") from error
        raise LogError(f"{path} and its folder cannot be read and written by this user; {GUIDE}") from error
    except apsw.Error as error:
        raise LogError(f"{path}: {error}; {GUIDE}") from error
    return connection


def _refuse_a_stranger(db: apsw.Connection, path: Path, schema: str) -> None:
    """Raises `LogError` where the file has tables, but not the first of ours, which is made first."""
    ours = FIRST_TABLE.search(schema)
    found = [name for (name,) in db.execute("select name from sqlite_master where type = 'table'")]
    if ours is not None and found and ours[1] not in found:
        raise LogError(f"{path} is another file under this name: it has no table {ours[1]!r}; {GUIDE}")


def damage(path: Path, seconds: float | None = None) -> str | None:
    """What is wrong with a database file; `None`: nothing that was found.

    The beginning of every table is looked at, and then everything in turn, for so many seconds at most.
    What stands inside a page is not looked at: SQLite keeps no checksums.
    """
    end = None if seconds is None else time.monotonic() + seconds
    try:
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            db.set_busy_timeout(BUSY_MS)
            for (name,) in db.execute("select name from sqlite_master where type = 'table'").fetchall():
                db.execute(f'select * from "{name}" limit 1').fetchone()
            if end is not None:
                db.set_progress_handler(lambda: time.monotonic() > end, PROGRESS_STEPS)
            (said,) = db.execute("pragma quick_check(1)").fetchone() or ("ok",)
        finally:
            db.close()
    except apsw.InterruptError:
        return None
    except apsw.Error as error:
        return str(error)
    return None if said == "ok" else str(said).replace("\n", ": ")


class Guard:
    """One thread at a time, as an `RLock`; what turns out to be damaged within is said of the file."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._lock = RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
        if isinstance(error, DAMAGE):
            raise Damaged(Path(self._db.filename).name, str(error)) from error
        if isinstance(error, UNREADABLE):
            raise Damaged(Path(self._db.filename).name, "what it keeps cannot be read") from error


class TellingGuard(Guard):
    """A guard that has whatever else SQLite refuses within be a `LogError` that names the file."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if isinstance(error, apsw.Error):
            raise LogError(f"{Path(self._db.filename).name}: {error}") from error


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
