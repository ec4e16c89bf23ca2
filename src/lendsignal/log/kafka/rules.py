"""Rules where a topic is the log: put in force by one transaction, at a place among each slot's events."""

from collections.abc import Sequence

from lendsignal.log.kafka.client import Asking
from lendsignal.log.numbers import number_of_event
from lendsignal.log.packing import encode
from lendsignal.log.postgres.connection import Database, Session
from lendsignal.log.postgres.rulebook import RuleRows
from lendsignal.log.store import KafkaSettings
from lendsignal.model import Event


class TopicRules(RuleRows):
    """Every set of rules there ever was. In each slot a new one stands behind all events that are durable."""

    def __init__(self, database: Database, topic: KafkaSettings, slots: int) -> None:
        super().__init__(database)
        self._parts = slots
        self._asking = Asking(topic)

    def _put(self, kind: str, version: str, body: bytes, events: Sequence[Event]) -> bool:
        # A topic that is new, or whose leaders move, is waited for before anything is locked.
        self._asking.ends(range(self._parts))
        return super()._put(kind, version, body, events)

    def _tell_all(self, session: Session, events: Sequence[Event]) -> None:
        ends = self._asking.ends(range(self._parts))
        tell(
            session,
            [(slot, end, event) for event in events for slot, end in sorted(ends.items())],
        )


def tell(session: Session, said: Sequence[tuple[int, int, Event]]) -> None:
    """Has nodes' own events decided, each in its slot before the topic's event at that offset."""
    if said:
        session.rows(
            "insert into said (slot, before, name, body) select slot, before, name, body"
            " from unnest(%b::smallint[], %b::bigint[], %b::bigint[], %b::bytea[])"
            " with ordinality as one(slot, before, name, body, place) order by place",
            [slot for slot, _, _ in said],
            [before for _, before, _ in said],
            [number_of_event(event.event_id) for _, _, event in said],
            [encode(event) for _, _, event in said],
        )
