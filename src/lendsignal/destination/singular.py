"""Singular, server-to-server events (EVENT endpoint V1 and V2).

One event a request, as a form, in the order things happened. Times are Unix milliseconds; money is a decimal,
losses included. Every answer is an HTTP 200: the verdict stands in its JSON. Nothing is deduplicated.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import msgspec
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
    public_ipv4,
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
    id_of,
    plain,
)
from lendsignal.model.secret import Secret


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a lender writes in the configuration for Singular.

    `sdk_key`: the account's SDK key, not the key of the reporting API. `app_id`: the app's id in Singular,
    where it is not the package name or bundle identifier. `api`: accounts made on or after 2026-07-15 must
    use V2, which knows an installation by its `singular_sdid` alone; older ones may use V1, by device ids.
    """

    sdk_key: Annotated[Secret, Meta(description="the account's SDK key")]
    app_id: Annotated[
        str | None, Meta(description="the app's id in Singular, where it is not the bundle identifier")
    ] = None
    api: Annotated[
        Literal["v2", "v1"], Meta(description="v1: by device ids, for accounts made before 2026-07-15")
    ] = "v2"


SPEC = Spec(
    name="singular",
    label="Singular",
    docs="https://support.singular.net/hc/en-us/articles/31496864868635-Server-to-Server-EVENT-Endpoint-API-Reference",
    docs_read="2026-11-22",
    hosts=("s2s.singular.net",),
    auth=BodyAuth("a", "sdk_key"),
    any_of_ids=(
        IdKind.SINGULAR_SDID,
        IdKind.GAID,
        IdKind.IDFV,
        IdKind.IDFA,
        IdKind.OAID,
        IdKind.ANDROID_ID,
    ),
    # Singular publishes neither a window nor a rate: both are ours.
    max_age=timedelta(days=7),
    per_second=100,
    negative_value=True,
    # EVENT reference: events come in the order they occurred, retries included. A millisecond is its unit.
    out_of_order="restamp",
    rises=timedelta(milliseconds=1),
)

FIELDS = frozenset(
    "aifa amt andi att_authorization_status country cur custom_user_id "
    "data_sharing_options.limit_data_sharing e.conversion_id i idfa idfv ip is_revenue_event n oaid p "
    "sdid ua umilisec ve".split()
)
"""All that may leave for this platform, as `fields_of` names it; the secret joins last."""

_encoder = msgspec.json.Encoder()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def problem_with_name(name: str) -> str | None:
    """Why Singular would not take this event name, or `None`: 32 characters of ASCII."""
    if not name.strip():
        return "is empty"
    if not name.isascii():
        return "holds characters outside ASCII, which Singular does not take"
    if len(name) > 32:
        return f"has {len(name)} characters; Singular takes 32"
    return None


def encode(delivery: Delivery, settings: Settings) -> Item | Skip:
    """One conversion as Singular's form: every value is text.

    Singular has no field for an id of ours: it stands among the event's attributes as `conversion_id`.
    """
    device, app, value = delivery.device, delivery.app, delivery.value
    ids = _ids(device, app, settings)
    if not ids:
        return Skip(SkipReason.NO_DEVICE_ID)
    form = {
        "p": "iOS" if app.platform == "ios" else "Android",
        "i": settings.app_id or app.identifier,
        "n": delivery.name,
        **ids,
        "umilisec": str((delivery.occurred_at - _EPOCH) // _MILLISECOND),
        "custom_user_id": delivery.user_id,
        "e": _encoder.encode({"conversion_id": delivery.id}).decode(),
    }
    # Singular wants the phone's address, or else its country: never the address of our own server.
    if (ip := public_ipv4(device.ip)) is not None:
        form["ip"] = ip
    else:
        form["country"] = app.country
    if device.os_version:
        form["ve"] = device.os_version
    if device.user_agent:
        form["ua"] = device.user_agent
    if app.platform == "ios" and device.att_status in (0, 1, 2, 3):
        form["att_authorization_status"] = str(device.att_status)
    if value is not None:
        form["amt"] = plain(value.amount)
        form["cur"] = value.currency
        form["is_revenue_event"] = "true"
    if delivery.consent is not None and delivery.consent.ad_user_data is not None:
        form["data_sharing_options"] = _encoder.encode(
            {"limit_data_sharing": not delivery.consent.ad_user_data}
        ).decode()
    return form


def request(items: Sequence[Item], settings: Settings) -> Request:
    """One form in one POST; the sender adds the SDK key as `a`."""
    return Request(method="POST", url=f"https://s2s.singular.net/api/{settings.api}/evt", form=items[0])


def lane(delivery: Delivery, settings: Settings) -> str | None:
    """The installation, or the device under V1: its events come in the order they occurred."""
    ids = _ids(delivery.device, delivery.app, settings)
    return next(iter(ids.values()), None)


def trial(settings: Settings) -> Trial:
    """There is none, and what Singular has once taken cannot be deleted."""
    return Trial(
        way="none",
        instead="Singular has no mode for tests and deletes nothing: take a test app, add your phone under "
        "Developer Tools → Testing Console, and let an event of its user through (a user marked test, "
        "send_test = true)",
    )


def classify(response: Response, count: int) -> Sequence[Outcome]:
    """By `status` and `reason` in the body; anything but a 200 is Singular's own trouble and tried again.

    `ok` says that the event is queued: it proves receipt, not that the event was counted.
    """
    outcome: Outcome
    match response.status:
        case 200:
            outcome = _in_a_200(response)
        case 401 | 403 | 429:
            outcome = by_status(response)
        case status:
            outcome = Retry(f"http_{status}")
    return [outcome] * count


_BY_MARKER: tuple[tuple[str, Outcome], ...] = (
    # What a wrong key is called is not published, so any word of a key counts.
    ("key", Paused("bad_token")),
    ("no device id", Rejected("device_id_missing")),
    ("should have", Rejected("device_id_missing")),
    ("missing", Rejected("missing_field")),
    ("invalid", Rejected("invalid_field")),
)
"""What stands in a `reason` that no further try will change, the narrower first (response codes page)."""


def _in_a_200(response: Response) -> Outcome:
    body = body_json(response)
    status = body.get("status") if isinstance(body, dict) else None
    if status == "ok":
        return Accepted(confirmed=False)
    if status != "error":
        return Retry("unreadable_answer")
    reason = str(body.get("reason", "")).strip().lower()
    if reason == "missing argument: a":  # which is the key
        return Paused("bad_token")
    for marker, outcome in _BY_MARKER:
        if marker in reason:
            return outcome
    return Retry("platform_error")


def _ids(device: Device, app: App, settings: Settings) -> dict[str, str]:
    """V2: the `sdid` alone. V1: the phone's own ids, without the advertising id of who limits tracking."""
    if settings.api == "v2":
        sdid = id_of(device, IdKind.SINGULAR_SDID)
        return {} if sdid is None else {"sdid": sdid}
    limited = limits_tracking(device, app.platform)
    ids: dict[str, str] = {}
    if app.platform == "ios":
        # V1 asks for the IDFV with every event: without it Singular refuses the IDFA too.
        if (idfv := apple_id(device, IdKind.IDFV)) is None:
            return {}
        ids["idfv"] = idfv
        if not limited and (idfa := apple_id(device, IdKind.IDFA)) is not None:
            ids["idfa"] = idfa
        return ids
    if not limited:
        if (gaid := advertising_id(app, device)) is not None:
            ids["aifa"] = gaid
        if (oaid := id_of(device, IdKind.OAID)) is not None:
            ids["oaid"] = oaid
    # Singular wants the Android ID only of phones without Google Play.
    if not ids and (android_id := id_of(device, IdKind.ANDROID_ID)) is not None:
        ids["andi"] = android_id
    return ids
