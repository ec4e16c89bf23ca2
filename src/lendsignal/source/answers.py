"""How the doors answer over plain ASGI: JSON, and RFC 9457 problems."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

if TYPE_CHECKING:  # who refuses a call needs neither
    from lendsignal.log import Fact
    from lendsignal.plan import Verdict

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_json = msgspec.json.Encoder().encode


class Problem(Struct, frozen=True, omit_defaults=True):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str = ""
    field: str | None = None
    nearest: str | None = None


class Refusal(Exception):
    """A request that is refused whole; `keep` where its body goes to quarantine.

    `why` is the word by which it is counted, `source` whose key it came with, where that is known;
    `retry_after` whole seconds.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        body: bytes = b"",
        *,
        keep: bool = False,
        why: str = "malformed",
        source: str = "",
        retry_after: int | None = None,
    ) -> None:
        self.status, self.title, self.detail = status, title, detail
        self.body, self.keep, self.why, self.source, self.retry_after = body, keep, why, source, retry_after
        super().__init__(title)


def with_verdicts(found: "Iterable[tuple[Fact, Verdict | None]]") -> list[dict[str, object]]:
    """Events as whoever sent them is told of them; the verdict is `pending` until there is one."""
    return [
        {
            "event_id": fact.event.event_id,
            "type": fact.event.type,
            "occurred_at": fact.event.occurred_at,
            "received_at": fact.event.received_at,
            "source": fact.event.source,
            "flags": fact.event.flags,
            "verdict": "pending" if verdict is None else verdict.value,
        }
        for fact, verdict in found
    ]


async def answer(send: Send, status: int, body: object) -> None:
    """A JSON document."""
    await respond(send, status, _json(body), b"application/json")


async def problem(
    send: Send,
    status: int,
    title: str,
    detail: str,
    *,
    field: str | None = None,
    nearest: str | None = None,
    retry_after: int | None = None,
) -> None:
    """A problem in words."""
    kind = f"urn:lendsignal:problem:{title.replace(' ', '-')}"
    told = Problem(type=kind, title=title, status=status, detail=detail, field=field, nearest=nearest)
    await respond(send, status, _json(told), b"application/problem+json", headers_of(status, retry_after))


def headers_of(
    status: int, retry_after: int | None, *, scheme: bytes = b"Bearer"
) -> list[tuple[bytes, bytes]]:
    """What stands beside a refusal: how to sign in, and when to come again."""
    found = [(b"www-authenticate", scheme)] if status == 401 else []
    if retry_after is not None:
        found.append((b"retry-after", str(retry_after).encode()))
    return found


async def respond(
    send: Send, status: int, body: bytes, kind: bytes, extra: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """Any answer."""
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *extra]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
