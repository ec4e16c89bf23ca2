"""Millions of deliveries behind a stopped destination: what they cost while they wait, and how it goes on.

The log is filled by the real log and the real deciding, without HTTP. The deliveries are kept by the real
sender in a process of its own, which reads the records and finds its destination stopped by an order; its
count of seconds runs ahead, for with enough in hand it would read only some records a second.
"""

import itertools
import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from lendsignal import config as configuration
from lendsignal.bench.machine import Machine, machine, rss_mib
from lendsignal.bench.made_up import life
from lendsignal.bench.service import EVERY_ROLE, Service, Sink, names, on_disk, until, workplace
from lendsignal.bench.targets import BACKLOG, Target, judged
from lendsignal.clock import SystemClock
from lendsignal.config import Config
from lendsignal.decide import Decider
from lendsignal.deliver.sender import Sender
from lendsignal.errors import LendsignalError
from lendsignal.log import DataFolder, Halt, LetGo, Order, open_deliveries, open_log, open_orders
from lendsignal.role.standing import status
from lendsignal.source import read_event, read_json, reader_of

EVENTS_PER_USER = 10
AT_ONCE = 2_000
SENT_AFTERWARDS = 100_000
"""Deliveries whose sending is watched once the destination goes on."""

AHEAD_SECONDS = 0.2
"""By how much the sender's count of seconds runs ahead each time it is asked, while it fills up."""


class Backlog(Struct, frozen=True, kw_only=True):
    """What so many waiting deliveries come to. Memory is resident, in MiB, of every role together or by role.

    `reading_peak_rss_mib`: the sender's highest while it filled up. `waiting_rss_mib`: two seconds after a
    start over the backlog. `peak_rss_mib`: the highest from there until some of it is sent.
    `start_up_seconds`: from the start of the processes until the sender carries out an order.
    `first_sent_seconds`: from the order to go on until the first delivery is at the sink.
    """

    deliveries: int
    decided_per_s: float
    read_per_s: float
    reading_peak_rss_mib: float
    waiting_rss_mib: float
    waiting_rss_by_role_mib: Mapping[str, float]
    start_up_seconds: float
    status_seconds: float
    first_sent_seconds: float
    sent_per_s: float
    peak_rss_mib: float
    peak_rss_by_role_mib: Mapping[str, float]
    disk_bytes_per_delivery: float
    machine: Machine
    targets: Sequence[Target] = ()


def pile_up(deliveries: int, tell: Callable[[str], None]) -> Backlog:
    """Makes so many deliveries wait, starts over them, and lets them go."""
    before = machine()
    with workplace(deliveries=1) as (config, key, sink):
        tell(f"{deliveries:,} deliveries are planned")
        planned, decided_per_s = _plan(config, deliveries)
        _give(config, Halt(tuple(names(1))))
        tell("the sender reads them and keeps them")
        kept, size = _read(config)
        _give(config, Halt(tuple(names(1))))
        tell("started again over the backlog")
        over = _over(config, key, sink, tell, planned)
    result = Backlog(
        deliveries=planned,
        decided_per_s=decided_per_s,
        read_per_s=planned / kept.seconds,
        reading_peak_rss_mib=kept.peak_mib,
        waiting_rss_mib=sum(over.waiting_mib.values()),
        waiting_rss_by_role_mib=over.waiting_mib,
        start_up_seconds=over.start_up_seconds,
        status_seconds=over.status_seconds,
        first_sent_seconds=over.first_sent_seconds,
        sent_per_s=over.sent_per_s,
        peak_rss_mib=sum(over.peak_mib.values()),
        peak_rss_by_role_mib=over.peak_mib,
        disk_bytes_per_delivery=size / planned,
        machine=before,
    )
    return msgspec.structs.replace(result, targets=judged(result, BACKLOG))


def _plan(config: Config, deliveries: int) -> tuple[int, float]:
    """Events into the log and decided, as the core does it; deliveries planned, and events a second."""
    log = open_log(DataFolder(config.data).log)
    try:
        decider = Decider(log, config.policy, SystemClock(), lambda: None)
        while decider.turn():
            pass
        reader = reader_of(config.apps, config.policy.resolve.clock_ahead)
        events = deliveries * EVENTS_PER_USER // (EVENTS_PER_USER - 1) + 1
        took, planned = 0.0, 0
        for start in range(0, events, AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, events))
            now = datetime.now(UTC)
            read = [read_event(read_json(raw), now, reader) for raw in life(numbers, EVENTS_PER_USER)]
            started = time.perf_counter()
            decider.turn(log.append(read), read)
            took += time.perf_counter() - started
            planned += sum(number % EVENTS_PER_USER > 0 for number in numbers)
        return planned, events / took
    finally:
        log.close()


class _Kept(Struct, frozen=True):
    """What the sender told of its reading."""

    seconds: float
    peak_mib: float


def _read(config: Config) -> tuple[_Kept, int]:
    """Every record read and its delivery kept; what the sender told, and the size on disk."""
    told = config.data / "kept.json"
    process = multiprocessing.get_context("spawn").Process(target=_keep, args=(config.path, told))
    process.start()
    try:
        process.join()
    finally:
        process.terminate()
        process.join()
    if not told.exists():
        raise LendsignalError("the sender of the bench did not keep the backlog: see what it said above")
    return msgspec.json.decode(told.read_bytes(), type=_Kept), on_disk(config)


def _keep(path: Path, told: Path) -> None:
    """Runs in the sender's process: reads until there is nothing to read, and says what it took."""
    logging.disable(logging.WARNING)
    config = configuration.load(path)
    folder = DataFolder(config.data)
    log, deliveries = open_log(folder.log, read_only=True), open_deliveries(folder.deliveries)
    orders = open_orders(folder.orders)
    turns = itertools.count()
    started = time.monotonic()
    sender = Sender(
        log,
        deliveries,
        config.outlets,
        config.apps,
        config.deliver,
        SystemClock(),
        orders=orders,
        steady=lambda: time.monotonic() + next(turns) * AHEAD_SECONDS,
    )
    last = log.last_record()
    while deliveries.position() < last:
        sender.turn()
    sender.drain()
    found = _Kept(time.monotonic() - started, rss_mib(os.getpid(), peak=True))
    for kept in (sender, orders, deliveries, log):
        kept.close()
    told.write_bytes(msgspec.json.encode(found))


class _Over(Struct, frozen=True, kw_only=True):
    """What a start over the backlog showed: MiB by role, waiting and at the highest, and times."""

    waiting_mib: Mapping[str, float]
    peak_mib: Mapping[str, float]
    start_up_seconds: float
    status_seconds: float
    first_sent_seconds: float
    sent_per_s: float


def _over(config: Config, key: str, sink: Sink, tell: Callable[[str], None], planned: int) -> _Over:
    """Every role over the backlog: start-up, memory, going on."""
    last = _last_order(config)
    started = time.monotonic()
    service = Service(config, EVERY_ROLE, key)
    try:
        until(lambda: _obeyed(config, last), "the sender to start over the backlog")
        start_up = time.monotonic() - started
        time.sleep(2.0)  # what is read at the start is in memory by then
        waiting = service.rss_mib(peak=False)
        asked = time.monotonic()
        found = status(config.data, SystemClock())
        status_seconds = time.monotonic() - asked
        if found.waiting[names(1)[0]] != {"waiting": planned}:
            raise LendsignalError(f"not all of {planned} deliveries wait: {found.waiting}")
        tell("the destination goes on")
        _give(config, LetGo(tuple(names(1))))
        first = until(lambda: sink.has(1), "the first delivery to be sent")
        wanted = min(planned, SENT_AFTERWARDS)
        until(lambda: sink.has(wanted), "deliveries to be sent")
        received = sink.received()
        return _Over(
            waiting_mib=waiting,
            peak_mib=service.rss_mib(),
            start_up_seconds=start_up,
            status_seconds=status_seconds,
            first_sent_seconds=first,
            sent_per_s=received.count / max(received.last - received.first, 1e-9),
        )
    finally:
        service.stop()


def _give(config: Config, order: Order) -> int:
    orders = open_orders(DataFolder(config.data).orders)
    try:
        return orders.give([order], "bench", SystemClock().now_us())[0]
    finally:
        orders.close()


def _last_order(config: Config) -> int:
    orders = open_orders(DataFolder(config.data).orders, read_only=True)
    try:
        return orders.last()
    finally:
        orders.close()


def _obeyed(config: Config, order: int) -> bool:
    deliveries = open_deliveries(DataFolder(config.data).deliveries, read_only=True)
    try:
        return deliveries.obeyed(order) is not None
    finally:
        deliveries.close()
