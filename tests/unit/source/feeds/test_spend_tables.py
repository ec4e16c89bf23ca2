"""Cost out of the tables that platforms, connectors and people make; sums checked the slow way."""

import csv
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.unit.source.feeds.feeding import SHARED, written

from lendsignal.errors import InputError
from lendsignal.log import Feeds, open_feeds
from lendsignal.model.attribution import Spend
from lendsignal.source.feeds import Brought, SpendFeed, SpendSettings, import_spend
from lendsignal.source.feeds.spend import Names, cost_of

SEEDS = SHARED / "data/ads_connector_seeds"
needs_seeds = pytest.mark.skipif(
    not SEEDS.exists(), reason=f"no connector tables in {'/'.join(SEEDS.parts[-3:])}: nothing to read"
)


def account(kind: str, **settings: Any) -> SpendFeed:
    return SpendFeed("ads", SpendSettings(kind=kind, **settings))  # type: ignore[arg-type]


def cost(feed: SpendFeed, **row: str) -> Spend:
    return cost_of(feed, Names(), row)


@contextmanager
def store(folder: Path) -> Iterator[Feeds]:
    feeds = open_feeds(folder / "feeds.sqlite")
    try:
        yield feeds
    finally:
        feeds.close()


def brought(folder: Path, path: Path, feed: SpendFeed, *names: Path) -> Brought:
    with store(folder) as feeds:
        return import_spend(feeds, path, feed, names)


def kept(folder: Path) -> list[Spend]:
    with store(folder) as feeds:
        return list(feeds.spend())


def rows_of(name: str) -> list[dict[str, str]]:
    with (SEEDS / name).open(newline="", encoding="utf-8-sig") as lines:
        return list(csv.DictReader(lines))


def test_google_tells_millionths() -> None:
    row = {
        "segments.date": "2026-11-20",
        "campaign.id": "171",
        "campaign.name": "NG spring",
        "customer.id": "2121450128",
        "customer.currency_code": "NGN",
        "metrics.cost_micros": "36150000",
        "metrics.clicks": "49",
    }
    found = cost(account("google_ads"), **row)

    assert (found.amount, found.currency, found.day) == (Decimal("36.15"), "NGN", date(2026, 11, 20))
    assert (found.ad.channel, found.ad.campaign, found.ad.campaign_id) == ("google", "NG spring", "171")
    assert found.account == "2121450128"


def test_snap_tells_millionths_in_a_column_called_spend() -> None:
    found = cost(account("snap", currency="USD"), date="2026-11-20", spend="163989", campaign_id="40ba")

    assert found.amount == Decimal("0.163989")


def test_metas_own_export_has_the_currency_in_the_heading() -> None:
    row = {"Day": "2026-11-20", "Campaign name": "NG spring", "Amount spent (USD)": "1,076.53"}
    found = cost(account("meta"), **row)

    assert (found.amount, found.currency, found.ad.campaign) == (Decimal("1076.53"), "USD", "NG spring")


def test_apple_tells_local_spend() -> None:
    row = {"date": "2026-11-20", "localSpend.amount": "12.5", "localSpend.currency": "USD", "campaignId": "9"}
    found = cost(account("apple", columns={"campaignId": "campaign_id"}), **row)

    assert (found.amount, found.currency, found.ad.channel, found.ad.campaign_id) == (
        Decimal("12.5"),
        "USD",
        "apple",
        "9",
    )


def test_an_hour_belongs_to_the_accounts_own_day() -> None:
    lagos = account("tiktok", currency="USD", timezone="Africa/Lagos", hours_in="UTC")
    own = account("tiktok", currency="USD", timezone="Africa/Lagos")
    row = {"STAT_TIME_HOUR": "2021-09-15 23:00:00", "SPEND": "1", "CAMPAIGN_ID": "5"}

    assert cost(lagos, **row).day == date(2021, 9, 16)
    assert cost(own, **row).day == date(2021, 9, 15)


@pytest.mark.parametrize(("currency", "amount"), [("USD", "12.34"), ("UGX", "1234")])
def test_the_smallest_coin_depends_on_the_currency(currency: str, amount: str) -> None:
    feed = account("generic", unit="minor")
    found = cost(feed, date="2026-11-20", spend="1234", currency=currency, media_source="kwai_int")

    assert (found.amount, found.ad.channel) == (Decimal(amount), "kwai")


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"spend": "1", "currency": "USD"}, "date"),
        ({"date": "2026-11-20", "currency": "USD"}, "spend"),
        ({"date": "2026-11-20", "spend": "1"}, "currency"),
        ({"date": "2026-11-20", "spend": "1,5", "currency": "USD"}, "spend"),
        ({"date": "soon", "spend": "1", "currency": "USD"}, "date"),
        ({"date": "2026-11-20", "spend": "1", "currency": "dollars"}, "currency"),
    ],
)
def test_what_is_missing_or_unclear_is_refused_and_not_guessed(row: dict[str, str], field: str) -> None:
    with pytest.raises(InputError) as refused:
        cost(account("meta"), **row)

    assert refused.value.field == field


DAYS = """\
date,account_id,campaign_id,campaign_name,account_currency,spend
2026-11-20,a1,1,one,USD,10.00
2026-11-20,a1,2,two,USD,20.00
2026-11-21,a1,1,one,USD,30.00
2026-11-20,a2,7,seven,USD,70.00
"""


def test_a_later_file_replaces_the_days_of_its_accounts_and_leaves_the_others(tmp_path: Path) -> None:
    meta = account("meta")
    brought(tmp_path, written(tmp_path / "first.csv", DAYS), meta)
    corrected = DAYS.splitlines()[0] + "\n2026-11-20,a1,1,one,USD,11.50\n"
    brought(tmp_path, written(tmp_path / "second.csv", corrected), meta)

    # Campaign 2 is gone from that day: the platform took it back.
    assert [(one.day.day, one.account, one.ad.campaign, one.amount) for one in kept(tmp_path)] == [
        (20, "a1", "one", Decimal("11.5")),
        (20, "a2", "seven", Decimal(70)),
        (21, "a1", "one", Decimal(30)),
    ]


def test_a_file_read_twice_changes_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "days.csv", DAYS)
    brought(tmp_path, path, account("meta"))
    first = kept(tmp_path)
    brought(tmp_path, path, account("meta"))

    assert kept(tmp_path) == first
    assert sum(one.amount for one in first) == Decimal(130)


def test_a_file_with_one_bad_row_is_not_taken_at_all(tmp_path: Path) -> None:
    found = brought(
        tmp_path, written(tmp_path / "days.csv", DAYS + "2026-11-22,a1,1,one,USD,ten\n"), account("meta")
    )

    assert found.refused == {"spend: must be a number such as 1234.50": 1}
    assert found.taken == {}
    assert kept(tmp_path) == []


def test_lines_above_the_heading_and_sums_below_are_no_rows(tmp_path: Path) -> None:
    text = (
        'Campaign report\n"November 20, 2026 - November 21, 2026"\nDay,Campaign,Campaign ID,'
        "Currency code,Cost\n2026-11-20,NG spring,171,NGN,5000.00\nTotal: Account,,,NGN,5000.00\n"
    )
    found = brought(tmp_path, written(tmp_path / "google.csv", text), account("google_ads"))

    assert (found.taken, found.passed_over) == ({"spend": 1}, 1)
    assert [one.amount for one in kept(tmp_path)] == [Decimal(5000)]


def test_names_are_the_newest_of_a_history_whatever_its_order(tmp_path: Path) -> None:
    history = "id,name,updated_at\n171,old,2026-01-01\n171,new,2026-03-01\n171,middle,2026-02-01\n"
    spent = "date,id,cost_micros,currency_code\n2026-11-20,171,1000000,NGN\n"
    brought(
        tmp_path,
        written(tmp_path / "spend.csv", spent),
        account("google_ads"),
        written(tmp_path / "names.csv", history),
    )

    assert [one.ad.campaign for one in kept(tmp_path)] == ["new"]


# the connectors' own tables


@needs_seeds
def test_the_google_seed_sums_to_its_millionths(tmp_path: Path) -> None:
    google = account("google_ads", currency="USD")
    names = SEEDS / "google_ads_campaign_history_data.csv"
    brought(tmp_path, SEEDS / "google_ads_campaign_stats_data.csv", google, names)

    slow: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows_of("google_ads_campaign_stats_data.csv"):
        slow[row["date"], row["id"]] += int(row["cost_micros"])
    found = {(one.day.isoformat(), one.ad.campaign_id): one.amount for one in kept(tmp_path)}
    assert found == {key: Decimal(micros) / 1_000_000 for key, micros in slow.items()}
    newest: dict[str, tuple[str, str]] = {}
    for row in rows_of("google_ads_campaign_history_data.csv"):
        newest[row["id"]] = max(newest.get(row["id"], ("", "")), (row["updated_at"], row["name"]))
    assert {one.ad.campaign for one in kept(tmp_path)} == {
        newest[id_][1] if id_ in newest else "" for _, id_ in slow
    }


@needs_seeds
def test_the_meta_seed_finds_campaigns_by_way_of_its_ads(tmp_path: Path) -> None:
    tables = [SEEDS / f"facebook_ads_{name}_history_data.csv" for name in ("ad", "ad_set", "campaign")]
    brought(tmp_path, SEEDS / "facebook_ads_basic_ad_data.csv", account("meta", currency="USD"), *tables)

    campaign_of = {row["id"]: row["campaign_id"] for row in rows_of("facebook_ads_ad_history_data.csv")}
    slow: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in rows_of("facebook_ads_basic_ad_data.csv"):
        slow[row["date"], campaign_of.get(row["ad_id"], "")] += Decimal(row["spend"])
    found: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for one in kept(tmp_path):
        found[one.day.isoformat(), one.ad.campaign_id] += one.amount
    assert found == slow


@needs_seeds
@pytest.mark.parametrize(
    ("kind", "file", "hour", "spend", "scale"),
    [
        ("tiktok", "tiktok_campaign_report_hourly_data.csv", "STAT_TIME_HOUR", "SPEND", 1),
        ("snap", "snapchat_campaign_hourly_report_data.csv", "date", "spend", 1_000_000),
    ],
)
def test_the_hourly_seeds_add_up_by_day(
    tmp_path: Path, kind: str, file: str, hour: str, spend: str, scale: int
) -> None:
    brought(tmp_path, SEEDS / file, account(kind, currency="USD"))

    slow: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows_of(file):
        slow[row[hour][:10]] += Decimal(row[spend]) / scale
    found: dict[str, Decimal] = defaultdict(Decimal)
    for one in kept(tmp_path):
        found[one.day.isoformat()] += one.amount
    assert found == slow
