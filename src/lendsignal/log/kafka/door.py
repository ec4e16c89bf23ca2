"""Taking events in where a topic is the log: durable once every replica in sync has them."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

from lendsignal.errors import LogError
from lendsignal.log.erasing import admitted
from lendsignal.log.kafka.client import Asking, translated, words_of
from lendsignal.log.kafka.looking import undecided
from lendsignal.log.log import Fact
from lendsignal.log.packing import encode
from lendsignal.log.postgres.connection import Database
from lendsignal.log.postgres.door import DoorLog
from lendsignal.log.postgres.erasing import kept_out_now
from lendsignal.log.slots import sequence_of, slot_of
from lendsignal.log.store import KafkaSettings
from lendsignal.model import Event, person_key
from lendsignal.plan import Verdict

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer

logger = logging.getLogger(__name__)

LARGEST_BYTES = 6_000_000
"""Of one event: the door takes no larger request."""

LOOKED_THROUGH = 20_000
"""Of what waits in the topic so many events are looked through for one id: who has just told it finds it."""

CLIENT = {
    "acks": "all",
    # A request that is sent again after a silence puts nothing in twice, and keeps the order.
    "enable.idempotence": True,
    # No message gives up by itself, or one behind it could still arrive: we give up all of them together.
    "message.timeout.ms": 0,
    "linger.ms": 2,
    "message.max.bytes": LARGEST_BYTES,
    "delivery.report.only.error": True,
}
"""Settings of Kafka's client (librdkafka's CONFIGURATION.md)."""


class TopicDoor(DoorLog):
    """The log as a door sees it: events go to the topic; what else a door keeps stands in PostgreSQL.

    While PostgreSQL is away events are durable all the same.
    """

    def __init__(self, database: Database, topic: KafkaSettings, slots: int) -> None:
        super().__init__(database, slots)
        self._parts = slots
        self._topic = topic
        self._writer = TopicWriter(topic)
        self._asking = Asking(topic)

    def append(self, events: Sequence[Event], *, imported: tuple[str, str, int, bool] | None = None) -> int:
        """Makes events durable in this order; an import moves on after its rows, and not with them.

        Raises `LogError` where not all of them are known to be in the topic: some may be. Who says them
        again finds them to be duplicates.
        """
        bodies = [encode(event) for event in events]
        self._writer.write([slot_of(person_key(event), self._parts) for event in events], bodies)
        if imported is not None:
            super().append([], imported=imported)
        return 0

    def find(self, event_id: str) -> list[tuple[Fact, Verdict | None]]:
        """The events of that id, oldest first, each with its verdict; `None` where it is not decided yet.

        Where much waits to be decided, only the youngest of that is looked through: `LOOKED_THROUGH`.
        """
        # First: what is decided meanwhile is found then, and not missed in between.
        waiting, away = self._waiting(event_id)
        found = super().find(event_id)
        if away is not None and not found:
            raise away
        decided = {fact.seq for fact, _ in found}
        return [*found, *((fact, None) for fact in waiting if fact.seq not in decided)]

    def _waiting(self, event_id: str) -> tuple[list[Fact], LogError | None]:
        """What of that id waits in the topic, but of who was erased; or why nobody knows."""
        try:
            every = undecided(self._database, self._topic, self._asking, LOOKED_THROUGH)
            found = [one for one in every if one.event.event_id == event_id]
            if not found:
                return [], None
            with self._database.transaction() as session:
                known = kept_out_now(session)
        except LogError as error:
            return [], error
        return [
            Fact(sequence_of(one.place, one.slot, self._parts), one.event)
            for one in found
            if admitted([one.event], known)[0] is one.event
        ], None

    def close(self) -> None:
        """Lets Kafka's client go."""
        self._writer.close()


class TopicWriter:
    """Puts messages into the slots' partitions, one call after the other. Safe to share between threads."""

    def __init__(self, own: KafkaSettings) -> None:
        self._own = own
        self._seconds = own.timeout / timedelta(seconds=1)
        self._lock = Lock()
        self._producer: Producer | None = None
        self._refused: KafkaError | None = None

    def write(self, slots: Sequence[int], bodies: Sequence[bytes]) -> None:
        """Returns once every replica in sync has all of them; raises `LogError` where that is not known."""
        with self._lock, translated():
            producer = self._made()
            until = monotonic() + self._seconds
            try:
                for slot, body in zip(slots, bodies, strict=True):
                    self._put(producer, slot, body, until)
                left = producer.flush(max(0.0, until - monotonic()))
            except BaseException:
                self._give_up(producer)
                raise
            if left or self._refused is not None:
                why = "no answer in time" if self._refused is None else self._refused.name()
                self._give_up(producer)
                raise LogError(f"Kafka does not take it: {why}")

    def close(self) -> None:
        with self._lock:
            self._producer = None

    def _put(self, producer: "Producer", slot: int, body: bytes, until: float) -> None:
        while True:
            try:
                producer.produce(self._own.topic, body, partition=slot)
                return
            except BufferError:
                if monotonic() > until:
                    raise LogError("Kafka does not take it: too much waits for it") from None
                producer.poll(0.05)

    def _made(self) -> "Producer":
        if self._producer is None:
            from confluent_kafka import Producer

            words: dict[str, Any] = {**words_of(self._own), **CLIENT}
            self._producer = Producer(words | {"on_delivery": self._told, "error_cb": self._warned})
        self._refused = None
        return self._producer

    def _give_up(self, producer: "Producer") -> None:
        """What this client may still send must not arrive behind what the next one sends."""
        producer.purge()
        producer.flush(0)
        self._producer = None

    def _told(self, error: "KafkaError | None", message: "Message") -> None:
        self._refused = error or self._refused

    def _warned(self, error: "KafkaError") -> None:
        """What goes on behind the messages: a broker that comes and goes is none of our callers' concern."""
        logger.debug("the log's topic: %s", error.name())
        if error.fatal():
            self._refused = error
