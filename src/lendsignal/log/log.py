"""The event log and what is decided from it, in one SQLite file with one deciding writer.

Several processes may append (the door, an import); one decides. Decisions are committed whole: the
cursor, the states, the records for the sender and the timers together, or none of them.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec
from msgspec import Struct

from lendsignal.derive import CutTable
from lendsignal.errors import LogError, Outrun
from lendsignal.log.erasing import NOBODY, Erasing, admitted
from lendsignal.log.erasing import SCHEMA as ERASING
from lendsignal.log.keeping import Cutting
from lendsignal.log.numbers import number_of_event, number_of_user
from lendsignal.log.packing import (
    KeptRecords,
    KeptState,
    encode,
    pack_records,
    pack_state,
    part_of,
    parts_of_records,
    parts_of_state,
    read_records,
    read_state,
    records_of,
    state_of,
)
from lendsignal.log.parts import Parts
from lendsignal.log.quarantine import SCHEMA as QUARANTINE
from lendsignal.log.quarantine import STATES, Quarantine, Quarantined, Wanted
from lendsignal.log.sqlite import Guard, connect, row, rows, transaction
from lendsignal.model import Event
from lendsignal.plan import (
    Planned,
    PolicySource,
    Record,
    Timer,
    UserState,
    Verdict,
    event_of,
    record_id,
)
from lendsignal.resolve import Snapshot, shows_installation
from lendsignal.value import Promotion

SCHEMA = """
create table if not exists event (
    seq integer primary key,            -- the order of arrival
    name integer not null,              -- of event_id, see numbers: in the order of time where ids are
    body blob not null                  -- msgpack of model.Event
);
create index if not exists event_by_name on event (name);
create table if not exists verdict (    -- only what is not simply taken
    seq integer primary key,
    verdict text not null
);
create table if not exists person (     -- where a person's state stands
    hash integer not null,              -- 63 bits of a hash of the person's key
    state integer not null,
    primary key (hash, state)
) without rowid;
create table if not exists state (
    id integer primary key,             -- in the order in which people were first seen
    body blob not null                  -- msgpack of packing.KeptState
);
create table if not exists part (       -- what states and records speak of by number
    id integer primary key,
    body blob not null                  -- msgpack of packing.KeptPart
);
create table if not exists record (
    seq integer primary key,            -- the event that they follow from
    body blob not null                  -- msgpack of packing.KeptRecords
);
create table if not exists timer (
    due_us integer not null,
    conversion text not null,
    person text not null,
    primary key (due_us, conversion)
) without rowid;
create table if not exists phone (      -- who showed a phone, while resolve.shared_device_users is set
    key integer not null,               -- see resolve.phone_keys
    user integer not null,              -- number_of_user
    primary key (key, user)
) without rowid;
create table if not exists cursor (name text primary key, position integer not null) without rowid;
create table if not exists note (name text primary key, body blob not null) without rowid;
create table if not exists tally (
    what text not null,
    name text not null,
    n integer not null,
    primary key (what, name)
) without rowid;
create table if not exists imported (
    file text primary key,              -- hash of the file's content and of its map
    name text not null,
    rows integer not null,              -- rows that are durable
    done integer not null
) without rowid;
"""
SCHEMA += QUARANTINE + ERASING

EVERY_REFUSAL = Wanted(states=STATES)

TOLD_AT_ONCE = 10_000
"""Events that are read together where many are."""

PEOPLE_AT_ONCE = 1_000
"""States that are read together where everybody's are."""

PLACES_AT_HAND = 65_536
"""People whose state's place is remembered; another's is looked up."""

_event = msgspec.msgpack.Decoder(Event).decode
_mark = msgspec.msgpack.Decoder(int).decode
_source = msgspec.msgpack.Decoder(PolicySource).decode
_cut_table = msgspec.msgpack.Decoder(CutTable).decode
_promotion = msgspec.msgpack.Decoder(Promotion).decode


class Fact(Struct, frozen=True, gc=False):
    """One event as it stands in the log."""

    seq: int
    event: Event


class Move(Struct, frozen=True):
    """How far a batch takes one slot: to the event `position`. The versions are those that came into force
    on the way; `None`: as before."""

    slot: int
    position: int
    policy: str | None = None
    cuts: str | None = None
    value: str | None = None


class Decided(Struct, frozen=True, kw_only=True):
    """What one batch of events came to. It is kept whole or not at all.

    `after` is the last event decided before, `position` the last of the batch. `policy`, `cuts` and `value`
    are the versions that came into force with it. `phones` are (phone key, number of the user who showed it).
    `moves` say all this by slot, for a log that is parted into slots; another has no use for them.
    """

    after: int
    position: int
    states: Mapping[str, UserState]
    records: Sequence[tuple[int, Record]]
    verdicts: Sequence[tuple[int, Verdict]]
    timers: Sequence[tuple[str, Timer]]
    tally: Mapping[tuple[str, str], int]
    policy: str | None = None
    cuts: str | None = None
    value: str | None = None
    phones: Sequence[tuple[int, int]] = ()
    moves: Sequence[Move] = ()


class Log:
    """The log in a data folder. Safe to share between threads; one transaction at a time."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._db = connection
        self._lock = Guard(connection)
        self._parts = Parts(connection)
        self.quarantine = Quarantine(connection, self._lock, self.append)
        self.erasing = Erasing(connection, self._lock, self.append)
        self.cutting = Cutting(connection, self._lock, self._parts)
        self._states: dict[str, int] = {}
        self._generation = self._erasures = self.erasing.generation()
        self._kept_out = self.erasing.kept_out() if self._generation else NOBODY
        self._altered = 0

    # appending

    def append(self, events: Sequence[Event], *, imported: tuple[str, str, int, bool] | None = None) -> int:
        """Makes events durable in this order and returns the number of the first.

        `imported` = (file hash, name, rows durable with this, done) moves an import on in the same
        transaction. Returns only after the commit is on disk. Of who was erased a husk is kept.
        """
        with self._lock, transaction(self._db):
            first, told = self._next(), events
            events = self._admitted(told)
            if events is not told:
                self._altered = first + len(events) - 1
            self._db.executemany(
                "insert into event values (?, ?, ?)",
                [
                    (seq, number_of_event(event.event_id), encode(event))
                    for seq, event in enumerate(events, first)
                ],
            )
            if imported is not None:
                self._db.execute(
                    "insert into imported values (?, ?, ?, ?) on conflict do update set"
                    " rows = excluded.rows, done = excluded.done",
                    imported,
                )
        return first

    def append_decided(self, events: Sequence[Event], decide: Callable[[int], Decided | None]) -> int:
        """Makes events durable together with what follows from them, and returns the number of the first.

        `decide` is told that number, and says what they come to, or `None` to leave them for later. What
        it or the commit raises keeps none of it.
        """
        with self._lock:
            try:
                with transaction(self._db):
                    first = self.append(events)
                    decided = decide(first) if self._altered < first else None
                    if decided is not None:
                        self.commit(decided)
            except BaseException:
                self._forget()
                raise
        return first

    def _admitted(self, events: Sequence[Event]) -> Sequence[Event]:
        """The events as they may stand here: husks of those whose users are kept out."""
        generation = self.erasing.generation()
        if generation != self._generation:
            self._generation, self._kept_out = generation, self.erasing.kept_out()
        return admitted(events, self._kept_out)

    def imported(self, file: str) -> tuple[int, bool]:
        """How many rows of that file are durable already, and whether it was finished."""
        with self._lock:
            found = row(self._db, "select rows, done from imported where file = ?", (file,))
        return (0, False) if found is None else (found[0], bool(found[1]))

    def refuse(self, refused: Sequence[Quarantined]) -> None:
        """Keeps what the door refused, durably."""
        self.quarantine.add(refused)

    # reading

    def end(self) -> int:
        """The number of the last event; 0 in an empty log."""
        with self._lock:
            return self._next() - 1

    def read(self, after: int, limit: int) -> list[Fact]:
        """The events behind position `after`, in order."""
        with self._lock:
            found = rows(
                self._db, "select seq, body from event where seq > ? order by seq limit ?", (after, limit)
            )
            return [Fact(seq, _event(body)) for seq, body in found]

    def decided(self, after: int, upto: int) -> Iterator[tuple[Fact, str]]:
        """The events behind `after` and up to `upto`, in order, each with its verdict."""
        query = (
            "select seq, body, verdict from event left join verdict using (seq)"
            " where seq > ? and seq <= ? order by seq"
        )
        with self._lock:
            found = rows(self._db, query, (after, upto))
        for seq, body, word in found:
            yield Fact(seq, _event(body)), word or Verdict.TAKEN.value

    def scan(self, containing: bytes | None = None) -> Iterator[Fact]:
        """Every event in order, or those whose stored bytes contain a text: for people, not for speed."""
        query = "select seq, body from event" + (" where instr(body, ?)" if containing is not None else "")
        with self._lock:
            found = self._db.execute(query, () if containing is None else (containing,))
        while True:
            with self._lock:
                one = next(found, None)
                fact = None if one is None else Fact(one[0], _event(one[1]))
            if fact is None:
                return
            yield fact

    def telling(self, after: int, upto: int) -> Iterator[Fact]:
        """The events behind `after` and up to `upto` that were taken and tell a contact or a consent."""
        query = (
            "select seq, body from event left join verdict using (seq) where seq > ? and seq <= ?"
            " and verdict is null and (instr(body, 'contact') or instr(body, 'consent')) order by seq limit ?"
        )
        while True:
            with self._lock:
                found = rows(self._db, query, (after, upto, TOLD_AT_ONCE))
            if not found:
                return
            yield from (Fact(seq, _event(body)) for seq, body in found)
            after = found[-1][0]

    def find(self, event_id: str) -> list[tuple[Fact, Verdict | None]]:
        """The events of that id, oldest first, each with its verdict; `None` where it is not decided yet."""
        position = self.position()
        with self._lock:
            found = rows(
                self._db,
                "select seq, body, verdict from event left join verdict using (seq)"
                " where name = ? order by seq",
                (number_of_event(event_id),),
            )
            facts = [(Fact(seq, _event(body)), word) for seq, body, word in found]
        return [
            (fact, (Verdict(word) if word else Verdict.TAKEN) if fact.seq <= position else None)
            for fact, word in facts
            if fact.event.event_id == event_id
        ]

    def records(self, after: int, limit: int) -> list[tuple[int, Record]]:
        """The sender's stream behind a record id, in order."""
        first, place = event_of(after)
        kept: list[tuple[int, KeptRecords]] = []
        n = 0
        with self._lock:
            query = "select seq, body from record where seq >= ? order by seq"
            for seq, body in self._db.execute(query, (first,)):
                one = read_records(body)
                kept.append((seq, one))
                n += len(one.records) - (place + 1 if seq == first else 0)
                if n >= limit:
                    break
            found = self._unpacked(kept)
        return [one for one in found if one[0] > after][:limit]

    def last_record(self) -> int:
        """The id of the last record in the sender's stream; 0 where there is none."""
        with self._lock:
            found = row(self._db, "select seq, body from record order by seq desc limit 1")
            return 0 if found is None else record_id(found[0], len(read_records(found[1]).records) - 1)

    def has_installation(self, among: int = 200) -> bool:
        """Whether any of the first snapshots shows an installation that something can be bound to."""
        with self._lock:
            found = rows(self._db, "select body from part order by id limit ?", (among,))
        parts = (part_of(body) for (body,) in found)
        return any(isinstance(part, Snapshot) and shows_installation(part.device) for part in parts)

    def record(self, number: int) -> Record | None:
        """One record of the sender's stream."""
        seq, place = event_of(number)
        with self._lock:
            found = row(self._db, "select body from record where seq = ?", (seq,))
            records = [] if found is None else self._unpacked([(seq, read_records(found[0]))])
        return records[place][1] if place < len(records) else None

    def _unpacked(self, kept: Sequence[tuple[int, KeptRecords]]) -> list[tuple[int, Record]]:
        self._parts.load(number for _, one in kept for number in parts_of_records(one))
        found = [
            (record_id(seq, place), record)
            for seq, one in kept
            for place, record in enumerate(records_of(one, self._parts.at))
        ]
        self._parts.trim()
        return found

    def planned(self, numbers: Iterable[int]) -> dict[int, Planned]:
        """The planned records of those ids, as they were planned."""
        found: dict[int, Planned] = {}
        for number in numbers:
            record = self.record(number)
            if isinstance(record, Planned):
                found[number] = record
        return found

    def quarantined(self, limit: int = 100) -> list[Quarantined]:
        """The youngest refusals first."""
        return self.quarantine.find(EVERY_REFUSAL, limit)

    def refusals(self) -> dict[tuple[str, str], int]:
        """How many events were refused, by field and rule."""
        with self._lock:
            found = rows(self._db, "select field, rule, count(*) from quarantine group by 1, 2")
        return {(field, rule): n for field, rule, n in found}

    # deciding

    def position(self) -> int:
        """The last event that is decided."""
        with self._lock:
            found = row(self._db, "select position from cursor where name = 'decide'")
        return 0 if found is None else int(found[0])

    def state(self, key: str) -> UserState | None:
        """What is remembered of one person; `None` for somebody new."""
        return self.states([key]).get(key)

    def states(self, keys: Iterable[str]) -> dict[str, UserState]:
        """What is remembered of these people; those who are new are missing."""
        with self._lock:
            if len(self._states) > PLACES_AT_HAND:
                self._states.clear()
            kept = self._kept_states(keys)
            self._parts.load(number for one in kept.values() for number in parts_of_state(one))
            found = {key: state_of(one, self._parts.at) for key, one in kept.items()}
            self._parts.trim()
        return found

    def people(self) -> Iterator[UserState]:
        """What is remembered of everybody, in the order in which they were first seen."""
        after = 0
        while True:
            with self._lock:
                found = rows(
                    self._db,
                    "select id, body from state where id > ? order by id limit ?",
                    (after, PEOPLE_AT_ONCE),
                )
                kept = [read_state(body) for _, body in found]
                self._parts.load(number for one in kept for number in parts_of_state(one))
                states = [state_of(one, self._parts.at) for one in kept]
                self._parts.trim()
            if not found:
                return
            yield from states
            after = found[-1][0]

    def commit(self, decided: Decided) -> None:
        """Keeps a batch of decisions whole.

        Raises `LogError` where another process has decided these events already, `Outrun` where somebody was
        erased meanwhile.
        """
        with self._lock:
            try:
                # What takes long is done before the file is locked against the door.
                number_of = self._parts.number_of
                states = [(key, pack_state(state, number_of)) for key, state in decided.states.items()]
                records = [
                    (seq, pack_records(followed, number_of)) for seq, followed in _by_event(decided.records)
                ]
                with transaction(self._db):
                    self._write(decided, states, records)
            except BaseException:
                self._forget()
                raise
            self._parts.trim()

    def _forget(self) -> None:
        """What was not kept is not known either."""
        self._parts.forget()
        self._states.clear()

    def _write(
        self, decided: Decided, states: Sequence[tuple[str, bytes]], records: Sequence[tuple[int, bytes]]
    ) -> None:
        before = row(self._db, "select position from cursor where name = 'decide'")
        if (0 if before is None else before[0]) != decided.after:
            raise LogError("another process decides over this data folder")
        erasures = self.erasing.generation()
        if erasures != self._erasures or self._altered > decided.after:
            self._erasures, self._altered = erasures, 0
            raise Outrun("somebody was erased meanwhile: it is decided anew by what stands in the log")
        self._db.execute("insert or replace into cursor values ('decide', ?)", (decided.position,))
        places = self._places(decided.states)
        self._parts.write()
        self._db.executemany(
            "insert or replace into state values (?, ?)", [(places[key], body) for key, body in states]
        )
        self._db.executemany("insert or replace into record values (?, ?)", records)
        self._db.executemany("insert or replace into verdict values (?, ?)", decided.verdicts)
        self._db.executemany(
            "insert or replace into timer values (?, ?, ?)",
            [(timer.due_us, timer.conversion, person) for person, timer in decided.timers],
        )
        self._db.executemany(
            "insert into tally values (?, ?, ?) on conflict do update set n = n + excluded.n",
            [(what, name, n) for (what, name), n in decided.tally.items()],
        )
        if decided.phones:
            self._db.executemany("insert or ignore into phone values (?, ?)", decided.phones)
        if decided.policy is not None:
            self._db.execute("insert or replace into note values ('policy', ?)", (decided.policy.encode(),))
        if decided.cuts is not None:
            self._db.execute("insert or replace into note values ('cuts', ?)", (decided.cuts.encode(),))
        if decided.value is not None:
            self._db.execute("insert or replace into note values ('value', ?)", (decided.value.encode(),))

    def _kept_states(self, keys: Iterable[str]) -> dict[str, KeptState]:
        """The states as they are kept; where each stands is remembered for the commit."""
        places = self._states
        wanted = set(keys)
        known = [place for key in wanted if (place := places.get(key)) is not None]
        found: dict[str, KeptState] = {}
        # One statement for all: a statement for each takes six times as long.
        if known:
            known.sort()
            query = "select body from carray(?) wanted cross join state on id = wanted.value"
            for (body,) in self._db.execute(query, (_numbers(known),)):
                kept = read_state(body)
                found[kept.key] = kept
        if len(known) < len(wanted):
            query = (
                "select state.id, body from carray(?) wanted"
                " cross join person on hash = wanted.value cross join state on state.id = person.state"
            )
            hashes = [number_of_user(key) for key in wanted if key not in places]
            for place, body in self._db.execute(query, (_numbers(hashes),)):
                kept = read_state(body)
                if kept.key in wanted:
                    found[kept.key] = kept
                    places[kept.key] = place
        return found

    def _places(self, keys: Collection[str]) -> dict[str, int]:
        """Where each person's state goes: those who are new come behind the last."""
        places = self._states
        unknown = [key for key in keys if key not in places]
        if unknown:
            self._kept_states(unknown)
            fresh = [key for key in unknown if key not in places]
            last = row(self._db, "select max(id) from state")
            start = 1 + (0 if last is None or last[0] is None else int(last[0]))
            places.update((key, place) for place, key in enumerate(fresh, start))
            self._db.executemany(
                "insert into person values (?, ?)", [(number_of_user(key), places[key]) for key in fresh]
            )
        return places

    def phones(self, keys: Collection[int], at_most: int) -> dict[int, tuple[int, ...]]:
        """So many at most of the users who showed each phone, by their number; other phones are missing."""
        query = (
            "select value,"
            " (select group_concat(user) from (select user from phone where key = value limit ?))"
            " from carray(?)"
        )
        if not keys:
            return {}
        with self._lock:
            found = rows(self._db, query, (at_most, _numbers(keys)))
        return {key: tuple(map(int, users.split(","))) for key, users in found if users}

    def due(self, now_us: int, limit: int = 1000) -> list[tuple[int, str, str]]:
        """Timers whose moment has come: (due, conversion, person)."""
        with self._lock:
            return rows(
                self._db,
                "select due_us, conversion, person from timer where due_us <= ? order by due_us limit ?",
                (now_us, limit),
            )

    def timers_due(self, now_us: int) -> int:
        """How many timers' moment has come."""
        with self._lock:
            found = row(self._db, "select count(*) from timer where due_us <= ?", (now_us,))
        return 0 if found is None else int(found[0])

    def fire(self, timers: Sequence[tuple[int, str, str]], events: Sequence[Event]) -> int:
        """Turns timers into events, in one transaction."""
        with self._lock, transaction(self._db):
            self._db.executemany(
                "delete from timer where due_us = ? and conversion = ?", [timer[:2] for timer in timers]
            )
            first = self.append(events)
        return first

    def next_timer(self) -> int | None:
        """When the next timer is due, in microseconds since 1970."""
        with self._lock:
            found = row(self._db, "select min(due_us) from timer")
        return None if found is None else found[0]

    def tally(self) -> dict[tuple[str, str], int]:
        """Counts kept with the decisions: ('event', type), ('verdict', word), ('conversion', name), …
        `pen` is how many conversions wait for a first login now."""
        with self._lock:
            return {
                (what, name): n
                for what, name, n in self._db.execute("select what, name, n from tally where n <> 0")
            }

    # who works here

    def note_sender(self, mark: int) -> None:
        """From now on a sender keeps its deliveries beside this log, under this mark of them both."""
        with self._lock, transaction(self._db):
            self._db.execute("insert or replace into note values ('sender', ?)", (encode(mark),))

    def sender(self) -> int | None:
        """The mark that this log shares with its deliveries; `None` where no sender was ever started here."""
        with self._lock:
            found = row(self._db, "select body from note where name = 'sender'")
            return None if found is None else _mark(found[0])

    # policy

    def policy(self) -> str | None:
        """The version of the policy that the last decided event was decided by."""
        with self._lock:
            found = row(self._db, "select body from note where name = 'policy'")
        return None if found is None else bytes(found[0]).decode()

    def keep_policy(self, version: str, source: PolicySource) -> None:
        """Keeps a policy under its version, so that a replay finds the rules of the time."""
        with self._lock, transaction(self._db):
            self._db.execute(
                "insert or ignore into note values (?, ?)", (f"policy {version}", encode(source))
            )

    def policy_source(self, version: str) -> PolicySource | None:
        """The policy of that version."""
        with self._lock:
            found = row(self._db, "select body from note where name = ?", (f"policy {version}",))
        return None if found is None else _source(found[0])

    # tiers

    def cuts(self) -> str | None:
        """The version of the tiers' cuts that the last decided event was decided by."""
        with self._lock:
            found = row(self._db, "select body from note where name = 'cuts'")
        return None if found is None else bytes(found[0]).decode()

    def keep_cuts(self, table: CutTable, events: Sequence[Event]) -> None:
        """Keeps a table of cuts and the events that put it into force, together."""
        with self._lock, transaction(self._db):
            self._db.execute(
                "insert or ignore into note values (?, ?)", (f"cuts {table.version}", encode(table))
            )
            self.append(events)

    def cut_table(self, version: str) -> CutTable | None:
        """The cuts of that version."""
        with self._lock:
            found = row(self._db, "select body from note where name = ?", (f"cuts {version}",))
        return None if found is None else _cut_table(found[0])

    def cut_tables(self) -> list[CutTable]:
        """Every table of cuts there ever was, oldest first."""
        with self._lock:
            found = rows(self._db, "select body from note where name glob 'cuts *'")
        return sorted((_cut_table(body) for (body,) in found), key=lambda table: table.made_us)

    # value models

    def value(self) -> str | None:
        """The version of the value model that the last decided event was decided by."""
        with self._lock:
            found = row(self._db, "select body from note where name = 'value'")
        return None if found is None else bytes(found[0]).decode()

    def keep_promotion(self, promotion: Promotion, events: Sequence[Event]) -> None:
        """Keeps a promoted value model and the events that put it into force, together."""
        with self._lock, transaction(self._db):
            self._db.execute(
                "insert or ignore into note values (?, ?)", (f"value {promotion.version}", encode(promotion))
            )
            self.append(events)

    def promotion(self, version: str) -> Promotion | None:
        """The promoted value model of that version."""
        with self._lock:
            found = row(self._db, "select body from note where name = ?", (f"value {version}",))
        return None if found is None else _promotion(found[0])

    def promotions(self) -> list[Promotion]:
        """Every value model that was ever promoted, oldest first."""
        with self._lock:
            found = rows(self._db, "select body from note where name glob 'value *'")
        return sorted((_promotion(body) for (body,) in found), key=lambda one: one.made_us)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _next(self) -> int:
        found = row(self._db, "select max(seq) from event")
        return 1 if found is None or found[0] is None else int(found[0]) + 1


def open_log(path: Path, *, read_only: bool = False) -> Log:
    """The log kept at `path`; made where it is missing, unless it is only to be read."""
    return Log(connect(path, SCHEMA, read_only=read_only))


def count(records: Sequence[tuple[int, Record]]) -> Counter[str]:
    """How many conversions of each name these records plan."""
    return Counter(record.conversion.name for _, record in records if isinstance(record, Planned))


def _by_event(records: Iterable[tuple[int, Record]]) -> list[tuple[int, list[Record]]]:
    """The records of each event together: they are numbered from 0 on without a gap."""
    found: list[tuple[int, list[Record]]] = []
    latest: list[Record] = []
    for number, record in records:
        seq, place = event_of(number)
        if place == 0:
            latest = []
            found.append((seq, latest))
        latest.append(record)
    return found


def _numbers(numbers: Iterable[int]) -> Any:
    """Whole numbers of 64 bits as a table of one statement."""
    return apsw.carray(array("q", numbers))
