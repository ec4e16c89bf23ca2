"""How near estimates of campaigns' lost shares come to the truth, and what it is worth to go by them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lendsignal.advise.bids.evidence import Said, by_development, gathered
from lendsignal.advise.bids.posterior import Posterior, posterior
from lendsignal.advise.bids.rollrates import Book, by_roll_rates, rolls_of
from lendsignal.advise.bids.triangle import growth
from lendsignal.bench.science.oracles import raa_ibnr
from lendsignal.report.chart import Bars, Chart, Series
from lendsignal.report.development import NEVER
from lendsignal.report.layout import SHARE
from lendsignal.simulate.chance import Floats, Ints
from lendsignal.simulate.worlds.bids import (
    CAMPAIGNS,
    MATURE_DAYS,
    STRATEGIES,
    WEEKS,
    Cohorts,
    closed_loop,
    cohorts,
)

CELLS = ((14, 5), (14, 25), (14, 100), (30, 5), (30, 25), (30, 100))
"""Term in days, loans of a campaign in a week."""

WORLDS = {5: 120, 25: 40, 100: 40}
"""Worlds of each cell by its loans a week: where they are few, worlds differ most in what can be told of
them, and whether nine intervals in ten hold the truth is a mean over worlds."""

MOST_IF_QUICK = 25
"""Loans a week of the largest cells that a quick look takes in."""


def measure(quick: bool) -> dict[str, Any]:
    """RMSE and coverage of 90 % intervals by cell and method, the closed loop, and two published figures."""
    loops = 10 if quick else 60
    cells = [cell for cell in CELLS if not (quick and cell[1] > MOST_IF_QUICK)]
    runs = {
        name_of(cell): [errors(cohorts(*cell, seed), seed) for seed in range(2 if quick else WORLDS[cell[1]])]
        for cell in cells
    }
    rmse = {
        cell: {name: round(_mean(run[0][name] for run in mine) ** 0.5, 4) for name in (*PLAIN, *BLENDED)}
        for cell, mine in runs.items()
    }
    return {
        "rmse": rmse,
        "better_than_chain_ladder": {
            cell: {name: round(1 - mine[name] / mine["chain_ladder"], 3) for name in BLENDED}
            for cell, mine in rmse.items()
        },
        "coverage_90": {
            cell: {name: round(_mean(run[1][name] for run in mine), 3) for name in BLENDED}
            for cell, mine in runs.items()
        },
        "closed_loop": loop(range(loops)),
        "oracles": {"raa_ibnr": round(raa_ibnr(), 1)},
    }


NAMES: Mapping[str, str] = {
    "chain_ladder": "chain-ladder",
    "bornhuetter_ferguson": "Bornhuetter-Ferguson",
    "eb": "blend",
    "roll_rates_score": "blend, roll rates and score",
}
"""The methods that the picture shows."""


def charts(found: Mapping[str, Any]) -> tuple[Chart, ...]:
    """The error of each method by cell, and what strategies earned."""
    cells, loops = found["rmse"], found["closed_loop"]
    error = Bars(
        title="How far estimates of a campaign's lost share are from the truth",
        labels=tuple(cell.replace("_", " ") for cell in cells),
        series=tuple(
            Series(name=name, values=tuple(cells[cell][method] for cell in cells))
            for method, name in NAMES.items()
        ),
        axis="root mean square error, share of loans",
        unit=SHARE,
    )
    earned = Bars(
        title="What budgets that follow the estimates earn in half a year",
        labels=tuple(strategy.replace("_", " ") for strategy in loops),
        series=(
            Series(name="profit per spend", values=tuple(one["profit_per_spend"] for one in loops.values())),
        ),
        axis="profit per spend",
        unit=SHARE,
    )
    return error, earned


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def name_of(cell: tuple[int, int]) -> str:
    """How a cell is called."""
    term, per_week = cell
    return f"{term}d_{per_week}_a_week"


def errors(world: Cohorts, seed: int) -> tuple[dict[str, float], dict[str, float]]:
    """Mean squared error of each method over campaigns; the part of 90 % intervals that hold the truth."""
    rng = np.random.default_rng(seed)
    found: dict[str, Floats] = {name: method(world) for name, method in PLAIN.items()}
    held: dict[str, float] = {}
    for name, method in BLENDED.items():
        one = method(world, rng)
        found[name] = one.mean
        low, high = one.interval(0.9)
        held[name] = float(((low <= world.truth) & (world.truth <= high)).mean())
    squares = {name: float(np.mean((rate - world.truth) ** 2)) for name, rate in found.items()}
    return squares, held


def loop(seeds: Sequence[int]) -> dict[str, dict[str, float]]:
    """Profit per spend and edits of each strategy over the same worlds; `se`: of its lead over `raw`."""
    runs = {strategy: [closed_loop(strategy, seed) for seed in seeds] for strategy in STRATEGIES}
    raw = np.array([one.profit for one in runs["raw"]])
    return {
        strategy: {
            "profit_per_spend": round(float(np.mean([one.profit for one in mine])), 4),
            "edits": round(float(np.mean([one.edits for one in mine])), 3),
            "se": round(float(np.std([one.profit for one in mine] - raw) / np.sqrt(len(mine))), 4),
        }
        for strategy, mine in runs.items()
    }


def mature_only(world: Cohorts) -> Floats:
    """Loans of which all is known; campaigns without any have the rate of all."""
    mature = world.due_age > MATURE_DAYS
    return _share(world, mature & (world.bad_at < NEVER), mature)


def as_observed(world: Cohorts) -> Floats:
    """Every loan, as if nothing more came."""
    return _share(world, world.bad_at < NEVER, np.ones(len(world.age), dtype=np.bool_))


def chain_ladder(world: Cohorts) -> Floats:
    """Weekly cohorts developed by the growth of all campaigns' cohorts, but for those that tell nothing."""
    triangle = _triangle(world)
    pooled = triangle.sum(axis=0)
    still = np.append(np.cumprod(growth(pooled)[::-1])[::-1], 1.0)
    found, lent = np.zeros(CAMPAIGNS), np.zeros(CAMPAIGNS)
    for week in range(WEEKS):
        age = WEEKS - 1 - week
        if pooled[week, age] == 0:
            continue
        mine = np.bincount(world.campaign[_week(world) == week], minlength=CAMPAIGNS)
        found += triangle[:, week, age] * still[age]
        lent += mine
    return np.asarray(found / np.maximum(lent, 1))


def bornhuetter_ferguson(world: Cohorts) -> Floats:
    """What was seen, and of what is still to come the rate of all."""
    said = _said(world)
    n = np.bincount(world.campaign, minlength=CAMPAIGNS)
    seen = np.bincount(world.campaign, weights=said.bad, minlength=CAMPAIGNS)
    known = np.bincount(world.campaign, weights=said.known, minlength=CAMPAIGNS)
    return np.asarray((seen + (n - known) * said.expected.mean()) / np.maximum(n, 1))


def eb(world: Cohorts, rng: np.random.Generator) -> Posterior:
    """Development curve and blend."""
    return posterior(gathered(world.campaign, CAMPAIGNS, world.age, _said(world)), rng)


def eb_score(world: Cohorts, rng: np.random.Generator) -> Posterior:
    """The same with the campaign's mean score."""
    return posterior(gathered(world.campaign, CAMPAIGNS, world.age, _said(world), world.score), rng)


def roll_rates_score(world: Cohorts, rng: np.random.Generator) -> Posterior:
    """Roll rates in place of the curve."""
    rolls = rolls_of(book := book_of(world))
    assert rolls is not None, "every cell has lost loans enough"
    said = by_roll_rates(book, rolls)
    return posterior(gathered(world.campaign, CAMPAIGNS, world.age, said, world.score), rng)


PLAIN: Mapping[str, Callable[[Cohorts], Floats]] = {
    "mature_only": mature_only,
    "as_observed": as_observed,
    "chain_ladder": chain_ladder,
    "bornhuetter_ferguson": bornhuetter_ferguson,
}

BLENDED: Mapping[str, Callable[[Cohorts, np.random.Generator], Posterior]] = {
    "eb": eb,
    "eb_score": eb_score,
    "roll_rates_score": roll_rates_score,
}


def book_of(world: Cohorts) -> Book:
    """The world's loans as a book of one instalment each."""
    today = 7 * WEEKS
    disbursed = today - world.age
    due = disbursed + world.term
    return Book(
        kind=np.zeros(len(due), dtype=np.int64),
        disbursed=disbursed,
        bad_on=np.where(world.bad_at < NEVER, due + np.minimum(world.bad_at, MATURE_DAYS), NEVER),
        today=today,
        due=due[:, None],
        paid_on=np.where(world.paid_at < NEVER, due + np.minimum(world.paid_at, MATURE_DAYS), NEVER)[:, None],
    )


def _said(world: Cohorts) -> Said:
    found = by_development(np.zeros(len(world.age), dtype=np.int64), world.bad_at, world.due_age)
    assert found is not None, "every cell has lost loans enough"
    return found[0]


def _week(world: Cohorts) -> Ints:
    """The weekly cohort of each loan, 0 the oldest."""
    return WEEKS - 1 - world.age // 7


def _triangle(world: Cohorts) -> Floats:
    """Lost loans by campaign, cohort and age in weeks since disbursement; `nan` where it is not known yet."""
    week = _week(world)
    lost_on = np.where(world.bad_at < NEVER, world.term + np.minimum(world.bad_at, MATURE_DAYS), NEVER)
    found = np.full((CAMPAIGNS, WEEKS, WEEKS), np.nan)
    for age in range(WEEKS):
        # A cohort's week ends as its youngest loan is seven days old.
        known = np.zeros((CAMPAIGNS, WEEKS))
        by_then = lost_on <= np.minimum(7 * age + 6, world.age)
        np.add.at(known, (world.campaign[by_then], week[by_then]), 1)
        for one in range(WEEKS - age):
            found[:, one, age] = known[:, one]
    return found


def _share(world: Cohorts, bad: np.ndarray[Any, Any], of: np.ndarray[Any, Any]) -> Floats:
    hits = np.bincount(world.campaign[bad & of], minlength=CAMPAIGNS)
    n = np.bincount(world.campaign[of], minlength=CAMPAIGNS)
    everyone = hits.sum() / max(int(n.sum()), 1)
    return np.where(n > 0, hits / np.maximum(n, 1), everyone)
