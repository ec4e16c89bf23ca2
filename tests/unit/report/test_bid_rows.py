"""Loans by campaign and what campaigns cost, as advice on bids reads them; days are counted by hand."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.acme import DAY, HOUR, event, login
from tests.unit.report.kept import Kept
from tests.unit.report.test_report_vintages import back, late, lent

from lendsignal.log import open_feeds
from lendsignal.model import Event, Instalment
from lendsignal.model.attribution import Ad, Attribution, AttributionKind, Spend
from lendsignal.model.rates import Rate, Rates
from lendsignal.report import load
from lendsignal.report.bid_rows import loan_book
from lendsignal.report.development import NEVER
from lendsignal.report.loan_book import LoanBook

AD = Ad(channel="meta", media_source="Facebook Ads", campaign="spring", campaign_id="2384")
RETURNS = Ad(channel="meta", media_source="Facebook Ads", campaign="come back", campaign_id="99")


def cost(day: int, amount: str, ad: Ad = AD, currency: str = "NGN") -> Spend:
    return Spend(
        feed="ads", account="a1", day=date(2026, 3, day), ad=ad, amount=Decimal(amount), currency=currency
    )


def came(name: str, ad: Ad = AD, kind: AttributionKind = AttributionKind.INSTALL) -> Attribution:
    """The installation of that name came by the ad."""
    return Attribution(
        feed="mmp", mmp="appsflyer", app="acme-ng", id=f"af-{name}", kind=kind, told_us=1, ad=ad
    )


def kept(path: Path, *events: Event, costs: tuple[Spend, ...] = (cost(10, "3000"),)) -> Kept:
    """A lender whose user's phone came by the campaign; T0 is the 10th of March, ten in the morning."""
    told = Kept(path).feed(came("a"))
    feeds = open_feeds(told.folder.feeds)
    feeds.replace_days(costs)
    feeds.close()
    return told.tell(login(-HOUR, "a"), *events)


def book(lender: Kept, **options: Any) -> LoanBook:
    with load(lender.folder) as tables:
        return loan_book(tables, **{"currency": "NGN", **options})


def two_parts(minutes: float, name: str = "L1") -> Event:
    schedule = tuple(
        Instalment(due_date=day, amount=Decimal(13_250)) for day in (date(2026, 4, 9), date(2026, 5, 9))
    )
    return lent(minutes, name, schedule=schedule, term_days=60)


def test_days_are_counted_back_from_today_by_the_apps_own_clock(tmp_path: Path) -> None:
    # Told until the 20th of March, 23:30 in Lagos.
    now = 10 * DAY + 13 * HOUR + 30
    found = book(kept(tmp_path, lent(0), lent(9 * DAY + 14 * HOUR, "L2"), login(now, "a"))).loans

    # The second one was paid out on the 20th at 00:00 in Lagos, when it was the 19th in UTC.
    assert found.disbursed.tolist() == [-10, 0]
    # Both are due on the 24th.
    assert found.due.tolist() == [[4], [4]]
    assert found.final_due.tolist() == [4, 4]


def test_an_instalment_is_paid_on_the_day_by_which_all_up_to_it_was(tmp_path: Path) -> None:
    told = (two_parts(0), back(29 * DAY, 10_000), back(31 * DAY, 3_250), back(40 * DAY, 13_250))
    found = book(kept(tmp_path, *told)).loans

    # Today is the 19th of April, day 40. The first part is due on day 30 and whole on day 31.
    assert found.due.tolist() == [[-10, 20]]
    assert found.paid_on.tolist() == [[-9, 0]]


def test_what_is_not_paid_is_never_paid_and_shorter_loans_have_fewer_parts(tmp_path: Path) -> None:
    found = book(kept(tmp_path, lent(0), two_parts(0, "L2"), login(DAY, "a"))).loans

    assert found.due.tolist() == [[13, NEVER], [29, 59]]
    assert found.paid_on.tolist() == [[NEVER, NEVER], [NEVER, NEVER]]


def test_a_loan_is_lost_on_the_day_it_is_told_or_as_late_as_a_loss_whichever_is_first(tmp_path: Path) -> None:
    told = (
        lent(0),
        lent(1, "L2"),
        lent(2, "L3"),
        late(20 * DAY, 6),
        event("defaulted", 30 * DAY, loan_id="L1"),
        late(104 * DAY, 90, "L2"),
        late(30 * DAY, 16, "L3"),
    )
    found = book(kept(tmp_path, *told)).loans

    # Today is day 104; the policy counts a loan as lost from 90 days past due on.
    assert found.bad_on.tolist() == [30 - 104, 0, NEVER]


def test_an_extension_moves_the_last_day(tmp_path: Path) -> None:
    told = (lent(0), event("extended", 5 * DAY, loan_id="L1", due_date=date(2026, 4, 7)), login(5 * DAY, "a"))

    # From the 24th of March to the 7th of April; today is the 15th of March.
    assert book(kept(tmp_path, *told)).loans.due.tolist() == [[23]]


def test_loans_and_cost_meet_at_the_campaign_of_the_binding(tmp_path: Path) -> None:
    lender = kept(tmp_path, login(0, "b"), lent(1), costs=(cost(10, "3000"), cost(10, "500", RETURNS)))
    lender.feed(came("b", RETURNS))
    last, first = book(lender), book(lender, binding="first_install")

    def of(one: LoanBook) -> list[str]:
        return [one.campaigns[place].name if place >= 0 else "none" for place in one.loans.campaign.tolist()]

    assert of(last) == ["come back"]
    assert of(first) == ["spring"]


def test_loans_of_campaigns_without_cost_only_teach(tmp_path: Path) -> None:
    found = book(kept(tmp_path, lent(0), costs=(cost(10, "500", RETURNS),)))

    assert found.loans.campaign.tolist() == [-1]
    assert [one.name for one in found.campaigns] == ["come back"]


def test_money_is_converted_by_the_rate_of_its_day_and_left_out_without_one(tmp_path: Path) -> None:
    rates = Rates([Rate(day=date(2026, 3, 10), base="USD", quote="NGN", rate=Decimal(1_600))])
    costs = (cost(10, "3200"), cost(11, "2", currency="USD"), cost(12, "7", currency="EUR"))
    found = book(kept(tmp_path, lent(0), login(2 * DAY, "a"), costs=costs), rates=rates, currency="USD")

    assert found.spent.amount.tolist() == [[2.0, 2.0]]
    # 25,000 naira and 1,500 of fee.
    assert found.loans.amount.tolist() == [25_000 / 1_600]
    assert found.loans.fee.tolist() == [1_500 / 1_600]
    assert any("without a rate" in note for note in found.notes)


def test_cost_ends_on_the_last_day_that_its_channel_tells_of(tmp_path: Path) -> None:
    costs = (cost(10, "300"), cost(12, "500"), cost(12, "80", RETURNS))
    spent = book(kept(tmp_path, lent(0), login(5 * DAY, "a"), costs=costs)).spent
    mean = dict(zip(("spring", "come back"), spent.over(3).tolist(), strict=True))

    # Today is the 15th.
    assert spent.until.tolist() == [-3, -3]
    assert spent.day[0].tolist() == [-5, -4, -3]
    assert sorted(spent.amount.tolist()) == [[0.0, 0.0, 80.0], [300.0, 0.0, 500.0]]
    assert sorted(mean.values()) == pytest.approx([80 / 3, 800 / 3])


def test_a_campaign_is_for_retargeting_where_most_that_came_had_the_app(tmp_path: Path) -> None:
    lender = kept(tmp_path, lent(0), costs=(cost(10, "3000"), cost(10, "500", RETURNS)))
    lender.feed(came("b", RETURNS, AttributionKind.RE_ENGAGEMENT))

    assert {one.name: one.is_retargeting for one in book(lender).campaigns} == {
        "spring": False,
        "come back": True,
    }


def granted(minutes: float, score: float | None, version: str | None, name: str) -> Event:
    return event("credit_granted", minutes, grant_id=name, score=score, score_version=version)


def test_a_loan_has_the_score_of_its_grant_among_those_of_the_same_model(tmp_path: Path) -> None:
    told = (
        granted(0, 600, "v1", "G1"),
        lent(1),
        granted(2, 640, "v1", "G2"),
        lent(3, "L2"),
        granted(4, 0.5, "v2", "G3"),
        lent(5, "L3"),
        granted(6, 0.9, "v2", "G4"),
        lent(7, "L4"),
    )

    # 600 and 640 are one standard deviation below and above 620, as are 0.5 and 0.9 of 0.7.
    assert book(kept(tmp_path, *told)).loans.score == pytest.approx([-1, 1, -1, 1])


def test_loans_without_a_due_day_are_left_out_and_counted(tmp_path: Path) -> None:
    found = book(kept(tmp_path, lent(0), lent(1, "L2", schedule=(), term_days=None)))

    assert len(found.loans) == 1
    assert found.notes == ("1 loans without a due day left out.",)


def test_reversed_loans_and_payments_count_for_nothing(tmp_path: Path) -> None:
    told = (
        lent(0),
        lent(1, "L2"),
        event("loan_cancelled", 60, loan_id="L2"),
        back(DAY, 26_500),
        event("repayment_reversed", 2 * DAY, payment_id=f"P{DAY}", loan_id="L1"),
    )
    found = book(kept(tmp_path, *told)).loans

    assert len(found) == 1
    assert found.paid.tolist() == [0.0]
    assert np.all(found.paid_on == NEVER)
