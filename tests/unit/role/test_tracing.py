"""Traces: every event of a real data folder with what became of it, and nothing of a person."""

import json
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.released.folders import VERSIONS, unpacked

from lendsignal import config as configuration
from lendsignal.errors import ConfigError, LogError
from lendsignal.log import DataFolder, open_deliveries, open_log
from lendsignal.role.tracing import Follower, Reach, Tracing, is_chosen, trace_of

BEGINNING = Reach(0, 0)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """What a lender's sixty users left behind."""
    found = DataFolder(tmp_path / "data")
    unpacked(VERSIONS[0], found.path)
    return found


def told(folder: DataFolder, share: float = 1.0) -> list[ReadableSpan]:
    """Every span of a folder, from its beginning."""
    exporter = InMemorySpanExporter()
    follower = Follower(folder, exporter, share)
    follower._note(BEGINNING)
    while follower.turn():
        continue
    return list(exporter.get_finished_spans())


def named(spans: list[ReadableSpan], name: str) -> list[ReadableSpan]:
    return [one for one in spans if one.name == name]


def test_every_event_is_accepted_and_decided_and_every_try_is_an_attempt(folder: DataFolder) -> None:
    """But for our own, and for history, which nobody waits for."""
    spans = told(folder)
    with closing(open_log(folder.log, read_only=True)) as log:
        facts = [fact.event for fact in log.scan()]
        events = [event for event in facts if event.actor != "system" and not event.history]
    with closing(open_deliveries(folder.deliveries, read_only=True)) as store:
        tries = [one for _, pack in store.all_receipts() for one in pack if one.sent_us]

    assert Counter(one.name for one in spans) == {
        "accept": len(events),
        "decide": len(events),
        "attempt": len(tries),
    }
    traces = {one.context.trace_id for one in named(spans, "accept")}
    assert traces == {trace_of(one.event_id) for one in events}


def test_an_attempt_hangs_on_the_decision_of_its_event_and_that_on_its_acceptance(folder: DataFolder) -> None:
    spans = told(folder)
    by_id = {one.context.span_id: one for one in spans}

    for one in spans:
        before = {"attempt": "decide", "decide": "accept"}.get(one.name)
        assert (one.parent is None) == (before is None)
        if one.parent is not None:
            parent = by_id[one.parent.span_id]
            assert (parent.name, parent.context.trace_id) == (before, one.context.trace_id)
        assert one.end_time is not None
        assert one.start_time is not None
        assert one.end_time >= one.start_time > 1_700_000_000_000_000_000


def test_what_was_refused_is_an_error_with_its_reason(folder: DataFolder) -> None:
    dead = [one for one in named(told(folder), "attempt") if not one.status.is_ok and one.attributes]
    refused = [
        dict(one.attributes or {}) for one in dead if (one.attributes or {})["lendsignal.outcome"] == "dead"
    ]

    assert len(refused) == 2
    assert {(one["lendsignal.reason"], one["http.response.status_code"]) for one in refused} == {
        ("http_400", 400)
    }


def test_nothing_of_a_person_stands_in_a_span(folder: DataFolder) -> None:
    """No user, no id of a device or a loan, no amount, no score; times and names of ours alone."""
    text = " ".join(one.to_json() for one in told(folder))
    values: set[str] = set()
    with closing(open_log(folder.log, read_only=True)) as log:
        for fact in log.scan():
            event = fact.event
            if event.actor == "system":
                continue
            values |= {event.user_id, event.loan_id or "", event.application_id or "", event.payment_id or ""}
            values |= {str(event.amount or ""), str(event.limit or ""), event.event_id}
            values |= {
                getattr(event.device, "appsflyer_id", None) or "",
                getattr(event.device, "model", "") or "",
            }

    assert [value for value in values if value and f'"{value}"' in text] == []


def test_a_share_tells_whole_traces_only(folder: DataFolder) -> None:
    everything, some = told(folder), told(folder, 0.3)
    chosen = {one.context.trace_id for one in some}

    assert 0.1 < len(chosen) / len({one.context.trace_id for one in everything}) < 0.5
    assert len(some) == sum(one.context.trace_id in chosen for one in everything)
    assert is_chosen(trace_of("any"), 1.0)


def test_the_first_turn_begins_in_the_present_and_later_ones_tell_each_thing_once(folder: DataFolder) -> None:
    exporter = InMemorySpanExporter()
    follower = Follower(folder, exporter)

    assert [follower.turn() for _ in range(3)] == [0, 0, 0]
    mark = json.loads((folder.path / "traces.json").read_text())
    assert mark["events"] > 200


def test_what_another_tells_is_passed_over_and_not_told_later(folder: DataFolder) -> None:
    """Of two desks one tells; when the other's turn comes it tells what comes from then on."""
    exporter, ours = InMemorySpanExporter(), [False]
    follower = Follower(folder, exporter, is_ours=lambda: ours[0])
    follower._note(BEGINNING)
    while follower.turn():
        continue
    ours[0] = True

    assert follower.turn() == 0
    assert exporter.get_finished_spans() == ()


def test_what_an_exporter_does_not_take_comes_again(folder: DataFolder) -> None:
    class Refuses(InMemorySpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.FAILURE

    follower = Follower(folder, Refuses())
    follower._note(BEGINNING)
    with pytest.raises(LogError, match="does not take"):
        follower.turn()

    exporter = InMemorySpanExporter()
    assert Follower(folder, exporter).turn() == len(exporter.get_finished_spans()) > 0


def test_off_is_the_default_and_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lendsignal.toml"
    text = '[portfolio]\nname = "acme"\n[brand.acme]\n[app]\n'
    path.write_text(text)

    def never() -> Any:
        raise AssertionError("no exporter is made")

    with Tracing(configuration.load(path), never) as off:
        assert not off._thread.is_alive()

    path.write_text(text + "[traces]\nexport = true\n")
    exporter = InMemorySpanExporter()
    with Tracing(configuration.load(path), lambda: exporter) as on:
        assert on._thread.is_alive()
    monkeypatch.setattr("lendsignal.config.notes.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"lendsignal\[otel\]"):
        configuration.load(path)
