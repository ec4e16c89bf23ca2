"""Meta, Conversions API for app events.

Up to 1,000 events of one dataset a request; one dataset belongs to one app. Times are Unix seconds;
`value` is a number. Nothing of a batch is taken when one event of it is wrong.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from lendsignal.destination.spec import (
    Item,
    MetaAuth,
    Request,
    Response,
    Spec,
    Trial,
    before_att,
    body_json,
    by_status,
    present,
    public_ip,
    sensitive_word,
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
    id_of,
)
from lendsignal.model.contact import digest
from lendsignal.model.secret import Secret


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a lender writes in the configuration for Meta.

    `dataset_id`: the dataset linked with the app. `token`: a system user's access token.
    `app_secret`: where the app demands a proof with every call. `version`: the Graph API's.
    `test_event_code`: shows the events in the "Test events" tab; never in production.
    """

    dataset_id: Annotated[
        str,
        Meta(
            pattern=r"^[0-9]+$", description="the dataset linked with the app", examples=["1234567890123456"]
        ),
    ]
    token: Annotated[Secret, Meta(description="a system user's access token")]
    app_secret: Annotated[
        Secret | None, Meta(description="the app's secret, where calls need `appsecret_proof`")
    ] = None
    version: Annotated[str, Meta(pattern=r"^v[0-9]+\.[0-9]+$", description="Graph API version")] = "v26.0"
    test_event_code: Annotated[str | None, Meta(description="shows events in the Test events tab")] = None


def used_percent(response: Response) -> float | None:
    """The most used of the account's allowances, in per cent; calls are refused from 100 on.

    Read from `X-App-Usage`, `X-Business-Use-Case-Usage` and `X-Ad-Account-Usage` (Graph API, "rate
    limiting", read 2026-11-22). `None` where the answer carries none of them.
    """
    used: list[float] = []
    for header in ("x-app-usage", "x-business-use-case-usage", "x-ad-account-usage"):
        for usage in _usages(response, header):
            for field in ("call_count", "total_cputime", "total_time", "acc_id_util_pct"):
                if isinstance(number := usage.get(field), int | float):
                    used.append(float(number))
    return max(used, default=None)


SPEC = Spec(
    name="meta",
    label="Meta",
    docs="https://developers.facebook.com/documentation/ads-commerce/conversions-api/app-events",
    docs_read="2026-11-22",
    hosts=("graph.facebook.com",),
    auth=MetaAuth("token", "app_secret"),
    any_of_ids=(IdKind.GAID, IdKind.IDFA, IdKind.META_ANON_ID),
    max_age=timedelta(days=7),
    # No figure is published for this call: `used_percent` is what paces it.
    per_second=50,
    batch=1000,
    max_bytes=1_000_000,
    # Name and id are told apart for 48 hours, but the promise is worded for app against server; between
    # two sends of ours it is likely and not promised.
    dedupe=None,
    tries_on={"unknown_error": 3},
    used_percent=used_percent,
)

FIELDS = frozenset(
    "data[].action_source data[].app_data.advertiser_tracking_enabled "
    "data[].app_data.application_tracking_enabled data[].app_data.extinfo[] "
    "data[].app_data.install_referrer data[].app_data.vendor_id data[].custom_data.currency "
    "data[].custom_data.order_id data[].custom_data.value data[].event_id data[].event_name "
    "data[].event_time data[].opt_out data[].user_data.anon_id data[].user_data.client_ip_address "
    "data[].user_data.client_user_agent data[].user_data.em[] data[].user_data.external_id[] "
    "data[].user_data.fbc data[].user_data.madid data[].user_data.ph[] test_event_code".split()
)
"""All that may leave for this platform, as `fields_of` names it; the secret joins last."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_ADVERTISING_ID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")

hashed_id = lru_cache(maxsize=65_536)(digest)
"""SHA-256 of a user id, kept: a user's loans follow one another, and hashing is most of an encode."""


def problem_with_name(name: str) -> str | None:
    """Why this name must not go to Meta, or `None`: a borrower's standing is none of an ad platform's."""
    if not name.strip():
        return "is empty"
    word = sensitive_word(name)
    return None if word is None else f"holds {word!r}: Meta flags names that tell a person's financial status"


def encode(delivery: Delivery, settings: Settings) -> Item | Skip:
    """One conversion as Meta's event object.

    Skipped without an advertising id or `anon_id`, which app events need, and for a user who does not let
    ad platforms have data: Meta has no field that says so.
    """
    device, app, consent, value = delivery.device, delivery.app, delivery.consent, delivery.value
    if consent is not None and consent.ad_user_data is False:
        return Skip(SkipReason.NO_CONSENT)
    madid = id_of(device, IdKind.GAID if app.platform == "android" else IdKind.IDFA)
    if madid is not None and not _ADVERTISING_ID.fullmatch(madid):
        # A bad id costs the field; left in, it could cost a batch of a thousand.
        madid = None
    anon_id = id_of(device, IdKind.META_ANON_ID)
    if madid is None and anon_id is None:
        return Skip(SkipReason.NO_DEVICE_ID)
    personal = consent is None or consent.ad_personalization is not False
    user: dict[str, Any] = {"external_id": [hashed_id(delivery.user_id)]}
    if madid is not None:
        user["madid"] = madid.lower()
    if anon_id is not None:
        user["anon_id"] = anon_id
    if (contact := delivery.contact) is not None:
        if contact.email is not None:
            user["em"] = [contact.email]
        if contact.phone_digits is not None:
            user["ph"] = [contact.phone_digits]
    if (ip := public_ip(device.ip)) is not None:
        user["client_ip_address"] = ip
    if device.user_agent:
        user["client_user_agent"] = device.user_agent
    if device.fbc:
        user["fbc"] = device.fbc
    custom: dict[str, Any] = {"order_id": delivery.id}
    # Value and currency stand together; a loss is not told, the event is.
    if value is not None and value.amount >= 0:
        custom["value"] = float(value.amount)
        custom["currency"] = value.currency
    elif delivery.name == "Purchase":
        # Without a value Meta refuses it, and all that stand beside it in the batch (subcode 2804009).
        custom["value"] = 0.0
        custom["currency"] = app.currency
    event = {
        "event_name": delivery.name,
        # Seconds, ten digits: milliseconds would be a date far in the future.
        "event_time": (delivery.occurred_at - _EPOCH) // _SECOND,
        "event_id": delivery.id,
        "action_source": "app",
        "user_data": user,
        "app_data": present(
            advertiser_tracking_enabled=int(may_track(app, device)),
            application_tracking_enabled=int(personal),
            extinfo=extinfo(app, device),
            vendor_id=id_of(device, IdKind.IDFV),
            install_referrer=device.install_referrer or None,
        ),
        "custom_data": custom,
    }
    if not personal:
        # Attribution only: Meta may count the event and not learn from it.
        event["opt_out"] = True
    return event


def request(items: Sequence[Item], settings: Settings) -> Request:
    """Up to 1,000 event objects in one POST; the sender adds the token, and the proof where there is one."""
    url = f"https://graph.facebook.com/{settings.version}/{settings.dataset_id}/events"
    body: dict[str, Any] = {"data": list(items)}
    if settings.test_event_code:
        body["test_event_code"] = settings.test_event_code
    return Request(method="POST", url=url, json=body)


def trial(settings: Settings) -> Trial:
    """A test event carries a code and shows in a tab of its own."""
    return Trial(
        way="marked",
        look="Events Manager → Data sources → the dataset → Test events",
        sees="the event under its name within a minute, with the parameters that Meta could match",
        may_count=True,
        code="test_event_code, which the Test events tab shows, such as TEST12345",
    )


def trial_request(items: Sequence[Item], settings: Settings, code: str) -> Request:
    """The same with the code of the Test events tab."""
    return request(items, msgspec.structs.replace(settings, test_event_code=code))


def classify(response: Response, count: int) -> Sequence[Outcome]:
    """By the code in the body, for Meta's status varies for one and the same error.

    A refusal of several events is a `Split`: one bad event refuses them all.
    """
    body = body_json(response)
    outcome: Outcome
    if response.status == 429:
        outcome = _slow_down(response)
    elif isinstance(body, dict) and isinstance(body.get("error"), dict):
        outcome = _by_error(response, body["error"])
    elif not 200 <= response.status < 300:
        outcome = _without_code(response, readable=isinstance(body, dict))
    elif isinstance(body, dict) and type(body.get("events_received")) is int:
        outcome = _by_number(body["events_received"], count, bool(body.get("messages")))
    else:
        outcome = Retry("unreadable_answer")
    if count > 1 and (isinstance(outcome, Rejected) or outcome == Retry("unknown_error")):
        outcome = Split(outcome.reason)
    return [outcome] * count


def may_track(app: App, device: Device) -> bool:
    """`advertiser_tracking_enabled`: iOS needs a yes (ATT, from 14.5 on), Android only the lack of a no."""
    if app.platform == "android":
        return device.limit_ad_tracking is not True
    if device.att_status is None and before_att(device.os_version):
        return device.limit_ad_tracking is False
    return device.att_status == 3


def extinfo(app: App, device: Device) -> list[str]:
    """The 16 positions Meta wants, all text; what is not known is `""`, never left out.

    Positions 0 (platform) and 4 (OS version) must not be empty: an unknown OS version is `0`, as one
    empty string would refuse the whole batch. Position 7, the time zone's abbreviation, stays empty:
    it changes with the season, and 15 says the same.
    """
    return [
        "a2" if app.platform == "android" else "i2",
        app.identifier,
        device.app_version or "",
        device.app_build or "",
        device.os_version or "0",
        device.model or "",
        device.locale or "",
        "",
        device.carrier or "",
        "" if device.screen_width is None else str(device.screen_width),
        "" if device.screen_height is None else str(device.screen_height),
        "" if device.screen_density is None else f"{device.screen_density:g}",
        "" if device.cpu_cores is None else str(device.cpu_cores),
        "" if device.storage_gb is None else str(device.storage_gb),
        "" if device.free_storage_gb is None else str(device.free_storage_gb),
        device.timezone or "",
    ]


def _by_error(response: Response, error: dict[str, Any]) -> Outcome:
    """By code and subcode; the numbers' meaning is in docs/how-to/connect-meta.md."""
    code, subcode = error.get("code"), error.get("error_subcode")
    match code:
        case 100:
            match subcode:
                case 33:
                    return Paused("dataset_not_found")
                case _ if "appsecret_proof" in str(error.get("message")):
                    # A wrong app secret comes under the same number as a bad row, and is no row's fault.
                    return Paused("bad_app_secret")
                case 2804003:
                    return Rejected("too_old")
                case 2804009:
                    return Rejected("value_missing")
                case _:
                    return Rejected("invalid_parameter")
        case 190:
            return Paused("bad_token")
        case 368:
            # Blocked for a breach of policy: it passes, but a person must know.
            return Paused("blocked_for_policy")
        case 613 if subcode == 1996:
            # "Unusual amount of calls": Meta counts on, so the wait is long.
            return Retry("throttled", after=timedelta(hours=1), counts=False)
        case 4 | 17 | 32 | 341 | 613:
            return _slow_down(response)
        case 1 | 2 | 5000:
            return Retry("platform_error")
        case 21009:
            return Retry("dataset_not_ready")
        case int() if 80000 <= code <= 80014:
            return _slow_down(response)
        case int() if code in (3, 10) or 200 <= code <= 299:
            return Paused("permission_missing")
        case _:
            if error.get("is_transient") is True or response.status >= 500:
                return Retry("platform_error")
            if response.status in (401, 403):
                return by_status(response)
            return Retry("unknown_error")


def _without_code(response: Response, *, readable: bool) -> Outcome:
    """An answer that is not Meta's own: an edge's page, or JSON without an error in it."""
    match response.status:
        case 401 | 403:
            return by_status(response)
        case 413:
            return Rejected("too_large")
        case _:
            return by_status(response) if readable else Retry("unreadable_answer")


def _by_number(received: int, count: int, messages: bool) -> Outcome:
    """Meta says how many it took, and knows no half batches: another number contradicts its own page.

    None: nothing is there, so it is sent again. Too few: which ones is not said, so the batch is halved
    until they stand alone; the events Meta has come again under the same name and id, which it drops
    within 48 hours, whereas calling them all accepted would lose some.
    """
    if received >= count:
        return Accepted(reason="with_messages" if messages else "")
    return Retry("not_received") if received <= 0 or count == 1 else Split("partly_received")


def _slow_down(response: Response) -> Retry:
    """Uncounted: Meta sends no Retry-After, but at times the minutes until access comes back."""
    minutes = [
        usage.get("estimated_time_to_regain_access")
        for usage in _usages(response, "x-business-use-case-usage")
    ]
    longest = max((number for number in minutes if type(number) is int), default=0)
    after = timedelta(minutes=min(longest, 24 * 60)) if longest > 0 else None
    return Retry("throttled", after=after, counts=False)


def _usages(response: Response, header: str) -> list[dict[str, Any]]:
    """The usage objects in a header: one by itself, or lists of them by business."""
    text = response.headers.get(header)
    if not text:
        return []
    try:
        usage = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return []
    if not isinstance(usage, dict):
        return []
    if header != "x-business-use-case-usage":
        return [usage]
    lists = [entries for entries in usage.values() if isinstance(entries, list)]
    return [entry for entries in lists for entry in entries if isinstance(entry, dict)]
