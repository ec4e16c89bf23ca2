"""What an event costs where it is decided: in a data folder, over PostgreSQL's log, over a Kafka topic.

Log and deciding are the real ones, without HTTP and without sending. The same events go through each of them
in one run; costs are processor time, of our processes and of the servers apart. Servers are asked by their
processes on this machine: those of other machines stay unknown.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from secrets import token_hex

from msgspec import Struct
from msgspec.structs import replace

from lendsignal.bench.machine import Machine, cpu_seconds, descendants, machine
from lendsignal.bench.made_up import life
from lendsignal.bench.service import workplace
from lendsignal.clock import SystemClock
from lendsignal.config import Config
from lendsignal.decide import Decider
from lendsignal.decide.decider import policy_changed
from lendsignal.decide.slots import SlotDecider
from lendsignal.errors import LendsignalError, LogError
from lendsignal.log import open_log
from lendsignal.log.cluster import door_of, rules_of, slots_of_worker
from lendsignal.log.kafka import drop_topic, prepare_topic
from lendsignal.log.postgres import Leases, database_of, prepare
from lendsignal.log.store import StoreSettings
from lendsignal.model import Event
from lendsignal.plan import version_of
from lendsignal.source import read_event, read_json, reader_of

EVENTS_PER_USER = 10
DELIVERIES = 2
AT_ONCE = 500
"""Events that a door makes durable together."""

SPIKE_US = 55.0
"""30 µs of Python and 25 µs of the server: what a worker without our rooms took for an event."""

PATIENCE_SECONDS = 600.0

Pids = Mapping[str, int]
"""The processes of the servers: `database`, `broker`."""


class LogCost(Struct, frozen=True, kw_only=True):
    """What one log costs an event, in microseconds of processor time, with so many workers.

    `None`: nobody said which process the server is. `per_s` is what they decided by the clock on the wall.
    """

    log: str
    workers: int
    door_us: float
    door_servers_us: float | None
    worker_us: float
    database_us: float | None
    broker_us: float | None
    per_s: float

    @property
    def decided_us(self) -> float:
        """Of worker and servers together, without the door."""
        return self.worker_us + (self.database_us or 0.0) + (self.broker_us or 0.0)


class ClusterCosts(Struct, frozen=True, kw_only=True):
    """Every log in one run. `spike_ratio`: the last log's cost with one worker over that of the spike."""

    events: int
    users: int
    deliveries: int
    logs: Sequence[LogCost]
    spike_ratio: float
    machine: Machine


def compare_logs(
    store: StoreSettings, events: int, workers: Sequence[int], tell: Callable[[str], None], pids: Pids
) -> ClusterCosts:
    """Fills and decides each log with so many workers in turn; with `store.kafka` a topic too.

    Schemas and topics are made for it and taken away. Raises `LogError` where a server cannot be reached.
    """
    before = machine()
    with workplace(deliveries=DELIVERIES) as (config, _, _):
        told = _events(config, events)
        found = [_embedded(config, told)]
        tell(f"{found[0].log}: {found[0].decided_us:.0f} µs an event")
        for one in (replace(store, kafka=None), store)[: 1 if store.kafka is None else 2]:
            for count in workers:
                found.append(_on_cluster(one, config, told, count, pids))
                tell(f"{found[-1].log}, workers {count}: {found[-1].decided_us:.0f} µs an event")
    alone = [one for one in found if one.workers == min(workers)]
    return ClusterCosts(
        events=events,
        users=events // EVENTS_PER_USER,
        deliveries=DELIVERIES,
        logs=found,
        spike_ratio=round(alone[-1].decided_us / SPIKE_US, 2),
        machine=before,
    )


def _events(config: Config, count: int) -> list[Event]:
    reader = reader_of(config.apps, config.policy.resolve.clock_ahead)
    now = datetime.now(UTC)
    return [read_event(read_json(body), now, reader) for body in life(range(count), EVENTS_PER_USER)]


def _batches(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    for start in range(0, len(events), AT_ONCE):
        yield events[start : start + AT_ONCE]


def _embedded(config: Config, events: Sequence[Event]) -> LogCost:
    config.data.mkdir(parents=True, exist_ok=True)
    log = open_log(config.data / "log.sqlite")
    with closing(log):
        decider = Decider(log, config.policy, SystemClock(), lambda: None)
        began = time.process_time()
        for batch in _batches(events):
            log.append(batch)
        filled, started = time.process_time(), time.monotonic()
        while decider.turn():
            pass
        decided, took = time.process_time() - filled, time.monotonic() - started
    return LogCost(
        log="data folder",
        workers=1,
        door_us=_each(filled - began, events),
        door_servers_us=0.0,
        worker_us=_each(decided, events),
        database_us=0.0,
        broker_us=0.0,
        per_s=round(len(events) / took),
    )


def _on_cluster(
    store: StoreSettings, config: Config, events: Sequence[Event], workers: int, pids: Pids
) -> LogCost:
    with _made(store) as own, closing(database_of(own)) as database:
        version = version_of(config.policy)
        rules_of(own, database).put_policy(version, config.policy, policy_changed(version, 0, 0))
        began, servers = time.process_time(), _seconds(pids)
        door = door_of(own, database)
        for batch in _batches(events):
            door.append(batch)
        filled, full = time.process_time() - began, _seconds(pids)
        with _working(own, workers) as links:
            for link in links:
                link.send("go")
            started, expected = time.monotonic(), len(events) + own.slots
            while database.row("select sum(place)::bigint from cursor") != (expected,):
                if time.monotonic() - started > PATIENCE_SECONDS:
                    raise LendsignalError(f"not decided within {PATIENCE_SECONDS:.0f} s")
                time.sleep(0.1)  # workers are other processes; looking oftener would be measured too
            took, ended = time.monotonic() - started, _seconds(pids)
            for link in links:
                link.send("stop")
            spent = sum(link.recv() for link in links)
    used = {name: _each(ended[name] - full[name], events) for name in ended}
    return LogCost(
        log="PostgreSQL" if own.kafka is None else "Kafka topic",
        workers=workers,
        door_us=_each(filled, events),
        door_servers_us=_each(sum(full[name] - servers[name] for name in full), events) if pids else None,
        worker_us=_each(spent, events),
        database_us=used.get("database"),
        broker_us=0.0 if own.kafka is None else used.get("broker"),
        per_s=round(len(events) / took),
    )


def _each(seconds: float, events: Sequence[Event]) -> float:
    return round(1e6 * seconds / len(events), 1)


def _seconds(pids: Pids) -> dict[str, float]:
    """Processor time of each server so far: its process, those that it has, and those that ended."""
    return {
        name: sum(cpu_seconds(one, children=True) for one in (pid, *descendants(pid)))
        for name, pid in pids.items()
    }


@contextmanager
def _made(store: StoreSettings) -> Iterator[StoreSettings]:
    """A schema, and a topic, of their own; both are gone afterwards."""
    name = f"bench_{token_hex(4)}"
    kafka = None if store.kafka is None else replace(store.kafka, topic=name, group=name)
    own = replace(store, schema=name, kafka=kafka)
    with closing(database_of(own)) as database:
        prepare(database, own.slots)
        try:
            if kafka is not None:
                prepare_topic(database, kafka, own.slots)
            yield own
        finally:
            database.rows(f"drop schema {name} cascade")
            if kafka is not None:
                drop_topic(kafka)


@contextmanager
def _working(store: StoreSettings, workers: int) -> Iterator[Sequence[Connection]]:
    """So many workers in processes of their own, each ready to begin."""
    context = multiprocessing.get_context("spawn")
    links, processes = [], []
    for number in range(workers):
        mine, theirs = context.Pipe()
        processes.append(context.Process(target=_work, args=(store, f"bench-{number}", theirs), daemon=True))
        processes[-1].start()
        links.append(mine)
    try:
        for link in links:
            assert link.recv() == "ready", "a worker says first that it is ready"
        yield links
    except EOFError:
        raise LendsignalError("a worker ended by itself") from None
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _work(store: StoreSettings, name: str, link: Connection) -> None:
    """Decides from "go" to "stop", and says how many seconds of processor time that took."""
    with closing(database_of(store)) as database:
        log = slots_of_worker(store, database, Leases(database, name), store.slots)
        worker = SlotDecider(log, SystemClock())
        link.send("ready")
        link.recv()
        began = time.process_time()
        while not link.poll(0):
            try:
                worked = worker.turn()
            except LogError:
                worked = False
            if not worked:
                link.poll(0.02)
        spent = time.process_time() - began
        worker.end()
        link.send(spent)
