"""Adjust, server-to-server events.

One event a request, as a form. Times are Unix seconds and must rise for a device and event token; revenue is
a decimal in full units of its currency, never zero or less. Only 200 with `OK` is a yes: 202 is a refusal.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal
from urllib.parse import urlencode

import msgspec
from msgspec import Meta, Struct

from lendsignal.destination.spec import (
    Bearer,
    Erasing,
    Item,
    Request,
    Response,
    Spec,
    Subject,
    Trial,
    advertising_id,
    apple_id,
    before_att,
    body_json,
    by_status,
    limits_tracking,
    public_ipv4,
)
from lendsignal.model import (
    Accepted,
    App,
    Consent,
    Delivery,
    Device,
    IdKind,
    Outcome,
    Paused,
    Rejected,
    Retry,
    Skip,
    SkipReason,
    id_of,
    plain,
)
from lendsignal.model.secret import Secret


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a lender writes in the configuration for Adjust.

    `app_id`: what Adjust calls the app token; it is no secret, every installation of the app holds it.
    `token`: the token of Adjust's S2S Security, where that is switched on. `environment = "sandbox"`: events
    show in Adjust's sandbox and reach no network.
    """

    app_id: Annotated[
        str,
        Meta(pattern="^[A-Za-z0-9]{12}$", description="Adjust's app token", examples=["4w565xzmb54d"]),
    ]
    token: Annotated[Secret | None, Meta(description="the token of S2S Security, where it is on")] = None
    environment: Annotated[
        Literal["production", "sandbox"], Meta(description="where Adjust counts the events")
    ] = "production"


SPEC = Spec(
    name="adjust",
    label="Adjust",
    docs="https://dev.adjust.com/en/api/s2s-api/events",
    docs_read="2026-11-22",
    hosts=("s2s.adjust.com",),
    auth=Bearer("token", optional=True),
    any_of_ids=(
        IdKind.ADJUST_ADID,
        IdKind.GAID,
        IdKind.IDFA,
        IdKind.IDFV,
        IdKind.OAID,
        IdKind.ANDROID_ID,
    ),
    # Events page: anything older is refused.
    max_age=timedelta(days=58),
    # No figure is published for events.
    per_second=100,
    max_bytes=1_000_000,
    # Events page: an event whose time is before one already taken for its device and token is refused.
    out_of_order="restamp",
    rises=timedelta(seconds=1),
    # A quarter of an hour apart, so for some seven hours: the SDK's first session may still be on its way.
    tries_on={"device_not_found": 30},
)

FIELDS = frozenset(
    "ad_personalization ad_user_data adid android_id app_token att_status "
    "callback_params.conversion_id callback_params.user_id created_at_unix currency deduplication_id "
    "eea environment event_token gps_adid idfa idfv ip_address oaid os_name os_version revenue s2s "
    "tracking_enabled user_agent".split()
)
"""All that may leave for this platform, as `fields_of` names it; the secret joins last."""

LEAST_REVENUE, MOST_REVENUE = Decimal("0.001"), Decimal(100_000_000_000)
"""What Adjust takes as revenue (events page, and the response table for the upper end)."""

_encoder = msgspec.json.Encoder()
_EVENT_TOKEN = re.compile(r"[A-Za-z0-9]{6}")
_ADID = re.compile(r"[0-9a-fA-F]{32}")


def problem_with_name(name: str) -> str | None:
    """Why Adjust cannot know this event token, or `None`: every one in its documents is six characters."""
    if not name:
        return "is empty"
    if not _EVENT_TOKEN.fullmatch(name):
        return "is not the six letters and digits of an Adjust event token"
    return None


def encode(delivery: Delivery, settings: Settings) -> Item | Skip:
    """One conversion as Adjust's form: every value is text, the route's name is the event token.

    The conversion id comes back in raw data and callbacks as the callback parameter `conversion_id`. An
    amount that Adjust refuses (zero, a loss, more than 100 billion) is left out and the event still sent.
    """
    device, app, value = delivery.device, delivery.app, delivery.value
    ids = _ids(device, app)
    if not ids:
        return Skip(SkipReason.NO_DEVICE_ID)
    form = {
        "s2s": "1",
        "app_token": settings.app_id,
        "event_token": delivery.name,
        "os_name": app.platform,
        **ids,
        "created_at_unix": str(int(delivery.occurred_at.timestamp())),
        "environment": settings.environment,
        "callback_params": _encoder.encode(
            {"conversion_id": delivery.id, "user_id": delivery.user_id}
        ).decode(),
        # The SDK's own name for it; whether the server drops repeats by it is nowhere said.
        "deduplication_id": delivery.id,
    }
    if value is not None and LEAST_REVENUE <= value.amount <= MOST_REVENUE:
        form["revenue"] = plain(value.amount)
        form["currency"] = value.currency
    if (ip := public_ipv4(device.ip)) is not None:
        form["ip_address"] = ip
    if device.user_agent:
        form["user_agent"] = device.user_agent
    if device.os_version:
        form["os_version"] = device.os_version
    if app.platform == "ios":
        form.update(_ios_tracking(device))
    if delivery.consent is not None:
        form.update(_consent(delivery.consent))
    return form


def request(items: Sequence[Item], settings: Settings) -> Request:
    """One form in one POST; the sender adds `Authorization` where S2S Security is used."""
    return Request(method="POST", url="https://s2s.adjust.com/event", form=items[0])


def lane(delivery: Delivery, settings: Settings) -> str | None:
    """Device and event token: the pair whose times must rise."""
    ids = _ids(delivery.device, delivery.app)
    return f"{next(iter(ids.values()))} {delivery.name}" if ids else None


_BY_MESSAGE: Mapping[str, Outcome] = {
    # A token that is "unique" in the dashboard counts once for a device: the device's first was taken.
    "ignoring event, earlier unique event tracked": Accepted(reason="unique_event_known"),
    "bad event state": Rejected("bad_event_state"),
    "invalid app token": Paused("app_not_found"),
    "app token not found": Paused("app_not_found"),
    "invalid event token": Rejected("invalid_event_token"),
    "invalid callback parameters": Rejected("invalid_field"),
    "invalid revenue": Rejected("invalid_value"),
    "missing authentication token": Paused("bad_token"),
    "wrong authentication token": Paused("bad_token"),
    "failed to authorize request": Paused("bad_token"),
    "session failed": Paused("permission_missing"),
    "app is inactive": Paused("app_inactive"),
    "tracking disabled": Paused("tracking_disabled"),
    # One token of the app, not the app: the other conversions go on.
    "event token blocklisted": Rejected("event_blocklisted"),
    "device not found": Retry("device_not_found", after=timedelta(minutes=15)),
    "request size too large": Rejected("too_large"),
    "device is opted out": Rejected("opted_out"),
}


def trial(settings: Settings) -> Trial:
    """A test event goes to Adjust's sandbox environment, which tells no network."""
    return Trial(
        way="marked",
        look="Datascape, the app's data with the sandbox switch on",
        sees="the event token with one event more within minutes; only for a device that Adjust knows from "
        "the sandbox build of the app, so give your own phone's id",
    )


def trial_request(items: Sequence[Item], settings: Settings, code: str) -> Request:
    """The same in the sandbox environment."""
    return request([{**items[0], "environment": "sandbox"}], settings)


def classify(response: Response, count: int) -> Sequence[Outcome]:
    """By the message in the body, which tells a wrong set-up from a wrong event.

    Two official pages disagree on a missing or wrong token, 202 on one and 401 on the other: both pause.
    """
    outcome: Outcome
    match response.status:
        case 200:
            outcome = _in_a_200(response)
        case 202:
            outcome = _BY_MESSAGE.get(_message(response)) or Paused("bad_token")
        case status if 400 <= status < 500 and status != 429:
            outcome = _BY_MESSAGE.get(_message(response)) or by_status(response)
        case _:
            outcome = by_status(response)
    return [outcome] * count


ERASING = Erasing(
    docs="https://dev.adjust.com/en/api/s2s-api/data-erasure-api",
    docs_read="2026-11-22",
    hosts=("gdpr.adjust.com",),
    auth=Bearer("token", optional=True),
    per_minute=10,
)
"""One device of one app a request; it cannot be undone, and Adjust takes nothing of the device any more."""

FORGETTABLE = ("adid", "gps_adid", "idfa", "idfv")
"""The ids of `_ids` that the erasure page takes."""


def no_erasure(settings: Settings) -> str | None:
    """Nothing stands in the way."""
    return None


def erasure_id(app: App, device: Device) -> tuple[str, str] | None:
    """The id that names the device best among those that the call takes."""
    ids = _ids(device, app)
    return next(((name, ids[name]) for name in FORGETTABLE if name in ids), None)


def erasure(subject: Subject, settings: Settings) -> Request:
    """All of it stands in the address: the page lists query parameters alone."""
    query = urlencode({"s2s": "1", "app_token": settings.app_id, subject.kind: subject.value})
    return Request(
        method="POST", url=f"https://gdpr.adjust.com/gdpr_forget_device?{query}", key=subject.request
    )


def erased(response: Response) -> Outcome:
    """200: received and processed. 451 is what a device gets that Adjust has forgotten already."""
    match response.status:
        case 200:
            return Accepted()
        case 451:
            return Accepted(reason="forgotten_before")
        case 429:
            # The page's own figure is ten a minute.
            return Retry("throttled", after=timedelta(minutes=1), counts=False)
        case _:
            return by_status(response)


def _in_a_200(response: Response) -> Outcome:
    """`{"status":"OK"}`; on iOS there may be more in it, for the app's own use."""
    body = body_json(response)
    said = body.get("status") if isinstance(body, dict) else response.body[:20].decode("utf-8", "replace")
    if isinstance(said, str) and said.strip(' "\r\n').lower() == "ok":
        return Accepted()
    if not isinstance(body, dict):
        return Retry("unreadable_answer")
    if "error" in body:
        return _BY_MESSAGE.get(_message(response)) or Rejected("refused")
    return Accepted(confirmed=False, reason="unexpected_answer")


def _message(response: Response) -> str:
    """The part in brackets of `Event request failed (…)`, in lower case; a bare text as it is."""
    body = body_json(response)
    error = body.get("error") if isinstance(body, dict) else None
    text = error if isinstance(error, str) else response.body[:200].decode("utf-8", "replace")
    _, _, bracket = text.partition("(")
    return (bracket.partition(")")[0] or text).strip(' "\r\n').lower()


def _ids(device: Device, app: App) -> dict[str, str]:
    """The device's ids by Adjust's names, the one that names it best first.

    Adjust has no word for an Android user who limits ad tracking: the advertising id stays at home then.
    """
    ids: dict[str, str] = {}
    adid = id_of(device, IdKind.ADJUST_ADID)
    if adid is not None and _ADID.fullmatch(adid):
        ids["adid"] = adid.lower()
    if app.platform == "ios":
        if (idfa := apple_id(device, IdKind.IDFA)) is not None:
            ids["idfa"] = idfa
        if (idfv := apple_id(device, IdKind.IDFV)) is not None:
            ids["idfv"] = idfv
        return ids
    if not device.limit_ad_tracking:
        if (gaid := advertising_id(app, device)) is not None:
            ids["gps_adid"] = gaid
        if (oaid := id_of(device, IdKind.OAID)) is not None:
            ids["oaid"] = oaid
    if (android_id := id_of(device, IdKind.ANDROID_ID)) is not None:
        ids["android_id"] = android_id.lower().replace("-", "")
    return ids


def _ios_tracking(device: Device) -> dict[str, str]:
    """`att_status`, or before iOS 14.5 `tracking_enabled`: never both (events page)."""
    if device.att_status in (0, 1, 2, 3) and not before_att(device.os_version):
        return {"att_status": str(device.att_status)}
    limited = limits_tracking(device, "ios")
    return {} if limited is None else {"tracking_enabled": "0" if limited else "1"}


def _consent(consent: Consent) -> dict[str, str]:
    """What Google asks of Adjust for users in the EEA, each 0 or 1; what was not asked is left out."""
    said = {
        "eea": consent.gdpr_applies,
        "ad_user_data": consent.ad_user_data,
        "ad_personalization": consent.ad_personalization,
    }
    return {name: "1" if yes else "0" for name, yes in said.items() if yes is not None}
