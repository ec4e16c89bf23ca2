"""What share of a campaign's loans will be lost in the end: a posterior that blends the campaign with all.

Campaign c has `E_c` loans whose end is known (or that many, counted in parts) and `o_c` lost ones among them.
Its rate has the prior Beta(s·μ_c, s·(1 − μ_c)) with μ_c = logistic(offset_c + b₀ + b·z_c), where the offset
is what loans of its kinds come to in general and z_c its mean score in standard deviations, so that the
posterior is Beta(o_c + s·μ_c, E_c − o_c + s·(1 − μ_c)): Bornhuetter and Ferguson's blend (Proceedings of the
CAS 59 (1972) 181–195) with the weight that the campaigns' own differences ask for. s, b₀ and b are not taken
as known: s has the weight of its beta-binomial likelihood, and b₀ and b the normal distribution about their
quasi-likelihood estimate (D. A. Williams, Applied Statistics 31 (1982) 144–148).
"""

from typing import Any, TypeAlias

import numpy as np
from msgspec import Struct

from lendsignal.report.development import STRENGTHS, strength_weights

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Ints: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Flags: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]

DRAWS = 2_000

STEADY = (4.0, 1.0)
"""Precision of the priors of b₀ and b, about 0: all campaigns together seldom have more than e, or less than
1/e, of the odds of all loans, and a standard deviation of the score seldom moves them by more than e²."""

NEWTON_STEPS = 12


class Evidence(Struct, frozen=True):
    """What the loans of each campaign say so far: one entry a campaign in every array.

    `seen`: loans whose end is known, counted in parts; `seen_bad` the lost ones among them. `exposure` and
    `bad` are the same weighed by age, for a campaign is no longer what it was. How much campaigns differ is
    told by what was seen, where each stands now by what is weighed. `expected`: the share that is lost of
    loans of these kinds in general. `score`: the campaign's mean score in standard deviations, higher is
    better; `None` where nothing has a score.
    """

    seen: Floats
    seen_bad: Floats
    exposure: Floats
    bad: Floats
    expected: Floats
    score: Floats | None = None


class Posterior(Struct, frozen=True):
    """`mean` of each campaign's share of lost loans, and `draws` of it (campaigns × draws), which belong
    together: one column is one world that agrees with what was seen."""

    mean: Floats
    draws: Floats

    def interval(self, level: float = 0.9) -> tuple[Floats, Floats]:
        """The ends of each campaign's interval of that level, as many draws below as above it."""
        low, high = np.quantile(self.draws, [(1 - level) / 2, (1 + level) / 2], axis=1)
        return low, high


def posterior(evidence: Evidence, rng: np.random.Generator, draws: int = DRAWS) -> Posterior:
    """The lost share of every campaign; those without a loan have what campaigns like them have."""
    exposure = np.maximum(evidence.exposure, 1e-9)
    bad = np.minimum(evidence.bad, exposure)
    offset = _logit(evidence.expected)
    columns = [np.ones_like(exposure)]
    if evidence.score is not None and np.ptp(evidence.score) > 0:
        columns.append(evidence.score)
    facts = np.column_stack(columns)
    seen = np.maximum(evidence.seen, 1e-9)
    seen_bad = np.minimum(evidence.seen_bad, seen)
    slopes, spread = _regressed(seen_bad, seen, offset, facts)
    means = _logistic(offset + slopes @ facts.T)
    weights = strength_weights(seen_bad, seen, means)
    strength = STRENGTHS[:, None]
    mean = weights @ ((bad + strength * means) / (exposure + strength))

    drawn = rng.choice(len(STRENGTHS), draws, p=weights)
    moved = np.einsum("dij,dj->di", spread[drawn], rng.standard_normal((draws, facts.shape[1])))
    mu = _logistic(offset + (slopes[drawn] + moved) @ facts.T)
    s = STRENGTHS[drawn][:, None]
    lost, well = bad + s * mu, exposure - bad + s * (1 - mu)
    return Posterior(mean=mean, draws=rng.beta(lost, well).T)


def _regressed(bad: Floats, exposure: Floats, offset: Floats, facts: Floats) -> tuple[Floats, Floats]:
    """For each strength the estimate of (b₀, b), and a root of its covariance."""
    rates = bad / exposure
    # Lost loans of one campaign come together: the weaker the prior, the less a loan more tells of all.
    worth = exposure / (1 + np.maximum(exposure - 1, 0) / (STRENGTHS[:, None] + 1))
    held = np.diag(STEADY[: facts.shape[1]])
    slopes = np.zeros((len(STRENGTHS), facts.shape[1]))
    for _ in range(NEWTON_STEPS):
        mu = _logistic(offset + slopes @ facts.T)
        slope = (worth * (rates - mu)) @ facts - slopes @ held
        step = np.linalg.solve(_curvature(worth * mu * (1 - mu), facts) + held, slope[..., None])[..., 0]
        slopes = slopes + np.clip(step, -2, 2)
    mu = _logistic(offset + slopes @ facts.T)
    covariance = np.linalg.inv(_curvature(worth * mu * (1 - mu), facts) + held)
    return slopes, np.linalg.cholesky(covariance)


def _curvature(weights: Floats, facts: Floats) -> Floats:
    return np.asarray(np.einsum("sc,ci,cj->sij", weights, facts, facts, optimize=True))


def _logistic(x: Floats) -> Floats:
    return np.asarray(np.clip(1 / (1 + np.exp(-np.clip(x, -35, 35))), 1e-6, 1 - 1e-6))


def _logit(share: Floats) -> Floats:
    bounded = np.clip(share, 1e-4, 1 - 1e-4)
    return np.asarray(np.log(bounded / (1 - bounded)))
