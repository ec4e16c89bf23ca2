"""What a holdout can tell at all: the smallest effect it sees, and what seeing a smaller one would take.

An experiment that looks for less than it can see finds noise, and most of what it finds is wrong
(A. Gelman and J. Carlin, "Beyond power calculations", Perspectives on Psychological Science 9, 2014). So
nothing below the smallest effect is promised, and no reading below it is called an absence of effect.
"""

from collections.abc import Sequence
from math import ceil, sqrt
from statistics import NormalDist

from msgspec import Struct

ALPHA, POWER = 0.05, 0.8
"""How often an effect is seen where there is none, and how often one of the smallest size is."""

FEWEST = 100
"""Users in the smaller arm below which a mean is not yet normal enough for any of this."""


def smallest_effect(
    sd: float,
    treated: int,
    control: int,
    *,
    reach: float = 1.0,
    explained: float = 0.0,
    alpha: float = ALPHA,
    power: float = POWER,
) -> float | None:
    """The smallest effect on a reached user that is seen `power` of the time; `None`: too few to see any.

    δ = (z₁₋α/₂ + z_power) · sd · √((1 − R²)(1/n_T + 1/n_C)) / e. `sd` is that of one user's outcome, in its
    own unit; `reach` e is the part of the treated whom the measure reaches; `explained` R² is the part of the
    variance that is known from before. H. Bloom, "Minimum detectable effects", Evaluation Review 19 (1995).
    """
    if min(treated, control) < FEWEST or reach <= 0:
        return None
    normal = NormalDist()
    z = normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)
    return z * sd * sqrt((1 - explained) * (1 / treated + 1 / control)) / reach


def users_for(
    effect: float,
    sd: float,
    share: float,
    *,
    reach: float = 1.0,
    explained: float = 0.0,
    alpha: float = ALPHA,
    power: float = POWER,
) -> int:
    """Users of both arms together that it takes to see such an effect: `smallest_effect` solved for n.

    `share` is the part held out. Never fewer than leave `FEWEST` in the smaller arm.
    """
    normal = NormalDist()
    z = normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)
    n = (z * sd / (effect * reach)) ** 2 * (1 - explained) * (1 / (1 - share) + 1 / share)
    return max(ceil(n), ceil(FEWEST / min(share, 1 - share)))


def power_at(effect: float, sd: float, treated: int, control: int, *, alpha: float = ALPHA) -> float:
    """How often a two-sided test sees an effect on the whole arm of that size."""
    normal = NormalDist()
    z, shift = normal.inv_cdf(1 - alpha / 2), abs(effect) / (sd * sqrt(1 / treated + 1 / control))
    return normal.cdf(shift - z) + normal.cdf(-shift - z)


class Design(Struct, frozen=True, kw_only=True):
    """What a holdout is planned on. `mean` and `sd` are of one user's outcome without the measure.

    `eligible` users are there at the start and `weekly` more enter in each week; each counts once, in the
    week in which its horizon ends. `reach`: part of the treated whom the measure reaches.
    """

    mean: float
    sd: float
    eligible: int
    weekly: int = 0
    reach: float = 1.0
    explained: float = 0.0

    def users(self, weeks: int) -> int:
        """Users whose outcome is known after so many weeks of entries."""
        return self.eligible + self.weekly * weeks

    def smallest(self, share: float, weeks: int = 0) -> float | None:
        """The smallest effect on a reached user that is seen with that share held out; in `mean`'s unit."""
        control = round(self.users(weeks) * share)
        return smallest_effect(
            self.sd, self.users(weeks) - control, control, reach=self.reach, explained=self.explained
        )


class Sight(Struct, frozen=True, kw_only=True):
    """What one way of holding out sees: `smallest` in the outcome's unit, `relative` to its mean.

    `promised`: whether the effect asked about is seen with the stated power; `None`: none was asked about.
    `forgone`: what the control users leave undone because nobody reaches them, if that effect is real.
    """

    share: float
    weeks: int
    users: int
    held: int
    smallest: float | None
    relative: float | None
    promised: bool | None
    forgone: float | None


def rate_design(rate: float, eligible: int, **parts: float) -> Design:
    """The design for a yes or no of that rate: its sd is √(p(1 − p))."""
    weekly = int(parts.pop("weekly", 0))
    return Design(mean=rate, sd=sqrt(rate * (1 - rate)), eligible=eligible, weekly=weekly, **parts)


def sights(
    design: Design, shares: Sequence[float], weeks: Sequence[int], *, asked: float | None = None
) -> list[Sight]:
    """What each share and each number of weeks would see; `asked` is an effect on a reached user."""
    found = []
    for share in shares:
        for week in weeks:
            users = design.users(week)
            held = round(users * share)
            smallest = design.smallest(share, week)
            found.append(
                Sight(
                    share=share,
                    weeks=week,
                    users=users,
                    held=held,
                    smallest=smallest,
                    relative=smallest / design.mean if smallest is not None and design.mean else None,
                    promised=None if asked is None else smallest is not None and smallest <= asked,
                    forgone=None if asked is None else asked * design.reach * held,
                )
            )
    return found
