"""How fast an account takes requests, by given times."""

from datetime import timedelta

import pytest
from tests.acme import us

from lendsignal.deliver import Pace

SECOND = 1_000_000


def test_a_bucket_holds_a_seconds_worth_and_refills_steadily() -> None:
    pace = Pace(4, None, now=10.0)

    assert [pace.take(10.0) for _ in range(5)] == [True, True, True, True, False]
    assert pace.ready_in(10.0) == pytest.approx(0.25)
    assert not pace.take(10.2)
    assert pace.take(10.25)
    assert [pace.take(60.0) for _ in range(5)] == [True, True, True, True, False]


def test_a_bucket_slower_than_one_a_second_lets_one_through_at_a_time() -> None:
    pace = Pace(0.1, None, now=0.0)

    assert pace.take(0.0)
    assert not pace.take(9.9)
    assert pace.ready_in(9.9) == pytest.approx(0.1)
    assert pace.take(10.0)


def test_a_burst_is_as_large_as_it_is_set_and_no_larger() -> None:
    pace = Pace(50, 10, now=0.0)

    assert sum(pace.take(0.0) for _ in range(60)) == 10


def test_a_slow_down_that_is_answered_late_in_a_wait_is_obeyed_for_a_second_too() -> None:
    """Three were on their way: two say it at once, the third near the end of the wait."""
    pace = Pace(50, None, now=0.0)
    pace.slow_down(None, 0.0, us(0))
    pace.slow_down(None, 0.1, us(0) + SECOND // 10)
    rate = pace.rate
    pace.slow_down(None, 0.9, us(0) + SECOND * 9 // 10)

    assert pace.waits_until_us == us(0) + SECOND * 19 // 10
    assert pace.rate == rate, "it is no further step down"


@pytest.mark.parametrize("per_second", [0.5, 3, 50])
def test_over_a_minute_no_more_goes_out_than_the_rate_and_one_burst(per_second: float) -> None:
    pace = Pace(per_second, None, now=0.0)

    taken = sum(pace.take(step / 100) for step in range(6_001) for _ in range(3))

    assert taken <= 60 * per_second + max(1, per_second)
    assert taken >= 60 * per_second


def test_asking_when_it_is_ready_takes_nothing() -> None:
    pace = Pace(1, None, now=0.0)

    assert pace.ready_in(0.0) == 0
    assert pace.ready_in(0.0) == 0
    assert pace.take(0.0)


def test_without_a_time_the_waits_double_up_to_a_minute_and_start_anew_when_it_goes_well() -> None:
    pace, now, waits = Pace(100, None, 0.0), us(0), []
    for _ in range(9):
        pace.slow_down(None, 0.0, now)
        waits.append((pace.waits_until_us - now) // SECOND)
        now = pace.waits_until_us

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    pace.taken()
    pace.slow_down(None, 0.0, now)
    assert pace.waits_until_us == now + SECOND


def test_what_is_told_while_it_waits_does_not_make_the_wait_longer_unless_it_is() -> None:
    pace = Pace(100, None, 0.0)
    for _ in range(100):
        pace.slow_down(None, 0.0, us(0))
    assert pace.waits_until_us == us(0) + SECOND
    assert pace.rate == 50  # halved once, not a hundred times

    pace.slow_down(timedelta(seconds=5), 0.0, us(0))
    pace.slow_down(timedelta(seconds=2), 0.0, us(0))
    assert pace.waits_until_us == us(0) + 5 * SECOND


def test_each_slow_down_halves_the_rate_and_a_minute_without_one_gives_it_back() -> None:
    pace = Pace(120, None, 0.0)
    pace.slow_down(None, 0.0, us(0))
    assert pace.rate == 60

    # A sixtieth of 120 a second: 2 more requests a second, every second.
    pace.ready_in(10.0)
    assert pace.rate == pytest.approx(80)
    pace.ready_in(300.0)
    assert pace.rate == 120


def test_however_often_it_is_told_it_goes_on_asking() -> None:
    pace = Pace(100, None, 0.0)
    for number in range(50):
        pace.slow_down(timedelta(seconds=1), 0.0, us(0) + number * 2 * SECOND)

    assert pace.rate == 1  # a hundredth of the full rate


def test_the_rate_falls_with_what_is_left_of_an_allowance_and_comes_back_with_it() -> None:
    pace = Pace(100, None, 0.0)
    pace.used(60, 0.0)
    assert pace.rate == 100
    pace.used(90, 0.0)
    assert pace.rate == pytest.approx(40)  # 10 of the last 25 per cent are left
    pace.used(100, 0.0)
    assert pace.rate == 1
    pace.used(50, 0.0)
    pace.ready_in(60.0)

    assert pace.rate == 100


def test_a_rate_finds_the_platforms_own_limit_and_stays_near_it() -> None:
    """A platform that takes 40 a second and throttles above, asked for 100: simulated for ten minutes."""
    pace, now, taken, throttled = Pace(100, 5, 0.0), 0.0, 0, 0
    window: list[float] = []
    while now < 600:
        now += 0.005
        if us(0) + now * SECOND < pace.waits_until_us or not pace.take(now):
            continue
        window = [at for at in window if at > now - 1]
        if len(window) >= 40:
            throttled += 1
            pace.slow_down(timedelta(seconds=1), now, us(0) + int(now * SECOND))
        else:
            window.append(now)
            taken += 1
            pace.taken()

    assert throttled < taken / 100
    assert taken > 600 * 40 * 0.6
