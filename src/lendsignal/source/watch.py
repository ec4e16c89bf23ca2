"""How the quarantine stands: how many wait there, and whether that is so many that a person should look."""

from collections.abc import Callable
from time import monotonic

from msgspec import Struct

from lendsignal.clock import Clock, to_us
from lendsignal.log import Log, Wanted
from lendsignal.metrics import Labels, Meters, Words
from lendsignal.source.meters import rule_word

DAY_US = 86_400_000_000
FEWEST = 10
"""Refused events of a day from which on their share says something."""

LOOK_SECONDS = 15.0


class QuarantineStanding(Struct, frozen=True, kw_only=True):
    """What waits in quarantine: of all time, of the last day, and how many events came in within that day.

    `is_alarming`: more of the last day wait than `door.quarantine_alert` allows.
    """

    open: int
    lately: int
    events_lately: int
    is_alarming: bool


def quarantine_standing(log: Log, now_us: int, alert: float) -> QuarantineStanding:
    """How the quarantine stands. `alert` is a number from 1 on, below 1 a share of all that came in."""
    lately = log.quarantine.count(Wanted(since_us=now_us - DAY_US))
    taken = log.end() - position_at(log, now_us - DAY_US)
    many = alert if alert >= 1 else max(FEWEST, alert * (taken + lately))
    return QuarantineStanding(
        open=log.quarantine.count(Wanted()),
        lately=lately,
        events_lately=taken,
        is_alarming=lately >= many,
    )


def position_at(log: Log, moment_us: int) -> int:
    """The last event that came in before a moment. Events arrive in order, but for imports of the past."""
    low, high = 0, log.end()
    while low < high:
        middle = (low + high) // 2
        found = log.read(middle, 1)
        if found and to_us(found[0].event.received_at) < moment_us:
            low = max(middle + 1, found[0].seq)
        else:
            high = middle
    return low


class QuarantineMeters(Meters):
    """What waits in quarantine. `log` is a reader's own, and is looked at now and then."""

    def __init__(self, log: Log, clock: Clock, alert: float, steady: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._log = log
        self._clock = clock
        self._alert = alert
        self._steady = steady
        self._look_at = 0.0
        self._words = Words()
        self._open = self.gauge(
            "lendsignal_quarantine_open_events",
            "Refused events that wait for a person, by where they came from and the rule they broke.",
            "source",
            "rule",
        )
        self._alarming = self.gauge(
            "lendsignal_quarantine_alert",
            "1: more events of the last day wait in quarantine than door.quarantine_alert allows.",
        )
        self._mended = self.counter(
            "lendsignal_quarantine_mended_total",
            "Refused events that a person had sent through again: taken, or refused again.",
            "outcome",
        )

    def mended(self, taken: int, refused: int) -> None:
        """What came of those that were sent through again."""
        self._mended.add("taken", n=taken)
        self._mended.add("refused", n=refused)

    def sample(self) -> None:
        now = self._steady()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        found: dict[Labels, float] = {}
        for kind in self._log.quarantine.kinds():
            labels = (self._words.bounded(kind.source), rule_word(kind.rule))
            found[labels] = found.get(labels, 0.0) + kind.n
        self._open.stand(found)
        standing = quarantine_standing(self._log, self._clock.now_us(), self._alert)
        self._alarming.set(float(standing.is_alarming))
