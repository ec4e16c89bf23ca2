"""P(grant) by a plain logistic: what a table says, that the fit finds what is there, and what it refuses."""

from math import exp, log

import numpy as np
import pytest

from lendsignal.value import Facts, LikelyModel, Number, Word, probability
from lendsignal.value.fitting import LEAST_CHOSEN, Applied, Unfit, fit

DAY_US = 86_400_000_000
MODEL = LikelyModel(
    numbers=(Number("amount", 10.0, 2.0, 0.5, -1.5),),
    words=(Word("product", {"payday": 0.25, "instalment": -0.75}),),
    intercept=0.1,
    slope=2.0,
    shift=-0.3,
    threshold=0.7,
)


@pytest.mark.parametrize(
    ("facts", "logit"),
    [
        ({"amount": 14.0, "product": "payday"}, 2 * (0.1 + 0.5 * 2 + 0.25) - 0.3),
        ({"product": "instalment"}, 2 * (0.1 - 1.5 - 0.75) - 0.3),
        ({"amount": 10.0, "product": "never seen"}, 2 * 0.1 - 0.3),
        ({"amount": 10.0}, 2 * 0.1 - 0.3),
        ({"amount": "a word", "product": "payday"}, 2 * (0.1 - 1.5 + 0.25) - 0.3),
        ({"amount": float("nan")}, 2 * (0.1 - 1.5) - 0.3),
    ],
)
def test_a_table_says_what_a_pencil_says(facts: Facts, logit: float) -> None:
    assert probability(MODEL, facts) == pytest.approx(1 / (1 + exp(-logit)), abs=1e-12)


def test_an_application_is_likely_from_the_threshold_on_and_never_without_one() -> None:
    amount = 10.0 + 2.0 * ((log(0.7 / 0.3) + 0.3) / 2 - 0.1) / 0.5  # P is 0.7 there

    assert MODEL.likely({"amount": amount + 1e-6})
    assert not MODEL.likely({"amount": amount - 1e-6})
    assert not LikelyModel(numbers=(), words=(), intercept=9.0, slope=1.0, shift=0.0, threshold=None).likely(
        {}
    )


WEIGHT, OF_RETURNING = 1.2, 1.5


def world(number: int, seed: int = 7, *, drifts: float = 0.0) -> list[Applied]:
    """Applications whose P(grant) is known: logit = 0.3 + 1.2 · x, and 1.5 more for who returns."""
    chance = np.random.default_rng(seed)
    made: list[Applied] = []
    for n in range(number):
        x, returning, told = chance.normal(), bool(chance.random() < 0.3), chance.random() < 0.9
        logit = 0.3 + WEIGHT * x + OF_RETURNING * returning + drifts * n / number
        facts: dict[str, str | float] = {"kind": "returning" if returning else "new", "always": "the same"}
        if told:
            facts["x"] = 50 + 10 * x
        made.append(Applied(n * DAY_US // 100, bool(chance.random() < 1 / (1 + exp(-logit))), facts))
    return made


def test_the_weights_that_made_the_world_are_found() -> None:
    found = fit(world(20_000), 0.8).model
    (x,), words = found.numbers, {one.name: one.weights for one in found.words}

    assert x.mean == pytest.approx(50, abs=0.4)
    assert x.scale == pytest.approx(10, abs=0.3)
    assert found.slope * x.weight == pytest.approx(WEIGHT, abs=0.1)
    assert found.slope * (words["kind"]["returning"] - words["kind"]["new"]) == pytest.approx(
        OF_RETURNING, abs=0.15
    )


def test_what_is_said_of_the_unseen_part_comes_as_often_as_it_is_said() -> None:
    """Within three standard deviations in each fifth, also where the weights' part was another time's."""
    for drifts in (0.0, 1.0):
        judged = sorted(fit(world(20_000, drifts=drifts), 0.8).judged, key=lambda pair: pair[1])
        for fifth in range(5):
            part = judged[len(judged) * fifth // 5 : len(judged) * (fifth + 1) // 5]
            said = sum(p for _, p in part) / len(part)
            came = sum(one.granted for one, _ in part) / len(part)
            spread = (said * (1 - said) / len(part)) ** 0.5
            assert abs(said - came) < 3 * spread + 0.03 * bool(drifts) * 2


def test_the_threshold_is_the_lowest_that_keeps_the_precision_on_the_part_it_was_chosen_by() -> None:
    applications = world(5_000)
    model = fit(applications, 0.85).model
    middle = applications[3_000:4_000]
    said = [(probability(model, one.facts), one.granted) for one in middle]

    def precision(least: float) -> float:
        chosen = [granted for p, granted in said if p >= least]
        return sum(chosen) / len(chosen) if len(chosen) >= LEAST_CHOSEN else 0.0

    assert model.threshold is not None
    assert precision(model.threshold - 1e-12) >= 0.85
    assert all(precision(p) < 0.85 for p, _ in said if p < model.threshold - 1e-12)


def test_a_precision_that_nothing_reaches_gives_no_threshold() -> None:
    assert fit(world(2_000), 0.9999).model.threshold is None


def test_order_changes_nothing() -> None:
    applications = world(2_000)

    assert fit(applications[::-1], 0.8).model == fit(applications, 0.8).model


def test_too_short_a_history_and_one_without_a_difference_are_refused() -> None:
    with pytest.raises(Unfit, match="300 applications with a known end; 1,000 or more"):
        fit(world(300), 0.8)
    with pytest.raises(Unfit, match="ended alike"):
        fit([Applied(one.at_us, True, one.facts) for one in world(2_000)], 0.8)
