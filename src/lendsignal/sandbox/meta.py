"""The stand-in for Meta's Conversions API with app events.

Source: developers.facebook.com/documentation/ads-commerce/conversions-api (using-the-api, app-events,
parameters, server-event) and the error codes in GitHub rudderlabs/rudder-transformer
`facebookUtils/networkHandler.js`; read 2026-11-22.
Where the vendor is silent the line says MOCK-CHOICE, and docs/reference/sandbox.md tables it.
"""

import base64
import hmac
import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qs

import msgspec

from lendsignal.sandbox.settings import MetaDataset, SandboxSettings
from lendsignal.sandbox.shape import (
    ADDRESS,
    DIGESTS,
    FILLED,
    FLAG,
    ISO_4217,
    OBJECT,
    SHA256,
    TEXT,
    TEXTS,
    UUID,
    WHOLE,
    ZERO_UUID,
    Shape,
    is_number,
    is_whole,
    matching,
    one_of,
)
from lendsignal.sandbox.verdict import JSON, Answer, Asked, Refused, Taken, decoded, media_type

HOST = "graph.facebook.com"
PATH = re.compile(r"/v(\d{1,2})\.0/([^/]+)/events")
VERSIONS = range(22, 27)
"""MOCK-CHOICE: v26.0 is current (November 2026) and a version lives two years or longer."""

MAX_EVENTS = 1000
MAX_BYTES = 1_000_000
WINDOW_SECONDS = 7 * 86_400
STORE_WINDOW_SECONDS = 62 * 86_400
SOON_SECONDS = 300
"""MOCK-CHOICE: how far ahead of our clock `event_time` may be."""

TOO_OLD, VALUE_MISSING, INVALID_ROW = 2804003, 2804009, 2804001
"""Subcodes of code 100. MOCK-CHOICE: the last one stands for every rule without a published subcode."""

ACTION_SOURCES = (
    "email website app phone_call chat physical_store system_generated business_messaging other".split()
)
HASHED = "em ph fn ln ge db ct st zp country".split()
UNHASHED = (
    "fb_login_id lead_id subscription_id page_id page_scoped_user_id ctwa_clid ig_account_id ig_sid".split()
)
WEAK = frozenset("fn ln ge db ct st zp country client_user_agent".split())
"""MOCK-CHOICE: `user_data` of these alone names nobody; Meta refuses weak combinations since v13."""

TOP_KEYS = frozenset(
    "data test_event_code partner_agent namespace_id upload_id upload_tag upload_source access_token "
    "appsecret_proof".split()
)
EVENT_SHAPES: Mapping[str, Shape] = {
    "event_name": FILLED,
    "event_id": FILLED,
    "action_source": one_of(*ACTION_SOURCES),
    "user_data": OBJECT,
    "app_data": OBJECT,
    "custom_data": OBJECT,
    "opt_out": FLAG,
    "data_processing_options": one_of([], ["LDU"]),
    "data_processing_options_country": WHOLE,
    "data_processing_options_state": WHOLE,
    "event_source_url": TEXT,
    "referrer_url": TEXT,
    "original_event_data": OBJECT,
    "attribution_data": OBJECT,
    "messaging_channel": TEXT,
}
KNOWN_KEYS = frozenset((*EVENT_SHAPES, "event_time", "advanced_measurement_table"))
NAMES = Shape(
    "a string, or an array of strings",
    lambda value: FILLED.fits(value) or (TEXTS.fits(value) and bool(value)),
)
USER_SHAPES: Mapping[str, Shape] = {
    **dict.fromkeys(HASHED, DIGESTS),
    **dict.fromkeys(UNHASHED, FILLED),
    "external_id": NAMES,
    "madid": UUID,
    "anon_id": Shape(
        "an install id, not hashed", lambda value: FILLED.fits(value) and not SHA256.fits(value)
    ),
    "client_ip_address": ADDRESS,
    "client_user_agent": FILLED,
    "fbc": matching(r"fb\.\d\.\d+\..+", "fb.<index>.<milliseconds>.<click id>"),
    "fbp": matching(r"fb\.\d\.\d+\.\d+", "fb.<index>.<milliseconds>.<number>"),
}
APP_SHAPES: Mapping[str, Shape] = {
    "advertiser_tracking_enabled": one_of(0, 1),
    "application_tracking_enabled": one_of(0, 1),
    "extinfo": TEXTS,
    "campaign_ids": TEXT,
    "install_referrer": TEXT,
    "installer_package": TEXT,
    "url_schemes": TEXTS,
    "vendor_id": UUID,
    "windows_attribution_id": TEXT,
}
SDK_APP_KEYS = frozenset("consider_views include_dwell_data include_video_data receipt_data".split())


def judge(asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """What Meta would answer at `now_us`: every row is taken, or none is."""
    version, dataset_id = address(asked)
    if dataset_id is None or asked.method != "POST":
        return refuse(asked, "", now_us, 2500, "path: must be POST /{version}/{dataset_id}/events")
    if version not in VERSIONS:
        return refuse(asked, dataset_id, now_us, 2635, "path: a version nobody serves")
    if len(asked.body) > MAX_BYTES:
        return refuse(asked, dataset_id, now_us, 100, "body: at most 1 MB")
    fields = body_fields(asked)
    if fields is None:
        return refuse(asked, dataset_id, now_us, 100, "body: must be a JSON object or a form")
    query = {key: values[0] for key, values in parse_qs(asked.query).items()}
    token = query.get("access_token", fields.get("access_token"))
    proof = query.get("appsecret_proof", fields.get("appsecret_proof"))
    rows = fields.get("data")
    count = len(rows) if isinstance(rows, list) else 1
    if not any(token == dataset.token for dataset in settings.meta.values()):
        return refuse(asked, dataset_id, now_us, 190, "access_token: missing or invalid", rows=count)
    dataset = settings.meta.get(dataset_id)
    if dataset is None or dataset.token != token:
        why = "dataset_id: not found or not this token's"
        return refuse(asked, dataset_id, now_us, 100, why, subcode=33, rows=count)
    if not proven(dataset, proof):
        why = "appsecret_proof: missing or not the proof of this token"
        return refuse(asked, dataset_id, now_us, 100, why, rows=count)
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_EVENTS:
        return refuse(asked, dataset_id, now_us, 100, "data: must be an array of 1 to 1000", rows=count)
    if "test_event_code" in fields and not FILLED.fits(fields["test_event_code"]):
        return refuse(asked, dataset_id, now_us, 100, "test_event_code: must be a string", rows=count)
    for index, row in enumerate(rows):
        for subcode, why in row_problems(row, now_us // 1_000_000):
            return refuse(
                asked, dataset_id, now_us, 100, why, subcode=subcode, rows=count, index=index, item=row
            )
    taken = tuple(take(row, fields, dataset_id, now_us) for row in rows)
    body = {"events_received": count, "messages": [], "fbtrace_id": trace(asked.body)}
    return Answer(status=200, body=msgspec.json.encode(body), headers=JSON, taken=taken)


def address(asked: Asked) -> tuple[int, str | None]:
    """Graph version and dataset id of the path; `None` where it is another path."""
    match = PATH.fullmatch(asked.path)
    return (int(match[1]), match[2]) if match else (0, None)


def body_fields(asked: Asked) -> dict[str, Any] | None:
    """The top-level fields of a JSON body, or of a form whose `data` is JSON; `None` where it is neither."""
    match media_type(asked.headers):
        case "application/json":
            body = decoded(asked.body)
            return body if isinstance(body, dict) else None
        case "application/x-www-form-urlencoded":
            try:
                form = parse_qs(asked.body.decode(), strict_parsing=True)
            except ValueError:
                return None
            fields: dict[str, Any] = {key: values[0] for key, values in form.items()}
            fields["data"] = decoded(fields.get("data", "").encode())
            return fields
        case _:
            return None


def proven(dataset: MetaDataset, proof: Any) -> bool:
    """True where no proof is demanded, or it is the hex HMAC-SHA256 of the token under the app secret."""
    if dataset.app_secret is None:
        return True
    expected = hmac.digest(dataset.app_secret.encode(), dataset.token.encode(), "sha256").hex()
    return isinstance(proof, str) and hmac.compare_digest(expected.encode(), proof.encode())


def row_problems(row: Any, now: int) -> Iterator[tuple[int, str]]:
    """Subcode and rule for each rule a row breaks; `now` in Unix seconds."""
    if not isinstance(row, dict):
        yield INVALID_ROW, "data[]: must be an object"
        return
    for key in ("event_name", "action_source", "user_data"):
        if key not in row:
            yield INVALID_ROW, f"{key}: required"
    yield from shape_problems(row, EVENT_SHAPES, "")
    yield from time_problems(row, now)
    user = row.get("user_data")
    if isinstance(user, dict):
        yield from user_problems(user)
    if row.get("action_source") == "app":
        yield from app_problems(row.get("app_data"))
    money = row.get("custom_data", {})
    if isinstance(money, dict):
        yield from money_problems(money, row.get("event_name") == "Purchase")


def shape_problems(
    held: dict[str, Any], shapes: Mapping[str, Shape], prefix: str
) -> Iterator[tuple[int, str]]:
    """Every field that is there and does not fit."""
    for key, value in held.items():
        shape = shapes.get(key)
        if shape is not None and not shape.fits(value):
            yield INVALID_ROW, f"{prefix}{key}: must be {shape.says}"


def time_problems(row: dict[str, Any], now: int) -> Iterator[tuple[int, str]]:
    """`event_time` is ten digits of seconds, at most 7 days old (62 in a shop) and hardly in the future."""
    moment: Any = row.get("event_time")
    window = STORE_WINDOW_SECONDS if row.get("action_source") == "physical_store" else WINDOW_SECONDS
    if not is_whole(moment) or not 10**9 <= moment < 10**10:
        yield INVALID_ROW, "event_time: must be Unix seconds, an integer of 10 digits"
    elif moment < now - window:
        yield TOO_OLD, "event_time: older than the window"
    elif moment > now + SOON_SECONDS:
        yield INVALID_ROW, "event_time: in the future"


def user_problems(user: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """Hashed keys are hashed, ids of devices are not, and something names a person or a phone."""
    yield from shape_problems(user, USER_SHAPES, "user_data.")
    useful = {key for key in user if key in USER_SHAPES and user[key] != ZERO_UUID}
    if not useful - WEAK:
        yield INVALID_ROW, "user_data: nothing in it names anybody"


def app_problems(app: Any) -> Iterator[tuple[int, str]]:
    """`app_data` of an app event: the tracking flag, and `extinfo` of exactly 16 strings."""
    if not isinstance(app, dict):
        yield INVALID_ROW, "app_data: required for app events"
        return
    yield from shape_problems(app, APP_SHAPES, "app_data.")
    for key in ("advertiser_tracking_enabled", "extinfo"):
        if key not in app:
            yield INVALID_ROW, f"app_data.{key}: required"
    extinfo = app.get("extinfo")
    if isinstance(extinfo, list):
        if len(extinfo) != 16:
            yield INVALID_ROW, "app_data.extinfo: must have 16 places"
        elif extinfo[0] not in ("a2", "i2"):
            yield INVALID_ROW, "app_data.extinfo[0]: must be a2 or i2"
        elif not extinfo[4]:
            yield INVALID_ROW, "app_data.extinfo[4]: the OS version is required"


def money_problems(custom: dict[str, Any], purchase: bool) -> Iterator[tuple[int, str]]:
    """A value is a number with a currency; a Purchase needs both."""
    if purchase and "value" not in custom:
        yield VALUE_MISSING, "custom_data.value: required for Purchase"
    if "value" in custom:
        if not is_number(custom["value"]):
            yield (VALUE_MISSING if purchase else INVALID_ROW), "custom_data.value: must be a number"
        if "currency" not in custom:
            yield INVALID_ROW, "custom_data.currency: required with value"
    if "predicted_ltv" in custom and not is_number(custom["predicted_ltv"]):
        yield INVALID_ROW, "custom_data.predicted_ltv: must be a number"
    if "order_id" in custom and not FILLED.fits(custom["order_id"]):
        yield INVALID_ROW, "custom_data.order_id: must be a string that is not empty"
    currency = custom.get("currency", "USD")
    if not isinstance(currency, str) or currency.upper() not in ISO_4217:
        yield INVALID_ROW, "custom_data.currency: must be an ISO 4217 code"


def take(row: dict[str, Any], fields: dict[str, Any], dataset_id: str, now_us: int) -> Taken:
    """A valid row as Meta keeps it."""
    user, app, custom = row["user_data"], row.get("app_data", {}), row.get("custom_data", {})
    warnings = [f"unknown key {key[:40]!r}" for key in fields.keys() - TOP_KEYS]
    warnings += [f"unknown key {key[:40]!r}" for key in row.keys() - KNOWN_KEYS]
    warnings += [f"unknown key user_data.{key[:40]!r}" for key in user.keys() - USER_SHAPES.keys()]
    warnings += [
        f"unknown key app_data.{key[:40]!r}" for key in app.keys() - APP_SHAPES.keys() - SDK_APP_KEYS
    ]
    if "event_id" not in row:
        warnings.append("no event_id: nothing to drop a repeat by")
    if row["action_source"] == "app" and "application_tracking_enabled" not in app:
        warnings.append("no application_tracking_enabled: older pages require it")
    if "test_event_code" in fields:
        warnings.append("test_event_code in the request")
    if user.get("madid") == ZERO_UUID:
        warnings.append("an all-zero madid")
    ids = {}
    if "madid" in user:
        ids["idfa" if app.get("extinfo", ["a2"])[0] == "i2" else "gaid"] = user["madid"]
    if "vendor_id" in app:
        ids["idfv"] = app["vendor_id"]
    if "anon_id" in user:
        ids["meta_anon_id"] = user["anon_id"]
    external = user.get("external_id")
    return Taken(
        platform="meta",
        account=dataset_id,
        conversion_id=row.get("event_id"),
        name=row["event_name"],
        occurred_us=row["event_time"] * 1_000_000,
        stamped_us=row["event_time"] * 1_000_000,
        received_us=now_us,
        value=repr(custom["value"]) if "value" in custom else None,
        currency=custom.get("currency"),
        ids=ids,
        user_id=external[0] if isinstance(external, list) else external,
        warnings=tuple(sorted(warnings)),
        item=row,
    )


def refuse(
    asked: Asked,
    dataset_id: str,
    now_us: int,
    code: int,
    why: str,
    *,
    subcode: int | None = None,
    rows: int = 1,
    index: int | None = None,
    item: Any = None,
) -> Answer:
    """Graph's error envelope; the whole request falls with its first bad row."""
    refused = Refused(
        platform="meta", account=dataset_id, reason=why, received_us=now_us, status=400,
        rows=rows, index=index, item=item,
    )  # fmt: skip
    body = envelope(code, why, asked.body, subcode=subcode)
    return Answer(status=400, body=body, headers=JSON, refused=(refused,))


def envelope(code: int, why: str, seed: bytes, *, subcode: int | None = None) -> bytes:
    """The body of every Graph failure."""
    if code == 190:
        message, kind = "Invalid OAuth access token - Cannot parse access token", "OAuthException"
    elif why.startswith("appsecret_proof"):
        message, kind = "Invalid appsecret_proof provided in the API argument", "GraphMethodException"
    elif subcode == 33:
        message, kind = "Unsupported post request. The object does not exist.", "GraphMethodException"
    else:
        message, kind = (
            f"(#{code}) {'Invalid parameter' if code == 100 else 'Request refused'}",
            "OAuthException",
        )
    error: dict[str, Any] = {
        "message": message, "type": kind, "code": code, "is_transient": code in (1, 2),
        "error_user_title": "Refused by the sandbox", "error_user_msg": why, "fbtrace_id": trace(seed),
    }  # fmt: skip
    if subcode is not None:
        error["error_subcode"] = subcode
    return msgspec.json.encode({"error": error})


def trace(seed: bytes) -> str:
    """An id for the request that looks like Meta's and is the same for the same bytes."""
    return "A" + base64.urlsafe_b64encode(blake2b(seed, digest_size=16).digest()).decode().rstrip("=")


def broken(status: int) -> Answer:
    """What the host says when it fails by itself: throttled as code 4 with its usage header, else code 2."""
    if status == 429:
        usage = b'{"call_count":100,"total_cputime":25,"total_time":25}'
        body = envelope(4, "throttled on purpose", b"")
        return Answer(status=status, body=body, headers=(*JSON, ("x-app-usage", usage.decode())))
    return Answer(status=status, body=envelope(2, "failed on purpose", b""), headers=JSON)
