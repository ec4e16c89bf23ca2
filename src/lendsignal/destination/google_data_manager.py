"""Google Data Manager API: conversions for Google Ads, by `events:ingest`.

Up to 2,000 events of one conversion action a request. Times are RFC 3339 in UTC; the value is a number. A
click id or a hashed contact names the user. One bad event refuses its whole request; a yes only says that
Google looks at it later, and the verdict counts the refused by reason without saying which they were.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import quote

from msgspec import Meta, Struct

from lendsignal.destination.google_ads import (
    DRY_RUN,
    NO_ACTION,
    SOON,
    click_of,
    consent_of,
    contacts_of,
    seconds_of,
    without_action,
)
from lendsignal.destination.spec import (
    Corrections,
    GoogleAuth,
    Item,
    Request,
    Response,
    Spec,
    Trial,
    body_json,
    by_status,
    present,
    retry_after,
)
from lendsignal.model import (
    Accepted,
    Delivery,
    Outcome,
    Paused,
    Pending,
    Rejected,
    Retry,
    Skip,
    SkipReason,
    Split,
)
from lendsignal.model.secret import Secret


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a lender writes in the configuration for Google Ads by the Data Manager API.

    `account_id`, `login_account_id`: ten digits without hyphens; the second is the manager account that the
    credentials belong to. `conversion_actions`: name in the route → id of the conversion action. The names
    stay in the house. `event_source`: where conversions happen, as the conversion action has it.
    """

    account_id: Annotated[
        str,
        Meta(
            pattern=r"^[0-9]{10}$", description="the Google Ads account, ten digits", examples=["4445556666"]
        ),
    ]
    credentials: Annotated[Secret, Meta(description="a service account or authorized user, as JSON")]
    conversion_actions: Annotated[
        dict[str, Annotated[str, Meta(pattern=r"^[0-9]+$")]],
        Meta(
            description="name in the route → id of the conversion action", examples=[{"ev_fl": "987654321"}]
        ),
    ]
    login_account_id: Annotated[
        Annotated[str, Meta(pattern=r"^[0-9]{10}$")] | None,
        Meta(description="the manager account, where access comes through one"),
    ] = None
    event_source: Annotated[
        Literal["APP", "WEB", "IN_STORE", "PHONE", "MESSAGE", "OTHER"],
        Meta(description="where conversions happen"),
    ] = "APP"


SPEC = Spec(
    name="google_data_manager",
    label="Google Data Manager",
    docs="https://developers.google.com/data-manager/api/reference/rest/v1/events/ingest",
    docs_read="2026-11-22",
    hosts=("datamanager.googleapis.com",),
    auth=GoogleAuth(field="credentials", scope="https://www.googleapis.com/auth/datamanager"),
    any_of_ids=(),
    # The click-through window of the conversion action decides, and no action has a longer one.
    max_age=timedelta(days=90),
    # 100,000 requests a day for a Cloud project, which is 1.157 a second ("limits and quotas").
    per_second=1.15,
    # 300 requests a minute.
    burst=5,
    batch=2000,
    # The verdict counts by reason only, so a request holds one conversion action: its counts are that one's.
    batch_by="action",
    linger=timedelta(seconds=2),
    # `transactionId` counts once for each conversion action; a repeat with another value restates it.
    dedupe=timedelta(days=90),
    tries_on={"request_failed": 3},
    # What is sent is the id of the conversion action: the name in the route is the lender's own.
    neutral_names=False,
    verdict_after=timedelta(minutes=15),
    # Google is asked after 15 minutes, 1, 6 and 24 hours; the last of them lies inside.
    verdict_within=timedelta(hours=30),
    # The same `transactionId` with another value restates it, and is a new conversion where Google has none
    # of that id; no way to take one back is documented ("conversion adjustments"). No window is stated: 54
    # days are those of the Google Ads API, whose accounts these are.
    corrections=Corrections(within=timedelta(days=54), retracts=False, on_proof=True),
)

FIELDS = frozenset(
    "destinations[].loginAccount.accountId destinations[].loginAccount.accountType "
    "destinations[].operatingAccount.accountId destinations[].operatingAccount.accountType "
    "destinations[].productDestinationId encoding events[].adIdentifiers.gbraid "
    "events[].adIdentifiers.gclid events[].consent.adPersonalization events[].consent.adUserData "
    "events[].conversionValue events[].currency events[].eventSource events[].eventTimestamp "
    "events[].transactionId events[].userData.userIdentifiers[].emailAddress "
    "events[].userData.userIdentifiers[].phoneNumber".split()
)
"""All that may leave for this platform, as `fields_of` names it; the secret joins last."""

SET_UP: Mapping[str, str] = {
    "INVALID_DESTINATION": "invalid_destination",
    "DUPLICATE_DESTINATION_REFERENCE": "invalid_destination",
    "MISMATCHED_ACCOUNT_TYPE": "invalid_destination",
    "INVALID_USER_LIST_ID": "invalid_destination",
    "INVALID_USER_LIST_TYPE": "invalid_destination",
    "INVALID_CONVERSION_ACTION_ID": "no_such_conversion_action",
    "INVALID_CONVERSION_ACTION_TYPE": "wrong_conversion_action_type",
    "EVENT_SOURCE_AND_DESTINATION_MISMATCH": "wrong_event_source",
    "TERMS_AND_CONDITIONS_NOT_SIGNED": "terms_not_signed",
    "DESTINATION_ACCOUNT_ENHANCED_CONVERSIONS_TERMS_NOT_SIGNED": "terms_not_signed",
    "DESTINATION_ACCOUNT_NOT_ENABLED_ENHANCED_CONVERSIONS_FOR_LEADS": "enhanced_conversions_off",
    "DESTINATION_ACCOUNT_DATA_POLICY_PROHIBITS_ENHANCED_CONVERSIONS": "blocked_for_policy",
    "NOT_ALLOWLISTED": "not_allowlisted",
}
"""Google's reasons that a person must act on (error.proto and processing_errors.proto, read 2026-11-22)."""

OF_A_ROW: Mapping[str, str] = {
    "NO_IDENTIFIERS_PROVIDED": "no_identifiers",
    "TOO_MANY_USER_IDENTIFIERS": "invalid_user_identifier",
    "INVALID_HEX_ENCODING": "invalid_user_identifier",
    "INVALID_SHA256_FORMAT": "invalid_user_identifier",
    "INVALID_CURRENCY_CODE": "invalid_currency",
    "EVENT_TIME_INVALID": "invalid_time",
}
"""Reasons for which an event is refused at once; every other one is `invalid_field`."""

FORGOTTEN = frozenset(("REQUEST_TOO_OLD", "INVALID_REQUEST_ID"))
"""Google took the request and has no verdict on it any more."""

KNOWN_ALREADY = frozenset(("DUPLICATE_TRANSACTION_ID", "DUPLICATE_GCLID"))

LATER_REFUSED: Mapping[str, str] = {
    "EVENT_TOO_OLD": "expired_event",
    "CONVERSION_PRECEDES_CLICK": "conversion_precedes_event",
    "INVALID_GCLID": "unparseable_gclid",
    "INVALID_GBRAID": "unparseable_gbraid",
    "INVALID_WBRAID": "unparseable_wbraid",
    "CLICK_NOT_FOUND": "click_not_found",
    "INVALID_CLICK": "click_not_found",
    "INVALID_OPERATING_ACCOUNT_FOR_CLICK": "invalid_customer_for_click",
    "OPERATING_ACCOUNT_MISMATCH_FOR_AD_IDENTIFIER": "invalid_customer_for_click",
    "DENIED_CONSENT": "consent_refused",
    "NO_CONSENT": "consent_refused",
    "UNKNOWN_CONSENT": "consent_refused",
}
"""Reasons of the verdict, with the words that Google Ads has for the same; every other one is
`invalid_field`."""

_ROW = re.compile(r"\bevents\[(\d{1,4})\]", re.ASCII)


def problem_with_name(name: str) -> str | None:
    """Why this cannot be a name in the route, or `None`; `unmapped` says whether it has an action."""
    return None if name.strip() else "is empty"


def unmapped(name: str, settings: Settings) -> str | None:
    """Why nothing of this name could be counted, or `None`: a name needs a conversion action."""
    return without_action(name, settings.conversion_actions)


def encode(delivery: Delivery, settings: Settings) -> Item | Skip:
    """One conversion as `{"action", "event"}`: the id of its conversion action, and Google's event object.

    Skipped with `no_device_id` where neither a click id nor a hashed contact may be told, and with
    `no_consent` for a user who does not let ad platforms have data. No address of the phone is sent: Google
    wants none of users in Europe. A loss is not told, the conversion is.

    A correction is the same event with its new value, so it needs what the event needs.
    """
    consent, value = delivery.consent, delivery.value
    if consent is not None and consent.ad_user_data is False:
        return Skip(SkipReason.NO_CONSENT)
    click, (email, phone) = click_of(delivery), contacts_of(delivery)
    if not click and email is None and phone is None:
        return Skip(SkipReason.NO_DEVICE_ID)
    event: dict[str, Any] = {
        "transactionId": delivery.id,
        "eventTimestamp": delivery.occurred_at.astimezone(UTC).isoformat(timespec="milliseconds")[:23] + "Z",
        "eventSource": settings.event_source,
    }
    if click:
        event["adIdentifiers"] = click
    if email is not None or phone is not None:
        event["userData"] = {
            "userIdentifiers": [
                {field: digest}
                for field, digest in (("emailAddress", email), ("phoneNumber", phone))
                if digest is not None
            ]
        }
    if value is not None and value.amount >= 0:
        event["conversionValue"] = float(value.amount)
        event["currency"] = value.currency
    if said := consent_of(delivery, "CONSENT_GRANTED", "CONSENT_DENIED"):
        event["consent"] = said
    return {"action": settings.conversion_actions.get(delivery.name, NO_ACTION), "event": event}


def request(items: Sequence[Item], settings: Settings) -> Request:
    """Up to 2,000 events of one conversion action in one POST; the sender adds the bearer token."""
    return _ingest(_body(items, settings))


def trial(settings: Settings) -> Trial:
    """A dry run."""
    return DRY_RUN


def trial_request(items: Sequence[Item], settings: Settings, code: str) -> Request:
    """The dry run."""
    return validation_request(items, settings)


def validation_request(items: Sequence[Item], settings: Settings) -> Request:
    """The same as a dry run: Google checks every event and keeps none, and gives no `requestId`."""
    return _ingest({**_body(items, settings), "validateOnly": True})


def classify(response: Response, count: int) -> Sequence[Outcome]:
    """200 is `Pending`, with Google's `requestId` as the handle. 400 refuses every event of the request.

    Where Google names the bad events they are rejected, and the others are sent again without them.
    """
    body = body_json(response)
    fields = body if isinstance(body, dict) else {}
    error = fields.get("error")
    if 200 <= response.status < 300:
        handle = fields.get("requestId")
        if isinstance(handle, str) and handle:
            return [Pending(handle)] * count
        return [Accepted(confirmed=False, reason="unexpected_answer")] * count
    if response.status == 429:
        return [_slow_down(response, error)] * count
    by_itself = by_status(response)
    reasons = {reason for _, reason in _violations(error)}
    for reason in sorted(reasons & SET_UP.keys()):
        return [Paused(SET_UP[reason])] * count
    if "CONVERSION_ACTION_TOO_RECENTLY_CREATED" in reasons:
        return [Retry("too_recent", after=SOON)] * count
    if response.status == 409:
        # ABORTED: two requests met, and this one gave way.
        return [Retry("platform_error")] * count
    if not isinstance(by_itself, Rejected) or not 400 <= response.status < 500:
        return [by_itself] * count
    return _refused(error, by_itself.reason, count)


def ask(handle: str, settings: Settings) -> Request:
    """Asks for the verdict on a request; Google keeps it for about 50 days."""
    url = f"https://datamanager.googleapis.com/v1/requestStatus:retrieve?requestId={quote(handle, safe='')}"
    return Request(method="GET", url=url)


def verdict(response: Response, count: int) -> Sequence[Outcome]:
    """What became of a request of `count` events. `Pending` without a handle: ask again by the same one.

    Google counts by reason and names no event. All or nothing is therefore exact; where some were taken
    and some refused every one of them is `Accepted(confirmed=False, reason="some_refused")`, and where some
    may be taken later all are sent again, which `transactionId` makes safe.
    """
    body = body_json(response)
    fields = body if isinstance(body, dict) else {}
    listed = fields.get("requestStatusPerDestination")
    statuses = [status for status in listed if isinstance(status, dict)] if isinstance(listed, list) else []
    if not 200 <= response.status < 300 or not statuses:
        if FORGOTTEN & {reason for _, reason in _violations(fields.get("error"))}:
            return [Accepted(confirmed=False, reason="no_verdict")] * count
        return [Pending("")] * count
    words = {str(status.get("requestStatus")) for status in statuses}
    if words == {"SUCCESS"}:
        return [Accepted()] * count
    if not words <= {"SUCCESS", "FAILED", "PARTIAL_SUCCESS"}:
        return [Pending("")] * count
    return [_judged(_counts(statuses), count, all_failed=words == {"FAILED"})] * count


def problems_found(response: Response) -> tuple[str, ...] | None:
    """What a dry run found wrong, a line each: empty for nothing; `None` where the answer tells nothing."""
    body = body_json(response)
    if not isinstance(body, dict):
        return None
    if 200 <= response.status < 300:
        return ()
    found = tuple(
        f"{field}: {reason}" if field else reason for field, reason in _violations(body.get("error"))
    )
    return found or None


def _body(items: Sequence[Item], settings: Settings) -> dict[str, Any]:
    login = settings.login_account_id
    return {
        "destinations": [
            present(
                operatingAccount={"accountType": "GOOGLE_ADS", "accountId": settings.account_id},
                loginAccount=None if login is None else {"accountType": "GOOGLE_ADS", "accountId": login},
                productDestinationId=items[0]["action"],
            )
        ],
        "encoding": "HEX",
        "events": [item["event"] for item in items],
    }


def _ingest(body: dict[str, Any]) -> Request:
    return Request(method="POST", url="https://datamanager.googleapis.com/v1/events:ingest", json=body)


def _refused(error: Any, otherwise: str, count: int) -> list[Outcome]:
    """The events that Google names fall, the others go again; where it names none, halves do."""
    rows: dict[int, str] = {}
    reason = otherwise
    for field, said in _violations(error):
        found = _ROW.search(field)
        if found is not None and int(found[1]) < count:
            rows.setdefault(int(found[1]), OF_A_ROW.get(said, "invalid_field"))
        elif said in ("TOO_MANY_EVENTS", "TOO_MANY_AUDIENCE_MEMBERS"):
            reason = "too_many_rows"
        elif field.startswith("destinations"):
            return [Paused("invalid_destination")] * count
    if count == 1:
        return [Rejected(rows.get(0, reason))]
    if not rows:
        return [Split(reason)] * count
    return [Rejected(rows[row]) if row in rows else Split("refused_with_others") for row in range(count)]


def _violations(error: Any) -> Iterator[tuple[str, str]]:
    """Field and reason of everything an error complains of; the field is empty where it names none."""
    for detail in _details(error):
        if isinstance(detail.get("reason"), str):
            yield "", detail["reason"].removeprefix("ERROR_REASON_")
        violations = detail.get("fieldViolations")
        for violation in violations if isinstance(violations, list) else ():
            if isinstance(violation, dict):
                field, reason = violation.get("field"), violation.get("reason")
                yield (field if isinstance(field, str) else "", reason if isinstance(reason, str) else "")


def _details(error: Any) -> Iterator[dict[str, Any]]:
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):
            yield detail


def _slow_down(response: Response, error: Any) -> Retry:
    """Uncounted. A day's allowance comes back at midnight in California: asked every hour until then."""
    after = retry_after(response)
    for detail in _details(error):
        metadata = detail.get("metadata")
        limit = metadata.get("quota_limit") if isinstance(metadata, dict) else None
        if isinstance(limit, str) and "day" in limit.lower():
            return Retry("daily_quota", after=timedelta(hours=1), counts=False)
        after = seconds_of(detail.get("retryDelay")) or after
    return Retry("throttled", after=after, counts=False)


def _counts(statuses: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Refused events by reason, without the prefix of Google's names; counts come as text (int64)."""
    found: dict[str, int] = {}
    for status in statuses:
        info = status.get("errorInfo")
        counts = info.get("errorCounts") if isinstance(info, dict) else None
        for each in counts if isinstance(counts, list) else ():
            reason, number = (
                (each.get("reason"), each.get("recordCount")) if isinstance(each, dict) else ("", 0)
            )
            if isinstance(reason, str) and str(number).isdecimal():
                short = reason.removeprefix("PROCESSING_ERROR_").removeprefix("REASON_")
                found[short] = found.get(short, 0) + int(str(number))
    return found


def _judged(counts: Mapping[str, int], count: int, *, all_failed: bool) -> Outcome:
    """One outcome for every event of a request that was not taken whole."""
    refused = {reason: number for reason, number in counts.items() if reason not in KNOWN_ALREADY}
    if counts and not refused:
        return Accepted(reason="already_known")
    for reason in sorted(refused.keys() & SET_UP.keys()):
        return Paused(SET_UP[reason])
    if "TOO_RECENT_CLICK" in refused:
        return Retry("too_recent", after=SOON)
    if "INTERNAL_ERROR" in refused:
        return Retry("platform_error")
    if not refused:
        return Retry("request_failed") if all_failed else Accepted(confirmed=False, reason="some_refused")
    if sum(refused.values()) >= count or (all_failed and len(refused) == len(counts)):
        most = max(sorted(refused), key=lambda reason: refused[reason])
        return Rejected(LATER_REFUSED.get(most, "invalid_field"))
    return Accepted(confirmed=False, reason="some_refused")
