"""The event log and what is decided from it, in one SQLite file with one deciding writer.

Several processes may append (the door, an import); one decides. Decisions are committed whole: the
cursor, the states, the records for the sender and the timers together, or none of them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from threading import RLock

import apsw
import msgspec
from msgspec import Struct

from lendsignal.errors import DataError, LogError
from lendsignal.log.sqlite import connect, row, rows, transaction
from lendsignal.model import Event
from lendsignal.plan import Planned, PolicySource, Record, Timer, UserState, Verdict

SCHEMA = """
create table if not exists event (
    seq integer primary key,            -- the order of arrival
    id text not null,                   -- event_id: ours are time-ordered, which keeps the index cheap
    received_us integer not null,
    body blob not null                  -- msgpack of model.Event
);
create index if not exists event_by_id on event (id);
create table if not exists verdict (    -- only what is not simply taken
    seq integer primary key,
    verdict text not null
);
create table if not exists state (
    id integer primary key,             -- 63 bits of a hash of the person's key
    body blob not null                  -- msgpack of plan.UserState
);
create table if not exists record (
    id integer primary key,             -- seq * 256 + number: see plan.records
    body blob not null                  -- msgpack of plan.Record
);
create table if not exists timer (
    due_us integer not null,
    conversion text not null,
    person text not null,
    primary key (due_us, conversion)
) without rowid;
create table if not exists cursor (name text primary key, position integer not null) without rowid;
create table if not exists note (name text primary key, body blob not null) without rowid;
create table if not exists tally (
    what text not null,
    name text not null,
    n integer not null,
    primary key (what, name)
) without rowid;
create table if not exists quarantine (
    id integer primary key,
    received_us integer not null,
    source text not null,
    field text not null,
    rule text not null,
    body blob not null                  -- what was sent, contacts masked
);
create table if not exists imported (
    file text primary key,              -- hash of the file's content and of its map
    name text not null,
    rows integer not null,              -- rows that are durable
    done integer not null
) without rowid;
create table if not exists attribution (
    app text not null,
    id text not null,                   -- the MMP's id of the installation
    install_us integer,
    media_source text,
    campaign text,
    retargeting integer,
    primary key (app, id)
) without rowid;
"""

_encode = msgspec.msgpack.Encoder().encode
_event = msgspec.msgpack.Decoder(Event).decode
_state = msgspec.msgpack.Decoder(UserState).decode
_record = msgspec.msgpack.Decoder(Record).decode
_source = msgspec.msgpack.Decoder(PolicySource).decode


class Fact(Struct, frozen=True):
    """One event as it stands in the log."""

    seq: int
    event: Event


class Decided(Struct, frozen=True, kw_only=True):
    """What one batch of events came to. It is kept whole or not at all.

    `after` is the last event decided before, `position` the last of the batch.
    """

    after: int
    position: int
    states: Mapping[str, UserState]
    records: Sequence[tuple[int, Record]]
    verdicts: Sequence[tuple[int, Verdict]]
    timers: Sequence[tuple[str, Timer]]
    tally: Mapping[tuple[str, str], int]
    policy: str | None = None


class Quarantined(Struct, frozen=True, kw_only=True):
    """What was refused at the door: field and rule say why; `body` has contacts masked."""

    received_us: int
    source: str
    field: str
    rule: str
    body: bytes
    id: int | None = None


class Attribution(Struct, frozen=True, kw_only=True):
    """Where an installation came from, as the MMP says: `id` is any install-scoped id of it in `app`.

    `install_us` is the moment of the installation in microseconds since 1970, `None` where not told.
    """

    app: str
    id: str
    install_us: int | None = None
    media_source: str | None = None
    campaign: str | None = None
    retargeting: bool = False


class Log:
    """The log in a data folder. Safe to share between threads; one transaction at a time."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._db = connection
        self._lock = RLock()
        self._displaced: dict[str, int] = {}

    # appending

    def append(self, events: Sequence[Event], *, imported: tuple[str, str, int, bool] | None = None) -> int:
        """Makes events durable in this order and returns the number of the first.

        `imported` = (file hash, name, rows durable with this, done) moves an import on in the same
        transaction. Returns only after the commit is on disk.
        """
        with self._lock, transaction(self._db):
            first = self._next()
            self._db.executemany(
                "insert into event (seq, id, received_us, body) values (?, ?, ?, ?)",
                [
                    (seq, event.event_id, _us(event), _encode(event))
                    for seq, event in enumerate(events, start=first)
                ],
            )
            if imported is not None:
                self._db.execute(
                    "insert into imported values (?, ?, ?, ?) on conflict do update set"
                    " rows = excluded.rows, done = excluded.done",
                    imported,
                )
        return first

    def imported(self, file: str) -> tuple[int, bool]:
        """How many rows of that file are durable already, and whether it was finished."""
        with self._lock:
            found = row(self._db, "select rows, done from imported where file = ?", (file,))
        return (0, False) if found is None else (found[0], bool(found[1]))

    def refuse(self, refused: Sequence[Quarantined]) -> None:
        """Keeps what the door refused, durably."""
        with self._lock, transaction(self._db):
            self._db.executemany(
                "insert into quarantine (received_us, source, field, rule, body) values (?, ?, ?, ?, ?)",
                [(one.received_us, one.source, one.field, one.rule, one.body) for one in refused],
            )

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

    def scan(self, containing: bytes | None = None) -> Iterator[Fact]:
        """Every event in order, or those whose stored bytes contain a text: for people, not for speed."""
        query = "select seq, body from event" + (" where instr(body, ?)" if containing is not None else "")
        for seq, body in self._db.execute(query, () if containing is None else (containing,)):
            yield Fact(seq, _event(body))

    def find(self, event_id: str) -> list[tuple[Fact, Verdict | None]]:
        """The events of that id, oldest first, each with its verdict; `None` where it is not decided yet."""
        position = self.position()
        with self._lock:
            found = rows(
                self._db,
                "select seq, body, verdict from event left join verdict using (seq)"
                " where id = ? order by seq",
                (event_id,),
            )
        return [
            (Fact(seq, _event(body)), (Verdict(word) if word else Verdict.TAKEN) if seq <= position else None)
            for seq, body, word in found
        ]

    def records(self, after: int, limit: int) -> list[tuple[int, Record]]:
        """The sender's stream behind a record id, in order."""
        with self._lock:
            found = rows(
                self._db, "select id, body from record where id > ? order by id limit ?", (after, limit)
            )
        return [(number, _record(body)) for number, body in found]

    def last_record(self) -> int:
        """The id of the last record in the sender's stream; 0 where there is none."""
        with self._lock:
            found = row(self._db, "select max(id) from record")
        return 0 if found is None or found[0] is None else int(found[0])

    def record(self, number: int) -> Record | None:
        """One record of the sender's stream."""
        with self._lock:
            found = row(self._db, "select body from record where id = ?", (number,))
        return None if found is None else _record(found[0])

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
        with self._lock:
            found = rows(
                self._db,
                "select id, received_us, source, field, rule, body from quarantine order by id desc limit ?",
                (limit,),
            )
        return [
            Quarantined(id=id_, received_us=at, source=source, field=field, rule=rule, body=body)
            for id_, at, source, field, rule, body in found
        ]

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
        first = _place(key)
        with self._lock:
            for place in range(first, first + 64):
                found = row(self._db, "select body from state where id = ?", (place,))
                state = None if found is None else _state(found[0])
                if state is None or state.key == key:
                    if place != first:
                        self._displaced[key] = place
                    return state
        raise DataError("the state table has no free place for a person")

    def commit(self, decided: Decided) -> None:
        """Keeps a batch of decisions whole; every state in it was read by `state` before.

        Raises `LogError` where another process has decided these events already.
        """
        with self._lock, transaction(self._db):
            before = row(self._db, "select position from cursor where name = 'decide'")
            if (0 if before is None else before[0]) != decided.after:
                raise LogError("another process decides over this data folder")
            places = self._places(decided.states)
            self._db.execute("insert or replace into cursor values ('decide', ?)", (decided.position,))
            self._db.executemany(
                "insert or replace into state values (?, ?)",
                [(places[key], _encode(state)) for key, state in decided.states.items()],
            )
            self._db.executemany(
                "insert or replace into record values (?, ?)",
                [(number, _encode(record)) for number, record in decided.records],
            )
            self._db.executemany("insert or replace into verdict values (?, ?)", decided.verdicts)
            self._db.executemany(
                "insert or replace into timer values (?, ?, ?)",
                [(timer.due_us, timer.conversion, person) for person, timer in decided.timers],
            )
            self._db.executemany(
                "insert into tally values (?, ?, ?) on conflict do update set n = n + excluded.n",
                [(what, name, n) for (what, name), n in decided.tally.items()],
            )
            if decided.policy is not None:
                self._db.execute(
                    "insert or replace into note values ('policy', ?)", (decided.policy.encode(),)
                )

    def _places(self, keys: Iterable[str]) -> dict[str, int]:
        """Where each person's state goes. Two new ones of a batch may want the same place."""
        places: dict[str, int] = {}
        taken: set[int] = set()
        for key in keys:
            place = self._displaced.get(key, _place(key))
            if place in taken:
                while place in taken or row(self._db, "select 1 from state where id = ?", (place,)):
                    place += 1
                self._displaced[key] = place
            taken.add(place)
            places[key] = place
        return places

    def due(self, now_us: int, limit: int = 1000) -> list[tuple[int, str, str]]:
        """Timers whose moment has come: (due, conversion, person)."""
        with self._lock:
            return rows(
                self._db,
                "select due_us, conversion, person from timer where due_us <= ? order by due_us limit ?",
                (now_us, limit),
            )

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
        """Counts kept with the decisions: ('event', type), ('verdict', word), ('conversion', name), …"""
        with self._lock:
            return {(what, name): n for what, name, n in self._db.execute("select what, name, n from tally")}

    # attribution

    def attribute(self, installations: Iterable[Attribution]) -> None:
        """Keeps where installations came from, durably; what was known of the same app and id is replaced."""
        with self._lock, transaction(self._db):
            self._db.executemany(
                "insert or replace into attribution values (?, ?, ?, ?, ?, ?)",
                [
                    (one.app, one.id, one.install_us, one.media_source, one.campaign, int(one.retargeting))
                    for one in installations
                ],
            )

    def attributions(self) -> list[Attribution]:
        """Every installation whose origin is known, by app and id."""
        with self._lock:
            found = rows(self._db, "select * from attribution order by app, id")
        return [
            Attribution(
                app=app,
                id=id_,
                install_us=install_us,
                media_source=media_source,
                campaign=campaign,
                retargeting=bool(retargeting),
            )
            for app, id_, install_us, media_source, campaign, retargeting in found
        ]

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
                "insert or ignore into note values (?, ?)", (f"policy {version}", _encode(source))
            )

    def policy_source(self, version: str) -> PolicySource | None:
        """The policy of that version."""
        with self._lock:
            found = row(self._db, "select body from note where name = ?", (f"policy {version}",))
        return None if found is None else _source(found[0])

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


def _place(key: str) -> int:
    """Where a person's state stands, unless another's hash was there first."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big") >> 1


def _us(event: Event) -> int:
    return round(event.received_at.timestamp() * 1_000_000)
