"""Every bench runs with small sizes, and gives every figure that it promises."""

import msgspec

from lendsignal.bench import fan_out, grow, isolate, measure, pile_up
from lendsignal.bench.targets import WANTED


def quiet(doing: str) -> None:
    pass


def test_the_bench_gives_every_figure_and_every_event_is_delivered_twice() -> None:
    told: list[str] = []
    figures = measure(quick=True, tell=told.append, scale=0.1, peer=False)

    found = msgspec.to_builtins(figures)
    assert found["deliveries_per_event"] == 2.0
    rates = (
        "accepted_single_per_s accepted_batch_per_s decided_per_s end_to_end_per_s deliveries_per_s"
        " accepted_single_apart_per_s decided_apart_per_s"
        " cpu_us_per_event bytes_per_event peak_rss_mib idle_mib idle_rss_mib"
    )
    assert all(found[name] > 0 for name in rates.split())
    assert found["accept_to_sent_ms"].keys() == {"p50", "p90", "p99", "at_events_per_s"}
    assert 0 <= found["accept_to_sent_ms"]["p50"] <= found["accept_to_sent_ms"]["p99"]
    assert found["peers"]["load_tool_to_bare_sink_requests_per_s"] > 0
    assert found["peers"]["celery_redis_requests"].startswith("not measured")
    assert [target.key for target in figures.targets] == [wanted.key for wanted in WANTED]
    assert [target.key for target in figures.targets if target.found is None] == [
        "ratios.deliveries_to_celery"
    ]
    assert len(told) == 9


def test_growth_samples_a_store_while_it_is_filled() -> None:
    found = grow(4_000, 400, quiet, chunk=500)

    assert [sample.events for sample in found.samples] == list(range(500, 4_001, 500))
    assert found.users == 400
    assert found.steps[-1].events == 4_000
    assert all(sample.per_s > 0 and sample.disk_mib > 0 for sample in found.samples)


def test_a_fan_sends_as_many_deliveries_an_event_as_it_has_destinations() -> None:
    found = fan_out(300, 3, quiet)

    assert [run.deliveries_per_event for run in found.runs] == [1, 2, 3]
    assert all(run.deliveries_per_s > run.events_per_s * 0.99 for run in found.runs)


def test_a_backlog_waits_in_full_and_goes_on_when_it_is_let_go() -> None:
    found = pile_up(3_000, quiet)

    assert found.deliveries >= 3_000
    assert found.waiting_rss_by_role_mib.keys() == {"core", "send", "web"}
    assert found.start_up_seconds > 0
    assert found.first_sent_seconds < 30
    assert [target.key for target in found.targets] == ["waiting_rss_mib", "peak_rss_mib"]


def test_a_hanging_neighbour_hangs_and_the_healthy_one_gets_everything() -> None:
    found = isolate(1, quiet, per_second=300.0, events=500)

    assert [run.neighbour for run in found.runs] == ["missing", "answering", "hanging"]
    assert [run.hung > 0 for run in found.runs] == [False, False, True]
    assert all(run.accept_to_sent_ms["p99"] >= 0 for run in found.runs)
