"""Which log a cluster has, by its configuration: PostgreSQL's own, or a topic. Above here nobody asks.

A node whose configuration names another log than the store was made for is refused.
"""

from collections.abc import Iterator
from functools import lru_cache

from lendsignal.errors import LogError
from lendsignal.log.kafka import TopicDoor, TopicRules, TopicSlots
from lendsignal.log.kafka.client import Asking
from lendsignal.log.kafka.looking import undecided
from lendsignal.log.kafka.making import described, noted_topic
from lendsignal.log.postgres import Database, DoorLog, Leases, RuleRows, SlotLog, slots_of
from lendsignal.log.postgres.slots import SlotRows
from lendsignal.log.store import KafkaSettings, StoreSettings
from lendsignal.model import Event


def door_of(store: StoreSettings, database: Database) -> DoorLog:
    """The log as a door sees it. Raises `LogError` where neither the store nor the topic can be reached.

    A door to a topic needs nothing of PostgreSQL to take events: the topic's partitions are the slots. Only
    where it answers is it asked whether workers read that very topic.
    """
    if store.kafka is None:
        slots = slots_of(database)
        _refuse_other_log(database)
        return DoorLog(database, slots)
    found = described(Asking(store.kafka), store.kafka.topic)
    if found is None:
        raise LogError(f"there is no topic {store.kafka.topic} yet: `lendsignal store prepare` makes it")
    _refuse_other_topic(database, store.kafka.topic, found.id)
    return TopicDoor(database, store.kafka, found.partitions)


def slots_of_worker(store: StoreSettings, database: Database, leases: Leases, slots: int) -> SlotRows:
    """The log as a worker sees it."""
    if store.kafka is not None:
        return TopicSlots(database, leases, store.kafka, slots)
    _refuse_other_log(database)
    return SlotLog(database, leases, slots)


def rules_of(store: StoreSettings, database: Database) -> RuleRows:
    """The rules, for who puts some in force."""
    if store.kafka is not None:
        return TopicRules(database, store.kafka, slots_of(database))
    _refuse_other_log(database)
    return RuleRows(database)


def waiting_in_topic(store: StoreSettings, database: Database) -> int:
    """How much is durable in the topic and not decided; 0 where PostgreSQL is the log.

    Offsets at which nothing stands count too. Raises `LogError` where one of the two does not answer.
    """
    if store.kafka is None:
        return 0
    reached = dict(database.rows("select slot, coalesce(reach, 0) from cursor"))
    ends = _asking(store.kafka).ends(reached)
    said = database.row("select count(*) from said")
    in_topic: int = sum(max(0, end - reached[slot]) for slot, end in ends.items())
    return in_topic + (0 if said is None else int(said[0]))


def undecided_in_topic(store: StoreSettings, database: Database) -> Iterator[Event]:
    """What is durable in the topic and not decided; nothing where PostgreSQL is the log.

    Raises `LogError` where one of the two does not answer.
    """
    if store.kafka is None:
        return iter(())
    return (one.event for one in undecided(database, store.kafka, _asking(store.kafka)))


def standing_still(topic: KafkaSettings, database: Database) -> list[int]:
    """Slots whose next event is not in the topic any more. Raises as `waiting_in_topic`."""
    reached = dict(database.rows("select slot, reach from cursor where reach is not null"))
    starts = _asking(topic).starts(reached)
    return sorted(slot for slot, start in starts.items() if reached[slot] < start)


@lru_cache(maxsize=1)
def _asking(topic: KafkaSettings) -> Asking:
    """One client for all questions of a process."""
    return Asking(topic)


def _refuse_other_topic(database: Database, name: str, number: str) -> None:
    """Raises `LogError` where nobody would read what goes into this topic, as far as the store says."""
    try:
        noted = noted_topic(database)
    except LogError:
        return
    if noted is None:
        raise LogError("the store was not made for a topic: `lendsignal store prepare` does that")
    if noted != (name, number):
        raise LogError(f"the log is the topic {noted[0]}, and what goes into this {name} is read by nobody")


def _refuse_other_log(database: Database) -> None:
    if noted_topic(database) is not None:
        raise LogError("the log of this store is a topic: the configuration must have its [store.kafka]")
