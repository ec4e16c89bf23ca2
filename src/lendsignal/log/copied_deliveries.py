"""The deliveries of a desk: what a cluster's senders keep, in a folder's own file and by its numbers.

Receipts are followed one commit of a sender after the other. All else is a picture of one moment of the
store: what is open, what died, pauses, and the counts that go with them.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import apsw
from msgspec import Struct

from lendsignal.errors import LogError
from lendsignal.log.deliveries import (
    SCHEMA,
    Dead,
    Deliveries,
    Open,
    Pause,
    Receipt,
    keep_open,
    pack_receipts,
)
from lendsignal.log.log import Log
from lendsignal.log.sqlite import connect, row, rows, transaction

COPIED = """
create table if not exists copied_place (name text primary key, value text not null) without rowid;
"""

LOG = "log"
"""The place that says how far the log was copied when something was written here."""

KEYS = {"open": "id", "told": "id", "dead": "id", "volume": "hour"}
"""Beside the destination, what tells the rows of a table apart."""

ENDED = frozenset(("accepted", "dead", "skipped", "cancelled"))
"""What the last receipt of a delivery says: it is open no more."""


class Change(Struct, frozen=True, kw_only=True):
    """What changed in a table since the picture before. `whole`: this is all of it."""

    rows: Sequence[Any] = ()
    whole: bool = False

    def __bool__(self) -> bool:
        return self.whole or bool(self.rows)


NOTHING = Change()


class Picture(Struct, frozen=True, kw_only=True):
    """The deliveries of a store at one moment, as far as they are not as they were at the one before.

    `closed` are open no more; `buried` are the numbers of all that are dead, where some went. Rows of `told`
    are (destination, delivery, moment), of `volume` (destination, hour, how many). `read`: the last record
    of the copy that senders have read, at least.
    """

    open: Change = NOTHING
    closed: Sequence[tuple[str, int]] = ()
    told: Change = NOTHING
    dead: Change = NOTHING
    buried: Collection[int] | None = None
    volume: Change = NOTHING
    tally: Mapping[tuple[str, str, str, str], int]
    paused: Mapping[str, Pause]
    agreed: Mapping[str, tuple[bool, int]]
    renamed: Mapping[str, str]
    read: int


class CopiedDeliveries(Deliveries):
    """The deliveries in a desk's folder. One process writes them; any number may read them as they are."""

    def __init__(self, connection: apsw.Connection) -> None:
        super().__init__(connection)
        self._small: tuple[object, ...] | None = None

    def place(self, name: str) -> str | None:
        """How far something is copied."""
        with self._lock:
            found = row(self._db, "select value from copied_place where name = ?", (name,))
        return None if found is None else str(found[0])

    def counted(self, table: str) -> int:
        """How many rows a table has."""
        with self._lock:
            found = row(self._db, f"select count(*) from {table}")
        return 0 if found is None else int(found[0])

    def there(self, table: str, keys: Collection[tuple[str, int]]) -> int:
        """How many of these (destination, number) a table has."""
        query = f"select 1 from {table} where destination = ? and {KEYS[table]} = ?"
        with self._lock:
            return sum(row(self._db, query, (self._number(name), key)) is not None for name, key in keys)

    # taking over

    def take_receipts(self, packs: Iterable[Sequence[Receipt]], places: Mapping[str, str]) -> int:
        """Keeps packs of receipts, each as one, behind those that are here, with how far that is: all or
        none. How many receipts there were."""
        n = 0
        with self._lock, transaction(self._db):
            for receipts in packs:
                ids = [one.id for one in receipts]
                n += len(ids)
                self._db.execute(
                    "insert into receipt (low, high, body) values (?, ?, ?)",
                    (min(ids), max(ids), pack_receipts(receipts)),
                )
            self._note(places)
        return n

    def take_picture(self, picture: Picture, places: Mapping[str, str]) -> bool:
        """Keeps a picture whole or not at all; whether anything was another."""
        small = (picture.tally, picture.paused, picture.agreed, picture.renamed, picture.read)
        changed = bool(
            picture.open
            or picture.closed
            or picture.told
            or picture.dead
            or picture.buried is not None
            or picture.volume
            or small != self._small
        )
        if not changed:
            return False
        try:
            with self._lock, transaction(self._db):
                self._draw(picture)
                self._note(places)
        except BaseException:
            self._numbers.clear()  # a name given in vain
            self._small = None
            raise
        self._small = small
        return True

    def _note(self, places: Mapping[str, str]) -> None:
        self._db.executemany("insert or replace into copied_place values (?, ?)", list(places.items()))

    def _draw(self, picture: Picture) -> None:
        number, db = self._numbered, self._db
        for name in sorted({key[0] for key in picture.tally}):
            number(name)
        if picture.open.whole:
            db.execute("delete from open")
        db.executemany(
            "delete from open where destination = ? and id = ?",
            [(number(name), delivery) for name, delivery in picture.closed],
        )
        opened: Sequence[Open] = picture.open.rows
        keep_open(db, number, opened)
        for table, change in (("told", picture.told), ("volume", picture.volume)):
            if change.whole:
                db.execute(f"delete from {table}")
            db.executemany(
                f"insert or replace into {table} values (?, ?, ?)",
                [(number(name), key, value) for name, key, value in change.rows],
            )
        self._draw_dead(picture)
        self._draw_small(picture)

    def _draw_dead(self, picture: Picture) -> None:
        if picture.buried is not None:
            here = [number for (number,) in rows(self._db, "select id from dead")]
            self._db.executemany(
                "delete from dead where id = ?", [(one,) for one in here if one not in picture.buried]
            )
        dead: Sequence[Dead] = picture.dead.rows
        self._db.executemany(
            "insert or replace into dead values (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    one.id,
                    self._numbered(one.destination),
                    one.conversion,
                    one.at_us,
                    one.reason,
                    one.request,
                    one.answer,
                )
                for one in dead
            ],
        )

    def _draw_small(self, picture: Picture) -> None:
        number, db = self._numbered, self._db
        db.execute("delete from tally")
        db.executemany(
            "insert into tally values (?, ?, ?, ?, ?)",
            [(number(name), *rest, n) for (name, *rest), n in picture.tally.items()],
        )
        db.execute("delete from paused")
        db.executemany(
            "insert into paused values (?, ?, ?, ?)",
            [(name, one.since_us, one.kind.value, one.reason) for name, one in picture.paused.items()],
        )
        db.execute("delete from agreed")
        db.executemany(
            "insert into agreed values (?, ?, ?)",
            [(number(name), int(first), quiet) for name, (first, quiet) in picture.agreed.items()],
        )
        db.execute("delete from renamed")
        db.executemany("insert into renamed values (?, ?)", list(picture.renamed.items()))
        named = {key[0] for key in picture.tally}
        for old in sorted(set(picture.renamed) - named):
            db.execute("delete from destination where name = ?", (old,))
            self._numbers.clear()
            self._names.clear()
        db.execute(
            "insert into cursor values ('records', ?)"
            " on conflict do update set position = max(position, excluded.position)",
            (picture.read,),
        )

    def without_answers(self, records: Collection[int]) -> None:
        """Forgets what platforms answered about these records' deliveries."""
        with self._lock:
            self._db.execute("pragma secure_delete = on")
            with transaction(self._db):
                self._without_answers(set(records))


def open_copied_deliveries(path: Path, log: Log) -> CopiedDeliveries:
    """The copy at `path`, which belongs to that log; made where there is none.

    Raises `LogError` where it is of another log or of a later moment: it speaks of events by the numbers that
    they had there, and the log would give those numbers to others.
    """
    one = CopiedDeliveries(connect(path, SCHEMA + COPIED))
    try:
        mark = log.sender()
        if mark is not None and one.log() is None:
            one.belong_to(mark)
        if one.log() != mark or int(one.place(LOG) or 0) > log.end():
            raise LogError(
                f"{path.name} and the log beside it are not of one copy, or of two moments of it: stop this"
                " desk, empty its data folder (service.data), and start it: it begins anew"
            )
    except BaseException:
        one.close()
        raise
    return one
