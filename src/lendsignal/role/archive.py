"""Brings the archive up to date and ends: the supervisor starts it again when there is something new."""

import logging
import os
from contextlib import closing

from lendsignal.archive import archived_events
from lendsignal.archive.prepared import FROM_EVENTS
from lendsignal.clock import SystemClock, clock_at, from_us
from lendsignal.config import Config
from lendsignal.errors import FolderInUse, LogError, NotYet
from lendsignal.log import DataFolder
from lendsignal.role.leading import leading

logger = logging.getLogger(__name__)


def archive(config: Config) -> None:
    """Writes what is new, and of a large archive what reports are made of. A process of its own, and a modest
    one: no delivery waits for it."""
    os.nice(19)
    from lendsignal.archive.keeper import brought_up  # DuckDB: loading it is work that can wait, too

    folder, now_us = DataFolder(config.data), clock_at(config.replay_clock).now_us()
    try:
        brought_up(folder, config.archive, now_us)
        _point(config, folder)
        if archived_events(folder) >= FROM_EVENTS:
            from lendsignal.report.preparing import prepare  # it brings the reports

            prepare(folder, now_us)
    except (FolderInUse, NotYet):
        return  # somebody writes it by hand, or nothing has come in yet


def _point(config: Config, folder: DataFolder) -> None:
    """Of a cluster's desks the leading one says where its archive is, once for each lease that it gets."""
    ours = None if config.store is None else leading(config)
    if config.store is None or ours is None:
        return
    from lendsignal.archive.book import Book
    from lendsignal.archive.keeper import point_to
    from lendsignal.log.postgres import database_of
    from lendsignal.log.postgres.singles import led

    with closing(Book(folder.archive)) as book:
        if book.said("leading") == f"{ours.holder} {ours.epoch}":
            return
        try:
            # Nobody else takes the lease before the file is there: two desks cannot point by turns.
            with closing(database_of(config.store)) as database, led(database, ours).transaction():
                point_to(folder, config.archive, f"{from_us(SystemClock().now_us()):%Y-%m-%dT%H:%M:%SZ}")
        except LogError as error:
            logger.warning("%s does not say yet whose archive leads: %s", config.archive.to, error)
            return
        book.say("leading", f"{ours.holder} {ours.epoch}")
