"""`[people]` and `[consent]`: who is no customer, and what counts for those who were never asked."""

import re
from typing import Annotated

from msgspec import Meta, Struct

from lendsignal.config.notes import Notes
from lendsignal.config.rules import EXPRESSION
from lendsignal.derive import compiled
from lendsignal.errors import InputError
from lendsignal.plan import People


class ConsentSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What counts where a user was never asked."""

    default: Annotated[
        dict[str, bool],
        Meta(description="country = whether an unasked user's data may go out; true by default"),
    ] = {}


class PeopleSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is no customer: staff, testers, emulators, rings of devices. They are never valued or tiered."""

    test: Annotated[
        tuple[Annotated[str, Meta(pattern="^[^:]+:.+$")], ...],
        Meta(description='users that are no customers, as "brand:user_id"'),
    ] = ()
    test_file: Annotated[
        str | None, Meta(description="a file with more of them, one a line, from this file's folder")
    ] = None
    test_rule: Annotated[
        str | None,
        Meta(description="CEL over event, user and snapshot: whoever fulfils it once is a test user"),
    ] = None


def people_of(settings: PeopleSettings, notes: Notes) -> People:
    """Who is no customer, by the list, the file and the rule."""
    listed = set(settings.test)
    if settings.test_file is not None:
        listed |= set(_listed_in(settings.test_file, notes))
    if settings.test_rule is not None:
        try:
            compiled(settings.test_rule, "bool")
        except InputError as error:
            notes.wrong("people.test_rule", f"{error.field}: {error.rule}", EXPRESSION)
            return People(test=frozenset(listed))
    return People(test=frozenset(listed), test_rule=settings.test_rule)


def _listed_in(file: str, notes: Notes) -> list[str]:
    """The users that a file lists, one a line."""
    try:
        lines = (notes.folder / file).read_text().split("\n")
    except (OSError, UnicodeDecodeError):
        allowed = "a text file with one brand:user_id a line"
        notes.wrong("people.test_file", "no file that can be read", allowed)
        return []
    words = {number: line.strip() for number, line in enumerate(lines, 1) if line.strip()}
    for number, word in words.items():
        if not re.fullmatch(r"[^:]+:.+", word):
            where = f"line {number}, which is no brand:user_id"
            notes.wrong("people.test_file", where, "one brand:user_id a line")
    return list(words.values())
