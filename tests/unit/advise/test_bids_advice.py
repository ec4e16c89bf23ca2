"""The whole advice on a small made-up book: three campaigns that lose much, something, and little."""

from typing import Any

import numpy as np
import pytest

from lendsignal.advise.bids.advice import Advice, Asked, advise, lost_of_a_loss
from lendsignal.advise.bids.posterior import Floats, Ints
from lendsignal.advise.bids.steps import Guards
from lendsignal.report.chart import svg
from lendsignal.report.development import NEVER
from lendsignal.report.loan_book import Kind, LoanBook, Loans, Place, Spent

DAYS, A_DAY = 120, 6
LOST = (0.06, 0.15, 0.30)
"""Of the campaigns good, fair and poor. A loan of 1,000 has a fee of 240 and may cost 120."""

PLACES = (Place("google", "1", "good"), Place("meta", "2", "fair"), Place("meta", "3", "poor"))
ROWS = Loans.__struct_fields__


def made(seed: int = 4, **changes: Any) -> LoanBook:
    """Six loans a day of each campaign over 120 days, of 14 days; lost ones are told 25 days past due."""
    rng = np.random.default_rng(seed)
    campaign = np.repeat(np.arange(len(PLACES)), DAYS * A_DAY)
    disbursed = -np.tile(np.repeat(np.arange(DAYS), A_DAY), len(PLACES))
    n = len(campaign)
    due = disbursed + 14
    lost = rng.random(n) < np.array(LOST)[campaign]
    paid_on = due + rng.integers(-3, 6, n)
    bad_on = due + 25
    paid = ~lost & (paid_on <= 0)
    loans = Loans(
        campaign=campaign,
        kind=np.zeros(n, dtype=np.int64),
        disbursed=disbursed,
        bad_on=np.where(lost & (bad_on <= 0), bad_on, NEVER),
        due=due[:, None],
        paid_on=np.where(paid, paid_on, NEVER)[:, None],
        amount=np.full(n, 1_000.0),
        fee=np.full(n, 240.0),
        owed=np.full(n, 1_240.0),
        paid=np.where(paid, 1_240.0, 0.0),
        score=np.full(n, np.nan),
        is_repeat=np.zeros(n, dtype=np.bool_),
    )
    known = {
        "campaigns": PLACES,
        "kinds": (Kind("cash", "NG", 14, 1),),
        "loans": loans,
        "spent": Spent(np.full((3, DAYS), A_DAY * 120.0), np.zeros(3, dtype=np.int64)),
        "today": "2026-06-01",
        "currency": "NGN",
        "binding": "last_login",
    }
    return LoanBook(**{**known, **changes})


def advice(book: LoanBook | None = None, *, stepped: Any = None, **asked: Any) -> Advice:
    return advise(made() if book is None else book, Asked(**asked), np.random.default_rng(1), stepped=stepped)


def of(found: Advice, name: str) -> dict[str, Any]:
    (row,) = [one for one in found.bids.records() if one["campaign"] == name]
    return row


def picked(loans: Loans, keep: Ints) -> Loans:
    return Loans(**{name: getattr(loans, name)[keep] for name in ROWS})


def test_the_campaign_that_loses_little_is_raised_and_the_one_that_loses_much_is_lowered() -> None:
    found = advice()

    assert of(found, "good")["advice"] == "raise"
    assert of(found, "poor")["advice"] in ("lower", "pause")
    assert of(found, "good")["lost"] == pytest.approx(0.06, abs=0.025)
    assert of(found, "poor")["lost"] == pytest.approx(0.30, abs=0.05)
    # 240 − 0.06 · 1240 = 166 of profit for 120 of cost.
    assert of(found, "good")["roi"] == pytest.approx(166 / 120, rel=0.15)


def test_young_loans_are_not_taken_for_good_ones() -> None:
    book = made()
    young = picked(book.loans, np.flatnonzero(book.loans.disbursed > -30))
    by_now = float((young.bad_on < NEVER)[young.campaign == 2].mean())

    # Of the last month hardly anything is lost yet.
    assert by_now < 0.02
    assert of(advice(), "poor")["lost"] > 0.24


def test_the_order_of_the_loans_changes_nothing() -> None:
    book = made()
    mixed = np.random.default_rng(9).permutation(len(book.loans))
    other = made(loans=picked(book.loans, mixed))

    for one, two in zip(advice(book).bids.records(), advice(other).bids.records(), strict=True):
        assert one == pytest.approx(two)


def test_every_step_is_a_proposal_with_all_that_it_rests_on() -> None:
    found = advice()
    (good,) = [one for one in found.proposals if one.campaign == "good"]

    assert good.proposed == pytest.approx(good.budget * good.multiplier)
    assert good.budget == pytest.approx(720)
    assert good.lost[1] < good.lost[0] < good.lost[2]
    assert good.roi[1] < good.roi[0] < good.roi[2]
    assert good.exposure > 100
    assert sum(one.loans for one in good.cohorts) == 12 * 7 * A_DAY
    assert [one.known for one in good.cohorts] == sorted((one.known for one in good.cohorts), reverse=True)
    # 28 days at this return, and with the step.
    assert good.profit_28_days_if_left == pytest.approx((good.roi[0] - 1) * 720 * 28)
    assert good.profit_28_days_if_moved == pytest.approx(good.profit_28_days_if_left * good.multiplier)
    assert (good.method, good.binding, good.today) == ("roll rates", "last_login", "2026-06-01")


def test_a_campaign_that_was_moved_this_week_rests() -> None:
    found = advice(stepped={("google", "1", "good"): 3})

    assert of(found, "good")["advice"] == "keep"
    assert "too recent" in of(found, "good")["why"]


def test_what_later_loans_bring_makes_a_loan_worth_more() -> None:
    plain, more = advice(), advice(later=100.0)

    assert of(more, "good")["profit_per_loan"] == pytest.approx(of(plain, "good")["profit_per_loan"] + 100)
    assert any("--later" in note for note in plain.notes)
    assert not any("--later" in note for note in more.notes)


def test_with_what_later_loans_bring_only_first_loans_are_set_against_the_cost() -> None:
    book = made()
    repeats = {name: getattr(book.loans, name) for name in ROWS}
    repeats["is_repeat"] = np.arange(len(book.loans)) % 2 == 1
    mixed = made(loans=Loans(**repeats))

    assert of(advice(mixed), "good")["cost_per_loan"] == pytest.approx(120)
    assert of(advice(mixed, later=100.0), "good")["cost_per_loan"] == pytest.approx(240)


def test_costs_and_margin_lower_what_a_loan_may_cost() -> None:
    plain, dear = of(advice(), "good"), of(advice(cost=0.03, margin=0.5), "good")

    # Three per cent of 1,000 less profit; and half as much again must stay.
    assert dear["profit_per_loan"] == pytest.approx(plain["profit_per_loan"] - 30)
    assert dear["target_cpa"] == pytest.approx((plain["target_cpa"] - 30) / 1.5)
    assert plain["target_roas"] == pytest.approx(240 / plain["target_cpa"])


def test_a_lender_who_tells_of_no_payment_is_judged_by_the_development_curve() -> None:
    book = made()
    silent = {**{name: getattr(book.loans, name) for name in ROWS}}
    silent["paid_on"] = np.full_like(book.loans.paid_on, NEVER)
    found = advice(made(loans=Loans(**silent)))

    assert found.method == "development curve"
    assert of(found, "poor")["lost"] == pytest.approx(0.30, abs=0.06)


def test_the_scores_of_a_campaign_speak_where_its_loans_do_not_yet() -> None:
    book = made()
    score: Floats = np.where(
        book.loans.campaign == 0, 700.0, np.where(book.loans.campaign == 1, 650.0, 600.0)
    )
    scored = {**{name: getattr(book.loans, name) for name in ROWS}, "score": score}
    # Of the good campaign only loans that are not due yet.
    young = np.flatnonzero((book.loans.campaign != 0) | (book.loans.disbursed > -10))
    blind = advice(made(loans=picked(book.loans, young)))
    seeing = advice(made(loans=picked(Loans(**scored), young)))

    assert of(seeing, "good")["lost"] < of(blind, "good")["lost"]


def test_without_lost_loans_or_cost_nothing_is_advised_and_it_is_said_why() -> None:
    book = made()
    few = picked(book.loans, np.flatnonzero(book.loans.bad_on == NEVER))
    free = Spent(np.zeros((0, DAYS)), np.zeros(0, dtype=np.int64))
    nobody = {**{name: getattr(book.loans, name) for name in ROWS}, "campaign": np.full(len(book.loans), -1)}
    lossless, costless = (
        advice(made(loans=few)),
        advice(made(campaigns=(), spent=free, loans=Loans(**nobody))),
    )

    assert lossless.proposals == costless.proposals == ()
    assert any("30 loans" in note for note in lossless.notes)
    assert any("spend" in note for note in costless.notes)


def test_cost_that_is_not_told_for_a_week_moves_nothing() -> None:
    late = Spent(np.full((3, DAYS), A_DAY * 120.0), np.full(3, -10, dtype=np.int64))

    assert {one["advice"] for one in advice(made(spent=late)).bids.records()} == {"keep"}


def test_loans_of_days_whose_cost_is_not_told_yet_make_no_campaign_cheap() -> None:
    late = Spent(np.full((3, DAYS - 5), A_DAY * 120.0), np.full(3, -5, dtype=np.int64))
    found = of(advice(made(spent=late)), "good")

    assert found["loans"] == A_DAY * (DAYS - 5)
    assert found["cost_per_loan"] == pytest.approx(120)


def test_what_is_not_paid_back_of_a_lost_loan_is_measured_where_enough_are_old() -> None:
    book = made()
    partly = {name: getattr(book.loans, name) for name in ROWS}
    partly["paid"] = np.where(book.loans.bad_on < NEVER, 248.0, book.loans.paid)

    # 248 of 1,240 came back.
    assert lost_of_a_loss(made(loans=Loans(**partly))) == pytest.approx(0.8)
    assert lost_of_a_loss(made(loans=picked(book.loans, np.arange(10)))) == 0.9


def test_the_guards_are_the_buyers_own() -> None:
    found = advice(guards=Guards(target=5.0))

    assert {one["advice"] for one in found.bids.records()} <= {"lower", "pause"}


def test_advice_has_a_picture() -> None:
    returns, lost = advice().charts()

    assert "google · good" in svg(returns)
    assert "Lost in the end" in svg(lost)
