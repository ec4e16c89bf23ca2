"""The HTTP door for events: `POST /v1/events` and `GET /v1/events/{id}`, as a plain ASGI application.

2xx only after the events are durable. Each event of a request is answered by itself; errors are
`application/problem+json`.
"""

import asyncio
from collections.abc import MutableMapping, Sequence
from time import monotonic
from typing import Any

import msgspec
from msgspec import Struct

from lendsignal.clock import Clock, from_us
from lendsignal.errors import InputError
from lendsignal.log import Quarantined, Taking
from lendsignal.model import Event
from lendsignal.source.answers import Problem, Receive, Refusal, Scope, Send, answer, problem, with_verdicts
from lendsignal.source.body import Body, Held
from lendsignal.source.ids import Warned
from lendsignal.source.intake import Full, Inlet
from lendsignal.source.keys import Access, BeyondKey, Keyring, within
from lendsignal.source.mending import kept_of
from lendsignal.source.meters import SourceMeters
from lendsignal.source.reading import ErasedUser, Reader, masked, read_array, read_event, read_json
from lendsignal.source.settings import DoorSettings

__all__ = ["Door", "Problem", "Refused", "Taken", "durable"]


class Taken(Struct, frozen=True, omit_defaults=True, tag_field="status", tag="accepted"):
    """The answer to one event that is durable now: `"status": "accepted"`."""

    event_id: str
    flags: tuple[str, ...] = ()
    warnings: tuple[Warned, ...] = ()


class Refused(Struct, frozen=True, omit_defaults=True, tag_field="status", tag="refused"):
    """The answer to one event that cannot be taken (`"status": "refused"`): it is kept in quarantine."""

    field: str
    rule: str
    nearest: str | None = None


class Door:
    """Answers event requests. `held` counts the bytes of all doors' requests that are in memory."""

    def __init__(
        self,
        settings: DoorSettings,
        reader: Reader,
        intake: Inlet,
        log: Taking,
        clock: Clock,
        keys: Keyring,
        meters: SourceMeters | None = None,
        held: Held | None = None,
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._intake = intake
        self._log = log
        self._clock = clock
        self._keys = keys
        self._meters = meters or SourceMeters()
        self._held = held or Held(settings.max_held_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, for the two event paths only; the caller routes everything else."""
        begun = monotonic()

        async def counted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self._meters.answered(message["status"], monotonic() - begun)
            await send(message)

        source = ""
        try:
            headers: dict[bytes, bytes] = dict(scope["headers"])
            shown = scope["method"] == "GET" and scope["path"].startswith("/v1/events/")
            access = self._keys.admit(headers.get(b"authorization", b""), "read" if shown else "events")
            source = access.source
            if shown:
                await self._show(scope["path"].removeprefix("/v1/events/"), access, counted)
            elif scope["method"] != "POST" or scope["path"] != "/v1/events":
                detail = "POST /v1/events or GET /v1/events/{id}"
                raise Refusal(405, "method not allowed", detail, why="method")
            else:
                await self._events(headers, access, receive, counted)
        except Refusal as refusal:
            self._meters.turned_away(refusal.source or source, refusal.why)
            await problem(
                counted, refusal.status, refusal.title, refusal.detail, retry_after=refusal.retry_after
            )

    async def _events(
        self, headers: dict[bytes, bytes], access: Access, receive: Receive, send: Send
    ) -> None:
        self._keys.wait(access)
        if self._intake.is_full:
            raise _come_again()
        limit = min(self._settings.max_bytes, access.max_bytes or self._settings.max_bytes)
        with Body(headers, limit, self._held) as arriving:
            try:
                body = await arriving.read(receive)
                items, single = self._items(body, headers.get(b"content-type", b""))
            except Refusal as refusal:
                if refusal.keep:
                    kept = self._quarantined(access.source, "body", refusal.detail, refusal.body)
                    await durable(self._intake, [], [kept])
                raise
            self._keys.take(access, len(items.read))
            await self._take(items, single, access, send)

    async def _take(self, items: "_Items", single: bool, access: Access, send: Send) -> None:
        received_at, source = from_us(self._clock.now_us()), access.source
        events: list[Event] = []
        refused: list[Quarantined] = []
        answers: list[Taken | Refused] = []
        beyond = 0
        for number, item in enumerate(items.read):
            try:
                found = read_json(item) if isinstance(item, bytes) else item
                warnings: list[Warned] = []
                event = read_event(found, received_at, self._reader, source=source, warnings=warnings)
                within(event, access, self._reader.apps)
            except BeyondKey as error:
                answers.append(Refused(error.field, error.rule))
                beyond += 1
            except InputError as error:
                answers.append(Refused(error.field, error.rule, error.nearest))
                sent = b"" if isinstance(error, ErasedUser) else items.sent(number)
                refused.append(self._quarantined(source, error.field, error.rule, sent))
            else:
                events.append(event)
                answers.append(Taken(event.event_id, event.flags, tuple(warnings)))
        await durable(self._intake, events, refused)
        if beyond:
            self._meters.turned_away(source, "limit")
        if single:
            (one,) = answers
            if isinstance(one, Refused) and beyond:
                return await problem(send, 403, "forbidden", one.rule, field=one.field)
            if isinstance(one, Refused):
                return await problem(
                    send, 422, "event refused", one.rule, field=one.field, nearest=one.nearest
                )
            return await answer(send, 202, one)
        none = 403 if beyond and not refused else 422
        status = 202 if events or not answers else none
        return await answer(
            send, status, {"accepted": len(events), "refused": len(refused) + beyond, "results": answers}
        )

    async def _show(self, event_id: str, access: Access, send: Send) -> None:
        """Every event of that id with its verdict: `pending` until it is decided. What the key is not for
        is as if it were not there."""
        found = [
            (fact, verdict)
            for fact, verdict in await asyncio.to_thread(self._log.find, event_id)
            if access.beyond(fact.event.brand, fact.event.app, self._reader.apps) is None
        ]
        if not found:
            detail = "no event of that id is in the log; what is older than it is in the archive alone"
            return await problem(send, 404, "unknown event", detail)
        return await answer(send, 200, {"events": with_verdicts(found)})

    def _items(self, body: bytes, content_type: bytes) -> "tuple[_Items, bool]":
        """The events of a body, and whether it was a single one: an object, an array, or one a line."""
        if b"ndjson" in content_type or b"jsonl" in content_type:
            lines = [line for line in body.splitlines() if line.strip()]
            return self._few(_Items(body, lines)), False
        start = body.lstrip()[:1]
        if start == b"[":
            return self._few(_Items(body, read_array(body) or _apart(body))), False
        if start == b"":
            raise Refusal(400, "empty body", "send one event, an array, or one event a line")
        return _Items(body, [body]), True

    def _few(self, items: "_Items") -> "_Items":
        limit = self._settings.max_events
        if len(items.read) > limit:
            raise Refusal(413, "too many events", f"a request may have {limit} events")
        if not items.read:
            raise Refusal(400, "empty body", "send one event, an array, or one event a line")
        return items

    def _quarantined(self, source: str, field: str, rule: str, raw: bytes) -> Quarantined:
        return Quarantined(
            received_us=self._clock.now_us(),
            source=source,
            field=field,
            rule=rule,
            body=masked(raw),
            kept=kept_of(raw),
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
        raise Refusal(400, "malformed JSON", "the array is not whole JSON", body, keep=True) from error


async def durable(intake: Inlet, events: Sequence[Event], refused: Sequence[Quarantined]) -> None:
    """Returns when all of it is on disk. Raises `Refusal`: the sender is to come again with all of it."""
    loop = asyncio.get_running_loop()
    written: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if written.done():
            return
        if error is None:
            written.set_result(None)
        else:
            written.set_exception(error)

    def done(error: Exception | None) -> None:
        loop.call_soon_threadsafe(settle, error)

    try:
        intake.submit(events, refused, done)
        await written
    except Full:
        raise _come_again() from None
    except Exception:
        detail = "the log does not take events; send them again"
        raise Refusal(503, "not durable", detail, why="not_durable", retry_after=5) from None


def _come_again() -> Refusal:
    return Refusal(429, "too many requests", "come again in a second", why="queue", retry_after=1)
