"""How well a week's count of an event measures what an ad set earns: the second lens on events.

An event that a platform learns well is not always the one that tells the buyer soonest how a campaign does.
Campaigns differ in how often an event happens and in what their users are worth; how the two differences go
together says how much of the one can be read off the other:

    D = Cov over campaigns of (mean of the event, mean profit), less what chance within them puts there
    R² = D_eπ² / (D_ee D_ππ)        β = D_eπ / D_ee        τ² = D_ππ
    Var(π̂ | n installs) = (1 − R²) τ² + β² Var(e) / n        I = 1 / Var(π̂)

R² is the group-level surrogacy of M. Buyse and others, "The validation of surrogate endpoints in
meta-analyses of randomized experiments", Biostatistics 1 (2000) 49–67; D is taken out of means by the
moments of the analysis of variance.
"""

import numpy as np
from msgspec import Struct

from lendsignal.advise.alignment import Floats, Ints

LEAST_GROUPS = 8
"""Campaigns below which their differences say nothing."""

LEAST_OF_A_GROUP = 50
"""Installs whose profit is known, below which a campaign is left out."""


class Surrogacy(Struct, frozen=True, kw_only=True):
    """What campaigns' differences say of each event, in the order of the columns given.

    `r2`: the part of campaigns' differences in profit that those in the event tell. `slope`: money per
    install for each event per install. `between`: τ², the variance of campaigns' true mean profit; `within`:
    the variance of the event among one campaign's installs. `groups` campaigns were compared.
    """

    r2: Floats
    slope: Floats
    within: Floats
    between: float
    groups: int

    def errors(self, installs: float) -> Floats:
        """√Var(π̂): by how much, one standard deviation, a campaign's profit per install is missed that is
        read off the events of so many installs."""
        chance = np.square(self.slope) * self.within / max(installs, 1e-9)
        return np.asarray(np.sqrt((1 - self.r2) * self.between + chance))


def surrogacy(groups: Ints, signals: Floats, profit: Floats) -> Surrogacy | None:
    """`groups` n: the campaign of each install, −1 for none; `signals` n×e; `profit` n, known of each.

    `None` where there are fewer than `LEAST_GROUPS` campaigns of `LEAST_OF_A_GROUP` installs, or where they
    do not differ in profit beyond chance.
    """
    count = np.bincount(groups[groups >= 0]) if (groups >= 0).any() else np.zeros(0, dtype=np.int64)
    kept = np.flatnonzero(count >= LEAST_OF_A_GROUP)
    if len(kept) < LEAST_GROUPS:
        return None
    place = np.full(len(count), -1)
    place[kept] = np.arange(len(kept))
    mine = np.where(groups >= 0, place[groups], -1)
    known = mine >= 0
    mine = mine[known]
    y = np.column_stack([signals, profit])[known]
    size = np.bincount(mine).astype(np.float64)
    means = np.column_stack([np.bincount(mine, weights=column) for column in y.T]) / size[:, None]
    rest = y - means[mine]
    total, between = float(size.sum()), len(size) - 1
    within = rest.T @ rest / (total - len(size))
    apart = means - y.mean(axis=0)
    # The expected sum of squares between groups is their own covariance times `usual`, and chance.
    usual = (total - float(np.square(size).sum()) / total) / between
    own = ((apart * size[:, None]).T @ apart / between - within) / usual
    spread = np.diagonal(own)[:-1]
    if own[-1, -1] <= 0:
        return None
    shows = spread > 0
    under = np.where(shows, spread, 1.0)
    slope = np.where(shows, own[:-1, -1] / under, 0.0)
    r2 = np.where(shows, np.square(own[:-1, -1]) / (under * own[-1, -1]), 0.0)
    return Surrogacy(
        r2=np.clip(r2, 0.0, 1.0),
        slope=slope,
        within=np.diagonal(within)[:-1].copy(),
        between=float(own[-1, -1]),
        groups=len(size),
    )
