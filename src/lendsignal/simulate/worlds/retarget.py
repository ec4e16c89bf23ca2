"""A made-up round of retargeting: ads reach borrowers, most of whom would have come back anyway.

Each user has an interest that makes coming back likelier and being reached likelier, which is why whom ads
reached looks so much better than whom they did not. The truth is known: both what a user does when reached
and what the same user does when not. Reinstalls and new phones change whom an MMP credits, and whom a
platform still recognises on an exclusion list; the lender's ledger knows its users by name.
"""

import numpy as np
from msgspec import Struct

from lendsignal.simulate.chance import Flags, Floats, Ints, logistic


class Round(Struct, frozen=True, kw_only=True):
    """One round. `rate` is the part that comes back within the horizon by itself, `reach` that of the treated
    whom ads reach, `lift` what being reached adds to a user's own chance of coming back, as a part of it.

    `selection` is how much likelier ads reach who is interested; `reinstall` and `device_change` are parts of
    the users since the list was uploaded: of both the MMP loses the thread, and a platform does not know who
    has a new phone.
    """

    users: int = 20_000
    held_out: float = 0.1
    rate: float = 0.10
    reach: float = 0.4
    lift: float = 0.10
    interest: float = 0.8
    selection: float = 1.0
    reinstall: float = 0.15
    device_change: float = 0.10
    margin: float = 12.0
    loss: float = 70.0
    lost: float = 0.08


class Played(Struct, frozen=True, kw_only=True):
    """What happened to each user, and what is true of the round.

    `came_back` is the ledger's yes or no, `margin` the money of it, `facts` what was known before, a column
    each. `entered` is the order of entering. `attributed` is what an MMP credits to the ads by the device of
    the last login, and `attributed_first` by that of the first install. `truth` is the mean effect on a user
    of the treated arm less that on one of the held out; `truth_reached` that on one who was reached.
    """

    treated: Flags
    reached: Flags
    came_back: Floats
    margin: Floats
    facts: Floats
    attributed: Flags
    attributed_first: Flags
    truth: float
    truth_reached: float

    @property
    def incremental(self) -> float:
        """How many of the treated arm came back because of the ads, in truth."""
        return self.truth * int(self.treated.sum())


def played(one: Round, rng: np.random.Generator) -> Played:
    """The round, as chance has it. The held out who have a new phone are reached like anybody else."""
    interest = rng.standard_normal(one.users)
    own = logistic(_level(one.rate, one.interest) + one.interest * interest)
    reachable = rng.random(one.users) < logistic(_level(one.reach, one.selection) + one.selection * interest)
    treated = rng.random(one.users) >= one.held_out
    new_phone = rng.random(one.users) < one.device_change
    reinstalled = new_phone | (rng.random(one.users) < one.reinstall)
    reached = reachable & (treated | new_phone)
    # One die for both fates of a user, so that being reached only ever adds.
    die = rng.random(one.users)
    effect = np.minimum(own * one.lift, 1 - own)
    came_back = die < own + effect * reached
    lost = came_back & (rng.random(one.users) < one.lost)
    loans = 1 + rng.poisson(np.exp(0.3 * interest))
    return Played(
        treated=treated,
        reached=reached,
        came_back=came_back.astype(np.float64),
        margin=np.where(came_back, one.margin, 0.0) - np.where(lost, one.loss, 0.0),
        facts=np.column_stack(
            [np.log1p(loans), 0.5 * interest + rng.standard_normal(one.users), rng.random(one.users)]
        ),
        attributed=came_back & reached,
        attributed_first=came_back & reached & ~reinstalled,
        truth=float((effect * reachable).mean() * (1 - one.device_change)),
        truth_reached=float(effect[reachable].mean()),
    )


def days_of(users: int, days: int, rng: np.random.Generator) -> Ints:
    """The day on which each user's horizon is over, from 0 on, in order: evenly over `days`."""
    return np.sort(rng.integers(0, days, users))


def _level(rate: float, spread: float) -> float:
    """The logit of somebody of no particular interest, so that the mean of all is `rate`."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(31)
    low, high = -15.0, 15.0
    for _ in range(50):
        middle = (low + high) / 2
        if float(weights @ logistic(middle + spread * nodes)) / np.sqrt(2 * np.pi) < rate:
            low = middle
        else:
            high = middle
    return (low + high) / 2
