"""What a service of one machine answers over HTTP: events, feeds, the relay, how it stands.

It stands in the process that decides, or, with `[door] apart`, in one of its own.
"""

import os
import secrets
import time
from contextlib import ExitStack, closing

from starlette.responses import Response
from starlette.routing import Route

from lendsignal.clock import Clock, SystemClock
from lendsignal.config import Config
from lendsignal.log import DataFolder, Taking, open_feeds, open_keys
from lendsignal.metrics import Meters, RoleMetrics, Ticking
from lendsignal.role.doorway import doorway, erasing_routes_of, feed_secrets, json_answer, standing_routes
from lendsignal.role.serving import metrics_route, serve
from lendsignal.role.shelf import relay_door, shelf_of
from lendsignal.role.standing import Readiness, status
from lendsignal.source import (
    INNER_KEY,
    INNER_PATH,
    Door,
    Held,
    Inlet,
    InnerDoor,
    Keyring,
    Reader,
    SegmentDoor,
    SourceMeters,
)
from lendsignal.source.feeds import FeedMeters, FeedWriter
from lendsignal.source.feeds.door import FeedDoor


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
        relay = None if shelf is None else relay_door(config, shelf, clock, keys, ring)
        if relay is not None:
            open_things.callback(relay.close)
        metrics = RoleMetrics(role, folder.path, [came_in, told, *meters])
        rest = [
            *_routes(config, clock, inlet),
            *([] if relay is None else relay.routes()),
            *erasing_routes_of(config, keys),
            metrics_route(metrics, config),
        ]
        open_things.enter_context(keys)
        open_things.enter_context(Ticking(metrics))
        serve(
            doorway(door, segment, feeds, rest, {INNER_PATH: inner}),
            config.door.host,
            config.door.port,
            folder.path / f"{role}.address",
            config.door.max_connections,
        )


def _feed_door(
    config: Config, folder: DataFolder, inlet: Inlet, clock: Clock, meters: FeedMeters
) -> FeedDoor | None:
    """The calls of MMPs, if any feed has a secret."""
    told_by = feed_secrets(config)
    if not told_by:
        return None
    writer = FeedWriter(open_feeds(folder.feeds))
    writer.start()
    return FeedDoor(config.feeds, told_by, writer, inlet, clock, meters=meters)


def _routes(config: Config, clock: Clock, inlet: Inlet) -> list[Route]:
    readiness = Readiness(config, clock, inlet)

    async def missing() -> str:
        return "; ".join(readiness.missing())

    async def how() -> Response:
        return json_answer(status(config.data, clock, config.outlets))

    return standing_routes(config, missing, how)
