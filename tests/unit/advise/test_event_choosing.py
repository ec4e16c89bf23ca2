"""The advice on events as a report."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from lendsignal.advise.choice import Installs, Rules, Signal, tie_broken
from lendsignal.advise.choosing import EventAdvice, Market, event_advice, features_of
from lendsignal.report.charts import charts_of

NOW = datetime(2026, 3, 10, tzinfo=UTC)


def market(count: int = 6_000, seed: int = 1) -> Market:
    """Two campaigns of Meta's, of which the second brings better users, one of TikTok's, and organic ones."""
    rng = np.random.default_rng(seed)
    where = rng.integers(0, 4, count)
    channel = tuple(np.array(["meta", "meta", "tiktok", "organic"])[where].tolist())
    campaign = tuple(np.array(["broad", "narrow", "spark", ""])[where].tolist())
    loan = rng.random(count) < np.array([0.1, 0.3, 0.15, 0.3])[where]
    applied = loan | (rng.random(count) < 0.4)
    facts = {
        "channel": channel,
        "campaign": campaign,
        "hour": tuple(str(h) for h in rng.integers(0, 24, count)),
    }
    never = np.full(count, np.inf)
    signals = tuple(
        Signal(
            name=name,
            hours=np.where(had, hours, np.inf),
            told_hours=np.where(had, hours, np.inf),
            asked_hours=never,
            sent=had.astype(float),
        )
        for name, had, hours in (("first_application", applied, 1.0), ("first_credit", loan, 20.0))
    )
    return Market(
        app="acme-ng",
        currency="NGN",
        installs=Installs(
            age_days=rng.uniform(0, 90, count),
            features=features_of(facts),
            profit=np.where(loan, 500.0, 0.0) + rng.standard_normal(count),
            signals=signals,
        ),
        channel=channel,
        campaign=campaign,
        ad_set=("",) * count,
    )


def advised(**asked: Any) -> EventAdvice:
    given: dict[str, Any] = {
        "objective": "acquisition",
        "by": "campaign",
        "rules": Rules(),
        "as_of": NOW,
        "rng": np.random.default_rng(2),
    }
    return event_advice([market()], **{**given, **asked})


def test_each_bought_campaign_has_its_advice_and_organic_users_have_none() -> None:
    rows = advised().advice.records()

    assert sorted((str(one["channel"]), str(one["ad_set"])) for one in rows) == [
        ("meta", "broad"),
        ("meta", "narrow"),
        ("tiktok", "spark"),
    ]
    assert {one["best"] for one in rows} == {"first_credit"}
    assert all(one["lift_low"] <= one["lift"] <= one["lift_high"] for one in rows)  # type: ignore[operator]


def test_a_present_event_may_be_told_for_all_and_for_one() -> None:
    rows = advised(current={"": "first_credit", "narrow": "first_application"}).advice.records()
    now = {str(one["ad_set"]): (one["now"], one["verdict"]) for one in rows}

    assert now["broad"] == ("first_credit", "keep")
    assert now["narrow"][0] == "first_application"
    assert now["narrow"][1] != "keep"


def test_a_window_of_hours_takes_what_comes_later_away() -> None:
    rows = advised(window_days=0.5, by="channel").events.records()
    late = {one["inside_window"] for one in rows if one["event"] == "first_credit"}

    assert late == {0.0}


def test_small_ad_sets_are_left_out_and_counted() -> None:
    found = advised(least=100_000)

    assert found.advice.records() == []
    assert "3 ad sets have fewer than 100000 installs and are left out." in found.notes


def test_thin_data_is_said() -> None:
    assert any("thin" in note for note in advised().notes)


def test_the_picture_is_of_the_largest_ad_set_with_intervals() -> None:
    (chart,) = charts_of(advised())

    assert "acme-ng · meta" in chart.title
    assert [len(one.values) for one in chart.series] == [2]


def test_where_campaigns_do_not_differ_the_picture_shows_the_bare_scores() -> None:
    even = market()
    rng = np.random.default_rng(4)
    loans = np.isfinite(even.installs.signals[1].hours)
    order = rng.permutation(len(loans))
    mixed = replace(even, installs=replace(even.installs, features=even.installs.features[order]))
    found = event_advice(
        [mixed], objective="acquisition", by="app", rules=Rules(), as_of=NOW, rng=np.random.default_rng(2)
    )

    assert any("do not differ in profit" in note for note in found.notes)
    assert [one["lift"] for one in found.events.records()] == [None, None]
    (chart,) = charts_of(found)
    assert all(value is not None for value in chart.series[0].values)


def test_no_market_gives_an_empty_report() -> None:
    found = event_advice(
        [], objective="acquisition", by="app", rules=Rules(), as_of=None, rng=np.random.default_rng(1)
    )

    assert found.advice.rows == ()
    assert charts_of(found) == ()


def test_a_rare_word_stands_with_the_others_and_a_fact_of_one_word_says_nothing() -> None:
    words = ["a"] * 100 + ["b"] * 60 + ["c"] * 3
    found = features_of({"campaign": words, "app": ["one"] * 163})

    assert found.shape == (163, 1)
    assert found.std() == pytest.approx(1)
    assert (found[100:160] > 0).all()


def many(count: int = 60_000, ad_sets: int = 40, seed: int = 5) -> Market:
    """Forty campaigns of Meta's of unlike size; the more loans a campaign has, the better are its users."""
    rng = np.random.default_rng(seed)
    size = np.geomspace(1, 40, ad_sets)
    where = rng.choice(ad_sets, count, p=size / size.sum())
    rate = 0.08 + 0.12 * rng.random(ad_sets)
    base = market(count, seed)
    loan = rng.random(count) < rate[where]
    names = tuple(f"c{place:02}" for place in where.tolist())
    told = base.installs.signals[1]
    hours = np.where(loan, 20.0, np.inf)
    loans = replace(told, hours=hours, told_hours=hours, sent=loan.astype(float))
    age = rng.uniform(0, 28, count)
    in_campaign = np.bincount(where, weights=np.where(loan, np.exp2(-age / 14), 0.0))
    better = 30.0 * np.sqrt(in_campaign / (in_campaign + 60.0))
    return replace(
        base,
        channel=("meta",) * count,
        campaign=names,
        installs=replace(
            base.installs,
            age_days=age,
            features=features_of({"campaign": names}),
            profit=50.0 * loan + better[where] + rng.standard_normal(count),
            signals=(base.installs.signals[0], loans),
            groups=where,
        ),
    )


def test_the_second_lens_tells_what_a_weeks_count_misses_and_its_figures_stand_in_the_table() -> None:
    found = event_advice(
        [many()],
        objective="acquisition",
        by="campaign",
        rules=Rules(),
        as_of=NOW,
        rng=np.random.default_rng(2),
    )
    rows = [one for one in found.events.records() if one["ad_set"] == "c39"]

    errors = {str(one["event"]): float(str(one["profit_error"])) for one in rows}
    # What was applied for has nothing to do with who pays; loans do.
    assert 0 < errors["first_credit"] < errors["first_application"]


def test_a_tie_goes_to_the_event_that_measures_better() -> None:
    scores = np.array([0.300, 0.297, 0.200])

    assert tie_broken(scores, np.array([5.0, 3.0, 1.0])) == 1
    assert tie_broken(scores, np.array([2.0, 3.0, 1.0])) == 0
    assert tie_broken(np.array([-0.1, -0.3]), np.array([2.0, 1.0])) == 0


def test_with_many_ad_sets_a_platforms_k_is_that_of_what_they_earned() -> None:
    def notes(current: str | None) -> str:
        found = event_advice(
            [many()],
            objective="acquisition",
            by="campaign",
            rules=Rules(),
            as_of=NOW,
            rng=np.random.default_rng(2),
            current={} if current is None else {"": current},
            window_days=7,
        )
        return " ".join(found.notes)

    assert "by what its 40 ad sets earned" in notes("first_credit")
    assert "ad sets earned" not in notes(None)
