"""What the roles of a cluster's node share: the way to the store, and how the whole of it stands."""

import logging
import os
import secrets
import socket
from collections.abc import Sequence
from threading import Event, Lock

from lendsignal.clock import Clock
from lendsignal.config import Config
from lendsignal.errors import LogError
from lendsignal.log import EVERY, Fact, Quarantined
from lendsignal.log.cluster import door_of, waiting_in_topic
from lendsignal.log.postgres import Database, DoorLog, database_of, slots_of
from lendsignal.log.postgres.standing import standing
from lendsignal.log.store import StoreSettings
from lendsignal.model import Event as LoanEvent
from lendsignal.plan import Verdict
from lendsignal.role.standing import Status

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.5
"""How soon a role looks again for a store that is not there."""


class ClusterStatus(Status, frozen=True, kw_only=True):
    """How far a cluster is. `unheld`: slots that nobody alive decides or sends."""

    slots: int
    nodes: dict[str, int]
    unheld: dict[str, int]


def store_of(config: Config) -> StoreSettings:
    """The store that makes this a node of a cluster."""
    if config.store is None:
        raise LogError("there is no [store] in the configuration: this is no node of a cluster")
    return config.store


def node_name(role: str) -> str:
    """What a process is called in the store, for this one run: a node that starts again is another."""
    return f"{role}-{socket.gethostname()[:32]}-{os.getpid()}-{secrets.token_hex(4)}"


def slots_when_there(database: Database, stopping: Event) -> int | None:
    """The number of slots, once the store answers and has our tables; `None`: told to stop before."""
    said = ""
    while not stopping.is_set():
        try:
            return slots_of(database)
        except LogError as error:
            said = _said_once(str(error), said)
            stopping.wait(PAUSE_SECONDS)
    return None


def _said_once(words: str, before: str) -> str:
    if words != before:
        logger.warning("%s; it is looked for again and again", words)
    return words


class LateDoor:
    """The log as a door sees it, also before the store was ever there: until then nothing is taken.

    Safe to share between threads.
    """

    def __init__(self, config: Config) -> None:
        self._store = store_of(config)
        self._database = database_of(self._store)
        self._lock = Lock()
        self._log: DoorLog | None = None

    def _there(self) -> DoorLog:
        with self._lock:
            if self._log is None:
                self._log = door_of(self._store, self._database)
            return self._log

    def append(
        self, events: Sequence[LoanEvent], *, imported: tuple[str, str, int, bool] | None = None
    ) -> int:
        """Makes events durable, in this order. Raises `LogError` where the store does not take them."""
        return self._there().append(events, imported=imported)

    def imported(self, file: str) -> tuple[int, bool]:
        """How many rows of that file are durable already, and whether it was finished."""
        return self._there().imported(file)

    def refuse(self, refused: Sequence[Quarantined]) -> None:
        """Keeps what the door refused, durably."""
        self._there().refuse(refused)

    def find(self, event_id: str) -> list[tuple[Fact, Verdict | None]]:
        """The events of that id, oldest first, each with its verdict."""
        return self._there().find(event_id)

    def quarantined(self, limit: int = 100) -> list[Quarantined]:
        """The youngest refusals first."""
        return self._there().quarantined(limit)

    def refusals(self) -> dict[tuple[str, str], int]:
        """How many events were refused, by field and rule."""
        return self._there().refusals()

    def close(self) -> None:
        """Lets its connection go."""
        self._database.close()


def cluster_status(database: Database, config: Config, clock: Clock) -> ClusterStatus:
    """How the cluster stands as a whole. Raises `LogError` where the store does not answer.

    What waits for a destination that is not configured keeps nobody busy.
    """
    now_us = clock.now_us()
    found = standing(database, slots_of(database), now_us)
    in_topic = waiting_in_topic(store_of(config), database)
    sent_to = [name for name in found.due if name in config.outlets]
    busy = EVERY not in found.paused and any(name not in found.paused for name in sent_to)
    claimed = any(stages.get("claimed") for stages in found.waiting.values())
    return ClusterStatus(
        idle=(
            found.decided >= found.events
            and not in_topic
            and found.read_by_sender
            and not busy
            and not claimed
        ),
        events=found.events + in_topic,
        decided=found.decided,
        read_by_sender=found.read_by_sender,
        waiting=found.waiting,
        due=found.due,
        paused=found.paused,
        now_us=now_us,
        slots=found.slots,
        nodes=dict(found.nodes),
        unheld=dict(found.unheld),
    )
