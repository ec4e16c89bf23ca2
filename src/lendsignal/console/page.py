"""What a page of the console is: one file in `pages/` with a `PAGE`, and what it shows and does.

A page looks (GET) and acts (POST); both run in a thread and may wait for the disk. What takes long to reckon
is a panel: the page comes at once, and the panel after it.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from lendsignal.console.words import marked as _
from lendsignal.model.member import May, Member

if TYPE_CHECKING:
    from lendsignal.console.room import Room
    from lendsignal.console.words import Words


class Group(StrEnum):
    """The headings of the navigation, in the order of the day."""

    TODAY = _("Today")
    USERS = _("Users and money")
    SENDING = _("Sending")
    DECIDING = _("Deciding")
    HOUSE = _("House")


class Asked(Struct, frozen=True, kw_only=True):
    """One request: who asks, in which words, for what. `query` holds the first value of each parameter."""

    member: Member
    words: "Words"
    query: Mapping[str, str]
    now_us: int
    many: Mapping[str, tuple[str, ...]] = {}
    """Every value of each parameter."""
    address: str = ""

    def get(self, name: str, *choices: str) -> str:
        """A parameter, trimmed and short; where choices are given, the first of them unless it is one."""
        found = self.query.get(name, "").strip()[:256]
        if not choices:
            return found
        return found if found in choices else choices[0]

    def number(self, name: str, otherwise: int, *, least: int = 0, most: int = 10_000) -> int:
        """A parameter as a whole number within bounds."""
        found = self.query.get(name, "")
        return min(max(int(found), least), most) if found.isascii() and found.isdigit() else otherwise


Look = Callable[["Room", Asked], Mapping[str, Any]]
"""What the template is filled with. Raises `LendsignalError`, which is shown in its place."""


class Went(Struct, frozen=True):
    """What an act says where it leads to another address than the form's own."""

    said: str
    to: str


Do = Callable[["Room", Asked, Mapping[str, str]], str | Went]
"""What an act does with a form's fields, and says of it. Raises `LendsignalError`, which is shown."""


class Panel(Struct, frozen=True, kw_only=True):
    """A part of a page that comes after it. `fresh`: again whenever something changed.

    `kept`: it says nothing but what the tables of reports and the address say, so that it is reckoned once
    for all who ask the same.
    """

    template: str
    look: Look
    fresh: bool = False
    kept: bool = False


class File(Struct, frozen=True, kw_only=True):
    """Something of a page to keep: `make` gives its name, its media type and what stands in it."""

    make: Callable[["Room", Asked], tuple[str, str, bytes]]


class Act(Struct, frozen=True, kw_only=True):
    """A form of the page, and who may send it. What it says is written down with who did it; where `audited`
    is false the act does that itself."""

    do: Do
    may: May
    audited: bool = True


class Page(Struct, frozen=True, kw_only=True):
    """One page. `path` begins with /; `by_campaign`: also for members who see some campaigns, channels or
    apps only, as it shows them nothing of others."""

    path: str
    title: str
    template: str
    look: Look
    group: Group | None = None
    place: int = 50
    may: May = May.LOOK
    by_campaign: bool = False
    panels: Mapping[str, Panel] = {}
    acts: Mapping[str, Act] = {}
    files: Mapping[str, File] = {}

    def is_open_to(self, member: Member) -> bool:
        """Whether the member may see it."""
        return member.may(self.may) and (self.by_campaign or not member.is_limited)
