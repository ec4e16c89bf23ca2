"""The topic and the tables beside it: made once, and looked at by whoever starts to work on them."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from threading import Event
from time import monotonic
from typing import Any

from msgspec import Struct

from lendsignal.errors import LogError
from lendsignal.log.kafka.client import ASK_SECONDS, Asking, translated
from lendsignal.log.kafka.door import LARGEST_BYTES
from lendsignal.log.postgres.connection import Database, Session
from lendsignal.log.postgres.schema import LOCK
from lendsignal.log.store import KafkaSettings

SCHEMA = (
    """create table if not exists topic (   -- one row: what is the log
        one boolean primary key default true check (one),
        name text not null,
        id text not null                    -- of this topic and no later one of its name
    )""",
    """create table if not exists said (    -- what nodes themselves say: timers that fired, new rules
        slot smallint not null,
        before bigint not null,             -- the offset of the slot's event that it comes before
        id bigint not null default nextval('event_id'),
        name bigint not null,               -- of event_id: numbers.number_of_event
        body bytea not null,                -- msgpack of model.Event
        primary key (slot, before, id)
    ) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)""",
)

REACH = "alter table cursor add column reach bigint"
"""The offset of the slot's next event; null: nothing of the topic was decided yet."""

MAKE_SECONDS = 30.0
"""How long a cluster may take to make a topic."""

MILLISECOND = timedelta(milliseconds=1)


class Topic(Struct, frozen=True, kw_only=True):
    """A topic as the cluster describes it. `config` are its settings in Kafka's words."""

    id: str
    partitions: int
    replicas: int
    config: Mapping[str, str]


class PreparedTopic(Struct, frozen=True, kw_only=True):
    """What `prepare_topic` came to: whether it made the topic, and what is wrong with one that was there."""

    made: bool
    problems: tuple[str, ...]


def prepare_topic(
    database: Database, own: KafkaSettings, slots: int, *, dry_run: bool = False
) -> PreparedTopic:
    """Makes the topic and the tables that go with it, or says what is wrong with those that are there.

    Raises `LogError` where the log was another one before: a topic that is not decided to its end cannot be
    changed for another, nor can PostgreSQL's log while events wait in it.
    """
    asking = Asking(own)
    found = described(asking, own.topic)
    if dry_run:
        return PreparedTopic(made=found is None, problems=tuple(problems(found, own, slots) if found else ()))
    with database.transaction() as session:
        session.rows(f"select pg_advisory_xact_lock({LOCK})")
        _make_tables(session)
        _refuse_what_waits(session)
    made = found is None
    if found is None:
        found = _made(asking, own, slots)
    wrong = tuple(problems(found, own, slots))
    if found.partitions != slots:
        raise LogError(wrong[0])
    with database.transaction() as session:
        _note(session, own.topic, found.id)
    return PreparedTopic(made=made, problems=wrong)


def drop_topic(own: KafkaSettings) -> None:
    """Takes the topic away, with all that is in it."""
    asking = Asking(own)  # held until it has its answer
    with translated():
        asking.admin.delete_topics([own.topic], request_timeout=MAKE_SECONDS)[own.topic].result(MAKE_SECONDS)


def check_topic(database: Database, own: KafkaSettings) -> None:
    """Raises `LogError` where the tables were not made for this very topic."""
    if database.row("select to_regclass('topic')::oid") == (None,):
        raise LogError("the store has no tables for a topic yet: `lendsignal store prepare` makes them")
    noted = database.row("select name, id from topic")
    if noted is None or noted[0] != own.topic:
        raise LogError(f"the log is {noted[0] if noted else 'no topic yet'}, and not {own.topic}")
    found = described(Asking(own), own.topic)
    if found is None or found.id != noted[1]:
        raise LogError(f"the topic {own.topic} is not the one that the slots were decided from")


def noted_topic(database: Database) -> tuple[str, str] | None:
    """Name and id of the topic that the tables were made for; `None`: PostgreSQL's own log."""
    if database.row("select to_regclass('topic')::oid") == (None,):
        return None
    found = database.row("select name, id from topic")
    return None if found is None else (found[0], found[1])


def problems(found: Topic, own: KafkaSettings, slots: int) -> Iterator[str]:
    """What is wrong with a topic; the number of its partitions comes first."""
    if found.partitions != slots:
        yield (
            f"{own.topic} has {found.partitions} partitions, and there are {slots} slots: the two must be"
            " equal from the beginning, for nobody changes slots"
        )
    if found.replicas < own.replicas:
        yield f"{own.topic} has {found.replicas} copies of a partition, and {own.replicas} are wanted"
    in_sync = int(found.config.get("min.insync.replicas", "1"))
    if in_sync < own.in_sync:
        yield f"min.insync.replicas is {in_sync}, and {own.in_sync} are wanted: set it for {own.topic}"
    policy = found.config.get("cleanup.policy", "delete")
    if policy != "delete":
        yield f"cleanup.policy is {policy}: events would be thrown out of the middle; set it to delete"
    if found.config.get("unclean.leader.election.enable") == "true":
        yield "unclean.leader.election.enable is on: what was durable could be lost; turn it off"
    keep_ms = int(found.config.get("retention.ms", "-1"))
    if 0 <= keep_ms < own.keep_for // MILLISECOND:
        yield f"retention.ms is {keep_ms}, which is less than keep_for = {own.keep_for}"
    largest = int(found.config.get("max.message.bytes", LARGEST_BYTES))
    if largest < LARGEST_BYTES:
        yield f"max.message.bytes is {largest}: an event may have {LARGEST_BYTES}"


def topic_problems(own: KafkaSettings, slots: int) -> tuple[str, ...]:
    """What is wrong with the topic as it is now. Raises `LogError` where there is none."""
    found = described(Asking(own), own.topic)
    if found is None:
        raise LogError(f"there is no topic {own.topic}")
    return tuple(problems(found, own, slots))


def described(asking: Asking, topic: str) -> Topic | None:
    """The topic as it is; `None`: there is none of that name."""
    from confluent_kafka import KafkaException, TopicCollection
    from confluent_kafka.admin import ConfigResource, ResourceType  # type: ignore[attr-defined]

    with translated():
        answers = asking.admin.describe_topics(TopicCollection([topic]), request_timeout=ASK_SECONDS)
        try:
            said: Any = answers[topic].result(ASK_SECONDS)
        except KafkaException as error:
            if error.args[0].name() in ("UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC"):
                return None
            raise
        resource = ConfigResource(ResourceType.TOPIC, topic)
        asked = asking.admin.describe_configs([resource], request_timeout=ASK_SECONDS)
        config = asked[resource].result(ASK_SECONDS)
    return Topic(
        id=str(said.topic_id),
        partitions=len(said.partitions),
        replicas=min(len(one.replicas) for one in said.partitions),
        config={name: str(entry.value) for name, entry in config.items()},
    )


def _made(asking: Asking, own: KafkaSettings, slots: int) -> Topic:
    """The topic, once the broker that is asked has heard of it."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

    topic = NewTopic(
        own.topic,
        num_partitions=slots,
        replication_factor=own.replicas,
        config={
            "min.insync.replicas": str(own.in_sync),
            "cleanup.policy": "delete",
            "retention.ms": str(own.keep_for // MILLISECOND),
            "max.message.bytes": str(LARGEST_BYTES),
            "unclean.leader.election.enable": "false",
        },
    )
    with translated():
        try:
            asking.admin.create_topics([topic], request_timeout=MAKE_SECONDS)[own.topic].result(MAKE_SECONDS)
        except KafkaException as error:
            if (
                error.args[0].name() != "TOPIC_ALREADY_EXISTS"
            ):  # somebody else was faster, or not heard of yet
                raise
    until, breath = monotonic() + MAKE_SECONDS, Event()
    while monotonic() < until:
        found = described(asking, own.topic)
        if found is not None:
            asking.ends(range(found.partitions), MAKE_SECONDS)  # each has its leader by now
            return found
        breath.wait(0.1)
    raise LogError(f"the topic {own.topic} was made, and is not there yet: try again")


def _make_tables(session: Session) -> None:
    for statement in SCHEMA:
        session.rows(statement)
    column = session.row(
        "select 1 from pg_attribute where attrelid = 'cursor'::regclass and attname = 'reach'"
    )
    if column is None:  # asked first: to add it needs the table for itself
        session.rows(REACH)


def _refuse_what_waits(session: Session) -> None:
    waiting = session.row(
        "select count(*) from event join cursor using (slot)"
        " where (event.xid, event.id) > (cursor.xid, cursor.id)"
    )
    if waiting is not None and waiting[0]:
        raise LogError(
            f"{waiting[0]} events wait in PostgreSQL: let the workers decide them before a topic is the log"
        )


def _note(session: Session, name: str, number: str) -> None:
    before = session.row("select name, id from topic")
    if before is not None and before != (name, number):
        begun = session.row("select count(*) from cursor where reach is not null")
        if begun is not None and begun[0]:
            raise LogError(
                f"{begun[0]} slots were decided from another topic ({before[0]}, {before[1]}):"
                " their places mean nothing in this one"
            )
    session.rows(
        "insert into topic (name, id) values (%s, %s)"
        " on conflict (one) do update set name = excluded.name, id = excluded.id",
        name,
        number,
    )
