"""What an applicant is worth before anybody decided: how likely a grant is, times what the granted bring."""

from functools import cache
from math import exp
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from lendsignal.simulate.worlds.value import World, applicants
from lendsignal.value import Facts, Valuer
from lendsignal.value.gates import tried
from lendsignal.value.judging import judged, normalised_gini
from lendsignal.value.training import Candidates, Learning, chances_of, learned, values_of
from lendsignal.value.users import DAY_US, Leak, Number
from lendsignal.value.worth import (
    SEPARATOR,
    Cell,
    GrantChance,
    Lookup,
    Promotion,
    ScopeModel,
    Shipped,
    Shipping,
    Tree,
    Trees,
    ValueModel,
    score_of,
)

LEARNING = Learning(horizon_days=90.0)


@cache
def made() -> World:
    return applicants(31, 20_000, 60_000)


@cache
def models() -> Candidates:
    return learned(made().users, LEARNING, np.random.default_rng(5))


def table(**cells: float) -> Lookup:
    """A look-up by channel."""
    known = {"" if name == "all" else SEPARATOR + name: Cell(mean, 1.0, 9) for name, mean in cells.items()}
    return Lookup(levels=("channel",), edges={}, cells=known)


@pytest.mark.parametrize(
    ("facts", "value"),
    [
        # A quarter of meta's applicants is granted and brings 80 each; of the others each brings 2.
        ({"channel": "meta"}, 0.25 * 80 + 0.75 * 2),
        ({"channel": "never seen"}, 0.5 * 60 + 0.5 * 2),
        ({}, 0.5 * 60 + 0.5 * 2),
    ],
)
def test_an_applicant_is_worth_what_a_pencil_says(facts: Facts, value: float) -> None:
    model = ScopeModel(
        kind="lookup",
        learned="buckets",
        lookup=table(all=60.0, meta=80.0),
        grant=GrantChance(lookup=table(all=0.5, meta=0.25)),
        otherwise=2.0,
    )

    assert score_of(model)(facts) == pytest.approx(value)


def test_trees_of_the_chance_add_up_to_its_logit() -> None:
    stump = Tree((0,), (5.0,), ((),), (True,), (-1,), (-2,), (-1.0, 0.75))
    trees = Trees(numbers=("amount",), words=(), trees=(stump, stump))
    model = ScopeModel(
        kind="lookup",
        learned="buckets",
        lookup=table(all=100.0),
        grant=GrantChance(lookup=table(all=0.5), trees=trees),
    )

    assert score_of(model)({"amount": 4.0}) == pytest.approx(100 / (1 + exp(2)))
    assert score_of(model)({"amount": 6.0}) == pytest.approx(100 / (1 + exp(-1.5)))


def test_applicants_are_ranked_better_than_by_the_chance_of_a_grant_alone_and_add_up() -> None:
    strong, value = models().of("trees"), made().value
    assert strong.grant is not None

    found = judged(values_of(strong, made().others), value)

    assert found.gini > normalised_gini(chances_of(strong.grant, made().others), value)
    # 12,000 granted users know their mean to 5 %, and the others theirs to 3 %.
    assert abs(found.bias) < 0.15
    granted = made().others.granted
    assert granted is not None
    said = chances_of(strong.grant, made().others)
    assert said.mean() == pytest.approx(np.isfinite(granted).mean(), rel=0.03)


def test_what_is_said_of_all_is_what_a_decision_says_of_each() -> None:
    for model in (models().lookup, models().of("trees")):
        score, others = score_of(model), made().others
        said = values_of(model, others)[:200]

        assert [score(others.facts(place)) for place in range(200)] == pytest.approx(said.tolist(), rel=1e-12)


def test_what_came_to_be_known_in_the_review_is_refused_as_a_fact() -> None:
    """The score of the grant is the classic leak: it is there for exactly those who were granted."""
    users = made().users

    with pytest.raises(Leak, match="score v1: became known after the user was valued, 20,000 times"):
        replace(
            users,
            numbers={**users.numbers, "score v1": Number(np.ones(len(users)), users.at_us + DAY_US // 2)},
        )


def test_a_planted_fact_that_knows_how_it_ended_is_found_at_the_gate() -> None:
    users, value = made().users, made().whole.value(90.0)
    chance = np.random.default_rng(8)
    planted: Any = Number(value + chance.normal(0, 10, len(users)), users.at_us)

    honest = tried(users, LEARNING, 0.0, np.random.default_rng(5))
    leaking = tried(
        replace(users, numbers={**users.numbers, "queue": planted}), LEARNING, 0.0, np.random.default_rng(5)
    )

    failed = {gate.name for trial in leaking for gate in trial.gates if not gate.holds}
    assert "no_leak" in failed
    assert all(gate.holds for trial in honest for gate in trial.gates if gate.name == "no_leak")


def test_a_grant_that_came_later_is_not_known_as_of_a_moment() -> None:
    users, as_of_us = made().whole, made().as_of_us - 100 * DAY_US

    then = users.as_of(as_of_us, 0.0)

    assert then.granted is not None
    at = then.at_us + np.where(np.isfinite(then.granted), then.granted, 0.0) * DAY_US
    assert at.max() <= as_of_us
    still_waiting = users.chosen(users.at_us <= as_of_us).granted
    assert still_waiting is not None
    assert np.isfinite(still_waiting).sum() > np.isfinite(then.granted).sum()


def test_nobody_is_valued_at_the_application_by_a_model_of_grants() -> None:
    scope = ScopeModel(kind="lookup", learned="buckets", lookup=table(all=9.0))
    shipping = Shipping(edges=(0.0,), means=(9.0,), parts=(1.0,), scale=1.0, frozen_us=1)

    def valuer(moment: Any) -> Valuer:
        scopes = {moment: {"NGN": scope}}
        model = ValueModel(version="m", made_us=1, horizon_days=90, properties=(), scopes=scopes)
        shipped = {moment: {"NGN": Shipped(shipping=shipping)}}
        return Valuer(Promotion(version="p", made_us=1, model=model, shipped=shipped))

    assert valuer("applied").knows("applied")
    assert not valuer("credit_granted").knows("applied")
    assert valuer("credit_granted").value("applied", "NGN", {}) is None
