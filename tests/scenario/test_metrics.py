"""`/metrics` of a running service: what the platforms received and the books say, and who is not there."""

import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.measured import Told, read
from tests.running import ACCOUNTS, BackEnd, Ledger, Service, Stand, borrowing, call, service, until

WHATS = ("accepted", "dead", "skipped", "cancelled")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Stand]]:
    """One service for all that does not end it."""
    with service(tmp_path_factory.mktemp("measured")) as both:
        yield both


def scrape(address: str) -> Told:
    status, headers, body = call(address, "GET", "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    return read(body.decode())


def ended(told: Told, name: str) -> float:
    return told.total("deliveries_ended_total", destination=name)


def test_the_page_says_what_the_platforms_received_and_what_the_books_say(tmp_path: Path) -> None:
    with service(tmp_path) as (one, stand):
        stand.faults({"kind": "status", "status": 503, "times": 2})
        back_end = BackEnd(one)
        for number in range(30):
            back_end.send(borrowing(number))
        one.idle()
        until(lambda: sum(ended(scrape(one.address), name) for name in ACCOUNTS) == 90, "all is told")
        # Each role tells what the others last wrote down.
        until(lambda: scrape(one.pages).names() == scrape(one.address).names(), "both tell the same")
        told, pages = scrape(one.address), scrape(one.pages)
        received = {name: stand.ids(name) for name in ACCOUNTS}
        assert one.stop() == 0
    books = Ledger(tmp_path / "service" / "data")

    for name in ACCOUNTS:
        assert told.total("deliveries_planned_total", destination=name) == len(books.planned[name])
        for what in WHATS:
            there = told.total("deliveries_ended_total", destination=name, end=what)
            assert there == books.count(name, what)
        accepted = told.total("attempts_total", destination=name, outcome="accepted")
        assert accepted == sum(received[name].values())
        assert told.value("posting_delay_seconds_count", destination=name) == accepted
        assert told.total("deliveries_open", destination=name) == 0
    assert told.total("attempts_total", reason="http_503") == 2
    assert told.total("requests_total", status="5xx") == 2
    assert told.value("events_taken_total", source="backend", type="disbursed") == 30
    assert told.value("door_requests_total", status="2xx") == 30
    assert told.value("door_durable_seconds_count") == 30
    assert told.value("verdicts_total", verdict="taken") == books.verdicts["taken"] == 60
    assert told.value("disk_free_bytes") > 0
    assert {told.value("role_up", role=role) for role in ("core", "send", "web")} == {1}
    assert pages.names() == told.names()
    assert not list((tmp_path / "service" / "data").glob("*.metrics*"))


def test_a_sender_that_hangs_is_down_and_its_old_values_are_not_told(running: tuple[Service, Stand]) -> None:
    one, _ = running
    until(lambda: scrape(one.address).value("role_up", role="send"), "the sender is heard of")
    sender = until(lambda: one.pid("send"), "the sender lives")
    os.kill(sender, signal.SIGSTOP)
    try:
        until(lambda: not scrape(one.address).value("role_up", role="send"), "the sender is missed")
        told = scrape(one.address)
        assert not {name for name in told.names() if "pace" in name or "deliveries" in name}
        assert told.value("role_up", role="core") == told.value("role_up", role="web") == 1
    finally:
        os.kill(sender, signal.SIGCONT)
    until(lambda: scrape(one.address).value("role_up", role="send"), "the sender is back")


def test_a_sender_that_is_killed_counts_on_where_it_stood(running: tuple[Service, Stand]) -> None:
    one, _ = running
    BackEnd(one).send(borrowing(1, prefix="before-"))
    one.idle()
    before = until(lambda: ended(scrape(one.address), "warehouse"), "it is told")
    killed = one.kill("send")
    until(lambda: one.pid("send") not in (None, killed), "the sender is started again")
    BackEnd(one).send(borrowing(2, prefix="after-"))
    one.idle()

    until(lambda: ended(scrape(one.address), "warehouse") == before + 2, "both are told")


def test_labels_stay_few_whatever_a_back_end_sends(running: tuple[Service, Stand]) -> None:
    one, _ = running
    now = datetime.now(UTC).isoformat()
    common = {"brand": "acme", "user_id": "somebody-in-particular", "occurred_at": now}
    events = [{**common, "type": f"quiz_{number}", "event_id": f"q-{number}"} for number in range(60)]
    events += [{**common, "type": "registered", f"made_up_{number}": "x"} for number in range(30)]
    assert call(one.address, "POST", "/v1/events", json.dumps(events).encode())[0] == 202
    one.idle()
    told = scrape(one.address)

    assert told.labels("events_taken_total", "type") <= {"custom", "disbursed", "registered"}
    assert told.value("events_taken_total", source="backend", type="custom") == 60
    assert told.value("events_refused_total", source="backend", rule="unknown_field") == 30
    assert told.value("events_decided_total", type="custom") == 60
    page = call(one.address, "GET", "/metrics")[2].decode()
    assert "quiz" not in page
    assert "made_up" not in page
    assert "somebody" not in page
