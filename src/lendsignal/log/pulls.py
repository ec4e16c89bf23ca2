"""How far every pull has read, in a file of its own: the `pull` role writes it, anybody may look.

A mark is written after the door has made durable what stands before it, never earlier. What is remembered
beside it keeps a row that is read again from becoming an event again.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import apsw
from msgspec import Struct

from lendsignal.log.sqlite import Guard, connect, row, rows, transaction

SCHEMA = """
create table if not exists pull (
    name text primary key,              -- the pull's name in the configuration
    began_us integer not null,          -- when it was first started
    state text not null,                -- reading, waiting, trouble
    reason text not null,               -- of its trouble, as one word
    detail text not null,               -- and in a sentence, without secrets or rows
    since_us integer not null,          -- since when it is in that state
    read_us integer not null,           -- when it last read without trouble; 0: never
    rows integer not null,              -- read since it was first started
    events integer not null,            -- made durable
    refused integer not null,           -- kept in quarantine
    behind_us integer not null          -- how far it is behind its source; -1: not known
) without rowid;
create table if not exists cursor (
    name text primary key,              -- the pull's name
    mark blob not null,                 -- how far it has read; only its own kind reads that
    at_us integer not null
) without rowid;
create table if not exists remembered (
    pull text not null,
    key blob not null,                  -- what makes an event the same one, hashed
    content blob not null,              -- what it said, hashed
    at_us integer not null,             -- when it was last made durable, or met again
    primary key (pull, key)
) without rowid;
create table if not exists note (
    pull text not null,
    name text not null,                 -- such as a file
    body blob not null,
    at_us integer not null,
    primary key (pull, name)
) without rowid;
"""

AT_ONCE = 500
"""Keys looked up by one query."""


class PullState(Struct, frozen=True, kw_only=True):
    """How a pull stands. Times are microseconds since 1970, UTC.

    `state` is `reading` (more waits), `waiting` (all was read) or `trouble`, with its `reason` and `detail`.
    `rows`, `events` and `refused` count since it was first started. `behind_us` is `None` where not known.
    """

    name: str
    began_us: int
    state: str = "waiting"
    reason: str = ""
    detail: str = ""
    since_us: int = 0
    read_us: int = 0
    rows: int = 0
    events: int = 0
    refused: int = 0
    behind_us: int | None = None


class Marks(Protocol):
    """How far pulls have read, wherever that is kept: see `Pulls`."""

    def began(self, name: str, now_us: int) -> int: ...

    def mark(self, name: str) -> bytes | None: ...

    def contents(self, name: str, keys: Sequence[bytes]) -> dict[bytes, bytes]: ...

    def note(self, name: str, of: str) -> bytes | None: ...

    def commit(
        self,
        name: str,
        mark: bytes | None,
        now_us: int,
        *,
        remembered: Mapping[bytes, bytes],
        notes: Mapping[str, bytes],
    ) -> None: ...

    def met_again(self, name: str, keys: Collection[bytes], now_us: int) -> None: ...

    def forget(self, name: str, before_us: int) -> None: ...

    def stand(self, state: PullState) -> None: ...

    def standing(self) -> list[PullState]: ...

    def close(self) -> None: ...


class Pulls:
    """The file of marks. Whatever writes raises `apsw.Error` where the disk does not take it."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._db = connection
        self._lock = Guard(connection)

    def began(self, name: str, now_us: int) -> int:
        """When that pull was first started: now, if it never was."""
        with self._lock, transaction(self._db):
            self._db.execute(
                "insert or ignore into pull values (?, ?, 'waiting', '', '', ?, 0, 0, 0, 0, -1)",
                (name, now_us, now_us),
            )
            found = row(self._db, "select began_us from pull where name = ?", (name,))
        assert found is not None
        return int(found[0])

    def mark(self, name: str) -> bytes | None:
        """How far that pull has read; `None` where it has read nothing."""
        with self._lock:
            found = row(self._db, "select mark from cursor where name = ?", (name,))
        return None if found is None else found[0]

    def contents(self, name: str, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """What each of these keys said when it was last made durable; without those never heard of."""
        known: dict[bytes, bytes] = {}
        with self._lock:
            for start in range(0, len(keys), AT_ONCE):
                some = keys[start : start + AT_ONCE]
                marks = ", ".join("?" * len(some))
                query = f"select key, content from remembered where pull = ? and key in ({marks})"
                known.update(rows(self._db, query, (name, *some)))
        return known

    def note(self, name: str, of: str) -> bytes | None:
        """What the pull noted of something, such as a file."""
        with self._lock:
            found = row(self._db, "select body from note where pull = ? and name = ?", (name, of))
        return None if found is None else found[0]

    def commit(
        self,
        name: str,
        mark: bytes | None,
        now_us: int,
        *,
        remembered: Mapping[bytes, bytes],
        notes: Mapping[str, bytes],
    ) -> None:
        """Moves the mark and remembers, all or nothing. Without a mark the old one stays."""
        with self._lock, transaction(self._db):
            if mark is not None:
                self._db.execute("insert or replace into cursor values (?, ?, ?)", (name, mark, now_us))
            self._db.executemany(
                "insert or replace into remembered values (?, ?, ?, ?)",
                [(name, key, content, now_us) for key, content in remembered.items()],
            )
            self._db.executemany(
                "insert or replace into note values (?, ?, ?, ?)",
                [(name, of, body, now_us) for of, body in notes.items()],
            )

    def met_again(self, name: str, keys: Collection[bytes], now_us: int) -> None:
        """Remembers these from now on anew: their rows still come."""
        with self._lock, transaction(self._db):
            self._db.executemany(
                "update remembered set at_us = ? where pull = ? and key = ?",
                [(now_us, name, key) for key in keys],
            )

    def forget(self, name: str, before_us: int) -> None:
        """Forgets what was last made durable, or met again, before that moment. Notes stay."""
        with self._lock, transaction(self._db):
            self._db.execute("delete from remembered where pull = ? and at_us < ?", (name, before_us))

    def stand(self, state: PullState) -> None:
        """Keeps how a pull stands."""
        behind = -1 if state.behind_us is None else state.behind_us
        with self._lock, transaction(self._db):
            self._db.execute(
                "insert or replace into pull values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    state.name,
                    state.began_us,
                    state.state,
                    state.reason,
                    state.detail,
                    state.since_us,
                    state.read_us,
                    state.rows,
                    state.events,
                    state.refused,
                    behind,
                ),
            )

    def standing(self) -> list[PullState]:
        """How every pull stands that was ever started, by name."""
        query = (
            "select name, began_us, state, reason, detail, since_us, read_us, rows, events, refused,"
            " behind_us from pull order by name"
        )
        with self._lock:
            found = rows(self._db, query)
        names = PullState.__struct_fields__
        return [
            PullState(**dict(zip(names, (*one[:-1], one[-1] if one[-1] >= 0 else None), strict=True)))
            for one in found
        ]

    def close(self) -> None:
        with self._lock:
            self._db.close()


def open_pulls(path: Path, *, read_only: bool = False) -> Pulls:
    """The marks kept at `path`; made where they are missing, unless they are only to be read."""
    return Pulls(connect(path, SCHEMA, read_only=read_only))
