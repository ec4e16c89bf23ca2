"""What stands at a door's address, whichever process has it: its calls by their path, and pages beside."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from lendsignal.clock import SystemClock
from lendsignal.config import Config
from lendsignal.model import reveal
from lendsignal.role.serving import may_be_told, turned_away
from lendsignal.source import SEGMENT_PATHS, Keyring
from lendsignal.source.openapi import openapi

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Served: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class Under(Protocol):
    """Calls that have every path under one of theirs."""

    path: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


def doorway(
    events: Served,
    segment: Served,
    feeds: Under | None,
    rest: Sequence[BaseRoute],
    others: Mapping[str, Served] | None = None,
) -> Served:
    """Whom each call goes to; events are asked for first, for nearly all calls are theirs.

    `others` have a path each; what has none of these is a page of `rest`.
    """
    pages = Starlette(routes=list(rest))
    exact: Mapping[str, Served] = {**dict.fromkeys(SEGMENT_PATHS, segment), **(others or {})}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await pages(scope, receive, send)
        path: str = scope["path"]
        if path.startswith("/v1/events"):
            return await events(scope, receive, send)
        if feeds is not None and path.startswith(feeds.path):
            return await feeds(scope, receive, send)
        return await exact.get(path, pages)(scope, receive, send)

    return app


def standing_routes(
    config: Config, missing: Callable[[], Awaitable[str]], how: Callable[[], Awaitable[Response]]
) -> list[Route]:
    """Whether the process lives, whether it can take events, how the install stands, and what may be asked.

    `missing` says why no event can be taken now, nothing where one can.
    """

    async def alive(request: Request) -> Response:
        return json_answer({"status": "alive"})

    async def ready(request: Request) -> Response:
        why = await missing()
        return json_answer({"status": "not ready" if why else "ready", "why": why}, 503 if why else 200)

    async def standing(request: Request) -> Response:
        return await how() if may_be_told(request, config) else turned_away(config)

    async def described(request: Request) -> Response:
        return json_answer(openapi(config.door))

    return [
        Route("/healthz", alive),
        Route("/readyz", ready),
        Route("/v1/status", standing),
        Route("/openapi.json", described),
    ]


def json_answer(body: object, code: int = 200) -> Response:
    """An answer as JSON."""
    return Response(msgspec.json.encode(body), code, media_type="application/json")


def erasing_routes_of(config: Config, keys: Keyring) -> list[Route]:
    """The calls that have users erased, where any source may have a key for them: it brings more code."""
    if not any("admin" in source.scopes for source in config.sources.values()):
        return []
    from lendsignal.role.erasing import erasing_routes

    return erasing_routes(config, keys, SystemClock())


def feed_secrets(config: Config) -> dict[str, str]:
    """The secrets of the feeds that have one; without any there is nobody to listen to."""
    found = {name: reveal(secret) for name, secret in config.feed_secrets.items()}
    return {name: secret for name, secret in found.items() if secret is not None}
