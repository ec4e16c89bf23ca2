"""The sending loop against a scripted platform: what each end of a request leaves behind on disk."""

import json
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.acme import APPS, DAY, HOUR, IOS, consent_of, event, loan, login, moment, us
from tests.desk import (
    MINUTE,
    TOKEN,
    Desk,
    Hand,
    acme,
    borrower,
    borrowers,
    real,
    stage_on_disk,
    verdicts,
)
from tests.scripted import Act, Came, Platform, closes, hangs, platform, resets, says, waits_for

from lendsignal.deliver import Unknown, rendered, sender
from lendsignal.destination.spec import Hold, Retries
from lendsignal.log import Open, Stage
from lendsignal.model import Secret
from lendsignal.plan import Planned

WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_TOKEN", TOKEN)
    monkeypatch.setenv("ACME_HOOK_SECRET", WEBHOOK_SECRET)


def ids_in(came: Came) -> list[str]:
    """The conversion ids in one request to Acme."""
    return [one["id"] for one in json.loads(came.body)["events"]]


def users_in(came: Came) -> list[str]:
    return [one["user"] for one in json.loads(came.body)["events"]]


def all_users(played: Platform) -> list[str]:
    return [user for came in played.came for user in users_in(came)]


def the(desk: Desk, destination: str = "acme-ng") -> Open:
    """The one delivery that is open."""
    (one,) = desk.open(destination)
    return one


# accepted


def test_an_accepted_delivery_leaves_a_receipt_and_is_open_no_more(tmp_path: Path) -> None:
    with platform(verdicts("accepted")) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrower()).quiet()

        assert desk.open() == []
        assert desk.tally() == {"planned": 1, "accepted": 1, "accepted confirmed": 1}
        (receipt,) = desk.all_receipts()
        assert (receipt.what, receipt.reason, receipt.attempt) == ("accepted", "confirmed", 1)
        assert (receipt.status, receipt.answer) == (200, b'{"verdicts": ["accepted"]}')
        assert receipt.sent_us == receipt.answered_us == us(0)
        (came,) = played.came
        assert came.target == "/api.acme.example/v1/events"
        assert came.headers["authorization"] == f"Bearer {TOKEN}"


def test_what_is_sent_is_the_conversion_under_its_name_on_the_users_phone(tmp_path: Path) -> None:
    with platform(verdicts("unconfirmed")) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrower("u7")).quiet()

        (record,) = (one for _, one in desk.log.records(0, 10) if isinstance(one, Planned))
        sent = {"id": record.conversion.id, "name": "ev_disbursement", "user": "u7", "device": "af-u7"}
        assert json.loads(played.came[0].body) == {"events": [sent]}
        assert desk.tally()["accepted unconfirmed"] == 1


def test_a_delivery_is_claimed_on_disk_before_its_request_leaves(tmp_path: Path) -> None:
    seen: list[list[tuple[int, int]]] = []

    def look(came: Came) -> None:
        seen.append(stage_on_disk(tmp_path / "deliveries.sqlite"))

    with (
        platform(verdicts("accepted"), look=look) as played,
        Desk(tmp_path, acme(), sandbox=played.url) as desk,
    ):
        desk.tell(*borrowers(3)).quiet()

        # All three go in one batch: every row of it is claimed, with the moment of its first try.
        assert seen == [[(Stage.CLAIMED, us(0))] * 3]


def test_a_delivery_waits_until_the_login_had_time_to_settle(tmp_path: Path) -> None:
    with (
        platform(verdicts("accepted")) as played,
        Desk(tmp_path, acme(), sandbox=played.url, settle=timedelta(minutes=2)) as desk,
    ):
        desk.tell(*borrower())
        desk.clock.ahead(1)
        assert played.came == desk.turns().sender.turn(0.0) * [None]
        assert the(desk).due_us == us(2)
        desk.clock.ahead(1)
        desk.quiet()

        assert desk.tally()["accepted"] == 1


def test_the_verdict_that_comes_later_counts_as_accepted_and_says_so(tmp_path: Path) -> None:
    with platform(verdicts("pending:job-17")) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrower()).quiet()

        assert desk.tally()["accepted pending"] == 1
        assert desk.all_receipts()[0].reason == "pending job-17"


# batches


def test_what_is_due_together_goes_together_up_to_the_platforms_limit(tmp_path: Path) -> None:
    with platform(verdicts("accepted")) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrowers(9)).quiet()

        assert sorted(len(ids_in(came)) for came in played.came) == [1, 4, 4]
        assert desk.tally()["accepted"] == 9


def test_a_request_holds_only_what_is_alike_where_the_platform_wants_it(tmp_path: Path) -> None:
    one_user = [loan(0, f"L{n}", event_id=f"out-{n}") for n in range(3)]
    with (
        platform(verdicts("accepted")) as played,
        Desk(tmp_path, acme(batch_by="user"), sandbox=played.url) as desk,
    ):
        desk.tell(login(0, "u1"), *one_user, *borrower("u2"), *borrower("u3")).quiet()

        assert sorted(users_in(came) for came in played.came) == [["u1"] * 3, ["u2"], ["u3"]]


def test_rows_of_a_batch_are_answered_one_by_one(tmp_path: Path) -> None:
    answered = verdicts("accepted", "rejected:invalid_field", "retry:busy", "accepted")
    with platform(answered) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrowers(4)).until(lambda: desk.tally().get("accepted"))

        tally = desk.tally()
        first, second, third, fourth = desk.all_receipts()
        assert (tally["accepted"], tally["dead invalid_field"]) == (2, 1)
        assert the(desk).reason == "busy"
        assert [one.what for one in (first, second, third, fourth)] == [
            "accepted",
            "dead",
            "retry",
            "accepted",
        ]
        assert first.id < second.id < third.id == the(desk).id < fourth.id
        assert desk.balanced()


def test_a_batch_refused_whole_is_halved_until_the_bad_row_stands_alone(tmp_path: Path) -> None:
    def answered(connection: Any, ending: threading.Event) -> bool:
        whole = played.came[-1]
        word = "split:invalid_parameter" if "u2" in users_in(whole) else "accepted"
        return verdicts(word)(connection, ending)

    with (
        platform(answered) as played,
        Desk(tmp_path, acme(concurrency=1), sandbox=played.url) as desk,
    ):
        desk.tell(*borrowers(4)).quiet()

        # 4 → 2 + 2 → the half without the bad row is taken, the other goes on as 1 + 1.
        assert sorted(len(users_in(came)) for came in played.came) == [1, 1, 2, 2, 4]
        assert desk.tally()["accepted"] == 3
        assert desk.tally()["dead invalid_parameter"] == 1
        (dead,) = (one for one in desk.all_receipts() if one.what == "dead")
        kept = desk.store.dead(dead.id)
        assert kept is not None
        assert [one["user"] for one in json.loads(kept.request)["body"]["events"]] == ["u2"]
        assert desk.balanced()


@pytest.mark.parametrize("outlet", [acme(concurrency=2), acme(concurrency=2, batch_by="user")])
def test_no_more_requests_are_in_flight_than_allowed(tmp_path: Path, outlet: Any) -> None:
    released = threading.Event()
    with (
        platform(waits_for(released, verdicts("accepted"))) as played,
        Desk(tmp_path, outlet, sandbox=played.url) as desk,
    ):
        desk.tell(*borrowers(20)).until(lambda: len(played.came) >= 2).turns(5)

        assert desk.sender.in_flight == 2
        released.set()
        desk.quiet()
        assert desk.tally()["accepted"] == 20
        assert played.connections <= 2


def test_a_destination_is_not_asked_more_often_than_it_allows(tmp_path: Path) -> None:
    # A bucket of one token that fills once in a thousand seconds.
    with (
        platform(verdicts("accepted")) as played,
        Desk(tmp_path, acme(per_second=0.001, batch=1), sandbox=played.url) as desk,
    ):
        desk.tell(*borrowers(5)).until(lambda: desk.tally().get("accepted"))
        desk.turns(5)

        assert len(played.came) == 1
        assert len(desk.open()) == 4


def test_deliveries_beyond_the_memorys_window_wait_on_disk_and_are_sent_in_their_turn(tmp_path: Path) -> None:
    with (
        platform(verdicts("accepted")) as played,
        Desk(tmp_path, acme(batch=50, concurrency=1), sandbox=played.url, window=100) as desk,
    ):
        desk.tell(*borrowers(330)).quiet()

        assert all_users(played) == [f"u{n}" for n in range(330)]
        assert desk.tally()["accepted"] == 330


# not now


def test_a_retry_waits_and_is_sent_again_under_the_same_id(tmp_path: Path) -> None:
    with (
        platform(says(503), verdicts("accepted")) as played,
        Desk(tmp_path, acme(), sandbox=played.url) as desk,
    ):
        desk.tell(*borrower()).until(lambda: desk.open() and the(desk).attempts)
        waiting = the(desk)
        assert (waiting.stage, waiting.attempts, waiting.reason) == (Stage.WAITING, 1, "http_503")
        assert us(0) <= waiting.due_us <= us(0) + 2_000_000  # full jitter under `first_retry`
        desk.clock.ahead(1)
        desk.quiet()

        assert [(one.what, one.reason, one.attempt) for one in desk.receipts(waiting.id)] == [
            ("retry", "http_503", 1),
            ("accepted", "confirmed", 2),
        ]
        first, second = played.came
        assert ids_in(first) == ids_in(second)
        assert desk.balanced()


def test_a_retry_is_never_sooner_than_the_platform_asked(tmp_path: Path) -> None:
    with (
        platform(says(503, Retry_After="600"), verdicts("accepted")) as played,
        Desk(tmp_path, acme(), sandbox=played.url) as desk,
    ):
        desk.tell(*borrower()).until(lambda: desk.open() and the(desk).attempts)

        assert the(desk).due_us == us(10)


def test_a_slow_down_holds_the_whole_destination_and_uses_up_no_try(tmp_path: Path) -> None:
    with (
        platform(says(429, Retry_After="120"), verdicts("accepted")) as slow,
        platform(verdicts("accepted")) as other,
        Desk(tmp_path, *at(slow, "slow-ng", batch=1, concurrency=1), *at(other, "other-ng")) as desk,
    ):
        desk.tell(*borrower("u1")).until(lambda: desk.open("slow-ng") and the(desk, "slow-ng").reason)
        desk.tell(*borrower("u2")).quiet()
        assert len(slow.came) == 1
        assert [(one.attempts, one.unknown) for one in desk.open("slow-ng")] == [(0, 0)] * 2
        assert desk.tally("other-ng")["accepted"] == 2
        desk.clock.ahead(1.9)
        desk.turns(4)
        assert len(slow.came) == 1
        desk.clock.ahead(0.2)
        desk.quiet()

        assert desk.tally("slow-ng")["accepted"] == 2


def test_a_batch_told_to_slow_down_counts_as_one_refusal_not_as_one_a_row(tmp_path: Path) -> None:
    # Without Retry-After the line waits a second at first. Were every row a refusal of its own, a batch of
    # four would wait for eight.
    with (
        platform(verdicts("throttled"), verdicts("accepted")) as played,
        Desk(tmp_path, acme(), sandbox=played.url) as desk,
    ):
        desk.tell(*borrowers(4)).until(lambda: desk.open() and all(one.reason for one in desk.open()))

        assert {one.due_us for one in desk.open()} == {us(0) + 1_000_000}
        desk.clock.ahead(1 / 60)
        assert desk.quiet().tally()["accepted"] == 4


def test_the_platforms_own_limit_of_tries_ends_a_delivery(tmp_path: Path) -> None:
    with platform(says(500, b"trouble")) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrower())
        for _ in range(5):
            desk.quiet().clock.ahead(20)

        assert len(played.came) == 3
        assert desk.tally() == {"planned": 1, "dead": 1, "dead http_500": 1}
        assert [one.what for one in desk.all_receipts()] == ["retry", "retry", "dead"]


def test_tries_that_ended_otherwise_do_not_count_for_the_platforms_limit(tmp_path: Path) -> None:
    script: list[Act] = [says(503)] * 5 + [says(500), says(500), verdicts("accepted")]
    with platform(*script) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrower())
        for _ in range(8):
            desk.quiet().clock.ahead(20)

        assert len(played.came) == 8
        assert desk.tally()["accepted"] == 1


# no answer


def at(played: Platform, name: str, **changes: Any) -> Iterator[Any]:
    """A destination at Acme whose own address is that platform, without a sandbox in between."""

    def request(items: Any, settings: Any) -> Any:
        made = acme().module.request(items, settings)
        return type(made)(method=made.method, url=f"{played.url}/v1/events", json=made.json)

    yield acme(name, hosts=("127.0.0.1",), request=request, **changes)


def test_where_nothing_left_it_is_tried_again_even_under_hold(tmp_path: Path) -> None:
    with platform() as gone:
        address = gone.url
    with Desk(tmp_path, acme(on_unknown=Unknown(hold=timedelta(days=1))), sandbox=address) as desk:
        desk.tell(*borrower())
        for attempt in (1, 2, 3):
            desk.until(lambda n=attempt: the(desk).attempts == n)  # type: ignore[misc]
            desk.clock.ahead(20)

        assert (the(desk).stage, the(desk).unknown, the(desk).reason) == (Stage.WAITING, 0, "connect_failed")


@pytest.mark.parametrize(
    ("act", "reason"), [(closes, "no_answer"), (resets, "connection_reset"), (hangs, "timeout")]
)
def test_under_hold_a_request_without_an_answer_is_never_repeated(
    tmp_path: Path, act: Act, reason: str
) -> None:
    outlet = acme(on_unknown=Unknown(hold=timedelta(days=1)), timeout=timedelta(milliseconds=300))
    with platform(act, verdicts("accepted")) as played, Desk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.tell(*borrowers(3)).until(lambda: {one.stage for one in desk.open()} == {Stage.HELD})
        desk.clock.ahead(HOUR)
        desk.quiet()

        assert len(played.came) == 1
        assert [(one.what, one.reason) for one in desk.all_receipts()] == [("held", f"unknown: {reason}")] * 3
        assert {(one.reason, one.unknown, one.attempts) for one in desk.open()} == {("unknown", 1, 0)}
        assert desk.balanced()


def test_under_retry_it_is_repeated_so_often_and_then_held(tmp_path: Path) -> None:
    with (
        platform(closes) as played,
        Desk(tmp_path, acme(on_unknown=Unknown(retry=2)), sandbox=played.url) as desk,
    ):
        desk.tell(*borrower())
        for _ in range(6):
            desk.quiet().clock.ahead(20)

        assert len(played.came) == 3
        assert len({tuple(ids_in(came)) for came in played.came}) == 1
        assert (the(desk).stage, the(desk).unknown) == (Stage.HELD, 3)
        assert [one.what for one in desk.all_receipts()] == ["retry", "retry", "held"]


@pytest.mark.parametrize(("rule", "requests"), [(Retries(1), 2), (Hold(), 1)])
def test_the_platforms_own_rule_counts_where_ours_is_silent(tmp_path: Path, rule: Any, requests: int) -> None:
    outlet = acme(classify=acme().module.classify)
    outlet = type(outlet)(
        name=outlet.name,
        module=acme_with_rule(rule),
        common=outlet.common,
        own=outlet.own,
        app=outlet.app,
        hosts=outlet.hosts,
    )
    with platform(closes) as played, Desk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.tell(*borrower())
        for _ in range(4):
            desk.quiet().clock.ahead(20)

        assert len(played.came) == requests


def acme_with_rule(rule: Any) -> Any:
    from tests.desk import module

    known = module()
    facts = {field: getattr(known.SPEC, field) for field in type(known.SPEC).__struct_fields__}
    return module(**{**facts, "on_unknown": rule})
