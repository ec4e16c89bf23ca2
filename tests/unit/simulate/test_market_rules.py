"""Strategies compared over worlds, and rules of thumb judged by them."""

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from scipy.stats import t, ttest_1samp

from lendsignal.simulate.market import Strategy, compared, interval, load_market, play, returns, total
from lendsignal.simulate.market.rules import NEW, RULES, THIN, case
from lendsignal.simulate.market.trying import MARK, Finding, tried, verdict_of, with_findings, written

SHORT = {"ads": {"days": 10}}
GRANT, EARLY = Strategy(name="grant", event="first_credit"), Strategy(name="early", event="application")


def played(*strategies: Strategy, worlds: int = 3) -> Any:
    return play(strategies, lambda one: load_market(changes={**SHORT, **one.market}), worlds=worlds, seed=1)


def finding(*ends: tuple[float, float], beside: bool = False) -> Finding:
    """A claim with one interval for each kind of platform."""
    whole = interval(np.array([0.0, 1.0]))
    found = {f"way {n}": replace(whole, low=low, high=high) for n, (low, high) in enumerate(ends)}
    return Finding(words="a", beside=beside, found=found)


def test_an_interval_is_students() -> None:
    values = np.array([0.1, 0.3, -0.2, 0.4])
    found = interval(values)
    half = float(t.ppf(0.975, 3)) * values.std(ddof=1) / 2

    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half))
    assert found.above == 0.75
    assert (found.low > 0) == (ttest_1samp(values, 0).pvalue < 0.05 and values.mean() > 0)


def test_one_world_has_no_interval() -> None:
    found = interval(np.array([0.2]))

    assert np.isinf(found.high)
    assert not found.is_positive


def test_a_strategy_against_itself_is_the_same_in_every_world() -> None:
    found = played(GRANT, replace(GRANT, name="again"))

    assert returns(found["grant"]).tolist() == returns(found["again"]).tolist()


def test_two_ways_of_learning_meet_the_same_people() -> None:
    bandit = replace(GRANT, name="bandit", market={"ads": {"days": 10, "learner": "bandit"}})
    nothing = replace(bandit, name="told nothing", event="none")
    found = played(replace(GRANT, event="none"), nothing, bandit, worlds=1)

    assert returns(found["grant"]).tolist() == returns(found["told nothing"]).tolist()
    assert returns(found["bandit"]).tolist() != returns(found["told nothing"]).tolist()


def test_a_longer_run_begins_with_the_same_worlds() -> None:
    short, long = played(GRANT, worlds=2), played(GRANT, worlds=3)

    assert returns(short["grant"]).tolist() == returns(long["grant"]).tolist()[:2]


def test_differences_are_those_of_the_same_worlds() -> None:
    found = played(GRANT, EARLY)
    (row,) = compared(found, [GRANT, EARLY]).differences.records()

    assert row["strategy"] == "early"
    assert row["difference"] == pytest.approx(np.mean(returns(found["early"]) - returns(found["grant"])))


def test_the_report_accounts_for_every_event() -> None:
    for row in compared(played(GRANT, EARLY), [GRANT, EARLY]).signals.records():
        parts = [float(str(row[name])) for name in ("told", "unbound", "late")]

        assert sum(parts) == pytest.approx(1.0)


def test_the_report_is_for_people_without_a_moment() -> None:
    text = compared(played(GRANT, EARLY), [GRANT, EARLY]).to_text()

    assert text.startswith("2 strategies in 3 made-up worlds\n")
    assert "no events yet" not in text


def test_a_figure_is_summed_over_platforms() -> None:
    found = played(GRANT, worlds=1)["grant"]

    assert total(found, "installs").tolist() == [sum(one.installs for one in found[0].values())]


SURE, OPEN, CONTRARY = finding((1, 2), (0.1, 3)), finding((1, 2), (-1, 3)), finding((-3, -1), (-2, -1))


def test_a_claim_holds_if_it_is_sure_with_every_kind_of_platform() -> None:
    assert [one.holds for one in (SURE, OPEN, CONTRARY)] == ["holds", "open", "the contrary holds"]


@pytest.mark.parametrize(
    ("findings", "verdict"),
    [
        ([SURE, SURE], "comes out"),
        ([SURE, OPEN], "comes out in part"),
        ([SURE, CONTRARY], "comes out in part"),
        ([CONTRARY, OPEN], "contradicted"),
        ([OPEN, OPEN], "not told apart"),
        ([SURE, finding((-2, -1), beside=True)], "comes out"),
    ],
)
def test_a_verdict_is_what_the_rule_claims_and_not_what_stands_beside(
    findings: list[Finding], verdict: str
) -> None:
    assert verdict_of(findings) == verdict


def test_a_case_has_all_changes_and_one_name() -> None:
    one = case("application", NEW, THIN)

    assert one.market["people"] == {"intent_quality": 0.3}
    assert one.market["channel"]["meta"] == {"budget": 15.0}
    assert one.name == case("application", NEW, THIN).name
    assert one.name != case("application", NEW).name


def test_every_rule_is_about_markets_that_can_be_made() -> None:
    for rule in RULES:
        for claim in rule.claims:
            for one in claim.cases:
                load_market(changes=one.market)


def test_repayment_teaches_nothing_that_a_window_of_a_week_lets_through() -> None:
    useless = [rule for rule in RULES if rule.rule.startswith("Repayment")]
    found = tried(worlds=2, seed=1, changes=SHORT, rules=useless, learners=("ridge",))

    meta = next(each for each in found[0].findings if each.words.startswith("Meta"))
    assert meta.found["ridge"].mean == pytest.approx(0.01)


def test_findings_stand_below_the_mark_and_what_is_above_stays() -> None:
    page = with_findings("# Title\n\nby hand\n", "new\n")

    assert page == f"# Title\n\nby hand\n\n{MARK}\n\nnew\n"
    assert with_findings(page, "newer\n") == f"# Title\n\nby hand\n\n{MARK}\n\nnewer\n"


def test_a_page_has_a_line_for_each_claim_and_platform() -> None:
    useless = [rule for rule in RULES if rule.rule.startswith("Repayment")]
    text = written(tried(worlds=2, seed=1, changes=SHORT, rules=useless, learners=("ridge", "bandit")), 2)

    assert "| claim | ridge | 95 % | bandit | 95 % | |" in text
    assert text.count("repayment leaves less than a point") == 2
    assert "## Repayment is useless as a goal" in text
