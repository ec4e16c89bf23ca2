"""The whole service over a genuine Kafka broker: both are killed under traffic, and the topic is counted."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.running import ENVIRONMENT, PATIENCE, BackEnd, Ledger, Service, borrowing, service, until
from tests.servers.kafka import Broker, kafka

from lendsignal.cli import main

TOPIC = "acme.conversions"
NAME = "events-out"

DESTINATION = """
[destination.events-out]
kind    = "kafka"
app     = "acme-ng"
brokers = ["{broker}"]
topic   = "{topic}"
tls     = false
timeout = "5s"
{policy}

[[route]]
to   = "events-out"
send = {{ disbursement = "ev_ln", registration = "ev_r" }}
"""


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with kafka() as one:
        yield one


def ids(broker: Broker, topic: str) -> Counter[str]:
    """Each conversion id that stands in the topic, with how often."""
    return Counter(json.loads(message.value())["id"] for message in broker.messages(topic))


def with_topic(one: Service, broker: Broker, topic: str, policy: str) -> None:
    """One more destination in the service's configuration."""
    path = one.folder / "lendsignal.toml"
    path.write_text(path.read_text() + DESTINATION.format(broker=broker.address, topic=topic, policy=policy))


def traffic(back_end: BackEnd, over: threading.Event) -> None:
    """Users borrow, a few at a time, until it is over."""
    number = 0
    while not over.wait(0.05):
        back_end.send([event for n in range(number, number + 6) for event in borrowing(n)])
        number += 6


@pytest.mark.parametrize(
    ("policy", "repeats"),
    [("on_unknown = { retry = 100 }", True), ('on_unknown = { hold = "7d" }', False)],
    ids=["retry", "hold"],
)
def test_killing_sender_and_broker_under_traffic_loses_nothing(
    tmp_path: Path, broker: Broker, policy: str, repeats: bool
) -> None:
    topic = broker.make_topic(f"{TOPIC}.{'retry' if repeats else 'hold'}", partitions=3)
    over = threading.Event()
    with service(tmp_path, start=False) as (one, _):
        with_topic(one, broker, topic, policy)
        one.start()
        back_end = BackEnd(one)
        sending = threading.Thread(target=traffic, args=(back_end, over))
        sending.start()
        try:
            until(lambda: ids(broker, topic), "messages arrive")
            old = one.kill("send")
            until(lambda: (one.pid("send") or old) != old, "another sender starts")
            before = len(ids(broker, topic))
            until(lambda: len(ids(broker, topic)) > before, "it sends")
            broker.kill()
            broker.start()
            before = len(ids(broker, topic))
            until(lambda: len(ids(broker, topic)) > before, "the broker is sent to again")
        finally:
            over.set()
            sending.join(PATIENCE)
        until(partial(settled, one), "nothing is left to send")
        arrived = ids(broker, topic)
        assert one.stop() == 0

    books = Ledger(one.data)
    planned = books.planned[NAME]
    assert len(planned) == len(back_end.acknowledged), "one of each event"
    assert books.balances(NAME)
    assert books.accepted[NAME] <= set(arrived) <= set(planned)
    held = books.held(NAME)
    doubled = sum(times - 1 for times in arrived.values())
    print(f"planned={len(planned)} held={held} doubled={doubled}")
    if repeats:
        assert set(arrived) == set(planned)
        assert held == 0
        assert doubled <= 2 * 32, "what was in flight at the two kills"
    else:
        assert doubled == 0
        assert len(set(planned) - set(arrived)) <= held <= 2 * 32


def settled(one: Service) -> bool:
    """Whether nothing waits or is on its way; held ones wait for a person."""
    waiting = one.status()["waiting"].get(NAME, {})
    return not waiting.get("waiting") and not waiting.get("claimed")


def test_explain_shows_the_message_and_the_report(tmp_path: Path, broker: Broker) -> None:
    topic = broker.make_topic(f"{TOPIC}.explained")
    with service(tmp_path, start=False) as (one, _):
        with_topic(one, broker, topic, "")
        one.start()
        BackEnd(one).send(borrowing(1))
        until(lambda: len(ids(broker, topic)) == 2, "both arrive")
        one.idle()
        words = ["explain", "d-u1", "--config", str(one.folder / "lendsignal.toml")]
        said = CliRunner(env=ENVIRONMENT).invoke(main, words).output

    assert f'"method":"PRODUCE","url":"kafka://{broker.address}/{topic}"' in said
    assert '{"partition":0,"offset":1}' in said
