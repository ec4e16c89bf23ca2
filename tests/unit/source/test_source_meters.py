"""What the door and the intake measure: durable events, refusals by rule, and labels that stay few."""

import ast
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.acme import event
from tests.measured import measured

from lendsignal import source
from lendsignal.errors import InputError
from lendsignal.log import Log, Quarantined, open_log
from lendsignal.source import Intake, Reader, SourceMeters, read_event, read_json
from lendsignal.source.meters import rule_word


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    found = open_log(tmp_path / "log.sqlite")
    yield found
    found.close()


def refused(rule: str) -> Quarantined:
    return Quarantined(received_us=5, source="crm", field="brand", rule=rule, body=b"{}")


def test_events_count_once_they_are_durable_and_custom_types_together(log: Log) -> None:
    meters = SourceMeters()
    intake = Intake(log, lambda first, events: False, meters=meters)
    intake.start()
    kinds = ["disbursed", "disbursed", *(f"quiz_{number}" for number in range(50))]
    intake.submit_and_wait([event(kind, n, source="crm", event_id=f"e{n}") for n, kind in enumerate(kinds)])
    intake.stop()
    found = measured(meters)

    assert found.value("events_taken_total", source="crm", type="disbursed") == 2
    assert found.value("events_taken_total", source="crm", type="custom") == 50
    assert found.labels("events_taken_total", "type") == {"disbursed", "custom"}
    assert found.value("append_commit_seconds_count") == 1
    assert found.value("intake_waiting_events") == 0
    assert found.value("disk_trouble", role="core") == 0


def test_a_log_that_takes_nothing_counts_nothing_and_says_so(log: Log) -> None:
    meters = SourceMeters()
    intake = Intake(log, lambda first, events: False, meters=meters)
    intake.start()
    log.close()
    with pytest.raises(Exception, match="closed"):
        intake.submit_and_wait([event("disbursed", 0, source="crm")])
    intake.stop()

    assert measured(meters).total("events_taken_total") == 0
    assert measured(meters).value("disk_trouble", role="core") == 1


def test_a_request_counts_by_its_class_and_only_a_durable_one_by_its_time() -> None:
    meters = SourceMeters()
    for status, seconds in ((202, 0.004), (202, 0.03), (429, 9.0), (422, 9.0), (503, 9.0)):
        meters.answered(status, seconds)
    found = measured(meters)

    counts = {word: found.value("door_requests_total", status=word) for word in ("2xx", "4xx", "5xx")}
    assert counts == {"2xx": 2, "4xx": 2, "5xx": 1}
    assert found.value("door_durable_seconds_count") == 2
    assert found.value("door_durable_seconds_bucket", le="0.005") == 1


def test_refusals_count_by_the_kind_of_rule() -> None:
    meters = SourceMeters()
    meters.written([], [refused("is not one of yours"), refused("belongs to another brand")], 0.01)
    meters.written([], [refused("is needed")], 0.01)
    found = measured(meters)

    assert found.value("events_refused_total", source="crm", rule="not_yours") == 2
    assert found.value("events_refused_total", source="crm", rule="missing") == 1


def rules_in_the_code() -> list[str]:
    """The beginning of every rule that reading an event gives."""
    file = Path(source.__file__).with_name("reading.py")
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Call(func=ast.Name(id="InputError"), args=[_, ast.Constant(value=str(rule)), *_]):
                found.append(rule)
            case ast.Call(
                func=ast.Name(id="InputError"),
                args=[_, ast.JoinedStr(values=[ast.Constant(value=str(rule)), *_]), *_],
            ):
                found.append(rule)
            case _:
                continue
    return found


@pytest.mark.parametrize("rule", rules_in_the_code())
def test_every_rule_has_a_word_of_its_own(rule: str) -> None:
    assert rule_word(rule) != "other"


def test_there_are_many_rules() -> None:
    assert len(rules_in_the_code()) > 25


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"{", "not_json"),
        (b'"text"', "not_json"),
        (b'{"type": 5}', "missing"),
        (b'{"type": "applied", "type": "applied"}', "repeated_key"),
        (b'{"type": "applied", "flags": []}', "set_by_us"),
        (b'{"type": "applied", "occurred_at": "yesterday"}', "impossible_time"),
        (b'{"type": "applied", "occurred_at": "1970-01-01T00:00:00Z"}', "impossible_time"),
        (b'{"type": "applied", "occurred_at": "2026-03-10T08:00:00Z", "brand": "zeta"}', "not_yours"),
    ],
)
def test_a_refused_body_counts_by_its_word(body: bytes, word: str) -> None:
    reader = Reader(apps={}, brands={}, clock_ahead=timedelta(0))
    with pytest.raises(InputError) as refusal:
        read_event(read_json(body), datetime(2026, 3, 10, 9, tzinfo=UTC), reader)

    assert rule_word(refusal.value.rule) == word
