"""How what was pulled reaches the log: over the door's inner path, or straight where no service runs.

The inner path takes one key only: a random one that `run` makes at each start and hands to its children in
their environment. It is no part of the public interface.
"""

import http.client
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from hmac import compare_digest
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from lendsignal.clock import Clock, from_us
from lendsignal.errors import InputError, LogError
from lendsignal.log import Quarantined, Taking
from lendsignal.model import Event
from lendsignal.source.answers import Refusal
from lendsignal.source.door import durable
from lendsignal.source.intake import Inlet
from lendsignal.source.mending import kept_of
from lendsignal.source.pull import Batch, Handed, NotTaken, Unread
from lendsignal.source.reading import ErasedUser, Reader, masked, read_event, read_json

logger = logging.getLogger(__name__)

INNER_PATH = "/v1/pulled"
INNER_KEY = "LENDSIGNAL_INNER_KEY"
"""The environment variable by which `run` tells its children the inner key."""

TIMEOUT_SECONDS = 60.0

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Arrived(Struct, frozen=True):
    """One pulled event on its way to the door, and where it was read."""

    event: msgspec.Raw
    where: str


class Parcel(Struct, frozen=True):
    """What one request to the inner path holds."""

    pull: str
    events: list[Arrived]
    unread: list[Unread]


_encode = msgspec.json.Encoder().encode
_parcel = msgspec.json.Decoder(Parcel).decode
_handed = msgspec.json.Decoder(Handed).decode


def as_sent(event: Mapping[str, Any]) -> bytes:
    """A pulled event as the door gets it."""
    return _encode(event)


def parcel_of(pull: str, batch: Batch) -> bytes:
    """A batch as the body of a request."""
    events = [Arrived(msgspec.Raw(as_sent(one.event)), one.where) for one in batch.events]
    return _encode(Parcel(pull, events, list(batch.unread)))


def judged(parcel: Parcel, reader: Reader, now_us: int) -> tuple[list[Event], list[Quarantined]]:
    """The events of a parcel as they go into the log, and what goes to quarantine, with where it was read."""
    received_at = from_us(now_us)
    events: list[Event] = []
    refused = [
        _quarantined(parcel.pull, one.field, one.rule, one.where, one.body, now_us) for one in parcel.unread
    ]
    for one in parcel.events:
        raw = bytes(one.event)
        try:
            events.append(read_event(read_json(raw), received_at, reader, source=parcel.pull))
        except InputError as error:
            raw = b"" if isinstance(error, ErasedUser) else raw
            refused.append(_quarantined(parcel.pull, error.field, error.rule, one.where, raw, now_us))
    return events, refused


def _quarantined(pull: str, field: str, rule: str, where: str, raw: bytes, now_us: int) -> Quarantined:
    """What people see says where it was read; the rule does not, so that equal refusals are of one kind."""
    seen: dict[str, Any] = {"where": where}
    if raw:
        said = masked(raw)
        try:
            seen["sent"] = msgspec.json.decode(said)
        except (msgspec.DecodeError, UnicodeDecodeError):
            seen["sent"] = said.decode("utf-8", "replace")
    return Quarantined(
        received_us=now_us,
        source=pull,
        field=field,
        rule=rule,
        body=_encode(seen),
        kept=kept_of(raw) if raw else None,
    )


class InnerDoor:
    """ASGI, for the inner path only: 200 when every event of a parcel is in the log or in quarantine."""

    def __init__(self, key: str, reader: Reader, intake: Inlet, clock: Clock) -> None:
        self._key = f"Bearer {key}".encode()
        self._reader = reader
        self._intake = intake
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if scope["method"] != "POST" or not compare_digest(headers.get(b"authorization", b""), self._key):
            return await _answer(send, 404)
        parts: list[bytes] = []
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                break
        events, refused = judged(_parcel(b"".join(parts)), self._reader, self._clock.now_us())
        try:
            await durable(self._intake, events, refused)
        except Refusal as refusal:
            return await _answer(send, refusal.status)
        return await _answer(send, 200, _encode(Handed(len(events), len(refused))))


async def _answer(send: Send, status: int, body: bytes = b"{}") -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class OverTheDoor:
    """Hands batches to the running service. Each pull has one of its own: it is for one thread."""

    def __init__(self, address: Path, environment: Mapping[str, str] = os.environ) -> None:
        self._address = address
        self._key = environment.get(INNER_KEY, "")
        self._connection: http.client.HTTPConnection | None = None

    def __call__(self, pull: str, batch: Batch) -> Handed:
        """Makes a batch durable. Raises `NotTaken` where the service does not answer that it is."""
        body = parcel_of(pull, batch)
        try:
            if self._connection is None:
                where = self._address.read_text().removeprefix("http://")
                self._connection = http.client.HTTPConnection(where, timeout=TIMEOUT_SECONDS)
            self._connection.request("POST", INNER_PATH, body, {"Authorization": f"Bearer {self._key}"})
            answer = self._connection.getresponse()
            status, found = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise NotTaken(f"the door is not there ({type(error).__name__})", 0.5) from error
        if status == 200:
            return _handed(found)
        if status == 429:
            raise NotTaken("more events wait to be written than allowed", 1.0)
        raise NotTaken(f"the door answered {status}", 5.0)

    def close(self) -> None:
        """Ends the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class IntoTheLog:
    """Hands batches straight into the log: for one pull at a time, where no service runs."""

    def __init__(self, log: Taking, reader: Reader, clock: Clock) -> None:
        self._log = log
        self._reader = reader
        self._clock = clock

    def __call__(self, pull: str, batch: Batch) -> Handed:
        """Makes a batch durable. Raises `LogError` where the log does not take it."""
        events, refused = judged(_parcel(parcel_of(pull, batch)), self._reader, self._clock.now_us())
        if refused:
            self._log.refuse(refused)
        if events:
            self._log.append(events)
        return Handed(len(events), len(refused))


class IntoTheStore(IntoTheLog):
    """Hands batches straight into the store that a cluster's nodes share; safe to share between threads."""

    def __call__(self, pull: str, batch: Batch) -> Handed:
        """Makes a batch durable. Raises `NotTaken` where the store does not take it now."""
        try:
            return super().__call__(pull, batch)
        except LogError as error:
            raise NotTaken(f"the store does not take events ({error})", 1.0) from error
