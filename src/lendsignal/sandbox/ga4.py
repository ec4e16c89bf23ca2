"""The stand-in for the GA4 Measurement Protocol, app streams: collection and validation.

Source: developers.google.com/analytics/devguides/collection/protocol/ga4 (reference, sending-events,
validating-events) and Google's Event Builder (GitHub googleanalytics/ga-dev-tools, commit da12b8b4); read
2026-11-22. Where the vendor is silent the line says MOCK-CHOICE, and docs/reference/sandbox.md tables it.
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import msgspec
from msgspec import Struct

from lendsignal.sandbox.settings import SandboxSettings
from lendsignal.sandbox.shape import CURRENCY, is_number, is_whole
from lendsignal.sandbox.verdict import JSON, Answer, Asked, Refused, Taken, decoded, media_type

HOSTS = ("www.google-analytics.com", "region1.google-analytics.com")
COLLECT, DEBUG = "/mp/collect", "/debug/mp/collect"
MAX_BYTES = 130_000
MAX_EVENTS = MAX_PARAMS = MAX_PROPERTIES = 25
MAX_ITEM_PARAMS = 10
BACKDATING_US = 72 * 3_600_000_000
SOON_US = 300_000_000
"""MOCK-CHOICE: how far ahead of our clock an event may be before we call its time wrong."""

APP_ID = re.compile(r"[0-9]:[0-9]+:[a-zA-Z]+:[a-zA-Z0-9]+")
INSTANCE_ID = re.compile(r"[0-9a-fA-F]{32}")
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
RESERVED_PREFIXES = ("_", "firebase_", "ga_", "google_", "gtag.")
RESERVED_EVENTS = frozenset(
    "ad_activeview ad_click ad_exposure ad_query ad_reward adunit_exposure app_clear_data app_exception "
    "app_install app_remove app_store_refund app_update app_upgrade dynamic_link_app_open "
    "dynamic_link_app_update dynamic_link_first_open error firebase_campaign firebase_in_app_message_action "
    "firebase_in_app_message_dismiss firebase_in_app_message_impression first_open first_visit "
    "notification_dismiss notification_foreground notification_open notification_receive notification_send "
    "os_update session_start user_engagement".split()
)
RESERVED_PROPERTIES = frozenset(
    "first_open_time first_visit_time last_deep_link_referrer user_id first_open_after_install".split()
)
KNOWN_KEYS = frozenset(
    "app_instance_id user_id timestamp_micros user_properties user_data consent non_personalized_ads "
    "user_location ip_override device user_agent validation_behavior validationBehavior events".split()
)
ITEM_PARAMS = frozenset(
    "item_id item_name affiliation coupon currency creative_name creative_slot discount index item_brand "
    "item_category item_category2 item_category3 item_category4 item_category5 item_list_id item_list_name "
    "item_variant location_id price promotion_id promotion_name quantity".split()
)


class Message(Struct, frozen=True, rename={"path": "fieldPath", "code": "validationCode"}):
    """One thing wrong with a request, as the validation server says it."""

    path: str
    description: str
    code: str


def judge(asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """What Google would answer at `now_us`, and what it would keep: collection never tells what it drops."""
    if asked.path not in (COLLECT, DEBUG):
        return refuse(404, "", "path: must be /mp/collect or /debug/mp/collect", now_us)
    query = parse_qs(asked.query, keep_blank_values=True)
    app_id, secret = query.get("firebase_app_id", [""])[0], query.get("api_secret", [""])[0]
    if asked.method != "POST":
        return refuse(405, app_id, "method: must be POST", now_us)
    if len(asked.body) >= MAX_BYTES:
        return refuse(413, app_id, "body: must be below 130 kB", now_us)
    whole = list(address_problems(app_id, secret))
    body = decoded(asked.body)
    if media_type(asked.headers) != "application/json":
        whole.append(Message("", "The content type must be application/json.", "VALUE_INVALID"))
    if not isinstance(body, dict):
        whole.append(Message("", "The body is not a JSON object.", "VALUE_INVALID"))
        body = {}
    else:
        whole += request_problems(body)
    events = body.get("events") if isinstance(body.get("events"), list) else None
    if not events:
        whole.append(Message("events", "At least one event is required.", "VALUE_REQUIRED"))
    elif len(events) > MAX_EVENTS:
        whole.append(Message("events", "A request takes at most 25 events.", "EXCEEDED_MAX_ENTITIES"))
    strict = behaviour(body) == "ENFORCE_RECOMMENDATIONS"
    rows = [
        list(event_problems(event, index, body.get("timestamp_micros"), now_us, strict))
        for index, event in enumerate(events or ())
    ]
    if asked.path == DEBUG:
        messages = [*whole, *(message for row in rows for message in row)]
        return Answer(status=200, body=msgspec.json.encode({"validationMessages": messages}), headers=JSON)
    if settings.ga4.get(app_id) != secret:
        whole.append(Message("api_secret", "Not the secret of this app.", "VALUE_INVALID"))
    if whole:
        return refuse(204, app_id, reason(whole[0]), now_us, rows=max(1, len(events or ())), item=body)
    assert events is not None
    encoded = "%3a" in asked.query.lower().partition("firebase_app_id=")[2].partition("&")[0]
    taken = [
        take(event, body, app_id, settings, now_us, encoded=encoded)
        for event, problems in zip(events, rows, strict=True)
        if not problems
    ]
    refused = [
        Refused(
            platform="ga4", account=app_id, reason=reason(row[0]), received_us=now_us, status=204,
            index=index, item=events[index],
        )
        for index, row in enumerate(rows)
        if row
    ]  # fmt: skip
    return Answer(status=204, taken=tuple(taken), refused=tuple(refused))


def reason(message: Message) -> str:
    """A message as a reason to count by: its rule and place, without the row's number or its values."""
    where = re.sub(r"\[\d+\]", "[]", message.path)
    return f"{where or 'body'}: {message.code}"


def behaviour(body: dict[str, Any]) -> Any:
    """RELAXED unless asked otherwise; Google's own tools spell the key in camel case, so both are read."""
    return body.get("validation_behavior", body.get("validationBehavior", "RELAXED"))


def address_problems(app_id: str, secret: str) -> Iterator[Message]:
    """What is wrong with the query; whether secret and app exist is not looked at here."""
    for name, value in (("api_secret", secret), ("firebase_app_id", app_id)):
        if not value:
            text = f"Unable to find non-empty parameter [{name}] value in request."
            yield Message(name, text, "VALUE_REQUIRED")
    if app_id and APP_ID.fullmatch(app_id) is None:
        yield Message("firebase_app_id", "Not a Firebase app id.", "VALUE_INVALID")


def request_problems(body: dict[str, Any]) -> Iterator[Message]:
    """What is wrong with everything but the events."""
    instance = body.get("app_instance_id")
    if not instance:
        yield Message("app_instance_id", "Measurement requires an app_instance_id.", "VALUE_REQUIRED")
    elif not isinstance(instance, str):
        yield Message("app_instance_id", "Measurement app_instance_id is not a string.", "VALUE_INVALID")
    elif INSTANCE_ID.fullmatch(instance) is None:
        text = (
            "Measurement app_instance_id is expected to be a 32 digit hexadecimal number "
            f"but was [{len(instance)}] digits."
        )
        yield Message("app_instance_id", text, "VALUE_INVALID")
    if behaviour(body) not in ("RELAXED", "ENFORCE_RECOMMENDATIONS"):
        yield Message("validation_behavior", "Unknown validation behavior.", "VALUE_INVALID")
    if "user_id" in body and not (isinstance(body["user_id"], str) and body["user_id"]):
        yield Message("user_id", "The user_id must be a string that is not empty.", "VALUE_INVALID")
    if "timestamp_micros" in body and not is_micros(body["timestamp_micros"]):
        yield Message("timestamp_micros", "Not a number of microseconds.", "VALUE_INVALID")
    consent = body.get("consent", {})
    if not isinstance(consent, dict):
        yield Message("consent", "Consent must be an object.", "VALUE_INVALID")
    else:
        for key, value in consent.items():
            if key not in ("ad_user_data", "ad_personalization") or value not in ("GRANTED", "DENIED"):
                yield Message("consent", "Consent takes GRANTED or DENIED.", "VALUE_INVALID")
    for key in ("user_data", "user_location", "device"):
        if key in body and not isinstance(body[key], dict):
            yield Message(key, "Must be an object.", "VALUE_INVALID")
    for key in ("ip_override", "user_agent"):
        if key in body and not isinstance(body[key], str):
            yield Message(key, "Must be a string.", "VALUE_INVALID")
    if "non_personalized_ads" in body and not isinstance(body["non_personalized_ads"], bool):
        yield Message("non_personalized_ads", "Must be true or false.", "VALUE_INVALID")
    yield from property_problems(body.get("user_properties", {}))


def property_problems(properties: Any) -> Iterator[Message]:
    """What is wrong with the user properties: at most 25, names of 24 and values of 36 characters."""
    where = "user_properties"
    if not isinstance(properties, dict):
        yield Message(where, "User properties must be an object.", "VALUE_INVALID")
        return
    if len(properties) > MAX_PROPERTIES:
        yield Message(where, "At most 25 user properties.", "EXCEEDED_MAX_ENTITIES")
    for name, held in properties.items():
        if name in RESERVED_PROPERTIES or name.startswith(RESERVED_PREFIXES):
            yield Message(where, "A reserved user property.", "NAME_RESERVED")
        elif len(name) > 24 or NAME.fullmatch(name) is None:
            yield Message(where, "A user property of an invalid name.", "NAME_INVALID")
        value = held.get("value") if isinstance(held, dict) else None
        if not (is_number(value) or (isinstance(value, str) and len(value) <= 36)):
            yield Message(where, "A user property of an invalid value.", "VALUE_INVALID")


def event_problems(event: Any, index: int, request_us: Any, now_us: int, strict: bool) -> Iterator[Message]:
    """What is wrong with one event; `strict` refuses what RELAXED re-dates."""
    where = f"events[{index}]"
    if not isinstance(event, dict):
        yield Message(where, "An event must be an object.", "VALUE_INVALID")
        return
    yield from name_problems(event.get("name"), index)
    params = event.get("params", {})
    if not isinstance(params, dict):
        yield Message(f"{where}.params", "Parameters must be an object.", "VALUE_INVALID")
        params = {}
    if len(params) > MAX_PARAMS:
        yield Message(f"{where}.params", "At most 25 parameters an event.", "EXCEEDED_MAX_ENTITIES")
    for key, value in params.items():
        yield from param_problems(key, value, f"{where}.params")
    yield from money_problems(params, f"{where}.params")
    if event.get("name") in ("purchase", "refund"):
        needed = ("transaction_id", "value", *(("items",) if event["name"] == "purchase" else ()))
        for key in needed:
            if not params.get(key) and params.get(key) != 0:
                yield Message(f"{where}.params.{key}", "Required by this event.", "VALUE_REQUIRED")
    sent = event.get("timestamp_micros", request_us)
    if "timestamp_micros" in event and not is_micros(sent):
        yield Message(f"{where}.timestamp_micros", "Not a number of microseconds.", "VALUE_INVALID")
    elif is_micros(sent) and (sent > now_us + SOON_US or (strict and sent < now_us - BACKDATING_US)):
        yield Message(f"{where}.timestamp_micros", "Outside of the last 72 hours.", "VALUE_OUT_OF_BOUNDS")


def name_problems(name: Any, index: int) -> Iterator[Message]:
    """What is wrong with an event's name; the path is `events`, as Google has it."""
    if not isinstance(name, str) or not name:
        yield Message("events", f"Event at index: [{index}] has no name.", "VALUE_REQUIRED")
    elif name in RESERVED_EVENTS or name.startswith(RESERVED_PREFIXES[1:]):
        yield Message(
            "events", f"Event at index: [{index}] has name [{name[:80]}] which is reserved.", "NAME_RESERVED"
        )
    elif not (name[0].isascii() and name[0].isalpha()):
        text = f"Event at index: [{index}] has invalid name [{name[:80]}]."
        yield Message("events", f"{text} Names must start with an alphabetic character.", "NAME_INVALID")
    elif len(name) > 40 or NAME.fullmatch(name) is None:
        yield Message("events", f"Event at index: [{index}] has invalid name [{name[:80]}].", "NAME_INVALID")


def param_problems(key: str, value: Any, where: str) -> Iterator[Message]:
    """What is wrong with one parameter: its name, or a value that is no number and no string of 100."""
    if key == "firebase_conversion" or key.startswith(RESERVED_PREFIXES):
        yield Message(where, "A reserved parameter.", "NAME_RESERVED")
    elif len(key) > 40 or NAME.fullmatch(key) is None:
        yield Message(where, "A parameter of an invalid name.", "NAME_INVALID")
    if key == "items":
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            yield Message(f"{where}.items", "Items must be an array of objects.", "VALUE_INVALID")
        elif any(len(each.keys() - ITEM_PARAMS) > MAX_ITEM_PARAMS for each in value):
            yield Message(f"{where}.items", "At most 10 custom parameters an item.", "EXCEEDED_MAX_ENTITIES")
    elif key == "value":
        if not is_number(value):  # MOCK-CHOICE: Google's schema says number, RELAXED takes strings
            yield Message(f"{where}.value", "The value must be a number.", "VALUE_INVALID")
    elif key == "debug_mode":
        if value is not True and value != 1:
            yield Message(f"{where}.debug_mode", "Must be true or 1.", "VALUE_INVALID")
    elif key == "transaction_id":
        if not isinstance(value, str) or not 0 < len(value) <= 100:
            yield Message(f"{where}.transaction_id", "Must be a string of 1 to 100.", "VALUE_INVALID")
    elif isinstance(value, str):
        if len(value) > 100:
            yield Message(f"{where}.{key[:40]}", "At most 100 characters.", "VALUE_OUT_OF_BOUNDS")
    elif not is_number(value):
        yield Message(f"{where}.{key[:40]}", "Must be a string or a number.", "VALUE_INVALID")


def money_problems(params: dict[str, Any], where: str) -> Iterator[Message]:
    """`value` and `currency` go together, and the currency is one of ISO 4217."""
    if "value" in params and "currency" not in params:
        yield Message(f"{where}.currency", "Required with value.", "VALUE_REQUIRED")
    if "currency" in params:
        if "value" not in params:
            yield Message(f"{where}.value", "Required with currency.", "VALUE_REQUIRED")
        if not CURRENCY.fits(params["currency"]):
            yield Message(f"{where}.currency", "Not an ISO 4217 code.", "VALUE_INVALID")


def is_micros(value: Any) -> bool:
    """True for 16 digits: 2001 to 2286. MOCK-CHOICE: Google would re-date seconds and milliseconds."""
    return is_whole(value) and 10**15 <= value < 10**16


def take(
    event: dict[str, Any],
    body: dict[str, Any],
    app_id: str,
    settings: SandboxSettings,
    now_us: int,
    *,
    encoded: bool,
) -> Taken:
    """A valid event as Google keeps it: a time more than 72 hours back is moved to 72 hours back."""
    params = event.get("params", {})
    instance: str = body["app_instance_id"]
    known = settings.ga4_instances is None or instance in settings.ga4_instances
    sent = event.get("timestamp_micros", body.get("timestamp_micros"))
    warnings = [f"unknown key {key[:40]!r}" for key in body.keys() - KNOWN_KEYS]
    warnings += [
        f"unknown key events[].{key[:40]!r}" for key in event.keys() - {"name", "params", "timestamp_micros"}
    ]
    if encoded:
        warnings.append("firebase_app_id with encoded colons")
    if not known:
        warnings.append("answered 204 and not recorded")
    return Taken(
        platform="ga4",
        account=app_id,
        conversion_id=params.get("transaction_id"),
        name=event["name"],
        occurred_us=sent,
        stamped_us=now_us if sent is None else max(sent, now_us - BACKDATING_US),
        received_us=now_us,
        recorded=known,
        value=repr(params["value"]) if "value" in params else None,
        currency=params.get("currency"),
        ids={"firebase_app_instance_id": instance},
        user_id=body.get("user_id"),
        warnings=tuple(sorted(warnings)),
        item={**{key: value for key, value in body.items() if key != "events"}, "events": [event]},
    )


def refuse(status: int, app_id: str, why: str, now_us: int, *, rows: int = 1, item: Any = None) -> Answer:
    """A request of which nothing is kept: below 300 the sender is not told."""
    refused = Refused(
        platform="ga4", account=app_id, reason=why, received_us=now_us, status=status, rows=rows, item=item
    )
    return Answer(status=status, refused=(refused,))


def broken(status: int) -> Answer:
    """What the host says when it fails by itself: an empty body."""
    return Answer(status=status)
