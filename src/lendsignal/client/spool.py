"""The spool: events on the caller's own disk until the service has them. One SQLite file, many writers."""

import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec
from msgspec import Struct

from lendsignal.client.events import Made
from lendsignal.errors import LendsignalError

SCHEMA = """
create table if not exists event (
    id integer primary key autoincrement,   -- the order in which they were kept
    event_id text not null,
    body blob not null                      -- JSON, as the door takes it
);
create table if not exists refused (
    id integer primary key autoincrement,
    event_id text not null,
    at_us integer not null,
    field text not null,
    rule text not null,
    body blob not null
);
"""

BUSY_SECONDS = 30.0
IN_MEMORY = 10_000
"""Events that are not on disk yet: further ones are written by their caller."""


class NotKept(LendsignalError):
    """The disk does not take the event: it is not in the spool, and the caller must act."""


class SpoolFull(NotKept):
    """As many events wait in the spool as may: the service has been out of reach for long."""


class Refused(Struct, frozen=True, kw_only=True):
    """An event that the service will not take as it is; `field` and `rule` say why.

    `event` is what was sent, with personal data where you gave them: it never prints.
    """

    id: int
    event_id: str
    field: str
    rule: str
    event: dict[str, Any]

    def __repr__(self) -> str:
        return f"Refused({self.event_id}, {self.field}: {self.rule})"


class Kept(Struct, frozen=True, gc=False):
    """One event that waits."""

    id: int
    event_id: str
    body: bytes


class _Put:
    """One event on its way to the disk."""

    __slots__ = ("done", "error", "made")

    def __init__(self, made: Made) -> None:
        self.made = made
        self.done = False
        self.error: Exception | None = None


class Spool:
    """Events in the order they were kept. Safe between threads and processes.

    Callers share commits: whoever has the connection writes for all who wait. `most` bounds the file.
    """

    def __init__(self, path: Path, most: int) -> None:
        self._path = path
        self._most = most
        self._db: sqlite3.Connection | None = None
        self._lock = Lock()
        self._gate = Lock()
        self._waiting: list[_Put] = []

    @property
    def path(self) -> Path:
        return self._path

    # keeping

    def put(self, made: Made) -> None:
        """Returns when the event is on disk; where it need not be `durable`, at once.

        Raises `SpoolFull` or `NotKept`; then the event is not kept.
        """
        one = _Put(made)
        with self._gate:
            self._waiting.append(one)
            if not made.durable and len(self._waiting) <= IN_MEMORY:
                return
        with self._lock:
            if not one.done:
                self._write(one)
        if one.error is not None:
            raise one.error

    def write(self) -> bool:
        """Writes what waits in memory; false where the disk does not take it."""
        if not self._waiting:
            return True
        with self._lock:
            return self._write(None)

    def _write(self, asking: "_Put | None") -> bool:
        """Writes what waits. What nobody waits for stays in memory where it cannot be written."""
        with self._gate:
            puts, self._waiting = self._waiting, []
        error: Exception | None = None
        try:
            self._transaction(lambda db: self._insert(db, [one.made for one in puts]))
        except (sqlite3.Error, OSError) as found:
            error = NotKept(f"the spool {self._path} does not take events: {found}")
        except NotKept as found:
            error = found
        again: list[_Put] = []
        for one in puts:
            if error is not None and one is not asking and not one.made.durable:
                again.append(one)
            else:
                one.done, one.error = True, error
        if again:
            with self._gate:
                self._waiting = again + self._waiting
        return error is None

    def _insert(self, db: sqlite3.Connection, made: Sequence[Made]) -> None:
        first, last = db.execute("select min(id), max(id) from event").fetchone()
        kept = 0 if first is None else last - first + 1
        if kept + len(made) > self._most:
            raise SpoolFull(f"{kept} events wait in the spool {self._path}, and it may hold {self._most}")
        db.executemany(
            "insert into event (event_id, body) values (?, ?)", [(one.event_id, one.body) for one in made]
        )

    # sending

    def batch(self, events: int, size: int) -> list[Kept]:
        """The first that wait: so many at most, and so many bytes unless the first alone has more."""
        query = "select id, event_id, body from event order by id limit ?"
        found: list[Kept] = []
        n = 0
        for row in self._rows(query, (events,)):
            n += len(row[2]) + 1
            if found and n > size:
                break
            found.append(Kept(*row))
        return found

    def settle(self, batch: Sequence[Kept], refused: Mapping[int, tuple[str, str]]) -> list[Refused]:
        """Lets go of a batch that the service has; `refused` tells field and rule by place in it."""
        at_us = time.time_ns() // 1_000
        rows = [
            (one.event_id, at_us, *refused[place], one.body)
            for place, one in enumerate(batch)
            if place in refused
        ]

        def work(db: sqlite3.Connection) -> None:
            # Nobody writes between the first and the last of what was read from the front.
            db.execute("delete from event where id between ? and ?", (batch[0].id, batch[-1].id))
            db.executemany(
                "insert into refused (event_id, at_us, field, rule, body) values (?, ?, ?, ?, ?)", rows
            )

        with self._lock:
            self._transaction(work)
        if not rows:
            return []
        ids = {row[0] for row in rows}
        return [one for one in self.refused(len(rows)) if one.event_id in ids]

    def last(self) -> int:
        """The number of the last event that waits; 0 where none does."""
        return int(self._rows("select max(id) from event")[0][0] or 0)

    def has_up_to(self, last: int) -> bool:
        """Whether an event of that number or before still waits."""
        return bool(self._rows("select 1 from event where id <= ? limit 1", (last,)))

    def count(self) -> int:
        """How many wait, those in memory too."""
        return int(self._rows("select count(*) from event")[0][0]) + len(self._waiting)

    # refused

    def refused(self, limit: int = 1_000) -> list[Refused]:
        """The youngest first."""
        query = "select id, event_id, field, rule, body from refused order by id desc limit ?"
        return [
            Refused(id=id_, event_id=event_id, field=field, rule=rule, event=msgspec.json.decode(body))
            for id_, event_id, field, rule, body in self._rows(query, (limit,))
        ]

    def release(self, id_: int, body: bytes | None) -> bool:
        """Lets go of a refused event, and has it sent again as `body`; false where it is gone already."""

        def work(db: sqlite3.Connection) -> bool:
            found = db.execute("delete from refused where id = ? returning event_id", (id_,)).fetchone()
            if found is not None and body is not None:
                db.execute("insert into event (event_id, body) values (?, ?)", (found[0], body))
            return found is not None

        with self._lock:
            return bool(self._transaction(work))

    # the file

    def close(self) -> None:
        """Closes the file; it is opened again by the next call."""
        with self._lock:
            self._close()

    def before_fork(self) -> None:
        """Closes the file and holds everybody off: SQLite must not be open while a process forks."""
        self._lock.acquire()
        self._gate.acquire()
        self._close()

    def after_fork_in_parent(self) -> None:
        self._gate.release()
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """What waits in memory is the parent's; the file is opened anew."""
        self._lock, self._gate, self._waiting = Lock(), Lock(), []

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._opened().execute(query, values).fetchall()

    def _transaction(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        db = self._opened()
        db.execute("begin immediate")
        try:
            found = work(db)
            db.execute("commit")
        except BaseException:
            if db.in_transaction:
                db.execute("rollback")
            raise
        return found

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = _connect(self._path)
        return self._db


def _connect(path: Path) -> sqlite3.Connection:
    """A connection whose commits are on disk when they return. Only the owner may read the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        db.execute("pragma journal_mode = wal")
        db.execute("pragma synchronous = full")
        db.execute("pragma secure_delete = on")  # what was sent does not stay in the file
        db.executescript(SCHEMA)
    except BaseException:
        db.close()
        raise
    return db
