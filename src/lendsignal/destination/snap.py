"""Snap, Conversions API v3 for app events.

Up to 2,000 events of one Snap App ID a request. Times are Unix seconds; `value` is a number. A refusal may
stand in a 200: the body's `status` decides. A batch with one bad event is taken to be refused whole.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from lendsignal.destination.meta import extinfo, may_track
from lendsignal.destination.spec import (
    Item,
    QueryAuth,
    Request,
    Response,
    Spec,
    Trial,
    advertising_id,
    apple_id,
    body_json,
    by_status,
    present,
    public_ip,
)
from lendsignal.model import (
    Accepted,
    App,
    Delivery,
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
    """What a lender writes in the configuration for Snap.

    `snap_app_id`: the Snap App ID of Events Manager. `site`: the page that events are said to come from;
    the app's page in its store by default. `validate`: ask Snap's validator, which records nothing.
    `test_event_code`: shows the events in the test tool; never in production.
    """

    snap_app_id: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9-]+$",
            description="the Snap App ID of Events Manager",
            examples=["0b61a2f4-5c7d-4e19-9f3a-8d2e6b7c1405"],
        ),
    ]
    token: Annotated[Secret, Meta(description="the Conversions API token")]
    site: Annotated[
        Annotated[str, Meta(pattern=r"^https://[^\s]+$")] | None,
        Meta(description="your site; the app's page in its store by default"),
    ] = None
    validate: Annotated[bool, Meta(description="ask Snap's validator; nothing is recorded")] = False
    test_event_code: Annotated[str | None, Meta(description="shows events in the test tool")] = None


SPEC = Spec(
    name="snap",
    label="Snap",
    docs="https://developers.snap.com/api/marketing-api/Conversions-API/UsingTheAPI",
    docs_read="2026-11-22",
    hosts=("tr.snapchat.com",),
    auth=QueryAuth("access_token", "token"),
    # An advertising id, a contact, or address and user agent together: `encode` looks.
    any_of_ids=(),
    max_age=timedelta(days=37),
    per_second=10,
    batch=2000,
    # Snap publishes no size; a connector (Tealium) stays below 2 MB.
    max_bytes=2_000_000,
    # Ten requests a second are few: a moment's company saves most of them.
    linger=timedelta(seconds=1),
    # An id is told apart for 48 hours in reports; that a repeated request has no effect is not promised.
    dedupe=None,
)

FIELDS = frozenset(
    "data[].action_source data[].app_data.advertiser_tracking_enabled data[].app_data.app_id "
    "data[].app_data.application_tracking_enabled data[].app_data.extinfo[] "
    "data[].custom_data.currency data[].custom_data.order_id data[].custom_data.value "
    "data[].data_processing_options[] data[].event_id data[].event_name data[].event_source_url "
    "data[].event_time data[].user_data.client_ip_address data[].user_data.client_user_agent "
    "data[].user_data.em[] data[].user_data.external_id[] data[].user_data.idfv "
    "data[].user_data.madid data[].user_data.ph[] data[].user_data.sc_click_id test_event_code".split()
)
"""All that may leave for this platform, as `fields_of` names it; the secret joins last."""

STANDARD_EVENTS = frozenset(
    "ACHIEVEMENT_UNLOCKED ADD_BILLING ADD_CART ADD_TO_WISHLIST AD_CLICK AD_VIEW APP_INSTALL APP_OPEN "
    "COMPLETE_TUTORIAL CUSTOM_EVENT_1 CUSTOM_EVENT_2 CUSTOM_EVENT_3 CUSTOM_EVENT_4 CUSTOM_EVENT_5 INVITE "
    "LEVEL_COMPLETE LIST_VIEW LOGIN PAGE_VIEW PURCHASE RATE RESERVE SAVE SEARCH SHARE SIGN_UP SPENT_CREDITS "
    "SPEND_CREDITS START_CHECKOUT START_TRIAL SUBSCRIBE VIEW_CONTENT".split()
)
"""The names Snap lists. It knows no names of the lender's own: that is what `CUSTOM_EVENT_1` to `_5` are."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)

_hashed = lru_cache(maxsize=65_536)(digest)
"""SHA-256 of a user id, kept: a user's loans follow one another, and hashing is most of an encode."""


def problem_with_name(name: str) -> str | None:
    """Why Snap would not take this event name, or `None`."""
    if not name.strip():
        return "is empty"
    if name in STANDARD_EVENTS:
        return None
    if name.upper() in STANDARD_EVENTS:
        return f"is not how Snap spells {name.upper()}"
    return "is none of Snap's events; for events of your own it has CUSTOM_EVENT_1 to CUSTOM_EVENT_5"


def encode(delivery: Delivery, settings: Settings) -> Item | Skip:
    """One conversion as Snap's event object.

    Skipped where nothing in it could be matched (no advertising id, no contact, and not both address and
    user agent), and for a user who does not let ad platforms have data.
    """
    device, app, consent = delivery.device, delivery.app, delivery.consent
    if consent is not None and consent.ad_user_data is False:
        return Skip(SkipReason.NO_CONSENT)
    user: dict[str, Any] = {}
    if (madid := advertising_id(app, device)) is not None:
        user["madid"] = madid
    if (contact := delivery.contact) is not None:
        if contact.email is not None:
            user["em"] = [contact.email]
        if contact.phone_digits is not None:
            user["ph"] = [contact.phone_digits]
    ip, agent = public_ip(device.ip), (device.user_agent or "").strip()
    if not user and not (ip and agent):
        return Skip(SkipReason.NO_DEVICE_ID)
    if ip:
        user["client_ip_address"] = ip
    if agent:
        user["client_user_agent"] = agent
    if app.platform == "ios" and (vendor := apple_id(device, IdKind.IDFV)) is not None:
        user["idfv"] = vendor
    if device.sc_click_id:
        user["sc_click_id"] = device.sc_click_id
    user["external_id"] = [_hashed(delivery.user_id)]
    personal = consent is None or consent.ad_personalization is not False
    return present(
        event_name=delivery.name,
        event_time=(delivery.occurred_at - _EPOCH) // _SECOND,
        event_id=delivery.id,
        action_source="MOBILE_APP",
        event_source_url=settings.site or store_page(app),
        app_data={
            "app_id": app.bundle if app.platform == "android" else app.bundle.removeprefix("id"),
            "advertiser_tracking_enabled": int(may_track(app, device)),
            "application_tracking_enabled": int(personal),
            # The 16 places are Meta's, in Meta's order ("parameters", app data).
            "extinfo": extinfo(app, device),
        },
        user_data=user,
        custom_data={"order_id": delivery.id, **_money(delivery)},
        # "Limited data use": counted, and not learned from.
        data_processing_options=None if personal else ["LDU"],
    )


def request(items: Sequence[Item], settings: Settings) -> Request:
    """Up to 2,000 event objects in one POST; the sender adds the token to the query."""
    path = "events/validate" if settings.validate else "events"
    body = present(data=list(items), test_event_code=settings.test_event_code)
    url = f"https://tr.snapchat.com/v3/{settings.snap_app_id}/{path}"
    return Request(method="POST", url=url, json=body)


def trial(settings: Settings) -> Trial:
    """A test event carries a code and shows in the test tool."""
    return Trial(
        way="marked",
        look="Events Manager → the Snap App ID → Test events",
        sees="the event under its name within a few minutes",
        may_count=True,
        code="test_event_code, which the test tool of Events Manager shows",
    )


def trial_request(items: Sequence[Item], settings: Settings, code: str) -> Request:
    """The same with the code of the test tool, and not to the validator, which would show nothing there."""
    return request(items, msgspec.structs.replace(settings, test_event_code=code, validate=False))


def validation_request(items: Sequence[Item], settings: Settings) -> Request:
    """The same for Snap's validator, which says of each row what is wrong with it and keeps none."""
    return request(items, msgspec.structs.replace(settings, validate=True))


def problems_found(response: Response) -> tuple[str, ...] | None:
    """What the validator found wrong, a line each: empty for nothing; `None` where the answer tells nothing.

    A refusal of the whole request names its reasons in `errors.error_msgs`, one of a row in `event_logs`.
    """
    body = body_json(response)
    if not isinstance(body, dict) or body.get("status") not in ("VALID", "INVALID"):
        return None
    found = list(_said(body, ""))
    logs = body.get("event_logs")
    for log in logs if isinstance(logs, list) else ():
        if isinstance(log, dict):
            found += _said(log, f"data[{log.get('event')}]: ")
    if not found and body["status"] == "INVALID":
        found.append(str(body.get("reason") or "refused without a reason"))
    return tuple(found)


def classify(response: Response, count: int) -> Sequence[Outcome]:
    """By the body's `status`, whatever the HTTP status; the validator answers row by row."""
    status = response.status
    if status in (401, 403, 429) or status >= 500:
        return [by_status(response)] * count
    if status in (404, 405):
        return [Paused("no_such_endpoint")] * count
    body = body_json(response)
    verdict = body.get("status") if isinstance(body, dict) else None
    if verdict == "INVALID":
        return _refused("invalid_event", _named(body), count)
    if verdict == "VALID" and status < 300:
        validated = isinstance(body.get("event_logs"), list)
        return [Accepted(False, "validated_not_recorded") if validated else Accepted()] * count
    if status < 300 or not isinstance(body, dict):
        return [Retry("unreadable_answer")] * count
    outcome = by_status(response)
    return _refused(outcome.reason, (), count) if isinstance(outcome, Rejected) else [outcome] * count


def store_page(app: App) -> str:
    """The app's page in its store: Snap wants a web address with every event, and this one never changes."""
    if app.platform == "android":
        return f"https://play.google.com/store/apps/details?id={app.bundle}"
    return f"https://apps.apple.com/app/{app.bundle}"


def _money(delivery: Delivery) -> dict[str, Any]:
    """Value and currency together, or neither; a loss is not told.

    Snap refuses a `PURCHASE` without them: one that has no value is worth 0 in the app's currency, so that
    it is counted all the same.
    """
    value = delivery.value
    if value is not None and value.amount >= 0:
        return {"value": float(value.amount), "currency": value.currency}
    return {"value": 0.0, "currency": delivery.app.currency} if delivery.name == "PURCHASE" else {}


def _named(body: dict[str, Any]) -> Sequence[Any]:
    """The rows that an answer calls bad, counted from 0: by `event`, or by the validator's `event_logs`."""
    logs = body.get("event_logs")
    if not isinstance(logs, list):
        return [body.get("event")]
    return [log.get("event") for log in logs if isinstance(log, dict) and log.get("status") == "INVALID"]


def _said(refusal: dict[str, Any], place: str) -> Iterator[str]:
    """The reasons in a refusal: a list of errors for a row, parallel lists for a whole request."""
    errors = refusal.get("errors")
    if isinstance(errors, dict):
        messages = errors.get("error_msgs")
        errors = [{"error_msg": message} for message in messages] if isinstance(messages, list) else []
    for error in errors if isinstance(errors, list) else ():
        text = error.get("error_msg") or error.get("code") if isinstance(error, dict) else error
        yield f"{place}{text}"


def _refused(reason: str, named: Sequence[Any], count: int) -> Sequence[Outcome]:
    """The named rows are rejected; the others were refused with them, and go again in halves."""
    if count == 1:
        return [Rejected(reason)]
    bad = {row for row in named if type(row) is int}
    return [Rejected(reason) if row in bad else Split(reason) for row in range(count)]
