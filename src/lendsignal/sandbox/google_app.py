"""The stand-in for Google's App Conversion Tracking and Remarketing API.

Source: developers.google.com/app-conversion-tracking/api/request-response-specs and Google's own sender in
GitHub google/gps_building_blocks `cc4d/hooks/ads_uac_hook.py`; read 2026-11-22.
MOCK-CHOICE: every mistake is answered 200 with its word in `errors`, for no status is published; the words
that are not published end in `_invalid` too.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from typing import Any
from urllib.parse import parse_qs

import msgspec

from lendsignal.sandbox.settings import SandboxSettings
from lendsignal.sandbox.shape import CURRENCY, UUID, ZERO_UUID, is_address
from lendsignal.sandbox.verdict import JSON, Answer, Asked, Refused, Taken, decoded, media_type

HOST = "www.googleadservices.com"
PATH = "/pagead/conversion/app/1.0"
TYPES = frozenset(
    "first_open session_start in_app_purchase view_item_list view_item view_search_results add_to_cart "
    "ecommerce_purchase custom".split()
)
AGENT = re.compile(r"[^()]+[/ ][^()]+ \([^;()]+; [^;()]+; [^;()]+; [^;()]+; Proxy\)")
SECONDS = re.compile(r"\d{10}(?:\.\d{1,6})?")
AMOUNT = re.compile(r"\d+(?:\.\d+)?")
TEXT = re.compile(r"\S.*")
FLAG = re.compile(r"[01]")

REQUIRED: Mapping[str, Callable[[str], Any]] = {
    "app_event_type": TYPES.__contains__,
    "rdid": UUID.fits,
    "id_type": ("advertisingid", "idfa").__contains__,
    "lat": FLAG.fullmatch,
    "app_version": TEXT.fullmatch,
    "os_version": TEXT.fullmatch,
    "sdk_version": TEXT.fullmatch,
    "timestamp": SECONDS.fullmatch,
}
OPTIONAL: Mapping[str, Callable[[str], Any]] = {
    "app_event_name": TEXT.fullmatch,
    "value": AMOUNT.fullmatch,
    "currency_code": CURRENCY.fits,
    "market_referrer_gclid": TEXT.fullmatch,
    "gclid": TEXT.fullmatch,
    "gbraid": TEXT.fullmatch,
    "gclid_only_request": ("1",).__contains__,
    "app_open_source": ("ad_click", "organic").__contains__,
    "eea": FLAG.fullmatch,
    "ad_personalization": FLAG.fullmatch,
    "ad_user_data": FLAG.fullmatch,
    "odm_info": TEXT.fullmatch,
}


def judge(asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """What Google would answer at `now_us`. Whether an ad brought the user follows from the device id."""
    if asked.path != PATH or asked.method != "POST":
        return Answer(status=404, refused=(refusal(404, "", "path: must be POST /pagead/…/1.0", now_us),))
    query = {key: values[0] for key, values in parse_qs(asked.query, keep_blank_values=True).items()}
    link = query.get("link_id", "")
    words = list(problems(asked, query, settings, now_us))
    if words:
        refused = refusal(200, link, words[0], now_us, item=without_token(query))
        return Answer(status=200, body=answer(words, False), headers=JSON, refused=(refused,))
    attributed = blake2b(query["rdid"].lower().encode(), digest_size=1).digest()[0] % 2 == 0
    return Answer(
        status=200,
        body=answer([], attributed),
        headers=JSON,
        taken=(take(query, decoded(asked.body), link, now_us),),
    )


def problems(asked: Asked, query: dict[str, str], settings: SandboxSettings, now_us: int) -> Iterator[str]:
    """Google's word for each rule that is broken."""
    token, link = query.get("dev_token", ""), query.get("link_id", "")
    if token not in settings.google_app.values():
        yield "dev_token_invalid"
        return
    if settings.google_app.get(link) != token:
        yield "link_id_invalid"
        return
    for name, fits in REQUIRED.items():
        if name not in query or not fits(query[name]):
            yield f"{name}_invalid"
    for name, fits in OPTIONAL.items():
        if name in query and not fits(query[name]):
            yield f"{name}_invalid"
    if (query.get("app_event_type") == "custom") != ("app_event_name" in query):
        yield "app_event_name_invalid"
    if query.get("rdid") == ZERO_UUID and not query.keys() & {"gclid", "gbraid"}:
        yield "rdid_invalid"
    if "value" in query and "currency_code" not in query:  # MOCK-CHOICE: a value in no currency
        yield "currency_code_invalid"
    if SECONDS.fullmatch(query.get("timestamp", "")) and float(query["timestamp"]) > now_us / 1_000_000:
        yield "timestamp_invalid"
    if AGENT.fullmatch(asked.headers.get("user-agent", "")) is None:
        yield "user_agent_invalid"
    if not is_address(asked.headers.get("x-forwarded-for", "")):
        yield "x_forwarded_for_invalid"
    if asked.body and (
        media_type(asked.headers) != "application/json" or not isinstance(decoded(asked.body), dict)
    ):
        yield "app_event_data_invalid"


def take(query: dict[str, str], body: Any, link: str, now_us: int) -> Taken:
    """An event as Google keeps it. It has no id of its own; ours is looked for in the rich event data."""
    data = body.get("app_event_data") if isinstance(body, dict) else None
    found = data.get("transaction_id") if isinstance(data, dict) else None
    seconds, _, rest = query["timestamp"].partition(".")
    moment = int(seconds) * 1_000_000 + int(rest.ljust(6, "0") or 0)
    known = {*REQUIRED, *OPTIONAL, "dev_token", "link_id"}
    warnings = [f"unknown parameter {name[:40]!r}" for name in query.keys() - known]
    return Taken(
        platform="google_app",
        account=link,
        conversion_id=found if isinstance(found, str) else None,
        name=query.get("app_event_name", query["app_event_type"]),
        occurred_us=moment,
        stamped_us=moment,
        received_us=now_us,
        value=query.get("value"),
        currency=query.get("currency_code"),
        ids={"gaid" if query["id_type"] == "advertisingid" else "idfa": query["rdid"]},
        warnings=tuple(sorted(warnings)),
        item={**without_token(query), "app_event_data": data},
    )


def without_token(query: dict[str, str]) -> dict[str, str]:
    """The query as it may be kept."""
    return {name: value for name, value in query.items() if name != "dev_token"}


def answer(errors: list[str], attributed: bool) -> bytes:
    """The body of every answer; an attributed event comes with the ad it is credited to."""
    ads = [{"ad_event_id": "Q2owS0VRandwZHk0QlJD", "conversion_metric": "conversion", "campaign_id": 123}]
    return msgspec.json.encode(
        {"ad_events": ads if attributed else [], "errors": errors, "attributed": attributed}
    )


def refusal(status: int, link: str, why: str, now_us: int, *, item: Any = None) -> Refused:
    return Refused(
        platform="google_app", account=link[:64], reason=why, received_us=now_us, status=status, item=item
    )


def broken(status: int) -> Answer:
    """What the host says when it fails by itself: an empty body."""
    return Answer(status=status)
