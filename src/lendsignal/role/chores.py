"""What one node does for all of a cluster, whichever has the lease of it: each chore when it is due."""

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta

from msgspec import Struct

from lendsignal.errors import LendsignalError
from lendsignal.log.postgres import Database
from lendsignal.log.postgres.singles import Single

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""How often a node looks whether a chore is its own; a lease lasts several times as long."""


class Chore(Struct, frozen=True):
    """One of them. `do` gets the right to it: what must not be done twice is written under that."""

    name: str
    every: timedelta
    do: Callable[[Single], object]


class Chores:
    """Does them in a thread of its own while the block runs; `database` is that thread's alone.

    What goes wrong with one is said, and tried again with the next look; the others go on.
    """

    def __init__(
        self, database: Database, holder: str, chores: Sequence[Chore], look_seconds: float = LOOK_SECONDS
    ) -> None:
        self._database = database
        self._chores = [(one, Single(database, one.name, holder)) for one in chores]
        self._look_seconds = look_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chores", daemon=True)

    def __enter__(self) -> "Chores":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        self._thread.join()

    def turn(self) -> list[str]:
        """Looks once; the names of what was done."""
        done: list[str] = []
        for chore, single in self._chores:
            if self._stopping.is_set():
                break
            try:
                if single.take() and single.is_due(chore.every):
                    chore.do(single)
                    single.done()
                    done.append(chore.name)
            except LendsignalError as error:
                logger.warning("%s was not done, and is tried again: %s", chore.name, error)
        return done

    def _run(self) -> None:
        while True:
            self.turn()
            if self._stopping.wait(self._look_seconds):
                break
        for _, single in self._chores:
            try:
                single.let_go()
            except LendsignalError:
                break  # the store is away: the lease ends by itself
        self._database.close()
