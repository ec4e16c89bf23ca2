"""What a campaign's users bring beyond what their facts say: added on top of trees, which never see it.

Of campaign c with n_c users, r̄_c is the mean of what came less what was said; as far as chance explains it,
it counts for nothing (Bühlmann and Straub, as in `bayes`):

    ε_c = Z_c · r̄_c,   Z_c = n_c / (n_c + s²/τ²)

Of applicants two things are left over: δ_c of their chance of a grant, which is known after days, and ε_c of
what the granted bring, which is known after months. Both come of people whom the facts do not tell apart, so
that the first foretells the second:

    ε_c = b·δ_c + Z_c · (r̄_c − b·δ_c),   b = Σ n_c δ_c r̄_c / Σ n_c δ_c²

b is shrunk by its own doubt, b·max(0, 1 − se²/b²): with few campaigns it is hearsay.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from lendsignal.value.users import Floats, Ints, Word

AT_MOST = 0.3
"""How far a campaign may be from what its users' facts say, as a part of it: a platform that is told more of
what it brought brings more of it."""


class Left(Struct, frozen=True):
    """What is left of users of one part: came less said, and said, in one order; which campaign each is of
    (-1: not known)."""

    over: Floats
    said: Floats
    campaign: Ints


def left_over(parts: Sequence[Left], kinds: int, hint: Floats | None = None) -> Floats:
    """What is added for a user of each campaign: ε of every part added up, within `AT_MOST`.

    `hint` is δ of the campaigns, where users are the granted ones of applicants.
    """
    found, said = np.zeros(kinds), np.zeros(kinds)
    for part in parts:
        mine = part.campaign >= 0
        place, over = part.campaign[mine], part.over[mine]
        if not len(over):
            continue
        n = _summed(np.ones(len(place)), place, kinds)
        over = over - over.mean()
        if hint is not None:
            told = slope(hint, _summed(over, place, kinds), n) * hint
            over = over - told[place]
            found += np.where(n > 0, told, 0.0)
        found += drawn(over, place, kinds)
        said += _summed(part.said[mine], place, kinds) / np.maximum(n, 1)
    most = AT_MOST * np.abs(said)
    return np.asarray(np.clip(found, -most, most))


def drawn(over: Floats, place: Ints, kinds: int) -> Floats:
    """Z_c · r̄_c of each campaign; 0 where campaigns differ by no more than chance."""
    n = _summed(np.ones(len(place)), place, kinds)
    mean = _summed(over, place, kinds) / np.maximum(n, 1)
    there = int((n > 0).sum())
    within = float(((over - mean[place]) ** 2).sum()) / max(len(over) - there, 1)
    between = max(0.0, float((n * mean**2).sum()) - within * (there - 1)) / n.sum()
    return np.asarray(mean * n / (n + within / between)) if between > 0 else np.zeros(kinds)


def slope(hint: Floats, total: Floats, n: Floats) -> float:
    """b: what a unit of the hint says of the mean of `total` / n, shrunk by its own doubt."""
    weight = float((n * hint**2).sum())
    there = n > 0
    if weight == 0 or there.sum() < 3:
        return 0.0
    found = float((hint * total).sum()) / weight
    rest = total[there] / n[there] - found * hint[there]
    error = float((n[there] * rest**2).sum()) / float(there.sum() - 1) / weight
    return found * max(0.0, 1 - error / found**2) if found else 0.0


def _summed(values: Floats, place: Ints, kinds: int) -> Floats:
    return np.bincount(place, weights=values, minlength=kinds).astype(np.float64)


def by_name(effects: Floats, campaign: Word) -> dict[str, float]:
    """The effects by the campaign's name, without those of whom nothing is to be said."""
    return {name: float(effect) for name, effect in zip(campaign.kinds, effects, strict=True) if effect != 0}
