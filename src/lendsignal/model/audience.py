"""Members of lists for ad platforms, and how far a list has come there."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

from lendsignal.model.contact import Contact

Use: TypeAlias = Literal["seed", "retargeting", "exclusion"]
"""What a list is for: look-alikes are made of it, it is shown ads, or it is not."""

Action: TypeAlias = Literal["add", "remove"]
"""What a platform is asked to do with members."""


class AudienceMember(Struct, frozen=True, kw_only=True, gc=False):
    """Somebody on a list, by what a platform may know the person by. `os` is android or ios, where known.

    `key` stands for the user *and* these ids: whoever changes the phone is another member, so that the old
    ids are removed and the new ones added. `user` is the SHA-256 of `brand:user_id`. `value` is in major
    units of the list's currency, 0 or more.
    """

    key: int
    user: str
    country: str | None = None
    os: str | None = None
    gaid: str | None = None
    idfa: str | None = None
    oaid: str | None = None
    appsflyer_id: str | None = None
    contact: Contact | None = None
    value: float | None = None


class Chunk(Struct, frozen=True, kw_only=True):
    """Members that a platform is to add or to remove in one call.

    `handle` is what its verdict is asked by, where that comes later.
    """

    number: int
    action: Action
    members: Sequence[AudienceMember]
    handle: str | None = None


class Sync(Struct, frozen=True, kw_only=True):
    """One list in one account of a platform.

    `code` is the list's name there, which says nothing of anybody. `remote` is the platform's id of it, once
    it was made. `intended` are the members it is to have: nobody where it is `retired`, only to be emptied.
    `state` is `ready` or `paused`, with its `reason`.
    """

    audience: str
    account: str
    code: str
    use: Use
    with_value: bool = False
    retired: bool = False
    remote: str | None = None
    state: str = "ready"
    reason: str = ""
    replace_asked: bool = False
    intended: int = 0

    @property
    def name(self) -> tuple[str, str]:
        """What tells it from others: audience and account."""
        return self.audience, self.account


class Counts(Struct, frozen=True, kw_only=True):
    """How far a list is: members intended and confirmed, changes still to do, and members refused."""

    intended: int
    confirmed: int
    adds: int
    removes: int
    refused: int
