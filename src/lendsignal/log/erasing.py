"""Takes users out of the log's own file, and keeps them out.

What a user did leaves nothing but numbered husks: the order of everybody else's events, and what follows from
them, stays as it was. Who was erased is known by a salted hash alone. Whoever decides learns of an erasure at
its next commit, which is refused so that it decides anew by what is left.
"""

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import apsw
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.derive import users_of, without_user
from lendsignal.errors import LogError
from lendsignal.log.numbers import number_of_event, number_of_user
from lendsignal.log.packing import (
    KeptPlanned,
    KeptRecords,
    KeptState,
    KeptWithdrawn,
    encode,
    pack_part,
    pack_state,
    part_of,
    parts_of_records,
    parts_of_state,
    read_records,
    read_state,
    state_of,
)
from lendsignal.log.sqlite import Guard, row, rows, transaction
from lendsignal.model import Contact, Device, Event, EventType, person_key, to_us
from lendsignal.plan import ERASED_WORD, erasures_of, person_state_key, record_id
from lendsignal.resolve import Snapshot

SCHEMA = """
create table if not exists kept_out (   -- who was erased: what is said of them does not come in again
    who blob primary key,               -- salted hash of brand and user, or of a person
    receipt text not null,
    at_us integer not null,
    allowed_us integer                  -- what occurs from then on is taken; null: nothing is
) without rowid;
create table if not exists erasing (    -- what an erasure is not through with yet
    receipt text not null,
    kind text not null,                 -- event: its records are to be emptied; order: it takes them back;
    number integer not null,            -- part: it goes where nobody else speaks of it
    primary key (receipt, kind, number)
) without rowid;
"""

SALT = "kept out"
GENERATION = "erasures"
"""The cursor that moves with every erasure: whoever has something of the log in memory looks at it."""

AT_ONCE = 5_000
"""Rows that are looked at between two breaths, so that nobody waits long for the file."""

LOOK_SECONDS = 0.25

WIDTH = 16
"""Bytes of a hash."""

NOTHING = pack_part(Contact())
"""What stands in place of an installation or a contact that is gone."""

_event = msgspec.msgpack.Decoder(Event).decode


class KeptOut(Struct, frozen=True):
    """Who is kept out: by salted hash, from when on (microseconds since 1970) what they do is taken again;
    `None`: it never is."""

    salt: bytes = b""
    since: Mapping[bytes, int | None] = {}

    def __bool__(self) -> bool:
        return bool(self.since)

    def holds(self, brand: str, user_id: str, person_id: str | None, occurred_us: int) -> bool:
        """Whether what that user did at that moment stays outside."""
        names = [self.name(brand, user_id)]
        if person_id is not None:
            names.append(self.name("", person_id))
        for name in names:
            if name in self.since:
                allowed = self.since[name]
                if allowed is None or occurred_us < allowed:
                    return True
        return False

    def name(self, brand: str, user_id: str) -> bytes:
        """What a user (of a person: without brand) is known by."""
        return blake2b(f"{brand}\x1f{user_id}".encode(), key=self.salt, digest_size=WIDTH).digest()


NOBODY = KeptOut()


class KeptOutRows(Struct, frozen=True):
    """The salt of a log, and everybody whom it keeps out: hash, receipt, since when, taken again from."""

    salt: bytes
    rows: tuple[tuple[bytes, str, int, int | None], ...]


class Trace(Struct, frozen=True, kw_only=True):
    """What stands in the log of some users: their events' numbers, and the installations they showed."""

    events: tuple[int, ...]
    devices: tuple[tuple[str, Device], ...]
    refused: tuple[int, ...]


class Struck(Struct, frozen=True, kw_only=True):
    """What went out of the log."""

    events: int = 0
    states: int = 0
    timers: int = 0
    refused: int = 0


class Erasing:
    """The erasing side of a log. Every step is one transaction, and doing it again changes nothing."""

    def __init__(self, db: apsw.Connection, lock: Guard, append: Callable[[Sequence[Event]], int]) -> None:
        self._db = db
        self._lock = lock
        self._append = append

    # who is kept out

    def generation(self) -> int:
        """A number that is another after every erasure."""
        with self._lock:
            found = row(self._db, "select position from cursor where name = ?", (GENERATION,))
        return 0 if found is None else int(found[0])

    def kept_out(self) -> KeptOut:
        """Who is kept out now."""
        with self._lock:
            if row(self._db, "select 1 from sqlite_master where name = 'kept_out'") is None:
                return NOBODY  # a log of before, that is only to be read
            salt = row(self._db, "select body from note where name = ?", (SALT,))
            found = rows(self._db, "select who, allowed_us from kept_out")
        return NOBODY if salt is None else KeptOut(bytes(salt[0]), {bytes(who): at for who, at in found})

    def keep_out(self, users: Collection[tuple[str, str]], person: str | None, receipt: str, at: int) -> None:
        """From now on nothing of these users (brand, user id) comes in; of a person, of any user there is."""
        with self._lock, transaction(self._db):
            self._db.execute("insert or ignore into note values (?, ?)", (SALT, os.urandom(32)))
            known = self.kept_out()
            names = [known.name(*user) for user in users]
            if person is not None:
                names.append(known.name("", person))
            self._db.executemany(
                "insert into kept_out values (?, ?, ?, null) on conflict do update set"
                " receipt = excluded.receipt, at_us = excluded.at_us, allowed_us = null",
                [(name, receipt, at) for name in names],
            )
            self._moved()

    def allow_again(self, users: Collection[tuple[str, str]], person: str | None, from_us: int) -> int:
        """What these do from that moment on comes in again; how many of them had been kept out."""
        with self._lock, transaction(self._db):
            known = self.kept_out()
            names = [known.name(*user) for user in users]
            if person is not None:
                names.append(known.name("", person))
            before = self._db.total_changes()
            self._db.executemany(
                "update kept_out set allowed_us = ? where who = ? and allowed_us is null",
                [(from_us, name) for name in names],
            )
            changed = self._db.total_changes() - before
            self._moved()
        return changed

    def told(self) -> KeptOutRows:
        """Who is kept out, for a log that is put in place of this one."""
        known = self.kept_out()
        with self._lock:
            found = rows(self._db, "select who, receipt, at_us, allowed_us from kept_out") if known else []
        return KeptOutRows(known.salt, tuple((bytes(who), receipt, at, to) for who, receipt, at, to in found))

    def newer(self, told: KeptOutRows) -> KeptOut:
        """Those whom another log keeps out and this one does not, or for an earlier erasure only.

        Raises `LogError` where this log has a salt of its own: it was never that one's copy.
        """
        with self._lock:
            salt = row(self._db, "select body from note where name = ?", (SALT,))
            known = {bytes(who): at for who, at in rows(self._db, "select who, at_us from kept_out")}
        if salt is not None and told.rows and bytes(salt[0]) != told.salt:
            raise LogError("these erasures are of another log: the hashes cannot be compared")
        return KeptOut(told.salt, {who: None for who, _, at, _ in told.rows if known.get(who, -1) < at})

    def take(self, told: KeptOutRows) -> None:
        """Keeps out whom another log of this lender keeps out (`newer`)."""
        newer = self.newer(told)
        with self._lock, transaction(self._db):
            if newer:
                self._db.execute("insert or ignore into note values (?, ?)", (SALT, told.salt))
            self._db.executemany(
                "insert or replace into kept_out values (?, ?, ?, ?)",
                [one for one in told.rows if one[0] in newer.since],
            )
            self._moved()

    # looking

    def everyone(self) -> set[tuple[str, str, str | None]]:
        """Every brand, user id and person id that an event here names, or a state."""
        found = {(event.brand, event.user_id, event.person_id) for _, event in self._events([b""])}
        with self._lock:
            bodies = rows(self._db, "select body from state")
        for (body,) in bodies:
            kept = read_state(body)
            for key in (kept.key, *users_of(kept.ledger)):
                brand, colon, user_id = key.partition(":")
                if colon:
                    found.add((brand, user_id, None))
        return found

    def users_of(self, person: str) -> set[tuple[str, str]]:
        """Every (brand, user id) that was ever said to be that person."""
        found = {
            (event.brand, event.user_id)
            for _, event in self._events([person.encode()])
            if event.person_id == person
        }
        kept = self._state_of(person_state_key(person))
        for key in [] if kept is None else users_of(kept[1].ledger):
            brand, _, user_id = key.partition(":")
            found.add((brand, user_id))
        return found

    def trace(self, users: Collection[tuple[str, str]]) -> Trace:
        """Everything the log holds of these users. Reads the whole log, and keeps nobody waiting.

        Installations are those of its events, and those that are remembered of events that are gone.
        """
        wanted = set(users)
        events: list[int] = []
        devices: dict[tuple[str, Device], None] = {}
        for seq, event in self._events([user_id.encode() for _, user_id in wanted]):
            if (event.brand, event.user_id) in wanted:
                events.append(seq)
                if event.device is not None:
                    devices[event.app or "", event.device] = None
        for brand, user_id in users:
            for snapshot in self._snapshots(f"{brand}:{user_id}"):
                devices[snapshot.app, snapshot.device] = None
        return Trace(events=tuple(events), devices=tuple(devices), refused=tuple(self._refused(wanted)))

    def _snapshots(self, key: str) -> Iterator[Snapshot]:
        """The installations that are remembered of a user."""
        with self._lock:
            found = self._state_of(key)
            numbers = () if found is None else found[2].snapshots
            bodies = [row(self._db, "select body from part where id = ?", (number,)) for number in numbers]
        for body in bodies:
            part = None if body is None else part_of(body[0])
            if isinstance(part, Snapshot):
                yield part

    def _events(self, containing: Sequence[bytes]) -> Iterator[tuple[int, Event]]:
        """The events whose stored bytes hold one of these texts."""
        after = 0
        holds = " or ".join("instr(body, ?)" for _ in containing)
        if not holds:
            return
        while True:
            with self._lock:
                last = row(self._db, "select max(seq) from event")
                upto = min(after + AT_ONCE * 10, 0 if last is None or last[0] is None else int(last[0]))
                found = rows(
                    self._db,
                    f"select seq, body from event where seq > ? and seq <= ? and ({holds}) order by seq",
                    (after, upto, *containing),
                )
            for seq, body in found:
                yield seq, _event(body)
            if upto <= after:
                return
            after = upto

    def _refused(self, users: Collection[tuple[str, str]]) -> Iterator[int]:
        """Numbers of refused events that say one of these users."""
        after = 0
        while True:
            with self._lock:
                found = rows(
                    self._db,
                    "select id, body, kept from quarantine left join mending using (id)"
                    " where id > ? order by id limit ?",
                    (after, AT_ONCE),
                )
            for id_, body, kept in found:
                if any(says(body, kept, *user) for user in users):
                    yield id_
            if len(found) < AT_ONCE:
                return
            after = found[-1][0]

    def oldest(self) -> int | None:
        """The first event that an erasure still needs, to empty its records; `None`: there is none."""
        with self._lock:
            if row(self._db, "select 1 from sqlite_master where name = 'erasing'") is None:
                return None  # a log of before, that is only to be read
            found = row(self._db, "select min(number) from erasing where kind in ('event', 'order')")
        return None if found is None else found[0]

    # striking out

    def strike(
        self,
        receipt: str,
        users: Collection[tuple[str, str]],
        person: str | None,
        trace: Trace,
        at: Event | None,
    ) -> Struck:
        """Makes husks of their events, takes back what follows from them, and forgets their states.

        They are kept out already, so that the trace is all there is. `at` is the pattern of the event that
        takes their deliveries back; `None` in a copy, whose original does that.
        """
        keys = [f"{brand}:{user_id}" for brand, user_id in users]
        with self._lock:
            self._db.execute("pragma secure_delete = on")
            with transaction(self._db):
                known = self.kept_out()
                self._note(receipt, "event", trace.events)
                states = self._forget(receipt, keys, person)
                placed = self._placed(self.left(receipt))
                for seq in trace.events:
                    self._husk(seq, known)
                timers = self._delete("timer", "person", keys)
                self._delete("phone", "user", [number_of_user(key) for key in keys])
                refused = self._delete("quarantine", "id", trace.refused)
                self._delete("mending", "id", trace.refused)
                if at is not None and placed and not self._left(receipt, "order"):
                    orders = erasures_of(at, receipt, placed)
                    first = self._append(orders)
                    self._note(receipt, "order", range(first, first + len(orders)))
                self._moved()
                struck = self._left(receipt, "event")
        return Struck(events=len(struck), states=states, timers=timers, refused=refused)

    def left(self, receipt: str) -> list[int]:
        """The events of an erasure whose records are not emptied yet."""
        return self._left(receipt, "event")

    def orders(self, receipt: str) -> list[int]:
        """The events by which the deliveries of an erasure are taken back."""
        return self._left(receipt, "order")

    def placed(self, receipt: str) -> list[int]:
        """The records of an erasure that may have deliveries."""
        with self._lock:
            return self._placed(self.left(receipt))

    def empty(self, receipt: str) -> int:
        """Takes everything out of the records of an erasure but their number; how many there were.

        Nobody may send by them any more. Installations and contacts that nobody else speaks of go with them.
        """
        with self._lock:
            self._db.execute("pragma secure_delete = on")
            found = self._records(self.left(receipt))
            parts = {number for _, kept in found for number in parts_of_records(kept)}
            parts.update(self._left(receipt, "part"))
            seqs = {seq for seq, _ in found}
        spoken, upto = self._spoken_of(parts, seqs)
        with self._lock, transaction(self._db):
            spoken |= self._spoken_since(upto, seqs)
            self._db.executemany(
                "update record set body = ? where seq = ?",
                [(encode(_emptied(seq, kept)), seq) for seq, kept in found],
            )
            # Emptied, and not deleted: no other installation may get a number that somebody has in memory.
            self._db.executemany(
                "update part set body = ? where id = ?", [(NOTHING, one) for one in parts - spoken]
            )
            self._db.execute("delete from erasing where receipt = ?", (receipt,))
            self._moved()
        return sum(len(kept.records) for _, kept in found)

    def _husk(self, seq: int, known: KeptOut) -> None:
        found = row(self._db, "select body from event where seq = ?", (seq,))
        if found is not None:
            husk = husk_of(_event(found[0]), known)
            self._db.execute(
                "update event set name = ?, body = ? where seq = ?",
                (number_of_event(husk.event_id), encode(husk), seq),
            )

    def _forget(self, receipt: str, keys: Sequence[str], person: str | None) -> int:
        """Deletes the states of users, and what is shared with others of their person."""
        persons = {person} if person is not None else set()
        gone = 0
        for key in keys:
            found = self._state_of(key)
            if found is None:
                continue
            place, state, kept = found
            self._note(receipt, "part", parts_of_state(kept))
            self._delete_state(key, place)
            gone += 1
            if state.person is not None:
                persons.add(state.person)
        for one in persons:
            self._leave(person_state_key(one), keys)
        return gone

    def _leave(self, key: str, users: Sequence[str]) -> None:
        """Takes users out of what a person's users share; with the last of them it goes."""
        found = self._state_of(key)
        if found is None:
            return
        place, state, _ = found
        ledger = state.ledger
        for user in users:
            ledger = without_user(ledger, user)
        if users_of(ledger):
            body = pack_state(replace(state, ledger=ledger), _no_part)
            self._db.execute("update state set body = ? where id = ?", (body, place))
        else:
            self._delete_state(key, place)

    def _delete_state(self, key: str, place: int) -> None:
        self._db.execute("delete from state where id = ?", (place,))
        self._db.execute("delete from person where hash = ? and state = ?", (number_of_user(key), place))

    def _state_of(self, key: str) -> tuple[int, Any, KeptState] | None:
        """Where a state stands, and the state without its installations."""
        with self._lock:
            found = rows(
                self._db,
                "select state.id, body from person join state on state.id = person.state where hash = ?",
                (number_of_user(key),),
            )
        for place, body in found:
            kept = read_state(body)
            if kept.key == key:
                bare = KeptState(*[getattr(kept, name) for name in KeptState.__struct_fields__])
                bare = replace(bare, snapshots=(), contact=None)
                return place, state_of(bare, _nothing), kept
        return None

    # records and parts

    def _records(self, seqs: Iterable[int]) -> list[tuple[int, KeptRecords]]:
        found = []
        for seq in seqs:
            body = row(self._db, "select body from record where seq = ?", (seq,))
            if body is not None:
                found.append((seq, read_records(body[0])))
        return found

    def _placed(self, seqs: Iterable[int]) -> list[int]:
        return [
            record_id(seq, place)
            for seq, kept in self._records(seqs)
            for place, one in enumerate(kept.records)
            if not isinstance(one, KeptWithdrawn)
            and (one.entries if isinstance(one, KeptPlanned) else one.planned.entries)
        ]

    def _spoken_of(self, parts: Collection[int], without: Collection[int]) -> tuple[set[int], int]:
        """Which of the parts states and other records speak of, and the last event that is seen to."""
        spoken: set[int] = set()
        with self._lock:
            found = row(self._db, "select max(seq) from event")
            upto = 0 if found is None or found[0] is None else int(found[0])
        if not parts:
            return spoken, upto
        after = 0
        while True:
            with self._lock:
                states = rows(
                    self._db, "select id, body from state where id > ? order by id limit ?", (after, AT_ONCE)
                )
            for _, body in states:
                spoken.update(parts_of_state(read_state(body)))
            spoken &= set(parts)
            if len(states) < AT_ONCE:
                break
            after = states[-1][0]
        after = 0
        while True:
            with self._lock:
                records = rows(
                    self._db,
                    "select seq, body from record where seq > ? order by seq limit ?",
                    (after, AT_ONCE),
                )
            for seq, body in records:
                if seq not in without:
                    spoken.update(parts_of_records(read_records(body)))
            spoken &= set(parts)
            if len(records) < AT_ONCE:
                return spoken, upto
            after = records[-1][0]

    def _spoken_since(self, after: int, without: Collection[int]) -> set[int]:
        """The same of what was decided behind an event, within the transaction: nobody decides meanwhile."""
        spoken: set[int] = set()
        for seq, body in rows(self._db, "select seq, body from record where seq > ?", (after,)):
            if seq not in without:
                spoken.update(parts_of_records(read_records(body)))
        for _, body in rows(self._db, "select seq, body from event where seq > ?", (after,)):
            found = self._state_of(person_key(_event(body)))
            if found is not None:
                spoken.update(parts_of_state(found[2]))
        return spoken

    # small things

    def _note(self, receipt: str, kind: str, numbers: Iterable[int]) -> None:
        self._db.executemany(
            "insert or ignore into erasing values (?, ?, ?)", [(receipt, kind, number) for number in numbers]
        )

    def _left(self, receipt: str, kind: str) -> list[int]:
        query = "select number from erasing where receipt = ? and kind = ? order by number"
        with self._lock:
            return [number for (number,) in rows(self._db, query, (receipt, kind))]

    def _delete(self, table: str, column: str, values: Iterable[Any]) -> int:
        before = self._db.total_changes()
        self._db.executemany(f"delete from {table} where {column} = ?", [(value,) for value in values])
        return self._db.total_changes() - before

    def _moved(self) -> None:
        self._db.execute(
            "insert into cursor values (?, 1) on conflict do update set position = position + 1",
            (GENERATION,),
        )


class WhoIsKeptOut:
    """Who is kept out, looked up no more often than every `LOOK_SECONDS`: what came in between becomes a husk
    in the log."""

    def __init__(self, erasing: Erasing, steady: Callable[[], float] = time.monotonic) -> None:
        self._erasing = erasing
        self._steady = steady
        self._look_at = float("-inf")
        self._generation = -1
        self._known = NOBODY

    def __call__(self) -> KeptOut:
        now = self._steady()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            generation = self._erasing.generation()
            if generation != self._generation:
                self._generation, self._known = generation, self._erasing.kept_out()
        return self._known


def husk_of(event: Event, known: KeptOut) -> Event:
    """What is left of an erased event: that something came in at that moment."""
    said = blake2b(event.event_id.encode(), key=known.salt, digest_size=WIDTH).hexdigest()
    return Event(
        type=EventType.ERASED,
        brand="lendsignal",
        user_id="lendsignal",
        event_id=f"{ERASED_WORD}-{said}",
        occurred_at=event.received_at,
        received_at=event.received_at,
        actor="system",
    )


def admitted(events: Sequence[Event], known: KeptOut) -> Sequence[Event]:
    """The events as they may enter the log: of who is kept out a husk, so that all keep their places.

    The very same object where nobody among them is kept out.
    """
    if not known:
        return events
    found = [
        husk_of(one, known)
        if known.holds(one.brand, one.user_id, one.person_id, to_us(one.occurred_at))
        else one
        for one in events
    ]
    return found if any(now is not was for now, was in zip(found, events, strict=True)) else events


def _emptied(seq: int, kept: KeptRecords) -> KeptRecords:
    """As many records, each of which takes itself back: so numbers stay what they were."""
    gone = [KeptWithdrawn(record_id(seq, place), ERASED_WORD, None, 0) for place in range(len(kept.records))]
    return KeptRecords([], [], list(gone))


def says(body: bytes, kept: bytes | None, brand: str, user_id: str) -> bool:
    """Whether a refused event is that user's, as far as it tells."""
    if user_id.encode() not in body and (kept is None or user_id.encode() not in kept):
        return False
    for raw, decode in ((kept, msgspec.msgpack.decode), (body, msgspec.json.decode)):
        try:
            found = None if raw is None else decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return True  # cut off in the middle: what is in doubt goes
        if found is not None and _is_said(found, brand, user_id):
            return True
    return False


def _is_said(value: object, brand: str, user_id: str) -> bool:
    match value:
        case dict():
            if user_id in [one for one in value.values() if isinstance(one, str)]:
                return value.get("brand") in (None, brand) or not isinstance(value.get("brand"), str)
            return any(_is_said(one, brand, user_id) for one in value.values())
        case list():
            return any(_is_said(one, brand, user_id) for one in value)
        case _:
            return False


def _no_part(part: object) -> int:
    raise AssertionError("what a person's users share has neither installation nor contact")


def _nothing(number: int) -> Any:
    raise AssertionError("there is nothing to look up")
