"""The stand-in for Adjust server-to-server events.

Source: Adjust's developer documents, `api/s2s-api/{events,index,security,sessions}` (GitHub adjust/dev-docs,
read 2026-11-22). Where the vendor is silent the line says MOCK-CHOICE, and docs/reference/sandbox.md tables
it.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from lendsignal.clock import to_us
from lendsignal.sandbox.form import parameters
from lendsignal.sandbox.order import Latest
from lendsignal.sandbox.settings import SandboxSettings
from lendsignal.sandbox.shape import CURRENCY, IPV4, UPPER_UUID, UUID, ZERO_UUID, Shape, matching, one_of
from lendsignal.sandbox.verdict import JSON, Answer, Asked, Refused, Taken, decoded

HOST = "s2s.adjust.com"
MAX_BYTES = 1_000_000
WINDOW_US = 58 * 86_400_000_000
LEAST, MOST = Decimal("0.001"), Decimal(100_000_000_000)

APP_TOKEN = re.compile(r"[0-9A-Za-z]{12}")
EVENT_TOKEN = re.compile(r"[0-9A-Za-z]{6}")
REVENUE = re.compile(r"\d{1,13}(?:\.\d+)?")
SECONDS = re.compile(r"\d{10}")

IDS: Mapping[str, tuple[str, Shape]] = {
    "adid": ("adjust_adid", matching(r"[0-9a-f]{32}", "32 hex digits")),
    "gps_adid": ("gaid", UUID),
    "idfa": ("idfa", UPPER_UUID),
    "idfv": ("idfv", UPPER_UUID),
    "oaid": ("oaid", matching(r"\S+", "an id")),
    "android_id": ("android_id", matching(r"[0-9a-f]{8,16}", "hex digits in lower case")),
    "fire_adid": ("fire_adid", UUID),
    "web_uuid": ("web_uuid", UUID),
}
"""Parameter → our name and its form. MOCK-CHOICE for the forms: the documents show them by example."""

SYSTEMS = one_of(*"android ios windows windows-phone macos linux tvos chromeos".split())
"""MOCK-CHOICE: required, as the developer guide has it; the events page leaves it out of its list."""

OTHERS: Mapping[str, Shape] = {
    "environment": one_of("production", "sandbox"),
    "ip_address": IPV4,
    "att_status": one_of("0", "1", "2", "3"),
    **dict.fromkeys(
        ("tracking_enabled", "eea", "ad_personalization", "ad_user_data", "npa"), one_of("0", "1")
    ),
}
KNOWN = frozenset(
    "s2s app_token event_token os_name os_version device_name device_type user_agent created_at "
    "created_at_unix revenue currency callback_params partner_params deduplication_id".split()
)


def judge(latest: Latest, asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """What Adjust would answer at `now_us`, and what it would keep; `latest` is what each device did last."""
    if asked.path != "/event" or asked.method not in ("GET", "POST"):
        return refuse(404, "Not found", "path: must be GET or POST /event", "", now_us)
    if len(asked.body) > MAX_BYTES:
        return refuse(413, "Request size too large", "body: at most 1 MB", "", now_us)
    given = parameters(asked)
    app = given.get("app_token", "")
    if APP_TOKEN.fullmatch(app) is None:
        return refuse(400, "Invalid app token", "app_token: must be 12 letters and digits", app, now_us)
    if app not in settings.adjust:
        return refuse(404, "App token not found", "app_token: unknown", app, now_us)
    wanted, sent = settings.adjust[app], asked.headers.get("authorization", "")
    if wanted and sent != f"Bearer {wanted}":
        return unauthorized(sent, settings.adjust_answers_202, app, now_us)
    broken_rule = first_problem(given, settings, now_us)
    if broken_rule is not None:
        return refuse(*broken_rule, app, now_us, given)
    token, moment = given["event_token"], occurred_us(given)
    keys = [(app, given[name], token) for name in IDS if name in given]
    before = latest.of(keys)
    if before is not None and token in settings.adjust_unique_events:
        message = "Ignoring event, earlier unique event tracked"
        return refuse(400, message, "event_token: unique, and tracked before", app, now_us, given)
    stamp = now_us if moment is None else moment
    if before is not None and stamp <= before:  # MOCK-CHOICE: no text of its own; an equal time does not rise
        reason = "created_at: must rise for a device and event token"
        return refuse(400, "Bad event state", reason, app, now_us, given)
    latest.note(keys, stamp)
    return Answer(status=200, body=b'{"status":"OK"}', headers=JSON, taken=(take(given, moment, now_us),))


def unauthorized(sent: str, answers_202: bool, app: str, now_us: int) -> Answer:
    """The token is missing or wrong: the overview says 401, the security page 202."""
    reason = "authorization: missing or wrong"
    if answers_202:
        message = f"{'Wrong' if sent else 'Missing'} authentication token"
        return refuse(202, message, reason, app, now_us)
    return refuse(401, "Failed to authorize request", reason, app, now_us)


def first_problem(
    given: Mapping[str, str], settings: SandboxSettings, now_us: int
) -> tuple[int, str, str] | None:
    """Status, message and rule of the first rule the event breaks, or `None`."""
    token = given.get("event_token", "")
    if EVENT_TOKEN.fullmatch(token) is None:
        return 400, "Invalid event token", "event_token: must be six letters and digits"
    if settings.adjust_events is not None and token not in settings.adjust_events:
        return 400, "Invalid event token", "event_token: not one of the app's"
    if given.get("s2s") != "1":  # MOCK-CHOICE of message, as for every form below
        return 400, "Bad event state", "s2s: must be 1"
    ids = {name: given[name] for name in IDS if name in given}
    for name, value in ids.items():
        if not IDS[name][1].fits(value) or value == ZERO_UUID:
            return 400, "Bad event state", f"{name}: must be {IDS[name][1].says}"
    if not ids:
        return 404, "Device not found", "device: at least one id is required"
    if settings.adjust_devices is not None and not settings.adjust_devices & set(ids.values()):
        return 404, "Device not found", "device: no session of it is known"
    if settings.adjust_opted_out & set(ids.values()):
        return 451, "Device is opted out", "device: opted out"
    if not SYSTEMS.fits(given.get("os_name")):
        return 400, "Bad event state", f"os_name: must be {SYSTEMS.says}"
    for name, shape in OTHERS.items():
        if name in given and not shape.fits(given[name]):
            return 400, "Bad event state", f"{name}: must be {shape.says}"
    if "att_status" in given and "tracking_enabled" in given:
        return 400, "Bad event state", "att_status and tracking_enabled: never both"
    if "created_at_unix" in given or "created_at" in given:
        moment = occurred_us(given)
        if moment is None:
            return 400, "Bad event state", "created_at: must be Unix seconds, or ISO 8601 with its offset"
        if moment < now_us - WINDOW_US:
            return 400, "Bad event state", "created_at: more than 58 days old"
    return money_problem(given) or params_problem(given)


def money_problem(given: Mapping[str, str]) -> tuple[int, str, str] | None:
    """The rule `revenue` breaks: 0.001 to 100 billion, with a currency."""
    if "revenue" not in given:
        return None
    text = given["revenue"]
    if REVENUE.fullmatch(text) is None or not LEAST <= Decimal(text) <= MOST:
        return 400, "Invalid revenue", "revenue: must be 0.001 to 100,000,000,000"
    if not CURRENCY.fits(given.get("currency")):  # MOCK-CHOICE: said of ad revenue, not of events
        return 400, "Invalid revenue", "currency: must be an ISO 4217 code in upper case"
    return None


def params_problem(given: Mapping[str, str]) -> tuple[int, str, str] | None:
    """The rule the custom data breaks: a flat JSON object of strings."""
    for name in ("callback_params", "partner_params"):
        if name in given and not is_flat(decoded(given[name].encode())):
            return 400, "Invalid callback parameters", f"{name}: must be a JSON object of strings"
    return None


def is_flat(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


def occurred_us(given: Mapping[str, str]) -> int | None:
    """The time sent, in microseconds; `None` where there is none or it cannot be read."""
    seconds = given.get("created_at_unix")
    if seconds is not None:
        return int(seconds) * 1_000_000 if SECONDS.fullmatch(seconds) else None
    try:
        moment = datetime.fromisoformat(given.get("created_at", ""))
    except ValueError:
        return None
    return None if moment.tzinfo is None else to_us(moment.astimezone(UTC))


def take(given: dict[str, str], moment: int | None, now_us: int) -> Taken:
    """A valid event as Adjust keeps it: without a time, at its arrival."""
    params = decoded(given.get("callback_params", "{}").encode())
    warnings = [f"unknown key {key[:40]!r}" for key in given if key not in {*KNOWN, *IDS, *OTHERS}]
    if moment is not None and moment > now_us + 300_000_000:
        warnings.append("a time in the future")
    if "currency" in given and "revenue" not in given:
        warnings.append("currency without revenue")
    if given.get("environment") == "sandbox":
        warnings.append("sandbox environment: reaches no network")
    return Taken(
        platform="adjust",
        account=given["app_token"],
        conversion_id=params.get("conversion_id"),
        name=given["event_token"],
        occurred_us=moment,
        stamped_us=now_us if moment is None else moment,
        received_us=now_us,
        value=given.get("revenue"),
        currency=given.get("currency"),
        ids={ours: given[theirs] for theirs, (ours, _) in IDS.items() if theirs in given},
        user_id=params.get("user_id"),
        warnings=tuple(warnings),
        item=given,
    )


def refuse(status: int, message: str, reason: str, app: str, now_us: int, item: Any = None) -> Answer:
    """Adjust's refusal: its message in brackets."""
    refused = Refused(
        platform="adjust", account=app[:80], reason=reason, received_us=now_us, status=status, item=item
    )
    return Answer(status=status, body=error(message), headers=JSON, refused=(refused,))


def error(message: str) -> bytes:
    return f'{{"error":"Event request failed ({message})"}}'.encode()


def broken(status: int) -> Answer:
    """What the host says when it fails by itself."""
    words = {429: "Too many requests", 500: "Internal error, contact support@adjust.com"}
    return Answer(status=status, body=error(words.get(status, "Service unavailable")), headers=JSON)
