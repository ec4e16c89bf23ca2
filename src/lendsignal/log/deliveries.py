"""Deliveries on disk, in a file of the sender's own: what is open, what came of each try, what is dead.

Every unfinished delivery is a row of `open`; a finished one is a receipt. The sender's place in the
stream of records moves in the same transaction that opens what it read there.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from threading import RLock

import apsw
import msgspec
from msgspec import Struct

from lendsignal.log.sqlite import connect, row, rows, transaction

SCHEMA = """
create table if not exists destination (id integer primary key, name text not null unique);
create table if not exists open (
    destination integer not null,
    id integer not null,                -- record * 64 + entry: see plan.records
    stage integer not null,             -- Stage
    due_us integer not null,
    attempts integer not null,          -- tries that count
    unknown integer not null,           -- tries that left and were never answered
    bound integer not null,             -- the record whose binding holds; 0: the one that planned it
    batch integer not null,             -- the largest batch it may go in while one is bisected; 0: any
    first_us integer not null,          -- the first try
    reason text not null,               -- of the last try
    primary key (destination, id)
) without rowid;
create table if not exists receipt (    -- many receipts a row, packed
    id integer primary key,
    low integer not null,
    high integer not null,
    body blob not null
);
create table if not exists dead (
    id integer primary key,
    destination integer not null,
    at_us integer not null,
    reason text not null,
    request blob not null,              -- without its secret
    answer blob not null
);
create table if not exists paused (
    destination integer primary key,
    since_us integer not null,
    reason text not null
);
create table if not exists cursor (name text primary key, position integer not null) without rowid;
create table if not exists tally (
    destination integer not null,
    conversion text not null,
    what text not null,                 -- planned accepted dead skipped cancelled, and beside
    reason text not null,
    n integer not null,
    primary key (destination, conversion, what, reason)
) without rowid;
"""

_receipts_out = msgspec.msgpack.Encoder().encode


class Stage(IntEnum):
    """Where an open delivery stands."""

    WAITING = 0
    CLAIMED = 1
    HELD = 2


class Open(Struct, array_like=True):
    """One unfinished delivery, as it is kept."""

    destination: str
    id: int
    stage: Stage
    due_us: int
    attempts: int = 0
    unknown: int = 0
    bound: int = 0
    batch: int = 0
    first_us: int = 0
    reason: str = ""


class Receipt(Struct, frozen=True, array_like=True):
    """What came of one try, or of none: `what` is accepted, dead, skipped, cancelled, retry, paused or held.

    Times are microseconds since 1970, 0 where the request never left. `status` is the HTTP status, 0 for
    no answer. `answer` is the beginning of the platform's answer.
    """

    id: int
    destination: str
    what: str
    reason: str
    attempt: int = 0
    sent_us: int = 0
    answered_us: int = 0
    status: int = 0
    answer: bytes = b""
    bound: int = 0


class Dead(Struct, frozen=True):
    """A delivery that nobody will try again by himself, with the request (secrets out) and the answer."""

    id: int
    destination: str
    at_us: int
    reason: str
    request: bytes
    answer: bytes


_receipts_in = msgspec.msgpack.Decoder(list[Receipt]).decode


class Changes:
    """What one turn of the sender's loop changes, collected to be committed at once."""

    def __init__(self) -> None:
        self.position: int | None = None
        self.kept: dict[tuple[str, int], Open] = {}
        self.finished: list[tuple[str, int]] = []
        self.receipts: list[Receipt] = []
        self.dead: list[Dead] = []
        self.tally: dict[tuple[str, str, str, str], int] = {}
        self.paused: dict[str, tuple[int, str] | None] = {}

    def keep(self, delivery: Open) -> None:
        """An open delivery, new or changed."""
        self.kept[delivery.destination, delivery.id] = delivery

    def finish(self, destination: str, delivery: int) -> None:
        """A delivery that is open no more."""
        self.kept.pop((destination, delivery), None)
        self.finished.append((destination, delivery))

    def add(self, destination: str, conversion: str, what: str, reason: str = "", n: int = 1) -> None:
        """Counts."""
        key = (destination, conversion, what, reason)
        self.tally[key] = self.tally.get(key, 0) + n

    def __bool__(self) -> bool:
        return bool(
            self.position is not None
            or self.kept
            or self.finished
            or self.receipts
            or self.tally
            or self.paused
        )


class Deliveries:
    """The sender's file. One process writes it; any number may read."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._db = connection
        self._lock = RLock()
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}

    def commit(self, changes: Changes) -> None:
        """Makes the changes durable, all or none."""
        with self._lock, transaction(self._db):
            number = self._number
            if changes.finished:
                self._db.executemany(
                    "delete from open where destination = ? and id = ?",
                    [(number(destination), delivery) for destination, delivery in changes.finished],
                )
            if changes.kept:
                self._db.executemany(
                    "insert or replace into open values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    [
                        (
                            number(one.destination),
                            one.id,
                            int(one.stage),
                            one.due_us,
                            one.attempts,
                            one.unknown,
                            one.bound,
                            one.batch,
                            one.first_us,
                            one.reason,
                        )
                        for one in changes.kept.values()
                    ],
                )
            if changes.receipts:
                ids = [receipt.id for receipt in changes.receipts]
                self._db.execute(
                    "insert into receipt (low, high, body) values (?, ?, ?)",
                    (min(ids), max(ids), zlib.compress(_receipts_out(changes.receipts), 1)),
                )
            self._db.executemany(
                "insert or replace into dead values (?, ?, ?, ?, ?, ?)",
                [
                    (one.id, number(one.destination), one.at_us, one.reason, one.request, one.answer)
                    for one in changes.dead
                ],
            )
            self._db.executemany(
                "insert into tally values (?, ?, ?, ?, ?) on conflict do update set n = n + excluded.n",
                [
                    (number(destination), conversion, what, reason, n)
                    for (destination, conversion, what, reason), n in changes.tally.items()
                ],
            )
            for destination, pause in changes.paused.items():
                if pause is None:
                    self._db.execute("delete from paused where destination = ?", (number(destination),))
                else:
                    self._db.execute(
                        "insert or replace into paused values (?, ?, ?)", (number(destination), *pause)
                    )
            if changes.position is not None:
                self._db.execute("insert or replace into cursor values ('records', ?)", (changes.position,))

    def position(self) -> int:
        """The last record of the stream whose deliveries are here."""
        with self._lock:
            found = row(self._db, "select position from cursor where name = 'records'")
        return 0 if found is None else int(found[0])

    def destinations(self) -> list[str]:
        """Every destination that ever had a delivery."""
        with self._lock:
            return [name for (name,) in self._db.execute("select name from destination order by id")]

    def open(self, destination: str, after: int, limit: int, stage: Stage = Stage.WAITING) -> list[Open]:
        """Open deliveries of one destination behind an id, in the order they were planned."""
        with self._lock:
            found = rows(
                self._db,
                "select id, stage, due_us, attempts, unknown, bound, batch, first_us, reason from open"
                " where destination = ? and id > ? and stage = ? order by id limit ?",
                (self._number(destination), after, int(stage), limit),
            )
        return [Open(destination, one[0], Stage(one[1]), *one[2:]) for one in found]

    def moved(self) -> list[int]:
        """Open deliveries, of every destination, whose binding is a late touch's."""
        with self._lock:
            return [number for (number,) in rows(self._db, "select id from open where bound <> 0")]

    def one(self, destination: str, delivery: int) -> Open | None:
        """An open delivery, or `None` where it is finished or was never planned."""
        with self._lock:
            found = row(
                self._db,
                "select id, stage, due_us, attempts, unknown, bound, batch, first_us, reason from open"
                " where destination = ? and id = ?",
                (self._number(destination), delivery),
            )
        return None if found is None else Open(destination, found[0], Stage(found[1]), *found[2:])

    def waiting(self) -> dict[str, dict[str, int]]:
        """Open deliveries by destination and stage (`waiting`, `claimed`, `held`), counted row by row."""
        counted: dict[str, dict[str, int]] = {}
        with self._lock:
            found = rows(self._db, "select destination, stage, count(*) from open group by 1, 2")
            for number, stage, n in found:
                counted.setdefault(self._name(number), {})[Stage(stage).name.lower()] = n
        return counted

    def due(self, now_us: int) -> dict[str, int]:
        """How many waiting deliveries are due by now, by destination."""
        with self._lock:
            found = rows(
                self._db,
                "select destination, count(*) from open where stage = 0 and due_us <= ? group by 1",
                (now_us,),
            )
            return {self._name(number): n for number, n in found}

    def next_due(self) -> int | None:
        """When the next waiting delivery is due, in microseconds since 1970."""
        with self._lock:
            found = row(self._db, "select min(due_us) from open where stage = 0")
        return None if found is None else found[0]

    def paused(self) -> dict[str, tuple[int, str]]:
        """Paused destinations: since when and why."""
        with self._lock:
            found = rows(self._db, "select destination, since_us, reason from paused")
            return {self._name(number): (since, reason) for number, since, reason in found}

    def tally(self) -> Mapping[tuple[str, str, str, str], int]:
        """Counts by (destination, conversion, what, reason)."""
        with self._lock:
            found = rows(self._db, "select destination, conversion, what, reason, n from tally")
            return {(self._name(one[0]), one[1], one[2], one[3]): one[4] for one in found}

    def receipts(self, delivery: int) -> list[Receipt]:
        """What came of every try of one delivery, oldest first."""
        with self._lock:
            found = rows(
                self._db,
                "select body from receipt where low <= ? and high >= ? order by id",
                (delivery, delivery),
            )
        return [one for (body,) in found for one in unpacked(body) if one.id == delivery]

    def all_receipts(self, after: int = 0) -> Iterator[tuple[int, Sequence[Receipt]]]:
        """Every pack of receipts behind a pack's number, in the order of writing."""
        for number, body in self._db.execute(
            "select id, body from receipt where id > ? order by id", (after,)
        ):
            yield number, unpacked(body)

    def dead(self, delivery: int) -> Dead | None:
        """A dead delivery with its request and answer."""
        with self._lock:
            found = row(
                self._db,
                "select id, destination, at_us, reason, request, answer from dead where id = ?",
                (delivery,),
            )
            return None if found is None else Dead(found[0], self._name(found[1]), *found[2:])

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _number(self, name: str) -> int:
        number = self._numbers.get(name)
        if number is None:
            found = row(self._db, "select id from destination where name = ?", (name,))
            if found is None:
                if self._db.readonly("main"):
                    return 0
                self._db.execute("insert into destination (name) values (?)", (name,))
                number = int(self._db.last_insert_rowid())
            else:
                number = int(found[0])
            self._numbers[name] = number
        return number

    def _name(self, number: int) -> str:
        if number not in self._names:
            found = row(self._db, "select name from destination where id = ?", (number,))
            self._names[number] = "" if found is None else found[0]
        return self._names[number]


def unpacked(body: bytes) -> list[Receipt]:
    """The receipts of one packed row."""
    return _receipts_in(zlib.decompress(body))


def open_deliveries(path: Path, *, read_only: bool = False) -> Deliveries:
    """The deliveries kept at `path`; made where they are missing, unless they are only to be read."""
    return Deliveries(connect(path, SCHEMA, read_only=read_only))


def counts(tally: Mapping[tuple[str, str, str, str], int], whats: Iterable[str]) -> dict[str, int]:
    """Sums over destinations, conversions and reasons."""
    wanted = dict.fromkeys(whats, 0)
    for (_, _, what, _), n in tally.items():
        if what in wanted:
            wanted[what] += n
    return wanted
