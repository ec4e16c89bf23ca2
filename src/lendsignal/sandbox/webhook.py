"""The stand-in for any receiver of Standard Webhooks.

Source: the specification, version 1.0.0 (github.com/standard-webhooks/standard-webhooks,
spec/standard-webhooks.md, read 2026-11-22) and its reference libraries, whose `verify` refuses a missing
header, a timestamp more than five minutes away and a signature none of which matches.
MOCK-CHOICE: all of these are answered 401; what does not concern the signature is answered 400.
"""

import base64
import hmac
import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from lendsignal.clock import to_us
from lendsignal.sandbox.settings import SandboxSettings, signing_key
from lendsignal.sandbox.verdict import JSON, Answer, Asked, Refused, Taken, decoded, media_type

TOLERANCE_SECONDS = 300
SECONDS = re.compile(r"\d{1,12}")
ID_FIELDS = ("appsflyer_id", "adjust_adid", "firebase_app_instance_id", "branch_identity", "singular_sdid",
             "kochava_device_id", "meta_anon_id", "gaid", "idfa", "idfv", "oaid", "android_id")  # fmt: skip


def judge(asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """What a careful receiver would answer at `now_us`; a repeated `webhook-id` is answered as the first."""
    host = asked.host
    if asked.method != "POST":
        return refuse(405, host, "method: must be POST", now_us)
    message_id = asked.headers.get("webhook-id", "")
    stamp = asked.headers.get("webhook-timestamp", "")
    if not message_id or not stamp or "webhook-signature" not in asked.headers:
        return refuse(401, host, "webhook headers: id, timestamp and signature are required", now_us)
    if SECONDS.fullmatch(stamp) is None:
        return refuse(401, host, "webhook-timestamp: must be Unix seconds", now_us)
    if abs(int(stamp) - now_us // 1_000_000) > TOLERANCE_SECONDS:
        return refuse(401, host, "webhook-timestamp: more than five minutes away", now_us)
    key = signing_key(settings.webhooks[host])
    if key is None or not signed(asked.headers["webhook-signature"], message_id, stamp, asked.body, key):
        return refuse(401, host, "webhook-signature: none of them matches", now_us)
    if media_type(asked.headers) != "application/json":
        return refuse(400, host, "content-type: must be application/json", now_us)
    if "." in message_id:  # the signed content is joined by dots, so the id must not hold one
        return refuse(400, host, "webhook-id: must not hold a dot", now_us)
    body = decoded(asked.body)
    if not isinstance(body, dict) or not body:
        return refuse(400, host, "body: must be a JSON object", now_us)
    return Answer(status=200, body=b"{}", headers=JSON, taken=(take(body, message_id, host, now_us),))


def signed(signatures: str, message_id: str, stamp: str, body: bytes, key: bytes) -> bool:
    """True where one of the `v1,<base64>` signatures is the HMAC-SHA256 of `id.timestamp.body`."""
    content = f"{message_id}.{stamp}.".encode() + body
    expected = b"v1," + base64.b64encode(hmac.digest(key, content, "sha256"))
    return any(hmac.compare_digest(expected, each.encode()) for each in signatures.split(" "))


def take(body: dict[str, Any], message_id: str, host: str, now_us: int) -> Taken:
    """A message as received. Name, time, value and ids are looked for at the top and in `data`."""
    data = inner(body, "data")
    found = {**body, **data}
    warnings = [
        f"no {key}: the specification recommends it"
        for key in ("type", "timestamp", "data")
        if key not in body
    ]
    if found.get("id", message_id) != message_id:
        warnings.append("the body's id differs from webhook-id")
    value: Any = found.get("value")
    currency: Any = found.get("currency")
    if isinstance(value, dict):
        value, currency = value.get("amount"), value.get("currency")
    ids = {**inner(found, "ids"), **inner(found, "device"), **found}
    name = next((found[key] for key in ("name", "type") if isinstance(found.get(key), str)), "")
    occurred = moment_us(found.get("occurred_at", body.get("timestamp")))
    return Taken(
        platform="webhook",
        account=host,
        conversion_id=message_id,
        name=name,
        occurred_us=occurred,
        stamped_us=now_us if occurred is None else occurred,
        received_us=now_us,
        value=amount(value),
        currency=currency if isinstance(currency, str) else None,
        ids={field: ids[field] for field in ID_FIELDS if isinstance(ids.get(field), str)},
        user_id=found["user_id"] if isinstance(found.get("user_id"), str) else None,
        warnings=tuple(warnings),
        item=body,
    )


def inner(held: dict[str, Any], key: str) -> dict[str, Any]:
    """The object under a key, or an empty one."""
    value = held.get(key)
    return value if isinstance(value, dict) else {}


def amount(value: Any) -> str | None:
    """A number, or a string that is one, as it was written; else `None`."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        Decimal(str(value))
    except InvalidOperation:
        return None
    return str(value)


def moment_us(text: Any) -> int | None:
    """An RFC 3339 time with its offset, in microseconds since 1970; `None` where it is not one."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.tzinfo is None else to_us(moment.astimezone(UTC))


def refuse(status: int, host: str, reason: str, now_us: int) -> Answer:
    """A refusal in words; the message is not kept, for nobody has proved who sent it."""
    refused = Refused(platform="webhook", account=host, reason=reason, received_us=now_us, status=status)
    return Answer(status=status, body=b'{"error":"refused"}', headers=JSON, refused=(refused,))


def broken(status: int) -> Answer:
    """What the host says when it fails by itself."""
    return Answer(status=status, body=b'{"error":"failed on purpose"}', headers=JSON)
