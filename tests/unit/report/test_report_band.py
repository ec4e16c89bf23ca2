"""What is expected of a count. Expected chances are sums of the law's own terms, by exact fractions."""

from datetime import date, timedelta
from fractions import Fraction
from math import comb

import pytest

from lendsignal.report.band import (
    FEWEST_DAYS,
    LEAST_DISPERSION,
    QUARTERS,
    Band,
    at_least,
    at_most,
    band,
    dispersion,
    edges,
    none_at_all,
)

MONDAY = date(2026, 3, 2)


def chance(n: int, mean: Fraction, size: int) -> Fraction:
    """Of n under the negative binomial law with a whole size, written out."""
    p = Fraction(size) / (size + mean)
    return comb(n + size - 1, n) * p**size * (1 - p) ** n


def day(**at: int) -> list[int]:
    """Counts of a day; `at_40=7` is seven in the quarter that begins at ten."""
    counts = [0] * QUARTERS
    for name, n in at.items():
        counts[int(name.removeprefix("at_"))] = n
    return counts


def weeks(n: int, counts: list[int]) -> dict[date, list[int]]:
    return {MONDAY + timedelta(days=number): counts for number in range(7 * n)}


def known(days: dict[date, list[int]]) -> Band:
    found = band(days, max(days) + timedelta(days=1))
    assert found is not None
    return found


@pytest.mark.parametrize("seen", [0, 3, 12, 20, 21, 40])
def test_chances_are_the_sums_of_their_terms(seen: int) -> None:
    below = sum(chance(n, Fraction(20), 4) for n in range(seen + 1))

    assert at_most(seen, 20, 1 / 4) == pytest.approx(float(below), rel=1e-9)
    assert at_least(seen + 1, 20, 1 / 4) == pytest.approx(float(1 - below), rel=1e-9)


def test_nothing_at_all_is_as_rare_as_the_first_term() -> None:
    assert none_at_all(20, 1 / 4) == pytest.approx(float(chance(0, Fraction(20), 4)))


def test_the_edges_are_the_last_that_are_not_rarer() -> None:
    low, high = edges(20, 1 / 4, 0.01)

    assert at_most(low, 20, 1 / 4) >= 0.01 > at_most(low - 1, 20, 1 / 4)
    assert at_least(high, 20, 1 / 4) >= 0.01 > at_least(high + 1, 20, 1 / 4)


def test_a_count_that_is_always_the_same_is_expected_to_the_last_one() -> None:
    found = known(weeks(4, day(at_40=30, at_41=10)))

    assert found.level == 40
    assert found.expected(MONDAY, 40) == pytest.approx(30)
    assert found.expected(MONDAY, 41) == pytest.approx(10)
    assert found.expected(MONDAY, 42) == 0
    assert found.by_hour == found.by_day == LEAST_DISPERSION


def test_nothing_is_expected_of_a_series_of_less_than_two_weeks() -> None:
    days = {MONDAY + timedelta(days=n): day(at_1=5) for n in range(FEWEST_DAYS)}

    assert band(days, MONDAY + timedelta(days=FEWEST_DAYS - 1)) is None
    assert band(days, MONDAY + timedelta(days=FEWEST_DAYS)) is not None
    assert band({}, MONDAY) is None


def test_a_weekday_without_any_is_one_on_which_none_is_expected() -> None:
    closed = {one: day(at_36=50) if one.weekday() < 5 else day() for one in weeks(5, [])}
    found = known(closed)

    assert found.expected(MONDAY, 36) == pytest.approx(50)
    assert found.expected(MONDAY + timedelta(days=5), 36) == 0


def test_weekdays_are_told_apart_after_four_weeks_only() -> None:
    busy = {one: day(at_36=90 if one.weekday() == 0 else 30) for one in weeks(4, [])}
    short = {one: counts for one, counts in busy.items() if one >= MONDAY + timedelta(days=8)}

    assert known(busy).expected(MONDAY, 36) == pytest.approx(90)
    assert known(busy).expected(MONDAY + timedelta(days=1), 36) == pytest.approx(30)
    assert known(short).weekdays == (1.0,) * 7


def test_a_new_level_is_believed_after_four_days() -> None:
    days = weeks(4, day(at_36=30))
    grown = [max(days) - timedelta(days=n) for n in range(4)]

    assert known({**days, **dict.fromkeys(grown[:3], day(at_36=60))}).level == pytest.approx(30)
    assert known({**days, **dict.fromkeys(grown, day(at_36=60))}).level == pytest.approx(60)


def test_an_outage_of_a_day_changes_nothing() -> None:
    days = weeks(5, day(at_36=40, at_60=40))
    outage = {**days, MONDAY + timedelta(days=17): day()}

    assert known(outage) == known(days)


def test_the_dispersion_is_that_of_the_moments() -> None:
    # Every day 10 expected and 20 or 0 seen: (1.32 · 100 − 10) / 100.
    assert dispersion([[(10.0, 20.0 * (n % 2))] for n in range(20)]) == pytest.approx(1.22)
    assert dispersion([]) == LEAST_DISPERSION


def test_a_nightly_batch_that_comes_a_quarter_early_or_late_widens_the_band() -> None:
    steady = known(weeks(6, day(at_8=100)))
    days = weeks(6, [])
    moving = known({one: day(at_8=100) if one.toordinal() % 2 else day(at_9=100) for one in days})

    assert steady.by_hour == LEAST_DISPERSION
    assert moving.by_hour > 0.5
