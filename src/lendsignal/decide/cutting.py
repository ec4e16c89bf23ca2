"""Puts new cuts of the tiers into force, in a running service as they fall due.

The statistics (`decide.cuts`) are loaded when somebody looks, and not by a lender who has no cuts of its own.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from lendsignal.clock import Clock, from_us
from lendsignal.derive import CutTable, TierSettings
from lendsignal.errors import LendsignalError
from lendsignal.log import Log
from lendsignal.model import Event, EventType
from lendsignal.plan import PolicySource

logger = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 6 * 3_600.0
"""How often a running service looks. Cuts stand for days, and a look reads four weeks of events: some ten
seconds of processor time for each million."""


class Keeping(Protocol):
    """Where cuts are kept and put in force: a log, or the rules of a cluster."""

    def keep_cuts(self, table: CutTable, events: Sequence[Event]) -> None: ...


def put_in_force(log: Keeping, table: CutTable) -> None:
    """Appends the event from whose place on the table applies. What was decided before it stays as it is."""
    now = from_us(table.made_us)
    event = Event(
        type=EventType.TIERS_CUT,
        brand="lendsignal",
        user_id="lendsignal",
        event_id=f"cuts-{table.version}",
        occurred_at=now,
        received_at=now,
        actor="system",
        properties={"version": table.version},
    )
    log.keep_cuts(table, [event])


class Cutter:
    """Looks from time to time, in a thread of its own, until it is stopped.

    `put` puts a table in force, by default in the log that is looked at; `is_ours` says whether to look.
    """

    def __init__(
        self,
        log_of: Callable[[], Log],
        source: PolicySource,
        settings: TierSettings,
        clock: Clock,
        every_seconds: float = LOOK_EVERY_SECONDS,
        *,
        put: Callable[[CutTable], None] | None = None,
        is_ours: Callable[[], bool] = lambda: True,
    ) -> None:
        self._log_of = log_of
        self._source = source
        self._settings = settings
        self._clock = clock
        self._every = every_seconds
        self._put = put
        self._is_ours = is_ours
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tiers", daemon=True)

    def __enter__(self) -> "Cutter":
        if self._settings.recut == "automatic" and self._source.derive.tiers.rolling:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        wait = min(60.0, self._every)  # the others start first
        while not self._stopping.wait(wait):
            wait = self._every
            try:
                if self._is_ours():
                    self.turn()
            except LendsignalError as error:
                # The cuts in force stay in force.
                logger.warning("the tiers' cuts were not looked at: %s", error)

    def turn(self) -> None:
        """Looks once, and puts into force what is due."""
        from lendsignal.decide.cuts import look

        log = self._log_of()
        try:
            cuts = look(log, self._source, self._settings, self._clock.now_us())
            if cuts.found.table is not None:
                if self._put is None:
                    put_in_force(log, cuts.found.table)
                else:
                    self._put(cuts.found.table)
                logger.info(
                    "tiers cut anew: version %s, %d scopes", cuts.found.table.version, len(cuts.found.changes)
                )
        finally:
            log.close()
