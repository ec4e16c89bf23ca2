"""Lanes by given times: one of a lane at a time, nobody forgotten, and no other lane notices."""

import heapq
from collections import defaultdict
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lendsignal.deliver.lanes import Lanes

LONGEST = 10
"""How long a head is waited for in these tests."""

Step = tuple[str, int, int]
"""`new`: one of that lane that occurred then · `through` or `again`: what is on its way in that lane ends
so, and is tried again after so long · `time`: so much passes."""

steps = st.lists(
    st.one_of(
        st.tuples(st.just("new"), st.integers(1, 3), st.integers(0, 9)),
        st.tuples(st.just("through"), st.integers(1, 3), st.just(0)),
        st.tuples(st.just("again"), st.integers(1, 3), st.integers(0, 12)),
        st.tuples(st.just("time"), st.just(0), st.integers(1, 15)),
    ),
    max_size=60,
)

ending: list[Step] = [("time", 0, 40), *[("through", lane, 0) for lane in (1, 2, 3)]] * 60
"""Time passes and everything that goes is through."""


class Told:
    """What both keep of the deliveries, and what went, in each lane: (moment, delivery)."""

    def __init__(self) -> None:
        self.now = 0
        self.lane: dict[int, int] = {}
        self.occurred: dict[int, int] = {}
        self.due: dict[int, int] = {}
        self.first: dict[int, int] = {}
        self.flying: dict[int, int] = {}
        self.went: dict[int, list[tuple[int, int]]] = defaultdict(list)

    def tell(self, told: list[Step]) -> Self:
        for what, lane, number in told:
            match what:
                case "new":
                    delivery = len(self.lane)
                    self.lane[delivery], self.occurred[delivery] = lane, number
                    self.due[delivery] = self.now
                    self.comes(delivery)
                case "time":
                    self.now += number
                case _:
                    if lane in self.flying:
                        self.ends(lane, self.flying.pop(lane), number if what == "again" else None)
            self.settle()
        return self

    def go(self, delivery: int) -> None:
        lane = self.lane[delivery]
        assert lane not in self.flying, "two of a lane are on their way"
        self.flying[lane] = delivery
        self.first.setdefault(delivery, self.now)
        self.went[lane].append((self.now, delivery))

    def comes(self, delivery: int) -> None:
        raise NotImplementedError

    def ends(self, lane: int, delivery: int, after: int | None) -> None:
        raise NotImplementedError

    def settle(self) -> None:
        raise NotImplementedError


class Fast(Told):
    """Ours, used as a line uses it."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes = Lanes(LONGEST)
        self.queue: list[tuple[int, int]] = []

    def comes(self, delivery: int) -> None:
        heapq.heappush(self.queue, (self.due[delivery], delivery))

    def ends(self, lane: int, delivery: int, after: int | None) -> None:
        if after is None:
            following = self.lanes.freed(lane, delivery)
            if following is not None:
                self.comes(following)
        else:
            self.due[delivery] = self.now + after
            self.lanes.waits(lane, delivery, self.first[delivery])
            self.comes(delivery)

    def settle(self) -> None:
        for _, following in self.lanes.passed(self.now):
            self.comes(following)
        while self.queue and self.queue[0][0] <= self.now:
            _, delivery = heapq.heappop(self.queue)
            lane = self.lane[delivery]
            if self.lanes.lets(lane, delivery, self.occurred[delivery], self.now):
                self.lanes.goes(lane, delivery)
                self.go(delivery)


class Slow(Told):
    """Looks at everybody at every step: the head is whoever went last and is not through."""

    def __init__(self) -> None:
        super().__init__()
        self.head: dict[int, int] = {}
        self.aside: set[int] = set()
        self.waiting: set[int] = set()

    def comes(self, delivery: int) -> None:
        self.waiting.add(delivery)

    def ends(self, lane: int, delivery: int, after: int | None) -> None:
        if after is None:
            del self.head[lane]
        else:
            self.due[delivery] = self.now + after
            self.waiting.add(delivery)

    def settle(self) -> None:
        for lane in (1, 2, 3):
            mine = [one for one in self.aside if self.lane[one] == lane]
            if mine and self.is_free(lane):
                following = min(mine, key=lambda one: (self.occurred[one], one))
                self.aside.remove(following)
                self.takes_off(following)
        for delivery in sorted(self.waiting, key=lambda one: (self.due[one], one)):
            if self.due[delivery] <= self.now:
                self.waiting.remove(delivery)
                lane = self.lane[delivery]
                if self.head.get(lane) == delivery or self.is_free(lane):
                    self.takes_off(delivery)
                else:
                    self.aside.add(delivery)

    def takes_off(self, delivery: int) -> None:
        self.head[self.lane[delivery]] = delivery
        self.go(delivery)

    def is_free(self, lane: int) -> bool:
        head = self.head.get(lane)
        return head is None or (lane not in self.flying and self.now >= self.first[head] + LONGEST)


@given(steps)
def test_lanes_are_what_looking_at_everybody_would_give(told: list[Step]) -> None:
    assert Fast().tell(told).went == Slow().tell(told).went


@given(steps)
def test_nobody_is_forgotten(told: list[Step]) -> None:
    fast = Fast().tell(told).tell(ending)

    assert {one for went in fast.went.values() for _, one in went} == set(fast.lane)
    assert len(fast.lanes) == 0


@given(steps, st.integers(1, 3))
def test_no_other_lane_notices(told: list[Step], lane: int) -> None:
    """What a lane does is the same where it is alone."""

    def moments(steps: list[Step]) -> list[tuple[int, int]]:
        fast = Fast().tell(steps)
        return [(when, fast.occurred[one]) for when, one in fast.went[lane]]

    assert moments(told) == moments([step for step in told if step[1] in (0, lane)])


@given(steps)
def test_a_clock_that_is_set_changes_no_wait(told: list[Step]) -> None:
    fast = Fast().tell(told)
    shifted = fast.lanes
    ends = shifted.next_end_us()
    shifted.shift(1_000)

    assert shifted.next_end_us() == (None if ends is None else ends + 1_000)
    fast.now += 1_000
    fast.due = {one: due + 1_000 for one, due in fast.due.items()}
    fast.queue = [(due + 1_000, one) for due, one in fast.queue]
    fast.first = {one: first + 1_000 for one, first in fast.first.items()}
    slow = Slow().tell(told)
    rest = [("time", 0, 3), ("through", 1, 0), ("time", 0, 9), ("through", 2, 0), ("time", 0, 30)]
    for both in (fast, slow):
        both.went.clear()
        both.tell(rest)
    assert {
        lane: [(when - 1_000, one) for when, one in went] for lane, went in fast.went.items()
    } == slow.went


def test_the_others_wait_for_a_head_that_is_on_its_way_and_come_by_when_they_occurred() -> None:
    lanes = Lanes(LONGEST)
    lanes.goes(7, 1)

    waits = [(2, 30), (3, 20), (4, 40)]
    assert [lanes.lets(7, number, occurred, 0) for number, occurred in waits] == [False] * 3
    assert [lanes.freed(7, 1), lanes.freed(7, 3), lanes.freed(7, 2), lanes.freed(7, 4)] == [3, 2, 4, None]
    assert len(lanes) == 0


def test_a_head_that_waits_is_passed_when_it_took_too_long_since_its_first_try() -> None:
    lanes = Lanes(LONGEST)
    lanes.goes(7, 1)
    lanes.waits(7, 1, first_us=5)
    assert not lanes.lets(7, 2, 0, 14)

    assert (lanes.next_end_us(), lanes.passed(14), lanes.passed(15)) == (15, [], [(7, 2)])


def test_a_head_on_its_way_is_never_passed() -> None:
    lanes = Lanes(LONGEST)
    lanes.goes(7, 1)
    lanes.waits(7, 1, first_us=0)
    lanes.goes(7, 1)

    assert not lanes.lets(7, 2, 0, 1_000)
    assert lanes.passed(1_000) == []


def test_one_that_was_passed_stands_aside_when_its_turn_comes_again() -> None:
    lanes = Lanes(LONGEST)
    lanes.goes(7, 1)
    lanes.waits(7, 1, first_us=0)
    assert not lanes.lets(7, 2, 0, 3)
    assert lanes.passed(10) == [(7, 2)]
    lanes.goes(7, 2)

    assert not lanes.lets(7, 1, 0, 11)
    assert lanes.freed(7, 2) == 1


@pytest.mark.parametrize("number", [1, 2])
def test_the_end_of_one_that_is_not_the_head_moves_nobody(number: int) -> None:
    lanes = Lanes(LONGEST)
    lanes.goes(7, 5)
    assert not lanes.lets(7, 2, 0, 0)

    assert lanes.freed(7, number) is None
    assert not lanes.lets(7, 3, 0, 0)
