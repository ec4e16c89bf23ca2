"""The stand-in for Branch events, v2: standard and custom.

Source: help.branch.io/apidocs (events, logstandardevents, logcustomevents) and the keys of Branch's Android
SDK (GitHub BranchMetrics/android-branch-deep-linking-attribution), read 2026-11-22. Where the vendor is
silent the line says MOCK-CHOICE, and docs/reference/sandbox.md tables it.
"""

from collections.abc import Mapping
from typing import Any

from lendsignal.sandbox.settings import SandboxSettings
from lendsignal.sandbox.shape import (
    ADDRESS,
    CURRENCY,
    FILLED,
    FLAG,
    NUMBER,
    OBJECT,
    TEXT,
    UUID,
    ZERO_UUID,
    Shape,
    one_of,
)
from lendsignal.sandbox.verdict import JSON, Answer, Asked, Refused, Taken, decoded, media_type

HOST = "api2.branch.io"
KINDS = {"/v2/event/standard": "standard", "/v2/event/custom": "custom"}
COMMERCE = frozenset(
    "ADD_TO_CART ADD_TO_WISHLIST VIEW_CART INITIATE_PURCHASE ADD_PAYMENT_INFO CLICK_AD PURCHASE "
    "SPEND_CREDITS VIEW_AD RESERVE".split()
)
STANDARD = COMMERCE | frozenset(
    "SEARCH VIEW_ITEM VIEW_ITEMS RATE SHARE INITIATE_STREAM COMPLETE_STREAM COMPLETE_REGISTRATION "
    "COMPLETE_TUTORIAL ACHIEVE_LEVEL UNLOCK_ACHIEVEMENT INVITE LOGIN START_TRIAL SUBSCRIBE".split()
)
TOP: Mapping[str, Shape] = {
    "name": FILLED,
    "user_data": OBJECT,
    "customer_event_alias": FILLED,
    "event_data": OBJECT,
    "custom_data": Shape(
        "an object of strings",
        lambda value: isinstance(value, dict) and all(isinstance(each, str) for each in value.values()),
    ),
    "content_items": Shape(
        "an array of objects",
        lambda value: isinstance(value, list) and all(isinstance(each, dict) for each in value),
    ),
}
DMA = ("dma_eea", "dma_ad_user_data", "dma_ad_personalization")
USER: Mapping[str, Shape] = {
    "os": one_of("Android", "iOS"),
    "environment": TEXT,
    **dict.fromkeys(("aaid", "idfa", "idfv"), UUID),
    **dict.fromkeys(("android_id", "browser_fingerprint_id"), FILLED),
    "developer_identity": TEXT,
    **dict.fromkeys("os_version user_agent country language brand model app_version sdk".split(), TEXT),
    **dict.fromkeys("screen_dpi screen_height screen_width".split(), NUMBER),
    "ip": ADDRESS,
    "advertising_ids": Shape(
        "an object of ids",
        lambda value: isinstance(value, dict) and all(FILLED.fits(each) for each in value.values()),
    ),
    **dict.fromkeys((*DMA, "limit_ad_tracking", "disable_ad_network_callouts"), FLAG),
}
EVENT: Mapping[str, Shape] = {
    "transaction_id": FILLED,
    "currency": CURRENCY,
    # MOCK-CHOICE: a connector's page calls negative revenue unsupported; Branch's own say nothing.
    "revenue": Shape("a number of at least zero", lambda value: NUMBER.fits(value) and value >= 0),
    **dict.fromkeys(("shipping", "tax"), NUMBER),
    **dict.fromkeys("coupon affiliation description search_query ad_type".split(), TEXT),
}
IDENTIFIERS = ("aaid", "android_id", "idfa", "idfv", "developer_identity", "browser_fingerprint_id")
ID_NAMES = {"aaid": "gaid", "android_id": "android_id", "idfa": "idfa", "idfv": "idfv"}


def judge(asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """What Branch would answer at `now_us`, and what it would keep."""
    kind = KINDS.get(asked.path)
    if kind is None or asked.method != "POST":
        return refuse(404, "path: must be POST /v2/event/standard or /v2/event/custom", "", now_us)
    item = decoded(asked.body)
    if media_type(asked.headers) != "application/json" or not isinstance(item, dict):
        return refuse(400, "body: must be one JSON object", "", now_us)
    key = item.pop("branch_key", None)
    account = next((name for name, each in settings.branch.items() if each == key), None)
    if account is None:  # MOCK-CHOICE of status
        return refuse(401, "branch_key: missing or unknown", "", now_us)
    reason = first_problem(item, kind)
    if reason is not None:
        return refuse(400, reason, account, now_us, item)
    taken = take(item, kind, account, now_us)
    return Answer(status=200, body=b'{"branch_view_enabled":false}', headers=JSON, taken=(taken,))


def first_problem(item: dict[str, Any], kind: str) -> str | None:
    """The first rule the event breaks, or `None`."""
    for name in ("name", "user_data"):
        if name not in item and (name == "name" or kind == "standard"):
            return f"{name}: required"
    reason = shape_problem(item, TOP, "")
    if reason is not None:
        return reason
    if kind == "standard" and item["name"] not in STANDARD:
        return "name: must be one of the standard events"
    user = item.get("user_data", {})
    reason = shape_problem(user, USER, "user_data.") or shape_problem(
        item.get("event_data", {}), EVENT, "event_data."
    )
    if reason is None and not any(user.get(name) for name in IDENTIFIERS):  # MOCK-CHOICE of the list
        reason = "user_data: must name somebody"
    if reason is None and ZERO_UUID in (user.get("aaid"), user.get("idfa"), user.get("idfv")):
        reason = "user_data: an all-zero id names nobody"  # MOCK-CHOICE
    if reason is None and user.get("dma_eea") and not user.keys() >= set(DMA):
        reason = "user_data.dma_eea: needs both other dma fields"
    return reason


def shape_problem(held: dict[str, Any], shapes: Mapping[str, Shape], where: str) -> str | None:
    """The first field of the wrong form."""
    for name, value in held.items():
        shape = shapes.get(name)
        if shape is not None and not shape.fits(value):
            return f"{where}{name}: must be {shape.says}"
    return None


def take(item: dict[str, Any], kind: str, account: str, now_us: int) -> Taken:
    """A valid event as Branch keeps it: at its arrival, whatever time it may carry."""
    user: dict[str, Any] = item.get("user_data", {})
    event: dict[str, Any] = item.get("event_data", {})
    warnings = [f"unknown key {key[:40]!r}" for key in item if key not in TOP]
    warnings += [f"unknown key user_data.{key[:40]!r}" for key in user if key not in USER]
    warnings += [f"unknown key event_data.{key[:40]!r}" for key in event if key not in EVENT]
    if kind == "custom" and event:
        warnings.append("event_data of a custom event reaches no ad partner")
    if "revenue" in event and kind == "standard" and item["name"] not in COMMERCE:
        warnings.append("revenue of a standard event that is not commerce reaches no ad partner")
    if "revenue" in event and "currency" not in event:
        warnings.append("revenue without currency")
    ids = {ours: user[theirs] for theirs, ours in ID_NAMES.items() if theirs in user}
    oaid = user.get("advertising_ids", {}).get("oaid")
    return Taken(
        platform="branch",
        account=account,
        conversion_id=event.get("transaction_id", item.get("custom_data", {}).get("conversion_id")),
        name=item.get("customer_event_alias", item["name"]),
        occurred_us=None,
        stamped_us=now_us,
        received_us=now_us,
        value=repr(event["revenue"]) if "revenue" in event else None,
        currency=event.get("currency"),
        ids=ids if oaid is None else {**ids, "oaid": oaid},
        user_id=user.get("developer_identity"),
        warnings=tuple(warnings),
        item=item,
    )


def refuse(status: int, reason: str, account: str, now_us: int, item: Any = None) -> Answer:
    """A refusal; the form of the body is our own, and the key is not kept."""
    refused = Refused(
        platform="branch", account=account, reason=reason, received_us=now_us, status=status, item=item
    )
    words = "Unauthorized" if status == 401 else "Bad Request"
    return Answer(status=status, body=error(status, words), headers=JSON, refused=(refused,))


def error(status: int, words: str) -> bytes:
    return f'{{"error":{{"code":{status},"message":"{words}"}}}}'.encode()


def broken(status: int) -> Answer:
    """What the host says when it fails by itself."""
    words = {429: "Rate Limit Reached"}
    return Answer(status=status, body=error(status, words.get(status, "Service Unavailable")), headers=JSON)
