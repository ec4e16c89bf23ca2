"""A topic of one partition, with its store, as a log in one piece: for the exam of every engine.

Doors, workers and rules are those of a cluster; here they do at once what nodes do by and by.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from secrets import token_hex

from msgspec.structs import replace
from tests.acme import event
from tests.clustered import emptied
from tests.topical import PATIENCE, reaching

from lendsignal.errors import LogError, Overtaken
from lendsignal.log import Decided, Fact, Move
from lendsignal.log.kafka import TopicDoor, TopicRules, TopicSlots, prepare_topic
from lendsignal.log.kafka.client import Asking
from lendsignal.log.packing import encode
from lendsignal.log.postgres import Database, Leases, Terms, WholeLog
from lendsignal.log.postgres.rows import read_event
from lendsignal.log.store import KafkaSettings
from lendsignal.model import Event
from lendsignal.plan import Verdict

EVERYTHING = 1_000_000


class WholeTopic(WholeLog):
    """A log in one slot. Who reads or commits takes the slot from whoever had it, and reads it anew."""

    def __init__(self, database: Database, topic: KafkaSettings) -> None:
        super().__init__(database)
        self._steady = 0.0
        self._asking = Asking(topic)
        self._topic_door = TopicDoor(database, topic, 1)
        leases = Leases(database, f"whole-{token_hex(4)}", terms=Terms(lease_seconds=600.0))
        # A group of its own: of two who have the slot open it is not the group that says whose it is.
        alone = replace(topic, group=f"{topic.topic}.{token_hex(4)}")
        self._slots = TopicSlots(database, leases, alone, 1)
        self.imported = self._topic_door.imported
        self.refuse = self._topic_door.refuse
        self.states = self._slots.states
        self.planned = self._slots.planned
        self.phones = self._slots.phones
        self.keep_policy = TopicRules(database, topic, 1).keep_policy

    # appending

    def append(self, events: Sequence[Event], *, imported: tuple[str, str, int, bool] | None = None) -> int:
        self._topic_door.append(events, imported=imported)
        return self.end() - len(events) + 1

    # reading

    def end(self) -> int:
        said = self._database.row("select count(*) from said")
        assert said is not None, "a count gives one row"
        return self.position() + self._in_topic() + int(said[0])

    def read(self, after: int, limit: int) -> list[Fact]:
        return [fact for fact in self.scan() if fact.seq > after][:limit]

    def scan(self, containing: bytes | None = None) -> Iterator[Fact]:
        """What is decided out of the store, and behind it what the worker reads next."""
        decided = self._database.rows("select body from event where slot = 0 order by xid, id")
        facts = [Fact(seq, read_event(body)) for seq, (body,) in enumerate(decided, 1)]
        facts += self._next()
        return iter([fact for fact in facts if (containing or b"") in encode(fact.event)])

    def find(self, event_id: str) -> list[tuple[Fact, Verdict | None]]:
        return self._topic_door.find(event_id)

    def _in_topic(self) -> int:
        found = self._database.row("select coalesce(reach, 0) from cursor")
        assert found is not None, "made with the tables"
        return self._asking.ends([0])[0] - int(found[0])

    def _next(self, limit: int = EVERYTHING) -> list[Fact]:
        """What the worker has to decide next, so much of it that is there now."""
        self._slots.doubt()
        wanted = self._in_topic()
        end, breath = time.monotonic() + PATIENCE, threading.Event()
        while True:
            self._steady += 1
            self._slots.tend(self._steady)
            if self._slots.held and len(self._slots._waiting.get(0, [])) >= wanted:
                break
            assert time.monotonic() < end, "the topic says nothing"
            breath.wait(0.01)
        return [fact for _, part in self._slots.read(limit) for fact in part]

    # deciding

    def commit(self, decided: Decided) -> None:
        """As a worker does. The exam decides of events that it never told: they are told first."""
        untold = range(self.end() + 1, decided.position + 1)
        self._topic_door.append([event("app_opened", 0, event_id=f"untold-{n}") for n in untold])
        if self.position() != decided.after:
            raise Overtaken("another process decides over this log")
        self._next(decided.position - decided.after)
        move = Move(0, decided.position, decided.policy, decided.cuts, decided.value)
        self._slots.commit(replace(decided, moves=(move,)))

    def fire(self, timers: Sequence[tuple[int, str, str]], events: Sequence[Event]) -> int:
        return self._slots.fire(timers, events)

    def close(self) -> None:
        with suppress(LogError):
            self._slots.end()
        self._topic_door.close()
        super().close()


@contextmanager
def fresh_topic(database: Database, url: str, servers: str) -> Iterator[Callable[[], WholeTopic]]:
    """Opens the log over a fresh topic and tables that are emptied first, as often as it is called."""
    topic, made = reaching(servers, f"exam-{token_hex(4)}"), list[WholeTopic]()
    emptied(database)
    prepare_topic(database, topic, 1)

    def opened() -> WholeTopic:
        made.append(WholeTopic(Database(url, database.schema), topic))
        return made[-1]

    try:
        yield opened
    finally:
        for one in made:
            one.close()
