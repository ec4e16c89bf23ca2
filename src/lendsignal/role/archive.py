"""Brings the archive up to date and ends: the supervisor starts it again when there is something new."""

import os

from lendsignal.archive import archived_events
from lendsignal.archive.prepared import FROM_EVENTS
from lendsignal.clock import clock_at
from lendsignal.config import Config
from lendsignal.errors import FolderInUse, NotYet
from lendsignal.log import DataFolder


def archive(config: Config) -> None:
    """Writes what is new, and of a large archive what reports are made of. A process of its own, and a modest
    one: no delivery waits for it."""
    os.nice(19)
    from lendsignal.archive.keeper import brought_up  # DuckDB: loading it is work that can wait, too

    folder, now_us = DataFolder(config.data), clock_at(config.replay_clock).now_us()
    try:
        brought_up(folder, config.archive, now_us)
        if archived_events(folder) >= FROM_EVENTS:
            from lendsignal.report.preparing import prepare  # it brings the reports

            prepare(folder, now_us)
    except (FolderInUse, NotYet):
        return  # somebody writes it by hand, or nothing has come in yet
