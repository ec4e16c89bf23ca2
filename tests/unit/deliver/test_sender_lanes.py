"""Lanes in the sender: order on the wire through retries and deaths, and what comes out of order."""

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.acme import event, login
from tests.desk import TOKEN, Desk, Hand, verdicts
from tests.laned import a_loan, all_users, dated, laned, minutes_of, rows_in, sent, the, user_with_loans
from tests.scripted import Act, Came, closes, platform, says, waits_for

from lendsignal.deliver import Unknown
from lendsignal.log import Stage

ACCEPTS = verdicts("accepted")


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TOKEN", TOKEN)


def by_row(played: Callable[[], list[Came]], rule: Callable[[str, float, int], Act]) -> Act:
    """Answers by user, minute and how often that one came."""

    def act(connection: Any, ending: threading.Event) -> bool:
        came = played()
        (row,) = rows_in(came[-1])
        times = sum(1 for one in came if rows_in(one)[0]["id"] == row["id"])
        return rule(row["user"], row["at"] / 60, times)(connection, ending)

    return act


def desk_at(path: Path, outlet: Any, url: str, minutes: float = 10, **settings: Any) -> Desk:
    return Desk(path, outlet, sandbox=url, clock=Hand(minutes), **settings)


def test_one_of_a_lane_goes_after_the_other_in_the_order_they_occurred(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, desk_at(tmp_path, laned(), played.url) as desk:
        desk.tell(*user_with_loans("u1", 1, 2, 3, 4, 5), *user_with_loans("u2", 1, 2, 3)).quiet()

        assert minutes_of(played, "u1") == [1, 2, 3, 4, 5]
        assert minutes_of(played, "u2") == [1, 2, 3]
        assert desk.tally()["accepted"] == 8


def test_never_are_two_of_a_lane_on_their_way(tmp_path: Path) -> None:
    released = threading.Event()
    with platform(waits_for(released, ACCEPTS)) as played, desk_at(tmp_path, laned(), played.url) as desk:
        desk.tell(*user_with_loans("u1", 1, 2, 3), *user_with_loans("u2", 1, 2))
        desk.until(lambda: len(played.came) == 2).turns(10)

        assert sorted(sent(played)) == [("u1", 1), ("u2", 1)]
        released.set()
        assert desk.quiet().tally()["accepted"] == 5


def test_a_batch_holds_one_of_each_lane(tmp_path: Path) -> None:
    with (
        platform(ACCEPTS) as played,
        desk_at(tmp_path, laned(facts={"batch": 4}, concurrency=1), played.url) as desk,
    ):
        desk.tell(
            *user_with_loans("u1", 1, 2), *user_with_loans("u2", 1, 2), *user_with_loans("u3", 1, 2)
        ).quiet()

        assert [len(all_users(played)), desk.tally()["accepted"]] == [6, 6]
        for came in played.came:
            users = [row["user"] for row in rows_in(came)]
            assert len(users) == len(set(users))
        assert minutes_of(played, "u1") == minutes_of(played, "u2") == [1, 2]


def test_what_needs_no_order_waits_for_nobody(tmp_path: Path) -> None:
    released = threading.Event()
    with platform(waits_for(released, ACCEPTS)) as played, desk_at(tmp_path, laned(), played.url) as desk:
        desk.tell(*user_with_loans("free", 1, 2, 3)).until(lambda: len(played.came) == 3)
        released.set()

        assert desk.quiet().tally()["accepted"] == 3


@pytest.mark.parametrize("act", [says(503), closes], ids=["refused for now", "not answered"])
def test_a_lane_waits_for_its_head_through_every_retry(tmp_path: Path, act: Act) -> None:
    with (
        platform(act, act, ACCEPTS) as played,
        desk_at(tmp_path, laned(concurrency=1), played.url) as desk,
    ):
        desk.tell(*user_with_loans("u1", 1, 2, 3))
        for _ in range(4):
            desk.quiet().clock.ahead(1)

        assert minutes_of(played, "u1") == [1, 1, 1, 2, 3]
        assert desk.tally()["accepted"] == 3


def test_no_other_lane_waits_for_a_head_that_fails(tmp_path: Path) -> None:
    def rule(user: str, minute: float, times: int) -> Act:
        return says(503) if user == "u1" else ACCEPTS

    with (
        platform(by_row(lambda: played.came, rule)) as played,
        desk_at(tmp_path, laned(concurrency=1), played.url) as desk,
    ):
        desk.tell(*user_with_loans("u1", 1, 2), *user_with_loans("u2", 1, 2, 3)).quiet()

        assert minutes_of(played, "u2") == [1, 2, 3]
        assert set(minutes_of(played, "u1")) == {1}


@pytest.mark.parametrize("rule", [Unknown(retry=3), Unknown(retry=99)], ids=["few", "many"])
def test_a_sender_that_is_killed_keeps_the_order(tmp_path: Path, rule: Unknown) -> None:
    """The head was tried before the kill and is tried again first, and in its own time."""
    with (
        platform(says(503, Retry_After="60"), ACCEPTS) as played,
        desk_at(tmp_path, laned(concurrency=1, on_unknown=rule), played.url) as desk,
    ):
        desk.tell(*user_with_loans("u1", 1, 2, 3)).until(lambda: any(one.attempts for one in desk.open()))
        desk.restart().quiet()
        assert minutes_of(played, "u1") == [1], "the others wait for their head after a start too"
        desk.clock.ahead(2)
        desk.quiet()

        assert minutes_of(played, "u1") == [1, 1, 2, 3]


def test_what_was_on_its_way_at_the_kill_goes_before_the_rest_of_its_lane(tmp_path: Path) -> None:
    never = threading.Event()
    with (
        platform(waits_for(never, ACCEPTS), ACCEPTS) as played,
        desk_at(tmp_path, laned(concurrency=1), played.url) as desk,
    ):
        desk.tell(*user_with_loans("u1", 1, 2, 3)).until(lambda: len(played.came) == 1)
        desk.restart().quiet()

        assert minutes_of(played, "u1") == [1, 1, 2, 3]


def test_a_head_that_fails_for_longer_than_the_lane_waits_is_passed(tmp_path: Path) -> None:
    def rule(user: str, minute: float, times: int) -> Act:
        return says(503) if minute == 1 else ACCEPTS

    outlet = laned(concurrency=1, lane_wait=timedelta(minutes=10))
    with (
        platform(by_row(lambda: played.came, rule)) as played,
        desk_at(tmp_path, outlet, played.url) as desk,
    ):
        desk.tell(*user_with_loans("u1", 1, 2, 3)).quiet()
        desk.clock.ahead(9.9)
        desk.quiet()
        assert set(minutes_of(played, "u1")) == {1}
        desk.clock.ahead(0.1)
        desk.quiet()

        assert [minute for minute in minutes_of(played, "u1") if minute > 1] == [2, 3]
        assert the(desk).reason == "http_503"


def test_a_lane_is_passed_as_soon_after_a_kill_as_without_one(tmp_path: Path) -> None:
    with (
        platform(says(503, Retry_After="3600"), ACCEPTS) as played,
        desk_at(tmp_path, laned(concurrency=1), played.url) as desk,
    ):
        desk.tell(*user_with_loans("u1", 1, 2)).until(lambda: any(one.attempts for one in desk.open()))
        desk.clock.ahead(6)
        desk.restart().quiet()
        assert minutes_of(played, "u1") == [1]
        desk.clock.ahead(4)
        desk.quiet()

        assert minutes_of(played, "u1") == [1, 2]


def passed_head(path: Path, url: str, **facts: Any) -> Desk:
    """The head of a lane fails for an hour; the second one passes it and is accepted."""
    return desk_at(path, laned(facts=facts, concurrency=1), url)


LATE_HEAD = [says(503, Retry_After="3600"), ACCEPTS]


@pytest.mark.parametrize(
    ("out_of_order", "rises", "moments"),
    [
        ("send", 0, [60, 120, 60]),
        # A microsecond behind the one that passed it, or the next whole second of the platform.
        ("restamp", 0, [60, 120, 120.000001]),
        ("restamp", 1, [60, 120, 121]),
        ("skip", 1, [60, 120]),
    ],
)
def test_one_that_was_passed_is_sent_as_it_is_or_later_or_not_at_all(
    tmp_path: Path, out_of_order: str, rises: int, moments: list[float]
) -> None:
    facts = {"out_of_order": out_of_order, "rises": timedelta(seconds=rises)}
    with platform(*LATE_HEAD) as played, passed_head(tmp_path, played.url, **facts) as desk:
        desk.tell(*user_with_loans("u1", 1, 2)).quiet()
        desk.clock.ahead(11)
        desk.quiet().clock.ahead(60)
        desk.quiet()

        assert [row["at"] for came in played.came for row in rows_in(came)] == moments
        assert desk.open() == []
        assert desk.tally().get("skipped out_of_order", 0) == (out_of_order == "skip")
        assert desk.balanced()


def test_what_the_lender_says_of_order_goes_before_the_platforms_rule(tmp_path: Path) -> None:
    outlet = laned(facts={"out_of_order": "restamp"}, concurrency=1, out_of_order="skip")
    with platform(ACCEPTS) as played, desk_at(tmp_path, outlet, played.url) as desk:
        desk.tell(*user_with_loans("u1", 5)).quiet().tell(a_loan("u1", 4, arrives=6)).quiet()

        assert desk.tally()["skipped out_of_order"] == 1


def test_moments_of_a_lane_rise_by_a_whole_second_even_within_one(tmp_path: Path) -> None:
    # 60.2 s, 60.4 s and 60.9 s lie in one second; 62.1 s does not lie behind what they are sent as.
    outlet = laned(facts={"out_of_order": "restamp", "rises": timedelta(seconds=1)})
    moments = [60.2, 60.4, 60.9, 62.1, 70.0]
    with platform(ACCEPTS) as played, desk_at(tmp_path, outlet, played.url) as desk:
        desk.tell(*user_with_loans("u1", *(at / 60 for at in moments))).quiet()

        found = [row["at"] for came in played.came for row in rows_in(came)]
        assert [int(at) for at in found] == [60, 61, 62, 63, 70]
        assert found[0] == 60.2
        assert found[-1] == 70.0


def test_a_retry_is_sent_as_the_same_moment_as_before(tmp_path: Path) -> None:
    outlet = laned(facts={"out_of_order": "restamp", "rises": timedelta(seconds=1)}, concurrency=1)
    with platform(ACCEPTS, says(503), ACCEPTS) as played, desk_at(tmp_path, outlet, played.url) as desk:
        desk.tell(*user_with_loans("u1", 5)).quiet()
        desk.tell(a_loan("u1", 4, arrives=6)).until(lambda: desk.open() and the(desk).attempts)
        desk.restart().clock.ahead(1)
        desk.quiet()

        assert [row["at"] for came in played.came for row in rows_in(came)] == [300, 301, 301]


def test_the_lane_remembers_across_a_kill_what_it_sent_last(tmp_path: Path) -> None:
    outlet = laned(facts={"out_of_order": "restamp", "rises": timedelta(seconds=1)})
    with platform(ACCEPTS) as played, desk_at(tmp_path, outlet, played.url) as desk:
        desk.tell(*user_with_loans("u1", 5)).quiet()
        desk.restart().tell(a_loan("u1", 4, arrives=6)).quiet()

        assert [row["at"] for came in played.came for row in rows_in(came)] == [300, 301]


def test_the_lane_is_frozen_at_the_first_claim_whatever_a_late_login_says(tmp_path: Path) -> None:
    with (
        platform(says(503, Retry_After="120"), ACCEPTS) as played,
        desk_at(tmp_path, laned(concurrency=1), played.url) as desk,
    ):
        desk.tell(login(-60, "old", event_id="in-old"), a_loan("u1", 1))
        desk.until(lambda: desk.open() and the(desk).attempts)
        lane_before = the(desk).lane
        desk.tell(login(0.5, "new", arrives=10, event_id="in-new")).tell(a_loan("u1", 2)).quiet()
        desk.clock.ahead(3)
        desk.quiet()

        assert lane_before != 0
        # The second loan is the new phone's, another lane: it does not wait. The first stays on the old one.
        devices = [(row["device"], row["at"] / 60) for came in played.came for row in rows_in(came)]
        assert devices == [("af-old", 1), ("af-new", 2), ("af-old", 1)]


def test_one_that_stands_aside_follows_a_late_login_into_another_lane(tmp_path: Path) -> None:
    with (
        platform(says(503, Retry_After="120"), ACCEPTS) as played,
        desk_at(tmp_path, laned(concurrency=1), played.url) as desk,
    ):
        desk.tell(login(-60, "old", event_id="in-old"), a_loan("u1", 1), a_loan("u1", 3), a_loan("u1", 5))
        desk.until(lambda: any(one.attempts for one in desk.open()))
        desk.tell(login(4, "new", arrives=10, event_id="in-new")).quiet()
        desk.clock.ahead(3)
        desk.quiet()

        found = [(row["device"], row["at"] / 60) for came in played.came for row in rows_in(came)]
        assert found[0] == ("af-old", 1)
        assert sorted(found[1:]) == [("af-new", 5), ("af-old", 1), ("af-old", 3)]
        assert found.index(("af-old", 3)) > 1, "its head came first"
        assert desk.tally()["accepted"] == 3


def test_a_held_head_lets_its_lane_go_on(tmp_path: Path) -> None:
    outlet = laned(concurrency=1, on_unknown=Unknown(hold=timedelta(days=1)))
    with platform(closes, ACCEPTS) as played, desk_at(tmp_path, outlet, played.url) as desk:
        desk.tell(*user_with_loans("u1", 1, 2, 3)).quiet()

        assert minutes_of(played, "u1") == [1, 2, 3]
        assert the(desk).stage is Stage.HELD


def test_a_dead_head_lets_its_lane_go_on(tmp_path: Path) -> None:
    with (
        platform(verdicts("rejected:invalid_field"), ACCEPTS) as played,
        desk_at(tmp_path, laned(concurrency=1), played.url) as desk,
    ):
        desk.tell(*user_with_loans("u1", 1, 2, 3)).quiet()

        assert minutes_of(played, "u1") == [1, 2, 3]
        assert desk.tally()["accepted"] == 2


def test_a_head_that_cannot_be_encoded_lets_its_lane_go_on(tmp_path: Path) -> None:
    def poisoned(delivery: Any, settings: Any) -> Any:
        if delivery.occurred_at.minute == 1:
            raise ValueError("our own mistake")
        return dated(delivery, settings)

    outlet = laned(concurrency=1)
    outlet.module.encode = poisoned
    with platform(ACCEPTS) as played, desk_at(tmp_path, outlet, played.url) as desk:
        desk.tell(*user_with_loans("u1", 1, 2, 3)).quiet()

        assert minutes_of(played, "u1") == [2, 3]
        assert desk.tally()["dead encode_failed"] == 1


def take_back(desk: Desk, minute: float) -> None:
    desk.tell(event("disbursement_reversed", 10, loan_id=f"L-u1-{minute}", event_id=f"back-{minute}"))
    desk.until(lambda: desk.store.position() == desk.log.last_record())


@pytest.mark.parametrize("way", ["retried", "passed"])
def test_what_is_taken_back_while_it_stands_aside_is_not_sent_and_blocks_nobody(
    tmp_path: Path, way: str
) -> None:
    with (
        platform(says(503, Retry_After="300"), ACCEPTS) as played,
        desk_at(tmp_path, laned(concurrency=1, lane_wait=timedelta(minutes=2)), played.url) as desk,
    ):
        desk.tell(*user_with_loans("u1", 1, 2, 3, 4)).until(lambda: any(one.attempts for one in desk.open()))
        take_back(desk, 2)
        take_back(desk, 3)
        desk.clock.ahead(6 if way == "retried" else 2.5)
        desk.quiet()

        expected = [1, 1, 4] if way == "retried" else [1, 4]
        assert sorted(minutes_of(played, "u1")) == expected
        assert desk.tally()["cancelled disbursement_reversed"] == 2
        assert desk.balanced()


def test_a_head_that_is_taken_back_while_it_waits_lets_its_lane_go_on_at_once(tmp_path: Path) -> None:
    with (
        platform(says(503, Retry_After="300"), ACCEPTS) as played,
        desk_at(tmp_path, laned(concurrency=1), played.url) as desk,
    ):
        desk.tell(*user_with_loans("u1", 1, 2, 3)).until(lambda: any(one.attempts for one in desk.open()))
        take_back(desk, 1)
        desk.quiet()

        assert minutes_of(played, "u1") == [1, 2, 3]


def test_a_pause_keeps_the_order_and_the_probe_is_the_head(tmp_path: Path) -> None:
    with (
        platform(says(401), ACCEPTS) as played,
        desk_at(tmp_path, laned(), played.url) as desk,
    ):
        desk.tell(*user_with_loans("u1", 1, 2, 3)).until(lambda: desk.store.paused())
        desk.clock.ahead(20)
        desk.quiet()

        assert minutes_of(played, "u1") == [1, 1, 2, 3]


def test_more_in_a_lane_than_memory_holds_come_in_order(tmp_path: Path) -> None:
    moments = [round(1 + n / 60, 4) for n in range(230)]
    with platform(ACCEPTS) as played, desk_at(tmp_path, laned(), played.url, window=100) as desk:
        desk.tell(*user_with_loans("u1", *moments)).quiet()

        found = minutes_of(played, "u1")
        assert len(found) == 230
        assert found == sorted(found)
