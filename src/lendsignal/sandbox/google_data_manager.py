"""The stand-in for the Data Manager API: `events:ingest` and the verdict on it.

Source: developers.google.com/data-manager/api (ingest events, limits, errors) and the protos of v1 (GitHub
googleapis/googleapis, google/ads/datamanager/v1), read 2026-11-22.
Where the vendor is silent the line says MOCK-CHOICE, and docs/reference/sandbox.md tables it.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.clock import to_us
from lendsignal.sandbox.allowance import Allowance
from lendsignal.sandbox.google import Last, bearer, broken, envelope, nothing, snake
from lendsignal.sandbox.settings import GoogleAccount, SandboxSettings
from lendsignal.sandbox.shape import CURRENCY, FILLED, SHA256, Shape, is_number, is_whole, matching, one_of
from lendsignal.sandbox.verdict import JSON, Answer, Asked, Refused, Taken, decoded, media_type

__all__ = ["HOST", "broken", "judge"]

HOST = "datamanager.googleapis.com"
INGEST, STATUS = "/v1/events:ingest", "/v1/requestStatus:retrieve"
MAX_EVENTS, MAX_DESTINATIONS, MAX_IDENTIFIERS = 2000, 10, 10
WINDOW_US = 90 * 86_400 * 1_000_000
"""MOCK-CHOICE: the longest click-through window; the action's own is not known here."""
SOON_US = 300 * 1_000_000
"""MOCK-CHOICE: how far ahead of our clock an event may lie; the page has no figure for it."""
KEPT_US = 50 * 86_400 * 1_000_000

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)")
SOURCES = one_of("WEB", "APP", "IN_STORE", "PHONE", "MESSAGE", "OTHER")
GRANTS = one_of("CONSENT_GRANTED", "CONSENT_DENIED", "CONSENT_STATUS_UNSPECIFIED")
BASE64 = matching(r"[A-Za-z0-9+/]{43}=", "a SHA-256 digest in base64")
REQUEST_KEYS = frozenset("destinations events consent validateOnly encoding encryptionInfo".split())
DESTINATION_KEYS = frozenset(
    "reference operatingAccount loginAccount linkedAccount productDestinationId".split()
)
ACCOUNT_TYPES = one_of(
    "GOOGLE_ADS", "DISPLAY_VIDEO_PARTNER", "DISPLAY_VIDEO_ADVERTISER", "DATA_PARTNER",
    "GOOGLE_ANALYTICS_PROPERTY", "GOOGLE_AD_MANAGER_AUDIENCE_LINK", "FLOODLIGHT_CONFIG",
)  # fmt: skip
EVENT_KEYS = frozenset(
    "eventTimestamp transactionId eventSource adIdentifiers userData currency conversionValue "
    "conversionCount consent destinationReferences lastUpdatedTimestamp customVariables cartData "
    "eventDeviceInfo eventLocation userProperties eventName clientId appInstanceId userId "
    "additionalEventParameters".split()
)
AD_KEYS = frozenset(
    "gclid gbraid wbraid sessionAttributes landingPageDeviceInfo mobileDeviceId dclid impressionId "
    "matchId".split()
)
IDENTIFIER_KEYS = frozenset("emailAddress phoneNumber address".split())
ROW = re.compile(r"events\[(\d+)\]")
NUMBER = re.compile(r"\[\d+\]")
CLICKS = ("gclid", "gbraid", "wbraid")

REASONS = (
    "PROCESSING_ERROR_REASON_EVENT_TOO_OLD",
    "PROCESSING_ERROR_REASON_DENIED_CONSENT",
    "PROCESSING_ERROR_REASON_DUPLICATE_TRANSACTION_ID",
    "PROCESSING_ERROR_REASON_CLICK_NOT_FOUND",
)
TOO_OLD, CONSENT_DENIED, REPEATED, NO_CLICK = range(len(REASONS))

RESTATEMENT = "google_data_manager_restatement"
"""A known transaction with another value is filed apart, so that it is not taken for a repeat."""

Has = Callable[[str, str, str], bool]
"""Whether an id was taken before, by platform and account."""


class Violation(Struct, frozen=True):
    """One thing wrong with a request, by field and Google's reason."""

    field: str
    reason: str


def paced(
    allowance: Allowance,
    has: Has,
    asked: Asked,
    settings: SandboxSettings,
    now_us: int,
    *,
    last: Last = nothing,
) -> Answer:
    """What `judge` says, or 429 where the project has had its requests of this minute ("limits")."""
    most = settings.google_per_minute
    if most is None or asked.method != "POST" or allowance.takes(bearer(asked), now_us, most):
        return judge(has, asked, settings, now_us, last=last)
    refused = refuse(429, "", "quota: the project's requests of a minute are used up", now_us)
    limit = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "RATE_LIMIT_EXCEEDED",
        "domain": "googleapis.com",
        "metadata": {"quota_limit": "IngestionRequestsPerMinutePerProject", "quota_limit_value": str(most)},
    }
    body = envelope(429, "Quota exceeded: requests per minute", [limit])
    return msgspec.structs.replace(refused, body=body)


def judge(has: Has, asked: Asked, settings: SandboxSettings, now_us: int, *, last: Last = nothing) -> Answer:
    """What Google would answer at `now_us`: every event of a request is looked at later, or none is."""
    match asked.method, asked.path:
        case "POST", path if path == INGEST:
            return ingested(has, last, asked, settings, now_us)
        case "GET", path if path == STATUS:
            return status_of(asked, settings, now_us)
        case _:
            return refuse(404, "", "path: must be POST /v1/events:ingest", now_us)


def ingested(has: Has, last: Last, asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """A yes with a request id, or a no for all of it."""
    token = bearer(asked)
    if not any(token == account.token for account in settings.google_ads.values()):
        return refuse(401, "", "authorization: unknown token", now_us)
    body = decoded(asked.body) if media_type(asked.headers) == "application/json" else None
    if not isinstance(body, dict):
        return refuse(400, "", "body: must be a JSON object", now_us)
    events, destinations = body.get("events"), body.get("destinations")
    count = len(events) if isinstance(events, list) else 1
    account_id = first_account(destinations)
    wrong = list(request_problems(body))
    if not wrong and isinstance(destinations, list):
        if not all(may_write(each, settings, token) for each in destinations):
            return refuse(403, account_id, "destinations: not this token's", now_us, rows=count)
        for index, each in enumerate(destinations):
            account = settings.google_ads[each["operatingAccount"]["accountId"]]
            wrong += destination_problems(each, account, f"destinations[{index}]")
    if wrong:
        return refuse(400, account_id, said(wrong[0]), now_us, rows=count, violations=wrong)
    assert isinstance(events, list)
    assert isinstance(destinations, list)
    references = {each.get("reference", "") for each in destinations}
    encoding = body.get("encoding")
    for index, event in enumerate(events):
        wrong += event_problems(event, f"events[{index}]", encoding, references, now_us)
    if wrong:
        first = _row_of(wrong[0])
        return refuse(400, account_id, said(wrong[0]), now_us, rows=count, violations=wrong, index=first,
                      item=events[first] if first is not None else None)  # fmt: skip
    if body.get("validateOnly") is True:
        return Answer(status=200, body=b"{}", headers=JSON)
    return kept(has, last, body, events, destinations, settings, now_us)


def kept(
    has: Has,
    last: Last,
    body: dict[str, Any],
    events: list[dict[str, Any]],
    destinations: list[dict[str, Any]],
    settings: SandboxSettings,
    now_us: int,
) -> Answer:
    """What Google finds out later is found out now, and told when the request's status is asked for."""
    taken: list[Taken] = []
    refused: list[Refused] = []
    parts: list[str] = []
    for destination in destinations:
        account = destination["operatingAccount"]["accountId"] + "/" + destination["productDestinationId"]
        seen: set[str] = set()
        counts: Counter[int] = Counter()
        total = 0
        for index, event in enumerate(events):
            wanted = event.get("destinationReferences")
            if wanted and destination.get("reference", "") not in wanted:
                continue
            total += 1
            transaction = event.get("transactionId")
            number = later_problem(event, body, settings, now_us)
            restates = False
            if transaction is not None:
                known = has("google_data_manager", account, transaction)
                restates = known and transaction not in seen and is_restated(last, account, event)
                if (known or transaction in seen) and not restates:
                    number = REPEATED
                seen.add(transaction)
            if number is None:
                one = take(event, account, now_us)
                taken.append(replace(one, platform=RESTATEMENT) if restates else one)
            else:
                counts[number] += 1
                refused.append(
                    Refused(
                        platform="google_data_manager", account=account, index=index, item=event, status=200,
                        reason=REASONS[number].removeprefix("PROCESSING_ERROR_REASON_"), received_us=now_us,
                    )
                )  # fmt: skip
        parts.append(
            f"{account}.{total}." + "_".join(f"{number}x{n}" for number, n in sorted(counts.items()))
        )
    handle = f"{now_us}~" + "~".join(parts)
    body_out = msgspec.json.encode({"requestId": handle})
    return Answer(status=200, body=body_out, headers=JSON, taken=tuple(taken), refused=tuple(refused))


def status_of(asked: Asked, settings: SandboxSettings, now_us: int) -> Answer:
    """The verdict: PROCESSING at first, then how many fell and why; never which."""
    if not any(bearer(asked) == account.token for account in settings.google_ads.values()):
        return refuse(401, "", "authorization: unknown token", now_us)
    handle = parse_qs(asked.query).get("requestId", [""])[0]
    when, *parts = handle.split("~")
    try:
        received_us = int(when)
        found = [destination_status(part) for part in parts]
    except ValueError:
        received_us, found = 0, []
    if not found:
        wrong = [Violation("request_id", "INVALID_REQUEST_ID")]
        return refuse(400, "", "requestId: unknown", now_us, violations=wrong)
    if now_us - received_us > KEPT_US:
        wrong = [Violation("request_id", "REQUEST_TOO_OLD")]
        return refuse(400, "", "requestId: too old", now_us, violations=wrong)
    if now_us < received_us + settings.google_verdict_seconds * 1_000_000:
        found = [{"destination": each["destination"], "requestStatus": "PROCESSING"} for each in found]
    return Answer(status=200, body=msgspec.json.encode({"requestStatusPerDestination": found}), headers=JSON)


def destination_status(part: str) -> dict[str, Any]:
    """One destination's status out of its part of the request id; counts are text, as int64 is in JSON."""
    account, total, listed = part.split(".")
    account_id, product = account.split("/")
    counts = [tuple(map(int, each.split("x"))) for each in listed.split("_") if each]
    fallen = sum(number for _, number in counts)
    word = "SUCCESS" if not fallen else "FAILED" if fallen == int(total) else "PARTIAL_SUCCESS"
    status: dict[str, Any] = {
        "destination": {
            "operatingAccount": {"accountType": "GOOGLE_ADS", "accountId": account_id},
            "productDestinationId": product,
        },
        "requestStatus": word,
        "eventsIngestionStatus": {"recordCount": total},
    }
    if counts:
        status["errorInfo"] = {
            "errorCounts": [{"recordCount": str(n), "reason": REASONS[reason]} for reason, n in counts]
        }
    return status


def later_problem(
    event: dict[str, Any], body: dict[str, Any], settings: SandboxSettings, now_us: int
) -> int | None:
    """Why Google drops an event that it took at first, or `None`."""
    consent = {**body.get("consent", {}), **event.get("consent", {})}
    if consent.get("adUserData") == "CONSENT_DENIED":
        return CONSENT_DENIED
    if (moment_us(event["eventTimestamp"]) or 0) < now_us - WINDOW_US:
        return TOO_OLD
    clicks = [value for name, value in event.get("adIdentifiers", {}).items() if name in CLICKS]
    known = settings.google_clicks
    if known is not None and clicks and not known.intersection(clicks):
        return NO_CLICK
    return None


def first_account(destinations: Any) -> str:
    """The account of the first destination, for the record; empty where it cannot be told."""
    first = destinations[0] if isinstance(destinations, list) and destinations else None
    account = first.get("operatingAccount") if isinstance(first, dict) else None
    found = account.get("accountId") if isinstance(account, dict) else None
    return found[:20] if isinstance(found, str) else ""


def may_write(destination: dict[str, Any], settings: SandboxSettings, token: str) -> bool:
    """Whether the account is the token's, by the login account that it wants named."""
    account = settings.google_ads.get(destination["operatingAccount"]["accountId"])
    login = destination.get("loginAccount", {}).get("accountId")
    return account is not None and account.token == token and account.login_customer_id == login


def request_problems(body: dict[str, Any]) -> Iterator[Violation]:
    """What is wrong with everything but the events."""
    for key in body.keys() - REQUEST_KEYS:
        yield Violation(snake(key)[:40], "INVALID_ARGUMENT")
    events, destinations = body.get("events"), body.get("destinations")
    if not isinstance(destinations, list) or not destinations:
        yield Violation("destinations", "REQUIRED_FIELD_MISSING")
    elif len(destinations) > MAX_DESTINATIONS:
        yield Violation("destinations", "TOO_MANY_DESTINATIONS")
    else:
        for index, destination in enumerate(destinations):
            yield from shape_problems(destination, f"destinations[{index}]")
        references = [each.get("reference") for each in destinations if isinstance(each, dict)]
        if len(references) > 1 and (None in references or len(set(map(str, references))) < len(references)):
            yield Violation("destinations", "DUPLICATE_DESTINATION_REFERENCE")
    if not isinstance(events, list) or not events:
        yield Violation("events", "REQUIRED_FIELD_MISSING")
    elif len(events) > MAX_EVENTS:
        yield Violation("events", "TOO_MANY_EVENTS")
    if body.get("encoding", "HEX") not in ("HEX", "BASE64"):
        yield Violation("encoding", "INVALID_ENUM_VALUE")
    if not isinstance(body.get("validateOnly", False), bool):
        yield Violation("validate_only", "INVALID_ARGUMENT")
    yield from consent_problems(body.get("consent", {}), "consent")


def shape_problems(destination: Any, where: str) -> Iterator[Violation]:
    """A destination has an account of a known type, an id of what it writes to, and no other keys."""
    if not isinstance(destination, dict) or destination.keys() - DESTINATION_KEYS:
        yield Violation(where, "INVALID_ARGUMENT")
        return
    if not FILLED.fits(destination.get("reference", "x")):
        yield Violation(f"{where}.reference", "INVALID_FORMAT")
    product = destination.get("productDestinationId")
    if not isinstance(product, str) or not product.isdecimal():
        yield Violation(f"{where}.product_destination_id", "REQUIRED_FIELD_MISSING")
    for key in ("operatingAccount", "loginAccount"):
        account = destination.get(key, None if key == "operatingAccount" else {"accountType": "GOOGLE_ADS"})
        if not isinstance(account, dict) or not ACCOUNT_TYPES.fits(account.get("accountType")):
            yield Violation(f"{where}.{snake(key)}", "INVALID_DESTINATION")
        elif key in destination and not re.fullmatch(r"\d{10}", str(account.get("accountId", ""))):
            yield Violation(f"{where}.{snake(key)}.account_id", "INVALID_DESTINATION")


def destination_problems(destination: dict[str, Any], account: GoogleAccount, where: str) -> list[Violation]:
    """The conversion action is one of the account's."""
    if destination["productDestinationId"] in account.actions:
        return []
    return [Violation(f"{where}.product_destination_id", "INVALID_CONVERSION_ACTION_ID")]


def event_problems(
    event: Any, where: str, encoding: Any, references: set[str], now_us: int
) -> list[Violation]:
    """Each rule of basic validation that an event breaks."""
    if not isinstance(event, dict):
        return [Violation(where, "INVALID_EVENT")]
    found = [Violation(f"{where}.{snake(key)[:40]}", "INVALID_ARGUMENT") for key in event.keys() - EVENT_KEYS]
    checks: Mapping[str, tuple[Callable[[Any], bool], str]] = {
        "eventTimestamp": (lambda value: is_past(value, now_us), "EVENT_TIME_INVALID"),
        "eventSource": (SOURCES.fits, "INVALID_ENUM_VALUE"),
        "transactionId": (FILLED.fits, "INVALID_FORMAT"),
        "currency": (CURRENCY.fits, "INVALID_CURRENCY_CODE"),
        "conversionValue": (is_number, "INVALID_NUMBER_FORMAT"),
        "conversionCount": (is_whole, "INVALID_NUMBER_FORMAT"),
        "destinationReferences": (
            lambda value: isinstance(value, list) and set(map(str, value)) <= references,
            "INVALID_DESTINATION",
        ),
    }
    for key, (fits, reason) in checks.items():
        if key in event and not fits(event[key]):
            found.append(Violation(f"{where}.{snake(key)}", reason))
    found += [
        Violation(f"{where}.{snake(key)}", "REQUIRED_FIELD_MISSING")
        for key in ("eventTimestamp", "eventSource")
        if key not in event
    ]
    found += consent_problems(event.get("consent", {}), f"{where}.consent")
    found += identifier_problems(event, where, encoding)
    return found


def identifier_problems(event: dict[str, Any], where: str, encoding: Any) -> Iterator[Violation]:
    """Something names the user, and what is hashed is hashed as the request says."""
    ads, user = event.get("adIdentifiers", {}), event.get("userData", {})
    if not isinstance(ads, dict) or ads.keys() - AD_KEYS:
        yield Violation(f"{where}.ad_identifiers", "INVALID_ARGUMENT")
        ads = {}
    for name in CLICKS:
        if not FILLED.fits(ads.get(name, "x")):
            yield Violation(f"{where}.ad_identifiers.{name}", "INVALID_FORMAT")
    listed = user.get("userIdentifiers") if isinstance(user, dict) else None
    if "userData" in event and (not isinstance(listed, list) or user.keys() != {"userIdentifiers"}):
        yield Violation(f"{where}.user_data", "INVALID_ARGUMENT")
    identifiers = listed if isinstance(listed, list) else []
    if not ads and not identifiers:
        yield Violation(where, "NO_IDENTIFIERS_PROVIDED")
    if len(identifiers) > MAX_IDENTIFIERS:
        yield Violation(f"{where}.user_data", "TOO_MANY_USER_IDENTIFIERS")
    if identifiers and encoding is None:
        yield Violation("encoding", "REQUIRED_FIELD_MISSING")
    digest: Shape = BASE64 if encoding == "BASE64" else SHA256
    for index, identifier in enumerate(identifiers):
        place = f"{where}.user_data.user_identifiers[{index}]"
        if not isinstance(identifier, dict) or len(identifier) != 1 or identifier.keys() - IDENTIFIER_KEYS:
            yield Violation(place, "INVALID_ARGUMENT")
        elif "address" not in identifier and not all(digest.fits(value) for value in identifier.values()):
            yield Violation(
                place, "INVALID_HEX_ENCODING" if encoding != "BASE64" else "INVALID_BASE64_ENCODING"
            )


def consent_problems(consent: Any, where: str) -> Iterator[Violation]:
    if not isinstance(consent, dict) or consent.keys() - {"adUserData", "adPersonalization"}:
        yield Violation(where, "INVALID_ARGUMENT")
    elif not all(GRANTS.fits(value) for value in consent.values()):
        yield Violation(where, "INVALID_ENUM_VALUE")


def moment_us(text: Any) -> int | None:
    """An RFC 3339 time with its offset in microseconds since 1970; `None` where it is not one."""
    if not isinstance(text, str) or MOMENT.fullmatch(text) is None:
        return None
    try:
        return to_us(datetime.fromisoformat(text).astimezone(UTC))
    except ValueError:
        return None


def is_past(text: Any, now_us: int) -> bool:
    """Whether it is a time, and none that lies ahead."""
    moment = moment_us(text)
    return moment is not None and moment <= now_us + SOON_US


def take(event: dict[str, Any], account: str, now_us: int) -> Taken:
    """An event as Google keeps it; its name is the id of the conversion action."""
    moment = moment_us(event["eventTimestamp"])
    warnings = [] if "transactionId" in event else ["no transactionId: nothing to drop a repeat by"]
    if ("conversionValue" in event) != ("currency" in event):
        warnings.append("value and currency do not stand together")
    ads = event.get("adIdentifiers", {})
    return Taken(
        platform="google_data_manager",
        account=account,
        conversion_id=event.get("transactionId"),
        name=account.partition("/")[2],
        occurred_us=moment,
        stamped_us=now_us if moment is None else moment,
        received_us=now_us,
        value=repr(event["conversionValue"]) if "conversionValue" in event else None,
        currency=event.get("currency"),
        ids={name: ads[name] for name in CLICKS if name in ads},
        warnings=tuple(warnings),
        item=event,
    )


def is_restated(last: Last, account: str, event: dict[str, Any]) -> bool:
    """Whether a known transaction comes with another value than it has ("conversion adjustments")."""
    transaction = event["transactionId"]
    value, when = last(RESTATEMENT, account, transaction)
    if when is None:
        value, when = last("google_data_manager", account, transaction)
    return when is not None and "conversionValue" in event and repr(event["conversionValue"]) != value


def said(violation: Violation) -> str:
    """A violation as a reason to count by: without the row's number or its values."""
    return f"{NUMBER.sub('[]', violation.field)}: {violation.reason}"


def _row_of(violation: Violation) -> int | None:
    found = ROW.match(violation.field)
    return None if found is None else int(found[1])


def refuse(
    status: int,
    account: str,
    why: str,
    now_us: int,
    *,
    rows: int = 1,
    violations: list[Violation] | None = None,
    index: int | None = None,
    item: Any = None,
) -> Answer:
    """A request of which nothing was taken."""
    refused = Refused(
        platform="google_data_manager", account=account, reason=why, received_us=now_us, status=status,
        rows=rows, index=index, item=item,
    )  # fmt: skip
    details: list[dict[str, Any]] = []
    if violations:
        # Rows come under INVALID_ARGUMENT; what concerns the request has its own reason there.
        whole = [each.reason for each in violations if not each.field.startswith("events[")]
        details = [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": whole[0] if whole else "INVALID_ARGUMENT",
                "domain": HOST,
            },
            {
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [
                    {"field": each.field, "description": "Refused by the sandbox", "reason": each.reason}
                    for each in violations
                ],
            },
        ]
    return Answer(status=status, body=envelope(status, why, details), headers=JSON, refused=(refused,))
