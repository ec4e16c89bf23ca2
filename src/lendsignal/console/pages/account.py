"""Whoever looks: the own name, what the role allows, and the language that is remembered."""

from collections.abc import Mapping
from typing import Any

from lendsignal.console.page import Act, Asked, Group, Page
from lendsignal.console.room import Room
from lendsignal.console.words import LANGUAGES
from lendsignal.console.words import marked as _
from lendsignal.errors import InputError
from lendsignal.model.member import ALLOWED, May


def look(room: Room, asked: Asked) -> Mapping[str, Any]:
    """The member, and what is remembered of him; of an open console there is nobody to remember."""
    with room.people() as people:
        kept = next((one for one in people.members() if one.login == asked.member.login), None)
    return {"kept": kept, "allowed": [one for one in May if one in ALLOWED[asked.member.role]]}


def remember(room: Room, asked: Asked, fields: Mapping[str, str]) -> str:
    """Keeps the member's own language; empty: that of each browser."""
    language = fields.get("language", "")
    if language and language not in LANGUAGES:
        raise InputError("language", f"one of {', '.join(LANGUAGES)}")
    with room.people() as people:
        people.change(asked.member.login, room.now_us(), by=asked.member.login, language=language)
    return asked.words("Remembered.")


PAGE = Page(
    path="/account",
    title=_("Your account"),
    template="pages/account.html",
    look=look,
    group=Group.HOUSE,
    place=1,
    by_campaign=True,
    acts={"remember": Act(do=remember, may=May.LOOK, audited=False)},
)
