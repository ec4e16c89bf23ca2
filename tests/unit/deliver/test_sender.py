"""The sending loop against a scripted platform: what each end of a request leaves behind on disk."""

import json
import logging
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.acme import APPS, DAY, HOUR, IOS, consent_of, event, loan, login, phone, us
from tests.desk import (
    TOKEN,
    Desk,
    acme,
    acme_at,
    borrower,
    borrowers,
    classify,
    real,
    stage_on_disk,
    verdicts,
)
from tests.scripted import Act, Came, Platform, closes, hangs, platform, resets, says, waits_for

from lendsignal.deliver import Outlet, Unknown, rendered, sender
from lendsignal.destination.spec import Hold, Request, Retries
from lendsignal.log import Open, Pause, Stage, Stop
from lendsignal.model import Event, Secret
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


def planned(desk: Desk, name: str) -> list[tuple[int, Planned]]:
    """The records of conversions of that name."""
    records = desk.log.records(0, 1_000)
    return [
        (number, one) for number, one in records if isinstance(one, Planned) and one.conversion.name == name
    ]


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

        ((_, record),) = planned(desk, "disbursement")
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
        desk.turns()
        assert played.came == []
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
        Desk(tmp_path, acme(facts={"batch_by": "user"}), sandbox=played.url) as desk,
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


@pytest.mark.parametrize("outlet", [acme(concurrency=2), acme(facts={"batch_by": "user"}, concurrency=2)])
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
        Desk(tmp_path, acme(facts={"batch": 1}, per_second=0.001), sandbox=played.url) as desk,
    ):
        desk.tell(*borrowers(5)).until(lambda: desk.tally().get("accepted"))
        desk.turns(5)

        assert len(played.came) == 1
        assert len(desk.open()) == 4


def test_deliveries_beyond_the_memorys_window_wait_on_disk_and_are_sent_in_their_turn(tmp_path: Path) -> None:
    with (
        platform(verdicts("accepted")) as played,
        Desk(tmp_path, acme(facts={"batch": 50}, concurrency=1), sandbox=played.url, window=100) as desk,
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
        Desk(
            tmp_path,
            acme_at(slow.url, "slow-ng", facts={"batch": 1}, concurrency=1),
            acme_at(other.url, "other-ng"),
        ) as desk,
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


def test_the_last_try_that_a_platforms_limit_leaves_waits_until_an_outage_is_over(tmp_path: Path) -> None:
    script: list[Act] = [says(500), says(500), verdicts("accepted")]
    with platform(*script) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrower()).quiet().clock.ahead(1)
        desk.quiet().clock.ahead(14.9)  # a quarter of an hour is `longest_retry`
        desk.quiet()
        assert len(played.came) == 2

        desk.clock.ahead(0.1)
        assert desk.quiet().tally()["accepted"] == 1


def test_tries_that_ended_otherwise_do_not_count_for_the_platforms_limit(tmp_path: Path) -> None:
    script: list[Act] = [says(503)] * 5 + [says(500), says(500), verdicts("accepted")]
    with platform(*script) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrower())
        for _ in range(8):
            desk.quiet().clock.ahead(20)

        assert len(played.came) == 8
        assert desk.tally()["accepted"] == 1


# no answer


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
def test_the_platforms_own_rule_counts_where_ours_is_silent(
    tmp_path: Path, rule: Retries | Hold, requests: int
) -> None:
    outlet = acme(facts={"on_unknown": rule})
    with platform(closes) as played, Desk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.tell(*borrower())
        for _ in range(4):
            desk.quiet().clock.ahead(20)

        assert len(played.came) == requests


def test_what_is_held_is_dead_when_the_time_for_a_person_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "HELD_SECONDS", 0.0)
    outlet = acme(on_unknown=Unknown(hold=timedelta(hours=7)))
    with platform(closes) as played, Desk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.tell(*borrower()).until(lambda: desk.open() and the(desk).stage is Stage.HELD)
        assert the(desk).due_us == us(7 * HOUR)
        desk.clock.ahead(7 * HOUR - 1)
        assert desk.quiet().tally() == {"planned": 1}
        held = the(desk)
        desk.clock.ahead(1)
        desk.quiet()

        assert desk.tally() == {"planned": 1, "dead": 1, "dead unknown": 1}
        kept = desk.store.dead(held.id)
        assert kept is not None
        assert json.loads(kept.request)["body"]["events"][0]["user"] == "u1"
        assert len(played.came) == 1
        assert desk.balanced()


def test_what_is_held_without_an_end_stays_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "HELD_SECONDS", 0.0)
    outlet = acme(on_unknown=Unknown(retry=0))
    with platform(closes) as played, Desk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.tell(*borrower()).until(lambda: desk.open() and the(desk).stage is Stage.HELD)
        desk.clock.ahead(365 * DAY)

        assert the(desk.quiet()).stage is Stage.HELD


# a person is needed


ONE_BY_ONE = acme(facts={"batch": 1}, concurrency=1)
REFUSES = verdicts("paused:bad_token")


def test_a_pause_loses_nothing_tells_a_person_and_ends_by_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        platform(REFUSES, REFUSES, verdicts("accepted")) as played,
        Desk(tmp_path, ONE_BY_ONE, sandbox=played.url) as desk,
    ):
        desk.tell(*borrowers(5)).quiet()

        assert len(played.came) == 1
        assert desk.store.paused() == {"acme-ng": Pause(us(0), Stop.PLATFORM, "bad_token")}
        assert {(one.stage, one.attempts, one.unknown) for one in desk.open()} == {(Stage.WAITING, 0, 0)}
        told = [line.getMessage() for line in caplog.records if line.levelno >= logging.ERROR]
        assert [text.partition(";")[0] for text in told] == ["acme-ng is paused: bad_token"]

        desk.clock.ahead(1)  # `probe_after`: one request, and no second one beside it
        desk.quiet()
        assert len(played.came) == 2
        desk.clock.ahead(1.9)  # twice as long after the second refusal
        desk.quiet()
        assert len(played.came) == 2
        desk.clock.ahead(0.1)
        desk.quiet()

        assert desk.tally()["accepted"] == 5
        assert desk.store.paused() == {}
        assert len(played.came) == 7
        assert desk.balanced()


def test_a_refused_batch_is_one_pause_and_the_first_probe_is_as_soon_as_promised(tmp_path: Path) -> None:
    # Were every row of the batch, or every request in flight, a refusal of its own, the first probe would
    # come after 16 minutes.
    with (
        platform(REFUSES, REFUSES, REFUSES, verdicts("accepted")) as played,
        Desk(tmp_path, acme(concurrency=3), sandbox=played.url) as desk,
    ):
        desk.tell(*borrowers(12)).until(lambda: desk.open() and all(one.reason for one in desk.open()))
        assert [len(ids_in(came)) for came in played.came] == [4, 4, 4]
        desk.clock.ahead(1)
        desk.quiet()

        assert len(ids_in(played.came[3])) == 1
        assert desk.tally()["accepted"] == 12


def test_a_probe_that_is_not_answered_is_not_followed_by_the_next_at_once(tmp_path: Path) -> None:
    with (
        platform(REFUSES, closes, verdicts("accepted")) as played,
        Desk(tmp_path, ONE_BY_ONE, sandbox=played.url) as desk,
    ):
        desk.tell(*borrowers(5)).quiet().clock.ahead(1)
        desk.quiet()
        assert len(played.came) == 2
        desk.clock.ahead(30)

        assert desk.quiet().tally()["accepted"] == 5


def test_a_start_is_as_good_a_moment_as_any_to_look_whether_the_token_was_put_right(tmp_path: Path) -> None:
    with (
        platform(REFUSES, verdicts("accepted")) as played,
        Desk(tmp_path, ONE_BY_ONE, sandbox=played.url) as desk,
    ):
        desk.tell(*borrowers(3)).quiet()
        desk.restart()
        assert desk.store.paused() == {"acme-ng": Pause(us(0), Stop.PLATFORM, "bad_token")}
        desk.quiet()

        assert desk.tally()["accepted"] == 3
        assert desk.store.paused() == {}


def test_a_paused_destination_does_not_hold_up_another(tmp_path: Path) -> None:
    with (
        platform(REFUSES) as sick,
        platform(verdicts("accepted")) as well,
        Desk(tmp_path, acme_at(sick.url, "sick-ng"), acme_at(well.url, "well-ng")) as desk,
    ):
        desk.tell(*borrowers(40)).quiet()

        assert desk.tally("well-ng")["accepted"] == 40
        assert len(desk.open("sick-ng")) == 40


# set-up


def test_a_secret_that_is_not_set_pauses_and_nothing_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ACME_TOKEN")
    with platform(verdicts("accepted")) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrowers(3)).quiet()

        assert desk.store.paused() == {"acme-ng": Pause(us(0), Stop.PLATFORM, "no_secret")}
        assert played.connections == 0
        monkeypatch.setenv("ACME_TOKEN", TOKEN)
        assert desk.restart().quiet().tally()["accepted"] == 3


def hook(url: str, **own: Any) -> Outlet:
    """A webhook at that address."""
    return real("webhook-ng", "webhook", url=url, secret=Secret(env="ACME_HOOK_SECRET"), **own)


@pytest.mark.parametrize("value", ["whsec_no*base64", "whsec_", "schlüssel-9d"])
def test_a_signing_secret_of_no_use_pauses_its_own_destination_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("ACME_HOOK_SECRET", value)
    outlets = hook("https://hooks.acme.example/in"), acme()
    with platform(verdicts("accepted")) as played, Desk(tmp_path, *outlets, sandbox=played.url) as desk:
        desk.tell(*borrowers(3)).quiet()

        assert desk.store.paused() == {"webhook-ng": Pause(us(0), Stop.PLATFORM, "no_secret")}
        assert desk.tally()["accepted"] == 3


def test_a_token_that_no_header_can_hold_pauses_its_own_destination_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTHER_TOKEN", "schlüssel-9d")
    outlets = acme("other-ng", token="OTHER_TOKEN"), acme()
    with platform(verdicts("accepted")) as played, Desk(tmp_path, *outlets, sandbox=played.url) as desk:
        desk.tell(*borrowers(3)).quiet()

        assert desk.store.paused() == {"other-ng": Pause(us(0), Stop.PLATFORM, "unusable_request")}
        assert desk.tally()["accepted"] == 3
        assert "schlüssel" not in caplog.text


def test_a_request_to_a_host_that_is_not_declared_never_leaves(tmp_path: Path) -> None:
    with platform() as played:
        stray = acme_at(played.url, "stray-ng", facts={"hosts": ("api.acme.example",)})
        with Desk(tmp_path, stray) as desk:
            desk.tell(*borrower()).quiet()

            assert desk.store.paused() == {"stray-ng": Pause(us(0), Stop.PLATFORM, "host_not_declared")}
            assert played.connections == 0


def test_a_webhook_never_reaches_a_private_address(tmp_path: Path) -> None:
    with platform() as played, Desk(tmp_path, hook(f"{played.url}/in", allow_http=True)) as desk:
        desk.tell(*borrowers(3)).quiet()

        assert desk.store.paused() == {"webhook-ng": Pause(us(0), Stop.PLATFORM, "private_address")}
        assert {(one.stage, one.attempts) for one in desk.open("webhook-ng")} == {(Stage.WAITING, 0)}
        assert played.connections == 0


def test_a_webhook_that_may_reach_a_private_address_does(tmp_path: Path) -> None:
    with platform() as played:
        outlet = hook(f"{played.url}/in", allow_http=True, allow_private=True)
        with Desk(tmp_path, outlet) as desk:
            assert desk.tell(*borrower()).quiet().tally("webhook-ng")["accepted"] == 1


def test_a_sandbox_on_this_machine_stands_in_for_any_webhook(tmp_path: Path) -> None:
    with platform() as played:
        with Desk(tmp_path, hook("https://hooks.acme.example/in"), sandbox=played.url) as desk:
            assert desk.tell(*borrower()).quiet().tally("webhook-ng")["accepted"] == 1
        assert played.came[0].target == "/hooks.acme.example/in"


# our own faults


def test_one_delivery_that_cannot_be_encoded_stops_nobody_else(tmp_path: Path) -> None:
    with platform(verdicts("accepted")) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrower("u1"), *borrower("poison"), *borrower("u3")).quiet()

        assert desk.tally()["accepted"] == 2
        assert desk.tally()["dead encode_failed"] == 1
        assert sorted(all_users(played)) == ["u1", "u3"]
        assert desk.balanced()


def test_a_request_that_cannot_be_built_is_dead_and_stops_nobody_else(tmp_path: Path) -> None:
    def broken(items: Any, settings: Any) -> Any:
        raise KeyError("our own mistake")

    outlets = acme("broken-ng", parts={"request": broken}), acme()
    with platform(verdicts("accepted")) as played, Desk(tmp_path, *outlets, sandbox=played.url) as desk:
        desk.tell(*borrowers(3)).quiet()

        assert desk.tally("broken-ng")["dead encode_failed"] == 3
        assert desk.tally()["accepted"] == 3
        assert desk.balanced()


@pytest.mark.parametrize(
    "act", [verdicts("nonsense"), verdicts("accepted", "accepted")], ids=["unknown word", "too few rows"]
)
def test_an_answer_that_cannot_be_read_is_tried_again(tmp_path: Path, act: Act) -> None:
    with platform(act, verdicts("accepted")) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrowers(3)).until(lambda: desk.open() and all(one.attempts for one in desk.open()))
        assert {one.reason for one in desk.open()} == {"unreadable_answer"}
        desk.clock.ahead(1)

        assert desk.quiet().tally()["accepted"] == 3


# never sent


def test_what_has_no_id_for_the_platform_is_skipped_and_not_sent(tmp_path: Path) -> None:
    bare = phone("u2", appsflyer_id="00000000-0000-0000-0000-000000000000")
    without = login(0, bare, user_id="u2", event_id="in-u2")
    with platform() as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrower("unknown"), without, loan(0, "L2", user_id="u2", event_id="out-u2")).quiet()

        assert desk.tally() == {"planned": 2, "skipped": 2, "skipped no_device_id": 2}
        assert played.connections == 0
        assert desk.balanced()


def test_what_decisions_skip_is_counted_and_never_open(tmp_path: Path) -> None:
    forbids = consent_of(0, False, user_id="u2")
    with platform() as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrower("u1", test=True), forbids, *borrower("u2")).quiet()

        assert desk.tally() == {
            "planned": 2,
            "skipped": 2,
            "skipped test_user": 1,
            "skipped no_consent": 1,
        }
        assert played.connections == 0
        assert desk.balanced()


def test_what_is_too_old_before_its_first_try_is_skipped(tmp_path: Path) -> None:
    with platform() as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.clock.ahead(2 * DAY)
        desk.tell(*borrower()).quiet()

        assert desk.tally() == {"planned": 1, "skipped": 1, "skipped too_old": 1}
        assert played.connections == 0


def test_the_window_is_looked_at_when_it_is_sent_not_when_it_is_planned(tmp_path: Path) -> None:
    # Acme's window is two days: open when the loan is planned, closed when it has settled.
    with platform() as played, settling(acme(), path=tmp_path, sandbox=played.url) as desk:
        desk.clock.ahead(2 * DAY - 4)
        desk.tell(login(0, "u1"), loan(0, arrives=2 * DAY - 4)).turns()
        assert len(desk.open()) == 1
        desk.clock.ahead(11)
        desk.quiet()

        assert desk.tally()["skipped too_old"] == 1
        assert played.connections == 0


def test_a_window_that_closes_after_a_try_makes_it_dead(tmp_path: Path) -> None:
    with platform(says(503)) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrower()).until(lambda: desk.open() and the(desk).attempts)
        desk.clock.ahead(2 * DAY)
        desk.quiet()

        assert desk.tally() == {"planned": 1, "dead": 1, "dead window_closed": 1}
        assert len(played.came) == 1
        assert desk.balanced()


def test_no_number_of_tries_ends_a_delivery_before_its_window_closes(tmp_path: Path) -> None:
    with platform(says(503)) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrower())
        for _ in range(40):
            desk.quiet().clock.ahead(16)

        assert len(played.came) == 40
        assert the(desk).attempts == 40
        assert desk.tally() == {"planned": 1}


def test_late_ones_are_sent_where_the_platform_only_dates_them_anew(tmp_path: Path) -> None:
    outlets = acme(facts={"late": "send"}), acme("skip-ng", facts={"late": "send"}, late="skip")
    with platform(verdicts("accepted")) as played, Desk(tmp_path, *outlets, sandbox=played.url) as desk:
        desk.clock.ahead(3 * DAY)
        desk.tell(*borrower()).quiet()

        assert desk.tally()["accepted"] == 1
        assert desk.tally("skip-ng")["skipped too_old"] == 1


def test_our_own_greatest_age_counts_beside_the_platforms_window(tmp_path: Path) -> None:
    outlet = acme(facts={"late": "send"}, max_age=timedelta(hours=5))
    with platform() as played, Desk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.clock.ahead(5 * HOUR)
        desk.tell(*borrower()).quiet()

        assert desk.tally()["skipped too_old"] == 1


def test_where_no_window_ever_closes_trying_ends_after_a_time(tmp_path: Path) -> None:
    outlet = acme(facts={"late": "send"})
    with platform(says(503)) as played, Desk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.clock.ahead(30 * DAY)
        desk.tell(*borrower()).until(lambda: desk.open() and the(desk).attempts)
        desk.clock.ahead(72 * HOUR - 1)
        assert len(desk.quiet().open()) == 1
        desk.clock.ahead(20)
        desk.quiet()

        assert desk.tally()["dead window_closed"] == 1


# a login that came late


def settling(*outlets: Outlet, path: Path, sandbox: str, minutes: int = 10) -> Desk:
    """A desk whose deliveries wait so many minutes before they are bound for good."""
    return Desk(path, *outlets, sandbox=sandbox, settle=timedelta(minutes=minutes))


def late_login(minutes: float, name: str, *, arrives: float, **fields: Any) -> Event:
    return login(minutes, name, arrives=arrives, event_id=f"in-{name}", **fields)


def devices(played: Platform) -> list[str]:
    """The device of every event that was sent."""
    return [one["device"] for came in played.came for one in json.loads(came.body)["events"]]


def test_a_delivery_not_yet_claimed_follows_a_late_login(tmp_path: Path) -> None:
    with (
        platform(verdicts("accepted")) as played,
        settling(acme(), path=tmp_path, sandbox=played.url) as desk,
    ):
        desk.tell(login(0, "old"), loan(5)).turns().clock.ahead(6)
        desk.tell(late_login(4, "new", arrives=6)).turns().clock.ahead(10)
        desk.quiet()

        assert devices(played) == ["af-new"]
        assert desk.tally() == {"planned": 1, "accepted": 1, "accepted confirmed": 1}
        assert desk.all_receipts()[0].bound != 0


def test_every_destination_of_one_kind_follows_a_late_login(tmp_path: Path) -> None:
    outlets = [acme(f"acme-{letter}", account=letter) for letter in "abc"]
    with (
        platform(verdicts("accepted")) as played,
        settling(*outlets, path=tmp_path, sandbox=played.url) as desk,
    ):
        desk.tell(login(0, "old"), loan(5)).turns().clock.ahead(6)
        desk.tell(late_login(4, "new", arrives=6)).turns().clock.ahead(10)
        desk.quiet()

        assert devices(played) == ["af-new"] * 3
        for outlet in outlets:
            assert desk.tally(outlet.name) == {"planned": 1, "accepted": 1, "accepted confirmed": 1}


def test_a_delivery_that_was_tried_keeps_its_device_and_the_late_login_is_counted(tmp_path: Path) -> None:
    with (
        platform(says(503), verdicts("accepted")) as played,
        Desk(tmp_path, acme(), sandbox=played.url) as desk,
    ):
        desk.tell(login(-9, "old"), loan(0)).until(lambda: desk.open() and the(desk).attempts)
        desk.tell(late_login(-1, "new", arrives=1)).turns().clock.ahead(2)
        desk.quiet()

        assert devices(played) == ["af-old"] * 2
        assert desk.tally() == {"planned": 1, "accepted": 1, "accepted confirmed": 1, "late_touch": 1}
        assert desk.balanced()


BOTH_APPS = acme("acme-ng"), acme("acme-ph", app=IOS)


def test_a_late_login_in_another_app_moves_the_delivery_to_that_apps_account(tmp_path: Path) -> None:
    with (
        platform(verdicts("accepted")) as played,
        settling(*BOTH_APPS, path=tmp_path, sandbox=played.url) as desk,
    ):
        desk.tell(login(0, "old"), loan(5)).turns().clock.ahead(6)
        desk.tell(late_login(4, "new", arrives=6, app="acme-ios")).turns().clock.ahead(20)
        desk.quiet()

        assert desk.tally("acme-ng") == {"planned": 1, "cancelled": 1, "cancelled rebound": 1}
        assert desk.tally("acme-ph") == {"planned": 1, "accepted": 1, "accepted confirmed": 1}
        assert devices(played) == ["af-new"]
        assert desk.balanced()


def test_a_delivery_that_moved_to_another_app_and_back_is_sent_once(tmp_path: Path) -> None:
    with (
        platform(verdicts("accepted")) as played,
        settling(*BOTH_APPS, path=tmp_path, sandbox=played.url, minutes=30) as desk,
    ):
        desk.tell(login(0, "old"), loan(5)).turns().clock.ahead(6)
        desk.tell(late_login(3, "new", arrives=6, app="acme-ios")).turns().clock.ahead(1)
        desk.tell(late_login(4, "back", arrives=7)).turns().clock.ahead(60)
        desk.quiet()

        assert devices(played) == ["af-back"]
        assert desk.tally("acme-ng")["accepted"] == 1
        assert desk.tally("acme-ph") == {"planned": 1, "cancelled": 1, "cancelled rebound": 1}
        assert desk.balanced()


# taken back


def test_a_loan_that_is_undone_before_it_was_sent_is_cancelled(tmp_path: Path) -> None:
    with platform() as played, settling(acme(), path=tmp_path, sandbox=played.url) as desk:
        desk.tell(*borrower()).turns().clock.ahead(1)
        desk.tell(event("disbursement_reversed", 1, loan_id="L-u1")).turns().clock.ahead(20)
        desk.quiet()

        assert desk.tally() == {"planned": 1, "cancelled": 1, "cancelled disbursement_reversed": 1}
        assert played.connections == 0
        assert desk.balanced()


@pytest.mark.parametrize("killed", [False, True], ids=["running", "killed"])
def test_what_moved_to_another_app_is_taken_back_there(tmp_path: Path, killed: bool) -> None:
    with platform() as played, settling(*BOTH_APPS, path=tmp_path, sandbox=played.url) as desk:
        desk.tell(login(0, "old"), loan(5)).turns().clock.ahead(6)
        desk.tell(late_login(4, "new", arrives=6, app="acme-ios")).turns().clock.ahead(1)
        if killed:
            desk.restart()
        desk.tell(event("loan_cancelled", 7, loan_id="L1")).turns().clock.ahead(20)
        desk.quiet()

        assert desk.tally("acme-ph") == {"planned": 1, "cancelled": 1, "cancelled loan_cancelled": 1}
        assert played.connections == 0


def test_a_consent_that_ended_stops_what_waits_tried_or_not(tmp_path: Path) -> None:
    with platform(says(503)) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrower()).until(lambda: desk.open() and the(desk).attempts)
        desk.tell(consent_of(1, False)).quiet().clock.ahead(60)
        desk.quiet()

        assert desk.tally() == {"planned": 1, "skipped": 1, "skipped no_consent": 1}
        assert len(played.came) == 1
        assert desk.balanced()


@pytest.mark.parametrize("act", [says(503), closes], ids=["refused for now", "not answered"])
@pytest.mark.parametrize("killed", [False, True], ids=["running", "killed"])
def test_what_was_on_its_way_when_the_consent_ended_is_not_repeated(
    tmp_path: Path, act: Act, killed: bool
) -> None:
    released = threading.Event()
    with (
        platform(waits_for(released, act), verdicts("accepted")) as played,
        Desk(tmp_path, acme(), sandbox=played.url) as desk,
    ):
        desk.tell(*borrower()).until(lambda: len(played.came) == 1)
        desk.tell(consent_of(1, False)).until(lambda: desk.store.position() == desk.log.last_record())
        if killed:
            desk.restart()
        released.set()
        desk.until(lambda: not desk.open()).clock.ahead(60)
        desk.quiet()

        assert desk.tally() == {"planned": 1, "skipped": 1, "skipped no_consent": 1}
        assert len(played.came) == 1
        assert desk.balanced()


def test_what_was_on_its_way_when_the_consent_ended_may_still_be_accepted(tmp_path: Path) -> None:
    released = threading.Event()
    with (
        platform(waits_for(released, verdicts("accepted"))) as played,
        Desk(tmp_path, acme(), sandbox=played.url) as desk,
    ):
        desk.tell(*borrower()).until(lambda: len(played.came) == 1)
        desk.tell(consent_of(1, False)).until(lambda: desk.store.position() == desk.log.last_record())
        released.set()

        assert desk.quiet().tally() == {"planned": 1, "accepted": 1, "accepted confirmed": 1}


# starting and stopping


def test_what_was_claimed_when_the_sender_was_killed_is_sent_again_under_the_same_id(tmp_path: Path) -> None:
    outlet = acme(on_unknown=Unknown(retry=3))
    with (
        platform(hangs, verdicts("accepted")) as played,
        Desk(tmp_path, outlet, sandbox=played.url) as desk,
    ):
        desk.tell(*borrowers(3)).until(lambda: len(played.came) == 1)
        desk.restart()
        found = {(one.stage, one.unknown, one.reason) for one in desk.open()}
        assert found == {(Stage.WAITING, 1, "stopped")}
        desk.quiet()

        assert ids_in(played.came[0]) == ids_in(played.came[1])
        assert desk.tally()["accepted"] == 3
        first = desk.receipts(desk.all_receipts()[0].id)
        assert [(one.what, one.reason) for one in first] == [("retry", "stopped"), ("accepted", "confirmed")]


@pytest.mark.parametrize("rule", [Unknown(hold=timedelta(days=7)), Unknown(retry=0)])
def test_what_was_claimed_when_the_sender_was_killed_is_held_where_it_may_not_be_repeated(
    tmp_path: Path, rule: Unknown
) -> None:
    with (
        platform(hangs, verdicts("accepted")) as played,
        Desk(tmp_path, acme(on_unknown=rule), sandbox=played.url) as desk,
    ):
        desk.tell(*borrowers(3)).until(lambda: len(played.came) == 1)
        desk.restart().quiet()

        assert len(played.came) == 1
        assert {one.stage for one in desk.open()} == {Stage.HELD}
        assert {one.reason for one in desk.all_receipts()} == {"unknown: stopped"}
        assert desk.balanced()


def test_what_was_not_claimed_when_the_sender_was_killed_is_sent_once(tmp_path: Path) -> None:
    outlet = acme(on_unknown=Unknown(hold=timedelta(days=7)))
    with (
        platform(verdicts("accepted")) as played,
        settling(outlet, path=tmp_path, sandbox=played.url) as desk,
    ):
        desk.tell(*borrowers(5)).until(lambda: len(desk.open()) == 5)
        desk.restart().clock.ahead(20)

        assert desk.quiet().tally()["accepted"] == 5
        assert sorted(all_users(played)) == [f"u{n}" for n in range(5)]


def test_a_sender_that_is_told_to_stop_waits_for_answers_and_starts_nothing(tmp_path: Path) -> None:
    released = threading.Event()
    with (
        platform(waits_for(released, verdicts("accepted"))) as played,
        Desk(tmp_path, acme(concurrency=1), sandbox=played.url) as desk,
    ):
        desk.tell(*borrowers(8)).until(lambda: len(played.came) == 1)
        released.set()
        desk.sender.drain()

        assert desk.tally()["accepted"] == 4
        assert len(played.came) == 1
        assert {one.stage for one in desk.open()} == {Stage.WAITING}


def test_draining_ends_after_its_limit_and_the_rest_is_ambiguous(tmp_path: Path) -> None:
    with (
        platform(hangs) as played,
        Desk(tmp_path, acme(), sandbox=played.url, drain=timedelta(milliseconds=100)) as desk,
    ):
        desk.tell(*borrower()).until(lambda: len(played.came) == 1)
        desk.sender.drain()

        assert the(desk).stage is Stage.CLAIMED


def test_a_destination_that_was_taken_out_keeps_what_waits_for_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stays, leaves = acme("stays-ng"), acme("leaves-ng")
    with platform(says(503)) as played, Desk(tmp_path, stays, leaves, sandbox=played.url) as desk:
        desk.tell(*borrowers(3)).until(lambda: len(played.came) == 2)
        desk.quiet()
        played.play(verdicts("accepted"))
        desk.clock.ahead(30)
        desk.restart(stays, killed=False).quiet()

        assert "destination leaves-ng has deliveries and is not configured: they wait" in caplog.text
        assert desk.tally("stays-ng")["accepted"] == 3
        assert len(desk.open("leaves-ng")) == 3
        assert desk.balanced()

        desk.restart(stays, leaves, killed=False).quiet()
        assert desk.tally("leaves-ng")["accepted"] == 3


def test_a_backlog_of_the_time_before_is_sent_after_a_start(tmp_path: Path) -> None:
    with platform() as gone:
        nowhere = gone.url
    outlet = acme(facts={"batch": 50})
    with Desk(tmp_path, outlet, sandbox=nowhere, window=100) as desk:
        desk.tell(*borrowers(250)).quiet()
        assert len(desk.open()) == 250
        with platform(verdicts("accepted")) as played:
            desk.settings = type(desk.settings)(sandbox=played.url, window=100)
            desk.clock.ahead(60)

            assert desk.restart(killed=False).quiet().tally()["accepted"] == 250
            assert sorted(all_users(played)) == sorted(f"u{n}" for n in range(250))


# secrets


def test_no_file_holds_a_secret_whatever_the_platform_answers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = json.dumps({"error": f"Malformed access token {TOKEN}"}).encode()
    script = [says(400, echo), says(503, echo), says(401, echo), closes, verdicts("accepted")]
    with platform(*script) as played, Desk(tmp_path, ONE_BY_ONE, sandbox=played.url) as desk:
        desk.tell(*borrowers(3))
        for _ in range(8):
            desk.quiet().clock.ahead(20)
        assert desk.tally()["dead http_400"] == 1
        assert desk.tally()["accepted"] == 2
        (dead,) = (one for one in desk.all_receipts() if one.what == "dead")
        kept = desk.store.dead(dead.id)
        assert kept is not None
        assert kept.answer == dead.answer == b'{"error": "Malformed access token [secret]"}'
        # Receipts are packed, so they are looked at one by one; the rest stands in the files as it is.
        assert all(TOKEN.encode() not in one.answer for one in desk.all_receipts())

    files = [file for file in tmp_path.iterdir() if file.is_file()]
    assert len(files) >= 2
    assert [file.name for file in files if TOKEN.encode() in file.read_bytes()] == []
    assert TOKEN not in caplog.text


def test_a_request_can_be_made_again_for_people_without_its_secret(tmp_path: Path) -> None:
    with platform(verdicts("accepted")) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrower()).quiet()
        ((number, record),) = planned(desk, "disbursement")
        render = rendered(desk.outlets["acme-ng"], APPS)
        made = render(number * 64, record, record.entries[0], record.binding, 0)

        assert isinstance(made, Request)
        assert json.loads(played.came[0].body) == made.json
        assert TOKEN not in repr(made)


def test_a_request_is_no_larger_than_the_platform_takes(tmp_path: Path) -> None:
    # An item is about 110 bytes here, so two of them and no third fit into nine tenths of 300.
    with (
        platform(verdicts("accepted")) as played,
        Desk(tmp_path, acme(facts={"max_bytes": 300}), sandbox=played.url) as desk,
    ):
        desk.tell(*borrowers(4)).until(lambda: desk.tally().get("accepted") == 4)

        assert [len(users_in(came)) for came in played.came] == [2, 2]
        assert sorted(all_users(played)) == ["u0", "u1", "u2", "u3"]


def test_what_is_too_large_alone_goes_alone(tmp_path: Path) -> None:
    with (
        platform(verdicts("accepted")) as played,
        Desk(tmp_path, acme(facts={"max_bytes": 20}), sandbox=played.url) as desk,
    ):
        desk.tell(*borrowers(2)).until(lambda: desk.tally().get("accepted") == 2)

        assert [len(users_in(came)) for came in played.came] == [1, 1]


@pytest.mark.parametrize("body", [b"{", b'{"verdicts": ["gibberish"]}', b'{"verdicts": []}'])
def test_a_yes_that_nobody_can_read_is_no_answer_and_under_hold_it_is_held(
    tmp_path: Path, body: bytes
) -> None:
    unreadable = says(200, body)
    outlet = acme(on_unknown=Unknown(hold=timedelta(days=1)), parts={"classify": strictly})
    with platform(unreadable) as played, Desk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.tell(*borrower()).until(lambda: the(desk).stage is Stage.HELD)

        assert len(played.came) == 1
        assert [one.reason for one in desk.receipts(the(desk).id)] == ["unknown: unreadable_answer"]


def test_a_no_that_nobody_can_read_is_tried_again_even_under_hold(tmp_path: Path) -> None:
    outlet = acme(on_unknown=Unknown(hold=timedelta(days=1)), parts={"classify": strictly})
    with platform(says(502, b"<html>")) as played, Desk(tmp_path, outlet, sandbox=played.url) as desk:
        desk.tell(*borrower()).until(lambda: the(desk).attempts == 1)

        assert the(desk).stage is Stage.WAITING


def strictly(response: Any, count: int) -> Any:
    """Acme's answers read by someone who takes nothing for granted."""
    words = json.loads(response.body)["verdicts"]
    if len(words) != count or set(words) - {"accepted"}:
        raise ValueError("gibberish")
    return classify(response, count)


def test_an_outcome_is_kept_together_with_the_next_claims(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "FLUSH_SECONDS", 3600.0)
    with platform(verdicts("accepted")) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrower("u1")).until(lambda: played.came and not desk.sender.in_flight)
        assert the(desk).stage is Stage.CLAIMED

        desk.tell(*borrower("u2")).until(lambda: len(played.came) == 2)
        assert the(desk).stage is Stage.CLAIMED
        assert desk.tally()["accepted"] == 1


def test_an_outcome_without_company_is_kept_soon(tmp_path: Path) -> None:
    with platform(verdicts("accepted")) as played, Desk(tmp_path, acme(), sandbox=played.url) as desk:
        desk.tell(*borrower("u1")).until(lambda: not desk.open() and desk.tally()["accepted"] == 1)

        assert not desk.sender.book.changes
