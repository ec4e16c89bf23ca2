"""Events out of Kafka topics: JSON objects, or the changes that Debezium tells of an outbox or a table.

The group's offsets move only behind what the door has made durable. An event without an id gets one from
what makes its message the same message: the outbox row, the changed row's key, or topic, partition and
offset. So a message that is read again, after a crash or by another member of the group, is the same event.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from lendsignal.destination.kafka import client_settings, problem_with_cluster
from lendsignal.errors import InputError, Problem, PullError
from lendsignal.model import Secret, reveal
from lendsignal.source.files.rows import Row, flat
from lendsignal.source.kinds import Kit
from lendsignal.source.pull import Batch, Feed, Pulled, Unread
from lendsignal.source.reading import read_json
from lendsignal.source.rowmap import RowMap, Rows, problems_of_rows

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

logger = logging.getLogger(__name__)

WAIT_SECONDS = 1.0
"""How long one reading waits for a message."""

ASK_SECONDS = 5.0
"""How long a cluster that seems gone may take to answer."""

CLIENT: Mapping[str, Any] = {
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    # A member that was killed is missed after so long: its partitions go to the others, or its next life.
    "session.timeout.ms": 10_000,
    # A door that is not there for a while is waited for: only a member that is dead loses its partitions.
    "max.poll.interval.ms": 3_600_000,
    # Its own lines would bypass our log; what matters comes by `error_cb`.
    "log_level": 0,
}
"""Settings of Kafka's client that are the same for every pull (librdkafka's CONFIGURATION.md)."""

NOT_ALLOWED = frozenset(
    "_AUTHENTICATION _SSL SASL_AUTHENTICATION_FAILED TOPIC_AUTHORIZATION_FAILED GROUP_AUTHORIZATION_FAILED "
    "CLUSTER_AUTHORIZATION_FAILED".split()
)

REMOVED = frozenset("dtm")
"""Debezium's words for a row that was deleted, a table that was emptied, and a message that is no row."""


class Settings(RowMap, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Topics of a cluster, and what their messages are.

    `brokers`: where to ask for the cluster; the brokers that it names itself are reached too. `group`: the
    members of a group share its topics, each partition is one member's at a time.
    """

    brokers: Annotated[
        tuple[str, ...],
        Meta(min_length=1, description="addresses to start from", examples=[["kafka-1.acme.example:9093"]]),
    ]
    topic: Annotated[str | tuple[str, ...], Meta(description="the topic, or several", examples=["loans"])]
    format: Annotated[
        Literal["json", "debezium"],
        Meta(
            description="json: each message is an object; debezium: a change, or what its event router made"
        ),
    ] = "json"
    payload: Annotated[
        str | None,
        Meta(description="the column of an outbox row that holds the event; by default payload, else event"),
    ] = None
    group: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="the consumer group; by default lendsignal- and the pull's name"),
    ] = None
    start: Annotated[
        Literal["earliest", "latest"],
        Meta(description="where a group that has read nothing begins: everything, or only what is new"),
    ] = "earliest"
    tls: Annotated[bool, Meta(description="whether the connection is encrypted")] = True
    sasl: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None, Meta(description="how to sign in")
    ] = None
    username: Annotated[str | None, Meta(description="who signs in")] = None
    password: Annotated[Secret | None, Meta(description="the password of that user")] = None
    ca: Annotated[Secret | None, Meta(description="the authority that signed the brokers, in PEM")] = None
    certificate: Annotated[Secret | None, Meta(description="the client's certificate, in PEM")] = None
    private_key: Annotated[Secret | None, Meta(description="the client's private key, in PEM")] = None


def problems(settings: Settings) -> Iterator[Problem]:
    """What types cannot tell is wrong."""
    wrong = problem_with_cluster(settings)
    if wrong is not None:
        yield Problem("brokers", wrong, "brokers, TLS and a way to sign in that fit each other")
    if not all(_topics(settings)) or not _topics(settings):
        yield Problem("topic", repr(settings.topic), "the name of a topic, or several")
    if settings.payload is not None and (settings.format == "json" or settings.event):
        yield Problem(
            "payload", repr(settings.payload), 'nothing, or format = "debezium" without event rules'
        )
    yield from problems_of_rows(settings)


def feed(settings: Settings, kit: Kit) -> Feed:
    """The feed, which joins its group in time. Raises `PullError` where the client cannot be made."""
    return KafkaFeed(settings, kit)


class Said(Struct, frozen=True):
    """What a message says: an event, or a row, and what makes it the same one; `None`: its place."""

    whole: dict[str, Any]
    same: tuple[str, ...] | None = None


class KafkaFeed:
    """A member of the group, for one thread."""

    waits_itself = True

    def __init__(self, settings: Settings, kit: Kit) -> None:
        # Imported here: who pulls nothing from Kafka does without its client.
        from confluent_kafka import Consumer, KafkaException

        self._settings = settings
        self._kit = kit
        self._rows = Rows(kit.name, settings)
        self._read: dict[tuple[str, int], int] = {}
        self._durable: dict[tuple[str, int], int] = {}
        self._mine: set[tuple[str, int]] | None = None
        self._at_end: set[tuple[str, int]] = set()
        self._trouble: KafkaError | None = None
        secrets = {
            name: reveal(value)
            for name in settings.__struct_fields__
            if isinstance(value := getattr(settings, name), Secret)
        }
        words = client_settings(settings, secrets) | {
            **CLIENT,
            "group.id": settings.group or f"lendsignal-{kit.name}",
            "auto.offset.reset": settings.start,
            "error_cb": self._warned,
        }
        try:
            self._consumer: Consumer = Consumer(words)
            self._consumer.subscribe(
                list(_topics(settings)),
                on_assign=self._assigned,
                on_revoke=self._revoked,
                on_lost=self._lost,
            )
        except (KafkaException, ValueError, TypeError):
            # What it says may repeat a value, and a certificate or a password may be that value.
            raise PullError("unusable", "its client cannot be made: a certificate or a key") from None

    def read(self, mark: bytes | None, limit: int) -> Batch:
        """What has come, waiting a moment for the first. The mark is the broker's to keep."""
        from confluent_kafka import KafkaException

        try:
            first = self._consumer.poll(WAIT_SECONDS)
            found = [] if first is None else [first, *self._consumer.consume(limit - 1, 0)]
        except KafkaException as failure:
            raise _pull_error(failure.args[0]) from None
        events: list[Pulled] = []
        unread: list[Unread] = []
        rows, oldest_ms = 0, None
        for message in found:
            error = message.error()
            if error is not None:
                self._stumbled(message, error)
                continue
            made, bad = self._pulled(message)
            events += made
            unread += bad
            rows += 1
            place = _place(message)
            self._read[place] = (message.offset() or 0) + 1
            self._at_end.discard(place)
            kind, at_ms = message.timestamp()
            if kind:
                oldest_ms = at_ms if oldest_ms is None else min(oldest_ms, at_ms)
        if not rows:
            self._look_after()
        at_end = self._mine is not None and self._mine <= self._at_end
        behind = timedelta(0) if at_end and not rows else self._behind(oldest_ms)
        return Batch(events=events, unread=unread, rows=rows, more=not at_end, behind=behind)

    def kept(self, batch: Batch) -> None:
        """Commits the offsets behind what was read. One that is not taken goes with the next ones; should it
        never go, its messages are read again, as the same events."""
        self._durable |= self._read
        self._read.clear()
        self._commit()

    def close(self) -> None:
        """Leaves the group."""
        try:
            self._consumer.close()
        except RuntimeError:
            return  # it was closed before

    # messages

    def _pulled(self, message: "Message") -> tuple[list[Pulled], list[Unread]]:
        topic, partition = _place(message)
        offset = message.offset() or 0
        where = f"{topic} partition {partition} offset {offset}"
        value = message.value()
        try:
            said = self._said(message, value)
        except InputError as error:
            body = value if isinstance(value, bytes) else b""
            return [], [Unread(where=where, field=error.field, rule=error.rule, body=body)]
        if said is None:
            return [], []
        row = Row(offset, None, dict(flat(said.whole)), said.whole)
        made, bad = self._rows.pulled(row, where, said.same or (topic, str(partition), str(offset)))
        if not self._settings.event:
            # A message or an outbox row never changes: its event's id is all there is to remember of it.
            made = [msgspec.structs.replace(one, key=None, content=b"") for one in made]
        return made, bad

    def _said(self, message: "Message", value: object) -> Said | None:
        """What a message says; `None` where it only says that something went away. Raises `InputError`."""
        if not isinstance(value, bytes):
            if self._settings.format == "debezium":
                return None  # what follows a deletion, so that the topic can be compacted
            raise InputError("message", "is empty")
        if self._settings.format == "json":
            return Said(read_json(value))
        return self._change(message, _unwrapped(value))

    def _change(self, message: "Message", found: dict[str, Any] | None) -> Said | None:
        """A change as Debezium tells it, or what its outbox event router made of one."""
        if found is None:
            return None
        if not _is_change(found):
            headers = dict(message.headers() or [])
            number = headers.get("id")
            return Said(
                found, ("id", number.decode("utf-8", "replace")) if isinstance(number, bytes) else None
            )
        row = found.get("after")
        if found["op"] in REMOVED or row is None:
            return None
        if not isinstance(row, dict):
            raise InputError("after", "must be the row as an object")
        if self._settings.event:
            key = message.key()
            return Said(row, ("key", key.hex()) if isinstance(key, bytes) else None)
        number = row.get("id")
        return Said(self._event_in(row), None if number is None else ("id", str(number)))

    def _event_in(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The event in an outbox row."""
        named = self._settings.payload
        for name in ("payload", "event") if named is None else (named,):
            event = row.get(name)
            if isinstance(event, dict):
                return event
            if isinstance(event, str):
                return read_json(event.encode())
        raise InputError("after", f"has no event in {named or 'payload, nor in event'}")

    # the group

    def _assigned(self, consumer: "Consumer", partitions: Sequence["TopicPartition"]) -> None:
        self._mine = {(one.topic, one.partition) for one in partitions}
        self._at_end.clear()

    def _revoked(self, consumer: "Consumer", partitions: Sequence["TopicPartition"]) -> None:
        """What is durable is committed before another member goes on behind it; what was only read is not."""
        self._commit()
        self._lost(consumer, partitions)

    def _lost(self, consumer: "Consumer", partitions: Sequence["TopicPartition"]) -> None:
        self._read.clear()
        self._durable.clear()
        self._mine = None

    def _commit(self) -> None:
        from confluent_kafka import KafkaException, TopicPartition

        if not self._durable:
            return
        offsets = [TopicPartition(topic, partition, end) for (topic, partition), end in self._durable.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            logger.info("pull %s: its offsets are not taken yet: %s", self._kit.name, error.args[0].name())
        else:
            self._durable.clear()

    # trouble

    def _warned(self, error: "KafkaError") -> None:
        """The client's troubles that concern no message, told while reading."""
        if error.name() in NOT_ALLOWED or error.name() == "_ALL_BROKERS_DOWN":
            self._trouble = error

    def _stumbled(self, message: "Message", error: "KafkaError") -> None:
        if error.name() == "_PARTITION_EOF":
            self._at_end.add(_place(message))
        else:
            self._trouble = error

    def _look_after(self) -> None:
        """Raises `PullError` where the trouble of a while ago lasts: a broker that comes and goes is none."""
        from confluent_kafka import KafkaException

        trouble, self._trouble = self._trouble, None
        if trouble is None:
            return
        if trouble.name() == "_ALL_BROKERS_DOWN":
            try:
                self._consumer.list_topics(timeout=ASK_SECONDS)
            except KafkaException as error:
                raise _pull_error(self._trouble or error.args[0]) from None
            return
        raise _pull_error(trouble)

    def _behind(self, oldest_ms: int | None) -> timedelta | None:
        """How old the oldest message is that was just read."""
        if oldest_ms is None:
            return None
        return timedelta(microseconds=max(0, self._kit.clock.now_us() - oldest_ms * 1_000))


def _topics(settings: Settings) -> tuple[str, ...]:
    return (settings.topic,) if isinstance(settings.topic, str) else settings.topic


def _place(message: "Message") -> tuple[str, int]:
    return message.topic() or "", message.partition() or 0


def _is_change(found: Mapping[str, Any]) -> bool:
    """Whether an object is Debezium's envelope of a change, and not an event."""
    return isinstance(found.get("op"), str) and "source" in found and ("after" in found or "before" in found)


def _unwrapped(value: bytes) -> dict[str, Any] | None:
    """The object in a message of Connect: bare, beside its schema, or written as a text. `None`: nothing."""
    try:
        found = msgspec.json.decode(value)
        if isinstance(found, dict) and found.keys() == {"schema", "payload"}:
            found = found["payload"]
            if found is None:
                return None
            value = msgspec.json.encode(found)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None  # `read_json` says what is wrong
    return read_json(found.encode() if isinstance(found, str) else value)


def _pull_error(error: "KafkaError") -> PullError:
    name = error.name()
    if name in NOT_ALLOWED:
        return PullError("unauthorised", f"the cluster does not let it read: {name}")
    if name in ("UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC"):
        return PullError("not_found", "the topic is not there")
    if name in ("_ALL_BROKERS_DOWN", "_TRANSPORT", "_TIMED_OUT", "_RESOLVE"):
        return PullError("unreachable", "no broker answers")
    return PullError("broken", f"Kafka says {name}")
