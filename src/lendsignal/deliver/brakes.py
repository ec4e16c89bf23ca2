"""When a destination stops by itself and asks a person, before a mistake becomes expensive."""

from collections import deque
from collections.abc import Mapping

from lendsignal.deliver.settings import Brakes

HOUR_US = 3_600_000_000
WEEK_HOURS = 7 * 24

HOURS_KNOWN = 24
"""Hours with deliveries that must be known before a volume can be called unusual."""


def is_unusual(hours: Mapping[int, int], hour: int, brakes: Brakes) -> bool:
    """Whether this hour (since 1970) holds more than `brakes.volume` × the busiest of the seven days before.

    `hours` are deliveries planned by hour. Where fewer than a day's worth of hours is known, nothing is.
    """
    if brakes.volume is None:
        return False
    before = [n for when, n in hours.items() if hour - WEEK_HOURS <= when < hour]
    now = hours.get(hour, 0)
    if len(before) < HOURS_KNOWN or now < brakes.volume_from:
        return False
    return now > brakes.volume * max(before)


class Refusals:
    """The last answers of one destination, and whether too many of them were refusals."""

    def __init__(self, brakes: Brakes) -> None:
        self._brakes = brakes
        self._last: deque[bool] = deque(maxlen=brakes.rejected_of)
        self._refused = 0

    def note(self, refused: bool) -> bool:
        """One more answer; true where a person should look."""
        if len(self._last) == self._last.maxlen:
            self._refused -= self._last[0]
        self._last.append(refused)
        self._refused += refused
        share = self._brakes.rejected
        full = len(self._last) == self._last.maxlen
        return refused and share is not None and full and self._refused >= share * len(self._last)

    def forget(self) -> None:
        """A person looked: counting starts anew."""
        self._last.clear()
        self._refused = 0
