"""The whole service reads a lender's topic, and is killed while it does: each message is one event."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.running import ENVIRONMENT, PATIENCE, Ledger, Service, borrowing, service, until
from tests.servers.kafka import Broker, kafka

from lendsignal.cli import main
from lendsignal.log import open_pulls

PULL = """
[pull.stream]
kind       = "kafka"
brokers    = ["{broker}"]
topic      = "{topic}"
tls        = false
batch      = 20
send_since = 2020-01-01T00:00:00Z
"""


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with kafka() as one:
        yield one


def state_of(one: Service) -> Any:
    pulls = open_pulls(one.data / "pulls.sqlite", read_only=True)
    try:
        return next((state for state in pulls.standing() if state.name == "stream"), None)
    finally:
        pulls.close()


def told(broker: Broker, topic: str, numbers: range) -> None:
    """Users register and borrow; a user's events are in one partition, in order."""
    for number in numbers:
        events = borrowing(number)
        broker.produce(
            topic, *(json.dumps(one).encode() for one in events), key=events[0]["user_id"].encode()
        )


def test_a_topic_becomes_deliveries_once_though_reader_door_and_broker_are_killed(
    tmp_path: Path, broker: Broker
) -> None:
    topic, users = broker.make_topic("acme.events", partitions=3), 150
    with service(tmp_path, start=False) as (one, stand):
        config = one.folder / "lendsignal.toml"
        config.write_text(config.read_text() + PULL.format(broker=broker.address, topic=topic))
        told(broker, topic, range(30))
        one.start()
        until(lambda: len(stand.ids("warehouse")) >= 30, "the first arrive")
        producing = threading.Thread(target=told, args=(broker, topic, range(30, users)))
        producing.start()
        old = one.kill("pull")
        until(lambda: (one.pid("pull") or old) != old, "another reader starts")
        one.kill("core")
        producing.join(PATIENCE)
        broker.produce(topic, b"no event at all")
        until(lambda: len(stand.ids("warehouse")) >= 60, "it goes on")
        broker.kill()
        broker.start()
        until(lambda: len(stand.ids("warehouse")) == 2 * users, "all of it is delivered")
        until(lambda: broker.committed("lendsignal-stream", topic) == 2 * users + 1, "all is committed")
        one.ready()
        one.idle()
        found = state_of(one)
        one.stop()
        books = Ledger(one.data)

    assert books.verdicts["taken"] == 2 * users
    assert len(set(books.events)) == 2 * users
    assert len(set(books.planned["warehouse"])) == len(books.planned["warehouse"]) == 2 * users
    assert books.balances("warehouse")
    assert found.refused >= 1
    assert found.state != "trouble"


def test_a_dry_run_shows_what_waits_and_commits_nothing_and_once_reads_it(
    tmp_path: Path, broker: Broker
) -> None:
    topic = broker.make_topic("acme.looked-at", partitions=2)
    told(broker, topic, range(3))
    with service(tmp_path, start=False) as (one, _):
        config = one.folder / "lendsignal.toml"
        config.write_text(config.read_text() + PULL.format(broker=broker.address, topic=topic))

        def pull(*words: str) -> str:
            return (
                CliRunner(env=ENVIRONMENT)
                .invoke(main, ["pull", "stream", "--config", str(config), *words])
                .output
            )

        looked = pull("--dry-run", "--json")
        assert "L-u" in looked
        assert broker.committed("lendsignal-stream", topic) == 0

        pull("--once")
        assert broker.committed("lendsignal-stream", topic) == 6
        assert Ledger(one.data).verdicts["taken"] == 6
