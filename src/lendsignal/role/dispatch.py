"""The sending loop of a cluster's node: what `send` does where the configuration has a `[store]`."""

import secrets
import socket
import threading

from lendsignal.clock import clock_at
from lendsignal.config import Config
from lendsignal.deliver import DeliverMeters
from lendsignal.deliver.slots import AWAY_SECONDS, SlotSender, send_slots
from lendsignal.errors import LogError
from lendsignal.lifeline import stop_on_signal
from lendsignal.log import DataFolder, Pulse
from lendsignal.log.postgres import Database, Terms, database_of, slots_of
from lendsignal.metrics import RoleMetrics

BEATS_PER_LEASE = 4
"""How often a node says that it lives before it would be taken for dead."""


def dispatch(config: Config) -> None:
    """Sends what is planned in the slots that this node leases, until told to stop.

    Then it waits for the answers to what is in flight, and leaves its slots to others.
    """
    assert config.store is not None, "the role `send` asks"
    folder = DataFolder(config.data)
    with folder.lock("send"):
        stopping = stop_on_signal()
        database = database_of(config.store)
        meters, pulse = DeliverMeters(), Pulse(folder.pulse("send"))
        metrics = RoleMetrics("send", folder.path, [meters])
        lease_seconds = config.store.lease.total_seconds()

        def after_turn() -> None:
            pulse.beat()
            metrics.tick()

        try:
            slots = _slots_when_there(database, stopping)
            if slots is not None:
                one = SlotSender(
                    database,
                    slots,
                    f"{socket.gethostname()}-{secrets.token_hex(6)}",
                    config.outlets,
                    config.apps,
                    config.deliver,
                    clock_at(config.replay_clock),
                    terms=Terms(lease_seconds=lease_seconds, beat_seconds=lease_seconds / BEATS_PER_LEASE),
                    meters=meters,
                )
                send_slots(one, stopping, after_turn=after_turn)
        finally:
            metrics.close()
            pulse.close()
            database.close()


def _slots_when_there(database: Database, stopping: threading.Event) -> int | None:
    """The number of slots, once the database answers and its tables are made; `None`: told to stop first."""
    while not stopping.is_set():
        try:
            return slots_of(database)
        except LogError:
            stopping.wait(AWAY_SECONDS)
    return None
