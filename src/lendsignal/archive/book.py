"""What the archive has: how far it is, and which files hold it. Every step is on disk before the next."""

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from lendsignal.log import DataFolder
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
create table if not exists note (name text primary key, said text not null) without rowid;
create table if not exists erasing (user blob primary key) without rowid;   -- being taken out of every file
create table if not exists cut (name text primary key, rows integer not null) without rowid;
create table if not exists erased (     -- who is gone up to a position of the log: it may still know them
    user blob primary key,
    upto integer not null
) without rowid;
"""

LAYOUT = "layout"
ADDRESS = "address"


class Part(Struct, frozen=True):
    """One file: its table, the UTC day of its rows in days since 1970, the positions it covers, its rows."""

    name: str
    table: str
    day: int
    first: int
    last: int
    rows: int


def archived_events(folder: DataFolder) -> int:
    """How many events a folder's archive holds; 0 where it has none."""
    if not folder.archive.exists():
        return 0
    book = Book(folder.archive, read_only=True)
    try:
        return sum(part.rows for part in book.parts() if part.table == "events")
    finally:
        book.close()


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

    def begin(self, stream: str, upto: int, behind: int = 0) -> tuple[int, int]:
        """Says durably what is written next: (after, up to); what was broken off comes first, as it was.

        Positions up to `behind` are passed over.
        """
        with self._lock, transaction(self._db):
            broken = row(self._db, "select after, upto from chunk where stream = ?", (stream,))
            if broken is not None:
                return int(broken[0]), int(broken[1])
            after = max(self.reach(stream), behind)
            if upto > after:
                self._db.execute("insert into chunk values (?, ?, ?)", (stream, after, upto))
        return after, upto

    def end(self, stream: str, upto: int, made: Sequence[Part]) -> None:
        """What was begun is in the archive, in these files."""
        with self._lock, transaction(self._db):
            self._db.execute("delete from chunk where stream = ?", (stream,))
            self._db.execute("insert or replace into reach values (?, ?)", (stream, upto))
            self._put(made)

    def tell_days(self, stream: str, upto: int, gone: Sequence[Part], made: Sequence[Part]) -> None:
        """Days that were told anew are in these files, and in those no more."""
        with self._lock, transaction(self._db):
            self._db.execute("insert or replace into reach values (?, ?)", (stream, upto))
            self._db.executemany("delete from file where name = ?", [(part.name,) for part in gone])
            self._put(made)

    def replace(self, before: Sequence[Part], after: Part) -> None:
        """One file stands for several from now on."""
        with self._lock, transaction(self._db):
            self._db.executemany("delete from file where name = ?", [(part.name,) for part in before])
            self._put([after])

    def forget_before(self, day: int) -> list[Part]:
        """The files of days before that one count no more, and none will: those that did until now."""
        with self._lock, transaction(self._db):
            self._db.execute(
                "insert into cursor values ('forgotten', ?)"
                " on conflict (name) do update set position = max(position, excluded.position)",
                (day,),
            )
            before = [part for part in self.parts() if part.day < day]
            self._db.executemany("delete from file where name = ?", [(part.name,) for part in before])
            self._take_away()
        return before

    def forgotten(self) -> int:
        """The first day that is kept; 0: every one is."""
        with self._lock:
            found = row(self._db, "select position from cursor where name = 'forgotten'")
        return 0 if found is None else int(found[0])

    def taken_away(self) -> int:
        """How often rows left the archive: what was made of it before is not of it any more."""
        with self._lock:
            found = row(self._db, "select position from cursor where name = 'taken_away'")
        return 0 if found is None else int(found[0])

    def _take_away(self) -> None:
        self._db.execute(
            "insert into cursor values ('taken_away', 1)"
            " on conflict (name) do update set position = position + 1"
        )

    # where it lies and how

    def layout(self) -> int:
        """The version of the layout that its files have; 0 where there are none yet."""
        with self._lock:
            said = row(self._db, "select said from note where name = ?", (LAYOUT,))
            if said is not None:
                return int(said[0])
            return 1 if row(self._db, "select 1 from reach") is not None else 0

    def address(self) -> str | None:
        """Where its files lie, as the configuration says it; `None` where that was never noted."""
        with self._lock:
            said = row(self._db, "select said from note where name = ?", (ADDRESS,))
        return None if said is None else str(said[0])

    def note(self, layout: int, address: str | None) -> None:
        """Says in which layout the files are and where they lie."""
        with self._lock, transaction(self._db):
            self._db.execute("insert or replace into note values (?, ?)", (LAYOUT, str(layout)))
            if address is not None:
                self._db.execute("insert or replace into note values (?, ?)", (ADDRESS, address))

    def said(self, name: str) -> str | None:
        """What was kept under that name."""
        with self._lock:
            found = row(self._db, "select said from note where name = ?", (name,))
        return None if found is None else str(found[0])

    def say(self, name: str, words: str) -> None:
        """Keeps something under a name of its own."""
        with self._lock, transaction(self._db):
            self._db.execute("insert or replace into note values (?, ?)", (name, words))

    def start_anew(self, layout: int) -> None:
        """Nothing is in the archive, and no file counts: everything is to be written again."""
        with self._lock, transaction(self._db):
            for table in ("reach", "chunk", "file"):
                self._db.execute(f"delete from {table}")
            self._take_away()
            self._db.execute("insert or replace into note values (?, ?)", (LAYOUT, str(layout)))

    # who is taken out

    def begin_erasing(self, users: Collection[bytes]) -> None:
        """Says durably who is to be taken out; from here on it is ended, however often it is broken off."""
        with self._lock, transaction(self._db):
            self._db.executemany("insert or ignore into erasing values (?)", [(user,) for user in users])

    def erasing(self) -> set[bytes]:
        """Who is being taken out."""
        with self._lock:
            return {user for (user,) in rows(self._db, "select user from erasing")}

    def note_cuts(self, left: Mapping[str, int]) -> None:
        """The files without them all lie beside the others: by name, with the rows that are left."""
        with self._lock, transaction(self._db):
            self._db.executemany("insert into cut values (?, ?)", left.items())
            self._db.execute("insert or replace into cursor values ('cut', 1)")

    def cuts(self) -> dict[str, int] | None:
        """The files that are to be put in place of those they were cut from; `None` while they are made."""
        with self._lock:
            if row(self._db, "select 1 from cursor where name = 'cut'") is None:
                return None
            return {name: int(n) for name, n in rows(self._db, "select name, rows from cut")}

    def end_erasing(self, upto: int) -> None:
        """They are out of every file, and what the log holds of them up to that position stays out."""
        with self._lock, transaction(self._db):
            self._db.execute(
                "update file set rows = (select rows from cut where cut.name = file.name)"
                " where name in (select name from cut)"
            )
            self._db.execute("delete from file where rows = 0 and name in (select name from cut)")
            self._db.execute("insert or replace into erased select user, ? from erasing", (upto,))
            for words in ("cut", "erasing", "cursor where name = 'cut'"):
                self._db.execute(f"delete from {words}")
            self._take_away()

    def erased(self) -> dict[bytes, int]:
        """Up to which position of the log each user is gone."""
        with self._lock:
            return {user: int(upto) for user, upto in rows(self._db, "select user, upto from erased")}

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
