"""What campaigns cost, in sums made by hand."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.unit.report.kept import Kept
from tests.unit.report.test_report_attribution import came

from lendsignal.log import open_feeds
from lendsignal.model.attribution import Ad, Spend
from lendsignal.model.rates import Rate, Rates
from lendsignal.report import SpendReport, spend
from lendsignal.report.campaigns import Campaign, Campaigns

META = Ad(channel="meta", campaign_id="2384")
NAMED = Ad(channel="meta", media_source="Facebook Ads", campaign="spring", campaign_id="2384")
BY_NAME = Ad(channel="meta", media_source="Facebook Ads", campaign="spring")
RATES = Rates(
    [
        Rate(day=date(2026, 3, 9), base="USD", quote="NGN", rate=Decimal(1500)),
        Rate(day=date(2026, 3, 11), base="USD", quote="NGN", rate=Decimal(1600)),
    ]
)


def cost(day: int, amount: str, ad: Ad = META, currency: str = "NGN", **facts: Any) -> Spend:
    return Spend(
        feed="ads",
        account="a1",
        day=date(2026, 3, day),
        ad=ad,
        amount=Decimal(amount),
        currency=currency,
        **facts,
    )


def paid(path: Path, *costs: Spend) -> Kept:
    kept = Kept(path)
    feeds = open_feeds(kept.folder.feeds)
    feeds.replace_days(costs)
    feeds.close()
    return kept


def reported(kept: Kept, rates: Rates | None = None, currency: str | None = None) -> SpendReport:
    with kept.tables() as tables:
        return spend(tables, rates, currency)


def rows(table: Any, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(one[name] for name in names) for one in table.records()]


def test_cost_and_installs_meet_though_one_knows_the_id_and_the_other_the_name(tmp_path: Path) -> None:
    kept = paid(tmp_path, cost(10, "3000", impressions=7, clicks=5), cost(11, "1500"))
    kept.feed(came("a", NAMED), came("b", BY_NAME), came("c", BY_NAME, kind="re_engagement"))
    found = rows(
        reported(kept).campaigns,
        "channel",
        "campaign",
        "campaign_id",
        "currency",
        "days",
        "spend",
        "impressions",
        "clicks",
        "installs",
        "returns",
        "spend_per_install",
    )

    assert found == [
        ("meta", "spring", "2384", "NGN", 2, Decimal(4500), 7, 5, 2, 1, Decimal(2250)),
    ]


def test_each_day_is_converted_by_its_own_rate(tmp_path: Path) -> None:
    kept = paid(tmp_path, cost(10, "3000"), cost(11, "3200"), cost(11, "0.50", currency="USD"))
    report = reported(kept, RATES, "USD")

    # 3000 / 1500 on the 10th, 3200 / 1600 and half a dollar on the 11th.
    assert rows(report.days, "day", "currency", "spend") == [
        ("2026-03-10", "USD", Decimal("2.00")),
        ("2026-03-11", "USD", Decimal("2.50")),
    ]
    assert rows(report.campaigns, "currency", "spend") == [("USD", Decimal("4.50"))]
    assert report.without_rate.rows == ()


def test_a_missing_rate_is_said_and_nothing_is_guessed(tmp_path: Path) -> None:
    kept = paid(tmp_path, cost(8, "3000"), cost(10, "3000"), cost(10, "700", currency="KES"))
    report = reported(kept, RATES, "USD")

    assert rows(report.campaigns, "spend") == [(Decimal("2.00"),)]
    assert rows(report.without_rate, "day", "from", "to", "spend") == [
        ("2026-03-08", "NGN", "USD", Decimal("3000.00")),
        ("2026-03-10", "KES", "USD", Decimal("700.00")),
    ]


def test_without_a_currency_each_cost_stays_in_its_own(tmp_path: Path) -> None:
    kept = paid(tmp_path, cost(10, "3000"), cost(10, "0.5", currency="USD"))

    assert rows(reported(kept).campaigns, "currency", "spend") == [
        ("NGN", Decimal("3000.00")),
        ("USD", Decimal("0.50")),
    ]


def test_a_currency_without_small_coins_is_rounded_to_whole_ones(tmp_path: Path) -> None:
    kept = paid(tmp_path, cost(10, "1500.5", currency="UGX"), cost(11, "1501", currency="UGX"))

    assert [str(one) for (one,) in rows(reported(kept).campaigns, "spend")] == [
        "3002"
    ]  # 3001.5, half to even


def test_installs_outside_the_days_of_cost_do_not_make_an_install_cheap(tmp_path: Path) -> None:
    kept = paid(tmp_path, cost(10, "3000")).feed(came("a", NAMED), came("b", NAMED, 3 * 24 * 60))

    assert rows(reported(kept).campaigns, "installs", "spend_per_install") == [(1, Decimal("3000.00"))]


def test_cost_without_an_install_has_no_price(tmp_path: Path) -> None:
    assert rows(reported(paid(tmp_path, cost(10, "3000"))).campaigns, "installs", "spend_per_install") == [
        (0, None)
    ]


def test_a_name_that_two_campaigns_have_stands_by_itself() -> None:
    known = Campaigns([("meta", "1", "spring"), ("meta", "2", "spring"), ("tiktok", "9", "spring")])

    assert known.of("meta", "", "spring") == Campaign("meta", "", "spring")
    assert known.of("tiktok", "", "spring") == Campaign("tiktok", "9", "spring")
    assert known.of("meta", "2", "") == Campaign("meta", "2", "spring")
    assert known.of("snap", "", "") == Campaign("snap", "", "")
