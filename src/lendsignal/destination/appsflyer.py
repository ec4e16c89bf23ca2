"""AppsFlyer, server-to-server events of mobile apps (api3, or api2 for accounts that still have a dev key).

One event a request, at most 1 KB of JSON. Times are UTC text with milliseconds; revenue is a decimal
string inside `eventValue`, which is itself a string that holds JSON. Nothing is deduplicated: every call
that AppsFlyer takes counts.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, Literal
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct

from lendsignal.destination.spec import (
    Bearer,
    Erasing,
    HeaderAuth,
    Item,
    Request,
    Response,
    Spec,
    Subject,
    Trial,
    apple_id,
    before_att,
    body_json,
    by_status,
    present,
    public_ipv4,
)
from lendsignal.model import (
    Accepted,
    App,
    Consent,
    Contact,
    Delivery,
    Device,
    IdKind,
    Outcome,
    Paused,
    Pending,
    Rejected,
    Retry,
    Skip,
    SkipReason,
    id_of,
    plain,
)
from lendsignal.model.secret import Secret


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a lender writes in the configuration for AppsFlyer.

    `token`: the S2S token of the account, not the SDK's dev key, which api3 answers with 401.
    `app_id`: the id in AppsFlyer's dashboard, where it is not the app's bundle.
    `endpoint`: `api2` is AppsFlyer's legacy address; there `token` is the dev key. `api_token`: for erasures.
    """

    token: Annotated[Secret, Meta(description="the account's S2S token; the dev key for api2")]
    app_id: Annotated[
        str | None,
        Meta(description="the app's id in AppsFlyer, where it is not the bundle", examples=["id123456789"]),
    ] = None
    endpoint: Annotated[Literal["api3", "api2"], Meta(description="api2: legacy, by dev key")] = "api3"
    api_token: Annotated[
        Secret | None,
        Meta(description="the account's V2 API token, by which AppsFlyer is asked to forget erased users"),
    ] = None


def close_of_day(occurred_at: datetime) -> datetime:
    """02:00 UTC of the next UTC day: an event that arrives later is stamped with its arrival.

    AppsFlyer's own example, api3 overview as of December 2022: Monday 21:00 arriving Tuesday 01:00 stays
    Monday 21:00; arriving Wednesday 09:00 it becomes Wednesday 09:00.
    """
    day = occurred_at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day + timedelta(days=1, hours=2)


SPEC = Spec(
    name="appsflyer",
    label="AppsFlyer",
    docs="https://dev.appsflyer.com/hc/reference/s2s-events-api3-post",
    docs_read="2026-11-22",
    hosts=("api3.appsflyer.com", "api2.appsflyer.com"),
    auth=HeaderAuth("authentication", "token"),
    any_of_ids=(IdKind.APPSFLYER_ID,),
    # The longest the window can be; `close_of_day` is the exact rule.
    max_age=timedelta(hours=26),
    window_closes=close_of_day,
    # No figure is published today; until June 2023 it was 60,000 a minute for an account.
    per_second=500,
    max_bytes=1024,
    # A re-dated event still teaches the platform who borrows; kept at home it would be lost.
    late="send",
    negative_value=True,
    # The answer AppsFlyer gives to JSON it cannot read as well as to its own trouble.
    tries_on={"http_500": 3},
)

FIELDS = frozenset(
    "advertising_id af_events_api aie app_version_name appsflyer_id att bundleIdentifier "
    "consent_data.manual.ad_personalization_enabled consent_data.manual.ad_user_data_enabled "
    "consent_data.manual.gdpr_applies customer_user_id email_hashed eventCurrency eventName eventTime "
    "eventValue.af_currency eventValue.af_order_id eventValue.af_revenue idfa idfv ip oaid os "
    "phone_number_e164_hashed phone_number_hashed sharing_filter ua".split()
)
"""All that may leave for this platform, as `fields_of` names it; the secret joins last."""

SHED_ORDER = (
    "ua",
    "phone_number_e164_hashed",
    "phone_number_hashed",
    "email_hashed",
    "app_version_name",
    "oaid",
    "customer_user_id",
    "ip",
    "bundleIdentifier",
    "os",
    "idfv",
    "advertising_id",
    "idfa",
)
"""What leaves a body of more than 1 KB, first to last. Never the installation, the name, the time, the
money, the conversion id (inside `eventValue`) or what the user allows."""

PREDEFINED = frozenset(
    "af_complete_registration af_login af_initiated_checkout af_purchase af_subscribe af_start_trial "
    "af_add_payment_info af_content_view af_tutorial_completion af_update".split()
)
"""AppsFlyer's own event names that a lender may want to use; other names must not start with `af_`."""

_encoder = msgspec.json.Encoder()


def problem_with_name(name: str) -> str | None:
    """Why AppsFlyer would not take this event name, or `None`."""
    if not name.strip():
        return "is empty"
    if len(name) > 100:
        return f"has {len(name)} characters; AppsFlyer takes 100"
    if name.startswith("af_") and name not in PREDEFINED:
        return "starts with af_, which AppsFlyer keeps for its predefined events"
    return None


def encode(delivery: Delivery, settings: Settings) -> Item | Skip:
    """One conversion as `{"app_id", "body"}`: the app stands in the address, the event in the body.

    All ids are of one login. The GAID or IDFA is always said when known: AppsFlyer would fill in the one
    of the install, which is another phone for a user who moved.
    """
    device, app, value = delivery.device, delivery.app, delivery.value
    appsflyer_id = id_of(device, IdKind.APPSFLYER_ID)
    if appsflyer_id is None:
        return Skip(SkipReason.NO_DEVICE_ID)
    body: dict[str, Any] = {
        "appsflyer_id": appsflyer_id,
        "eventName": delivery.name,
        "eventValue": _event_value(delivery),
        "eventTime": event_time(delivery.occurred_at),
        "customer_user_id": delivery.user_id,
        "bundleIdentifier": app.identifier,
    }
    if value is not None:
        body["eventCurrency"] = value.currency
    if device.os_version:
        body["os"] = device.os_version
    if device.app_version:
        body["app_version_name"] = device.app_version
    if settings.endpoint == "api2":
        # In every sample of the old page; api3 does not know it. api2 knows no `ua`.
        body["af_events_api"] = "true"
    elif device.user_agent:
        body["ua"] = device.user_agent
    # The published pattern has 16 characters at most: an IPv6 address is a 400.
    if (ip := public_ipv4(device.ip)) is not None:
        body["ip"] = ip
    if app.platform == "android":
        _add_android(body, device)
    else:
        _add_ios(body, device)
    if delivery.consent is not None:
        _add_consent(body, delivery.consent)
    if delivery.contact is not None:
        _add_contact(body, delivery.contact)
    return {"app_id": settings.app_id or app_id_of(app), "body": _within_limit(body)}


def request(items: Sequence[Item], settings: Settings) -> Request:
    """One event in one POST; the sender adds the `authentication` header."""
    item = items[0]
    url = f"https://{settings.endpoint}.appsflyer.com/inappevent/{_in_path(item['app_id'])}"
    return Request(method="POST", url=url, json=item["body"])


_BY_TEXT: Mapping[str, Outcome] = {
    "failed to authenticate": Paused("bad_token"),
    "app_id": Paused("token_of_another_app"),
    "appsflyer_id is a mandatory field": Rejected("appsflyer_id_missing"),
    "payload is missing or failed to parse": Rejected("unreadable_payload"),
    "bad request": Rejected("invalid_field"),
}


def trial(settings: Settings) -> Trial:
    """There is none: what AppsFlyer takes, it counts."""
    return Trial(
        way="none",
        instead="AppsFlyer counts every server-to-server event it takes: install the app on a phone of your "
        "own, let an event of its user through (a user marked test, send_test = true), and look for it in "
        "the app's Live Events or raw data",
    )


def classify(response: Response, count: int) -> Sequence[Outcome]:
    """By status, and for 400 by its text, which tells a wrong set-up from a wrong event.

    `OK` proves receipt only: an unknown `appsflyer_id` or an iOS app without its `id` gets it too.
    """
    outcome: Outcome
    match response.status:
        case status if 200 <= status < 300:
            said_ok = response.body.strip(b' "\r\n').lower() == b"ok"
            outcome = Accepted(confirmed=False, reason="" if said_ok else "unexpected_answer")
        case 400:
            text = response.body[:200].decode("utf-8", "replace").strip(' "\r\n').lower()
            outcome = _BY_TEXT.get(text) or Rejected("http_400")
        case 401:
            outcome = Paused("wrong_kind_of_token")
        case 403:
            outcome = Paused("not_in_the_plan")
        case 500:
            outcome = Retry("http_500")
        case _:
            outcome = by_status(response)
    return [outcome] * count


ERASING = Erasing(
    docs="https://dev.appsflyer.com/hc/reference/create-opendsr-request",
    docs_read="2026-11-22",
    hosts=("hq1.appsflyer.com",),
    auth=Bearer("api_token"),
    # RudderStack's notes on the call (rudder-transformer, read 2026-11-22); AppsFlyer prints no figure.
    per_minute=350,
    verdict_after=timedelta(hours=6),
    # AppsFlyer, knowledge base on OpenDSR: within 30 days, mostly 15.
    verdict_within=timedelta(days=30),
)
"""OpenDSR 0.1: a request is made under an id of ours and asked after by it."""

OPEN_DSR = "https://hq1.appsflyer.com/api/gdpr/v1/opendsr_requests"

_IDENTITIES = {
    "android": ((IdKind.APPSFLYER_ID, "appsflyer_id"), (IdKind.GAID, "android_advertising_id")),
    "ios": (
        (IdKind.APPSFLYER_ID, "appsflyer_id"),
        (IdKind.IDFA, "ios_advertising_id"),
        (IdKind.IDFV, "idfv"),
    ),
}

_BY_GDPR_CODE: Mapping[str, Outcome] = {
    "e213": Pending("e213"),  # our request of before: the answer to it was lost
    "e215": Pending("e215"),  # another request for the same installation is under way
    "e321": Rejected("limits_ad_tracking"),
    "e411": Paused("app_not_found"),
    "e511": Retry("platform_trouble", after=timedelta(hours=1)),
}


def no_erasure(settings: Settings) -> str | None:
    """The S2S token is of no use here: OpenDSR wants the account's V2 API token."""
    return "api_token is not set" if settings.api_token is None else None


def erasure_id(app: App, device: Device) -> tuple[str, str] | None:
    """The installation's own id, else the phone's."""
    for kind, name in _IDENTITIES[app.platform]:
        value = id_of(device, kind)
        if value is not None:
            return name, value
    return None


def erasure(subject: Subject, settings: Settings) -> Request:
    """One OpenDSR request for one installation; the sender adds the bearer token."""
    identity = {
        "identity_type": subject.kind,
        "identity_value": subject.value,
        "identity_format": "raw",
    }
    body = {
        "subject_request_id": subject.request,
        "subject_request_type": "erasure",
        "submitted_time": f"{subject.asked_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "subject_identities": [identity],
        "property_id": settings.app_id or app_id_of(subject.app),
        "platform": subject.app.platform,
        "api_version": "0.1",
    }
    return Request(method="POST", url=OPEN_DSR, json=body, key=subject.request)


def erased(response: Response) -> Outcome:
    """201: it is on its way; the verdict is asked for by the id of the request. 400 tells by a code."""
    if response.status == 201:
        return Pending("created")
    if response.status == 400:
        code = _gdpr_code(response)
        return _BY_GDPR_CODE.get(code) or Rejected(code or "http_400")
    if 200 <= response.status < 300:
        return Retry("unexpected_answer")
    return by_status(response)


def erasure_ask(request: str, settings: Settings) -> Request:
    """Asks how far a request is."""
    return Request(method="GET", url=f"{OPEN_DSR}/{quote(request, safe='')}", key=request)


def erasure_verdict(response: Response) -> Outcome:
    """`completed` is a yes; the others mean that it goes on, or that somebody called it back."""
    if response.status != 200:
        code = _gdpr_code(response)
        return Rejected("request_unknown") if code == "e214" else by_status(response)
    found = body_json(response)
    said = found.get("request_status") if isinstance(found, dict) else None
    match str(said).replace("_", "-"):
        case "completed":
            return Accepted()
        case "pending" | "in-progress":
            return Pending(str(said))
        case "canceled":
            return Rejected("canceled")
        case _:
            return Retry("unreadable_answer")


def _gdpr_code(response: Response) -> str:
    """AppsFlyer's own code of an error; the wrapper around it is left out on some calls."""
    found = body_json(response)
    error = found.get("error", found) if isinstance(found, dict) else None
    code = error.get("af_gdpr_code") if isinstance(error, dict) else None
    return code if isinstance(code, str) else ""


def app_id_of(app: App) -> str:
    """The app's id in AppsFlyer.

    AppsFlyer answers OK to an App Store number without `id` and records nothing (api3 reference), so it
    is put there.
    """
    return f"id{app.bundle}" if app.platform == "ios" and app.bundle.isdecimal() else app.bundle


def event_time(moment: datetime) -> str:
    """`yyyy-MM-dd HH:mm:ss.SSS` in UTC, without `T` and `Z`."""
    return moment.astimezone(UTC).isoformat(" ", "milliseconds")[:23]


def _event_value(delivery: Delivery) -> str:
    """The event's own parameters as a string that holds JSON; at most five decimals of revenue."""
    value = delivery.value
    if value is None:
        return _encoder.encode({"af_order_id": delivery.id}).decode()
    revenue = {
        "af_revenue": plain(round(value.amount, 5)),
        # Old pages put the currency here, today's put it in `eventCurrency`: readers of both exist.
        "af_currency": value.currency,
        "af_order_id": delivery.id,
    }
    return _encoder.encode(revenue).decode()


def _add_android(body: dict[str, Any], device: Device) -> None:
    if (gaid := id_of(device, IdKind.GAID)) is not None:
        body["advertising_id"] = gaid
    if (oaid := id_of(device, IdKind.OAID)) is not None:
        body["oaid"] = oaid
    if device.limit_ad_tracking is not None:
        body["aie"] = not device.limit_ad_tracking


def _add_ios(body: dict[str, Any], device: Device) -> None:
    if (idfa := apple_id(device, IdKind.IDFA)) is not None:
        body["idfa"] = idfa
    if (idfv := apple_id(device, IdKind.IDFV)) is not None:
        body["idfv"] = idfv
    if device.att_status in (0, 1, 2, 3):
        body["att"] = device.att_status
    # From iOS 14.5 on `att` decides, and `aie` beside it would contradict it.
    if device.limit_ad_tracking is not None and before_att(device.os_version):
        body["aie"] = not device.limit_ad_tracking


def _add_consent(body: dict[str, Any], consent: Consent) -> None:
    manual = present(
        gdpr_applies=consent.gdpr_applies,
        ad_user_data_enabled=consent.ad_user_data,
        ad_personalization_enabled=consent.ad_personalization,
    )
    if manual:
        body["consent_data"] = {"manual": manual}
    # `consent_data` is read by Google alone; this keeps the event from every other network as well.
    if consent.ad_user_data is False:
        body["sharing_filter"] = "all"


def _add_contact(body: dict[str, Any], contact: Contact) -> None:
    if contact.email is not None:
        body["email_hashed"] = contact.email
    if contact.phone_digits is not None:
        body["phone_number_hashed"] = contact.phone_digits
    if contact.phone_e164 is not None:
        body["phone_number_e164_hashed"] = contact.phone_e164


def _within_limit(body: dict[str, Any]) -> dict[str, Any]:
    """The body in at most 1,024 bytes of JSON, shedding in `SHED_ORDER` what it must."""
    size = len(_encoder.encode(body))
    for field in SHED_ORDER:
        if size <= 1024:
            break
        if body.pop(field, None) is not None:
            size = len(_encoder.encode(body))
    return body


@lru_cache(maxsize=1024)
def _in_path(app_id: str) -> str:
    return quote(app_id, safe="")
