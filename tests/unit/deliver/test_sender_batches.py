"""Batches in the sender: company within the linger, bisection, and verdicts that come later."""

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.acme import DAY, HOUR, event, us
from tests.desk import MINUTE, TOKEN, Desk, acme, borrower, borrowers, verdicts
from tests.laned import ASKED, all_users, handles, ids_in, later, the, users_in
from tests.scripted import Act, Came, closes, platform, says, waits_for

from lendsignal.deliver import Unknown
from lendsignal.log import Pause, Stage, Stop

ACCEPTS = verdicts("accepted")
SECOND = 1 / 60
"""In minutes, as the desk's clock is moved."""


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TOKEN", TOKEN)


# company


LINGERS = acme(linger=timedelta(seconds=10))


def test_a_batch_of_what_must_be_alike_is_filled_up_to_the_platforms_limit(tmp_path: Path) -> None:
    outlet = acme(facts={"batch": 100, "batch_by": "name"})
    with platform(ACCEPTS) as played, Desk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.tell(*borrowers(60)).quiet()

        assert [len(users_in(came)) for came in played.came] == [60]


def test_a_batch_that_is_not_full_waits_for_company_for_the_time_of_its_first(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, Desk(tmp_path, LINGERS, sandbox=played.url) as desk:
        desk.tell(*borrower("u1")).turns().clock.ahead(6 * SECOND)
        desk.tell(*borrower("u2", 6 * SECOND)).turns().clock.ahead(3.9 * SECOND)
        desk.turns()
        assert played.came == []
        desk.clock.ahead(0.1 * SECOND)
        desk.quiet()

        assert [users_in(came) for came in played.came] == [["u1", "u2"]]
        assert desk.tally()["accepted"] == 2


def test_a_full_batch_goes_at_once(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, Desk(tmp_path, LINGERS, sandbox=played.url) as desk:
        desk.tell(*borrowers(3)).turns()
        assert played.came == []
        desk.tell(*borrower("u3")).quiet()

        assert [len(users_in(came)) for came in played.came] == [4]


def test_what_is_left_of_a_full_batch_waits_for_its_own_company(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, Desk(tmp_path, LINGERS, sandbox=played.url) as desk:
        desk.tell(*borrowers(6)).quiet()
        assert [len(users_in(came)) for came in played.came] == [4]
        desk.clock.ahead(10 * SECOND)
        desk.quiet()

        assert [len(users_in(came)) for came in played.came] == [4, 2]


def test_the_linger_of_the_lender_goes_before_the_platforms(tmp_path: Path) -> None:
    outlet = acme(facts={"linger": timedelta(seconds=30)}, linger=timedelta(0))
    with platform(ACCEPTS) as played, Desk(tmp_path, outlet, sandbox=played.url) as desk:
        assert desk.tell(*borrower()).quiet().tally()["accepted"] == 1


def test_the_window_is_looked_at_after_the_linger(tmp_path: Path) -> None:
    outlet = acme(facts={"max_age": timedelta(seconds=5)}, linger=timedelta(seconds=10))
    with platform(ACCEPTS) as played, Desk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.tell(*borrower()).turns().clock.ahead(10 * SECOND)
        desk.quiet()

        assert desk.tally() == {"planned": 1, "skipped": 1, "skipped too_old": 1}
        assert played.connections == 0


def test_a_probe_waits_for_no_company(tmp_path: Path) -> None:
    outlet = acme(linger=timedelta(minutes=5))
    with platform(says(401), ACCEPTS) as played, Desk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.tell(*borrowers(4)).until(lambda: desk.store.paused()).clock.ahead(1)
        desk.until(lambda: not desk.store.paused())

        assert [len(users_in(came)) for came in played.came] == [4, 1]


def test_a_batch_longer_than_five_minutes_in_coming_is_a_schedule() -> None:
    with pytest.raises(ValueError, match="`schedule` gathers for longer"):
        acme(linger=timedelta(minutes=5, seconds=1))


# refused whole


def test_a_bisection_outlives_a_kill(tmp_path: Path) -> None:
    def split(connection: Any, ending: threading.Event) -> bool:
        bad = "u2" in users_in(played.came[-1])
        return verdicts("split:invalid_parameter" if bad else "accepted")(connection, ending)

    with platform(split) as played, Desk(tmp_path, acme(concurrency=1), sandbox=played.url) as desk:
        desk.tell(*borrowers(4)).until(lambda: any(one.batch for one in desk.open()))
        assert {one.batch for one in desk.open()} == {2}
        assert {one.attempts for one in desk.open()} == {0}, "a row is not to blame for its batch"
        desk.restart().quiet()

        assert desk.tally()["accepted"] == 3
        assert desk.tally()["dead invalid_parameter"] == 1
        assert max(len(users_in(came)) for came in played.came[1:]) == 2


# verdicts that come later


def test_a_verdict_is_asked_for_after_a_while_and_read_row_by_row_in_the_requests_order(
    tmp_path: Path,
) -> None:
    answers = verdicts("pending:job-17"), verdicts("accepted", "rejected:invalid_field", "unconfirmed")
    with platform(*answers) as played, Desk(tmp_path, later(), sandbox=played.url) as desk:
        desk.tell(*borrowers(3)).until(lambda: {one.stage for one in desk.open()} == {Stage.PENDING})
        assert {one.due_us for one in desk.open()} == {us(0) + 30_000_000}
        desk.clock.ahead(29 * SECOND)
        desk.quiet()
        assert handles(played) == []
        desk.clock.ahead(1 * SECOND)
        desk.quiet()

        assert handles(played) == ["job-17"]
        first, second, third = (one for one in desk.all_receipts() if one.what != "pending")
        assert first.id < second.id < third.id
        assert [one.what for one in (first, second, third)] == ["accepted", "dead", "accepted"]
        assert [first.reason, second.reason, third.reason] == ["confirmed", "invalid_field", "unconfirmed"]
        kept = desk.store.dead(second.id)
        assert kept is not None
        assert b"u1" in kept.request
        assert desk.balanced()


def test_a_platform_that_is_still_at_it_is_asked_ever_more_rarely_up_to_an_hour(tmp_path: Path) -> None:
    with (
        platform(verdicts("pending:job-17")) as played,
        Desk(tmp_path, later(), sandbox=played.url) as desk,
    ):
        desk.tell(*borrower()).until(lambda: desk.open() and the(desk).stage is Stage.PENDING)
        waits = []
        while desk.open():
            due_us = the(desk).due_us
            waits.append((due_us - desk.clock.us) // 1_000_000)
            desk.clock.us = due_us
            desk.quiet()

        # After 30 s, and then as long again as it has waited already; never more than an hour.
        assert waits[:9] == [30, 30, 60, 120, 240, 480, 960, 1920, 3600]
        assert set(waits[8:]) == {3600}
        # 30 s × 2⁷ = 64 min after eight waits; hours from there on until a day is over.
        assert desk.clock.us - us(0) == (64 + 23 * 60) * MINUTE
        assert desk.tally() == {"planned": 1, "accepted": 1, "accepted no_verdict": 1}
        assert len(played.came) == 1 + len(waits)


@pytest.mark.parametrize("act", [says(503), says(404), closes, verdicts("nonsense")])
def test_a_question_that_is_not_answered_is_asked_again(tmp_path: Path, act: Act) -> None:
    answers = verdicts("pending:job-17"), act, ACCEPTS
    with platform(*answers) as played, Desk(tmp_path, later(), sandbox=played.url) as desk:
        desk.tell(*borrowers(2)).until(
            lambda: len(desk.open()) == 2 and desk.open()[0].stage is Stage.PENDING
        )
        desk.clock.ahead(30 * SECOND)
        desk.quiet()
        assert {one.stage for one in desk.open()} == {Stage.PENDING}
        assert desk.tally() == {"planned": 2}
        desk.clock.ahead(1)
        desk.quiet()

        assert handles(played) == ["job-17"] * 2
        assert desk.tally()["accepted confirmed"] == 2


def test_a_sender_that_is_killed_while_a_verdict_is_pending_asks_for_it(tmp_path: Path) -> None:
    answers = verdicts("pending:job-17"), ACCEPTS
    outlet = later(on_unknown=Unknown(hold=timedelta(days=1)))
    with platform(*answers) as played, Desk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.tell(*borrowers(3)).until(lambda: {one.stage for one in desk.open()} == {Stage.PENDING})
        desk.restart().clock.ahead(1)
        desk.quiet()

        assert handles(played) == ["job-17"]
        assert len(all_users(played)) == 3
        assert desk.tally()["accepted confirmed"] == 3


def test_a_sender_that_is_killed_while_it_asks_asks_again(tmp_path: Path) -> None:
    never = threading.Event()
    answers = verdicts("pending:job-17"), waits_for(never, ACCEPTS), verdicts("rejected:invalid_field")
    outlet = later(on_unknown=Unknown(hold=timedelta(days=1)))
    with platform(*answers) as played, Desk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.tell(*borrowers(2)).until(lambda: {one.stage for one in desk.open()} == {Stage.PENDING})
        desk.clock.ahead(1)
        desk.until(lambda: handles(played)).restart().quiet()

        assert handles(played) == ["job-17"] * 2
        assert desk.tally()["dead invalid_field"] == 2


def test_each_request_has_a_verdict_of_its_own(tmp_path: Path) -> None:
    def answered(connection: Any, ending: threading.Event) -> bool:
        came = played.came[-1]
        if came.target.endswith(ASKED):
            word = "accepted" if b"job-u0" in came.body else "rejected:invalid_field"
        else:
            word = f"pending:job-{users_in(came)[0]}"
        return verdicts(word)(connection, ending)

    with platform(answered) as played, Desk(tmp_path, later(concurrency=1), sandbox=played.url) as desk:
        desk.tell(*borrowers(6)).until(lambda: {one.stage for one in desk.open()} == {Stage.PENDING})
        desk.clock.ahead(1)
        desk.quiet()

        assert sorted(handles(played)) == ["job-u0", "job-u4"]
        assert (desk.tally()["accepted"], desk.tally()["dead"]) == (4, 2)


def test_rows_that_were_answered_at_once_are_not_waited_for(tmp_path: Path) -> None:
    answers = verdicts("pending:job-17", "rejected:invalid_field", "pending:job-17"), verdicts("accepted")
    with platform(*answers) as played, Desk(tmp_path, later(), sandbox=played.url) as desk:
        desk.tell(*borrowers(3)).until(lambda: len(desk.open()) == 2)
        desk.clock.ahead(1)
        desk.quiet()

        assert desk.tally()["accepted"] == 2
        assert desk.tally()["dead invalid_field"] == 1


def test_a_verdict_of_not_now_sends_the_deliveries_again_under_their_ids(tmp_path: Path) -> None:
    answers = verdicts("pending:job-17"), verdicts("retry:busy"), verdicts("accepted")
    with platform(*answers) as played, Desk(tmp_path, later(), sandbox=played.url) as desk:
        desk.tell(*borrowers(2)).until(lambda: {one.stage for one in desk.open()} == {Stage.PENDING})
        desk.clock.ahead(1)
        desk.quiet().clock.ahead(1)
        desk.quiet()

        first, _, again = played.came
        assert ids_in(first) == ids_in(again)
        assert desk.tally()["accepted confirmed"] == 2


def test_a_refused_question_pauses_the_destination_and_the_next_one_is_the_probe(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answers = verdicts("pending:job-17"), says(401), verdicts("accepted")
    with platform(*answers) as played, Desk(tmp_path, later(), sandbox=played.url) as desk:
        desk.tell(*borrowers(2)).until(lambda: {one.stage for one in desk.open()} == {Stage.PENDING})
        desk.clock.ahead(30 * SECOND)
        desk.until(lambda: desk.store.paused())
        assert desk.store.paused() == {"acme-ng": Pause(desk.clock.us, Stop.PLATFORM, "http_401")}
        assert {one.stage for one in desk.open()} == {Stage.PENDING}
        desk.clock.ahead(0.9)
        desk.quiet()
        assert len(handles(played)) == 1
        desk.clock.ahead(0.1)
        desk.quiet()

        assert desk.tally()["accepted confirmed"] == 2
        assert desk.store.paused() == {}


def test_a_platform_that_only_ever_says_later_takes_deliveries_again_after_a_pause(tmp_path: Path) -> None:
    """A probe that is taken in is as good a sign as one that is accepted."""
    answers = says(401), verdicts("pending:job-17")
    with platform(*answers) as played, Desk(tmp_path, later(concurrency=1), sandbox=played.url) as desk:
        desk.tell(*borrowers(9)).until(lambda: desk.store.paused()).quiet()
        desk.clock.ahead(1)
        desk.quiet()

        assert desk.store.paused() == {}
        assert {one.stage for one in desk.open()} == {Stage.PENDING}


def test_a_question_about_a_verdict_that_still_waits_ends_a_pause(tmp_path: Path) -> None:
    answers = verdicts("pending:job-17"), says(401), verdicts("pending:job-17")
    with platform(*answers) as played, Desk(tmp_path, later(), sandbox=played.url) as desk:
        desk.tell(*borrower()).until(lambda: desk.open() and the(desk).stage is Stage.PENDING)
        desk.clock.ahead(30 * SECOND)
        desk.until(lambda: desk.store.paused()).clock.ahead(1)
        desk.quiet()

        assert desk.store.paused() == {}
        assert len(handles(played)) == 2


def test_taken_in_after_a_day_of_retries_is_asked_for_a_day_more(tmp_path: Path) -> None:
    answers = says(503), verdicts("pending:job-17"), verdicts("pending:job-17"), ACCEPTS
    with platform(*answers) as played, Desk(tmp_path, later(), sandbox=played.url) as desk:
        desk.tell(*borrower()).until(lambda: desk.open() and the(desk).attempts)
        desk.clock.ahead(DAY + HOUR)
        desk.until(lambda: desk.open() and the(desk).stage is Stage.PENDING)
        for _ in range(2):
            desk.clock.ahead(1)
            desk.quiet()

        assert desk.tally() == {"planned": 1, "accepted": 1, "accepted confirmed": 1}


def test_a_question_that_cannot_be_made_kills_nothing_that_was_taken_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(handle: str, settings: Any) -> Any:
        raise KeyError("our own mistake")

    outlet = later()
    outlet.module.ask = broken  # type: ignore[attr-defined]
    with platform(verdicts("pending:job-17")) as played, Desk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.tell(*borrowers(2)).until(lambda: {one.stage for one in desk.open()} == {Stage.PENDING})
        desk.clock.ahead(1)
        desk.quiet()

        assert desk.tally() == {"planned": 2, "accepted": 2, "accepted no_verdict": 2}
        assert "KeyError" in caplog.text


def turns_in(desk: Desk, true: Callable[[], bool]) -> int:
    """Turns until something is so, each of which may wait for as long as the sender wants."""
    for number in range(1, 2_000):
        if true():
            return number
        desk.sender.turn(0.25)
    raise AssertionError("never so")


def test_nobody_turns_in_circles_while_a_question_is_on_its_way(tmp_path: Path) -> None:
    released = threading.Event()
    answers = verdicts("pending:job-17"), waits_for(released, ACCEPTS)
    with platform(*answers) as played, Desk(tmp_path, later(), sandbox=played.url) as desk:
        desk.tell(*borrower()).until(lambda: desk.open() and the(desk).stage is Stage.PENDING)
        desk.clock.ahead(1)
        desk.until(lambda: handles(played))
        timer = threading.Timer(0.5, released.set)
        timer.start()

        # Half a second at a quarter of a second a turn, and a few for what is committed in between.
        assert turns_in(desk, lambda: not desk.store.waiting()) < 20
        timer.join()


def test_a_refusal_among_many_verdicts_stops_nobody(tmp_path: Path) -> None:
    """Accepted verdicts count beside the refused ones, however late they come."""

    asked = threading.local()  # requests come on many connections at once, each served by its own thread
    jobs: dict[str, list[str]] = {}  # of two rows, or of one where nothing else was due

    def answered(connection: Any, ending: threading.Event) -> bool:
        if not asked.came.target.endswith(ASKED):
            users = users_in(asked.came)
            jobs[users[0]] = users
            return verdicts(f"pending:job-{users[0]}")(connection, ending)
        users = jobs[json.loads(asked.came.body)["handle"].removeprefix("job-")]
        words = ("rejected:invalid_field" if int(user[1:]) % 2 else "accepted" for user in users)
        return verdicts(*words)(connection, ending)

    def remember(came: Came) -> None:
        asked.came = came

    outlet = later(facts={"batch": 2})
    with platform(answered, look=remember) as played, Desk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.tell(*borrowers(240)).until(lambda: {one.stage for one in desk.open()} == {Stage.PENDING})
        desk.clock.ahead(1)
        desk.quiet()

        assert (desk.tally()["accepted"], desk.tally()["dead"]) == (120, 120)
        assert desk.store.paused() == {}


@pytest.mark.parametrize("killed", [False, True], ids=["running", "killed"])
def test_what_is_taken_back_while_its_verdict_is_pending_is_not_sent_again(
    tmp_path: Path, killed: bool
) -> None:
    acts = (verdicts("pending:h1"), verdicts("retry:busy"), ACCEPTS)
    with platform(*acts) as played, Desk(tmp_path, later(), sandbox=played.url) as desk:
        desk.tell(*borrower()).until(lambda: the(desk).stage is Stage.PENDING)
        desk.tell(event("disbursement_reversed", 1, user_id="u1", loan_id="L-u1"))
        desk.until(lambda: desk.store.position() == desk.log.last_record())
        desk.sender.book.commit()
        if killed:
            desk.restart()
        desk.clock.ahead(2)
        desk.until(lambda: desk.tally().get("cancelled") == 1)

        assert len(played.came) == 2
        assert desk.open() == []
        assert desk.balanced()
