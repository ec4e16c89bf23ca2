"""Messages on their way to Kafka, without a broker: what certainly never left, what is refused at once."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.desk import Desk, borrowers, real
from tests.scripted import PATIENCE

from lendsignal.deliver import Done, NoAnswer
from lendsignal.deliver.settings import Unknown
from lendsignal.deliver.topic import Courier, Reports
from lendsignal.deliver.transport import Transport
from lendsignal.deliver.wire import MissingSecret, Wire
from lendsignal.destination.spec import Request
from lendsignal.log import Stage
from lendsignal.model import Secret

NOBODY = "127.0.0.1:1"
URL = f"kafka://{NOBODY}/acme.conversions"


class Inner:
    """A network that takes everything and answers at once."""

    def __init__(self) -> None:
        self.started: list[tuple[Wire, object, float, bool]] = []
        self.closed = False

    def start(self, wire: Wire, token: object, timeout_seconds: float, *, private: bool = True) -> None:
        self.started.append((wire, token, timeout_seconds, private))

    def wait(self, seconds: float) -> list[Done]:
        return []

    def close(self) -> None:
        self.closed = True

    def __len__(self) -> int:
        return len(self.started)


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def courier(reports: Reports) -> Iterator[Courier]:
    one = Courier(Transport([(reports, reports.quiet)]), reports)
    yield one
    one.close()


def flight(**own: Any) -> Any:
    """What the sender has in flight: a line with its outlet, and the request."""
    outlet = real("topic-ng", "kafka", brokers=(NOBODY,), topic="acme.conversions", **{"tls": False, **own})
    request = Request(method="PRODUCE", url=URL, json={}, key="acme:u1")
    return SimpleNamespace(line=SimpleNamespace(outlet=outlet), request=request)


def letter(url: str = URL) -> Wire:
    return Wire("PRODUCE", url, (("lendsignal-id", "0f1e"),), b"{}")


def ended(courier: Courier, number: int) -> list[Done]:
    found: list[Done] = []
    until = time.monotonic() + PATIENCE
    while len(found) < number and time.monotonic() < until:
        found += courier.wait(1.0)
    return found


def test_what_is_no_message_goes_to_the_network_behind(reports: Reports) -> None:
    inner = Inner()
    courier = Courier(inner, reports)
    wire = Wire("POST", "https://hooks.acme.example/in", (), b"{}")

    courier.start(wire, "it", 30.0, private=False)

    assert inner.started == [(wire, "it", 30.0, False)]
    assert len(courier) == 1
    courier.close()
    assert inner.closed


def test_a_message_to_a_cluster_that_never_answered_has_certainly_not_left(courier: Courier) -> None:
    first, second = flight(), flight()
    courier.start(letter(), first, 0.3)
    courier.start(letter(), second, 0.3)
    assert len(courier) == 2

    found = ended(courier, 2)

    assert found == [Done(one, NoAnswer("connect_failed", left=False)) for one in (first, second)]
    assert len(courier) == 0


def test_a_message_whose_time_is_over_is_told_before_the_networks_own_wait_is(courier: Courier) -> None:
    courier.start(letter(), flight(), 0.2)
    before = time.monotonic()

    (done,) = ended(courier, 1)

    assert isinstance(done.result, NoAnswer)
    assert time.monotonic() - before < PATIENCE / 2


def test_a_secret_that_is_not_set_is_named_by_its_field(
    courier: Courier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAFKA_PASSWORD", raising=False)
    one = flight(sasl="PLAIN", username="ada", password=Secret(env="KAFKA_PASSWORD"))

    with pytest.raises(MissingSecret, match="'password'"):
        courier.start(letter(), one, 1.0)

    assert len(courier) == 0


def test_a_certificate_that_is_none_is_refused_without_showing_it(
    courier: Courier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_CA", "no-certificate-4c1f")

    with pytest.raises(MissingSecret) as found:
        courier.start(letter(), flight(tls=True, ca=Secret(env="KAFKA_CA")), 1.0)

    assert "4c1f" not in str(found.value)


def test_stopping_well_while_the_cluster_is_away_leaves_nothing_in_doubt(tmp_path: Path) -> None:
    hold = {"on_unknown": Unknown(hold=timedelta(days=7))}
    one = real("topic-ng", "kafka", common=hold, brokers=(NOBODY,), topic="acme.conversions", tls=False)
    with Desk(tmp_path, one) as desk:
        desk.tell(*borrowers(3)).until(lambda: desk.sender.in_flight == 3)
        desk.restart(killed=False)

        assert [one.stage for one in desk.open("topic-ng")] == [Stage.WAITING] * 3


def test_closing_does_not_wait_for_a_cluster_that_is_away(reports: Reports) -> None:
    courier = Courier(Inner(), reports)
    courier.start(letter(), flight(), 60.0)
    before = time.monotonic()

    courier.close()

    assert time.monotonic() - before < 10
