"""A lender's own topics on a genuine Kafka broker: whatever breaks, each message is one event."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.pulling import Gone, House, drained
from tests.servers.kafka import PASSWORDS, READER, Broker, kafka

from lendsignal.errors import PullError
from lendsignal.source import Puller
from lendsignal.source.kafka import CLIENT

T0 = datetime(2026, 5, 2, 9, 0, tzinfo=UTC)

numbers = count(1)


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with kafka() as one:
        yield one


@pytest.fixture(autouse=True)
def short_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that went away without a word is missed after a second."""
    shorter = {**CLIENT, "session.timeout.ms": 1_000, "heartbeat.interval.ms": 300}
    monkeypatch.setattr("lendsignal.source.kafka.CLIENT", shorter)


@pytest.fixture
def topic(broker: Broker) -> str:
    return broker.make_topic(f"acme.loans-{next(numbers)}", partitions=2)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    found = House(tmp_path / "data")
    yield found
    found.close()


def table(broker: Broker, topic: str, **more: Any) -> dict[str, Any]:
    return {"brokers": [broker.address], "topic": topic, "tls": False, **more}


def loan(n: int, **more: Any) -> dict[str, Any]:
    return {
        "type": "disbursed",
        "brand": "acme",
        "user_id": f"c{n}",
        "loan_id": f"L{n}",
        "amount": 1000 + n,
        "currency": "NGN",
        "occurred_at": (T0 + timedelta(minutes=n)).isoformat(),
        **more,
    }


def said(value: Any) -> bytes:
    return json.dumps(value).encode()


def change(op: str, after: Any, **more: Any) -> dict[str, Any]:
    """An envelope as Debezium's PostgreSQL connector writes it (docs of 3.x, "change event values")."""
    source = {
        "connector": "postgresql",
        "db": "loans",
        "schema": "public",
        "table": "outbox",
        "lsn": 24023128,
    }
    return {"before": None, "after": after, "source": source, "op": op, "ts_ms": 1_777_712_400_000, **more}


def turned(puller: Puller, times: int) -> None:
    """So many turns, whatever there is to read."""
    for _ in range(times):
        puller.turn()


def outbox_row(n: int, payload: Any) -> dict[str, Any]:
    """A row of the table that Debezium's outbox event router expects by default."""
    return {
        "id": f"00000000-0000-0000-0000-{n:012}",
        "aggregatetype": "loan",
        "aggregateid": f"L{n}",
        "type": "LoanDisbursed",
        "payload": payload,
    }


def test_each_message_is_one_event(broker: Broker, topic: str, house: House) -> None:
    for n in range(50):
        broker.produce(topic, said(loan(n, event_id=f"e{n}")), key=f"c{n}".encode())

    house.read_all("kafka", table(broker, topic))

    assert sorted(house.ids()) == sorted(f"e{n}" for n in range(50))
    assert house.taken() == 50


def test_an_event_without_an_id_gets_one_from_its_place_whoever_reads_it(
    broker: Broker, topic: str, house: House
) -> None:
    broker.produce(topic, said(loan(1)), said(loan(1)), key=b"c1")

    house.read_all("kafka", table(broker, topic))
    house.read_all("kafka", table(broker, topic, group="another"))

    first, second, *again = house.ids()
    assert first != second
    assert again == [first, second]


def test_a_message_that_is_no_event_goes_to_quarantine_with_its_place_and_stops_nobody(
    broker: Broker, topic: str, house: House
) -> None:
    bad = [b"\xff\xfe", b"[1, 2]", b"", None, said({**loan(2), "amount": "a lot"})]
    broker.produce(topic, said(loan(1)), *bad, said(loan(3)), key=b"one partition")
    (partition,) = {message.partition() for message in broker.messages(topic)}

    house.read_all("kafka", table(broker, topic))

    assert [one.user_id for one in house.events()] == ["c1", "c3"]
    places = [json.loads(one.body)["where"] for one in house.quarantine()]
    assert sorted(places) == [f"{topic} partition {partition} offset {offset}" for offset in range(1, 6)]
    assert {one.source for one in house.quarantine()} == {"loans"}


def test_offsets_are_committed_only_behind_what_is_durable(broker: Broker, topic: str, house: House) -> None:
    broker.produce(topic, *(said(loan(n)) for n in range(20)), key=b"one partition")
    dying = house.puller("kafka", table(broker, topic), hand=house.dies_after_durable())
    with pytest.raises(Gone):
        drained(dying)
    durable = house.ids()
    dying.close()

    assert durable
    assert broker.committed("lendsignal-loans", topic) == 0
    house.read_all("kafka", table(broker, topic))

    assert broker.committed("lendsignal-loans", topic) == 20
    assert house.ids() == durable + house.ids()[len(durable) :]
    assert set(house.ids()[len(durable) :]) >= set(durable), "what was durable came again, under the same ids"
    assert house.taken() == 20


def test_the_event_of_an_outbox_row_is_read_out_of_its_change(
    broker: Broker, topic: str, house: House
) -> None:
    first, second, third = (loan(n) for n in (1, 2, 3))
    broker.produce(
        topic,
        said(change("r", outbox_row(1, said(first).decode()))),  # the snapshot
        said(change("c", outbox_row(1, said(first).decode()))),  # the same row, told again after it
        said({"schema": {"type": "struct"}, "payload": change("c", outbox_row(2, second))}),
        said(change("c", {"id": 3, "event": said(third).decode(), "created_at": 1})),
        said(change("d", None, before=outbox_row(1, None))),
        None,
        key=b"one partition",
    )

    house.read_all("kafka", table(broker, topic, format="debezium"))

    assert [one.user_id for one in house.events()] == ["c1", "c1", "c2", "c3"]
    assert len(set(house.ids())) == 3
    assert house.taken() == 3
    assert house.quarantine() == []


def test_what_the_outbox_event_router_made_is_one_event_an_outbox_row(
    broker: Broker, topic: str, house: House
) -> None:
    def routed(n: int, value: Any) -> None:
        broker.produce(topic, said(value), key=b"one partition", headers={"id": f"row-{n}"})

    routed(1, loan(1))  # expanded JSON
    routed(1, loan(1))  # a connector that was restarted tells it again
    routed(2, said(loan(2)).decode())  # JSON in a text
    routed(3, {"schema": {"type": "string"}, "payload": said(loan(3)).decode()})

    house.read_all("kafka", table(broker, topic, format="debezium"))

    assert [one.user_id for one in house.events()] == ["c1", "c1", "c2", "c3"]
    assert len(set(house.ids())) == 3
    assert house.taken() == 3


def test_a_change_without_an_event_in_it_goes_to_quarantine(broker: Broker, topic: str, house: House) -> None:
    broker.produce(topic, said(change("c", {"id": 1, "body": "{}"})), said(change("c", [1])))

    house.read_all("kafka", table(broker, topic, format="debezium"))

    assert house.events() == []
    assert {one.field for one in house.quarantine()} == {"after"}


def test_changed_rows_of_a_table_become_events_by_rules_once_each(
    broker: Broker, topic: str, house: House
) -> None:
    def row(state: str, note: str) -> dict[str, Any]:
        return {"loan_id": "L1", "customer": "c1", "cents": 2_500_050, "state": state, "note": note, "at": at}

    at = int(T0.timestamp() * 1000)
    for after in (row("applied", "a"), row("paid", "a"), row("paid", "b")):
        broker.produce(topic, said(change("u", after)), key=said({"loan_id": "L1"}))
    rules = {
        "format": "debezium",
        "constant": {"brand": "acme", "currency": "NGN"},
        "column": {"at": {"kind": "epoch_ms"}},
        "computed": {"amount": {"op": "divide", "of": ["cents", 100], "places": 2}},
        "event": [
            {
                "type": "disbursed",
                "columns": {
                    "user_id": "customer",
                    "loan_id": "loan_id",
                    "occurred_at": "at",
                    "amount": "amount",
                },
                "when": [{"column": "state", "equals": "paid"}],
            }
        ],
    }

    house.read_all("kafka", table(broker, topic, **rules))

    (event,) = house.events()
    assert (event.user_id, str(event.amount)) == ("c1", "25000.5")


def test_members_of_a_group_share_the_partitions_and_make_each_event_once(
    broker: Broker, topic: str, house: House
) -> None:
    def told(start: int) -> None:
        for n in range(start, start + 100):
            broker.produce(topic, said(loan(n)), key=f"c{n}".encode())

    settings = table(broker, topic, batch=10)
    one, other = house.puller("kafka", settings), house.puller("kafka", settings)
    told(0)
    drained(one)
    told(100)
    for _ in range(60):  # both take turns while the group shares its partitions out anew
        one.turn()
        other.turn()
        if house.taken() == 200:
            break
    told(200)
    one.close()
    for _ in range(60):  # the other is given all of them
        other.turn()
        if house.taken() == 300:
            break
    other.close()

    assert house.taken() == 300
    assert broker.committed("lendsignal-loans", topic) == 300


def test_a_broker_that_went_away_is_trouble_until_it_is_back(
    broker: Broker, topic: str, house: House
) -> None:
    broker.produce(topic, said(loan(1)))
    puller = house.puller("kafka", table(broker, topic))
    drained(puller)
    broker.kill()
    try:
        with pytest.raises(PullError, match="unreachable"):
            turned(puller, 60)
    finally:
        broker.start()
    broker.produce(topic, said(loan(2)))
    drained(puller)
    puller.close()

    assert house.taken() == 2


def test_a_topic_that_is_not_there_is_said(broker: Broker, house: House) -> None:
    with pytest.raises(PullError, match="not_found"):
        house.read_all("kafka", table(broker, "acme.nowhere"))


def test_who_may_not_read_is_told_so_without_the_password(
    broker: Broker, topic: str, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", PASSWORDS[READER])
    who = {"sasl": "PLAIN", "username": READER, "password": {"env": "KAFKA_PASSWORD"}}

    with pytest.raises(PullError, match="unauthorised") as found:
        house.read_all("kafka", table(broker, topic, **who) | {"brokers": [broker.sasl_address]})

    assert PASSWORDS[READER] not in str(found.value)


def test_who_signs_in_over_tls_reads(
    broker: Broker, topic: str, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", PASSWORDS["writer"])
    broker.produce(topic, said(loan(1)))
    who = {"sasl": "PLAIN", "username": "writer", "password": {"env": "KAFKA_PASSWORD"}}
    tls = {"brokers": [broker.tls_address], "tls": True, "ca": {"file": str(broker.ca)}}

    house.read_all("kafka", table(broker, topic, **who) | tls)

    assert house.taken() == 1
