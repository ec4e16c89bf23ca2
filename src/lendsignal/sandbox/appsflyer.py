"""The stand-in for AppsFlyer server-to-server events of mobile apps (api3, and api2 for dev keys).

Source: AppsFlyer dev hub, `s2s_events_api3.yaml` and its overview (GitHub AppsFlyerKnowledge/devhub, commit
a71acd67, read 2026-11-22); the close of day from the same repository's history (commit 9f49127).
Where the vendor is silent the line says MOCK-CHOICE, and docs/reference/sandbox.md tables it.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from lendsignal.clock import EPOCH, from_us, to_us
from lendsignal.sandbox.settings import SandboxSettings
from lendsignal.sandbox.shape import (
    CURRENCY,
    FILLED,
    FLAG,
    IPV4,
    ISO_4217,
    JSON_TEXT,
    OBJECT,
    SHA256,
    TEXT,
    UPPER_UUID,
    UUID,
    WHOLE,
    ZERO_UUID,
    Shape,
    is_whole,
    matching,
    one_of,
)
from lendsignal.sandbox.verdict import TEXT as TEXT_TYPE
from lendsignal.sandbox.verdict import Answer, Asked, Refused, Taken, decoded, media_type

HOST, LEGACY_HOST = "api3.appsflyer.com", "api2.appsflyer.com"
HOSTS = (HOST, LEGACY_HOST)
MAX_BYTES = 1024
MAX_NAME = 100
CLOSE_OF_DAY = timedelta(hours=26)
"""An event keeps its time until 02:00 UTC of the day after it."""

INSTALL_ID = re.compile(r"\d{13}-\d{7,19}")
"""MOCK-CHOICE: the published patterns for Android and iOS disagree; this takes all of them."""

EVENT_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}")
REVENUE = re.compile(r"-?\d+(?:\.\d{1,5})?")
NUMBERS_AS_WRITTEN = msgspec.json.Decoder(float_hook=Decimal)

HASHED = (
    "email_hashed phone_number_hashed phone_number_e164_hashed first_name_hashed last_name_hashed".split()
)

BOTH: Mapping[str, Shape] = {
    "eventCurrency": CURRENCY,
    "os": TEXT,
    "ip": IPV4,
    "ua": TEXT,
    "customer_user_id": TEXT,
    "bundleIdentifier": TEXT,
    "app_version_name": TEXT,
    "app_store": TEXT,
    "app_type": one_of("", "app_clip"),
    "custom_data": JSON_TEXT,
    "custom_dimension": TEXT,
    "aie": FLAG,
    "fb_login_id": matching(r"\d+", "a string of digits"),
    "consent_data": OBJECT,
    "sharing_filter": Shape(
        'the string "all" or an array of partner ids',
        lambda value: (
            value == "all"
            or (isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value))
        ),
    ),
    **dict.fromkeys(HASHED, SHA256),
}
ANDROID: Mapping[str, Shape] = {
    "advertising_id": UUID,  # MOCK-CHOICE: the schema says string; Google's id is a UUID
    "oaid": FILLED,
    "amazon_aid": FILLED,
    "imei": FILLED,
    "app_set_id": OBJECT,
}
IOS: Mapping[str, Shape] = {
    "idfa": UPPER_UUID,
    "idfv": UPPER_UUID,
    "att": one_of(0, 1, 2, 3),
}
SHAPES = ({**BOTH, **ANDROID}, {**BOTH, **IOS})
"""Every optional field of an Android app, and of an iOS app: `SHAPES[ios]`."""

MANUAL = dict.fromkeys(("gdpr_applies", "ad_user_data_enabled", "ad_personalization_enabled"), FLAG)
TCF: Mapping[str, Shape] = {
    "policy_version": WHOLE,
    "gdpr_applies": one_of(-1, 0, 1),
    "cmp_sdk_id": WHOLE,
    "cmp_sdk_version": WHOLE,
    "tcstring": TEXT,
}
READ_APART = frozenset(("appsflyer_id", "eventName", "eventValue", "eventTime"))
ID_NAMES = {
    "appsflyer_id": "appsflyer_id",
    "advertising_id": "gaid",
    "oaid": "oaid",
    "idfa": "idfa",
    "idfv": "idfv",
}


def judge(asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """What AppsFlyer would answer at `now_us`, and what it would keep."""
    folder, _, app_id = asked.path.removeprefix("/").partition("/")
    if folder != "inappevent" or not app_id or "/" in app_id or asked.method != "POST":
        return refuse(404, "Not Found", "path: must be POST /inappevent/{app_id}", app_id, now_us)
    if media_type(asked.headers) != "application/json":
        return refuse(400, "Bad request", "content-type: must be application/json", app_id, now_us)
    key = asked.headers.get("authentication", "")
    legacy = asked.host == LEGACY_HOST
    denied = no_dev_key(key, app_id, settings) if legacy else not_allowed(key, app_id, settings)
    if denied is not None:
        return refuse(*denied, app_id, now_us)
    if len(asked.body) > MAX_BYTES:  # MOCK-CHOICE: the limit is published, its answer is not
        return refuse(400, "Bad request", "body: at most 1024 bytes", app_id, now_us)
    item = decoded(asked.body)
    if not isinstance(item, dict):
        message = "Payload is missing or failed to parse"
        return refuse(400, message, "body: must be one JSON object", app_id, now_us)
    install = item.get("appsflyer_id")
    if not isinstance(install, str) or not install:
        message = "appsflyer_id is a mandatory field"
        return refuse(400, message, "appsflyer_id: required", app_id, now_us, item)
    ios = app_id.removeprefix("id").isdecimal()
    reason = first_problem(item, ios)
    if reason is not None:
        return refuse(400, "Bad request", reason, app_id, now_us, item)
    known = settings.appsflyer_installs is None or install in settings.appsflyer_installs
    taken = take(item, app_id, now_us, recorded=known and not app_id.isdecimal(), ios=ios, legacy=legacy)
    return Answer(status=200, body=b"OK", headers=TEXT_TYPE, taken=(taken,))


def not_allowed(key: str, app_id: str, settings: SandboxSettings) -> tuple[int, str, str] | None:
    """Status, message and rule where the key may not write to the app; `None` where it may.

    An iOS id without its `id` is let through: AppsFlyer says yes and records nothing.
    """
    account = app_id if app_id in settings.appsflyer else f"id{app_id}" if app_id.isdecimal() else app_id
    if key in settings.appsflyer_dev_keys:
        return 401, "Unauthorized", "authentication: a dev key, not an S2S key"
    if key not in settings.appsflyer.values():
        return 400, "Failed to Authenticate", "authentication: missing or unknown"
    if account not in settings.appsflyer:
        # MOCK-CHOICE: an app nobody has gives `app_id`, another account's app gives 401.
        return 400, "app_id", "app_id: not one of this key's"
    if settings.appsflyer[account] != key:
        return 401, "Unauthorized", "authentication: the key of another app"
    if account in settings.appsflyer_zero_package:
        return 403, "Forbidden", "account: the plan has no server-to-server events"
    return None


def no_dev_key(key: str, app_id: str, settings: SandboxSettings) -> tuple[int, str, str] | None:
    """The same for api2, which takes the dev key; MOCK-CHOICE: a dev key serves every app we know."""
    if key in settings.appsflyer_dev_keys:
        known = app_id in settings.appsflyer or (app_id.isdecimal() and f"id{app_id}" in settings.appsflyer)
        return None if known else (400, "app_id", "app_id: not one of this key's")
    if key in settings.appsflyer.values():
        return 401, "Unauthorized", "authentication: an S2S key, not a dev key"
    return 400, "Failed to Authenticate", "authentication: missing or unknown"


def first_problem(item: dict[str, Any], ios: bool) -> str | None:
    """The first rule the event breaks, or `None`."""
    if INSTALL_ID.fullmatch(item["appsflyer_id"]) is None:
        return "appsflyer_id: must be 13 digits, a hyphen and 7 to 19 digits"
    name = item.get("eventName")
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME:
        return "eventName: must be a string of 1 to 100 characters"
    reason = value_problem(item.get("eventValue"))
    if reason is not None:
        return reason
    if "eventTime" in item and event_time(item["eventTime"]) is None:
        return "eventTime: must be yyyy-MM-dd HH:mm:ss.SSS in UTC"
    shapes = SHAPES[ios]
    for field, value in item.items():
        shape = shapes.get(field)
        if shape is not None and not shape.fits(value):
            return f"{field}: must be {shape.says}"
    if "consent_data" in item:
        reason = consent_problem(item["consent_data"])
    if reason is None and not ios and "app_set_id" in item:
        app_set = item["app_set_id"]
        if not (
            is_whole(app_set.get("scope")) and app_set["scope"] in (1, 2) and UUID.fits(app_set.get("id"))
        ):
            reason = "app_set_id: must be scope 1 or 2 and a UUID"
    return reason


def value_problem(text: Any) -> str | None:
    """The rule `eventValue` breaks: it is a string that is blank or holds a JSON object."""
    if not isinstance(text, str):
        return "eventValue: must be a string"
    if not text.strip():
        return None
    try:
        value = NUMBERS_AS_WRITTEN.decode(text)
    except msgspec.DecodeError:
        value = None
    if not isinstance(value, dict):
        return "eventValue: must be blank or hold a JSON object"
    if "af_revenue" in value and revenue(value["af_revenue"]) is None:
        return "af_revenue: must be digits with up to 5 decimals"
    if "af_currency" in value and not CURRENCY.fits(value["af_currency"]):
        return "af_currency: must be an ISO 4217 code in upper case"
    if "af_order_id" in value and not FILLED.fits(value["af_order_id"]):
        return "af_order_id: must be a string that is not empty"  # MOCK-CHOICE: our id, so we insist
    return None


def consent_problem(consent: dict[str, Any]) -> str | None:
    """The rule `consent_data` breaks: exactly one of `manual` and `tcf`, each with its own types."""
    kind = next(iter(consent), "")
    part = consent.get(kind)
    if len(consent) != 1 or kind not in ("manual", "tcf") or not isinstance(part, dict) or not part:
        return "consent_data: must hold exactly one of manual and tcf"
    shapes = MANUAL if kind == "manual" else TCF
    for field, value in part.items():
        if field not in shapes or not shapes[field].fits(value):
            return f"consent_data.{kind}: a field of the wrong name or type"
    return None


def revenue(value: Any) -> str | None:
    """The amount in digits as it was written; `None` where AppsFlyer could not read it."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    text = str(value)
    return text if REVENUE.fullmatch(text) else None


def event_time(text: Any) -> datetime | None:
    """The UTC moment of an `eventTime`; `None` where it is not one."""
    if not isinstance(text, str) or EVENT_TIME.fullmatch(text) is None:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=EPOCH.tzinfo)
    except ValueError:
        return None


def stamped(occurred: datetime | None, now: datetime) -> datetime:
    """The time AppsFlyer files an event under.

    Its own, if it arrives before 02:00 UTC of the next day; else, or without a time, the arrival's.
    MOCK-CHOICE for a time in the future: kept within the arrival's UTC day, else the arrival's.
    """
    if occurred is None:
        return now
    midnight = occurred.replace(hour=0, minute=0, second=0, microsecond=0)
    return occurred if midnight <= now < midnight + CLOSE_OF_DAY else now


def take(item: dict[str, Any], app_id: str, now_us: int, *, recorded: bool, ios: bool, legacy: bool) -> Taken:
    """A valid event as AppsFlyer keeps it; the flag `af_events_api` is of api2's samples alone."""
    text: str = item["eventValue"]
    value = NUMBERS_AS_WRITTEN.decode(text) if text.strip() else {}
    amount = revenue(value["af_revenue"]) if "af_revenue" in value else None
    currency = item.get("eventCurrency", value.get("af_currency"))
    known = SHAPES[ios].keys() | READ_APART | ({"af_events_api"} if legacy else set())
    warnings = [f"unknown key {key[:40]!r}" for key in item if key not in known]
    if amount is not None and currency is None:
        warnings.append("af_revenue without eventCurrency: read as USD")
        currency = "USD"
    if "af_currency" in value and value["af_currency"] != currency:
        warnings.append("af_currency differs from eventCurrency")
    if item["eventName"].startswith("af_"):
        warnings.append("eventName starts with af_")
    if not recorded:
        warnings.append("answered OK and not recorded")
    if ZERO_UUID in (item.get("advertising_id"), item.get("idfa")):
        warnings.append("an all-zero advertising id")
    moment = event_time(item.get("eventTime"))
    return Taken(
        platform="appsflyer",
        account=app_id,
        conversion_id=value.get("af_order_id"),
        name=item["eventName"],
        occurred_us=None if moment is None else to_us(moment),
        stamped_us=to_us(stamped(moment, from_us(now_us))),
        received_us=now_us,
        recorded=recorded,
        value=amount,
        currency=currency if currency in ISO_4217 else None,
        ids={ours: item[theirs] for theirs, ours in ID_NAMES.items() if isinstance(item.get(theirs), str)},
        user_id=item.get("customer_user_id"),
        warnings=tuple(warnings),
        item=item,
    )


def refuse(status: int, message: str, reason: str, app_id: str, now_us: int, item: Any = None) -> Answer:
    """AppsFlyer's bare-text refusal."""
    refused = Refused(
        platform="appsflyer", account=app_id, reason=reason, received_us=now_us, status=status, item=item
    )
    return Answer(status=status, body=message.encode(), headers=TEXT_TYPE, refused=(refused,))


def broken(status: int) -> Answer:
    """What the host says when it fails by itself: nothing about 429 is published, so it has no headers."""
    words = {429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable"}
    return Answer(status=status, body=words.get(status, "Error").encode(), headers=TEXT_TYPE)
