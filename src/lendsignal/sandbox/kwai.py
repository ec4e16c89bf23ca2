"""The stand-in for Kwai's Events API and its partners' postback.

Source: no official page is public. The fields are those of public implementations of
`/log/common/api` and of Kwai's page for measurement partners (docs.qingque.cn); read 2026-11-22.
MOCK-CHOICE: every field of those is checked for its type, and the answer to all that is wrong is -1.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec

from lendsignal.sandbox.settings import SandboxSettings
from lendsignal.sandbox.shape import CURRENCY, FILLED, FLAG, JSON_TEXT, Shape, matching, misfits, one_of
from lendsignal.sandbox.verdict import JSON, Answer, Asked, Refused, Taken, decoded, media_type

HOST = "www.adsnebula.com"
EVENTS = "/log/common/api"
POSTBACK = "/log/ad"

NAME = matching(r"EVENT_[A-Z0-9_]+", "EVENT_… in capitals")
AMOUNT = matching(r"\d+(\.\d+)?", "a decimal string, not negative")
SHAPES: Mapping[str, Shape] = {
    "access_token": FILLED,
    "clickid": FILLED,
    "event_name": NAME,
    "pixelId": FILLED,
    "is_attributed": one_of(1),
    "mmpcode": one_of("PL"),
    "pixelSdkVersion": FILLED,
    "properties": JSON_TEXT,
    "value": AMOUNT,
    "currency": CURRENCY,
    "testFlag": FLAG,
    "trackFlag": FLAG,
    "third_party": FILLED,
    "callback": FILLED,
}
REQUIRED = "access_token clickid event_name pixelId is_attributed mmpcode pixelSdkVersion".split()
POSTBACK_SHAPES: Mapping[str, Shape] = {
    "clickid": FILLED,
    "event_name": NAME,
    "is_attributed": one_of("1"),
    "revenue": AMOUNT,
    "revenue_usd": AMOUNT,
    "currency": CURRENCY,
}
POSTBACK_REQUIRED = ("clickid", "event_name", "is_attributed")
PARTNERS = "postback"
"""The account that postbacks are counted under: they name no pixel."""


def judge(asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """What Kwai would answer at `now_us`, as far as anybody knows."""
    if asked.path == POSTBACK and asked.method == "GET":
        return postback(asked, now_us)
    if asked.path != EVENTS or asked.method != "POST":
        return refuse("", now_us, f"path: must be POST {EVENTS} or GET {POSTBACK}", status=404)
    body = decoded(asked.body) if media_type(asked.headers) == "application/json" else None
    if not isinstance(body, dict):
        return refuse("", now_us, "body: must be a JSON object")
    pixel = str(body.get("pixelId", ""))[:40]
    if pixel not in settings.kwai or body.get("access_token") != settings.kwai[pixel]:
        return refuse(pixel, now_us, "access_token: not this pixel's")
    without_token = {key: value for key, value in body.items() if key != "access_token"}
    for why in problems(body, SHAPES, REQUIRED):
        return refuse(pixel, now_us, why, item=without_token)
    inner = decoded(body.get("properties", "{}").encode())
    if not isinstance(inner, dict):
        return refuse(pixel, now_us, "properties: must be a string that holds a JSON object")
    warnings = [f"unknown key {key[:40]!r}" for key in body.keys() - SHAPES.keys()]
    if body.get("trackFlag") or body.get("testFlag"):
        warnings.append("marked as a trial")
    content = inner.get("content_id")
    taken = Taken(
        platform="kwai",
        account=pixel,
        # Kwai has no field for it; the content's id is the only one a sender can put its own into.
        conversion_id=content if isinstance(content, str) else None,
        name=body["event_name"],
        occurred_us=None,
        stamped_us=now_us,
        received_us=now_us,
        value=body.get("value"),
        currency=body.get("currency"),
        warnings=tuple(sorted(warnings)),
        item=without_token,
    )
    return Answer(status=200, body=b'{"result":1}', headers=JSON, taken=(taken,))


def postback(asked: Asked, now_us: int) -> Answer:
    """What a measurement partner would be answered."""
    fields = {key: values[0] for key, values in parse_qs(asked.query, keep_blank_values=True).items()}
    for why in problems(fields, POSTBACK_SHAPES, POSTBACK_REQUIRED):
        return refuse(PARTNERS, now_us, why, item=fields)
    taken = Taken(
        platform="kwai",
        account=PARTNERS,
        conversion_id=None,
        name=fields["event_name"],
        occurred_us=None,
        stamped_us=now_us,
        received_us=now_us,
        value=fields.get("revenue", fields.get("revenue_usd")),
        currency=fields.get("currency"),
        warnings=tuple(sorted(f"unknown key {key[:40]!r}" for key in fields.keys() - POSTBACK_SHAPES.keys())),
        item=fields,
    )
    return Answer(status=200, body=b'{"result":1}', headers=JSON, taken=(taken,))


def problems(found: dict[str, Any], shapes: Mapping[str, Shape], required: Any) -> Iterator[str]:
    """Every required field that is missing, then every field that does not fit."""
    yield from (f"{key}: required" for key in required if key not in found)
    yield from misfits(found, shapes)
    if found.keys() & {"value", "revenue"} and "currency" not in found:
        yield "currency: required with an amount"


def refuse(account: str, now_us: int, why: str, *, status: int = 200, item: Any = None) -> Answer:
    """A negative `result` and a text."""
    refused = Refused(
        platform="kwai", account=account, reason=why, received_us=now_us, status=status, item=item
    )
    body = msgspec.json.encode({"result": -1, "error_msg": why})
    return Answer(status=status, body=body, headers=JSON, refused=(refused,))


def broken(status: int) -> Answer:
    """What the host says when it fails by itself."""
    return Answer(status=status, body=b'{"result":-2,"error_msg":"failed on purpose"}', headers=JSON)
