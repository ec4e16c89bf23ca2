"""What platforms are told of a value: a few bins, the mean of each, on a scale that stands still.

- Up to `BINS` bins of equally many users above 0, each sent as its mean: platforms learn as well from these
  as from the value itself, and nobody reads a score out of them.
- Values count as no more than their 99 % point, and the largest mean is at least `SPREAD` times the smallest
  (Meta's page on predicted lifetime value of 9 July 2026 wants five distinct values and that spread).
- A user who is worth nothing is told of without a value, never with 0 or less.
- All that is sent adds up to all that is predicted, so that a target return on spend keeps its meaning; the
  scale is then frozen for `FROZEN_DAYS`. A new model is laid over what was sent before by ranks: as many
  users fall into each bin as did, and each bin is worth what it was, later moving by `DRIFT` a week at most.
"""

from math import log

import numpy as np

from lendsignal.value.users import DAY_US, Floats
from lendsignal.value.worth import Shipping

BINS = 8
FEWEST_BINS = 5
CAP = 0.99
SPREAD = 3.0
FROZEN_DAYS = 28.0
DRIFT = 0.10

LEAST_SHAPED = 100
"""Users above 0 from which bins are made."""


def shipping_of(
    values: Floats, now_us: int, before: Shipping | None = None, bins: int = BINS
) -> Shipping | None:
    """How values like these are told of; `None` where too few are above 0.

    `values` are what the model in hand says of the users of the last weeks, those below 0 included.
    """
    above = np.sort(values[values > 0])
    if len(above) < LEAST_SHAPED:
        return None
    if before is not None:
        return _laid_over(values, above, now_us, before)
    cuts = np.unique(np.quantile(above, np.linspace(0, 1, max(bins, FEWEST_BINS) + 1))[:-1])
    cuts[0] = 0.0
    means, parts = _means(values, cuts)
    return _scaled(values, cuts, means, parts, now_us)


def _scaled(values: Floats, cuts: Floats, means: Floats, parts: Floats, now_us: int) -> Shipping:
    wanted = float(values.sum()) / len(values)
    told = spread_out(means)
    sent = float((told * parts).sum())
    scale = wanted / sent if wanted > 0 and sent > 0 else 1.0
    return Shipping(
        edges=tuple(cuts.tolist()),
        means=tuple((scale * told).tolist()),
        parts=tuple(parts.tolist()),
        scale=scale,
        frozen_us=now_us,
    )


def _means(values: Floats, cuts: Floats) -> tuple[Floats, Floats]:
    """The mean of each bin, values above the cap counted as the cap, and the part of all users in each."""
    above = values[values > 0]
    capped = np.minimum(above, np.quantile(above, CAP))
    place = np.searchsorted(cuts, above, side="right") - 1
    count = np.bincount(place, minlength=len(cuts))
    means = np.bincount(place, weights=capped, minlength=len(cuts)) / np.maximum(count, 1)
    return np.maximum.accumulate(means), count / len(values)


def spread_out(means: Floats) -> Floats:
    """The same means, drawn apart where the largest is less than `SPREAD` times the smallest: m^γ.

    γ = ln SPREAD / ln (largest / smallest) keeps their order and brings the ends to just that ratio.
    """
    if len(means) < 2 or means[0] <= 0 or means[-1] <= means[0] or means[-1] / means[0] >= SPREAD:
        return means
    power = log(SPREAD) / log(means[-1] / means[0])
    apart: Floats = means**power
    found: Floats = apart * (means.mean() / apart.mean())
    return found


def _laid_over(values: Floats, above: Floats, now_us: int, before: Shipping) -> Shipping:
    """The bins of before, at the ranks where the new values have them."""
    parts = np.array(before.parts)
    below = np.concatenate([[0.0], np.cumsum(parts)[:-1]]) / max(float(parts.sum()), 1e-12)
    cuts = np.quantile(above, below)
    cuts[0] = 0.0
    cuts = np.maximum.accumulate(cuts)
    frozen_days = (now_us - before.frozen_us) / DAY_US
    count = np.bincount(np.searchsorted(cuts, above, side="right") - 1, minlength=len(cuts)) / len(values)
    if frozen_days < FROZEN_DAYS:
        return Shipping(
            edges=tuple(cuts.tolist()),
            means=before.means,
            parts=tuple(count.tolist()),
            scale=before.scale,
            frozen_us=before.frozen_us,
        )
    means, parts = _means(values, cuts)
    fresh = _scaled(values, cuts, means, parts, now_us)
    most = (1 + DRIFT) ** (frozen_days / 7)
    old = np.array(before.means)
    drifted = np.clip(np.array(fresh.means), old / most, old * most)
    return Shipping(
        edges=fresh.edges,
        means=tuple(np.maximum.accumulate(drifted).tolist()),
        parts=fresh.parts,
        scale=fresh.scale,
        frozen_us=now_us,
    )
