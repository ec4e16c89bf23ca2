"""API keys of sources: list, make, rotate, end. A key is shown once, to whoever made it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from lendsignal.clock import MICROSECOND, SystemClock, from_us
from lendsignal.console.page import Act, Asked, Group, Page
from lendsignal.console.room import Room
from lendsignal.console.words import marked as _
from lendsignal.errors import InputError
from lendsignal.log import ID_LENGTH, ApiKey
from lendsignal.model.member import May
from lendsignal.source import EVERY_SCOPE
from lendsignal.source.keychain import Keychain

ENDS = {"never": None, "30d": timedelta(days=30), "90d": timedelta(days=90), "365d": timedelta(days=365)}
OVERLAPS = {"24h": timedelta(hours=24), "0s": timedelta(), "7d": timedelta(days=7)}


def look(room: Room, asked: Asked) -> Mapping[str, Any]:
    """Every key with its source, what it is good for, its end and its last use."""
    with _chain(room) as chain:
        found = chain.listed(_now_us())
    return {
        "found": found,
        "sources": sorted(room.config.sources),
        "scopes": EVERY_SCOPE,
        "ends": list(ENDS),
        "overlaps": list(OVERLAPS),
    }


def make(room: Room, asked: Asked, fields: Mapping[str, str]) -> str:
    """A new key beside the others."""
    source = _source(room, fields)
    scopes = tuple(fields["scopes"].split()) if fields.get("scopes") else ()
    if not set(scopes) <= set(EVERY_SCOPE):
        raise InputError("scopes", f"of {', '.join(EVERY_SCOPE)}")
    now_us = _now_us()
    with _chain(room) as chain:
        key, made = chain.add(source, now_us, _ends(fields, now_us), scopes)
    _note(room, asked, "made a key", source, made)
    return _shown(asked, key, source)


def rotate(room: Room, asked: Asked, fields: Mapping[str, str]) -> str:
    """A new key; the source's others end once the sender has had time to change over."""
    source, now_us = _source(room, fields), _now_us()
    overlap = OVERLAPS.get(fields.get("overlap", "24h"))
    if overlap is None:
        raise InputError("overlap", f"one of {', '.join(OVERLAPS)}")
    until_us = now_us + overlap // MICROSECOND
    with _chain(room) as chain:
        key, made, old = chain.rotate(source, now_us, until_us, _ends(fields, now_us))
    _note(room, asked, "rotated keys", source, made)
    said = asked.words(
        "%(n)s older ones end by %(at)s.", n=len(old), at=asked.words.moment(from_us(until_us))
    )
    return f"{_shown(asked, key, source)} {said}"


def revoke(room: Room, asked: Asked, fields: Mapping[str, str]) -> str:
    """Ends one key at once."""
    with _chain(room) as chain:
        (one,) = chain.revoke([fields.get("id", "")], _now_us())
    said = asked.words("%(id)s of %(source)s has ended", id=one.sha256[:ID_LENGTH], source=one.source)
    if one.sha256 in room.config.keys:
        said += " " + asked.words(
            "It still stands in the configuration: take it out, it is good for nothing."
        )
    return said


@contextmanager
def _chain(room: Room) -> Iterator[Keychain]:
    with room.keys() as store:
        yield Keychain(room.config.keys, room.config.sources, store)


def _now_us() -> int:
    """The machine's own clock: a key ends when it ends, also while history is replayed."""
    return SystemClock().now_us()


def _source(room: Room, fields: Mapping[str, str]) -> str:
    source = fields.get("source", "")
    if source not in room.config.sources:
        raise InputError("source", f"one of {', '.join(sorted(room.config.sources))}")
    return source


def _ends(fields: Mapping[str, str], now_us: int) -> int | None:
    word = fields.get("expires", "never")
    if word not in ENDS:
        raise InputError("expires", f"one of {', '.join(ENDS)}")
    span = ENDS[word]
    return None if span is None else now_us + span // MICROSECOND


def _shown(asked: Asked, key: str, source: str) -> str:
    return asked.words("Give this to %(source)s; it is shown only now: %(key)s", source=source, key=key)


def _note(room: Room, asked: Asked, what: str, source: str, made: ApiKey) -> None:
    """The audit names the key by its id and never holds the key."""
    with room.people() as people:
        people.note(room.now_us(), asked.member.login, what, source, made.sha256[:ID_LENGTH])


PAGE = Page(
    path="/keys",
    title=_("Keys"),
    template="pages/keys.html",
    look=look,
    group=Group.HOUSE,
    place=20,
    may=May.GOVERN,
    acts={
        "make": Act(do=make, may=May.GOVERN, audited=False),
        "rotate": Act(do=rotate, may=May.GOVERN, audited=False),
        "revoke": Act(do=revoke, may=May.GOVERN),
    },
)
