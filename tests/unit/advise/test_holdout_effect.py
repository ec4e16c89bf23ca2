"""The effect of a measure, its interval, and what takes noise away."""

from math import exp, log, sqrt

import numpy as np
import pytest

from lendsignal.advise.holdout.effect import (
    Effect,
    adjusted,
    effect_of,
    foretold,
    half_width,
    incremental_cost,
    per_reached,
)

Y = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 0.0])
TREATED = np.array([True, True, True, True, False, False])


def effect(difference: float, se: float, treated: int = 1_000) -> Effect:
    return Effect(
        treated=treated,
        control=500,
        treated_mean=0.2,
        control_mean=0.1,
        difference=difference,
        se=se,
        low=difference - 2 * se,
        high=difference + 2 * se,
        ever_low=difference - 3 * se,
        ever_high=difference + 3 * se,
    )


def test_the_effect_is_the_difference_of_the_means_with_neymans_error() -> None:
    found = effect_of(np.append(Y, 1.0), np.append(TREATED, False))

    # 3/4 − 1/3; variances 1/4 of four and 1/3 of three.
    assert found.difference == pytest.approx(5 / 12)
    assert found.se == pytest.approx(sqrt(0.25 / 4 + (1 / 3) / 3))
    assert (found.treated, found.control) == (4, 3)
    assert found.high - found.low == pytest.approx(2 * 1.959964 * found.se)


def test_the_order_of_users_changes_nothing() -> None:
    rng = np.random.default_rng(5)
    y, treated, x = rng.random(500), rng.random(500) < 0.7, rng.random(500)
    order = rng.permutation(500)
    one, other = effect_of(y, treated, covariate=x), effect_of(y[order], treated[order], covariate=x[order])

    assert one.difference == pytest.approx(other.difference)
    assert one.se == pytest.approx(other.se)


def test_a_covariate_that_tells_half_of_the_variance_halves_it() -> None:
    rng = np.random.default_rng(6)
    x = rng.standard_normal(40_000)
    treated = rng.random(40_000) < 0.5
    y = x + rng.standard_normal(40_000) + 0.1 * treated
    plain, freed = effect_of(y, treated), effect_of(y, treated, covariate=x)

    assert freed.explained == pytest.approx(0.5, abs=0.02)
    assert (freed.se / plain.se) ** 2 == pytest.approx(0.5, abs=0.02)
    assert abs(freed.difference - 0.1) < 3 * freed.se


def test_the_slope_is_that_within_the_arms_so_that_the_effect_does_not_lean_on_it() -> None:
    # Within each arm the outcome does not depend on x at all; over both it seems to.
    x = np.array([0.0, 1.0, 0.0, 1.0, 10.0, 11.0, 10.0, 11.0])
    y = np.array([0.0, 0.0, 1.0, 1.0, 5.0, 5.0, 6.0, 6.0])
    treated = np.arange(8) >= 4

    freed, explained = adjusted(y, treated, x)

    assert explained == 0.0
    assert freed.tolist() == y.tolist()


def test_a_covariate_without_spread_changes_nothing() -> None:
    assert adjusted(Y, TREATED, np.ones(6))[0] is Y


def test_nobodys_own_outcome_enters_what_is_foretold_of_him() -> None:
    rng = np.random.default_rng(7)
    facts, y, fold = rng.standard_normal((60, 3)), rng.random(60), np.arange(60) % 2
    before = foretold(facts, y, fold)
    y[4] += 100.0
    after = foretold(facts, y, fold)

    assert after[4] == before[4]
    assert after[5] != before[5]


def test_chance_alone_explains_nothing_out_of_fold() -> None:
    rng = np.random.default_rng(8)
    facts, y, treated = rng.standard_normal((2_000, 8)), rng.random(2_000), rng.random(2_000) < 0.5
    _, explained = adjusted(y, treated, foretold(facts, y, np.arange(2_000) % 2))

    assert explained < 0.01


def test_the_sequence_is_as_wide_as_its_formula_says() -> None:
    # ρ² by a slow search for the narrowest at half of 8,000 users, in place of the fixed point.
    def width(t: float, rho2: float) -> float:
        return sqrt(2 * (t * rho2 + 1) / (t * t * rho2) * log(sqrt(t * rho2 + 1) / 0.05))

    rho2 = min((exp(step / 200) * 1e-5 for step in range(2_000)), key=lambda one: width(4_000, one))

    for t in (500, 4_000, 8_000):
        assert half_width(2.0, t, 8_000) == pytest.approx(2 * width(t, rho2), rel=1e-3)


def test_an_interval_for_every_look_is_wider_than_one_for_a_single_look() -> None:
    assert half_width(1.0, 8_000, 8_000) > 1.96 / sqrt(8_000)
    assert half_width(1.0, 8_000, 8_000) < 2 * 1.96 / sqrt(8_000)


def test_watching_a_null_effect_every_day_alarms_less_than_one_time_in_twenty() -> None:
    alarms, worlds, days = 0, 300, 28
    for number in range(worlds):
        rng = np.random.default_rng([9, number])
        y, treated = rng.random(2_800) < 0.05, rng.random(2_800) < 0.8
        looks = (
            effect_of(y[:end].astype(float), treated[:end], planned=2_800)
            for end in range(2_800 // days, 2_801, 2_800 // days)
        )
        alarms += any(look.seen(once=False) for look in looks)

    assert alarms / worlds <= 0.05


def test_an_arm_without_a_single_outcome_does_not_make_the_sequence_sure() -> None:
    y, treated = np.zeros(1_000), np.arange(1_000) >= 100
    y[100:127] = 1.0  # 3 % of the treated, and by chance nobody of a hundred held out

    found = effect_of(y, treated)

    assert found.low > 0
    assert not found.seen(once=False)


def test_the_effect_on_the_reached_is_the_difference_by_the_reach() -> None:
    found = per_reached(effect(0.02, 0.005), reach=0.5, reach_control=0.1)

    assert found.effect == pytest.approx(0.05)
    assert (found.low, found.high) == pytest.approx((0.025, 0.075))


def test_what_one_more_costs_is_the_spend_by_what_would_not_have_come() -> None:
    found = incremental_cost(600.0, effect(0.02, 0.005))

    # 0.02 · 1,000 = 20 more, from 10 to 30.
    assert (found.extra, found.each) == (20.0, 30.0)
    assert (found.low, found.high) == pytest.approx((20.0, 60.0))


def test_what_may_be_nothing_has_no_upper_cost() -> None:
    found = incremental_cost(600.0, effect(0.02, 0.02))

    assert found.each == 30.0
    assert found.high is None


def test_what_brought_nothing_has_no_cost_each() -> None:
    assert incremental_cost(600.0, effect(-0.02, 0.001)).each is None
