"""What young vintages come to, beside slow obvious versions and worlds whose truth is known."""

import numpy as np
import pytest

from lendsignal.report.development import NEVER, Curve, Group, curve_of, developed


def slow_curve(bad_at: list[int], seen: list[int], ages: range) -> list[float]:
    """The product of the shares that stay well, age by age."""
    well, known = 1.0, []
    for age in ages:
        at_risk = [one for one, until in zip(bad_at, seen, strict=True) if until >= age and one >= age]
        went = [one for one in at_risk if one == age]
        well *= 1 - len(went) / max(len(at_risk), 1)
        known.append(1 - well)
    return known


def test_the_curve_is_that_of_a_loan_by_loan_count() -> None:
    rng = np.random.default_rng(3)
    seen = rng.integers(-20, 80, 400)
    bad = np.where(rng.random(400) < 0.4, rng.integers(-5, 60, 400), NEVER)
    bad = np.where(bad <= seen, bad, NEVER)

    curve = curve_of(bad, seen)

    assert curve is not None
    expected = slow_curve(bad.tolist(), seen.tolist(), range(curve.first, curve.first + len(curve.share)))
    assert curve.share == pytest.approx([one / expected[-1] for one in expected])
    assert curve.bad == int((bad < NEVER).sum())


def test_the_curve_ends_where_fewer_than_30_loans_are_seen() -> None:
    seen = np.array([50] * 29 + [40] * 71)
    bad = np.array([10] * 30 + [NEVER] * 70)

    curve = curve_of(bad, seen)

    assert curve is not None
    assert curve.first + len(curve.share) - 1 == 40


def test_before_its_first_age_nothing_is_known_and_after_its_last_everything() -> None:
    curve = Curve(first=1, share=(0.25, 1.0), bad=40)

    assert curve.at(np.array([-3, 0, 1, 2, 99])).tolist() == [0, 0, 0.25, 1, 1]


def test_there_is_no_curve_from_few_bad_loans_or_from_loans_that_are_not_due_yet() -> None:
    assert curve_of(np.array([5] * 29 + [NEVER] * 100), np.array([60] * 129)) is None
    assert curve_of(np.array([-5] * 40 + [NEVER] * 100), np.array([0] * 140)) is None
    assert curve_of(np.array([], dtype=np.int64), np.array([], dtype=np.int64)) is None


def test_a_mature_group_comes_to_what_it_is() -> None:
    (one, _) = developed([Group(200, 30, 200.0), Group(100, 10, 60.0)])

    assert one.final == one.final_low == one.final_high == 0.15


def test_a_group_without_any_age_comes_to_the_rate_of_all() -> None:
    *_, young = developed([Group(1_000, 100, 1_000.0), Group(1_000, 100, 1_000.0), Group(50, 0, 0.0)])

    assert young.rate == pytest.approx(0.1, abs=0.001)
    assert young.final_low < 0.06
    assert young.final_high > 0.14


def test_many_loans_outweigh_the_others_and_few_do_not() -> None:
    others = [Group(1_000, bad, 1_000.0) for bad in (60, 80, 100, 120, 140)]
    *_, many, few = developed([*others, Group(5_000, 1_000, 5_000.0), Group(20, 4, 20.0)])

    # Both lost one in five; of the twenty that may well be chance.
    assert many.rate == pytest.approx(0.2, abs=0.005)
    assert 0.1 < few.rate < 0.18


def test_the_same_groups_are_developed_alike_every_time() -> None:
    groups = [Group(100, 5, 60.0), Group(80, 9, 70.0)]

    assert developed(groups) == developed(groups)
    assert developed([]) == []


@pytest.mark.parametrize("loans", [25, 100])
def test_intervals_hold_the_truth_about_as_often_as_they_say(loans: int) -> None:
    """Campaigns whose logits spread by 0.35 around a rate of 0.14, developed at 20 to 100 % of maturity."""
    rng = np.random.default_rng(1)
    hit_rate = hit_final = total = 0
    for _ in range(30):
        logits = np.log(0.14 / 0.86) + 0.35 * rng.standard_normal(25)
        rates = 1 / (1 + np.exp(-logits))
        known = rng.uniform(0.2, 1.0, 25)
        ever = rng.binomial(loans, rates)
        bad = rng.binomial(ever, known)
        groups = [Group(loans, int(k), float(f * loans)) for k, f in zip(bad, known, strict=True)]
        for one, rate, finally_ in zip(developed(groups), rates, ever / loans, strict=True):
            hit_rate += one.rate_low <= rate <= one.rate_high
            hit_final += one.final_low <= finally_ <= one.final_high
            total += 1

    assert 0.92 <= hit_rate / total <= 0.99
    assert 0.92 <= hit_final / total <= 1.0


def test_blended_rates_are_nearer_the_truth_than_chain_ladder() -> None:
    rng = np.random.default_rng(2)
    blended = ladder = 0.0
    for _ in range(40):
        rates = 1 / (1 + np.exp(-(np.log(0.14 / 0.86) + 0.35 * rng.standard_normal(25))))
        known = rng.uniform(0.2, 1.0, 25)
        bad = rng.binomial(rng.binomial(25, rates), known)
        groups = [Group(25, int(k), float(f * 25)) for k, f in zip(bad, known, strict=True)]
        found = np.array([one.rate for one in developed(groups)])
        blended += float(((found - rates) ** 2).mean())
        ladder += float(((bad / (25 * known) - rates) ** 2).mean())

    # at least 40 % smaller root mean square error
    assert (blended / ladder) ** 0.5 <= 0.6
