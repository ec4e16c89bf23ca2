"""What a campaign's users bring beyond what their facts say, less what chance explains of it."""

import numpy as np
import pytest
from msgspec.structs import replace

from lendsignal.simulate.worlds.value import world
from lendsignal.value.campaigns import AT_MOST, Left, drawn, left_over, slope
from lendsignal.value.training import Learning, learned, values_of
from lendsignal.value.users import Word
from lendsignal.value.worth import Cell, GrantChance, Lookup, ScopeModel, Tree, Trees, score_of


def left(over: list[float], said: list[float], campaign: list[int]) -> Left:
    return Left(np.array(over), np.array(said), np.array(campaign))


def test_a_campaign_is_drawn_as_a_pencil_draws_it() -> None:
    """Of two campaigns of four users 3 more and 3 less came than was said.

    s² = 8/6, τ² = (72 − 8/6)/8 = 8.833, Z = 4/(4 + 1.333/8.833) = 0.9636.
    """
    over = np.array([2.0, 4, 2, 4, -2, -4, -2, -4])
    place = np.repeat([0, 1], 4)

    assert drawn(over, place, 3).tolist() == pytest.approx([2.8909, -2.8909, 0.0], abs=1e-4)


def test_campaigns_that_differ_by_chance_alone_are_all_alike() -> None:
    over = np.array([2.0, -2, 3, -3, 1, -1, 2, -2])

    assert drawn(over, np.repeat([0, 1], 4), 2).tolist() == [0, 0]


def test_a_campaign_moves_no_value_by_more_than_three_tenths() -> None:
    far = left([20.0, 24, 20, 24, -20, -24, -20, -24], [10.0] * 4 + [30.0] * 4, [0] * 4 + [1] * 4)

    assert left_over([far], 2).tolist() == pytest.approx([AT_MOST * 10, -AT_MOST * 30])


def test_parts_of_the_horizon_add_up_and_nobody_counts_who_names_no_campaign() -> None:
    one = left([2.0, 4, 2, 4, -2, -4, -2, -4, 900], [100.0] * 9, [0] * 4 + [1] * 4 + [-1])

    assert left_over([one, one], 2).tolist() == pytest.approx([5.7818, -5.7818], abs=2e-4)


def test_what_is_known_of_grants_foretells_what_is_not_known_of_value() -> None:
    """Three campaigns of 100: where a tenth more are granted, each brings 2 more, and the other way round."""
    hint, n = np.array([0.1, -0.1, 0.0]), np.full(3, 100.0)

    assert slope(hint, np.array([200.0, -200, 0]), n) == pytest.approx(20)
    # A third campaign that fits in nowhere: se² = (100 · 9 / 2) / 2 = 225 of b² = 400.
    assert slope(hint, np.array([200.0, -200, 300]), n) == pytest.approx(20 * (1 - 225 / 400))
    # Two campaigns say nothing of a slope, and no hint says nothing at all.
    assert slope(hint[:2], np.array([200.0, -200]), n[:2]) == 0
    assert slope(np.zeros(3), np.array([200.0, -200, 0]), n) == 0


def test_what_grants_foretell_is_not_added_a_second_time() -> None:
    """Each of 30 users of three campaigns brings 2 more, 2 less and just what was said: 20 times the hint."""
    over = np.concatenate([np.full(30, 2.0) + np.tile([1, -1], 15), np.full(30, -2.0), np.zeros(30)])
    part = Left(over, np.full(90, 50.0), np.repeat([0, 1, 2], 30))

    found = left_over([part], 3, np.array([0.1, -0.1, 0.0]))

    assert found.tolist() == pytest.approx([2, -2, 0])


def test_neither_the_order_of_users_nor_a_campaign_without_users_changes_what_is_left() -> None:
    chance = np.random.default_rng(9)
    place = chance.integers(0, 5, 400)
    over, said = chance.normal(size=400) + place, np.full(400, 50.0)
    order = chance.permutation(400)

    found = left_over([Left(over, said, place)], 5)

    assert left_over([Left(over[order], said[order], place[order])], 5) == pytest.approx(found)
    assert left_over([Left(over, said, place)], 7).tolist() == pytest.approx([*found, 0.0, 0.0])


def test_a_decision_adds_what_its_campaign_has_and_nothing_for_one_never_seen() -> None:
    bare = Trees(numbers=(), words=(), trees=(Tree((), (), (), (), (), (), (40.0,)),))
    model = ScopeModel(
        kind="trees",
        learned="buckets",
        lookup=Lookup(levels=(), edges={}, cells={"": Cell(0.0, 1.0, 9)}),
        trees=bare,
        campaigns={"spring": 6.0, "autumn": -5.0},
        grant=GrantChance(
            lookup=Lookup(levels=(), edges={}, cells={"": Cell(0.0, 1.0, 9)}),
            # The logistic of 0 is a half.
            trees=Trees(numbers=(), words=(), trees=(Tree((), (), (), (), (), (), (0.0,)),)),
            campaigns={"spring": 0.1, "autumn": -0.7},
        ),
    )

    score = score_of(model)

    assert score({}) == score({"campaign": "never seen"}) == 20
    assert score({"campaign": "spring"}) == pytest.approx(0.6 * 46)
    assert score({"campaign": "autumn"}) == 0  # a chance is never below 0
    assert score_of(replace(model, grant=None))({"campaign": "autumn"}) == 35


def test_trees_learn_nothing_of_the_campaign_and_what_it_leaves_over_is_added() -> None:
    """Of users who are alike in all else, half came by a campaign whose loans bring 8 more each."""
    plain = world(41, 4_000, 10, history_days=300.0).users
    good = np.random.default_rng(2).random(len(plain)) < 0.5
    campaign = Word(good.astype(np.int64), ("autumn", "spring"), plain.at_us)
    result = plain.loans.result + 8 * good[plain.loans.user]
    users = replace(
        plain, words={**plain.words, "campaign": campaign}, loans=replace(plain.loans, result=result)
    )

    found = learned(users, Learning(horizon_days=90.0), np.random.default_rng(5)).of("trees")

    assert found.trees is not None
    assert "campaign" not in {name for name, _ in found.trees.words}
    said = values_of(found, users)
    # Two loans each: 16 more in truth, and not all of that by the bound of three tenths.
    assert found.campaigns["spring"] > 2 > -2 > found.campaigns["autumn"]
    assert abs(found.campaigns["spring"]) <= AT_MOST * said[good].mean()
