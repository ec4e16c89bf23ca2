"""The door of a cluster's node: what it answers is durable in the store, and decided wherever its slot is."""

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

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
from lendsignal.model import Event
from lendsignal.role.cluster import LateDoor, cluster_status, store_of
from lendsignal.role.doorway import doorway, erasing_routes_of, feed_secrets, json_answer, standing_routes
from lendsignal.role.serving import metrics_route, serve
from lendsignal.role.shelf import is_relayed, relay_door
from lendsignal.role.spooling import TOLD_FILE, SpoolMeters, spool_over, told_spool_over
from lendsignal.role.standing import STILL_SECONDS
from lendsignal.source import (
    Door,
    Held,
    Intake,
    Keyring,
    RelayDoor,
    SegmentDoor,
    SourceMeters,
    reader_of,
)

if TYPE_CHECKING:
    from lendsignal.log.told_spool import ToldSpool
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
        told = _told_spool(config, folder, clock)
        feeds = None if told is None else _feed_door(config, told, intake, clock)
        relay = _relay_door(config, clock, keys)
        meters = [came_in, SpoolMeters(spool, clock, told), FolderMeters(folder.path)]
        meters += [] if feeds is None else [feeds.meters]
        metrics = RoleMetrics("ingest", folder.path, meters)
        spool.start()
        if told is not None:
            told.start()
        intake.start()
        rest = [
            *_routes(config, clock, intake, asked, spool),
            *([] if relay is None else relay.routes()),
            *erasing_routes_of(config, keys),
            metrics_route(metrics, config),
        ]

        try:
            with keys, kept_out, Ticking(metrics):
                serve(
                    doorway(door, segment, feeds, rest),
                    config.door.host,
                    config.door.port,
                    folder.path / "ingest.address",
                    config.door.max_connections,
                )
        finally:
            if relay is not None:
                relay.close()
            if feeds is not None:
                feeds.close()
            intake.stop()
            spool.close()
            for one in (log, drained, looked_at, asked):
                one.close()


def _decided_elsewhere(first: int, events: Sequence[Event]) -> bool:
    """Whoever has the slot looks for itself."""
    return False


def _told_spool(config: Config, folder: DataFolder, clock: Clock) -> "ToldSpool | None":
    """Where what MMPs tell goes, if any feed has a secret: to the store, and while it is away into a spool.

    A spool that a door left behind is drained, whichever feeds there are now.
    """
    if not feed_secrets(config) and not (folder.path / TOLD_FILE).exists():
        return None
    from lendsignal.log.postgres.told import ToldRows

    store = store_of(config)
    direct, drained = (ToldRows(database_of(store), clock.now_us) for _ in range(2))
    return told_spool_over(store, folder.path, direct, drained, clock)


def _feed_door(config: Config, told: "ToldSpool", intake: Intake, clock: Clock) -> "FeedDoor":
    """The calls of MMPs: they bring more code."""
    from lendsignal.source.feeds import FeedWriter
    from lendsignal.source.feeds.door import FeedDoor

    writer = FeedWriter(told)
    writer.start()
    return FeedDoor(config.feeds, feed_secrets(config), writer, intake, clock)


def _relay_door(config: Config, clock: Clock, keys: Keyring) -> RelayDoor | None:
    """The calls of the client relay, if any destination is one. Senders look themselves what apps said."""
    if not is_relayed(config):
        return None
    from lendsignal.log.postgres.relay import DoorShelf

    return relay_door(config, DoorShelf(database_of(store_of(config))), clock, keys, lambda: None)


def _routes(config: Config, clock: Clock, intake: Intake, store: Database, spool: Spool) -> list[Route]:
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

    async def why() -> str:
        return await asyncio.to_thread(missing)

    async def how() -> Response:
        try:
            return json_answer(await asyncio.to_thread(cluster_status, store, config, clock))
        except LogError as error:
            return json_answer({"status": "the store does not answer", "why": str(error)}, 503)

    return standing_routes(config, why, how)
