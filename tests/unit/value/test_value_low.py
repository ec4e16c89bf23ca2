"""The cautious side of a value: what three users in ten bring less than, of all of whom as much is said."""

from datetime import timedelta
from functools import cache
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from lendsignal.simulate.worlds.value import World, at_first_loan, world
from lendsignal.value import Valuer
from lendsignal.value.gates import Trial
from lendsignal.value.low import Held, bands_of, held, lows_of, spreads_of
from lendsignal.value.making import made
from lendsignal.value.settings import WorthSettings
from lendsignal.value.training import Candidates, Learning, learned, values_of
from lendsignal.value.users import DAY_US, Floats, Users
from lendsignal.value.worth import (
    Band,
    Cell,
    Lookup,
    Promotion,
    ScopeModel,
    Shipped,
    Shipping,
    ValueModel,
)

LEARNING = Learning(horizon_days=90.0)


@cache
def lender() -> World:
    return at_first_loan(world(51, 30_000, 60_000))


@cache
def models() -> Candidates:
    return learned(lender().users, LEARNING, np.random.default_rng(5))


def brought() -> tuple[Users, Floats]:
    """Borrowers whom nothing was learned from, and what each brought."""
    return lender().others, lender().value


def test_the_low_side_is_the_number_that_a_pencil_finds() -> None:
    """Two bands of 200. Of the first 50 bring nothing and the rest 14; of the second 80 lose 90."""
    said = np.arange(1.0, 401.0)
    came = np.concatenate([np.zeros(50), np.full(150, 14.0), np.full(80, -90.0), np.full(120, 30.0)])

    bands = bands_of(said, came)

    # A quarter brings less than 14, and three quarters no less. In the second band two in five lose 90, but
    # of whom more is said no less is said on the low side.
    assert [(band.said, band.low) for band in bands] == [(1.0, 14.0), (200.5, 14.0)]
    # √(0.25·0.75)·14 and √(0.4·0.6)·120.
    assert [band.sd for band in bands] == pytest.approx([6.0622, 58.7878], abs=1e-3)
    assert lows_of(bands, np.array([-5.0, 300.0])).tolist() == [14.0, 14.0]
    assert spreads_of(bands, np.array([-5.0, 300.0])).tolist() == pytest.approx([6.0622, 58.7878], abs=1e-3)


def test_of_fewer_users_than_make_a_band_nothing_is_said() -> None:
    assert bands_of(np.arange(199.0), np.arange(199.0)) == ()
    assert np.isnan(lows_of((), np.array([1.0]))).all()
    assert held(lows_of((), np.array([1.0])), np.array([1.0])) is None


def test_neither_the_order_of_users_nor_a_common_unit_changes_the_bands() -> None:
    chance = np.random.default_rng(3)
    said, order = chance.normal(10, 5, 3_000).round(2), chance.permutation(3_000)
    came = said + chance.normal(0, 20, 3_000).round(1)

    bands = bands_of(said, came)

    assert len(bands) == 15
    assert [band.low for band in bands_of(said[order], came[order])] == [band.low for band in bands]
    assert [band.low for band in bands_of(said, 7 * came)] == pytest.approx([7 * band.low for band in bands])


@pytest.mark.parametrize("kind", ["trees", "lookup"])
def test_three_in_ten_of_users_never_seen_bring_less(kind: Any) -> None:
    """V stands on single numbers: below it are three in ten at most, at or below it three in ten at least."""
    model, (others, came) = models().of(kind), brought()

    low = lows_of(model.bands, values_of(model, others))

    found = held(low, came)
    assert found is not None
    assert found.below <= 0.3 + 0.01
    assert found.at_or_below >= 0.3 - 0.01
    # It tells users apart: of the worst a loan is lost, of the best more than a fee comes.
    assert low.min() < -50
    assert low.max() >= 14


def test_the_low_side_costs_less_by_its_own_measure_than_one_number_for_all() -> None:
    model, (others, came) = models().of("trees"), brought()
    low = lows_of(model.bands, values_of(model, others))

    def loss(low: Any) -> float:
        return float(np.mean(np.maximum(0.3 * (came - low), -0.7 * (came - low))))

    assert loss(low) < loss(np.quantile(came, 0.3)) - 0.2


@pytest.mark.parametrize(
    ("below", "at_or_below", "holds"),
    [(0.29, 0.31, True), (0.1, 0.6, True), (0.34, 0.6, False), (0.1, 0.26, False), (0.325, 0.5, True)],
)
def test_the_low_side_is_met_where_three_in_ten_is_between_the_two(
    below: float, at_or_below: float, holds: bool
) -> None:
    assert Held(users=10_000, below=below, at_or_below=at_or_below).holds is holds


def test_of_few_users_chance_is_forgiven() -> None:
    """2·√(0.21/100) = 0.092."""
    assert Held(users=100, below=0.39, at_or_below=0.5).holds
    assert not Held(users=100, below=0.40, at_or_below=0.5).holds


def test_the_low_side_is_told_where_later_users_met_it_and_nowhere_else() -> None:
    """From the day on that the trial begins, every loan of the second lender brings 60 less."""
    steady = at_first_loan(world(52, 9_000, 10, history_days=300.0)).users
    known = steady.at_us[~np.isnan(steady.value(90.0))]
    late = steady.at_us > known.max() - 14 * DAY_US - 1
    worse = steady.loans.result - 60 * late[steady.loans.user]
    fallen = replace(steady, loans=replace(steady.loans, result=worse))

    (model, trial), (broken, its_trial) = map(tried_and_made, (steady, fallen))

    assert trial.low is not None
    assert trial.low.holds
    assert len(model.bands) > 1
    assert its_trial.low is not None
    assert its_trial.low.below > 0.4
    assert broken.bands == ()


def tried_and_made(users: Users) -> tuple[ScopeModel, Trial]:
    found = made({"disbursed": {"NGN": users}}, WorthSettings(grace=timedelta(0)), 1)
    (one,) = found.evidence
    assert one.trial is not None
    return found.model.scopes["disbursed"]["NGN"], one.trial


# what is told of it


def valuer(*bands: Band, factor: float = 1.0) -> Valuer:
    """Everybody is worth 40 and told as 30."""
    table = Lookup(levels=(), edges={}, cells={"": Cell(40.0, 1.0, 9)})
    scope = ScopeModel(kind="lookup", learned="buckets", lookup=table, bands=bands)
    scopes: Any = {"disbursed": {"NGN": scope}}
    model = ValueModel(version="m", made_us=1, horizon_days=90, properties=(), scopes=scopes)
    shipping = Shipping(edges=(0.0,), means=(30.0,), parts=(1.0,), scale=0.75, frozen_us=1)
    shipped: Any = {"disbursed": {"NGN": Shipped(shipping=shipping, factor=factor)}}
    return Valuer(Promotion(version="p", made_us=1, model=model, shipped=shipped))


@pytest.mark.parametrize(
    ("low", "factor", "told"),
    [
        (14.0, 1.0, 14.0),
        # Earlier users brought a fifth less than was said.
        (14.0, 0.8, 11.2),
        # Never more than the value itself, never less than nothing.
        (35.0, 1.0, 30.0),
        (-90.0, 1.0, 0.0),
    ],
)
def test_the_low_side_is_told_within_nothing_and_the_value(low: float, factor: float, told: float) -> None:
    said = valuer(Band(0.0, 1.0, 5.0), Band(40.0, low, 5.0), factor=factor).value("disbursed", "NGN", {})

    assert said is not None
    assert said.low == pytest.approx(told)


def test_a_model_without_bands_tells_no_low_side() -> None:
    said = valuer().value("disbursed", "NGN", {})

    assert said is not None
    assert (said.told, said.low) == (30.0, None)
