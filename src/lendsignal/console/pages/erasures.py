"""Erasure of a person: counted, asked for, how far it is, and its receipt. What carries it on is the job."""

from collections.abc import Mapping
from typing import Any

import msgspec

from lendsignal.clock import from_us
from lendsignal.config import Config
from lendsignal.console.page import Act, Asked, File, Group, Page, Panel, Went
from lendsignal.console.room import Room
from lendsignal.console.words import marked as _
from lendsignal.errors import InputError, NotYet
from lendsignal.log.erasures import (
    ASKED,
    CONFIRMED,
    DONE,
    NOT_POSSIBLE,
    NOT_THERE,
    OPEN,
    WAITS,
    About,
    subjects_of,
)
from lendsignal.model.member import May

# What carries out an erasure brings much with it: `lendsignal.erase` is loaded when somebody looks at one.

COUNTED = ("users", "events", "installations", "refused")
STATES = {
    OPEN: _("still open"),
    WAITS: _("waits"),
    ASKED: _("asked"),
    DONE: _("done"),
    NOT_THERE: _("nothing there"),
    CONFIRMED: _("confirmed"),
    NOT_POSSIBLE: _("only by hand"),
}
"""How a step or a platform stands, as people say it."""

SHADES = {
    OPEN: "idle",
    WAITS: "wait",
    ASKED: "wait",
    DONE: "good",
    NOT_THERE: "idle",
    CONFIRMED: "good",
    NOT_POSSIBLE: "warn",
}
"""Its colour."""


def look(room: Room, asked: Asked) -> Mapping[str, Any]:
    """What a count found, where somebody was named, and every receipt, the youngest first."""
    user, person = asked.get("user"), asked.get("person")
    frame = {
        "user": user,
        "person": person,
        "brand": asked.get("brand"),
        "brands": sorted({app.brand for app in room.config.apps.values()}),
        "receipt": asked.get("receipt"),
        "whose": asked.get("whose"),
        "of_a_folder": room.config.store is None,
        "counts": None,
        "trouble": "",
        "receipts": [],
    }
    from lendsignal.erase.receipt import receipts

    frame["receipts"] = receipts(room.config)
    if user or person:
        try:
            frame["counts"] = _counts(room.config, _about(room.config, asked.query))
        except InputError as error:
            frame["trouble"] = asked.words.error(error)
    return frame


def progress(room: Room, asked: Asked) -> Mapping[str, Any]:
    """How far one erasure is; with `whose`, whether it is about that user."""
    if not asked.get("receipt"):
        return {"found": None}
    from lendsignal.erase.receipt import receipt_of

    found = receipt_of(room.config, asked.get("receipt"))
    whose = asked.get("whose")
    is_theirs = None
    if whose:
        one = _about(room.config, {"user": whose, "brand": asked.get("brand")})
        is_theirs = set(subjects_of(one, bytes.fromhex(found.salt))) <= set(found.subjects)
    ended = sum(place.state in (DONE, NOT_THERE) for place in found.places)
    return {
        "found": found,
        "meaning": found.meaning,
        "states": STATES,
        "shades": SHADES,
        "through": ended,
        "whose": whose,
        "is_theirs": is_theirs,
        "goes_on": found.ended is None,
        "is_served": room.config.store is not None or room.folder.is_running("core"),
    }


def erase(room: Room, asked: Asked, fields: Mapping[str, str]) -> Went:
    """Notes durably that they are to be erased; the service carries it on within seconds.

    The audit holds the receipt's number and who asked, and nothing about whom.
    """
    from lendsignal.erase.asking import ask

    if fields.get("sure") != "yes":
        raise InputError("sure", _("has to be ticked: an erasure cannot be undone"))
    job = ask(room.config, _about(room.config, fields), asked.member.login, room.clock)
    said = asked.words("Erasure %(receipt)s is asked for, and begins within seconds.", receipt=job.receipt)
    return Went(said, f"/erasures?receipt={job.receipt}")


def allow(room: Room, asked: Asked, fields: Mapping[str, str]) -> Went:
    """What they do from now on is taken again, as a new user's."""
    from lendsignal.erase.asking import allow_again

    n = allow_again(room.config, _about(room.config, fields), room.clock)
    return Went(asked.words("%(n)s may come in again, from now on.", n=n), "/erasures")


def receipt_file(room: Room, asked: Asked) -> tuple[str, str, bytes]:
    """One receipt, as `lendsignal erase --receipt` prints it to a program."""
    from lendsignal.erase.receipt import receipt_of

    found = receipt_of(room.config, asked.get("receipt"))
    body = msgspec.json.format(msgspec.json.encode(found), indent=2)
    return f"erasure-{found.receipt}.json", "application/json", body + b"\n"


def kept_out_file(room: Room, asked: Asked) -> tuple[str, str, bytes]:
    """Everybody who is kept out, by hash: what `restore --erasures` reads. It names nobody."""
    from lendsignal.erase.again import nameless, remembered

    found = remembered(room.config) if room.config.store is None else None
    if found is None:
        raise InputError("erasures", _("nobody was ever erased"))
    name = f"erasures-{from_us(room.now_us()):%Y-%m-%d}.json"
    return name, "application/json", msgspec.json.encode(nameless(found))


def _about(config: Config, given: Mapping[str, str]) -> About:
    """Whom the fields mean. Raises `InputError` where that is not clear."""
    from lendsignal.erase.asking import subject_of

    user, person, brand = (given.get(name, "").strip() or None for name in ("user", "person", "brand"))
    return subject_of(config, user, brand=brand if person is None else None, person=person)


def _counts(config: Config, about: About) -> Mapping[str, Any]:
    """What the log holds of them; where there is no log yet, nothing."""
    from lendsignal.erase.asking import counted

    try:
        found = counted(config, about)
    except NotYet:
        return {**dict.fromkeys(COUNTED, 0), "users": len(about.users), "apps": ()}
    return {**{name: getattr(found, name) for name in COUNTED}, "apps": found.apps}


PAGE = Page(
    path="/erasures",
    title=_("Erasure"),
    template="pages/erasures.html",
    look=look,
    group=Group.HOUSE,
    place=15,
    may=May.GOVERN,
    panels={"receipt": Panel(template="pages/erasures_receipt.html", look=progress)},
    acts={
        "erase": Act(do=erase, may=May.GOVERN),
        "allow": Act(do=allow, may=May.GOVERN),
    },
    files={"receipt": File(make=receipt_file), "kept-out": File(make=kept_out_file)},
)
