"""Adjust: real-time callbacks and CSV exports, with the placeholders' own names as parameters and columns.

https://help.adjust.com/en/article/global-callbacks and the pages on install, event and reattribution
callbacks, read 2026-11-22. Times are Unix seconds, or text in UTC. A placeholder without data is dropped.

With Adjust a *reattribution* is any return, through another measured source, of a user who was away for
the time set there; there is no re-engagement. Later claims of self-attributing networks arrive as updates.
"""

import re
from hashlib import blake2b

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
    "reinstall": AttributionKind.REINSTALL,
    "reattribution": AttributionKind.RE_ATTRIBUTION,
    "reattribution_reinstall": AttributionKind.RE_ATTRIBUTION,
}
UPDATES = ("attribution_update", "updated_attribution", "attribution_updated")

LEVELS = ("network_name", "campaign_name", "adgroup_name", "creative_name")
"""The levels of a link, which `tracker_name` has as `Network::Campaign::Adgroup::Creative`."""

WITH_ID = re.compile(r"(?P<name>.*\S) \((?P<id>\d{5,})\)")
"""How Adjust writes a self-attributing network's own names: `Spring sale (23847391234560)`."""


def read(feed: Feed, row: Row, received_us: int) -> Fact | None:
    """One callback or row; `None` for clicks, sessions, rejected installs and the sandbox environment."""
    if row.get("environment", "").lower() == "sandbox" and not feed.settings.sandbox:
        return None
    kind = re.sub(r"[\s-]+", "_", first(row, "activity_kind", "kind").lower())
    if kind == "event" or (not kind and "event" in row):
        return _recorded(feed, row)
    if kind in COMINGS:
        return _attribution(feed, row, COMINGS[kind], received_us)
    if kind in UPDATES:
        coming = AttributionKind.RE_ATTRIBUTION if "reattributed_at" in row else AttributionKind.INSTALL
        return _attribution(feed, row, coming, received_us, update=True)
    if not kind:
        raise InputError("activity_kind", "is needed")
    return None


def _attribution(
    feed: Feed, row: Row, kind: AttributionKind, received_us: int, *, update: bool = False
) -> Attribution:
    """`installed_at` stays that of the first installation, so that a later coming is told by its own time."""
    came = {
        AttributionKind.INSTALL: ("installed_at", "created_at"),
        AttributionKind.REINSTALL: ("reinstalled_at", "created_at"),
        AttributionKind.RE_ATTRIBUTION: ("reattributed_at", "created_at"),
        AttributionKind.RE_ENGAGEMENT: ("created_at",),
    }[kind]
    at = first(row, *came)
    told = first(row, "attribution_updated_at", "created_at") if update else at
    touched = first(row, "engagement_time", "click_time", "impression_time")
    return Attribution(
        feed=feed.name,
        mmp=feed.mmp,
        app=_app(feed, row),
        id=_id(row),
        kind=kind,
        at_us=moment_us(at, feed.zone, came[0]) if at else 0,
        told_us=moment_us(told, feed.zone, "created_at") if told else received_us,
        dated=bool(told),
        ad=_ad(feed, row),
        touch=_touch(row),
        touch_us=moment_us(touched, feed.zone, "click_time") if touched else None,
        user_id=_user(row),
        click_ids=click_ids(row, ("click_referer", "referrer", "reftag")),
    )


def _recorded(feed: Feed, row: Row) -> Recorded:
    name, at = first(row, "event", "event_token", "event_name"), row.get("created_at", "")
    if not name:
        raise InputError("event", "is needed")
    if not at:
        raise InputError("created_at", "is needed")
    amount = amount_or_none(first(row, "revenue_float", "revenue"), "revenue_float")
    conversion = row.get("conversion_id", "")
    unique = conversion or first(row, "nonce", "random")
    return Recorded(
        feed=feed.name,
        mmp=feed.mmp,
        app=_app(feed, row),
        id=_id(row),
        name=name,
        at_us=moment_us(at, feed.zone, "created_at"),
        conversion=conversion,
        amount=amount,
        currency=currency_or_none(row.get("currency", ""), "currency") if amount is not None else "",
        kind=AttributionKind.RE_ATTRIBUTION if "reattributed_at" in row else AttributionKind.INSTALL,
        ad=_ad(feed, row),
        user_id=_user(row),
        detail=unique or blake2b(str(amount).encode(), digest_size=8).hexdigest(),
    )


def _ad(feed: Feed, row: Row) -> Ad:
    levels = [row.get(level, "") for level in LEVELS]
    if not levels[0] and "tracker_name" in row:
        parts = row["tracker_name"].split("::")
        levels = [*parts, "", "", ""][:4]
    source, *rest = levels
    if not source and is_yes(row.get("is_organic", "")):
        source = "Organic"
    (campaign, campaign_id), (ad_set, ad_set_id), (ad, ad_id) = map(_apart, rest)
    return Ad(
        channel=feed.channel(source),
        media_source=source,
        # Meta's own names for its levels: a campaign is a campaign group there, an ad set a campaign.
        campaign=first(row, "fb_campaign_group_name") or campaign,
        campaign_id=identifier(first(row, "fb_campaign_group_id", "campaign_id")) or campaign_id,
        ad_set=first(row, "fb_campaign_name") or ad_set,
        ad_set_id=identifier(first(row, "fb_campaign_id", "adgroup_id")) or ad_set_id,
        ad=first(row, "fb_adgroup_name") or ad,
        ad_id=identifier(first(row, "fb_adgroup_id", "creative_id")) or ad_id,
    )


def _apart(level: str) -> tuple[str, str]:
    """A level's name, and the network's id where it stands behind it."""
    found = WITH_ID.fullmatch(level)
    return (level, "") if found is None else (found["name"], found["id"])


def _touch(row: Row) -> str:
    if "impression_based" in row:
        return "impression" if is_yes(row["impression_based"]) else "click"
    return "click" if "click_time" in row else ""


def _app(feed: Feed, row: Row) -> str:
    token = row.get("app_token", "")
    if token.lower() in {name.lower() for name in feed.settings.apps}:
        return feed.app(token, "app_token")
    return feed.app(first(row, "app_id", "store_id", "app_name_dashboard") or token, "app_id")


def _id(row: Row) -> str:
    found = first(row, "adid", "adjust_adid")
    if not found:
        raise InputError("adid", "is needed")
    return found


def _user(row: Row) -> str:
    return first(row, "user_id", "external_device_id")
