"""Kafka's client as the log uses it: how it signs in, how far the topic reaches, what its errors are called.

confluent-kafka is loaded when a client is made: who reads a configuration does without it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING, Any

from lendsignal.destination.kafka import client_settings
from lendsignal.errors import LogError
from lendsignal.log.store import KafkaSettings
from lendsignal.model import Secret, reveal

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

ASK_SECONDS = 5.0
"""How long one question to the cluster may take."""


def words_of(own: KafkaSettings) -> dict[str, Any]:
    """How the client finds the cluster and signs in. Holds secrets.

    Raises `LogError` where one that the settings name is not set.
    """
    secrets: dict[str, str | None] = {}
    for name in own.__struct_fields__:
        value = getattr(own, name)
        if isinstance(value, Secret):
            secrets[name] = reveal(value)
            if secrets[name] is None:
                raise LogError(f"store.kafka.{name} is not set: {value}")
    # The client's own lines would bypass our log.
    return client_settings(own, secrets) | {"log_level": 0}


PASSING = frozenset(
    "_TRANSPORT _RESOLVE _ALL_BROKERS_DOWN _TIMED_OUT _MAX_POLL_EXCEEDED COORDINATOR_NOT_AVAILABLE "
    "NOT_COORDINATOR COORDINATOR_LOAD_IN_PROGRESS LEADER_NOT_AVAILABLE NOT_LEADER_FOR_PARTITION "
    "REBALANCE_IN_PROGRESS FENCED_LEADER_EPOCH UNKNOWN_LEADER_EPOCH".split()
)
"""Errors that are over by themselves: a leader moves, a broker comes back."""


class Asking:
    """Questions to the cluster about one topic."""

    def __init__(self, own: KafkaSettings) -> None:
        self._own = own
        self._admin: AdminClient | None = None

    @property
    def admin(self) -> "AdminClient":
        """The client for questions, made when there is one."""
        if self._admin is None:
            from confluent_kafka.admin import AdminClient

            with translated():
                self._admin = AdminClient(words_of(self._own))
        return self._admin

    def ends(self, slots: Iterable[int], patience: float = ASK_SECONDS) -> Mapping[int, int]:
        """The offset behind the last event of each slot, as it is now.

        Raises `LogError` where some slot has no leader within so many seconds.
        """
        return self._offsets(slots, "latest", patience)

    def starts(self, slots: Iterable[int]) -> Mapping[int, int]:
        """The offset of the first event that the topic still has of each slot; raises as `ends`."""
        return self._offsets(slots, "earliest", ASK_SECONDS)

    def _offsets(self, slots: Iterable[int], which: str, patience: float) -> Mapping[int, int]:
        asked = list(slots)
        until, breath = monotonic() + patience, Event()
        while asked:
            try:
                with translated():
                    return self._listed(asked, which)
            except LogError as error:
                # It would ask the leader of before again and again: a new client learns who leads now.
                self._admin = None
                if not isinstance(error, Passing) or monotonic() > until:
                    raise
                breath.wait(0.1)
        return {}

    def _listed(self, slots: Sequence[int], which: str) -> dict[int, int]:
        from confluent_kafka import TopicPartition
        from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]  # named in no __all__

        spec = getattr(OffsetSpec, which)()
        asked = {TopicPartition(self._own.topic, slot): spec for slot in slots}
        answers = self.admin.list_offsets(asked, request_timeout=ASK_SECONDS)
        return {one.partition: answer.result(ASK_SECONDS).offset for one, answer in answers.items()}


class Passing(LogError):
    """It is over by itself: try again."""


@contextmanager
def translated() -> Iterator[None]:
    """Kafka's errors as ours: by name, for their words may repeat a setting."""
    from confluent_kafka import KafkaException

    try:
        yield
    except KafkaException as error:
        name = error.args[0].name()
        raise (Passing if name in PASSING else LogError)(f"Kafka does not take it: {name}") from None
    except (ValueError, TypeError):
        # What it says may repeat a value, and a certificate or a password may be that value.
        raise LogError("Kafka's client cannot be made: a certificate or a key is of no use") from None
    except TimeoutError:
        raise LogError("Kafka does not answer") from None
