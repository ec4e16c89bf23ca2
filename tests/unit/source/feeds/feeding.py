"""A lender's two apps, feeds over them, and the vendors' messages that tests begin from."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.acme import APPS

from lendsignal.clock import to_us
from lendsignal.model.attribution import Attribution, Recorded
from lendsignal.source.feeds import Feed, FeedSettings, fact_of

SHARED = Path(os.environ.get("LENDSIGNAL_SHARED", Path(__file__).parents[5] / "shared"))
"""Where samples of others' files are kept; tests of them are skipped where it is not there."""

ARRIVED = to_us(datetime(2026, 11, 22, 9, 30, tzinfo=UTC))

PUSHED: Mapping[str, Any] = {
    # The shape of a Push API message: nulls, booleans, numbers, times to the millisecond in UTC.
    "app_id": "com.acme.loans",
    "appsflyer_id": "1763712345678-4312502203727572307",
    "event_name": "install",
    "event_time": "2026-11-20 08:15:30.250",
    "install_time": "2026-11-20 08:15:30.250",
    "attributed_touch_type": "click",
    "attributed_touch_time": "2026-11-20 08:03:11.000",
    "media_source": "bytedanceglobal_int",
    "campaign": "NG spring",
    "af_c_id": "1712345678901234",
    "af_adset": "lookalike 2",
    "af_adset_id": "1712345678905678",
    "af_ad": "video 7",
    "af_ad_id": "1712345678907777",
    "is_retargeting": False,
    "retargeting_conversion_type": None,
    "conversion_type": "install",
    "campaign_type": "ua",
    "is_primary_attribution": True,
    "customer_user_id": "u-88231",
    "original_url": "https://app.appsflyer.example/com.acme.loans?pid=x&ttclid=E.C.P.abc&c=spring",
    "event_revenue": None,
    "wifi": True,
}


def feed(kind: str = "appsflyer", name: str = "mmp", **settings: Any) -> Feed:
    return Feed(name, FeedSettings(kind=kind, **settings), APPS)  # type: ignore[arg-type]


def said(feed: Feed, message: Mapping[str, Any], **changed: Any) -> Attribution | Recorded | None:
    """What a message says, changed in some fields; a field changed to `None` is left out."""
    whole = {key: value for key, value in {**message, **changed}.items() if value is not None}
    return fact_of(feed, whole, ARRIVED)


def came(feed: Feed, message: Mapping[str, Any], **changed: Any) -> Attribution:
    fact = said(feed, message, **changed)
    assert isinstance(fact, Attribution)
    return fact


def recorded(feed: Feed, message: Mapping[str, Any], **changed: Any) -> Recorded:
    fact = said(feed, message, **changed)
    assert isinstance(fact, Recorded)
    return fact


def utc(*parts: int) -> int:
    """Microseconds since 1970 of a moment in UTC."""
    return to_us(datetime(*parts, tzinfo=UTC))  # type: ignore[arg-type,misc]


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path
