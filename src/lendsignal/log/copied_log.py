"""The log of a desk: decided events of a cluster's store, in a folder's own file and by numbers of its own.

One portion is one transaction: events with what followed from them, and how far that is. So a copy that was
killed goes on where its file says, and nothing is there twice.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from secrets import randbits

import apsw
from msgspec import Struct

from lendsignal.errors import LogError
from lendsignal.log.copied import SCHEMA, STORE
from lendsignal.log.erasing import KeptOutRows
from lendsignal.log.log import SCHEMA as LOG
from lendsignal.log.log import Log
from lendsignal.log.packing import encode, pack_records, pack_state
from lendsignal.log.renumbering import Renumbered
from lendsignal.log.sqlite import connect, row, rows, transaction
from lendsignal.plan import Record, UserState

RECEIPT = "copied"
"""Under which this file notes what an erasure of the store still has to take out of it."""

AT_HAND = 200_000
"""Numbers that are kept in memory, and as many that were used before them."""


class Place(Struct, frozen=True):
    """How far a slot is copied: transaction, row and day of its last event in the store, how many events it
    had by then, and the number there of the last one that has records."""

    xid: int = 0
    id: int = 0
    day: str = "2000-01-01"
    place: int = 0
    record: int = 0


class Arrived(Struct, frozen=True, gc=False):
    """One decided event of the store, by its number there, with its verdict and what follows from it.

    `rule`: the id of an event that says to every slot which rules are in force; it counts once.
    """

    sequence: int
    name: int
    body: bytes
    verdict: str | None
    records: Sequence[Record] = ()
    rule: str | None = None


class Refused(Struct, frozen=True, gc=False):
    """A row of the store's quarantine, whatever became of it."""

    id: int
    received_us: int
    source: str
    field: str
    rule: str
    body: bytes
    kept: bytes | None
    state: str
    event_id: str | None
    who: str | None
    at_us: int | None


class Portion(Struct, frozen=True, kw_only=True):
    """What is taken over at once. `stale`: people whose states changed and are not among `states` yet.

    `None` for counts and versions: as they were.
    """

    events: Sequence[Arrived] = ()
    places: Mapping[int, Place] = {}
    stale: Collection[str] = ()
    states: Mapping[str, UserState] = {}
    brought: Collection[str] = ()
    """Who is stale no more, also where there is no state."""
    tally: Mapping[tuple[str, str], int] | None = None
    rules: Sequence[tuple[str, str, bytes]] = ()
    versions: Mapping[str, str] | None = None
    refused: Sequence[Refused] = ()
    left: Collection[int] | None = None
    """The numbers of all that are refused, where some of them went."""
    notes: Mapping[str, bytes] = {}

    def __bool__(self) -> bool:
        return bool(
            self.events
            or self.places
            or self.states
            or self.brought
            or self.tally is not None
            or self.rules
            or self.versions is not None
            or self.refused
            or self.left is not None
            or self.notes
        )


class CopiedNumbers(Renumbered):
    """The folder's numbers of what the store has. What went out of the copy, or never was in it, keeps its
    number there below zero: no event has it, and no two are taken for one."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._recent: dict[int, int] = {}
        self._older: dict[int, int] = {}

    def sequence(self, sequence: int) -> int:
        known = self._recent.get(sequence)
        if known is None:
            known = self._older.get(sequence)
            if known is None:
                found = row(self._db, "select seq from copied where store = ?", (sequence,))
                if found is None:
                    return -sequence
                known = int(found[0])
            self.know(sequence, known)
        return known

    def know(self, sequence: int, number: int) -> None:
        """An event of the store has this number here."""
        if len(self._recent) >= AT_HAND:
            self._recent, self._older = {}, self._recent
        self._recent[sequence] = number

    def forget(self) -> None:
        """What was not kept is not known either."""
        self._recent, self._older = {}, {}


class CopiedLog(Log):
    """The log in a desk's folder. One process writes it; any number may read it as the log it is."""

    def __init__(self, connection: apsw.Connection, store: str) -> None:
        super().__init__(connection)
        self.numbers = CopiedNumbers(connection)
        self._pruned = 0
        with self._lock, transaction(connection):
            _refuse_anothers(connection, store)
            if self.note(STORE) is None:
                self._db.execute("insert into copied_note values (?, ?)", (STORE, store.encode()))
                self._db.execute("insert or ignore into note values ('sender', ?)", (encode(randbits(62)),))

    # where it stands

    def places(self) -> dict[int, Place]:
        """How far each slot is copied; none where nothing was yet."""
        with self._lock:
            found = rows(self._db, "select slot, xid, id, day, place, record from copied_slot")
        return {
            slot: Place(int(xid), id_, day, place, record) for slot, xid, id_, day, place, record in found
        }

    def note(self, name: str) -> bytes | None:
        """Something that the copy remembers of itself."""
        with self._lock:
            found = row(self._db, "select body from copied_note where name = ?", (name,))
        return None if found is None else bytes(found[0])

    def stale(self, limit: int) -> list[str]:
        """People whose states are to be brought."""
        with self._lock:
            found = rows(self._db, "select key from copied_stale limit ?", (limit,))
        return [bytes(key).decode() for (key,) in found]

    def refused(self) -> int:
        """How many refused events are here."""
        with self._lock:
            found = row(self._db, "select count(*) from quarantine")
        return 0 if found is None else int(found[0])

    def known_rules(self) -> set[tuple[str, str]]:
        """Kind and version of every set of rules that is here."""
        with self._lock:
            found = rows(self._db, "select name from note where name glob '* *'")
        return {(kind, version) for kind, _, version in (name.partition(" ") for (name,) in found)}

    # taking over

    def take_over(self, portion: Portion) -> int:
        """Keeps a portion whole or not at all; how many events it brought."""
        if not portion:
            return 0
        with self._lock:
            try:
                with transaction(self._db):
                    taken = self._take_events(portion.events)
                    self._take_people(portion)
                    self._parts.write()
                    self._take_rest(portion)
            except BaseException:
                self._forget()
                raise
            self._parts.trim()
        return taken

    def _forget(self) -> None:
        super()._forget()
        self.numbers.forget()

    def _take_events(self, events: Sequence[Arrived]) -> int:
        taken = self._once(events)
        if not taken:
            return 0
        numbers, first = self.numbers, self._next()
        for seq, one in enumerate(taken, first):
            numbers.know(one.sequence, seq)
        self._db.executemany(
            "insert into event values (?, ?, ?)",
            [(seq, one.name, one.body) for seq, one in enumerate(taken, first)],
        )
        self._db.executemany(
            "insert into copied values (?, ?)", [(seq, one.sequence) for seq, one in enumerate(taken, first)]
        )
        self._db.executemany(
            "insert into verdict values (?, ?)",
            [(seq, one.verdict) for seq, one in enumerate(taken, first) if one.verdict is not None],
        )
        number_of = self._parts.number_of
        self._db.executemany(
            "insert into record values (?, ?)",
            [
                (seq, pack_records(numbers.records(one.records), number_of))
                for seq, one in enumerate(taken, first)
                if one.records
            ],
        )
        self._db.execute("insert or replace into cursor values ('decide', ?)", (first + len(taken) - 1,))
        return len(taken)

    def _once(self, events: Sequence[Arrived]) -> list[Arrived]:
        """The events without rules that another slot has said before."""
        said: set[str] = set()
        found: list[Arrived] = []
        for one in events:
            if one.rule is not None:
                if one.rule in said or self.find(one.rule):
                    continue
                said.add(one.rule)
            found.append(one)
        return found

    def _take_people(self, portion: Portion) -> None:
        self._db.executemany(
            "insert or ignore into copied_stale values (?)", [(key.encode(),) for key in portion.stale]
        )
        self._db.executemany(
            "delete from copied_stale where key = ?", [(key.encode(),) for key in portion.brought]
        )
        if not portion.states:
            return
        places, number_of = self._places(portion.states), self._parts.number_of
        self._db.executemany(
            "insert or replace into state values (?, ?)",
            [
                (places[key], pack_state(self.numbers.state(state), number_of))
                for key, state in portion.states.items()
            ],
        )

    def _take_rest(self, portion: Portion) -> None:
        db = self._db
        db.executemany(
            "insert or replace into copied_slot values (?, ?, ?, ?, ?, ?)",
            [
                (slot, str(one.xid), one.id, one.day, one.place, one.record)
                for slot, one in portion.places.items()
            ],
        )
        if portion.tally is not None:
            db.execute("delete from tally")
            db.executemany(
                "insert into tally values (?, ?, ?)",
                [(what, name, n) for (what, name), n in portion.tally.items()],
            )
        db.executemany(
            "insert or ignore into note values (?, ?)",
            [(f"{kind} {version}", body) for kind, version, body in portion.rules],
        )
        db.executemany(
            "insert or replace into note values (?, ?)",
            [(kind, version.encode()) for kind, version in (portion.versions or {}).items()],
        )
        self._take_refused(portion.refused, portion.left)
        db.executemany("insert or replace into copied_note values (?, ?)", list(portion.notes.items()))

    def _take_refused(self, refused: Sequence[Refused], left: Collection[int] | None) -> None:
        self._db.executemany(
            "insert or replace into quarantine values (?, ?, ?, ?, ?, ?)",
            [(one.id, one.received_us, one.source, one.field, one.rule, one.body) for one in refused],
        )
        self._db.executemany(
            "insert or replace into mending values (?, ?, ?, ?, ?, ?)",
            [(one.id, one.kept, one.state, one.event_id, one.who, one.at_us) for one in refused],
        )
        if left is not None:
            gone = [(id_,) for (id_,) in rows(self._db, "select id from quarantine") if id_ not in left]
            self._db.executemany("delete from quarantine where id = ?", gone)
            self._db.executemany("delete from mending where id = ?", gone)

    # what goes

    def prune(self, at_once: int = 10_000) -> bool:
        """Forgets a piece of the numbers of events that the log has let go; whether more may follow."""
        first = self.cutting.first()
        if first <= self._pruned:
            return False
        with self._lock, transaction(self._db):
            found = rows(
                self._db, "select seq from copied where seq < ? order by seq limit ?", (first, at_once)
            )
            if found:
                self._db.execute("delete from copied where seq <= ?", found[-1])
                self.numbers.forget()
        if len(found) < at_once:
            self._pruned = first
        return len(found) == at_once

    # who was erased

    def strike_out(self, told: KeptOutRows) -> Sequence[int]:
        """Takes out whom the store keeps out and this file does not yet; the records that have deliveries.

        Reads the whole log for it. To be ended by `end_striking`; what is broken off is begun again.
        """
        newer = self.erasing.newer(told)
        named = self.erasing.everyone() if newer else set()
        users = sorted(
            {(brand, user) for brand, user, person in named if newer.holds(brand, user, person, 0)}
        )
        if users:
            self.erasing.strike(RECEIPT, users, None, self.erasing.trace(users), None)
            self._forget()
        return self.erasing.placed(RECEIPT)

    def end_striking(self, told: KeptOutRows) -> None:
        """Empties what followed from who was taken out; from now on they are kept out here as there."""
        if self.erasing.left(RECEIPT):
            self.erasing.empty(RECEIPT)
        self.erasing.take(told)
        with self._lock, transaction(self._db):
            self._db.executemany(
                "update kept_out set allowed_us = ? where who = ?",
                [(allowed_us, who) for who, _, _, allowed_us in told.rows],
            )
        self._forget()


def open_copied_log(path: Path, store: str) -> CopiedLog:
    """The copy at `path` of the store with that random word; made where there is none.

    Raises `LogError` where the log there is a plain install's, or a copy of another store.
    """
    connection = connect(path, LOG + SCHEMA)
    try:
        return CopiedLog(connection, store)
    except BaseException:
        connection.close()
        raise


def _refuse_anothers(db: apsw.Connection, store: str) -> None:
    found = row(db, "select body from copied_note where name = ?", (STORE,))
    if found is None and _has_any(db, ("event", "record", "state")):
        raise LogError(
            "this data folder is an install's own: a desk keeps its copy of the store in a folder of its own"
            " (service.data); to take the install to the cluster see docs/how-to/move-to-a-cluster.md"
        )
    if found is not None and bytes(found[0]).decode() != store:
        raise LogError(
            "this data folder is a copy of another store: give the desk an empty folder (service.data)"
        )


def _has_any(db: apsw.Connection, tables: Iterable[str]) -> bool:
    return any(row(db, f"select 1 from {table} limit 1") is not None for table in tables)
