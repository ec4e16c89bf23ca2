"""Users at the moment they are valued, and their loans: what a value model learns from, in columns.

A fact may only be what was known when the user was valued. Every column says when each of its entries came to
be known, and `Users` that hold one from later cannot be made.

    V_H(u) = Σ over loans k that fall due within H of the moment:
             cash in until `grace` after the due day − principal − funding − payment and collection cost
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from lendsignal.errors import LendsignalError
from lendsignal.value.likely import Facts

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Truths: TypeAlias = NDArray[np.bool_]

DAY_US = 86_400_000_000


class Leak(LendsignalError):
    """A fact that was not known yet when the user was valued, or that knows too well how it ended."""

    def __init__(self, fact: str, why: str) -> None:
        self.fact = fact
        super().__init__(f"{fact}: {why}")


class Number(Struct, frozen=True):
    """A fact that is a number, user by user, NaN where it is not known, and when each came to be known."""

    values: Floats
    known_us: Ints


class Word(Struct, frozen=True):
    """A fact that is a word: `places` points into `kinds`, -1 where it is not known."""

    places: Ints
    kinds: tuple[str, ...]
    known_us: Ints


class Loans(Struct, frozen=True, kw_only=True):
    """Loans, one entry each, in columns. Days are since the user's moment, money is in major units.

    `user` points at the user, `number` is 0 for the first. `term` in days. `result` is what the loan left
    over, which is known `grace` after `due` and NaN before. `lost` is what was never paid back of the
    principal by then, `fee` what the lender earns where it is paid back. `ended` is the day on which it was
    paid back in full, infinite where it was not.
    """

    user: Ints
    number: Ints
    opened: Floats
    due: Floats
    term: Floats
    amount: Floats
    fee: Floats
    lost: Floats
    result: Floats
    ended: Floats


class Users(Struct, frozen=True, kw_only=True):
    """Users of one currency at one moment each, and the loans that they had from then on.

    `at_us` is when the user is valued, microseconds since 1970. `followed` is for how many days after it
    loans that fell due are settled, that is until the rows were made less the grace. `campaign` is where the
    user came from, for telling how well values are met by campaign; no model learns from it.
    `granted` is there for users who are valued at their application: so many days after it they were granted,
    infinite where they were not by the time of the rows.
    Raises `Leak` where a fact became known after its user's moment.
    """

    at_us: Ints
    followed: Floats
    numbers: Mapping[str, Number]
    words: Mapping[str, Word]
    loans: Loans
    campaign: Word | None = None
    granted: Floats | None = None

    def __post_init__(self) -> None:
        known_us = {name: one.known_us for name, one in self.numbers.items()}
        known_us |= {name: one.known_us for name, one in self.words.items()}
        for name, moments in known_us.items():
            late = int(np.count_nonzero(moments > self.at_us))
            if late:
                raise Leak(name, f"became known after the user was valued, {late:,} times")

    def __len__(self) -> int:
        return len(self.at_us)

    def chosen(self, which: Truths) -> "Users":
        """These users alone, with their loans."""
        place = np.cumsum(which) - 1
        mine = which[self.loans.user]
        loans = {name: getattr(self.loans, name)[mine] for name in Loans.__struct_fields__}
        loans["user"] = place[loans["user"]]
        return Users(
            at_us=self.at_us[which],
            followed=self.followed[which],
            numbers={
                name: Number(one.values[which], one.known_us[which]) for name, one in self.numbers.items()
            },
            words={name: _chosen_word(one, which) for name, one in self.words.items()},
            loans=Loans(**loans),
            campaign=None if self.campaign is None else _chosen_word(self.campaign, which),
            granted=None if self.granted is None else self.granted[which],
        )

    def as_of(self, at_us: int, grace_days: float) -> "Users":
        """The same as they were known at an earlier moment: later users, grants, loans and endings are not
        there."""
        kept = self.chosen(self.at_us <= at_us)
        days = (at_us - kept.at_us) / DAY_US
        loans, by_then = kept.loans, days[kept.loans.user]
        opened = loans.opened <= by_then
        settled = loans.due + grace_days <= by_then
        ended = np.where(loans.ended <= by_then, loans.ended, np.inf)
        known = {name: getattr(loans, name)[opened] for name in Loans.__struct_fields__}
        known["result"] = np.where(settled, loans.result, np.nan)[opened]
        known["lost"] = np.where(settled, loans.lost, np.nan)[opened]
        known["ended"] = ended[opened]
        return Users(
            at_us=kept.at_us,
            followed=np.minimum(kept.followed, days - grace_days),
            numbers=kept.numbers,
            words=kept.words,
            loans=Loans(**known),
            campaign=kept.campaign,
            granted=None if kept.granted is None else np.where(kept.granted <= days, kept.granted, np.inf),
        )

    def facts(self, place: int) -> Facts:
        """What was known of one user, as a decision has it."""
        numbers = {name: float(one.values[place]) for name, one in self.numbers.items()}
        words = {
            name: one.kinds[one.places[place]] for name, one in self.words.items() if one.places[place] >= 0
        }
        return {**{name: value for name, value in numbers.items() if not np.isnan(value)}, **words}

    def value(self, horizon_days: float) -> Floats:
        """V of each user: results of what falls due within the horizon, NaN where not all is settled."""
        mine = self.loans.due <= horizon_days
        result = np.nan_to_num(self.loans.result[mine])
        total = np.bincount(self.loans.user[mine], weights=result, minlength=len(self))
        return np.where(self.followed >= horizon_days, total, np.nan)


def _chosen_word(word: Word, which: Truths) -> Word:
    return Word(word.places[which], word.kinds, word.known_us[which])


def words_of(values: Sequence[Any], known_us: Ints) -> Word:
    """A column of words, `None` where one is not known; kinds in the order of their names."""
    kinds = tuple(sorted({str(value) for value in values if value is not None}))
    place = {kind: n for n, kind in enumerate(kinds)}
    places = [-1 if value is None else place[str(value)] for value in values]
    return Word(np.array(places, dtype=np.int64), kinds, known_us)


class Part(Struct, frozen=True):
    """What some users brought in one span of days, or are expected to bring."""

    users: Truths
    value: Floats
    last_day: float


def buckets(users: Users, edges: Sequence[float]) -> list[Part]:
    """The value split by when loans fall due, each part known of every user followed for long enough.

    V_H = Σ_j V_(b(j−1), b(j)]: every young user tells of the early buckets, and nobody's silence is taken for
    a loss. Unbiased where users of different weeks are alike (the bucketed labels of arXiv 2101.02284).
    """
    place = np.searchsorted(np.array(edges), users.loans.due, side="left")
    found = []
    for number, edge in enumerate(edges):
        mine = place == number
        total = np.bincount(
            users.loans.user[mine], weights=np.nan_to_num(users.loans.result[mine]), minlength=len(users)
        )
        known = users.followed >= edge
        found.append(Part(known, total[known].astype(np.float64), edge))
    return found
