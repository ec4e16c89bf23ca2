"""The HTTP door for events: `POST /v1/events` and `GET /v1/events/{id}`, as a plain ASGI application.

2xx only after the events are durable. Each event of a request is answered by itself; errors are
`application/problem+json`.
"""

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from hashlib import sha256
from time import monotonic
from typing import Any

import msgspec
from msgspec import Struct

from lendsignal.clock import Clock, from_us
from lendsignal.errors import InputError
from lendsignal.log import Log, Quarantined
from lendsignal.model import Event
from lendsignal.source.intake import Full, Intake
from lendsignal.source.meters import SourceMeters
from lendsignal.source.reading import Reader, masked, read_array, read_event, read_json
from lendsignal.source.settings import DoorSettings

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_json = msgspec.json.Encoder().encode


class Taken(Struct, frozen=True, omit_defaults=True, tag_field="status", tag="accepted"):
    """The answer to one event that is durable now: `"status": "accepted"`."""

    event_id: str
    flags: tuple[str, ...] = ()


class Refused(Struct, frozen=True, omit_defaults=True, tag_field="status", tag="refused"):
    """The answer to one event that cannot be taken (`"status": "refused"`): it is kept in quarantine."""

    field: str
    rule: str
    nearest: str | None = None


class Problem(Struct, frozen=True, omit_defaults=True):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str = ""
    field: str | None = None
    nearest: str | None = None


class Door:
    """Answers event requests. `keys` maps the SHA-256 of an API key to its source's name."""

    def __init__(
        self,
        settings: DoorSettings,
        reader: Reader,
        intake: Intake,
        log: Log,
        clock: Clock,
        keys: Mapping[str, str],
        meters: SourceMeters | None = None,
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._intake = intake
        self._log = log
        self._clock = clock
        self._keys = keys
        self._meters = meters or SourceMeters()
        self._known: dict[bytes, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, for the two event paths only; the caller routes everything else."""
        begun = monotonic()

        async def counted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self._meters.answered(message["status"], monotonic() - begun)
            await send(message)

        await self._handle(scope, receive, counted)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        source = self._source(headers.get(b"authorization", b""))
        if source is None:
            return await _problem(
                send, 401, "unauthorised", "an API key is needed: Authorization: Bearer <key>"
            )
        path: str = scope["path"]
        if scope["method"] == "GET" and path.startswith("/v1/events/"):
            return await self._show(path.removeprefix("/v1/events/"), send)
        if scope["method"] != "POST" or path != "/v1/events":
            return await _problem(send, 405, "method not allowed", "POST /v1/events or GET /v1/events/{id}")
        try:
            body = await self._body(headers, receive)
            items, single = self._items(body, headers.get(b"content-type", b""))
        except _Refusal as refusal:
            if refusal.keep:
                kept = self._quarantined(source, "body", refusal.detail, refusal.body)
                if not await self._durable(send, [], [kept]):
                    return None
            return await _problem(send, refusal.status, refusal.title, refusal.detail)
        await self._take(items, single, source, send)
        return None

    async def _take(self, items: "_Items", single: bool, source: str, send: Send) -> None:
        received_at = from_us(self._clock.now_us())
        events: list[Event] = []
        refused: list[Quarantined] = []
        answers: list[Taken | Refused] = []
        for number, item in enumerate(items.read):
            try:
                found = read_json(item) if isinstance(item, bytes) else item
                event = read_event(found, received_at, self._reader, source=source)
            except InputError as error:
                answers.append(Refused(error.field, error.rule, error.nearest))
                refused.append(self._quarantined(source, error.field, error.rule, items.sent(number)))
            else:
                events.append(event)
                answers.append(Taken(event.event_id, flags=event.flags))
        if not await self._durable(send, events, refused):
            return None
        if single:
            (answer,) = answers
            if isinstance(answer, Refused):
                return await _problem(
                    send, 422, "event refused", answer.rule, field=answer.field, nearest=answer.nearest
                )
            return await _answer(send, 202, answer)
        status = 202 if events or not refused else 422
        return await _answer(
            send, status, {"accepted": len(events), "refused": len(refused), "results": answers}
        )

    async def _durable(self, send: Send, events: Sequence[Event], refused: Sequence[Quarantined]) -> bool:
        """Whether all of it is on disk now; where it is not, the sender has been told to come again."""
        try:
            await self._submit(events, refused)
        except Full:
            await _problem(send, 429, "too many requests", "come again in a second", retry_after=1)
        except Exception:
            await _problem(
                send, 503, "not durable", "the log does not take events; send them again", retry_after=5
            )
        else:
            return True
        return False

    async def _submit(self, events: Sequence[Event], refused: Sequence[Quarantined]) -> None:
        loop = asyncio.get_running_loop()
        durable: asyncio.Future[None] = loop.create_future()

        def settle(error: Exception | None) -> None:
            if durable.done():
                return
            if error is None:
                durable.set_result(None)
            else:
                durable.set_exception(error)

        def done(error: Exception | None) -> None:
            loop.call_soon_threadsafe(settle, error)

        self._intake.submit(events, refused, done)
        await durable

    async def _show(self, event_id: str, send: Send) -> None:
        """Every event of that id with its verdict: `pending` until it is decided."""
        found = await asyncio.to_thread(self._log.find, event_id)
        if not found:
            return await _problem(send, 404, "unknown event", "no event of that id is in the log")
        shown = [
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
        return await _answer(send, 200, {"events": shown})

    def _source(self, authorization: bytes) -> str | None:
        known = self._known.get(authorization)
        if known is None:
            word, _, key = authorization.partition(b" ")
            known = self._keys.get(sha256(key.strip()).hexdigest()) if word.lower() == b"bearer" else None
            if known is not None:
                self._known[authorization] = known
        return known

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        """The request's body, unpacked; never more in memory than the limit allows."""
        limit = self._settings.max_bytes
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > limit:
            raise _Refusal(413, "too large", f"a request may have {limit} bytes")
        encoding = headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding not in (b"identity", b"gzip", b""):
            raise _Refusal(415, "unsupported encoding", "content-encoding may be gzip or absent")
        unpacker = _Unpacker() if encoding == b"gzip" else None
        parts: list[bytes] = []
        size = arrived = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Refusal(400, "request ended early", "the connection closed before the body was whole")
            part: bytes = message.get("body", b"")
            arrived += len(part)
            if arrived > limit:
                raise _Refusal(413, "too large", f"a request may have {limit} bytes")
            if unpacker is not None:
                try:
                    part = unpacker.unpacked(part, limit + 1 - size)
                except zlib.error:
                    raise _Refusal(400, "malformed gzip", "the body is not whole gzip data") from None
            size += len(part)
            if size > limit:
                raise _Refusal(413, "too large", f"a request may have {limit} bytes")
            parts.append(part)
            more = message.get("more_body", False)
        if unpacker is not None and not unpacker.whole:
            raise _Refusal(400, "malformed gzip", "the body is not whole gzip data")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _items(self, body: bytes, content_type: bytes) -> "tuple[_Items, bool]":
        """The events of a body, and whether it was a single one: an object, an array, or one a line."""
        if b"ndjson" in content_type or b"jsonl" in content_type:
            lines = [line for line in body.splitlines() if line.strip()]
            return self._few(_Items(body, lines)), False
        start = body.lstrip()[:1]
        if start == b"[":
            return self._few(_Items(body, read_array(body) or _apart(body))), False
        if start == b"":
            raise _Refusal(400, "empty body", "send one event, an array, or one event a line")
        return _Items(body, [body]), True

    def _few(self, items: "_Items") -> "_Items":
        limit = self._settings.max_events
        if len(items.read) > limit:
            raise _Refusal(413, "too many events", f"a request may have {limit} events")
        if not items.read:
            raise _Refusal(400, "empty body", "send one event, an array, or one event a line")
        return items

    def _quarantined(self, source: str, field: str, rule: str, raw: bytes) -> Quarantined:
        return Quarantined(
            received_us=self._clock.now_us(), source=source, field=field, rule=rule, body=masked(raw)
        )


class _Items:
    """The events of one request: the bytes of each, or, of an array, what was read in one go."""

    def __init__(self, body: bytes, read: Sequence[bytes | dict[str, Any]]) -> None:
        self._body = body
        self._sent: Sequence[bytes] = ()
        self.read = read

    def sent(self, number: int) -> bytes:
        """The bytes that one event was sent as."""
        item = self.read[number]
        if isinstance(item, bytes):
            return item
        self._sent = self._sent or _apart(self._body)
        return self._sent[number]


def _apart(body: bytes) -> Sequence[bytes]:
    """The bytes of every item of a JSON array."""
    try:
        return [bytes(item) for item in msgspec.json.decode(body, type=list[msgspec.Raw])]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _Refusal(400, "malformed JSON", "the array is not whole JSON", body, keep=True) from error


class _Unpacker:
    """Gzip, unpacked part by part. A body may be several members, one behind the other (RFC 1952, 2.2)."""

    MEMBERS = 1_000

    def __init__(self) -> None:
        self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._members = 1

    @property
    def whole(self) -> bool:
        """Whether the data so far ends where a member ends."""
        return self._member.eof

    def unpacked(self, part: bytes, limit: int) -> bytes:
        """What the next part unpacks to, cut off at `limit` bytes; raises `zlib.error`."""
        found = b""
        while part and len(found) < limit:
            if self._member.eof:
                self._members += 1
                if self._members > self.MEMBERS:
                    raise zlib.error("too many members")
                self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
            found += self._member.decompress(part, limit - len(found))
            part = self._member.unused_data
        return found


class _Refusal(Exception):
    """A request that is refused whole; `keep` where its body goes to quarantine."""

    def __init__(
        self, status: int, title: str, detail: str, body: bytes = b"", *, keep: bool = False
    ) -> None:
        self.status, self.title, self.detail = status, title, detail
        self.body, self.keep = body, keep
        super().__init__(title)


async def _answer(send: Send, status: int, body: object) -> None:
    await _respond(send, status, _json(body), b"application/json")


async def _problem(
    send: Send,
    status: int,
    title: str,
    detail: str,
    *,
    field: str | None = None,
    nearest: str | None = None,
    retry_after: int | None = None,
) -> None:
    kind = f"urn:lendsignal:problem:{title.replace(' ', '-')}"
    problem = Problem(type=kind, title=title, status=status, detail=detail, field=field, nearest=nearest)
    extra = [(b"www-authenticate", b"Bearer")] if status == 401 else []
    if retry_after is not None:
        extra.append((b"retry-after", str(retry_after).encode()))
    await _respond(send, status, _json(problem), b"application/problem+json", extra)


async def _respond(
    send: Send, status: int, body: bytes, kind: bytes, extra: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *extra]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
