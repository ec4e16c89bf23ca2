"""The door of a cluster's node over its spool: events are taken also while the store is away."""

from datetime import timedelta
from pathlib import Path

from lendsignal.clock import Clock
from lendsignal.log import Taking
from lendsignal.log.spool import PATIENCE_SECONDS, Spool, Spooled, standing_of
from lendsignal.log.store import StoreSettings
from lendsignal.log.told_spool import Telling, ToldSpool, told_standing_of
from lendsignal.metrics import Meters

FILE, TOLD_FILE = "spool.sqlite", "told-spool.sqlite"
"""In a node's data folder: events and refusals, and what MMPs told."""

TOLD_SHARE = 4
"""What MMPs told may take a fourth of the room that events may, beside it: it never keeps an event out."""

MEGABYTE = 1_000_000


def spool_over(
    store: StoreSettings, folder: Path, direct: Taking, drained: Taking, asked: Taking, clock: Clock
) -> Spool:
    """The spool of a node's door, over three ways to the store.

    A topic may take long to say that it has an event: it is waited for as long as the configuration says.
    """
    kafka = store.kafka
    return Spool(
        direct,
        drained,
        asked,
        folder / FILE,
        clock.now_us,
        limit=store.spool_megabytes * MEGABYTE,
        patience_seconds=PATIENCE_SECONDS if kafka is None else kafka.timeout / timedelta(seconds=1) + 1,
    )


def told_spool_over(
    store: StoreSettings, folder: Path, direct: Telling, drained: Telling, clock: Clock
) -> ToldSpool:
    """The spool of what MMPs tell a node's door, over two ways to the store."""
    limit = store.spool_megabytes * MEGABYTE // TOLD_SHARE
    return ToldSpool(direct, drained, folder / TOLD_FILE, clock.now_us, limit=limit)


def waiting_in(folder: Path) -> tuple[Spooled, Spooled]:
    """What waits in a node's data folder, while a door works with it or not: events and refusals, and what
    MMPs told."""
    return standing_of(folder / FILE), told_standing_of(folder / TOLD_FILE)


class SpoolMeters(Meters):
    """What waits in a door's spools."""

    def __init__(self, spool: Spool, clock: Clock, told: ToldSpool | None = None) -> None:
        super().__init__()
        self._spool = spool
        self._told = told
        self._clock = clock
        self._rows = self.gauge(
            "lendsignal_spool_waiting_events",
            "Events, refusals and messages of MMPs that a door has taken and the store has not yet.",
        )
        self._bytes = self.gauge("lendsignal_spool_waiting_bytes", "The room that they take.")
        self._oldest = self.gauge(
            "lendsignal_spool_oldest_seconds", "How long the first of them has waited; 0 where none waits."
        )

    def sample(self) -> None:
        """As it stands now."""
        found = [self._spool.standing(), *([] if self._told is None else [self._told.standing()])]
        self._rows.set(sum(one.rows for one in found))
        self._bytes.set(sum(one.bytes for one in found))
        now_us = self._clock.now_us()
        waited_us = [now_us - one.oldest_us for one in found if one.oldest_us is not None]
        self._oldest.set(max([0, *waited_us]) / 1e6)
