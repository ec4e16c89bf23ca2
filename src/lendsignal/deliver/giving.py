"""How a person's order reaches the sender: it is written down, the sender woken, and what came of it told.

The command line and the console give orders alike.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType

from msgspec import Struct

from lendsignal.clock import Clock
from lendsignal.deliver.standing import Standing, standings
from lendsignal.errors import LogError, NotYet
from lendsignal.log import (
    DataFolder,
    Deliveries,
    Log,
    Order,
    Orders,
    open_deliveries,
    open_log,
    open_orders,
    seconds_since_beat,
)

PATIENCE_SECONDS = 10.0
"""How long a person waits for the sender; the order stands all the same."""

LOOK_SECONDS = 0.05

PULSE_SECONDS = 5.0
"""A sender whose pulse is younger lives."""


class Came(Struct, frozen=True, kw_only=True):
    """What came of orders: deliveries (or destinations) reached and passed over; `open` orders wait still."""

    orders: tuple[int, ...]
    done: int
    passed_over: int
    open: int
    sender_runs: bool

    @property
    def is_stuck(self) -> bool:
        """A sender runs and has not carried out a single one."""
        return self.sender_runs and self.open == len(self.orders) > 0


def give(folder: DataFolder, orders: Sequence[Order], clock: Clock, by: str) -> Came:
    """Makes orders durable, wakes the sender, and waits a while for what it says. `by` is who gives them."""
    kept = open_orders(folder.orders)
    try:
        numbers = kept.give(orders, by, clock.now_us())
    finally:
        kept.close()
    ringer = folder.ringer("send")
    ringer.ring()
    ringer.close()
    return waited_for(lambda: _came(folder, numbers, sender_runs(folder)))


def waited_for(came: Callable[[], Came]) -> Came:
    """What came of orders, once all are carried out, no sender lives, or patience is over."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = came()
        if not found.open or not found.sender_runs or time.monotonic() >= end:
            return found
        time.sleep(LOOK_SECONDS)  # what is waited for is another process's, which calls nobody back


def _came(folder: DataFolder, numbers: Sequence[int], runs: bool) -> Came:
    obeyed: list[tuple[int, int]] = []
    try:
        store = open_deliveries(folder.deliveries, read_only=True)
    except NotYet:  # no sender has ever run here
        pass
    else:
        try:
            obeyed = [one for number in numbers if (one := store.obeyed(number)) is not None]
        finally:
            store.close()
    return Came(
        orders=tuple(numbers),
        done=sum(done for done, _ in obeyed),
        passed_over=sum(passed for _, passed in obeyed),
        open=len(numbers) - len(obeyed),
        sender_runs=runs,
    )


def told(came: Came, what: str) -> str:
    """That for people; `what` says it where it is done, such as `{done} deliveries wait again`."""
    if came.open == len(came.orders) and not came.sender_runs:
        return "the order stands; no sender runs now: it is carried out when one starts"
    if came.is_stuck:
        return f"the order stands, and the sender has not carried it out after {PATIENCE_SECONDS:.0f} s"
    said = [what.format(done=f"{came.done:,}")]
    if came.passed_over:
        said.append(f"{came.passed_over:,} passed over: something else became of them meanwhile")
    if came.open:
        said.append(
            f"{came.open} of {len(came.orders)} orders are still to be carried out; the sender goes on"
        )
    return "\n".join(said)


class Stores:
    """The log and the deliveries of a folder, read only."""

    def __init__(self, folder: DataFolder) -> None:
        self.log: Log = open_log(folder.log, read_only=True)
        try:
            self.deliveries: Deliveries = open_deliveries(folder.deliveries, read_only=True)
        except LogError:
            self.log.close()
            raise

    def __enter__(self) -> "Stores":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.deliveries.close()
        self.log.close()


def orders_of(folder: DataFolder) -> Orders | None:
    """The orders, read only; `None` where nobody has given one."""
    try:
        return open_orders(folder.orders, read_only=True)
    except NotYet:
        return None


def standing(folder: DataFolder, configured: Iterable[str]) -> list[Standing]:
    """How each destination stands; only those that are configured where no sender has run yet."""
    try:
        store = open_deliveries(folder.deliveries, read_only=True)
    except NotYet:
        return [Standing(destination=name, configured=True) for name in sorted(configured)]
    orders = orders_of(folder)
    try:
        return standings(store, orders, configured)
    finally:
        store.close()
        if orders is not None:
            orders.close()


def sender_runs(folder: DataFolder) -> bool:
    """Whether a sender has the folder. Its lock is tried only where its pulse does not tell: a sender that
    starts at that very moment would find it taken."""
    beat = seconds_since_beat(folder.pulse("send"))
    return (beat is not None and beat < PULSE_SECONDS) or folder.is_running("send")
