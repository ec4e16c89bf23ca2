"""A topic as the log of a cluster, in the configuration."""

from datetime import timedelta
from pathlib import Path

import pytest
from tests.unit.test_config_store import BASE, STORE

from lendsignal import config as configuration
from lendsignal import run as running
from lendsignal.config import Config
from lendsignal.errors import ConfigError

TOPIC = """\
[store.kafka]
servers  = ["kafka-1.acme.example:9093", "kafka-2.acme.example:9093"]
sasl     = "SCRAM-SHA-512"
username = "lendsignal"
password = { env = "ACME_KAFKA" }
ca       = { file = "kafka-ca.pem" }
"""


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ACME_KEY", "ls_key-of-the-back-end")
    monkeypatch.setenv("ACME_STORE", "postgresql:///signals")
    monkeypatch.setenv("ACME_KAFKA", "very-secret")
    (tmp_path / "kafka-ca.pem").write_text("made-up certificate")


def loaded(folder: Path, text: str) -> Config:
    path = folder / "lendsignal.toml"
    path.write_text(BASE + STORE + text)
    return configuration.load(path)


def test_a_topic_is_the_log_where_there_is_one(tmp_path: Path) -> None:
    config = loaded(tmp_path, TOPIC)

    assert config.store is not None
    topic = config.store.kafka
    assert topic is not None
    assert topic.servers == topic.brokers
    assert (topic.topic, topic.group, topic.instance) == ("lendsignal.events", "lendsignal.work", None)
    assert (topic.replicas, topic.in_sync, topic.session) == (3, 2, timedelta(seconds=10))
    assert str(topic.ca) == f"secret from {tmp_path / 'kafka-ca.pem'}"
    assert {"store.kafka.password", "store.kafka.ca"} <= config.secrets.keys()


def test_postgresql_is_the_log_without_one(tmp_path: Path) -> None:
    config = loaded(tmp_path, "")

    assert config.store is not None
    assert config.store.kafka is None


def test_a_secret_that_is_not_set_is_named_by_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ACME_KAFKA")

    with pytest.raises(ConfigError, match=r"store\.kafka\.password"):
        loaded(tmp_path, TOPIC)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("replicas = 1\n", "in_sync must not be more than replicas"),
        ('session = "100ms"\n', "session must be 500ms or more"),
        ('topic = "a topic"\n', "topic"),
        ("tls = false\n", "ca, certificate and private_key need tls = true"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        loaded(tmp_path, TOPIC + line)


def test_an_address_without_a_port_is_told_as_a_server(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="servers: 'kafka-1' must be host:port"):
        loaded(tmp_path, '[store.kafka]\nservers = ["kafka-1"]\n')


def test_a_service_that_runs_keeps_its_log(tmp_path: Path) -> None:
    now = loaded(tmp_path, TOPIC)

    running._refuse_what_stays(now, loaded(tmp_path, TOPIC.replace("kafka-2", "kafka-3")))
    for other in ("", TOPIC + 'topic = "other"\n'):
        with pytest.raises(ConfigError, match="as its log while the service runs"):
            running._refuse_what_stays(now, loaded(tmp_path, other))
