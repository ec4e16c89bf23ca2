"""The market in which platforms learn from one event."""

from itertools import pairwise

import numpy as np
import pytest
from msgspec.structs import replace

from lendsignal.simulate.worlds.events import SIGNALS, Market, World, campaign, offer_of
from lendsignal.simulate.worlds.learners import LEARNERS


def test_the_same_seed_gives_the_same_people_and_parts_differ() -> None:
    one, other = (World(Market(), seed=5).people(500, 1) for _ in range(2))

    assert np.array_equal(one.worth, other.worth)
    assert np.array_equal(one.hours["first_loan"], other.hours["first_loan"])
    assert not np.array_equal(one.features, World(Market(), seed=5).people(500, 2).features)


def test_the_funnel_narrows_and_events_come_in_order() -> None:
    people = World(Market(), seed=5).people(20_000, 1)
    steps = ("registration", "application", "first_credit", "first_loan", "repayment")

    for before, after in pairwise(steps):
        had = np.isfinite(people.hours[after])
        assert 0 < had.sum() < np.isfinite(people.hours[before]).sum()
        assert (people.hours[before][had] < people.hours[after][had]).all()
    assert (np.isfinite(people.hours["credit_top20"]) <= np.isfinite(people.hours["credit_top50"])).all()


def test_worth_is_on_average_what_is_expected() -> None:
    people = World(Market(), seed=5).people(400_000, 1)

    assert people.worth.mean() == pytest.approx(people.expected.mean(), abs=0.15)
    assert people.predicted.mean() == pytest.approx(people.expected.mean(), abs=0.15)


def test_intent_points_at_worth_in_a_new_market_and_away_from_it_in_a_very_mature_one() -> None:
    found = []
    for leaning in (0.3, -0.75):
        people = World(Market(intent_quality=leaning), seed=5).people(100_000, 1)
        foreseen = [
            np.linalg.lstsq(people.features, y - y.mean(), rcond=None)[0]
            for y in (people.sent["application"], people.expected)
        ]
        found.append(np.corrcoef(foreseen[0], foreseen[1])[0, 1])

    assert found[0] > 0.5
    assert found[1] < 0


def test_repayment_comes_too_late_to_learn_from() -> None:
    people = World(Market(), seed=5).people(20_000, 1)

    assert people.label("repayment", 7).sum() == 0
    assert people.label("repayment", 60).sum() > 0


@pytest.mark.parametrize("name", LEARNERS)
def test_every_platform_earns_more_by_loans_than_by_chance_and_nothing_by_repayments(name: str) -> None:
    market = Market(installs_a_day=150, days=10)
    lifts = {signal: [] for signal in ("first_credit", "repayment")}  # type: dict[str, list[float]]
    for seed in (1, 4):
        offer = offer_of(World(market, seed))
        for signal, found in lifts.items():
            found.append(campaign(market, offer, signal, LEARNERS[name](seed)).lift)

    assert np.mean(lifts["first_credit"]) > 0.2
    assert abs(np.mean(lifts["repayment"])) < 0.2


def test_a_learner_never_sees_what_is_still_to_come() -> None:
    market = Market(installs_a_day=20, days=6, window_days=2)
    offer = offer_of(World(market, 3))
    seen: list[float] = []

    class Watching:
        def learn(self, features: object, labels: np.ndarray) -> None:
            seen.append(float(labels.sum()))

        def wants(self, features: np.ndarray) -> np.ndarray:
            return np.zeros(len(features))

    late = replace(offer.people, hours={name: np.full_like(offer.people.worth, 30.0) for name in SIGNALS})
    campaign(market, replace(offer, people=late), "registration", Watching())

    # Bought on day 0, known 30 hours later: first seen at the start of day 2 or 3.
    assert seen[0] == 0
    assert seen[-1] > 0
