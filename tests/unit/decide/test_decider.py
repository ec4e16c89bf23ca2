"""The decider over a log: nothing is lost, nothing is decided twice, and policies apply from their place."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.acme import DAY, again, event, loan, login, source, us

from lendsignal import decide as room
from lendsignal import plan
from lendsignal.decide import Decider, decider
from lendsignal.errors import DataError, LogError
from lendsignal.log import Log, open_log
from lendsignal.model import Event, SkipReason
from lendsignal.plan import Planned, PolicySource, Rebound, Record, version_of


class Clock:
    """A clock that the test sets, in minutes after T0."""

    replay = False

    def __init__(self) -> None:
        self.minutes = 0.0

    def now_us(self) -> int:
        return us(self.minutes)


class Bench:
    """A decider over a log in a folder, and how often it rang for the sender."""

    def __init__(self, folder: Path, wanted: PolicySource | None = None, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.log: Log = open_log(folder / "log.sqlite")
        self.rings = 0
        self.decider = Decider(self.log, wanted or source(), self.clock, self._ring)

    def _ring(self) -> None:
        self.rings += 1

    def decide_all(self) -> None:
        while self.decider.turn():
            pass

    def tell(self, *events: Event) -> None:
        """The door's way: append, then decide what was just appended, and whatever else waits."""
        first = self.log.append(events)
        while self.decider.turn(first, events):
            first, events = 0, ()
        self.decide_all()

    def records(self) -> list[Record]:
        return [record for _, record in self.log.records(0, 100_000)]

    def planned(self) -> list[Planned]:
        return [record for record in self.records() if isinstance(record, Planned)]

    def names(self) -> list[str]:
        return [record.conversion.name for record in self.planned()]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    one = Bench(tmp_path)
    yield one
    one.log.close()


STORY = [event("registered", -9), login(-5, "a"), loan(0, "L1"), loan(5, "L2"), login(6, "b"), loan(7, "L3")]
STORY_NAMES = ["registration", "disbursement", "first_loan", *["disbursement", "repeat_loan"] * 2]


def test_the_room_gives_the_decider() -> None:
    assert room.Decider is decider.Decider


def test_events_are_decided_in_order_and_the_sender_is_rung_for(bench: Bench) -> None:
    bench.tell(*STORY)

    assert sorted(bench.names()) == sorted(STORY_NAMES)
    assert bench.decider.position == bench.log.position() == bench.log.end()
    assert bench.rings >= 1


def test_nobody_is_rung_for_where_there_is_nothing_to_send(bench: Bench) -> None:
    bench.decide_all()
    bench.tell(login(0, "a"))

    assert bench.rings == 0


def test_what_was_appended_and_not_decided_is_decided_after_a_restart(tmp_path: Path, bench: Bench) -> None:
    bench.decide_all()
    bench.log.append(STORY)

    again_ = Bench(tmp_path)
    again_.decide_all()

    assert sorted(again_.names()) == sorted(STORY_NAMES)
    again_.log.close()


def test_a_decision_that_was_not_committed_is_made_again_and_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.decide_all()
    bench.log.append(STORY)
    commit = bench.log.commit

    def torn(decided: Any) -> None:
        raise LogError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(bench.log, "commit", torn)
        with pytest.raises(LogError):
            bench.decider.turn()
    assert bench.records() == []
    assert bench.log.commit == commit
    bench.decide_all()

    assert sorted(bench.names()) == sorted(STORY_NAMES)


def test_two_deciders_over_one_log_never_decide_an_event_twice(tmp_path: Path, bench: Bench) -> None:
    bench.decide_all()
    other = Bench(tmp_path)
    bench.tell(*STORY[:3])

    other.log.append(STORY[3:])
    with pytest.raises(LogError, match="another process decides"):
        other.decider.turn()

    bench.decide_all()
    assert sorted(bench.names()) == sorted(STORY_NAMES)
    other.log.close()


def test_a_late_touch_moves_a_conversion_that_was_planned_in_the_same_batch(bench: Bench) -> None:
    bench.log.append([login(0, "old"), loan(5, loan_number=2), login(3, "new", arrives=6)])

    bench.decide_all()

    moved = [record for record in bench.records() if isinstance(record, Rebound)]
    assert {record.binding.snapshot.device.appsflyer_id for record in moved} == {"af-new"}
    assert len(moved) == 2


def test_an_event_that_cannot_be_decided_is_marked_and_stops_nobody_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def decide(state: Any, sequence: int, one: Event, *rest: Any) -> Any:
        if one.loan_id == "L2":
            raise ZeroDivisionError("score 733.25 of +2348012345678")
        return plan.decide(state, sequence, one, *rest)

    monkeypatch.setattr(decider, "decide", decide)
    with caplog.at_level(logging.DEBUG):
        bench.tell(*STORY)

    assert bench.names().count("disbursement") == 2
    assert [str(verdict) for _, verdict in bench.log.find("disbursed-L2")] == ["failed"]
    assert bench.log.tally()["verdict", "failed"] == 1
    assert "ZeroDivisionError" in caplog.text
    assert "733" not in caplog.text
    assert "80123" not in caplog.text


def test_verdicts_and_counts_are_kept_with_the_decisions(bench: Bench) -> None:
    bench.tell(*STORY, again(STORY[2], event_id="again"), again(STORY[2], event_id="other", term_days=9))

    assert [str(verdict) for _, verdict in bench.log.find("again")] == ["duplicate"]
    assert [str(verdict) for _, verdict in bench.log.find("other")] == ["conflict"]
    tally = bench.log.tally()
    assert tally["event", "disbursed"] == 5
    assert (tally["verdict", "taken"], tally["verdict", "duplicate"], tally["verdict", "conflict"]) == (
        6,
        1,
        1,
    )
    assert (tally["conversion", "disbursement"], tally["conversion", "first_loan"]) == (3, 1)


def test_conversions_that_no_route_takes_are_counted(tmp_path: Path) -> None:
    bench = Bench(tmp_path, source(send={"first_loan": "ev_fl"}))
    bench.tell(*STORY)

    assert bench.log.tally()["not_routed", ""] == 6
    bench.log.close()


def test_what_is_kept_at_hand_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """People who come and go, with room for all of them in memory and with room for hardly one."""
    everybody = [again(one, user_id=f"u{n}") for one in STORY for n in range(5)]
    found = []
    for room_for in (1_000, 1):
        monkeypatch.setattr(decider, "STATES_AT_HAND", room_for)
        (folder := tmp_path / str(room_for)).mkdir()
        bench = Bench(folder)
        for one in everybody:
            bench.tell(one)
        found.append((bench.records(), bench.log.states(f"acme:u{n}" for n in range(5))))
        bench.log.close()

    assert found[0] == found[1]
    assert len(found[0][1]) == 5


# timers


def test_what_waits_in_the_pen_ends_as_no_login_when_its_time_is_over(bench: Bench) -> None:
    bench.tell(loan(0))
    bench.clock.minutes = DAY - 0.1
    bench.decide_all()
    assert bench.records() == []

    bench.clock.minutes = DAY
    bench.decide_all()

    assert {entry.skip for one in bench.planned() for entry in one.entries} == {SkipReason.NO_LOGIN}
    assert bench.names() == ["disbursement", "first_loan"]
    assert bench.log.next_timer() is None


def test_a_timer_outlives_a_restart(tmp_path: Path, bench: Bench) -> None:
    bench.tell(loan(0))

    clock = Clock()
    clock.minutes = 3 * DAY
    again_ = Bench(tmp_path, clock=clock)
    again_.decide_all()

    assert again_.names() == ["disbursement", "first_loan"]
    again_.log.close()


# policies


def test_a_policy_applies_from_its_place_in_the_log(tmp_path: Path) -> None:
    """Events that waited when the configuration changed are still decided by the rules of their time."""
    one = Bench(tmp_path, source(send={"disbursement": "ev_old"}))
    one.decide_all()
    one.log.append([login(-5, "a"), loan(0, "L1")])
    two = Bench(tmp_path, source(send={"disbursement": "ev_new"}))
    two.log.append([loan(5, "L2")])
    two.decide_all()

    names = [entry.name for planned in two.planned() for entry in planned.entries]
    assert names == ["ev_old", "ev_new"]
    for bench in (one, two):
        bench.log.close()


def test_a_batch_that_is_decided_again_begins_with_the_rules_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Bench(tmp_path, source(send={"disbursement": "ev_old"}))
    one.decide_all()
    one.log.append([login(-5, "a"), loan(0, "L1")])
    two = Bench(tmp_path, source(send={"disbursement": "ev_new"}))

    def torn(decided: Any) -> None:
        raise LogError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(two.log, "commit", torn)
        with pytest.raises(LogError):
            two.decider.turn()
    two.decide_all()

    assert [entry.name for planned in two.planned() for entry in planned.entries] == ["ev_old"]
    for bench in (one, two):
        bench.log.close()


def test_a_change_that_was_taken_back_before_it_was_decided_does_not_stay(tmp_path: Path) -> None:
    old, new = source(send={"disbursement": "ev_old"}), source(send={"disbursement": "ev_new"})
    benches = [Bench(tmp_path, old)]
    benches[0].decide_all()
    benches += [Bench(tmp_path, new), Bench(tmp_path, old)]
    benches[-1].decide_all()
    benches[-1].tell(login(-5, "a"), loan(0))

    assert [entry.name for planned in benches[-1].planned() for entry in planned.entries] == ["ev_old"]
    assert benches[-1].log.policy() == version_of(old)
    for bench in benches:
        bench.log.close()


def test_an_unchanged_policy_leaves_no_mark_in_the_log(tmp_path: Path, bench: Bench) -> None:
    bench.decide_all()
    end = bench.log.end()

    again_ = Bench(tmp_path)

    assert again_.log.end() == end
    again_.log.close()


def test_a_policy_that_the_log_does_not_keep_stops_the_decider(bench: Bench) -> None:
    bench.decide_all()
    bench.log.append([event("lendsignal.policy_changed", 0, properties={"version": "lost"}), loan(0)])

    with pytest.raises(DataError, match="lost"):
        bench.decider.turn()
    assert bench.log.position() == 1


def test_a_state_at_hand_is_the_state_on_disk(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decider, "STATES_AT_HAND", 1)
    users = [f"u{n}" for n in range(3)]
    for one in STORY:
        bench.tell(*(again(one, user_id=user) for user in users))

    assert sorted(bench.names()) == sorted(STORY_NAMES * 3)


def test_a_few_events_are_decided_before_whoever_sent_them_is_answered(bench: Bench) -> None:
    bench.decide_all()
    rings = bench.rings

    first = bench.decider.append([login(-5, "a"), loan(0)])

    assert bench.log.position() == first + 1 == bench.log.end()
    assert bench.names() == ["disbursement", "first_loan"]
    assert bench.rings == rings + 1
    assert not bench.decider.turn(first, [login(-5, "a"), loan(0)])


def test_many_events_are_taken_first_and_decided_then(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decider, "FEW", 1)
    bench.decide_all()
    events = [login(-5, "a"), loan(0)]

    first = bench.decider.append(events)

    assert bench.log.position() == first - 1
    bench.decider.turn(first, events)
    assert bench.names() == ["disbursement", "first_loan"]


def test_a_few_events_behind_others_wait_for_their_turn(bench: Bench) -> None:
    bench.decide_all()
    bench.log.append([login(-5, "a")])

    first = bench.decider.append([loan(0)])

    assert bench.log.position() == first - 2
    bench.decide_all()
    assert bench.names() == ["disbursement", "first_loan"]


def test_events_taken_and_decided_at_once_come_to_the_same(tmp_path: Path) -> None:
    for name in ("by turns", "at once"):
        (tmp_path / name).mkdir()
    by_turns, at_once = Bench(tmp_path / "by turns"), Bench(tmp_path / "at once")
    for each in (by_turns, at_once):
        each.decide_all()
    for one in STORY:
        by_turns.tell(one)
        at_once.decider.append([one])

    assert at_once.records() == by_turns.records()
    assert at_once.log.tally() == by_turns.log.tally()
    assert at_once.log.state("acme:u1") == by_turns.log.state("acme:u1")
    for each in (by_turns, at_once):
        each.log.close()


def test_a_few_events_whose_decision_cannot_be_kept_are_not_taken_either(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.decide_all()
    end, commit = bench.log.end(), bench.log.commit

    def torn(decided: Any) -> None:
        commit(decided)
        raise LogError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(bench.log, "commit", torn)
        with pytest.raises(LogError, match="disk is full"):
            bench.decider.append([login(-5, "a"), loan(0)])

    assert (bench.log.end(), bench.log.position()) == (end, end)
    bench.decider.append([login(-5, "a"), loan(0)])
    looked_at = open_log(tmp_path / "log.sqlite", read_only=True)
    assert [record for _, record in looked_at.records(0, 10)] == bench.records()
    assert bench.names() == ["disbursement", "first_loan"]
    looked_at.close()


def test_a_timer_set_a_moment_ago_is_not_forgotten(bench: Bench) -> None:
    bench.decide_all()
    bench.decider.append([loan(0)])  # nobody logged in: it waits for two weeks at most
    due_us = bench.log.next_timer()
    assert due_us is not None

    bench.clock.minutes = (due_us - us(0)) / 60e6
    bench.decide_all()

    skipped = [entry.skip for planned in bench.planned() for entry in planned.entries]
    assert SkipReason.NO_LOGIN in skipped
