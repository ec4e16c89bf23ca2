"""What may be expected of a count at a time of day and of the week, learned from the weeks before.

An hour is expected to bring level × weekday × hour: the level is the median of the last seven days, freed of
their weekdays; a weekday's factor is the median of its days against all; an hour's share is its part of
ordinary days. How far counts stray beyond chance (the dispersion of a negative binomial law: variance =
mean + dispersion × mean²) is measured by what the same rule would have expected of each past day, without
the worst twentieth, so that an outage of a day or two neither moves the band nor widens it much.

All of it is arithmetic on counts by local day and hour; nothing here reads a clock.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from math import exp, lgamma, log, log1p
from statistics import median

from msgspec import Struct

FEWEST_DAYS = 14
"""Days after which a count is expected anything of: two of each weekday."""

WEEKDAY_DAYS = 28
"""Days from which on weekdays are told apart: four of each."""

MOST_DAYS = 56
"""Days that are looked back at: eight weeks."""

LEVEL_DAYS = 7

KEPT = 0.95
"""Of the residuals, those that count; the worst are left out."""

TRIMMED = 1.32
"""What leaving out the worst twentieth takes from a normal variance: 1 / 0.759."""

LEAST_DISPERSION = 0.01
"""Nothing is trusted to keep closer to its mean than this: a tenth, for large counts."""

TERM_OF_NOTE = 1e-18

Days = Mapping[date, Sequence[int]]
"""Local day → its 24 counts by the hour."""


class Band(Struct, frozen=True, kw_only=True):
    """What is expected of a count. `hours` are shares of a day; `weekdays` are factors from Monday on.

    `by_hour` and `by_day` are the dispersions of counts of an hour and of a day.
    """

    days: int
    level: float
    weekdays: tuple[float, ...]
    hours: tuple[float, ...]
    by_hour: float
    by_day: float

    def expected(self, day: date, hour: int) -> float:
        """Of that local hour."""
        return self.level * self.weekdays[day.weekday()] * self.hours[hour]


def band(days: Days, today: date) -> Band | None:
    """What the days before `today` let expect; `None` where there are fewer than `FEWEST_DAYS`.

    A day that is missing between others counted nothing. Days before the first that counted do not count.
    """
    known = [day for day, counts in days.items() if day < today and any(counts)]
    if not known:
        return None
    first = max(min(known), today - timedelta(days=MOST_DAYS))
    length = (today - first).days
    if length < FEWEST_DAYS:
        return None
    silent = (0,) * 24
    span = [first + timedelta(days=n) for n in range(length)]
    counts = [days.get(day, silent) for day in span]
    totals = [sum(one) for one in counts]
    weekdays = _weekdays(span, totals)
    plain = [total / weekdays[day.weekday()] for day, total in zip(span, totals, strict=True)]
    hours = _hours(counts, plain)
    levels = [median(plain[max(0, n - LEVEL_DAYS) : n]) if n else 0.0 for n in range(length + 1)]
    by_hour, by_day = [], []
    for n in range(LEVEL_DAYS, length):
        expected = levels[n] * weekdays[span[n].weekday()]
        by_day.append((expected, totals[n]))
        by_hour += [(expected * share, seen) for share, seen in zip(hours, counts[n], strict=True)]
    return Band(
        days=length,
        level=levels[length],
        weekdays=weekdays,
        hours=hours,
        by_hour=dispersion(by_hour),
        by_day=dispersion(by_day),
    )


def dispersion(found: Sequence[tuple[float, int]]) -> float:
    """By moments, of pairs (expected, seen): Σ((seen − expected)² − expected) / Σ expected²."""
    pairs = [(mean, (seen - mean) ** 2) for mean, seen in found if mean > 0]
    pairs.sort(key=lambda one: one[1] / (one[0] + 0.1 * one[0] ** 2))
    kept = pairs[: max(1, int(len(pairs) * KEPT))]
    squares = sum(mean**2 for mean, _ in kept)
    if not squares:
        return LEAST_DISPERSION
    beyond = sum(TRIMMED * square - mean for mean, square in kept)
    return max(LEAST_DISPERSION, beyond / squares)


def at_most(seen: int, mean: float, spread: float) -> float:
    """The chance of counting `seen` or fewer where `mean` are expected. `spread` is the dispersion."""
    if mean <= 0:
        return 1.0
    if seen >= mean:
        return 1.0 - at_least(seen + 1, mean, spread)
    size, odds = 1 / spread, spread * mean / (1 + spread * mean)
    term = total = exp(_log_chance(seen, mean, spread))
    # Each term downwards: P(k − 1) = P(k) · k / ((k − 1 + size) · odds).
    for k in range(seen, 0, -1):
        term *= k / ((k - 1 + size) * odds)
        total += term
        if term < TERM_OF_NOTE:
            break
    return min(1.0, total)


def at_least(seen: int, mean: float, spread: float) -> float:
    """The chance of counting `seen` or more where `mean` are expected."""
    if seen <= 0:
        return 1.0
    if mean <= 0:
        return 0.0
    if seen <= mean:
        return 1.0 - at_most(seen - 1, mean, spread)
    size, odds = 1 / spread, spread * mean / (1 + spread * mean)
    term = total = exp(_log_chance(seen, mean, spread))
    k = seen
    while term >= TERM_OF_NOTE:
        term *= (k + size) / (k + 1) * odds
        total += term
        k += 1
    return min(1.0, total)


def none_at_all(mean: float, spread: float) -> float:
    """The chance of counting nothing where `mean` are expected: (1 + spread · mean)^(−1 / spread)."""
    return exp(-log1p(spread * mean) / spread)


def edges(mean: float, spread: float, chance: float) -> tuple[int, int]:
    """The least and the most that is not yet rarer than `chance`, on each side."""
    low = _first(0, int(mean) + 1, lambda n: at_most(n, mean, spread) >= chance)
    step = int(mean) + 1
    while at_least(step, mean, spread) >= chance:
        step *= 2
    high = _first(0, step, lambda n: at_least(n, mean, spread) < chance) - 1
    return low, max(high, low)


def _first(low: int, high: int, true: Callable[[int], bool]) -> int:
    """The first number from `low` on for which that is so, and stays so; `high` at the latest."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if true(middle) else (middle + 1, high)
    return low


def _weekdays(span: Sequence[date], totals: Sequence[int]) -> tuple[float, ...]:
    if len(span) < WEEKDAY_DAYS:
        return (1.0,) * 7
    found: list[list[int]] = [[] for _ in range(7)]
    for day, total in zip(span, totals, strict=True):
        found[day.weekday()].append(total)
    medians = [median(one) for one in found]
    mean = sum(medians) / 7
    # A weekday on which nothing comes is not known to be nothing: thin counts say nothing of weekdays.
    return tuple(one / mean if one else 1.0 for one in medians) if mean else (1.0,) * 7


def _hours(counts: Sequence[Sequence[int]], plain: Sequence[float]) -> tuple[float, ...]:
    """Shares of ordinary days: from half to twice the median."""
    usual = median(plain)
    ordinary = [one for one, total in zip(counts, plain, strict=True) if usual / 2 <= total <= usual * 2]
    sums = [sum(one[hour] for one in ordinary) for hour in range(24)]
    whole = sum(sums)
    return tuple(one / whole for one in sums) if whole else (1 / 24,) * 24


def _log_chance(k: int, mean: float, spread: float) -> float:
    size = 1 / spread
    return (
        lgamma(k + size)
        - lgamma(size)
        - lgamma(k + 1)
        + k * log(spread * mean / (1 + spread * mean))
        - size * log1p(spread * mean)
    )
