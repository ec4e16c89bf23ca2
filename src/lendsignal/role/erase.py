"""Carries erasures on and ends: the supervisor starts it again when there is something to do."""

import os
from contextlib import suppress

from lendsignal.clock import clock_at
from lendsignal.config import Config
from lendsignal.erase.job import carried_on
from lendsignal.errors import FolderInUse
from lendsignal.log import DataFolder


def erase(config: Config) -> None:
    """What can be done now. A process of its own, and a modest one: no delivery waits for it."""
    os.nice(10)
    clock = clock_at(config.replay_clock)
    if config.store is not None:
        from lendsignal.erase.desk import carried_on as carried_on_at_a_desk  # with the store's client

        with suppress(FolderInUse):  # somebody does it by hand
            carried_on_at_a_desk(config, clock)
        return
    try:
        carried_on(config, clock)
    except FolderInUse:
        return  # somebody does it by hand
    _wake(config)


def _wake(config: Config) -> None:
    """Deliveries that were taken back end soon."""
    ringer = DataFolder(config.data).ringer("send")
    ringer.ring()
    ringer.close()
