"""What may be expected of a count at a time of day and of the week, learned from the weeks before.

A quarter of an hour is expected to bring level × weekday × quarter: the level is the median of the last
seven days, freed of their weekdays; a weekday's factor is the median of its days against all; a quarter's
share is its part of ordinary days.

How far counts stray beyond chance (the dispersion of a negative binomial law: variance = mean + dispersion ×
mean²) is measured by what the same rule would have expected of each past day, without the worst twentieth of
the days, so that an outage of a day or two neither moves the band nor widens it much. Of hours it is measured
by the hour and by the quarter, and the wider counts: a nightly batch that comes now before and now after the
quarter has nothing wrong with it.

All of it is arithmetic on counts by local day and quarter of an hour; nothing here reads a clock.
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
"""Of the days, those that count for the dispersion; the worst are left out."""

TRIMMED = 1.32
"""What leaving out the worst twentieth takes from a normal variance: 1 / 0.759."""

LEAST_DISPERSION = 0.01
"""Nothing is trusted to keep closer to its mean than this: a tenth, for large counts."""

TERM_OF_NOTE = 1e-18

QUARTERS = 96
"""Quarters of an hour in a day: what comes at a fixed minute every night is not smeared over an hour."""

WEEKDAY_FROM = 5.0
"""Deliveries or events a day from which a weekday without any is one on which nothing is expected."""

Days = Mapping[date, Sequence[int]]
"""Local day → its counts by the quarter of an hour."""


class Band(Struct, frozen=True, kw_only=True):
    """What is expected of a count. `quarters` are shares of a day; `weekdays` are factors from Monday on.

    `by_hour` and `by_day` are the dispersions of counts of an hour and of a day.
    """

    days: int
    level: float
    weekdays: tuple[float, ...]
    quarters: tuple[float, ...]
    by_hour: float
    by_day: float

    def expected(self, day: date, quarter: int) -> float:
        """Of that quarter of an hour, by the clock of that day."""
        return self.level * self.weekdays[day.weekday()] * self.quarters[quarter]


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
    silent = (0,) * QUARTERS
    span = [first + timedelta(days=n) for n in range(length)]
    counts = [days.get(day, silent) for day in span]
    totals = [sum(one) for one in counts]
    weekdays = _weekdays(span, totals)
    factors = [weekdays[day.weekday()] for day in span]
    # What comes on a weekday without any expected says nothing of the level.
    plain = [total / by if by else 0.0 for total, by in zip(totals, factors, strict=True)]
    quarters = _quarters(counts, plain)
    levels = [
        _level(plain[max(0, n - LEVEL_DAYS) : n], factors[max(0, n - LEVEL_DAYS) : n])
        for n in range(length + 1)
    ]
    by_quarter, by_hour, by_day = [], [], []
    for n in range(LEVEL_DAYS, length):
        means = [levels[n] * factors[n] * share for share in quarters]
        by_quarter.append(list(zip(means, counts[n], strict=True)))
        by_hour.append(list(zip(_hours(means), _hours(counts[n]), strict=True)))
        by_day.append([(levels[n] * factors[n], totals[n])])
    return Band(
        days=length,
        level=levels[length],
        weekdays=weekdays,
        quarters=quarters,
        by_hour=max(dispersion(by_hour), dispersion(by_quarter)),
        by_day=dispersion(by_day),
    )


def dispersion(days: Sequence[Sequence[tuple[float, float]]]) -> float:
    """By moments, of each day's pairs (expected, seen): Σ((seen − expected)² − expected) / Σ expected²."""
    found = [
        (sum((seen - mean) ** 2 for mean, seen in day), sum(mean for mean, _ in day), squares)
        for day in days
        if (squares := sum(mean**2 for mean, _ in day)) > 0
    ]
    found.sort(key=lambda one: (one[0] - one[1]) / one[2])
    kept = found[: max(1, int(len(found) * KEPT))]
    if not kept:
        return LEAST_DISPERSION
    beyond = sum(TRIMMED * residual - mean for residual, mean, _ in kept)
    return max(LEAST_DISPERSION, beyond / sum(squares for *_, squares in kept))


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


def _hours(quarters: Sequence[float]) -> list[float]:
    return [sum(quarters[n : n + 4]) for n in range(0, len(quarters), 4)]


def _level(plain: Sequence[float], factors: Sequence[float]) -> float:
    """The median of the days on which something is expected."""
    return median([one for one, factor in zip(plain, factors, strict=True) if factor] or [0.0])


def _weekdays(span: Sequence[date], totals: Sequence[int]) -> tuple[float, ...]:
    if len(span) < WEEKDAY_DAYS:
        return (1.0,) * 7
    found: list[list[int]] = [[] for _ in range(7)]
    for day, total in zip(span, totals, strict=True):
        found[day.weekday()].append(total)
    medians = [median(one) for one in found]
    mean = sum(medians) / 7
    if mean < WEEKDAY_FROM:  # thin counts say nothing of weekdays
        return (1.0,) * 7
    return tuple(one / mean for one in medians)


def _quarters(counts: Sequence[Sequence[int]], plain: Sequence[float]) -> tuple[float, ...]:
    """Shares of ordinary days: from half to twice the median."""
    usual = median([one for one in plain if one] or [0.0])
    ordinary = [one for one, total in zip(counts, plain, strict=True) if usual / 2 <= total <= usual * 2]
    sums = [sum(one[quarter] for one in ordinary) for quarter in range(QUARTERS)]
    whole = sum(sums)
    return tuple(one / whole for one in sums) if whole else (1 / QUARTERS,) * QUARTERS


def _log_chance(k: int, mean: float, spread: float) -> float:
    size = 1 / spread
    return (
        lgamma(k + size)
        - lgamma(size)
        - lgamma(k + 1)
        + k * log(spread * mean / (1 + spread * mean))
        - size * log1p(spread * mean)
    )
