"""The same storm where a Kafka topic is the log: brokers are killed and frozen too."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cluster.arrivals import Sent
from tests.cluster.storm import FROZEN_SECONDS, POLICY, SLOTS, Serving, Storm
from tests.clustered import Cluster
from tests.servers.kafka import Brokers
from tests.topical import TopicCluster

from lendsignal.errors import LogError
from lendsignal.log.kafka.client import Asking


class TopicStorm(Storm):
    """A cluster on one PostgreSQL and some brokers; a broker that is alone is frozen and never killed."""

    def __init__(
        self, server: Serving, brokers: Brokers, folder: Path, seed: int, events: int, **where: Any
    ) -> None:
        self._brokers = brokers
        super().__init__(server, folder, seed, events, **where)

    def _made(self) -> Cluster:
        made = TopicCluster(self._server.plain_url, self._brokers.address, SLOTS, POLICY)
        self._topic = made.topic
        self._asking = Asking(made.topic)
        return made

    def _way_in(self) -> list[str]:
        return ["--kafka", self._brokers.address, "--topic", self._topic.topic]

    def _kinds(self) -> list[Callable[[], None]]:
        one = self._kill_broker if len(self._brokers.all) > 1 else self._freeze_broker
        return [one, self._freeze_broker, *super()._kinds()]

    def _kill_broker(self) -> None:
        """Others lead its partitions; it comes back and catches up."""
        one = self._chance.choice(self._brokers.all)
        one.kill()
        self._recover()
        one.start()
        self._recoveries.pop()
        self._recover()

    def _freeze_broker(self) -> None:
        """It is believed dead by the time it wakes, with requests in its hands."""
        one = self._chance.choice(self._brokers.all)
        one.freeze()
        threading.Event().wait(FROZEN_SECONDS)
        one.thaw()
        self._recover()

    def _cuts(self) -> list[Callable[[], None]]:
        return [self._cut_off_broker, *super()._cuts()]

    def _cut_off_broker(self) -> None:
        """Others lead its partitions by the time it is back, and it has heard nothing of that."""
        one = self._chance.choice(self._brokers.all)
        assert one.machine is not None
        one.machine.cut_off()
        threading.Event().wait(FROZEN_SECONDS)
        self._recover()
        one.machine.join()

    def _until_decided(self) -> None:
        """All that is in the topic now, and all that nodes said of it."""
        ends = self._ends()
        words = ", ".join(f"({slot}, {end})" for slot, end in ends.items())
        self._until(
            f"select not exists (select 1 from (values {words}) as topic(slot, ends) join cursor using (slot)"
            " where coalesce(cursor.reach, 0) < topic.ends)"
        )
        self._until("select not exists (select 1 from said)")

    def _ends(self) -> dict[int, int]:
        end, breath = time.monotonic() + self.patience, threading.Event()
        while True:
            try:
                return dict(self._asking.ends(range(SLOTS)))
            except LogError:
                assert time.monotonic() < end, "the topic has no leaders"
                breath.wait(0.1)


class ShortStorm(TopicStorm):
    """Each blow once that concerns the log, and nobody sends: it is the same sender on any log."""

    workers, senders = 2, 0

    def _kinds(self) -> list[Callable[[], None]]:
        return [self._kill_worker, self._freeze_worker, self._kill_door, self._freeze_broker]

    def _endpoints(self) -> None:
        return None

    def _sent(self) -> dict[str, Sent]:
        return {}
