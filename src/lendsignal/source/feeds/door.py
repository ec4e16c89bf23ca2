"""Where MMPs send messages: `POST` or `GET /v1/attribution/{mmp}/{feed}/{secret}`, as plain ASGI.

MMPs sign nothing, so the secret stands in the address; those that can send a header of their own leave it
out there and send `Authorization: <secret>` (with or without `Bearer`). 200 only after every fact is durable.

A message that cannot be read is kept in quarantine and answered with 200 all the same: the MMP can mend
nothing, and an endpoint that answers with errors may be cut off together with the good messages.
"""

import asyncio
import hmac
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from lendsignal.clock import Clock
from lendsignal.errors import InputError
from lendsignal.log import Quarantined
from lendsignal.source.answers import Receive, Refusal, Scope, Send, answer, problem
from lendsignal.source.body import Body, Held
from lendsignal.source.door import durable
from lendsignal.source.feeds.facts import fact_of
from lendsignal.source.feeds.feed import Fact, Feed
from lendsignal.source.feeds.meters import FeedMeters
from lendsignal.source.feeds.writer import FeedWriter
from lendsignal.source.intake import Full, Inlet
from lendsignal.source.reading import masked

PATH = "/v1/attribution/"

BODY_LIMIT = 1_000_000
"""Bytes of a request's body, unpacked: a message has a few thousand."""

MESSAGES = 1_000
"""Messages in one request's array."""

FIELDS = 400
"""Fields of a query or a form: a message has a hundred."""

_json = msgspec.json.Encoder().encode


class Answer(Struct, frozen=True, omit_defaults=True):
    """What became of a request's messages; `why` says field and rule of those that were refused."""

    taken: int
    passed_over: int = 0
    refused: int = 0
    why: tuple[str, ...] = ()


class FeedDoor:
    """Answers MMPs. `secrets` are by the feed's name; a feed without one takes no messages."""

    path = PATH

    def __init__(
        self,
        feeds: Mapping[str, Feed],
        secrets: Mapping[str, str],
        writer: FeedWriter,
        intake: Inlet,
        clock: Clock,
        *,
        meters: FeedMeters | None = None,
        held: Held | None = None,
    ) -> None:
        self._feeds = feeds
        self._digests = {name: sha256(secret.encode()).digest() for name, secret in secrets.items()}
        self._writer = writer
        self._intake = intake
        self._clock = clock
        self.meters = meters or FeedMeters()
        self._held = held or Held(16 * BODY_LIMIT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, for paths under `PATH` only; the caller routes everything else."""
        try:
            feed = self._admitted(scope)
            if scope["method"] not in ("GET", "POST"):
                raise Refusal(405, "method not allowed", "POST or GET")
            headers = dict(scope["headers"])
            with Body(headers, BODY_LIMIT, self._held) as arriving:
                messages = _messages(scope, headers, await arriving.read(receive))
                await answer(send, 200, await self._take(feed, messages))
        except Refusal as refusal:
            self.meters.turned_away(refusal.why)
            await problem(
                send, refusal.status, refusal.title, refusal.detail, retry_after=refusal.retry_after
            )

    def close(self) -> None:
        """Writes what has come in, and closes the store."""
        self._writer.stop()

    def _admitted(self, scope: Scope) -> Feed:
        """The feed that a request is for. Whether feed or secret is wrong is not told."""
        mmp, name, *rest = (*scope["path"].removeprefix(PATH).split("/"), "", "")[:3]
        given = rest[0] if rest else ""
        if not given:
            header = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1").strip()
            word, _, after = header.partition(" ")
            given = after.strip() if word.lower() == "bearer" else header
        feed, wanted = self._feeds.get(name), self._digests.get(name, bytes(32))
        right = hmac.compare_digest(sha256(given.encode()).digest(), wanted)
        if feed is None or not right or mmp not in (feed.settings.kind, feed.mmp):
            raise Refusal(401, "unauthorised", "no feed of that name, or not its secret", why="unknown")
        return feed

    async def _take(self, feed: Feed, messages: Sequence[Mapping[str, Any]]) -> Answer:
        received_us = self._clock.now_us()
        facts: list[Fact] = []
        refused: list[Quarantined] = []
        why: list[str] = []
        for message in messages:
            try:
                fact = fact_of(feed, message, received_us)
            except InputError as error:
                why.append(str(error))
                refused.append(
                    Quarantined(
                        received_us=received_us,
                        source=f"feed.{feed.name}",
                        field=error.field,
                        rule=error.rule,
                        body=masked(_json(message)),
                    )
                )
            else:
                if fact is not None:
                    facts.append(fact)
        if refused:
            await durable(self._intake, [], refused)
        if facts:
            await self._durable(facts)
        passed_over = len(messages) - len(facts) - len(refused)
        self.meters.took(feed.name, "taken", len(facts))
        self.meters.took(feed.name, "refused", len(refused))
        self.meters.took(feed.name, "passed_over", passed_over)
        return Answer(len(facts), passed_over, len(refused), tuple(why))

    async def _durable(self, facts: Sequence[Fact]) -> None:
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
            self._writer.submit(facts, done)
            await written
        except Full:
            raise Refusal(
                429, "too many requests", "come again in a second", why="queue", retry_after=1
            ) from None
        except Exception:
            raise Refusal(503, "not durable", "send it again", why="not_durable", retry_after=5) from None


def _messages(scope: Scope, headers: Mapping[bytes, bytes], body: bytes) -> Sequence[Mapping[str, Any]]:
    """The messages of a request: its query and its body together, or each object of the body's array."""
    query = _form(scope.get("query_string", b""))
    if not body.strip():
        return [query] if query else []
    if b"form-urlencoded" in headers.get(b"content-type", b""):
        return [{**query, **_form(body)}]
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refusal(400, "malformed JSON", "the body is neither JSON nor a form") from None
    several = found if isinstance(found, list) else [found]
    if len(several) > MESSAGES:
        raise Refusal(413, "too many messages", f"a request may have {MESSAGES}", why="size")
    if not all(isinstance(one, dict) for one in several):
        raise Refusal(400, "malformed JSON", "a message is a JSON object")
    return [{**query, **one} for one in several]


def _form(raw: bytes) -> dict[str, Any]:
    try:
        return dict(parse_qsl(raw.decode("utf-8", "replace"), max_num_fields=FIELDS))
    except ValueError:
        raise Refusal(413, "too many fields", f"a message may have {FIELDS}", why="size") from None
