"""The pace of an account that several senders share: each draws a little of it at a time from the store."""

from collections import deque
from datetime import timedelta

from msgspec.structs import replace

from lendsignal.clock import Clock
from lendsignal.deliver.pace import CAREFUL_FROM, SLOWEST, Pace
from lendsignal.errors import LogError
from lendsignal.log.shared import Grant, Purse

AWAY_SECONDS = 0.25
"""How soon a store that did not answer is asked again."""

AT_ONCE_SECONDS = 0.05
"""Who used all that it drew and comes back so soon after it might could have used more."""


class CommonPace(Pace):
    """What this sender drew of an account's pace, and may use for a moment.

    It asks when it has something to send and nothing left, and never more often than the store says. What is
    not used in time is lost: rather a little below the limit than over it. Requests that follow each other
    quickly would wait for the next draw each time: so who used all draws ahead what it had the last time, and
    nothing ahead once something was lost. The store gives no more for that than it gives anybody.
    """

    def __init__(self, purse: Purse, most: float, burst: float | None, now: float, clock: Clock) -> None:
        super().__init__(most, burst, now)
        self._purse = purse
        self._clock = clock
        self._drawn: deque[list[float]] = deque()
        self._asks_at = float("-inf")
        self._ahead = 0
        self._known: Grant | None = None

    def take(self, now: float, wanted: int = 1) -> bool:
        """Takes one request's token where there is one; where there is none, draws for up to `wanted`."""
        if not self._left(now) and now >= self._asks_at:
            self._draw(now, wanted)
        if not self._left(now):
            return False
        self._drawn[0][1] -= 1
        return True

    def available(self, now: float) -> int:
        """Tokens there are, or that could be drawn as far as we know."""
        if left := self._left(now):
            return left
        return max(1, int(self.rate * AWAY_SECONDS)) if now >= self._asks_at else 0

    def ready_in(self, now: float) -> float:
        """Seconds until there may be a token."""
        return 0.0 if self._left(now) else max(0.0, self._asks_at - now)

    def slow_down(self, after: timedelta | None, now: float, now_us: int) -> None:
        """The platform asked for less: so do all senders."""
        self._drawn.clear()
        try:
            waits = self._purse.slow_down(after)
        except LogError:  # the store is away: at least we wait
            super().slow_down(after, now, now_us)
            return
        self.waits_until_us = max(self.waits_until_us, now_us + int(waits * 1_000_000))

    def used(self, percent: float, now: float) -> None:
        """The platform said how much of the allowance is used: the nearer the end, the slower all are."""
        left = max(0.0, (100.0 - percent) / (100.0 - CAREFUL_FROM))
        ceiling = min(1.0, max(SLOWEST, left))
        known = self._known.ceiling if self._known is not None else 1.0
        if abs(ceiling - known) < SLOWEST / 2:
            return
        try:
            self._purse.limit(ceiling)
        except LogError:  # the next answer says it again
            return
        if self._known is not None:
            self._known = replace(self._known, ceiling=ceiling)

    def taken(self) -> None:
        """A request was taken: the next slow-down starts from a short wait again."""
        if self._known is None or not self._known.slowed:
            return
        try:
            self._purse.taken()
        except LogError:  # the next one that is taken says it again
            return
        self._known = replace(self._known, slowed=0)

    def _left(self, now: float) -> int:
        while self._drawn and (now >= self._drawn[0][0] or self._drawn[0][1] < 1):
            if self._drawn.popleft()[1]:
                self._ahead = 0
        return int(sum(n for _, n in self._drawn))

    def _draw(self, now: float, wanted: int) -> None:
        if now - self._asks_at >= AT_ONCE_SECONDS:
            self._ahead = 0
        try:
            grant = self._purse.draw(self.most, self._size, wanted + self._ahead)
        except LogError:
            self._asks_at = now + AWAY_SECONDS
            return
        self._known, self.rate = grant, grant.rate
        self._asks_at = now + grant.again
        if grant.waits > 0:
            until_us = self._clock.now_us() + int(grant.waits * 1_000_000)
            self.waits_until_us = max(self.waits_until_us, until_us)
        if grant.requests:
            self._ahead = grant.requests if grant.requests >= wanted + self._ahead else 0
            # Counted from before we asked: by the store's clock it is good for no longer.
            self._drawn.append([now + grant.good_for, grant.requests])
