"""Installations and hashed contacts by number: each is kept once and spoken of often."""

from collections.abc import Collection, Iterable
from typing import Any, Protocol

import apsw
import msgspec

from lendsignal.errors import DataError
from lendsignal.log.packing import Part, pack_part, part_of
from lendsignal.log.sqlite import row, rows

_json = msgspec.json.Encoder().encode

AT_HAND = 16_384
"""Parts kept decoded, and as many that were used before them. What has fallen out is read again, or kept
once more under another number."""


class Spoken(Protocol):
    """What hears by which numbers parts are spoken of."""

    def add(self, number: int, /) -> None: ...


class Parts:
    """The `part` table of a log. Who numbers parts writes what is fresh in the same transaction.

    `spoken`, where somebody wants to know, hears of every part that is spoken of.
    """

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._recent = _Known()
        self._older = _Known()
        self._fresh: list[tuple[int, bytes]] = []
        self._next = 0
        self.spoken: Spoken | None = None

    def number_of(self, part: Part) -> int:
        """The part's number; one that is not known gets the next and is to be written."""
        number = self._recent.numbers.get(part)
        if number is None:
            number = self._older.numbers.get(part) or self._numbered(part)
            self._recent.add(number, part)
        if self.spoken is not None:
            self.spoken.add(number)
        return number

    def at(self, number: int) -> Any:
        """The part of that number, which was loaded."""
        return self._recent.parts[number]

    def load(self, numbers: Iterable[int]) -> None:
        """Gets parts at hand. Raises `DataError` where one is missing."""
        wanted = set(numbers).difference(self._recent.parts)
        missing = wanted.difference(self._older.parts)
        for number in wanted - missing:
            self._recent.add(number, self._older.parts[number])
        if not missing:
            return
        found = rows(
            self._db,
            # One statement for all: a statement for each takes several times as long.
            "select part.id, body from json_each(?) wanted cross join part on part.id = wanted.value",
            (_json(sorted(missing)),),
        )
        for number, body in found:
            self._recent.add(number, part_of(body))
        if len(found) < len(missing):
            raise DataError("the log speaks of an installation or a contact that is not kept in it")

    def write(self) -> None:
        """Writes what was numbered since."""
        self._db.executemany("insert into part values (?, ?)", self._fresh)
        self._fresh.clear()

    def trim(self) -> None:
        """Lets go of what was not used for long."""
        if len(self._recent.parts) > AT_HAND:
            self._recent, self._older = _Known(), self._recent

    def let_go(self, numbers: Collection[int]) -> None:
        """These are not kept any more: who shows one of them gets another number."""
        for known in (self._recent, self._older):
            for number in numbers:
                known.drop(number)

    def forget(self) -> None:
        """Nothing is known: what was numbered may not have been kept."""
        self._recent, self._older = _Known(), _Known()
        self._fresh.clear()
        self._next = 0

    def _numbered(self, part: Part) -> int:
        if not self._next:
            found = row(self._db, "select max(id) from part")
            self._next = 1 + (0 if found is None or found[0] is None else int(found[0]))
        number, self._next = self._next, self._next + 1
        self._fresh.append((number, pack_part(part)))
        return number


class _Known:
    """Parts and their numbers, both ways."""

    def __init__(self) -> None:
        self.parts: dict[int, Part] = {}
        self.numbers: dict[Part, int] = {}

    def add(self, number: int, part: Part) -> None:
        self.parts[number] = part
        self.numbers[part] = number

    def drop(self, number: int) -> None:
        part = self.parts.pop(number, None)
        if part is not None and self.numbers.get(part) == number:
            del self.numbers[part]
