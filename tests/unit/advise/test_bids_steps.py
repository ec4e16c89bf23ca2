"""By how much budgets move: each guard-rail by itself, and what targets come to."""

import numpy as np
import pytest

from lendsignal.advise.bids.posterior import Floats, Posterior
from lendsignal.advise.bids.returns import Bought, Terms, profit, returns, target_cpa, target_roas
from lendsignal.advise.bids.steps import SAYS, Guards, Standing, Step, retargeting_share, steps

DRAWS = 1_000


def around(roi: float, spread: float = 0.05) -> Floats:
    """Draws of one campaign's return."""
    return np.random.default_rng(3).normal(roi, spread, DRAWS)


def campaign(
    budget: float = 100,
    base: float = 100,
    *,
    days_running: int = 90,
    conversions: int = 500,
    days_since_step: int | None = None,
    is_retargeting: bool = False,
) -> Standing:
    return Standing(
        budget=budget,
        base=base,
        days_running=days_running,
        conversions=conversions,
        days_since_step=days_since_step,
        is_retargeting=is_retargeting,
    )


def alone(one: Standing, draws: Floats, guards: Guards | None = None, exposure: float = 200) -> Step:
    """The step of one campaign whose move the plan has room for."""
    (found,) = steps([one], draws[None, :], np.array([exposure]), guards or Guards(total=10.0))
    return found


def test_the_wanted_multiplier_is_the_root_of_the_return_over_its_target() -> None:
    found = alone(campaign(), around(1.21))

    assert found.wanted == pytest.approx(1.1, abs=0.002)
    assert found.multiplier == pytest.approx(found.wanted)
    assert found.guard == ""
    assert found.roi_low < found.roi < found.roi_high


@pytest.mark.parametrize(("roi", "multiplier"), [(4.0, 1.2), (0.1, 0.8), (-2.0, 0.8)])
def test_no_step_is_longer_than_a_fifth(roi: float, multiplier: float) -> None:
    found = alone(campaign(), around(roi))

    assert found.multiplier == pytest.approx(multiplier)
    assert found.guard == "step"


def test_without_a_sure_side_nothing_moves() -> None:
    # A return of 1.1 ± 0.2 is above 1 with probability 0.69, one of 1.1 ± 0.1 with 0.84.
    unsure, sure = alone(campaign(), around(1.1, 0.2)), alone(campaign(), around(1.1, 0.1))

    assert (unsure.multiplier, unsure.guard) == (1.0, "unsure")
    assert unsure.sure == pytest.approx(0.69, abs=0.03)
    assert sure.multiplier == pytest.approx(1.1**0.5, abs=0.01)


@pytest.mark.parametrize(
    ("one", "guard"),
    [
        (campaign(days_running=5, conversions=20), "learning"),
        (campaign(days_since_step=6), "too_soon"),
        (campaign(budget=0), "no_spend"),
    ],
)
def test_who_must_rest_stays(one: Standing, guard: str) -> None:
    found = alone(one, around(3.0))

    assert (found.multiplier, found.guard) == (1.0, guard)


@pytest.mark.parametrize(
    "one",
    [
        campaign(days_running=5, conversions=50),
        campaign(days_running=14, conversions=2),
        campaign(days_since_step=7),
    ],
)
def test_who_has_rested_moves(one: Standing) -> None:
    assert alone(one, around(3.0)).multiplier == pytest.approx(1.2)


def test_a_step_of_less_than_3_percent_is_no_edit() -> None:
    found = alone(campaign(), around(1.04, 0.01))

    assert (found.multiplier, found.guard) == (1.0, "small")


def test_the_budget_stays_between_three_tenths_and_three_times_its_base() -> None:
    low = alone(campaign(budget=35, base=100), around(0.1))
    high = alone(campaign(budget=280, base=100), around(5))
    below = alone(campaign(budget=20, base=100), around(0.1))

    assert low.multiplier * 35 == pytest.approx(30)
    assert high.multiplier * 280 == pytest.approx(300)
    assert (low.guard, high.guard) == ("floor", "cap")
    # What is below the floor already is not raised for it.
    assert below.multiplier == 1.0


def test_all_budgets_together_stay_within_a_tenth_of_the_plan() -> None:
    standing = [campaign(100), campaign(100), campaign(100)]
    up = steps(standing, np.stack([around(4)] * 3), np.full(3, 200.0), Guards())
    down = steps(standing, np.stack([around(0.1)] * 3), np.full(3, 200.0), Guards())
    mixed = steps(standing, np.stack([around(4), around(1.0), around(0.1)]), np.full(3, 200.0), Guards())

    assert [one.multiplier for one in up] == pytest.approx([1.1] * 3)
    assert [one.multiplier for one in down] == pytest.approx([0.9] * 3)
    assert {one.guard for one in (*up, *down)} == {"total"}
    assert [one.multiplier for one in mixed] == pytest.approx([1.2, 1.0, 0.8])


def test_a_plan_that_is_overspent_leaves_no_room_for_raises() -> None:
    found = steps([campaign(100), campaign(100)], np.stack([around(4)] * 2), np.full(2, 200.0), Guards(), 150)

    assert [one.multiplier for one in found] == [1.0, 1.0]


def test_what_surely_loses_half_is_proposed_to_be_paused_once_it_is_known_from_50_loans() -> None:
    assert alone(campaign(), around(0.2)).pause
    assert not alone(campaign(), around(0.2), exposure=49).pause
    assert not alone(campaign(), around(0.5, 0.1)).pause


def test_retargeting_is_not_raised_by_the_returns_that_it_is_credited_with() -> None:
    standing = [campaign(950), campaign(50, is_retargeting=True)]
    found = steps(standing, np.stack([around(1.0), around(9)]), np.full(2, 200.0), Guards(retargeting=0.05))

    assert (found[1].multiplier, found[1].guard) == (1.0, "retargeting")


def test_retargeting_beyond_its_share_is_cut_towards_it() -> None:
    standing = [campaign(900), campaign(100, is_retargeting=True)]

    def multiplier(share: float) -> float:
        draws = np.stack([around(1.0), around(9)])
        return steps(standing, draws, np.full(2, 200.0), Guards(retargeting=share))[1].multiplier

    # 5 % of what is then left: 900 · 5 / 95 = 47, but a step is a fifth at most. 9 %: 900 · 9 / 91 = 89.
    assert multiplier(0.05) == pytest.approx(0.8)
    assert multiplier(0.09) == pytest.approx(0.89, abs=0.001)


def test_only_a_holdout_raises_the_share_of_retargeting() -> None:
    guards = Guards(target=1.2, retargeting=0.1)

    assert retargeting_share(guards, None) == 0.1
    assert retargeting_share(guards, 1.1) == 0.1
    assert retargeting_share(guards, 1.3) == pytest.approx(0.12)


def test_every_guard_is_said_in_words() -> None:
    assert all(words for words in SAYS.values())


def test_profit_is_income_less_losses_and_costs() -> None:
    lost = Posterior(
        mean=np.array([0.1]), draws=np.array([[0.0, 0.1, 0.5]]), exposure=np.ones(1), bad=np.zeros(1)
    )
    found = profit(lost, Terms(income=np.array([300.0]), loss=np.array([1_000.0]), cost=np.array([20.0])))

    assert found.tolist() == [[280.0, 180.0, -220.0]]


def test_the_return_is_profit_times_loans_over_spend_and_unsure_of_few_loans() -> None:
    profits = np.full((3, 4_000), 50.0)
    bought = Bought(spend=np.array([1_000.0, 100, 0]), loans=np.array([40.0, 4, 4]))
    many, few, none = returns(profits, bought, np.random.default_rng(1))

    # Half a loan more is what a gamma distribution adds to the mean.
    assert many.mean() == pytest.approx(50 * 40.5 / 1_000, rel=0.02)
    assert few.mean() == pytest.approx(50 * 4.5 / 100, rel=0.03)
    assert few.std() / few.mean() > 2 * many.std() / many.mean()
    assert np.isnan(none).all()


def test_a_loan_may_cost_the_lower_quartile_of_its_profit_less_the_margin() -> None:
    profits = np.array([[100.0, 200, 300, 400, 500], [-9, -8, -7, -6, -5]])
    cpa = target_cpa(profits, 0.25)

    # The lower quartile of 100 … 500 is 200.
    assert cpa[0] == pytest.approx(200 / 1.25)
    assert np.isnan(cpa[1])
    assert target_roas(np.array([400.0, 400]), cpa)[0] == pytest.approx(2.5)
