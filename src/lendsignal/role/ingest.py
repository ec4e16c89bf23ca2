"""The door of a cluster's node: what it answers is durable in the store, and decided wherever its slot is."""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lendsignal.clock import Clock, SystemClock, clock_at
from lendsignal.config import Config
from lendsignal.errors import LogError
from lendsignal.log import DataFolder, keys_of
from lendsignal.log.postgres import Database, database_of
from lendsignal.log.postgres.erasing import KeptOutWatch
from lendsignal.log.spool import Spool
from lendsignal.metrics import FolderMeters, RoleMetrics, Ticking
from lendsignal.model import Event, reveal
from lendsignal.role.cluster import LateDoor, cluster_status, store_of
from lendsignal.role.serving import may_be_told, metrics_route, serve, turned_away
from lendsignal.role.spooling import SpoolMeters, spool_over
from lendsignal.role.standing import STILL_SECONDS
from lendsignal.source import (
    SEGMENT_PATHS,
    Door,
    Held,
    Intake,
    Keyring,
    SegmentDoor,
    SourceMeters,
    reader_of,
)
from lendsignal.source.openapi import openapi

if TYPE_CHECKING:
    from lendsignal.source.feeds.door import FeedDoor


def ingest(config: Config) -> None:
    """Takes events until told to stop. While the store is away they wait in a spool until it is back."""
    store = store_of(config)
    folder = DataFolder(config.data)
    with folder.lock("ingest"):
        clock = clock_at(config.replay_clock)
        # Nobody who looks something up holds up who writes.
        log, drained, looked_at = LateDoor(config), LateDoor(config), LateDoor(config)
        asked = database_of(store)
        spool = spool_over(store, folder.path, log, drained, looked_at, clock)
        came_in = SourceMeters("ingest")
        spooled = SpoolMeters(spool, clock)
        kept_out = KeptOutWatch(database_of(store))
        reader = reader_of(
            config.apps,
            config.policy.resolve.clock_ahead,
            sets_received_at=clock.replay,
            kept_out=kept_out,
        )
        intake = Intake(spool, _decided_elsewhere, limit=config.door.queue, meters=came_in)
        # The machine's own clock: a key ends when it ends, also while history is replayed.
        keys = Keyring(
            config.keys,
            SystemClock(),
            time.monotonic,
            sources=config.sources,
            store=keys_of(folder, store),
            patient=True,
        )
        came_in.keys_left = keys.left
        held = Held(config.door.max_held_bytes)
        door = Door(config.door, reader, intake, spool, clock, keys, came_in, held)
        segment = SegmentDoor(config.door, config.sources, reader, intake, clock, keys, came_in, held)
        feeds = _feed_door(config, intake, clock)
        told = [] if feeds is None else [feeds.meters]
        meters = [came_in, spooled, FolderMeters(folder.path), *told]
        metrics = RoleMetrics("ingest", folder.path, meters)
        spool.start()
        intake.start()
        routes = [*_routes(config, clock, intake, asked, spool), *_erasing_routes(config, keys)]
        rest = Starlette(routes=[*routes, metrics_route(metrics, config)])

        async def app(
            scope: MutableMapping[str, Any],
            receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
            send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
        ) -> None:
            if scope["type"] == "http" and scope["path"].startswith("/v1/events"):
                await door(scope, receive, send)
            elif scope["type"] == "http" and scope["path"] in SEGMENT_PATHS:
                await segment(scope, receive, send)
            elif feeds is not None and scope["type"] == "http" and scope["path"].startswith(feeds.path):
                await feeds(scope, receive, send)
            else:
                await rest(scope, receive, send)

        try:
            with keys, kept_out, Ticking(metrics):
                serve(
                    app,
                    config.door.host,
                    config.door.port,
                    folder.path / "ingest.address",
                    config.door.max_connections,
                )
        finally:
            if feeds is not None:
                feeds.close()
            intake.stop()
            spool.close()
            for one in (log, drained, looked_at, asked):
                one.close()


def _decided_elsewhere(first: int, events: Sequence[Event]) -> bool:
    """Whoever has the slot looks for itself."""
    return False


def _erasing_routes(config: Config, keys: Keyring) -> list[Route]:
    """The calls that have users erased, where any source may have a key for them: it brings more code."""
    if not any("admin" in source.scopes for source in config.sources.values()):
        return []
    from lendsignal.role.erasing import erasing_routes

    return erasing_routes(config, keys, SystemClock())


def _feed_door(config: Config, intake: Intake, clock: Clock) -> "FeedDoor | None":
    """The calls of MMPs, if any feed has a secret: it brings more code. While the store is away they are told
    to come again."""
    found = {name: reveal(secret) for name, secret in config.feed_secrets.items()}
    secrets = {name: secret for name, secret in found.items() if secret is not None}
    if not secrets:
        return None
    from lendsignal.log.postgres.told import ToldRows
    from lendsignal.source.feeds import FeedWriter
    from lendsignal.source.feeds.door import FeedDoor

    writer = FeedWriter(ToldRows(database_of(store_of(config)), clock.now_us))
    writer.start()
    return FeedDoor(config.feeds, secrets, writer, intake, clock)


def _routes(config: Config, clock: Clock, intake: Intake, store: Database, spool: Spool) -> list[Route]:
    encode = msgspec.json.encode

    def answer(body: object, code: int = 200) -> Response:
        return Response(encode(body), code, media_type="application/json")

    def missing() -> str:
        """Why this door cannot take events now; nothing where it can.

        Workers and senders are not asked: an event is as safe without them, and a balancer that took every
        door out of its list would lose more than time.
        """
        if intake.damage is not None:
            return intake.damage
        refused = intake.seconds_since_refusal()
        if refused is not None and refused <= STILL_SECONDS:
            return "the store does not take events"
        return "the store is away, and the spool is full" if spool.is_full else ""

    async def alive(request: Request) -> Response:
        return answer({"status": "alive"})

    async def ready(request: Request) -> Response:
        why = await asyncio.to_thread(missing)
        return answer({"status": "not ready" if why else "ready", "why": why}, 503 if why else 200)

    async def how(request: Request) -> Response:
        if not may_be_told(request, config):
            return turned_away(config)
        try:
            return answer(await asyncio.to_thread(cluster_status, store, config, clock))
        except LogError as error:
            return answer({"status": "the store does not answer", "why": str(error)}, 503)

    async def described(request: Request) -> Response:
        return answer(openapi(config.door))

    return [
        Route("/healthz", alive),
        Route("/readyz", ready),
        Route("/v1/status", how),
        Route("/openapi.json", described),
    ]
