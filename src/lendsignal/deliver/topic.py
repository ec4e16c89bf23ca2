"""Messages for Kafka: a delivery ends as the brokers report it.

What is handed to Kafka's client may leave at any moment from then on, and the client does not tell of a
message that it gave up whether it had left. So a message is handed over only to a cluster that has just
answered for its topic; until then it waits here, where it is certain that it has not left. After a message
that was given up, the next ones go one at a time until one arrives.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

import msgspec
from msgspec import Struct

from lendsignal.deliver.outlet import Outlet
from lendsignal.deliver.wire import Done, MissingSecret, NoAnswer, Wire, secrets_of
from lendsignal.destination.kafka import Settings, client_settings
from lendsignal.destination.spec import TOPIC_SCHEME, Request, Response

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer

logger = logging.getLogger(__name__)

ASK_SECONDS = 2.0
"""How long one question to the cluster about the topic may take."""

NEVER = float("-inf")

LOOK_SECONDS = 0.1
"""How often messages that wait are looked through for those whose time is over."""

NEAR_SECONDS = 1.0
"""How long after its last word a cluster counts as one that answers."""

CLOSE_SECONDS = 5.0
"""How long a thread may take to end; its question may be on the way."""

DELIVERED, REFUSED = 200, 400
"""The status of a report, in the words of HTTP; the body names partition and offset, or Kafka's error."""

DOUBTFUL = frozenset(
    "_MSG_TIMED_OUT _TIMED_OUT _TIMED_OUT_QUEUE _TRANSPORT _PURGE_QUEUE _PURGE_INFLIGHT _DESTROY _FAIL "
    "_FATAL _GAPLESS_GUARANTEE REQUEST_TIMED_OUT NETWORK_EXCEPTION NOT_ENOUGH_REPLICAS_AFTER_APPEND "
    "OUT_OF_ORDER_SEQUENCE_NUMBER UNKNOWN_PRODUCER_ID INVALID_PRODUCER_EPOCH UNKNOWN".split()
)
"""Errors after which nobody knows whether the message is in the topic."""

NO_PRODUCER = "CLUSTER_AUTHORIZATION_FAILED"
"""What the cluster says to a producer that may write nowhere."""

SIGN_IN = frozenset({"_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED", "_SSL", NO_PRODUCER})
"""Why the cluster does not let us in, where that is for a person to mend."""

CLIENT: Mapping[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    "linger.ms": 1,
    # A topic with a small limit refuses a batch as a whole, and nobody is to be refused for his neighbours.
    "batch.size": 16_384,
    # What a topic that is new, or was never there, is waited for by messages that were handed over.
    "topic.metadata.propagation.max.ms": 5_000,
    # Its own lines would bypass our log; what matters comes by `error_cb`.
    "log_level": 0,
}
"""Settings of Kafka's client that are the same for every topic (librdkafka's CONFIGURATION.md)."""


class Parcel(Protocol):
    """What the sender knows of a message on its way."""

    @property
    def line(self) -> "Queue": ...

    @property
    def request(self) -> Request: ...


class Queue(Protocol):
    """What a parcel waited in."""

    @property
    def outlet(self) -> Outlet: ...


class Inner(Protocol):
    """The network behind: what is no message goes there."""

    def start(self, wire: Wire, token: object, timeout_seconds: float, *, private: bool = True) -> None: ...

    def wait(self, seconds: float) -> list[Done]: ...

    def close(self) -> None: ...

    def __len__(self) -> int: ...


class Reports:
    """What ended, from every topic's thread; the sender's wait ends with it."""

    def __init__(self) -> None:
        self._ended: deque[Done] = deque()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        return self._bell

    def quiet(self) -> None:
        """Takes every ring that waits."""
        try:
            os.eventfd_read(self._bell)
        except BlockingIOError:
            return

    def put(self, done: Done) -> None:
        """One more; any thread may say so."""
        self._ended.append(done)
        os.eventfd_write(self._bell, 1)

    def take(self) -> list[Done]:
        """All there are."""
        found = []
        while self._ended:
            found.append(self._ended.popleft())
        return found

    def close(self) -> None:
        os.close(self._bell)


class Courier:
    """A network that gives messages to Kafka and hands on the rest.

    `reports` must be among the bells of the network behind, so that its wait ends when one comes.
    """

    def __init__(self, inner: Inner, reports: Reports) -> None:
        self._inner = inner
        self._reports = reports
        self._topics: dict[str, Topic] = {}
        self._on_the_way = 0

    def start(self, wire: Wire, token: object, timeout_seconds: float, *, private: bool = True) -> None:
        """Takes a request; for a message, `token` is the sender's flight.

        Raises `MissingSecret` where one is not set, or is no certificate or key.
        """
        if not wire.url.startswith(f"{TOPIC_SCHEME}://"):
            self._inner.start(wire, token, timeout_seconds, private=private)
            return
        parcel = cast(Parcel, token)
        outlet = parcel.line.outlet
        topic = self._topics.get(outlet.name)
        if topic is None:
            topic = Topic(outlet.own, timeout_seconds, self._reports.put)
            self._topics[outlet.name] = topic
        self._on_the_way += 1
        topic.take(Letter(token, parcel.request.key.encode(), wire.body, wire.headers))

    def wait(self, seconds: float) -> list[Done]:
        """What ended: reports first, and then what the network behind has."""
        reported = self._reports.take()
        others = self._inner.wait(0.0 if reported else seconds)
        reported += self._reports.take()
        self._on_the_way -= len(reported)
        return reported + others

    def recall(self) -> None:
        """What waits for its cluster, and so has certainly not left, ends at once."""
        for topic in self._topics.values():
            topic.recall()

    def close(self) -> None:
        """Ends every topic; what is on the way is found as claimed when the sender starts again."""
        for topic in self._topics.values():
            topic.close()
        self._inner.close()
        self._reports.close()

    def __len__(self) -> int:
        return self._on_the_way + len(self._inner)


class Letter(Struct):
    """A message: what it is for, and what it says. `until` is in steady seconds."""

    token: object
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, str]]
    until: float = 0.0


class Topic:
    """One destination's way into its topic: Kafka's client, and the thread that looks after it.

    The thread rests where nothing waits and nothing is on its way. A slow cluster slows nobody else.
    """

    def __init__(self, own: Settings, timeout_seconds: float, done: Callable[[Done], None]) -> None:
        self._name = own.topic
        self._timeout = timeout_seconds
        self._done = done
        self._client = reaching(own) | {
            **CLIENT,
            "message.timeout.ms": max(1, round(timeout_seconds * 1000)),
            "error_cb": self._warned,
        }
        self._producer = _producer(self._client)
        self._changed = threading.Condition()
        self._waiting: deque[Letter] = deque()
        self._handed = 0
        self._heard = NEVER
        self._trusted = False
        self._arrived = False
        self._spoiled = False
        self._closing = False
        self._trouble = ""
        self._thread = threading.Thread(target=self._live, name=f"topic {own.topic}", daemon=True)
        self._thread.start()

    def take(self, letter: Letter) -> None:
        """Hands a letter over at once where the cluster is known to take them; else it waits its turn."""
        letter.until = time.monotonic() + self._timeout
        with self._changed:
            self._waiting.append(letter)
            self._hand_over()
            self._changed.notify()

    def recall(self) -> None:
        """Gives back what was not handed over."""
        with self._changed:
            while self._waiting:
                self._report(self._waiting.popleft(), NoAnswer("connect_failed", left=False))

    def close(self) -> None:
        """Ends the thread. Nothing is reported any more."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(CLOSE_SECONDS)

    # the thread

    def _live(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._waiting or self._handed)
                if self._closing:
                    return
                asks = bool(self._waiting) and not self._is_near()
            try:
                self._turn(asks)
            except Exception as error:  # one of the loops that record and go on
                logger.error("topic %s: %s", self._name, type(error).__name__)
                with self._changed:
                    self._changed.wait(LOOK_SECONDS)

    def _is_near(self) -> bool:
        """Whether the cluster has just answered for the topic, or taken a message."""
        return time.monotonic() - self._heard < NEAR_SECONDS

    def _turn(self, asks: bool) -> None:
        from confluent_kafka import KafkaException

        if asks:
            self._ask()
        try:
            self._producer.poll(LOOK_SECONDS)
        except KafkaException as error:  # a fatal one ends the producer
            self._warned(error.args[0])
        with self._changed:
            if self._spoiled and not self._handed:
                self._producer = _producer(self._client)
                self._spoiled = self._arrived = False
                self._heard = NEVER
            self._hand_over()
            self._give_up()

    def _ask(self) -> None:
        """Whether the cluster answers, and has the topic for us; if it has not, that answers every letter."""
        from confluent_kafka import KafkaException

        try:
            known = self._producer.list_topics(self._name, timeout=min(ASK_SECONDS, self._timeout))
        except KafkaException:
            return
        error = known.topics[self._name].error
        with self._changed:
            self._trouble = ""
            if error is None:
                self._heard = time.monotonic()
                self._hand_over()
            elif error.name() != "LEADER_NOT_AVAILABLE":  # that one passes, and is asked for again
                self._answer_all(error.name())

    def _hand_over(self) -> None:
        """What waits goes to the client, as far as the cluster is known to take it."""
        goes = self._is_near() and not self._spoiled
        while goes and self._waiting and (self._trusted or not self._handed):
            letter = self._waiting.popleft()
            try:
                self._producer.produce(
                    self._name,
                    letter.value,
                    letter.key,
                    headers=list(letter.headers),
                    on_delivery=partial(self._reported, letter),
                )
            except BufferError:
                self._waiting.appendleft(letter)
                return
            except Exception as error:
                said = getattr(error.args[0], "name", None) if error.args else None
                self._report(letter, _answer(said() if said else "_INVALID_ARG"))
            else:
                self._handed += 1

    def _give_up(self) -> None:
        """What waited here too long, or cannot be let in, has certainly not left."""
        is_near = self._is_near()
        if self._trouble and not is_near:
            self._answer_all(self._trouble)
        now, reason = time.monotonic(), "timeout" if is_near else "connect_failed"
        while self._waiting and self._waiting[0].until <= now:
            self._report(self._waiting.popleft(), NoAnswer(reason, left=False))

    def _answer_all(self, error: str) -> None:
        """The cluster's word on the topic is its word on every message that waits for it."""
        while self._waiting:
            self._report(self._waiting.popleft(), _answer(error))

    def _reported(self, letter: Letter, error: "KafkaError | None", message: "Message") -> None:
        """The client's last word on a message, told by the thread's own poll."""
        with self._changed:
            self._handed -= 1
            if error is None:
                self._trusted = self._arrived = True
                self._heard = time.monotonic()
                where = {"partition": message.partition(), "offset": message.offset()}
                self._report(letter, Response(status=DELIVERED, body=msgspec.json.encode(where)))
                return
            name = error.name()
            if name not in DOUBTFUL:
                self._heard = NEVER if name in ("_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION") else self._heard
                self._report(letter, _answer(name))
                return
            # Whatever comes next goes alone, and only to a cluster that answers again.
            self._trusted = False
            self._heard = NEVER
            self._spoiled |= error.fatal()
            if self._trouble == NO_PRODUCER and self._spoiled and not self._arrived:
                self._report(letter, _answer(NO_PRODUCER))  # it sends nothing before it is let in
                return
            self._report(letter, NoAnswer(_reason(name), left=True))

    def _warned(self, error: "KafkaError") -> None:
        """The client's troubles that concern no single message, told by the thread's own poll."""
        name = error.name()
        with self._changed:
            if name in SIGN_IN:
                self._trouble = name
            if name in SIGN_IN or name == "_ALL_BROKERS_DOWN":
                self._heard = NEVER
            self._spoiled |= error.fatal()
        logger.debug("topic %s: %s", self._name, name)

    def _report(self, letter: Letter, result: Response | NoAnswer) -> None:
        if not self._closing:
            self._done(Done(letter.token, result))


def reaching(own: Settings) -> dict[str, Any]:
    """How Kafka's client finds the cluster and signs in. Holds secrets.

    Raises `MissingSecret` where one that the settings name is not set.
    """
    secrets = secrets_of(own)
    missing = [field for field, value in secrets.items() if value is None]
    if missing:
        raise MissingSecret(f"the secret {missing[0]!r} is not set")
    return client_settings(own, secrets)


def _producer(settings: Mapping[str, Any]) -> "Producer":
    # Imported here: a sender without topics does without Kafka's client.
    from confluent_kafka import KafkaException, Producer

    try:
        return Producer(dict(settings))
    except (KafkaException, ValueError, TypeError):
        # What it says may repeat a value, and a certificate or a password may be that value.
        raise MissingSecret("a certificate or a key for Kafka's client is of no use") from None


def _answer(error: str) -> Response:
    return Response(status=REFUSED, body=msgspec.json.encode({"error": error}))


def _reason(error: str) -> str:
    """The short word for an end that nobody knows."""
    return {"_MSG_TIMED_OUT": "timeout", "_TRANSPORT": "connection_reset"}.get(error, "no_report")
