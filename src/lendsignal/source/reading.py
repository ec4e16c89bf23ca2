"""One JSON object → one event, or the field and the rule that refuse it.

The door and the file import both come through `read_event`: there is one way to be an event.
"""

import json
import re
from collections.abc import Callable, Container, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from difflib import get_close_matches
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import Struct

from lendsignal.errors import InputError
from lendsignal.log import NOBODY, KeptOut
from lendsignal.model import (
    KEY_FIELD,
    TOUCH_TYPES,
    App,
    Consent,
    Contact,
    Device,
    Event,
    Instalment,
    contact_of,
    to_us,
)
from lendsignal.source.ids import ZERO_RULE, Warned, odd_ids

EARLIEST = datetime(2005, 1, 1, tzinfo=UTC)
"""Nothing of interest happened to a loan app before; 1970 is a missing time in disguise."""

CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far a back end's clock may run ahead of ours."""

SKEW_WORTH_CORRECTING = timedelta(seconds=10)

LARGEST = 1_000_000_000_000_000
"""Amounts stay below."""

DECIMALS = 20
"""Digits behind the point that an amount may have: more than any float, and few enough to write out."""

AMOUNTS = ("amount", "fee", "principal", "limit", "outstanding")
OURS = frozenset(("source", "flags", "contact"))
"""Fields that no sender may set."""

SENDER_FIELDS = ("email", "phone", "sent_at")
"""Fields a sender may give that do not stand in the log as they are."""

FIELDS = tuple(field for field in Event.__struct_fields__ if field not in ("source", "flags", "contact"))

MASKED = "[masked]"
SHOWN = frozenset((*FIELDS, "sent_at")) - {"score"}
"""Fields whose values may be kept of an event that was refused."""

INSIDE: Mapping[str, frozenset[str]] = {
    "device": frozenset(Device.__struct_fields__),
    "consent": frozenset(Consent.__struct_fields__),
    "schedule": frozenset(Instalment.__struct_fields__),
    "properties": frozenset(),
}
"""What stands inside a field of ours; of the lender's own properties only the names are kept."""


ERASED_RULE = "erased: nothing of this user is taken any more"
"""Why an event of somebody who was erased is refused; `lendsignal erase --allow-again` lifts it."""


class ErasedUser(InputError):
    """The event is one of somebody's who was erased: nothing of it is kept, in quarantine neither."""

    def __init__(self) -> None:
        super().__init__("user_id", ERASED_RULE)


_objects = msgspec.json.Decoder(list[dict[str, Any]]).decode


class Reader(Struct, frozen=True, kw_only=True):
    """What is needed to judge an event: the lender's apps, and how far a phone's clock may run ahead.

    `sets_received_at`: whether senders may give `received_at` (an import, or a replay of history).
    `kept_out` says who was erased.
    """

    apps: Mapping[str, App]
    brands: Mapping[str, tuple[str, ...]]
    clock_ahead: timedelta
    sets_received_at: bool = False
    kept_out: Callable[[], KeptOut] = lambda: NOBODY


def reader_of(
    apps: Mapping[str, App],
    clock_ahead: timedelta,
    *,
    sets_received_at: bool = False,
    kept_out: Callable[[], KeptOut] = lambda: NOBODY,
) -> Reader:
    """A reader for these apps."""
    brands: dict[str, tuple[str, ...]] = {}
    for app in apps.values():
        brands[app.brand] = (*brands.get(app.brand, ()), app.name)
    return Reader(
        apps=apps,
        brands=brands,
        clock_ahead=clock_ahead,
        sets_received_at=sets_received_at,
        kept_out=kept_out,
    )


def read_json(raw: bytes) -> dict[str, Any]:
    """The JSON object in these bytes. Raises `InputError` for anything else, repeated keys included."""
    try:
        found = msgspec.json.decode(raw)
        if not isinstance(found, dict):
            raise InputError("body", "must be a JSON object")
        is_flat = b"[" not in raw and raw.find(b"{", 1) < 0
        if raw.count(b'":') != (len(found) if is_flat else _keys(found)) or _is_spaced(raw):
            _refuse_repeated_keys(raw)
    except UnicodeDecodeError:
        raise InputError("body", "must be UTF-8 text") from None
    except msgspec.DecodeError as error:
        raise InputError("body", f"must be JSON: {_in_words(str(error).replace('JSON', 'it'))}") from None
    except RecursionError:
        raise InputError("body", "must not be nested that deeply") from None
    return found


def read_array(raw: bytes) -> list[dict[str, Any]] | None:
    """The JSON objects of an array, read in one go; `None` where each must be read by `read_json`.

    Where as many keys were read as stand in the text, none of them stands twice.
    """
    try:
        found = _objects(raw)
        is_flat = raw.count(b"{") == len(found) and raw.count(b"[") == 1
        keys = sum(map(len, found)) if is_flat else _keys(found)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return None if raw.count(b'":') != keys or _is_spaced(raw) else found


def read_event(
    found: dict[str, Any],
    received_at: datetime,
    reader: Reader,
    *,
    source: str = "",
    history: bool = False,
    ordinal: str = "",
    contact: Contact | None = None,
    flags: Sequence[str] = (),
    warnings: list[Warned] | None = None,
) -> Event:
    """The event that a decoded JSON object is. `found` is used up.

    `ordinal` makes derived ids of rows apart that are equal otherwise. `contact` and `flags` are those of an
    event that came in before and is mended. An id that names nobody is left out and flagged; what the
    sender should mend goes into `warnings`. Raises `InputError` with field and rule; never with a value:
    `ErasedUser` before anything else is looked at.
    """
    kept_out = reader.kept_out()
    if kept_out:
        _refuse_the_erased(found, reader, kept_out)
    if not OURS.isdisjoint(found):
        raise InputError(
            next(field for field in ("source", "flags", "contact") if field in found), "is set by us"
        )
    flags = list(flags)
    if contact is not None:
        found["contact"] = contact
    sent_at = read_moment(found.pop("sent_at"), "sent_at") if "sent_at" in found else None
    if "email" in found or "phone" in found:
        contact, unusable = contact_of(_text(found, "email"), _text(found, "phone"))
        flags += [f"unusable_{name}" for name in unusable]
        if contact is not None:
            found["contact"] = contact
    if reader.sets_received_at and "received_at" in found:
        received_at = read_moment(found["received_at"], "received_at")
    elif "received_at" in found:
        raise InputError("received_at", "is set by us when the event arrives")
    found["received_at"] = received_at
    kind = found.get("type")
    if not isinstance(kind, str):
        raise InputError("type", "is needed and must be text")
    if kind.startswith("lendsignal."):
        raise InputError("type", "names beginning with 'lendsignal.' are ours")
    if "occurred_at" not in found:
        raise InputError("occurred_at", "is needed: RFC 3339 with an offset, or epoch milliseconds")
    occurred = read_moment(found["occurred_at"], "occurred_at")
    found["occurred_at"] = _plausible(occurred, sent_at, received_at, kind, found, reader, flags)
    _where(found, kind, reader)
    if "device" in found:
        _without_odd_ids(found, reader, flags, warnings)
    if kind == "consent_changed" and not found.get("consent"):
        raise InputError("consent", "is needed for consent_changed")
    key = KEY_FIELD.get(kind)
    if key is not None and not found.get(key):
        raise InputError(key, f"is needed for {kind}")
    if "event_id" not in found:
        about = str(found.get(key or "user_id"))
        found["event_id"] = derived_id(kind, found["brand"], about, occurred, ordinal)
    found["source"] = source
    if history:
        found["history"] = True
    if flags:
        found["flags"] = tuple(flags)
    try:
        event = msgspec.convert(found, Event)
    except msgspec.ValidationError as error:
        raise _explained(str(error)) from None
    for name in AMOUNTS:
        amount = found.get(name)
        if amount is not None and not (type(amount) is int and 0 <= amount < LARGEST):
            _refuse_amount(name, getattr(event, name))
    if event.amount is not None and event.currency is None and not event.type.startswith("lendsignal"):
        raise InputError("currency", "is needed beside an amount: a three-letter ISO 4217 code")
    return event


def _refuse_the_erased(found: Mapping[str, Any], reader: Reader, kept_out: KeptOut) -> None:
    """Raises `ErasedUser`. An event that names no brand of ours may be of any."""
    brand, user_id, person_id = (found.get(name) for name in ("brand", "user_id", "person_id"))
    brands = [brand] if isinstance(brand, str) and brand in reader.brands else list(reader.brands)
    try:
        at_us = to_us(read_moment(found.get("occurred_at"), "occurred_at"))
    except InputError:
        at_us = 0
    person = person_id if isinstance(person_id, str) else None
    if any(kept_out.holds(one, user_id if isinstance(user_id, str) else "", person, at_us) for one in brands):
        raise ErasedUser


def _without_odd_ids(
    found: dict[str, Any], reader: Reader, flags: list[str], warnings: list[Warned] | None
) -> None:
    """Leaves out of the device the ids that name nobody, and flags the event."""
    device = found["device"]
    if not isinstance(device, dict):
        return
    app = reader.apps.get(found.get("app") or "")
    odd = odd_ids(device, None if app is None else app.platform)
    if not odd:
        return
    bad = [kind for kind, rule in odd.items() if rule is not ZERO_RULE]
    found["device"] = {name: value for name, value in device.items() if name not in bad}
    flags += [f"unusable_{kind}" for kind in bad]
    if warnings is not None:
        warnings += [Warned(f"device.{kind}", rule) for kind, rule in odd.items()]


def _refuse_amount(name: str, amount: Decimal) -> None:
    """Raises `InputError` for an amount that we do not keep."""
    if not (amount.is_finite() and 0 <= amount < LARGEST):
        raise InputError(name, "must be a number from 0 to 10^15; undo with a reversal, not a minus")
    if -int(amount.as_tuple().exponent) > DECIMALS:
        raise InputError(name, f"may have {DECIMALS} digits behind the point")


def occurred_at_of(found: Mapping[str, Any]) -> datetime:
    """When an event object says that it happened. Raises `InputError` where it does not."""
    if "occurred_at" not in found:
        raise InputError("occurred_at", "is needed: RFC 3339 with an offset, or epoch milliseconds")
    return read_moment(found["occurred_at"], "occurred_at")


def derived_id(kind: str, brand: str, key: str, occurred_at: datetime, ordinal: str = "") -> str:
    """The id of an event whose sender gave none: the same for the same fact, and rising with time."""
    milliseconds = int(occurred_at.timestamp() * 1000)
    text = f"{kind}\x1f{brand}\x1f{key}\x1f{milliseconds}\x1f{ordinal}"
    return f"{milliseconds:012x}-{blake2b(text.encode(), digest_size=8).hexdigest()}"


def masked(raw: bytes, limit: int = 4096) -> bytes:
    """The beginning of what was sent, as it may be kept: no contact, no score, nothing we do not know.

    The values of our own fields stay, so that a person can see what was meant; those of fields that are
    not ours may be anything and go. What is no JSON object keeps its shape and loses every digit.
    """
    try:
        found = msgspec.json.decode(raw)
        if isinstance(found, dict):
            return msgspec.json.encode(_shown(found, SHOWN))[:limit]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    text = without_contacts(raw[: 4 * limit].decode("utf-8", "replace"))
    return re.sub(r"\d", "#", text).encode()[:limit]


def _shown(found: object, known: Container[str]) -> object:
    """A decoded value with everything blotted out that stands under a name we do not know."""
    if isinstance(found, dict):
        return {
            _name(key): _shown(value, INSIDE.get(key, known))
            if key in known and not _could_be_a_phone(key, value)
            else MASKED
            for key, value in found.items()
        }
    if isinstance(found, list):
        return [_shown(value, known) for value in found]
    return without_contacts(found[:256]) if isinstance(found, str) else found


def _could_be_a_phone(field: str, value: object) -> bool:
    """Text of digits where neither an id nor an amount or a date belongs."""
    named = field.endswith("_id") or field in (*AMOUNTS, "due_date")
    return isinstance(value, str) and not named and looks_like_a_phone(value)


def looks_like_a_phone(text: str) -> bool:
    """Seven digits or more, with what stands between the digits of a phone number."""
    return re.fullmatch(r"[\d\s()+-]{7,}", text) is not None


def without_contacts(text: str) -> str:
    """The text with whatever looks like an e-mail address or an international number blotted out."""
    text = re.sub(r"[^\s\"'<>,;:]+@[^\s\"'<>,;:]*", "[e-mail]", text)
    return re.sub(r"\+\d[\d\s().-]{5,}\d", "[phone]", text)


def _name(key: str) -> str:
    """A field's name as we may repeat it: what does not look like one may be anybody's data."""
    return key if re.fullmatch(r"[A-Za-z][A-Za-z_]{0,63}\d{0,3}", key) else "(a name)"


def _plausible(
    occurred: datetime,
    sent_at: datetime | None,
    received_at: datetime,
    kind: str,
    found: dict[str, Any],
    reader: Reader,
    flags: list[str],
) -> datetime:
    """The corrected time of the event, or a refusal.

    A touch's time is the phone's: moved by the offset between its `sent_at` and our arrival, and never
    after the arrival. Other times are a back end's, and may run ahead by `CLOCK_TOLERANCE` only.
    """
    touch = kind in TOUCH_TYPES
    if touch and sent_at is not None and abs(received_at - sent_at) > SKEW_WORTH_CORRECTING:
        try:
            occurred += received_at - sent_at
        except OverflowError:
            raise InputError("sent_at", "is no time we can correct by") from None
        flags.append("clock_corrected")
    if occurred < EARLIEST:
        raise InputError("occurred_at", "lies before 2005; epoch times must be in milliseconds")
    if occurred <= received_at:
        return occurred
    ahead = occurred - received_at
    if found.get("time_precision") == "day" and ahead < timedelta(days=1):
        return occurred
    if ahead > (reader.clock_ahead if touch else CLOCK_TOLERANCE):
        raise InputError("occurred_at", f"lies {_rough(ahead)} after its arrival")
    if ahead > CLOCK_TOLERANCE:
        flags.append("clock_ahead")
    return received_at


def _where(found: dict[str, Any], kind: str, reader: Reader) -> None:
    """Brand and app must be ours and fit each other; a brand with one app need not name it."""
    brand = found.get("brand")
    if not isinstance(brand, str):
        raise InputError("brand", "is needed and must be text")
    apps = reader.brands.get(brand)
    if apps is None:
        raise InputError("brand", "is not one of yours", nearest=_nearest(brand, reader.brands))
    app = found.get("app")
    if app is not None:
        if not isinstance(app, str) or app not in reader.apps:
            nearest = _nearest(app, reader.apps) if isinstance(app, str) else None
            raise InputError("app", "is not one of yours", nearest=nearest)
        if reader.apps[app].brand != brand:
            raise InputError("app", "belongs to another brand")
    elif kind in TOUCH_TYPES and len(apps) == 1:
        found["app"] = apps[0]
    elif kind in TOUCH_TYPES and found.get("device") is not None:
        raise InputError("app", "is needed where the brand has several apps and a device is given")


def read_moment(value: object, field: str) -> datetime:
    """An aware UTC datetime from RFC 3339 text or epoch milliseconds."""
    if isinstance(value, datetime):
        return value if value.tzinfo is UTC else value.astimezone(UTC)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise InputError(field, "must be RFC 3339 text with an offset, or whole epoch milliseconds")
    try:
        if isinstance(value, int):
            return datetime.fromtimestamp(value / 1000, UTC)
        moment = msgspec.convert(value, datetime)
    except (msgspec.ValidationError, ValueError, OverflowError, OSError):
        raise InputError(field, "must be RFC 3339 text with an offset, or whole epoch milliseconds") from None
    if moment.tzinfo is UTC:
        return moment
    if moment.tzinfo is None:
        raise InputError(field, "has no offset: write Z or +07:00 behind it")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InputError(field, "is no time we can keep") from None


def _text(found: dict[str, Any], field: str) -> str | None:
    value = found.pop(field, None)
    if value is not None and (not isinstance(value, str) or len(value) > 320):
        raise InputError(field, "must be text of at most 320 characters")
    return value


def _keys(found: dict[str, Any] | list[Any]) -> int:
    """How many keys a decoded JSON value has, at all depths."""
    inside, n = (found.values(), len(found)) if isinstance(found, dict) else (found, 0)
    for value in inside:
        if isinstance(value, (dict, list)):
            n += _keys(value)
    return n


def _is_spaced(raw: bytes) -> bool:
    """Whether a blank may stand between a key and its colon. Most senders write none at all."""
    return (
        (b" " in raw and b'" ' in raw)
        or (b"\n" in raw and b'"\n' in raw)
        or (b"\t" in raw and b'"\t' in raw)
        or (b"\r" in raw and b'"\r' in raw)
    )


def _refuse_repeated_keys(raw: bytes) -> None:
    """JSON allows a key twice and readers disagree on which counts; we take neither."""

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        seen: dict[str, object] = {}
        for key, value in pairs:
            if key in seen:
                raise InputError(_name(key), "stands twice in one object")
            seen[key] = value
        return seen

    json.loads(raw, object_pairs_hook=once, parse_int=str, parse_float=str)


def _explained(message: str) -> InputError:
    """msgspec's message as field and rule, without the value it may quote."""
    rule, _, place = message.replace("`key` in ", "").partition(" - at `$.")
    field = place.rstrip("`") or "event"
    if rule.startswith("Object contains unknown field"):
        name = _name(rule.split("`")[1])
        known = Device.__struct_fields__ if field.startswith("device") else (*FIELDS, *SENDER_FIELDS)
        whole = f"{field}.{name}" if place else name
        return InputError(
            whole, "is no field of ours; put your own under properties", nearest=_nearest(name, known)
        )
    if rule.startswith("Object missing required field"):
        return InputError(rule.split("`")[1], "is needed")
    return InputError(field, _in_words(rule))


def _in_words(rule: str) -> str:
    """msgspec's rule in the words of somebody who writes JSON, and without a value."""
    if rule.startswith("Invalid enum value"):
        return "is not one of the allowed words"
    if rule.startswith("Invalid decimal"):
        return "must be a number"
    for found, word in WORDS.items():
        rule = re.sub(rf"\b{found}\b", word, rule)
    rule = rule.replace(" | ", " or ").replace("`", "")
    return rule[:1].lower() + rule[1:]


WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
}
"""msgspec's names of types, as we say them."""


def _nearest(word: str, known: Any) -> str | None:
    close = get_close_matches(word, list(known), n=1)
    return close[0] if close else None


def _rough(span: timedelta) -> str:
    hours = span / timedelta(hours=1)
    if hours < 1:
        return f"{span / timedelta(minutes=1):.0f} minutes"
    return f"{hours:.0f} hours" if hours < 72 else f"{span.days} days"
