"""TikTok, Events API 2.0 for app events.

Up to 1,000 events of one TikTok app a request. Times are Unix seconds; `value` is a number. Nearly every
answer is HTTP 200: the code in the body says what it means.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from lendsignal.destination.spec import (
    HeaderAuth,
    Item,
    Request,
    Response,
    Spec,
    Trial,
    advertising_id,
    apple_id,
    before_att,
    body_json,
    by_status,
    limits_tracking,
    present,
    public_ip,
)
from lendsignal.model import (
    Accepted,
    App,
    Delivery,
    Device,
    IdKind,
    Outcome,
    Paused,
    Rejected,
    Retry,
    Skip,
    SkipReason,
    Split,
)
from lendsignal.model.contact import digest
from lendsignal.model.secret import Secret


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a lender writes in the configuration for TikTok.

    `app_id`: the TikTok App ID of Events Manager, not the store's. `hash_device_ids`: whether `gaid` and
    `idfa` leave as SHA-256; connectors disagree, and TikTok's page does not say. `test_event_code`: shows
    the events in the "Test Events" tab; never in production.
    """

    app_id: Annotated[
        str,
        Meta(
            pattern=r"^[0-9]+$",
            description="the TikTok App ID of Events Manager",
            examples=["7300000000000000001"],
        ),
    ]
    token: Annotated[Secret, Meta(description="the access token of the Events API")]
    hash_device_ids: Annotated[
        bool, Meta(description="whether advertising ids leave as SHA-256 of their lower case")
    ] = True
    test_event_code: Annotated[str | None, Meta(description="shows events in the Test Events tab")] = None


SPEC = Spec(
    name="tiktok",
    label="TikTok",
    docs="https://business-api.tiktok.com/portal/docs?id=1771100865818625",
    docs_read="2026-11-22",
    hosts=("business-api.tiktok.com",),
    auth=HeaderAuth("Access-Token", "token"),
    # Any of several ids, a contact or a click will do: `encode` looks.
    any_of_ids=(),
    # Told by a connector (Amperity), not by TikTok; its longest click window is as long.
    max_age=timedelta(days=28),
    per_second=1000,
    batch=1000,
    # One event source, one name and one id count once ("event deduplication", ads.tiktok.com).
    dedupe=timedelta(hours=48),
    tries_on={"unknown_error": 3, "platform_conflict": 5},
)

FIELDS = frozenset(
    "data[].app.app_id data[].app.app_version data[].event data[].event_id data[].event_time "
    "data[].limited_data_use data[].properties.content_type data[].properties.currency "
    "data[].properties.order_id data[].properties.value data[].user.att_status data[].user.email "
    "data[].user.external_id data[].user.gaid data[].user.idfa data[].user.idfv data[].user.ip "
    "data[].user.locale data[].user.phone data[].user.ttclid data[].user.user_agent event_source "
    "event_source_id test_event_code".split()
)
"""All that may leave for this platform, as `fields_of` names it; the secret joins last."""

APP_EVENTS = frozenset(
    "AchieveLevel AddPaymentInfo AddToCart AddToWishlist Checkout CompleteTutorial CreateGroup CreateRole "
    "GenerateLead InAppADClick InAppADImpr InstallApp JoinGroup LaunchAPP LoanApplication LoanApproval "
    "LoanDisbursal Login Purchase Rate Registration Search SpendCredits StartTrial Subscribe "
    "UnlockAchievement ViewContent".split()
)
"""TikTok's standard app events. Any other name is a custom event: counted, not optimised for."""

WEB_EVENTS: Mapping[str, str] = {
    "CompletePayment": "Purchase",
    "CompleteRegistration": "Registration",
    "InitiateCheckout": "Checkout",
    "SubmitForm": "GenerateLead",
}
"""Standard names of web events, and what app events call the same."""

ATT_STATUS = ("NOT_DETERMINED", "RESTRICTED", "DENIED", "AUTHORIZED")
"""TikTok's words for iOS ATTrackingManager's 0 to 3."""

SERVER_REST = timedelta(minutes=5)
"""How long TikTok asks to wait after a 5xx ("HTTP status codes") and after too many calls in a minute."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_SPELLED = {name.lower(): name for name in APP_EVENTS}
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_ROW = re.compile(r"\b[Bb]atch\.(\d{1,4})\b")

_hashed = lru_cache(maxsize=65_536)(digest)
"""SHA-256 of an id, kept: a user's loans follow one another, and hashing is most of an encode."""


def problem_with_name(name: str) -> str | None:
    """Why TikTok would count this as something else than was meant, or `None`."""
    if not name.strip():
        return "is empty"
    if name in WEB_EVENTS:
        return f"is a web event; for apps TikTok calls it {WEB_EVENTS[name]}"
    standard = _SPELLED.get(name.replace("_", "").replace(" ", "").lower(), name)
    return None if standard == name else f"is not how TikTok spells its standard event {standard}"


def encode(delivery: Delivery, settings: Settings) -> Item | Skip:
    """One conversion as TikTok's event object.

    Skipped where nothing in it could be matched (no device id, contact or click), and for a user who does
    not let ad platforms have data: TikTok has no field that says so.
    """
    device, app, consent, value = delivery.device, delivery.app, delivery.consent, delivery.value
    if consent is not None and consent.ad_user_data is False:
        return Skip(SkipReason.NO_CONSENT)
    user: dict[str, Any] = {}
    limited = limits_tracking(device, app.platform) is True
    if not limited and (advertising := advertising_id(app, device)) is not None:
        field = "gaid" if app.platform == "android" else "idfa"
        user[field] = _hashed(advertising) if settings.hash_device_ids else advertising
    if app.platform == "ios" and (vendor := apple_id(device, IdKind.IDFV)) is not None:
        user["idfv"] = vendor
    if (contact := delivery.contact) is not None:
        if contact.email is not None:
            user["email"] = contact.email
        if contact.phone_e164 is not None:
            user["phone"] = contact.phone_e164
    if device.ttclid:
        user["ttclid"] = device.ttclid
    if not user:
        return Skip(SkipReason.NO_DEVICE_ID)
    user["external_id"] = _hashed(delivery.user_id.strip().lower())
    if (status := att_status(app, device)) is not None:
        user["att_status"] = status
    if (ip := public_ip(device.ip)) is not None:
        user["ip"] = ip
    if agent := (device.user_agent or "").strip():
        user["user_agent"] = agent
    if (language := _language(device.locale)) is not None:
        user["locale"] = language
    properties: dict[str, Any] = {
        "order_id": delivery.id,
        # Both always: events without them have been refused (PyPI pytt-events-api, read 2026-11-22).
        "content_type": "product",
        "contents": [],
    }
    # Value and currency stand together; a loss is not told, the event is.
    if value is not None and value.amount >= 0:
        properties["value"] = float(value.amount)
        properties["currency"] = value.currency
    return {
        "event": delivery.name,
        "event_time": (delivery.occurred_at - _EPOCH) // _SECOND,
        "event_id": delivery.id,
        "user": user,
        "properties": properties,
        "app": present(
            app_id=app.bundle if app.platform == "android" else app.bundle.removeprefix("id"),
            app_version=(device.app_version or "").strip() or None,
        ),
        # "Count it, and do not profile by it"; what ATT says is in `att_status`.
        "limited_data_use": (limited and status == "NOT_APPLICABLE")
        or (consent is not None and consent.ad_personalization is False),
    }


def request(items: Sequence[Item], settings: Settings) -> Request:
    """Up to 1,000 event objects in one POST; the sender adds the `Access-Token` header.

    The slash at the end matters: without it TikTok answers 404.
    """
    body: dict[str, Any] = {
        "event_source": "app",
        "event_source_id": settings.app_id,
        "data": list(items),
    }
    if settings.test_event_code:
        body["test_event_code"] = settings.test_event_code
    url = "https://business-api.tiktok.com/open_api/v1.3/event/track/"
    return Request(method="POST", url=url, json=body)


def trial(settings: Settings) -> Trial:
    """A test event carries a code and shows in a tab of its own; TikTok takes one event at a time so."""
    return Trial(
        way="marked",
        look="Events Manager → the app → Test events",
        sees="the event under its name within a few minutes",
        may_count=True,
        code="test_event_code, which the Test events tab shows",
    )


def trial_request(items: Sequence[Item], settings: Settings, code: str) -> Request:
    """The same with the code of the Test events tab."""
    return request(items, msgspec.structs.replace(settings, test_event_code=code))


def classify(response: Response, count: int) -> Sequence[Outcome]:
    """By the code in the body, which TikTok puts above the HTTP status; row by row where rows are named."""
    if response.status == 429:
        return [_slow_down(response, "")] * count
    body = body_json(response)
    code = body.get("code") if isinstance(body, dict) else None
    if type(code) is not int:
        return [_without_code(response)] * count
    message = f"{body.get('message')} {body.get('data') or ''}"
    if code in _INVALID:
        return _rows("invalid_parameter", message, count)
    outcome = _slow_down(response, message) if code in _THROTTLED else _BY_CODE.get(code) or _by_range(code)
    if outcome == Retry("unknown_error") and count > 1:
        outcome = Split("unknown_error")
    return [outcome] * count


def att_status(app: App, device: Device) -> str | None:
    """The ATT answer in TikTok's words; `None` where an iPhone that has ATT did not tell."""
    if app.platform == "android" or before_att(device.os_version):
        return "NOT_APPLICABLE"
    status = device.att_status
    return ATT_STATUS[status] if status is not None and 0 <= status < len(ATT_STATUS) else None


_INVALID = frozenset((20001, 40000, 40002, 40006, 40011))
"""20001 took some rows and not others; the rest took none. All name the rows in the message, if at all."""

_THROTTLED = frozenset((40016, 40100, 40133))

_BY_CODE: Mapping[int, Outcome] = {
    0: Accepted(),
    40050: Accepted(reason="already_known"),
    **dict.fromkeys((40001, 40118, 40119, 40125), Paused("permission_missing")),
    **dict.fromkeys((40101, 40102, 40104, 40105, 40106, 40110, 40113, 40115, 40116), Paused("bad_token")),
    **dict.fromkeys((40007, 40008, 40010, 40051, 41001), Paused("app_not_found")),
    41000: Paused("blocked_for_policy"),
    # Too many calls for this source, or a token that TikTok thinks has leaked: a person must look.
    40132: Paused("token_suspected"),
    **dict.fromkeys((40202, 40700), Retry("platform_conflict")),
    60001: Retry("maintenance", after=timedelta(minutes=15)),
}
"""Codes and their meaning: business-api.tiktok.com, "return codes", read 2026-11-22."""


def _by_range(code: int) -> Outcome:
    return Retry("platform_error") if 50000 <= code <= 59999 else Retry("unknown_error")


def _rows(reason: str, message: str, count: int) -> Sequence[Outcome]:
    """The rows that the message names (`Batch.3.properties…`, counted from 0) are rejected; the others go
    again in halves.

    Whether a message names every bad row is not said. After a partial success the good rows therefore come
    twice, under the name and id that TikTok drops within 48 hours; called accepted, a bad one would be lost.
    """
    named = {int(row) for row in _ROW.findall(message)}
    if count == 1:
        return [Rejected(reason)]
    return [Rejected(reason) if row in named else Split(reason) for row in range(count)]


def _without_code(response: Response) -> Outcome:
    """An answer that is not the API's own: by TikTok's page the request never reached it."""
    status = response.status
    if 200 <= status < 300:
        return Retry("unreadable_answer")
    if status >= 500 and isinstance(outcome := by_status(response), Retry):
        return Retry(outcome.reason, after=outcome.after or SERVER_REST)
    if status in (404, 405):
        return Paused("no_such_endpoint")
    return by_status(response)


def _slow_down(response: Response, message: str) -> Retry:
    """Uncounted; how long follows from the allowance that ran out, for TikTok sends no Retry-After.

    A second's allowance is back in the next second, a minute's after five minutes, a day's at 00:00 UTC,
    told from the answer's `Date` ("rate limits", read 2026-11-22).
    """
    text = message.lower()
    if "qpd" in text or "per day" in text or "daily" in text:
        return Retry("throttled", after=_until_midnight(response), counts=False)
    if "qpm" in text or "per minute" in text:
        return Retry("throttled", after=SERVER_REST, counts=False)
    # No figure: the sender's own growing wait is kinder than a second, should it be another allowance.
    return Retry("throttled", after=_SECOND if "qps" in text else None, counts=False)


def _until_midnight(response: Response) -> timedelta:
    try:
        answered = parsedate_to_datetime(response.headers["date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return timedelta(hours=1)
    midnight = answered.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return midnight - answered


@lru_cache(maxsize=4096)
def _language(locale: str | None) -> str | None:
    """The locale as a BCP 47 tag: `en_PH` is `en-PH`; what is none costs the field."""
    tag = (locale or "").replace("_", "-")
    return tag if _LANGUAGE.fullmatch(tag) else None
