"""How figures are made of what was seen, and judged by their targets."""

import os
import subprocess
import sys
from collections.abc import Mapping

import pytest
from msgspec import Struct

from lendsignal.bench.encoding import encode_and_classify_us
from lendsignal.bench.growth import Sample, grow, steps_of
from lendsignal.bench.machine import cpu_seconds, descendants, machine, rss_mib
from lendsignal.bench.measure import quantiles, sent_after
from lendsignal.bench.targets import Target, judged
from lendsignal.destination import registry
from lendsignal.errors import LendsignalError


class Found(Struct, frozen=True, kw_only=True):
    end_to_end_per_s: float
    end_to_end_single_per_s: float
    decided_per_s: float
    accept_to_sent_ms: Mapping[str, float]
    cpu_us_per_event: float
    ratios: Mapping[str, float]
    encode_and_classify_us: Mapping[str, float]
    bytes_per_event: float
    idle_rss_mib: float


FOUND = Found(
    end_to_end_per_s=10_000.0,
    end_to_end_single_per_s=4_999.0,
    decided_per_s=40_000.0,
    accept_to_sent_ms={"p50": 4.0, "p99": 25.1},
    cpu_us_per_event=90.0,
    ratios={},
    encode_and_classify_us={"cheap": 3.0, "dear": 9.0},
    bytes_per_event=901.0,
    idle_rss_mib=100.0,
)


def by_key() -> dict[str, Target]:
    return {target.key: target for target in judged(FOUND)}


def test_a_figure_reaches_its_target_at_the_limit_and_not_beyond_it() -> None:
    found = by_key()
    reached = {key: (target.reached, target.went) for key, target in found.items()}

    assert reached == {
        "end_to_end_per_s": (True, False),
        "end_to_end_single_per_s": (False, False),
        "decided_per_s": (True, True),
        "accept_to_sent_ms.p50": (True, False),
        "accept_to_sent_ms.p99": (False, False),
        "cpu_us_per_event": (True, True),
        "ratios.deliveries_to_celery": (None, None),
        "encode_and_classify_us": (True, False),
        "bytes_per_event": (False, False),
        "idle_rss_mib": (True, False),
    }


def test_of_several_destinations_the_dearest_is_judged() -> None:
    assert by_key()["encode_and_classify_us"].found == 9.0


def test_what_was_not_measured_is_neither_reached_nor_missed() -> None:
    missing = by_key()["ratios.deliveries_to_celery"]

    assert (missing.found, missing.reached, missing.went) == (None, None, None)


def test_a_delay_is_counted_for_every_delivery_of_an_event() -> None:
    answers = [10.0, 20.0]
    arrivals = {"bench-0": [10.004, 10.002], "bench-1": [19.9]}

    assert sent_after(answers, arrivals) == pytest.approx([4.0, 2.0, 0.0])


def test_percentiles_are_those_of_a_hundred_steps() -> None:
    assert quantiles([float(n) for n in range(101)]) == {"p50": 50.0, "p90": 90.0, "p99": 99.0}


def sample(events: int, core_us: float, send_us: float) -> Sample:
    return Sample(
        events=events,
        users=events // 10,
        per_s=1e6 / (core_us + send_us),
        cpu_us={"core": core_us, "send": send_us, "web": 1.0},
        rss_mib={},
        disk_mib=1.0,
    )


def test_growth_tells_its_cost_at_sizes_that_double_up_to_the_last() -> None:
    samples = [sample(1_000 * n, 20.0 + n, 40.0) for n in range(1, 33)]

    steps = steps_of(samples)

    # The median of the last five samples before each size; the very first sample is left out.
    assert [(step.events, step.core_us) for step in steps] == [
        (4_000, 23.0),
        (8_000, 26.0),
        (16_000, 34.0),
        (32_000, 50.0),
    ]
    assert {step.send_us for step in steps} == {40.0}


@pytest.mark.parametrize(("events", "users"), [(40_000, 4_000), (100_000, 90_000), (100_000, 0)])
def test_growth_refuses_sizes_that_it_cannot_sample(events: int, users: int) -> None:
    with pytest.raises(LendsignalError, match="two events a user"):
        grow(events, users, lambda doing: None)


def test_every_destination_has_a_cost() -> None:
    found = encode_and_classify_us()

    assert found.keys() == registry().keys()
    assert all(0.05 < cost < 1_000 for cost in found.values())


def test_the_machine_tells_of_itself() -> None:
    found = machine()

    assert found.cores >= 1
    assert found.load_before >= 0
    assert found.fsync_ms > 0


def test_a_process_has_used_time_and_memory_and_knows_its_children() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert child.pid in descendants(os.getpid())
        assert cpu_seconds(os.getpid()) > 0
        assert rss_mib(os.getpid(), peak=True) >= rss_mib(os.getpid()) * 0.5 > 0
    finally:
        child.communicate(b"\n")
