"""By how much each campaign's budget or bid should move, and which guard-rail bound it.

The wanted multiplier is (E[ROI] / target)^γ. It is followed by small steps, seldom, only where the side is
sure, and so that the whole spend stays about what it was: platforms learn anew after large edits, and what is
learnt of a campaign is never certain. Who applies the steps is a person.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.advise.bids.posterior import Floats

Guard = Literal[
    "", "unsure", "small", "step", "learning", "too_soon", "floor", "cap", "total", "retargeting", "no_spend"
]
"""What kept a campaign from its wanted multiplier; empty: nothing did."""

SAYS: dict[Guard, str] = {
    "": "as wanted",
    "unsure": "which side of the target it is on is not sure enough",
    "small": "too small a step to be worth an edit",
    "step": "the longest step at a time",
    "learning": "the campaign is still learning",
    "too_soon": "its last step is too recent",
    "floor": "the least part of its budget of 28 days",
    "cap": "the largest multiple of its budget of 28 days",
    "total": "all budgets together would leave the plan by too much",
    "retargeting": "the share of retargeting; only a holdout can raise it",
    "no_spend": "nothing was spent lately",
}


class Guards(Struct, frozen=True, kw_only=True):
    """The guard-rails. `target`: the return on spend to reach, 1 is money back.

    `gentleness` γ: ½ means that a campaign with four times the target is wanted at twice its budget.
    `sure`: the probability of being above or below the target from which on a step is made. `step`, `least`:
    the longest and the shortest step, as parts of the budget; `every_days`: between two steps of a campaign.
    `floor`, `cap`: multiples of the 28-day base that the budget stays within. `total`: how far the sum of all
    budgets may be from the plan. A campaign learns for `learning_days`, unless it has had
    `learning_conversions` before. A campaign whose return is below `pause_below` × target with probability
    `pause_sure`, on `pause_exposure` loans or more, is proposed to be paused.
    `retargeting`: the largest share of the spend that retargeting may have.
    """

    target: float = 1.0
    gentleness: float = 0.5
    sure: float = 0.8
    step: float = 0.2
    least: float = 0.03
    every_days: int = 7
    floor: float = 0.3
    cap: float = 3.0
    total: float = 0.1
    learning_days: int = 14
    learning_conversions: int = 50
    pause_below: float = 0.5
    pause_sure: float = 0.95
    pause_exposure: float = 50.0
    retargeting: float = 0.1


class Standing(Struct, frozen=True, kw_only=True):
    """Where a campaign stands: its daily budget now and over 28 days, and how long it has been running.

    `days_since_step`: since its last accepted step; `None`: there was none.
    """

    budget: float
    base: float
    days_running: int
    conversions: int
    days_since_step: int | None = None
    is_retargeting: bool = False


class Step(Struct, frozen=True, kw_only=True):
    """What is proposed for one campaign: its budget times `multiplier`, which is 1 where it should stay.

    `wanted`: without guard-rails. `roi` with its 90 % interval, and `sure`, the probability that the return
    is on that side of the target. `pause`: better none at all.
    """

    multiplier: float
    wanted: float
    roi: float
    roi_low: float
    roi_high: float
    sure: float
    guard: Guard
    pause: bool = False


def steps(
    standing: Sequence[Standing], roi: Floats, exposure: Floats, guards: Guards, plan: float | None = None
) -> list[Step]:
    """A step for each campaign, from the draws of its return (campaigns × draws) and its exposure in loans.

    `plan`: what all campaigns together are to spend a day; by default what they spent over 28 days.
    """
    found = [
        _alone(one, draws, float(worth), guards)
        for one, draws, worth in zip(standing, roi, exposure, strict=True)
    ]
    whole = sum(one.base for one in standing) if plan is None else plan
    return _conserved(standing, _retargeted(standing, found, guards), guards, whole)


def retargeting_share(guards: Guards, incremental_return: float | None) -> float:
    """The share of the spend that retargeting may have.

    It is raised by one step where a holdout says so: `incremental_return` is the lower end of the interval of
    profit per spend by intention to treat. Credited conversions are no evidence: most of them come anyway.
    """
    proven = incremental_return is not None and incremental_return > guards.target
    return guards.retargeting * (1 + guards.step) if proven else guards.retargeting


def _alone(one: Standing, draws: Floats, exposure: float, guards: Guards) -> Step:
    if one.budget <= 0 or np.isnan(draws).any():
        unknown = float("nan")
        return Step(
            multiplier=1.0,
            wanted=1.0,
            roi=unknown,
            roi_low=unknown,
            roi_high=unknown,
            sure=0.0,
            guard="no_spend",
        )
    mean = float(draws.mean())
    low, high = np.quantile(draws, [0.05, 0.95]).tolist()
    wanted = (max(mean, 0.0) / guards.target) ** guards.gentleness
    above = float((draws > guards.target).mean())
    sure = above if wanted > 1 else 1 - above
    pause = (
        float((draws < guards.pause_below * guards.target).mean()) >= guards.pause_sure
        and exposure >= guards.pause_exposure
    )
    multiplier, guard = _bounded(one, wanted, sure, guards)
    return Step(
        multiplier=multiplier,
        wanted=wanted,
        roi=mean,
        roi_low=low,
        roi_high=high,
        sure=sure,
        guard=guard,
        pause=pause,
    )


def _bounded(one: Standing, wanted: float, sure: float, guards: Guards) -> tuple[float, Guard]:
    if one.days_running < guards.learning_days and one.conversions < guards.learning_conversions:
        return 1.0, "learning"
    if one.days_since_step is not None and one.days_since_step < guards.every_days:
        return 1.0, "too_soon"
    if sure < guards.sure:
        return 1.0, "unsure"
    step = min(max(wanted - 1, -guards.step), guards.step)
    if abs(step) < guards.least:
        return 1.0, "small"
    guard: Guard = "step" if step != wanted - 1 else ""
    least, most = guards.floor * one.base / one.budget, guards.cap * one.base / one.budget
    # A budget that is beyond its bounds already is not pushed back: the step only goes no further.
    if step < 0 and 1 + step < least:
        return min(least, 1.0), "floor"
    if step > 0 and 1 + step > most:
        return max(most, 1.0), "cap"
    return 1 + step, guard


def _retargeted(standing: Sequence[Standing], found: Sequence[Step], guards: Guards) -> list[Step]:
    """Retargeting is never raised by its own return, and is cut where it has more than its share."""
    whole = sum(one.budget for one in standing)
    mine = sum(one.budget for one in standing if one.is_retargeting)
    too_much = whole > 0 and mine > guards.retargeting * whole
    # So that it has its share of what is then left: x·m / (w − m + x·m) = share.
    fitting = guards.retargeting * (whole - mine) / ((1 - guards.retargeting) * mine) if too_much else 1.0
    fitting = max(fitting, 1 - guards.step)
    return [
        replace(step, multiplier=min(step.multiplier, fitting), guard="retargeting")
        if one.is_retargeting and step.multiplier > fitting and step.guard not in ("no_spend", "too_soon")
        else step
        for one, step in zip(standing, found, strict=True)
    ]


def _conserved(
    standing: Sequence[Standing], found: Sequence[Step], guards: Guards, whole: float
) -> list[Step]:
    """Raises, or cuts, are shortened alike where all budgets together would leave the plan by too much."""
    now = sum(one.budget for one in standing)
    moves = [one.budget * (step.multiplier - 1) for one, step in zip(standing, found, strict=True)]
    up, down = sum(move for move in moves if move > 0), -sum(move for move in moves if move < 0)
    most, least = (1 + guards.total) * whole, (1 - guards.total) * whole
    if up > 0 and now + up - down > most:
        part, raised = max(most - now + down, 0.0) / up, True
    elif down > 0 and now + up - down < least:
        part, raised = max(now + up - least, 0.0) / down, False
    else:
        return list(found)
    return [
        replace(step, multiplier=1 + (step.multiplier - 1) * part, guard="total")
        if step.multiplier != 1 and (step.multiplier > 1) == raised
        else step
        for step in found
    ]
