"""What a pull from Kafka can be told, and that a mistake in it is named before anything is read."""

from typing import Any

import pytest

from lendsignal.settings import read
from lendsignal.source import kafka

TABLE = {"brokers": ["kafka-1.acme.example:9093"], "topic": "acme.loans"}


def problems(**changes: Any) -> list[str]:
    own, wrong = read(kafka.Settings, {**TABLE, **changes}, path="", origin="")
    return [str(one) for one in (*wrong, *(kafka.problems(own) if own is not None else ()))]


def test_brokers_and_a_topic_are_all_it_needs() -> None:
    assert problems() == []
    assert problems(topic=["acme.loans", "acme.logins"], format="debezium", payload="event") == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"brokers": ["kafka-1.acme.example"]}, "host:port"),
        ({"brokers": []}, "brokers"),
        ({"topic": ""}, "topic"),
        ({"topic": []}, "topic"),
        ({"sasl": "PLAIN", "username": "ada"}, "go together"),
        ({"tls": False, "ca": {"file": "ca.pem"}}, "tls = true"),
        ({"payload": "event"}, "payload"),
        ({"format": "avro"}, "format"),
        ({"topics": "acme.loans"}, "topic"),
        ({"event": [{"type": "disbursed", "file": "x", "columns": {}}]}, "event[0].file"),
    ],
)
def test_a_mistake_is_named(changes: dict[str, Any], says: str) -> None:
    assert any(says in one for one in problems(**changes)), problems(**changes)
