"""How good a prediction of value is: does it rank users, and does it add up.

Normalised Gini and the decile table are those of X. Wang and others, "A deep probabilistic model for customer
lifetime value prediction" (arXiv 1912.07753), section 4; they hold for negative values as long as ΣV > 0.
"""

from typing import Any

import numpy as np
from msgspec import Struct
from scipy.stats import spearmanr

from lendsignal.value.users import DAY_US, Floats, Ints, Word

WEEK_US = 7 * DAY_US
LEAST_OF_A_WEEK = 200
"""Users of a campaign's week below which what they brought says nothing of it."""

CHI2_99_9 = 21.666
"""The 99 % point of χ² with 9 degrees of freedom (NIST/SEMATECH e-Handbook, table 1.3.6.7.4)."""

FOLK_PSI = 0.10


class Decile(Struct, frozen=True):
    """A tenth of the users by what was said of them, the lowest first: mean said and mean realised value."""

    users: int
    said: float
    came: float


class Judgement(Struct, frozen=True, kw_only=True):
    """A prediction against what came. `total` is ΣV, which must be positive for `gini` (else NaN).

    `bias` is ΣV̂/ΣV − 1. `decile_error` is the mean distance of said and came over tenths, as a part of the
    mean value. `top50` and `top20`: mean value of the best half and fifth by prediction ÷ the mean of all.
    """

    users: int
    total: float
    gini: float
    spearman: float
    bias: float
    decile_error: float
    top50: float
    top20: float
    deciles: tuple[Decile, ...]


def judged(said: Floats, came: Floats) -> Judgement:
    """The prediction `said` of users who brought `came`; both without NaN."""
    total, mean = float(came.sum()), float(came.mean()) if len(came) else float("nan")
    rows = deciles(said, came)
    error = float(np.mean([abs(one.said - one.came) for one in rows])) if rows else float("nan")
    return Judgement(
        users=len(said),
        total=total,
        gini=normalised_gini(said, came),
        spearman=spearman(said, came),
        bias=float(said.sum()) / total - 1 if total > 0 else float("nan"),
        decile_error=error / mean if total > 0 else float("nan"),
        top50=_top(said, came, 0.5),
        top20=_top(said, came, 0.2),
        deciles=rows,
    )


def normalised_gini(said: Floats, came: Floats) -> float:
    """Gini of the realised value in the order of the prediction ÷ the same in its own order.

    Gini(o) = Σ_i (i/n − Σ_{j≤i} v_o(j) / Σv) · (2/n) with the least promising first. Users of whom the same
    was said have no order among each other: each stands for their mean. NaN where ΣV is not positive.
    """
    if not len(came) or came.sum() <= 0:
        return float("nan")
    _, place, count = np.unique(said, return_inverse=True, return_counts=True)
    alike = np.bincount(place, weights=came) / count
    best = _gini(np.sort(came))
    return _gini(alike[np.sort(place)]) / best if best else float("nan")


def _gini(rising: Floats) -> float:
    n = len(rising)
    reached = np.cumsum(rising) / rising.sum()
    return float(np.mean(np.arange(1, n + 1) / n - reached) * 2)


def spearman(said: Floats, came: Floats) -> float:
    """Rank correlation; NaN where one of them does not vary."""
    if len(said) < 3 or np.ptp(said) == 0 or np.ptp(came) == 0:
        return float("nan")
    return float(spearmanr(said, came).statistic)


def deciles(said: Floats, came: Floats) -> tuple[Decile, ...]:
    """Tenths of the users by prediction, the lowest first."""
    order = np.argsort(said, kind="stable")
    return tuple(
        Decile(len(part), float(said[part].mean()), float(came[part].mean()))
        for part in np.array_split(order, 10)
        if len(part)
    )


def _top(said: Floats, came: Floats, part: float) -> float:
    mean = float(came.mean()) if len(came) else 0.0
    if mean <= 0:
        return float("nan")
    order = np.argsort(-said, kind="stable")
    return float(came[order[: max(1, round(len(order) * part))]].mean()) / mean


class Met(Struct, frozen=True):
    """What one campaign's week was said to bring, what it brought, and how many users it had."""

    campaign: str
    week_us: int
    users: int
    said: float
    came: float

    @property
    def error(self) -> float:
        """ΣV̂/ΣV − 1: what a return on spend by prediction is off by."""
        return self.said / self.came - 1 if self.came > 0 else float("nan")


def campaign_weeks(
    said: Floats, came: Floats, at_us: Ints, campaign: Word | None, least: int = LEAST_OF_A_WEEK
) -> list[Met]:
    """Every campaign's week of that many users at least; without campaigns the weeks of all users."""
    places = np.zeros(len(said), dtype=np.int64) if campaign is None else campaign.places
    weeks = at_us // WEEK_US
    keys, place = np.unique(np.column_stack([places, weeks]), axis=0, return_inverse=True)
    place = place.ravel()
    count = np.bincount(place)
    sums: list[Any] = [np.bincount(place, weights=one) for one in (said, came)]
    names = ("",) if campaign is None else campaign.kinds
    return [
        Met(names[who] if who >= 0 else "", int(week) * WEEK_US, int(n), float(v), float(w))
        for (who, week), n, v, w in zip(keys.tolist(), count, *sums, strict=True)
        if n >= least
    ]


def psi(before: Floats, after: Floats) -> float:
    """How far values moved: Σ (a − b)·ln(a / b) over the tenths of those before.

    Half a user is added to each tenth, so that an empty one says much and not everything. Values that are few
    and many users share make fewer tenths. NaN where there is nobody on one side.
    """
    if not len(before) or not len(after):
        return float("nan")
    edges = np.unique(np.quantile(before, np.linspace(0.1, 0.9, 9)))
    bins = len(edges) + 1
    then, now = (
        (np.bincount(np.searchsorted(edges, one, side="right"), minlength=bins) + 0.5) / (len(one) + bins / 2)
        for one in (before, after)
    )
    return float(np.sum((now - then) * np.log(now / then)))


def psi_limit(n: int, m: int) -> float:
    """What the index must exceed: 0.10, or what chance alone reaches one time in a hundred."""
    return max(FOLK_PSI, (1 / max(n, 1) + 1 / max(m, 1)) * CHI2_99_9)
