"""The sending loop."""

import threading
from typing import Any

from lendsignal.clock import clock_at
from lendsignal.config import Config
from lendsignal.deliver import DeliverMeters
from lendsignal.deliver.sender import Sender
from lendsignal.errors import NotYet
from lendsignal.lifeline import stop_on_signal
from lendsignal.log import (
    DataFolder,
    Pulse,
    open_deliveries,
    open_log,
    open_orders,
)
from lendsignal.metrics import RoleMetrics
from lendsignal.role.shelf import shelf_of


def send(config: Config) -> None:
    """Sends deliveries until told to stop; then waits for the answers to what is in flight."""
    if config.store is not None:
        from lendsignal.role.dispatch import dispatch  # with the store's client, which no folder needs

        dispatch(config)
        return
    folder = DataFolder(config.data)
    with folder.lock("send"):
        stopping = stop_on_signal()
        log = _log_when_there(folder, stopping)
        if log is None:
            return
        deliveries = open_deliveries(folder.deliveries)
        orders = open_orders(folder.orders)
        shelf = shelf_of(config, folder)
        bell = folder.bell("send")
        pulse = Pulse(folder.pulse("send"))
        pulse.beat()
        meters = DeliverMeters()
        sender = Sender(
            log,
            deliveries,
            config.outlets,
            config.apps,
            config.deliver,
            clock_at(config.replay_clock),
            orders=orders,
            shelf=shelf,
            bells=[(bell, bell.quiet)],
            meters=meters,
        )
        metrics = RoleMetrics("send", folder.path, [meters])
        try:
            while not stopping.is_set():
                sender.turn()
                pulse.beat()
                metrics.tick()
            sender.drain()
        finally:
            metrics.close()
            sender.close()
            pulse.close()
            if shelf is not None:
                shelf.close()
            orders.close()
            deliveries.close()
            log.close()


def _log_when_there(folder: DataFolder, stopping: threading.Event) -> Any:
    """The log, once the core has made it."""
    while not stopping.wait(0.05):
        try:
            return open_log(folder.log, read_only=True)
        except NotYet:
            continue
    return None
