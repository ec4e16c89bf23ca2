"""What the sender measures: the same as its books say, through restarts and replays, and how lines stand."""

from pathlib import Path

import pytest
from tests.desk import TOKEN, Desk, acme, acme_at, borrower, borrowers, verdicts
from tests.laned import later
from tests.measured import Told, measured
from tests.ordered import EVERY, Halt, OrderedDesk
from tests.scripted import closes, platform, says

from lendsignal.deliver import Unknown, orders

ACCEPTS = verdicts("accepted")
HERE = {"destination": "acme-ng"}


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TOKEN", TOKEN)


@pytest.fixture(autouse=True)
def looks_at_every_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "LOOK_SECONDS", 0.0)


def told(desk: Desk) -> Told:
    return measured(desk.sender.book.meters)


def balances(found: Told) -> bool:
    """Whether planned = ended + open, where nothing was sent through again."""
    planned, ended = (found.total(f"deliveries_{what}_total", **HERE) for what in ("planned", "ended"))
    return planned == ended + found.total("deliveries_open", **HERE)


def test_the_counters_say_what_the_books_say(tmp_path: Path) -> None:
    answers = verdicts("accepted", "rejected:invalid_field", "accepted", "retry:busy")
    with platform(answers, ACCEPTS) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrowers(4), *borrower("unknown")).quiet()
        found = told(desk)

        ended = {"destination": "acme-ng", "conversion": "disbursement"}
        assert found.value("deliveries_planned_total", **ended) == desk.tally()["planned"] == 5
        for end, reason, n in (
            ("accepted", "confirmed", 2),
            ("dead", "invalid_field", 1),
            ("skipped", "no_device_id", 1),
        ):
            assert found.value("deliveries_ended_total", **ended, end=end, reason=reason) == n
        assert found.value("deliveries_open", **HERE, stage="waiting") == 1
        assert balances(found)


def test_a_restart_sets_no_count_of_deliveries_back(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrowers(3)).quiet()
        desk.restart()
        desk.tell(*borrower("u9")).quiet()
        found = told(desk)

        assert found.total("deliveries_ended_total", end="accepted") == 4
        assert found.total("attempts_total") == 1
        assert balances(found)


def test_a_replay_takes_nothing_back_before_a_restart_and_after_one(tmp_path: Path) -> None:
    script = verdicts("rejected:invalid_field"), ACCEPTS
    with platform(*script) as played, OrderedDesk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrowers(2)).quiet()
        desk.order(desk.again("dead", "invalid_field", *desk.ended("dead")))
        desk.quiet()
        for found in (told(desk), told(desk.restart())):
            assert found.total("deliveries_ended_total", end="dead", reason="invalid_field") == 2
            assert found.total("deliveries_ended_total", end="accepted") == 2
            assert found.value("deliveries_replayed_total", **HERE, end="dead") == 2
            assert found.total("deliveries_open") == 0


def test_each_try_counts_by_what_it_came_to(tmp_path: Path) -> None:
    script = verdicts("retry:busy"), says(503), ACCEPTS
    with platform(*script) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrowers(3))
        for _ in range(3):
            desk.quiet().clock.ahead(20)
        found = told(desk)

        assert found.value("attempts_total", **HERE, outcome="retry", reason="busy") == 3
        assert found.value("attempts_total", **HERE, outcome="retry", reason="http_503") == 3
        assert found.value("attempts_total", **HERE, outcome="accepted", reason="confirmed") == 3
        requests = len(played.came)
        assert found.value("request_seconds_count", **HERE) == requests
        assert found.value("requests_total", **HERE, status="2xx") == requests - found.value(
            "requests_total", **HERE, status="5xx"
        )


def test_delays_run_from_the_event_to_the_answer_and_from_the_arrival_to_the_first_try(
    tmp_path: Path,
) -> None:
    with platform(ACCEPTS) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        # Three minutes old when they arrive, and two minutes later the sender turns.
        desk.tell(*borrower("u1", -3, arrives=0))
        desk.clock.ahead(2)
        desk.quiet()
        found = told(desk)

        assert found.value("posting_delay_seconds_sum", **HERE) == 300
        assert found.value("queue_delay_seconds_sum", **HERE) == 120
        assert found.value("posting_delay_seconds_bucket", **HERE, le="60.0") == 0
        assert found.value("posting_delay_seconds_bucket", **HERE, le="300.0") == 1


def test_what_was_never_answered_is_held_and_counts_as_a_request_without_status(tmp_path: Path) -> None:
    outlet = acme(on_unknown=Unknown(hold=None))
    with platform(closes) as played, Desk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.tell(*borrowers(2)).quiet()
        found = told(desk)

        assert found.value("deliveries_open", **HERE, stage="held") == 2
        assert found.value("deliveries_open", **HERE, stage="waiting") == 0
        assert found.total("attempts_total", outcome="held", reason="unknown") == 2
        assert found.value("requests_total", **HERE, status="none") == len(played.came)


def test_what_waits_for_a_verdict_is_pending(tmp_path: Path) -> None:
    with platform(verdicts("pending:h1")) as played, Desk(tmp_path, later(), sandbox=played.url) as desk:
        desk.tell(*borrowers(3)).quiet()
        found = told(desk)

        assert found.value("deliveries_open", **HERE, stage="pending") == 3
        assert found.value("attempts_total", **HERE, outcome="pending", reason="pending") == 3
        assert balances(found)


def test_a_pause_says_who_stopped_it_and_why_until_it_is_over(tmp_path: Path) -> None:
    script = verdicts("paused:bad_token"), ACCEPTS
    with platform(*script) as played, OrderedDesk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrower()).quiet()
        assert told(desk).value("paused", **HERE, kind="platform", reason="bad_token") == 1
        desk.clock.ahead(20)
        desk.quiet()
        assert told(desk).labels("paused", "destination") == set()
        desk.order(Halt((EVERY,), "campaign_review"))

        assert told(desk).value("paused", destination="*", kind="person", reason="campaign_review") == 1


def test_what_is_due_and_goes_nowhere_grows_old(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.order(Halt(("acme-ng",)))
        desk.tell(*borrower("u1", -10, arrives=0)).turns()
        desk.clock.ahead(30)
        desk.tell(*borrower("u2", 30)).turns()
        found = told(desk)

        assert found.value("oldest_due_seconds", **HERE) == 30 * 60
        # Two days from an event of ten minutes before: half an hour of it is over.
        assert found.value("window_left_seconds", **HERE) == (2 * 24 * 60 - 40) * 60
        assert found.value("deliveries_open", **HERE, stage="waiting") == 2


def test_what_was_withdrawn_is_not_due_any_more(tmp_path: Path) -> None:
    with platform(ACCEPTS) as played, OrderedDesk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.order(Halt(("acme-ng",)))
        desk.tell(*borrower()).turns()
        (one,) = desk.sender.book.lines["acme-ng"].items.values()
        desk.sender.book.withdraw(one, "cancelled", "by_hand", 0)
        desk.clock.ahead(30)

        assert told(desk).value("oldest_due_seconds", **HERE) == 0


def test_a_platform_that_asks_for_less_is_paced_and_its_silence_is_counted(tmp_path: Path) -> None:
    script = verdicts("throttled:60"), ACCEPTS
    with (
        platform(*script) as played,
        Desk(tmp_path, acme_at(played.url, "acme-ng", per_second=40)) as desk,
    ):
        desk.tell(*borrower()).quiet()
        found = told(desk)
        account = {**HERE, "account": "acme-ng"}
        assert found.value("pace_full_requests_per_second", **account) == 40
        assert 20 <= found.value("pace_requests_per_second", **account) < 25
        before = found.value("throttled_seconds_total", **HERE)
        desk.clock.ahead(0.5)
        middle = told(desk).value("throttled_seconds_total", **HERE)
        desk.clock.ahead(10)
        after = told(desk)

        assert middle - before == pytest.approx(30, abs=5)
        assert after.value("throttled_seconds_total", **HERE) == pytest.approx(60, abs=5)
        assert after.value("pace_requests_per_second", **account) == 40


def test_what_a_platform_makes_up_does_not_become_a_label_without_end(tmp_path: Path) -> None:
    words = [f"code_{number}" for number in range(160)]
    script = [verdicts(*(f"rejected:{word}" for word in words[n : n + 4])) for n in range(0, 160, 4)]
    with platform(*script) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrowers(160)).quiet()
        found = told(desk)

        assert found.total("deliveries_ended_total", end="dead") == desk.tally()["dead"] > 100
        reasons = found.labels("deliveries_ended_total", "reason")
        assert len(reasons) <= 101
        assert "other" in reasons
