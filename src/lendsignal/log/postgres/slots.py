"""The log as a worker sees it: the slots that it leases, read and committed together.

**Reading.** Transactions commit in another order than their rows are numbered. Rows are therefore read in the
order of (transaction, row), and only those of transactions older than every open one
(`pg_snapshot_xmin`): whatever appears later stands behind them. So a writing transaction that stays open
anywhere in the server holds reading back; `connection.Limits` bounds ours.

**Committing.** Cursor, states, records, verdicts, timers and counts of a batch are one transaction, which
first finds every cursor where it was read and under the epoch it was leased with, or keeps nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from itertools import groupby
from operator import itemgetter
from time import monotonic

from msgspec import Struct

from lendsignal.errors import Overtaken
from lendsignal.log.log import Decided, Fact, Move
from lendsignal.log.postgres.arrays import bigints, bodies, smallints, texts
from lendsignal.log.postgres.connection import Database, Session, numbers
from lendsignal.log.postgres.door import Ready
from lendsignal.log.postgres.leases import Lease, Leases
from lendsignal.log.postgres.rows import (
    pack_whole_records,
    pack_whole_state,
    read_event,
    unpacked_records,
    whole_state_of,
)
from lendsignal.log.postgres.rulebook import RuleRows
from lendsignal.log.slots import place_in_slot, sequence_of, slot_of
from lendsignal.model import Event
from lendsignal.plan import Planned, Record, UserState, event_of

MOST_OF_A_SLOT = 4_096
"""Events of one slot in one batch, at most."""

_BEHIND = """
select cursor.slot, cursor.place, next.xid::text, next.id, next.day, next.body
from unnest(%b::smallint[]) as mine(slot) join cursor using (slot) cross join lateral (
    select event.xid, event.id, event.day, event.body,
        row_number() over (order by event.xid, event.id) as turn
    from event
    where event.slot = cursor.slot and (event.xid, event.id) > (cursor.xid, cursor.id)
        -- The day is that of a transaction's beginning, which may lie before that of an older transaction.
        and event.day >= cursor.day - 1
        and event.xid < pg_snapshot_xmin(pg_current_snapshot())
    order by event.xid, event.id limit %s
) next
order by next.turn, cursor.slot limit %s
"""
"""What comes next in each slot, the first of each before the second of any."""

_DRAWN = """
select case when is_called then last_value else 0 end,
    pg_snapshot_xmin(now_open) = pg_snapshot_xmax(now_open)
from event_id, pg_current_snapshot() as now_open
"""
"""The last number that an event was given, and whether no writing transaction was open just before."""

TRUSTED_SECONDS = 1.0
"""How long a look at the numbers stands for a look at every slot, whatever happens."""


class Gained(Struct, frozen=True):
    """How the slots of a worker changed: what it leased, and what is not its own any more."""

    leased: Sequence[Lease] = ()
    lost: Sequence[int] = ()

    def __bool__(self) -> bool:
        return bool(self.leased or self.lost)


class Stretch(Struct, frozen=True):
    """Some events of one slot as they stand in the table: the rows of the first, the `first`-th of the slot,
    and of those behind it; transaction and day of the last."""

    first: int
    ids: Sequence[int]
    xid: str
    day: date


class SlotRows(ABC):
    """What is kept by slot, and the one transaction of a batch; each log has a reading of its own.

    Used by one thread. Whatever it raises, nothing of a batch is kept.
    """

    def __init__(self, database: Database, slots: int) -> None:
        self.rules = RuleRows(database)
        self.policy_source = self.rules.policy_source
        self.cut_table = self.rules.cut_table
        self.promotion = self.rules.promotion
        self._database = database
        self._slots = slots
        self._held: dict[int, Lease] = {}
        self._shared: dict[str, int] = {}

    @property
    def held(self) -> Collection[int]:
        """The slots that are ours, as far as we know."""
        return self._held.keys()

    @abstractmethod
    def tend(self, now: float) -> Gained:
        """Keeps our slots and takes what falls to us; how that changed them. Between batches only."""

    @abstractmethod
    def doubt(self) -> None:
        """What we know of our slots may be wrong: all of them are leased anew with the next `tend`."""

    @abstractmethod
    def end(self) -> None:
        """Lets go of every slot at once: others need not wait for this worker's silence."""

    @abstractmethod
    def read(self, limit: int) -> list[tuple[int, list[Fact]]]:
        """What comes next in our slots: of each some events in their order, so many in all at most."""

    def states(self, keys: Iterable[str]) -> dict[str, UserState]:
        """What is remembered of these people; those who are new are missing."""
        wanted = list(keys)
        found = self._database.rows(
            "select key, version, body from unnest(%b::smallint[], %b::bytea[]) as wanted(slot, key)"
            " join state using (slot, key)",
            smallints([slot_of(key, self._slots) for key in wanted]),
            bodies([key.encode() for key in wanted]),
        )
        for key in wanted:
            if is_shared(key):
                self._shared[key] = 0
        states: dict[str, UserState] = {}
        for raw, version, body in found:
            key = raw.decode()
            states[key] = whole_state_of(body)
            if key in self._shared:
                self._shared[key] = version
        return states

    def planned(self, numbers: Iterable[int]) -> dict[int, Planned]:
        """The planned records of those ids, as they were planned."""
        return {number: record for number, record in self._records(numbers) if isinstance(record, Planned)}

    def _records(self, wanted: Iterable[int]) -> list[tuple[int, Record]]:
        ids = set(wanted)
        sequences = sorted({event_of(number)[0] for number in ids})
        if not sequences:
            return []
        found = self._database.rows(
            "select record.seq, record.body from unnest(%b::smallint[], %b::bigint[]) as wanted(slot, seq)"
            " join record using (slot, seq) order by 1",
            [place_in_slot(one, self._slots)[1] for one in sequences],
            sequences,
        )
        return [one for one in unpacked_records(found) if one[0] in ids]

    def phones(self, keys: Collection[int], at_most: int) -> dict[int, tuple[int, ...]]:
        """So many at most of the users who showed each phone, by their number; other phones are missing."""
        wanted = list(keys)
        if not wanted:
            return {}
        found = self._database.rows(
            "select wanted.key, array_agg(shown.who order by shown.who)"
            " from unnest(%b::smallint[], %b::bigint[]) as wanted(slot, key) cross join lateral ("
            "  select who from phone where phone.slot = wanted.slot and phone.key = wanted.key"
            "  order by who limit %s"
            " ) shown group by 1",
            [key % self._slots for key in wanted],
            wanted,
            at_most,
        )
        return {key: tuple(users) for key, users in found}

    # keeping

    def commit(self, decided: Decided) -> None:
        """Keeps a batch of decisions whole: of everything that was read last in the slots it moves.

        Raises `Overtaken` where another worker has one of the slots by now, or changed a person whom users
        of several slots share: then it is decided anew.
        """
        batch = _Packed(decided, self._slots)
        with self._database.transaction() as session:
            self._lock(session, decided.moves)
            rows = self._move(session, decided.moves)
            self._keep_states(session, decided)
            batch.write(session, rows)
        for move in decided.moves:
            lease = self._held[move.slot]
            self._held[move.slot] = Lease(
                lease.slot,
                lease.epoch,
                place_in_slot(move.position, self._slots)[0],
                move.policy or lease.policy,
                move.cuts or lease.cuts,
                move.value or lease.value,
            )

    def _lock(self, session: Session, moves: Sequence[Move]) -> None:
        """Finds every cursor where its slot was read and under our epoch, and keeps it from others."""
        leases = [self._held[move.slot] for move in moves if move.slot in self._held]
        held = session.rows(
            "select cursor.slot from unnest(%b::smallint[], %b::bigint[], %b::bigint[])"
            " as mine(slot, epoch, place) join cursor using (slot, epoch, place)"
            " order by cursor.slot for update of cursor",
            [one.slot for one in leases],
            [one.epoch for one in leases],
            [one.place for one in leases],
        )
        if len(held) < len(moves):
            raise Overtaken(f"another process decides {len(moves) - len(held)} of these slots")

    @abstractmethod
    def _move(self, session: Session, moves: Sequence[Move]) -> Mapping[int, Stretch]:
        """Moves these cursors behind what was read of their slots; where those events stand in the table."""

    @abstractmethod
    def _tell(self, session: Session, events: Sequence[Event]) -> None:
        """Appends events of ours, each to its person's slot, behind all that is there."""

    def _keep_states(self, session: Session, decided: Decided) -> None:
        """Of a person whom users of several slots share only the next version is taken, and no other."""
        own = sorted(key for key in decided.states if not is_shared(key))
        shared = sorted(key for key in decided.states if is_shared(key))
        for keys, versions, where in (
            (own, [1] * len(own), ""),
            (
                shared,
                [self._shared.get(key, 0) + 1 for key in shared],
                " where state.version = excluded.version - 1",
            ),
        ):
            if not keys:
                continue
            kept = session.changed(
                "insert into state select slot, key, version, body"
                " from unnest(%b::smallint[], %b::bytea[], %b::bigint[], %b::bytea[])"
                " with ordinality as one(slot, key, version, body, place) order by place"
                " on conflict (slot, key) do update set body = excluded.body, version = "
                + ("excluded.version" if where else "state.version + 1")
                + where,
                smallints([slot_of(key, self._slots) for key in keys]),
                bodies([key.encode() for key in keys]),
                bigints(versions),
                bodies([pack_whole_state(decided.states[key]) for key in keys]),
            )
            if kept < len(keys):
                raise Overtaken("another process decides of a person whom users of several slots share")

    # timers

    def due(self, now_us: int, limit: int = 1000) -> list[tuple[int, str, str]]:
        """Our timers whose moment has come: (due, conversion, person)."""
        return self.due_in(list(self._held), now_us, limit)

    def due_in(self, slots: Sequence[int], now_us: int, limit: int) -> list[tuple[int, str, str]]:
        """The same of any slots."""
        found = self._database.rows(
            "select due_us, conversion, person from timer where due_us <= %s and slot = any(%b::smallint[])"
            " order by due_us, conversion limit %s",
            now_us,
            slots,
            limit,
        )
        return [(due_us, conversion, person.decode()) for due_us, conversion, person in found]

    def fire(self, timers: Sequence[tuple[int, str, str]], events: Sequence[Event]) -> int:
        """Turns timers into events, in one transaction; those that somebody else fired meanwhile are left."""
        slots = [slot_of(person, self._slots) for _, _, person in timers]
        with self._database.transaction() as session:
            gone = session.rows(
                "delete from timer using unnest(%b::smallint[], %b::bigint[], %b::text[])"
                " as one(slot, due_us, conversion) where timer.slot = one.slot and"
                " timer.due_us = one.due_us and timer.conversion = one.conversion"
                " returning timer.due_us, timer.conversion",
                slots,
                numbers([due_us for due_us, _, _ in timers]),
                [conversion for _, conversion, _ in timers],
            )
            ours = set(gone)
            self._tell(
                session, [event for timer, event in zip(timers, events, strict=True) if timer[:2] in ours]
            )
        return 0

    def next_timer(self) -> int | None:
        """When the next of our timers is due, in microseconds since 1970."""
        return self.next_timer_in(list(self._held))

    def next_timer_in(self, slots: Sequence[int]) -> int | None:
        """The same of any slots."""
        found = self._database.row("select min(due_us) from timer where slot = any(%b::smallint[])", slots)
        return None if found is None else found[0]


class SlotLog(SlotRows):
    """The slots that one worker leases; `steady` seconds tell it when to beat."""

    def __init__(self, database: Database, leases: Leases, slots: int) -> None:
        super().__init__(database, slots)
        self._leases = leases
        self._read: dict[int, Stretch] = {}
        self._deep = 8
        self._drawn = -1
        self._quiet_since: int | None = None
        self._looked_at = float("-inf")

    # leasing

    def tend(self, now: float) -> Gained:
        """Beats where it is time to, and comes nearer to a fair share of the slots.

        Slots change hands between batches only.
        """
        if not self._leases.is_time(now):
            return Gained()
        self._leases.beat(now)
        share = self._leases.fair_share(self._slots)
        before = dict(self._held)
        known = {lease.slot: lease for lease in self._leases.held()}
        extra = sorted(known)[share:]
        self._leases.let_go(extra)
        for slot in extra:
            del known[slot]
        for lease in self._leases.take(share - len(known)):
            known[lease.slot] = lease
        self._held = known
        lost = [slot for slot, lease in before.items() if known.get(slot, lease).epoch != lease.epoch]
        lost += [slot for slot in before if slot not in known]
        if known.keys() != before.keys() or lost:
            self._quiet_since = None
        return Gained(
            [one for slot, one in known.items() if slot not in before or slot in lost], sorted(lost)
        )

    def take(self) -> bool:
        """Leases every slot that is free, at once and without a word to others; whether there was one."""
        for lease in self._leases.take(self._slots):
            self._held[lease.slot] = lease
        return bool(self._held)

    def doubt(self) -> None:
        self._held = {}
        self._quiet_since = None
        self._leases.hurry()

    def end(self) -> None:
        self._leases.end()
        self._held = {}

    # reading

    def read(self, limit: int) -> list[tuple[int, list[Fact]]]:
        if not self._held or self._is_quiet():
            return []
        even = -(-limit // len(self._held))
        self._deep = max(even, min(self._deep, MOST_OF_A_SLOT))
        found = self._database.rows(_BEHIND, list(self._held), self._deep, limit)
        found.sort(key=itemgetter(0))  # stable: each slot's own order stays
        parts: list[tuple[int, list[Fact]]] = []
        self._read.clear()
        for slot, rows in groupby(found, key=itemgetter(0)):
            stretch = list(rows)
            _, decided, xid, _, day, _ = stretch[-1]
            facts = [
                Fact(sequence_of(place, slot, self._slots), read_event(row[5]))
                for place, row in enumerate(stretch, decided + 1)
            ]
            self._read[slot] = Stretch(decided + 1, [row[3] for row in stretch], xid, day)
            parts.append((slot, facts))
        if found:
            self._quiet_since = None
        # One busy slot may fill a batch; where all are busy, what is read and thrown away is kept small.
        if len(found) < limit and any(len(facts) == self._deep for _, facts in parts):
            self._deep *= 4
        elif len(found) == limit:
            self._deep = max(even, self._deep // 2)
        return parts

    def _is_quiet(self) -> bool:
        """Whether no event can have come since every slot was found empty: one cheap look for all of them.

        A transaction has its own number before it draws one for an event. Where a look finds the same numbers
        as the one before it, and no transaction open, all whose events have those numbers have ended: what is
        read from then on has them. So where that finds nothing, nothing comes until a number is drawn.
        """
        found = self._database.row(_DRAWN)
        assert found is not None, "a sequence is one row"
        before, (self._drawn, is_settled) = self._drawn, found
        now = monotonic()
        if self._drawn == self._quiet_since and now - self._looked_at < TRUSTED_SECONDS:
            return True
        self._looked_at = now
        self._quiet_since = self._drawn if is_settled and self._drawn == before else None
        return False

    # keeping

    def commit_at(self, decided: Decided, read: Mapping[int, Stretch]) -> None:
        """Keeps a batch of decisions of events that stand there in the table."""
        self._read = dict(read)
        self.commit(decided)

    def _move(self, session: Session, moves: Sequence[Move]) -> Mapping[int, Stretch]:
        read = self._read
        session.rows(
            "update cursor set xid = one.xid::xid8, id = one.id, day = one.day, place = one.place,"
            " policy = coalesce(one.policy, cursor.policy), cuts = coalesce(one.cuts, cursor.cuts),"
            " value = coalesce(one.value, cursor.value)"
            " from unnest(%b::smallint[], %b::text[], %b::bigint[], %b::date[], %b::bigint[], %b::text[],"
            " %b::text[], %b::text[]) as one(slot, xid, id, day, place, policy, cuts, value)"
            " where cursor.slot = one.slot",
            [move.slot for move in moves],
            [read[move.slot].xid for move in moves],
            [read[move.slot].ids[-1] for move in moves],
            [read[move.slot].day for move in moves],
            [place_in_slot(move.position, self._slots)[0] for move in moves],
            [move.policy for move in moves],
            [move.cuts for move in moves],
            [move.value for move in moves],
        )
        return read

    def _tell(self, session: Session, events: Sequence[Event]) -> None:
        Ready(events, self._slots).insert(session)


class _Packed:
    """A batch made ready for its transaction: what takes long is done before."""

    def __init__(self, decided: Decided, slots: int) -> None:
        self._decided = decided
        self._slots = slots
        self._records = [
            (seq, pack_whole_records([record for _, record in followed]))
            for seq, followed in groupby(decided.records, key=lambda one: event_of(one[0])[0])
        ]
        self._tally = numbers(decided.tally.values())

    def write(self, session: Session, read: Mapping[int, Stretch]) -> None:
        """All but cursor and states."""
        decided, slots = self._decided, self._slots
        if self._records:
            session.rows(
                "insert into record (slot, seq, body)"
                " select * from unnest(%b::smallint[], %b::bigint[], %b::bytea[])",
                smallints([place_in_slot(seq, slots)[1] for seq, _ in self._records]),
                bigints([seq for seq, _ in self._records]),
                bodies([body for _, body in self._records]),
            )
        if decided.verdicts:
            places = [place_in_slot(seq, slots) for seq, _ in decided.verdicts]
            session.rows(
                "insert into verdict (slot, id, verdict)"
                " select * from unnest(%b::smallint[], %b::bigint[], %b::text[])",
                smallints([slot for _, slot in places]),
                bigints([read[slot].ids[place - read[slot].first] for place, slot in places]),
                texts([verdict.value for _, verdict in decided.verdicts]),
            )
        if decided.timers:
            session.rows(
                "insert into timer"
                " select * from unnest(%b::smallint[], %b::bigint[], %b::text[], %b::bytea[])"
                " on conflict (slot, due_us, conversion) do update set person = excluded.person",
                smallints([slot_of(person, slots) for person, _ in decided.timers]),
                bigints([timer.due_us for _, timer in decided.timers]),
                texts([timer.conversion for _, timer in decided.timers]),
                bodies([person.encode() for person, _ in decided.timers]),
            )
        if decided.phones:
            phones = sorted(set(decided.phones))
            session.rows(
                "insert into phone select * from unnest(%b::smallint[], %b::bigint[], %b::bigint[])"
                " on conflict do nothing",
                smallints([key % slots for key, _ in phones]),
                bigints([key for key, _ in phones]),
                bigints([who for _, who in phones]),
            )
        if decided.tally:
            session.rows(
                "insert into tally select %s::smallint, * from unnest(%b::text[], %b::text[], %b::bigint[])"
                " on conflict (slot, what, name) do update set n = tally.n + excluded.n",
                decided.moves[0].slot,  # ours alone while its cursor is locked: nobody waits for another
                [what for what, _ in decided.tally],
                [name for _, name in decided.tally],
                self._tally,
            )


def is_shared(key: str) -> bool:
    """Whether a state is that of a person whom several users are: they may be of several slots."""
    return key.startswith(":")
