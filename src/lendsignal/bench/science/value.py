"""How well users' value is told on made-up borrowers, of whom it is known what they will have brought.

The ceiling are the same trees with nothing left to wait for; the score is the made-up lender's own.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from lendsignal.simulate.worlds.value import World, applicants, world
from lendsignal.value.boosting import boosted, columns_of, kept_apart, predicted
from lendsignal.value.gates import forward_factors
from lendsignal.value.judging import Met, campaign_weeks, judged, normalised_gini
from lendsignal.value.training import Kind, Learning, chances_of, learned, values_of
from lendsignal.value.users import Floats, buckets

HORIZON_DAYS = 90.0
LEARNING = Learning(horizon_days=HORIZON_DAYS)

SEEDS, QUICK_SEEDS = (11, 12, 13), (11,)
USERS, QUICK_USERS = 225_000, 100_000
"""Users that are learned from, and as many others of the same world to judge by."""

LIVES = 6
"""Lives of each of the others that `bias` is the mean of: what they bring once is off by chance alone."""

SHORT_DAYS, QUICK_SHORT_DAYS = (45.0, 60.0), (60.0,)
SHORT_USERS, QUICK_SHORT_USERS = 120_000, 30_000
"""Histories that are shorter than the horizon."""

APPLICANTS, QUICK_APPLICANTS = 225_000, 60_000
"""Applicants that are learned from, and as many others to judge by."""

KINDS: tuple[Kind, ...] = ("trees", "lookup")

REACH = {"gini_share_of_ceiling": 0.99, "gini_above_score": 0.029, "bias": 0.02, "lookup_to_score": 0.98}
"""What is to be reached: at least, at least, at most either way, and at least."""


def measure(quick: bool) -> dict[str, Any]:
    """Means over the worlds; one smaller world, and one short history, where `quick`.

    `gini` is that of the strong model, normalised; `bias` its ΣV̂/ΣV − 1, and `short_history` tells what loan
    after loan comes to where no user has been followed for the whole horizon.
    """
    users = QUICK_USERS if quick else USERS
    worlds = [_told(world(seed, users, users, lives=LIVES)) for seed in (QUICK_SEEDS if quick else SEEDS)]
    mean = {name: float(np.mean([one[name] for one in worlds])) for name in worlds[0]}
    short_users = QUICK_SHORT_USERS if quick else SHORT_USERS
    short_days = QUICK_SHORT_DAYS if quick else SHORT_DAYS
    return {
        **mean,
        "worlds": len(worlds),
        "reach": REACH,
        "reached": mean["gini_share_of_ceiling"] >= REACH["gini_share_of_ceiling"]
        and mean["gini"] - mean["score_gini"] >= REACH["gini_above_score"]
        and abs(mean["bias"]) <= REACH["bias"]
        and mean["lookup_gini"] >= REACH["lookup_to_score"] * mean["score_gini"],
        "at_apply": measure_at_apply(
            QUICK_SEEDS if quick else SEEDS, QUICK_APPLICANTS if quick else APPLICANTS
        ),
        "short_history": {f"{days:g}": _short(days, short_users, SEEDS[0]) for days in short_days},
    }


def _told(made: World) -> dict[str, float]:
    models = learned(made.users, LEARNING, np.random.default_rng(5))
    said, by_table = (values_of(models.of(kind), made.others) for kind in KINDS)
    trees, table = judged(said, made.value), judged(by_table, made.value)
    ceiling = normalised_gini(_ceiling(made), made.value)
    brings = float((made.value + LIVES * made.oracle).sum()) / (1 + LIVES)
    return {
        "gini_share_of_ceiling": trees.gini / ceiling,
        "gini": trees.gini,
        "ceiling_gini": ceiling,
        "score_gini": normalised_gini(made.score, made.value),
        "lookup_gini": table.gini,
        "bias": float(said.sum()) / brings - 1,
        "lookup_bias": float(by_table.sum()) / brings - 1,
        "decile_error": trees.decile_error,
        "top_half": trees.top50,
        "top_fifth": trees.top20,
    }


def measure_at_apply(seeds: Sequence[int], users: int) -> dict[str, float]:
    """Value of applicants before anybody decided on them, means over the worlds.

    `grant_gini` and `given_gini` rank by each factor alone, `ceiling_gini` is that of trees that were told
    everything, `grant_auc` how well a grant is told from a denial. `campaigns_off` is what the campaign that
    was met worst is off by, drawn to all of them; `campaigns_raw` the mean distance of campaigns as they
    are, and `campaigns_chance` what chance alone makes of that.
    """
    worlds = [_at_apply(applicants(seed, users, users, lives=LIVES)) for seed in seeds]
    return {name: float(np.mean([one[name] for one in worlds])) for name in worlds[0]}


def _at_apply(made: World) -> dict[str, float]:
    from sklearn.metrics import roc_auc_score

    models = learned(made.users, LEARNING, np.random.default_rng(5))
    strong = models.of("trees")
    assert strong.grant is not None
    granted = chances_of(strong.grant, made.others)
    said, by_table = values_of(strong, made.others), values_of(models.lookup, made.others)
    trees = judged(said, made.value)
    brings = (made.value + LIVES * made.oracle) / (1 + LIVES)
    weeks = campaign_weeks(said, made.value, np.zeros_like(made.others.at_us), made.others.campaign)
    worst = max(abs(one - 1) for one in forward_factors(said, made.value, weeks))
    given = values_of(replace(strong, grant=None), made.others)
    assert made.others.granted is not None
    is_granted = np.isfinite(made.others.granted)
    return {
        "gini": trees.gini,
        "lookup_gini": normalised_gini(by_table, made.value),
        "grant_gini": normalised_gini(granted, made.value),
        "given_gini": normalised_gini(given, made.value),
        "ceiling_gini": normalised_gini(_ceiling(made), made.value),
        "grant_auc": float(roc_auc_score(is_granted, granted)),
        "grant_bias": float(granted.sum() / is_granted.sum()) - 1,
        "bias": float(said.sum() / brings.sum()) - 1,
        "lookup_bias": float(by_table.sum() / brings.sum()) - 1,
        "decile_error": trees.decile_error,
        "campaigns_off": worst,
        "campaigns_raw": float(np.mean([abs(one.said / one.came - 1) for one in weeks if one.came > 0])),
        "campaigns_chance": _campaign_chance(made, weeks),
    }


def _campaign_chance(made: World, weeks: Sequence[Met]) -> float:
    """√(2/π) standard errors of a campaign's mean, as a part of it: what is off where everything is right."""
    spread = float(made.value.std())
    off = [spread * np.sqrt(one.users) / one.came for one in weeks if one.came > 0]
    return float(np.sqrt(2 / np.pi) * np.mean(off))


def _ceiling(made: World) -> Floats:
    """The trees of the same users where everything they will have brought is known."""
    apart = kept_apart(made.whole, np.random.default_rng(5))
    found = boosted(columns_of(made.whole), buckets(made.whole, (HORIZON_DAYS,)), apart)
    return found.shift + predicted(found.trees, made.others)


def _short(days: float, users: int, seed: int) -> dict[str, float]:
    made = world(seed, users, users, history_days=days)
    models = learned(made.users, LEARNING, np.random.default_rng(5))
    found = judged(values_of(models.of("trees"), made.others), made.value)
    return {
        "gini": found.gini,
        "score_gini": normalised_gini(made.score, made.value),
        "bias": found.bias,
    }
