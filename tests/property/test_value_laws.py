"""Laws of predicted value: trees are read as they are grown, and what is told keeps the order of users."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lendsignal.value.boosting import predicted_of
from lendsignal.value.judging import normalised_gini
from lendsignal.value.shaping import shipping_of
from lendsignal.value.users import DAY_US
from lendsignal.value.worth import LEAVES, Tree, Trees, Walk

NUMBERS, KINDS = ("x", "y"), ("a", "b", "c")
VALUES = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0])


@st.composite
def grown(draw: st.DrawFn) -> Tree:
    """A tree of up to `LEAVES` leaves over two numbers and a word."""
    feature: list[int] = []
    threshold: list[float] = []
    places: list[tuple[int, ...]] = []
    unknown_left: list[bool] = []
    sides: list[list[int]] = []
    leaves: list[float] = []

    def put(at_most: int) -> int:
        if at_most == 1 or draw(st.booleans()):
            leaves.append(draw(st.integers(-9, 9)) / 4)
            return -len(leaves)
        node = len(feature)
        is_word = draw(st.booleans())
        feature.append(2 if is_word else draw(st.integers(0, 1)))
        threshold.append(draw(VALUES))
        places.append(tuple(sorted(draw(st.sets(st.integers(0, 2))))) if is_word else ())
        unknown_left.append(draw(st.booleans()))
        sides.append([0, 0])
        left = draw(st.integers(1, at_most - 1))
        sides[node] = [put(left), put(at_most - left)]
        return node

    put(draw(st.integers(1, LEAVES)))
    left, right = (tuple(side[place] for side in sides) for place in (0, 1))
    return Tree(
        tuple(feature), tuple(threshold), tuple(places), tuple(unknown_left), left, right, tuple(leaves)
    )


FACTS = st.fixed_dictionaries(
    {},
    optional={
        "x": VALUES,
        "y": VALUES | st.just(float("nan")),
        "kind": st.sampled_from([*KINDS, "never seen"]),
    },
)


def slow(tree: Tree, facts: dict[str, Any]) -> float:
    """Node by node, as a person would."""
    node = 0 if tree.feature else -1
    while node >= 0:
        feature = tree.feature[node]
        value = facts.get((*NUMBERS, "kind")[feature])
        if value is None or value != value or value == "never seen":
            goes_left = tree.unknown_left[node]
        elif feature == 2:
            goes_left = KINDS.index(value) in tree.places[node]
        else:
            goes_left = value <= tree.threshold[node]
        node = tree.left[node] if goes_left else tree.right[node]
    return tree.leaves[-1 - node]


@settings(max_examples=200, deadline=None)
@given(st.lists(grown(), min_size=1, max_size=5), st.lists(FACTS, min_size=1, max_size=4))
def test_trees_are_read_alike_one_by_one_all_at_once_and_by_hand(
    trees: list[Tree], users: list[dict[str, Any]]
) -> None:
    kept = Trees(numbers=NUMBERS, words=(("kind", KINDS),), trees=tuple(trees))
    walk = Walk(kept)
    code = {kind: float(place) for place, kind in enumerate(KINDS)}
    matrix = np.array(
        [[one.get("x", np.nan), one.get("y", np.nan), code.get(one.get("kind", ""), np.nan)] for one in users]
    )

    by_hand = [sum(slow(tree, one) for tree in trees) for one in users]

    assert [walk.total(one) for one in users] == by_hand
    assert predicted_of(kept, matrix).tolist() == by_hand


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(-20, 40), st.floats(1, 60), st.integers(0, 70))
def test_who_is_worth_more_is_never_told_as_less(seed: int, mean: float, spread: float, days: int) -> None:
    """Also where a new model is laid over what was told before."""
    chance = np.random.default_rng(seed)
    first = shipping_of(chance.normal(mean, spread, 800), 0)
    values = np.sort(chance.normal(mean + 5, 2 * spread, 800))

    found = shipping_of(values, days * DAY_US, first)

    if found is not None:
        told = [found.means[place] if (place := found.bin(value)) >= 0 else 0.0 for value in values]
        assert told == sorted(told)
        assert all(mean > 0 for mean in found.means)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_neither_scale_nor_order_of_users_changes_a_gini(seed: int) -> None:
    chance = np.random.default_rng(seed)
    said, came = chance.normal(size=200).round(1), chance.normal(3, 4, 200)
    order = chance.permutation(200)

    found = normalised_gini(said, came)

    assert abs(normalised_gini(said[order], came[order]) - found) < 1e-9
    assert abs(normalised_gini(7 * said + 3, 2.5 * came) - found) < 1e-9
