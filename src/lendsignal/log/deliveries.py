"""Deliveries on disk, in a file of the sender's own: what is open, what came of each try, what is dead.

Every unfinished delivery is a row of `open`; a finished one is a receipt. The sender's place in the
stream of records moves in the same transaction that opens what it read there.
"""

import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any

import apsw
import msgspec
from msgspec import Struct

from lendsignal.errors import LogError
from lendsignal.log.sqlite import DAMAGE, Guard, connect, reading, row, rows, transaction
from lendsignal.log.stream import OneStream, Place, Recorded

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
    lane integer not null,              -- hash of its lane, frozen at the first claim; 0: none
    stamp_us integer not null,          -- the moment it is sent as, where that is not its own; 0: its own
    again integer not null,             -- 1: sent through again by a person, at the rate for that
    strikes integer not null,           -- how often the last reason came in a row
    reason text not null,               -- of the last try
    withdrawn text not null,            -- what was said of it while it was out of our hands: see Open
    primary key (destination, id)
) without rowid;
create index if not exists unsettled on open (destination, stage, due_us) where stage > 0;
create index if not exists moved on open (bound) where bound > 0;
create index if not exists in_lane on open (destination, id) where lane > 0;
create table if not exists lane (       -- the last that was sent in each lane
    destination integer not null,
    lane integer not null,
    last_us integer not null,           -- the moment it was sent as
    delivery integer not null,
    primary key (destination, lane)
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
    conversion text not null,
    at_us integer not null,
    reason text not null,
    request blob not null,              -- without its secret
    answer blob not null
);
create table if not exists paused (
    destination text primary key,       -- '*': every destination
    since_us integer not null,
    kind text not null,                 -- Stop
    reason text not null
) without rowid;
create table if not exists volume (     -- deliveries planned by the hour of planning
    destination integer not null,
    hour integer not null,              -- hours since 1970
    n integer not null,
    primary key (destination, hour)
) without rowid;
create table if not exists agreed (     -- what a person said to a brake
    destination integer primary key,
    first_run integer not null,         -- 1: the first deliveries were looked at
    quiet_until_us integer not null     -- until then volume holds nothing
);
create table if not exists obeyed (     -- orders that were carried out
    id integer primary key,
    done integer not null,              -- deliveries it reached
    passed_over integer not null        -- deliveries it came too late for
);
create table if not exists told (       -- what a platform has that lets us correct it
    destination integer not null,
    id integer not null,                -- the delivery that told it
    at_us integer not null,
    primary key (destination, id)
) without rowid;
create index if not exists told_at on told (at_us);
create table if not exists renamed (old text primary key, new text not null) without rowid;
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

DELIVERIES_PER_RECORD = 64
"""As `plan.records` numbers them."""

_receipts_out = msgspec.msgpack.Encoder().encode


class Stage(IntEnum):
    """Where an open delivery stands."""

    WAITING = 0
    """For its turn."""
    CLAIMED = 1
    """Its request is on the way, or was when the sender died."""
    HELD = 2
    """For a person: it left, and nobody knows whether it arrived."""
    PARKED = 3
    """For a time too far away to keep it in memory."""
    PENDING = 4
    """For the platform's verdict."""


class Stop(StrEnum):
    """Who stopped a destination, which says how it starts again."""

    PLATFORM = "platform"
    """The platform's answer: probed until it takes deliveries again."""
    BRAKE = "brake"
    """One of our brakes: waits for a person."""
    PERSON = "person"
    """By order."""


class Pause(Struct, frozen=True):
    """A destination that sends nothing: since when, who stopped it, and why."""

    since_us: int
    kind: Stop
    reason: str


class Open(Struct):
    """One unfinished delivery, as it is kept. `attempts` counts tries that count, `unknown` those that left
    and were never answered, `strikes` how often the last `reason` came in a row. `withdrawn` is how it ends
    if it comes back to us: (skipped or cancelled, and why), said while it was on its way or pending.

    Changed in place: what is committed is how it stands then.
    """

    destination: str
    id: int
    stage: Stage
    due_us: int
    attempts: int = 0
    unknown: int = 0
    bound: int = 0
    batch: int = 0
    first_us: int = 0
    lane: int = 0
    stamp_us: int = 0
    again: bool = False
    strikes: int = 0
    reason: str = ""
    withdrawn: str = ""


class Receipt(Struct, frozen=True, array_like=True):
    """What came of one try, or of none: `what` is accepted, dead, skipped, cancelled, retry, paused or held.

    Times are microseconds since 1970, 0 where the request never left. `status` is the HTTP status, 0 for
    no answer. `answer` is the beginning of the platform's answer. `stamp_us` is the moment it was sent as,
    where that was not its own.
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
    stamp_us: int = 0


class Dead(Struct, frozen=True):
    """A delivery that nobody will try again by himself, with the request (secrets out) and the answer."""

    id: int
    destination: str
    conversion: str
    at_us: int
    reason: str
    request: bytes
    answer: bytes


_receipts_in = msgspec.msgpack.Decoder(list[Receipt]).decode


class Changes:
    """What one turn of the sender's loop changes, collected to be committed at once."""

    def __init__(self) -> None:
        self.position: Place | None = None
        self.order: int | None = None
        self.obeyed: tuple[int, int, int] | None = None
        self.kept: dict[int, Open] = {}
        self.finished: dict[int, str] = {}
        self.receipts: list[Receipt] = []
        self.dead: list[Dead] = []
        self.revived: list[int] = []
        self.tally: dict[tuple[str, str, str, str], int] = {}
        self.paused: dict[str, Pause | None] = {}
        self.probed: set[str] = set()
        """Of those that are let go these by a platform's answer: it ends no pause but the platform's own."""
        self.lanes: dict[tuple[str, int], tuple[int, int]] = {}
        self.lanes_before: dict[tuple[str, int], int] = {}
        """Which delivery was the last of a lane when it was looked at; 0: none."""
        self.volume: dict[tuple[str, int], int] = {}
        self.agreed: dict[str, tuple[bool, int]] = {}
        self.told: dict[tuple[str, int], int] = {}
        self.forget_us = 0
        """What was told before this moment is let go of with the next commit."""
        self.bury_us = 0
        """Requests and answers of what died before this moment, too."""

    def read(self, place: Place) -> None:
        """The stream of records is read up to there."""
        if isinstance(place, int):
            self.position = place
        elif isinstance(self.position, Mapping):
            self.position = {**self.position, **place}
        else:
            self.position = place

    def keep(self, delivery: Open) -> None:
        """An open delivery, new or changed."""
        self.kept[delivery.id] = delivery

    def finish(self, delivery: Open) -> None:
        """A delivery that is open no more."""
        self.kept.pop(delivery.id, None)
        self.finished[delivery.id] = delivery.destination

    def reopen(self, delivery: Open) -> None:
        """A finished delivery that waits once more."""
        self.finished.pop(delivery.id, None)
        self.kept[delivery.id] = delivery

    def add(self, destination: str, conversion: str, what: str, reason: str = "", n: int = 1) -> None:
        """Counts."""
        key = (destination, conversion, what, reason)
        self.tally[key] = self.tally.get(key, 0) + n

    def __bool__(self) -> bool:
        return bool(
            self.position is not None
            or self.order is not None
            or self.kept
            or self.finished
            or self.receipts
            or self.tally
            or self.paused
            or self.lanes
            or self.agreed
            or self.bury_us
        )


_OPEN = (
    "id, stage, due_us, attempts, unknown, bound, batch, first_us, lane, stamp_us, again, strikes, reason,"
    " withdrawn"
)


class Deliveries:
    """The sender's file. One process writes it; any number may read."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._db = connection
        self._lock = Guard(connection)
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}

    def commit(self, changes: Changes) -> None:
        """Makes the changes durable, all or none. Raises `LogError` where the disk does not take them."""
        with self._lock:
            try:
                with transaction(self._db):
                    self._write(changes)
            except DAMAGE:
                raise
            except apsw.Error as error:
                self._numbers.clear()  # a name given in vain
                raise LogError(f"the deliveries cannot be written: {error}") from error

    def _write(self, changes: Changes) -> None:
        number, db = self._numbered, self._db
        if changes.finished:
            db.executemany(
                "delete from open where destination = ? and id = ?",
                [(number(name), delivery) for delivery, name in changes.finished.items()],
            )
        if changes.kept:
            keep_open(db, number, changes.kept.values())
        if changes.receipts:
            ids = [receipt.id for receipt in changes.receipts]
            db.execute(
                "insert into receipt (low, high, body) values (?, ?, ?)",
                (min(ids), max(ids), pack_receipts(changes.receipts)),
            )
        if changes.tally:
            db.executemany(
                "insert into tally values (?, ?, ?, ?, ?) on conflict do update set n = n + excluded.n",
                [
                    (number(destination), conversion, what, reason, n)
                    for (destination, conversion, what, reason), n in changes.tally.items()
                ],
            )
        if changes.volume:
            db.executemany(
                "insert into volume values (?, ?, ?) on conflict do update set n = n + excluded.n",
                [(number(name), hour, n) for (name, hour), n in changes.volume.items()],
            )
        if changes.lanes:
            db.executemany(
                "insert or replace into lane values (?, ?, ?, ?)",
                [(number(name), lane, *last) for (name, lane), last in changes.lanes.items()],
            )
        if changes.told:
            db.executemany(
                "insert or replace into told values (?, ?, ?)",
                [(number(name), delivery, at_us) for (name, delivery), at_us in changes.told.items()],
            )
        if changes.forget_us:
            db.execute("delete from told where at_us < ?", (changes.forget_us,))
        if changes.bury_us:
            db.execute("delete from dead where at_us < ?", (changes.bury_us,))
        self._write_rare(changes)
        if changes.position is not None:
            db.execute("insert or replace into cursor values ('records', ?)", (changes.position,))

    def _write_rare(self, changes: Changes) -> None:
        number, db = self._numbered, self._db
        for one in changes.dead:
            db.execute(
                "insert or replace into dead values (?, ?, ?, ?, ?, ?, ?)",
                (
                    one.id,
                    number(one.destination),
                    one.conversion,
                    one.at_us,
                    one.reason,
                    one.request,
                    one.answer,
                ),
            )
        for delivery in changes.revived:
            db.execute("delete from dead where id = ?", (delivery,))
        for name, pause in changes.paused.items():
            if pause is None:
                db.execute("delete from paused where destination = ?", (name,))
            else:
                db.execute(
                    "insert or replace into paused values (?, ?, ?, ?)",
                    (name, pause.since_us, pause.kind.value, pause.reason),
                )
        for name, (first_run, quiet_until_us) in changes.agreed.items():
            db.execute(
                "insert or replace into agreed values (?, ?, ?)",
                (number(name), int(first_run), quiet_until_us),
            )
        if changes.obeyed is not None:
            db.execute(
                "insert into obeyed values (?, ?, ?) on conflict do update set"
                " done = done + excluded.done, passed_over = passed_over + excluded.passed_over",
                changes.obeyed,
            )
        if changes.order is not None:
            db.execute("insert or replace into cursor values ('orders', ?)", (changes.order,))

    def position(self) -> int:
        """The last record of the stream whose deliveries are here."""
        return self._cursor("records")

    def stream(self, log: Recorded) -> OneStream:
        """The records of a log behind that place."""
        return OneStream(log, self.position())

    def order(self) -> int:
        """The last of a person's orders that was carried out."""
        return self._cursor("orders")

    def _cursor(self, name: str) -> int:
        with self._lock:
            found = row(self._db, "select position from cursor where name = ?", (name,))
        return 0 if found is None else int(found[0])

    def obeyed(self, order: int) -> tuple[int, int] | None:
        """What came of an order: deliveries reached and passed over; `None` while it waits."""
        with self._lock:
            found = row(self._db, "select done, passed_over from obeyed where id = ?", (order,))
        return None if found is None else (found[0], found[1])

    def destinations(self) -> list[str]:
        """Every destination that ever had a delivery."""
        with self._lock:
            return [name for (name,) in self._db.execute("select name from destination order by id")]

    def rename(self, old: str, new: str) -> None:
        """Gives everything kept for one destination to another name, which may have deliveries already."""
        with self._lock, transaction(self._db):
            before, after = self._numbered(old), self._numbered(new)
            self._db.execute(
                "insert into volume select ?, hour, n from volume where destination = ?"
                " on conflict do update set n = n + excluded.n",
                (after, before),
            )
            self._db.execute("delete from volume where destination = ?", (before,))
            for table in ("open", "lane", "dead", "agreed", "told"):
                self._db.execute(
                    f"update or replace {table} set destination = ? where destination = ?", (after, before)
                )
            self._db.execute(
                "insert into tally select ?, conversion, what, reason, n from tally where destination = ?"
                " on conflict do update set n = n + excluded.n",
                (after, before),
            )
            self._db.execute("delete from tally where destination = ?", (before,))
            self._db.execute("update or replace paused set destination = ? where destination = ?", (new, old))
            self._db.execute("delete from destination where id = ?", (before,))
            self._db.execute("update renamed set new = ? where new = ?", (new, old))
            self._db.execute("delete from renamed where old = ?", (new,))
            self._db.execute("insert or replace into renamed values (?, ?)", (old, new))
            self._numbers.clear()
            self._names.clear()

    def renamed(self) -> dict[str, str]:
        """What destinations of earlier records are called now."""
        with self._lock:
            return dict(rows(self._db, "select old, new from renamed"))

    def open(self, destination: str, after: int, limit: int, stage: Stage = Stage.WAITING) -> list[Open]:
        """Open deliveries of one destination behind an id, in the order they were planned."""
        return self._found(
            destination, "id > ? and stage = ? order by id limit ?", (after, int(stage), limit)
        )

    def due_of(
        self, destination: str, stage: Stage, behind: tuple[int, int], until_us: int, limit: int
    ) -> list[Open]:
        """Unsettled deliveries of a stage by when they are due, behind (due, id) and due by `until_us`."""
        return self._found(
            destination,
            f"stage = {int(stage)} and stage > 0 and due_us <= ? and (due_us, id) > (?, ?)"
            " order by due_us, id limit ?",
            (until_us, *behind, limit),
        )

    def first_due(self, destination: str, stage: Stage) -> int | None:
        """When the first of that stage (never `WAITING`) is due."""
        with self._lock:
            found = row(
                self._db,
                f"select min(due_us) from open where destination = ? and stage = {int(stage)} and stage > 0",
                (self._number(destination),),
            )
        return None if found is None else found[0]

    def one(self, destination: str, delivery: int) -> Open | None:
        """An open delivery, or `None` where it is finished or was never planned."""
        found = self._found(destination, "id = ?", (delivery,))
        return found[0] if found else None

    def _found(self, destination: str, where: str, values: tuple[int | str, ...]) -> list[Open]:
        with self._lock:
            found = rows(
                self._db,
                f"select {_OPEN} from open where destination = ? and {where}",
                (self._number(destination), *values),
            )
        return [_open(destination, *one) for one in found]

    def tried_in_lanes(self, destination: str) -> list[Open]:
        """Waiting deliveries that were tried and have a lane: of each its head first, then whom it passed."""
        return self._found(destination, "lane > 0 and stage = 0 and first_us > 0 order by first_us desc", ())

    def first_open(self) -> dict[str, int]:
        """The open delivery of each destination that was planned first; of those that have none nothing."""
        with self._lock:
            found = rows(
                self._db,
                "select name, (select min(open.id) from open where open.destination = destination.id)"
                " from destination",
            )
        return {name: number for name, number in found if number is not None}

    def moved(self) -> list[int]:
        """Open deliveries, of every destination, whose binding is a late touch's."""
        with self._lock:
            return [number for (number,) in rows(self._db, "select id from open where bound > 0")]

    def tried(self, destination: str) -> int:
        """Open deliveries that were tried."""
        with self._lock:
            found = row(
                self._db,
                "select count(*) from open where destination = ? and first_us > 0",
                (self._number(destination),),
            )
        return 0 if found is None else int(found[0])

    def shift(self, by_us: int) -> None:
        """Moves the time of every open delivery: the clock was set, and the waits are to stay as long."""
        with self._lock, transaction(self._db):
            self._db.execute("update open set due_us = due_us + ?", (by_us,))

    def pending(self, destination: str, now_us: int) -> list[Open]:
        """The deliveries of one request whose verdict is to be asked for by now, in the request's order."""
        name = self._number(destination)
        with self._lock:
            found = row(
                self._db,
                "select reason from open where destination = ? and stage = 4 and stage > 0 and due_us <= ?"
                " order by due_us limit 1",
                (name, now_us),
            )
        if found is None:
            return []
        return self._found(destination, "stage = 4 and stage > 0 and reason = ? order by id", (found[0],))

    def last_of(self, destination: str, lane: int) -> tuple[int, int] | None:
        """The last that was sent in a lane: the moment it was sent as, and its id."""
        with self._lock:
            found = row(
                self._db,
                "select last_us, delivery from lane where destination = ? and lane = ?",
                (self._number(destination), lane),
            )
        return None if found is None else (found[0], found[1])

    def in_stage(self, destination: str, stage: Stage) -> int:
        """How many deliveries of a destination stand there; not for those that wait for their turn, which
        no index counts."""
        with self._lock:
            found = row(
                self._db,
                "select count(*) from open where destination = ? and stage = ? and stage > 0",
                (self._number(destination), int(stage)),
            )
        return 0 if found is None else int(found[0])

    def first_waiting(self, destination: str) -> Open | None:
        """Of a destination's deliveries that wait, for their turn or for later, the one planned first."""
        found = self._found(destination, "stage in (0, 3) order by id limit 1", ())
        return found[0] if found else None

    def is_told(self, destination: str, delivery: int) -> bool:
        """Whether a platform has, by all we know, what this delivery told, and lets us correct it."""
        with self._lock:
            found = row(
                self._db,
                "select 1 from told where destination = ? and id = ?",
                (self._number(destination), delivery),
            )
        return found is not None

    def volume(self, destination: str, since_hour: int) -> dict[int, int]:
        """Deliveries planned in each hour (since 1970) from that one on."""
        with self._lock:
            return dict(
                rows(
                    self._db,
                    "select hour, n from volume where destination = ? and hour >= ?",
                    (self._number(destination), since_hour),
                )
            )

    def agreed(self, destination: str) -> tuple[bool, int]:
        """What a person said to the brakes: first deliveries looked at; until when volume holds nothing."""
        with self._lock:
            found = row(
                self._db,
                "select first_run, quiet_until_us from agreed where destination = ?",
                (self._number(destination),),
            )
        return (False, 0) if found is None else (bool(found[0]), found[1])

    def waiting(self) -> dict[str, dict[str, int]]:
        """Open deliveries by destination and stage, in lower case; those that wait for their turn or for
        later together as `waiting`.

        All open ones follow from the counts, so that a backlog of millions is not counted row by row.
        """
        counted: dict[str, dict[str, int]] = {}
        with self._lock, reading(self._db):
            for number, n in rows(
                self._db,
                "select destination, sum(case what when 'planned' then n else -n end) from tally where"
                " what in ('planned', 'accepted', 'dead', 'skipped', 'cancelled') group by 1",
            ):
                counted[self._name(number)] = {"waiting": n}
            for number, stage, n in rows(
                self._db,
                "select destination, stage, count(*) from open where stage > 0 and stage <> 3 group by 1, 2",
            ):
                stages = counted.setdefault(self._name(number), {"waiting": 0})
                stages[Stage(stage).name.lower()] = n
                stages["waiting"] -= n
        return {
            name: {stage: n for stage, n in stages.items() if n}
            for name, stages in counted.items()
            if any(stages.values())
        }

    def due(self, now_us: int) -> set[str]:
        """The destinations that have a waiting delivery which is due by now."""
        found: set[str] = set()
        with self._lock:
            for name in self.destinations():
                number = self._number(name)
                if row(
                    self._db,
                    "select 1 from open where destination = ? and stage = 0 and due_us <= ? limit 1",
                    (number, now_us),
                ) or row(
                    self._db,
                    "select 1 from open where destination = ? and stage = 3 and stage > 0 and due_us <= ?"
                    " limit 1",
                    (number, now_us),
                ):
                    found.add(name)
        return found

    def paused(self) -> dict[str, Pause]:
        """Paused destinations; `*` stands for all."""
        with self._lock:
            found = rows(self._db, "select destination, since_us, kind, reason from paused")
        return {name: Pause(since, Stop(kind), reason) for name, since, kind, reason in found}

    def tally(self) -> Mapping[tuple[str, str, str, str], int]:
        """Counts by (destination, conversion, what, reason)."""
        with self._lock:
            found = rows(self._db, "select destination, conversion, what, reason, n from tally where n <> 0")
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
        with self._lock:
            found = self._db.execute("select id, body from receipt where id > ? order by id", (after,))
        while True:
            with self._lock:
                pack = next(found, None)
                read = None if pack is None else (pack[0], unpacked(pack[1]))
            if read is None:
                return
            yield read

    def pack_behind(self, after: int, limit: int) -> int:
        """The number of the last of at most so many packs of receipts behind a pack's number."""
        with self._lock:
            (found,) = rows(
                self._db,
                "select max(id) from (select id from receipt where id > ? order by id limit ?)",
                (after, limit),
            )
        return after if found[0] is None else int(found[0])

    def belong_to(self, mark: int) -> None:
        """These deliveries are of the log that has this mark, and of no other."""
        with self._lock, transaction(self._db):
            self._db.execute("insert or replace into cursor values ('log', ?)", (mark,))

    def log(self) -> int | None:
        """The mark of the log that these deliveries are of; `None` where that was never said."""
        with self._lock:
            found = row(self._db, "select position from cursor where name = 'log'")
        return None if found is None else int(found[0])

    def dead(self, delivery: int) -> Dead | None:
        """A dead delivery with its request and answer."""
        with self._lock:
            found = row(
                self._db,
                "select id, destination, conversion, at_us, reason, request, answer from dead where id = ?",
                (delivery,),
            )
            return None if found is None else Dead(found[0], self._name(found[1]), *found[2:])

    def all_dead(self, after: int = 0, limit: int = 1000) -> list[Dead]:
        """Dead deliveries behind an id, in order."""
        with self._lock:
            found = rows(
                self._db,
                "select id, destination, conversion, at_us, reason, request, answer from dead"
                " where id > ? order by id limit ?",
                (after, limit),
            )
            return [Dead(one[0], self._name(one[1]), *one[2:]) for one in found]

    # who was erased

    def still_open(self, records: Iterable[int]) -> int:
        """How many deliveries of these records are not ended yet."""
        n = 0
        with self._lock:
            for (destination,) in rows(self._db, "select id from destination"):
                for record in records:
                    found = row(
                        self._db,
                        "select count(*) from open where destination = ? and id between ? and ?",
                        (destination, *_span(record)),
                    )
                    n += 0 if found is None else int(found[0])
        return n

    def let_go(self, records: Collection[int]) -> tuple[int, int]:
        """Forgets requests and answers of the ended deliveries of these records: (dead ones, receipts).

        That they ended, when, and as what, stays. Any process may do it: the sender has none of it in memory.
        """
        dead = answers = 0
        with self._lock:
            self._db.execute("pragma secure_delete = on")
            with transaction(self._db):
                for record in records:
                    span = _span(record)
                    self._db.execute("delete from told where id between ? and ?", span)
                    before = self._db.total_changes()
                    self._db.execute("delete from dead where id between ? and ?", span)
                    dead += self._db.total_changes() - before
                answers = self._without_answers(set(records))
        return dead, answers

    def _without_answers(self, records: Collection[int]) -> int:
        """Takes the platforms' answers out of these records' receipts."""
        if not records:
            return 0
        (low, _), (_, high) = _span(min(records)), _span(max(records))
        packs = rows(self._db, "select id, body from receipt where low <= ? and high >= ?", (high, low))
        n = 0
        for pack, body in packs:
            before = unpacked(body)
            after = [
                msgspec.structs.replace(one, answer=b"")
                if one.answer and one.id // DELIVERIES_PER_RECORD in records
                else one
                for one in before
            ]
            changed = sum(new is not old for new, old in zip(after, before, strict=True))
            if changed:
                packed = zlib.compress(_receipts_out(after), 1)
                self._db.execute("update receipt set body = ? where id = ?", (packed, pack))
                n += changed
        return n

    # what is old

    def forget(self, after: int, upto: int, before: int, limit: int) -> tuple[int, int, bool]:
        """Lets receipts go of deliveries that were all planned before the delivery `before`, pack by pack.

        Of the packs behind the pack `after` up to the pack `upto` so many at most are looked at, in one
        transaction: (the last that was looked at, how many of them went or became smaller, whether all of
        them were too young). Receipts of dead deliveries stay as long as those do, for a person may have them
        sent again; and so does the last pack of all, for the next is numbered by it.
        """
        changed = 0
        with self._lock, transaction(self._db):
            found = rows(
                self._db,
                "select id, low, high, body from receipt"
                " where id > ? and id <= ? and id < (select max(id) from receipt) order by id limit ?",
                (after, upto, limit),
            )
            old = [one for one in found if one[2] < before]
            for pack, low, high, body in old:
                changed += self._forget(pack, low, high, body)
        return (found[-1][0] if found else after), changed, not old

    def _forget(self, pack: int, low: int, high: int, body: bytes) -> bool:
        """Lets a pack go, or all of it that is of no dead delivery; whether there was any such thing."""
        dead = {
            number
            for (number,) in rows(self._db, "select id from dead where id between ? and ?", (low, high))
        }
        told = unpacked(body) if dead else []
        kept = [one for one in told if one.id in dead]
        if not kept:
            self._db.execute("delete from receipt where id = ?", (pack,))
            return True
        if len(kept) == len(told):
            return False
        ids = [one.id for one in kept]
        self._db.execute(
            "update receipt set low = ?, high = ?, body = ? where id = ?",
            (min(ids), max(ids), zlib.compress(_receipts_out(kept), 1), pack),
        )
        return True

    def last_pack(self) -> int:
        """The number of the last pack of receipts."""
        with self._lock:
            found = row(self._db, "select max(id) from receipt")
        return 0 if found is None or found[0] is None else int(found[0])

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _number(self, name: str) -> int:
        """The number of a destination; 0: it never had a delivery."""
        number = self._numbers.get(name)
        if number is None:
            found = row(self._db, "select id from destination where name = ?", (name,))
            if found is None:
                return 0
            number = self._numbers[name] = int(found[0])
        return number

    def _numbered(self, name: str) -> int:
        """The number of a destination, given where it has none; within a transaction."""
        number = self._number(name)
        if not number:
            self._db.execute("insert into destination (name) values (?)", (name,))
            number = self._numbers[name] = int(self._db.last_insert_rowid())
        return number

    def _name(self, number: int) -> str:
        if number not in self._names:
            found = row(self._db, "select name from destination where id = ?", (number,))
            self._names[number] = "" if found is None else found[0]
        return self._names[number]


def _open(destination: str, delivery: int, stage: int, *rest: Any) -> Open:
    one = Open(destination, delivery, Stage(stage), *rest)
    one.again = bool(one.again)
    return one


def _span(record: int) -> tuple[int, int]:
    """The first and the last delivery that a record may have."""
    return record * DELIVERIES_PER_RECORD, (record + 1) * DELIVERIES_PER_RECORD - 1


def pack_receipts(receipts: Sequence[Receipt]) -> bytes:
    """Receipts as one packed row."""
    return zlib.compress(_receipts_out(receipts), 1)


def unpacked(body: bytes) -> list[Receipt]:
    """The receipts of one packed row."""
    return _receipts_in(zlib.decompress(body))


def keep_open(db: apsw.Connection, number: Callable[[str], int], deliveries: Iterable[Open]) -> None:
    """Writes open deliveries as they are now; `number`: of a destination."""
    db.executemany(
        f"insert or replace into open values ({', '.join('?' * 15)})",
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
                one.lane,
                one.stamp_us,
                int(one.again),
                one.strikes,
                one.reason,
                one.withdrawn,
            )
            for one in deliveries
        ],
    )


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
