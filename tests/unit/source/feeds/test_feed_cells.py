"""What cells stand for. Expected moments are written out in UTC."""

from datetime import date
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from tests.unit.source.feeds.feeding import utc

from lendsignal.errors import InputError
from lendsignal.source.feeds.cells import (
    click_ids,
    currency_or_none,
    day_of,
    decimal,
    identifier,
    moment_us,
    name_of,
    row_of,
    text,
)

LAGOS = ZoneInfo("Africa/Lagos")
UTC_ZONE = ZoneInfo("UTC")


@pytest.mark.parametrize(
    ("said", "parts"),
    [
        ("2026-11-22 08:00:00", (2026, 11, 22, 7)),
        ("2026-11-22 08:00:00.123", (2026, 11, 22, 7, 0, 0, 123_000)),
        ("2026-11-22T08:00:00Z", (2026, 11, 22, 8)),
        ("2019-01-20 04:51:16.000+0000", (2019, 1, 20, 4, 51, 16)),
        ("2026-11-22 08:00:00-0530", (2026, 11, 22, 13, 30)),
        ("1/21/2021 23:30", (2021, 1, 21, 22, 30)),
        ("11/19/2016 8:32:12 PM", (2016, 11, 19, 19, 32, 12)),
        ("11/19/2016 12:05:00 AM", (2016, 11, 18, 23, 5)),
        ("2021-09-15 5:00:00", (2021, 9, 15, 4)),
        ("1763626530", (2025, 11, 20, 8, 15, 30)),
        ("1763626530250", (2025, 11, 20, 8, 15, 30, 250_000)),
        ("1763626530250001", (2025, 11, 20, 8, 15, 30, 250_001)),
    ],
)
def test_a_moment_is_read_in_every_dress_and_in_the_zone_it_names(said: str, parts: tuple[int, ...]) -> None:
    assert moment_us(said, LAGOS, "at") == utc(*parts)


@pytest.mark.parametrize(
    "said", ["###########", "yesterday", "13/13/2026 10:00", "2026-02-30 10:00:00", "12", "99999999999999999"]
)
def test_what_is_no_moment_is_refused(said: str) -> None:
    with pytest.raises(InputError, match="at: is no time"):
        moment_us(said, LAGOS, "at")


@pytest.mark.parametrize(
    ("said", "day"),
    [
        ("2026-11-22", date(2026, 11, 22)),
        ("20261122", date(2026, 11, 22)),
        ("11/22/2026", date(2026, 11, 22)),
        ("2022-05-29T22:00:00", date(2022, 5, 29)),
        ("2022-05-29T23:00:00", date(2022, 5, 30)),  # 23:00 UTC is midnight in Lagos
    ],
)
def test_an_hour_lies_in_the_accounts_own_day_and_a_day_is_that_day(said: str, day: date) -> None:
    assert day_of(said, LAGOS, UTC_ZONE, "day") == day


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("1,234.50", "1234.50"),
        ("$ 76.53", "76.53"),
        ("-3", "-3"),
        ("0.000001", "0.000001"),
        ("1 234", "1234"),
    ],
)
def test_numbers_stay_exact(said: str, number: str) -> None:
    assert decimal(said, "spend") == Decimal(number)


@pytest.mark.parametrize("said", ["1.234,50", "1,5", "abc", "12 USD", "1e999"])
def test_a_comma_that_could_be_either_is_refused(said: str) -> None:
    with pytest.raises(InputError, match="spend: must be a number"):
        decimal(said, "spend")


def test_an_amount_that_no_ledger_has_is_refused() -> None:
    with pytest.raises(InputError, match="must be below 1,000,000,000,000,000"):
        decimal("9" * 16, "spend")


def test_headings_are_one_whatever_their_dress() -> None:
    assert {
        name_of(one) for one in ("Media Source", "media_source", "{media-source}", "\ufeffMEDIA  SOURCE ")
    } == {"media_source"}
    assert name_of("metrics.cost_micros") == "metrics_cost_micros"
    assert name_of("媒体来源") == "媒体来源"


@pytest.mark.parametrize("value", [None, "", " ", "null", "N/A", "--", "{adid}", [], ["a", "b"], {"a": 1}])
def test_nothing_is_said_in_many_ways(value: object) -> None:
    assert text(value) == ""
    assert row_of({"Adid": value}, {}) == {}


def test_an_id_keeps_its_digits_and_a_rounded_one_is_lost() -> None:
    assert identifier("6215293444271") == "6215293444271"
    assert identifier("7.96E+10") == ""


def test_a_currency_has_three_letters() -> None:
    assert currency_or_none("ngn", "currency") == "NGN"
    with pytest.raises(InputError):
        currency_or_none("naira", "currency")


def test_the_ids_of_a_click_are_found_in_columns_and_in_addresses() -> None:
    row = {
        "gclid": "g1",
        "gp_referrer": "utm_source=x&gbraid=b2",
        "original_url": "https://x.example/?clickid=c3",
    }

    assert click_ids(row, ("gp_referrer", "original_url")) == {
        "gclid": "g1",
        "gbraid": "b2",
        "click_id": "c3",
    }
