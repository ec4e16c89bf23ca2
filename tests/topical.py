"""A cluster whose log is a topic, for tests: the same doors and workers, and a wait for what is under way."""

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from secrets import token_hex
from typing import Any

from tests.clustered import Cluster, Steady

from lendsignal.decide.slots import SlotDecider
from lendsignal.errors import LogError
from lendsignal.log.kafka import TopicDoor, TopicRules, TopicSlots, prepare_topic
from lendsignal.log.kafka.client import Asking
from lendsignal.log.postgres import Leases, Terms
from lendsignal.log.store import KafkaSettings
from lendsignal.plan import PolicySource

PATIENCE = 60.0
"""Seconds in which what is going to happen has happened."""


def reaching(servers: str, topic: str, **changes: Any) -> KafkaSettings:
    """How the log of a test reaches its topic; where there are several brokers, each event is on all."""
    addresses = tuple(servers.split(","))
    known: dict[str, Any] = {
        "servers": addresses,
        "topic": topic,
        "group": f"{topic}.work",
        "tls": False,
        "replicas": len(addresses),
        "in_sync": (len(addresses) + 1) // 2,
        "session": timedelta(seconds=1.5),
        "timeout": timedelta(seconds=10),
    }
    return KafkaSettings(**(known | changes))


class TopicCluster(Cluster):
    """Fresh tables in a schema of their own and a fresh topic. Everything that it opened closes with it."""

    def __init__(
        self,
        url: str,
        servers: str,
        slots: int = 4,
        policy: PolicySource | None = None,
        **changes: Any,
    ) -> None:
        super().__init__(url, slots)
        self.servers = servers
        self.topic = reaching(servers, f"log-{token_hex(4)}", **changes)
        self.prepared = prepare_topic(self.database, self.topic, slots)
        self.rules = TopicRules(self.database, self.topic, slots)
        self.asking = Asking(self.topic)
        self._workers: list[SlotDecider] = []
        self._doors: list[TopicDoor] = []
        if policy is not None:
            self.put_policy(policy)

    def door(self) -> TopicDoor:
        self._doors.append(TopicDoor(self.connect(), self.topic, self.slots))
        return self._doors[-1]

    def worker(  # type: ignore[override]
        self, name: str = "", kind: type[TopicSlots] = TopicSlots, **changes: Any
    ) -> SlotDecider:
        """A worker that works when it is told to; with `group` it knows nothing of the others."""
        database = self.connect()
        leases = Leases(database, name or token_hex(4), terms=Terms(lease_seconds=600.0))
        topic = reaching(self.servers, self.topic.topic, **changes) if changes else self.topic
        one = SlotDecider(kind(database, leases, topic, self.slots), self.clock, steady=Steady())
        self._workers.append(one)
        return one

    def is_decided(self) -> bool:
        """Whether nothing of the topic and nothing that nodes said is left to decide."""
        ends = self.asking.ends(range(self.slots))
        found = dict(self.database.rows("select slot, coalesce(reach, 0) from cursor"))
        return all(found[slot] >= end for slot, end in ends.items()) and not self.database.rows(
            "select 1 from said limit 1"
        )

    def close(self) -> None:
        for worker in self._workers:
            with suppress(LogError):
                worker.end()
        for door in self._doors:
            door.close()
        super().close()


def settle(cluster: TopicCluster, *workers: SlotDecider, shares: Sequence[int] = ()) -> None:
    """Until all is decided, twice in a row, and (`shares`) each of the workers has so many slots."""
    end, breath, idle = time.monotonic() + PATIENCE, threading.Event(), 0
    while idle < 2:
        assert time.monotonic() < end, (
            f"it does not come to an end: {[len(one._log.held) for one in workers]}"
        )
        worked = [one.turn() for one in workers]
        held = [len(one._log.held) for one in workers]
        fair = not shares or sorted(held) == sorted(shares)
        if any(worked) or not fair or not cluster.is_decided():
            idle = 0
            breath.wait(0.02)
        else:
            idle += 1
