"""Which event an ad set should optimise for."""

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from lendsignal.advise.choice import Installs, Learned, Rules, Signal, accuracy, choose, learned
from lendsignal.advise.platforms import LEARNING, learning_of

DAYS = 60.0
RULES = Rules()
META = LEARNING["meta"]


def signal(name: str, happened: Any, hours: Any, told: Any = None, asked: Any = None) -> Signal:
    never = np.full(len(happened), np.inf)
    hours = np.where(happened, hours, np.inf)
    return Signal(
        name=name,
        hours=hours,
        told_hours=hours if told is None else np.where(happened, told, np.inf),
        asked_hours=never if asked is None else np.where(happened, asked, np.inf),
        sent=happened.astype(float),
    )


def lender(count: int = 20_000, seed: int = 1, review_hours: float = 4.0) -> Installs:
    """Installs of which many apply and few borrow; who borrows is who earns, and campaigns differ in that."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, 3))
    good = x[:, 0] + rng.standard_normal(count)
    applied = rng.random(count) < 1 / (1 + np.exp(-x[:, 1]))
    loan = applied & (good > 1.2)
    profit = np.where(loan, 30.0 * good - 20, 0.0)
    asked = np.full(count, 1.0)
    return Installs(
        age_days=rng.uniform(0, DAYS, count),
        features=x,
        profit=profit,
        signals=(
            signal("first_application", applied, asked),
            signal("first_loan", loan, asked + review_hours, asked=asked),
        ),
    )


def advice(installs: Installs, *, rows: Any = None, rules: Rules = RULES, seed: int = 3, **asked: Any) -> Any:
    rng = np.random.default_rng(seed)
    window = asked.get("window_days") or META.window_days
    known = learned(installs, window, rules, rng)
    mine = np.arange(len(installs.age_days)) if rows is None else rows
    return choose(installs, mine, known, META, rules, rng, **asked)


def test_learning_reaches_half_of_the_variance_at_k_conversions() -> None:
    assert accuracy(np.array([0.0, 100.0, 300.0]), 100.0) == pytest.approx([0, np.sqrt(0.5), np.sqrt(0.75)])


def test_with_enough_volume_the_event_that_points_at_profit_wins() -> None:
    found = advice(lender(), current="first_application")

    assert (found.best, found.verdict) == ("first_loan", "switch")
    assert found.gain > 0.1
    assert any("leave it for 21 days" in reason for reason in found.reasons)


def test_with_a_handful_of_loans_the_earlier_event_wins() -> None:
    installs = lender()
    loans = np.isfinite(installs.signals[1].hours)
    rows = np.concatenate([np.flatnonzero(~loans)[:400], np.flatnonzero(loans)[:2]])

    assert advice(installs, rows=rows).best == "first_application"


def test_events_behind_the_window_do_not_count() -> None:
    slow = lender(review_hours=30.0)
    inside, outside = (advice(slow, window_days=days).figures[1] for days in (7, 1))

    assert (inside.inside, outside.inside) == (1.0, 0.0)
    assert (outside.counted, outside.per_week, outside.accuracy) == (0, 0, 0)
    assert advice(slow, window_days=1).best == "first_application"


def test_a_shorter_review_is_named_where_it_would_change_the_advice() -> None:
    found = advice(lender(review_hours=26.0), window_days=1)
    changes = {one.change: one for one in found.what_if}

    # No loan comes within the day; six hours sooner all of them would.
    assert found.best == "first_application"
    assert found.figures[1].counted == 0
    assert changes["a review 6 hours shorter"].best == "first_loan"
    assert changes["a review 6 hours shorter"].gain > 0.1
    assert changes["twice the installs"].best == "first_application"


def test_few_installs_are_reckoned_by_the_simple_form() -> None:
    few, many = (
        learned(lender(count=count), 7.0, Rules(form="features"), np.random.default_rng(1))
        for count in (3_000, 20_000)
    )

    assert few is not None
    assert many is not None
    assert few.rho == pytest.approx(few.alignment.guess)
    assert many.rho == pytest.approx(many.alignment.rho)


def test_a_shorter_review_never_decides_before_the_application() -> None:
    # Told at hour 5 for an application at hour 1: six hours less is hour 1, and only the youngest count more.
    found = advice(lender(review_hours=4.0))
    gain = next(one.gain for one in found.what_if if one.change == "a review 6 hours shorter")

    assert gain == pytest.approx(0, abs=0.005)


def test_counts_are_those_of_the_platforms_window_and_half_as_much_every_fortnight() -> None:
    # 14 and 28 days old and told: ½ + ¼; 0.1 days old and not told yet: nothing.
    happened = np.array([True, True, True])
    one = signal("first_loan", happened, np.array([5.0, 5.0, 5.0]))
    installs = Installs(
        age_days=np.array([14.0, 28.0, 0.1]), features=np.zeros((3, 1)), profit=np.zeros(3), signals=(one,)
    )
    found = choose(installs, np.arange(3), None, META, RULES, np.random.default_rng(1))

    assert found.figures[0].counted == pytest.approx(0.75)
    assert found.figures[0].events == 2  # of installs older than the window


def test_told_and_not_happened_is_what_the_window_looks_at() -> None:
    happened = np.array([True, True])
    late = signal("first_loan", happened, np.array([5.0, 6.0]), told=np.array([5.0, 7 * 24 + 1.0]))
    installs = Installs(
        age_days=np.array([20.0, 20.0]), features=np.zeros((2, 1)), profit=np.zeros(2), signals=(late,)
    )
    found = choose(installs, np.arange(2), None, META, RULES, np.random.default_rng(1))

    assert found.figures[0].inside == 0.5
    assert found.figures[0].late == 0.5


def test_thin_data_is_said_and_nothing_recommended() -> None:
    found = advice(lender(count=100))

    assert (found.verdict, found.best) == ("too_thin", None)
    assert "160 installs" in found.reasons[0]
    assert found.figures[0].events > 0


def test_installs_whose_profit_is_not_known_yet_do_not_tell_of_profit() -> None:
    installs = lender()
    young = replace(installs, profit=np.where(installs.age_days < 59.9, np.nan, installs.profit))

    assert advice(young).verdict == "too_thin"


def test_equal_events_have_no_clear_winner() -> None:
    installs = lender()
    twice = replace(installs, signals=(installs.signals[1], replace(installs.signals[1], name="same")))
    found = advice(twice, current="same")

    assert {round(one.best, 1) for one in found.figures} == {0.5}
    assert found.verdict in ("no_clear_winner", "keep")


def test_one_of_several_equals_is_taken_where_all_are_surely_better_than_the_present_event() -> None:
    installs = lender()
    early, late = installs.signals
    found = advice(replace(installs, signals=(early, late, replace(late, name="same"))), current=early.name)

    assert {one.best < 0.6 for one in found.figures} == {True}
    assert found.verdict == "switch"
    assert found.better > 0.9
    assert any("nearly as good" in reason for reason in found.reasons)


def test_a_gain_that_is_not_worth_a_learning_phase_keeps_the_present_event() -> None:
    found = advice(lender(), rules=replace(RULES, gain=50.0), current="first_application")

    assert found.verdict == "keep"


def test_the_same_data_give_the_same_advice_in_any_order_of_rows() -> None:
    installs = lender()
    order = np.random.default_rng(5).permutation(len(installs.age_days))
    turned = Installs(
        age_days=installs.age_days[order],
        features=installs.features[order],
        profit=installs.profit[order],
        signals=tuple(
            Signal(
                name=one.name,
                hours=one.hours[order],
                told_hours=one.told_hours[order],
                asked_hours=one.asked_hours[order],
                sent=one.sent[order],
            )
            for one in installs.signals
        ),
    )
    one, other = advice(installs), advice(turned)

    assert (one.best, one.verdict) == (other.best, other.verdict)
    assert [each.counted for each in one.figures] == pytest.approx([each.counted for each in other.figures])
    assert [each.rho for each in one.figures] == pytest.approx([each.rho for each in other.figures])


@pytest.mark.parametrize("form", ["simple", "features"])
def test_when_profit_is_shuffled_every_event_is_as_likely_to_be_best(form: Any) -> None:
    rng = np.random.default_rng(11)
    count, events = 6_000, 4
    x = rng.standard_normal((count, 4))
    signals = tuple(
        signal(f"e{place}", rng.random(count) < 1 / (1 + np.exp(1 - x[:, place])), 1.0)
        for place in range(events)
    )
    profit = np.where(rng.random(count) < 0.2, 10 * rng.standard_normal(count) + 3, 0.0)
    shares, sure = np.zeros(events), 0
    tries = 40
    for _ in range(tries):
        installs = Installs(
            age_days=np.full(count, 20.0), features=x, profit=rng.permutation(profit), signals=signals
        )
        found = advice(installs, rules=Rules(form=form), seed=int(rng.integers(1 << 30)))
        shares += [one.best / tries for one in found.figures]
        sure += found.verdict == "best"

    assert shares == pytest.approx(np.full(events, 1 / events), abs=0.13)
    assert shares.sum() == pytest.approx(1)


def test_every_platform_fact_has_a_source_and_a_day_or_says_that_it_was_not_researched() -> None:
    for one in LEARNING.values():
        assert one.source.startswith("https://") or "not researched" in one.says
        assert one.read == "2026-11-22"
    assert learning_of("somebody").label == "others"


def test_the_simple_form_takes_the_users_correlation_and_one_k() -> None:
    installs = lender()
    simple, features = (
        learned(installs, 7.0, Rules(form=form), np.random.default_rng(1)) for form in ("simple", "features")
    )

    assert isinstance(simple, Learned)
    assert isinstance(features, Learned)
    assert simple.rho == pytest.approx(simple.alignment.guess)
    assert set(simple.half_learned.tolist()) == {100.0}
    assert len(set(features.half_learned.tolist())) == 2
