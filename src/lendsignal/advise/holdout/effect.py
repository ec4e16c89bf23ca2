"""What a measure brought, out of the difference between those it could reach and those held out.

Everything is by intention to treat: a user counts in the arm that was drawn, whoever was reached in fact, so
that nothing about who answers to ads can make an effect. Outcomes are those of the lender's own ledger: what
an MMP attributes, and to which installation, never enters.
"""

from math import log, sqrt
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from lendsignal.advise.holdout.power import ALPHA

Floats: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Ints: TypeAlias = npt.NDArray[np.int64]


class Effect(Struct, frozen=True, kw_only=True):
    """The difference between the arms, for a user of the treated arm whether or not it was reached.

    `treated` and `control` are users, the means theirs. `low` and `high` hold where the holdout is looked at
    once, at the end that was set before; `ever_low` and `ever_high` hold at every look, however many.
    `explained` is the part of the variance that the covariate took away.
    """

    treated: int
    control: int
    treated_mean: float
    control_mean: float
    difference: float
    se: float
    low: float
    high: float
    ever_low: float
    ever_high: float
    explained: float = 0.0

    def seen(self, *, once: bool) -> bool:
        """Whether the interval leaves out 0: of the one look, or of every look."""
        low, high = (self.low, self.high) if once else (self.ever_low, self.ever_high)
        return low > 0 or high < 0


def effect_of(
    outcome: Floats,
    treated: Flags,
    *,
    covariate: Floats | None = None,
    planned: int | None = None,
    alpha: float = ALPHA,
) -> Effect:
    """The effect on an outcome, a number for each user; both arms must have two users at least.

    Without a covariate: Δ = Ȳ_T − Ȳ_C with se² = s²_T/n_T + s²_C/n_C (Neyman 1923). With one, which must be
    known from before the user entered, the same of Y − θ(X − X̄) (`adjusted`). `planned` is the number of
    users that the sequence is tuned for, by default so many as there are. The sequence takes the larger of
    that error and the one of a common variance: at an early look a small arm of rare outcomes may by chance
    have none, and no spread with it.
    """
    y, explained = (outcome, 0.0) if covariate is None else adjusted(outcome, treated, covariate)
    ours, theirs = y[treated], y[~treated]
    difference = float(ours.mean() - theirs.mean())
    spread_t, spread_c = float(ours.var(ddof=1)), float(theirs.var(ddof=1))
    se = sqrt(spread_t / len(ours) + spread_c / len(theirs))
    users = len(y)
    common = (len(ours) * spread_t + len(theirs) * spread_c) / users
    wider = max(se, sqrt(common * (1 / len(ours) + 1 / len(theirs))))
    z = NormalDist().inv_cdf(1 - alpha / 2)
    half = half_width(wider * sqrt(users), users, planned or users, alpha=alpha)
    return Effect(
        treated=len(ours),
        control=len(theirs),
        treated_mean=float(outcome[treated].mean()),
        control_mean=float(outcome[~treated].mean()),
        difference=difference,
        se=se,
        low=difference - z * se,
        high=difference + z * se,
        ever_low=difference - half,
        ever_high=difference + half,
        explained=explained,
    )


def adjusted(outcome: Floats, treated: Flags, covariate: Floats) -> tuple[Floats, float]:
    """The outcome freed of what was known before, Y − θ(X − X̄), and the part of the variance that this took.

    θ is the slope within the arms, so that the effect itself cannot lean on it. A. Deng, Y. Xu, R. Kohavi,
    T. Walker, "Improving the sensitivity of online controlled experiments by utilizing pre-experiment data",
    WSDM 2013.
    """
    within_x, within_y = _within(covariate, treated), _within(outcome, treated)
    spread_x, spread_y = float(within_x @ within_x), float(within_y @ within_y)
    if not spread_x or not spread_y:
        return outcome, 0.0
    shared = float(within_x @ within_y)
    return outcome - shared / spread_x * (covariate - covariate.mean()), shared**2 / (spread_x * spread_y)


def _within(values: Floats, treated: Flags) -> Floats:
    means = np.where(treated, values[treated].mean(), values[~treated].mean())
    return np.asarray(values - means, dtype=np.float64)


def foretold(features: Floats, outcome: Floats, fold: Ints) -> Floats:
    """Each user's outcome as foretold by those of the other folds: the covariate that `adjusted` wants.

    `features` has a row for each user and a column for each fact from before; `fold` tells the part that the
    user is in. Least squares with a hair of ridge, so that a column without any spread does no harm. Nobody's
    own outcome enters its own number, so that the adjustment cannot overfit.
    """
    scale = features.std(axis=0)
    x = np.column_stack(
        [np.ones(len(features)), (features - features.mean(axis=0)) / np.where(scale > 0, scale, 1.0)]
    )
    ridge = 1e-6 * len(x) * np.eye(x.shape[1])
    found = np.empty(len(x))
    for part in np.unique(fold):
        mine = fold == part
        others = x[~mine] if not mine.all() else x
        told = outcome[~mine] if not mine.all() else outcome
        found[mine] = x[mine] @ np.linalg.solve(others.T @ others + ridge, others.T @ told)
    return found


def half_width(sd: float, users: int, planned: int, *, alpha: float = ALPHA) -> float:
    """Half the width of an interval that holds at every number of users at once (a confidence sequence).

    sd · √(2(tρ² + 1)/(t²ρ²) · ln(√(tρ² + 1)/α)) after t users, where `sd` is that of one user's part in the
    estimate, se·√t. ρ is chosen so that it is narrowest at half of `planned`: with u = ρ²·planned/2 that is
    u = ln(u + 1) − 2 ln α. I. Waudby-Smith, D. Arbour, R. Sinha, E. Kennedy, A. Ramdas, "Time-uniform central
    limit theory and asymptotic confidence sequences", Annals of Statistics 52 (2024).
    """
    u = -2 * log(alpha)
    for _ in range(50):  # a contraction by 1/(u + 1), which is below a sixth
        u = log(u + 1) - 2 * log(alpha)
    spread = users * u / max(planned / 2, 1.0)
    return sd * sqrt(2 * (spread + 1) / (users * spread) * log(sqrt(spread + 1) / alpha))


class PerReached(Struct, frozen=True, kw_only=True):
    """The effect on a user who was reached: Δ / (e_T − e_C), with its interval of one look."""

    effect: float
    low: float
    high: float


def per_reached(effect: Effect, reach: float, reach_control: float = 0.0) -> PerReached:
    """The effect on those reached, if nothing but being reached changes anything (the instrument's estimate).

    `reach` is the part of the treated who were reached, `reach_control` that of the control users: an
    exclusion list cannot exclude whom the platform does not recognise. G. Imbens and J. Angrist,
    "Identification and estimation of local average treatment effects", Econometrica 62 (1994). `reach` must
    be above `reach_control`.
    """
    by = reach - reach_control
    return PerReached(effect=effect.difference / by, low=effect.low / by, high=effect.high / by)


class Cost(Struct, frozen=True, kw_only=True):
    """What one more of the outcome cost. `high` is `None` where the effect may be nothing: it has no end."""

    extra: float
    each: float | None
    low: float | None
    high: float | None


def incremental_cost(spend: float, effect: Effect) -> Cost:
    """What was spent for each that would not have come anyway: spend / (Δ · n_T), with its 95 % interval.

    `spend` is what the treated arm cost. `each` is `None` where nothing more came.
    """
    extra = effect.difference * effect.treated
    ends = effect.low * effect.treated, effect.high * effect.treated
    return Cost(
        extra=extra,
        each=spend / extra if extra > 0 else None,
        low=spend / ends[1] if ends[1] > 0 else None,
        high=spend / ends[0] if ends[0] > 0 else None,
    )
