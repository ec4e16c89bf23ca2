"""The door of a cluster's node over its spool: events are taken also while the store is away."""

from datetime import timedelta
from pathlib import Path

from lendsignal.clock import Clock
from lendsignal.log import Taking
from lendsignal.log.spool import PATIENCE_SECONDS, Spool
from lendsignal.log.store import StoreSettings
from lendsignal.metrics import Meters

FILE = "spool.sqlite"
"""In a node's data folder."""

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


class SpoolMeters(Meters):
    """What waits in a door's spool."""

    def __init__(self, spool: Spool, clock: Clock) -> None:
        super().__init__()
        self._spool = spool
        self._clock = clock
        self._rows = self.gauge(
            "lendsignal_spool_waiting_events",
            "Events and refusals that a door has taken and the store has not yet.",
        )
        self._bytes = self.gauge("lendsignal_spool_waiting_bytes", "The room that they take.")
        self._oldest = self.gauge(
            "lendsignal_spool_oldest_seconds", "How long the first of them has waited; 0 where none waits."
        )

    def sample(self) -> None:
        """As it stands now."""
        found = self._spool.standing()
        self._rows.set(found.rows)
        self._bytes.set(found.bytes)
        waited_us = 0 if found.oldest_us is None else self._clock.now_us() - found.oldest_us
        self._oldest.set(max(0, waited_us) / 1e6)
