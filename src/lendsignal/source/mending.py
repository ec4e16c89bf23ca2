"""Refused events sent through again: what is kept of them, how they are mended, and who carries it out."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from difflib import get_close_matches
from functools import lru_cache
from time import monotonic
from typing import Any

import msgspec
from msgspec import Struct

from lendsignal.clock import Clock, from_us
from lendsignal.errors import InputError
from lendsignal.log import Mended, Quarantined
from lendsignal.log.refusals import Refusing
from lendsignal.model import Contact, Event, contact_of
from lendsignal.source.reading import (
    FIELDS,
    INSIDE,
    MASKED,
    OURS,
    Reader,
    looks_like_a_phone,
    read_event,
    read_json,
    without_contacts,
)

logger = logging.getLogger(__name__)

LARGEST_KEPT = 32_768
"""Bytes of an event that is kept to be sent through again."""

AT_ONCE = 500
"""Events sent through again in one turn, so that those that come in do not wait for them."""

LOOK_SECONDS = 0.2
EXPIRE_SECONDS = 600.0
DAY_US = 86_400_000_000

MENDED = "mended"
"""The flag of an event that a person had sent through again."""

CONTACTS = ("email", "phone")
LONGEST_NAME = 40
"""No name of ours comes near it: a longer one is nearly none of them."""

NEAR = 0.8
"""How alike a name must be to one of ours that its value is thought to be meant for it."""

_kept = msgspec.msgpack.Encoder().encode


class Mendable(Struct, frozen=True, kw_only=True):
    """An event as it was sent, as far as it may stand on disk: contacts hashed, strangers blotted out.

    `unusable` names the contacts that were given and could not be hashed.
    """

    fields: dict[str, Any]
    contact: Contact | None = None
    unusable: tuple[str, ...] = ()


_mendable = msgspec.msgpack.Decoder(Mendable).decode


class Patch(Struct, frozen=True, kw_only=True):
    """What a person changes: fields set, taken out, and renamed (old name → new), in the order renamed,
    taken out, set.

    A name such as `device.gaid` reaches inside a field.
    """

    set: Mapping[str, Any] = {}
    unset: tuple[str, ...] = ()
    rename: Mapping[str, str] = {}


def kept_of(raw: bytes) -> bytes | None:
    """What is kept of a refused event so that it can be sent through again; `None` where it is no event.

    The values of our own fields stay as the log would keep them. Of fields that are not ours a value
    stays only under a name that is nearly one of ours: anything else may be personal.
    """
    if len(raw) > LARGEST_KEPT:
        return None
    try:
        found = read_json(raw)
    except InputError:
        return None
    texts = {name: found.pop(name, None) for name in CONTACTS}
    usable = {
        name: text if isinstance(text, str) and len(text) <= 320 else None for name, text in texts.items()
    }
    contact, unusable = contact_of(usable["email"], usable["phone"])
    unread = tuple(name for name in CONTACTS if texts[name] is not None and usable[name] is None)
    try:
        fields = {_name(name): _value(name, value) for name, value in found.items()}
        return _kept(Mendable(fields=fields, contact=contact, unusable=(*unusable, *unread)))
    except (OverflowError, RecursionError, ValueError):  # numbers of more than 64 bits, lists in lists in …
        return None


def _name(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", name) else "a_name"


def _value(name: str, value: object) -> object:
    if name in OURS:
        return MASKED
    if name in INSIDE and name != "properties":
        return _inside(name, value)
    if name in FIELDS or name == "sent_at":
        return value if name == "user_id" or name.endswith("_id") else _blotted(value)
    near = nearest_field(name)
    if near is None or isinstance(value, (dict, list)):
        return MASKED
    is_id = near == "user_id" or near.endswith("_id")
    if isinstance(value, str) and not is_id and looks_like_a_phone(value):
        return MASKED
    return value if is_id else _blotted(value)


def _inside(field: str, value: object) -> object:
    """What stands inside a field: what the log would never keep of it may be anything and goes."""
    if isinstance(value, list):
        return [_inside(field, one) for one in value]
    if not isinstance(value, dict):
        return _blotted(value)
    return {
        _name(key): _blotted(one)
        if key in INSIDE[field] or get_close_matches(key[:LONGEST_NAME], INSIDE[field], n=1, cutoff=NEAR)
        else MASKED
        for key, one in value.items()
    }


@lru_cache(maxsize=4_096)
def nearest_field(name: str) -> str | None:
    """Our field that a sender's name is nearly the same as (`loanId`, `occured_at`), contacts apart."""
    if len(name) > LONGEST_NAME:
        return None
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    close = get_close_matches(snake, (*FIELDS, "sent_at"), n=1, cutoff=NEAR)
    return close[0] if close else None


def _blotted(value: object) -> object:
    """The value without what looks like an e-mail address or an international number."""
    if isinstance(value, str):
        return without_contacts(value)
    if isinstance(value, dict):
        return {key: _blotted(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_blotted(one) for one in value]
    return value


def patched(kept: bytes, patch: Patch) -> bytes:
    """What was kept, with the person's changes. New contacts are hashed here and never written.

    Raises `InputError` for a name that is neither there nor one of ours.
    """
    before = _mendable(kept)
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(before.fields))
    for old, new in patch.rename.items():
        if old in fields:
            _known(new)
            fields[new] = fields.pop(old)
    for name in patch.unset:
        _put(fields, name, None)
    given = dict(patch.set)
    texts = {name: given.pop(name, None) for name in CONTACTS}
    for name, value in given.items():
        _known(name.partition(".")[0])
        _put(fields, name, value)
    contact, unusable = before.contact, before.unusable
    if any(text is not None for text in texts.values()):
        contact, unusable = contact_of(*(None if text is None else str(text) for text in texts.values()))
        if unusable:
            raise InputError(unusable[0], "cannot be used: an address, or a number with + and country code")
    if any(name in patch.unset for name in CONTACTS):
        contact, unusable = None, ()
    try:
        return _kept(Mendable(fields=fields, contact=contact, unusable=unusable))
    except OverflowError:
        raise InputError("event", "has a number of more than 64 bits") from None


def _known(name: str) -> None:
    if name not in FIELDS and name != "sent_at":
        near = nearest_field(name)
        raise InputError(name if name.isidentifier() else "field", "is no field of ours", nearest=near)


def _put(fields: dict[str, Any], name: str, value: object) -> None:
    """Sets a field, or one inside it; `None` takes it out."""
    first, dot, inner = name.partition(".")
    if dot:
        below = fields.get(first)
        fields[first] = below = dict(below) if isinstance(below, dict) else {}
        fields, first = below, inner
    if value is None:
        fields.pop(first, None)
    else:
        fields[first] = value


def shown_of(kept: bytes) -> Mapping[str, Any]:
    """The fields of what is kept as a person may see them: without the score."""
    found = _mendable(kept)
    shown = {name: value for name, value in found.fields.items() if name != "score"}
    if "score" in found.fields:
        shown["score"] = MASKED
    if found.contact is not None:
        shown["contact"] = "[hashed]"
    return shown


def through_again(kept: bytes, received_us: int, source: str, reader: Reader) -> Event:
    """The event that is kept, as the door reads it: with the moment it first came in. Raises `InputError`."""
    found = _mendable(kept)
    flags = [MENDED, *(f"unusable_{name}" for name in found.unusable)]
    return read_event(
        dict(found.fields),
        from_us(received_us),
        reader,
        source=source,
        contact=found.contact,
        flags=flags,
    )


class Mender:
    """Sends through again what persons asked for, and forgets what is old: a turn of whoever decides.

    `days` is how long refused events are kept. `told` hears how many were taken, and how many refused again.
    """

    def __init__(
        self,
        log: Refusing,
        reader: Reader,
        clock: Clock,
        days: int,
        steady: Callable[[], float] = monotonic,
        told: Callable[[int, int], None] = lambda taken, refused: None,
    ) -> None:
        self._log = log
        self._reader = reader
        self._clock = clock
        self._days = days
        self._steady = steady
        self._told = told
        self._look_at = self._expire_at = 0.0

    def turn(self) -> int:
        """How many events were taken now. Looks no more often than every `LOOK_SECONDS`."""
        now = self._steady()
        if now < self._look_at:
            return 0
        asked = self._log.quarantine.asked(AT_ONCE)
        self._look_at = now + (0.0 if len(asked) == AT_ONCE else LOOK_SECONDS)
        if now >= self._expire_at:
            self._expire_at = now + EXPIRE_SECONDS
            self._expire()
        return self.carry_out(asked)

    def finish(self) -> int:
        """Carries out all that is asked for now. How many events were taken."""
        taken = 0
        while asked := self._log.quarantine.asked(AT_ONCE):
            taken += self.carry_out(asked)
        return taken

    def carry_out(self, asked: Sequence[Quarantined]) -> int:
        """Takes what passes now; the rest is refused again and waits. How many passed."""
        if not asked:
            return 0
        mended = [self._mended(one) for one in asked]
        self._log.quarantine.settle(mended)
        taken = sum(one.event is not None for one in mended)
        self._told(taken, len(mended) - taken)
        logger.info("%d refused events were mended and taken, %d refused again", taken, len(mended) - taken)
        return taken

    def _mended(self, one: Quarantined) -> Mended:
        assert one.id is not None
        if one.kept is None:
            return Mended(one.id, None, one.field, one.rule)
        try:
            return Mended(one.id, through_again(one.kept, one.received_us, one.source, self._reader))
        except InputError as error:
            return Mended(one.id, None, error.field, error.rule)
        except Exception as error:  # one that cannot be read stops nobody's decisions
            logger.error("a refused event cannot be sent through again: %s", type(error).__name__)
            return Mended(one.id, None, "event", "cannot be read any more")

    def _expire(self) -> None:
        before_us = self._clock.now_us() - int(timedelta(days=self._days).total_seconds()) * 1_000_000
        gone = self._log.quarantine.expire(before_us)
        if gone:
            logger.info("%d refused events were older than %d days and are forgotten", gone, self._days)
