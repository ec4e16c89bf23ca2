"""What a worker does so that the store stays bounded, and how that stands."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic

from lendsignal.clock import Clock
from lendsignal.errors import LogError
from lendsignal.log.postgres import Database
from lendsignal.log.postgres.forgetting import Forgetting, copies
from lendsignal.log.postgres.schema import first_day
from lendsignal.log.postgres.singles import Single
from lendsignal.metrics import Meters

LOOK_SECONDS = 60.0


class StoreMeters(Meters):
    """How far back receipts go, and how far behind the desks are that copy them. Every worker tells the same.

    Where the store does not answer, what it said last stands.
    """

    def __init__(
        self, database: Database, kept: Callable[[], int], steady: Callable[[], float] = monotonic
    ) -> None:
        super().__init__()
        self._database = database
        self._kept = kept
        self._steady = steady
        self._look_at = float("-inf")
        self._oldest = self.gauge(
            "lendsignal_receipts_oldest_seconds", "How long ago the first day began whose receipts are kept."
        )
        self._behind = self.gauge(
            "lendsignal_copies_behind_seconds",
            "How long ago the copy of that desk was whole which is furthest behind; 0 where no desk copies.",
        )

    def sample(self) -> None:
        if self._steady() < self._look_at:
            return
        self._look_at = self._steady() + LOOK_SECONDS
        with suppress(LogError):
            behind = copies(self._database, self._kept())
            self._behind.set(max(behind.values(), default=0.0))
            first = first_day(self._database, "receipt")
            if first is not None:
                began = datetime(first.year, first.month, first.day, tzinfo=UTC)
                self._oldest.set(self._now(began))

    def _now(self, since: datetime) -> float:
        found = self._database.row("select extract(epoch from clock_timestamp() - %s)::float8", since)
        return 0.0 if found is None else max(0.0, float(found[0]))


def forgets(clock: Clock, kept: Callable[[], int]) -> Callable[[Single], object]:
    """The chore that lets go of receipts, and of what else nobody looks at any more."""
    forgetting = Forgetting()
    return lambda single: forgetting.turn(single, kept(), clock.now_us())
