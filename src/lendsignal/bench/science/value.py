"""How well users' value is told on made-up borrowers, of whom it is known what they will have brought.

The ceiling are the same trees with nothing left to wait for; the score is the made-up lender's own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from lendsignal.simulate.worlds.value import World, applicants, at_first_loan, world
from lendsignal.value.boosting import boosted, columns_of, grown, kept_apart, predicted, predicted_of
from lendsignal.value.campaigns import Left, left_over
from lendsignal.value.gates import forward_factors
from lendsignal.value.judging import Met, campaign_weeks, judged, normalised_gini
from lendsignal.value.low import LOW, held, lows_of
from lendsignal.value.training import Kind, Learning, chances_of, learned, values_of
from lendsignal.value.users import Floats, Users, buckets
from lendsignal.value.worth import CAMPAIGN, ScopeModel, Trees

HORIZON_DAYS = 90.0
LEARNING = Learning(horizon_days=HORIZON_DAYS)

SEEDS, QUICK_SEEDS = (11, 12, 13), (11,)
USERS, QUICK_USERS = 225_000, 100_000
"""Users that are learned from, and as many others of the same world to judge by."""

LIVES = 6
"""Lives of each of the others that `bias` is the mean of: what they bring once is off by chance alone."""

QUICK_BORROWERS = 30_000
"""Users of whom those are chosen who are valued at their first loan, where quick."""

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
    after loan comes to where no user has been followed for the whole horizon. `low` is how the cautious side
    is met, at the grant and at the first loan.
    """
    users = QUICK_USERS if quick else USERS
    seeds = QUICK_SEEDS if quick else SEEDS
    runs = [_told(world(seed, users, users, lives=LIVES)) for seed in seeds]
    mean = _mean([figures for figures, _ in runs])
    borrowers = QUICK_BORROWERS if quick else USERS
    lows = {
        "grant": [low for _, low in runs],
        "first_loan": [_at_loan(at_first_loan(world(seed, borrowers, borrowers))) for seed in seeds],
    }
    short_users = QUICK_SHORT_USERS if quick else SHORT_USERS
    short_days = QUICK_SHORT_DAYS if quick else SHORT_DAYS
    return {
        **mean,
        "worlds": len(runs),
        "reach": REACH,
        "reached": mean["gini_share_of_ceiling"] >= REACH["gini_share_of_ceiling"]
        and mean["gini"] - mean["score_gini"] >= REACH["gini_above_score"]
        and abs(mean["bias"]) <= REACH["bias"]
        and mean["lookup_gini"] >= REACH["lookup_to_score"] * mean["score_gini"],
        "at_apply": measure_at_apply(seeds, QUICK_APPLICANTS if quick else APPLICANTS),
        "low": {moment: _mean(each) for moment, each in lows.items()},
        "short_history": {f"{days:g}": _short(days, short_users, SEEDS[0]) for days in short_days},
    }


def _mean(worlds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in worlds])) for name in worlds[0]}


def _told(made: World) -> tuple[dict[str, float], dict[str, float]]:
    """The figures of one world, and those of the cautious side."""
    models = learned(made.users, LEARNING, np.random.default_rng(5))
    said, by_table = (values_of(models.of(kind), made.others) for kind in KINDS)
    trees, table, by_score = (judged(one, made.value) for one in (said, by_table, made.score))
    ceiling = normalised_gini(_ceiling(made), made.value)
    brings = float((made.value + LIVES * made.oracle).sum()) / (1 + LIVES)
    figures = {
        "gini_share_of_ceiling": trees.gini / ceiling,
        "gini": trees.gini,
        "ceiling_gini": ceiling,
        "score_gini": by_score.gini,
        "lookup_gini": table.gini,
        "bias": float(said.sum()) / brings - 1,
        "lookup_bias": float(by_table.sum()) / brings - 1,
        "decile_error": trees.decile_error,
        "top_half": trees.top50,
        "top_fifth": trees.top20,
        "score_top_half": by_score.top50,
        "score_top_fifth": by_score.top20,
        **_by_campaign(models.of("trees"), made),
    }
    return figures, _low(models.of("trees"), made.users, made.others)


def _at_loan(made: World) -> dict[str, float]:
    """The cautious side of users who are valued at their first loan, where nobody brings just nothing."""
    model = learned(made.users, LEARNING, np.random.default_rng(5)).of("trees")
    return _low(model, made.users, made.others)


def _low(model: ScopeModel, users: Users, others: Users) -> dict[str, float]:
    """How the cautious side is met by others: the parts below and at or below it, the worst fifth of them,
    and its quantile loss beside that of one number for all and that of trees grown for it."""
    said, came = values_of(model, others), others.value(HORIZON_DAYS)
    low = lows_of(model.bands, said)
    found = held(low, came)
    assert found is not None
    fifths = [held(low[part], came[part]) for part in np.array_split(np.argsort(said, kind="stable"), 5)]
    off = [max(one.below - LOW, LOW - one.at_or_below, 0.0) for one in fifths if one is not None]
    known = users.value(HORIZON_DAYS)
    mature = np.flatnonzero(~np.isnan(known))
    columns, apart = columns_of(users), kept_apart(users, np.random.default_rng(5))
    trees = grown(columns, mature, known[mature], apart[mature], "quantile")
    by_trees = predicted_of(
        Trees(numbers=columns.numbers, words=columns.words, trees=tuple(trees)),
        columns_of(others, columns).matrix,
    )
    return {
        "below": found.below,
        "at_or_below": found.at_or_below,
        "worst_fifth_off": max(off),
        "above_zero": float((low > 0).mean()),
        "loss": quantile_loss(low, came),
        "loss_of_one_number": quantile_loss(np.full(len(came), np.quantile(known[mature], LOW)), came),
        "loss_of_trees": quantile_loss(by_trees, came),
    }


def quantile_loss(low: Floats, came: Floats) -> float:
    """Mean of 0.3 of what came above, and 0.7 of what came below: least where three in ten are below."""
    over = came - low
    return float(np.mean(np.maximum(LOW * over, (LOW - 1) * over)))


def _by_campaign(model: ScopeModel, made: World) -> dict[str, float]:
    """How far campaigns are off on average, as a part of what campaigns bring, by what came; the same by
    trees alone, and what chance alone makes of it. `truly` goes by seven lives of each user, most of whose
    luck cancels."""
    bare = replace(model, campaigns={})
    if model.grant is not None:
        bare = replace(bare, grant=replace(model.grant, campaigns={}))
    said, alone = values_of(model, made.others), values_of(bare, made.others)
    brings = (made.value + LIVES * made.oracle) / (1 + LIVES)
    campaign = made.others.words[CAMPAIGN].places
    chance = np.sqrt(2 / np.pi) * made.value.std() / np.sqrt(np.bincount(campaign)) / made.value.mean()
    return {
        "campaigns_mean_off": _mean_off(said, made.value, campaign),
        "campaigns_mean_off_trees_alone": _mean_off(alone, made.value, campaign),
        "campaigns_mean_chance": float(chance.mean()),
        "campaigns_truly_off": _mean_off(said, brings, campaign),
        "campaigns_truly_off_trees_alone": _mean_off(alone, brings, campaign),
    }


def _mean_off(said: Floats, came: Floats, campaign: Any) -> float:
    n = np.bincount(campaign)
    return float(np.mean(np.abs(np.bincount(campaign, weights=said - came)) / n) / came.mean())


def measure_at_apply(seeds: Sequence[int], users: int) -> dict[str, float]:
    """Value of applicants before anybody decided on them, means over the worlds.

    `grant_gini` and `given_gini` rank by each factor alone, `ceiling_gini` is that of trees that were told
    everything, `grant_auc` how well a grant is told from a denial. `campaigns_off` is what the campaign that
    was met worst is off by, drawn to all of them; `campaigns_raw` the mean distance of campaigns as they
    are, each as a part of what it brought, and `campaigns_chance` what chance alone makes of that;
    `campaigns_mean_off` is that distance as a part of what campaigns bring on average.
    """
    return _mean([_at_apply(applicants(seed, users, users, lives=LIVES)) for seed in seeds])


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
        **_by_campaign(strong, made),
    }


def _campaign_chance(made: World, weeks: Sequence[Met]) -> float:
    """√(2/π) standard errors of a campaign's mean, as a part of it: what is off where everything is right."""
    spread = float(made.value.std())
    off = [spread * np.sqrt(one.users) / one.came for one in weeks if one.came > 0]
    return float(np.sqrt(2 / np.pi) * np.mean(off))


def _ceiling(made: World) -> Floats:
    """The trees of the same users where everything they will have brought is known."""
    apart = kept_apart(made.whole, np.random.default_rng(5))
    (part,) = buckets(made.whole, (HORIZON_DAYS,))
    found = boosted(columns_of(made.whole), [part], apart)
    (said,), campaign = found.said, made.whole.words[CAMPAIGN]
    effects = left_over([Left(part.value - said, said, campaign.places)], len(campaign.kinds))
    return found.shift + predicted(found.trees, made.others) + effects[made.others.words[CAMPAIGN].places]


def _short(days: float, users: int, seed: int) -> dict[str, float]:
    made = world(seed, users, users, history_days=days)
    models = learned(made.users, LEARNING, np.random.default_rng(5))
    found = judged(values_of(models.of("trees"), made.others), made.value)
    return {
        "gini": found.gini,
        "score_gini": normalised_gini(made.score, made.value),
        "bias": found.bias,
    }
