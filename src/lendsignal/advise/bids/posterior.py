"""What share of a campaign's loans will be lost: a posterior that blends the campaign with all.

Campaign c has `E_c` loans whose end is known (or that many, counted in parts) and `o_c` lost ones among them.
Its rate has the prior Beta(s·μ_c, s·(1 − μ_c)) with μ_c = logistic(offset_c + b₀ + b·z_c), where the offset
is what loans of its kinds come to in general and z_c its mean score in standard deviations, so that the
posterior is Beta(o_c + S·μ_c, E_c − o_c + S·(1 − μ_c)): Bornhuetter and Ferguson's blend (Proceedings of the
CAS 59 (1972) 181–195) with the weight that the campaigns' own differences ask for.

How much of an old week still counts in E_c, o_c and S is no fixed weight either. What tells a campaign from
its like keeps the part φ of itself from week to week, and the loans of one week share a fate that is worth κ
loans. With f = 1/(ν + 1) the campaign's variance in parts of μ(1 − μ), a week takes it by

    f → φ²·f + (1 − φ²)/(s + 1)        ν → ν + n / (1 + (n − 1)/(κ + 1))

the first as it passes, the second by its n loans: Kalman's filter in the Beta's own terms (M. West, P. J.
Harrison and H. S. Migon, JASA 80 (1985) 73–97), from the oldest week on to the one that is to come.

s, φ and κ are not taken as known: each of their combinations has the weight of its likelihood, week by week
foretold from the weeks before; and b₀ and b have the normal distribution about their quasi-likelihood
estimate (D. A. Williams, Applied Statistics 31 (1982) 144–148).
"""

from typing import Any, TypeAlias

import numpy as np
from msgspec import Struct

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Ints: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Flags: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]

DRAWS = 2_000

STEADY = (4.0, 1.0)
"""Precision of the priors of b₀ and b, about 0: all campaigns together seldom have more than e, or less than
1/e, of the odds of all loans, and a standard deviation of the score seldom moves them by more than e²."""

NEWTON_STEPS = 12

OUT_OF_QUESTION = 20.0
"""A combination of which what was seen is e²⁰ times less likely than of another has no weight that shows."""

LEAST = 10.0
"""Loans of a mean campaign whose end is known, in weeks that are looked at together: in fewer a lost one more
or less says nothing of how campaigns change."""

STRENGTHS: Floats = 1 / np.linspace(0.03, 0.5, 18) ** 2 - 1
"""s, from 3 loans, where campaigns have little in common, to 1,110, where they are all but one."""

KEPT: Floats = np.array([1.0, 0.99, 0.98, 0.96, 0.92, 0.85])
"""φ, from campaigns that never change to such that have changed by half after a month."""

KEPT_BEFORE: Floats = np.exp(-(1 - KEPT) / 0.03)
"""How likely each φ is before anything is seen: a campaign is taken to keep about half of what tells it apart
from its like over half a year, and only many loans say otherwise."""

SHARED: Floats = np.array([np.inf, 200.0, 50.0])
"""κ, from weeks that differ by the luck of single loans alone to such that holidays and creatives move."""

SHARED_BEFORE: Floats = np.array([0.6, 0.3, 0.1])
"""How likely each κ is before anything is seen: mostly it is luck alone."""

GRID: Floats = np.array(np.meshgrid(STRENGTHS, KEPT, SHARED, indexing="ij")).reshape(3, -1)
"""Every combination of s, φ and κ: three rows."""


class Evidence(Struct, frozen=True):
    """What the loans of each campaign say so far, by the week of their disbursement.

    `seen[c, w]`: loans of campaign c, disbursed w weeks ago, whose end is known, counted in parts; `bad` the
    lost ones among them. `expected`: the share that is lost of loans of each campaign's kinds in general.
    `score`: the campaign's mean score in standard deviations, higher is better; `None` where nothing has one.
    """

    seen: Floats
    bad: Floats
    expected: Floats
    score: Floats | None = None


class Posterior(Struct, frozen=True):
    """`mean` of each campaign's share of lost loans, and `draws` of it (campaigns × draws), which belong
    together: one column is one world that agrees with what was seen.

    `exposure`: how many loans the campaign's own weeks are still worth, and `bad` the lost ones among them.
    """

    mean: Floats
    draws: Floats
    exposure: Floats
    bad: Floats

    def interval(self, level: float = 0.9) -> tuple[Floats, Floats]:
        """The ends of each campaign's interval of that level, as many draws below as above it."""
        low, high = np.quantile(self.draws, [(1 - level) / 2, (1 + level) / 2], axis=1)
        return low, high


def posterior(evidence: Evidence, rng: np.random.Generator, draws: int = DRAWS) -> Posterior:
    """The share that each campaign loses of the loans to come; one without a loan has what its like have."""
    offset = _logit(evidence.expected)
    columns = [np.ones_like(offset)]
    if evidence.score is not None and np.ptp(evidence.score) > 0:
        columns.append(evidence.score)
    facts = np.column_stack(columns)
    seen = np.maximum(evidence.seen.sum(axis=1), 1e-9)
    slopes, spread = _regressed(np.clip(evidence.bad.sum(axis=1), 0, seen), seen, offset, facts)
    place = np.repeat(np.arange(len(STRENGTHS)), len(KEPT) * len(SHARED))
    kept = _remembered(evidence, _logistic(offset + slopes @ facts.T)[place])
    weights = np.exp(kept.fit - kept.fit.max())
    weights = weights / weights.sum()

    drawn = rng.choice(len(weights), draws, p=weights)
    at = place[kept.rows[drawn]]
    moved = np.einsum("dij,dj->di", spread[at], rng.standard_normal((draws, facts.shape[1])))
    mu = _logistic(offset + (slopes[at] + moved) @ facts.T)
    exposure, bad, strength = kept.exposure[drawn], kept.bad[drawn], kept.strength[drawn]
    lost, well = bad + strength * mu, exposure - bad + strength * (1 - mu)
    return Posterior(
        mean=weights @ kept.mean,
        draws=rng.beta(np.maximum(lost, 1e-6), np.maximum(well, 1e-6)).T,
        exposure=weights @ kept.exposure,
        bad=weights @ kept.bad,
    )


class _Kept(Struct, frozen=True):
    """For the combinations of s, φ and κ that agree with what was seen (`rows` of the grid) what is kept of
    each campaign's weeks, and how well they were foretold: E, o and S of the module's docstring, the mean,
    and a log-likelihood."""

    rows: Ints
    exposure: Floats
    bad: Floats
    strength: Floats
    mean: Floats
    fit: Floats


def _remembered(evidence: Evidence, mu: Floats) -> _Kept:
    """From the oldest weeks on: what was known of each campaign fades, and its loans of those weeks speak."""
    rows = np.arange(GRID.shape[1])
    exposure, bad, prior = np.zeros_like(mu), np.zeros_like(mu), GRID[0][:, None] + np.zeros_like(mu)
    fit = np.log(np.tile(np.outer(KEPT_BEFORE, SHARED_BEFORE).ravel(), len(STRENGTHS)))
    for block in _blocks(evidence):
        # What is out of the question is not looked at any further: it is most of the grid soon.
        stays = fit > fit.max() - OUT_OF_QUESTION
        rows, fit, mu = rows[stays], fit[stays], mu[stays]
        exposure, bad, prior = exposure[stays], bad[stays], prior[stays]
        strength, kept, shared = (row[rows][:, None] for row in GRID)
        fate = shared * block.weeks
        worth = exposure + prior
        fit = fit + _foretold(block, (bad + prior * mu) / worth, _both(1 / (worth + 1), 1 / (fate + 1)))
        counts = 1 / (1 + np.maximum(block.seen - 1, 0) / (fate + 1))
        exposure, bad = exposure + counts * block.seen, bad + counts * block.bad
        worth = exposure + prior
        keeps = kept**block.until_next
        faded = 1 / (keeps**2 / (worth + 1) + (1 - keeps**2) / (strength + 1)) - 1
        exposure, bad = exposure * (keeps * faded / worth), bad * (keeps * faded / worth)
        prior = faded - exposure
    return _Kept(rows, exposure, bad, prior, (bad + prior * mu) / (exposure + prior), fit)


class _Block(Struct, frozen=True):
    """Some weeks together: of each campaign the loans and the lost ones among them, and how many weeks they
    are; `until_next`: weeks from their middle to that of the next block, or to the week that is to come."""

    seen: Floats
    bad: Floats
    weeks: int
    until_next: float


def _blocks(evidence: Evidence) -> list[_Block]:
    """The weeks in blocks that a campaign has `LEAST` loans in on average, the oldest first."""
    whole = evidence.seen.sum(axis=0) / max(int(evidence.seen.any(axis=1).sum()), 1)
    found: list[list[int]] = []
    for week in reversed(np.flatnonzero(whole).tolist()):
        if not found or whole[found[-1]].sum() >= LEAST:
            found.append([])
        found[-1].append(week)
    if len(found) > 1 and whole[found[-1]].sum() < LEAST:
        youngest = found.pop()
        found[-1] += youngest
    ages = [float(np.average(weeks, weights=whole[weeks])) for weeks in found]
    sums = [(evidence.seen[:, weeks].sum(axis=1), evidence.bad[:, weeks].sum(axis=1)) for weeks in found]
    return [
        _Block(seen, np.clip(bad, 0, seen), len(weeks), age - younger)
        for (seen, bad), weeks, age, younger in zip(sums, found, ages, [*ages[1:], -1.0], strict=False)
    ]


def _both(one: Floats, other: Floats) -> Floats:
    """The variance of what varies twice, each time in parts of m(1 − m)."""
    return np.asarray(one + other - one * other)


def _foretold(block: _Block, mean: Floats, apart: Floats) -> Floats:
    """How likely a block's lost loans were: the beta-binomial of that mean and spread, over all campaigns."""
    from scipy.special import betaln  # here: it is for this alone, and takes its time to load

    worth = 1 / apart - 1
    lost, well = worth * mean, worth * (1 - mean)
    each = betaln(block.bad + lost, block.seen - block.bad + well) - betaln(lost, well)
    return np.asarray(each.sum(axis=1))


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
