"""What a person orders: stop, let go, cancel, send through again; each once, and every count stays true."""

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.acme import DAY, consent_of, us
from tests.desk import TOKEN, Hand, acme, borrower, borrowers, verdicts
from tests.laned import a_loan, all_users, ids_in, laned, later, minutes_of, the, user_with_loans
from tests.ordered import EVERY, Again, Cancel, Halt, LetGo, OrderedDesk
from tests.scripted import closes, platform, says, waits_for

from lendsignal.deliver import Unknown, orders
from lendsignal.errors import LogError
from lendsignal.log import Pause, Stage, Stop

ACCEPTS = verdicts("accepted")
HOLDS = Unknown(hold=timedelta(days=30))


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TOKEN", TOKEN)


@pytest.fixture(autouse=True)
def looks_at_every_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "LOOK_SECONDS", 0.0)


# stop and let go


def test_a_paused_destination_sends_nothing_and_no_other_notices(tmp_path: Path) -> None:
    outlets = acme("one-ng"), acme("two-ng")
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, *outlets, sandbox=played.url) as desk:
        assert desk.order(Halt(("one-ng",))) == (1, 0)
        desk.tell(*borrowers(5)).quiet()

        assert len(desk.open("one-ng")) == 5
        assert desk.tally("two-ng")["accepted"] == 5
        assert desk.store.paused() == {"one-ng": Pause(us(0), Stop.PERSON, "by_hand")}
        assert desk.order(LetGo(("one-ng",))) == (1, 0)
        assert desk.quiet().tally("one-ng")["accepted"] == 5
        assert desk.store.paused() == {}


def test_everything_can_be_paused_at_once(tmp_path: Path) -> None:
    outlets = acme("one-ng"), acme("two-ng")
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, *outlets, sandbox=played.url) as desk:
        desk.order(Halt((EVERY,)))
        desk.tell(*borrowers(5)).quiet()
        desk.restart().quiet()
        assert played.came == []
        assert set(desk.store.paused()) == {EVERY}
        desk.order(LetGo((EVERY,)))
        desk.quiet()

        assert [desk.tally(name)["accepted"] for name in ("one-ng", "two-ng")] == [5, 5]


def test_letting_everything_go_lets_each_one_go(tmp_path: Path) -> None:
    outlets = acme("one-ng"), acme("two-ng")
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, *outlets, sandbox=played.url) as desk:
        desk.order(Halt(("one-ng",)), Halt((EVERY,)), Halt(("two-ng",)))
        desk.order(LetGo((EVERY,)))
        desk.tell(*borrower()).quiet()

        assert desk.store.paused() == {}
        assert [desk.tally(name)["accepted"] for name in ("one-ng", "two-ng")] == [1, 1]


@pytest.mark.parametrize("killed", [False, True], ids=["running", "killed"])
def test_what_a_person_paused_is_never_probed(tmp_path: Path, killed: bool) -> None:
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.order(Halt(("acme-ng",), "campaign_review"))
        desk.tell(*borrowers(5)).quiet()
        if killed:
            desk.restart()
        desk.clock.ahead(DAY)
        desk.quiet()

        assert played.came == []
        assert desk.store.paused()["acme-ng"].reason == "campaign_review"


def test_a_pause_lets_what_is_on_its_way_come_home(tmp_path: Path) -> None:
    released = threading.Event()
    with (
        platform(waits_for(released, ACCEPTS)) as played,
        OrderedDesk(tmp_path, acme(concurrency=1), sandbox=played.url) as desk,
    ):
        desk.tell(*borrowers(8)).until(lambda: len(played.came) == 1)
        desk.order(Halt(("acme-ng",)))
        released.set()
        desk.quiet()

        assert len(played.came) == 1
        assert desk.tally()["accepted"] == 4
        assert desk.store.paused() != {}, "an answer does not end what a person ordered"


def test_a_platforms_pause_ends_at_once_when_a_person_lets_it_go(tmp_path: Path) -> None:
    with platform(says(401), ACCEPTS) as played, OrderedDesk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrowers(3)).until(lambda: desk.store.paused()).quiet()
        desk.order(LetGo(("acme-ng",)))

        assert desk.quiet().tally()["accepted"] == 3


def test_an_order_about_a_destination_nobody_knows_reaches_nothing(tmp_path: Path) -> None:
    with platform() as played, OrderedDesk(tmp_path, acme(), sandbox=played.url) as desk:
        assert desk.order(Halt(("nobody-ng",))) == (0, 0)
        assert desk.order(LetGo(("nobody-ng",))) == (0, 0)
        assert desk.order(Cancel("nobody-ng", (64, 128))) == (0, 2)

        assert desk.store.paused() == {}
        assert "nobody-ng" not in desk.store.destinations()


# cancel


def test_what_waits_can_be_cancelled_and_the_rest_goes(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.order(Halt(("acme-ng",)))
        desk.tell(*borrowers(5)).quiet()
        chosen = [one.id for one in desk.open()][1:3]
        assert desk.order(Cancel("acme-ng", tuple(chosen))) == (2, 0)
        assert desk.balanced()
        desk.order(LetGo(("acme-ng",)))
        desk.quiet()

        assert sorted(all_users(played)) == ["u0", "u3", "u4"]
        assert desk.tally()["cancelled by_hand"] == 2
        assert desk.balanced()


def test_what_waits_on_disk_beyond_memory_can_be_cancelled(tmp_path: Path) -> None:
    with (
        platform(ACCEPTS) as played,
        OrderedDesk(tmp_path, acme(facts={"batch": 50}), sandbox=played.url, window=100) as desk,
    ):
        desk.order(Halt(("acme-ng",)))
        desk.tell(*borrowers(250)).quiet()
        desk.order(Cancel("acme-ng", tuple(one.id for one in desk.open())[:200]))
        desk.order(LetGo(("acme-ng",)))
        desk.quiet()

        assert sorted(all_users(played)) == sorted(f"u{n}" for n in range(200, 250))
        assert desk.balanced()


def test_what_is_held_can_be_cancelled(tmp_path: Path) -> None:
    with (
        platform(closes) as played,
        OrderedDesk(tmp_path, acme(on_unknown=HOLDS), sandbox=played.url) as desk,
    ):
        desk.tell(*borrowers(2)).until(lambda: [one.stage for one in desk.open()] == [Stage.HELD] * 2)
        desk.order(Cancel("acme-ng", (desk.open()[0].id,)))

        assert desk.tally() == {"planned": 2, "cancelled": 1, "cancelled by_hand": 1}
        assert the(desk).stage is Stage.HELD
        assert desk.balanced()


@pytest.mark.parametrize(
    ("act", "what"),
    [(ACCEPTS, "accepted"), (says(503), "cancelled"), (closes, "cancelled"), (says(401), "cancelled")],
    ids=["accepted", "refused for now", "not answered", "paused"],
)
@pytest.mark.parametrize("rule", [HOLDS, Unknown(retry=3)], ids=["hold", "retry"])
def test_what_is_on_its_way_when_it_is_cancelled_is_not_sent_again(
    tmp_path: Path, act: Any, what: str, rule: Unknown
) -> None:
    released = threading.Event()
    with (
        platform(waits_for(released, act), ACCEPTS) as played,
        OrderedDesk(tmp_path, acme(on_unknown=rule), sandbox=played.url) as desk,
    ):
        desk.tell(*borrower()).until(lambda: len(played.came) == 1)
        assert desk.order(Cancel("acme-ng", (the(desk).id,))) == (1, 0)
        released.set()
        desk.until(lambda: not desk.open()).clock.ahead(30)
        desk.quiet()

        assert desk.tally()[what] == 1
        assert len(played.came) == 1
        assert desk.balanced()


def test_what_was_taken_in_for_a_later_verdict_cannot_be_cancelled(tmp_path: Path) -> None:
    answers = verdicts("pending:job-17"), ACCEPTS
    with platform(*answers) as played, OrderedDesk(tmp_path, later(), sandbox=played.url) as desk:
        desk.tell(*borrower()).until(lambda: desk.open() and the(desk).stage is Stage.PENDING)
        assert desk.order(Cancel("acme-ng", (the(desk).id,))) == (0, 1)
        desk.clock.ahead(1)

        assert desk.quiet().tally()["accepted"] == 1


def test_what_is_finished_cannot_be_cancelled(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrower()).quiet()

        assert desk.order(Cancel("acme-ng", tuple(desk.ended("accepted")))) == (0, 1)
        assert desk.balanced()


# send through again


def test_what_is_held_is_sent_when_a_person_releases_it(tmp_path: Path) -> None:
    with (
        platform(closes, ACCEPTS) as played,
        OrderedDesk(tmp_path, acme(on_unknown=HOLDS), sandbox=played.url) as desk,
    ):
        desk.tell(*borrowers(3)).until(lambda: [one.stage for one in desk.open()] == [Stage.HELD] * 3)
        first, second, _ = (one.id for one in desk.open())
        assert desk.order(desk.again("held", "unknown", first, second)) == (2, 0)
        assert desk.balanced()
        desk.quiet()

        assert ids_in(played.came[1]) == ids_in(played.came[0])[:2]
        assert desk.tally() == {"planned": 3, "accepted": 2, "accepted confirmed": 2}
        assert [(one.what, one.reason) for one in desk.receipts(first)] == [
            ("held", "unknown: no_answer"),
            ("released", "by_hand"),
            ("accepted", "confirmed"),
        ]
        assert the(desk).stage is Stage.HELD
        assert desk.balanced()


def test_what_is_held_when_the_consent_ends_is_released_by_nobody(tmp_path: Path) -> None:
    with (
        platform(closes, ACCEPTS) as played,
        OrderedDesk(tmp_path, acme(on_unknown=HOLDS), sandbox=played.url) as desk,
    ):
        desk.tell(*borrower()).until(lambda: desk.open() and the(desk).stage is Stage.HELD)
        number = the(desk).id
        desk.tell(consent_of(1, False)).until(lambda: not desk.open())

        assert desk.order(desk.again("held", "unknown", number)) == (0, 1)
        assert desk.quiet().tally() == {"planned": 1, "skipped": 1, "skipped no_consent": 1}
        assert len(played.came) == 1
        assert desk.balanced()


def test_what_was_held_again_since_it_was_chosen_is_passed_over(tmp_path: Path) -> None:
    with (
        platform(closes) as played,
        OrderedDesk(tmp_path, acme(on_unknown=HOLDS), sandbox=played.url) as desk,
    ):
        desk.tell(*borrower()).until(lambda: desk.open() and the(desk).stage is Stage.HELD)
        chosen = desk.again("held", "unknown", the(desk).id)
        assert desk.order(chosen) == (1, 0)
        desk.until(lambda: len(played.came) == 2 and the(desk).stage is Stage.HELD)

        assert desk.order(chosen) == (0, 1)
        assert len(played.came) == 2


def test_what_is_dead_is_sent_again_and_is_dead_no_more(tmp_path: Path) -> None:
    script = verdicts("rejected:invalid_field"), ACCEPTS
    with platform(*script) as played, OrderedDesk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrowers(2)).quiet()
        numbers = desk.ended("dead")
        assert desk.store.dead(numbers[0]) is not None
        assert desk.order(desk.again("dead", "invalid_field", *numbers)) == (2, 0)
        assert desk.balanced()
        desk.quiet()

        assert ids_in(played.came[0]) == ids_in(played.came[1])
        assert desk.tally() == {
            "planned": 2,
            "accepted": 2,
            "accepted confirmed": 2,
            "replayed": 2,
            "replayed dead invalid_field": 2,
        }
        assert [desk.store.dead(number) for number in numbers] == [None, None]
        assert desk.balanced()


def test_what_was_accepted_goes_again_under_the_same_conversion_id(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrowers(3)).quiet()
        desk.order(desk.again("accepted", "confirmed", *desk.ended("accepted")))
        desk.quiet()

        first, second = played.came
        assert ids_in(first) == ids_in(second)
        assert desk.tally()["accepted"] == 3
        assert desk.tally()["replayed accepted confirmed"] == 3
        assert desk.balanced()


def test_counts_are_true_at_every_point_of_a_replay(tmp_path: Path) -> None:
    script = [
        ACCEPTS,
        says(503),
        verdicts("rejected:invalid_field", "accepted", "retry:busy"),
        closes,
        ACCEPTS,
    ]
    outlet = acme(on_unknown=HOLDS, concurrency=1)
    with platform(*script) as played, OrderedDesk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.tell(*borrowers(3)).quiet()
        desk.give(desk.again("accepted", "confirmed", *desk.ended("accepted")))
        for _ in range(8):
            for _ in range(40):
                desk.sender.turn(0.01)
                assert desk.balanced()
            desk.clock.ahead(1)
            desk.restart()

        assert len(played.came) == 4
        assert the(desk).stage is Stage.HELD
        assert (desk.tally()["accepted"], desk.tally()["dead"]) == (1, 1)


def test_what_changed_since_it_was_chosen_is_passed_over(tmp_path: Path) -> None:
    script = verdicts("rejected:invalid_field"), ACCEPTS
    with platform(*script) as played, OrderedDesk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrowers(2)).quiet()
        chosen = desk.again("dead", "invalid_field", *desk.ended("dead"))
        assert desk.order(chosen) == (2, 0)
        # The same choice once more: while they are open, and when they are finished.
        assert desk.order(chosen) == (0, 2)
        desk.quiet()
        assert desk.order(chosen) == (0, 2)
        desk.quiet()

        assert len(played.came) == 2
        assert desk.tally()["replayed"] == 2
        assert desk.balanced()


@pytest.mark.parametrize("moment", ["before it is read", "before it is committed", "after it is committed"])
def test_an_order_is_carried_out_once_although_the_sender_is_killed_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrowers(3)).quiet()
        number = desk.give(desk.again("accepted", "confirmed", *desk.ended("accepted")))
        if moment == "before it is committed":
            with monkeypatch.context() as patch:
                patch.setattr(desk.store, "commit", disk_is_full)
                desk.sender.turn(0.0)
            assert desk.obeyed(number) is None
        elif moment == "after it is committed":
            desk.sender.book.everything = Pause(0, Stop.PERSON, "")
            desk.until(lambda: desk.obeyed(number))
        desk.restart().quiet()
        desk.restart().quiet()

        assert desk.obeyed(number) == (3, 0)
        assert len(all_users(played)) == 6
        assert desk.tally()["replayed"] == 3
        assert desk.balanced()


def disk_is_full(changes: object) -> None:
    raise LogError("the deliveries cannot be written")


def test_orders_are_obeyed_in_the_order_they_were_given(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.order(Halt(("acme-ng",)), LetGo(("acme-ng",)), Halt(("acme-ng",), "second"))

        assert desk.store.paused()["acme-ng"].reason == "second"


def test_replayed_ones_go_when_nothing_live_is_due_and_within_their_own_pace(tmp_path: Path) -> None:
    # A tenth of 10 requests a second: one replayed request a second, one event each.
    outlet = acme(facts={"batch": 1}, per_second=10, burst=100, concurrency=1)
    with (
        platform(ACCEPTS) as played,
        OrderedDesk(tmp_path, outlet, sandbox=played.url, again_share=0.1) as desk,
    ):
        desk.tell(*borrowers(5)).quiet()
        desk.order(Halt(("acme-ng",)), desk.again("accepted", "confirmed", *desk.ended("accepted")))
        desk.tell(*(one for n in range(4) for one in borrower(f"live{n}"))).quiet()
        desk.order(LetGo(("acme-ng",)))
        desk.until(lambda: len(played.came) == 10)
        came = all_users(played)[5:]
        assert came[:4] == [f"live{n}" for n in range(4)], "live ones first"
        assert came[4] == "u0"
        for n in range(1, 5):
            desk.quiet()
            assert len(played.came) == 9 + n
            desk.clock.ahead(1 / 60)
            desk.until(lambda n=n: len(played.came) == 10 + n)  # type: ignore[misc]

        assert all_users(played)[9:] == [f"u{n}" for n in range(5)]
        assert desk.quiet().tally()["accepted"] == 9


def test_nobody_turns_in_circles_while_replayed_ones_wait_for_their_pace(tmp_path: Path) -> None:
    outlet = acme(facts={"batch": 1}, per_second=0.5, burst=100)
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.tell(*borrowers(3)).quiet()
        desk.order(desk.again("accepted", "confirmed", *desk.ended("accepted")))
        desk.until(lambda: len(played.came) == 4).quiet()
        desk.clock.ahead(2 / 60)
        line = desk.sender.book.lines["acme-ng"]
        now, now_us = desk.clock.steady(), desk.clock.now_us()

        due_us = line.next_due_us(now, now_us)
        assert due_us is not None
        # One replayed request in ten seconds; two of them are over.
        assert due_us - now_us == pytest.approx(8_000_000, abs=1_000_000)


def test_what_is_too_old_meanwhile_is_not_sent_again(tmp_path: Path) -> None:
    # Acme's window is two days.
    script = verdicts("rejected:invalid_field"), ACCEPTS
    with platform(*script) as played, OrderedDesk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrower()).quiet().clock.ahead(2 * DAY)
        desk.order(desk.again("dead", "invalid_field", *desk.ended("dead")))
        desk.quiet()

        assert len(played.came) == 1
        assert desk.tally()["dead window_closed"] == 1
        assert "dead invalid_field" not in desk.tally()
        assert desk.balanced()


def test_a_replay_binds_to_the_device_it_was_sent_with(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrower()).quiet()
        (number,) = desk.ended("accepted")
        desk.order(desk.again("accepted", "confirmed", number))
        desk.quiet()

        assert played.came[0].body == played.came[1].body


def test_a_replay_keeps_the_order_of_a_lane(tmp_path: Path) -> None:
    reject = verdicts("rejected:invalid_field")
    script = [reject] * 4 + [ACCEPTS]
    with (
        platform(*script) as played,
        OrderedDesk(tmp_path, laned(), sandbox=played.url, clock=Hand(10), again_share=1.0) as desk,
    ):
        desk.tell(*user_with_loans("u1", 1, 2, 3, 4)).quiet()
        desk.order(desk.again("dead", "invalid_field", *reversed(desk.ended("dead"))))
        desk.until(lambda: not desk.open())

        assert minutes_of(played, "u1") == [1, 2, 3, 4] * 2


def test_what_is_live_waits_for_a_replayed_one_that_is_on_its_way_in_its_lane(tmp_path: Path) -> None:
    released = threading.Event()
    script = verdicts("rejected:invalid_field"), waits_for(released, ACCEPTS), ACCEPTS
    with (
        platform(*script) as played,
        OrderedDesk(tmp_path, laned(), sandbox=played.url, clock=Hand(10)) as desk,
    ):
        desk.tell(*user_with_loans("u1", 1)).quiet()
        desk.order(desk.again("dead", "invalid_field", *desk.ended("dead")))
        desk.until(lambda: len(played.came) == 2)
        desk.tell(a_loan("u1", 5)).turns(5)
        assert len(played.came) == 2
        released.set()
        desk.quiet()

        assert minutes_of(played, "u1") == [1, 1, 5]


def test_a_replay_outlives_a_kill(tmp_path: Path) -> None:
    outlet = acme(facts={"batch": 1}, concurrency=1)
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.tell(*borrowers(20)).quiet()
        desk.give(desk.again("accepted", "confirmed", *desk.ended("accepted")))
        desk.until(lambda: len(played.came) > 24)
        desk.restart()
        desk.until(lambda: not desk.open())

        assert set(all_users(played)[20:]) == {f"u{n}" for n in range(20)}
        assert desk.tally()["accepted"] == 20
        assert desk.balanced()


def test_one_that_nobody_planned_is_passed_over(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrower()).quiet()
        wrong = Again("acme-ng", "disbursement", "dead", "invalid_field", ((987_654_336, 0),), 0)

        assert desk.order(wrong) == (0, 1)
        desk.quiet()
        assert desk.balanced()
