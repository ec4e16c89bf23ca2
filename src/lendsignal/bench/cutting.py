"""How well hysteresis keeps the tiers' shares, and how seldom it cuts: half a year of made-up grants.

Scores are those of first grants of one lender of the generator; each world draws its grants from them anew.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Literal

import numpy as np
from msgspec import Struct

from lendsignal.bench.targets import Target, Wanted
from lendsignal.derive import CutTable, Tiers, TierSettings
from lendsignal.derive.recut import Floats, Grants, Sample, Scope, inside, recut, rungs_of
from lendsignal.simulate import Parameters, make
from lendsignal.simulate.parameters import Period

Drift = Literal["none", "slow", "shock"]

DAYS = 180
WARM_UP = 28
"""Days of grants before the first cuts."""

GRANTS_A_DAY = (50, 300, 2_000)
DRIFTS: Sequence[Drift] = ("none", "slow", "shock")
MOVES = {"none": 0.0, "slow": 0.4, "shock": 0.5}
"""How far the scores move within the half year, in their standard deviations: at an even pace, or at once
in its middle."""

LENDER_SEED = 11
LENDER_USERS = 30_000
PER_DAY_US = timedelta(days=1) // timedelta(microseconds=1)
SETTINGS = TierSettings(basis=("score",), scope=())
TIERS = Tiers(rolling=("score",), shares=SETTINGS.shares)
SCOPES = (Scope(brand="made-up", score_version="v1"),)


class Cell(Struct, frozen=True, kw_only=True):
    """So many grants a day under one drift: means over all worlds.

    `share_rmse_points`: the root of the mean square of (part of the last seven days' grants in the best 20 %
    less 20 %), in points; `fixed_rmse_points` the same had the first cuts stood for ever. `changes`: how
    often cuts were made anew in 180 days, whichever of the four tiers was off.
    """

    grants_per_day: int
    drift: Drift
    worlds: int
    share_rmse_points: float
    fixed_rmse_points: float
    worst_tier_rmse_points: float
    changes: float


class TierFigures(Struct, frozen=True, kw_only=True):
    """All cells, the seeds they were made by, and the targets."""

    lender_seed: int
    first_world_seed: int
    cells: tuple[Cell, ...]
    targets: tuple[Target, ...]


def cut_tiers(worlds: int, tell: Callable[[str], None], *, first_seed: int = 100) -> TierFigures:
    """The figures over so many worlds a cell; the same seeds give the same figures on every machine."""
    tell(f"a lender of {LENDER_USERS:,} users")
    pool = first_grant_scores(LENDER_SEED, LENDER_USERS)
    cells = []
    for per_day in GRANTS_A_DAY:
        for drift in DRIFTS:
            tell(f"{per_day} grants a day, drift {drift}")
            runs = [world(pool, per_day, drift, first_seed + number) for number in range(worlds)]
            cells.append(_cell(per_day, drift, runs))
    return TierFigures(
        lender_seed=LENDER_SEED, first_world_seed=first_seed, cells=tuple(cells), targets=_targets(cells)
    )


def first_grant_scores(seed: int, users: int) -> Floats:
    """The scores of all first grants of a made-up lender, as they are: rounded to a tenth."""
    asked = make(Parameters(period=Period(days=DAYS, users=users)), seed).book.applications
    granted = np.flatnonzero(asked.granted & asked.needs_grant & ~asked.second_score)
    _, first = np.unique(asked.user[granted], return_index=True)
    return np.asarray(asked.score[granted[first]], dtype=np.float64)


class World(Struct, frozen=True):
    """One run: the part in each tier over the last seven days, day by day, and how often cuts were made."""

    hysteresis: dict[int, list[float]]
    fixed: list[float]
    changes: int


def world(pool: Floats, per_day: int, drift: Drift, seed: int) -> World:
    """Half a year of one world, looked at every midnight as a running service would."""
    rng = np.random.default_rng(seed)
    days = WARM_UP + DAYS
    n = days * per_day
    at_us = np.sort(rng.integers(0, days * PER_DAY_US, n))
    age = np.clip((at_us / PER_DAY_US - WARM_UP) / DAYS, 0, 1)
    moved = {"none": 0 * age, "slow": age, "shock": (age >= 0.5).astype(float)}[drift] * MOVES[drift]
    grants = Grants(
        at_us=at_us,
        measure=np.round(rng.choice(pool, n) + moved * pool.std(), 1),
        seed=rng.random(n),
        scope=np.zeros(n, dtype=np.int64),
        scopes=SCOPES,
    )
    table: CutTable | None = None
    first: CutTable | None = None
    changes = 0
    parts: dict[int, list[tuple[float, int]]] = {share: [] for share in SETTINGS.shares}
    fixed: list[tuple[float, int]] = []
    for day in range(WARM_UP, days):
        now_us = day * PER_DAY_US
        found = recut({"score": grants}, TIERS, SETTINGS, table, now_us).table
        if found is not None:
            changes += table is not None
            table = found
            first = first or found
        assert table is not None, "28 days of grants are enough for first cuts"
        today = grants.of([0], now_us, now_us + PER_DAY_US)
        for rung in rungs_of(table.sets[0], TIERS):
            parts[rung.share].append((inside(today, rung) * today.n, today.n))
        fixed.append(_first_tier(today, first or table))
    return World({share: _weekly(found_) for share, found_ in parts.items()}, _weekly(fixed), changes)


def _first_tier(today: Sample, table: CutTable) -> tuple[float, int]:
    (narrowest, *_) = rungs_of(table.sets[0], TIERS)
    return inside(today, narrowest) * today.n, today.n


def _weekly(days: Sequence[tuple[float, int]]) -> list[float]:
    """The part over each seven days in a row."""
    got, there = np.cumsum(np.array(days), axis=0).T
    return list((got[6:] - np.concatenate([[0], got[:-7]])) / (there[6:] - np.concatenate([[0], there[:-7]])))


def _rmse(parts: Sequence[float], share: int) -> float:
    return float(np.sqrt(np.mean((np.array(parts) - share / 100) ** 2)) * 100)


def _cell(per_day: int, drift: Drift, runs: Sequence[World]) -> Cell:
    def mean(of: Callable[[World], float]) -> float:
        return round(float(np.mean([of(one) for one in runs])), 2)

    return Cell(
        grants_per_day=per_day,
        drift=drift,
        worlds=len(runs),
        share_rmse_points=mean(lambda one: _rmse(one.hysteresis[20], 20)),
        fixed_rmse_points=mean(lambda one: _rmse(one.fixed, 20)),
        worst_tier_rmse_points=mean(
            lambda one: max(_rmse(parts, share) for share, parts in one.hysteresis.items())
        ),
        changes=mean(lambda one: one.changes),
    )


def _targets(cells: Sequence[Cell]) -> tuple[Target, ...]:
    large = [one for one in cells if one.grants_per_day >= 300]
    worst = max(one.share_rmse_points for one in cells)
    worst_large = max(one.share_rmse_points for one in large)
    most = max(one.changes for one in cells)
    return (
        Wanted("changes of cuts in 180 days, worst cell", "cells", "changes", 6, 6, True).beside(most),
        Wanted("error of the best 20 %, worst cell", "cells", "points", 4, 4, True).beside(worst),
        Wanted("the same from 300 grants a day on", "cells", "points", 3, 3, True).beside(worst_large),
    )
