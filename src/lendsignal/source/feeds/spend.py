"""Cost by campaign and day out of the tables that ad platforms, their connectors and people make.

Column names are those of the platforms' own reports and of the usual connectors, read 2026-11-22:
Google Ads `metrics.cost_micros` (https://developers.google.com/google-ads/api/fields/latest/metrics), Meta
`spend` (https://developers.facebook.com/docs/marketing-api/insights), TikTok `spend` and `stat_time_hour`
(https://business-api.tiktok.com), Snap `spend` in millionths (https://marketingapi.snapchat.com/docs), Apple
`localSpend` (https://developer.apple.com/documentation/apple_search_ads).
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

from msgspec import Struct

from lendsignal.errors import InputError
from lendsignal.model import ZERO_DECIMAL
from lendsignal.model.attribution import Ad, Spend
from lendsignal.source.feeds.cells import (
    Row,
    currency_or_none,
    day_of,
    decimal,
    first,
    identifier,
    name_of,
    row_of,
)
from lendsignal.source.feeds.channels import channel_of
from lendsignal.source.feeds.settings import SpendSettings

Unit: TypeAlias = Literal["major", "micros", "minor"]

CHANNEL = {"google_ads": "google", "meta": "meta", "tiktok": "tiktok", "snap": "snap", "apple": "apple"}

UNIT: Mapping[str, Unit] = {"snap": "micros"}
"""Of a column called `spend`, where it is not the currency's own unit."""

DAY = (
    "date",
    "day",
    "date_start",
    "stat_time_day",
    "stat_time_hour",
    "segments_date",
    "start_time",
    "by_day",
)
MICROS = ("cost_micros", "metrics_cost_micros", "spend_micros")
MAJOR = (
    "spend",
    "cost",
    "amount_spent",
    "local_spend_amount",
    "localspend",
    "local_spend",
    "localspend_amount",
    "amount",
    "total_cost",
)
CURRENCY = (
    "currency",
    "currency_code",
    "customer_currency_code",
    "account_currency",
    "local_spend_currency",
    "localspend_currency",
)
ACCOUNT = (
    "account_id",
    "customer_id",
    "advertiser_id",
    "ad_account_id",
    "organization_id",
    "org_id",
    "account",
)
CAMPAIGN_ID = ("campaign_id", "campaign_campaign_id")
CAMPAIGN = ("campaign_name", "campaign", "campaign_campaign_name")
AD_SET_ID = ("adset_id", "ad_set_id", "ad_group_id", "adgroup_id", "ad_squad_id")
AD_SET = ("adset_name", "ad_set_name", "ad_group_name", "adgroup_name", "ad_squad_name", "ad_set", "ad_group")
AD_ID = ("ad_id",)
AD = ("ad_name", "ad")

WITH_CURRENCY = re.compile(r"(amount_spent|cost|spend)_([a-z]{3})")
"""A heading such as `Amount spent (USD)`: Meta's own export says the currency there and nowhere else."""

SUMS = re.compile(r"total\b|grand total|sum\b", re.IGNORECASE)


class SpendFeed:
    """One configured account, or several of one form."""

    def __init__(self, name: str, settings: SpendSettings) -> None:
        self.name = name
        self.settings = settings
        self.zone = ZoneInfo(settings.timezone)
        self.hours_in = ZoneInfo(settings.hours_in or settings.timezone)
        self.columns = {name_of(theirs): name_of(ours) for theirs, ours in settings.columns.items()}
        self.unit: Unit = settings.unit or UNIT.get(settings.kind, "major")


class _Named(Struct, frozen=True):
    """What a history table says of an id: its name, what it belongs to, and when it said so."""

    name: str
    campaign_id: str
    ad_set_id: str
    at: str


class Names:
    """What campaigns, ad sets and ads are called, by id: of several rows of one id the newest holds.

    Connectors keep names in tables of their own, with one row for each change. Whose id a row's own `id` (or
    `ad_id`) is follows from what it belongs to: an ad names its ad set, an ad set its campaign.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], _Named] = {}

    def add(self, found: Mapping[str, str]) -> None:
        """Takes one row of a history table."""
        row = row_of(found, {})
        ad_set_id, campaign_id = first(row, *AD_SET_ID), first(row, *CAMPAIGN_ID)
        level = "ad" if ad_set_id else "ad_set" if campaign_id else "campaign"
        own = first(row, "id", *(AD_ID if ad_set_id else ()))
        name = first(row, "name", *(AD if ad_set_id else CAMPAIGN))
        at = first(row, "updated_time", "updated_at", "fivetran_synced")
        before = self._known.get((level, own))
        if own and (before is None or at >= before.at):
            self._known[level, own] = _Named(name, campaign_id, ad_set_id, at)

    def completed(self, ad: Ad) -> Ad:
        """An ad's place with the ids and names that follow from what it already tells."""
        as_ad = self._of("ad", ad.ad_id)
        ad_set_id = ad.ad_set_id or as_ad.ad_set_id
        as_set = self._of("ad_set", ad_set_id)
        campaign_id = ad.campaign_id or as_ad.campaign_id or as_set.campaign_id
        return Ad(
            channel=ad.channel,
            media_source=ad.media_source,
            campaign=ad.campaign or self._of("campaign", campaign_id).name,
            campaign_id=campaign_id,
            ad_set=ad.ad_set or as_set.name,
            ad_set_id=ad_set_id,
            ad=ad.ad or as_ad.name,
            ad_id=ad.ad_id,
        )

    def _of(self, level: str, own: str) -> _Named:
        return self._known.get((level, own), _Named("", "", "", ""))


def cost_of(feed: SpendFeed, names: Names, found: Mapping[str, str]) -> Spend:
    """One row's cost. Raises `InputError` with the field and the rule."""
    row = row_of(found, feed.columns)
    amount, currency = _money(feed, row)
    day = first(row, *DAY)
    if not day:
        raise InputError("date", "is needed")
    return Spend(
        feed=feed.name,
        account=identifier(first(row, *ACCOUNT)),
        day=day_of(day, feed.zone, feed.hours_in, "date"),
        ad=names.completed(_ad(feed, row)),
        amount=amount,
        currency=currency,
        country=first(row, "country", "country_code", "country_or_region").upper(),
        impressions=_count(row, "impressions"),
        clicks=_count(row, "clicks", "link_clicks", "inline_link_clicks", "taps", "swipes"),
    )


def is_sum(found: Mapping[str, str]) -> bool:
    """Whether a row is a sum that an export has below (or above) its rows."""
    said = next((cell.strip() for cell in found.values() if cell and cell.strip()), "")
    return SUMS.match(said) is not None


def _money(feed: SpendFeed, row: Row) -> tuple[Decimal, str]:
    """The cost in major units and its currency, which nothing stands in for."""
    told = currency_or_none(first(row, *CURRENCY), "currency")
    micros = first(row, *MICROS)
    if micros:
        amount = decimal(micros, "cost_micros").scaleb(-6)
    elif major := first(row, *MAJOR):
        amount = decimal(major, "spend")
    else:
        headed = next((found for name in row if (found := WITH_CURRENCY.fullmatch(name))), None)
        if headed is None:
            raise InputError("spend", "is needed: a column of cost, such as spend or cost_micros")
        amount, told = decimal(row[headed[0]], headed[1]), told or headed[2].upper()
    currency = told or feed.settings.currency or ""
    if not currency:
        raise InputError("currency", "is needed: a column, or the `currency` of the spend table")
    if not micros:
        amount = amount.scaleb(-_places(feed.unit, currency))
    return amount, currency


def _places(unit: Unit, currency: str) -> int:
    match unit:
        case "major":
            return 0
        case "micros":
            return 6
        case "minor":
            return 0 if currency in ZERO_DECIMAL else 2


def _ad(feed: SpendFeed, row: Row) -> Ad:
    source = first(row, "media_source", "channel", "network") if feed.settings.kind == "generic" else ""
    channel = feed.settings.channel or CHANNEL.get(feed.settings.kind)
    own = () if feed.settings.kind in ("meta", "tiktok") else ("id",)
    return Ad(
        channel=(channel or channel_of(source, feed.settings.channels)).lower(),
        media_source=source,
        campaign=first(row, *CAMPAIGN),
        campaign_id=identifier(first(row, *CAMPAIGN_ID, *own)),
        ad_set=first(row, *AD_SET),
        ad_set_id=identifier(first(row, *AD_SET_ID)),
        ad=first(row, *AD),
        ad_id=identifier(first(row, *AD_ID)),
    )


def _count(row: Row, *names: str) -> int:
    said = first(row, *names)
    return int(decimal(said, names[0])) if said else 0
