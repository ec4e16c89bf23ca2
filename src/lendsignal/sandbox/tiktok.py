"""The stand-in for TikTok's Events API 2.0 with app events.

Source: business-api.tiktok.com ("return codes", "rate limits") as transcribed in GitHub
api-evangelist/tiktok-ads, ads.tiktok.com ("event deduplication"), and the fields in GitHub
segmentio/action-destinations `tiktok-app-events`; read 2026-11-22.
Where these are silent the line says MOCK-CHOICE, and docs/reference/sandbox.md tables it.
"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from lendsignal.sandbox.settings import SandboxSettings
from lendsignal.sandbox.shape import (
    ADDRESS,
    CURRENCY,
    DIGESTS,
    FILLED,
    FLAG,
    NUMBER,
    OBJECT,
    OBJECTS,
    SHA256,
    TEXT,
    TEXTS,
    UUID,
    WHOLE,
    ZERO_UUID,
    Shape,
    is_whole,
    matching,
    misfits,
    one_of,
)
from lendsignal.sandbox.verdict import JSON, Answer, Asked, Refused, Taken, decoded, media_type

HOST = "business-api.tiktok.com"
TRACK = "/open_api/v1.3/event/track/"
NOT_FOUND = b"<html><body>404 page not found</body></html>"

MAX_EVENTS = 1000
WINDOW_SECONDS = 28 * 86_400
"""MOCK-CHOICE: TikTok publishes no window; a connector (Amperity) names 28 days."""

SOON_SECONDS = 300
"""MOCK-CHOICE: how far ahead of our clock `event_time` may be."""

PARAMETER, NO_PERMISSION, NO_TOKEN, BAD_TOKEN, PARTIAL = 40002, 40001, 40104, 40105, 20001

APP_EVENTS = frozenset(
    "AchieveLevel AddPaymentInfo AddToCart AddToWishlist Checkout CompleteTutorial CreateGroup CreateRole "
    "GenerateLead InAppADClick InAppADImpr InstallApp JoinGroup LaunchAPP LoanApplication LoanApproval "
    "LoanDisbursal Login Purchase Rate Registration Search SpendCredits StartTrial Subscribe "
    "UnlockAchievement ViewContent".split()
)

ADVERTISING_ID = Shape(
    "a UUID that is not all zeros, or its SHA-256",
    lambda value: SHA256.fits(value) or (UUID.fits(value) and value != ZERO_UUID),
)
"""MOCK-CHOICE: raw and hashed are both taken, for connectors do either and TikTok's page says neither."""

EVENT_SHAPES: Mapping[str, Shape] = {
    "event": FILLED,
    "event_id": FILLED,
    "user": OBJECT,
    "properties": OBJECT,
    "app": OBJECT,
    "ad": OBJECT,
    "page": OBJECT,
    "lead": OBJECT,
    "limited_data_use": FLAG,
}
USER_SHAPES: Mapping[str, Shape] = {
    **dict.fromkeys(("external_id", "email", "phone", "first_name", "last_name", "zip_code"), DIGESTS),
    "gaid": ADVERTISING_ID,
    "idfa": ADVERTISING_ID,
    "idfv": UUID,
    "att_status": one_of("AUTHORIZED", "DENIED", "NOT_DETERMINED", "RESTRICTED", "NOT_APPLICABLE"),
    "ip": ADDRESS,
    "user_agent": FILLED,
    "locale": matching(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*", "a BCP 47 tag"),
    "ttclid": FILLED,
    "ttp": FILLED,
    "city": FILLED,
    "state": FILLED,
    "country": FILLED,
}
NAMES_SOMEBODY = frozenset("external_id email phone gaid idfa idfv ttclid ttp".split())
PROPERTY_SHAPES: Mapping[str, Shape] = {
    "currency": CURRENCY,
    "value": NUMBER,
    "contents": OBJECTS,
    "content_type": one_of("product", "product_group"),
    "content_ids": TEXTS,
    "num_items": WHOLE,
    "order_id": FILLED,
    "description": TEXT,
    "query": TEXT,
    "search_string": TEXT,
}
APP_SHAPES: Mapping[str, Shape] = {"app_id": FILLED, "app_name": FILLED, "app_version": FILLED}
TOP_KEYS = frozenset("event_source event_source_id data test_event_code partner_name".split())


def judge(asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """What TikTok would answer at `now_us`: HTTP 200 with a code, unless the address is wrong."""
    if asked.path != TRACK:
        return lost(404, "path: must be /open_api/v1.3/event/track/, with the slash at its end", now_us)
    if asked.method != "POST":
        return lost(405, "method: must be POST", now_us)
    token = asked.headers.get("access-token")
    if not token:
        return refuse(asked, "", now_us, NO_TOKEN, "Access-Token: missing")
    if token not in settings.tiktok.values():
        return refuse(asked, "", now_us, BAD_TOKEN, "Access-Token: unknown")
    body = decoded(asked.body) if media_type(asked.headers) == "application/json" else None
    if not isinstance(body, dict):
        return refuse(asked, "", now_us, PARAMETER, "body: must be a JSON object")
    rows = body.get("data")
    count = len(rows) if isinstance(rows, list) else 1
    if body.get("event_source") != "app":  # MOCK-CHOICE: of the four sources only apps are played here
        return refuse(asked, "", now_us, PARAMETER, "event_source: must be 'app'", rows=count)
    app_id = body.get("event_source_id")
    if not isinstance(app_id, str) or settings.tiktok.get(app_id) != token:
        why = "event_source_id: not this token's"
        return refuse(asked, str(app_id)[:40], now_us, NO_PERMISSION, why, rows=count)
    if not isinstance(rows, list) or len(rows) > MAX_EVENTS:
        return refuse(asked, app_id, now_us, PARAMETER, "data: must be an array of at most 1000", rows=count)
    if "test_event_code" in body and (not FILLED.fits(body["test_event_code"]) or len(rows) > 1):
        why = "test_event_code: must be a string, and is for single events"
        return refuse(asked, app_id, now_us, PARAMETER, why, rows=count)
    found = [next(row_problems(row, now_us // 1_000_000), None) for row in rows]
    if any(found) and not settings.tiktok_partial:
        index, why = next((index, why) for index, why in enumerate(found) if why is not None)
        return refuse(asked, app_id, now_us, PARAMETER, why, rows=count, index=index, item=rows[index])
    taken = tuple(
        take(row, body, app_id, now_us) for row, why in zip(rows, found, strict=True) if why is None
    )
    bad = [(index, why) for index, why in enumerate(found) if why is not None]
    refused = tuple(
        Refused(platform="tiktok", account=app_id, reason=why, received_us=now_us, status=200,
                index=index, item=rows[index])
        for index, why in bad
    )  # fmt: skip
    message = "; ".join(f"Batch.{index}.{why}" for index, why in bad)
    said = envelope(PARTIAL, message, asked.body) if bad else envelope(0, "OK", asked.body)
    return Answer(status=200, body=said, headers=JSON, taken=taken, refused=refused)


def row_problems(row: Any, now: int) -> Iterator[str]:
    """The rule for each one a row breaks, after the row's place; `now` in Unix seconds."""
    if not isinstance(row, dict):
        yield "event: must be an object"
        return
    for key in ("event", "user"):
        if key not in row:
            yield f"{key}: required"
    yield from misfits(row, EVENT_SHAPES)
    moment: Any = row.get("event_time")
    if not is_whole(moment) or not 10**9 <= moment < 10**10:
        yield "event_time: must be Unix seconds, an integer of 10 digits"
    elif not now - WINDOW_SECONDS <= moment <= now + SOON_SECONDS:
        yield "event_time: outside the window"
    user = row.get("user")
    if isinstance(user, dict):
        yield from misfits(user, USER_SHAPES, "user.")
        if not user.keys() & NAMES_SOMEBODY:
            yield "user: at least one id is required"
    app = row.get("app", {})
    if isinstance(app, dict):
        yield from misfits(app, APP_SHAPES, "app.")
    properties = row.get("properties", {})
    if isinstance(properties, dict):
        yield from misfits(properties, PROPERTY_SHAPES, "properties.")
        if "value" in properties and "currency" not in properties:
            yield "properties.currency: required with value"


def take(row: dict[str, Any], body: dict[str, Any], app_id: str, now_us: int) -> Taken:
    """A valid row as TikTok keeps it."""
    user, properties, app = row["user"], row.get("properties", {}), row.get("app", {})
    warnings = [f"unknown key {key[:40]!r}" for key in body.keys() - TOP_KEYS]
    warnings += [f"unknown key {key[:40]!r}" for key in row.keys() - EVENT_SHAPES.keys() - {"event_time"}]
    warnings += [f"unknown key user.{key[:40]!r}" for key in user.keys() - USER_SHAPES.keys()]
    warnings += [f"unknown key properties.{key[:40]!r}" for key in properties.keys() - PROPERTY_SHAPES.keys()]
    warnings += [f"unknown key app.{key[:40]!r}" for key in app.keys() - APP_SHAPES.keys()]
    warnings += [
        f"no properties.{key}: events without it have been refused"
        for key in ("contents", "content_type")
        if key not in properties
    ]
    if "event_id" not in row:
        warnings.append("no event_id: nothing to drop a repeat by")
    if row["event"] not in APP_EVENTS:
        warnings.append("a custom event: it may not be optimised for")
    if "ad" in row:
        warnings.append("ad: for allowlisted partners only")
    if "test_event_code" in body:
        warnings.append("test_event_code in the request")
    stamp = row["event_time"] * 1_000_000
    external = user.get("external_id")
    return Taken(
        platform="tiktok",
        account=app_id,
        conversion_id=row.get("event_id"),
        name=row["event"],
        occurred_us=stamp,
        stamped_us=stamp,
        received_us=now_us,
        value=repr(properties["value"]) if "value" in properties else None,
        currency=properties.get("currency"),
        ids={key: user[key] for key in ("gaid", "idfa", "idfv") if key in user},
        user_id=external[0] if isinstance(external, list) else external,
        warnings=tuple(sorted(warnings)),
        item=row,
    )


def refuse(
    asked: Asked,
    app_id: str,
    now_us: int,
    code: int,
    why: str,
    *,
    rows: int = 1,
    index: int | None = None,
    item: Any = None,
) -> Answer:
    """HTTP 200 with a code: the whole request falls; a row's rule is named after `Batch.<row>`."""
    refused = Refused(
        platform="tiktok", account=app_id, reason=why, received_us=now_us, status=200,
        rows=rows, index=index, item=item,
    )  # fmt: skip
    message = why if index is None else f"Batch.{index}.{why}"
    return Answer(status=200, body=envelope(code, message, asked.body), headers=JSON, refused=(refused,))


def lost(status: int, why: str, now_us: int) -> Answer:
    """A request that never reached the API."""
    refused = Refused(platform="tiktok", account="", reason=why, received_us=now_us, status=status)
    return Answer(status=status, body=NOT_FOUND, headers=(("content-type", "text/html"),), refused=(refused,))


def envelope(code: int, message: str, seed: bytes) -> bytes:
    """The body of every answer; `request_id` is the same for the same bytes."""
    made = blake2b(seed, digest_size=16).hexdigest().upper()
    return msgspec.json.encode({"code": code, "message": message, "request_id": made, "data": {}})


def broken(status: int) -> Answer:
    """What the host says when it fails by itself: throttled as 40100 without a header, else 50000."""
    if status == 429:
        body = envelope(40100, "Requests made too frequently: the QPS limit is reached.", b"")
    elif status in (401, 403):
        body = envelope(BAD_TOKEN, "Access token is incorrect or has been revoked.", b"")
    else:
        body = envelope(50000, "System error", b"")
    return Answer(status=status, body=body, headers=JSON)
