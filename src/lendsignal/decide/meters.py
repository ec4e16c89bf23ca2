"""What deciding counts, and how far behind the door it is."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from lendsignal.clock import Clock, to_us
from lendsignal.log import Fact
from lendsignal.metrics import QUICK, Labels, Meters, Words, event_word


class Counted(Protocol):
    """What there is to be counted in a log."""

    def tally(self) -> Mapping[tuple[str, str], int]: ...

    def position(self) -> int: ...

    def end(self) -> int: ...

    def read(self, after: int, limit: int) -> Sequence[Fact]: ...

    def timers_due(self, now_us: int) -> int: ...


class DecideMeters(Meters):
    """Counts kept with the decisions, so that they survive a restart, and how deciding stands now.

    `log` is read whenever somebody asks, and should be a reader's own: nobody who writes waits for it.
    """

    def __init__(self, log: Counted, clock: Clock) -> None:
        super().__init__()
        self._log = log
        self._clock = clock
        self._words = Words()
        self._decided = self.counter(
            "lendsignal_events_decided_total", "Events decided, ever; imports and our own among them.", "type"
        )
        self._verdicts = self.counter(
            "lendsignal_verdicts_total", "What was decided of events, ever.", "verdict"
        )
        self._conversions = self.counter(
            "lendsignal_conversions_total", "Conversions that followed from events, ever.", "conversion"
        )
        self._not_routed = self.counter(
            "lendsignal_conversions_not_routed_total", "Conversions that no route takes, ever."
        )
        self._waiting = self.gauge(
            "lendsignal_decide_waiting_events", "Events that are durable and not yet decided."
        )
        self._oldest = self.gauge(
            "lendsignal_decide_oldest_seconds",
            "How long the oldest of them has waited since it arrived; 0 where none waits.",
        )
        self._pen = self.gauge(
            "lendsignal_pen_conversions", "Conversions that wait for their user's first login."
        )
        self._due = self.gauge(
            "lendsignal_timers_due", "Timers whose moment has come and that did not enter the log yet."
        )
        self._commits = self.histogram(
            "lendsignal_decide_commit_seconds", "How long it took to write decisions durably.", QUICK
        )

    def committed(self, seconds: float) -> None:
        """One commit of decisions."""
        self._commits.of().took(seconds)

    def sample(self) -> None:
        self._sample_tally()
        now_us, position = self._clock.now_us(), self._log.position()
        self._waiting.set(max(0, self._log.end() - position))
        oldest = self._log.read(position, 1)
        waited_us = now_us - to_us(oldest[0].event.received_at) if oldest else 0
        self._oldest.set(max(0, waited_us) / 1e6)
        self._due.set(self._log.timers_due(now_us))

    def _sample_tally(self) -> None:
        decided: dict[Labels, float] = {}
        pen = 0
        for (what, name), n in self._log.tally().items():
            match what:
                case "event":
                    kind = (event_word(name),)
                    decided[kind] = decided.get(kind, 0) + n
                case "verdict":
                    self._verdicts.values[name,] = n
                case "conversion":
                    self._conversions.values[self._words.bounded(name),] = n
                case "not_routed":
                    self._not_routed.values[()] = n
                case "pen":
                    pen = n
                case _:
                    continue
        self._decided.values = decided
        self._pen.set(pen)
