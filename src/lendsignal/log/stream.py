"""The sender's stream of records: what is new since the place where it stands, portion by portion."""

from collections.abc import Mapping
from typing import Protocol, TypeAlias

from lendsignal.plan import Record

Place: TypeAlias = int | Mapping[int, int]
"""The last record that was read; by slot, where there are slots: those that moved."""


class Recorded(Protocol):
    """What a stream and the sender ask a log for: the records in their order, and one of them again."""

    def records(self, after: int, limit: int) -> list[tuple[int, Record]]: ...

    def record(self, number: int) -> Record | None: ...


class Stream(Protocol):
    """Gives what is new. `place` is where the last portion ended, to be kept with what follows from it."""

    place: Place

    def next(self, limit: int) -> list[tuple[int, Record]]: ...


class OneStream:
    """The stream of a log in one piece."""

    def __init__(self, log: Recorded, place: int) -> None:
        self.place: Place = place
        self._log = log
        self._last = place

    def next(self, limit: int) -> list[tuple[int, Record]]:
        """What comes next, in order."""
        found = self._log.records(self._last, limit)
        if found:
            self.place = self._last = found[-1][0]
        return found
