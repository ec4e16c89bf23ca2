"""The facts of a platform's interface, and the shapes every destination file is made of.

A destination file holds, in this order: `Settings`, `SPEC`, `encode`, `request`, `classify`.
Shared code checks ids and age against `SPEC`, batches, paces, signs, sends and records.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, Protocol, TypeAlias

import msgspec
from msgspec import Struct

from lendsignal.model import (
    Accepted,
    Delivery,
    IdKind,
    Outcome,
    Paused,
    Rejected,
    Retry,
    Skip,
)

Item: TypeAlias = Mapping[str, Any]
"""One event object as the platform wants it."""


class Bearer(Struct, frozen=True):
    """`Authorization: Bearer <secret>`; `field` names the secret in the destination's settings."""

    field: str


class HeaderAuth(Struct, frozen=True):
    """A header of the platform's own that carries the bare secret."""

    name: str
    field: str


class QueryAuth(Struct, frozen=True):
    """The secret as a query parameter, joined to the address at the last moment."""

    name: str
    field: str


class MetaAuth(Struct, frozen=True):
    """Meta: `access_token` in the query and, where an app secret is set, `appsecret_proof`."""

    token_field: str
    app_secret_field: str


class WebhookAuth(Struct, frozen=True):
    """Standard Webhooks: `webhook-id`, `webhook-timestamp`, `webhook-signature` (HMAC-SHA256)."""

    field: str


Auth = Bearer | HeaderAuth | QueryAuth | MetaAuth | WebhookAuth


class Retries(Struct, frozen=True):
    """`on_unknown`: send again, at most `times`, after a request that left and was never answered."""

    times: int


class Hold(Struct, frozen=True):
    """`on_unknown`: after a request that left and was never answered, wait for a person."""


class Spec(Struct, frozen=True, kw_only=True):
    """What is true of a platform for every lender; `docs_read` is the date its page was read.

    `hosts`: the only hosts a request may go to. `any_of_ids`: a delivery without one of them is skipped.
    `max_age`: the platform's window at sending. `per_second`: requests a second an account takes.
    `batch`: events a request; `batch_by`: the item key that must be equal within one request.
    `dedupe`: how long the platform promises to drop a repeated id, `None` for never.
    `late`: what to do past `max_age`: `skip`, or `send` where the platform only re-dates it.
    """

    name: str
    label: str
    docs: str
    docs_read: str
    hosts: tuple[str, ...]
    auth: Auth
    any_of_ids: tuple[IdKind, ...]
    max_age: timedelta
    per_second: float
    batch: int = 1
    batch_by: str | None = None
    max_bytes: int | None = None
    dedupe: timedelta | None = None
    late: Literal["send", "skip"] = "skip"
    on_unknown: Retries | Hold = Retries(3)
    negative_value: bool = False
    neutral_names: bool = True


class Request(Struct, frozen=True, kw_only=True):
    """One HTTP request without its secret: safe to keep for retry and audit.

    `json` or `form` becomes the body; `key` is what signing schemes name the message by.
    """

    method: str
    url: str
    json: Any = None
    form: Mapping[str, str] | None = None
    headers: Mapping[str, str] = {}
    key: str = ""


class Response(Struct, frozen=True, kw_only=True):
    """The platform's answer: header names in lower case."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


class Destination(Protocol):
    """What a destination file is, seen as a type."""

    Settings: type[Struct]
    SPEC: Spec
    encode: Callable[[Delivery, Any], Item | Skip]
    request: Callable[[Sequence[Item], Any], Request]
    classify: Callable[[Response, int], Sequence[Outcome]]


def present(**fields: Any) -> dict[str, Any]:
    """The fields that have a value: `None` is left out, so a missing fact is missing on the wire."""
    return {name: value for name, value in fields.items() if value is not None}


def by_status(response: Response) -> Outcome:
    """The outcome by HTTP status alone; destinations refine it by the body.

    2xx accepted · 401/403 paused · 429 retry uncounted, honouring Retry-After · 408/425 retry ·
    501/505 rejected · other 5xx retry · the rest rejected.
    """
    status = response.status
    if 200 <= status < 300:
        return Accepted()
    if status in (401, 403):
        return Paused(f"http_{status}")
    if status == 429:
        return Retry("throttled", after=retry_after(response), counts=False)
    if status in (408, 425) or (status >= 500 and status not in (501, 505)):
        return Retry(f"http_{status}", after=retry_after(response))
    return Rejected(f"http_{status}")


def retry_after(response: Response) -> timedelta | None:
    """`Retry-After` in seconds, at most a day; a date form or garbage gives `None`."""
    text = response.headers.get("retry-after", "").strip()
    return timedelta(seconds=min(int(text), 86_400)) if text.isdecimal() else None


def body_json(response: Response) -> Any:
    """The body as JSON; `None` where it is not (an edge's HTML page, a half answer)."""
    try:
        return msgspec.json.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
