"""The cautious side of a value: what three users in ten bring less than, of all of whom as much is said.

    P30(v) = the smallest x with P(V ≤ x | V̂ in the band of v) ≥ 0.3,  never falling with v

It is what minimises the quantile loss within a band (R. Koenker and G. Bassett, Econometrica 46, 1978,
33–50), taken from users whom nothing was learned from, so that it holds for later ones as well (split
conformal prediction; J. Lei and others, JASA 113, 2018, 1094–1111). Many users bring just nothing, and many
just one fee: V stands on single numbers, P30 is one of them, and of such a number no more than three in ten
are *below* and no fewer *at or below*.
"""

from math import sqrt

import numpy as np
from msgspec import Struct

from lendsignal.value.users import Floats
from lendsignal.value.worth import Band

LOW = 0.3
"""The part of the users who bring less."""

MOST_BANDS, LEAST_OF_A_BAND = 20, 200
"""Bands at most, and users of each: their P30 is then known to a share of 0.03."""

MARGIN = 0.03
"""How far the share of later users may be off, or twice what chance does to so few."""


def bands_of(said: Floats, came: Floats) -> tuple[Band, ...]:
    """The bands of these users, of equally many each; none where there are too few."""
    number = min(MOST_BANDS, len(said) // LEAST_OF_A_BAND)
    if not number:
        return ()
    edges = np.unique(np.quantile(said, np.linspace(0, 1, number + 1)[:-1]))
    place = np.maximum(np.searchsorted(edges, said, side="right") - 1, 0)
    mine = [came[place == band] for band in range(len(edges))]
    low = np.maximum.accumulate([float(np.quantile(one, LOW, method="inverted_cdf")) for one in mine])
    return tuple(
        Band(float(edge), float(least), float(one.std()))
        for edge, least, one in zip(edges, low, mine, strict=True)
    )


def lows_of(bands: tuple[Band, ...], said: Floats) -> Floats:
    """P30 of each value: as `worth.Bands`, for many at once; NaN where there are no bands."""
    return _of(bands, said, [band.low for band in bands])


def spreads_of(bands: tuple[Band, ...], said: Floats) -> Floats:
    """The standard deviation of what users like each bring; NaN where there are no bands."""
    return _of(bands, said, [band.sd for band in bands])


def _of(bands: tuple[Band, ...], said: Floats, of_band: list[float]) -> Floats:
    if not bands:
        return np.full(len(said), np.nan)
    edges = np.array([band.said for band in bands])
    return np.asarray(np.array(of_band)[np.maximum(np.searchsorted(edges, said, side="right") - 1, 0)])


class Held(Struct, frozen=True, kw_only=True):
    """How P30 was met by later users: the part that brought less, and the part that brought no more."""

    users: int
    below: float
    at_or_below: float

    @property
    def margin(self) -> float:
        """How far a share may be off."""
        return max(MARGIN, 2 * sqrt(LOW * (1 - LOW) / max(self.users, 1)))

    @property
    def holds(self) -> bool:
        """Whether three in ten is between the two, but for the margin."""
        return self.below <= LOW + self.margin and self.at_or_below >= LOW - self.margin


def held(low: Floats, came: Floats) -> Held | None:
    """How P30 of users was met; `None` where none was told."""
    if not len(low) or np.isnan(low).any():
        return None
    return Held(users=len(low), below=float((came < low).mean()), at_or_below=float((came <= low).mean()))
