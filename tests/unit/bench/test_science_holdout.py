"""Holdouts on made-up rounds of retargeting: the acceptance in small; `bench science` has the whole."""

import numpy as np
import pytest

from lendsignal.bench.science.holdout import DESIGNS, bias_of, false_alarms, promise_error
from lendsignal.simulate.worlds.retarget import Round, days_of, played


def test_watching_every_day_alarms_falsely_less_than_one_time_in_twenty_and_peeking_far_more() -> None:
    found = false_alarms(worlds=100, users=3_000)

    assert found["every_look"] <= 0.05
    assert found["peeking"] > 0.15


def test_reinstalls_and_new_phones_leave_the_estimate_where_it_was() -> None:
    found = bias_of(worlds=25)

    # 25 worlds: the mean error of an unbiased estimate lies within 0.6 standard errors 99.7 % of the time.
    assert abs(found["bias_se"]) < 0.6
    assert abs(found["bias_reached_se"]) < 0.6


def test_most_of_what_is_credited_to_the_ads_would_have_come_anyway() -> None:
    found = bias_of(worlds=5)

    assert found["attributed_incremental"] < 0.2
    assert found["attributed_first_install"] < 0.85  # the rest is lost with the old installation


@pytest.mark.parametrize("design", DESIGNS)
def test_what_is_promised_is_seen_within_a_tenth(design: tuple[int, float, float]) -> None:
    assert abs(promise_error(*design, rounds=4_000)) < 0.1


def test_the_round_is_what_it_says_it_is() -> None:
    one = Round(users=400_000, lift=0.5)
    told = played(one, np.random.default_rng(3))
    ours, theirs = told.came_back[told.treated], told.came_back[~told.treated]

    assert told.treated.mean() == pytest.approx(0.9, abs=0.002)
    assert theirs.mean() == pytest.approx(0.10 + 0.1 * told.truth_reached * 0.4, abs=0.005)
    assert told.reached[told.treated].mean() == pytest.approx(0.4, abs=0.005)
    # The held out are reached where they have a new phone: one in ten of those who would be.
    assert told.reached[~told.treated].mean() == pytest.approx(0.04, abs=0.004)
    assert ours.mean() - theirs.mean() == pytest.approx(told.truth, abs=4 * (0.1 / 40_000) ** 0.5)


def test_without_a_lift_nobody_comes_because_of_the_ads() -> None:
    told = played(Round(users=1_000, lift=0.0), np.random.default_rng(4))

    assert told.truth == 0.0
    assert told.incremental == 0.0


def test_a_round_is_its_seed() -> None:
    one, same = (played(Round(users=500), np.random.default_rng(5)) for _ in range(2))

    assert one.came_back.tolist() == same.came_back.tolist()
    assert days_of(50, 28, np.random.default_rng(6)).max() < 28
