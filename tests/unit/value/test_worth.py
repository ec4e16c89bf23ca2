"""A frozen model read with nothing but arithmetic: cells, trees, bins."""

from math import nan
from typing import Any

import lightgbm
import numpy as np
import pytest

from lendsignal.value import Facts, Promotion, Valuer
from lendsignal.value.boosting import trees_of
from lendsignal.value.worth import (
    SEPARATOR,
    Cell,
    Lookup,
    ScopeModel,
    Shipped,
    Shipping,
    Tree,
    Trees,
    ValueModel,
    Walk,
    hash_of,
    meant,
    score_of,
)

TABLE = Lookup(
    levels=("score", "term_days", "channel"),
    edges={"score v1": (600.0, 700.0)},
    cells={
        "": Cell(10.0, 1.0, 900),
        SEPARATOR + "score v1:2": Cell(30.0, 2.0, 300),
        SEPARATOR.join(("", "score v1:2", "14")): Cell(20.0, 3.0, 120),
        SEPARATOR.join(("", "score v1:2", "14", "meta")): Cell(25.0, 4.0, 60),
    },
)


@pytest.mark.parametrize(
    ("facts", "mean"),
    [
        ({"score v1": 700.0, "term_days": 14.0, "channel": "meta"}, 25.0),
        ({"score v1": 700.0, "term_days": 14.0, "channel": "never seen"}, 20.0),
        ({"score v1": 900.0, "term_days": 30.0, "channel": "meta"}, 30.0),
        ({"score v1": 699.9, "term_days": 14.0}, 10.0),
        ({"score v2": 900.0, "term_days": 14.0}, 10.0),
        ({}, 10.0),
    ],
)
def test_the_narrowest_cell_that_there_is_speaks(facts: Facts, mean: float) -> None:
    assert TABLE.cell(facts).mean == mean


STUMP = Tree(
    feature=(0, 1),
    threshold=(5.0, 0.0),
    places=((), (1,)),
    unknown_left=(True, False),
    left=(-1, -2),
    right=(1, -3),
    leaves=(1.0, 10.0, 100.0),
)


@pytest.mark.parametrize(
    ("facts", "leaf"),
    [
        ({"x": 5.0, "kind": "b"}, 1.0),
        ({"x": 5.1, "kind": "b"}, 10.0),
        ({"x": 5.1, "kind": "a"}, 100.0),
        ({"x": 5.1}, 100.0),
        ({"x": 5.1, "kind": "never seen"}, 100.0),
        ({"kind": "b"}, 1.0),
        ({"x": nan, "kind": "b"}, 1.0),
        ({"x": "a word", "kind": "b"}, 1.0),
    ],
)
def test_a_tree_leads_to_the_leaf_that_a_pencil_finds(facts: Facts, leaf: float) -> None:
    trees = Trees(numbers=("x",), words=(("kind", ("a", "b")),), trees=(STUMP, STUMP))

    assert Walk(trees).total(facts) == 2 * leaf


@pytest.mark.parametrize("gaps", [0.0, 0.2])
def test_trees_say_what_lightgbm_says_of_users_it_never_saw(gaps: float) -> None:
    chance = np.random.default_rng(4)
    matrix, target = rows(chance, 6_000, gaps)
    settings = {"num_leaves": 15, "verbosity": -1, "num_threads": 1, "min_data_in_leaf": 20, "seed": 1}
    data = lightgbm.Dataset(matrix, target, categorical_feature=[2], params=settings)
    booster: Any = lightgbm.train(settings, data, 60)
    walk = Walk(
        Trees(numbers=("x", "y"), words=(("kind", tuple("abcdefgh")),), trees=tuple(trees_of(booster)))
    )

    unseen, _ = rows(chance, 1_000, 0.3)
    expected = booster.predict(unseen)
    said = [walk.total(facts_of(row)) for row in unseen]
    assert said == pytest.approx(expected, rel=1e-9, abs=1e-9)


def rows(chance: np.random.Generator, n: int, gaps: float) -> tuple[Any, Any]:
    x, y, kind = chance.normal(size=n), chance.normal(size=n), chance.integers(0, 8, n)
    target = 3 * x + np.where(kind % 3 == 1, 5, -2) * (y > 0) + chance.normal(size=n)
    matrix = np.column_stack([x, y, kind.astype(np.float64)])
    matrix[chance.random((n, 3)) < gaps] = np.nan
    return matrix, target


def facts_of(row: Any) -> dict[str, str | float]:
    facts: dict[str, str | float] = {
        name: float(value) for name, value in zip(("x", "y"), row[:2], strict=True) if not np.isnan(value)
    }
    return facts if np.isnan(row[2]) else {**facts, "kind": "abcdefgh"[int(row[2])]}


def test_what_is_meant_lies_on_the_line_between_two_knots() -> None:
    knots = ((0.0, 10.0), (4.0, 30.0), (8.0, 31.0))

    assert [meant(said, knots) for said in (-1.0, 0.0, 1.0, 4.0, 6.0, 9.0)] == [10, 10, 15, 30, 30.5, 31]
    assert meant(7.5, ()) == 7.5


SHIPPING = Shipping(
    edges=(0.0, 12.0, 20.0), means=(6.0, 15.0, 27.0), parts=(0.3, 0.3, 0.2), scale=0.9, frozen_us=5
)


def promotion(**shipped: Any) -> Promotion:
    scope = ScopeModel(kind="lookup", learned="buckets", lookup=TABLE, shift=-11.0)
    model = ValueModel(
        version="m1", made_us=3, horizon_days=90.0, properties=(), scopes={"credit_granted": {"NGN": scope}}
    )
    told = Shipped(shipping=SHIPPING, **shipped)
    return Promotion(version="p1", made_us=7, model=model, shipped={"credit_granted": {"NGN": told}})


BEST: Facts = {"score v1": 710.0, "term_days": 14.0, "channel": "meta"}


def test_a_value_is_told_as_the_mean_of_its_bin() -> None:
    said = Valuer(promotion()).value("credit_granted", "NGN", BEST)

    assert said is not None
    assert (said.estimate, said.place, said.told) == (14.0, 1, 15.0)
    assert (said.model, said.currency, said.scale, said.facts) == ("p1", "NGN", 0.9, hash_of(BEST))


def test_nothing_is_told_of_who_is_worth_nothing() -> None:
    said = Valuer(promotion()).value("credit_granted", "NGN", {})

    assert said is not None
    assert (said.estimate, said.place, said.told) == (-1.0, -1, 0.0)


def test_a_currency_or_a_moment_that_nothing_was_learned_of_has_no_value() -> None:
    valuer = Valuer(promotion())

    assert valuer.value("credit_granted", "KES", BEST) is None
    assert valuer.value("disbursed", "NGN", BEST) is None
    assert valuer.value("credit_granted", None, BEST) is None


def test_a_campaign_with_a_factor_of_its_own_is_corrected_by_it() -> None:
    valuer = Valuer(promotion(factor=0.9, campaigns={"winter": 1.2}))

    plain = valuer.value("credit_granted", "NGN", BEST)
    winter = valuer.value("credit_granted", "NGN", {**BEST, "campaign": "winter"})
    assert plain is not None
    assert winter is not None
    assert [plain.estimate, winter.estimate] == pytest.approx([0.9 * 14, 1.2 * 14])


def test_the_hash_of_facts_goes_by_what_is_known_and_not_by_its_order() -> None:
    assert hash_of({"a": 1.0, "b": "x"}) == hash_of({"b": "x", "a": 1.0}) != hash_of({"a": 1.0})


def test_a_scope_without_trees_is_read_from_its_table() -> None:
    scope = ScopeModel(kind="trees", learned="buckets", lookup=TABLE)

    assert score_of(scope)(BEST) == 25.0
