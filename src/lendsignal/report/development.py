"""What a young vintage will come to: a development curve, and rates that borrow strength from one another.

*Due age* is days past a loan's final due day, negative before it. `F(x)` is the share of loans that went bad
by due age x, estimated over all loans, young ones included (Kaplan and Meier, JASA 53 (1958) 457–481; who
repaid stays among those who never go bad), and `f(x) = F(x) / F(the end)` the share of all bad ones known by
then. Groups are blended with their mean by a Beta prior: Bornhuetter and Ferguson's method
(Proceedings of the CAS 59 (1972) 181–195) with the weight that the data ask for.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from msgspec import Struct

from lendsignal.report.rates import THIN

Days: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
"""Whole days, one a loan."""

Shares: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

NEVER = np.iinfo(np.int64).max
"""The due age of going bad of loans that have not."""

STRENGTHS: Shares = 1 / np.linspace(0.02, 0.5, 25) ** 2 - 1
"""From 3 loans, where groups have little in common, to 2,500, where they are all but one."""

WIDER = 1.1
"""Standard deviations are this much larger than the counts say: an exposure is itself an estimate."""

DRAWS = 4_000
SEED = 20_260_101


class Curve(Struct, frozen=True):
    """`share[k]` is the part of all bad loans that is known at due age `first + k`; after that it stays 1.

    `bad` is from how many bad loans that is known.
    """

    first: int
    share: tuple[float, ...]
    bad: int

    def at(self, due_age: Days) -> Shares:
        """The part known by each due age."""
        places = np.clip(due_age - self.first + 1, 0, len(self.share))
        return np.concatenate([[0.0], np.array(self.share)])[places]


def curve_of(bad_at: Days, seen_until: Days) -> Curve | None:
    """The curve of loans that went bad at due age `bad_at` (`NEVER`: not yet), seen until `seen_until`.

    It ends where fewer than 30 loans are seen that long. `None` where fewer than 30 went bad, or where nobody
    has seen enough loans past their due day: nothing can be said then of what is still to come.
    """
    bad = bad_at < NEVER
    if int(bad.sum()) < THIN:
        return None
    first = int(min(bad_at[bad].min(), seen_until.min()))
    enough = len(seen_until) >= THIN
    end = int(np.partition(seen_until, -THIN)[-THIN]) if enough else first - 1
    if end < 1:
        return None
    days = end - first + 1
    seen, gone, young_bad = (
        _by_day(moments, first, days) for moments in (seen_until, bad_at[bad], seen_until[bad])
    )
    # At risk at x: seen until x or longer, less those of them that went bad before x. Whoever went bad is
    # seen at least until then, so those who left the risk by being young went bad never, or before.
    at_risk = len(seen_until) - _before(seen) - (_before(gone) - _before(young_bad))
    known = 1 - np.cumprod(1 - gone / np.maximum(at_risk, 1))
    if known[-1] <= 0:
        return None
    return Curve(first, tuple((known / known[-1]).tolist()), int(bad.sum()))


def _by_day(ages: Days, first: int, days: int) -> Days:
    """How many of these lie on each of so many days from `first`; later ones are left out."""
    return np.bincount(np.minimum(ages - first, days), minlength=days + 1)[:days]


def _before(of_day: Days) -> Days:
    """How many lie before each of the days."""
    return np.cumsum(of_day) - of_day


class Group(Struct, frozen=True):
    """Of one vintage or campaign: loans, bad ones so far, and how many loans that is worth when developed."""

    loans: int
    bad: int
    exposure: float

    @property
    def maturity(self) -> float:
        """The part of its bad loans that should be known by now."""
        return self.exposure / self.loans


class Developed(Struct, frozen=True):
    """A share of bad loans with its 95 % interval: `rate` of such loans, `final` of these very loans."""

    rate: float
    rate_low: float
    rate_high: float
    final: float
    final_low: float
    final_high: float


def developed(groups: Sequence[Group]) -> list[Developed]:
    """What each group comes to in the end: posterior Beta(bad + s·m, exposure − bad + s·(1 − m)).

    `m` is the rate of all groups and `s` how many loans it is worth beside a group's own: large where groups
    differ no more than chance has them. Neither is taken as known: s has the weight that the groups' own
    counts give it (uniform in 1/√(s+1) before that), and m the doubt that s leaves. `final` adds to the bad
    ones so far those still to come among the other loans, each with the chance p·(1 − f) / (1 − p·f): at full
    maturity it is what was seen, without any doubt.
    """
    if not groups:
        return []
    exposure = np.array([max(one.exposure, 1e-9) for one in groups])
    bad = np.array([float(one.bad) for one in groups])
    means, sizes = _means(bad, exposure)
    weights = strength_weights(bad, exposure, means)
    rng = np.random.default_rng(SEED)
    drawn = rng.choice(len(STRENGTHS), DRAWS, p=weights)
    strength = STRENGTHS[drawn]
    mean = rng.beta(means[drawn] * sizes[drawn] + 0.5, (1 - means[drawn]) * sizes[drawn] + 0.5)
    found = []
    for one, worth in zip(groups, exposure.tolist(), strict=True):
        well = max(worth - one.bad, 0.0)
        rate = float((weights * (one.bad + STRENGTHS * means) / (one.bad + well + STRENGTHS)).sum())
        size = np.maximum((worth + strength + 1) / WIDER**2 - 1, 1e-3) / (one.bad + well + strength)
        p = rng.beta(size * (one.bad + strength * mean), size * (well + strength * (1 - mean)))
        f = min(one.maturity, 1.0)
        coming = rng.binomial(one.loans - one.bad, np.clip(p * (1 - f) / np.maximum(1 - p * f, 1e-12), 0, 1))
        low, high = np.quantile(p, [0.025, 0.975]).tolist()
        more_low, more_high = np.quantile(coming, [0.025, 0.975]).tolist()
        final, final_low, final_high = (
            (one.bad + more) / one.loans for more in (float(coming.mean()), more_low, more_high)
        )
        found.append(Developed(rate, low, high, final, final_low, final_high))
    return found


def _means(bad: Shares, exposure: Shares) -> tuple[Shares, Shares]:
    """For each strength the rate of all groups, and how many loans know it: groups that differ tell less."""
    weight = 1 / (1 / exposure[None, :] + 1 / STRENGTHS[:, None])
    sizes = weight.sum(axis=1)
    rates = np.minimum(bad / exposure, 1.0)
    return np.clip((weight * rates).sum(axis=1) / sizes, 1e-6, 1 - 1e-6), sizes


def strength_weights(bad: Shares, exposure: Shares, means: Shares) -> Shares:
    """How likely each of `STRENGTHS` is, by the beta-binomial likelihood of all groups.

    `bad` may be a fraction of a loan, where loans are weighed. `means`: for each strength the mean of all
    groups, or one of its own for each group (strengths × groups).
    """
    from scipy.special import betaln  # here: it is for this alone, and takes its time to load

    well = np.maximum(exposure - bad, 0.0)
    s, m = STRENGTHS[:, None], means.reshape(len(STRENGTHS), -1)
    found = (betaln(bad + s * m, well + s * (1 - m)) - betaln(s * m, s * (1 - m))).sum(axis=1)
    weights = np.exp(found - found.max())
    return np.asarray(weights / weights.sum())
