"""What the later loans of a new borrower bring: the part of a predicted value that is not the first loan's.

    later = mean over users of (V̂ − what the first loan left over)

over the youngest users whose first loan is settled: of these the first loan is known, and its luck cancels
over many of them. Bids are set against first loans alone where later ones are told apart from them.
"""

import numpy as np
from msgspec import Struct

from lendsignal.value.users import DAY_US, Floats, Users

RECENT_DAYS = 90.0
"""Users who came longer before the youngest with a settled first loan are of another time."""

LEAST = 200
"""Such users below which nothing is said."""


class Later(Struct, frozen=True):
    """What later loans bring on average, its standard error, in the users' currency, and from how many."""

    mean: float
    se: float
    users: int


def later_loans(said: Floats, users: Users, horizon_days: float) -> Later | None:
    """What the later loans of users bring of whom a model says `said`; `None` where too few can tell.

    The users are those of the moment `disbursed`, each with a first loan.
    """
    loans = users.loans
    settled = (loans.number == 0) & (loans.due <= horizon_days) & ~np.isnan(loans.result)
    who, first = loans.user[settled], loans.result[settled]
    if not len(who):
        return None
    at_us = users.at_us[who]
    recent = at_us > at_us.max() - int(RECENT_DAYS * DAY_US)
    beyond = said[who[recent]] - first[recent]
    if len(beyond) < LEAST:
        return None
    return Later(float(beyond.mean()), float(beyond.std() / np.sqrt(len(beyond))), len(beyond))
