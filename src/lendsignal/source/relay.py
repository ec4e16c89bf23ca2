"""The HTTP side of the client relay: the back end gets a token for an installation, the app fetches its own
conversions with it and acknowledges what it logged.

A token is signed and kept nowhere: destination, address (`destination.relay.address_of`), the second it
ends, and the HMAC-SHA256 of these. Errors are `application/problem+json`.
"""

import asyncio
import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256
from typing import Annotated, Any, TypeVar
from urllib.parse import quote, unquote

import msgspec
from msgspec import Meta, Struct
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from lendsignal.clock import Clock, from_us
from lendsignal.destination.relay import address_of
from lendsignal.errors import LogError
from lendsignal.log import Giving
from lendsignal.model.event import Key
from lendsignal.source import answers
from lendsignal.source.answers import Problem
from lendsignal.source.keys import Access, Keyring

BODY_LIMIT = 65_536
"""Bytes of a request's body."""

EVENTS_AT_ONCE = 100
"""Conversions in one answer: more than one user has waiting in any ordinary week."""

PER_SECOND, BURST = 0.5, 20.0
"""Calls of one kind by one holder: an app that opens makes one of each, so this stops only one that runs
wild."""

REMEMBERED = 100_000
"""Holders and kinds of call that are counted; of more the longest quiet are forgotten."""

AT_THE_SHELF = 200
"""Apps that may wait for the shelf: more would wait for longer than anybody does."""

PATIENCE_SECONDS = 5.0
"""How long an app waits for a shelf that says nothing, as one does whose database froze."""

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

_json = msgspec.json.Encoder().encode
_T = TypeVar("_T")


class Relay(Struct, frozen=True, kw_only=True):
    """A relay as the door sees it: `kind` is the kind of id that names an installation there."""

    name: str
    brand: str
    kind: str
    good_for: timedelta
    app: str = ""


class Holder(Struct, frozen=True):
    """Who a token was made for: one user's installation at one destination."""

    destination: str
    address: str


class Wanted(Struct, frozen=True, forbid_unknown_fields=True):
    """What the back end asks a token for. `relay`: the destination's name, needed where there are several."""

    user_id: Key
    installation: Annotated[str, Meta(min_length=1, max_length=256)]
    relay: str | None = None


class Logged(Struct, frozen=True, forbid_unknown_fields=True):
    """The ids of the conversions that the app has logged."""

    ids: Annotated[list[Key], Meta(max_length=500)]


def token_of(secret: str, holder: Holder, until_s: int) -> str:
    """A token that is good until that second (since 1970, UTC)."""
    text = f"{quote(holder.destination, safe='')}.{holder.address}.{until_s}"
    return f"{text}.{_signature(secret, text)}"


def holder_of(token: str, secrets: Mapping[str, str], now_us: int) -> Holder | str:
    """Who a token was made for, or what is wrong with it: `unknown token` or `token expired`.

    `secrets` are those of the relays, by name.
    """
    text, _, signature = token.rpartition(".")
    rest, _, until = text.rpartition(".")
    name, _, address = rest.rpartition(".")
    destination = unquote(name)
    secret = secrets.get(destination)
    if secret is None or not token.isascii() or not hmac.compare_digest(_signature(secret, text), signature):
        return "unknown token"
    return Holder(destination, address) if now_us < int(until) * 1_000_000 else "token expired"


def _signature(secret: str, text: str) -> str:
    signed = hmac.digest(secret.encode(), b"lendsignal relay token 1:" + text.encode(), sha256)
    return urlsafe_b64encode(signed).decode().rstrip("=")


class Allowance:
    """How often each holder may make each call: `BURST` at once, `PER_SECOND` in the long run.

    By call, so that an app that fetches too often can still say what it has logged.
    """

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._left: dict[tuple[Holder, str], tuple[float, float]] = {}

    def seconds_to_wait(self, holder: Holder, call: str) -> float:
        """0 where the holder may make the call now, which is counted; else how long not."""
        now, key = self._steady(), (holder, call)
        left, at = self._left.pop(key, (BURST, now))
        left = min(BURST, left + (now - at) * PER_SECOND)
        granted = left >= 1.0
        self._left[key] = (left - 1.0 if granted else left, now)
        if len(self._left) > REMEMBERED:
            del self._left[next(iter(self._left))]
        return 0.0 if granted else (1.0 - left) / PER_SECOND


class RelayDoor:
    """Answers the back end and the apps.

    `relays` and `secrets` are by name, and by the names that a relay had before. `keys` are the back ends'
    API keys; `woken` is called when an app has acknowledged something.
    """

    def __init__(
        self,
        relays: Mapping[str, Relay],
        secrets: Mapping[str, str],
        shelf: Giving,
        clock: Clock,
        *,
        keys: Keyring,
        woken: Callable[[], None],
        steady: Callable[[], float],
    ) -> None:
        self._relays = relays
        self._secrets = secrets
        self._shelf = shelf
        self._clock = clock
        self._keys = keys
        self._woken = woken
        self._allowance = Allowance(steady)
        # One at a time, in a thread of their own: whoever else needs one finds it though the shelf stands.
        self._hand = ThreadPoolExecutor(1, "shelf")
        self._waiting = 0

    def routes(self) -> list[Route]:
        """The three calls."""
        return [
            _route("/v1/relay/token", "POST", self.token),
            _route("/v1/relay/events", "GET", self.events),
            _route("/v1/relay/acknowledged", "POST", self.acknowledged),
        ]

    def close(self) -> None:
        """Asks the shelf nothing more."""
        self._hand.shutdown(wait=False, cancel_futures=True)

    async def token(self, request: Request) -> Response:
        """A token for one user's installation, for a back end with an API key."""
        access = self._admit(request)
        wanted = await _read(request, Wanted)
        relay = self._relay(wanted.relay)
        beyond = access.beyond(relay.brand, relay.app or None, {})
        if beyond is not None:
            raise Refusal(403, "forbidden", beyond[1], "relay")
        address = address_of(relay.brand, wanted.user_id, relay.kind, wanted.installation)
        until_s = (self._clock.now_us() + relay.good_for // timedelta(microseconds=1)) // 1_000_000
        token = token_of(self._secrets[relay.name], Holder(relay.name, address), until_s)
        return _answer({"token": token, "expires_at": from_us(until_s * 1_000_000)})

    async def events(self, request: Request) -> Response:
        """What waits for the installation that asks; `more` where that is not all of it."""
        holder = self._holder(request)
        found = await self._at_the_shelf(
            self._shelf.fetch, holder.destination, holder.address, self._clock.now_us(), EVENTS_AT_ONCE
        )
        return _answer({"events": [msgspec.Raw(one) for one in found], "more": len(found) == EVENTS_AT_ONCE})

    async def acknowledged(self, request: Request) -> Response:
        """The app has logged these: those that waited for its word are counted, others change nothing."""
        holder = self._holder(request)
        logged = await _read(request, Logged)
        n = await self._at_the_shelf(
            self._shelf.acknowledge,
            holder.destination,
            holder.address,
            set(logged.ids),
            self._clock.now_us(),
        )
        if n:
            self._woken()
        return _answer({"acknowledged": n})

    async def _at_the_shelf(self, ask: Callable[..., _T], *values: Any) -> _T:
        """What the shelf answers. Raises `LogError` where it does not, or too many wait for it already.

        What was given out too late for its app is given again; what the app said too late for an answer
        counts.
        """
        if self._waiting >= AT_THE_SHELF:
            raise LogError("too many apps wait for the shelf")
        self._waiting += 1
        answer = asyncio.get_running_loop().run_in_executor(self._hand, ask, *values)
        answer.add_done_callback(self._is_done)
        try:
            return await asyncio.wait_for(asyncio.shield(answer), PATIENCE_SECONDS)
        except TimeoutError:
            raise LogError(f"the shelf has said nothing for {PATIENCE_SECONDS:g} s") from None

    def _is_done(self, answer: "asyncio.Future[Any]") -> None:
        self._waiting -= 1
        if not answer.cancelled():
            answer.exception()  # whoever asked may have gone

    def _admit(self, request: Request) -> Access:
        """The back end's API key, which must be good for this."""
        try:
            access = self._keys.admit(request.headers.get("authorization", "").encode("latin-1"), "relay")
            self._keys.wait(access)
        except answers.Refusal as no:
            raise Refusal(no.status, no.title, no.detail, retry_after=no.retry_after) from None
        return access

    def _relay(self, name: str | None) -> Relay:
        """The relay of that name; without one the only one there is."""
        names = sorted({relay.name for relay in self._relays.values()})
        if name is None and len(names) == 1:
            return self._relays[names[0]]
        if name is None or name not in self._relays:
            raise Refusal(422, "unknown relay", f"relay must be one of {', '.join(names)}", "relay")
        return self._relays[name]

    def _holder(self, request: Request) -> Holder:
        token = _bearer(request)
        if not token:
            raise Refusal(401, "unauthorised", "a token is needed: Authorization: Bearer <token>")
        found = holder_of(token, self._secrets, self._clock.now_us())
        if isinstance(found, str):
            raise Refusal(401, found, "ask your back end for a new token")
        # A relay that was renamed keeps the tokens that it gave out under its former name.
        holder = Holder(self._relays[found.destination].name, found.address)
        wait = self._allowance.seconds_to_wait(holder, request.url.path)
        if wait:
            raise Refusal(429, "too many requests", "fetch when the app opens", retry_after=int(wait) + 1)
        return holder


class Refusal(Exception):
    """A request that gets a problem for an answer."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        field: str | None = None,
        *,
        retry_after: int | None = None,
    ) -> None:
        self.status, self.title, self.detail, self.field = status, title, detail, field
        self.retry_after = retry_after
        super().__init__(title)


def _route(path: str, method: str, answer: Callable[[Request], Awaitable[Response]]) -> Route:
    """The call for one method, with a problem as the answer to whatever cannot be done."""

    async def minded(request: Request) -> Response:
        try:
            if request.method != method:
                raise Refusal(405, "method not allowed", f"{method} {request.url.path}")
            response = await answer(request)
        except Refusal as refusal:
            return _problem(refusal)
        except LogError:
            return _problem(Refusal(503, "not durable", "come again in a moment", retry_after=5))
        except ClientDisconnect:
            return _problem(Refusal(400, "request ended early", "the body was not whole"))
        return response

    return Route(path, minded, methods=METHODS)


def _bearer(request: Request) -> str:
    """What the `Authorization` header holds behind `Bearer`; nothing where it is another or none."""
    word, _, held = request.headers.get("authorization", "").partition(" ")
    return held.strip() if word.lower() == "bearer" else ""


async def _read(request: Request, kind: type[_T]) -> _T:
    """The body as JSON of that shape."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > BODY_LIMIT:
            raise Refusal(413, "too large", f"a request may have {BODY_LIMIT} bytes")
        parts.append(part)
    try:
        return msgspec.json.decode(b"".join(parts), type=kind)
    except msgspec.ValidationError as error:
        rule, _, place = str(error).partition(" - at ")
        # "Expected `str`, got `int` - at `$.user_id`", "Object missing required field `user_id`".
        named = re.search(r"field `(\w+)`", rule)
        field = named[1] if named else place.strip("`$.").partition("[")[0]
        raise Refusal(422, "request refused", rule, field or None) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refusal(400, "malformed JSON", "the body is not whole JSON") from None


def _answer(body: object) -> Response:
    # A token and a user's conversions are nobody's to keep on the way.
    return Response(_json(body), media_type="application/json", headers={"cache-control": "no-store"})


def _problem(refusal: Refusal) -> Response:
    headers = {} if refusal.retry_after is None else {"retry-after": str(refusal.retry_after)}
    if refusal.status == 401:
        headers["www-authenticate"] = "Bearer"
    problem = Problem(
        type=f"urn:lendsignal:problem:{refusal.title.replace(' ', '-')}",
        title=refusal.title,
        status=refusal.status,
        detail=refusal.detail,
        field=refusal.field,
    )
    return Response(_json(problem), refusal.status, headers, "application/problem+json")


def relay_paths(problem: Mapping[str, Any]) -> dict[str, Any]:
    """The three calls as OpenAPI paths; `problem` is what every error holds."""
    refusals = {"401": "no key or token, or one that is unknown or expired", "503": "come again in a moment"}
    app = {**refusals, "429": "too many requests; Retry-After says when to come again"}
    unread = {"400": "the body is not whole JSON", "413": f"more than {BODY_LIMIT} bytes"}
    text = {"type": "string"}
    return {
        "/v1/relay/token": _post(
            "relayToken",
            "For a back end: a token for one user's installation",
            Wanted,
            {"token": text, "expires_at": {"type": "string", "format": "date-time"}},
            {**unread, **refusals, "422": "a field is not as it must be"},
            problem,
        ),
        "/v1/relay/events": {
            "get": {
                "operationId": "relayEvents",
                "summary": "For the app: the conversions that wait for this installation",
                "security": [{"installation": []}],
                "responses": _responses(
                    {"events": {"type": "array", "items": EVENT}, "more": {"type": "boolean"}}, app, problem
                ),
            }
        },
        "/v1/relay/acknowledged": _post(
            "relayAcknowledged",
            "For the app: these were logged",
            Logged,
            {"acknowledged": {"type": "integer"}},
            {**unread, **app, "422": "ids is not a list of ids"},
            problem,
            security=[{"installation": []}],
        ),
    }


EVENT: dict[str, Any] = {
    "type": "object",
    "required": ["id", "name", "occurred_at"],
    "properties": {
        "id": {"type": "string"},
        "name": {"type": "string"},
        "occurred_at": {"type": "string", "format": "date-time"},
        "value": {"type": "string", "description": "a decimal number"},
        "currency": {"type": "string"},
    },
}


def _post(
    name: str,
    summary: str,
    kind: type[Struct],
    answer: Mapping[str, Any],
    refusals: Mapping[str, str],
    problem: Mapping[str, Any],
    **further: Sequence[Any],
) -> dict[str, Any]:
    shape = msgspec.json.schema(kind)["$defs"][kind.__name__]
    body = {"required": True, "content": {"application/json": {"schema": shape}}}
    call = {"operationId": name, "summary": summary, "requestBody": body, **further}
    return {"post": {**call, "responses": _responses(answer, refusals, problem)}}


def _responses(
    answer: Mapping[str, Any], refusals: Mapping[str, str], problem: Mapping[str, Any]
) -> dict[str, Any]:
    shape = {"type": "object", "required": list(answer), "properties": dict(answer)}
    done = {"description": "done", "content": {"application/json": {"schema": shape}}}
    return {"200": done, **{code: {"description": why, **problem} for code, why in refusals.items()}}
