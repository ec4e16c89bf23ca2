"""What one desk of a cluster does for all: whether it is this node's, and the right to write as the one.

The role `desk` holds the lease and says so in the folder; the jobs of its node go by that. Whatever must not
be done twice is written under the lease, so that a desk that froze and wakes is refused (`Overtaken`).
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from threading import Event
from typing import Protocol

from lendsignal.clock import SystemClock
from lendsignal.config import Config
from lendsignal.derive import CutTable
from lendsignal.log import DataFolder, Marks, open_log, open_pulls
from lendsignal.log.copied import Lead, lead
from lendsignal.model import Event as LoanEvent
from lendsignal.value import Promotion

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often a job that goes on looks whether its desk still is the one."""


def leads(config: Config) -> bool:
    """Whether what one does for all is done here: always in a data folder's own install."""
    return config.store is None or leading(config) is not None


def leading(config: Config) -> Lead | None:
    """The lease, where this node's desk has it, by the machine's own clock, also in a replay of history."""
    return lead(DataFolder(config.data), SystemClock().now_us())


def lead_when_ours(config: Config, stopping: Event) -> Lead | None:
    """Waits until this node's desk is the one; `None`: told to stop before."""
    while not stopping.is_set():
        found = leading(config)
        if found is not None:
            return found
        stopping.wait(LOOK_SECONDS)
    return None


def wait_while(config: Config, ours: Lead, stopping: Event) -> None:
    """Returns when the lease is not the same any more, or when it is told to stop."""
    while not stopping.wait(LOOK_SECONDS):
        now = leading(config)
        if now is None or (now.holder, now.epoch) != (ours.holder, ours.epoch):
            logger.info("another desk does it from now on")
            return


def marks_of(config: Config, *, read_only: bool = False) -> Marks:
    """How far pulls have read: of the folder, or of the store where there is one.

    Raises `NotYet` where they are only to be read and there are none, `LogError` where the store is away.
    """
    if config.store is None:
        return open_pulls(DataFolder(config.data).pulls, read_only=read_only)
    from lendsignal.log.postgres import database_of, slots_of
    from lendsignal.log.postgres.pulls import PullRows

    database = database_of(config.store)
    try:
        slots_of(database)
    except BaseException:
        database.close()
        raise
    return PullRows(database)


class Rules(Protocol):
    """Where cuts and value models are kept, and put in force."""

    def promotions(self) -> list[Promotion]: ...

    def keep_promotion(self, promotion: Promotion, events: Sequence[LoanEvent]) -> None: ...

    def keep_cuts(self, table: CutTable, events: Sequence[LoanEvent]) -> None: ...


@contextmanager
def rules_of(config: Config, *, read_only: bool = False) -> Iterator[Rules]:
    """The rules of a data folder, or those of the store: a desk's copy follows what is put in force there.

    Raises `LogError` where the store does not answer.
    """
    if config.store is None:
        with closing(open_log(DataFolder(config.data).log, read_only=read_only)) as log:
            yield log
        return
    from lendsignal.log.cluster import rules_of as of_store
    from lendsignal.log.postgres import database_of

    with closing(database_of(config.store)) as database:
        yield of_store(config.store, database)
