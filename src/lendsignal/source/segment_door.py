"""Segment's calls over HTTP, as a plain ASGI application: any Segment or RudderStack SDK is a client.

The key is the write key: the name of Basic authentication, or `writeKey` in the body, as the SDKs for phones
have it. 200 and `{"success": true}` only after
everything is durable, events in the log and what was refused in quarantine; 400, 401, 413 and 429 as Segment
documents them (segment.com/docs/connections/sources/catalog/libraries/server/http-api, read 2026-11-22).
"""

from collections.abc import Mapping, MutableMapping, Sequence
from datetime import datetime
from time import monotonic
from typing import Any

import msgspec
from msgspec import Struct

from lendsignal.clock import Clock, from_us
from lendsignal.errors import InputError
from lendsignal.log import Quarantined
from lendsignal.model import Event
from lendsignal.source.answers import Receive, Refusal, Scope, Send, headers_of, respond
from lendsignal.source.body import Body, Held
from lendsignal.source.door import durable
from lendsignal.source.intake import Inlet
from lendsignal.source.keys import Access, BeyondKey, Keyring, within
from lendsignal.source.mending import kept_of
from lendsignal.source.meters import SourceMeters
from lendsignal.source.reading import ErasedUser, Reader, masked, read_event
from lendsignal.source.segment import CALLS, Letter, Mapped, PassedOver, mapped
from lendsignal.source.settings import DoorSettings, SourceSettings

BATCHES = ("batch", "b", "import")
"""Calls that hold others. `b` is what the SDKs for phones use."""

SEGMENT_PATHS = frozenset(f"/v1/{call}" for call in (*CALLS, *BATCHES))

BATCH_LIMIT = 2_500
"""Calls in one batch, as with Segment."""

UNSIGNED_BYTES = 500_000
"""Of a request that brings its key in the body, which is read before the key is known: Segment's limit."""

UNSIGNED_SHARE = 8
"""The part of `max_held_bytes` that such requests have, beside it: without a key nobody keeps others out."""

_json = msgspec.json.Encoder(decimal_format="string").encode


class Done(Struct, frozen=True, omit_defaults=True):
    """The answer to calls that are durable. SDKs read the status only; the counts are for people."""

    success: bool
    accepted: int = 0
    passed_over: int = 0
    refused: int = 0


class Failed(Struct, frozen=True):
    """The answer where nothing was taken. `code` and `message` are what SDKs tell their callers."""

    code: str
    message: str
    success: bool = False


class SegmentDoor:
    """Answers Segment's calls for the sources whose keys may make them."""

    def __init__(
        self,
        settings: DoorSettings,
        sources: Mapping[str, SourceSettings],
        reader: Reader,
        intake: Inlet,
        clock: Clock,
        keys: Keyring,
        meters: SourceMeters,
        held: Held,
    ) -> None:
        self._settings = settings
        self._sources = sources
        self._reader = reader
        self._intake = intake
        self._clock = clock
        self._keys = keys
        self._meters = meters
        self._held = held
        self._unsigned = Held(settings.max_held_bytes // UNSIGNED_SHARE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, for `SEGMENT_PATHS` only."""
        begun = monotonic()

        async def counted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                # What Segment answers with 200 is our 202: durable.
                status = 202 if message["status"] == 200 else message["status"]
                self._meters.answered(status, monotonic() - begun)
            await send(message)

        try:
            await self._request(scope, receive, counted)
        except Refusal as refusal:
            self._meters.turned_away(refusal.source, refusal.why)
            extra = headers_of(refusal.status, refusal.retry_after, scheme=b"Basic")
            failed = Failed(refusal.title.replace(" ", "_"), refusal.detail)
            await respond(counted, refusal.status, _json(failed), b"application/json", extra)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        authorization = headers.get(b"authorization", b"")
        access = self._let_in(authorization) if authorization else None
        try:
            if scope["method"] != "POST":
                raise Refusal(405, "method not allowed", f"POST {scope['path']}", why="method")
            limit = self._settings.max_bytes
            limit = min(limit, UNSIGNED_BYTES if access is None else access.max_bytes or limit)
            held = self._unsigned if access is None else self._held
            with Body(headers, limit, held) as arriving:
                body = await arriving.read(receive)
                found = _decoded(body)
                if access is None:
                    key = found.get("writeKey") if found is not None else None
                    access = self._let_in(b"Bearer " + str(key or "").encode())
                await self._take(body, found, scope["path"].removeprefix("/v1/"), access, send)
        except Refusal as refusal:
            refusal.source = refusal.source or ("" if access is None else access.source)
            raise

    def _let_in(self, authorization: bytes) -> Access:
        access = self._keys.admit(authorization, "segment")
        self._keys.wait(access)
        if self._intake.is_full:
            detail, source = "come again in a second", access.source
            raise Refusal(429, "too many requests", detail, why="queue", source=source, retry_after=1)
        return access

    async def _take(
        self, body: bytes, found: Mapping[str, Any] | None, call: str, access: Access, send: Send
    ) -> None:
        received_at = from_us(self._clock.now_us())
        settings = self._sources[access.source].segment
        try:
            letter, messages = _opened(found, call)
        except InputError as error:
            await durable(self._intake, [], [self._quarantined(access.source, error, body)])
            raise Refusal(400, "invalid request", str(error)) from None
        self._keys.take(access, len(messages))
        events: list[Event] = []
        refused: list[Quarantined] = []
        passed_over = beyond = 0
        last: InputError | None = None
        for message in messages:
            shown: object = message
            try:
                one = mapped(message, letter, received_at, self._reader, settings)
                if isinstance(one, PassedOver):
                    self._meters.passed_over(access.source, one.why)
                    passed_over += 1
                    continue
                shown = one.fields
                events.append(within(self._event(one, received_at, access), access, self._reader.apps))
            except BeyondKey as error:
                beyond, last = beyond + 1, error
            except InputError as error:
                last = error
                said = b"" if isinstance(error, ErasedUser) else _json(shown)
                refused.append(self._quarantined(access.source, error, said))
        if events or refused:
            await durable(self._intake, events, refused)
        if beyond:
            self._meters.turned_away(access.source, "limit")
        if beyond and not events and not passed_over and not refused:
            failed = Failed("forbidden", str(last))
            return await respond(send, 403, _json(failed), b"application/json")
        if last is not None and not events and not passed_over:
            failed = Failed("invalid_request", str(last))
            return await respond(send, 400, _json(failed), b"application/json")
        done = Done(True, len(events), passed_over, len(refused) + beyond)
        return await respond(send, 200, _json(done), b"application/json")

    def _event(self, found: Mapped, received_at: datetime, access: Access) -> Event:
        return read_event(
            {**found.fields},
            received_at,
            self._reader,
            source=access.source,
            history=found.history,
            flags=found.flags,
        )

    def _quarantined(self, source: str, error: InputError, raw: bytes) -> Quarantined:
        """What could be mapped is kept in our own words, so that a person sees what was meant."""
        return Quarantined(
            received_us=self._clock.now_us(),
            source=source,
            field=error.field,
            rule=error.rule,
            body=masked(raw),
            kept=kept_of(raw),
        )


def _decoded(body: bytes) -> dict[str, Any] | None:
    """The JSON object of a body; `None` where it is none."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _opened(found: Mapping[str, Any] | None, call: str) -> tuple[Letter, Sequence[Any]]:
    """What a request's calls have in common, and the calls. Raises `InputError`, for too many `Refusal`."""
    if found is None:
        raise InputError("body", "must be a JSON object")
    if call not in BATCHES:
        return Letter(call=call), [found]
    batch = found.get("batch")
    if not isinstance(batch, list):
        raise InputError("batch", "must be a list of calls")
    if len(batch) > BATCH_LIMIT:
        raise Refusal(413, "too large", f"a batch may have {BATCH_LIMIT} calls", why="size")
    context, integrations = found.get("context"), found.get("integrations")
    letter = Letter(
        historical=call == "import",
        sent_at=found.get("sentAt"),
        context=context if isinstance(context, dict) else {},
        integrations=integrations if isinstance(integrations, dict) else {},
    )
    return letter, batch


def segment_paths() -> dict[str, Any]:
    """The calls as OpenAPI paths; what stands inside of each is Segment's own specification."""
    text, table = {"type": "string"}, {"type": "object"}
    call = {
        "type": "object",
        "properties": {
            "userId": text,
            "anonymousId": text,
            "messageId": text,
            "timestamp": text,
            "context": table,
            "integrations": table,
            "event": text,
            "properties": table,
            "traits": table,
        },
    }
    calls = {"type": "array", "items": call, "maxItems": BATCH_LIMIT}
    batch = {"type": "object", "required": ["batch"], "properties": {"batch": calls, "sentAt": text}}
    counts = {name: {"type": "integer"} for name in ("accepted", "passed_over", "refused")}
    done = {"type": "object", "properties": {"success": {"const": True}, **counts}}
    failed = {"type": "object", "properties": {"success": {"const": False}, "code": text, "message": text}}
    refusals = {
        "400": "the body cannot be read, or nothing in it could be taken",
        "401": "no write key, or an unknown one",
        "403": "the key lacks the scope segment, or is for other brands or apps",
        "408": "the body took too long",
        "413": "more bytes or calls than allowed",
        "429": "too many events; Retry-After says when to come again",
        "503": "not durable: send again",
    }
    return {
        f"/v1/{name}": {
            "post": {
                "operationId": f"segment{name.title()}",
                "summary": f"Segment's {name}",
                "security": [{"writeKey": []}],
                "requestBody": {"required": True, **_content(batch if name in BATCHES else call)},
                "responses": {
                    "200": {"description": "durable", **_content(done)},
                    **{code: {"description": why, **_content(failed)} for code, why in refusals.items()},
                },
            }
        }
        for name in (*CALLS, *BATCHES)
    }


def _content(shape: Mapping[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": shape}}}
