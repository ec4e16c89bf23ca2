"""How many conversions it takes a platform to learn half of what it could: K, out of a lender's own ad sets.

Every ad set has bought by some event for a while: it had n conversions of it, which point at profit by ρ, and
its users earned so much an install. Where the advisor's formula holds,

    earned = a + c · ρ · √(n / (n + K))

with one a (what buying at random would bring), one c and one K for all ad sets of a platform. K is the one of
the grid that leaves the smallest sum of squares, a and c by least squares beside it. (Logarithms, in which
the formula is a line, would leave out half of the small ad sets, those that had bad luck.)
"""

import numpy as np
from msgspec import Struct

from lendsignal.advise.alignment import Floats

LEAST_AD_SETS = 20
"""Below which nothing is learned of K."""

GRID = np.geomspace(5, 2_000, 61)

WIDEST = 16.0
"""How many times the lower end of the interval the upper one may be, for K to count as known."""

CHI2_80 = 1.642
"""The 80 % point of χ² with one degree of freedom."""


class HalfLearned(Struct, frozen=True, kw_only=True):
    """K with its 80 % interval, of so many ad sets."""

    k: float
    low: float
    high: float
    ad_sets: int


def half_learned(counted: Floats, points: Floats, earned: Floats, error: Floats) -> HalfLearned | None:
    """K of one platform. `counted` is n of each ad set, `points` its event's ρ, `earned` money per install,
    `error` its standard error.

    `None` where there are fewer than `LEAST_AD_SETS`, where nothing was gained, or where K may be almost
    anything.
    """
    usable = (counted > 0) & (error > 0) & np.isfinite(earned)
    n, rho, y, weight = counted[usable], points[usable], earned[usable], 1 / np.square(error[usable])
    if len(n) < LEAST_AD_SETS:
        return None
    x = rho * np.sqrt(n / (n + GRID[:, None]))
    x = x - np.average(x, axis=1, weights=weight)[:, None]
    y = y - np.average(y, weights=weight)
    slope = (x * weight * y).sum(axis=1) / np.maximum((x * x * weight).sum(axis=1), 1e-12)
    left = (weight * np.square(y - slope[:, None] * x)).sum(axis=1)
    best = int(np.argmin(left))
    # Ad sets differ by more than their luck: the spread is that of what is left, and not less than theirs.
    spread = max(1.0, float(left[best]) / (len(n) - 3))
    inside = GRID[left <= left[best] + CHI2_80 * spread]
    low, high = float(inside.min()), float(inside.max())
    if slope[best] <= 0 or high / low > WIDEST:
        return None
    return HalfLearned(k=float(GRID[best]), low=low, high=high, ad_sets=len(n))
