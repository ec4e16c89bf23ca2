"""What a service of one machine answers over HTTP: events, feeds, the relay, how it stands.

It stands in the process that decides, or, with `[door] apart`, in one of its own.
"""

import os
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import ExitStack, closing
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lendsignal.clock import Clock, SystemClock
from lendsignal.config import Config
from lendsignal.deliver import secrets_of
from lendsignal.log import DataFolder, Shelf, Taking, open_feeds, open_keys
from lendsignal.metrics import Meters, RoleMetrics, Ticking
from lendsignal.model import reveal
from lendsignal.role.serving import may_be_told, metrics_route, serve, turned_away
from lendsignal.role.shelf import shelf_of
from lendsignal.role.standing import Readiness, status
from lendsignal.source import (
    INNER_KEY,
    INNER_PATH,
    SEGMENT_PATHS,
    Door,
    Held,
    Inlet,
    InnerDoor,
    Keyring,
    Reader,
    Relay,
    RelayDoor,
    SegmentDoor,
    SourceMeters,
)
from lendsignal.source.feeds import FeedMeters, FeedWriter
from lendsignal.source.feeds.door import PATH as FEEDS_PATH
from lendsignal.source.feeds.door import FeedDoor
from lendsignal.source.openapi import openapi


def serve_front(
    role: str,
    config: Config,
    folder: DataFolder,
    clock: Clock,
    inlet: Inlet,
    reader: Reader,
    looked_at: Taking,
    came_in: SourceMeters,
    meters: list[Meters],
) -> None:
    """Serves it, as that role, until told to stop. `meters` are what the role tells beside `came_in`."""
    told = FeedMeters()
    with ExitStack() as open_things:
        # The machine's own clock: a key ends when it ends, also while history is replayed.
        keys = Keyring(
            config.keys,
            SystemClock(),
            time.monotonic,
            sources=config.sources,
            store=open_keys(folder.keys),
        )
        came_in.keys_left = keys.left
        held = Held(config.door.max_held_bytes)
        door = Door(config.door, reader, inlet, looked_at, clock, keys, came_in, held)
        segment = SegmentDoor(config.door, config.sources, reader, inlet, clock, keys, came_in, held)
        inner = InnerDoor(os.environ.get(INNER_KEY) or secrets.token_urlsafe(32), reader, inlet, clock)
        shelf = shelf_of(config, folder)
        if shelf is not None:
            open_things.enter_context(closing(shelf))
        feeds = _feed_door(config, folder, inlet, clock, told)
        if feeds is not None:
            open_things.enter_context(closing(feeds))
        ring = folder.ringer("send").ring
        relay = [] if shelf is None else _relay_door(config, shelf, clock, keys, ring).routes()
        metrics = RoleMetrics(role, folder.path, [came_in, told, *meters])
        rest = Starlette(
            routes=[
                *_routes(config, clock, inlet),
                *relay,
                *_erasing_routes(config, keys),
                metrics_route(metrics, config),
            ]
        )

        async def app(
            scope: MutableMapping[str, Any],
            receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
            send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
        ) -> None:
            if scope["type"] == "http" and scope["path"].startswith("/v1/events"):
                await door(scope, receive, send)
            elif scope["type"] == "http" and scope["path"] in SEGMENT_PATHS:
                await segment(scope, receive, send)
            elif feeds is not None and scope["type"] == "http" and scope["path"].startswith(FEEDS_PATH):
                await feeds(scope, receive, send)
            elif scope["type"] == "http" and scope["path"] == INNER_PATH:
                await inner(scope, receive, send)
            else:
                await rest(scope, receive, send)

        open_things.enter_context(keys)
        open_things.enter_context(Ticking(metrics))
        serve(
            app,
            config.door.host,
            config.door.port,
            folder.path / f"{role}.address",
            config.door.max_connections,
        )


def _erasing_routes(config: Config, keys: Keyring) -> list[Route]:
    """The calls that have users erased, where any source may have a key for them: it brings more code."""
    if not any("admin" in source.scopes for source in config.sources.values()):
        return []
    from lendsignal.role.erasing import erasing_routes

    return erasing_routes(config, keys, SystemClock())


def _feed_door(
    config: Config, folder: DataFolder, inlet: Inlet, clock: Clock, meters: FeedMeters
) -> FeedDoor | None:
    """The calls of MMPs, if any feed has a secret."""
    found = {name: reveal(secret) for name, secret in config.feed_secrets.items()}
    secrets = {name: secret for name, secret in found.items() if secret is not None}
    if not secrets:
        return None
    writer = FeedWriter(open_feeds(folder.feeds))
    writer.start()
    return FeedDoor(config.feeds, secrets, writer, inlet, clock, meters=meters)


def _relay_door(
    config: Config, shelf: Shelf, clock: Clock, keys: Keyring, woken: Callable[[], None]
) -> RelayDoor:
    """The calls of the client relay; a relay answers to its former names too."""
    relays: dict[str, Relay] = {}
    secrets: dict[str, str] = {}
    for outlet in config.outlets.values():
        own = outlet.own
        if outlet.shelved and (secret := secrets_of(own)["secret"]):
            relay = Relay(
                name=outlet.name,
                brand=outlet.app.brand,
                kind=own.installation,
                good_for=own.good_for,
                app=outlet.app.name,
            )
            for name in (outlet.name, *outlet.common.formerly):
                relays[name], secrets[name] = relay, secret
    return RelayDoor(relays, secrets, shelf, clock, keys=keys, woken=woken, steady=time.monotonic)


def _routes(config: Config, clock: Clock, inlet: Inlet) -> list[Route]:
    encode = msgspec.json.encode
    readiness = Readiness(config, clock, inlet)

    def answer(body: object, code: int = 200) -> Response:
        return Response(encode(body), code, media_type="application/json")

    async def alive(request: Request) -> Response:
        return answer({"status": "alive"})

    async def ready(request: Request) -> Response:
        why = "; ".join(readiness.missing())
        return answer({"status": "not ready" if why else "ready", "why": why}, 503 if why else 200)

    async def how(request: Request) -> Response:
        if not may_be_told(request, config):
            return turned_away(config)
        return answer(status(config.data, clock, config.outlets))

    async def described(request: Request) -> Response:
        return answer(openapi(config.door))

    return [
        Route("/healthz", alive),
        Route("/readyz", ready),
        Route("/v1/status", how),
        Route("/openapi.json", described),
    ]
