"""The loop of a pull: nothing moves before the door has it, nothing broken stops another."""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from threading import Event as Signal
from threading import Thread
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.acme import T0
from tests.desk import Hand
from tests.pulling import EARLY, House, drained

from lendsignal.errors import PullError
from lendsignal.log import PullState
from lendsignal.source import Puller, PullMeters, PullSettings, pull_all
from lendsignal.source.pull import Batch, Feed, Handed, NotTaken, Pulled, Unread, content_of, event_id_of


def loan(n: int, **more: Any) -> dict[str, Any]:
    return {
        "type": "disbursed",
        "brand": "acme",
        "user_id": f"u{n}",
        "loan_id": f"L{n}",
        "event_id": f"e{n}",
        "occurred_at": (T0 + timedelta(minutes=n)).isoformat(),
        **more,
    }


class Numbers:
    """A feed of loans 1, 2, 3 …; it can be told to break."""

    waits_itself = False

    def __init__(self, last: int = 10, *, keyed: bool = False) -> None:
        self.last = last
        self.keyed = keyed
        self.broken: Sequence[Exception] = ()
        self.kept_marks: list[bytes | None] = []
        self.closed = 0

    def read(self, mark: bytes | None, limit: int) -> Batch:
        if self.broken:
            error, *self.broken = self.broken
            raise error
        start = int(mark or b"0")
        found = range(start + 1, min(start + limit, self.last) + 1)
        return Batch(
            events=[
                Pulled(event=loan(n), where=f"row {n}", key=b"%d" % n if self.keyed else None) for n in found
            ],
            mark=b"%d" % max(start, *found, 0) if found else mark,
            rows=len(found),
            more=start + limit < self.last,
            behind=timedelta(seconds=3),
        )

    def kept(self, batch: Batch) -> None:
        self.kept_marks.append(batch.mark)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    found = House(tmp_path, Hand(60))
    yield found
    found.close()


def pulling(house: House, feed: Feed, hand: Any = None, **more: Any) -> Puller:
    settings = PullSettings(kind="numbers", every=timedelta(0), batch=4, send_since=EARLY)
    names = set(PullSettings.__struct_fields__)
    changed = {name: value for name, value in more.items() if name in names}
    rest = {name: value for name, value in more.items() if name not in names}
    settings = PullSettings(**{name: getattr(settings, name) for name in names} | changed)
    return Puller(
        rest.pop("name", "loans"),
        settings,
        lambda: feed,
        hand or house.hand(),
        house.pulls,
        house.clock,
        **rest,
    )


def test_the_mark_moves_when_the_door_has_the_events_and_only_then_the_feed_is_told(house: House) -> None:
    feed = Numbers()
    marks: list[bytes | None] = []

    def hand(name: str, batch: Batch) -> Handed:
        marks.append(house.pulls.mark(name))
        assert len(feed.kept_marks) == len(marks) - 1
        return Handed(len(batch.events), 0)

    drained(pulling(house, feed, hand))

    assert marks == [None, b"4", b"8"]
    assert feed.kept_marks == [b"4", b"8", b"10"]


def test_a_door_that_is_busy_gets_the_same_batch_again(house: House) -> None:
    feed, came = Numbers(3), []

    def hand(name: str, batch: Batch) -> Handed:
        came.append([one.where for one in batch.events])
        if len(came) < 3:
            raise NotTaken("busy", 0)
        return Handed(len(batch.events), 0)

    drained(pulling(house, feed, hand))

    assert came == [["row 1", "row 2", "row 3"]] * 3


def test_told_to_stop_while_the_door_is_busy_nothing_is_marked(house: House) -> None:
    stopping = Signal()

    def hand(name: str, batch: Batch) -> Handed:
        stopping.set()
        raise NotTaken("busy", 60)

    assert pulling(house, Numbers(3), hand, stopping=stopping).turn() is False
    assert house.pulls.mark("loans") is None


def test_what_is_remembered_is_passed_over_and_what_says_something_else_is_not(house: House) -> None:
    feed = Numbers(3, keyed=True)
    puller = pulling(house, feed)
    drained(puller)
    house.pulls.commit("loans", b"0", 1, remembered={b"2": b"something else"}, notes={})
    drained(puller)

    assert house.ids() == ["e1", "e2", "e3", "e2"]


def test_what_is_old_enough_is_forgotten(house: House) -> None:
    house.pulls.commit("loans", None, 10, remembered={b"a": b"1"}, notes={"file": b"x"})
    house.pulls.commit("loans", None, 20, remembered={b"b": b"2"}, notes={})
    house.pulls.forget("loans", 20)

    assert house.pulls.contents("loans", [b"a", b"b"]) == {b"b": b"2"}
    assert house.pulls.note("loans", "file") == b"x"


def test_a_row_that_still_comes_is_never_forgotten(house: House) -> None:
    puller = pulling(house, Numbers(3, keyed=True), remember=timedelta(days=30))
    drained(puller)
    for _ in range(4):
        house.clock.us += 20 * 86_400_000_000  # type: ignore[attr-defined]
        house.pulls.commit("loans", b"0", house.clock.now_us(), remembered={}, notes={})
        drained(puller)
        puller._tidy(house.clock.now_us())

    assert house.ids() == ["e1", "e2", "e3"]


def test_events_before_the_first_start_are_history_unless_send_since_says_otherwise(house: House) -> None:
    house.clock.us -= 56 * 60_000_000  # type: ignore[attr-defined]  # to minute 4, by the tests' own clock
    drained(pulling(house, Numbers(6), send_since=None))
    drained(pulling(house, Numbers(6), send_since=T0 + timedelta(minutes=2), name="again"))
    by_pull = {
        name: [one.history for one in house.events() if one.source == name] for name in ("loans", "again")
    }

    # Loans of minutes 1 to 6; the clock shows minute 4.
    assert by_pull["loans"] == [True, True, True, False, False, False]
    assert by_pull["again"] == [True, False, False, False, False, False]


def test_a_broken_feed_is_told_waited_out_and_opened_anew(house: House) -> None:
    feed = Numbers(3)
    feed.broken = [PullError("unreachable", "the database does not answer")]
    stopping = Signal()
    meters = PullMeters()
    puller = pulling(house, feed, stopping=stopping, meters=meters)
    waits: list[float] = []
    states: list[PullState] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        states.append(puller.state)
        if len(waits) == 2:
            stopping.set()
        return True

    puller._stopping.wait = wait  # type: ignore[method-assign,assignment]
    puller.run()

    assert waits == [1.0, 0.0]
    assert (states[0].state, states[0].reason) == ("trouble", "unreachable")
    assert (states[1].state, states[1].rows, states[1].reason) == ("waiting", 3, "")
    assert feed.closed == 2


def test_a_mistake_of_ours_is_trouble_and_not_the_end(house: House) -> None:
    feed = Numbers(3)
    feed.broken = [KeyError("secret-7"), ValueError("secret-8")]
    puller = pulling(house, feed)
    for _ in range(2):
        with pytest.raises((KeyError, ValueError)) as raised:
            puller.turn()
        puller._troubled(raised.value)
    drained(puller)

    assert house.ids() == ["e1", "e2", "e3"]


def test_what_is_said_of_trouble_holds_nothing_of_the_rows(house: House) -> None:
    feed = Numbers(3)
    feed.broken = [ValueError("the row of +2348031234567")]
    puller = pulling(house, feed)
    with pytest.raises(ValueError, match="row of"):
        puller.turn()
    puller._troubled(ValueError("the row of +2348031234567"))

    (state,) = house.pulls.standing()
    assert (state.reason, state.detail) == ("broken", "ValueError")


def test_one_broken_pull_stops_no_other(house: House) -> None:
    broken, whole, stopping = Numbers(), Numbers(3), Signal()
    broken.broken = [RuntimeError()] * 1_000

    def hand(name: str, batch: Batch) -> Handed:
        stopping.set()
        return Handed(len(batch.events), 0)

    pullers = [
        pulling(house, broken, hand, stopping=stopping, name="broken"),
        pulling(house, whole, hand, stopping=stopping, name="whole"),
    ]
    thread = Thread(target=pull_all, args=(pullers, stopping))
    thread.start()
    thread.join(20)

    assert not thread.is_alive()
    assert whole.kept_marks[0] == b"3"
    assert {one.name: one.state for one in house.pulls.standing()}["broken"] == "trouble"


def test_rows_that_cannot_be_events_reach_quarantine_with_their_place(house: House) -> None:
    class Bad(Numbers):
        def read(self, mark: bytes | None, limit: int) -> Batch:
            unread = Unread(where="topic-0-17", field="body", rule="must be JSON", body=b'{"score": 7}')
            return Batch(
                events=[Pulled(event=loan(1, brand="acne"), where="topic-0-18")], unread=[unread], rows=2
            )

    puller = pulling(house, Bad())
    puller.turn()

    assert [(one.source, one.field, one.rule) for one in house.quarantine()] == [
        ("loans", "body", "must be JSON"),
        ("loans", "brand", "is not one of yours"),
    ]
    assert [json.loads(one.body)["where"] for one in house.quarantine()] == ["topic-0-17", "topic-0-18"]
    assert b'"score":7' not in house.quarantine()[0].body
    assert [one.kept is None for one in house.quarantine()] == [False, False]
    assert (puller.state.events, puller.state.refused) == (0, 2)


def test_what_is_measured_is_what_was_read(house: House) -> None:
    meters = PullMeters()
    puller = pulling(house, Numbers(3, keyed=True), meters=meters)
    drained(puller)
    house.pulls.commit("loans", b"1", 1, remembered={}, notes={})
    drained(puller)
    meters.failed("loans", "unreachable")
    told = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for metric in text_string_to_metric_families(meters.text())
        for sample in metric.samples
    }

    assert told["lendsignal_pull_rows_total", "loans"] == 5
    assert told["lendsignal_pull_events_total", "loans", "taken"] == 3
    assert told["lendsignal_pull_events_total", "known", "loans"] == 2
    assert told["lendsignal_pull_errors_total", "loans", "unreachable"] == 1
    assert told["lendsignal_pull_behind_seconds", "loans"] == 3
    assert told["lendsignal_pull_up", "loans"] == 1


def test_an_event_says_the_same_whatever_its_id_and_revision() -> None:
    assert content_of(loan(1)) == content_of(loan(1, event_id="other", revision=7))
    assert content_of(loan(1)) != content_of(loan(1, amount="7"))


def test_an_id_follows_from_the_pull_and_its_parts_kept_apart() -> None:
    assert event_id_of("loans", "a", "bc") == event_id_of("loans", "a", b"bc")
    assert event_id_of("loans", "a", "bc") != event_id_of("loans", "ab", "c")
    assert event_id_of("loans", "a") != event_id_of("other", "a")
    assert len(event_id_of("n" * 64, "a")) <= 128
