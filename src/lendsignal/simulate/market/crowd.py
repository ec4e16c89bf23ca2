"""The people on offer in a market: what a platform sees of them, what they would do and when, their worth.

A person has a quality, an intent and a need; what is done follows from these and from chance. Times are hours
from the first day's midnight. Worth is in prices of an install, and is the mean over all that a platform
cannot see: it chooses by what it sees, so that the rest is luck, and luck teaches nothing about a strategy.
"""

from collections.abc import Mapping

import numpy as np
from msgspec import Struct

from lendsignal.simulate.chance import Flags, Floats, logistic
from lendsignal.simulate.market.parameters import TIERS, Market

NEVER = np.inf
PROXY_AFTER = 0.5
"""Hours after an application at which the early proxy speaks."""

NODES = (7, 3, 3)
"""Points at which what nobody sees of quality, intent and need is tried: those of Gauss and Hermite."""

SAMPLE = 30_000
"""Persons out of whom the cuts of the tiers and the predicted values are taken."""

MONTH = 30 * 24.0

SCORE_NOISE = 0.65
"""Spread of what the lender's score takes for quality and is none."""


class Crowd(Struct, frozen=True, kw_only=True):
    """Persons, one a row, `a_day` of them on each day in its order.

    `at[event]` is when it happens, hours, `inf` where never. `price` is of the install and `shown` the hour
    at which it can be had. `returns`: registered before, on an installation that is gone. `moved` is when the
    new installation is given up for another. `worth` is what the lender makes of such a person in the mean,
    without what would have come anyway.
    """

    a_day: int
    features: Floats
    price: Floats
    shown: Floats
    at: Mapping[str, Floats]
    score: Floats
    returns: Flags
    moved: Floats
    borrows: Flags
    worth: Floats


class Scale(Struct, frozen=True, kw_only=True):
    """What the lender knows of scores beforehand: the cut of each tier, and the mean worth and fees of a
    grant by the score, as points of a line."""

    cuts: Mapping[str, float]
    scores: Floats
    predicted: Floats
    fees: Floats

    def value(self, what: str, score: Floats, bins: int) -> Floats:
        """What is sent as a value: one of `bins` amounts, never below 0."""
        edges = np.quantile(self.scores, np.linspace(0, 1, bins + 1)[1:-1])
        amounts = self.predicted if what == "predicted" else self.fees
        known = np.searchsorted(edges, self.scores)
        means = np.array([max(float(amounts[known == one].mean()), 0.0) for one in range(bins)])
        return np.asarray(means[np.searchsorted(edges, score)])


class World:
    """One market with its chance drawn. The same seed gives the same people, whatever is told of them."""

    def __init__(self, market: Market, seed: int) -> None:
        self.market = market
        self._seed = seed
        people = market.people
        rng = np.random.default_rng([seed, 0])
        shape = (people.features, 3)
        quality, other, third = np.linalg.qr(rng.standard_normal(shape))[0].T
        reach = np.sqrt(people.explained)
        self._quality = reach * quality
        self._intent = reach * _leaning(quality, other, people.intent_quality)
        self._need = reach * _leaning(quality, third, people.need_quality)
        self._hidden = _grid()
        self._crowds: dict[str, Crowd] = {}
        self.scale = self._scale(rng)

    def crowd(self, channel: str) -> Crowd:
        """Who is on offer at a channel, day by day; the same people whenever they are asked for."""
        known = self._crowds.get(channel)
        if known is None:
            ads = self.market.ads
            a_day = max(1, round(ads.offered * self.market.channel[channel].budget))
            rng = np.random.default_rng([self._seed, 1, *channel.encode()])
            begins = 24.0 * np.repeat(np.arange(ads.days, dtype=np.float64), a_day)
            known = self._crowds[channel] = self._crowd(a_day, begins, rng)
        return known

    def _scale(self, rng: np.random.Generator) -> Scale:
        lender = self.market.lender
        traits = self._traits(SAMPLE, rng)
        granted = traits.score > lender.cutoff
        score = traits.score[granted]
        cuts = {name: float(np.quantile(score, 1 - share / 100)) for name, share in TIERS.items()}
        worth = (_borrowing(traits) * _per_borrower(self.market, traits.quality, traits.need))[granted]
        lost = _lost(self.market, traits.quality)[granted]
        repeats = lender.repeats * np.exp(0.3 * traits.need[granted])
        fees = lender.loan * lender.fee * _borrowing(traits)[granted] * (1 + (1 - lost) * repeats)
        return Scale(cuts=cuts, scores=score, predicted=worth, fees=fees)

    def _traits(self, count: int, rng: np.random.Generator) -> "_Traits":
        people = self.market.people
        features = rng.standard_normal((count, people.features))
        quality, intent, need = self._of(features, rng.standard_normal((3, count)))
        return _Traits(
            features=features,
            quality=quality,
            intent=intent,
            need=need,
            score=_foreseen(quality, need) + SCORE_NOISE * rng.standard_normal(count),
        )

    def _of(self, features: Floats, rest: Floats) -> tuple[Floats, Floats, Floats]:
        """Quality, intent and need of people with those features, and with `rest` for what nobody sees."""
        people = self.market.people
        hidden = np.sqrt(1 - people.explained)
        return (
            features @ self._quality + hidden * rest[0],
            features @ self._intent + hidden * _leaning(rest[0], rest[1], people.intent_quality),
            features @ self._need + hidden * _leaning(rest[0], rest[2], people.need_quality),
        )

    def _worth(self, features: Floats, returns: Flags, before: Flags) -> Floats:
        """The mean worth of people with those features, over all that nobody sees of them.

        Who borrowed before was good enough for it: the mean is over those who were.
        """
        market = self.market
        whole, good = np.zeros(len(features)), np.zeros(len(features))
        for weight, point in self._hidden:
            quality, intent, need = self._of(features, point)
            grant = _normal((_foreseen(quality, need) - market.lender.cutoff) / SCORE_NOISE)
            register = np.where(returns, 1.0, logistic(market.journey.register + intent))
            applies = logistic(market.journey.apply + intent + 0.4 * need) * logistic(1 + 0.5 * need)
            loans = np.where(
                before,
                (1 + market.lender.repeats) * _later(market, quality),
                _per_borrower(market, quality, need),
            )
            whole += weight * register * applies * grant * loans
            good += weight * grant
        mean = np.where(before, whole / good, whole)
        return np.asarray(mean * np.where(returns, 1 - market.people.anyway, 1.0))

    def _crowd(self, a_day: int, begins: Floats, rng: np.random.Generator) -> Crowd:
        count = len(begins)
        market, people, lender = self.market, self.market.people, self.market.lender
        traits = self._traits(count, rng)
        returns = rng.random(count) < people.returning
        before = returns & (traits.score > lender.cutoff) & (rng.random(count) < people.borrowed_before)
        register = np.where(returns, 1.0, logistic(market.journey.register + traits.intent))
        apply = logistic(market.journey.apply + traits.intent + 0.4 * traits.need)
        borrow = _borrowing(traits)
        registered = rng.random(count) < register
        applied = registered & (rng.random(count) < apply)
        granted = applied & (traits.score > lender.cutoff)
        borrows = granted & (rng.random(count) < borrow)
        repaid = borrows & (rng.random(count) >= _lost(market, traits.quality))
        shown = begins + _hour_of_day(count, rng)
        at = self._times(shown, traits.score, rng)
        seen = _looks(traits.features, self._quality)
        price = np.exp(market.ads.price_spread * rng.standard_normal(count) + market.ads.elasticity * seen)
        fresh = ~before
        happens = {
            "registration": registered & ~returns,
            "application": applied,
            "likely_credit": applied & fresh & ((at["first_credit"] <= at["likely_credit"]) & granted),
            "first_credit": granted & fresh,
            **{name: granted & fresh & (traits.score > cut) for name, cut in self.scale.cuts.items()},
            "first_loan": borrows & fresh,
            "disbursement": borrows,
            "repayment": repaid,
        }
        foreseen = traits.score + market.journey.proxy_noise * rng.standard_normal(count)
        happens["likely_credit"] |= applied & fresh & (foreseen > lender.cutoff + market.journey.proxy_noise)
        return Crowd(
            a_day=a_day,
            features=traits.features,
            price=price,
            shown=shown,
            at={name: np.where(one, at[name], NEVER) for name, one in happens.items()},
            score=traits.score,
            returns=returns,
            moved=shown + rng.exponential(MONTH / max(market.phones.changed_a_month, 1e-9), count),
            borrows=borrows,
            worth=self._worth(traits.features, returns, before),
        )

    def _times(self, shown: Floats, score: Floats, rng: np.random.Generator) -> dict[str, Floats]:
        """When each step would be, hours; whether it is taken is another question."""
        journey, lender = self.market.journey, self.market.lender
        count = len(shown)
        registration = shown + _wait(rng, 4 / 60, 1.0, count)
        soon = rng.random(count) < journey.soon
        application = registration + np.where(
            soon,
            _wait(rng, journey.soon_minutes / 60, journey.soon_spread, count),
            _wait(rng, 24 * journey.later_days, journey.later_spread, count),
        )
        automatic = application + _wait(
            rng, journey.automatic_seconds / 3600, journey.automatic_spread, count
        )
        review = _wait(rng, journey.review_minutes / 60, journey.review_spread, count)
        by_hand = _desk(application, journey.desk_opens, journey.desk_closes) + review
        granted = np.where(rng.random(count) < journey.manual, by_hand, automatic)
        tomorrow = 24 * np.floor(granted / 24) + 24 + journey.desk_opens
        next_day = rng.random(count) < journey.payout_next_day
        at_once = granted + _wait(rng, journey.payout_minutes / 60, journey.payout_spread, count)
        paid = np.where(next_day, tomorrow, at_once)
        due = np.where(rng.random(count) < lender.due_short, lender.due_days, lender.due_days_long)
        return {
            "registration": registration,
            "application": application,
            "likely_credit": application + PROXY_AFTER,
            "first_credit": granted,
            **dict.fromkeys(TIERS, granted),
            "first_loan": paid,
            "disbursement": paid,
            "repayment": paid + 24 * due,
        }


class _Traits(Struct, frozen=True, kw_only=True):
    features: Floats
    quality: Floats
    intent: Floats
    need: Floats
    score: Floats


def _foreseen(quality: Floats, need: Floats) -> Floats:
    """What the lender's score sees: part of quality, and it keeps away from need."""
    return np.asarray(0.75 * quality - 0.1 * need)


def _grid() -> list[tuple[float, Floats]]:
    """Three independent standard normal numbers as weighted points: the weights sum to 1."""
    axes = [np.polynomial.hermite_e.hermegauss(count) for count in NODES]
    places = np.stack(np.meshgrid(*(nodes for nodes, _ in axes), indexing="ij"), axis=-1).reshape(-1, 3)
    weights = np.einsum("i,j,k->ijk", *(weights for _, weights in axes)).ravel()
    return list(zip((weights / weights.sum()).tolist(), places, strict=True))


def _normal(x: Floats) -> Floats:
    from scipy.special import ndtr  # here: who only reads the parameters lives without it

    return np.asarray(ndtr(x))


def _looks(features: Floats, quality: Floats) -> Floats:
    """How good a person looks to whoever sees the features, in standard deviations."""
    length = float(np.linalg.norm(quality))
    return np.asarray(features @ quality / length) if length else np.zeros(len(features))


def _leaning(base: Floats, other: Floats, correlation: float) -> Floats:
    """A direction with that correlation to `base`, where the two are independent and of one spread."""
    return np.asarray(correlation * base + np.sqrt(1 - correlation**2) * other)


def _lost(market: Market, quality: Floats) -> Floats:
    return logistic(market.lender.default + market.lender.default_quality * quality)


def _later(market: Market, quality: Floats) -> Floats:
    """The mean worth of one later loan."""
    lender = market.lender
    lost = logistic(lender.default + lender.later_default + lender.default_quality * quality)
    return np.asarray(_earned(market) * (1 - lost) - _gone(market) * lost)


def _per_borrower(market: Market, quality: Floats, need: Floats) -> Floats:
    """The mean worth of who takes a first loan: that loan, and the later ones of who repays it."""
    lost = _lost(market, quality)
    repeats = market.lender.repeats * np.exp(0.3 * need)
    return np.asarray(
        -_gone(market) * lost + (1 - lost) * (_earned(market) + repeats * _later(market, quality))
    )


def _earned(market: Market) -> float:
    return market.lender.loan * (market.lender.fee - market.lender.cost)


def _gone(market: Market) -> float:
    return market.lender.loan * (1 - market.lender.recovered + market.lender.cost)


def _borrowing(traits: _Traits) -> Floats:
    """The chance of taking what was granted."""
    return logistic(1 + 0.5 * traits.need)


def _hour_of_day(count: int, rng: np.random.Generator) -> Floats:
    """Most around noon, least at night: the activity of a public loan book, as a cosine."""
    hours = np.arange(24)
    weights = 1 + 0.8 * np.cos(2 * np.pi * (hours - 12) / 24)
    return np.asarray(rng.choice(24, count, p=weights / weights.sum()) + rng.random(count))


def _desk(arrives: Floats, opens: float, closes: float) -> Floats:
    """When somebody takes it up: at once while the desk is open, else when it opens next."""
    day, hour = np.floor(arrives / 24), arrives % 24
    return np.where(hour < opens, 24 * day + opens, np.where(hour < closes, arrives, 24 * (day + 1) + opens))


def _wait(rng: np.random.Generator, median_hours: float, spread: float, count: int) -> Floats:
    return np.asarray(median_hours * np.exp(spread * rng.standard_normal(count)))
