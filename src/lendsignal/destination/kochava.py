"""Kochava, server-to-server post-install events.

One JSON object a request. Times are Unix seconds; money is a number, losses included. Kochava knows the
sender by the app GUID alone and publishes neither a window, a rate nor the form of its errors.
"""

from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Any
from urllib.parse import quote

from msgspec import Meta, Struct

from lendsignal.destination.spec import (
    BodyAuth,
    Item,
    Request,
    Response,
    Spec,
    Trial,
    advertising_id,
    apple_id,
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
    Rejected,
    Retry,
    Skip,
    SkipReason,
    id_of,
)
from lendsignal.model.secret import Secret


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a lender writes in the configuration for Kochava.

    `app_guid`: the app's GUID. Whoever knows it can send events, so it is kept like a secret.
    """

    app_guid: Annotated[Secret, Meta(description="the app's GUID in Kochava")]


SPEC = Spec(
    name="kochava",
    label="Kochava",
    docs="https://support.kochava.com/server-to-server-integration/post-install-event-setup",
    docs_read="2026-11-22",
    hosts=("control.kochava.com",),
    auth=BodyAuth("kochava_app_id", "app_guid"),
    # `kochava_device_id` goes along, but Kochava wants at least one of the phone's own ids.
    any_of_ids=(IdKind.GAID, IdKind.IDFA, IdKind.IDFV, IdKind.ANDROID_ID),
    # Kochava publishes neither a window nor a rate: both are ours.
    max_age=timedelta(days=7),
    per_second=100,
    negative_value=True,
)

FIELDS = frozenset(
    "action data.app_tracking_transparency.att data.app_version data.currency data.device_ids.adid "
    "data.device_ids.android_id data.device_ids.idfa data.device_ids.idfv data.device_ua "
    "data.device_ver data.event_data.order_id data.event_data.sum data.event_data.user_id "
    "data.event_name data.origination_ip data.usertime kochava_device_id".split()
)
"""All that may leave for this platform, as `fields_of` names it; the secret joins last."""


def problem_with_name(name: str) -> str | None:
    """Why Kochava would not take this event name, or `None`: anything but blank will do."""
    return None if name.strip() else "is empty"


def encode(delivery: Delivery, settings: Settings) -> Item | Skip:
    """One conversion as Kochava's event object, without the app's GUID.

    The conversion id is `order_id` of the event's own data, as Kochava's purchase event has it.
    """
    device, app, value = delivery.device, delivery.app, delivery.value
    ids = _ids(device, app)
    if not ids:
        return Skip(SkipReason.NO_DEVICE_ID)
    event: dict[str, Any] = {"order_id": delivery.id, "user_id": delivery.user_id}
    if value is not None:
        event["sum"] = float(value.amount)
    data = present(
        event_name=delivery.name,
        usertime=int(delivery.occurred_at.timestamp()),
        device_ids=ids,
        origination_ip=public_ip(device.ip),
        device_ua=_escaped(device.user_agent) if device.user_agent else None,
        device_ver=_device_ver(device, app),
        app_version=device.app_version or None,
        currency=None if value is None else value.currency,
        event_data=event,
        app_tracking_transparency=_att(device, app),
    )
    # Empty is allowed where the phone's ids are always there and the SDK has sent the install.
    own_id = id_of(device, IdKind.KOCHAVA_DEVICE_ID) or ""
    return {"action": "event", "kochava_device_id": own_id, "data": data}


def request(items: Sequence[Item], settings: Settings) -> Request:
    """One event in one POST, over TLS although Kochava's page writes http; the sender adds the app's GUID."""
    return Request(method="POST", url="https://control.kochava.com/track/json", json=items[0])


def trial(settings: Settings) -> Trial:
    """There is none."""
    return Trial(
        way="none",
        instead="Kochava has no mode for tests: make a second app for them, put its GUID into a destination "
        "of its own, and let an event of your own phone through",
    )


def classify(response: Response, count: int) -> Sequence[Outcome]:
    """By status, and within a 2xx by `success`. No official page shows the body of either answer."""
    outcome = _by_success(response) if 200 <= response.status < 300 else by_status(response)
    return [outcome] * count


def _by_success(response: Response) -> Outcome:
    body = body_json(response)
    if not isinstance(body, dict):
        if response.body.strip():
            return Retry("unreadable_answer")
        return Accepted(confirmed=False, reason="unexpected_answer")
    if "success" not in body:
        return Rejected("refused") if "error" in body else Accepted(False, "unexpected_answer")
    return Accepted() if body["success"] in (1, "1", "true") else Rejected("refused")


def _ids(device: Device, app: App) -> dict[str, str]:
    """The phone's own ids by Kochava's names: `adid` is the GAID.

    Kochava has a word for what an iOS user allows (`app_tracking_transparency`) and none for Android: there
    the advertising id of a user who limits ad tracking stays at home.
    """
    ids: dict[str, str] = {}
    if app.platform == "ios":
        if (idfa := apple_id(device, IdKind.IDFA)) is not None:
            ids["idfa"] = idfa
        if (idfv := apple_id(device, IdKind.IDFV)) is not None:
            ids["idfv"] = idfv
        return ids
    if not limits_tracking(device, app.platform) and (gaid := advertising_id(app, device)) is not None:
        ids["adid"] = gaid
    if (android_id := id_of(device, IdKind.ANDROID_ID)) is not None:
        ids["android_id"] = android_id
    return ids


def _device_ver(device: Device, app: App) -> str:
    """`<device>-<os_name>-<os_version>`; empty, which Kochava allows, where the version is unknown.

    The parts are told apart by their hyphens, so a model's own (`SM-A145F`) becomes an underscore.
    """
    if not device.os_version:
        return ""
    system = "iOS" if app.platform == "ios" else "Android"
    model = (device.model or "unknown").replace("-", "_")
    return f"{model}-{system}-{device.os_version}"


def _att(device: Device, app: App) -> dict[str, bool] | None:
    """What the user answered on iOS; unsaid, Kochava takes it as a no and drops the IDFA.

    Before iOS 14.5 nobody is asked, and the phone's own switch answers.
    """
    if app.platform != "ios":
        return None
    limited = limits_tracking(device, "ios")
    return None if limited is None else {"att": not limited}


@lru_cache(maxsize=4096)
def _escaped(user_agent: str) -> str:
    return quote(user_agent, safe="")
