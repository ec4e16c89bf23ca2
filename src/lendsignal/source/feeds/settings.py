"""What a lender may set about feeds: who tells where users came from, what it cost, what money is worth."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, Struct

from lendsignal.model import Secret

Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217 currency")]

KindWord = Literal["install", "reinstall", "re_engagement", "re_attribution", "event", "ignore"]


class FeedSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One MMP's account that tells where installations came from: by message, by file, or both."""

    kind: Annotated[
        Literal["appsflyer", "adjust", "generic"],
        Meta(
            description="whose messages and files they are; generic: by our own field names, or by `columns`"
        ),
    ]
    secret: Annotated[
        Secret | None,
        Meta(description="what the address or the Authorization header must hold; by default no door"),
    ] = None
    mmp: Annotated[str | None, Meta(description="how reports name the MMP; by default the kind")] = None
    app: Annotated[str | None, Meta(description="the app of rows that name none")] = None
    apps: Annotated[
        dict[str, str],
        Meta(description="the MMP's name of an app = ours, where it is neither our name nor the bundle"),
    ] = {}
    timezone: Annotated[str, Meta(description="IANA time zone of times that name none")] = "UTC"
    columns: Annotated[
        dict[str, str], Meta(description="a column or field as the MMP names it = as we know it")
    ] = {}
    kinds: Annotated[
        dict[str, KindWord], Meta(description="generic: a word of theirs in `kind` = what it means here")
    ] = {}
    channels: Annotated[
        dict[str, str], Meta(description="a media source = the channel it counts under, such as meta")
    ] = {}
    sandbox: Annotated[bool, Meta(description="adjust: take what its sandbox environment sends too")] = False


class SpendSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ad account (or several of one form) whose cost by campaign and day is read from files."""

    kind: Annotated[
        Literal["google_ads", "meta", "tiktok", "snap", "apple", "generic"],
        Meta(description="whose table it is; generic: by our own field names, or by `columns`"),
    ]
    channel: Annotated[
        str | None, Meta(description="the channel it counts under; by default the platform's")
    ] = None
    currency: Annotated[Currency | None, Meta(description="the currency of rows that name none")] = None
    unit: Annotated[
        Literal["major", "micros", "minor"] | None,
        Meta(description="of the `spend` column: 1, a millionth, or the currency's smallest coin"),
    ] = None
    timezone: Annotated[
        str, Meta(description="IANA time zone of the account: its days are those of the cost")
    ] = "UTC"
    hours_in: Annotated[
        str | None, Meta(description="IANA time zone of hourly rows; by default the account's own")
    ] = None
    columns: Annotated[dict[str, str], Meta(description="a column as the file names it = as we know it")] = {}
    channels: Annotated[
        dict[str, str], Meta(description="generic: a media source = the channel it counts under")
    ] = {}


class RateSettings(
    Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"day": "date", "base": "from", "quote": "to"},
):
    """From `date` on one unit of `from` is worth `rate` units of `to`."""

    day: Annotated[date, Meta(description="the first day it holds")]
    base: Annotated[Currency, Meta(description="the currency that one unit is of")]
    quote: Annotated[Currency, Meta(description="the currency it is told in")]
    rate: Annotated[Decimal, Meta(description="units of `to` for one of `from`")]


class FxSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Exchange rates by date, in a file, here, or both."""

    file: Annotated[
        str | None, Meta(description="CSV with date, from, to and rate; from this file's folder")
    ] = None
    rate: Annotated[list[RateSettings], Meta(description="rates, as [[fx.rate]] tables")] = []
    currency: Annotated[Currency | None, Meta(description="the currency that reports of cost are in")] = None
    good_for: Annotated[
        timedelta, Meta(description="how long a rate holds where no later one of its pair is there")
    ] = timedelta(days=7)
