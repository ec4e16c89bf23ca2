"""Reads the stream of records: what is planned, what a late touch moves, what is taken back."""

from collections.abc import Container, Sequence

from lendsignal.deliver.book import Book
from lendsignal.errors import LogError
from lendsignal.log import Open, Stage
from lendsignal.model import SkipReason
from lendsignal.plan import (
    Corrected,
    Entry,
    Placed,
    Planned,
    Rebound,
    Record,
    Withdrawn,
    delivery_id,
    record_of,
)

RECORDS_AT_ONCE = 250

MOMENT_SECONDS = 0.25
"""How long what is taken back or moved may stay unread while there is enough to send."""


class Reader:
    """The sender's place in the stream. It moves with what it read, in one commit."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._stream = book.store.stream(book.log)
        self._read_at = float("-inf")
        self.is_full = False
        self._rebounds: dict[int, tuple[int, ...]] = {}
        for number in sorted({record_of(moved)[0] for moved in book.store.moved()}):
            record = book.log.record(number)
            if isinstance(record, Rebound):
                self._note_rebound(number, record)

    def turn(self) -> int:
        """Reads what is new, where somebody has use for it; how many records that were.

        While every destination that lately got deliveries has enough that are due, reading on would only
        make rows of what can be read a moment later.
        """
        lines = self._book.lines.values()
        now_us, now = self._book.clock.now_us(), self._book.steady()
        fed = [line for line in lines if line.fed]
        if now < self._read_at + MOMENT_SECONDS and fed and all(line.has_enough(now_us) for line in fed):
            self.is_full = True
            return 0
        self._read_at, self.is_full = now, False
        for line in lines:
            line.fed = 0
        records = self._stream.next(RECORDS_AT_ONCE)
        if not records:
            return 0
        try:
            for number, record in records:
                self._apply(number, record)
        except LogError:  # half of it must not be kept: it is read again from the place before
            self._book.forget()
            raise
        self._book.changes.read(self._stream.place)
        self._book.touched()
        return len(records)

    def _apply(self, number: int, record: Record) -> None:
        match record:
            case Planned() | Corrected():
                for place, entry in enumerate(record.entries):
                    self._book.plan(number, place, entry, record)
            case Rebound():
                self._rebind(number, record)
            case Withdrawn():
                what = "skipped" if record.skip is not None else "cancelled"
                reason = record.skip.value if record.skip is not None else record.reason
                for _, one in self._family(record.record):
                    if one is not None:
                        self._book.withdraw(one, what, reason, record.at_us)

    def _rebind(self, number: int, record: Rebound) -> None:
        """Deliveries not yet claimed follow the late touch; what was sent stays and is counted."""
        book = self._book
        family = self._family(record.record)
        staying = {entry.destination for entry in record.entries}
        for _, one in family:
            if one is not None:
                # What waits for its app and was not fetched follows the touch like any other.
                book.recall(one)
        for place, entry in enumerate(record.entries):
            before = _counterpart(entry, family, staying)
            if before is None:
                self._reopen(number, place, entry, record)
                continue
            family.remove(before)
            was, one = before
            if was.skip is not None:
                # What one app's route only watches may be for the other app's route to send.
                watched = was.skip is SkipReason.SHADOW and entry.skip is None
                if watched and book.name(was.destination) != book.name(entry.destination):
                    self._reopen(number, place, entry, record)
                continue
            if one is None or self._is_claimed(one, record.at_us):
                book.changes.add(book.name(was.destination), record.conversion.name, "late_touch")
            elif one.destination == book.name(entry.destination):
                one.bound = number
                book.bodies.pop(one.id, None)
                book.changes.keep(one)
            else:
                book.finish(one, "cancelled", "rebound")
                self._reopen(number, place, entry, record)
        for _, one in family:
            if one is not None and not self._is_claimed(one, record.at_us):
                book.finish(one, "cancelled", "rebound")

    def _reopen(self, number: int, place: int, entry: Entry, record: Rebound) -> None:
        self._book.plan(number, place, entry, record)
        self._note_rebound(number, record)

    def _note_rebound(self, number: int, record: Rebound) -> None:
        """Remembers where deliveries of a planned record went that are open under another record's id."""
        known = self._rebounds.get(record.record, ())
        if number not in known:
            self._rebounds[record.record] = (*known, number)

    def _family(self, number: int) -> list[tuple[Entry, Open | None]]:
        """What a record planned, moves to other apps included, each with its delivery while that is open."""
        found: list[tuple[Entry, Open | None]] = []
        for record in (number, *self._rebounds.get(number, ())):
            planned = self._book.log.record(record)
            if isinstance(planned, Placed):
                for place, entry in enumerate(planned.entries):
                    destination = self._book.name(entry.destination)
                    found.append((entry, self._book.find(destination, delivery_id(record, place))))
        return found

    def _is_claimed(self, one: Open, at_us: int) -> bool:
        """Whether the device is frozen: tried or being tried; in a replay also when its time had come."""
        tried = one.stage not in (Stage.WAITING, Stage.PARKED) or one.first_us > 0
        return tried or (self._book.clock.replay and one.due_us <= at_us)


def _counterpart(
    entry: Entry, family: Sequence[tuple[Entry, Open | None]], staying: Container[str]
) -> tuple[Entry, Open | None] | None:
    """Whose place an entry takes: of the same destination, else of the same kind in the app that is left.

    What is open comes first: what is not was sent already, or moved on by an earlier touch.
    """
    same = [pair for pair in family if pair[0].destination == entry.destination]
    alike = [pair for pair in family if pair[0].kind == entry.kind and pair[0].destination not in staying]
    still = (pair for pair in (*same, *alike) if pair[1] is not None)
    return next(still, next(iter((*same, *alike)), None))
