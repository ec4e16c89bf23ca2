"""Throughput against the number of deliveries an event makes, one request each."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from lendsignal.bench.machine import Machine, machine
from lendsignal.bench.made_up import loans, requests
from lendsignal.bench.measure import CONNECTIONS_BATCH
from lendsignal.bench.service import EVERY_ROLE, send_all, serving, until


class Fanned(Struct, frozen=True, kw_only=True):
    """One run with so many deliveries an event. Rates are a second; times are processor time of core and
    send together."""

    deliveries_per_event: int
    events_per_s: float
    deliveries_per_s: float
    cpu_us_per_event: float
    cpu_us_per_delivery: float


class Fan(Struct, frozen=True, kw_only=True):
    """Every run of a fan, and the machine before it."""

    events: int
    runs: Sequence[Fanned]
    machine: Machine


def fan_out(events: int, most: int, tell: Callable[[str], None]) -> Fan:
    """Runs with 1 to `most` deliveries an event; so many events each, in batches of 100."""
    before = machine()
    runs = []
    for deliveries in range(1, most + 1):
        runs.append(_run(events, deliveries))
        tell(
            f"{deliveries} an event: {runs[-1].events_per_s:,.0f} events/s,"
            f" {runs[-1].deliveries_per_s:,.0f} deliveries/s"
        )
    return Fan(events=events, runs=runs, machine=before)


def _run(events: int, deliveries: int) -> Fanned:
    with serving(EVERY_ROLE, deliveries=deliveries) as (service, sink):
        service.log_in(events)
        until(service.idle, "the sender to have read the logins")
        bodies = requests(loans(range(events)), 100)
        before = service.cost()
        took = send_all(service.url, service.key, bodies, CONNECTIONS_BATCH)
        took += until(lambda: sink.has(deliveries * events), "everything to be sent")
        until(service.idle, "everything to be recorded")
        cpu = service.cost().whole - before.whole
    return Fanned(
        deliveries_per_event=deliveries,
        events_per_s=events / took,
        deliveries_per_s=deliveries * events / took,
        cpu_us_per_event=cpu / events * 1e6,
        cpu_us_per_delivery=cpu / events / deliveries * 1e6,
    )
