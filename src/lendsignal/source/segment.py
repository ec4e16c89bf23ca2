"""Calls of the Segment tracking API as our events: the mapping alone, without a socket or a clock.

Read 2026-11-22: Segment "HTTP API", "Common fields", "Spec: identify, track, page, screen, group, alias"
(segment.com/docs/connections) and RudderStack "Common fields" (rudderstack.com/docs/event-spec). An SDK of
either is a client; what it sends more than we know of is left out, never refused.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar

from msgspec import Struct

from lendsignal.errors import InputError
from lendsignal.model import KEY_FIELD, TOUCH_TYPES, App, Device
from lendsignal.source.reading import (
    SKEW_WORTH_CORRECTING,
    Reader,
    looks_like_a_phone,
    read_moment,
    without_contacts,
)
from lendsignal.source.settings import MAPPED_FIELDS, SegmentSettings

_T = TypeVar("_T")

CALLS = ("track", "identify", "page", "screen", "group", "alias")

EVENTS: Mapping[str, str] = {
    **{kind: kind for kind in (*KEY_FIELD, *TOUCH_TYPES, "consent_changed")},
    **dict.fromkeys(
        "signed_up sign_up user_signed_up user_registered account_created registration_completed"
        " complete_registration".split(),
        "registered",
    ),
    **dict.fromkeys("signed_in sign_in login user_logged_in user_signed_in".split(), "logged_in"),
    "application_opened": "app_opened",
    **dict.fromkeys(
        "loan_applied application_submitted loan_application_submitted applied_for_loan".split(), "applied"
    ),
    **dict.fromkeys(
        "loan_approved credit_approved application_approved loan_granted".split(), "credit_granted"
    ),
    **dict.fromkeys(
        "loan_denied loan_rejected credit_rejected application_denied application_rejected".split(),
        "credit_denied",
    ),
    **dict.fromkeys("loan_disbursed loan_funded loan_paid_out".split(), "disbursed"),
    "loan_disbursement_reversed": "disbursement_reversed",
    "loan_canceled": "loan_cancelled",
    **dict.fromkeys(
        "loan_repaid loan_repayment repayment_made repayment_received loan_payment_received".split(), "repaid"
    ),
    "loan_extended": "extended",
    "loan_overdue": "overdue",
    "loan_defaulted": "defaulted",
    "loan_recovered": "recovered",
    **dict.fromkeys("consent_updated consent_preference_updated".split(), "consent_changed"),
}
"""Names of track calls in snake_case, and the type that each is."""

FIELDS: Mapping[str, str] = {
    **{name: name for name in MAPPED_FIELDS},
    **dict.fromkeys("loan_amount disbursed_amount repaid_amount repayment_amount".split(), "amount"),
    **dict.fromkeys("credit_limit approved_limit".split(), "limit"),
    **dict.fromkeys("loan_term_days tenor_days".split(), "term_days"),
    "days_past_due": "dpd",
    "credit_score": "score",
    "repayment_id": "payment_id",
    "phone_number": "phone",
}
"""Names of properties in snake_case, and the field that each fills."""

NUMBERED = frozenset(("loan_number", "term_days", "dpd", "revision"))
"""Fields of whole numbers: an SDK that sends them as text is understood."""

IDS = frozenset("application_id grant_id loan_id payment_id person_id product score_version".split())
"""Fields of text that a sender may keep as a number."""

DEVICE_FIELDS = frozenset(Device.__struct_fields__)

INTEGRATION_IDS: Mapping[str, Mapping[str, str]] = {
    "appsflyer": {"apps_flyer_id": "appsflyer_id", "appsflyer_id": "appsflyer_id"},
    "adjust": {"adid": "adjust_adid", "adjust_adid": "adjust_adid", "adjust_id": "adjust_adid"},
    "firebase": {
        "app_instance_id": "firebase_app_instance_id",
        "firebase_app_instance_id": "firebase_app_instance_id",
        "firebase_instance_id": "firebase_app_instance_id",
    },
    "branch": {"branch_identity": "branch_identity", "developer_identity": "branch_identity"},
    "kochava": {"kochava_device_id": "kochava_device_id", "device_id": "kochava_device_id"},
    "singular": {"sdid": "singular_sdid", "singular_sdid": "singular_sdid"},
    "facebook": {"anon_id": "meta_anon_id", "meta_anon_id": "meta_anon_id"},
}
"""What an entry of `integrations` may hold for us, by the beginning of its name without blanks."""

EXTERNAL_IDS: Mapping[str, str] = {
    "android_idfa": "gaid",
    "ios_idfa": "idfa",
    "ios_id": "idfv",
    "android_id": "android_id",
    "gaid": "gaid",
    "idfa": "idfa",
    "idfv": "idfv",
    "appsflyer": "appsflyer_id",
    "adjust": "adjust_adid",
    "adjust_id": "adjust_adid",
    "firebase": "firebase_app_instance_id",
    "branch": "branch_identity",
    "kochava": "kochava_device_id",
    "singular": "singular_sdid",
}
"""Types of `externalIds` in snake_case without a closing `_external_id`, and the id that each is."""

ATT_STATUS = {"not_determined": 0, "restricted": 1, "denied": 2, "authorized": 3}
"""What iOS says of tracking, in Segment's words."""

PERSONAL = frozenset(
    "email phone phone_number mobile name first_name last_name middle_name full_name username nickname"
    " address street postal_code zip birthday birth_date date_of_birth dob avatar photo password national_id"
    " id_number passport bvn nin ssn curp rfc pan aadhaar tax_id account_number card_number iban".split()
)
"""Properties that are never kept, in whatever spelling."""

MOST_PROPERTIES = 100


class Mapped(Struct, frozen=True):
    """One call as an event object for `read_event`, and what the mapping noticed.

    `history`: imported past, which sends nothing.
    """

    fields: dict[str, Any]
    flags: tuple[str, ...] = ()
    history: bool = False


class PassedOver(Struct, frozen=True):
    """A call that was understood and is no event: `why` is `anonymous` or `not_wanted`."""

    why: Literal["anonymous", "not_wanted"]


class Letter(Struct, frozen=True, kw_only=True):
    """What the calls of one request have in common.

    `call`: the path's call; `None` in a batch, where each says what it is. `historical`: `/v1/import`.
    """

    call: str | None = None
    historical: bool = False
    sent_at: object = None
    context: Mapping[str, Any] = {}
    integrations: Mapping[str, Any] = {}


def mapped(
    message: object, letter: Letter, received_at: datetime, reader: Reader, settings: SegmentSettings
) -> Mapped | PassedOver:
    """What one call is. Raises `InputError` with the call's own field; never with a value."""
    if not isinstance(message, Mapping):
        raise InputError("body", "must be a JSON object")
    call = letter.call or message.get("type")
    if call not in CALLS:
        raise InputError("type", f"must be {', '.join(CALLS)}")
    kind, purpose = _kind(call, message, settings)
    if kind is None:
        return PassedOver("not_wanted")
    user, anonymous = _id(message, "userId"), _id(message, "anonymousId")
    if user is None and anonymous is None:
        raise InputError("userId", "is needed: userId or anonymousId")
    if user is None:
        if kind in KEY_FIELD or kind in ("registered", "consent_changed") or call == "alias":
            raise InputError("userId", f"is needed for {kind}: a userId, not an anonymousId alone")
        if settings.anonymous == "skip":
            return PassedOver("anonymous")
        user, purpose = f"anonymous:{anonymous}", "analytics"
    context = {**letter.context, **_table(message, "context")}
    integrations = {**letter.integrations, **_table(message, "integrations")}
    said = _said(call, message, context)
    ours, own, ids = _sorted(said, settings)
    flags: list[str] = []
    fields: dict[str, Any] = {**ours} if call == "track" else _contacts(ours)
    fields |= {"type": kind, "user_id": user}
    if purpose == "analytics" or "purpose" not in fields:
        fields["purpose"] = purpose
    fields["occurred_at"] = _occurred_at(message, letter, received_at, flags)
    if (message_id := message.get("messageId")) is not None:
        fields["event_id"] = message_id
    app = _app(context, reader, settings)
    brand = settings.brand or (app.brand if app else None) or _only(reader.brands)
    if brand is not None:
        fields["brand"] = brand
    if app is not None:
        fields["app"] = app.name
    if kind in TOUCH_TYPES:
        device = device_of(context, integrations, ids)
        if device and app is None and len(reader.brands.get(brand or "", ())) > 1:
            # A snapshot must name its app: ids of one app are nobody's in another.
            flags.append("device_without_app")
        elif device:
            fields["device"] = device
    own |= _of_the_call(call, message, anonymous if settings.anonymous == "keep" else None)
    properties = _kept(own) if call == "track" or purpose == "analytics" else {}
    if len(properties) < len(own) and call == "track":
        flags.append("properties_left_out")
    if properties:
        fields["properties"] = properties
    if kind == "credit_granted" and "grant_id" not in fields and "application_id" in fields:
        # Lenders whose application is granted once have no other key for it.
        fields["grant_id"] = fields["application_id"]
    return Mapped(fields, tuple(flags), letter.historical)


def _kind(call: str, message: Mapping[str, Any], settings: SegmentSettings) -> tuple[str | None, str]:
    """The type that a call is, `None` where it is passed over, and its purpose."""
    match call:
        case "track":
            name = message.get("event")
            if not isinstance(name, str) or not name.strip():
                raise InputError("event", "is needed and must be text")
            kind = settings.events.get(name) or settings.events.get(snake(name)) or EVENTS.get(snake(name))
            if kind == "skip" or (kind is None and settings.unmapped == "skip"):
                return None, ""
            if kind is None and settings.unmapped == "refuse":
                raise InputError("event", "is not one of yours: map it under segment.events")
            return (_custom(name), "analytics") if kind is None else (kind, settings.purpose)
        case "identify":
            kind, otherwise = settings.identify, "identified"
        case "page" | "screen":
            kind, otherwise = settings.views, f"{call}_viewed"
        case "group":
            return "group_joined", "analytics"
        case _:
            return "person_linked", "analytics"
    if kind == "skip":
        return None, ""
    return (otherwise, "analytics") if kind == "analytics" else (kind, settings.purpose)


def _custom(name: str) -> str:
    """A track call's name as that of an event of the lender's own."""
    word = snake(name)
    return (word if word[:1].isalpha() else f"event_{word}")[:64].rstrip("_")


def snake(name: str) -> str:
    """`Loan Disbursed`, `loanDisbursed` and `loan-disbursed` as `loan_disbursed`."""
    apart = re.sub(r"([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3_\2\4", name.strip())
    return re.sub(r"[^a-z0-9]+", "_", apart.lower()).strip("_")


def _id(message: Mapping[str, Any], field: str) -> str | None:
    """An id, which some SDKs send as a number; empty counts as none."""
    found = message.get(field)
    if isinstance(found, int) and not isinstance(found, bool):
        return str(found)
    if found is not None and not isinstance(found, str):
        raise InputError(field, "must be text")
    return found or None


def _table(message: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    found = message.get(field)
    return found if isinstance(found, Mapping) else {}


def _said(call: str, message: Mapping[str, Any], context: Mapping[str, Any]) -> Mapping[str, Any]:
    """The properties or traits of a call. RudderStack's SDKs send traits in the context alone."""
    if call == "identify":
        return {**_table(context, "traits"), **_table(message, "traits")}
    if call in ("track", "page", "screen"):
        # Of a person whom `traits` in the context tell of, the contact is known with every call.
        return {**_contacts(_table(context, "traits")), **_table(message, "properties")}
    return {}


def _contacts(said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: said[name] for name in ("email", "phone") if said.get(name)}


def _sorted(
    said: Mapping[str, Any], settings: SegmentSettings
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What fills our fields, what stays the lender's own, and ids of the phone."""
    ours: dict[str, Any] = {}
    own: dict[str, Any] = {}
    ids: dict[str, Any] = {}
    for name, value in said.items():
        word = snake(name)
        field = settings.fields.get(name) or FIELDS.get(word)
        if value is None:
            continue
        if field is not None:
            ours[field] = _fitting(field, value)
        elif word in DEVICE_FIELDS and (word.endswith("_id") or word in ID_WORDS):
            ids[word] = value
        else:
            own[word] = value
    return ours, own, ids


ID_WORDS = frozenset(
    "adjust_adid branch_identity singular_sdid gaid idfa idfv oaid gclid gbraid fbc ttclid".split()
)
"""Fields of a snapshot that a property may fill, beside those that end in `_id`."""


def _fitting(field: str, value: Any) -> Any:
    """A value as the field wants it, where an SDK's way of writing it is plain."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if field in IDS and is_number:
        return str(value)
    if field in ("email", "phone") and is_number:
        return str(value)
    if field in NUMBERED and isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,6}", value):
        return int(value)
    if field == "score" and is_number:
        return float(value)
    if field == "currency" and isinstance(value, str):
        return value.upper()
    return value


def _occurred_at(
    message: Mapping[str, Any], letter: Letter, received_at: datetime, flags: list[str]
) -> datetime:
    """When it happened, by our clock: the arrival less what the sender's clock says lies between.

    As Segment has it, `timestamp = receivedAt - (sentAt - originalTimestamp)`, but only where the clocks
    differ by more than the way takes. A time that Segment has corrected already (it comes with a
    `receivedAt`) and imported history stay as they are. Without any time it is the arrival.
    """
    written = message.get("timestamp") or message.get("originalTimestamp")
    if written is None:
        return received_at
    field = "timestamp" if message.get("timestamp") else "originalTimestamp"
    occurred = read_moment(written, field)
    corrected = message.get("receivedAt") is not None and field == "timestamp"
    sent = message.get("sentAt") or letter.sent_at
    if sent is None or corrected or letter.historical:
        return occurred
    skew: timedelta = received_at - read_moment(sent, "sentAt")
    if abs(skew) <= SKEW_WORTH_CORRECTING:
        return occurred
    flags.append("clock_corrected")
    try:
        return min(occurred + skew, received_at)
    except OverflowError:
        raise InputError("sentAt", "is no time we can correct by") from None


def _app(context: Mapping[str, Any], reader: Reader, settings: SegmentSettings) -> App | None:
    """The app of a call: the configured one, or the one whose bundle `context.app` names."""
    if settings.app is not None:
        return reader.apps.get(settings.app)
    names = {
        str(value).lower()
        for name, value in _table(context, "app").items()
        if name in ("namespace", "bundle", "bundleId") and value
    }
    if not names:
        return None
    named = [app for app in reader.apps.values() if {app.bundle.lower(), app.identifier.lower()} & names]
    # One identifier may be that of both stores' listings.
    on_its_os = [app for app in named if app.platform == _os(context)]
    return _only(on_its_os) if len(named) > 1 else _only(named)


def _only(many: Iterable[_T]) -> _T | None:
    """The single one there is; `None` where there are others, or none."""
    found = list(many)
    return found[0] if len(found) == 1 else None


def _os(context: Mapping[str, Any]) -> str:
    """`android`, `ios`, another name in lower case, or nothing."""
    name = str(_table(context, "os").get("name") or _table(context, "device").get("type") or "").lower()
    return "ios" if name in ("ios", "ipados", "iphone os") else name


def device_of(
    context: Mapping[str, Any], integrations: Mapping[str, Any], ids: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The snapshot that a call's context shows, and the ids beside it; `None` where it shows no phone.

    What a server's own SDK says of itself (`library`, an ip) is no phone. A value of another form than the
    field wants is left out: it costs the field, not the event.
    """
    found: dict[str, Any] = dict(_facts(context))
    found |= dict(_device_ids(context))
    found |= dict(_ids_of_integrations(integrations))
    found |= dict(_external_ids(context))
    found |= ids
    kept = {name: value for name, value in found.items() if _fits(name, value)}
    return kept if kept.keys() - {"ip", "user_agent", "locale", "timezone"} else None


def _facts(context: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What the phone is, by where it stands in the context."""
    os, device, app = (_table(context, name) for name in ("os", "device", "app"))
    screen = _table(context, "screen")
    yield from {
        "os": _os(context),
        "os_version": os.get("version"),
        "model": device.get("model"),
        "app_version": app.get("version"),
        "app_build": app.get("build"),
        "ip": context.get("ip"),
        "user_agent": context.get("userAgent"),
        "locale": context.get("locale"),
        "timezone": context.get("timezone"),
        "carrier": _table(context, "network").get("carrier"),
        "screen_width": screen.get("width"),
        "screen_height": screen.get("height"),
        "screen_density": screen.get("density"),
        "limit_ad_tracking": _opposite(device.get("adTrackingEnabled")),
        "att_status": _att_status(device),
    }.items()


def _opposite(value: object) -> bool | None:
    return not value if isinstance(value, bool) else None


def _att_status(device: Mapping[str, Any]) -> int | None:
    """Segment writes it as a word, RudderStack as iOS's own number."""
    number, word = device.get("attTrackingStatus"), device.get("trackingStatus")
    if isinstance(number, int) and not isinstance(number, bool):
        return number
    return ATT_STATUS.get(snake(word)) if isinstance(word, str) else None


def _device_ids(context: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Ids of the phone in `context.device`: what they are is told by the operating system."""
    device, os = _table(context, "device"), _os(context)
    advertising, own = device.get("advertisingId"), device.get("id")
    for name in ("appsflyer_id", "adjust_adid", "firebase_app_instance_id", "oaid"):
        if device.get(name):
            yield name, device[name]
    if advertising and os in ("ios", "android"):
        yield "idfa" if os == "ios" else "gaid", advertising
    if isinstance(own, str) and os == "ios":
        yield "idfv", own
    elif isinstance(own, str) and os == "android" and re.fullmatch(r"[0-9a-f]{16}", own):
        # Newer Android SDKs make up an id of their own here; 16 hex digits are the system's.
        yield "android_id", own


def _ids_of_integrations(integrations: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, entry in integrations.items():
        if not isinstance(entry, Mapping):
            continue
        plain = re.sub(r"[^a-z]", "", name.lower())
        for partner, known in INTEGRATION_IDS.items():
            if plain.startswith(partner):
                yield from ((known[snake(key)], id_) for key, id_ in entry.items() if snake(key) in known)


def _external_ids(context: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """`externalIds` of Segment, `externalId` of RudderStack: a list of ids with their types."""
    found = context.get("externalIds") or context.get("externalId")
    for entry in found if isinstance(found, list) else ():
        if not isinstance(entry, Mapping) or not isinstance(entry.get("type"), str):
            continue
        word = snake(entry["type"]).removesuffix("_external_id")
        field = word if word in DEVICE_FIELDS else EXTERNAL_IDS.get(word)
        if field is not None:
            yield field, entry.get("id")


WHOLE = frozenset(("screen_width", "screen_height"))


def _fits(field: str, value: object) -> bool:
    """Whether a snapshot's field takes the value."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if field == "limit_ad_tracking":
        return isinstance(value, bool)
    if field == "screen_density":
        return is_number
    if field in WHOLE:
        return isinstance(value, int) and is_number and 0 <= value < 2**31
    if field == "att_status":
        return isinstance(value, int) and 0 <= value <= 3
    return isinstance(value, str) and 0 < len(value) <= (2_048 if field == "user_agent" else 256)


def _of_the_call(call: str, message: Mapping[str, Any], anonymous: str | None) -> dict[str, Any]:
    """What a call says beside its properties, kept where the call is."""
    told = {
        "page": ("name", message.get("name")),
        "screen": ("name", message.get("name")),
        "group": ("group_id", message.get("groupId")),
        "alias": ("previous_id", message.get("previousId")),
    }
    name, value = told.get(call, ("", None))
    found = {f"{call}_name" if name == "name" else name: value} if isinstance(value, str) and value else {}
    return found if anonymous is None else {**found, "anonymous_id": anonymous}


def _kept(own: Mapping[str, Any]) -> dict[str, Any]:
    """The lender's own properties as they may stand in the log: plain values, and nothing of a person."""
    found = {name: value for name, value in own.items() if name not in PERSONAL and _is_plain(name, value)}
    return dict(list(found.items())[:MOST_PROPERTIES])


def _is_plain(name: str, value: object) -> bool:
    if not name or len(name) > 128:
        return False
    if isinstance(value, str):
        return (
            len(value) <= 1_024
            and without_contacts(value) == value
            and (name.endswith("_id") or not looks_like_a_phone(value))
        )
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return isinstance(value, float)
