"""How far back the log goes, and how what lies behind that goes.

What may go is a rule of its own (`cut_of`). It goes in pieces of a few milliseconds each, by the one process
that decides: whoever else reads the log finds that it begins later. Events keep their numbers.
"""

import fcntl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import apsw
import msgspec
from msgspec import Meta, Struct

from lendsignal.log.packing import parts_of_records, parts_of_state, read_records, read_state
from lendsignal.log.parts import Parts
from lendsignal.log.sqlite import Guard, row, rows, transaction
from lendsignal.model import to_us

SHORTEST = timedelta(days=14)
"""The least that events are kept: as long as a late login may move what was planned (`plan.decide`)."""

CUT = "cut"
"""The cursor of the last event that nobody may rely upon any more."""

EVENTS_AT_ONCE = 500
"""Events that go in one transaction: some two or three milliseconds."""

LOOKED_AT_ONCE = 1_000
"""Events, states or records that are looked at between two breaths."""


class LogSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The log of what came in."""

    keep_for: Annotated[
        timedelta,
        Meta(description="how long events are kept; longer where destinations or tiers look further back"),
    ] = SHORTEST
    every: Annotated[
        timedelta,
        Meta(description="how often it is looked what may go, which then goes after the next look"),
    ] = timedelta(seconds=30)

    def __post_init__(self) -> None:
        if self.every <= timedelta():
            raise ValueError("every must be more than nothing")
        if self.keep_for < SHORTEST:
            raise ValueError(
                f"keep_for must be at least {SHORTEST.days}d: so long a late login moves conversions"
            )


class Holder(Struct, frozen=True):
    """Somebody who still needs the events behind `position`, and what follows from them."""

    name: str
    position: int


class Cut(Struct, frozen=True):
    """The last event that may go, and who stands in the way of a later one; `None`: nobody."""

    position: int
    held_by: Holder | None = None


def span_of(keep_for: timedelta, windows: Mapping[str, timedelta]) -> tuple[timedelta, str]:
    """How long events are kept, and for whose sake: "log.keep_for", or the longest of the windows."""
    name, longest = max(windows.items(), key=lambda one: one[1], default=("", timedelta()))
    return (longest, name) if longest > keep_for else (keep_for, "log.keep_for")


def cut_of(before: int, aged: int, decided: int, holders: Sequence[Holder]) -> Cut:
    """The last event that may go.

    `before` is the cut as it was: it never goes back. `aged` is the last event of those that are all old
    enough, and `decided` the last that is decided. That one stays in any case, for the next event is numbered
    by it.
    """
    wanted = min(aged, decided - 1)
    first = min(holders, key=lambda one: one.position, default=None)
    if first is None or first.position >= wanted:
        return Cut(max(before, wanted))
    return Cut(max(before, first.position), first)


class _Received(Struct, frozen=True, gc=False):
    """Of an event only when it came in."""

    received_at: datetime


_received = msgspec.msgpack.Decoder(_Received).decode


class Cutting:
    """The side of a log by which it is cut. Each call takes a few milliseconds, and is one transaction.

    Which installations and contacts nobody speaks of any more is found by looking at everybody: `mark` looks
    at a piece, and what is spoken of meanwhile counts as spoken of.
    """

    def __init__(self, db: apsw.Connection, lock: Guard, parts: Parts) -> None:
        self._db = db
        self._lock = lock
        self._parts = parts
        self._marks: _Marks | None = None

    # where it begins

    def cut(self) -> int:
        """The last event that counts as gone; 0: all are there."""
        with self._lock:
            found = row(self._db, "select position from cursor where name = ?", (CUT,))
        return 0 if found is None else int(found[0])

    def first(self) -> int:
        """The number of the oldest event that is there; 0 in an empty log."""
        with self._lock:
            found = row(self._db, "select min(seq) from event")
        return 0 if found is None or found[0] is None else int(found[0])

    def since(self) -> datetime | None:
        """When the oldest event that is there came in; `None` in an empty log."""
        with self._lock:
            found = row(self._db, "select body from event order by seq limit 1")
        return None if found is None else _received(found[0]).received_at

    def bytes(self) -> tuple[int, int]:
        """The room that the file takes, and how much of it is free for what comes next."""
        with self._lock:
            size, pages, free = (
                int(self._db.execute(f"pragma {what}").get)
                for what in ("page_size", "page_count", "freelist_count")
            )
        return pages * size, free * size

    def aged(self, after: int, before_us: int) -> tuple[int, bool]:
        """The last event of those behind `after` that all came in before that moment, and whether more may
        follow.

        One that came in later keeps all behind it, whatever they say: a clock that was wrong loses nothing.
        """
        with self._lock:
            found = rows(
                self._db,
                "select seq, body from event where seq > ? order by seq limit ?",
                (after, LOOKED_AT_ONCE),
            )
        for seq, body in found:
            if to_us(_received(body).received_at) >= before_us:
                return after, False
            after = int(seq)
        return after, len(found) == LOOKED_AT_ONCE

    # what goes

    def announce(self, cut: int) -> None:
        """From now on nobody relies upon what lies up to there. It goes later: who did is done by then."""
        with self._lock, transaction(self._db):
            self._db.execute(
                "insert into cursor values (?, ?)"
                " on conflict do update set position = max(position, excluded.position)",
                (CUT, cut),
            )

    def take(self, upto: int) -> int:
        """Lets the oldest events go, a piece of those up to that place, with all that was decided of them;
        how many went.

        The last record stays whatever its age: by it the sender knows that the log is the one it read.
        """
        with self._lock, transaction(self._db):
            first = self.first()
            last = min(upto, first + EVENTS_AT_ONCE - 1)
            if not first or last < first:
                return 0
            before = self._db.total_changes()
            self._db.execute("delete from event where seq <= ?", (last,))
            gone = self._db.total_changes() - before
            self._db.execute("delete from verdict where seq <= ?", (last,))
            self._db.execute(
                "delete from record where seq <= ? and seq < (select max(seq) from record)", (last,)
            )
        return gone

    # installations and contacts that nobody speaks of

    def begin_marking(self) -> None:
        """Looks at everybody from the start."""
        with self._lock:
            found = row(self._db, "select max(id) from part")
            highest = 0 if found is None or found[0] is None else int(found[0])
            self._marks = _Marks(highest)
            self._parts.spoken = self._marks.spoken

    def mark(self) -> bool:
        """Looks at a piece of the states and records; false where all were looked at."""
        with self._lock:
            marks = self._marks
            assert marks is not None, "marking has begun"
            if marks.table is None:
                return False
            key, of = ("id", _of_state) if marks.table == "state" else ("seq", _of_records)
            found = rows(
                self._db,
                f"select {key}, body from {marks.table} where {key} > ? order by {key} limit ?",
                (marks.after, LOOKED_AT_ONCE),
            )
            for _, body in found:
                marks.spoken.update(of(body))
            marks.move(int(found[-1][0]) if len(found) == LOOKED_AT_ONCE else None)
            return marks.table is not None

    def sweep(self) -> tuple[int, bool]:
        """Lets a piece of those go that nobody was seen to speak of; how many went, and whether more may
        follow."""
        with self._lock:
            marks = self._marks
            assert marks is not None, "marking has begun"
            assert marks.table is None, "everybody was looked at"
            try:
                with transaction(self._db):
                    found = rows(
                        self._db,
                        # The last stays: by it the next is numbered.
                        "select id from part where id > ? and id < ? order by id limit ?",
                        (marks.swept, marks.highest, LOOKED_AT_ONCE),
                    )
                    gone = [number for (number,) in found if number not in marks.spoken]
                    self._db.executemany("delete from part where id = ?", [(number,) for number in gone])
            except BaseException:
                self.end_marking()
                raise
            self._parts.let_go(gone)
            if len(found) < LOOKED_AT_ONCE:
                self.end_marking()
                return len(gone), False
            marks.swept = int(found[-1][0])
            return len(gone), True

    def end_marking(self) -> None:
        """What was seen is forgotten."""
        with self._lock:
            self._marks = self._parts.spoken = None


class Spoken:
    """Numbers of parts up to a highest one that somebody speaks of: a bit for each."""

    def __init__(self, highest: int) -> None:
        self._bits = bytearray(highest // 8 + 1)
        self._highest = highest

    def add(self, number: int) -> None:
        if number <= self._highest:
            self._bits[number >> 3] |= 1 << (number & 7)

    def update(self, numbers: Iterator[int] | Sequence[int]) -> None:
        for number in numbers:
            self.add(number)

    def __contains__(self, number: int) -> bool:
        return number > self._highest or bool(self._bits[number >> 3] & (1 << (number & 7)))


class _Marks:
    """How far it was looked, and what was seen."""

    def __init__(self, highest: int) -> None:
        self.highest = highest
        self.spoken = Spoken(highest)
        self.table: str | None = "state"
        self.after = 0
        self.swept = 0

    def move(self, after: int | None) -> None:
        """To that place of the table; `None`: it is through."""
        if after is not None:
            self.after = after
        else:
            self.table, self.after = ("record", 0) if self.table == "state" else (None, 0)


def _of_state(body: bytes) -> Sequence[int]:
    return parts_of_state(read_state(body))


def _of_records(body: bytes) -> Iterator[int]:
    return parts_of_records(read_records(body))


# who wants it as it is


@contextmanager
def uncut(log: Path) -> Iterator[None]:
    """Nothing goes out of that log meanwhile: for copies of several files that belong together."""
    with _beside(log) as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


@contextmanager
def cutting(log: Path) -> Iterator[bool]:
    """Whether something may go out of that log while this is held; nobody is waited for."""
    with _beside(log) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


@contextmanager
def _beside(log: Path) -> Iterator[int]:
    with log.with_suffix(".readers").open("a") as file:
        yield file.fileno()
