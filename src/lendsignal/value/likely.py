"""P(grant) of an application that still waits for its decision: a plain logistic with a frozen table.

The early proxy `likely_credit` tells platforms of an application that will very likely be granted, where the
review takes so long that the grant itself would come too late. `fitting` makes the table of weights;
`probability` reads it with nothing but arithmetic, so that a decision replays to the same answer.

    logit p = slope · (intercept + Σ weight · (value − mean) / scale + Σ weight of the word) + shift
"""

from collections.abc import Mapping
from math import exp, isfinite, log1p
from typing import TypeAlias

from msgspec import Struct

from lendsignal.model import Event

Facts: TypeAlias = Mapping[str, str | float]
"""What was known of an application when it came in, by name; what is not known is missing."""


def facts_of(event: Event, loans: int) -> dict[str, str | float]:
    """What is known of an application when it comes in: of itself, and how many `loans` its user had."""
    facts: dict[str, str | float] = {"loans": log1p(loans), "app": event.app or event.brand}
    if event.product is not None:
        facts["product"] = event.product
    if event.amount is not None:
        facts[f"amount {event.currency or ''}".strip()] = log1p(max(float(event.amount), 0.0))
    if event.term_days is not None:
        facts["term_days"] = float(event.term_days)
    if event.score is not None:
        # Another version of the score is another scale.
        facts[f"score {event.score_version or ''}".strip()] = event.score
    return facts


class Number(Struct, frozen=True, array_like=True):
    """The weight of a number, and of its being unknown; a known value counts as (value − mean) / scale."""

    name: str
    mean: float
    scale: float
    weight: float
    unknown: float


class Word(Struct, frozen=True, array_like=True):
    """The weights of the words of a fact; any other word, and none, weighs nothing."""

    name: str
    weights: Mapping[str, float]


class LikelyModel(Struct, frozen=True, kw_only=True):
    """A frozen table. `threshold` is `None` where no probability reached the wanted precision."""

    numbers: tuple[Number, ...]
    words: tuple[Word, ...]
    intercept: float
    slope: float
    shift: float
    threshold: float | None

    def likely(self, facts: Facts) -> bool:
        """Whether the application is likely enough to be told of."""
        return self.threshold is not None and probability(self, facts) >= self.threshold


def probability(model: LikelyModel, facts: Facts) -> float:
    """P(grant) of an application with these facts, from 0 to 1."""
    found = model.intercept
    for number in model.numbers:
        value = facts.get(number.name)
        if isinstance(value, int | float) and isfinite(value):
            found += number.weight * (value - number.mean) / number.scale
        else:
            found += number.unknown
    for word in model.words:
        found += word.weights.get(str(facts.get(word.name)), 0.0)
    return _logistic(model.slope * found + model.shift)


def _logistic(logit: float) -> float:
    return 1 / (1 + exp(-max(-35.0, min(35.0, logit))))
