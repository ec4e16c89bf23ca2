"""The whole bench: every figure of one run, each measurement on a fresh data folder."""

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from lendsignal.bench.encoding import encode_and_classify_us
from lendsignal.bench.machine import Machine, machine
from lendsignal.bench.made_up import loans, requests
from lendsignal.bench.peer import Peer, measure_peer
from lendsignal.bench.service import EVERY_ROLE, send_all, send_at, serving, sink_in, until
from lendsignal.bench.targets import Target, judged

CONNECTIONS_SINGLE = 64
CONNECTIONS_BATCH = 8

APART = ("core", "door")

DELAY_PER_S = 2_000
"""Events a second at which delays are measured: a large lender's rush hour, many times over."""


class Figures(Struct, frozen=True, kw_only=True):
    """What one run found. Rates are a second; `peers` are other programs in the same run, in words where
    one could not be measured, and `ratios` compare our deliveries a second with theirs."""

    accepted_single_per_s: float
    accepted_batch_per_s: float
    decided_per_s: float
    end_to_end_per_s: float
    end_to_end_single_per_s: float
    deliveries_per_event: float
    deliveries_per_s: float
    accept_to_sent_ms: Mapping[str, float]
    durable_answer_ms: Mapping[str, float]
    cpu_us_per_event: float
    cpu_us_per_event_by_role: Mapping[str, float]
    bytes_per_event: float
    peak_rss_mib: float
    peak_rss_by_role_mib: Mapping[str, float]
    idle_mib: float
    idle_rss_mib: float
    idle_rss_by_role_mib: Mapping[str, float]
    encode_and_classify_us: Mapping[str, float]
    peers: Mapping[str, float | str]
    ratios: Mapping[str, float]
    machine: Machine
    accepted_single_apart_per_s: float = 0.0
    decided_apart_per_s: float = 0.0
    targets: Sequence[Target] = ()


class _Whole(Struct, frozen=True):
    """A run end to end, per event and a second."""

    per_s: float
    deliveries: float
    cpu_us: Mapping[str, float]
    bytes: float
    peak_mib: Mapping[str, float]


def measure(
    *,
    quick: bool,
    tell: Callable[[str], None],
    scale: float = 1.0,
    peer: bool = True,
) -> Figures:
    """Runs every measurement. `tell` is called with what is being done; `scale` multiplies the sizes.

    `peer`: whether the Celery worker is measured too, which is installed for it the first time.
    """
    scale *= 0.4 if quick else 5
    before = machine()
    tell("encode and classify, every destination")
    encoding = encode_and_classify_us()
    tell("memory of a service that has nothing to do")
    idle, together = _idle()
    tell("events in, decided, nothing sent: batches of 100")
    accepted, decided = _accepted(("core",), round(40_000 * scale), 100)
    tell("events in, decided, nothing sent: one a request")
    accepted_single, _ = _accepted(("core",), round(15_000 * scale), 1)
    tell("the same two, with the door as a process of its own")
    _, decided_apart = _accepted(APART, round(40_000 * scale), 100)
    accepted_single_apart, _ = _accepted(APART, round(15_000 * scale), 1)
    tell("end to end: batches of 100 in, two requests an event out")
    whole = _end_to_end(round(20_000 * scale), 100)
    tell("end to end: one event a request in, two requests an event out")
    singles = _end_to_end(round(15_000 * scale), 1)
    tell(f"delay at {DELAY_PER_S} events a second")
    sent, answers = _delays(max(1, round(8 * scale)))
    tell("the load tool against the bare sink")
    bare = _bare(round(40_000 * scale))
    if peer:
        tell("the peer: Celery, Redis and requests, two workers")
    other = measure_peer(max(100, round(4_000 * scale))) if peer else "not measured: not asked for"
    deliveries = whole.per_s * whole.deliveries
    figures = Figures(
        accepted_single_per_s=accepted_single,
        accepted_batch_per_s=accepted,
        decided_per_s=decided,
        end_to_end_per_s=whole.per_s,
        end_to_end_single_per_s=singles.per_s,
        deliveries_per_event=whole.deliveries,
        deliveries_per_s=deliveries,
        accept_to_sent_ms={**sent, "at_events_per_s": float(DELAY_PER_S)},
        durable_answer_ms=answers,
        cpu_us_per_event=sum(whole.cpu_us.values()),
        cpu_us_per_event_by_role=whole.cpu_us,
        bytes_per_event=whole.bytes,
        peak_rss_mib=max(sum(one.peak_mib.values()) for one in (whole, singles)),
        peak_rss_by_role_mib=whole.peak_mib,
        idle_mib=together,
        idle_rss_mib=sum(idle.values()),
        idle_rss_by_role_mib=idle,
        encode_and_classify_us=encoding,
        peers={"load_tool_to_bare_sink_requests_per_s": bare, **_named(other)},
        ratios=_ratios(deliveries, bare, other),
        machine=before,
        accepted_single_apart_per_s=accepted_single_apart,
        decided_apart_per_s=decided_apart,
    )
    return msgspec.structs.replace(figures, targets=judged(figures))


def _named(peer: Peer | str) -> dict[str, float | str]:
    if isinstance(peer, str):
        return {"celery_redis_requests": peer}
    return {f"celery_redis_requests_{name}": getattr(peer, name) for name in peer.__struct_fields__}


def _ratios(deliveries: float, bare: float, peer: Peer | str) -> dict[str, float]:
    found = {"deliveries_to_bare_sink": deliveries / bare}
    if isinstance(peer, Peer):
        found["deliveries_to_celery"] = deliveries / peer.deliveries_per_s
        found["deliveries_to_celery_kept_connection"] = deliveries / peer.deliveries_kept_connection_per_s
    return found


def _idle() -> tuple[Mapping[str, float], float]:
    """MiB by role of a service that has started and has nothing to do; and of all, shared pages once."""
    with serving(EVERY_ROLE) as (service, _):
        service.log_in(1)
        until(service.idle, "the service to be idle")
        return service.rss_mib(peak=False), service.together_mib()


def _accepted(roles: Sequence[str], events: int, batch: int) -> tuple[float, float]:
    """Events a second until all are answered 202, and until all are decided."""
    with serving(roles) as (service, _):
        service.log_in(events)
        bodies = requests(loans(range(events)), batch)
        took = send_all(
            service.url, service.key, bodies, CONNECTIONS_SINGLE if batch == 1 else CONNECTIONS_BATCH
        )
        waited = until(lambda: service.decided(events + events), "everything to be decided")
        return events / took, events / (took + waited)


def _end_to_end(events: int, batch: int) -> _Whole:
    with serving(EVERY_ROLE) as (service, sink):
        service.log_in(events)
        until(service.idle, "the sender to have read the logins")
        bodies = requests(loans(range(events)), batch)
        size, before = service.bytes(), service.cost()
        took = send_all(
            service.url, service.key, bodies, CONNECTIONS_SINGLE if batch == 1 else CONNECTIONS_BATCH
        )
        took += until(lambda: sink.has(2 * events), "everything to be sent")
        until(service.idle, "everything to be recorded")
        after = service.cost()
        return _Whole(
            events / took,
            sink.received().count / events,
            {role: (after.seconds[role] - before.seconds[role]) / events * 1e6 for role in EVERY_ROLE},
            (service.bytes() - size) / events,
            service.rss_mib(),
        )


def _delays(seconds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Milliseconds from the 202 to the sink, of every delivery, and from the request to its 202."""
    events = DELAY_PER_S * seconds
    with serving(EVERY_ROLE, keeps="") as (service, sink):
        service.log_in(events)
        until(service.idle, "the sender to have read the logins")
        bodies = requests(loans(range(events)), 1)
        load, _ = send_at(service.url, service.key, bodies, CONNECTIONS_SINGLE, per_second=DELAY_PER_S)
        until(lambda: sink.has(2 * events), "everything to be sent")
        arrivals = sink.arrivals()
        answers = [(end - start) * 1000 for start, end in zip(load.sent, load.answers, strict=True)]
        return quantiles(sent_after(load.answers, arrivals)), quantiles(answers)


def sent_after(answers: Sequence[float], arrivals: Mapping[str, Sequence[float]]) -> list[float]:
    """Milliseconds from each answer to every delivery of its event: the n-th event is user bench-n's.

    One that left before its answer was read counts as none.
    """
    return [
        max(0.0, at - answered) * 1000
        for number, answered in enumerate(answers)
        for at in arrivals.get(f"bench-{number}", ())
    ]


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """The median and the outer percentiles."""
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 2), "p90": round(cuts[89], 2), "p99": round(cuts[98], 2)}


def _bare(wanted: int) -> float:
    """Requests a second of the load tool alone against a sink."""
    with tempfile.TemporaryDirectory(prefix="lendsignal-bench-") as folder, sink_in(Path(folder)) as sink:
        bodies = requests(loans(range(wanted)), 1)
        return wanted / send_all(sink.url, "x", bodies, CONNECTIONS_SINGLE, expect=False)
