"""What the archive has: how far it is, and which files hold it. Every step is on disk before the next."""

import os
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from lendsignal.log.sqlite import Guard, connect, row, rows, transaction

SCHEMA = """
create table if not exists reach (stream text primary key, position integer not null) without rowid;
create table if not exists chunk (      -- what is being written: done again as it was, if it is broken off
    stream text primary key,
    after integer not null,
    upto integer not null
) without rowid;
create table if not exists file (       -- what counts; whatever else lies there is left over
    name text primary key,
    table_name text not null,
    day integer not null,
    first integer not null,
    last integer not null,
    rows integer not null
) without rowid;
create table if not exists cursor (name text primary key, position integer not null) without rowid;
"""


class Part(Struct, frozen=True):
    """One file: its table, the UTC day of its rows in days since 1970, the positions it covers, its rows."""

    name: str
    table: str
    day: int
    first: int
    last: int
    rows: int


class Book:
    """The archive's own file. One process writes it; any number may read."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._db = connect(path, SCHEMA, read_only=read_only)
        self._lock = Guard(self._db)

    def reach(self, stream: str) -> int:
        """The last position of a stream that is in the archive."""
        with self._lock:
            found = row(self._db, "select position from reach where stream = ?", (stream,))
        return 0 if found is None else int(found[0])

    def begin(self, stream: str, upto: int) -> tuple[int, int]:
        """Says durably what is written next: (after, up to); what was broken off comes first, as it was."""
        with self._lock, transaction(self._db):
            broken = row(self._db, "select after, upto from chunk where stream = ?", (stream,))
            if broken is not None:
                return int(broken[0]), int(broken[1])
            after = self.reach(stream)
            if upto > after:
                self._db.execute("insert into chunk values (?, ?, ?)", (stream, after, upto))
        return after, upto

    def end(self, stream: str, upto: int, made: Sequence[Part]) -> None:
        """What was begun is in the archive, in these files."""
        with self._lock, transaction(self._db):
            self._db.execute("delete from chunk where stream = ?", (stream,))
            self._db.execute("insert or replace into reach values (?, ?)", (stream, upto))
            self._put(made)

    def replace(self, before: Sequence[Part], after: Part) -> None:
        """One file stands for several from now on."""
        with self._lock, transaction(self._db):
            self._db.executemany("delete from file where name = ?", [(part.name,) for part in before])
            self._put([after])

    def owner(self) -> str:
        """A word that tells this archive from every other; drawn when it is first asked for."""
        with self._lock, transaction(self._db):
            self._db.execute(
                "insert or ignore into cursor values ('owner', ?)", (int.from_bytes(os.urandom(7), "big"),)
            )
            found = row(self._db, "select position from cursor where name = 'owner'")
        assert found is not None
        return f"{found[0]:014x}"

    def parts(self) -> list[Part]:
        """The files that count, by table, day and position."""
        with self._lock:
            found = rows(
                self._db,
                "select name, table_name, day, first, last, rows from file order by table_name, day, first",
            )
        return [Part(*one) for one in found]

    def close(self) -> None:
        """Lets the file go."""
        self._db.close()

    def _put(self, parts: Sequence[Part]) -> None:
        self._db.executemany(
            "insert or replace into file values (?, ?, ?, ?, ?, ?)",
            [(part.name, part.table, part.day, part.first, part.last, part.rows) for part in parts],
        )
