"""Whether the files of a data folder are whole and of one moment: looked at before anything starts."""

from pathlib import Path

from lendsignal.errors import Damaged, LogError
from lendsignal.log.deliveries import open_deliveries
from lendsignal.log.folder import DataFolder
from lendsignal.log.log import open_log
from lendsignal.log.orders import open_orders
from lendsignal.log.sqlite import GUIDE, damage

LOOK_SECONDS = 2.0
"""How long one file is looked through at the start. What lies further back is found when it is needed, or
by `lendsignal doctor`, which reads to the end."""


def refuse_damage(folder: DataFolder, *, sends: bool = True) -> None:
    """Raises `LogError` where a file cannot be used, is missing, or is of another moment than the others.

    `sends`: a sender is about to work here; from then on deliveries that are missing have been lost.
    """
    for path in (folder.log, folder.deliveries, folder.orders, folder.relay):
        wrong = None if is_lost(path) else damage(path, LOOK_SECONDS)
        if wrong is not None:
            raise Damaged(path.name, wrong)
    if is_lost(folder.log) and not is_lost(folder.deliveries):
        _refuse_to_begin_again(folder)
    log = open_log(folder.log)
    try:
        if is_lost(folder.deliveries) and log.sender_was_here():
            raise LogError(
                f"{folder.deliveries.name} is missing or empty, and a sender has worked here: it would send"
                f" once more whatever is inside its window; put a copy back, or decide that; {GUIDE}"
            )
        _refuse_two_moments(folder, log.last_record())
        if sends:
            log.note_sender()
    finally:
        log.close()


def is_lost(path: Path) -> bool:
    """Whether there is nothing in a file, or no file."""
    return not path.exists() or path.stat().st_size == 0


def _refuse_to_begin_again(folder: DataFolder) -> None:
    """Raises `LogError` where deliveries speak of a log that is gone; nothing is made in its place."""
    deliveries = open_deliveries(folder.deliveries)
    try:
        if deliveries.position():
            raise LogError(
                f"{folder.log.name} is missing or empty, and {folder.deliveries.name} has delivered from it:"
                f" put a copy of the log back; {GUIDE}"
            )
    finally:
        deliveries.close()


def _refuse_two_moments(folder: DataFolder, last_record: int) -> None:
    """Raises `LogError` where the sender has read what the log or the orders do not hold (any more): what
    takes those numbers next would never be sent or obeyed."""
    deliveries, orders = open_deliveries(folder.deliveries), open_orders(folder.orders)
    try:
        if deliveries.position() > last_record:
            raise LogError(
                f"{folder.deliveries.name} is ahead of {folder.log.name}: the log is an older copy, or its"
                f" last commits are lost, and what it decides now would not be sent; {GUIDE}"
            )
        if deliveries.order() > orders.last():
            raise LogError(
                f"{folder.deliveries.name} is ahead of {folder.orders.name}: orders are missing, and the"
                f" next ones would not be obeyed; {GUIDE}"
            )
    finally:
        orders.close()
        deliveries.close()
