"""From the users of every moment and currency to one model, with the evidence for each part of it."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from hashlib import blake2b

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.value.bayes import Prior
from lendsignal.value.gates import FACTORS, NotJudged, Trial, forward_factors, tried
from lendsignal.value.judging import LEAST_OF_A_WEEK, Judgement, campaign_weeks, judged
from lendsignal.value.low import Held, held, lows_of
from lendsignal.value.settings import WorthSettings
from lendsignal.value.shaping import shipping_of
from lendsignal.value.training import Kind, Learning, TooFewUsers, learned, values_of
from lendsignal.value.users import DAY_US, Users
from lendsignal.value.worth import Moment, Promotion, ScopeModel, Shipped, Shipping, ValueModel

SEED = 20_221
"""Of the draw of users kept apart: the same rows make the same model."""

SHAPED_DAYS = 28.0
"""Users of the last so many days make the bins that values are told in."""


class Evidence(Struct, frozen=True, kw_only=True):
    """What is known of the model of one scope: which kind it is and why, and what it showed.

    `trials` are those of each kind on two later weeks; empty, with the reason in `note`, where history is
    too short for one. `value` is the mean realised value of the users it is known of.
    """

    moment: Moment
    currency: str
    kind: Kind
    learned: str
    users: int
    mature: int
    value: float | None
    trials: tuple[Trial, ...]
    note: str = ""

    @property
    def trial(self) -> Trial | None:
        """The trial of the kind that was chosen."""
        return next((one for one in self.trials if one.kind == self.kind), None)

    @property
    def passed(self) -> bool:
        """Whether it was tried and every gate holds."""
        return self.trial is not None and self.trial.passed


class Made(Struct, frozen=True):
    """A model, and the evidence for each of its scopes; `too_few` says why others have none."""

    model: ValueModel
    evidence: tuple[Evidence, ...]
    too_few: tuple[str, ...]


Everybody = Mapping[Moment, Mapping[str, Users]]
"""Users by moment and currency."""


def made(
    everybody: Everybody,
    settings: WorthSettings,
    made_us: int,
    *,
    champion: ValueModel | None = None,
    isotonic: bool = False,
) -> Made:
    """The model of these users: trees where they were met better than by the look-up, else the look-up."""
    scopes: dict[Moment, dict[str, ScopeModel]] = {}
    evidence: list[Evidence] = []
    too_few: list[str] = []
    for moment, by_currency in everybody.items():
        for currency, users in by_currency.items():
            learning = learning_of(settings, currency, isotonic=isotonic)
            before = None if champion is None else champion.scopes.get(moment, {}).get(currency)
            try:
                model, one = _scope(moment, currency, users, learning, settings, before)
            except TooFewUsers as error:
                too_few.append(f"{moment} in {currency}: {error}")
                continue
            scopes.setdefault(moment, {})[currency] = model
            evidence.append(one)
    unnamed = ValueModel(
        version="",
        made_us=made_us,
        horizon_days=settings.horizon / timedelta(days=1),
        properties=tuple(settings.properties),
        scopes=scopes,
    )
    return Made(replace(unnamed, version=version_of(unnamed)), tuple(evidence), tuple(too_few))


def learning_of(settings: WorthSettings, currency: str, *, isotonic: bool = False) -> Learning:
    """How the users of a currency are learned from."""
    expected = settings.prior.get(currency)
    return Learning(
        horizon_days=settings.horizon / timedelta(days=1),
        prior=None if expected is None else Prior(expected),
        isotonic=isotonic,
    )


def _scope(
    moment: Moment,
    currency: str,
    users: Users,
    learning: Learning,
    settings: WorthSettings,
    before: ScopeModel | None,
) -> tuple[ScopeModel, Evidence]:
    grace_days = settings.grace / timedelta(days=1)
    trials: tuple[Trial, ...] = ()
    note = ""
    try:
        trials = tried(users, learning, grace_days, np.random.default_rng(SEED), champion=before)
    except NotJudged as error:
        note = f"not tried: {error}"
    found = learned(users, learning, np.random.default_rng(SEED))
    trees_won = any(one.kind == "trees" and one.passed for one in trials)
    model = _proven(found.of("trees" if trees_won else "lookup"), trials)
    value = users.value(learning.horizon_days)
    known = ~np.isnan(value)
    return model, Evidence(
        moment=moment,
        currency=currency,
        kind=model.kind,
        learned=model.learned,
        users=len(users),
        mature=int(known.sum()),
        value=float(value[known].mean()) if known.any() else None,
        trials=trials,
        note=note,
    )


def _proven(model: ScopeModel, trials: Sequence[Trial]) -> ScopeModel:
    """The model, with its low side only where later users met it."""
    low = next((one.low for one in trials if one.kind == model.kind), None)
    return model if low is not None and low.holds else replace(model, bands=())


def version_of(content: Struct) -> str:
    """A name that follows from the content."""
    return blake2b(msgspec.json.encode(content, order="sorted"), digest_size=6).hexdigest()


class Forward(Struct, frozen=True, kw_only=True):
    """What became of users whom a model said something of before anything of them was known.

    `factor` is what coming values are to be multiplied by, `campaigns` the same for campaigns of their own.
    `low` is how the cautious side was met, `None` where the model has none.
    """

    moment: Moment
    currency: str
    judgement: Judgement | None
    factor: float = 1.0
    campaigns: Mapping[str, float] = {}
    low: Held | None = None


def forward(model: ValueModel, everybody: Everybody) -> list[Forward]:
    """How the model did on users who came after it was made and whose value is known by now."""
    found = []
    for moment, scopes in model.scopes.items():
        for currency, scope in scopes.items():
            users = everybody.get(moment, {}).get(currency)
            found.append(_forward(moment, currency, scope, model, users))
    return found


def _forward(
    moment: Moment, currency: str, scope: ScopeModel, model: ValueModel, users: Users | None
) -> Forward:
    if users is None:
        return Forward(moment=moment, currency=currency, judgement=None)
    value = users.value(model.horizon_days)
    later = ~np.isnan(value) & (users.at_us > model.made_us)
    if int(later.sum()) < LEAST_OF_A_WEEK:
        return Forward(moment=moment, currency=currency, judgement=None)
    mine = users.chosen(later)
    said, came = values_of(scope, mine), value[later]
    weeks = campaign_weeks(said, came, np.zeros_like(mine.at_us), mine.campaign)
    factors = forward_factors(said, came, weeks)
    overall = float(np.clip(came.sum() / said.sum(), *FACTORS)) if said.sum() > 0 else 1.0
    return Forward(
        moment=moment,
        currency=currency,
        judgement=judged(said, came),
        factor=overall,
        campaigns={week.campaign: one for week, one in zip(weeks, factors, strict=True) if week.campaign},
        low=held(lows_of(scope.bands, said), came),
    )


def allowed_of(evidence: Sequence[Evidence], *, unproven: bool = False) -> dict[Moment, frozenset[str]]:
    """The scopes that may be told of, by moment; with `unproven` those too that could not be tried."""
    found: dict[Moment, frozenset[str]] = {}
    for one in evidence:
        if one.passed or (unproven and not one.trials):
            found[one.moment] = found.get(one.moment, frozenset()) | {one.currency}
    return found


def why_not(evidence: Evidence) -> str:
    """Why a scope is not told of."""
    trial = evidence.trial
    if trial is None:
        return evidence.note or "it was never tried"
    failed = [gate.name for gate in trial.gates if not gate.holds]
    return f"its trial failed ({', '.join(failed)})" if failed else "too few users are worth something"


class NothingToPromote(TooFewUsers):
    """A model of which no scope may speak."""


def promotion_of(
    model: ValueModel,
    allowed: Mapping[Moment, frozenset[str]],
    everybody: Everybody,
    made_us: int,
    before: Promotion | None = None,
) -> Promotion:
    """The model as it is to be told of, in the moments and currencies that are `allowed`.

    Bins are made of what it says of the users of the last four weeks, and laid over what was told `before`.
    Raises `NothingToPromote` where no scope is left.
    """
    corrections = {(one.moment, one.currency): one for one in forward(model, everybody)}
    shipped: dict[Moment, dict[str, Shipped]] = {}
    for moment, scopes in model.scopes.items():
        for currency, scope in scopes.items():
            users = everybody.get(moment, {}).get(currency)
            if currency not in allowed.get(moment, frozenset()) or users is None:
                continue
            correction = corrections[moment, currency]
            recent = users.chosen(users.at_us > users.at_us.max() - int(SHAPED_DAYS * DAY_US))
            values = correction.factor * values_of(scope, recent)
            shipping = shipping_of(values, made_us, _shipping(before, moment, currency))
            if shipping is not None:
                shipped.setdefault(moment, {})[currency] = Shipped(
                    shipping=shipping, factor=correction.factor, campaigns=correction.campaigns
                )
    if not shipped:
        raise NothingToPromote(
            "no moment and currency of the model passed, with enough users worth something"
        )
    unnamed = Promotion(version="", made_us=made_us, model=model, shipped=shipped)
    return replace(unnamed, version=version_of(unnamed))


def _shipping(before: Promotion | None, moment: Moment, currency: str) -> Shipping | None:
    shipped = None if before is None else before.shipped.get(moment, {}).get(currency)
    return None if shipped is None else shipped.shipping
