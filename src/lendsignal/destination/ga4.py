"""Firebase and GA4, Measurement Protocol for app streams.

Up to 25 events of one app installation a request. Times are Unix microseconds; `value` is a number.
Google answers 204 to everything it can parse, bad secret and unknown installation included, and drops
no repeats.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from lendsignal.destination.spec import (
    Item,
    QueryAuth,
    Request,
    Response,
    Spec,
    Trial,
    body_json,
    by_status,
    present,
)
from lendsignal.model import (
    Accepted,
    Consent,
    Delivery,
    IdKind,
    Outcome,
    Rejected,
    Retry,
    Skip,
    SkipReason,
    Split,
    id_of,
)
from lendsignal.model.secret import Secret


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a lender writes in the configuration for a Firebase app stream. ValueError: a silence below a day.

    `api_secret`: the stream's Measurement Protocol API secret. `firebase_app_id`: the app's id in
    Firebase. `online_within`: Google passes an event on to ads only within 63 days of the installation's
    last online event, and counts it in audiences within 42 ("use cases", read 2026-11-22); the last login is
    what we know of that. `region = "eu"`: collect in the European Union. `debug`: ask Google's validator,
    which checks the shape of every event and records none.
    """

    api_secret: Annotated[Secret, Meta(description="the stream's Measurement Protocol API secret")]
    firebase_app_id: Annotated[
        str,
        Meta(
            pattern=r"^[0-9]:[0-9]+:[a-zA-Z]+:[a-zA-Z0-9]+$",
            description="the app's id in Firebase",
            examples=["1:1234567890:android:0a1b2c3d4e5f6a7b"],
        ),
    ]
    region: Annotated[Literal["global", "eu"], Meta(description="where Google collects")] = "global"
    debug: Annotated[bool, Meta(description="ask Google's validator; nothing is recorded")] = False
    online_within: Annotated[
        timedelta,
        Meta(description="installations not seen for longer are skipped: 63d for ads, 42d for audiences too"),
    ] = timedelta(days=63)

    def __post_init__(self) -> None:
        if self.online_within < timedelta(days=1):
            raise ValueError("online_within must be at least 1d")


SPEC = Spec(
    name="ga4",
    label="Firebase / GA4",
    docs="https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference?client_type=firebase",
    docs_read="2026-11-22",
    hosts=("www.google-analytics.com", "region1.google-analytics.com"),
    auth=QueryAuth("api_secret", "api_secret"),
    any_of_ids=(IdKind.FIREBASE_APP_INSTANCE_ID,),
    # Older events are moved to 72 hours ago, which credits the wrong day.
    max_age=timedelta(hours=72),
    # 100 million requests an hour for a property, silently ignored above: far from any lender's volume.
    per_second=500,
    batch=25,
    # Installation, user and consent are said once a request: two users of one phone cannot share one.
    batch_by="envelope",
    max_bytes=130_000,
)

FIELDS = frozenset(
    "?firebase_app_id app_instance_id consent.ad_personalization consent.ad_user_data events[].name "
    "events[].params.conversion_id events[].params.currency events[].params.transaction_id "
    "events[].params.value events[].timestamp_micros user_id".split()
)
"""All that may leave for this platform, as `fields_of` names it; the secret joins last."""

RESERVED_NAMES = frozenset(
    "ad_activeview ad_click ad_exposure ad_query ad_reward adunit_exposure app_clear_data app_exception "
    "app_install app_remove app_store_refund app_update app_upgrade dynamic_link_app_open "
    "dynamic_link_app_update dynamic_link_first_open error firebase_campaign "
    "firebase_in_app_message_action firebase_in_app_message_dismiss firebase_in_app_message_impression "
    "first_open first_visit notification_dismiss notification_foreground notification_open "
    "notification_receive notification_send os_update session_start user_engagement".split()
)
"""Names that Google keeps for itself (reference, "reserved names"). `ad_impression`, `in_app_purchase` and
`screen_view` are free for app streams."""

RESERVED_PREFIXES = ("_", "firebase_", "ga_", "google_", "gtag.")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INSTANCE = re.compile(r"[0-9a-fA-F]{32}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def problem_with_name(name: str) -> str | None:
    """Why GA4 would drop an event of this name without a word, or `None`."""
    if not name:
        return "is empty"
    if len(name) > 40:
        return f"has {len(name)} characters; GA4 takes 40"
    if name in RESERVED_NAMES:
        return "is reserved by GA4"
    for prefix in RESERVED_PREFIXES:
        if name.startswith(prefix):
            return f"starts with {prefix}, which GA4 reserves"
    if not _NAME.fullmatch(name):
        return "must start with a letter and hold only letters, digits and underscores (a GA4 rule)"
    return None


def encode(delivery: Delivery, settings: Settings) -> Item | Skip:
    """One conversion as `{"envelope", "app_instance_id", "user_id", "consent", "event"}`.

    `envelope` names what is said once a request; it never leaves the house. An `app_instance_id` that is
    not 32 hex digits is as good as none: Google answers 204 and drops the event. Of an installation that was
    not seen for longer than `online_within` Google tells ads nothing: skipped as `too_old`.
    """
    instance = id_of(delivery.device, IdKind.FIREBASE_APP_INSTANCE_ID)
    if instance is None or not _INSTANCE.fullmatch(instance):
        return Skip(SkipReason.NO_DEVICE_ID)
    occurred_us = (delivery.occurred_at - _EPOCH) // _MICROSECOND
    seen_us = occurred_us if delivery.seen_us is None else delivery.seen_us
    if occurred_us - seen_us > settings.online_within // _MICROSECOND:
        return Skip(SkipReason.TOO_OLD)
    consent = None if delivery.consent is None else _consent(delivery.consent)
    # Several reports read one or the other: `transaction_id` is Google's own word, and only for purchases.
    params: dict[str, Any] = {"transaction_id": delivery.id, "conversion_id": delivery.id}
    value = delivery.value
    # Value and currency stand together or not at all; a loss has no place in GA4, the event still has.
    if value is not None and value.amount >= 0:
        params["value"] = float(value.amount)
        params["currency"] = value.currency
    return present(
        envelope=f"{instance} {delivery.user_id} {consent or ''}",
        app_instance_id=instance,
        user_id=delivery.user_id,
        consent=consent,
        event={
            "name": delivery.name,
            "timestamp_micros": occurred_us,
            "params": params,
        },
    )


def request(items: Sequence[Item], settings: Settings) -> Request:
    """Up to 25 events of one envelope in one POST; the sender adds `api_secret` to the query.

    The colons of `firebase_app_id` stay as they are: Google does not find the stream otherwise.
    """
    return _collect("debug/mp/collect" if settings.debug else "mp/collect", _body(items), settings)


def trial(settings: Settings) -> Trial:
    """A test event carries `debug_mode` and shows in DebugView."""
    return Trial(
        way="marked",
        look="Google Analytics → Admin → Data display → DebugView",
        sees="the event under its name within seconds, beside the phone's own; only for an app_instance_id "
        "that the app's SDK has already used, so give your own phone's",
        may_count=True,
    )


def trial_request(items: Sequence[Item], settings: Settings, code: str) -> Request:
    """The same with `debug_mode`, which DebugView shows where `engagement_time_msec` stands beside it."""
    marks = {"debug_mode": 1, "engagement_time_msec": 1}
    body = _body(items)
    body["events"] = [{**event, "params": {**event["params"], **marks}} for event in body["events"]]
    return _collect("mp/collect", body, settings)


def validation_request(items: Sequence[Item], settings: Settings) -> Request:
    """The same for Google's validator, at its strictest: what it would re-date or let pass it then names.

    The validator records nothing, and looks neither at the secret's value nor at whether the app exists.
    """
    body = {**_body(items), "validation_behavior": "ENFORCE_RECOMMENDATIONS"}
    return _collect("debug/mp/collect", body, settings)


def problems_found(response: Response) -> tuple[str, ...] | None:
    """What the validator found wrong, a line each with its place, code and words.

    Empty for nothing; `None` where the answer is not the validator's, or tells only of its own trouble.
    """
    body = body_json(response)
    messages = body.get("validationMessages") if isinstance(body, dict) else None
    if not 200 <= response.status < 300 or not isinstance(messages, list):
        return None
    known = [message for message in messages if isinstance(message, dict)]
    found = [
        " ".join(
            str(message[part]) for part in ("fieldPath", "validationCode", "description") if message.get(part)
        )
        for message in known
        if message.get("validationCode") != "INTERNAL_ERROR"
    ]
    return tuple(found) if found or not messages else None


def classify(response: Response, count: int) -> Sequence[Outcome]:
    """204 proves receipt only; the validator's 200 lists what is wrong; 400 and 413 refuse a whole batch."""
    status = response.status
    outcome: Outcome
    if 200 <= status < 300:
        outcome = _validated(response) if response.body else Accepted(confirmed=False)
    elif status in (400, 413):
        outcome = Rejected(f"http_{status}")
    else:
        outcome = by_status(response)
    if isinstance(outcome, Rejected) and status in (200, 400, 413) and count > 1:
        outcome = Split(outcome.reason)
    return [outcome] * count


def _body(items: Sequence[Item]) -> dict[str, Any]:
    first = items[0]
    return present(
        app_instance_id=first["app_instance_id"],
        user_id=first["user_id"],
        consent=first.get("consent"),
        events=[item["event"] for item in items],
    )


def _collect(path: str, body: dict[str, Any], settings: Settings) -> Request:
    host = "region1.google-analytics.com" if settings.region == "eu" else "www.google-analytics.com"
    url = f"https://{host}/{path}?firebase_app_id={settings.firebase_app_id}"
    return Request(method="POST", url=url, json=body)


def _validated(response: Response) -> Outcome:
    """The validator's verdict: an event it finds well is still recorded nowhere."""
    body = body_json(response)
    if not isinstance(body, dict) or "validationMessages" not in body:
        return Accepted(confirmed=False, reason="unexpected_answer")
    messages = body["validationMessages"]
    if not messages:
        return Accepted(confirmed=False, reason="validated_not_recorded")
    if isinstance(messages, list) and all(
        isinstance(message, dict) and message.get("validationCode") == "INTERNAL_ERROR"
        for message in messages
    ):
        return Retry("validator_error")
    return Rejected("invalid_event")


def _consent(consent: Consent) -> dict[str, str] | None:
    """What the user said, in Google's words; what was never asked is left to the app's own consent state."""
    said = {}
    if consent.ad_user_data is not None:
        said["ad_user_data"] = "GRANTED" if consent.ad_user_data else "DENIED"
    if consent.ad_personalization is not None:
        said["ad_personalization"] = "GRANTED" if consent.ad_personalization else "DENIED"
    return said or None
