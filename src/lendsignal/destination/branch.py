"""Branch, server-to-server events (v2, standard and custom).

One JSON object a request. No time is said: Branch counts an event when it arrives, so a late one is not sent.
Revenue is a number and reaches ad partners on standard commerce events only; a loss cannot be said.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

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
    """What a lender writes in the configuration for Branch.

    `branch_key`: the app's key, `key_live_…`, or `key_test_…` for Branch's test environment.
    """

    branch_key: Annotated[Secret, Meta(description="the app's Branch key, `key_live_…`")]


SPEC = Spec(
    name="branch",
    label="Branch",
    docs="https://help.branch.io/apidocs/logstandardevents",
    docs_read="2026-11-22",
    hosts=("api2.branch.io",),
    auth=BodyAuth("branch_key", "branch_key"),
    any_of_ids=(IdKind.GAID, IdKind.IDFA, IdKind.IDFV, IdKind.ANDROID_ID, IdKind.OAID),
    # Branch has no window: what comes late is counted on the day it comes. Six hours is ours, so that an
    # event is rather missing than on the wrong day.
    max_age=timedelta(hours=6),
    # The limit of an app is private; 429 tells.
    per_second=100,
)

FIELDS = frozenset(
    "custom_data.conversion_id custom_data.currency custom_data.value customer_event_alias "
    "event_data.currency event_data.revenue event_data.transaction_id name user_data.aaid "
    "user_data.advertising_ids.oaid user_data.android_id user_data.app_version user_data.country "
    "user_data.developer_identity user_data.disable_ad_network_callouts "
    "user_data.dma_ad_personalization user_data.dma_ad_user_data user_data.dma_eea "
    "user_data.environment user_data.idfa user_data.idfv user_data.ip user_data.limit_ad_tracking "
    "user_data.model user_data.os user_data.os_version user_data.user_agent".split()
)
"""All that may leave for this platform, as `fields_of` names it; the secret joins last."""

STANDARD = frozenset(
    "ADD_TO_CART ADD_TO_WISHLIST VIEW_CART INITIATE_PURCHASE ADD_PAYMENT_INFO CLICK_AD PURCHASE "
    "SPEND_CREDITS VIEW_AD SEARCH VIEW_ITEM VIEW_ITEMS RATE SHARE INITIATE_STREAM COMPLETE_STREAM "
    "COMPLETE_REGISTRATION COMPLETE_TUTORIAL ACHIEVE_LEVEL UNLOCK_ACHIEVEMENT INVITE LOGIN START_TRIAL "
    "SUBSCRIBE".split()
)
"""Branch's standard events; every other name is a custom event, whose revenue reaches no ad partner."""


def problem_with_name(name: str) -> str | None:
    """Why Branch would not take this name, or `None`.

    `PURCHASE` is the standard event, `PURCHASE:ev_fl` the same under an alias, `ev_fl` a custom event.
    """
    event, colon, alias = name.partition(":")
    if not event.strip() or (colon and not alias.strip()):
        return "is empty before or after its colon" if colon else "is empty"
    if colon and event not in STANDARD:
        return f"has an alias, which only standard events such as PURCHASE take, not {event}"
    if event not in STANDARD and event.upper() in STANDARD:
        return f"would be a custom event; the standard one is {event.upper()}"
    return None


def encode(delivery: Delivery, settings: Settings) -> Item | Skip:
    """One conversion as `{"kind", "body"}`: the kind stands in the address, the event in the body.

    A custom event has no field for money: its value stands in `custom_data`, as text, for Branch's own
    reports. A value below zero is left out and the event still sent.
    """
    user = _user_data(delivery)
    if user is None:
        return Skip(SkipReason.NO_DEVICE_ID)
    value = delivery.value if delivery.value is not None and delivery.value.amount >= 0 else None
    event, _, alias = delivery.name.partition(":")
    body: dict[str, Any] = {"name": event, "user_data": user}
    custom = {"conversion_id": delivery.id}
    if event in STANDARD:
        if alias:
            body["customer_event_alias"] = alias
        body["event_data"] = present(
            transaction_id=delivery.id,
            currency=None if value is None else value.currency,
            revenue=None if value is None else float(value.amount),
        )
    elif value is not None:
        custom |= {"value": plain(value.amount), "currency": value.currency}
    body["custom_data"] = custom
    return {"kind": "standard" if event in STANDARD else "custom", "body": body}


def request(items: Sequence[Item], settings: Settings) -> Request:
    """One event in one POST; the sender adds `branch_key` to the body."""
    item = items[0]
    return Request(method="POST", url=f"https://api2.branch.io/v2/event/{item['kind']}", json=item["body"])


def trial(settings: Settings) -> Trial:
    """Not by a mark: Branch's test environment has a key of its own."""
    return Trial(
        way="none",
        instead="Branch's test environment has a key of its own (key_test_…): make a second destination with "
        "it, send an event of your own phone there, and switch the dashboard to Test",
    )


def classify(response: Response, count: int) -> Sequence[Outcome]:
    """By status; Branch's 200 is a real yes, with `branch_view_enabled` or a hint for the app in it."""
    outcome: Outcome
    match response.status:
        case status if 200 <= status < 300:
            outcome = _taken(response)
        case 400:
            # The form of a 400 is not published: one that speaks of the key is the set-up, not the event.
            about_the_key = b"key" in response.body.lower() and b"branch" in response.body.lower()
            outcome = Paused("bad_token") if about_the_key else Rejected("http_400")
        case _:
            outcome = by_status(response)
    return [outcome] * count


_SAID_IN_A_YES = frozenset(("branch_view_enabled", "update_conversion_value", "coarse_key"))


def _taken(response: Response) -> Outcome:
    body = body_json(response)
    if not isinstance(body, dict):
        return Retry("unreadable_answer")
    if _SAID_IN_A_YES & body.keys():
        return Accepted()
    return Accepted(confirmed=False, reason="unexpected_answer")


def _user_data(delivery: Delivery) -> dict[str, Any] | None:
    """Who it was, by one login's ids; `None` where none of them names a device.

    `developer_identity` is what the app told Branch's `setIdentity`, or the lender's own user id.
    """
    device, app = delivery.device, delivery.app
    ids = _ids(app, device)
    if not ids:
        return None
    user: dict[str, Any] = {
        "os": "iOS" if app.platform == "ios" else "Android",
        "environment": "FULL_APP",
        **ids,
        "developer_identity": id_of(device, IdKind.BRANCH_IDENTITY) or delivery.user_id,
        "country": app.country,
    }
    if device.os_version:
        user["os_version"] = device.os_version
    if device.app_version:
        user["app_version"] = device.app_version
    if device.model:
        user["model"] = device.model
    if device.user_agent:
        user["user_agent"] = device.user_agent
    if (ip := public_ip(device.ip)) is not None:
        user["ip"] = ip
    if (limited := limits_tracking(device, app.platform)) is not None:
        user["limit_ad_tracking"] = limited
    if delivery.consent is not None:
        user.update(_consent(delivery.consent))
    return user


def _ids(app: App, device: Device) -> dict[str, Any]:
    if app.platform == "ios":
        return present(idfa=apple_id(device, IdKind.IDFA), idfv=apple_id(device, IdKind.IDFV))
    oaid = id_of(device, IdKind.OAID)
    return present(
        aaid=advertising_id(app, device),
        android_id=id_of(device, IdKind.ANDROID_ID),
        advertising_ids=None if oaid is None else {"oaid": oaid},
    )


def _consent(consent: Consent) -> dict[str, Any]:
    """The three DMA fields; a user who refuses is passed on to no network at all.

    Where European law applies Branch wants both answers: one that was never given is no consent.
    """
    silence = False if consent.gdpr_applies else None
    return present(
        dma_eea=consent.gdpr_applies,
        dma_ad_user_data=silence if consent.ad_user_data is None else consent.ad_user_data,
        dma_ad_personalization=silence if consent.ad_personalization is None else consent.ad_personalization,
        disable_ad_network_callouts=True if consent.ad_user_data is False else None,
    )
