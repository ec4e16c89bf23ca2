"""Whether the files of a data folder are whole and of one moment: looked at before anything starts."""

import os
from pathlib import Path
from secrets import randbits

from lendsignal.errors import Damaged, LogError, OtherForm
from lendsignal.log.copied import copy_of
from lendsignal.log.deliveries import open_deliveries
from lendsignal.log.folder import DataFolder
from lendsignal.log.forms import form_at
from lendsignal.log.log import Log, open_log
from lendsignal.log.orders import open_orders
from lendsignal.log.sqlite import GUIDE, damage

LOOK_SECONDS = 2.0
"""How long one file is looked through at the start. What lies further back is found when it is needed, or
by `lendsignal doctor`, which reads to the end."""


def refuse_damage(folder: DataFolder, *, sends: bool = True) -> None:
    """Raises `LogError` where a file cannot be used, is missing, or is of another moment than the others.

    `sends`: a sender is about to work here; from then on deliveries that are missing have been lost.
    """
    if folder.restoring.exists():
        raise LogError(
            f"a restore into {folder.path} was broken off: run `lendsignal restore` again;"
            " see docs/how-to/back-up-and-restore.md"
        )
    if folder.moved.exists():
        raise LogError(
            f"what is in {folder.path} was taken to a cluster, which goes on with it: add its [store] to the"
            " configuration; see docs/how-to/move-to-a-cluster.md"
        )
    for path in (folder.log, folder.deliveries, folder.orders, folder.relay, folder.feeds, folder.keys):
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            raise LogError(f"{path} may not be read and written by this user; {GUIDE}")
        wrong = None if is_lost(path) else damage(path, LOOK_SECONDS)
        if wrong is not None:
            raise Damaged(path.name, wrong)
    refuse_other_forms(folder)
    if copy_of(folder.log) is not None:
        raise LogError(
            f"{folder.path} is a desk's copy of a cluster's store, and nothing is decided or sent over it:"
            " add its [store] to the configuration, or give this install a folder of its own (service.data)"
        )
    if is_lost(folder.log) and not is_lost(folder.deliveries):
        _refuse_to_begin_again(folder)
    log = open_log(folder.log)
    try:
        mark = log.sender()
        if is_lost(folder.deliveries) and mark is not None:
            raise LogError(
                f"{folder.deliveries.name} is missing or empty, and a sender has worked here: it would send"
                f" once more whatever is inside its window; put a copy back, or decide that; {GUIDE}"
            )
        _refuse_two_moments(folder, log.last_record(), mark)
        if sends:
            _pair(folder, log, mark)
    finally:
        log.close()


def refuse_other_forms(folder: DataFolder) -> None:
    """Raises `OtherForm` where any database is of another version than this one works on."""
    for path in folder.databases():
        form = form_at(path)
        if form is not None and not form.is_current:
            raise OtherForm(form.file, form.found, form.known)


def _pair(folder: DataFolder, log: Log, mark: int | None) -> None:
    """Marks log and deliveries as belonging together, where they are not yet."""
    deliveries = open_deliveries(folder.deliveries)
    try:
        shared = randbits(62) if mark is None else mark
        if mark is None:
            log.note_sender(shared)
        if deliveries.log() is None:
            deliveries.belong_to(shared)
    finally:
        deliveries.close()


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


def _refuse_two_moments(folder: DataFolder, last_record: int, mark: int | None) -> None:
    """Raises `LogError` where the sender has read what the log or the orders do not hold (any more): what
    takes those numbers next would never be sent or obeyed. So too where it was another log."""
    deliveries, orders = open_deliveries(folder.deliveries), open_orders(folder.orders)
    try:
        if deliveries.position() > last_record:
            raise LogError(
                f"{folder.deliveries.name} is ahead of {folder.log.name}: the log is an older copy, or its"
                f" last commits are lost, and what it decides now would not be sent; {GUIDE}"
            )
        if deliveries.log() not in (None, mark):
            raise LogError(
                f"{folder.deliveries.name} is of another log than {folder.log.name}: the two do not speak of"
                f" the same conversions; put two of one copy there; {GUIDE}"
            )
        if deliveries.order() > orders.last():
            raise LogError(
                f"{folder.deliveries.name} is ahead of {folder.orders.name}: orders are missing, and the"
                f" next ones would not be obeyed; {GUIDE}"
            )
    finally:
        orders.close()
        deliveries.close()
