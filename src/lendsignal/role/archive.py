"""Brings the archive up to date and ends: the supervisor starts it again when there is something new."""

import os

from lendsignal.archive.keeper import brought_up
from lendsignal.clock import clock_at
from lendsignal.config import Config
from lendsignal.errors import FolderInUse, NotYet
from lendsignal.log import DataFolder


def archive(config: Config) -> None:
    """Writes what is new. A process of its own, and a modest one: no delivery waits for it."""
    os.nice(10)
    try:
        brought_up(DataFolder(config.data), config.archive, clock_at(config.replay_clock).now_us())
    except (FolderInUse, NotYet):
        return  # somebody writes it by hand, or nothing has come in yet
