"""What has to change so that the members a platform has are those it is to have.

Both lists come sorted by key, page by page, and are merged: no list is ever held whole. Pure.

Law: what is confirmed, with the additions put in and the removals taken out, is what is intended.
"""

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
from msgspec import Struct

Keys: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int64]]
Values: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float64]]
Truths: TypeAlias = np.ndarray[tuple[int], np.dtype[np.bool_]]

TOLERANCE = 0.1
"""A value is told anew when it is off by more than this part of the larger one: predictions move every day,
and a seed is ranked by them, not added up."""


class Page(Struct, frozen=True):
    """Some members in the order of their keys, with their values (NaN: none)."""

    keys: Keys
    values: Values

    def __len__(self) -> int:
        return len(self.keys)


class Changes(Struct, frozen=True):
    """Some changes in the order of their keys. `fresh`: of additions, those that are new to the platform;
    the others are only told with another value. Removals are never fresh."""

    keys: Keys
    values: Values
    fresh: Truths

    def __len__(self) -> int:
        return len(self.keys)


def additions(intended: Iterable[Page], confirmed: Iterable[Page], *, valued: bool) -> Iterator[Changes]:
    """Who is to be added; where the list is `valued`, also whose value is now another."""
    for wanted, there in _side_by_side(intended, confirmed):
        place = np.searchsorted(there.keys, wanted.keys)
        known = _at(there.keys, place) == wanted.keys if len(there) else np.zeros(len(wanted), dtype=np.bool_)
        chosen = ~known
        if valued and known.any():
            before = np.full(len(wanted), np.nan)
            before[known] = there.values[place[known]]
            chosen |= known & differs(before, wanted.values)
        if chosen.any():
            yield Changes(wanted.keys[chosen], wanted.values[chosen], ~known[chosen])


def removals(intended: Iterable[Page], confirmed: Iterable[Page]) -> Iterator[Changes]:
    """Who is to be removed."""
    for wanted, there in _side_by_side(intended, confirmed):
        gone = ~np.isin(there.keys, wanted.keys, assume_unique=True)
        if gone.any():
            yield Changes(there.keys[gone], there.values[gone], np.zeros(int(gone.sum()), dtype=np.bool_))


def differs(before: Values, now: Values) -> Truths:
    """Which values are to be told anew."""
    both = ~np.isnan(before) & ~np.isnan(now)
    far = np.abs(before - now) > TOLERANCE * np.maximum(np.abs(before), np.abs(now))
    return np.where(both, far, np.isnan(before) != np.isnan(now))


def _side_by_side(one: Iterable[Page], other: Iterable[Page]) -> Iterator[tuple[Page, Page]]:
    """Both lists, cut at the same keys."""
    ones, others = _Read(one), _Read(other)
    while ones.page or others.page:
        ends = [read.page.keys[-1] for read in (ones, others) if read.page]
        upto = int(min(ends))
        yield ones.take(upto), others.take(upto)


class _Read:
    """The rest of a list: `page` is what comes next, empty at its end."""

    def __init__(self, pages: Iterable[Page]) -> None:
        self._pages = iter(pages)
        self.page = NOBODY
        self._fill()

    def take(self, upto: int) -> Page:
        """The members up to a key, which lies in this page or behind it."""
        cut = int(np.searchsorted(self.page.keys, upto, side="right"))
        taken = Page(self.page.keys[:cut], self.page.values[:cut])
        self.page = Page(self.page.keys[cut:], self.page.values[cut:])
        self._fill()
        return taken

    def _fill(self) -> None:
        while not len(self.page):
            following = next(self._pages, None)
            if following is None:
                return
            self.page = following


NOBODY = Page(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64))


def _at(keys: Keys, place: "np.ndarray[tuple[int], np.dtype[np.intp]]") -> Keys:
    """The key at each place, or the last one where a place is behind it."""
    return keys[np.minimum(place, len(keys) - 1)]
