"""The advisor against platforms that truly learn: a short form of `bench science`."""

import pytest

from lendsignal.bench.science.choice import (
    POLICIES,
    VOLUMES,
    Tried,
    best_when_shuffled,
    found_of,
    surrogate_decisions,
    tried,
)
from lendsignal.simulate.worlds.events import SIGNALS


def world(cell: str, foreseen: list[float], earned: list[float], estimated: str) -> Tried:
    chosen = dict.fromkeys(POLICIES[1:], "value") | {"score_estimated": estimated}
    blank = [0.0] * (len(SIGNALS) - 2)
    return Tried(
        cell=cell,
        short=cell == "short",
        volume=VOLUMES[0],
        foreseen=(*foreseen, *blank),
        earned=(*earned, *blank),
        chosen=chosen,
    )


def test_a_policys_lift_is_what_its_choices_earned() -> None:
    worlds = [
        world("long", [1, 2], [1.0, 3.0], SIGNALS[1]),
        world("long", [1, 2], [1.0, 5.0], SIGNALS[0]),
        world("short", [2, 1], [8.0, 0.0], SIGNALS[0]),
    ]
    found = found_of(iter(worlds))

    assert found.lift["score_estimated"] == pytest.approx((3 + 1 + 8) / 3)
    assert found.lift["always_value"] == 0
    assert found.lift["best_in_hindsight"] == pytest.approx((3 + 5 + 8) / 3)
    assert found.short["score_estimated"] == 8
    assert found.loses == {}


def test_lifts_are_foreseen_and_the_estimated_score_beats_fifty_a_week() -> None:
    # One campaign's lift is known to about 0.2: two of each, so that luck does not hide what is foreseen.
    found = found_of(tried("ridge", worlds=2, runs=2, volumes=(60,)))

    assert found.worlds == 18
    assert found.pearson >= 0.85
    assert found.lift["score_estimated"] >= found.lift["fifty_a_week"]


def test_when_profit_is_shuffled_no_event_is_likelier_to_be_best() -> None:
    shares = best_when_shuffled(25)

    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares.values()) < 2 / len(shares)
    assert min(shares.values()) > 0.5 / len(shares)


def test_a_fortnight_names_no_worse_event_where_it_decides_at_all() -> None:
    found = surrogate_decisions(worlds=1, runs=1)

    assert found["pairs"] == 36
    assert found["decided"] > 0
    assert found["right"] >= 0.9
    assert found["contradicted"] == 0
