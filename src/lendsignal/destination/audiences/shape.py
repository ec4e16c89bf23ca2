"""The facts of a platform's lists of people, and the shapes every file of this folder is made of.

A file holds, in this order: `Settings`, `SPEC`, `FIELDS`, `row`, `find` with `found`, `create` with
`created`, `request`, `classify`; and, only where the platform has it, `then` (a second call after the first),
`ask` with `verdict` (an answer that comes later), `begin`, `replace` and `finish` (the whole list anew),
`look` with `seen` (how many it counts), `look_alike` (an audience made of a seed). Shared code makes chunks,
paces, signs, sends, halves what was refused whole, asks again and records.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, Protocol, TypeAlias

from msgspec import Struct

from lendsignal.destination.spec import (
    Auth,
    Bearer,
    GoogleAuth,
    HeaderAuth,
    MetaAuth,
    Request,
    Response,
    sensitive_word,
)
from lendsignal.model import Outcome
from lendsignal.model.audience import Action, AudienceMember, Sync

Row: TypeAlias = Any
"""What the platform is told of one member."""


class RefreshAuth(Struct, frozen=True, kw_only=True):
    """A bearer token that is fetched by `url` with a refresh token (RFC 6749, 6); the three are names of
    secrets in the settings."""

    url: str
    client_id: str
    client_secret: str
    refresh_token: str


class FileAuth(Struct, frozen=True):
    """What is written as a file needs no token."""


AudienceAuth: TypeAlias = Bearer | HeaderAuth | MetaAuth | GoogleAuth | RefreshAuth | FileAuth


class AudienceSpec(Struct, frozen=True, kw_only=True):
    """What is true of a platform's lists for every lender; `docs_read` is the date its page was read.

    `chunk`: members a request. `per_second`: requests a second an account takes, `burst` of them at once.
    `floor`: members from which the platform lets a list be used; `seed_floor`: from which it makes
    look-alikes, all of one country. `removes_from`: the smallest list that it lets members be removed from;
    a smaller one is replaced whole. `verdict_after`, `verdict_within`: when a pending verdict is first asked
    for, and when asking ends. `used_percent`: how much of the account's allowance is used, read from an
    answer. `slow`: how long a change takes to be felt there, for people.
    """

    name: str
    label: str
    docs: str
    docs_read: str
    hosts: tuple[str, ...]
    auth: AudienceAuth
    chunk: int
    per_second: float
    burst: float | None = None
    floor: int = 0
    seed_floor: int = 0
    removes_from: int = 0
    slow: timedelta = timedelta(hours=24)
    verdict_after: timedelta = timedelta(minutes=15)
    verdict_within: timedelta = timedelta(hours=30)
    session_within: timedelta | None = None
    used_percent: Callable[[Response], float | None] | None = None


class Batch(Struct, frozen=True, kw_only=True):
    """One part of a list that is sent anew: the `number`-th from 1 of a `session`, maybe the `last` of it.

    `total`: members of the whole. `began_us`: when the session began, in microseconds since 1970.
    """

    session: int
    number: int
    last: bool
    total: int
    began_us: int


class Seen(Struct, frozen=True, kw_only=True):
    """What a platform tells of a list: members that it counts, and what keeps the list from being used.

    `rate`: the part of ours that it found, from 0 to 1. `None` where it does not say.
    """

    size: int | None = None
    rate: float | None = None
    problem: str | None = None


class LookAlike(Struct, frozen=True, kw_only=True):
    """An audience that the platform makes of a seed: its neutral name, for one country (ISO 3166).

    `share`: how wide, the part of the country's users from 0.01 to 0.2.
    """

    code: str
    country: str
    share: float = 0.01


class Upload(Struct, frozen=True, kw_only=True):
    """A request whose body is a form with one file in it; the secret joins in a header."""

    url: str
    fields: Mapping[str, str]
    name: str
    content: bytes


class AudiencePlatform(Protocol):
    """What a file of this folder is, seen as a type.

    `FIELDS` is the firewall, by the names of `fields_of`. What only some platforms have is looked for by
    name:

    `then(response, action, sync, settings) -> Request`: what a request that was accepted is followed by.
    `ask(handle, settings) -> Request`, `verdict(response, count) -> Sequence[Outcome]`: as destinations have.
    `match_rate(response) -> float | None`: the part of ours that was found, out of that verdict.
    `begin(sync, settings) -> Request`: what a list that is sent anew begins with.
    `replace(rows, batch, sync, settings) -> Request | Upload`: one part of the list sent anew.
    `place(response) -> str`: of a part that was uploaded, what `finish` names it by.
    `finish(places, batch, sync, settings) -> Sequence[Request]`: what makes the parts the list.
    `waits_for_verdicts`: whether `finish` may only follow once every part has its verdict.
    `drop(sync, settings) -> Request`, `dropped(response) -> Sequence[Outcome]`: the list is taken away.
    `look(sync, settings) -> Request`, `seen(response, sync) -> Seen | None`.
    `look_alike(made, sync, settings) -> Request`, answered as `create` is.
    """

    Settings: type[Any]
    SPEC: AudienceSpec
    FIELDS: frozenset[str]
    row: Callable[[AudienceMember, Sync, Any], Row | None]
    find: Callable[[Sync, Any], Request | None]
    found: Callable[[Response, Sync], str | Outcome | None]
    create: Callable[[Sync, Any], Request | None]
    created: Callable[[Response], str | Outcome]
    request: Callable[[Action, Sequence[Row], Sync, Any], "Request | Upload"]
    classify: Callable[[Response, int], Sequence[Outcome]]


_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_NOBODY = "00000000-0000-0000-0000-000000000000"

IdName: TypeAlias = Literal["mobile", "email", "phone", "user"]
"""By what a member may be known to a platform: advertising id, hashed e-mail, hashed phone, our own id."""


def mobile_id(member: AudienceMember) -> str | None:
    """The advertising id of the phone of the last login, lower case; all zeros or no UUID counts as none."""
    given = member.idfa if member.os == "ios" else member.gaid
    if given is None and member.os is None:
        given = member.gaid or member.idfa
    found = (given or "").lower()
    return found if _UUID.fullmatch(found) and found != _NOBODY else None


def problem_with_code(code: str) -> str | None:
    """Why this must not be a list's name on a platform, or `None`: the name tells nothing of its members."""
    if not _CODE.fullmatch(code):
        return "is no code of letters, digits, - and _"
    word = sensitive_word(code)
    return None if word is None else f"holds {word!r}, which tells a borrower's standing"


__all__ = [
    "AudienceAuth",
    "AudiencePlatform",
    "AudienceSpec",
    "Auth",
    "Batch",
    "FileAuth",
    "IdName",
    "LookAlike",
    "RefreshAuth",
    "Row",
    "Seen",
    "Upload",
    "mobile_id",
    "problem_with_code",
]
