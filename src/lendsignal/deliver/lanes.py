"""Lanes: deliveries that a platform wants one after the other, in the order in which they occurred.

A lane is busy while one of its deliveries is on the way, and while its head waits to be tried again; then
its others stand aside, and no other lane notices. A head that is not through after `longest` is passed.
"""

import heapq

from msgspec import Struct


class Lane(Struct):
    """`head` goes or is to go next; `until_us` is when the others stop waiting for it (0: it is on its way).

    `aside` are those that wait for it, by when they occurred.
    """

    head: int
    until_us: int = 0
    aside: list[tuple[int, int]] = []


class Lanes:
    """The lanes of one destination that somebody waits in. Times are microseconds since 1970."""

    def __init__(self, longest_us: int) -> None:
        self._longest_us = longest_us
        self._lanes: dict[int, Lane] = {}
        self._ends: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._lanes)

    def lets(self, lane: int, delivery: int, occurred_us: int, now_us: int) -> bool:
        """Whether this one may go now. If not, it stands aside until `freed` gives it back."""
        found = self._lanes.get(lane)
        if found is None or found.head == delivery:
            return True
        if found.until_us and now_us >= found.until_us:
            return True
        heapq.heappush(found.aside, (occurred_us, delivery))
        return False

    def goes(self, lane: int, delivery: int) -> None:
        """Its request leaves: the lane is busy until it is told otherwise."""
        found = self._lanes.get(lane)
        if found is None:
            self._lanes[lane] = Lane(delivery)
        else:
            found.head, found.until_us = delivery, 0

    def waits(self, lane: int, delivery: int, first_us: int) -> None:
        """It is to be tried again: the others wait for it, so long since its first try."""
        found = self._lanes.setdefault(lane, Lane(delivery))
        if found.head != delivery:
            return
        found.until_us = first_us + self._longest_us
        heapq.heappush(self._ends, (found.until_us, lane))

    def freed(self, lane: int, delivery: int) -> int | None:
        """It is through or out: which of the others may come now, if any waits."""
        found = self._lanes.get(lane)
        if found is None or found.head != delivery:
            return None
        return self._next(lane, found)

    def passed(self, now_us: int) -> list[tuple[int, int]]:
        """The lanes whose head took too long, each with the one that may come now."""
        found: list[tuple[int, int]] = []
        while self._ends and self._ends[0][0] <= now_us:
            until_us, lane = heapq.heappop(self._ends)
            waiting = self._lanes.get(lane)
            if waiting is not None and waiting.until_us == until_us:
                following = self._next(lane, waiting)
                if following is not None:
                    found.append((lane, following))
        return found

    def next_end_us(self) -> int | None:
        """When the next head has taken too long."""
        return self._ends[0][0] if self._ends else None

    def shift(self, by_us: int) -> None:
        """The clock was set: heads are waited for as long as they were to be."""
        for lane in self._lanes.values():
            if lane.until_us:
                lane.until_us += by_us
        self._ends = [(until_us + by_us, lane) for until_us, lane in self._ends]

    def _next(self, lane: int, found: Lane) -> int | None:
        if not found.aside:
            del self._lanes[lane]
            return None
        _, following = heapq.heappop(found.aside)
        found.head, found.until_us = following, 0
        return following
