"""The worker of a cluster: decides what comes in the slots that it leases, whoever else works beside it."""

import logging
from collections.abc import Callable
from contextlib import suppress
from threading import Event
from time import monotonic

from lendsignal.clock import Clock
from lendsignal.decide.decider import AT_ONCE, NEVER_US, Deciding, Versions, pen_expired
from lendsignal.decide.meters import DecideMeters
from lendsignal.errors import DataError, LogError, Overtaken
from lendsignal.log.postgres import Gained
from lendsignal.log.postgres.slots import SlotRows, is_shared
from lendsignal.plan import UserState

logger = logging.getLogger(__name__)

IDLE_SECONDS = 0.03
"""How soon a worker looks again where nothing was there."""

AWAY_SECONDS = 0.25
"""How soon it tries again a database that did not answer."""

HOUSEKEEPING_SECONDS = 3_600.0

TIMERS_SECONDS = 60.0
"""How often timers are looked for though none of ours can be due."""


class SlotDecider(Deciding):
    """Moves the cursors of its slots; a batch of all of them is one commit.

    It brings no policy of its own: which rules are in force stands in the log, in each slot at its place.
    `steady` counts seconds and is never set.
    """

    def __init__(
        self,
        log: SlotRows,
        clock: Clock,
        ring: Callable[[], None] = lambda: None,
        meters: DecideMeters | None = None,
        *,
        steady: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__(log, ring, meters)
        self._log = log
        self._clock = clock
        self._steady = steady
        self._timers_at = float("-inf")

    def turn(self) -> bool:
        """One round: keeps the leases, fires timers, decides what is next. False: nothing was there to do.

        Raises `LogError` where the database is away. Nothing is lost by that: who calls comes again.
        """
        try:
            self._know(self._log.tend(self._steady()))
            return self._turned()
        except Overtaken as overtaken:
            logger.warning("%s; going on with the others", overtaken)
            self._doubt()
            return True
        except Exception:
            self._doubt()
            raise

    def end(self) -> None:
        """Leaves the slots to others, at once."""
        self._log.end()

    def _turned(self) -> bool:
        if not self._log.held:
            return False
        self._fire_timers()
        parts = self._log.read(AT_ONCE)
        if not parts:
            return False
        batch, begun = self._decided(parts, 0, 0), self._steady()
        self._log.commit(batch.decided)
        self._took(batch, self._steady() - begun)
        return True

    def _know(self, gained: Gained) -> None:
        """Starts with what others left in a slot; forgets what they may change from now on."""
        if not gained:
            return
        if gained.lost:
            self._forget()
        for slot in gained.lost:
            self._rules.pop(slot, None)
        for lease in gained.leased:
            policy = lease.policy or self._log.rules.wanted("policy")
            if policy is None:
                raise DataError("no policy was ever put in force in this log")
            versions = Versions(policy, lease.cuts, lease.value)
            self._rules[lease.slot] = self._ready.get(versions) or self._compiled(
                versions,
                self._source_of(policy),
                self._cuts_of(lease.cuts),
                self._valuer_of(lease.value),
            )
        self._due_us = 0
        logger.info("%d slots: %d came, %d went", len(self._rules), len(gained.leased), len(gained.lost))

    def _doubt(self) -> None:
        """A commit that was not answered may have been kept: all is read anew."""
        self._forget()
        self._rules.clear()
        self._log.doubt()

    def _fire_timers(self) -> None:
        now = self._steady()
        if now - self._timers_at >= TIMERS_SECONDS:
            self._due_us, self._timers_at = 0, now
        now_us = self._clock.now_us()
        if now_us < self._due_us:
            return
        due = self._log.due(now_us)
        if due:
            self._log.fire(due, [pen_expired(*timer) for timer in due])
        else:
            self._due_us = self._log.next_timer() or NEVER_US

    def _remember(self, states: dict[str, UserState]) -> None:
        """What users of other slots may change meanwhile is read again each time."""
        super()._remember({key: state for key, state in states.items() if not is_shared(key)})


def work(
    one: SlotDecider,
    stopping: Event,
    *,
    idle_seconds: float = IDLE_SECONDS,
    away_seconds: float = AWAY_SECONDS,
    housekeeping: Callable[[], object] = lambda: None,
) -> None:
    """Decides until it is told to stop, then leaves its slots to others.

    Where the database is away it comes again and again: nothing that it had decided counts. `housekeeping` is
    called at the start and then every hour; where it fails, deciding goes on.
    """
    kept_at = float("-inf")
    while not stopping.is_set():
        try:
            if monotonic() - kept_at >= HOUSEKEEPING_SECONDS:
                kept_at = monotonic()
                housekeeping()
            if not one.turn():
                stopping.wait(idle_seconds)
        except LogError as error:
            logger.warning("%s; nothing is lost, it is tried again", error)
            stopping.wait(away_seconds)
    with suppress(LogError):
        one.end()
