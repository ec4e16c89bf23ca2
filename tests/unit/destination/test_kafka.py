"""A Kafka topic: what a message says, where it goes, and what the brokers' reports mean."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from tests.acme import ANDROID, phone

from lendsignal.destination import kafka, webhook
from lendsignal.destination.spec import Request, Response, hosts_of
from lendsignal.model import Accepted, Delivery, Money, Outcome, Paused, Rejected, Retry, Secret, Skip

BROKERS = ("kafka-1.acme.example:9093", "kafka-2.acme.example:9094")
SETTINGS = kafka.Settings(brokers=BROKERS, topic="acme.conversions")


def delivery(**changes: Any) -> Delivery:
    known: dict[str, Any] = {
        "id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        "name": "ev_fl",
        "occurred_at": datetime(2026, 11, 22, 9, 14, 7, 512_900, tzinfo=UTC),
        "user_id": "u-88231",
        "app": ANDROID,
        "device": phone("ada", ip="203.0.113.7", model="SM-A145F"),
        "value": Money(Decimal("41.250"), "USD"),
    }
    return Delivery(**{**known, **changes})


def requested(settings: kafka.Settings = SETTINGS, **changes: Any) -> Request:
    item = kafka.encode(delivery(**changes), settings)
    assert not isinstance(item, Skip)
    return kafka.request([item], settings)


def outcome(status: int, error: str | None = None) -> Outcome:
    body = msgspec.json.encode({"partition": 3, "offset": 4711} if error is None else {"error": error})
    (found,) = kafka.classify(Response(status=status, body=body), 1)
    return found


def test_a_message_says_what_a_webhook_says() -> None:
    hook = webhook.Settings(url="https://hooks.acme.example/in", secret=Secret(env="HOOK"))

    assert requested().json == webhook.encode(delivery(), hook)
    assert requested().json["type"] == "ev_fl"
    assert requested().json["value"] == "41.25"


def test_a_loss_is_told_as_it_is() -> None:
    assert requested(value=Money(Decimal("-3.5"), "USD")).json["value"] == "-3.5"


def test_the_address_names_a_broker_and_the_topic() -> None:
    assert requested().url == "kafka://kafka-1.acme.example:9093/acme.conversions"


def test_the_declared_hosts_are_the_brokers() -> None:
    assert hosts_of(kafka.SPEC, SETTINGS) == ("kafka-1.acme.example", "kafka-2.acme.example")


def test_the_conversion_id_is_a_header_and_in_the_value() -> None:
    assert requested().headers == {"lendsignal-id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0"}
    assert requested().json["id"] == "0f1e2d3c4b5a69788796a5b4c3d2e1f0"


def test_the_key_is_the_user_within_his_brand_so_that_his_conversions_share_a_partition() -> None:
    assert requested().key == "acme:u-88231"


def test_the_key_is_the_conversion_where_that_is_wanted() -> None:
    settings = msgspec.structs.replace(SETTINGS, keyed_by="conversion")

    assert requested(settings).key == "0f1e2d3c4b5a69788796a5b4c3d2e1f0"


def test_a_users_conversions_share_a_lane_where_order_is_wanted() -> None:
    ordered = msgspec.structs.replace(SETTINGS, ordered=True)

    assert kafka.lane(delivery(), ordered) == "acme:u-88231"
    assert kafka.lane(delivery(), SETTINGS) is None


def test_a_message_that_is_there_is_accepted() -> None:
    assert outcome(200) == Accepted()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("TOPIC_AUTHORIZATION_FAILED", "kafka_topic_authorization_failed"),
        ("CLUSTER_AUTHORIZATION_FAILED", "kafka_cluster_authorization_failed"),
        ("SASL_AUTHENTICATION_FAILED", "kafka_sasl_authentication_failed"),
        ("_AUTHENTICATION", "kafka_authentication"),
        ("_SSL", "kafka_ssl"),
        ("UNKNOWN_TOPIC_OR_PART", "kafka_unknown_topic_or_part"),
        ("_UNKNOWN_TOPIC", "kafka_unknown_topic"),
        ("TOPIC_EXCEPTION", "kafka_topic_exception"),
    ],
)
def test_a_mistake_in_the_set_up_waits_for_a_person(error: str, reason: str) -> None:
    assert outcome(400, error) == Paused(reason)


@pytest.mark.parametrize(
    "error", "MSG_SIZE_TOO_LARGE INVALID_MSG_SIZE INVALID_RECORD POLICY_VIOLATION INVALID_TIMESTAMP".split()
)
def test_a_message_that_is_never_taken_is_rejected(error: str) -> None:
    assert outcome(400, error) == Rejected(f"kafka_{error.lower()}")


@pytest.mark.parametrize(
    "error",
    "LEADER_NOT_AVAILABLE NOT_LEADER_FOR_PARTITION NOT_ENOUGH_REPLICAS KAFKA_STORAGE_ERROR INVALID_MSG "
    "RECORD_LIST_TOO_LARGE _QUEUE_FULL A_WORD_OF_TOMORROW".split(),
)
def test_every_other_error_passes_and_is_tried_again(error: str) -> None:
    assert isinstance(outcome(400, error), Retry)


@pytest.mark.parametrize("said", [b"", b"{}", b'{"error":{}}', b'{"error":""}', b'{"error":"<b>"}', b"<b>"])
def test_a_report_that_names_no_error_goes_by_its_status(said: bytes) -> None:
    assert kafka.classify(Response(status=400, body=said), 2) == [Rejected("http_400")] * 2


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"brokers": ("kafka-1.acme.example",)}, "host:port"),
        ({"brokers": ("kafka://kafka-1.acme.example:9093",)}, "host:port"),
        ({"brokers": ("ada:secret@kafka-1.acme.example:9093",)}, "host:port"),
        ({"brokers": ("kafka-1.acme.example:99999",)}, "host:port"),
        ({"topic": ".."}, "topic"),
        ({"ordered": True, "keyed_by": "conversion"}, "keyed_by"),
        ({"sasl": "PLAIN"}, "go together"),
        ({"sasl": "PLAIN", "username": "ada"}, "go together"),
        ({"username": "ada", "password": Secret(env="P")}, "go together"),
        ({"certificate": Secret(file="c.pem")}, "private_key"),
        ({"tls": False, "ca": Secret(file="ca.pem")}, "tls = true"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        kafka.Settings(**{"brokers": BROKERS, "topic": "acme.conversions", **changes})
