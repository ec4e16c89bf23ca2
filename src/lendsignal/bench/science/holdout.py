"""Holdouts on made-up rounds of retargeting: false alarms, bias, and whether what is promised is seen."""

from typing import Any

import numpy as np

from lendsignal.advise.holdout.effect import effect_of, foretold, per_reached
from lendsignal.advise.holdout.power import FEWEST, POWER, smallest_effect
from lendsignal.simulate.worlds.retarget import Round, days_of, played

SEED = 20_261_122
LOOKS = 28

DESIGNS = ((10_000, 0.1, 0.10), (50_000, 0.1, 0.10), (10_000, 0.5, 0.10), (50_000, 0.1, 0.03))
"""Users, share held out and the rate of coming back, for which the promise is tried; 40 % are reached."""


def measure(quick: bool) -> dict[str, Any]:
    """`false_positive` is of daily looks, `mde_error` a part of what is promised, biases are standard errors.

    `peeking` is how often the one-look interval alarms falsely when it is looked at every day: why nobody
    should. `attributed_incremental` is the part of what an MMP credits to the ads that came of them.
    """
    alarms = false_alarms(worlds=200 if quick else 2_000)
    bias = bias_of(worlds=60 if quick else 200)
    errors = [promise_error(*one, rounds=4_000 if quick else 20_000) for one in DESIGNS]
    return {
        "false_positive": alarms["every_look"],
        "false_positive_one_look": alarms["one_look"],
        "peeking": alarms["peeking"],
        **bias,
        "mde_error": max(errors, key=abs),
        "mde_errors": {
            f"{users:,} users, {share:.0%} held out, {rate:.0%} come back": error
            for (users, share, rate), error in zip(DESIGNS, errors, strict=True)
        },
    }


def false_alarms(worlds: int, users: int = 6_000) -> dict[str, float]:
    """How often an effect is seen where there is none, at 28 daily looks and at one, of skewed money too."""
    every, once, peeked = 0, 0, 0
    one = Round(users=users, held_out=0.3, lift=0.0)
    for number in range(worlds):
        rng = np.random.default_rng([SEED, 1, number])
        told = played(one, rng)
        ends = np.searchsorted(days_of(users, LOOKS, rng), np.arange(LOOKS), side="right")
        outcome = told.came_back if number % 2 else told.margin
        looks = [
            effect_of(outcome[:end], told.treated[:end], planned=users)
            for end in ends
            if (~told.treated[:end]).sum() >= FEWEST
        ]
        before = foretold(told.facts, outcome, np.arange(users) % 2)
        every += any(look.seen(once=False) for look in looks)
        peeked += any(look.seen(once=True) for look in looks)
        once += effect_of(outcome, told.treated, covariate=before).seen(once=True)
    return {"every_look": every / worlds, "one_look": once / worlds, "peeking": peeked / worlds}


def bias_of(worlds: int) -> dict[str, float]:
    """The estimate against the truth with 15 % reinstalls and 10 % new phones; one world is one round."""
    one = Round(users=40_000, held_out=0.2)
    errors, spreads, reached, parts, firsts, covered = [], [], [], [], [], 0
    for number in range(worlds):
        rng = np.random.default_rng([SEED, 2, number])
        told = played(one, rng)
        before = foretold(told.facts, told.came_back, np.arange(one.users) % 2)
        found = effect_of(told.came_back, told.treated, covariate=before)
        each = per_reached(
            found, float(told.reached[told.treated].mean()), float(told.reached[~told.treated].mean())
        )
        errors.append(found.difference - told.truth)
        spreads.append(found.se)
        covered += found.low <= told.truth <= found.high
        reached.append((each.effect - told.truth_reached) / (each.high - each.low) * 2 * 1.96)
        credited = int(told.attributed[told.treated].sum())
        parts.append(told.incremental / credited)
        firsts.append(int(told.attributed_first[told.treated].sum()) / credited)
    return {
        "bias_se": float(np.mean(errors) / np.mean(spreads)),
        "bias_reached_se": float(np.mean(reached)),
        "coverage": covered / worlds,
        "attributed_incremental": float(np.mean(parts)),
        "attributed_first_install": float(np.mean(firsts)),
    }


def promise_error(users: int, share: float, rate: float, *, rounds: int) -> float:
    """How far the effect that is truly seen 80 % of the time lies from the one that is promised, as a part.

    The arms are drawn as binomial counts and judged by `effect_of`'s own arithmetic on their variances.
    """
    held, reach = round(users * share), 0.4
    treated = users - held
    promised = smallest_effect(float(np.sqrt(rate * (1 - rate))), treated, held, reach=reach)
    assert promised is not None, "the designs have users enough"
    tried = promised * np.linspace(0.7, 1.3, 13)
    seen = []
    for effect in tried:
        rng = np.random.default_rng([SEED, 3, users, round(share * 100), round(rate * 1000)])
        ours = rng.binomial(treated, rate + effect * reach, rounds) / treated
        theirs = rng.binomial(held, rate, rounds) / held
        se = np.sqrt(ours * (1 - ours) / (treated - 1) + theirs * (1 - theirs) / (held - 1))
        seen.append(float((np.abs(ours - theirs) > 1.959964 * se).mean()))
    real = float(np.interp(POWER, np.maximum.accumulate(seen), tried))
    return real / promised - 1
