"""Group commit: in order, durable before anybody is told, and no stranger's failure."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event as Signal
from typing import Any

import pytest
from tests.acme import loan

from lendsignal.errors import Damaged, LogError
from lendsignal.log import Log, Quarantined, open_log
from lendsignal.model import Event
from lendsignal.source import Full, Intake

REFUSED = Quarantined(received_us=1, source="crm", field="brand", rule="is needed", body=b"{}")


class Turns:
    """What the intake calls after each commit, remembered; `more` says how often more is to do."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, list[str | None]]] = []
        self.more = 0
        self.idle = Signal()

    def __call__(self, first: int, events: Sequence[Event]) -> bool:
        if events:
            self.calls.append((first, [one.loan_id for one in events]))
        elif self.more:
            self.more -= 1
        else:
            self.idle.set()
        return self.more > 0


class Answers:
    """What the intake said of one submission."""

    def __init__(self) -> None:
        self.errors: list[Exception | None] = []
        self.told = Signal()

    def __call__(self, error: Exception | None) -> None:
        self.errors.append(error)
        self.told.set()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    found = open_log(tmp_path / "log.sqlite")
    yield found
    found.close()


@pytest.fixture
def gate(log: Log, monkeypatch: pytest.MonkeyPatch) -> Signal:
    """Appends wait until it is set."""
    opened, append = Signal(), log.append

    def wait_and_append(events: Sequence[Event], **more: Any) -> int:
        assert opened.wait(10)
        return append(events, **more)

    monkeypatch.setattr(log, "append", wait_and_append)
    return opened


def test_what_comes_in_while_a_commit_runs_is_committed_together_in_its_order(log: Log, gate: Signal) -> None:
    turns = Turns()
    intake = Intake(log, turns)
    intake.start()
    answers = [Answers() for _ in range(4)]
    for n, answer in enumerate(answers):
        intake.submit([loan(n, f"L{n}a"), loan(n, f"L{n}b")], [], answer)
    gate.set()
    for answer in answers:
        assert answer.told.wait(10)
    intake.stop()

    loans = [name for _, names in turns.calls for name in names]
    assert loans == [f"L{n}{half}" for n in range(4) for half in "ab"]
    assert len(turns.calls) <= 2
    assert turns.calls[0][0] == 1
    assert [fact.event.loan_id for fact in log.read(0, 99)] == loans


def test_nobody_is_told_before_the_events_are_durable(log: Log, gate: Signal) -> None:
    intake = Intake(log, Turns())
    intake.start()
    answer = Answers()
    intake.submit([loan(0)], [REFUSED], answer)

    assert not answer.told.wait(0.05)
    assert log.end() == 0
    gate.set()
    assert answer.told.wait(10)
    assert (log.end(), len(log.quarantined())) == (1, 1)
    intake.stop()


def test_stopping_writes_and_decides_what_has_come_in(log: Log) -> None:
    turns = Turns()
    turns.more = 3
    intake = Intake(log, turns)
    intake.submit([loan(0)], [], lambda error: None)
    intake.start()
    intake.stop()

    assert (log.end(), turns.more) == (1, 0)
    with pytest.raises(Full):
        intake.submit([loan(1)], [], lambda error: None)


def test_who_finds_the_queue_full_is_told_so_and_nothing_of_his_is_kept(log: Log, gate: Signal) -> None:
    intake = Intake(log, Turns(), limit=3)
    answers = [Answers(), Answers()]
    intake.submit([loan(0, "L1"), loan(0, "L2")], [], answers[0])
    with pytest.raises(Full):
        intake.submit([loan(1, "L3"), loan(1, "L4")], [], Answers())
    intake.submit([loan(1, "L5")], [], answers[1])
    gate.set()
    intake.start()
    for answer in answers:
        assert answer.told.wait(10)
    intake.submit_and_wait([loan(2, "L6")])
    intake.stop()

    assert [fact.event.loan_id for fact in log.read(0, 99)] == ["L1", "L2", "L5", "L6"]


def test_a_request_larger_than_the_queue_has_its_turn_when_nobody_waits(log: Log) -> None:
    intake = Intake(log, Turns(), limit=1)
    intake.start()
    intake.submit_and_wait([loan(0, "L1"), loan(0, "L2"), loan(0, "L3")])
    intake.stop()

    assert log.end() == 3


def test_one_commit_takes_a_bounded_number_of_events(
    log: Log, gate: Signal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lendsignal.source.intake.AT_ONCE", 3)
    turns = Turns()
    intake = Intake(log, turns)
    answers = [Answers() for _ in range(3)]
    for n, answer in enumerate(answers):
        intake.submit([loan(n, f"L{n}a"), loan(n, f"L{n}b")], [], answer)
    gate.set()
    intake.start()
    intake.stop()

    assert [len(names) for _, names in turns.calls] == [2, 2, 2]


def test_an_append_that_fails_is_told_to_everybody_in_it_and_the_next_goes_on(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, answer = Turns(), Answers()
    intake = Intake(log, turns)

    def full(events: Sequence[Event]) -> int:
        raise LogError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(log, "append", full)
        intake.submit([loan(0, "L1")], [], answer)
        intake.start()
        assert answer.told.wait(10)
        assert turns.idle.wait(10)
    intake.submit_and_wait([loan(1, "L2")])
    intake.stop()

    assert [str(error) for error in answer.errors] == ["the disk is full"]
    assert turns.calls == [(1, ["L2"])]


def test_waiting_for_durability_raises_what_the_log_raised(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(events: Sequence[Event]) -> int:
        raise LogError("the disk is full")

    monkeypatch.setattr(log, "append", full)
    intake = Intake(log, Turns())
    intake.start()

    with pytest.raises(LogError, match="disk is full"):
        intake.submit_and_wait([loan(0)])
    intake.stop()


def test_one_who_is_gone_before_the_answer_takes_nobody_elses(log: Log) -> None:
    intake, answer = Intake(log, Turns()), Answers()

    def gone(error: Exception | None) -> None:
        raise RuntimeError("Event loop is closed")

    intake.submit([loan(0, "L1")], [], gone)
    intake.submit([loan(1, "L2")], [], answer)
    intake.start()

    assert answer.told.wait(10)
    intake.stop()
    assert answer.errors == [None]
    assert log.end() == 2


def test_a_decider_that_fails_stops_no_event_from_coming_in(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(first: int, events: Sequence[Event]) -> bool:
        raise LogError("another process decides over this data folder")

    intake = Intake(log, broken)
    intake.start()
    with caplog.at_level(logging.ERROR):
        intake.submit_and_wait([loan(0)])
        intake.submit_and_wait([loan(1, "L2")])
        intake.stop()

    assert log.end() == 2
    assert "another process decides" in caplog.text


def test_a_damaged_log_is_written_to_no_more_and_what_comes_is_refused(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    """What it would decide from a log that is wrong in one place might be wrong in every other."""
    turns = []

    def damaged(first: int, events: Sequence[Event]) -> bool:
        if not events:
            return False
        turns.append(first)
        raise Damaged("log.sqlite", "database disk image is malformed")

    intake = Intake(log, damaged)
    intake.start()
    with caplog.at_level(logging.ERROR):
        intake.submit_and_wait([loan(0)])
        for n in (1, 2):
            with pytest.raises(LogError, match=r"log\.sqlite is damaged"):
                intake.submit_and_wait([loan(n, f"L{n}")])
        intake.stop()

    assert log.end() == 1
    assert turns == [1]
    assert intake.damage is not None
    assert caplog.text.count("is damaged") == 1, "it is said once"


def test_what_hinders_deciding_hinders_nobody_from_being_taken(log: Log) -> None:
    turns, answer = Turns(), Answers()

    def undecided(events: Sequence[Event]) -> int:
        raise LogError("another process decides over this data folder")

    intake = Intake(log, turns, append=undecided)
    intake.submit([loan(0, "L1")], [], answer)
    intake.start()
    intake.stop()

    assert answer.errors == [None]
    assert turns.calls == [(1, ["L1"])]
    assert log.end() == 1


def test_a_damaged_log_takes_nothing_more(log: Log) -> None:
    answer = Answers()

    def damaged(events: Sequence[Event]) -> int:
        raise Damaged("log.sqlite", "malformed")

    intake = Intake(log, Turns(), append=damaged)
    intake.submit([loan(0, "L1")], [], answer)
    intake.start()
    intake.stop()

    assert [type(error) for error in answer.errors] == [Damaged]
    assert log.end() == 0
