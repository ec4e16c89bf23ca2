"""Group commit: one writer thread makes durable whatever has come in while the last commit ran."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Condition, Thread
from time import monotonic
from typing import Protocol

from lendsignal.errors import Damaged, DataError, LendsignalError, LogError
from lendsignal.log import Quarantined, Taking
from lendsignal.model import Event
from lendsignal.source.meters import SourceMeters

logger = logging.getLogger(__name__)

IDLE_SECONDS = 0.25
"""How often the thread looks up though nobody called: for events others appended, and for timers."""

AT_ONCE = 4_000
"""Events that one commit takes at most, so that the first of them does not wait for the last."""


class Full(LendsignalError):
    """More events wait to be written than allowed: come again in a moment."""


class Inlet(Protocol):
    """What a door hands its events to. `damage`: what is wrong with the log, once that is known."""

    damage: str | None

    @property
    def is_full(self) -> bool: ...

    def submit(
        self,
        events: Sequence[Event],
        refused: Sequence[Quarantined],
        done: Callable[[Exception | None], None],
    ) -> None: ...

    def seconds_since_refusal(self) -> float | None: ...


class Intake:
    """Takes events from any thread, appends them in the order they came, and says when they are durable.

    `append` makes them durable and returns the number of the first; it may decide them as well. After each
    commit `turn(first, events)` is called in the same thread with what was appended (or with `0, ()` now and
    then); it returns true while there is more to do. `done` of a submission is called in that thread, with
    an error where the log refused.
    """

    def __init__(
        self,
        log: Taking,
        turn: Callable[[int, Sequence[Event]], bool],
        *,
        append: Callable[[Sequence[Event]], int] | None = None,
        limit: int = 50_000,
        meters: SourceMeters | None = None,
    ) -> None:
        self._log = log
        self._and_decide = append
        self._turn = turn
        self._limit = limit
        self._meters = meters or SourceMeters()
        self._waiting: list[
            tuple[Sequence[Event], Sequence[Quarantined], Callable[[Exception | None], None]]
        ] = []
        self._count = 0
        self._wake = Condition()
        self._stopping = False
        self._refused_at: float | None = None
        self.damage: str | None = None
        """What is wrong with the log, once that is known; then everything is refused."""
        self._thread = Thread(target=self._run, name="intake", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Writes and decides what has come in, then ends."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()

    def seconds_since_refusal(self) -> float | None:
        """How long ago the log last refused events; `None` where it took the last ones."""
        refused_at = self._refused_at
        return None if refused_at is None else monotonic() - refused_at

    def _mind(self, error: Exception) -> None:
        """A damaged log is not written to again by this process: what it would decide might be wrong."""
        if self.damage is None and isinstance(error, (Damaged, DataError)):
            self.damage = str(error)
            logger.error("no event is taken or decided until the log is repaired and the service restarted")

    @property
    def is_full(self) -> bool:
        """Whether so many wait that hardly anything is taken: known before a request's body is read."""
        return self._count >= self._limit

    def submit(
        self,
        events: Sequence[Event],
        refused: Sequence[Quarantined],
        done: Callable[[Exception | None], None],
    ) -> None:
        """Has events appended and refusals kept; raises `Full` where too many wait already.

        Where nobody waits any number is taken, so that a request larger than the limit has its turn.
        """
        size = len(events) + len(refused)
        with self._wake:
            if (self._count and self._count + size > self._limit) or self._stopping:
                raise Full("too many events wait to be written")
            self._waiting.append((events, refused, done))
            self._count += size
            self._meters.waiting = self._count
            self._wake.notify()

    def submit_and_wait(self, events: Sequence[Event]) -> None:
        """Has events appended and returns when they are durable; raises what the log raised."""
        durable: Future[None] = Future()

        def done(error: Exception | None) -> None:
            if error is None:
                durable.set_result(None)
            else:
                durable.set_exception(error)

        self.submit(events, (), done)
        durable.result()

    def _run(self) -> None:
        more = True
        while True:
            with self._wake:
                if not self._waiting and not more and not self._stopping:
                    self._wake.wait(IDLE_SECONDS)
                batch, self._waiting = self._take(), self._waiting
                if not batch and self._stopping and not more:
                    return
            try:
                appended = self._append(batch)
                more = self.damage is None and self._turn(*appended)
            except Exception as error:
                logger.error("the log does not take decisions: %s", error)
                self._mind(error)
                more = False

    def _take(
        self,
    ) -> list[tuple[Sequence[Event], Sequence[Quarantined], Callable[[Exception | None], None]]]:
        taken, n = 0, 0
        for events, refused, _ in self._waiting:
            if taken and n + len(events) > AT_ONCE:
                break
            taken += 1
            n += len(events) + len(refused)
        batch = self._waiting[:taken]
        del self._waiting[:taken]
        self._count -= n
        self._meters.waiting = self._count
        return batch

    def _append(
        self,
        batch: Sequence[tuple[Sequence[Event], Sequence[Quarantined], Callable[[Exception | None], None]]],
    ) -> tuple[int, Sequence[Event]]:
        events = [event for part, _, _ in batch for event in part]
        refused = [one for _, part, _ in batch for one in part]
        first, error, begun = 0, None, monotonic()
        try:
            if self.damage is not None:
                raise LogError(self.damage)
            if events:
                first = self._made_durable(events)
            if refused:
                self._log.refuse(refused)
            if batch:
                self._refused_at, self._meters.trouble = None, False
                self._meters.written(events, refused, monotonic() - begun)
        except Exception as failure:
            if self.damage is None:
                logger.error("the log does not take events: %s", failure)
            self._mind(failure)
            error, events = failure, []
            self._refused_at, self._meters.trouble = monotonic(), True
        for _, _, done in batch:
            try:
                done(error)
            except Exception as failure:  # whoever asked is gone; the others still want to know
                logger.warning("nobody waits for an answer any more: %s", type(failure).__name__)
        return first, events

    def _made_durable(self, events: Sequence[Event]) -> int:
        """The number of the first. What hinders deciding hinders nobody from being taken."""
        if self._and_decide is None:
            return self._log.append(events)
        try:
            return self._and_decide(events)
        except Damaged:
            raise
        except Exception as error:
            logger.warning("events are taken now and decided then: %s", error)
            return self._log.append(events)
