"""What stands in the topic and is not decided yet, for who looks something up: looking takes nothing."""

from collections.abc import Iterator, Mapping
from time import monotonic

import msgspec
from msgspec import Struct

from lendsignal.errors import LogError
from lendsignal.log.kafka.client import Asking, translated, words_of
from lendsignal.log.postgres.connection import Database
from lendsignal.log.postgres.rows import read_event
from lendsignal.log.store import KafkaSettings
from lendsignal.model import Event

LOOK_SECONDS = 5.0
"""How long the topic may say nothing before a look is given up."""

AT_ONCE = 1_000


class Undecided(Struct, frozen=True):
    """An event that waits in the topic. It will be the `place`-th of its slot, if nothing that nodes say
    comes before it."""

    slot: int
    place: int
    event: Event


def undecided(
    database: Database, own: KafkaSettings, asking: Asking, most: int | None = None
) -> Iterator[Undecided]:
    """What waits now, of each slot in its order, also of who was erased since; nothing of what is no event.

    `most`: so many at most in all, of each slot the youngest. Raises `LogError` where the store or the topic
    does not answer.
    """
    reached = {slot: (reach or 0, place) for slot, reach, place in _cursors(database)}
    ends = asking.ends(reached, patience=0)  # who looks something up comes again
    behind = {slot: (reached[slot][0], end) for slot, end in ends.items() if end > reached[slot][0]}
    if not behind:
        return
    if most is not None:
        each = max(1, most // len(behind))
        behind = {slot: (max(start, end - each), end) for slot, (start, end) in behind.items()}
    for slot, offset, body in _messages(own, behind):
        try:
            event = read_event(body)
        except (msgspec.MsgspecError, ValueError):
            continue
        reach, place = reached[slot]
        yield Undecided(slot, place + 1 + offset - reach, event)


def _cursors(database: Database) -> list[tuple[int, int | None, int]]:
    return database.rows("select slot, reach, place from cursor order by slot")


def _messages(own: KafkaSettings, wanted: Mapping[int, tuple[int, int]]) -> Iterator[tuple[int, int, bytes]]:
    """What stands in each slot from one offset on and before another: slot, offset, body.

    Read as nobody's member: it has the group's name because a user may have rights for that alone.
    """
    from confluent_kafka import Consumer, TopicPartition

    words = words_of(own) | {
        "group.id": own.group,
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",  # what retention has dropped is not there to be found
    }
    left = dict(wanted)
    with translated():
        consumer = Consumer(words)
    try:
        with translated():
            consumer.assign([TopicPartition(own.topic, slot, start) for slot, (start, _) in wanted.items()])
        until = monotonic() + LOOK_SECONDS
        while left:
            with translated():
                found = consumer.consume(AT_ONCE, 0.1)
            if found:
                until = monotonic() + LOOK_SECONDS
            elif monotonic() > until:
                raise LogError("Kafka does not answer")
            for message in found:
                slot, offset, error = message.partition(), message.offset() or 0, message.error()
                if slot not in left:
                    continue
                is_over = offset >= left[slot][1] or (error is not None and error.name() == "_PARTITION_EOF")
                body = message.value()
                if error is None and not is_over and isinstance(body, bytes):
                    yield slot, offset, body
                if is_over or (error is None and offset + 1 >= left[slot][1]):
                    del left[slot]
    finally:
        consumer.close()
