"""Brakes in the sender: what holds, what a person lets go, and what outlives a kill."""

from pathlib import Path
from typing import Any

import pytest
from tests.acme import DAY, HOUR
from tests.desk import TOKEN, Hand, acme, acme_at, borrower, borrowers, verdicts
from tests.laned import all_users, laned, user_with_loans
from tests.ordered import EVERY, Halt, LetGo, OrderedDesk
from tests.scripted import platform, says

from lendsignal.deliver import Brakes, orders
from lendsignal.log import Changes

ACCEPTS = verdicts("accepted")
REFUSES = verdicts("rejected:invalid_field")


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TOKEN", TOKEN)


@pytest.fixture(autouse=True)
def looks_at_every_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "LOOK_SECONDS", 0.0)


def stopped(desk: OrderedDesk, name: str = "acme-ng") -> tuple[str, str] | None:
    """Who stopped a destination and why, as it is kept."""
    found = desk.store.paused().get(name)
    return None if found is None else (found.kind.value, found.reason)


# the first run


FIRST_FIVE: dict[str, Any] = {"first_run": 5, "concurrency": 1}


def test_the_first_run_ends_at_its_cap_until_a_person_looked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, acme(**FIRST_FIVE), sandbox=played.url) as desk:
        desk.tell(*borrowers(12)).quiet()
        assert all_users(played) == [f"u{n}" for n in range(5)]
        assert stopped(desk) == ("brake", "first_run")
        assert "acme-ng is paused: first_run; nothing is lost, a person must act" in caplog.text
        desk.clock.ahead(DAY)
        assert desk.quiet().tally()["accepted"] == 5
        desk.order(LetGo(("acme-ng",)))
        desk.quiet()

        assert desk.tally()["accepted"] == 12
        desk.tell(*(one for n in range(9) for one in borrower(f"more{n}", DAY)))
        assert desk.quiet().tally()["accepted"] == 21
        assert desk.balanced()


@pytest.mark.parametrize(
    "facts", [{"batch": 1}, {"batch": 3}, {"batch": 50}, {"batch": 50, "batch_by": "user"}]
)
def test_the_cap_is_what_it_says_whatever_a_batch_holds(tmp_path: Path, facts: dict[str, Any]) -> None:
    outlet = acme(facts=facts, first_run=7, concurrency=2)
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.tell(*borrowers(20)).quiet()

        assert len(all_users(played)) == 7
        assert stopped(desk) == ("brake", "first_run")


def test_a_retry_is_no_first_delivery(tmp_path: Path) -> None:
    outlet = acme(facts={"batch": 1}, **FIRST_FIVE)
    script = [says(503)] * 5 + [ACCEPTS]
    with platform(*script) as played, OrderedDesk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.tell(*borrowers(5)).until(lambda: len(played.came) == 5)
        desk.quiet().clock.ahead(1)

        assert desk.quiet().tally()["accepted"] == 5
        assert stopped(desk) is None


def test_what_is_skipped_is_no_first_delivery(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, acme(**FIRST_FIVE), sandbox=played.url) as desk:
        desk.clock.ahead(2 * DAY)
        desk.tell(*borrowers(30)).quiet()
        assert desk.tally() == {"planned": 30, "skipped": 30, "skipped too_old": 30}
        desk.tell(*(one for n in range(8) for one in borrower(f"new{n}", 2 * DAY))).quiet()

        assert desk.tally()["accepted"] == 5


def test_the_first_run_counts_on_after_a_kill(tmp_path: Path) -> None:
    outlet = acme(facts={"batch": 1}, **FIRST_FIVE)
    script = [ACCEPTS, REFUSES, says(503, Retry_After="600"), ACCEPTS]
    with platform(*script) as played, OrderedDesk(tmp_path, outlet, sandbox=played.url) as desk:
        # One accepted, one dead, one waiting to be tried again: three of five.
        desk.tell(*borrowers(3)).until(lambda: any(one.attempts for one in desk.open()))
        desk.restart()
        desk.tell(*(one for n in range(8) for one in borrower(f"new{n}"))).quiet()

        assert all_users(played)[3:] == ["new0", "new1"]


def test_the_first_run_is_over_for_good_when_a_person_let_it_go(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, acme(**FIRST_FIVE), sandbox=played.url) as desk:
        desk.tell(*borrowers(6)).quiet()
        desk.order(LetGo(("acme-ng",)))
        desk.restart()
        desk.tell(*(one for n in range(8) for one in borrower(f"new{n}"))).quiet()

        assert desk.tally()["accepted"] == 14


def test_a_destination_without_a_cap_is_not_held(tmp_path: Path) -> None:
    outlets = acme("one-ng", first_run=2), acme("two-ng")
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, *outlets, sandbox=played.url) as desk:
        desk.tell(*borrowers(9)).quiet()

        assert [desk.tally(name)["accepted"] for name in ("one-ng", "two-ng")] == [2, 9]


def test_a_lane_keeps_its_order_through_the_first_run(tmp_path: Path) -> None:
    outlet = laned(first_run=2)
    with (
        platform(ACCEPTS) as played,
        OrderedDesk(tmp_path, outlet, sandbox=played.url, clock=Hand(10)) as desk,
    ):
        desk.tell(*user_with_loans("u1", 1, 2, 3, 4)).quiet()
        assert stopped(desk) == ("brake", "first_run")
        desk.order(LetGo(("acme-ng",)))
        desk.quiet()

        assert desk.tally()["accepted"] == 4


# volume


LOW = Brakes(volume=3.0, volume_from=64)


def with_a_day_behind(desk: OrderedDesk, an_hour: int = 10) -> OrderedDesk:
    """As if every hour of the day before had so many deliveries."""
    changes = Changes()
    now = desk.clock.now_us() // 3_600_000_000
    changes.volume = {("acme-ng", now - 1 - n): an_hour for n in range(24)}
    changes.add("acme-ng", "disbursement", "late_touch")
    desk.store.commit(changes)
    return desk


def test_an_hour_far_above_the_busiest_is_held_and_a_person_lets_it_go(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, acme(), sandbox=played.url, brakes=LOW) as desk:
        with_a_day_behind(desk).order(Halt((EVERY,)))
        desk.tell(*borrowers(130)).quiet()
        assert stopped(desk) == ("brake", "unusual_volume")
        desk.order(LetGo((EVERY,)))
        desk.quiet()
        assert desk.tally()["accepted"] == 130
        desk.tell(*(one for n in range(130) for one in borrower(f"new{n}"))).quiet()

        assert desk.tally()["accepted"] == 260, "for a day nobody asks again"


def test_nothing_leaves_after_the_volume_was_found_unusual(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, acme(), sandbox=played.url, brakes=LOW) as desk:
        with_a_day_behind(desk)
        desk.tell(*borrowers(130)).quiet()

        assert played.came == []
        assert len(desk.open()) == 130


def test_usual_volume_is_not_held(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, acme(), sandbox=played.url, brakes=LOW) as desk:
        with_a_day_behind(desk, an_hour=50)
        desk.tell(*borrowers(150)).quiet()

        assert desk.tally()["accepted"] == 150


def test_volume_is_counted_across_kills(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, acme(), sandbox=played.url, brakes=LOW) as desk:
        with_a_day_behind(desk, an_hour=20)
        desk.tell(*borrowers(50)).quiet()
        desk.restart()
        desk.tell(*(one for n in range(50) for one in borrower(f"new{n}"))).quiet()

        # 64 are more than 3 × 20; it is looked at with every 64th.
        assert stopped(desk) == ("brake", "unusual_volume")


# refusals


TEN = Brakes(rejected=0.8, rejected_of=10)


def test_a_platform_that_refuses_most_is_sent_no_more(tmp_path: Path) -> None:
    outlet = acme(facts={"batch": 1}, concurrency=1)
    with platform(REFUSES) as played, OrderedDesk(tmp_path, outlet, sandbox=played.url, brakes=TEN) as desk:
        desk.tell(*borrowers(40)).quiet()

        assert len(played.came) == 10
        assert stopped(desk) == ("brake", "mass_reject")
        assert desk.tally()["dead"] == 10
        assert len(desk.open()) == 30
        played.play(ACCEPTS)
        desk.order(LetGo(("acme-ng",)))
        assert desk.quiet().tally()["accepted"] == 30


def test_some_refusals_stop_nobody(tmp_path: Path) -> None:
    some = verdicts("rejected:invalid_field", "accepted", "rejected:invalid_field", "accepted")
    with platform(some) as played, OrderedDesk(tmp_path, acme(), sandbox=played.url, brakes=TEN) as desk:
        desk.tell(*borrowers(40)).quiet()

        assert (desk.tally()["accepted"], desk.tally()["dead"]) == (20, 20)


# all of them


@pytest.mark.parametrize("killed", [False, True], ids=["running", "killed"])
@pytest.mark.parametrize("way", ["first_run", "mass_reject", "person"])
def test_what_a_brake_or_a_person_stopped_is_never_probed(tmp_path: Path, way: str, killed: bool) -> None:
    outlet = acme(facts={"batch": 1}, concurrency=1, first_run=4 if way == "first_run" else None)
    act = ACCEPTS if way == "first_run" else REFUSES
    with platform(act) as played, OrderedDesk(tmp_path, outlet, sandbox=played.url, brakes=TEN) as desk:
        if way == "person":
            desk.order(Halt(("acme-ng",)))
        desk.tell(*borrowers(20)).quiet()
        before = len(played.came)
        if killed:
            desk.restart()
        for _ in range(3):
            desk.clock.ahead(HOUR)
            desk.quiet()

        assert len(played.came) == before
        assert stopped(desk) is not None


def test_a_probe_that_was_on_its_way_does_not_let_go_what_a_person_stopped(tmp_path: Path) -> None:
    with platform(says(401), ACCEPTS) as played, OrderedDesk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrowers(3)).until(lambda: stopped(desk)).quiet()
        desk.order(Halt(("acme-ng",)))
        desk.clock.ahead(HOUR)
        desk.quiet()

        assert len(played.came) == 1
        assert stopped(desk) == ("person", "by_hand")


def test_one_brake_stops_no_other_destination(tmp_path: Path) -> None:
    with (
        platform(REFUSES) as sick,
        platform(ACCEPTS) as well,
        OrderedDesk(tmp_path, acme_at(sick.url, "sick-ng"), acme_at(well.url, "well-ng"), brakes=TEN) as desk,
    ):
        desk.tell(*borrowers(60)).quiet()

        assert desk.tally("well-ng")["accepted"] == 60
        assert stopped(desk, "sick-ng") == ("brake", "mass_reject")
        assert stopped(desk, "well-ng") is None
