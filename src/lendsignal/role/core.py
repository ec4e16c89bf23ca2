"""Door and decide: the only process that decides."""

import os
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lendsignal.clock import Clock, SystemClock, clock_at
from lendsignal.config import Config
from lendsignal.decide import DecideMeters, Decider
from lendsignal.deliver import secrets_of
from lendsignal.log import (
    DataFolder,
    Shelf,
    WhoIsKeptOut,
    open_feeds,
    open_keys,
    open_log,
)
from lendsignal.metrics import FolderMeters, RoleMetrics, Ticking
from lendsignal.model import Event, reveal
from lendsignal.role.keeping import KeepMeters, LogKeeper
from lendsignal.role.serving import may_be_told, metrics_route, serve, turned_away
from lendsignal.role.shelf import shelf_of
from lendsignal.role.standing import Readiness, status
from lendsignal.source import (
    INNER_KEY,
    INNER_PATH,
    SEGMENT_PATHS,
    Door,
    Held,
    InnerDoor,
    Intake,
    Keyring,
    Mender,
    QuarantineMeters,
    Relay,
    RelayDoor,
    SegmentDoor,
    SourceMeters,
    reader_of,
)
from lendsignal.source.feeds import FeedMeters, FeedWriter
from lendsignal.source.feeds.door import PATH as FEEDS_PATH
from lendsignal.source.feeds.door import FeedDoor
from lendsignal.source.openapi import openapi


def core(config: Config) -> None:
    """Takes and decides events until told to stop."""
    folder = DataFolder(config.data)
    with folder.lock("core"):
        clock = clock_at(config.replay_clock)
        log = open_log(folder.log)
        ringer = folder.ringer("send")
        # A reader of its own: nobody who writes waits for those who look.
        looked_at = open_log(folder.log, read_only=True)
        came_in, decided, told = SourceMeters(), DecideMeters(looked_at, clock), FeedMeters()
        apart = QuarantineMeters(looked_at, clock, config.door.quarantine_alert)
        kept = KeepMeters(looked_at, clock)
        meters = [came_in, decided, told, apart, kept, FolderMeters(folder.path)]
        metrics = RoleMetrics("core", folder.path, meters)
        decider = Decider(log, config.policy, clock, ringer.ring, decided)
        erased = open_log(folder.log, read_only=True)
        reader = reader_of(
            config.apps,
            config.policy.resolve.clock_ahead,
            sets_received_at=clock.replay,
            kept_out=WhoIsKeptOut(erased.erasing),
        )
        mender = Mender(log, reader, clock, config.door.quarantine_days, told=apart.mended)

        keeper = LogKeeper(config, folder, log, clock, kept)

        def turn(first: int, events: Sequence[Event]) -> bool:
            mended = mender.turn()
            more = decider.turn(first, events) or mended > 0
            if not more:
                keeper.turn()
            return more

        intake = Intake(log, turn, append=decider.append, limit=config.door.queue, meters=came_in)
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
        door = Door(config.door, reader, intake, log, clock, keys, came_in, held)
        segment = SegmentDoor(config.door, config.sources, reader, intake, clock, keys, came_in, held)
        feeds = _feed_door(config, folder, intake, clock, told)
        inner = InnerDoor(os.environ.get(INNER_KEY) or secrets.token_urlsafe(32), reader, intake, clock)
        intake.start()
        shelf = shelf_of(config, folder)
        relay = [] if shelf is None else _relay_door(config, shelf, clock, keys, ringer.ring).routes()
        erasing = _erasing_routes(config, keys)
        rest = Starlette(
            routes=[*_routes(config, clock, intake), *relay, *erasing, metrics_route(metrics, config)]
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

        try:
            with keys, Ticking(metrics):
                serve(
                    app,
                    config.door.host,
                    config.door.port,
                    folder.path / "core.address",
                    config.door.max_connections,
                )
        finally:
            if feeds is not None:
                feeds.close()
            intake.stop()
            if shelf is not None:
                shelf.close()
            looked_at.close()
            erased.close()
            log.close()


def _erasing_routes(config: Config, keys: Keyring) -> list[Route]:
    """The calls that have users erased, where any source may have a key for them: it brings more code."""
    if not any("admin" in source.scopes for source in config.sources.values()):
        return []
    from lendsignal.role.erasing import erasing_routes

    return erasing_routes(config, keys, SystemClock())


def _feed_door(
    config: Config, folder: DataFolder, intake: Intake, clock: Clock, meters: FeedMeters
) -> FeedDoor | None:
    """The calls of MMPs, if any feed has a secret."""
    found = {name: reveal(secret) for name, secret in config.feed_secrets.items()}
    secrets = {name: secret for name, secret in found.items() if secret is not None}
    if not secrets:
        return None
    writer = FeedWriter(open_feeds(folder.feeds))
    writer.start()
    return FeedDoor(config.feeds, secrets, writer, intake, clock, meters=meters)


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


def _routes(config: Config, clock: Clock, intake: Intake) -> list[Route]:
    encode = msgspec.json.encode
    readiness = Readiness(config, clock, intake)

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
