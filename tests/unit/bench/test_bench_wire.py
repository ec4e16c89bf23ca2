"""The two ends of a bench: what the sink remembers, and how the load tool keeps its rate."""

import time
from pathlib import Path

from lendsignal.bench.made_up import loans, requests
from lendsignal.bench.service import send_all, send_at, sink_in


def test_the_sink_counts_every_request_and_tells_when_the_first_and_the_last_came(tmp_path: Path) -> None:
    with sink_in(tmp_path) as sink:
        nothing = sink.received()
        send_all(sink.url, "x", requests(loans(range(500)), 1), 8, expect=False)
        found = sink.received()
        arrivals = sink.arrivals()

    assert (nothing.count, nothing.first, nothing.last) == (0, 0.0, 0.0)
    assert found.count == 500
    assert 0 < found.first <= found.last
    assert arrivals == {}


def test_a_sink_that_keeps_arrivals_has_one_moment_for_each_request_of_a_user(tmp_path: Path) -> None:
    with sink_in(tmp_path, keeps="") as sink:
        send_all(sink.url, "x", requests(loans(range(20), lambda number: number % 5), 1), 4, expect=False)
        arrivals = sink.arrivals()

    assert {user: len(times) for user, times in arrivals.items()} == {f"bench-{n}": 4 for n in range(5)}


def test_the_load_tool_keeps_its_rate_whatever_the_number_of_connections(tmp_path: Path) -> None:
    with sink_in(tmp_path) as sink:
        begun = time.time()
        load, took = send_at(sink.url, "x", requests(loans(range(200)), 1), 32, per_second=400.0)

    # Counted from before the start, for the first one too may leave late.
    due = [begun + number / 400 for number in range(200)]
    early = [number for number, at in enumerate(load.sent) if at < due[number] - 0.01]
    assert took >= 199 / 400
    assert early == []
    assert all(end >= start > 0 for start, end in zip(load.sent, load.answers, strict=True))


def test_what_is_not_answered_202_counts_as_refused(tmp_path: Path) -> None:
    with sink_in(tmp_path) as sink:  # it answers 200, which the door never does
        load, _ = send_at(sink.url, "x", requests(loans(range(7)), 1), 2)

    assert load.refused == 7
