"""What loans earn, lose and cost. Sums are made by hand, or loan by loan in plain Python."""

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from scipy.stats import rankdata
from tests.acme import DAY, event, loan, login, us
from tests.unit.report.kept import Kept
from tests.unit.report.world import ZONE, filled, told, world

from lendsignal.log import open_feeds
from lendsignal.model import Event
from lendsignal.model.attribution import Ad, Attribution, Spend
from lendsignal.model.rates import Rate, Rates
from lendsignal.report import Funnel, funnel
from lendsignal.report.earnings import HORIZONS, Purse, count_interval, money_interval
from lendsignal.report.slices import Slice
from lendsignal.simulate.chance import NEVER

LAGOS = ZoneInfo(ZONE)
KWAI = Ad(channel="kwai", media_source="kwai_int", campaign="kw_1")


def came(name: str, minutes: float, ad: Ad = KWAI, app: str = "acme-ng") -> Attribution:
    return Attribution(
        feed="mmp", mmp="appsflyer", app=app, id=name, at_us=us(minutes), told_us=us(minutes), ad=ad
    )


def cost(day: date, amount: str, ad: Ad = KWAI, currency: str = "NGN") -> Spend:
    return Spend(feed="ads", account="a", day=day, ad=ad, amount=Decimal(amount), currency=currency)


def paid(kept: Kept, *costs: Spend) -> Kept:
    feeds = open_feeds(kept.folder.feeds)
    feeds.replace_days(costs)
    feeds.close()
    return kept


def back(minutes: float, amount: str, name: str = "L1", kind: str = "repaid", **fields: Any) -> Event:
    known = {"payment_id": f"P{minutes}", "loan_id": name, "amount": Decimal(amount), "currency": "NGN"}
    return event(kind, minutes, **{**known, **fields})


def reported(kept: Kept, one: Slice = Slice(), **options: Any) -> Funnel:  # noqa: B008 - frozen
    with kept.tables() as tables:
        return funnel(tables, one, **options)


def rows(table: Any, *names: str, **where: Any) -> list[tuple[Any, ...]]:
    return [
        tuple(one[name] for name in names)
        for one in table.records()
        if all(one[key] == value for key, value in where.items())
    ]


def lender(path: Path) -> Kept:
    """Installed on 10 March, 10:00 in Lagos; lent 25,000 for 1,500 the same day, paid back in two parts."""
    kept = Kept(path).tell(
        login(5, "a"),
        event("registered", 6),
        loan(10, "L1", loan_number=1),
        back(7 * DAY, "13250", fee=Decimal(1000), principal=Decimal(12_250)),
        back(14 * DAY, "13250", fee=Decimal(500), principal=Decimal(12_750)),
        event("app_opened", 20 * DAY),
    )
    return paid(kept.feed(came("af-a", 0)), cost(date(2026, 3, 10), "600"))


def test_fees_are_earned_when_they_are_repaid_and_stand_beside_the_cost(tmp_path: Path) -> None:
    report = reported(lender(tmp_path))

    # 1,500 of fees less 600 of spend; 1,500 / 600 = 250 %.
    assert rows(report.worth, "currency", "spend", "revenue", "loss", "margin", "roas") == [
        ("NGN", Decimal(600), Decimal(1500), Decimal(0), Decimal(900), 2.5)
    ]


def test_the_return_is_told_by_age_and_only_of_those_who_are_that_old(tmp_path: Path) -> None:
    report = reported(lender(tmp_path))
    found = rows(report.horizons, "horizon", "installs", "mature", "revenue", "roas", "remark")

    # The youngest event came on day 20: of D30 and later nothing can be said.
    assert found == [
        ("D0", 1, 1, Decimal(0), 0.0, "thin"),
        ("D7", 1, 1, Decimal(1000), 1000 / 600, "thin"),
        ("D14", 1, 1, Decimal(1500), 2.5, "thin"),
        ("D30", 1, 0, None, None, "not mature"),
        ("D60", 1, 0, None, None, "not mature"),
        ("D90", 1, 0, None, None, "not mature"),
    ]


def test_a_cohort_is_mature_when_its_last_day_is_over_and_not_before(tmp_path: Path) -> None:
    """D7 of 10 March is over when 18 March begins in Lagos: 23:00 UTC of the 17th."""
    midnight = 7 * DAY + 14 * 60
    for name, minutes, mature in (("before", midnight - 1, 0), ("after", midnight, 1)):
        kept = Kept(tmp_path / name).tell(login(5, "a"), event("app_opened", minutes)).feed(came("af-a", 0))
        paid(kept, cost(date(2026, 3, 10), "600"))

        assert rows(reported(kept).horizons, "mature", horizon="D7") == [(mature,)]


def test_only_the_mature_part_of_revenue_and_of_spend_is_told(tmp_path: Path) -> None:
    kept = lender(tmp_path).tell(
        login(13 * DAY, "b", user_id="u2"),
        loan(13 * DAY + 1, "L2", user_id="u2", loan_number=1),
        back(13 * DAY + 2, "500", "L2", user_id="u2", fee=Decimal(400)),
    )
    kept.feed(came("af-b", 13 * DAY))
    paid(kept, cost(date(2026, 3, 23), "100"))
    names = ("installs", "mature", "mature_share", "spend", "revenue", "remark")
    horizons = reported(kept).horizons

    assert rows(horizons, *names, horizon="D0") == [(2, 2, 1.0, Decimal(700), Decimal(400), "thin")]
    # The second came on 23 March; on the 30th its D7 is not over.
    assert rows(horizons, *names, horizon="D7") == [(2, 1, 0.5, Decimal(600), Decimal(1000), "thin maturing")]


def test_a_loan_that_is_lost_loses_what_is_out_and_gets_back_what_comes_later(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(
        login(5, "a"),
        loan(10, "L1", loan_number=1),
        back(20 * DAY, "5000", fee=Decimal(1000)),
        event("overdue", 80 * DAY, loan_id="L1", dpd=60),
        event("defaulted", 81 * DAY, loan_id="L1"),
    )
    lost = rows(reported(kept).worth, "revenue", "loss")
    kept.tell(back(90 * DAY, "7000", kind="recovered"))
    less = rows(reported(kept).worth, "revenue", "loss")

    # 25,000 were lent, 4,000 of principal had come back; then 7,000 more. The loss is told once.
    assert lost == [(Decimal(1000), Decimal(21_000))]
    assert less == [(Decimal(1000), Decimal(14_000))]


def test_a_repayment_that_tells_no_fee_has_the_loans_own_share_of_fees(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(login(5, "a"), loan(10, "L1"), back(DAY, "13250"), back(2 * DAY, "13250"))

    # Half of 26,500 has half of the fee of 1,500, twice.
    assert rows(reported(kept).worth, "revenue") == [(Decimal(1500),)]


def test_a_fee_for_an_extension_is_earned(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(
        login(5, "a"), loan(10, "L1"), event("extended", DAY, loan_id="L1", fee=Decimal(75), currency="NGN")
    )

    assert rows(reported(kept).worth, "revenue") == [(Decimal(75),)]


def test_money_of_a_loan_stands_where_the_loan_was_paid_out(tmp_path: Path) -> None:
    """The repayment comes from another phone, which another campaign brought."""
    tiktok = Ad(channel="tiktok", media_source="tiktok_int", campaign="tt_1")
    kept = lender(tmp_path).tell(login(6 * DAY, "b")).feed(came("af-b", 6 * DAY, tiktok))
    report = reported(kept, Slice(by=("campaign",)))

    assert rows(report.worth, "campaign", "revenue") == [("kwai_int / kw_1", Decimal(1500))]


def test_money_counts_on_the_day_it_moved_or_on_the_cohorts(tmp_path: Path) -> None:
    kept = lender(tmp_path)
    by_day = reported(kept, Slice(every="day"))
    by_cohort = reported(kept, Slice(every="day"), cohort="install")

    assert rows(by_day.worth, "day", "spend", "revenue") == [
        ("2026-03-10", Decimal(600), Decimal(0)),
        ("2026-03-17", Decimal(0), Decimal(1000)),
        ("2026-03-24", Decimal(0), Decimal(500)),
    ]
    assert rows(by_cohort.worth, "day", "spend", "revenue", "roas") == [
        ("2026-03-10", Decimal(600), Decimal(1500), 2.5)
    ]


def test_a_step_costs_the_spend_divided_by_its_users(tmp_path: Path) -> None:
    kept = lender(tmp_path).tell(login(7, "b", user_id="u2")).feed(came("af-b", 6), came("af-c", 6))
    found = rows(reported(kept).costs, "step", "users", "cost", "remark", loans="first")

    assert found == [
        ("installed", 3, Decimal("200.00"), "thin"),
        ("registered", 1, Decimal("600.00"), "thin"),
        ("applied", 0, None, "empty"),
        ("granted", 0, None, "empty"),
        ("disbursed", 1, Decimal("600.00"), "thin"),
    ]


def test_installs_come_before_registrations_where_an_mmp_tells_of_them(tmp_path: Path) -> None:
    kept = lender(tmp_path).feed(came("af-never", 3))
    steps = reported(kept).steps

    assert rows(steps, "users", "events", step="installed", loans="first") == [(2, 2)]
    assert rows(steps, "of", "rate", step="registered", loans="first") == [("installed", 0.5)]


def test_cost_is_not_split_by_what_no_cost_tells(tmp_path: Path) -> None:
    report = reported(lender(tmp_path), Slice(by=("os",)))

    assert rows(report.worth, "spend", "margin", "roas", "revenue") == [(None, None, None, Decimal(1500))]
    assert "Cost is not told by os: nothing is said of returns on it." in report.notes


def test_each_currency_stands_alone_unless_it_is_converted_each_day_by_its_own_rate(tmp_path: Path) -> None:
    kept = paid(lender(tmp_path), cost(date(2026, 3, 10), "2", currency="USD"))
    rates = Rates(
        [
            Rate(day=date(2026, 3, 10), base="USD", quote="NGN", rate=Decimal(1000)),
            Rate(day=date(2026, 3, 17), base="USD", quote="NGN", rate=Decimal(1250)),
            Rate(day=date(2026, 3, 24), base="USD", quote="NGN", rate=Decimal(2000)),
        ]
    )
    alone = rows(reported(kept).worth, "currency", "spend", "revenue")
    dollars = rows(
        reported(kept, purse=Purse(currency="USD", rates=rates)).worth, "currency", "spend", "revenue"
    )
    without = reported(kept, purse=Purse(currency="USD"))

    assert alone == [("NGN", Decimal(0), Decimal(1500)), ("USD", Decimal(2), Decimal(0))]
    # 2 USD; 1,000 NGN at 1,250 and 500 NGN at 2,000 are 0.80 and 0.25.
    assert dollars == [("USD", Decimal("2.00"), Decimal("1.05"))]
    assert "2 payments and costs have no rate to USD: left out." in without.notes


def test_the_time_to_a_step_runs_from_the_users_first_step_before(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    for number, took in enumerate((10, 20, 30)):
        user = f"u{number}"
        kept.tell(
            event("registered", 0, user_id=user, event_id=f"r{user}"),
            event("applied", took, user_id=user, application_id=user, event_id=f"a{user}"),
            event("applied", took + 99, user_id=user, application_id=user + "b", event_id=f"b{user}"),
        )

    assert rows(reported(kept).times, "of", "users", "p50", "p90", loans="all") == [
        ("registered", 3, 1200.0, 28 * 60.0)
    ]


# against the truth of a made-up lender


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[Kept, Any]:
    one = world(users=300, days=150)
    return filled(tmp_path_factory.mktemp("earnings"), one), one


def slow_cash(events: list[Event]) -> dict[str, tuple[Decimal, Decimal]]:
    """Of each loan what it earned and lost, event by event in the order they happened."""
    undone = {one.loan_id for one in events if one.type in ("disbursement_reversed", "loan_cancelled")}
    reversed_ = {one.payment_id for one in events if one.type == "repayment_reversed"}
    testers = {one.user_id for one in events if one.test}
    lent: dict[str, Decimal] = {}
    earned: dict[str, Decimal] = defaultdict(Decimal)
    lost: dict[str, Decimal] = defaultdict(Decimal)
    out: dict[str, Decimal] = {}
    seen: set[object] = set()
    # What happens in one instant happens in the order it was told; a loss counts what was paid by then.
    order = {"disbursed": 0, "repaid": 1, "recovered": 1, "extended": 1}
    for one in sorted(events, key=lambda one: (one.occurred_at, order.get(one.type, 2))):
        name = one.loan_id or ""
        if (
            one.user_id in testers
            or name in undone
            or one.type
            not in (
                *order,
                "overdue",
                "defaulted",
            )
        ):
            continue
        key = (one.type, one.payment_id or name, one.dpd, one.due_date)
        if key in seen or one.payment_id in reversed_:
            continue
        seen.add(key)
        amount, fee = one.amount or Decimal(0), one.fee or Decimal(0)
        match one.type:
            case "disbursed":
                lent[name] = out[name] = amount
            case "extended":
                earned[name] += fee
            case "repaid" | "recovered":
                earned[name] += fee
                out[name] -= amount - fee
                if name in lost:
                    lost[name] -= amount - fee
            case _:
                if name not in lost and (one.type == "defaulted" or (one.dpd or 0) >= 60):
                    lost[name] = out[name]
    return {name: (earned[name], lost.get(name, Decimal(0))) for name in lent}


def test_earned_and_lost_are_what_counting_loan_by_loan_gives(made_up: tuple[Kept, Any]) -> None:
    kept, one = made_up
    events = list(told(one))
    expected = slow_cash(events)
    with kept.tables() as tables:
        report = funnel(tables)

    assert rows(report.worth, "revenue", "loss") == [
        (sum(earned for earned, _ in expected.values()), sum(lost for _, lost in expected.values()))
    ]
    assert sum(lost > 0 for _, lost in expected.values()) > 5


def test_earned_less_lost_is_the_true_margin_of_the_loans_that_are_over(made_up: tuple[Kept, Any]) -> None:
    kept, one = made_up
    book = one.book.loans
    back_at = book.repaying.recovered_at  # what is still to be recovered is in the truth, and not told yet
    coming = (back_at >= one.end) & (back_at < NEVER)
    over = {
        f"L{number + 1:08d}": int(book.margin[number])
        for number in np.flatnonzero((book.at < one.end) & (book.ended_at < one.end) & ~coming).tolist()
        if not one.people.test[book.user[number]]
    }
    with kept.tables() as tables:
        funnel(tables)
        found = dict(
            tables.rows(
                "select c.loan_id, sum(b.earned - b.lost) from booked b"
                " join (select distinct loan, loan_id from counted where loan is not null) c using (loan)"
                " group by 1"
            )
        )
    ended = {name: margin for name, margin in over.items() if name in found}

    assert len(ended) > 100
    assert {name: int(found[name]) for name in ended} == ended


def test_horizons_are_what_counting_user_by_user_gives(made_up: tuple[Kept, Any]) -> None:
    """Without an MMP the cohort is the day of registration; fees by then, of those who are old enough."""
    kept, one = made_up
    events = list(told(one))
    testers = {event.user_id for event in events if event.test}
    registered = {
        event.user_id: event.occurred_at.astimezone(LAGOS).date()
        for event in sorted(events, key=lambda event: event.occurred_at, reverse=True)
        if event.type == "registered" and event.user_id not in testers
    }
    today = max(event.received_at for event in events).astimezone(LAGOS).date()
    undone = {event.loan_id for event in events if event.type in ("disbursement_reversed", "loan_cancelled")}
    bounced = {event.payment_id for event in events if event.type == "repayment_reversed"}
    fees = {
        (event.type, event.payment_id or event.event_id): event
        for event in events
        if event.type in ("repaid", "recovered", "extended")
        and event.loan_id not in undone
        and event.payment_id not in bounced
        and event.user_id in registered
    }
    expected = []
    for horizon in HORIZONS:
        ripe = {user for user, day in registered.items() if day + timedelta(days=horizon) < today}
        revenue = sum(
            (event.fee or Decimal(0))
            for event in fees.values()
            if event.user_id in ripe
            and event.occurred_at.astimezone(LAGOS).date()
            <= registered[event.user_id] + timedelta(days=horizon)
        )
        expected.append((f"D{horizon}", len(registered), len(ripe), revenue))
    with kept.tables() as tables:
        report = funnel(tables)

    assert rows(report.horizons, "horizon", "registrations", "mature", "revenue") == expected


def test_early_fees_are_ranked_as_the_slow_way_ranks_them(tmp_path: Path) -> None:
    """Spearman's: Pearson's of the ranks, ties sharing theirs."""
    rng = np.random.default_rng(3)
    kept = Kept(tmp_path)
    fees = rng.integers(1, 6, (40, 3)) * 100
    for user, (first, second, third) in enumerate(fees.tolist()):
        for days, fee in ((0, first), (20, second), (100, third)):
            name = f"{user}-{days}"
            kept.tell(loan(days * DAY + user, name, user_id=f"u{user}", fee=Decimal(fee)))
    kept.tell(event("app_opened", 200 * DAY))
    by_180 = rankdata(fees.sum(axis=1))
    expected = [
        float(np.corrcoef(rankdata(known), by_180)[0, 1])
        for known in (fees[:, 0], fees[:, :2].sum(axis=1), fees[:, :2].sum(axis=1))
    ]
    found = rows(reported(kept).early, "days", "users", "rank_correlation")

    assert [(days, users) for days, users, _ in found] == [(7, 40), (30, 40), (90, 40)]
    assert [known for *_, known in found] == pytest.approx(expected, abs=1e-9)


# intervals


def test_the_interval_of_money_holds_the_truth_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(2_000):
        users = rng.poisson(150)
        amounts = rng.gamma(0.8, 1_000, users)
        low, high = money_interval(float(amounts.sum()), float((amounts**2).sum()))
        held += low <= 150 * 800 <= high

    assert 0.93 < held / 2_000 < 0.97


def test_the_interval_of_a_count_holds_the_truth_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(5)
    for mean in (5, 40, 400):
        held = [low <= mean <= high for low, high in map(count_interval, rng.poisson(mean, 4_000).tolist())]

        assert 0.93 < float(np.mean(held)) < 0.98
