"""Loans and what was spent to win them, campaign by campaign: what advice on bids is made from.

Days are counted from today, 0, by the clock of each app or account; earlier ones are negative, so that loans
and spend of different time zones stand on one scale. Money is in one currency, in major units.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from msgspec import Struct

from lendsignal.report.development import NEVER

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Ints: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


class Place(Struct, frozen=True):
    """A campaign as its channel knows it. `is_retargeting`: most who came by it had the app before."""

    channel: str
    id: str
    name: str
    is_retargeting: bool = False

    @property
    def label(self) -> str:
        """How people call it."""
        return self.name or self.id


class Kind(Struct, frozen=True):
    """What develops alike: a product in a country with a term and a number of instalments."""

    product: str
    country: str
    term_days: int
    instalments: int

    @property
    def label(self) -> str:
        """All of it in a few words."""
        parts = (self.product, self.country, f"{self.term_days} d", f"{self.instalments}×")
        return " ".join(part for part in parts[: 4 if self.instalments > 1 else 3] if part)


class Loans(Struct, frozen=True, kw_only=True):
    """Every loan, one entry each.

    `campaign`: its place in the list of campaigns, −1 for those of none. `kind`: its place in the list of
    kinds. `bad_on`: `NEVER` where it is not lost. `due`, `paid_on`: of each instalment (loans × most
    instalments); `NEVER` for those it lacks, and in `paid_on` for what is not paid. `amount`: paid out.
    `fee`: by contract. `owed`, `paid`: in all, and of that so far. `score`: of the grant, in standard
    deviations of its model's scores, `nan` where it has none. `is_repeat`: it is not the user's first loan.
    """

    campaign: Ints
    kind: Ints
    disbursed: Ints
    bad_on: Ints
    due: Ints
    paid_on: Ints
    amount: Floats
    fee: Floats
    owed: Floats
    paid: Floats
    score: Floats
    is_repeat: np.ndarray[Any, np.dtype[np.bool_]]

    def __len__(self) -> int:
        return len(self.campaign)

    @property
    def final_due(self) -> Ints:
        """The day of each loan's last instalment."""
        return np.asarray(np.where(self.due < NEVER, self.due, np.iinfo(np.int64).min).max(axis=1))


class Spent(Struct, frozen=True):
    """What each campaign cost on each day: campaigns × days, the last column is day `until`.

    `until` is the last day that the campaign's channel tells of, 0 or before: feeds of cost come late.
    """

    amount: Floats
    until: Ints

    def over(self, days: int) -> Floats:
        """Mean spend a day over the last so many days that are told."""
        return np.asarray(self.amount[:, -days:].sum(axis=1) / days)

    @property
    def day(self) -> Ints:
        """The day of each cell of `amount`."""
        return np.asarray(self.until[:, None] - np.arange(self.amount.shape[1])[::-1])


class LoanBook(Struct, frozen=True, kw_only=True):
    """All of it. `today` names day 0, `binding` the rule by which loans and spend meet."""

    campaigns: Sequence[Place]
    kinds: Sequence[Kind]
    loans: Loans
    spent: Spent
    today: str
    currency: str
    binding: str
    notes: tuple[str, ...] = ()
