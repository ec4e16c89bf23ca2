"""What a long run tells: whether memory, delays, processor time and files stay as they were."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from msgspec import Struct

from lendsignal.bench.machine import Machine


class Sample(Struct, frozen=True, kw_only=True):
    """One look at the running service. `day`: of the lender's clock, since it began; `cpu_s`: of every role
    since the beginning, over all processes that had it; `pss_mib`: shared pages in equal parts."""

    day: float
    events: int
    pss_mib: Mapping[str, float]
    cpu_s: Mapping[str, float]
    files_mib: Mapping[str, float]


class Hour(Struct, frozen=True, kw_only=True):
    """Deliveries that arrived first in an hour of the lender's clock, and how long after their 202, in
    milliseconds of the machine's time. `weather`: what failed on purpose in it."""

    hour: int
    deliveries: int
    p50_ms: float
    p99_ms: float
    weather: str = ""


class Run(Struct, frozen=True, kw_only=True):
    """A whole run. `lost`: said to be accepted and never arrived, beyond what platforms lied about, or come
    to no end at all; `skipped`: too old when their turn came, with that as their end; `doubled`:
    arrivals beyond the first where an unknown end holds; `repeated`: where it is tried again.

    `unlike`: destinations whose planned set is not what arithmetic says.
    """

    days: float
    hours_of_the_machine: float
    faster: float
    events: int
    deliveries: int
    events_per_s: float
    most_events_per_s: float | None
    planned: int
    arrived: int
    held: int
    dead: int
    skipped: int
    lied: int
    lost: int
    doubled: int
    repeated: int
    unlike: Sequence[str]
    kills: Mapping[str, int]
    faults: Mapping[str, int]
    samples: Sequence[Sample]
    memory_days: tuple[float, float]
    hours: Sequence[Hour]
    machine: Machine
    load_after: float
    day: str

    @property
    def memory_slope_mib_per_day(self) -> float:
        """Of all roles together, by least squares over the days in which nothing was killed."""
        first, last = self.memory_days
        return slope(
            [(one.day, sum(one.pss_mib.values())) for one in self.samples if first <= one.day <= last]
        )

    def quiet_p99_ms(self, day: int) -> float | None:
        """The median of the 99th percentiles of a day's hours without weather."""
        return median(one.p99_ms for one in self.quiet(day))

    def quiet_p50_ms(self, day: int) -> float | None:
        """The median of the medians of a day's hours without weather."""
        return median(one.p50_ms for one in self.quiet(day))

    def quiet(self, day: int) -> list[Hour]:
        """A day's hours in which nothing failed on purpose. Days count from 0."""
        return [one for one in self._calm() if one.hour // 24 == day]

    @property
    def last_day(self) -> int:
        """The last day that has hours without weather."""
        return max((one.hour // 24 for one in self._calm()), default=0)

    def _calm(self) -> list[Hour]:
        """The hours without weather; what came after the last day was no hour of it."""
        return [one for one in self.hours if not one.weather and one.hour < self.days * 24]

    def cpu_us(self, first: float, last: float) -> float | None:
        """Microseconds of processor time an event between two days, all roles together."""
        some = [one for one in self.samples if first <= one.day <= last]
        if len(some) < 2 or some[-1].events == some[0].events:
            return None
        used = sum(some[-1].cpu_s.values()) - sum(some[0].cpu_s.values())
        return used / (some[-1].events - some[0].events) * 1e6

    def broken(self) -> list[str]:
        """A sentence for each promise that was not kept."""
        found = [f"{name}: planned is not what the events make" for name in self.unlike]
        if self.lost:
            found.append(f"{self.lost} deliveries were lost")
        if self.doubled:
            found.append(f"{self.doubled} came twice under hold")
        if self.dead:
            found.append(f"{self.dead} are dead, without a reason in this run")
        if self.skipped:
            found.append(f"{self.skipped} were skipped as too old: the machine was too slow for this rate")
        return found

    def summary(self) -> dict[str, object]:
        """The figures of one line."""
        return {
            "days": self.days,
            "events": self.events,
            "lost": self.lost,
            "doubled": self.doubled,
            "memory_slope_mib_per_day": round(self.memory_slope_mib_per_day, 2),
            "p99_first": self.quiet_p99_ms(0),
            "p99_last": self.quiet_p99_ms(self.last_day),
            "cpu_us_first": _whole(self.cpu_us(0, self.days / 6)),
            "cpu_us_last": _whole(self.cpu_us(self.days * 5 / 6, self.days)),
            "deliveries": self.deliveries,
            "held": self.held,
            "skipped": self.skipped,
            "lied": self.lied,
            "repeated": self.repeated,
            "kills": sum(self.kills.values()),
            "faults": sum(self.faults.values()),
            "broken": self.broken(),
        }


def slope(points: Sequence[tuple[float, float]]) -> float:
    """By how much the second rises for one of the first, by least squares; 0 for fewer than two."""
    if len({x for x, _ in points}) < 2:
        return 0.0
    x, y = np.array(points).T
    return float(np.polyfit(x - x.mean(), y, 1)[0])


def hours_of(
    arrived: Sequence[tuple[int, int]],
    faster: float,
    hours_us: tuple[int, int],
    weather: Callable[[int], str],
) -> list[Hour]:
    """Delays by hour of the lender's clock. `arrived`: acknowledged and arrived, both by that clock in
    microseconds; `hours_us`: when the first hour begins, and how long each lasts. What arrived before its
    sender had read the 202 took no time at all."""
    if not arrived:
        return []
    start_us, hour_us = hours_us
    told, came = np.array(arrived, dtype=np.int64).T
    hour = (came - start_us) // hour_us
    took_ms = np.maximum(came - told, 0) / faster / 1000
    found = []
    for one in np.unique(hour).tolist():
        here = took_ms[hour == one]
        p50, p99 = np.percentile(here, (50, 99)).round(1).tolist()
        found.append(Hour(hour=one, deliveries=len(here), p50_ms=p50, p99_ms=p99, weather=weather(one)))
    return found


def median(values: Iterable[float]) -> float | None:
    """The middle one; `None` of nothing."""
    some = list(values)
    return round(float(np.median(some)), 1) if some else None


def _whole(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
