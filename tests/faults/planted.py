"""Bugs planted on purpose: each breaks one promise of the sender's, and the simulation has to find it.

They are patches from outside, so that the product never holds them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from tests.faults.seed import broken_by

from lendsignal.deliver import book as book_file
from lendsignal.deliver import sender as sender_file
from lendsignal.deliver.book import Book
from lendsignal.deliver.lanes import Lanes
from lendsignal.deliver.line import Line
from lendsignal.deliver.orders import Obedience
from lendsignal.deliver.pace import Pace
from lendsignal.deliver.reader import Reader
from lendsignal.deliver.sender import Flight, Sender
from lendsignal.destination.spec import Response
from lendsignal.log import Deliveries, Open, Stage, Stop
from lendsignal.model import Accepted, Outcome

Patch = Any
"""What `unittest.mock.patch` gives."""


def recorded_before_sent() -> list[Patch]:
    """A delivery counts as accepted when its request leaves; what comes back is not looked at."""
    send = Sender._send

    def sent(self: Sender, flight: Flight) -> None:
        send(self, flight)
        if flight.deliveries[0].stage is Stage.CLAIMED:
            self._settle(flight, [Accepted()] * len(flight.deliveries), None)

    return [patch.object(Sender, "_send", sent), patch.object(Sender, "_ended", lambda self, done: None)]


def no_fencing() -> list[Patch]:
    """The claim is in memory alone when the request leaves."""
    claimed = Sender._claimed

    def forgotten(self: Sender, *words: Any) -> Flight | None:
        flight = claimed(self, *words)
        for one in flight.deliveries if flight is not None else ():
            self.book.changes.kept.pop(one.id, None)
        return flight

    return [patch.object(Sender, "_claimed", forgotten)]


def lost_timer() -> list[Patch]:
    """What is parked for later has no time at which it is looked for."""
    park = Book.park

    def parked(self: Book, line: Line, one: Open) -> None:
        before = line.parked_us
        park(self, line, one)
        line.parked_us = before

    return [patch.object(Book, "park", parked)]


def swapped_rows() -> list[Patch]:
    """The rows of a partial answer are read from the wrong end."""
    read = Sender._outcomes

    def swapped(self: Sender, *words: Any) -> Sequence[Outcome]:
        return list(reversed(read(self, *words)))

    return [patch.object(Sender, "_outcomes", swapped)]


def window_at_enqueue() -> list[Patch]:
    """Whether a conversion is too old is settled once it is planned, and not asked when it is sent."""
    gives_up_us = Line.gives_up_us

    def never(self: Line, delivery: Open, *words: Any) -> int | None:
        return gives_up_us(self, delivery, *words) if self.outlet.late == "send" else None

    return [patch.object(Line, "gives_up_us", never)]


def ambiguous_is_safe() -> list[Patch]:
    """A request that left and was never answered is sent again, whatever `on_unknown` says."""
    return [patch.object(Book, "may_repeat", lambda self, line, one: True)]


def receipt_without_tally() -> list[Patch]:
    """A delivery ends, has its receipt, and is counted nowhere."""
    finish = Book.finish

    def uncounted(self: Book, one: Open, what: str, *words: Any, **further: Any) -> None:
        before = dict(self.changes.tally)
        finish(self, one, what, *words, **further)
        if what == "dead":
            self.changes.tally = before

    return [patch.object(Book, "finish", uncounted)]


def lane_ignores_its_head() -> list[Patch]:
    """Others of a lane go on while its head waits to be tried again."""

    def passed_at_once(self: Lanes, lane: int, delivery: int, first_us: int) -> None:
        found = self._lanes.get(lane)
        if found is not None and found.head == delivery:
            found.until_us = 1

    return [patch.object(Lanes, "waits", passed_at_once)]


def position_before_deliveries() -> list[Patch]:
    """The place in the stream is committed before what was read there."""
    turn = Reader.turn

    def hasty(self: Reader) -> int:
        book = self._book
        found = book.log.records(book.store.position(), 1_000)
        if found and book.commit():
            book.changes.position = found[-1][0]
            book.commit()
        return turn(self)

    return [patch.object(Reader, "turn", hasty)]


def cancelled_in_flight_repeated() -> list[Patch]:
    """What was cancelled while its request was on the way is tried again all the same."""
    return [patch.object(book_file, "withdrawal", lambda one: None)]


def retry_after_ignored() -> list[Patch]:
    """An account that asked to be left alone is not."""
    return [patch.object(Pace, "slow_down", lambda self, after, now, now_us: None)]


def claimed_forgotten_at_start() -> list[Patch]:
    """A sender that starts does not look for what was on its way when the last one died."""

    def nothing(self: Sender, name: str, stage: Stage) -> Iterable[Open]:
        return ()

    return [patch.object(Sender, "_all", nothing)]


def head_forgotten_at_start() -> list[Patch]:
    """A sender that starts does not know which delivery its lanes waited for."""
    return [patch.object(Deliveries, "tried_in_lanes", lambda self, name: [])]


def storm_while_paused() -> list[Patch]:
    """A destination that the platform paused gets everything instead of a probe."""
    may_start = Line.may_start

    def always(self: Line, now_us: int) -> bool:
        stopped = self.stopped
        if stopped is None or stopped.kind is not Stop.PLATFORM:
            return may_start(self, now_us)
        self.stopped = None
        try:
            return may_start(self, now_us)
        finally:
            self.stopped = stopped

    return [patch.object(Line, "may_start", always)]


def replayed_counted_twice() -> list[Patch]:
    """What is sent through again is still counted as what it had ended as."""
    reopen = Obedience._reopen

    def uncounted(self: Obedience, *words: Any) -> None:
        before = dict(self._book.changes.tally)
        reopen(self, *words)
        self._book.changes.tally = before

    return [patch.object(Obedience, "_reopen", uncounted)]


def verdict_never_asked_for() -> list[Patch]:
    """The verdict that a platform gives later is waited for, and nobody asks."""
    pend = Book.pend

    def silent(self: Book, one: Open, *words: Any) -> None:
        pend(self, one, *words)
        self.lines[one.destination].pending_us = None

    return [patch.object(Book, "pend", silent)]


def pace_of_its_own() -> list[Patch]:
    """Each destination has a pace of its own, though they share an account."""
    lines = book_file._lines

    def apart(outlets: Any, *others: Any) -> dict[str, Line]:
        found: dict[str, Line] = {}
        for name, outlet in outlets.items():
            found |= lines({name: outlet}, *others)
        return found

    return [patch.object(book_file, "_lines", apart)]


def stamp_not_moved() -> list[Patch]:
    """What comes after a later one of its lane is sent as it is where it was to be sent later."""
    comes_after: Callable[[int, int, int], bool] = lambda at_us, last_us, rises_us: True  # noqa: E731
    return [patch.object(sender_file, "_comes_after", comes_after)]


def secret_kept() -> list[Patch]:
    """Answers are kept as they came, with the token that some platforms repeat."""

    def as_it_came(response: Response, secrets: Any) -> Response:
        return response

    return [patch.object(sender_file, "without_secrets", as_it_came)]


def split_loses_half() -> list[Patch]:
    """Of a batch that was refused whole only the first half is tried again."""
    again = Book.again

    def first_half(self: Book, one: Open, *words: Any, **further: Any) -> None:
        again(self, one, *words, **further)
        if further.get("batch") == 1 and one.id % 128:
            self.lines[one.destination].drop(one)

    return [patch.object(Book, "again", first_half)]


PLANTED: tuple[Callable[[], list[Patch]], ...] = (
    recorded_before_sent,
    no_fencing,
    lost_timer,
    swapped_rows,
    window_at_enqueue,
    ambiguous_is_safe,
    receipt_without_tally,
    lane_ignores_its_head,
    position_before_deliveries,
    cancelled_in_flight_repeated,
    retry_after_ignored,
    claimed_forgotten_at_start,
    head_forgotten_at_start,
    storm_while_paused,
    replayed_counted_twice,
    verdict_never_asked_for,
    pace_of_its_own,
    stamp_not_moved,
    secret_kept,
    split_loses_half,
)
"""Every one of them; its docstring says what it does."""


@contextmanager
def planted(bug: Callable[[], list[Patch]]) -> Iterator[None]:
    """The product with one of them in it."""
    with ExitStack() as stack:
        for one in bug():
            stack.enter_context(one)
        yield


def found_by(name: str, seed: int, tell: Callable[[str], None] | None = None) -> str | None:
    """The promise that a seed sees broken with the bug of that name in the product, if it does."""
    (bug,) = (one for one in PLANTED if one.__name__ == name)
    with planted(bug):
        return broken_by(seed, tell)
