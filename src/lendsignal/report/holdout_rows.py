"""What each user of a holdout did in the ledger, a row each: gathered in `holdout_ledger`, reckoned with in
`advise.holdout`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from lendsignal.model import to_us

Eligible: TypeAlias = Literal["borrowers", "registered"]
"""Who is in a holdout: who has borrowed before, or whoever has registered."""

Floats: TypeAlias = npt.NDArray[np.float64]

OUTCOMES: Mapping[str, str] = {
    "reloan": "part of the users who borrowed",
    "loans": "loans a user",
    "margin": "fees of those loans less what was lost, a user",
    "loss": "lost, a user",
}
"""What is measured of each user between entering and the end of the horizon, and its unit in words."""

FACTS = ("loans before", "days since the last", "days known", "late before")
"""What is known of each user from before entering: the columns of `Entered.facts`."""


class Entered(Struct, frozen=True, kw_only=True):
    """Users who entered, oldest entry first. `known_us` is when the horizon of each is over.

    `outcomes` holds a column for each of `OUTCOMES`, sound only where `is_mature`; `facts` the columns of
    `FACTS`. Money is in `currency`; loans in another are counted and not summed.
    """

    users: tuple[str, ...]
    known_us: npt.NDArray[np.int64]
    outcomes: Mapping[str, Floats]
    facts: Floats
    currency: str | None
    as_of: datetime | None

    @property
    def is_mature(self) -> npt.NDArray[np.bool_]:
        """Whether the horizon of each is over, as far as the ledger reaches."""
        now_us = 0 if self.as_of is None else to_us(self.as_of)
        return np.asarray(self.known_us <= now_us)
