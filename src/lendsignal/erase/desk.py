"""An erasure on a cluster, as far as one desk goes: its archive, its lists, what it followed of feeds.

The store names nobody once an erasure has ended. So a desk learns by salted hashes who is kept out, and finds
in its own archive who that is: also one that was away for weeks. The role `desk` itself takes them out of the
copy of the log.
"""

import logging
from contextlib import closing

from msgspec.structs import replace

from lendsignal.clock import Clock, SystemClock
from lendsignal.config import Config
from lendsignal.erase.asking import is_due
from lendsignal.erase.in_store import DESK_STEPS, Shared, shared
from lendsignal.erase.in_store import carried_on as carried_on_in_store
from lendsignal.erase.job import AGAIN_US, ASK_AGAIN_US, Erasure
from lendsignal.erase.places import Step, waits
from lendsignal.errors import NotYet
from lendsignal.log import DataFolder, open_feeds, open_log
from lendsignal.log.copied import desk_name, lead
from lendsignal.log.erasing import KeptOut
from lendsignal.log.erasures import (
    ASKED,
    DONE,
    NOT_THERE,
    About,
    Erasures,
    Job,
    Stepped,
    Told,
    open_erasures,
)
from lendsignal.log.postgres import Database
from lendsignal.log.postgres.erasures import THROUGH, ErasureRows

logger = logging.getLogger(__name__)


def has_something_to_do(config: Config, database: Database) -> bool:
    """Whether an erasure has something to do at this desk, and says so to the supervisor."""
    folder = DataFolder(config.data)
    rows, desk = ErasureRows(database), desk_name(folder)
    rows.seen(desk)
    leads = lead(folder, SystemClock().now_us()) is not None
    with closing(open_erasures(folder.erasures)) as book:
        if not _left(rows, book, desk) and not (leads and rows.open()):
            return False
    if not folder.erasing.exists():  # else it is known when to go on
        is_due(folder, 0)
    return True


def _left(rows: ErasureRows, book: Erasures, desk: str) -> list[str]:
    """The erasures that this desk is not through with, oldest first. Its own book says it, which lies beside
    its files: where a backup was put back, what was erased since then is to be erased in it again."""
    told = set(rows.left_at(desk))
    jobs = {receipt: book.job(receipt) for receipt in rows.receipts()}
    return [
        receipt for receipt, job in jobs.items() if receipt in told or job is None or job.ended_us is None
    ]


def carried_on(config: Config, clock: Clock) -> int | None:
    """Does all that can be done now at this desk, and for all where it leads. When something is to be done
    next, in microseconds since 1970; `None`: nothing is. Raises `FolderInUse`, and `LogError` where the store
    does not answer."""
    folder = DataFolder(config.data)
    due: list[int] = []
    with folder.lock("erase"), closing(open_erasures(folder.erasures)) as book:
        desk = desk_name(folder)
        with shared(config, clock) as at:
            for receipt in _left(at.book, book, desk):
                if book.job(receipt) is None and _has_heard(folder, at.book.whom(receipt)):
                    book.take([Told(job=_job(at, folder, receipt), steps=(), askings=())])
            for job in book.open():
                one = AtADesk(config, folder, book, job, clock, at.book.whom(job.receipt))
                one.turn()
                one.end()
            for receipt in _left(at.book, book, desk):
                due += _mirrored(at, book, desk, receipt, clock.now_us())
        if lead(folder, SystemClock().now_us()) is not None:
            next_us = carried_on_in_store(config, clock)
            due += [] if next_us is None else [next_us]
        is_due(folder, min(due, default=None))
    return min(due, default=None)


def _has_heard(folder: DataFolder, whom: KeptOut) -> bool:
    """Whether the copy has taken them out: from then on nothing more of them gets into the archive."""
    try:
        with closing(open_log(folder.log, read_only=True)) as log:
            known = log.erasing.kept_out()
    except NotYet:
        return False
    return set(whom.since) <= set(known.since)


def _job(at: Shared, folder: DataFolder, receipt: str) -> Job:
    """The erasure as this desk has it: whom of it its archive names. Raises `FolderInUse` while that is
    written."""
    from lendsignal.archive.keeper import everyone  # here: it brings DuckDB

    (found,) = at.book.everywhere(receipt)
    whom = at.book.whom(receipt)
    named = everyone(folder, at.config.archive)
    theirs = {(brand, user) for brand, user, person in named if whom.holds(brand, user, person, 0)}
    about = About(users=tuple(sorted(theirs)))
    return replace(found.job, about=about, ended_us=None)


def _mirrored(at: Shared, book: Erasures, desk: str, receipt: str, now_us: int) -> list[int]:
    """Tells the store how far this desk is; when it goes on."""
    steps = [one for name, one in book.steps(receipt).items() if name in DESK_STEPS]
    job = book.job(receipt)
    is_through = job is not None and job.ended_us is not None
    if is_through:
        steps.append(Stepped(name=THROUGH, state=DONE, at_us=now_us))
    at.book.mirror(receipt, desk, steps)
    if is_through:
        return []
    return [now_us + (ASK_AGAIN_US if any(one.state == ASKED for one in steps) else AGAIN_US)]


class AtADesk(Erasure):
    """One erasure in a desk's own files."""

    def __init__(
        self, config: Config, folder: DataFolder, book: Erasures, job: Job, clock: Clock, whom: KeptOut
    ) -> None:
        super().__init__(config, folder, book, job, clock, lambda step: None)
        self._whom = whom

    def _kept_out(self) -> Step:
        return Step(DONE)

    def _found(self) -> Step:
        return Step(DONE)

    def _struck(self) -> Step:
        if not _has_heard(self._folder, self._whom):
            return waits("the copy has not heard of it yet")
        return Step(DONE, 0, "the copy of the store follows it")

    def _deliveries(self) -> Step:
        return Step(DONE)

    def _feeds(self) -> Step:
        if not self._folder.feeds.exists():
            return Step(NOT_THERE)
        with shared(self._config, self._clock) as at:
            salt, names = at.told.out()
        with closing(open_feeds(self._folder.feeds)) as store:
            return Step(DONE, store.erase_named(salt, names))
