"""The stand-in for Snap's Conversions API v3 with app events.

Source: developers.snap.com (Conversions API: using the API, parameters, introduction) and Snap's own
OpenAPI file as harvested in GitHub api-evangelist/snap; read 2026-11-22.
Where these are silent the line says MOCK-CHOICE, and docs/reference/sandbox.md tables it.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qs

import msgspec

from lendsignal.sandbox.settings import SandboxSettings
from lendsignal.sandbox.shape import (
    ADDRESS,
    CURRENCY,
    DIGESTS,
    FILLED,
    OBJECT,
    OBJECTS,
    TEXTS,
    UUID,
    ZERO_UUID,
    Shape,
    is_number,
    is_whole,
    matching,
    misfits,
    one_of,
)
from lendsignal.sandbox.verdict import JSON, Answer, Asked, Refused, Taken, decoded, media_type

HOST = "tr.snapchat.com"
PATH = re.compile(r"/v3/([^/]+)/events(/validate)?")

MAX_EVENTS = 2000
MAX_BYTES = 2_000_000
"""MOCK-CHOICE: Snap publishes no size; a connector (Tealium) stops here."""

WINDOW_SECONDS = 37 * 86_400
SOON_SECONDS = 300
"""MOCK-CHOICE: how far ahead of our clock `event_time` may be."""

EVENT_NAMES = (
    "ACHIEVEMENT_UNLOCKED ADD_BILLING ADD_CART ADD_TO_WISHLIST AD_CLICK AD_VIEW APP_INSTALL APP_OPEN "
    "COMPLETE_TUTORIAL CUSTOM_EVENT_1 CUSTOM_EVENT_2 CUSTOM_EVENT_3 CUSTOM_EVENT_4 CUSTOM_EVENT_5 INVITE "
    "LEVEL_COMPLETE LIST_VIEW LOGIN PAGE_VIEW PURCHASE RATE RESERVE SAVE SEARCH SHARE SIGN_UP SPENT_CREDITS "
    "SPEND_CREDITS START_CHECKOUT START_TRIAL SUBSCRIBE VIEW_CONTENT".split()
)
"""MOCK-CHOICE: the names of Snap's pages are taken to be all there are."""

APP_SOURCES = ("MOBILE_APP", "app")
HASHED = "em ph fn ln ge db ct st zp country external_id".split()


def amounts(value: Any) -> bool:
    """A number, or a string that is one: Snap's examples write the one, its schema the other."""
    try:
        return is_number(value) or (isinstance(value, str) and Decimal(value).is_finite())
    except InvalidOperation:
        return False


AMOUNT = Shape("a number, or a string with one", amounts)
EVENT_SHAPES: Mapping[str, Shape] = {
    "event_name": one_of(*EVENT_NAMES),
    "event_id": FILLED,
    "action_source": one_of(*APP_SOURCES, "WEB", "website", "OFFLINE"),
    "event_source_url": matching(r"https?://\S+", "a web address"),
    "user_data": OBJECT,
    "app_data": OBJECT,
    "custom_data": OBJECT,
    "data_processing_options": one_of([], ["LDU"]),
    "integration": FILLED,
}
USER_SHAPES: Mapping[str, Shape] = {
    **dict.fromkeys(HASHED, DIGESTS),
    "madid": UUID,
    "idfv": UUID,
    "client_ip_address": ADDRESS,
    "client_user_agent": FILLED,
    "sc_click_id": FILLED,
    "sc_cookie1": FILLED,
    "lead_id": FILLED,
    "subscription_id": FILLED,
}
APP_SHAPES: Mapping[str, Shape] = {
    "app_id": FILLED,
    "advertiser_tracking_enabled": one_of(0, 1),
    "application_tracking_enabled": one_of(0, 1),
    "extinfo": TEXTS,
}
CUSTOM_SHAPES: Mapping[str, Shape] = {
    "currency": CURRENCY,
    "value": AMOUNT,
    "order_id": FILLED,
    "content_ids": TEXTS,
    "contents": OBJECTS,
    "num_items": AMOUNT,
    "sign_up_method": FILLED,
}
TOP_KEYS = frozenset(("data", "test_event_code"))


def judge(asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """What Snap would answer at `now_us`: every row is taken, or none is (MOCK-CHOICE: Snap does not say)."""
    match = PATH.fullmatch(asked.path)
    if match is None or asked.method != "POST":
        return refuse(404, "", now_us, "path: must be POST /v3/{asset_id}/events")
    asset, validating = match[1], match[2] is not None
    token = parse_qs(asked.query).get("access_token", [""])[0]
    if not token or token not in settings.snap.values():
        return refuse(401, asset, now_us, "access_token: missing or unknown")
    if settings.snap.get(asset) != token:
        return refuse(403, asset, now_us, "asset_id: not this token's")
    if len(asked.body) > MAX_BYTES:
        return refuse(413, asset, now_us, "body: at most 2 MB")
    body = decoded(asked.body) if media_type(asked.headers) == "application/json" else None
    rows = body.get("data") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(rows, list) or not 1 <= len(rows) <= MAX_EVENTS:
        return refuse(400, asset, now_us, "data: must be an array of 1 to 2000")
    if "test_event_code" in body and not FILLED.fits(body["test_event_code"]):
        return refuse(400, asset, now_us, "test_event_code: must be a string", rows=len(rows))
    found = [tuple(row_problems(row, now_us // 1_000_000)) for row in rows]
    if validating:
        return validated(found, "test_event_code" in body)
    for index, problems in enumerate(found):
        if problems:
            return refuse(
                200, asset, now_us, problems[0], rows=len(rows), index=index, item=rows[index], said=problems
            )
    taken = tuple(take(row, body, asset, now_us) for row in rows)
    said = {"status": "VALID", "reason": "Events have been processed successfully."}
    return Answer(status=200, body=msgspec.json.encode(said), headers=JSON, taken=taken)


def row_problems(row: Any, now: int) -> Iterator[str]:
    """The rule for each one a row breaks; `now` in Unix seconds."""
    if not isinstance(row, dict):
        yield "data[]: must be an object"
        return
    # MOCK-CHOICE: one page wants `event_source_url` with every event, another only from web sites.
    for key in ("event_name", "action_source", "user_data", "event_source_url"):
        if key not in row:
            yield f"{key}: required"
    yield from misfits(row, EVENT_SHAPES)
    moment: Any = row.get("event_time")
    if not is_whole(moment) or not 10**9 <= moment < 10**10:
        # MOCK-CHOICE: milliseconds are said to be taken too; Snap's own example is in seconds.
        yield "event_time: must be Unix seconds, an integer of 10 digits"
    elif not now - WINDOW_SECONDS <= moment <= now + SOON_SECONDS:
        yield "event_time: outside the window"
    user = row.get("user_data")
    if isinstance(user, dict):
        yield from misfits(user, USER_SHAPES, "user_data.")
        useful = {key for key in user if user[key] != ZERO_UUID}
        both = {"client_ip_address", "client_user_agent"}
        if not useful & {"em", "ph", "madid"} and not both <= useful:
            yield "user_data: em, ph, madid, or address and user agent together are required"
    if row.get("action_source") in APP_SOURCES:
        yield from app_problems(row.get("app_data"))
    custom = row.get("custom_data", {})
    if isinstance(custom, dict):
        yield from misfits(custom, CUSTOM_SHAPES, "custom_data.")
        if row.get("event_name") == "PURCHASE":
            yield from (
                f"custom_data.{key}: required for PURCHASE"
                for key in ("currency", "value")
                if key not in custom
            )
        if "value" in custom and "currency" not in custom:
            yield "custom_data.currency: required with value"


def app_problems(app: Any) -> Iterator[str]:
    """`app_data` of an app event: the tracking flag, and `extinfo` of exactly 16 strings."""
    if not isinstance(app, dict):
        yield "app_data: required for app events"
        return
    yield from misfits(app, APP_SHAPES, "app_data.")
    for key in ("app_id", "advertiser_tracking_enabled", "extinfo"):
        if key not in app:
            yield f"app_data.{key}: required"
    extinfo = app.get("extinfo")
    if isinstance(extinfo, list):
        if len(extinfo) != 16:
            yield "app_data.extinfo: must have 16 places"
        elif extinfo[0] not in ("a2", "i2"):
            yield "app_data.extinfo[0]: must be a2 or i2"
        elif not extinfo[4]:
            yield "app_data.extinfo[4]: the OS version is required"


def take(row: dict[str, Any], body: dict[str, Any], asset: str, now_us: int) -> Taken:
    """A valid row as Snap keeps it."""
    user, app, custom = row["user_data"], row.get("app_data", {}), row.get("custom_data", {})
    warnings = [f"unknown key {key[:40]!r}" for key in body.keys() - TOP_KEYS]
    warnings += [f"unknown key {key[:40]!r}" for key in row.keys() - EVENT_SHAPES.keys() - {"event_time"}]
    warnings += [f"unknown key user_data.{key[:40]!r}" for key in user.keys() - USER_SHAPES.keys()]
    warnings += [f"unknown key app_data.{key[:40]!r}" for key in app.keys() - APP_SHAPES.keys()]
    if "event_id" not in row:
        warnings.append("no event_id: nothing to drop a repeat by")
    if "test_event_code" in body:
        warnings.append("test_event_code in the request")
    madid = user.get("madid")
    if madid == ZERO_UUID:
        warnings.append("an all-zero madid")
    elif madid is not None and madid != madid.lower():
        warnings.append("madid in upper case: it may not match")
    ids = {}
    if madid is not None:
        ids["idfa" if app.get("extinfo", ["a2"])[0] == "i2" else "gaid"] = madid
    if "idfv" in user:
        ids["idfv"] = user["idfv"]
    external = user.get("external_id")
    stamp = row["event_time"] * 1_000_000
    return Taken(
        platform="snap",
        account=asset,
        conversion_id=row.get("event_id"),
        name=row["event_name"],
        occurred_us=stamp,
        stamped_us=stamp,
        received_us=now_us,
        value=str(custom["value"]) if "value" in custom else None,
        currency=custom.get("currency"),
        ids=ids,
        user_id=external[0] if isinstance(external, list) else external,
        warnings=tuple(sorted(warnings)),
        item=row,
    )


def validated(found: list[tuple[str, ...]], test: bool) -> Answer:
    """The validator's word on each row; it keeps nothing."""
    logs = [
        {
            "event": index,
            "status": "INVALID" if problems else "VALID",
            "errors": [{"code": code_of(why), "error_msg": why} for why in problems],
            "warnings": [],
        }
        for index, problems in enumerate(found)
    ]
    bad = any(found)
    said = {
        "status": "INVALID" if bad else "VALID",
        "reason": "Some events are invalid." if bad else "All events are valid.",
        "test_event": test,
        "event_logs": logs,
    }
    return Answer(status=200, body=msgspec.json.encode(said), headers=JSON)


def refuse(
    status: int,
    asset: str,
    now_us: int,
    why: str,
    *,
    rows: int = 1,
    index: int | None = None,
    item: Any = None,
    said: tuple[str, ...] = (),
) -> Answer:
    """INVALID in a 200 for a row (`event` names it), under a status of its own for the whole request."""
    refused = Refused(
        platform="snap", account=asset, reason=why, received_us=now_us, status=status,
        rows=rows, index=index, item=item,
    )  # fmt: skip
    problems = said or (why,)
    body: dict[str, Any] = {"status": "INVALID", "reason": "Refused by the sandbox."}
    if index is not None:
        body["event"] = index
    body["errors"] = {"codes": [code_of(each) for each in problems], "error_msgs": list(problems)}
    return Answer(status=status, body=msgspec.json.encode(body), headers=JSON, refused=(refused,))


def code_of(why: str) -> str:
    """MOCK-CHOICE: Snap's codes are not published; ours say what kind of rule was broken."""
    return "MISSING_FIELD" if "required" in why else "INVALID_FIELD"


def broken(status: int) -> Answer:
    """What the host says when it fails by itself; a 429 comes without Retry-After."""
    body = {"status": "INVALID", "reason": "failed on purpose"} if status < 500 else {"error": "unavailable"}
    return Answer(status=status, body=msgspec.json.encode(body), headers=JSON)
