"""The pace that several senders share, as one of them uses it: what it drew, for how long, when it asks."""

from collections.abc import Sequence
from datetime import timedelta

from tests.desk import Hand

from lendsignal.deliver.common_pace import AWAY_SECONDS, CommonPace
from lendsignal.errors import LogError
from lendsignal.log.shared import Grant


class Row:
    """An account's row that gives what the test says, and remembers what it was asked."""

    def __init__(self, *grants: Grant | LogError) -> None:
        self._grants = list(grants)
        self.asked: list[tuple[float, float, int]] = []
        self.told: list[object] = []

    def draw(self, most: float, burst: float, wanted: int) -> Grant:
        self.asked.append((most, burst, wanted))
        grant = self._grants.pop(0)
        if isinstance(grant, LogError):
            raise grant
        return grant

    def slow_down(self, after: timedelta | None) -> float:
        self.told.append(after)
        return 7.0

    def limit(self, ceiling: float) -> None:
        self.told.append(ceiling)

    def taken(self) -> None:
        self.told.append("taken")


def given(
    requests: int, *, again: float = 0.05, waits: float = 0.0, slowed: int = 0, ceiling: float = 1.0
) -> Grant:
    return Grant(requests, 80.0, 0.25, again, waits, slowed, ceiling)


def paced(*grants: Grant | LogError) -> tuple[CommonPace, Row, Hand]:
    row, clock = Row(*grants), Hand(0)
    return CommonPace(row, 100.0, 30.0, 0.0, clock), row, clock


def taken(pace: CommonPace, at: float, n: int) -> Sequence[bool]:
    return [pace.take(at, 9) for _ in range(n)]


def test_what_was_drawn_is_used_before_more_is_asked_for() -> None:
    pace, row, _ = paced(given(2), given(1))

    assert (pace.ready_in(10.0), row.asked) == (0.0, [])  # who has nothing to send asks for nothing
    assert taken(pace, 10.0, 2) == [True, True]
    assert row.asked == [(100.0, 30.0, 9)]
    assert pace.rate == 80.0


def test_more_is_asked_for_no_sooner_than_the_store_said() -> None:
    pace, row, _ = paced(given(1, again=0.2), given(1))

    assert taken(pace, 10.0, 2) == [True, False]
    assert round(pace.ready_in(10.1), 6) == 0.1
    assert pace.available(10.1) == 0
    assert taken(pace, 10.1, 1) == [False]
    assert taken(pace, 10.2, 1) == [True]
    assert len(row.asked) == 2


def test_what_was_not_used_in_time_is_lost() -> None:
    pace, row, _ = paced(given(5), given(0))

    assert taken(pace, 10.0, 1) == [True]
    assert pace.available(10.24) == 4
    assert taken(pace, 10.25, 1) == [False]
    assert len(row.asked) == 2


def test_who_uses_all_at_once_draws_ahead_until_something_is_lost() -> None:
    pace, row, _ = paced(given(9), given(18), given(27), given(9), given(9))

    assert all(taken(pace, 10.00, 9))
    assert all(taken(pace, 10.06, 18))
    assert all(taken(pace, 10.12, 26))
    assert all(taken(pace, 10.40, 9))  # one was lost meanwhile
    assert all(taken(pace, 11.00, 9))  # all was used, but nobody came back for more at once
    assert [wanted for _, _, wanted in row.asked] == [9, 18, 27, 9, 9]


def test_what_a_platform_told_another_sender_is_waited_for_here() -> None:
    pace, _, clock = paced(given(0, waits=3.5))

    assert taken(pace, 10.0, 1) == [False]
    assert pace.waits_until_us == clock.now_us() + 3_500_000


def test_a_slow_down_is_told_to_all_and_what_was_drawn_is_given_up() -> None:
    pace, row, clock = paced(given(5))
    pace.take(10.0, 9)
    pace.slow_down(timedelta(seconds=7), 10.0, clock.now_us())

    assert row.told == [timedelta(seconds=7)]
    assert pace.waits_until_us == clock.now_us() + 7_000_000
    assert pace.available(10.01) == 0


def test_only_what_changed_of_an_allowance_is_told() -> None:
    pace, row, _ = paced(given(1, slowed=2))
    pace.take(10.0)
    for percent in (10.0, 50.0, 90.0, 90.0, 20.0):
        pace.used(percent, 10.0)
    pace.taken()
    pace.taken()

    assert row.told == [0.4, 1.0, "taken"]  # of 25 per cent that are left to be careful in, 10 are: 0.4


def test_while_the_store_is_away_nothing_is_given_and_it_is_not_asked_all_the_time() -> None:
    pace, row, _ = paced(LogError("away"), given(1))

    assert taken(pace, 10.0, 2) == [False, False]
    assert pace.ready_in(10.0) == AWAY_SECONDS
    assert taken(pace, 10.0 + AWAY_SECONDS, 1) == [True]
    assert len(row.asked) == 2
