"""What waits for long leaves memory, comes back when it is due, and keeps nobody out meanwhile."""

from datetime import timedelta
from pathlib import Path

import pytest
from tests.acme import HOUR, event, login, us
from tests.desk import TOKEN, Desk, Hand, acme, borrower, borrowers, verdicts
from tests.laned import all_users, rows_in, the
from tests.ordered import OrderedDesk
from tests.scripted import platform, says

from lendsignal.deliver import DestinationSettings
from lendsignal.deliver.settings import period
from lendsignal.log import Stage

ACCEPTS = verdicts("accepted")
NOT_FOR_TEN_MINUTES = says(503, Retry_After="600")


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TOKEN", TOKEN)


def in_memory(desk: Desk) -> int:
    """Deliveries of the destination that the sender holds in memory."""
    return len(desk.sender.book.lines["acme-ng"].items)


# long waits


@pytest.mark.parametrize("killed", [False, True], ids=["running", "killed"])
def test_a_long_wait_leaves_memory_and_ends_when_it_is_due(tmp_path: Path, killed: bool) -> None:
    with (
        platform(NOT_FOR_TEN_MINUTES, ACCEPTS) as played,
        Desk(tmp_path, acme(), sandbox=played.url) as desk,
    ):
        desk.tell(*borrowers(4)).until(lambda: {one.stage for one in desk.open()} == {Stage.PARKED})
        assert in_memory(desk) == 0
        if killed:
            desk.restart()
        desk.clock.ahead(9.9)
        desk.quiet()
        assert len(played.came) == 1
        desk.clock.ahead(0.1)
        desk.quiet()

        assert desk.tally()["accepted"] == 4
        assert [len(rows_in(came)) for came in played.came] == [4, 4]
        assert desk.balanced()


def test_a_short_wait_stays_in_memory(tmp_path: Path) -> None:
    with platform(says(503), ACCEPTS) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrower()).until(lambda: desk.open() and the(desk).attempts)

        assert the(desk).stage is Stage.WAITING
        assert in_memory(desk) == 1


def test_a_window_full_of_retries_does_not_keep_newer_deliveries_out(tmp_path: Path) -> None:
    # Memory holds 100; 300 are told to come again in ten minutes.
    script = [NOT_FOR_TEN_MINUTES] * 6 + [ACCEPTS]
    outlet = acme(facts={"batch": 50}, concurrency=1)
    with platform(*script) as played, Desk(tmp_path, outlet, sandbox=played.url, window=100) as desk:
        desk.tell(*borrowers(300)).quiet()
        assert {one.stage for one in desk.open()} == {Stage.PARKED}
        newer = [f"new{n}" for n in range(120)]
        desk.tell(*(one for name in newer for one in borrower(name))).quiet()

        assert all_users(played)[300:] == newer
        desk.clock.ahead(10)
        assert desk.quiet().tally()["accepted"] == 420
        assert desk.balanced()


def test_parked_ones_come_back_by_when_they_are_due_however_many_there_are(tmp_path: Path) -> None:
    script = [says(503, Retry_After=str(600 - 60 * n)) for n in range(5)] + [ACCEPTS]
    outlet = acme(facts={"batch": 50}, concurrency=1)
    with platform(*script) as played, Desk(tmp_path, outlet, sandbox=played.url, window=100) as desk:
        desk.tell(*borrowers(250)).quiet()
        for _ in range(10):
            desk.clock.ahead(1)
            desk.quiet()

        # The fifth batch of fifty was to come back first, the first one last.
        came = all_users(played)[250:]
        assert [came[0], came[50], came[-1]] == ["u200", "u150", "u49"]
        assert desk.tally()["accepted"] == 250


def test_what_is_parked_follows_a_late_login_before_its_first_try(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, Desk(tmp_path, acme(schedule="every 2h"), sandbox=played.url) as desk:
        desk.tell(login(0, "old"), event("disbursed", 5, loan_id="L1")).turns()
        desk.tell(login(4, "new", arrives=6, event_id="late")).turns().clock.ahead(HOUR)
        desk.quiet()

        (row,) = rows_in(played.came[0])
        assert row["device"] == "af-new"


def test_what_is_parked_can_be_taken_back(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, Desk(tmp_path, acme(schedule="every 2h"), sandbox=played.url) as desk:
        desk.tell(*borrower()).turns()
        desk.tell(event("disbursement_reversed", 1, loan_id="L-u1")).turns().clock.ahead(HOUR)
        desk.quiet()

        assert desk.tally() == {"planned": 1, "cancelled": 1, "cancelled disbursement_reversed": 1}
        assert played.came == []


def test_one_that_is_parked_for_now_behind_one_that_came_back_is_not_forgotten(tmp_path: Path) -> None:
    """Both are due in the same microsecond, and the one with the smaller id is parked last."""
    outlet = acme(facts={"batch": 1}, concurrency=1)
    script = [verdicts("rejected:invalid_field")] * 2 + [ACCEPTS]
    with platform(*script) as played, OrderedDesk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.tell(*borrowers(2)).quiet()
        first, second = desk.ended("dead")
        for number in (second, first):
            desk.order(desk.again("dead", "invalid_field", number))
            desk.until(lambda: not desk.open())

        assert desk.tally()["accepted"] == 2
        assert all_users(played) == ["u0", "u1", "u1", "u0"]


# schedules


EVERY_TWO_HOURS = acme(schedule="every 2h", facts={"batch": 50}, concurrency=1)


def test_before_the_full_period_nothing_goes_and_then_everything(tmp_path: Path) -> None:
    # The desk's clock starts at 09:00 UTC: the next full two hours since midnight are at 10:00.
    with platform(ACCEPTS) as played, Desk(tmp_path, EVERY_TWO_HOURS, sandbox=played.url) as desk:
        for minutes in (0, 20, 59):
            desk.clock.us = us(minutes)
            desk.tell(*borrower(f"u{minutes}", minutes)).quiet()
        assert played.came == []
        assert {one.due_us for one in desk.open()} == {us(60)}
        desk.clock.us = us(60)
        desk.quiet()

        assert all_users(played) == ["u0", "u20", "u59"]
        desk.clock.us = us(61)
        desk.tell(*borrower("u61", 61)).quiet()
        assert the(desk).due_us == us(60 + 2 * HOUR)


@pytest.mark.parametrize("killed", [False, True], ids=["running", "killed"])
def test_what_a_schedule_gathers_outlives_a_kill(tmp_path: Path, killed: bool) -> None:
    with platform(ACCEPTS) as played, Desk(tmp_path, EVERY_TWO_HOURS, sandbox=played.url) as desk:
        desk.tell(*borrowers(130)).turns()
        if killed:
            desk.restart()
        assert desk.quiet().tally() == {"planned": 130}
        desk.clock.ahead(HOUR)
        desk.quiet()

        assert desk.tally()["accepted"] == 130
        assert [len(rows_in(came)) for came in played.came] == [50, 50, 30]


def test_a_retry_of_a_scheduled_one_does_not_wait_for_the_next_period(tmp_path: Path) -> None:
    with platform(says(503), ACCEPTS) as played, Desk(tmp_path, EVERY_TWO_HOURS, sandbox=played.url) as desk:
        desk.tell(*borrower()).turns().clock.ahead(HOUR)
        desk.quiet().clock.ahead(1)

        assert desk.quiet().tally()["accepted"] == 1


def test_a_period_begins_anew_at_midnight_utc(tmp_path: Path) -> None:
    # Every 5 h: 00, 05, 10, 15, 20, and 00 again; what is planned at 21:30 goes at midnight.
    clock = Hand(12.5 * HOUR)
    with (
        platform(ACCEPTS) as played,
        Desk(tmp_path, acme(schedule="every 5h"), sandbox=played.url, clock=clock) as desk,
    ):
        desk.tell(*borrower("u1", 12.5 * HOUR)).turns()

        assert the(desk).due_us == us(15 * HOUR)


@pytest.mark.parametrize("schedule", ["every 30s", "every 25h", "hourly", "every", "every soon", ""])
def test_what_is_no_schedule_is_refused(schedule: str) -> None:
    with pytest.raises(ValueError, match="schedule must be"):
        DestinationSettings(kind="acme", app="acme-ng", schedule=schedule)


def test_schedules_are_read() -> None:
    assert [period(text) for text in ("realtime", "every 15m", "every 24h")] == [
        None,
        timedelta(minutes=15),
        timedelta(days=1),
    ]
