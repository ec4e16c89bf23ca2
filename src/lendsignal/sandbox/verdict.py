"""What a stand-in was asked, what it answers, and what it truly took or refused."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

JSON = (("content-type", "application/json"),)
TEXT = (("content-type", "text/plain; charset=utf-8"),)


class Asked(Struct, frozen=True, kw_only=True):
    """One HTTP request as the platform would see it.

    `path` is percent-decoded and starts after the host; `query` is raw; header names are in lower case.
    """

    host: str
    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Taken(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="taken"):
    """One conversion the platform took. All times are microseconds since 1970, UTC.

    `conversion_id`: the id on the wire, in the platform's own field; `None` where none was sent.
    `occurred_us`: the time that was sent, `None` where none was; `stamped_us`: the time the platform
    files it under. `recorded` is false where the platform says yes and keeps nothing.
    `value` is the amount as it was written; `ids` are device ids by our names (`gaid`, `idfv`, …).
    `warnings`: what the platform lets pass and a careful sender would not send. `item`: as it came.
    """

    platform: str
    account: str
    conversion_id: str | None
    name: str
    occurred_us: int | None
    stamped_us: int
    received_us: int
    recorded: bool = True
    value: str | None = None
    currency: str | None = None
    ids: dict[str, str] = {}
    user_id: str | None = None
    warnings: tuple[str, ...] = ()
    item: Any = None


class Refused(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="refused"):
    """What was not taken: the rule that refused it (never the value), and how many rows fell with it.

    `index` is the row that broke the rule, `None` where the whole request did.
    """

    platform: str
    account: str
    reason: str
    received_us: int
    status: int
    rows: int = 1
    index: int | None = None
    item: Any = None


class Answer(Struct, frozen=True, kw_only=True):
    """The HTTP answer, and what became of what was asked."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    taken: tuple[Taken, ...] = ()
    refused: tuple[Refused, ...] = ()


def decoded(body: bytes) -> Any:
    """The body as JSON; `None` where it is not (`null` is no use to any platform either)."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def media_type(headers: Mapping[str, str]) -> str:
    """The content type without its parameters, in lower case."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()
