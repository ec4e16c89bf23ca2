"""Google App Conversion Tracking and Remarketing API: app events for App campaigns, by advertising id.

One event a request, in the query of its address. Times are Unix seconds with six decimals; money is a
decimal number in text. Google answers 200 with a list of errors, drops no repeats, and says whether one of
its ads brought the user.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Any
from urllib.parse import urlencode

from msgspec import Meta, Struct

from lendsignal.destination.spec import (
    Hold,
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
    limits_tracking,
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
    plain,
    to_us,
)
from lendsignal.model.secret import Secret


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a lender writes in the configuration for Google's app conversions.

    `dev_token`: the developer token of the Google Ads API Center. `link_id`: of the link between the app
    and lendsignal as its analytics provider, one for each app and platform. `sdk_version`: what Google is
    told as the version of the measuring software; the app's own version where it is not set.
    """

    dev_token: Annotated[Secret, Meta(description="the developer token of the Google Ads API Center")]
    link_id: Annotated[
        str,
        Meta(
            pattern=r"^[0-9A-Fa-f]{16,64}$",
            description="the link id of the app, from Linked accounts",
            examples=["0123456789ABCDEF0123456789ABCDEF"],
        ),
    ]
    sdk_version: Annotated[
        Annotated[str, Meta(min_length=1, max_length=64)] | None,
        Meta(description="told as the measuring software's version; the app's version by default"),
    ] = None


SPEC = Spec(
    name="google_app",
    label="Google App Conversion",
    docs="https://developers.google.com/app-conversion-tracking/api/request-response-specs",
    docs_read="2026-11-22",
    hosts=("www.googleadservices.com",),
    auth=QueryAuth("dev_token", "dev_token"),
    any_of_ids=(IdKind.GAID, IdKind.IDFA),
    # Nothing is published. A week outlasts an outage, and the click window of 30 days is open that long.
    max_age=timedelta(days=7),
    # Nothing is published either.
    per_second=50,
    # Google drops no repeats: what may have arrived waits for a person.
    on_unknown=Hold(),
    tries_on={"clock_ahead": 2},
)

FIELDS = frozenset(
    "?ad_personalization ?ad_user_data ?app_event_name ?app_event_type ?app_version ?currency_code "
    "?eea ?id_type ?lat ?link_id ?os_version ?rdid ?sdk_version ?timestamp ?value "
    "app_event_data.transaction_id header:User-Agent header:X-Forwarded-For".split()
)
"""All that may leave for this platform, as `fields_of` names it; the secret joins last."""

STANDARD = frozenset(
    "in_app_purchase view_item_list view_item view_search_results add_to_cart ecommerce_purchase".split()
)
"""Google's own event types. Any other name goes as `custom` with a name of its own."""

OF_THE_APP = frozenset(("first_open", "session_start"))
"""Types that tell of an install or a visit, which the app's own SDK reports."""

LIMITED: Mapping[str, tuple[bool | None, ...]] = {"android": (True,), "ios": (True, None)}
"""What counts as limited ad tracking: an iPhone needs a yes to ads, Android only the lack of a no."""

UNKNOWN = "0"
"""Stands for a version that the login did not show: Google demands each of them."""

_UNFIT = re.compile(r"[^A-Za-z0-9 ._,+-]+")
_BUILD = re.compile(r"\bBuild/([A-Za-z0-9._-]{1,64})")


def problem_with_name(name: str) -> str | None:
    """Why Google would count this as something else than was meant, or `None`."""
    if not name.strip():
        return "is empty"
    if name in OF_THE_APP:
        return "tells of an install or a visit: the app's own SDK reports it"
    if name == "custom":
        return "is Google's word for events with a name of their own: give it one"
    return None


def encode(delivery: Delivery, settings: Settings) -> Item | Skip:
    """One conversion as `{"query", "headers", "data"}`.

    Skipped with `no_device_id` without an advertising id or without the phone's public address, both of
    which Google demands, and with `no_consent` for a user who does not let ad platforms have data. A loss
    is not told, the conversion is.
    """
    app, device, consent, value = delivery.app, delivery.device, delivery.consent, delivery.value
    if consent is not None and consent.ad_user_data is False:
        return Skip(SkipReason.NO_CONSENT)
    android = app.platform == "android"
    # As each system writes it: lower case on Android, upper case on iOS.
    rdid = advertising_id(app, device) if android else apple_id(device, IdKind.IDFA)
    address = public_ip(device.ip)
    if rdid is None or address is None:
        return Skip(SkipReason.NO_DEVICE_ID)
    seconds, rest = divmod(to_us(delivery.occurred_at), 1_000_000)
    query = {"link_id": settings.link_id}
    if delivery.name in STANDARD:
        query["app_event_type"] = delivery.name
    else:
        query["app_event_type"], query["app_event_name"] = "custom", delivery.name
    query |= {
        "rdid": rdid,
        "id_type": "advertisingid" if android else "idfa",
        "lat": "1" if limits_tracking(device, app.platform) in LIMITED[app.platform] else "0",
        "app_version": _told(device.app_version),
        "os_version": _told(device.os_version),
        "sdk_version": _told(settings.sdk_version or device.app_version),
        "timestamp": f"{seconds}.{rest:06d}",
    }
    # Value and currency stand together.
    if value is not None and value.amount >= 0:
        query["value"], query["currency_code"] = plain(value.amount), value.currency
    if consent is not None:
        for field, said in (
            ("eea", consent.gdpr_applies),
            ("ad_user_data", consent.ad_user_data),
            ("ad_personalization", consent.ad_personalization),
        ):
            if said is not None:
                query[field] = "1" if said else "0"
    return {
        "query": query,
        "headers": {"User-Agent": user_agent(app, device), "X-Forwarded-For": address},
        "data": {"transaction_id": delivery.id},
    }


def request(items: Sequence[Item], settings: Settings) -> Request:
    """One event in one POST, in the address; the sender adds `dev_token` to it.

    The body carries the conversion id as rich event data: Google has no field to tell repeats by.
    """
    item = items[0]
    url = f"https://www.googleadservices.com/pagead/conversion/app/1.0?{urlencode(item['query'])}"
    return Request(
        method="POST", url=url, json={"app_event_data": item["data"]}, headers=dict(item["headers"])
    )


def trial(settings: Settings) -> Trial:
    """There is none."""
    return Trial(
        way="none",
        instead="Google's app conversion call has no mode for tests: let one event of your own phone through "
        "(a user marked test, send_test = true), and look under Goals → Conversions in Google Ads",
    )


def classify(response: Response, count: int) -> Sequence[Outcome]:
    """By the list of errors in a 200. `attributed: false` without errors is a success like any other.

    A refusal by status says that token or link are unknown, for nothing else of the request can be wrong:
    the classes of 4xx are ours, as Google publishes none.
    """
    status = response.status
    if 200 <= status < 300:
        return [_by_errors(body_json(response))] * count
    by_itself = by_status(response)
    if isinstance(by_itself, Rejected) and 400 <= status < 500:
        return [Paused(by_itself.reason)] * count
    return [by_itself] * count


def user_agent(app: App, device: Device) -> str:
    """`lendsignal/1.0 (Android 14; en_NG; SM-A145F; Build/UP1A.231005.007; Proxy)`, by Google's form.

    A part that the login did not show is `unknown`. Letters that no header may hold are left out.
    """
    return _user_agent(
        app.platform, device.os_version, device.locale, device.model, _build_of(device.user_agent)
    )


@lru_cache(maxsize=4096)
def _user_agent(
    platform: str, os_version: str | None, locale: str | None, model: str | None, build: str
) -> str:
    system = f"{'Android' if platform == 'android' else 'iOS'} {_fit(os_version)}"
    spoken = _fit(locale).replace("-", "_")
    return f"lendsignal/1.0 ({system}; {spoken}; {_fit(model)}; Build/{build}; Proxy)"


def _build_of(agent: str | None) -> str:
    """The system's build, which Android tells in its own user agent."""
    found = _BUILD.search(agent) if agent else None
    return found[1] if found else "unknown"


def _fit(text: str | None) -> str:
    return _UNFIT.sub("", text or "").strip() or "unknown"


def _told(version: str | None) -> str:
    """A version as the app told it; a blank one says nothing."""
    return (version or "").strip() or UNKNOWN


def _by_errors(body: Any) -> Outcome:
    """`link_id_invalid`, `dev_token_invalid` and `timestamp_invalid` are all the words that are known."""
    if not isinstance(body, dict) or not ("errors" in body or "attributed" in body):
        # Sent again, it could count twice.
        return Accepted(confirmed=False, reason="unexpected_answer")
    errors = body.get("errors")
    attributed = body.get("attributed") is True
    if not errors:
        return Accepted(reason="attributed" if attributed else "")
    if attributed:
        return Accepted(reason="with_messages")
    said = str(errors).lower()
    for word, outcome in BY_WORD.items():
        if word in said:
            return outcome
    return Rejected("invalid_parameter")


BY_WORD: Mapping[str, Outcome] = {
    "dev_token": Paused("bad_token"),
    "link_id": Paused("link_not_found"),
    # Ahead of Google's clock: a minute later it is not.
    "timestamp": Retry("clock_ahead", after=timedelta(minutes=1)),
}
