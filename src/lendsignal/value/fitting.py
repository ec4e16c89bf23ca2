"""How the table of `likely` is made, out of a lender's own past.

Weights maximise the likelihood of the earliest part of history less `RIDGE`/2 · Σ weight² (iteratively
reweighted least squares; McCullagh and Nelder, "Generalized Linear Models", 2nd ed. 1989, section 2.5).
`slope` and `shift` are a logistic of the second part on the first one's scores (J. Platt, "Probabilistic
outputs for support vector machines", 1999), the threshold is chosen there as well, and the third part, which
nothing was chosen by, says what the model is worth.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.errors import LendsignalError
from lendsignal.value.likely import Facts, LikelyModel, Number, Word, probability

FIT_UNTIL, CHOOSE_UNTIL = 0.6, 0.8
"""Parts of history, by time: for the weights, for calibration and threshold, and for the verdict."""

RIDGE = 1.0
"""As if each weight had been seen to be 0 once: keeps a word with one grant from being a certainty."""

RARE = 20
"""A word seen less often is none of its own."""

LEAST = 200
"""Applications of each part, below which nothing is fitted."""

LEAST_CHOSEN = 50
"""Applications that a threshold must choose: of fewer the precision is hearsay."""

STEPS, ENOUGH = 50, 1e-8
"""Of the iteration: at most so many, or until no weight moves by more."""


class Unfit(LendsignalError):
    """History that no model can be fitted to, and why."""


class Applied(Struct, frozen=True):
    """One application that was undecided when it was to be judged, and whether it was granted in the end.

    `at_us` is when it came in, microseconds since 1970.
    """

    at_us: int
    granted: bool
    facts: Facts


class Fitted(Struct, frozen=True):
    """A model and the applications of the last part, which it has not seen, with what it says of each."""

    model: LikelyModel
    judged: Sequence[tuple[Applied, float]]
    chosen_from: int
    fitted_on: int


def fit(applications: Sequence[Applied], precision: float) -> Fitted:
    """The model of a lender's own past, with the lowest threshold whose choices are granted that often.

    Applications may come in any order. Raises `Unfit` where there are too few, or all end alike.
    """
    known = sorted(applications, key=lambda one: one.at_us)
    first, second = int(len(known) * FIT_UNTIL), int(len(known) * CHOOSE_UNTIL)
    parts = known[:first], known[first:second], known[second:]
    if min(map(len, parts)) < LEAST:
        needed = int(LEAST / (1 - CHOOSE_UNTIL))
        raise Unfit(f"{len(known):,} applications with a known end; {needed:,} or more are needed")
    for part in parts:
        if len({one.granted for one in part}) < 2:
            raise Unfit("all applications of a part of history ended alike: there is nothing to tell apart")
    raw = _weighed(parts[0])
    scores = np.array([_score(raw, one.facts) for one in parts[1]])
    granted = np.array([one.granted for one in parts[1]], dtype=np.float64)
    shift, slope = _solved(np.column_stack([np.ones_like(scores), scores]), granted, np.zeros(2))
    model = replace(raw, slope=float(slope), shift=float(shift))
    # By the same arithmetic as ever after: what lies exactly on the threshold must stay there.
    said = np.array([probability(model, one.facts) for one in parts[1]])
    model = replace(model, threshold=_threshold(said, granted, precision))
    judged = [(one, probability(model, one.facts)) for one in parts[2]]
    return Fitted(model, judged, len(parts[1]), len(parts[0]))


def _score(raw: LikelyModel, facts: Facts) -> float:
    """The logit before calibration."""
    p = probability(raw, facts)
    return float(np.log(p) - np.log1p(-p))


def _weighed(applications: Sequence[Applied]) -> LikelyModel:
    """The weights, without calibration or threshold."""
    numbers, words = _terms(applications)
    columns: list[np.ndarray[Any, Any]] = [np.ones(len(applications))]
    for name, mean, scale in numbers:
        values = [one.facts.get(name) for one in applications]
        known = np.array([isinstance(value, int | float) for value in values])
        told = np.array([value if isinstance(value, int | float) else mean for value in values])
        columns += [(told - mean) / scale, (~known).astype(np.float64)]
    for name, kinds in words:
        told_words = np.array([str(one.facts.get(name)) for one in applications], dtype=object)
        columns += [(told_words == kind).astype(np.float64) for kind in kinds]
    granted = np.array([one.granted for one in applications], dtype=np.float64)
    penalties = np.full(len(columns), RIDGE)
    penalties[0] = 0.0
    weights = iter(_solved(np.column_stack(columns), granted, penalties).tolist())
    intercept = next(weights)
    return LikelyModel(
        numbers=tuple(
            Number(name, mean, scale, next(weights), next(weights)) for name, mean, scale in numbers
        ),
        words=tuple(Word(name, {kind: next(weights) for kind in kinds}) for name, kinds in words),
        intercept=intercept,
        slope=1.0,
        shift=0.0,
        threshold=None,
    )


def _terms(
    applications: Sequence[Applied],
) -> tuple[list[tuple[str, float, float]], list[tuple[str, list[str]]]]:
    """The numbers that vary, with mean and standard deviation; and the words that are common enough."""
    names = sorted({name for one in applications for name in one.facts})
    numbers: list[tuple[str, float, float]] = []
    words: list[tuple[str, list[str]]] = []
    for name in names:
        values = [one.facts[name] for one in applications if name in one.facts]
        told = [float(value) for value in values if not isinstance(value, str)]
        if told:
            scale = float(np.std(told))
            if len(told) >= RARE and scale > 0:
                numbers.append((name, float(np.mean(told)), scale))
        else:
            often = Counter(map(str, values))
            kinds = sorted(kind for kind, n in often.items() if n >= RARE)
            if kinds:
                words.append((name, kinds))
    return numbers, words


def _solved(
    columns: np.ndarray[Any, Any], granted: np.ndarray[Any, Any], penalties: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """The weights of a logistic regression with a ridge, by Newton's steps."""
    weights = np.zeros(columns.shape[1])
    # A hair of ridge for all, so that two columns that say the same leave a step all the same.
    held = np.diag(penalties + 1e-9)
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(columns @ weights, -35, 35)))
        slope = columns.T @ (granted - p) - held @ weights
        curve = (columns * (p * (1 - p))[:, None]).T @ columns + held
        step = np.linalg.solve(curve, slope)
        # A long step leaves the bowl where everything is certain already.
        step *= min(1.0, 5.0 / max(float(np.max(np.abs(step))), 1e-12))
        weights = weights + step
        if float(np.max(np.abs(step))) < ENOUGH:
            break
    return weights


def _threshold(
    probabilities: np.ndarray[Any, Any], granted: np.ndarray[Any, Any], precision: float
) -> float | None:
    """The lowest probability from which on so large a part was granted."""
    order = np.argsort(-probabilities, kind="stable")
    hits = np.cumsum(granted[order])
    ranks = np.arange(1, len(order) + 1)
    sorted_ = probabilities[order]
    # Only where the next one is lower: equals are chosen together.
    ends = np.append(sorted_[1:] < sorted_[:-1], True)
    good = ends & (hits / ranks >= precision) & (ranks >= LEAST_CHOSEN)
    return float(sorted_[np.flatnonzero(good)[-1]]) if good.any() else None
