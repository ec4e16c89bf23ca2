"""What a model must show before it may speak: on users of a later time, whom nothing was learned from.

The past is played again: a model learned from what was known at a moment says what the users of the following
weeks are worth, and is held against what they brought. Where users are few, chance alone puts sums and tenths
off by more than a limit; the limit is then what chance does, and the wide limit is told.
"""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from lendsignal.value.judging import (
    Judgement,
    Met,
    campaign_weeks,
    judged,
    normalised_gini,
    psi,
    psi_limit,
)
from lendsignal.value.low import Held, held, lows_of
from lendsignal.value.training import Candidates, Kind, Learning, TooFewUsers, learned, values_of
from lendsignal.value.users import DAY_US, Floats, Truths, Users
from lendsignal.value.worth import SCORE, ScopeModel

JUDGED_DAYS = (14.0, 28.0, 56.0)
"""How long the users come whom a model is judged by: the shortest with twice as many as are needed."""

LEAST_JUDGED = 500
BIAS, DECILE_ERROR, FACTORS, LEVEL = 0.10, 0.10, (0.8, 1.25), 0.01
WIDEST, TENTHS = 0.30, 0.9
"""At most: |ΣV̂/ΣV − 1|; the distance over tenths; what a campaign's weeks may be off by; how much less Gini
than the model in force, or 1/√n of few users; how wide chance makes the first; and which part of the score's
Gini the look-up keeps at least."""

TOO_GOOD = 0.6
"""Normalised Gini that no single fact known beforehand reaches: one that does knows how it ended."""


MEANING = {
    "enough_users": "users judged by, at least",
    "ranks": "normalised Gini, at least that of the look-up, the score, the model in force",
    "bias": "ΣV̂/ΣV − 1, either way at most",
    "calibrated": "mean distance of tenths ÷ mean value, at most",
    "campaigns": "a campaign's week is off by, at most, drawn to that of all",
    "stable": "population stability index of the values, at most",
    "no_leak": "normalised Gini of one fact alone, below",
}
"""What each gate looks at."""


class Gate(Struct, frozen=True):
    """One condition: what was found, what it must reach or stay below, and whether it holds."""

    name: str
    holds: bool
    found: float | None
    limit: float | None
    about: str = ""

    @property
    def meaning(self) -> str:
        """What was looked at, in words."""
        return MEANING[self.name] + (f" ({self.about})" if self.about else "")


class Trial(Struct, frozen=True, kw_only=True):
    """A kind of model on the users of two later weeks, beside the look-up and the lender's score.

    `learned_us` is the moment by which everything that was learned was known. `score` is `None` where the
    users have no score. `low` is how the cautious side was met, which is told where it holds and is no gate
    of the value itself; `None`: there is none.
    """

    kind: Kind
    learned: str
    learned_us: int
    users_learned: int
    judgement: Judgement
    lookup: Judgement
    score: float | None
    weeks: tuple[Met, ...]
    factors: tuple[float, ...]
    gates: tuple[Gate, ...]
    low: Held | None = None

    @property
    def passed(self) -> bool:
        """Whether every gate holds."""
        return all(gate.holds for gate in self.gates)


class NotJudged(TooFewUsers):
    """Too few users whose value is known by now, or too little history before them."""


def tried(
    users: Users,
    learning: Learning,
    grace_days: float,
    chance: np.random.Generator,
    *,
    champion: ScopeModel | None = None,
) -> tuple[Trial, ...]:
    """The trial of trees and that of the look-up, on the last users whose value is known.

    `champion` is the model in force. Raises `NotJudged` where history is too short.
    """
    value = users.value(learning.horizon_days)
    known = ~np.isnan(value)
    if not known.any():
        raise NotJudged(f"nobody is followed for {learning.horizon_days:g} days and settled yet")
    until_us = int(users.at_us[known].max())
    days = next(
        (one for one in JUDGED_DAYS if _since(users, known, until_us, one).sum() >= 2 * LEAST_JUDGED),
        JUDGED_DAYS[-1],
    )
    from_us = until_us - int(days * DAY_US)
    later = _since(users, known, until_us, days)
    earlier = users.as_of(from_us, grace_days)
    try:
        candidates = learned(earlier, learning, chance)
    except TooFewUsers as error:
        raise NotJudged(
            f"{days:g} days before the last users whose value is known there were {error}"
        ) from None
    judges = users.chosen(later)
    came = value[later]
    before = earlier.chosen(earlier.at_us > from_us - int(days * DAY_US))
    kinds: tuple[Kind, ...] = ("trees", "lookup") if candidates.trees is not None else ("lookup",)
    return tuple(_trial(kind, candidates, judges, came, before, from_us, champion) for kind in kinds)


def _since(users: Users, known: Truths, until_us: int, days: float) -> Truths:
    return known & (users.at_us > until_us - int(days * DAY_US))


def _trial(
    kind: Kind,
    candidates: Candidates,
    judges: Users,
    came: Floats,
    before: Users,
    from_us: int,
    champion: ScopeModel | None,
) -> Trial:
    model = candidates.of(kind)
    said = values_of(model, judges)
    table = judged(values_of(candidates.lookup, judges), came)
    score = _of_score(judges, came)
    # The look-up goes by tenths of the score, which loses a little; trees must be better than the look-up.
    level = max(LEVEL, max(len(came), 1) ** -0.5)
    least = 0.0 if score is None else TENTHS * score - level
    if kind == "trees":
        least = max(least, table.gini)
    if champion is not None:
        least = max(least, normalised_gini(values_of(champion, judges), came) - level)
    weeks = tuple(campaign_weeks(said, came, judges.at_us, judges.campaign))
    factors = tuple(forward_factors(said, came, weeks))
    return Trial(
        kind=kind,
        learned=model.learned,
        learned_us=from_us,
        users_learned=model.users,
        judgement=judged(said, came),
        lookup=table,
        score=score,
        weeks=weeks,
        factors=factors,
        low=held(lows_of(model.bands, said), came),
        gates=(
            *_gates(judged(said, came), came, least),
            _held("campaigns", max((abs(one - 1) for one in factors), default=0.0), FACTORS[1] - 1),
            _held("stable", psi(values_of(model, before), said), psi_limit(len(before), len(said))),
            _no_leak(judges, came),
        ),
    )


def _gates(found: Judgement, came: Floats, least_gini: float) -> tuple[Gate, ...]:
    """What a judgement must show: enough users, their order, their sum, and the sums of tenths."""
    return (
        Gate("enough_users", found.users >= LEAST_JUDGED, float(found.users), float(LEAST_JUDGED)),
        Gate("ranks", found.gini >= least_gini, found.gini, least_gini),
        _held("bias", found.bias, min(max(BIAS, 2 * _noise(came, len(came))), WIDEST)),
        _held("calibrated", found.decile_error, max(DECILE_ERROR, 2 * _decile_noise(came))),
    )


def _held(name: str, found: float, limit: float) -> Gate:
    """What may be no farther from 0 than its limit; NaN is."""
    return Gate(name, bool(abs(found) <= limit), float(found), float(limit))


def forward_factors(said: Floats, came: Floats, weeks: Sequence[Met]) -> list[float]:
    """By what each week's prediction should have been multiplied: ΣV/ΣV̂, drawn to that of all users.

    c_g = c + Z_g (r_g − c) with r_g = ΣV/ΣV̂ of the week, c the same of all users, and
    Z_g = τ² / (τ² + σ²/(n_g v̄_g²)); within `FACTORS`. It corrects what is said of coming users; of those
    already told nothing is taken back.
    """
    if not len(said) or said.sum() <= 0:
        return [1.0 for _ in weeks]
    overall = float(came.sum() / said.sum())
    usable = [one for one in weeks if one.said > 0]
    ratio = np.array([one.came / one.said for one in usable])
    noise = np.array([float(np.var(came)) * one.users / one.said**2 for one in usable])
    between = max(0.0, float(np.mean((ratio - overall) ** 2 - noise))) if len(usable) > 1 else 0.0
    shrunk = {
        id(one): overall + between / (between + error) * (r - overall)
        for one, r, error in zip(usable, ratio, noise, strict=True)
    }
    return [float(np.clip(shrunk.get(id(one), overall), *FACTORS)) for one in weeks]


def _decile_noise(came: Floats) -> float:
    """How far tenths are off by chance alone: √(2/π) standard errors of a tenth's mean."""
    return float(np.sqrt(2 / np.pi)) * _noise(came, len(came) / 10)


def _noise(came: Floats, n: float) -> float:
    """The standard error of a mean over so many users, as a part of the mean: sd / √n / mean."""
    mean = float(came.mean()) if len(came) else 0.0
    return float(came.std() / np.sqrt(max(n, 1.0)) / mean) if mean > 0 else 0.0


def _of_score(users: Users, came: Floats) -> float | None:
    """Normalised Gini of the lender's own score; `None` where there is none."""
    found = _scores(users)
    return None if found is None else abs(normalised_gini(found, came))


def _scores(users: Users) -> Floats | None:
    """The score of each user in ranks of its version, so that versions can stand beside each other."""
    ranks = np.full(len(users), np.nan)
    for name, column in users.numbers.items():
        if name == SCORE or name.startswith(f"{SCORE} "):
            mine = ~np.isnan(column.values) & np.isnan(ranks)
            order = np.argsort(np.argsort(column.values[mine], kind="stable"), kind="stable")
            ranks[mine] = (order + 0.5) / max(int(mine.sum()), 1)
    return None if np.isnan(ranks).all() else np.nan_to_num(ranks, nan=0.5)


def _no_leak(users: Users, came: Floats) -> Gate:
    """The fact that alone ranks users best, in either direction."""
    found = ("", 0.0)
    for name, column in users.numbers.items():
        known = ~np.isnan(column.values)
        values = np.where(known, column.values, np.median(column.values[known]) if known.any() else 0.0)
        gini = max(normalised_gini(values, came), normalised_gini(-values, came))
        if gini > found[1]:
            found = (name, gini)
    return Gate("no_leak", found[1] < TOO_GOOD, found[1], TOO_GOOD, found[0])
