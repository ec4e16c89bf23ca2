"""A made-up market in which a platform learns from one event of a lender's, and buys whom it ranks highest.

A person has a quality, an intent and a need, of which a platform sees a part in features. What the person
does follows from them: register, apply, be granted, borrow, repay or not. Times are hours from the install;
money is in units of which a repaid loan earns `EARNS` and a lost one costs `LOSES`. Every number of `Market`
is a guess that a reader may change; nothing here knows how the advisor reckons.
"""

from typing import Any, Protocol

import numpy as np
from msgspec import Struct

from lendsignal.simulate.chance import Flags, Floats, Ints, logistic

SIGNALS = (
    "registration",
    "application",
    "first_credit",
    "credit_top50",
    "credit_top20",
    "first_loan",
    "repayment",
    "value",
    "value_at_apply",
)
"""What a platform can be told of, from early to late; `value` comes with the first loan, `value_at_apply`
with the application: what the lender expects of an applicant before anybody decided."""

FORM = 0.5
"""The correlation of what an application tells with quality; the score of the review has 0.75."""

EARNS, LOSES = 12.0, 70.0
"""What a repaid loan earns and a lost one costs, per loan of about 80."""

TOP50, TOP20 = 0.55, 1.1
"""The scores from which a grant is in the best half, and in the best fifth."""

BINS = 8
"""How many different values are sent."""

CANDIDATES = 5
"""Persons on offer for each install: the platform takes one in five."""


class Market(Struct, frozen=True, kw_only=True):
    """One kind of market, and one campaign in it.

    `explained` is the part of quality, intent and need that the features tell. `intent_quality` is the
    correlation of intent with quality: above 0 in a new market, below in one where those who are keenest are
    those whom nobody else lends to. `manual` is the share of applications that a person decides, in
    `review_hours` at the median. `value_noise` is the spread of the sent value's logarithm around the best.
    """

    installs_a_day: int = 60
    days: int = 28
    window_days: float = 7.0
    explained: float = 0.15
    intent_quality: float = 0.3
    need_quality: float = -0.25
    manual: float = 0.35
    review_hours: float = 14.0
    value_noise: float = 0.0
    default_logit: float = -1.6
    default_quality: float = -0.9
    apply_logit: float = 0.2
    repeats: float = 2.0
    explored: float = 0.1
    features: int = 20


class Learner(Protocol):
    """A platform: it learns from labels, and says how much it wants each person."""

    def learn(self, features: Floats, labels: Floats) -> None:
        """Takes all persons bought so far, with the labels visible by now; 0 where there is none."""

    def wants(self, features: Floats) -> Floats:
        """A number for each person: the larger, the sooner bought."""


class People(Struct, frozen=True, kw_only=True):
    """Persons, one a row: what a platform sees of them, what they would do, and what they are worth.

    `hours[signal]` is when the platform would be told, from the install, `inf` where never; `sent[signal]`
    what it would be told (1, or a value). `worth` is the money made or lost on each, `predicted` what the
    lender's model says of it at the first loan (0 without one), `expected` its mean over all that chance
    could still do.
    """

    features: Floats
    hours: dict[str, Floats]
    sent: dict[str, Floats]
    worth: Floats
    predicted: Floats
    expected: Floats

    def label(self, signal: str, window_days: float) -> Floats:
        """What the platform is told within its window in the end."""
        return np.where(self.hours[signal] <= 24 * window_days, self.sent[signal], 0.0)


class Draws(Struct, frozen=True, kw_only=True):
    """How far each latent trait of a world leans on each feature, and the values sent by bin of the score;
    at the application by bin of what the form tells."""

    quality: Floats
    intent: Floats
    need: Floats
    edges: Floats
    values: Floats
    form_edges: Floats
    form_values: Floats


class World:
    """One market with its chance drawn: the same people for every signal that is tried in it."""

    def __init__(self, market: Market, seed: int) -> None:
        self.market = market
        self._seed = seed
        rng = np.random.default_rng([seed, 0])
        quality, other, third = np.linalg.qr(rng.standard_normal((market.features, 3)))[0].T
        reach = np.sqrt(market.explained)
        intent = _leaning(quality, other, market.intent_quality)
        need = _leaning(quality, third, market.need_quality)
        blank = Draws(
            quality=reach * quality,
            intent=reach * intent,
            need=reach * need,
            edges=np.zeros(BINS - 1),
            values=np.zeros(BINS),
            form_edges=np.zeros(BINS - 1),
            form_values=np.zeros(BINS),
        )
        self._draws = self._valued(blank, rng)

    def people(self, count: int, part: int) -> People:
        """That many persons on offer; the same `part` gives the same ones."""
        return _people(self.market, self._draws, count, np.random.default_rng([self._seed, 1, part]))

    def _valued(self, draws: Draws, rng: np.random.Generator) -> Draws:
        """What a lender would send: with the first loan the mean worth of borrowers of such a score, with the
        application that of applicants of such a form, granted or not."""
        count = 40_000
        traits = _traits(self.market, draws, count, rng)
        granted = traits.score > 0
        edges = np.quantile(traits.score[granted], np.linspace(0, 1, BINS + 1)[1:-1])
        bins = np.searchsorted(edges, traits.score[granted])
        worth = _per_loan(self.market, traits.quality, traits.need)[granted]
        come = np.prod(_steps(self.market, traits), axis=0)[granted]
        values = np.array([np.average(worth[bins == one], weights=come[bins == one]) for one in range(BINS)])
        register, apply, borrow = _steps(self.market, traits)
        form = _form(traits.quality, rng)
        form_edges = np.quantile(form, np.linspace(0, 1, BINS + 1)[1:-1])
        bins = np.searchsorted(form_edges, form)
        hoped = granted * borrow * _per_loan(self.market, traits.quality, traits.need)
        asks = register * apply
        form_values = [np.average(hoped[bins == one], weights=asks[bins == one]) for one in range(BINS)]
        return Draws(
            quality=draws.quality,
            intent=draws.intent,
            need=draws.need,
            edges=edges,
            values=values,
            form_edges=form_edges,
            form_values=np.array(form_values),
        )


class Outcome(Struct, frozen=True, kw_only=True):
    """What a campaign bought: `worth` is the mean expected money per install, `chance` that of taking
    whoever comes; `lift` the difference."""

    worth: float
    chance: float

    @property
    def lift(self) -> float:
        """Money per install above buying at random."""
        return self.worth - self.chance


class Offer(Struct, frozen=True, kw_only=True):
    """Who is on offer on each day of a campaign, in the order of coming; every signal meets the same."""

    people: People
    explored: Flags
    at_hours: Floats
    a_day: int


def offer_of(world: World, part: int = 0) -> Offer:
    """The people of a whole campaign, and which slots explore."""
    market = world.market
    rng = np.random.default_rng([part, 2])
    per_day = CANDIDATES * market.installs_a_day
    installs = market.days * market.installs_a_day
    return Offer(
        people=world.people(market.days * per_day, 1_000 + part),
        explored=rng.random(installs) < market.explored,
        at_hours=rng.random(installs) * 24,
        a_day=per_day,
    )


def campaign(market: Market, offer: Offer, signal: str, learner: Learner) -> Outcome:
    """Runs one campaign on one signal: each day the platform learns from what it was told, and then buys."""
    people, bought = offer.people, bought_by(market, offer, signal, learner)
    return Outcome(worth=float(people.expected[bought].mean()), chance=float(people.expected.mean()))


def bought_by(market: Market, offer: Offer, signal: str, learner: Learner) -> Ints:
    """Whom such a campaign buys: places in the offer, in the order of buying."""
    people, a_day, installs = offer.people, offer.a_day, market.installs_a_day
    hours, sent = people.hours[signal], people.sent[signal]
    bought = np.zeros(0, dtype=np.int64)
    since = np.zeros(0)
    for day in range(market.days):
        slots = slice(day * installs, (day + 1) * installs)
        offered = np.arange(day * a_day, (day + 1) * a_day)
        if len(bought):
            told = since + hours[bought] <= 24.0 * day
            inside = hours[bought] <= 24 * market.window_days
            learner.learn(people.features[bought], np.where(told & inside, sent[bought], 0.0))
            wants = learner.wants(people.features[offered])
            ranked = offered[np.argsort(-wants, kind="stable")]
        else:
            ranked = offered
        # Exploring takes whoever comes next; the rest goes to whom the platform wants most.
        exploring = int(offer.explored[slots].sum())
        best = ranked[: installs - exploring]
        rest = np.setdiff1d(offered, best, assume_unique=True)[:exploring]
        bought = np.concatenate([bought, best, rest])
        since = np.concatenate([since, 24.0 * day + offer.at_hours[slots]])
    return bought


class _Traits(Struct, frozen=True, kw_only=True):
    features: Floats
    quality: Floats
    intent: Floats
    need: Floats
    score: Floats


def _leaning(base: Floats, other: Floats, correlation: float) -> Floats:
    """A direction with that correlation to `base`; both given ones are of length one and at right angles."""
    return np.asarray(correlation * base + np.sqrt(1 - correlation**2) * other)


def _traits(market: Market, draws: Draws, count: int, rng: np.random.Generator) -> _Traits:
    features = rng.standard_normal((count, market.features))
    hidden = np.sqrt(1 - market.explained)
    rest = rng.standard_normal((3, count))
    quality_rest = rest[0]
    intent_rest = _leaning(rest[0], rest[1], market.intent_quality)
    need_rest = _leaning(rest[0], rest[2], market.need_quality)
    quality = features @ draws.quality + hidden * quality_rest
    need = features @ draws.need + hidden * need_rest
    return _Traits(
        features=features,
        quality=quality,
        intent=features @ draws.intent + hidden * intent_rest,
        need=need,
        score=0.75 * quality + 0.65 * rng.standard_normal(count) - 0.1 * need,
    )


def _form(quality: Floats, rng: np.random.Generator) -> Floats:
    rest = rng.standard_normal(len(quality))
    return np.asarray(FORM * quality + np.sqrt(1 - FORM**2) * rest)


def _default(market: Market, quality: Floats) -> Floats:
    return logistic(market.default_logit + market.default_quality * quality)


def _later(market: Market, quality: Floats) -> Floats:
    """The mean worth of one repeat loan: fewer of them are lost."""
    lost = logistic(market.default_logit - 1 + market.default_quality * quality)
    return np.asarray(EARNS * (1 - lost) - LOSES * lost)


def _per_loan(market: Market, quality: Floats, need: Floats) -> Floats:
    """The mean worth of who takes a first loan: that loan, and the repeats of who repays it."""
    lost = _default(market, quality)
    repeats = market.repeats * np.exp(0.3 * need)
    return np.asarray(-LOSES * lost + (1 - lost) * (EARNS + repeats * _later(market, quality)))


def _steps(market: Market, traits: _Traits) -> tuple[Floats, Floats, Floats]:
    """The chances to register, then to apply, and to borrow what was granted."""
    return (
        logistic(0.3 + traits.intent),
        logistic(market.apply_logit + traits.intent + 0.4 * traits.need),
        logistic(1 + 0.5 * traits.need),
    )


def _people(market: Market, draws: Draws, count: int, rng: np.random.Generator) -> People:
    traits = _traits(market, draws, count, rng)
    need, quality = traits.need, traits.quality
    register, apply, borrow = _steps(market, traits)
    registered = rng.random(count) < register
    applied = registered & (rng.random(count) < apply)
    granted = applied & (traits.score > 0)
    borrowed = granted & (rng.random(count) < borrow)
    lost = rng.random(count) < _default(market, quality)
    repaid = borrowed & ~lost
    repeats = np.where(repaid, rng.poisson(market.repeats * np.exp(0.3 * need)), 0)
    lost_repeats = rng.binomial(
        repeats, logistic(market.default_logit - 1 + market.default_quality * quality)
    )

    at = {"registration": _wait(rng, 0.07, 1.0, count)}
    soon = rng.random(count) < 0.5
    at["application"] = at["registration"] + np.where(
        soon, _wait(rng, 0.33, 0.8, count), _wait(rng, 72.0, 1.8, count)
    )
    decided = np.where(
        rng.random(count) < market.manual, _wait(rng, market.review_hours, 0.6, count), 8 / 3600
    )
    at["first_credit"] = at["application"] + decided
    at["value_at_apply"] = at["application"]
    at["credit_top50"] = at["credit_top20"] = at["first_credit"]
    at["first_loan"] = at["value"] = at["first_credit"] + _wait(rng, 0.05, 1.2, count)
    at["repayment"] = at["first_loan"] + 24 * np.where(rng.random(count) < 0.5, 14.0, 30.0)

    bins = np.searchsorted(draws.edges, traits.score)
    predicted = borrowed * draws.values[bins] * np.exp(market.value_noise * rng.standard_normal(count))
    form_bins = np.searchsorted(draws.form_edges, _form(quality, rng))
    happened: dict[str, Floats | Flags] = {
        "registration": registered,
        "application": applied,
        "first_credit": granted,
        "credit_top50": granted & (traits.score > TOP50),
        "credit_top20": granted & (traits.score > TOP20),
        "first_loan": borrowed,
        "repayment": repaid,
        "value": np.maximum(predicted, 0.0),
        "value_at_apply": applied * np.maximum(draws.form_values[form_bins], 0.0),
    }
    sent = {name: np.asarray(one, dtype=np.float64) for name, one in happened.items()}
    chance: Any = register * apply * _normal((0.75 * quality - 0.1 * need) / 0.65) * borrow
    return People(
        features=traits.features,
        hours={name: np.where(sent[name] > 0, at[name], np.inf) for name in SIGNALS},
        sent=sent,
        worth=np.where(borrowed & lost, -LOSES, 0.0)
        + EARNS * (repaid + repeats - lost_repeats)
        - LOSES * lost_repeats,
        predicted=predicted,
        expected=np.asarray(chance * _per_loan(market, quality, need)),
    )


def _wait(rng: np.random.Generator, median_hours: float, spread: float, count: int) -> Floats:
    return np.asarray(median_hours * np.exp(spread * rng.standard_normal(count)))


def _normal(x: Floats) -> Floats:
    from scipy.special import ndtr  # here: other worlds live without it

    return np.asarray(ndtr(x))
