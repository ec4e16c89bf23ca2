"""The log as a worker sees it where a topic is the log: a consumer group says which slots are whose.

**Owning.** Who gets a partition raises the epoch of its cursor, and goes on at the cursor's offset: the
group's own offsets are for lag dashboards alone. Whoever had the slot before, and does not know yet that it
is gone, is refused by the epoch.

**Reading.** Messages come in the order of their offsets, which may have holes. What nodes themselves say
(timers that fired, new rules) stands in PostgreSQL, each at its place among the slot's offsets. What cannot
be read as an event goes to the quarantine, and stops nobody.

Of who was erased a husk is read: nothing is taken out of a topic, but nothing more follows from it.

**Committing.** The transaction of every cluster: here it also keeps the events, which so are found and
archived as if PostgreSQL were the log, and the offset of the next one.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from lendsignal.errors import DataError, LogError, Overtaken
from lendsignal.log.erasing import admitted
from lendsignal.log.kafka.client import PASSING, Asking, translated, words_of
from lendsignal.log.kafka.making import check_topic
from lendsignal.log.kafka.rules import tell
from lendsignal.log.log import Decided, Fact, Move
from lendsignal.log.numbers import number_of_event
from lendsignal.log.packing import encode
from lendsignal.log.postgres.arrays import bigints, bodies, smallints
from lendsignal.log.postgres.connection import Database, Session, numbers
from lendsignal.log.postgres.erasing import KeptOutWatch
from lendsignal.log.postgres.leases import Lease, Leases
from lendsignal.log.postgres.rows import read_event
from lendsignal.log.postgres.schema import TODAY
from lendsignal.log.postgres.slots import Gained, SlotRows, Stretch
from lendsignal.log.slots import place_in_slot, sequence_of, slot_of
from lendsignal.log.store import KafkaSettings
from lendsignal.model import Event, person_key

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

logger = logging.getLogger(__name__)

AHEAD = 2_000
"""Messages that are read before they are decided, at most."""

BEGINNING = -2
"""Kafka's word for the first offset that a partition has: nothing of the slot was decided yet."""

SHOW_SECONDS = 5.0
"""How often the group's offsets are told, for dashboards."""

CLIENT: Mapping[str, Any] = {
    "partition.assignment.strategy": "cooperative-sticky",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    # Where a slot goes on is our cursor's word. Where that place is gone, a person must know.
    "auto.offset.reset": "error",
    # Far longer than any batch takes: beyond it a worker counts as stuck, and loses its slots.
    "max.poll.interval.ms": 120_000,
    "fetch.wait.max.ms": 100,
    "queued.max.messages.kbytes": 16_384,
}
"""Settings of Kafka's client (librdkafka's CONFIGURATION.md)."""


class Arrived(Struct, frozen=True):
    """A message as it stands in the topic: its event, or why it is none; received when, in microseconds."""

    offset: int
    body: bytes
    event: Event | None
    wrong: str = ""
    at_us: int = 0


class Said(Struct, frozen=True):
    """What a node itself said: it comes before the message at that offset."""

    before: int
    id: int
    name: int
    body: bytes


class Passage(Struct, frozen=True):
    """What was read of one slot and is to be decided: the first is the `first`-th of the slot.

    `reach` is the offset behind it; `said` are the nodes' own events in it, `bad` what is no event.
    """

    first: int
    names: Sequence[int]
    bodies: Sequence[bytes]
    reach: int
    said: Sequence[int]
    bad: Sequence[Arrived]


class TopicSlots(SlotRows):
    """The slots that the group gives one worker; `steady` seconds tell it when to beat."""

    def __init__(self, database: Database, leases: Leases, topic: KafkaSettings, slots: int) -> None:
        super().__init__(database, slots)
        self._leases = leases
        self._own = topic
        self._asking = Asking(topic)
        self._out = KeptOutWatch(database)
        self._consumer: Consumer | None = None
        self._assigned: set[int] = set()
        self._gained: set[int] = set()
        self._lost: set[int] = set()
        self._next: dict[int, int] = {}
        self._end: dict[int, int] = {}
        self._waiting: dict[int, list[Arrived]] = {}
        self._read: dict[int, Passage] = {}
        self._ends: Mapping[int, int] = {}
        self._done: dict[int, int] = {}
        self._show_at = 0.0

    # owning

    def tend(self, now: float) -> Gained:
        """Hears what the group says, takes the slots that it gave us, and what came in for them."""
        self._listen()
        if self._leases.is_time(now):
            self._leases.beat(now)
        if now >= self._show_at:
            self._show_at = now + SHOW_SECONDS
            self._show()
        for slot in self._seize(sorted(self._assigned - self._held.keys())):
            self._set_back(slot, self._next[slot])
        gained = Gained([self._held[slot] for slot in sorted(self._gained)], sorted(self._lost))
        self._gained.clear()
        self._lost.clear()
        return gained

    def doubt(self) -> None:
        self._held = {}
        self._waiting.clear()
        self._gained.clear()
        self._lost.clear()
        self._leases.hurry()

    def end(self) -> None:
        """Leaves the group, unless this node has a lasting name there: then it is waited for."""
        with suppress(LogError):
            self._leases.end()
        self._held = {}
        if self._consumer is not None:
            self._show()
            self._consumer.close()
            self._consumer = None

    def _seize(self, slots: Sequence[int]) -> Sequence[int]:
        """Takes these slots from whoever had them, each from the offset on that it is decided up to."""
        if not slots:
            return ()
        found = self._database.rows(
            "with mine as (select slot from cursor where slot = any(%b::smallint[]) order by slot for update)"
            " update cursor set owner = %s, epoch = epoch + 1 from mine where cursor.slot = mine.slot"
            " returning cursor.slot, epoch, place, policy, cuts, value, reach",
            slots,
            self._leases.name,
        )
        for *lease, reach in found:
            one = Lease(*lease)
            self._waiting.pop(one.slot, None)
            self._end.pop(one.slot, None)
            self._next[one.slot] = BEGINNING if reach is None else reach
            self._held[one.slot] = one
            self._gained.add(one.slot)
        return slots

    def _set_back(self, slot: int, offset: int) -> None:
        """Has the client go on at that offset, whatever it has read ahead.

        Where it reads nothing of the slot, for its place was out of the topic's reach, it is given anew.
        """
        from confluent_kafka import KafkaException, TopicPartition

        at = [TopicPartition(self._own.topic, slot, offset)]
        with translated():
            try:
                self._ours.seek(at[0])
            except KafkaException:
                self._ours.incremental_unassign(at)
                self._ours.incremental_assign(at)

    @property
    def _ours(self) -> "Consumer":
        """The group's member that we are, from the first time on that somebody asks."""
        if self._consumer is None:
            from confluent_kafka import Consumer

            check_topic(self._database, self._own)
            session_ms = self._own.session // timedelta(milliseconds=1)
            words = words_of(self._own) | {
                **CLIENT,
                "group.id": self._own.group,
                "session.timeout.ms": session_ms,
                "heartbeat.interval.ms": max(100, session_ms // 4),
                "error_cb": self._warned,
            }
            if self._own.instance is not None:
                words["group.instance.id"] = self._own.instance
            with translated():
                self._consumer = Consumer(words)
                self._consumer.subscribe(
                    [self._own.topic],
                    on_assign=self._given,
                    on_revoke=self._taken_away,
                    on_lost=self._taken_away,
                )
        return self._consumer

    def _given(self, consumer: "Consumer", partitions: Sequence["TopicPartition"]) -> None:
        """They are read from where the store says. While it is away nothing of them counts."""
        from confluent_kafka import TopicPartition

        slots = sorted(one.partition for one in partitions)
        self._assigned.update(slots)
        try:
            self._seize(slots)
        except LogError as error:
            logger.warning("%s; nothing is lost, it is tried again", error)
        # Never where a word such as "the end" stands for an offset: what it meant may be known too late.
        consumer.incremental_assign(
            [TopicPartition(self._own.topic, slot, self._next.get(slot, 0)) for slot in slots]
        )

    def _taken_away(self, consumer: "Consumer", partitions: Sequence["TopicPartition"]) -> None:
        """What was read of them and not decided is somebody else's."""
        for slot in (one.partition for one in partitions):
            self._assigned.discard(slot)
            self._waiting.pop(slot, None)
            self._done.pop(slot, None)
            self._gained.discard(slot)
            if self._held.pop(slot, None) is not None:
                self._lost.add(slot)

    def _show(self) -> None:
        """Tells the group how far we are. Nobody relies on it."""
        from confluent_kafka import KafkaException, TopicPartition

        if self._done and self._consumer is not None:
            offsets = [TopicPartition(self._own.topic, slot, at) for slot, at in self._done.items()]
            self._done.clear()
            with suppress(KafkaException):
                self._consumer.commit(offsets=offsets, asynchronous=True)

    # reading

    def read(self, limit: int) -> list[tuple[int, list[Fact]]]:
        parts: list[tuple[int, list[Fact]]] = []
        self._read.clear()
        said = self._said()
        if self._waiting or said:
            # Whoever is erased behind this look has his slot's epoch raised: what is read here is not kept.
            self._out.look()
        for slot in sorted(self._waiting.keys() | said.keys()):
            passage, events = self._passage(slot, limit, said.get(slot, ()))
            limit = max(0, limit - len(events))
            if events:
                first = passage.first
                numbered = [
                    Fact(sequence_of(place, slot, self._slots), one)
                    for place, one in enumerate(events, first)
                ]
                self._read[slot] = passage
                parts.append((slot, numbered))
            elif passage.bad:
                self._step_over(slot, passage)
        return parts

    def _passage(self, slot: int, limit: int, said: Sequence[Said]) -> tuple[Passage, list[Event]]:
        """What comes next in one slot, the topic's events and the nodes' own in one order."""
        arrived = self._waiting.pop(slot, [])
        if len(arrived) > limit:
            arrived, self._waiting[slot] = arrived[:limit], arrived[limit:]
        left = self._waiting.get(slot)
        reach = left[0].offset if left else self._next[slot]
        # Behind its last message a topic may have offsets that nothing stands at.
        seen = reach if left else max(reach, self._end.get(slot, 0))
        ready = [one for one in said if one.before <= seen]
        names: list[int] = []
        bodies: list[bytes] = []
        events: list[Event] = []
        bad: list[Arrived] = []
        turn = iter([*ready, None])
        own = next(turn)
        for message in [*arrived, None]:
            while own is not None and (message is None or own.before <= message.offset):
                names.append(own.name)
                bodies.append(own.body)
                events.append(read_event(own.body))
                own = next(turn)
            if message is None:
                break
            if message.event is None:
                bad.append(message)
                continue
            names.append(number_of_event(message.event.event_id))
            bodies.append(message.body)
            events.append(message.event)
        if (let_in := admitted(events, self._out())) is not events:
            events = list(let_in)
            names = [number_of_event(one.event_id) for one in events]
            bodies = [encode(one) for one in events]
        place = self._held[slot].place
        return Passage(place + 1, names, bodies, reach, [one.id for one in ready], bad), events

    def _said(self) -> dict[int, list[Said]]:
        """What nodes said for our slots and is not decided yet, in its order."""
        found = self._database.rows(
            "select slot, before, id, name, body from said where slot = any(%b::smallint[])"
            " order by slot, before, id",
            list(self._held),
        )
        return {slot: [Said(*row[1:]) for row in rows] for slot, rows in groupby(found, key=itemgetter(0))}

    def _listen(self) -> None:
        """Takes what came in; the group's word comes in the same call."""
        room = max(1, AHEAD - sum(map(len, self._waiting.values())))
        with translated():
            found = self._ours.consume(room, 0)
        for message in found:
            slot, offset = message.partition(), message.offset()
            error = message.error()
            if error is not None:
                self._stumbled(error, slot, offset)
            elif slot in self._held and offset is not None and offset >= self._next[slot]:
                self._next[slot] = offset + 1
                self._waiting.setdefault(slot, []).append(self._arrived(message, slot, offset))

    def _arrived(self, message: "Message", slot: int, offset: int) -> Arrived:
        body = message.value()
        if not isinstance(body, bytes):
            return Arrived(offset, b"", None, "is empty", message.timestamp()[1] * 1_000)
        try:
            event = read_event(body)
        except (msgspec.MsgspecError, ValueError):
            return Arrived(offset, body, None, "is no event of ours", message.timestamp()[1] * 1_000)
        if slot_of(person_key(event), self._slots) != slot:
            wrong = "stands in a partition that is not its person's slot"
            return Arrived(offset, body, None, wrong, message.timestamp()[1] * 1_000)
        return Arrived(offset, body, event)

    def _stumbled(self, error: "KafkaError", slot: int | None, offset: int | None) -> None:
        name = error.name()
        if name == "_PARTITION_EOF":
            if slot in self._held and offset is not None:
                self._end[slot] = offset
        elif name == "_AUTO_OFFSET_RESET":
            if slot not in self._held:
                return
            logger.error(
                "slot %s stands still: what comes next in it is not in the topic any more. It was dropped"
                " before it was decided, or the topic was cut: see docs/how-to/use-kafka-as-the-log.md",
                slot,
            )
        elif error.fatal():
            raise DataError(f"this worker is no member of the group {self._own.group} any more: {name}")
        elif name not in PASSING:
            raise LogError(f"the log's topic cannot be read: {name}")

    def _warned(self, error: "KafkaError") -> None:
        """What the client says of itself; where it concerns reading, reading says it too."""
        logger.debug("the log's topic: %s", error.name())

    # keeping

    def commit(self, decided: Decided) -> None:
        super().commit(decided)
        for move in decided.moves:
            if self._read[move.slot].reach >= 0:
                self._done[move.slot] = self._read[move.slot].reach

    def fire(self, timers: Sequence[tuple[int, str, str]], events: Sequence[Event]) -> int:
        """Turns timers into events behind all that is in the topic now, in one transaction."""
        slots = {slot_of(person_key(event), self._slots) for event in events}
        self._ends = self._asking.ends(slots)
        return super().fire(timers, events)

    def _tell(self, session: Session, events: Sequence[Event]) -> None:
        slots = [slot_of(person_key(event), self._slots) for event in events]
        tell(session, [(slot, self._ends[slot], event) for slot, event in zip(slots, events, strict=True)])

    def _move(self, session: Session, moves: Sequence[Move]) -> Mapping[int, Stretch]:
        """Keeps the events too, so that they can be found; they stand where the cursor then stands."""
        read = [(move.slot, self._read[move.slot]) for move in moves]
        found = session.rows(
            "insert into event (slot, name, body) select slot, name, body"
            " from unnest(%b::smallint[], %b::bigint[], %b::bytea[])"
            " with ordinality as one(slot, name, body, place) order by place returning slot, id, day",
            smallints([slot for slot, passage in read for _ in passage.names]),
            bigints([name for _, passage in read for name in passage.names]),
            bodies([body for _, passage in read for body in passage.bodies]),
        )
        day = found[0][2]
        rows = {slot: [id_ for _, id_, _ in mine] for slot, mine in groupby(found, key=itemgetter(0))}
        session.rows(
            "update cursor set xid = pg_current_xact_id(), id = one.id, place = one.place,"
            f" reach = one.reach, day = {TODAY},"
            " policy = coalesce(one.policy, cursor.policy), cuts = coalesce(one.cuts, cursor.cuts),"
            " value = coalesce(one.value, cursor.value)"
            " from unnest(%b::smallint[], %b::bigint[], %b::bigint[], %b::bigint[], %b::text[],"
            " %b::text[], %b::text[]) as one(slot, id, place, reach, policy, cuts, value)"
            " where cursor.slot = one.slot",
            [move.slot for move in moves],
            [rows[move.slot][-1] for move in moves],
            [place_in_slot(move.position, self._slots)[0] for move in moves],
            [_kept(self._read[move.slot].reach) for move in moves],
            [move.policy for move in moves],
            [move.cuts for move in moves],
            [move.value for move in moves],
        )
        said = [(slot, id_) for slot, passage in read for id_ in passage.said]
        if said:
            session.rows(
                "delete from said using unnest(%b::smallint[], %b::bigint[]) as one(slot, id)"
                " where said.slot = one.slot and said.id = one.id",
                [slot for slot, _ in said],
                [id_ for _, id_ in said],
            )
        _quarantine(session, [bad for _, passage in read for bad in passage.bad])
        return {slot: Stretch(passage.first, rows[slot], "", day) for slot, passage in read}

    def _step_over(self, slot: int, passage: Passage) -> None:
        """Where nothing else was read, what is no event goes to the quarantine by itself."""
        lease = self._held[slot]
        with self._database.transaction() as session:
            moved = session.changed(
                "update cursor set reach = %s where slot = %s and epoch = %s and place = %s",
                _kept(passage.reach),
                slot,
                lease.epoch,
                lease.place,
            )
            if not moved:
                raise Overtaken("another process decides 1 of these slots")
            _quarantine(session, passage.bad)
        self._done[slot] = passage.reach


def _kept(reach: int) -> int | None:
    return reach if reach >= 0 else None


def _quarantine(session: Session, bad: Sequence[Arrived]) -> None:
    if not bad:
        return
    logger.warning("%d messages of the log's topic are no events of ours: see the quarantine", len(bad))
    session.rows(
        "insert into quarantine (received_us, source, field, rule, body)"
        " select received_us, 'topic', 'message', convert_to(rule, 'utf8'), body"
        " from unnest(%b::bigint[], %b::text[], %b::bytea[])"
        " with ordinality as one(received_us, rule, body, place) order by place",
        numbers(one.at_us for one in bad),
        [one.wrong for one in bad],
        [one.body for one in bad],
    )
