"""What a week's count of an event says of profit, and how many conversions a platform needs, by ad sets."""

import numpy as np
import pytest

from lendsignal.advise.half import LEAST_AD_SETS, half_learned
from lendsignal.advise.surrogacy import LEAST_GROUPS, Surrogacy, surrogacy

SEED = 7


def campaigns(number: int, installs: int, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Campaigns whose loans per install differ; profit is 40 a loan, and `noise` that no loan tells of."""
    rng = np.random.default_rng(SEED)
    groups = np.repeat(np.arange(number), installs)
    rate = rng.uniform(0.05, 0.25, number)
    other = noise * rng.standard_normal(number)
    loan = rng.random(len(groups)) < rate[groups]
    blind = rng.random(len(groups)) < 0.3
    profit = 40.0 * loan + other[groups] + 20 * rng.standard_normal(len(groups))
    return groups, np.column_stack([loan, blind]).astype(float), profit


def test_an_event_whose_rate_tells_a_campaigns_profit_is_found_with_its_price() -> None:
    found = surrogacy(*campaigns(60, 2_000, noise=0.0))

    assert found is not None
    assert found.groups == 60
    assert found.r2[0] > 0.95
    assert found.slope[0] == pytest.approx(40.0, rel=0.05)
    # Rates from 5 to 25 % are spread by .2/√12, at 40 a loan.
    assert found.between == pytest.approx((40 * 0.2) ** 2 / 12, rel=0.35)
    assert found.r2[1] < 0.5


def test_what_no_loan_tells_of_stays_untold_however_many_installs_there_are() -> None:
    noisy = surrogacy(*campaigns(60, 2_000, noise=4.0))

    assert noisy is not None
    assert noisy.r2[0] < 0.7
    assert noisy.errors(1e9)[0] == pytest.approx(np.sqrt((1 - noisy.r2[0]) * noisy.between))


def test_the_error_of_a_week_is_that_of_the_formula() -> None:
    one = Surrogacy(
        r2=np.array([0.75]), slope=np.array([30.0]), within=np.array([0.16]), between=4.0, groups=9
    )

    # (1 − .75)·4 + 30²·.16/400 = 1 + .36.
    assert one.errors(400.0).tolist() == pytest.approx([np.sqrt(1.36)])


def test_few_campaigns_and_campaigns_that_do_not_differ_say_nothing() -> None:
    assert surrogacy(*campaigns(LEAST_GROUPS - 1, 500, noise=0.0)) is None
    groups, signals, profit = campaigns(30, 100, noise=0.0)
    rng = np.random.default_rng(3)
    silent = sum(surrogacy(rng.permutation(groups), signals, profit) is None for _ in range(20))
    assert silent >= 5  # by chance campaigns seem to differ about every second time
    assert surrogacy(np.full(len(groups), -1), signals, profit) is None


def ad_sets(number: int, k: float, noise: float, seed: int = SEED) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    n, rho = rng.uniform(5, 900, number), rng.uniform(0.3, 0.9, number)
    earned = -1.0 + 2.5 * rho * np.sqrt(n / (n + k)) + noise * rng.standard_normal(number)
    return n, rho, earned, np.full(number, noise)


@pytest.mark.parametrize("k", [40.0, 100.0, 300.0])
def test_half_learned_is_found_out_of_what_ad_sets_earned(k: float) -> None:
    found = half_learned(*ad_sets(80, k, noise=0.05))

    assert found is not None
    assert found.ad_sets == 80
    assert found.low / 1.3 <= k <= found.high * 1.3
    assert found.k == pytest.approx(k, rel=0.5)


def test_few_ad_sets_and_loud_luck_leave_it_unknown() -> None:
    assert half_learned(*ad_sets(LEAST_AD_SETS - 1, 100.0, noise=0.01)) is None
    loud = [half_learned(*ad_sets(25, 100.0, noise=2.0, seed=seed)) for seed in range(30)]
    assert sum(one is None for one in loud) >= 20


def test_ad_sets_that_gained_nothing_do_not_say_how_they_learned() -> None:
    n, rho, earned, error = ad_sets(40, 100.0, noise=0.05)

    assert half_learned(n, rho, -earned, error) is None
