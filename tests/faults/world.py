"""A world in which nothing happens by itself: time, chance, deaths and the trace, all from one seed."""

import heapq
from collections.abc import Callable
from itertools import count
from random import Random

START_US = 1_773_133_200_000_000
"""2026-03-10 09:00 UTC."""

SECOND = 1_000_000

PATIENCE = 20_000
"""So often somebody asks what time it is before time has to move."""


class Killed(BaseException):
    """The process ends here, as by `kill -9`: nothing in the sender may catch it."""


class Broken(BaseException):
    """A promise was broken. Nothing in the sender may catch it either."""


class World:
    """The time of day (`now_us`), time that is never set (`steady`, seconds), and what happens when.

    `calm` ends every fault: from then on all must come to rest.
    """

    replay = False

    def __init__(self, seed: int, tell: Callable[[str], None] | None = None) -> None:
        self.seed = seed
        self.calm = False
        self.is_alive = False
        self.deaths_left = 0
        self.death_share = 0.0
        self.jumps: list[tuple[float, int]] = []
        self._tell = tell
        self._asked = 0
        self._asked_at = 0
        self._us = 0
        self._set_us = START_US
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._deaths = self.chance("deaths")

    def chance(self, of: str) -> Random:
        """Chance of its own for each part, so that a change of one leaves the others as they were."""
        return Random(f"{self.seed}/{of}")

    # time

    def now_us(self) -> int:
        """The time of day in microseconds since 1970; it may be set."""
        self._asked = self._asked + 1 if self._asked_at == self._us else 0
        self._asked_at = self._us
        if self._asked > PATIENCE:
            raise Broken("the loop never rests: it does not even wait")
        return self._us + self._set_us

    def steady(self) -> float:
        """Seconds since the beginning."""
        return self._us / SECOND

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        """Something that happens so many seconds from now."""
        heapq.heappush(self._agenda, (self._us + int(seconds * SECOND), next(self._order), what))

    def pass_time(self, seconds: float, stop: Callable[[], bool] = lambda: False) -> None:
        """Lets time go by, and happen what is due; ends early where `stop` says so."""
        until = self._us + int(seconds * SECOND)
        while not stop() and self._agenda and self._agenda[0][0] <= until:
            at, _, what = heapq.heappop(self._agenda)
            self._us = max(self._us, at)
            what()
        if not stop():
            self._us = max(self._us, until)

    def next_seconds(self, longest: float) -> float:
        """How long until the next thing on the agenda, at most so long."""
        if not self._agenda:
            return longest
        return min(longest, max(0.0, (self._agenda[0][0] - self._us) / SECOND))

    def set_clock(self, by_seconds: float) -> None:
        """Somebody sets the clock; steady time does not notice."""
        if not self.calm:
            self.jumps.append((self.steady(), int(by_seconds * SECOND)))
            self._set_us += int(by_seconds * SECOND)
            self.say(f"the clock is set by {by_seconds:+.1f} s")

    # death

    def may_die(self, where: str) -> None:
        """A moment at which the process may end."""
        if self.deaths_left and self._deaths.random() < self.death_share:
            self.dies(where)

    def dies(self, where: str) -> None:
        """The process ends, unless there is none or it has died often enough."""
        if self.is_alive and self.deaths_left and not self.calm:
            self.is_alive = False
            self.deaths_left -= 1
            self.say(f"KILLED {where}")
            raise Killed(where)

    # the trace

    def say(self, line: str) -> None:
        """One line of what happened."""
        if self._tell is not None:
            jumped = (self._set_us - START_US) / SECOND
            self._tell(f"{self.steady():12.6f}{f' (clock {jumped:+.0f})' if jumped else ''}  {line}")
