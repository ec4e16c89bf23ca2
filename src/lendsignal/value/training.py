"""From users and their loans to a model: which method their history allows, and what it makes of them.

- `buckets` where at least `MATURE` users are followed for the whole horizon: results by when loans fall due,
  each span learned from everybody who is followed for long enough (`users.buckets`).
- `loans` before that: loan after loan (`recursion`); look-up and trees then learn what that expects.
- `prior` before there are loans: the look-up draws what there is to what finance expects (`bayes.Prior`).

Applicants are worth P(grant)·E[V | granted] + (1 − P)·(what those bring who are not granted soon). Both are
learned by what an application tells: P of every applicant who has waited for long enough, E[V | granted] of
those who were granted, by the method that their history allows.

What trees leave over of a campaign is added where the facts name it (`campaigns`), and `low` says of all how
far apart users are of whom the same is said.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.errors import LendsignalError
from lendsignal.value.bayes import LEVELS, Prior, looked_up, lookup
from lendsignal.value.boosting import boosted, columns_of, grown, kept_apart, predicted, predicted_of
from lendsignal.value.campaigns import Left, by_name, left_over
from lendsignal.value.low import bands_of
from lendsignal.value.recursion import TooFewLoans, expected
from lendsignal.value.users import Floats, Part, Truths, Users, buckets
from lendsignal.value.worth import CAMPAIGN, GrantChance, ScopeModel, Trees

MATURE = 2_500
"""Users followed for the whole horizon from which on the last span can be learned."""

SPANS = (20 / 90, 35 / 90, 60 / 90, 1.0)
"""Where the horizon is split."""

LEAST_FOR_TREES = 1_000
"""Users below which there are no trees."""

DECIDED_DAYS = 14.0
"""A grant that comes within so many days of the application is the one that P(grant) speaks of."""

LEAST_FOR_BANDS = 1_000
"""Mature users kept apart below which all mature ones say how far apart users are."""

LEAST_FOR_KNOTS = 2_000
"""Mature users kept apart below which an isotonic calibration would follow their chance."""

Kind = Literal["lookup", "trees"]
Learned = Literal["buckets", "loans", "prior"]


class TooFewUsers(LendsignalError):
    """History that no value can be learned from, and nobody said what to expect instead."""


class Learning(Struct, frozen=True, kw_only=True):
    """How a model is to be learned: value within `horizon_days`, the levels of the look-up, what finance
    expects where there is no history, and whether trees are calibrated along steps as well."""

    horizon_days: float
    levels: tuple[str, ...] = LEVELS
    prior: Prior | None = None
    isotonic: bool = False


class Candidates(Struct, frozen=True):
    """Both models of one scope: the look-up, and trees where there are enough users."""

    lookup: ScopeModel
    trees: ScopeModel | None

    def of(self, kind: Kind) -> ScopeModel:
        """The model of a kind; the look-up where there are no trees."""
        return self.trees if kind == "trees" and self.trees is not None else self.lookup


def learned(
    users: Users, learning: Learning, chance: np.random.Generator, *, trees: bool = True
) -> Candidates:
    """The models of users of one currency, by everything that is known of them.

    Raises `TooFewUsers` where there are neither loans nor a prior, `LibraryMissing` where LightGBM is.
    """
    if users.granted is not None:
        return _of_applicants(users, users.granted <= DECIDED_DAYS, learning, chance, trees=trees)
    apart = kept_apart(users, chance)
    found = _of_borrowers(users, learning, apart, None, trees=trees)
    return _with_bands(found, users, learning, apart)


def _of_borrowers(
    users: Users, learning: Learning, apart: Truths, hint: Floats | None, *, trees: bool
) -> Candidates:
    """The models of users of whom every one was granted; `hint` as in `campaigns`."""
    how, parts = parts_of(users, learning, apart)
    prior = learning.prior if how == "prior" else None
    table = lookup(users, parts, learning.levels, prior)
    plain = ScopeModel(kind="lookup", learned=how, lookup=table, users=len(users))
    if not trees or how == "prior" or len(users) < LEAST_FOR_TREES:
        return Candidates(plain, None)
    columns = columns_of(users)
    if not columns.matrix.shape[1]:
        return Candidates(plain, None)
    found = boosted(columns, parts, apart)
    strong = ScopeModel(
        kind="trees", learned=how, lookup=table, trees=found.trees, shift=found.shift, users=len(users)
    )
    campaign = users.words.get(CAMPAIGN)
    if campaign is not None:
        left = [
            Left(part.value - said, said, campaign.places[part.users])
            for part, said in zip(parts, found.said, strict=True)
        ]
        effects = left_over(left, len(campaign.kinds), hint)
        strong = replace(strong, campaigns=by_name(effects, campaign))
    if learning.isotonic:
        strong = _stepped(strong, users, learning.horizon_days, apart)
    return Candidates(plain, strong)


def _with_bands(found: Candidates, users: Users, learning: Learning, apart: Truths) -> Candidates:
    """The models with their low side, by users who were kept apart where they are many."""
    value = users.value(learning.horizon_days)
    mature = ~np.isnan(value)
    mine = mature & apart if int((mature & apart).sum()) >= LEAST_FOR_BANDS else mature
    judges, came = users.chosen(mine), value[mine]

    def of(model: ScopeModel) -> ScopeModel:
        return replace(model, bands=bands_of(values_of(model, judges), came))

    return Candidates(of(found.lookup), None if found.trees is None else of(found.trees))


def _of_applicants(
    users: Users, granted: Truths, learning: Learning, chance: np.random.Generator, *, trees: bool
) -> Candidates:
    """The models of those who were granted, each with how likely an applicant is to be one of them."""
    decided = users.followed >= DECIDED_DAYS
    if not decided.any():
        raise TooFewUsers(f"nobody applied {DECIDED_DAYS:g} days and more before the last settled day")
    value = users.value(learning.horizon_days)
    late = value[~granted & ~np.isnan(value)]
    otherwise = float(late.mean()) if len(late) else 0.0
    share = Part(decided, granted[decided].astype(np.float64), DECIDED_DAYS)
    table = GrantChance(lookup=lookup(users, [share], learning.levels))
    apart = kept_apart(users, chance)
    by_trees, hint = _chance_by_trees(table, users, share, apart) if trees else (table, None)
    given = _of_borrowers(
        replace(users.chosen(granted), granted=None), learning, apart[granted], hint, trees=trees
    )
    found = Candidates(
        replace(given.lookup, grant=table, otherwise=otherwise, users=len(users)),
        None
        if given.trees is None
        else replace(given.trees, grant=by_trees, otherwise=otherwise, users=len(users)),
    )
    return _with_bands(found, users, learning, apart)


def _chance_by_trees(
    table: GrantChance, users: Users, share: Part, apart: Truths
) -> tuple[GrantChance, Floats | None]:
    """P(grant) as the logistic of a sum of trees, and what is left of it over in each campaign.

    The table alone where all were decided alike or are too few; `None` where no facts name campaigns.
    """
    columns = columns_of(users)
    if len(users) < LEAST_FOR_TREES or not columns.matrix.shape[1] or np.ptp(share.value) == 0:
        return table, None
    rows = np.flatnonzero(share.users)
    found = grown(columns, rows, share.value, apart[rows], "binary")
    trees = Trees(numbers=columns.numbers, words=columns.words, trees=tuple(found))
    campaign = users.words.get(CAMPAIGN)
    if campaign is None:
        return replace(table, trees=trees), None
    said = _sigma(predicted_of(trees, columns.matrix[rows]))
    effects = left_over([Left(share.value - said, said, campaign.places[rows])], len(campaign.kinds))
    return replace(table, trees=trees, campaigns=by_name(effects, campaign)), effects


def parts_of(users: Users, learning: Learning, apart: Truths) -> tuple[Learned, Sequence[Part]]:
    """What is learned from, and how it came about."""
    horizon = learning.horizon_days
    if int((users.followed >= horizon).sum()) >= MATURE:
        return "buckets", buckets(users, [part * horizon for part in SPANS])
    try:
        return "loans", [expected(users, horizon, apart)]
    except TooFewLoans as error:
        if learning.prior is None:
            raise TooFewUsers(f"{len(users):,} users: {error}, or a prior value") from None
    value = users.value(horizon)
    known = ~np.isnan(value)
    return "prior", [Part(known, value[known], horizon)]


def values_of(model: ScopeModel, users: Users) -> Floats:
    """What the model says of every user: as `worth.score_of`, for many at once."""
    value = _values_of_granted(model, users)
    if model.grant is None:
        return value
    chance = chances_of(model.grant, users)
    found: Floats = chance * value + (1 - chance) * model.otherwise
    return found


def chances_of(model: GrantChance, users: Users) -> Floats:
    """P(grant) of every applicant: as `worth.chance_of`, for many at once."""
    if model.trees is not None:
        said = _sigma(predicted(model.trees, users))
        return np.clip(said + _of_campaigns(model.campaigns, users), 0.0, 1.0)
    return np.clip(looked_up(model.lookup, users), 0.0, 1.0)


def _sigma(logit: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-np.clip(logit, -35, 35)))
    return found


def _of_campaigns(campaigns: Mapping[str, float], users: Users) -> Floats:
    """What is added for each user's campaign."""
    campaign = users.words.get(CAMPAIGN)
    if campaign is None or not campaigns:
        return np.zeros(len(users))
    # Who names none is at place -1: the last one.
    effects = np.array([*(campaigns.get(name, 0.0) for name in campaign.kinds), 0.0])
    found: Floats = effects[campaign.places]
    return found


def _values_of_granted(model: ScopeModel, users: Users) -> Floats:
    if model.kind == "trees" and model.trees is not None:
        said = model.shift + predicted(model.trees, users)
        return _meant(said + _of_campaigns(model.campaigns, users), model.knots)
    return _meant(model.shift + looked_up(model.lookup, users), model.knots)


def _meant(said: Floats, knots: Sequence[tuple[float, float]]) -> Floats:
    if not knots:
        return said
    told, meant = np.array(knots).T
    found: Floats = np.interp(said, told, meant)
    return found


def _stepped(model: ScopeModel, users: Users, horizon_days: float, apart: Truths) -> ScopeModel:
    """The model with what is meant by what it says: the best rising steps over mature users kept apart.

    R. Barlow and others, "Statistical Inference under Order Restrictions", 1972: pool adjacent violators.
    """
    from sklearn.isotonic import isotonic_regression

    value = users.value(horizon_days)
    mine = apart & ~np.isnan(value)
    if int(mine.sum()) < LEAST_FOR_KNOTS:
        return model
    said = values_of(model, users.chosen(mine))
    order = np.argsort(said, kind="stable")
    steps = isotonic_regression(value[mine][order])
    # A knot in the middle of each step, so that users on it keep their order.
    _, place = np.unique(steps, return_inverse=True)
    knots = zip(
        np.bincount(place, weights=said[order]) / np.bincount(place),
        np.bincount(place, weights=steps) / np.bincount(place),
        strict=True,
    )
    return replace(model, knots=tuple((float(x), float(y)) for x, y in knots))
