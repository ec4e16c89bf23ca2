"""The inner path of the door: for our own children only, and answered when all is durable."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.acme import APPS, T0
from tests.desk import Hand

from lendsignal.errors import LogError
from lendsignal.log import Log, open_log
from lendsignal.resolve import ResolveSettings
from lendsignal.source import InnerDoor, Intake, reader_of
from lendsignal.source.pull import Batch, Pulled
from lendsignal.source.pulled import parcel_of

KEY = "inner-key-9f"

LOAN = {
    "type": "disbursed",
    "brand": "acme",
    "user_id": "u1",
    "loan_id": "L1",
    "occurred_at": T0.isoformat(),
}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    found = open_log(tmp_path / "log.sqlite")
    yield found
    found.close()


def asked(log: Log, batch: Batch, key: str = KEY, *, takes: bool = True) -> tuple[int, bytes]:
    """What the door answers to one parcel; its intake has ended already where it takes nothing."""
    intake = Intake(log, lambda first, events: False)
    intake.start()
    if not takes:
        intake.stop()
    door = InnerDoor(KEY, reader_of(APPS, ResolveSettings().clock_ahead), intake, Hand(0))
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": parcel_of("loans", batch)}

    async def send(message: Any) -> None:
        said.append(message)

    scope = {"method": "POST", "headers": [(b"authorization", f"Bearer {key}".encode())]}
    asyncio.run(door(scope, receive, send))
    intake.stop()
    return said[0]["status"], said[1]["body"]


def batch(*events: dict[str, Any]) -> Batch:
    return Batch(events=[Pulled(event=one, where=f"row {n}") for n, one in enumerate(events)])


def test_events_are_in_the_log_when_it_says_so_under_the_name_of_their_pull(log: Log) -> None:
    status, body = asked(log, batch(LOAN, {**LOAN, "loan_id": ""}))

    assert (status, body) == (200, b'{"accepted":1,"refused":1}')
    assert [fact.event.source for fact in log.scan()] == ["loans"]
    assert [(one.rule, b'"where":"row 1"' in one.body) for one in log.quarantined(9)] == [
        ("is needed for disbursed", True)
    ]


def test_whoever_lacks_the_inner_key_finds_nothing_there(log: Log) -> None:
    assert asked(log, batch(LOAN), key="guess")[0] == 404
    assert list(log.scan()) == []


def test_a_log_that_takes_nothing_is_told_as_503(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> int:
        raise LogError("the disk is full")

    monkeypatch.setattr(log, "append", refuse)

    assert asked(log, batch(LOAN))[0] == 503


def test_a_door_that_can_take_no_more_now_says_429(log: Log) -> None:
    assert asked(log, batch(LOAN), takes=False)[0] == 429
