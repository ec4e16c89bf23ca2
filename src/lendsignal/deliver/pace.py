"""How fast an account takes requests: a token bucket that slows down when told, and finds its way back.

Additive increase, multiplicative decrease: each "slow down" halves the rate, and every second without one
gives a sixtieth of the full rate back. So after a limit that is half of ours the rate settles around it.
"""

from datetime import timedelta

SLOWEST = 0.01
"""The share of the full rate that no slow-down goes below: what would find out that it is over."""

RECOVERY_SECONDS = 60.0
"""From nothing to the full rate."""

CAREFUL_FROM = 75.0
"""Per cent of an allowance from which the rate falls with what is left of it."""

FIRST_WAIT = timedelta(seconds=1)
"""After a slow-down without a time of its own; doubled with each that follows, up to `LONGEST_WAIT`."""

LONGEST_WAIT = timedelta(seconds=60)

_MICROSECOND = timedelta(microseconds=1)


class Pace:
    """The pace of one account, in two times: `now` is steady seconds, `now_us` the clock's microseconds.

    `most` is the full rate in requests a second, `burst` how many may go at once after a rest.
    """

    def __init__(self, most: float, burst: float | None, now: float) -> None:
        self.most = most
        self.rate = most
        self.waits_until_us = 0
        self._size = max(1.0, burst if burst is not None else most)
        self._tokens = self._size
        self._at = now
        self._slowed = 0
        self._ceiling = most

    def take(self, now: float, wanted: int = 1) -> bool:
        """Takes one request's token where there is one; `wanted`: so many more may be asked for at once."""
        self._fill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def available(self, now: float) -> int:
        """Tokens there are."""
        self._fill(now)
        return int(self._tokens)

    def ready_in(self, now: float) -> float:
        """Seconds until the next token."""
        self._fill(now)
        return max(0.0, (1 - self._tokens) / self.rate)

    def slow_down(self, after: timedelta | None, now: float, now_us: int) -> None:
        """The platform asked for less: nothing for as long as it asks, then half as fast as before.

        Without a time of its own it is a second, doubling up to a minute. What the other rows and
        requests say while it waits already makes the wait longer at most, and nothing slower.
        """
        waits = now_us < self.waits_until_us
        if after is None and waits:
            # Sent before the wait began, and answered late in it: it is no further step, but a fresh word.
            self.waits_until_us = max(self.waits_until_us, now_us + FIRST_WAIT // _MICROSECOND)
            return
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2**self._slowed) if after is None else after
        if not waits:
            self._slowed = min(self._slowed + 1, 6)
            self._fill(now)
            self.rate = max(self.most * SLOWEST, self.rate / 2)
            self._tokens = min(self._tokens, 1.0)
        self.waits_until_us = max(self.waits_until_us, now_us + wait // _MICROSECOND)

    def used(self, percent: float, now: float) -> None:
        """The platform said how much of the allowance is used: the nearer the end, the slower."""
        self._fill(now)
        left = max(0.0, (100.0 - percent) / (100.0 - CAREFUL_FROM))
        self._ceiling = self.most * min(1.0, max(SLOWEST, left))
        self.rate = min(self.rate, self._ceiling)

    def taken(self) -> None:
        """A request was taken: the next slow-down starts from a short wait again."""
        self._slowed = 0

    def shift(self, by_us: int) -> None:
        """The clock was set: what waits, waits as long as it was to."""
        if self.waits_until_us:
            self.waits_until_us += by_us

    def _fill(self, now: float) -> None:
        passed = now - self._at
        if passed <= 0:
            return
        self._at = now
        self._tokens = min(self._size, self._tokens + passed * self.rate)
        if self.rate < self._ceiling:
            self.rate = min(self._ceiling, self.rate + passed * self.most / RECOVERY_SECONDS)
