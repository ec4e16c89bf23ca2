"""Local days, nights and office hours of one time zone, for whole columns of moments.

Moments are milliseconds since 1970 in UTC; local days are counted from 1970-01-01.
"""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np

from lendsignal.simulate.chance import Ints

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def day_of(date: date) -> int:
    """The number of a calendar day, counted from 1970-01-01."""
    return date.toordinal() - 719_163  # the ordinal of 1970-01-01


class LocalTime:
    """The clock on the wall between two moments; before and after them the nearest known offset holds."""

    def __init__(self, timezone: str, first: int, last: int) -> None:
        zone = ZoneInfo(timezone)
        hours = np.arange(first // HOUR, last // HOUR + 1, dtype=np.int64) * HOUR
        offsets = np.array([_offset(zone, int(hour)) for hour in hours], dtype=np.int64)
        changes = np.flatnonzero(np.diff(offsets, prepend=offsets[0] - 1))
        self._changes: Ints = hours[changes]
        self._offsets: Ints = offsets[changes]

    def wall(self, at: Ints) -> Ints:
        """Milliseconds on the local wall clock, counted as if it stood in Greenwich."""
        return at + self._offset_at(at)

    def moment(self, wall: Ints) -> Ints:
        """The moment at which the wall clock shows `wall`."""
        near = wall - self._offset_at(wall)
        return wall - self._offset_at(near)

    def day(self, at: Ints) -> Ints:
        """The local day of each moment."""
        return self.wall(at) // DAY

    def midnight(self, day: Ints) -> Ints:
        """The moment at which each local day begins."""
        return self.moment(day * DAY)

    def next_open(self, at: Ints, opens: int, closes: int, weekends: bool) -> Ints:
        """Each moment itself if the office is open then, else the next opening. Hours are local."""
        wall = self.wall(at)
        day, time = wall // DAY, wall % DAY
        after = time >= closes * HOUR
        day = day + after
        time = np.where(after, opens * HOUR, np.maximum(time, opens * HOUR))
        if not weekends:
            weekday = (day + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
            rest = weekday >= 5
            day = day + np.where(rest, 7 - weekday, 0)
            time = np.where(rest, opens * HOUR, time)
        return np.maximum(at, self.moment(day * DAY + time))

    def awake(self, at: Ints, rng: np.random.Generator) -> Ints:
        """The same moments, four out of five of those between midnight and six moved on by 6 to 9 hours."""
        asleep = (self.wall(at) % DAY < 6 * HOUR) & (rng.random(len(at)) < 0.8)
        return np.where(asleep, at + (rng.uniform(6, 9, len(at)) * HOUR).astype(np.int64), at)

    def _offset_at(self, at: Ints) -> Ints:
        place = np.searchsorted(self._changes, at, side="right") - 1
        return self._offsets[np.maximum(place, 0)]


def daytime(rng: np.random.Generator, count: int) -> Ints:
    """Times of day at which people pay and ask: around 13:30, hardly ever at night; milliseconds."""
    return np.asarray(np.clip(rng.normal(13.5, 4.0, count), 6.0, 23.9) * HOUR).astype(np.int64)


def _offset(zone: ZoneInfo, at: int) -> int:
    there = datetime.fromtimestamp(at / SECOND, UTC).astimezone(zone).utcoffset()
    assert there is not None
    return int(there.total_seconds() * SECOND)
