"""Worlds for bids: campaigns whose loans go bad at a true rate, seen as a lender sees them.

`Cohorts` is one day's view of ten weeks of loans, to judge estimates by. `closed_loop` lets budgets follow
estimates for half a year, to judge them by profit. Seeded; nothing here looks at what the estimates are.
"""

from typing import Literal

import numpy as np
from msgspec import Struct

from lendsignal.advise.bids.posterior import Evidence, posterior
from lendsignal.advise.bids.returns import Bought, Terms, profit, returns
from lendsignal.advise.bids.steps import Guards, Standing, steps
from lendsignal.advise.bids.triangle import growth
from lendsignal.report.development import NEVER
from lendsignal.simulate.chance import Floats, Ints

CAMPAIGNS, WEEKS = 200, 10
MEAN_LOGIT = float(np.log(0.14 / 0.86))
BY_SCORE, BY_REST = 0.25, 0.245
"""Campaigns differ by 0.35 in the logit of their lost share, half of the variance by their users' scores."""

DRIFT = 0.05
"""By which the logit of a campaign's lost share moves in a week; the logarithm of its price by a third."""

MATURE_DAYS = 30
"""Past due, after which every lost loan is known."""


class Cohorts(Struct, frozen=True):
    """Ten weeks of loans with one due day, as seen at their end: one entry a loan but for `truth`.

    `age`: days since disbursement. `bad_at`: the due age of being known as lost, `NEVER` where it is not yet.
    `paid_at`: the due age of payment, likewise. `truth`: the share each campaign loses of today's loans.
    """

    term: int
    campaign: Ints
    age: Ints
    bad_at: Ints
    paid_at: Ints
    score: Floats
    truth: Floats

    @property
    def due_age(self) -> Ints:
        """Days past due, today."""
        return self.age - self.term


def cohorts(term: int, per_week: int, seed: int, campaigns: int = CAMPAIGNS) -> Cohorts:
    """Ten weeks of about `per_week` loans a campaign. Lost loans are known 1 to 30 days past due, half of
    them by day 10; of the others two in five pay late, by four days on average."""
    rng = np.random.default_rng([seed, term, per_week])
    quality = rng.standard_normal(campaigns)
    level = MEAN_LOGIT + BY_REST * rng.standard_normal(campaigns)
    loans = rng.poisson(per_week * WEEKS, campaigns)
    campaign = np.repeat(np.arange(campaigns), loans)
    n = len(campaign)
    score = quality[campaign] + rng.standard_normal(n)
    age = rng.integers(0, 7 * WEEKS, n)
    # Campaigns wander: by week of disbursement, the youngest first, so that today is where all begin.
    wandered = np.cumsum(DRIFT * rng.standard_normal((campaigns, WEEKS)), axis=1)
    is_bad = rng.random(n) < _logistic(level[campaign] + wandered[campaign, age // 7] - BY_SCORE * score)
    known_at = np.clip(np.round(10 * np.exp(0.7 * rng.standard_normal(n))), 1, MATURE_DAYS).astype(np.int64)
    late = rng.random(n) < 0.4
    pays_at = np.where(late, np.minimum(rng.geometric(0.25, n), MATURE_DAYS - 1), -rng.integers(0, 4, n))
    due_age = age - term
    # Everyone's scores, at evenly spaced quantiles: what the campaign would lose of endlessly many loans.
    even = np.linspace(-2.5, 2.5, 51)
    density = np.exp(-(even**2) / 2) / np.exp(-(even**2) / 2).sum()
    truth = _logistic(level[:, None] - BY_SCORE * (quality[:, None] + even)) @ density
    return Cohorts(
        term=term,
        campaign=campaign,
        age=age,
        bad_at=np.where(is_bad & (known_at <= due_age), known_at, NEVER),
        paid_at=np.where(~is_bad & (pays_at <= due_age), pays_at, NEVER),
        score=score,
        truth=truth,
    )


Strategy = Literal["static", "as_observed", "raw", "eb", "eb_gated"]
"""Budgets stay; young cohorts are taken as final; they are developed, each campaign by itself; blended with
all; and moved only where the side is sure."""

STRATEGIES: tuple[Strategy, ...] = ("static", "as_observed", "raw", "eb", "eb_gated")

LOOP_CAMPAIGNS, LOOP_WEEKS, WARM_UP = 30, 26, 10
LOANS_A_WEEK = 25
ELASTICITY = 0.35
"""A campaign with twice the budget buys its loans 2^0.35 times as dear."""

INCOME, LOSS, COST = 0.45, 1.125, 0.02
"""Of a loan of 1: fees with those of later loans; nine tenths of principal and fee; money and payments."""

KNOWN_BY_WEEK = np.array([0.0, 0.0, 0.12, 0.38, 0.62, 0.80, 0.92, 1.0])
"""The part of lost loans of 14 days that is known by so many weeks after disbursement."""

MEAN_LOST = 0.147
"""What all campaigns lose on average: loans bought at what that leaves of them just pay for themselves."""

PLAN = LOOP_CAMPAIGNS * LOANS_A_WEEK * (INCOME - MEAN_LOST * LOSS - COST)
"""What all campaigns together are to spend in a week."""

SEEN_WEEKS = 12
"""How far back estimates look."""


class Loop(Struct, frozen=True):
    """What a strategy came to: `profit` per unit of spend; `edits`, the part of campaigns moved a week."""

    profit: float
    edits: float


def closed_loop(strategy: Strategy, seed: int, draws: int = 400) -> Loop:
    """Thirty campaigns for half a year, after ten weeks at equal budgets; each strategy in the same world."""
    rng, luck, dice = (np.random.default_rng([seed, part]) for part in (1, 2, 3))
    weeks = WARM_UP + LOOP_WEEKS
    level = MEAN_LOGIT + 0.35 * rng.standard_normal(LOOP_CAMPAIGNS)
    walk = np.cumsum(DRIFT * rng.standard_normal((weeks, LOOP_CAMPAIGNS)), axis=0)
    rate = _logistic(level + walk)
    prices = np.cumsum(DRIFT / 3 * rng.standard_normal((weeks, LOOP_CAMPAIGNS)), axis=0)
    fair = PLAN / LOOP_CAMPAIGNS / LOANS_A_WEEK
    price = fair * np.exp(-0.005 + 0.1 * rng.standard_normal(LOOP_CAMPAIGNS) + prices)
    base = np.full(LOOP_CAMPAIGNS, LOANS_A_WEEK * fair)
    budget = base.copy()
    spent, loans = np.zeros((weeks, LOOP_CAMPAIGNS)), np.zeros((weeks, LOOP_CAMPAIGNS))
    # [week, campaign, age]: how many of the cohort are known as lost at that age.
    known = np.zeros((weeks, LOOP_CAMPAIGNS, len(KNOWN_BY_WEEK)))
    gained = moved = 0.0
    for week in range(weeks):
        if week >= WARM_UP and strategy != "static":
            new = budget * _multipliers(strategy, week, budget, spent, loans, known, dice, draws)
            moved += float((new != budget).mean())
            budget = new
        dear = price[week] * (budget / base) ** ELASTICITY
        spent[week], loans[week] = budget, luck.poisson(budget / dear)
        lost = luck.binomial(loans[week].astype(np.int64), rate[week])
        known[week] = _known(luck, lost)
        if week >= WARM_UP:
            gained += float((loans[week] * (INCOME - rate[week] * LOSS - COST) - budget).sum())
    return Loop(gained / float(spent[WARM_UP:].sum()), moved / LOOP_WEEKS)


def _known(rng: np.random.Generator, lost: Ints) -> Floats:
    """How many of each cohort's lost loans are known at every age."""
    parts = np.diff(KNOWN_BY_WEEK)
    return np.concatenate([np.zeros((len(lost), 1)), np.cumsum(rng.multinomial(lost, parts), axis=1)], axis=1)


def _multipliers(
    strategy: Strategy,
    week: int,
    budget: Floats,
    spent: Floats,
    loans: Floats,
    known: Floats,
    rng: np.random.Generator,
    draws: int,
) -> Floats:
    """What a buyer with that strategy does at the start of a week."""
    first = max(0, week - SEEN_WEEKS)
    ages = np.minimum(week - np.arange(first, week), len(KNOWN_BY_WEEK) - 1)
    seen = np.stack([known[one, :, age] for one, age in zip(range(first, week), ages.tolist(), strict=True)])
    bought, told = loans[first:week], spent[first:week]
    weight = 0.93 ** (week - np.arange(first, week))[:, None]
    part = _developed(week, known)[ages][:, None]
    if strategy == "as_observed":
        exposure = (bought * weight).sum(axis=0)
    else:
        exposure = (bought * part * weight).sum(axis=0)
    bad = np.minimum((seen * weight).sum(axis=0), exposure)
    money = Bought(spend=(told * weight).sum(axis=0), loans=(bought * weight).sum(axis=0))
    guards = Guards() if strategy == "eb_gated" else Guards(sure=0.0, pause_sure=2.0)
    if strategy in ("eb", "eb_gated"):
        general = np.full(len(budget), float(np.clip(bad.sum() / exposure.sum(), 0.01, 0.99)))
        ones = np.ones(len(budget))
        terms = Terms(INCOME * ones, LOSS * ones, COST * ones)
        # Weeks ago, the youngest first.
        lost = posterior(Evidence((bought * part)[::-1].T, seen[::-1].T, general), rng, draws)
        roi = returns(profit(lost, terms), money, rng)
    else:
        rate = bad / np.maximum(exposure, 1e-9)
        roi = ((INCOME - rate * LOSS - COST) * money.loans / money.spend)[:, None]
    base = told[-4:].mean(axis=0)
    standing = [
        Standing(budget=now, base=then, days_running=7 * week, conversions=10_000)
        for now, then in zip(budget.tolist(), base.tolist(), strict=True)
    ]
    found = steps(standing, roi, exposure, guards, plan=PLAN)
    return np.array([one.multiplier for one in found])


def _developed(week: int, known: Floats) -> Floats:
    """The part of lost loans that is known by each age, learnt from all campaigns' cohorts so far."""
    triangle = known[:week].sum(axis=1)
    for one in range(week):
        triangle[one, week - one + 1 :] = np.nan
    still = np.append(np.cumprod(growth(triangle)[::-1])[::-1], 1.0)
    return np.where(np.nansum(triangle, axis=0) > 0, 1 / still, 0.0)


def _logistic(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-x)))
