"""What platforms are told of a value."""

import numpy as np
import pytest

from lendsignal.value.shaping import shipping_of, spread_out
from lendsignal.value.users import DAY_US

VALUES = np.random.default_rng(2).normal(20, 25, 4_000)


def test_bins_hold_equally_many_users_and_are_told_as_rising_positive_values() -> None:
    found = shipping_of(VALUES, 0)

    assert found is not None
    assert len(found.means) == 8
    assert list(found.means) == sorted(found.means)
    assert found.means[0] > 0
    assert found.means[-1] / found.means[0] >= 3
    assert max(found.parts) - min(found.parts) < 0.01


def test_all_that_is_told_adds_up_to_all_that_is_predicted_losses_included() -> None:
    found = shipping_of(VALUES, 0)

    assert found is not None
    told = [found.means[place] if (place := found.bin(value)) >= 0 else 0.0 for value in VALUES]
    assert sum(told) == pytest.approx(VALUES.sum(), rel=1e-9)


def test_a_value_that_is_not_above_nothing_has_no_bin() -> None:
    found = shipping_of(VALUES, 0)

    assert found is not None
    assert [found.bin(value) for value in (-5.0, 0.0, 1e-9, 1e9)] == [-1, -1, 0, 7]


def test_one_whale_does_not_raise_the_highest_bin() -> None:
    with_whale = np.append(VALUES, 1e7)
    plain, found = shipping_of(VALUES, 0), shipping_of(with_whale, 0)

    assert plain is not None
    assert found is not None
    ratio = found.means[-1] / found.means[0]
    assert ratio == pytest.approx(plain.means[-1] / plain.means[0], rel=0.05)


def test_means_that_lie_close_together_are_drawn_apart_in_their_order() -> None:
    found = spread_out(np.array([10.0, 11.0, 12.5]))

    assert found[-1] / found[0] == pytest.approx(3.0)
    assert found.mean() == pytest.approx(33.5 / 3)
    assert list(found) == sorted(found)


def test_too_few_users_worth_something_are_not_told_of() -> None:
    assert shipping_of(np.append(np.full(5_000, -1.0), np.full(99, 7.0)), 0) is None


def test_a_new_model_is_laid_over_the_old_one_while_its_scale_is_frozen() -> None:
    old = shipping_of(VALUES, 0)
    twice_as_high = VALUES * 2 + 3

    found = shipping_of(twice_as_high, 27 * DAY_US, old)

    assert old is not None
    assert found is not None
    assert (found.means, found.scale, found.frozen_us) == (old.means, old.scale, 0)
    share = [sum(found.bin(value) == place for value in twice_as_high) for place in range(8)]
    assert max(share) - min(share) <= 2


def test_afterwards_what_a_bin_is_worth_moves_by_a_tenth_a_week_at_most() -> None:
    old = shipping_of(VALUES, 0)

    found = shipping_of(VALUES * 5, 28 * DAY_US, old)

    assert old is not None
    assert found is not None
    assert found.frozen_us == 28 * DAY_US
    assert found.means == pytest.approx([1.1**4 * mean for mean in old.means])
