"""The stand-in for Kochava post-install events.

Source: Kochava's post-install event setup (support.kochava.com/server-to-server-integration, read
2026-11-22). No official page shows an answer: every status and body here is MOCK-CHOICE, and
docs/reference/sandbox.md tables it.
"""

import re
from typing import Any

from lendsignal.sandbox.settings import SandboxSettings
from lendsignal.sandbox.shape import (
    ADDRESS,
    CURRENCY,
    FILLED,
    TEXT,
    UUID,
    ZERO_UUID,
    Shape,
    is_number,
    is_whole,
)
from lendsignal.sandbox.verdict import JSON, Answer, Asked, Refused, Taken, decoded, media_type

HOST = "control.kochava.com"
DEVICE_VER = re.compile(r"(?:[^-]+-(?:iOS|Android)-\d[\w.]*)?")
ESCAPED = re.compile(r"[\w.~!*'()%+-]+", re.ASCII)
ATT_FROM = 14
ID_NAMES = {"adid": "gaid", "idfa": "idfa", "idfv": "idfv", "android_id": "android_id"}
KNOWN = frozenset(
    "event_name usertime device_ids origination_ip device_ua device_ver app_version currency event_data "
    "app_tracking_transparency".split()
)
REQUIRED: dict[str, Shape] = {
    "event_name": FILLED,
    "origination_ip": ADDRESS,
    "device_ua": Shape(
        "a URL-encoded string", lambda value: isinstance(value, str) and ESCAPED.fullmatch(value) is not None
    ),
    "device_ver": Shape(
        "<device>-<os_name>-<os_version>, or empty",
        lambda value: isinstance(value, str) and DEVICE_VER.fullmatch(value) is not None,
    ),
    "device_ids": Shape(
        "an object of at least one id",
        lambda value: (
            isinstance(value, dict) and bool(value) and all(FILLED.fits(each) for each in value.values())
        ),
    ),
}
OPTIONAL: dict[str, Shape] = {
    "usertime": Shape("Unix seconds", lambda value: is_whole(value) and 10**9 <= value < 10**10),
    "app_version": TEXT,
    "currency": CURRENCY,
    "event_data": Shape(
        "a flat object",
        lambda value: (
            isinstance(value, dict) and not any(isinstance(each, dict | list) for each in value.values())
        ),
    ),
    "app_tracking_transparency": Shape(
        "an object with att, true or false",
        lambda value: isinstance(value, dict) and isinstance(value.get("att"), bool),
    ),
}


def judge(asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """What a strict Kochava would answer at `now_us`, and what it would keep."""
    if asked.path != "/track/json" or asked.method != "POST":
        return refuse(404, "path: must be POST /track/json", "", now_us)
    item = decoded(asked.body)
    if media_type(asked.headers) != "application/json" or not isinstance(item, dict):
        return refuse(400, "body: must be one JSON object", "", now_us)
    guid = item.pop("kochava_app_id", None)
    account = next((name for name, each in settings.kochava.items() if each == guid), None)
    if account is None:
        return refuse(400, "kochava_app_id: missing or unknown", "", now_us)
    reason = first_problem(item)
    if reason is not None:
        return refuse(400, reason, account, now_us, item)
    return Answer(status=200, body=b'{"success":"1"}', headers=JSON, taken=(take(item, account, now_us),))


def first_problem(item: dict[str, Any]) -> str | None:
    """The first rule the event breaks, or `None`."""
    if item.get("action") != "event":
        return "action: must be 'event'"
    if "kochava_device_id" not in item or not isinstance(item["kochava_device_id"], str | None):
        return "kochava_device_id: required, empty or null where the device ids are always there"
    data = item.get("data")
    if not isinstance(data, dict):
        return "data: must be an object"
    for name, shape in REQUIRED.items():
        if not shape.fits(data.get(name)):
            return f"{name}: must be {shape.says}"
    for name, shape in OPTIONAL.items():
        if name in data and not shape.fits(data[name]):
            return f"{name}: must be {shape.says}"
    for name in ("adid", "idfa", "idfv"):
        each = data["device_ids"].get(name)
        if each is not None and (not UUID.fits(each) or each == ZERO_UUID):
            return f"device_ids.{name}: must be a UUID that names somebody"
    for name in ("sum", "price"):  # MOCK-CHOICE: the page shows numbers and says nothing of text
        if name in data.get("event_data", {}) and not is_number(data["event_data"][name]):
            return f"event_data.{name}: must be a number"
    return None


def take(item: dict[str, Any], account: str, now_us: int) -> Taken:
    """A valid event as Kochava keeps it: the IDFA of an iOS 14 user who did not agree is dropped."""
    data: dict[str, Any] = item["data"]
    event: dict[str, Any] = data.get("event_data", {})
    given: dict[str, str] = data["device_ids"]
    ids = {ours: given[theirs] for theirs, ours in ID_NAMES.items() if theirs in given}
    warnings = [f"unknown key data.{key[:40]!r}" for key in data if key not in KNOWN]
    asks = re.search(r"-iOS-(\d+)", data["device_ver"])
    agreed = data.get("app_tracking_transparency", {}).get("att")
    if asks and int(asks[1]) >= ATT_FROM and not agreed and "idfa" in ids:
        del ids["idfa"]
        warnings.append("idfa dropped: no consent to tracking")
    if item["kochava_device_id"]:
        ids["kochava_device_id"] = item["kochava_device_id"]
    amount = event.get("sum", event.get("price"))
    moment = data.get("usertime")
    if amount is not None and "currency" not in data:
        warnings.append("sum without currency: read as USD")
    return Taken(
        platform="kochava",
        account=account,
        conversion_id=event.get("order_id"),
        name=data["event_name"],
        occurred_us=None if moment is None else moment * 1_000_000,
        stamped_us=now_us if moment is None else moment * 1_000_000,
        received_us=now_us,
        value=repr(amount) if is_number(amount) else None,
        currency=data.get("currency"),
        ids=ids,
        user_id=event.get("user_id"),
        warnings=tuple(warnings),
        item=item,
    )


def refuse(status: int, reason: str, account: str, now_us: int, item: Any = None) -> Answer:
    """A refusal of our own making; the app's GUID is not kept."""
    refused = Refused(
        platform="kochava", account=account, reason=reason, received_us=now_us, status=status, item=item
    )
    return Answer(status=status, body=b'{"success":"0","error":"refused"}', headers=JSON, refused=(refused,))


def broken(status: int) -> Answer:
    """What the host says when it fails by itself."""
    return Answer(status=status, body=b'{"success":"0"}', headers=JSON)
