"""Conversions into a topic of a genuine Kafka broker, through its failures: planned is what stands there."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.acme import ANDROID
from tests.desk import Desk, borrower, borrowers, real
from tests.scripted import platform, says
from tests.servers.kafka import PASSWORDS, READER, WRITER, Broker, kafka

from lendsignal.deliver import Outlet
from lendsignal.deliver.settings import Unknown
from lendsignal.deliver.topic import NEAR_SECONDS
from lendsignal.log import Stage
from lendsignal.model import Secret
from lendsignal.settings.notation import duration

HOLD = {"on_unknown": Unknown(hold=duration("7d"))}
QUICK = {"timeout": duration("2s")}
NAME = "topic-ng"

numbers = count(1)


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with kafka() as one:
        yield one


@pytest.fixture
def topic(broker: Broker) -> str:
    return broker.make_topic(f"acme.conversions-{next(numbers)}", partitions=3)


def outlet(
    address: str, topic: str, *, common: dict[str, Any] | None = None, tls: bool = False, **own: Any
) -> Outlet:
    return real(NAME, "kafka", app=ANDROID, common=common, brokers=(address,), topic=topic, tls=tls, **own)


def signs_in(user: str, password: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a destination says to sign in as that user."""
    monkeypatch.setenv("KAFKA_PASSWORD", password)
    return {"sasl": "PLAIN", "username": user, "password": Secret(env="KAFKA_PASSWORD")}


def ids(broker: Broker, topic: str) -> Counter[str]:
    """Each conversion id that stands in the topic, with how often."""
    return Counter(json.loads(message.value())["id"] for message in broker.messages(topic))


def accepted(desk: Desk, number: int) -> bool:
    return desk.tally(NAME).get("accepted") == number


def later(desk: Desk, number: int) -> None:
    """Turns until so many are accepted, while time goes on, so that pauses and waits end."""

    def look() -> bool:
        desk.clock.ahead(0.01)
        return accepted(desk, number)

    desk.until(look)


def test_what_is_planned_is_what_stands_in_the_topic(tmp_path: Path, broker: Broker, topic: str) -> None:
    with Desk(tmp_path, outlet(broker.address, topic)) as desk:
        desk.tell(*borrowers(300)).until(lambda: accepted(desk, 300))

        assert len(ids(broker, topic)) == 300
        assert set(ids(broker, topic).values()) == {1}
        assert desk.tally(NAME) == {"planned": 300, "accepted": 300, "accepted confirmed": 300}
        assert desk.balanced()


def test_a_message_has_key_headers_and_the_documented_value(
    tmp_path: Path, broker: Broker, topic: str
) -> None:
    with Desk(tmp_path, outlet(broker.address, topic)) as desk:
        desk.tell(*borrower("u1")).until(lambda: accepted(desk, 1))

        (message,) = broker.messages(topic)
        value = json.loads(message.value())
        assert message.key() == b"acme:u1"
        assert dict(message.headers()) == {
            "lendsignal-id": value["id"].encode(),
            "Content-Type": b"application/json",
        }
        assert (value["type"], value["user_id"], value["brand"]) == ("ev_disbursement", "u1", "acme")
        (receipt,) = desk.all_receipts()
        assert (receipt.what, receipt.status) == ("accepted", 200)


def test_over_tls_with_a_password_it_arrives(
    tmp_path: Path, broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = signs_in(WRITER, PASSWORDS[WRITER], monkeypatch)
    one = outlet(broker.tls_address, topic, tls=True, ca=Secret(file=str(broker.ca)), **who)
    with Desk(tmp_path, one) as desk:
        desk.tell(*borrower("u1")).until(lambda: accepted(desk, 1))

        assert len(ids(broker, topic)) == 1


@pytest.mark.parametrize(
    ("user", "password", "reason"),
    [
        (WRITER, "not-the-password", "kafka_authentication"),
        (READER, PASSWORDS[READER], "kafka_topic_authorization_failed"),
    ],
)
def test_who_may_not_write_waits_for_a_person(
    tmp_path: Path,
    broker: Broker,
    topic: str,
    monkeypatch: pytest.MonkeyPatch,
    user: str,
    password: str,
    reason: str,
) -> None:
    one = outlet(broker.sasl_address, topic, common=HOLD, **signs_in(user, password, monkeypatch))
    with Desk(tmp_path, one) as desk:
        desk.tell(*borrowers(3)).until(lambda: NAME in desk.store.paused())

        assert desk.store.paused()[NAME].reason == reason
        desk.until(lambda: {one.stage for one in desk.open(NAME)} == {Stage.WAITING})
        assert password not in str(desk.all_receipts())


def test_who_may_see_the_topic_and_not_write_waits_for_a_person_with_nothing_in_doubt(
    tmp_path: Path, broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.let_see(READER, topic)
    who = signs_in(READER, PASSWORDS[READER], monkeypatch)
    with Desk(tmp_path, outlet(broker.sasl_address, topic, common=HOLD, **who)) as desk:
        desk.tell(*borrowers(3)).until(lambda: NAME in desk.store.paused())

        assert desk.store.paused()[NAME].reason == "kafka_cluster_authorization_failed"
        desk.until(lambda: {one.stage for one in desk.open(NAME)} == {Stage.WAITING})


def test_a_certificate_that_nobody_we_trust_signed_waits_for_a_person(
    tmp_path: Path, broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = signs_in(WRITER, PASSWORDS[WRITER], monkeypatch)
    with Desk(tmp_path, outlet(broker.tls_address, topic, tls=True, **who)) as desk:
        desk.tell(*borrower("u1")).until(lambda: NAME in desk.store.paused())

        assert desk.store.paused()[NAME].reason == "kafka_ssl"


def test_a_topic_that_is_not_there_is_waited_for_and_then_it_goes_on(tmp_path: Path, broker: Broker) -> None:
    topic = f"acme.late-{next(numbers)}"
    with Desk(tmp_path, outlet(broker.address, topic, common=HOLD), probe_after=duration("50ms")) as desk:
        desk.tell(*borrowers(3)).until(lambda: NAME in desk.store.paused())
        assert desk.store.paused()[NAME].reason == "kafka_unknown_topic_or_part"

        broker.make_topic(topic)
        later(desk, 3)

        assert set(ids(broker, topic).values()) == {1}


def test_a_message_that_is_too_large_is_dead_and_its_neighbours_arrive(
    tmp_path: Path, broker: Broker
) -> None:
    topic = broker.make_topic(f"acme.small-{next(numbers)}", max_message_bytes="900")
    with Desk(tmp_path, outlet(broker.address, topic, common={"concurrency": 1})) as desk:
        desk.tell(*borrower("u" * 120), *borrowers(5)).quiet()
        desk.until(lambda: accepted(desk, 5))

        assert desk.tally(NAME)["dead kafka_msg_size_too_large"] == 1
        assert len(ids(broker, topic)) == 5


def test_while_no_broker_answers_nothing_is_in_doubt_and_nothing_is_lost(
    tmp_path: Path, broker: Broker, topic: str
) -> None:
    one = outlet(broker.address, topic, common={**HOLD, **QUICK})
    broker.kill()
    try:
        with Desk(tmp_path, one) as desk:
            desk.tell(*borrowers(5)).until(lambda: len(desk.all_receipts()) >= 5)
            assert {one.reason for one in desk.all_receipts()} == {"connect_failed"}
            assert {one.stage for one in desk.open(NAME)} == {Stage.WAITING}

            broker.start()
            later(desk, 5)

            assert set(ids(broker, topic).values()) == {1}
    finally:
        if not broker.runs:
            broker.start()


def test_what_comes_after_a_broker_went_away_unnoticed_is_not_in_doubt_either(
    tmp_path: Path, broker: Broker, topic: str
) -> None:
    with Desk(tmp_path, outlet(broker.address, topic, common={**HOLD, **QUICK})) as desk:
        desk.tell(*borrower("first")).until(lambda: accepted(desk, 1))
        broker.kill()
        try:
            noticed = time.monotonic() + NEAR_SECONDS
            desk.until(lambda: time.monotonic() > noticed)
            desk.tell(*borrowers(5)).until(lambda: len(desk.all_receipts()) >= 6)

            assert {one.stage for one in desk.open(NAME)} == {Stage.WAITING}
        finally:
            broker.start()
        later(desk, 6)

        assert set(ids(broker, topic).values()) == {1}


def test_what_a_silent_broker_may_have_is_held_and_nobody_is_told_twice(
    tmp_path: Path, broker: Broker, topic: str
) -> None:
    with Desk(tmp_path, outlet(broker.address, topic, common={**HOLD, **QUICK})) as desk:
        desk.tell(*borrower("first")).until(lambda: accepted(desk, 1))
        broker.freeze()
        try:
            desk.tell(*borrowers(3)).until(
                lambda: {one.stage for one in desk.open(NAME)} <= {Stage.HELD, Stage.WAITING}
            )
        finally:
            broker.thaw()
        held = [one for one in desk.open(NAME) if one.stage is Stage.HELD]
        later(desk, 4 - len(held))

        assert held
        assert {one.reason for one in desk.all_receipts() if one.what == "held"} == {"unknown: timeout"}
        assert set(ids(broker, topic).values()) == {1}
        assert desk.balanced()


def test_a_silent_broker_slows_nobody_else(
    tmp_path: Path, broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    with platform(says(200)) as receiver:
        hook = real(
            "warehouse",
            "webhook",
            url=receiver.url,
            secret=Secret(env="HOOK"),
            allow_http=True,
            allow_private=True,
            common={"per_second": 5_000.0},
        )
        with Desk(tmp_path, outlet(broker.address, topic), hook) as desk:
            desk.tell(*borrower("first")).until(lambda: accepted(desk, 1))
            broker.freeze()
            try:
                desk.tell(*borrowers(50)).until(lambda: desk.tally("warehouse").get("accepted") == 51)
                assert accepted(desk, 1)
            finally:
                broker.thaw()
            desk.until(lambda: accepted(desk, 51))


def test_a_broker_that_is_killed_and_comes_back_within_the_time_makes_no_doubles(
    tmp_path: Path, broker: Broker, topic: str
) -> None:
    with Desk(tmp_path, outlet(broker.address, topic, common=HOLD)) as desk:
        desk.tell(*borrower("first")).until(lambda: accepted(desk, 1))
        desk.tell(*borrowers(200)).turns(2)
        broker.kill()
        desk.turns(3)
        broker.start()
        desk.until(lambda: accepted(desk, 201))

        assert len(ids(broker, topic)) == 201
        assert set(ids(broker, topic).values()) == {1}


def test_a_sender_that_is_killed_under_hold_makes_no_doubles(
    tmp_path: Path, broker: Broker, topic: str
) -> None:
    with Desk(tmp_path, outlet(broker.address, topic, common=HOLD)) as desk:
        desk.tell(*borrowers(40)).until(lambda: desk.tally(NAME).get("accepted", 0) >= 1)
        desk.restart()
        desk.quiet()

        held = len([one for one in desk.open(NAME) if one.stage is Stage.HELD])
        assert held <= 32, "what was in flight at once"
        assert accepted(desk, 40 - held)
        assert set(ids(broker, topic).values()) == {1}
        assert len(ids(broker, topic)) >= 40 - held
