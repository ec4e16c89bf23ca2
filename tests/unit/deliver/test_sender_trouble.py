"""Trouble that is nobody's fault: a full disk, a clock that is set, a destination that goes or is renamed."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.acme import DAY
from tests.desk import MINUTE, TOKEN, Desk, Hand, acme, acme_at, borrower, borrowers, stage_on_disk, verdicts
from tests.laned import all_users, handles, ids_in, laned, later, minutes_of, the, user_with_loans, users_in
from tests.ordered import Cancel, Halt, LetGo, OrderedDesk
from tests.scripted import Came, closes, hangs, platform, says, waits_for

from lendsignal.deliver import Outlet, Unknown, book, orders, sender
from lendsignal.destination.spec import Response
from lendsignal.log import Stage

ACCEPTS = verdicts("accepted")
SECOND = 1 / 60
HOLDS = Unknown(hold=timedelta(days=7))


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TOKEN", TOKEN)


@pytest.fixture(autouse=True)
def looks_at_every_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "LOOK_SECONDS", 0.0)


class Set(Hand):
    """A clock that is set by somebody else, while steady time goes on as it did."""

    def __init__(self) -> None:
        super().__init__(0)
        self.set_us = 0

    def steady(self) -> float:
        return time.monotonic() + (self.us - self.set_us) / 1e6

    def set_by(self, minutes: float) -> None:
        by_us = round(minutes * MINUTE)
        self.us += by_us
        self.set_us += by_us


class SetDesk(Desk):
    """A desk whose clock is set now and then."""

    clock: Set

    def __init__(self, path: Path, *outlets: Outlet, **settings: Any) -> None:
        super().__init__(path, *outlets, clock=Set(), **settings)


# a full disk


@contextmanager
def full_disk(desk: Desk) -> Iterator[None]:
    """The deliveries' file cannot grow by a page."""
    db = desk.store._db
    pages = db.pragma("page_count")
    db.execute(f"pragma max_page_count = {pages}")
    try:
        yield
    finally:
        db.execute("pragma max_page_count = 1000000")


@pytest.fixture
def tries_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that took nothing is tried again at every turn."""
    monkeypatch.setattr(book, "COMMIT_AGAIN_SECONDS", 0.0)


@pytest.mark.usefixtures("tries_at_once")
def test_a_full_disk_lets_nothing_leave_loses_nothing_and_ends_by_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with platform(ACCEPTS) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrower("u-before")).quiet()
        before = len(played.came)
        with full_disk(desk):
            desk.tell(*borrowers(400)).turns(20)
            on_disk = stage_on_disk(tmp_path / "deliveries.sqlite")
            # What left had room to be claimed before; nobody else has left.
            assert len(all_users(played)) - before == sum(1 for stage, _ in on_disk if stage == Stage.CLAIMED)
            assert desk.sender.book.trouble is not None
        desk.quiet()

        assert desk.tally()["accepted"] == 401
        assert sorted(all_users(played)[before:]) == sorted(f"u{n}" for n in range(400))
        assert desk.balanced()
        assert "sending waits, nothing is lost" in caplog.text
        assert "the deliveries can be written again" in caplog.text


@pytest.mark.usefixtures("tries_at_once")
def test_what_cannot_be_claimed_does_not_leave(tmp_path: Path) -> None:
    seen: list[int] = []

    def look(came: Came) -> None:
        claimed = [stage for stage, _ in stage_on_disk(tmp_path / "deliveries.sqlite")]
        seen.append(claimed.count(Stage.CLAIMED) - len(users_in(came)))

    with (
        platform(ACCEPTS, look=look) as played,
        Desk(tmp_path, acme(concurrency=1), sandbox=played.url, settle=timedelta(minutes=1)) as desk,
    ):
        desk.tell(*borrowers(60)).turns(5)
        desk.sender.book.commit()
        desk.clock.ahead(1)
        with full_disk(desk):
            desk.turns(30)
        desk.quiet()

        assert desk.tally()["accepted"] == 60
        assert len(all_users(played)) == 60
        assert min(seen) >= 0


@pytest.mark.usefixtures("tries_at_once")
def test_a_kill_while_the_disk_is_full_loses_nothing(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, Desk(tmp_path, acme(on_unknown=HOLDS), sandbox=played.url) as desk:
        desk.tell(*borrower("u-before")).quiet()
        with full_disk(desk):
            desk.tell(*borrowers(400)).turns(20)
        desk.restart().quiet()

        held = [one for one in desk.open() if one.stage is Stage.HELD]
        assert desk.tally()["accepted"] + len(held) == 401
        assert len(all_users(played)) == len(set(all_users(played)))
        assert desk.balanced()


def test_the_first_delivery_of_all_waits_for_a_full_disk_too(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        with full_disk(desk):
            desk.tell(*borrowers(400)).turns(20)
        desk.clock.ahead(1)

        assert desk.quiet().tally()["accepted"] == 400


@pytest.mark.usefixtures("tries_at_once")
def test_a_lane_keeps_its_order_through_a_full_disk(tmp_path: Path) -> None:
    moments = [n + 1.0 for n in range(60)]
    with platform(ACCEPTS) as played, Desk(tmp_path, laned(), sandbox=played.url) as desk:
        desk.clock.ahead(60)
        desk.tell(*user_with_loans("u1", *moments))
        with full_disk(desk):
            desk.turns(20)
        desk.quiet()

        assert minutes_of(played, "u1") == moments


def test_a_full_disk_is_not_tried_without_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with platform(ACCEPTS) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrower()).quiet()
        tries = []
        commit = desk.store.commit

        def counted(changes: Any) -> None:
            tries.append(1)
            commit(changes)

        monkeypatch.setattr(desk.store, "commit", counted)
        with full_disk(desk):
            desk.tell(*borrowers(400)).turns(40)
            failed = len(tries)
            desk.clock.ahead(1.1 * SECOND)
            desk.turns(1)

            assert failed < 10
            assert len(tries) > failed


# a clock that is set


def test_a_clock_set_forward_closes_no_window_for_five_minutes(tmp_path: Path) -> None:
    with (
        platform(says(503, Retry_After="600"), ACCEPTS) as played,
        SetDesk(tmp_path, acme(), sandbox=played.url) as desk,
    ):
        desk.tell(*borrower()).until(lambda: desk.open() and the(desk).attempts)
        desk.clock.set_by(3 * DAY)
        desk.turns(5)
        desk.clock.ahead(4.9)
        desk.quiet()
        assert len(desk.open()) == 1, "it may be set back"
        desk.clock.set_by(-3 * DAY)
        desk.turns(2).clock.ahead(5.2)
        desk.quiet()

        assert desk.tally()["accepted"] == 1


def test_a_clock_that_stays_forward_is_believed_after_five_minutes(tmp_path: Path) -> None:
    with (
        platform(says(503, Retry_After="60"), ACCEPTS) as played,
        SetDesk(tmp_path, acme(), sandbox=played.url) as desk,
    ):
        desk.tell(*borrower()).until(lambda: desk.open() and the(desk).attempts)
        desk.clock.set_by(3 * DAY)
        desk.turns(2).clock.ahead(4.9)
        assert desk.quiet().tally() == {"planned": 1}
        desk.clock.ahead(0.2)
        desk.quiet()

        assert desk.tally()["dead window_closed"] == 1
        assert len(played.came) == 1


@pytest.mark.parametrize("days", [1, -1], ids=["forward", "back"])
@pytest.mark.parametrize("wait", [20, 600], ids=["in memory", "parked"])
def test_a_retry_comes_after_its_wait_however_the_clock_is_set(tmp_path: Path, days: int, wait: int) -> None:
    with (
        platform(says(503, Retry_After=str(wait)), ACCEPTS) as played,
        SetDesk(tmp_path, acme(), sandbox=played.url) as desk,
    ):
        desk.tell(*borrower()).until(lambda: desk.open() and the(desk).attempts)
        desk.clock.set_by(days * DAY)
        desk.turns(3).clock.ahead((wait - 6) * SECOND)
        desk.quiet()
        assert len(played.came) == 1
        desk.clock.ahead(7 * SECOND)
        desk.quiet()

        assert desk.tally()["accepted"] == 1


@pytest.mark.parametrize("days", [1, -1], ids=["forward", "back"])
def test_waits_are_kept_by_those_who_read_them_from_disk_later(tmp_path: Path, days: int) -> None:
    with (
        platform(says(503, Retry_After="20"), ACCEPTS) as played,
        SetDesk(tmp_path, acme(), sandbox=played.url) as desk,
    ):
        desk.tell(*borrower()).until(lambda: desk.open() and the(desk).attempts)
        desk.clock.set_by(days * DAY)
        desk.turns(3)
        desk.restart().clock.ahead(14 * SECOND)
        desk.quiet()
        assert len(played.came) == 1
        desk.clock.ahead(7 * SECOND)
        desk.quiet()

        assert desk.tally()["accepted"] == 1


def test_what_is_held_for_a_person_is_held_as_long_however_the_clock_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "HELD_SECONDS", 0.0)
    with (
        platform(closes) as played,
        SetDesk(tmp_path, acme(on_unknown=HOLDS), sandbox=played.url) as desk,
    ):
        desk.tell(*borrower()).until(lambda: desk.open() and the(desk).stage is Stage.HELD)
        desk.clock.set_by(8 * DAY)
        desk.turns(5)
        assert the(desk).stage is Stage.HELD
        desk.clock.ahead(7 * DAY)

        assert desk.quiet().tally()["dead unknown"] == 1


def test_what_was_decided_before_the_clock_was_set_back_does_not_wait_for_that_day(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, SetDesk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.clock.set_by(DAY)
        desk.turns(1).tell(*borrower("u1", DAY))
        desk.clock.set_by(-DAY)

        assert desk.quiet().tally()["accepted"] == 1


def test_a_slow_down_lasts_as_long_however_the_clock_is_set(tmp_path: Path) -> None:
    with (
        platform(says(429, Retry_After="20"), ACCEPTS) as played,
        SetDesk(tmp_path, acme(), sandbox=played.url) as desk,
    ):
        desk.tell(*borrower()).until(lambda: desk.open() and the(desk).reason)
        desk.clock.set_by(-DAY)
        desk.turns(3).clock.ahead(10 * SECOND)
        desk.quiet()
        assert len(played.came) == 1
        desk.clock.ahead(11 * SECOND)

        assert desk.quiet().tally()["accepted"] == 1


# destinations that go, or are renamed


def test_a_renamed_destination_sends_what_waited_under_its_former_name(tmp_path: Path) -> None:
    with platform(says(503), ACCEPTS) as played, Desk(tmp_path, acme("old-ng"), sandbox=played.url) as desk:
        desk.tell(*borrowers(3)).until(lambda: all(one.attempts for one in desk.open("old-ng")))
        desk.restart(acme("new-ng", formerly=("old-ng",))).clock.ahead(1)
        desk.quiet()

        assert ids_in(played.came[0]) == ids_in(played.came[1])
        assert desk.tally("new-ng") == {"planned": 3, "accepted": 3, "accepted confirmed": 3}
        assert desk.tally("old-ng") == {}
        assert desk.store.renamed() == {"old-ng": "new-ng"}
        assert desk.store.destinations() == ["new-ng"]
        assert desk.balanced()


def test_what_was_planned_under_the_former_name_and_not_read_yet_goes_too(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, Desk(tmp_path, acme("old-ng"), sandbox=played.url) as desk:
        desk.tell(*borrowers(2)).quiet().tell(*borrower("u5"))
        desk.restart(acme("new-ng", formerly=("old-ng",))).quiet()

        assert all_users(played) == ["u0", "u1", "u5"]
        assert desk.tally("new-ng")["accepted"] == 3
        assert desk.balanced()


def test_a_destination_renamed_twice_keeps_everything(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, Desk(tmp_path, acme("one-ng"), sandbox=played.url) as desk:
        desk.tell(*borrower("u1")).quiet()
        desk.restart(acme("two-ng", formerly=("one-ng",))).tell(*borrower("u2")).quiet()
        desk.restart(acme("three-ng", formerly=("one-ng", "two-ng"))).tell(*borrower("u3")).quiet()

        assert desk.tally("three-ng")["accepted"] == 3
        assert desk.store.renamed() == {"one-ng": "three-ng", "two-ng": "three-ng"}
        assert desk.balanced()


def test_a_rename_keeps_the_order_of_lanes(tmp_path: Path) -> None:
    facts = {"out_of_order": "skip"}
    with (
        platform(ACCEPTS) as played,
        Desk(tmp_path, laned("old-ng", facts=facts), sandbox=played.url) as desk,
    ):
        desk.clock.ahead(10)
        desk.tell(*user_with_loans("u1", 5)).quiet()
        desk.restart(laned("new-ng", facts=facts, formerly=("old-ng",)))
        desk.tell(*user_with_loans("u1", 4)[1:]).quiet()

        assert desk.tally("new-ng")["skipped out_of_order"] == 1


def test_a_rename_does_not_let_go_what_a_person_or_a_brake_stopped(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, acme("old-ng"), sandbox=played.url) as desk:
        desk.order(Halt(("old-ng",)))
        desk.tell(*borrowers(2)).quiet()
        desk.restart(acme("new-ng", formerly=("old-ng",))).quiet()
        assert played.came == []
        assert set(desk.store.paused()) == {"new-ng"}
        desk.order(LetGo(("old-ng",)))

        assert desk.quiet().tally("new-ng")["accepted"] == 2


def test_a_rename_does_not_begin_a_first_run_anew(tmp_path: Path) -> None:
    outlet = acme("old-ng", first_run=2, concurrency=1)
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.tell(*borrowers(3)).quiet()
        desk.order(LetGo(("old-ng",)))
        desk.quiet()
        desk.restart(acme("new-ng", formerly=("old-ng",), first_run=2))
        desk.tell(*(one for n in range(5) for one in borrower(f"new{n}"))).quiet()

        assert desk.tally("new-ng")["accepted"] == 8


def test_an_order_given_under_the_former_name_is_obeyed_under_the_new_one(tmp_path: Path) -> None:
    with (
        platform(says(503), ACCEPTS) as played,
        OrderedDesk(tmp_path, acme("old-ng"), sandbox=played.url) as desk,
    ):
        desk.tell(*borrowers(2)).until(lambda: all(one.attempts for one in desk.open("old-ng")))
        first, _ = (one.id for one in desk.open("old-ng"))
        number = desk.give(Cancel("old-ng", (first,)))
        desk.restart(acme("new-ng", formerly=("old-ng",)))
        desk.until(lambda: desk.obeyed(number)).clock.ahead(1)
        desk.quiet()

        assert desk.obeyed(number) == (1, 0)
        assert desk.tally("new-ng") == {
            "planned": 2,
            "accepted": 1,
            "accepted confirmed": 1,
            "cancelled": 1,
            "cancelled by_hand": 1,
        }
        assert "old-ng" not in desk.store.destinations()


def test_a_name_that_is_still_configured_is_nobody_elses(tmp_path: Path) -> None:
    with platform(says(503), ACCEPTS) as played, Desk(tmp_path, acme("one-ng"), sandbox=played.url) as desk:
        desk.tell(*borrowers(2)).until(lambda: all(one.attempts for one in desk.open("one-ng")))
        desk.restart(acme("one-ng"), acme("two-ng", formerly=("one-ng",))).clock.ahead(1)
        desk.quiet()

        assert desk.tally("one-ng")["accepted"] == 2
        assert desk.tally("two-ng") == {}


def test_planned_for_a_destination_that_is_gone_waits_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with platform(ACCEPTS) as played, Desk(tmp_path, acme("gone-ng"), acme(), sandbox=played.url) as desk:
        desk.tell(*borrower("u1"))
        desk.restart(acme()).tell(*borrower("u2")).quiet()
        assert desk.tally()["accepted"] == 2
        assert [one.stage for one in desk.open("gone-ng")] == [Stage.WAITING] * 2
        desk.restart(acme())
        assert "destination gone-ng has deliveries and is not configured: they wait" in caplog.text
        desk.restart(acme("gone-ng"), acme()).quiet()

        assert desk.tally("gone-ng")["accepted"] == 2
        assert desk.balanced()


# stopping


def test_a_sender_that_is_told_to_stop_waits_for_verdicts_it_asked_for(tmp_path: Path) -> None:
    released = threading.Event()
    answers = verdicts("pending:job-17"), waits_for(released, ACCEPTS)
    with platform(*answers) as played, Desk(tmp_path, later(), sandbox=played.url) as desk:
        desk.tell(*borrower()).until(lambda: desk.open() and the(desk).stage is Stage.PENDING)
        desk.clock.ahead(1)
        desk.until(lambda: handles(played))
        released.set()
        desk.sender.drain()

        assert desk.tally()["accepted"] == 1


def test_what_a_batch_was_gathering_when_the_sender_stopped_goes_after_the_next_start(tmp_path: Path) -> None:
    outlet = acme(linger=timedelta(minutes=5))
    with platform(ACCEPTS) as played, Desk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.tell(*borrowers(3)).turns(5)
        desk.restart(killed=False).clock.ahead(5)

        assert desk.quiet().tally()["accepted"] == 3


# one account


def test_destinations_of_one_account_share_its_pace(tmp_path: Path) -> None:
    # Two tokens that fill again once in a thousand seconds.
    shared: dict[str, Any] = {"facts": {"batch": 1}, "per_second": 0.001, "burst": 2, "account": "acme-all"}
    outlets = acme("one-ng", **shared), acme("two-ng", **shared)
    with platform(ACCEPTS) as played, Desk(tmp_path, *outlets, sandbox=played.url) as desk:
        desk.tell(*borrowers(5)).quiet()

        assert len(played.came) == 2


def test_the_slowest_of_one_account_counts_for_all(tmp_path: Path) -> None:
    common: dict[str, Any] = {"facts": {"batch": 1}, "burst": 1, "account": "acme-all"}
    outlets = acme("fast-ng", per_second=1_000, **common), acme("slow-ng", per_second=0.001, **common)
    with platform(ACCEPTS) as played, Desk(tmp_path, *outlets, sandbox=played.url) as desk:
        desk.tell(*borrowers(5)).quiet()

        assert len(played.came) == 1


def test_a_slow_down_holds_every_destination_of_the_account_and_no_other(tmp_path: Path) -> None:
    with platform(says(429, Retry_After="60"), ACCEPTS) as strict, platform(ACCEPTS) as easy:
        mine = [acme_at(strict.url, name, account="acme-all", concurrency=1) for name in ("one-ng", "two-ng")]
        other = acme_at(easy.url, "other-ng", concurrency=1)
        with Desk(tmp_path, *mine, other, settle=timedelta(minutes=1)) as desk:
            desk.tell(*borrowers(2)).quiet().clock.ahead(1)
            desk.sender.turn(0.0)
            desk.quiet()
            done = {name: desk.tally(name).get("accepted", 0) for name in ("one-ng", "two-ng", "other-ng")}
            assert done["other-ng"] == 2
            # Both had a request on its way when the platform said so: whose it refused waits.
            assert min(done["one-ng"], done["two-ng"]) == 0
            desk.tell(*borrower("u9", 1)).turns(3).clock.ahead(2)
            assert desk.quiet().tally("one-ng")["accepted"] == 3
            assert desk.tally("two-ng")["accepted"] == 3


def used(response: Response) -> float | None:
    found = json.loads(response.headers.get("x-usage", "null"))
    return None if found is None else float(found)


@pytest.mark.parametrize(("percent", "rate"), [(50, 100), (75, 100), (80, 80), (90, 40), (100, 1), (250, 1)])
def test_the_nearer_the_end_of_its_allowance_the_slower_an_account_goes(
    tmp_path: Path, percent: int, rate: float
) -> None:
    # From 75 % on the rate falls with what is left, to a hundredth of it: 5 % of 25 % used is a fifth less.
    outlet = acme(facts={"used_percent": used}, per_second=100)
    answer = says(200, b'{"verdicts": ["accepted"]}', X_Usage=str(percent))
    with platform(answer) as played, Desk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.tell(*borrower()).quiet()

        assert desk.sender.book.lines["acme-ng"].pace.rate == pytest.approx(rate)


def test_an_account_finds_its_rate_again_when_its_allowance_does(tmp_path: Path) -> None:
    outlet = acme(facts={"used_percent": used, "batch": 1}, per_second=100, concurrency=1)
    answers = [says(200, b'{"verdicts": ["accepted"]}', X_Usage=str(percent)) for percent in (100, 20)]
    with platform(*answers) as played, Desk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.tell(*borrowers(2)).quiet().clock.ahead(1)
        desk.quiet().clock.ahead(1)
        desk.quiet()
        pace = desk.sender.book.lines["acme-ng"].pace
        pace.ready_in(desk.clock.steady())

        assert len(played.came) == 2
        assert pace.rate == pytest.approx(100)


# what several troubles at once leave behind


def test_a_cancelled_one_whose_answer_was_lost_is_cancelled_after_a_kill_too(tmp_path: Path) -> None:
    with (
        platform(hangs, ACCEPTS) as played,
        OrderedDesk(tmp_path, acme(on_unknown=HOLDS), sandbox=played.url) as desk,
    ):
        desk.tell(*borrower()).until(lambda: len(played.came) == 1)
        desk.order(Cancel("acme-ng", (the(desk).id,)))
        desk.restart().quiet()

        assert desk.tally()["cancelled by_hand"] == 1
        assert len(played.came) == 1
        assert desk.balanced()
