"""The made-up market: its file, its people, and what platforms are told of them."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from lendsignal.errors import ConfigError
from lendsignal.simulate.chance import Floats, logistic
from lendsignal.simulate.market import Strategy, World, load_market, load_strategy, run
from lendsignal.simulate.market.buying import Bought, told_of
from lendsignal.simulate.market.crowd import SCORE_NOISE, Crowd
from lendsignal.simulate.market.parameters import DEFAULT, TIERS

LARGE: Mapping[str, Any] = {"ads": {"days": 10}, "channel": {"meta": {"budget": 1_200.0}}}
SMALL: Mapping[str, Any] = {"ads": {"days": 12}}


def world(changes: Mapping[str, Any] = SMALL, seed: int = 3) -> World:
    return World(load_market(changes=changes).drawn(seed), seed)


@pytest.fixture(scope="module")
def crowd() -> Crowd:
    """Sixty thousand people."""
    return world(LARGE).crowd("meta")


def hours(crowd: Crowd, earlier: str, later: str) -> Floats:
    both = np.isfinite(crowd.at[earlier]) & np.isfinite(crowd.at[later])
    return np.asarray(crowd.at[later][both] - crowd.at[earlier][both])


def test_every_number_of_the_default_market_stands_below_words_about_it() -> None:
    lines = DEFAULT.read_text().splitlines()
    sections = [part for part in DEFAULT.read_text().split("\n[") if not part.startswith("channel")]

    assert "(book" in DEFAULT.read_text()
    assert all("#" in section for section in sections)
    assert lines[0].startswith("# A made-up market")


def test_a_range_gives_each_world_a_number_of_its_own_between_its_ends() -> None:
    markets = load_market(changes={"people": {"explained": [0.05, 0.2]}})
    drawn = [markets.drawn(seed).people.explained for seed in range(200)]

    assert 0.05 <= min(drawn) < 0.07
    assert 0.18 < max(drawn) <= 0.2
    assert markets.drawn(7) == markets.drawn(7)


def test_a_range_draws_the_same_whatever_else_is_changed() -> None:
    one = load_market(changes={"journey": {"manual": 0.8}}).drawn(5)
    other = load_market(changes={"people": {"anyway": 0.5}}).drawn(5)

    assert one.people.explained == other.people.explained
    assert one.ads.elasticity == other.ads.elasticity


def test_mistakes_of_a_market_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load_market(changes={"people": {"explaned": 0.1, "anyway": 1.5}, "ads": {"elasticity": [0.5, 0.2]}})
    found = {problem.key: problem.nearest for problem in caught.value.problems}

    assert found == {"people.explaned": "explained", "people.anyway": None, "ads.elasticity": None}


def test_a_desk_must_open_before_it_closes() -> None:
    with pytest.raises(ConfigError, match="desk_opens"):
        load_market(changes={"journey": {"desk_opens": 18.0}})


def test_a_strategy_has_its_files_name_and_its_own_market(tmp_path: Path) -> None:
    path = tmp_path / "early.toml"
    path.write_text('event = "application"\n[market.journey]\nmanual = 0.8\n')
    found = load_strategy(path)

    assert found == Strategy(name="early", event="application", market={"journey": {"manual": 0.8}})


@pytest.mark.parametrize(
    "text", ['event = "aplication"', "value = 1", 'event = "none"\n[market.journey]\nmanuel = 1']
)
def test_a_strategy_with_a_mistake_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)

    with pytest.raises(ConfigError):
        load_strategy(path)


def test_the_same_seed_gives_the_same_people_and_another_others() -> None:
    one, same, other = world().crowd("meta"), world().crowd("meta"), world(seed=4).crowd("meta")

    assert np.array_equal(one.features, same.features)
    assert np.array_equal(one.at["first_loan"], same.at["first_loan"])
    assert not np.array_equal(one.features, other.features)


def test_waiting_to_apply_follows_the_book(crowd: Crowd) -> None:
    waits = hours(crowd, "registration", "application")

    # A tenth within 9 minutes, 39 % within an hour, half within 7, three quarters within 10.8 days.
    assert np.mean(waits <= 9 / 60) == pytest.approx(0.10, abs=0.02)
    assert np.mean(waits <= 1.0) == pytest.approx(0.39, abs=0.03)
    assert np.mean(waits <= 7.0) == pytest.approx(0.50, abs=0.05)
    assert np.mean(waits <= 24 * 10.8) == pytest.approx(0.75, abs=0.03)
    assert np.mean(waits > 24 * 30) == pytest.approx(0.17, abs=0.02)


def test_a_decision_without_a_person_takes_seconds() -> None:
    waits = hours(world({**LARGE, "journey": {"manual": 0.0}}).crowd("meta"), "application", "first_credit")

    assert np.median(waits) * 3600 == pytest.approx(8.0, rel=0.1)
    assert np.quantile(waits, 0.9) * 3600 == pytest.approx(67, rel=0.15)


def test_a_person_takes_up_applications_only_while_the_desk_is_open() -> None:
    desk = {"manual": 1.0, "desk_opens": 9.0, "desk_closes": 17.0, "review_minutes": 0.01}
    crowd = world({**LARGE, "journey": {**desk, "review_spread": 0.0}}).crowd("meta")
    decided = crowd.at["first_credit"][np.isfinite(crowd.at["first_credit"])] % 24

    assert decided.min() >= 9.0
    assert decided.max() <= 17.01


def test_about_a_fifth_of_first_loans_are_lost(crowd: Crowd) -> None:
    first = np.isfinite(crowd.at["first_loan"])
    repaid = np.isfinite(crowd.at["repayment"])

    # 21.8 % of the book's last loans, 24.9 % of its second ones; selection by score takes some away.
    assert 0.10 < 1 - repaid[first].mean() < 0.25


def test_steps_come_one_after_the_other(crowd: Crowd) -> None:
    order = ("registration", "application", "first_credit", "first_loan", "repayment")

    for earlier, later in pairwise(order):
        assert (hours(crowd, earlier, later) >= 0).all()


def test_tiers_are_nested_and_have_their_share_of_the_grants(crowd: Crowd) -> None:
    granted = np.isfinite(crowd.at["first_credit"])
    wider = granted
    for name, share in TIERS.items():
        mine = np.isfinite(crowd.at[name])

        assert not (mine & ~wider).any()
        # People who borrowed before are good ones, and no first grant comes to them any more.
        assert mine.sum() / granted.sum() == pytest.approx(share / 100, abs=0.05)
        wider = mine


def test_who_borrowed_before_has_no_first_any_more(crowd: Crowd) -> None:
    again = np.isfinite(crowd.at["disbursement"]) & ~np.isfinite(crowd.at["first_loan"])

    assert again.any()
    assert crowd.returns[again].all()
    assert not np.isfinite(crowd.at["first_credit"][again]).any()
    assert not np.isfinite(crowd.at["registration"][crowd.returns]).any()


def test_the_worth_of_a_person_is_the_mean_over_all_that_nobody_sees() -> None:
    one = world({"people": {"returning": 0.0, "explained": 0.2, "features": 4}, "ads": {"days": 1}})
    crowd, market = one.crowd("meta"), one.market
    rng = np.random.default_rng(11)
    mine = crowd.features[:3]

    for row, features in enumerate(mine):
        rest = rng.standard_normal((3, 400_000))
        quality, intent, need = one._of(features[None, :], rest)
        score = 0.75 * quality - 0.1 * need + SCORE_NOISE * rng.standard_normal(400_000)
        lost = logistic(market.lender.default + market.lender.default_quality * quality)
        later = logistic(
            market.lender.default + market.lender.later_default + market.lender.default_quality * quality
        )
        earn, gone = 80 * (0.15 - 0.01), 80 * (0.9 + 0.01)
        loans = -gone * lost + (1 - lost) * (
            earn + 2 * np.exp(0.3 * need) * (earn * (1 - later) - gone * later)
        )
        chance = logistic(0.3 + intent) * logistic(0.2 + intent + 0.4 * need) * logistic(1 + 0.5 * need)

        slow = float(np.mean(chance * (score > 0) * loans))
        assert crowd.worth[row] == pytest.approx(slow, abs=0.08)


def test_the_good_cost_more(crowd: Crowd) -> None:
    assert np.corrcoef(np.log(crowd.price), crowd.worth)[0, 1] > 0.2


def told(strategy: Strategy, at: Floats, **columns: Any) -> tuple[list[float], list[bool], list[bool]]:
    """What becomes of an event at these hours, of people shown at hour 0; the window is a day."""
    count = len(at)
    crowd = Crowd(
        a_day=count,
        features=np.zeros((count, 1)),
        price=np.ones(count),
        shown=np.zeros(count),
        at={strategy.event: at},
        score=np.zeros(count),
        returns=np.asarray(columns.get("returns", np.zeros(count, dtype=bool))),
        moved=np.asarray(columns.get("moved", np.full(count, np.inf))),
        borrows=np.zeros(count, dtype=bool),
        worth=np.zeros(count),
    )
    found = told_of(world(), strategy, crowd, 1.0)
    return found.at.tolist(), found.unbound.tolist(), found.late.tolist()


LAST = Strategy(name="a", event="first_loan")
FIRST = Strategy(name="b", event="first_loan", binding="first_install")
INF = float("inf")


def test_what_is_posted_after_the_window_is_never_told() -> None:
    at, unbound, late = told(LAST, np.array([23.0, 25.0, INF]))

    assert at == [23.0, INF, INF]
    assert late == [False, True, False]
    assert unbound == [False, False, False]


def test_a_batch_is_posted_at_the_next_full_number_of_hours() -> None:
    at, _, late = told(replace(LAST, batch_hours=3.0), np.array([1.0, 21.5, 24.5]))

    assert at == [3.0, 24.0, INF]
    assert late == [False, False, True]


def test_who_returns_is_told_of_by_the_last_login_and_not_by_the_first_install() -> None:
    hour, returns = np.array([5.0]), np.array([True])

    assert told(LAST, hour, returns=returns) == ([5.0], [False], [False])
    assert told(FIRST, hour, returns=returns) == ([INF], [True], [False])


def test_who_gives_the_new_installation_up_is_told_of_by_the_first_install_alone() -> None:
    hour, moved = np.array([5.0]), np.array([4.0])

    assert told(LAST, hour, moved=moved) == ([INF], [True], [False])
    assert told(FIRST, hour, moved=moved) == ([5.0], [False], [False])


def test_no_more_is_spent_than_the_budget_allows() -> None:
    one = world()
    for bought in run(one, LAST).values():
        assert bought.spend <= 12 * 60
        assert bought.spend > 0.95 * 12 * 60


def test_a_platform_that_is_told_nothing_buys_the_same_as_one_that_is_told_too_late() -> None:
    one = world()
    meta = [run(one, Strategy(name=event, event=event))["meta"] for event in ("none", "repayment")]

    def chosen(bought: Bought) -> tuple[float, int]:
        return bought.spend, bought.installs

    assert chosen(meta[0]) == chosen(meta[1])
    assert meta[1].told == 0
    assert meta[1].late > 0


def test_what_is_learned_is_what_was_told_by_then() -> None:
    # Whatever happens after the last day must not change a purchase: without it the same is bought.
    one = world()
    crowd = one.crowd("meta")
    before = run(one, LAST)["meta"]
    cut = np.where(crowd.at["first_loan"] > 24 * 11, np.inf, crowd.at["first_loan"])
    one._crowds["meta"] = replace(crowd, at={**crowd.at, "first_loan": cut})
    after = run(one, LAST)["meta"]

    assert before.told > after.told
    assert (before.spend, before.worth, before.installs) == (after.spend, after.worth, after.installs)


def test_telling_of_grants_leaves_more_than_telling_nothing() -> None:
    one = world({"ads": {"days": 42}})
    grant, nothing = (
        sum(bought.profit for bought in run(one, Strategy(name="x", event=event)).values())
        for event in ("first_credit", "none")
    )

    assert grant > nothing


def test_values_are_a_few_amounts_and_rise_with_the_score() -> None:
    scale = world().scale
    scores = np.linspace(-1, 3, 400)
    sent = scale.value("predicted", scores, 8)

    assert len(np.unique(sent)) <= 8
    assert (np.diff(sent) >= 0).all()
    assert sent.min() >= 0
