"""AppsFlyer: Push API messages and raw-data files, which have the same fields under two spellings.

Push API: https://support.appsflyer.com/hc/en-us/articles/207034356, raw-data fields as in the Pull API v5
specification of AppsFlyer's developer hub, both read 2026-11-22. Times without a zone are UTC in messages
and in the zone that was chosen for a file (`timezone`).

With AppsFlyer a *re-attribution* is a reinstall after a retargeting ad, and a *re-engagement* a return to
the installed app through one.
"""

import re
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import msgspec

from lendsignal.errors import InputError
from lendsignal.model.attribution import Ad, Attribution, AttributionKind, Recorded
from lendsignal.source.feeds.cells import (
    Row,
    amount_or_none,
    click_ids,
    currency_or_none,
    first,
    identifier,
    is_yes,
    moment_us,
)
from lendsignal.source.feeds.feed import Fact, Feed

COMINGS = {
    "install": AttributionKind.INSTALL,
    "organicinstall": AttributionKind.INSTALL,
    "reinstall": AttributionKind.REINSTALL,
    "organicreinstall": AttributionKind.REINSTALL,
    "reengagement": AttributionKind.RE_ENGAGEMENT,
    "reattribution": AttributionKind.RE_ATTRIBUTION,
    "retargeting": AttributionKind.RE_ENGAGEMENT,
}
"""Names that AppsFlyer gives to what is no in-app event, without signs between the words."""

ADDRESSES = ("original_url", "gp_referrer", "google_play_referrer", "http_referrer")

# The files' headings where they are not the messages' names with blanks: both spellings are in use.
_CAMPAIGN_ID = ("af_c_id", "campaign_id")
_AD_SET = ("af_adset", "adset", "ad_set")
_AD_SET_ID = ("af_adset_id", "adset_id", "ad_set_id")
_AD = ("af_ad", "ad")
_AD_ID = ("af_ad_id", "ad_id")

_json = msgspec.json.Decoder(strict=False).decode


def read(feed: Feed, row: Row, received_us: int) -> Fact | None:
    """One message or row: an installation's origin, or an in-app event that AppsFlyer recorded."""
    name = row.get("event_name", "")
    word = re.sub(r"[^a-z]", "", name.lower())
    if name and word not in COMINGS:
        return _recorded(feed, row, name)
    return _attribution(feed, row, word, received_us)


def _attribution(feed: Feed, row: Row, word: str, received_us: int) -> Attribution:
    kind = _kind(row, COMINGS.get(word, AttributionKind.INSTALL))
    # After a return `install_time` is that of the return: https://support.appsflyer.com, raw-data dictionary.
    came = first(row, "install_time", "event_time")
    touched = row.get("attributed_touch_time")
    return Attribution(
        feed=feed.name,
        mmp=feed.mmp,
        app=_app(feed, row),
        id=_id(row),
        kind=kind,
        at_us=moment_us(came, feed.zone, "install_time") if came else 0,
        told_us=received_us,
        ad=_ad(feed, row),
        touch=row.get("attributed_touch_type", "").lower(),
        touch_us=moment_us(touched, feed.zone, "attributed_touch_time") if touched else None,
        user_id=row.get("customer_user_id", ""),
        click_ids=click_ids(row, ADDRESSES),
    )


def _recorded(feed: Feed, row: Row, name: str) -> Recorded:
    if "event_time" not in row:
        raise InputError("event_time", "is needed")
    value = row.get("event_value", "")
    inside = _parameters(value)
    conversion = str(inside.get("af_order_id") or "")
    amount, currency = _money(row, inside)
    # Our own id tells events apart whatever the value's spelling; without it the value has to.
    detail = conversion or blake2b(value.encode(), digest_size=8).hexdigest()
    return Recorded(
        feed=feed.name,
        mmp=feed.mmp,
        app=_app(feed, row),
        id=_id(row),
        name=name,
        at_us=moment_us(row["event_time"], feed.zone, "event_time"),
        conversion=conversion,
        amount=amount,
        currency=currency,
        sent_by=row.get("event_source", "").upper(),
        kind=_kind(row, AttributionKind.INSTALL),
        primary=is_yes(row.get("is_primary_attribution", "true")),
        ad=_ad(feed, row),
        user_id=row.get("customer_user_id", ""),
        detail=detail,
    )


def _money(row: Row, inside: dict[str, Any]) -> tuple[Decimal | None, str]:
    """The event's revenue as it was sent; where the row has none, as its own parameters tell it."""
    revenue = first(row, "event_revenue") or str(inside.get("af_revenue") or "")
    currency = first(row, "event_revenue_currency") or str(inside.get("af_currency") or "")
    amount = amount_or_none(revenue, "event_revenue")
    return amount, currency_or_none(currency, "event_revenue_currency") if amount is not None else ""


def _kind(row: Row, by_name: AttributionKind) -> AttributionKind:
    """By the retargeting columns where they are there; they agree with the message's name."""
    retargeting = re.sub(r"[^a-z]", "", row.get("retargeting_conversion_type", "").lower())
    if retargeting in COMINGS and is_yes(row.get("is_retargeting", "true")):
        return COMINGS[retargeting]
    conversion = re.sub(r"[^a-z]", "", row.get("conversion_type", "").lower())
    return COMINGS.get(conversion, by_name) if by_name is AttributionKind.INSTALL else by_name


def _ad(feed: Feed, row: Row) -> Ad:
    source = row.get("media_source", "")
    # Messages of organic installs may leave the media source out and say so elsewhere.
    if not source and (row.get("campaign_type", "").lower() == "organic" or _is_silent(row)):
        source = "organic"
    return Ad(
        channel=feed.channel(source),
        media_source=source,
        campaign=row.get("campaign", ""),
        campaign_id=identifier(first(row, *_CAMPAIGN_ID)),
        ad_set=first(row, *_AD_SET),
        ad_set_id=identifier(first(row, *_AD_SET_ID)),
        ad=first(row, *_AD),
        ad_id=identifier(first(row, *_AD_ID)),
    )


def _is_silent(row: Row) -> bool:
    """Whether nothing at all speaks of an ad: organic reports leave those columns empty."""
    return not any(name in row for name in ("campaign", "attributed_touch_type", "af_prt", *_CAMPAIGN_ID))


def _app(feed: Feed, row: Row) -> str:
    return feed.app(first(row, "app_id", "bundle_id"), "app_id")


def _id(row: Row) -> str:
    found = first(row, "appsflyer_id", "appsflyer_device_id")
    if not found:
        raise InputError("appsflyer_id", "is needed")
    return found


def _parameters(value: str) -> dict[str, Any]:
    """The event's own parameters; none where the value is no JSON object."""
    try:
        found = _json(value) if value.startswith("{") else {}
    except (msgspec.DecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
