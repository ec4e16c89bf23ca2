"""The brakes by given numbers: what volume is unusual, and how many refusals are too many."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lendsignal.deliver import Brakes
from lendsignal.deliver.brakes import HOURS_KNOWN, WEEK_HOURS, Refusals, is_unusual

NOW = 500_000
"""An hour since 1970."""

BUSY = {NOW - 1 - n: 400 for n in range(HOURS_KNOWN)}
"""A day with 400 deliveries an hour."""


def unusual(n: int, before: dict[int, int] = BUSY, **brakes: float) -> bool:
    return is_unusual({**before, NOW: n}, NOW, Brakes(**brakes))  # type: ignore[arg-type]


@pytest.mark.parametrize(("n", "found"), [(1_199, False), (1_200, False), (1_201, True)])
def test_more_than_three_times_the_busiest_hour_is_unusual(n: int, found: bool) -> None:
    assert unusual(n) == found


def test_the_busiest_hour_counts_not_the_mean() -> None:
    assert not unusual(2_900, {**BUSY, NOW - 100: 1_000})


def test_a_small_number_is_never_unusual() -> None:
    quiet = dict.fromkeys(BUSY, 2)

    assert (unusual(999, quiet), unusual(1_000, quiet)) == (False, True)
    assert unusual(50, quiet, volume_from=50)


def test_nothing_is_unusual_before_a_day_is_known() -> None:
    almost = {hour: n for hour, n in BUSY.items() if hour > NOW - HOURS_KNOWN}

    assert len(almost) == HOURS_KNOWN - 1
    assert not unusual(100_000, almost)


def test_hours_of_an_earlier_week_and_of_the_future_do_not_count() -> None:
    elsewhere = {NOW - WEEK_HOURS - 1: 1_000_000, NOW + 1: 1_000_000}

    assert unusual(1_201, {**BUSY, **elsewhere})
    assert not unusual(1_201, {**BUSY, NOW - WEEK_HOURS: 1_000})


def test_the_volume_brake_can_be_taken_off() -> None:
    assert not is_unusual({**BUSY, NOW: 10**9}, NOW, Brakes(volume=None))


def test_the_factor_is_the_lenders() -> None:
    assert (unusual(801, volume=2.0, volume_from=1), unusual(800, volume=2.0, volume_from=1)) == (True, False)


def stops_at(answers: Sequence[bool], **brakes: float | None) -> list[int]:
    """Where in a sequence of answers (true: refused) a person should look."""
    refusals = Refusals(Brakes(**brakes))  # type: ignore[arg-type]
    return [place for place, refused in enumerate(answers) if refusals.note(refused)]


def test_four_of_five_refused_among_the_last_hundred_is_too_many() -> None:
    assert stops_at([False] * 21 + [True] * 79) == []
    assert stops_at([False] * 20 + [True] * 80) == [99]


def test_nothing_is_too_many_before_so_many_answers_came() -> None:
    assert stops_at([True] * 99) == []
    assert stops_at([True] * 11, rejected_of=10) == [9, 10]


def test_an_answer_that_was_taken_stops_nobody() -> None:
    assert stops_at([True] * 9 + [False], rejected_of=10) == []


def test_old_answers_are_forgotten() -> None:
    assert stops_at([True] * 9 + [False] * 10 + [True] * 7, rejected_of=10) == []


def test_counting_starts_anew_when_a_person_looked() -> None:
    refusals = Refusals(Brakes(rejected_of=10))
    assert [refusals.note(True) for _ in range(10)][-1]
    refusals.forget()

    assert not any(refusals.note(True) for _ in range(9))
    assert refusals.note(True)


def test_the_brake_for_refusals_can_be_taken_off() -> None:
    assert stops_at([True] * 1_000, rejected=None) == []


@given(st.lists(st.booleans(), max_size=80), st.integers(10, 20), st.sampled_from([0.1, 0.5, 0.8, 1.0]))
def test_it_is_what_counting_the_last_ones_each_time_gives(
    answers: list[bool], window: int, share: float
) -> None:
    slowly = [
        place
        for place in range(window - 1, len(answers))
        if answers[place] and sum(answers[place - window + 1 : place + 1]) >= share * window
    ]

    assert stops_at(answers, rejected_of=window, rejected=share) == slowly
