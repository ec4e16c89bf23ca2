"""What a destination that never answers costs the one beside it."""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from lendsignal.bench.machine import Machine, machine
from lendsignal.bench.made_up import loans, requests
from lendsignal.bench.measure import CONNECTIONS_SINGLE, quantiles, sent_after
from lendsignal.bench.service import EVERY_ROLE, HOSTS, send_all, send_at, serving, until

FULL = 0.8
"""The share of what two healthy destinations reach at most that counts as full load: above it, waiting is
the queue's and not the neighbour's."""


NEIGHBOURS = ("missing", "answering", "hanging")


class Beside(Struct, frozen=True, kw_only=True):
    """Delays of the healthy destination, in milliseconds from the 202 to the sink, beside a neighbour that
    is `missing`, `answering` or `hanging`. `hung`: requests the neighbour left without an answer."""

    neighbour: str
    accept_to_sent_ms: Mapping[str, float]
    hung: int


class Isolation(Struct, frozen=True, kw_only=True):
    """Every run at one rate. The ratios are those of the 99th percentile beside a hanging neighbour to that
    beside none, and to that beside one that answers: 1 is no difference."""

    events_per_s: float
    most_events_per_s: float
    seconds: int
    runs: Sequence[Beside]
    p99_to_missing: float
    p99_to_answering: float
    machine: Machine


def isolate(
    seconds: int, tell: Callable[[str], None], *, per_second: float | None = None, events: int = 40_000
) -> Isolation:
    """Measures what two healthy destinations reach with so many events, then the delay of the first at
    `FULL` of that (or at a given rate), for so many seconds each: alone, and with the second beside it."""
    before = machine()
    tell("what two healthy destinations reach")
    most = _most(events)
    rate = per_second or FULL * most
    runs = []
    for neighbour in NEIGHBOURS:
        tell(f"{rate:,.0f} events a second, neighbour {neighbour}")
        runs.append(_beside(neighbour, rate, seconds))
    missing, answering, hanging = (max(run.accept_to_sent_ms["p99"], 0.01) for run in runs)
    return Isolation(
        events_per_s=rate,
        most_events_per_s=most,
        seconds=seconds,
        runs=runs,
        p99_to_missing=hanging / missing,
        p99_to_answering=hanging / answering,
        machine=before,
    )


def _most(events: int) -> float:
    """Events a second, one a request, with two destinations that answer."""
    with serving(EVERY_ROLE) as (service, sink):
        service.log_in(events)
        until(service.idle, "the sender to have read the logins")
        took = send_all(service.url, service.key, requests(loans(range(events)), 1), CONNECTIONS_SINGLE)
        return events / (took + until(lambda: sink.has(2 * events), "everything to be sent"))


def _beside(neighbour: str, rate: float, seconds: int) -> Beside:
    """The healthy destination is the first; the neighbour the second."""
    events = round(rate * seconds)
    hangs = HOSTS[1] if neighbour == "hanging" else ""
    deliveries = 1 if neighbour == "missing" else 2
    answered = 2 if neighbour == "answering" else 1
    with serving(EVERY_ROLE, deliveries=deliveries, keeps=HOSTS[0], hangs=hangs) as (service, sink):
        service.log_in(events)
        until(service.idle, "the sender to have read the logins")
        bodies = requests(loans(range(events)), 1)
        load, _ = send_at(service.url, service.key, bodies, CONNECTIONS_SINGLE, per_second=rate)
        until(lambda: sink.has(answered * events), "everything healthy to be sent")
        return Beside(
            neighbour=neighbour,
            accept_to_sent_ms=quantiles(sent_after(load.answers, sink.arrivals())),
            hung=sink.received().hung,
        )
