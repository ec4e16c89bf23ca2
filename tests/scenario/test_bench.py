"""The bench runs, and gives every figure that it promises."""

import msgspec

from lendsignal.bench import measure


def test_the_bench_gives_every_figure_and_every_event_is_delivered_twice() -> None:
    told: list[str] = []
    figures = measure(quick=True, tell=told.append, scale=0.1)

    found = msgspec.to_builtins(figures)
    assert found["deliveries_per_event"] == 2.0
    rates = (
        "accepted_single_per_s accepted_batch_per_s decided_per_s end_to_end_per_s cpu_us_per_event"
        " bytes_per_event peak_rss_mib"
    )
    assert all(found[name] > 0 for name in rates.split())
    assert found["accept_to_sent_ms"].keys() == {"p50", "p90", "p99", "at_events_per_s"}
    assert found["accept_to_sent_ms"]["p50"] <= found["accept_to_sent_ms"]["p99"]
    assert found["peers"]["load_tool_to_bare_sink_requests_per_s"] > 0
    assert len(told) == 6
