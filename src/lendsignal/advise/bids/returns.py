"""What a unit of spend brings back, and what a conversion may cost: profit per loan, return, targets."""

import numpy as np
from msgspec import Struct

from lendsignal.advise.bids.posterior import Floats, Posterior

QUARTILE = 0.25
"""Targets go by the profit that three draws in four exceed: what is unsure is paid less."""


class Terms(Struct, frozen=True):
    """What a loan of each campaign brings, in one currency, one entry a campaign in every array.

    `income`: fees and interest by contract, and what later loans of the same user are taken to bring. `loss`:
    what is not paid back of a lost loan, principal and fee. `cost`: of money, payments and collection.
    """

    income: Floats
    loss: Floats
    cost: Floats


class Bought(Struct, frozen=True):
    """What was spent on each campaign and the loans that came of it, both weighed alike by their age."""

    spend: Floats
    loans: Floats


def profit(lost: Posterior, terms: Terms) -> Floats:
    """Profit of a loan, π = income − p · loss − cost, in every draw (campaigns × draws)."""
    income, loss, cost = (column[:, None] for column in (terms.income, terms.loss, terms.cost))
    return np.asarray(income - lost.draws * loss - cost)


def returns(profits: Floats, bought: Bought, rng: np.random.Generator) -> Floats:
    """Return on spend, ROI = π · loans / spend, in every draw: 1 is money back.

    Loans per unit of spend are as unsure as their number is small: Gamma(loans + ½) / spend. A campaign
    without spend has `nan`: its return cannot be told.
    """
    loans = rng.gamma(np.maximum(bought.loans, 0)[:, None] + 0.5, size=profits.shape)
    spend = np.where(bought.spend > 0, bought.spend, np.nan)[:, None]
    return np.asarray(profits * loans / spend)


def target_cpa(profits: Floats, margin: float) -> Floats:
    """What a loan may cost: the lower quartile of its profit over 1 + the margin that is required.

    `nan` where that is not positive: no price is low enough.
    """
    worth = np.quantile(profits, QUARTILE, axis=1) / (1 + margin)
    return np.where(worth > 0, worth, np.nan)


def target_roas(value: Floats, cpa: Floats) -> Floats:
    """The same for bidding by value: value sent for a loan over what it may cost; `nan` without either."""
    return np.asarray(value / cpa)
