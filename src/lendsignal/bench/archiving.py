"""What the archive's job costs the live path: delays of deliveries while it writes, and while it does not."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from statistics import median

import msgspec
from msgspec import Struct

from lendsignal.archive import archived_events
from lendsignal.bench.machine import Machine, machine
from lendsignal.bench.made_up import loans, requests
from lendsignal.bench.measure import CONNECTIONS_SINGLE, quantiles, sent_after
from lendsignal.bench.service import EVERY_ROLE, HOSTS, Service, send_at, until, workplace
from lendsignal.log import DataFolder

EVERY = timedelta(seconds=1)
"""How soon the job starts again: thirty times as often as it does by default."""

TEND_SECONDS = 0.2


class Beside(Struct, frozen=True, kw_only=True):
    """Delays in milliseconds from the 202 to the sink, and how many events were archived meanwhile."""

    archiving: bool
    accept_to_sent_ms: Mapping[str, float]
    archived: int


class Archiving(Struct, frozen=True, kw_only=True):
    """Runs without and with the job, by turns at one rate. The ratios are of the medians over the runs of the
    50th and the 99th percentile, with the job to without: 1 is no difference."""

    events_per_s: float
    seconds: int
    runs: Sequence[Beside]
    p50_ratio: float
    p99_ratio: float
    machine: Machine


def archive_beside(seconds: int, rate: float, tell: Callable[[str], None], *, rounds: int = 2) -> Archiving:
    """Measures so many rounds, each without the job and with it, for so many seconds each."""
    before = machine()
    runs = []
    for _ in range(rounds):
        for archiving in (False, True):
            tell(f"{rate:,.0f} events a second, {'with' if archiving else 'without'} the archive's job")
            runs.append(_run(seconds, rate, archiving=archiving))
    return Archiving(
        events_per_s=rate,
        seconds=seconds,
        runs=runs,
        p50_ratio=_ratio(runs, "p50"),
        p99_ratio=_ratio(runs, "p99"),
        machine=before,
    )


def _ratio(runs: Sequence[Beside], quantile: str) -> float:
    beside, alone = (
        median(run.accept_to_sent_ms[quantile] for run in runs if run.archiving == archiving)
        for archiving in (True, False)
    )
    return beside / max(alone, 0.01)


def _run(seconds: int, rate: float, *, archiving: bool) -> Beside:
    events = round(rate * seconds)
    with workplace(deliveries=1, keeps=HOSTS[0]) as (config, key, sink):
        often = msgspec.structs.replace(config.archive, every=EVERY)
        roles = (*EVERY_ROLE, "archive") if archiving else EVERY_ROLE
        service = Service(msgspec.structs.replace(config, archive=often), roles, key)
        try:
            service.log_in(events)
            until(service.idle, "the sender to have read the logins")
            with _tended(service):
                bodies = requests(loans(range(events)), 1)
                load, _ = send_at(service.url, service.key, bodies, CONNECTIONS_SINGLE, per_second=rate)
                until(lambda: sink.has(events), "everything to be sent")
        finally:
            service.stop()
        return Beside(
            archiving=archiving,
            accept_to_sent_ms=quantiles(sent_after(load.answers, sink.arrivals())),
            archived=archived_events(DataFolder(config.data)),
        )


@contextmanager
def _tended(service: Service) -> Iterator[None]:
    """Jobs that ended are started again meanwhile, as the running service does."""
    over = threading.Event()

    def tend() -> None:
        while not over.wait(TEND_SECONDS):
            service.tend()

    thread = threading.Thread(target=tend)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
