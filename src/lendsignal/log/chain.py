"""A chain over rows that are only ever added to: each row's hash covers the row and the hash before it.

Whoever changes or takes out a row would have to write every later hash anew; that shows against any hash of
the chain that was noted elsewhere.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256

import msgspec
from msgspec import Struct

START = "0" * 64
"""What stands in place of the hash before the first row."""


class Mark(Struct, frozen=True):
    """Up to where a chain was seen: the number of a row, and the hash that stood beside it."""

    id: int
    sha256: str


class Verdict(Struct, frozen=True, kw_only=True):
    """What a look through a chain found: how many rows, the newest, and what is wrong with which."""

    rows: int
    head: Mark | None
    wrong: tuple[str, ...]


def linked(before: str, row: Sequence[object]) -> str:
    """The hash of a row: SHA-256 of the hash before it and the row as a JSON array, hexadecimal."""
    return sha256(before.encode() + msgspec.json.encode(tuple(row))).hexdigest()


def verdict(
    rows: Iterable[Sequence[object]], links: Sequence[tuple[int, str]], noted: Mark | None = None
) -> Verdict:
    """Whether rows, whose first cell is their number, are those that were linked; `noted` was seen before.

    One row that was changed is named once: what comes after it is followed from the hash that stands there.
    """
    known = dict(links)
    wrong: list[str] = []
    before, expected, count, head = START, 1, 0, None
    for row in rows:
        number = int(str(row[0]))
        if number != expected:
            gone = f"row {expected}" if number == expected + 1 else f"rows {expected} to {number - 1}"
            wrong.append(f"{gone} is missing" if number == expected + 1 else f"{gone} are missing")
            before = known.get(number - 1, before)
        kept = known.pop(number, None)
        if kept is None:
            wrong.append(f"row {number} was added past the product: it has no hash")
        elif kept != linked(before, row):
            wrong.append(f"row {number} is not as it was written")
        before, expected, count = kept or before, number + 1, count + 1
        head = Mark(number, before)
    beyond = sorted(number for number in known if number >= expected)
    if beyond:
        wrong.append(f"rows {beyond[0]} to {beyond[-1]} are missing")
    if noted is not None and dict(links).get(noted.id) != noted.sha256:
        wrong.append(f"row {noted.id} had another hash when it was noted: the chain was written anew")
    return Verdict(rows=count, head=head, wrong=tuple(wrong))
