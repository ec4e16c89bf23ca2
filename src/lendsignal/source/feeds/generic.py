"""Any other MMP, by our own names for fields; `columns` says which of theirs they are.

A row needs one id of the installation (`id`, or any install-scoped id by its own name) and an app. `kind`
is one of ours, or a word that `kinds` explains; without it a row with an `event_name` is a recorded event,
one with `is_retargeting` a re-attribution, any other an install.
"""

from hashlib import blake2b

from lendsignal.errors import InputError
from lendsignal.model import INSTALL_SCOPED
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

FIELDS = (
    "id app kind time install_time touch touch_time media_source channel campaign campaign_id ad_set"
    " ad_set_id ad ad_id is_organic is_retargeting user_id event_name conversion_id amount currency"
    " sent_by told_at"
).split()
"""What a generic feed reads; the ids of `INSTALL_SCOPED` and of clicks beside it."""


def read(feed: Feed, row: Row, received_us: int) -> Fact | None:
    """One message or row."""
    word = _word(feed, row)
    if word == "ignore":
        return None
    return _recorded(feed, row) if word == "event" else _attribution(feed, row, word, received_us)


def _word(feed: Feed, row: Row) -> str:
    said = row.get("kind", "")
    if not said:
        if "event_name" in row:
            return "event"
        return "re_attribution" if is_yes(row.get("is_retargeting", "")) else "install"
    own = {theirs.lower(): ours for theirs, ours in feed.settings.kinds.items()}
    word = own.get(said.lower(), said.lower().replace("-", "_"))
    if word not in ("event", "ignore", *AttributionKind):
        raise InputError("kind", "is no word of ours: say what it means in the feed's `kinds`")
    return word


def _attribution(feed: Feed, row: Row, word: str, received_us: int) -> Attribution:
    came, told, touched = first(row, "install_time", "time"), row.get("told_at"), row.get("touch_time")
    return Attribution(
        feed=feed.name,
        mmp=feed.mmp,
        app=feed.app(row.get("app", ""), "app"),
        id=_id(row),
        kind=AttributionKind(word),
        at_us=moment_us(came, feed.zone, "install_time") if came else 0,
        told_us=moment_us(told, feed.zone, "told_at") if told else received_us,
        dated=bool(told),
        ad=_ad(feed, row),
        touch=row.get("touch", "").lower(),
        touch_us=moment_us(touched, feed.zone, "touch_time") if touched else None,
        user_id=row.get("user_id", ""),
        click_ids=click_ids(row, ()),
    )


def _recorded(feed: Feed, row: Row) -> Recorded:
    if "time" not in row:
        raise InputError("time", "is needed")
    if "event_name" not in row:
        raise InputError("event_name", "is needed")
    amount = amount_or_none(row.get("amount", ""), "amount")
    conversion = row.get("conversion_id", "")
    return Recorded(
        feed=feed.name,
        mmp=feed.mmp,
        app=feed.app(row.get("app", ""), "app"),
        id=_id(row),
        name=row["event_name"],
        at_us=moment_us(row["time"], feed.zone, "time"),
        conversion=conversion,
        amount=amount,
        currency=currency_or_none(row.get("currency", ""), "currency") if amount is not None else "",
        sent_by=row.get("sent_by", ""),
        ad=_ad(feed, row),
        user_id=row.get("user_id", ""),
        detail=conversion or blake2b(str(amount).encode(), digest_size=8).hexdigest(),
    )


def _ad(feed: Feed, row: Row) -> Ad:
    source = row.get("media_source", "")
    if not source and is_yes(row.get("is_organic", "")):
        source = "organic"
    return Ad(
        channel=row.get("channel", "").lower() or feed.channel(source),
        media_source=source,
        campaign=row.get("campaign", ""),
        campaign_id=identifier(row.get("campaign_id", "")),
        ad_set=row.get("ad_set", ""),
        ad_set_id=identifier(row.get("ad_set_id", "")),
        ad=row.get("ad", ""),
        ad_id=identifier(row.get("ad_id", "")),
    )


def _id(row: Row) -> str:
    found = first(row, "id", *(kind.value for kind in INSTALL_SCOPED))
    if not found:
        raise InputError("id", f"is needed: id, or one of {', '.join(INSTALL_SCOPED)}")
    return found
