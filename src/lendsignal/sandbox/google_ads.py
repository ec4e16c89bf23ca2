"""The stand-in for the Google Ads API: click conversions and their adjustments.

Source: conversion_upload_service.proto, conversion_adjustment_upload_service.proto and their error enums of
v25 (GitHub googleapis/googleapis, google/ads/googleads/v25), read 2026-11-22.
Where the vendor is silent the line says MOCK-CHOICE, and docs/reference/sandbox.md tables it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct

from lendsignal.clock import to_us
from lendsignal.sandbox.google import Last, bearer, broken, envelope, nothing, snake
from lendsignal.sandbox.settings import SandboxSettings
from lendsignal.sandbox.shape import (
    CURRENCY,
    FILLED,
    FLAG,
    NUMBER,
    OBJECT,
    SHA256,
    TEXT,
    WHOLE,
    Shape,
    one_of,
)
from lendsignal.sandbox.verdict import JSON, Answer, Asked, Refused, Taken, decoded, media_type

__all__ = ["HOST", "broken", "judge"]

HOST = "googleads.googleapis.com"
PATH = re.compile(r"/v(\d{1,2})/customers/(\d{10}):(uploadClickConversions|uploadConversionAdjustments)")
VERSIONS = range(23, 27)
"""What client 34.0.0 ships."""

MAX_ROWS = 2000
MAX_IDENTIFIERS = 5
CHANGED_WITHIN = timedelta(days=54)
WINDOW = timedelta(days=90)
"""MOCK-CHOICE: the longest click-through window; the action's own is not known here."""
SOON = timedelta(minutes=5)
"""MOCK-CHOICE: how far ahead of our clock a conversion may be."""

ACTION = re.compile(r"customers/(\d{10})/conversionActions/(\d+)")
MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d")
GRANTS = one_of("GRANTED", "DENIED", "UNSPECIFIED", "UNKNOWN")
LIST = Shape("an array", lambda value: isinstance(value, list))

REQUEST: Mapping[str, Shape] = {
    "conversions": LIST,
    "conversionAdjustments": LIST,
    "partialFailure": FLAG,
    "validateOnly": FLAG,
    "jobId": WHOLE,
    "customerId": TEXT,
}
CONVERSION: Mapping[str, Shape] = {
    "conversionAction": TEXT,
    "gclid": TEXT,
    "gbraid": TEXT,
    "wbraid": TEXT,
    "conversionDateTime": TEXT,
    "conversionValue": NUMBER,
    "currencyCode": TEXT,
    "orderId": TEXT,
    "userIdentifiers": LIST,
    "consent": OBJECT,
    "conversionEnvironment": one_of("APP", "WEB"),
    "customVariables": LIST,
    "cartData": OBJECT,
    "externalAttributionData": OBJECT,
    "customerType": one_of("NEW", "RETURNING"),
    "userIpAddress": TEXT,
}
ADJUSTMENT: Mapping[str, Shape] = {
    "conversionAction": TEXT,
    "adjustmentType": one_of("RESTATEMENT", "RETRACTION", "ENHANCEMENT"),
    "orderId": TEXT,
    "gclidDateTimePair": OBJECT,
    "adjustmentDateTime": TEXT,
    "restatementValue": OBJECT,
    "userIdentifiers": LIST,
    "userAgent": TEXT,
}
RESTATEMENT: Mapping[str, Shape] = {"adjustedValue": NUMBER, "currencyCode": TEXT}
IDENTIFIER: Mapping[str, Shape] = {
    "hashedEmail": TEXT,
    "hashedPhoneNumber": TEXT,
    "addressInfo": OBJECT,
    "userIdentifierSource": one_of("FIRST_PARTY", "THIRD_PARTY"),
}
CONSENT: Mapping[str, Shape] = {"adUserData": GRANTS, "adPersonalization": GRANTS}

Has = Callable[[str, str, str], bool]
"""Whether an id was taken before, by platform and account."""


class Wrong(Struct, frozen=True):
    """What is wrong with a row, as Google's error code says it: family, name and field."""

    family: str
    name: str
    field: str = ""


UPLOAD, CHANGE = "conversionUploadError", "conversionAdjustmentUploadError"


def judge(has: Has, asked: Asked, settings: SandboxSettings, now_us: int, *, last: Last = nothing) -> Answer:
    """What Google Ads would answer at `now_us`; `has` tells which order ids it took before, `last` what was
    told of them last."""
    match = PATH.fullmatch(asked.path)
    if match is None or asked.method != "POST" or int(match[1]) not in VERSIONS:
        return refuse(404, "", "path: must be POST /v{23…26}/customers/{id}:{method}", now_us)
    customer_id, method = match[2], match[3]
    changes = method == "uploadConversionAdjustments"
    why = access_problem(asked, settings, customer_id, changes=changes)
    if why is not None:
        status, wrong = why
        return refuse(status, customer_id, f"access: {wrong.name}", now_us, wrong=wrong)
    body = decoded(asked.body) if media_type(asked.headers) == "application/json" else None
    key = "conversionAdjustments" if changes else "conversions"
    if not isinstance(body, dict):
        return refuse(400, customer_id, "body: must be a JSON object", now_us)
    rows = body.get(key)
    count = len(rows) if isinstance(rows, list) else 1
    mistake = transcoding_problem(body, key)
    if mistake is not None:
        return refuse(400, customer_id, mistake, now_us, rows=count)
    if body.get("partialFailure") is not True:
        return refuse(400, customer_id, "partialFailure: must be true", now_us, rows=count,
                      wrong=Wrong("requestError", "PARTIAL_FAILURE_MODE_REQUIRED"))  # fmt: skip
    if not rows:
        wrong = Wrong("fieldError", "REQUIRED")
        return refuse(400, customer_id, f"{key}: required", now_us, wrong=wrong)
    if count > MAX_ROWS:
        wrong = Wrong(CHANGE, "TOO_MANY_ADJUSTMENTS_IN_REQUEST") if changes else (
            Wrong(UPLOAD, "TOO_MANY_CONVERSIONS_IN_REQUEST")
        )  # fmt: skip
        return refuse(400, customer_id, f"{key}: at most 2000", now_us, rows=count, wrong=wrong)
    if not 0 <= body.get("jobId", 0) < 2**31:
        return refuse(400, customer_id, "jobId: from 0 up to 2^31", now_us, rows=count)
    return by_rows(rows, body, key, settings, customer_id, now_us, has, last)


def by_rows(
    rows: list[dict[str, Any]],
    body: dict[str, Any],
    key: str,
    settings: SandboxSettings,
    customer_id: str,
    now_us: int,
    has: Has,
    last: Last,
) -> Answer:
    """A 200: every row is judged by itself, and the bad ones are listed in `partialFailureError`."""
    dry = body.get("validateOnly") is True
    changes = key == "conversionAdjustments"
    problems = partial(adjustment_problems, last) if changes else conversion_problems
    seen: set[tuple[str, str]] = set()
    errors: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    taken: list[Taken] = []
    refused: list[Refused] = []
    for index, row in enumerate(rows):
        wrongs = list(problems(row, settings, customer_id, now_us, has, seen))
        errors += [error_of(wrong, key, index) for wrong in wrongs]
        results.append({} if wrongs else {"conversionAction": row["conversionAction"]})
        if wrongs:
            refused.append(
                Refused(
                    platform=platform_of(changes), account=customer_id, status=200, received_us=now_us,
                    reason=f"{wrongs[0].field or key}: {wrongs[0].name}", index=index, item=row,
                )
            )  # fmt: skip
        elif not dry:
            taken.append(take_change(row, now_us) if changes else take(row, now_us))
    answer: dict[str, Any] = {}
    if errors:
        answer["partialFailureError"] = {
            "code": 3,
            "message": "Multiple errors in 'details'.",
            "details": [failure(errors)],
        }
    if not dry:
        answer["results"] = results
        answer["jobId"] = str(body.get("jobId", 1))
    return Answer(
        status=200,
        body=msgspec.json.encode(answer),
        headers=JSON,
        taken=tuple(taken),
        refused=() if dry else tuple(refused),
    )


def access_problem(
    asked: Asked, settings: SandboxSettings, customer_id: str, *, changes: bool
) -> tuple[int, Wrong] | None:
    """Why this sender may not write to the account: status and error, or `None`."""
    token = bearer(asked)
    customers = settings.google_ads
    if not any(token == each.token for each in customers.values()):
        return 401, Wrong("authenticationError", "OAUTH_TOKEN_INVALID")
    developer = asked.headers.get("developer-token", "")
    if not developer:
        return 401, Wrong("authenticationError", "DEVELOPER_TOKEN_PARAMETER_MISSING")
    customer = customers.get(customer_id)
    if customer is None or customer.token != token:
        return 403, Wrong("authorizationError", "USER_PERMISSION_DENIED")
    if customer.developer_token != developer:
        return 401, Wrong("authenticationError", "DEVELOPER_TOKEN_INVALID")
    login = asked.headers.get("login-customer-id")
    if login != customer.login_customer_id:
        return 403, Wrong("authorizationError", "USER_PERMISSION_DENIED")
    if not customer.allowlisted and not changes:
        return 403, Wrong("notAllowlistedError", "CUSTOMER_NOT_ALLOWLISTED_FOR_THIS_FEATURE")
    return None


def transcoding_problem(body: dict[str, Any], key: str) -> str | None:
    """What Google's JSON reader would not take: an unknown key or a value of another type costs it all."""
    shapes = ADJUSTMENT if key == "conversionAdjustments" else CONVERSION
    for problem in misfits(body, REQUEST, ""):
        return problem
    rows = body.get(key, [])
    for row in rows:
        for problem in misfits(row, shapes, f"{key}[]."):
            return problem
        for identifier in row.get("userIdentifiers", ()):
            for problem in misfits(identifier, IDENTIFIER, f"{key}[].userIdentifiers[]."):
                return problem
        for problem in misfits(row.get("consent", {}), CONSENT, f"{key}[].consent."):
            return problem
        for problem in misfits(row.get("restatementValue", {}), RESTATEMENT, f"{key}[].restatementValue."):
            return problem
    return None


def misfits(held: Any, shapes: Mapping[str, Shape], where: str) -> Iterator[str]:
    """Each key that is not known, and each value that does not fit."""
    if not isinstance(held, dict):
        yield f"{where or 'body'}: must be an object"
        return
    for name, value in held.items():
        shape = shapes.get(name)
        if shape is None:
            yield f"{where}{name[:40]}: unknown field"
        elif not shape.fits(value):
            yield f"{where}{name}: must be {shape.says}"


def conversion_problems(
    row: dict[str, Any],
    settings: SandboxSettings,
    customer_id: str,
    now_us: int,
    has: Has,
    seen: set[tuple[str, str]],
) -> Iterator[Wrong]:
    """Each rule that a conversion breaks, with Google's name for it."""
    yield from action_problems(row, settings, customer_id)
    yield from click_problems(row, settings)
    moment = moment_us(row.get("conversionDateTime"))
    if moment is None:
        yield Wrong("dateError", "INVALID_STRING_DATE_TIME", "conversionDateTime")
    elif moment > now_us + SOON // timedelta(microseconds=1):
        yield Wrong("dateError", "LATER_THAN_MAXIMUM_DATE", "conversionDateTime")
    elif moment < now_us - WINDOW // timedelta(microseconds=1):
        yield Wrong(UPLOAD, "EXPIRED_EVENT", "conversionDateTime")
    if row.get("conversionValue", 0) < 0:  # MOCK-CHOICE: not documented
        yield Wrong("rangeError", "TOO_LOW", "conversionValue")
    if "currencyCode" in row and not CURRENCY.fits(row["currencyCode"]):
        yield Wrong("currencyCodeError", "UNSUPPORTED", "currencyCode")
    order = row.get("orderId")
    if order is not None:
        action = row.get("conversionAction", "")
        if not FILLED.fits(order) or "@" in order:
            yield Wrong(UPLOAD, "ORDER_ID_CONTAINS_PII", "orderId")
        elif (action, order) in seen:
            yield Wrong(UPLOAD, "DUPLICATE_ORDER_ID", "orderId")
        elif has("google_ads", account_of(action), order):
            yield Wrong(UPLOAD, "ORDER_ID_ALREADY_IN_USE", "orderId")
        seen.add((action, order))


def action_problems(row: dict[str, Any], settings: SandboxSettings, customer_id: str) -> Iterator[Wrong]:
    """The conversion action is one of this account."""
    match = ACTION.fullmatch(row.get("conversionAction", ""))
    actions = settings.google_ads[customer_id].actions
    if match is None or match[1] != customer_id or match[2] not in actions:
        yield Wrong(UPLOAD, "NO_CONVERSION_ACTION_FOUND", "conversionAction")


def click_problems(row: dict[str, Any], settings: SandboxSettings) -> Iterator[Wrong]:
    """One click id or a hashed contact, and a click that Google knows."""
    clicks = [name for name in ("gclid", "gbraid", "wbraid") if name in row]
    identifiers = row.get("userIdentifiers", [])
    if not clicks and not identifiers:  # MOCK-CHOICE of the error
        yield Wrong("fieldError", "REQUIRED", "gclid")
    if {"gbraid", "wbraid"} <= set(clicks):
        yield Wrong(UPLOAD, "GBRAID_WBRAID_BOTH_SET", "gbraid")
    elif len(clicks) > 1:
        yield Wrong("fieldError", "VALUE_MUST_BE_UNSET", clicks[1])
    for name in clicks:
        if not FILLED.fits(row[name]):
            yield Wrong(UPLOAD, f"UNPARSEABLE_{name.upper()}", name)
        elif settings.google_clicks is not None and row[name] not in settings.google_clicks:
            yield Wrong(UPLOAD, "CLICK_NOT_FOUND", name)
    if len(identifiers) > MAX_IDENTIFIERS:
        yield Wrong("fieldError", "TOO_MANY", "userIdentifiers")
    for identifier in identifiers:
        digests = [identifier[name] for name in ("hashedEmail", "hashedPhoneNumber") if name in identifier]
        if len(digests) + ("addressInfo" in identifier) != 1 or not all(map(SHA256.fits, digests)):
            yield Wrong(UPLOAD, "INVALID_USER_IDENTIFIER", "userIdentifiers")


def adjustment_problems(
    last: Last,
    row: dict[str, Any],
    settings: SandboxSettings,
    customer_id: str,
    now_us: int,
    has: Has,
    seen: set[tuple[str, str]],
) -> Iterator[Wrong]:
    """Each rule that an adjustment breaks."""
    yield from action_problems(row, settings, customer_id)
    kind, order, action = row.get("adjustmentType"), row.get("orderId"), row.get("conversionAction", "")
    if kind is None:
        yield Wrong("fieldError", "REQUIRED", "adjustmentType")
    if (order is None) == ("gclidDateTimePair" not in row):
        yield Wrong("fieldError", "REQUIRED", "orderId")
    moment = moment_us(row.get("adjustmentDateTime"))
    if moment is None:
        yield Wrong("dateError", "INVALID_STRING_DATE_TIME", "adjustmentDateTime")
    value = row.get("restatementValue")
    if kind == "RESTATEMENT" and not (
        isinstance(value, dict)
        and NUMBER.fits(value.get("adjustedValue"))
        and CURRENCY.fits(value.get("currencyCode", "USD"))
    ):
        yield Wrong("fieldError", "REQUIRED", "restatementValue")
    if kind == "RETRACTION" and value is not None:
        yield Wrong("fieldError", "VALUE_MUST_BE_UNSET", "restatementValue")
    if order is not None:
        account = account_of(action)
        if not has("google_ads", account, order):
            yield Wrong(CHANGE, "CONVERSION_NOT_FOUND", "orderId")
        elif (action, order) in seen or has("google_ads_adjustment", f"{account} RETRACTION", order):
            yield Wrong(CHANGE, "CONVERSION_ALREADY_RETRACTED", "orderId")
        else:
            yield from moment_problems(last, account, order, moment, now_us)
        if kind == "RETRACTION":
            seen.add((action, order))


def moment_problems(last: Last, account: str, order: str, moment: int | None, now_us: int) -> Iterator[Wrong]:
    """An adjustment comes after its conversion and the restatements before it, and not too late."""
    _, converted_us = last("google_ads", account, order)
    _, restated_us = last("google_ads_adjustment", f"{account} RESTATEMENT", order)
    if converted_us is not None and now_us - converted_us > CHANGED_WITHIN // timedelta(microseconds=1):
        yield Wrong(CHANGE, "CONVERSION_EXPIRED", "orderId")
    if moment is None:
        return
    if converted_us is not None and moment < converted_us:
        yield Wrong(CHANGE, "ADJUSTMENT_PRECEDES_CONVERSION", "adjustmentDateTime")
    if restated_us == moment:
        yield Wrong(CHANGE, "RESTATEMENT_ALREADY_EXISTS", "adjustmentDateTime")
    elif restated_us is not None and moment < restated_us:
        yield Wrong(CHANGE, "MORE_RECENT_RESTATEMENT_FOUND", "adjustmentDateTime")


def moment_us(text: Any) -> int | None:
    """`yyyy-mm-dd hh:mm:ss+hh:mm` in microseconds since 1970; `None` where it is anything else."""
    if not isinstance(text, str) or MOMENT.fullmatch(text) is None:
        return None
    try:
        return to_us(datetime.fromisoformat(text).astimezone(UTC))
    except ValueError:
        return None


def account_of(action: str) -> str:
    """`customers/1/conversionActions/2` → `1/2`: order ids are told apart by conversion action."""
    match = ACTION.fullmatch(action)
    return f"{match[1]}/{match[2]}" if match else ""


def platform_of(changes: bool) -> str:
    return "google_ads_adjustment" if changes else "google_ads"


def take(row: dict[str, Any], now_us: int) -> Taken:
    """A conversion as Google keeps it; its name is the id of the conversion action."""
    account = account_of(row["conversionAction"])
    moment = moment_us(row["conversionDateTime"])
    warnings = [] if "orderId" in row else ["no orderId: nothing to drop a repeat by"]
    if "conversionValue" not in row:
        warnings.append("no conversionValue: the action's default value counts")
    if "currencyCode" in row and "conversionValue" not in row:
        warnings.append("a currency without a value")
    return Taken(
        platform="google_ads",
        account=account,
        conversion_id=row.get("orderId"),
        name=account.partition("/")[2],
        occurred_us=moment,
        stamped_us=now_us if moment is None else moment,
        received_us=now_us,
        value=repr(row["conversionValue"]) if "conversionValue" in row else None,
        currency=row.get("currencyCode"),
        ids={name: row[name] for name in ("gclid", "gbraid", "wbraid") if name in row},
        warnings=tuple(warnings),
        item=row,
    )


def take_change(row: dict[str, Any], now_us: int) -> Taken:
    """An adjustment as Google keeps it, filed apart from the conversions."""
    value = row.get("restatementValue", {})
    moment = moment_us(row["adjustmentDateTime"])
    return Taken(
        platform="google_ads_adjustment",
        account=f"{account_of(row['conversionAction'])} {row['adjustmentType']}",
        conversion_id=row.get("orderId"),
        name=row["adjustmentType"],
        occurred_us=moment,
        stamped_us=now_us if moment is None else moment,
        received_us=now_us,
        value=repr(value["adjustedValue"]) if "adjustedValue" in value else None,
        currency=value.get("currencyCode"),
        item=row,
    )


def error_of(wrong: Wrong, key: str, index: int | None) -> dict[str, Any]:
    """One `GoogleAdsError`; the row stands in its location."""
    error: dict[str, Any] = {
        "errorCode": {wrong.family: wrong.name},
        "message": f"Refused by the sandbox: {wrong.name}",
    }
    if index is not None:
        path: list[dict[str, Any]] = [{"fieldName": snake(key), "index": index}]
        if wrong.field:
            path.append({"fieldName": snake(wrong.field)})
        error["location"] = {"fieldPathElements": path}
    return error


def failure(errors: list[dict[str, Any]]) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.ads.googleads.v25.errors.GoogleAdsFailure", "errors": errors}


def refuse(
    status: int, customer_id: str, why: str, now_us: int, *, rows: int = 1, wrong: Wrong | None = None
) -> Answer:
    """A request of which nothing was taken."""
    refused = Refused(
        platform="google_ads", account=customer_id, reason=why, received_us=now_us, status=status, rows=rows
    )
    details = [] if wrong is None else [failure([error_of(wrong, "", None)])]
    body = envelope(status, f"Refused by the sandbox: {why}", details)
    return Answer(status=status, body=body, headers=JSON, refused=(refused,))
