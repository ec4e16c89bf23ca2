"""Which event an ad set should optimise for: a forecast of what each would earn, and how sure it is.

    lift_e = i · σ · ρ_e · r_e        r_e = √(n_e / (n_e + K_e))

`i` is how much better the best fifth of people is than all, in standard deviations; σ the spread of the part
of profit that can be foreseen; ρ_e how well the event points at it (`alignment`); r_e how well a platform has
learned the event from n_e conversions (the accuracy of a prediction from many small effects: H. D. Daetwyler
et al., PLoS ONE 3 (2008) e3395). n_e counts conversions that the platform was told of inside its window, each
half as much for every `half_life_days` since its install.

Two forms. *Simple*: ρ is guessed from the correlation of users, and K is the same for all events. *Features*:
ρ is that of the predictable parts, and K_e is smaller for an event in which people differ more:
K·(λ̄/p̄)/(λ_e/p_e).

It assumes that people are ranked by something near linear, one learner an ad set with nothing known from
other advertisers, a price that does not depend on the event, and a market that changes no faster than the
half-life.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.advise.alignment import LEAST, PLAIN_SPREAD, Alignment, Floats, Ints, alignment
from lendsignal.advise.platforms import Learning
from lendsignal.advise.surrogacy import Surrogacy, surrogacy

Form: TypeAlias = Literal["simple", "features"]
Verdict: TypeAlias = Literal["switch", "best", "keep", "no_clear_winner", "too_thin"]

HOURS = 24.0
RECENT_DAYS = 28.0
"""Over so many days the weekly count is taken."""

FEW = 12_000
"""Installs whose profit is known, below which a note says that the alignment is thin: two halves of 6,000."""

FEW_FOR_FEATURES = 6_000
"""Installs whose profit is known, below which λ̂ and ρ̂ are mostly noise: the simple form is taken."""

K_SPREAD = 0.35
"""The standard deviation of log K: nobody knows a platform's own K well."""

K_RANGE = (0.3, 3.0)
"""How far the K of one event may be from that of all: λ̂ is noisy where an event is rare."""

TIE = 0.02
"""Scores that are so little apart, relative to the best, are a tie: it goes to the event whose weekly count
tells most of what the ad set earns (`surrogacy`)."""

MANY_REVIEWS_LATE = 0.5
SAME_DAY = 0.9


class Rules(Struct, frozen=True, kw_only=True):
    """How the reckoning is done, and when it is enough to act on.

    `half_learned`: K, the conversions at which a platform knows half of what it could. `intensity`: i of
    buying the best fifth, 1.40; less the `explored` part. `sure` and `gain`: below this P(best), or this
    relative gain, the present event is kept, since a switch costs a learning phase; unless the best one is
    `better` by that gain in so many draws: then several may be the best, but the present one is not.
    """

    form: Form = "simple"
    half_learned: float = 100.0
    half_life_days: float = 14.0
    intensity: float = 1.40
    explored: float = 0.1
    sure: float = 0.6
    better: float = 0.9
    gain: float = 0.1
    dwell_days: int = 21


class Signal(Struct, frozen=True, kw_only=True):
    """One event of each install. Hours are from the install; `inf` where there was none.

    `hours`: when it happened. `told_hours`: when a platform knows. `asked_hours`: the application that it
    answers; `inf` for events that wait for no decision. `sent`: what a platform is told, 1 or a value; 0
    where nothing happened.
    """

    name: str
    hours: Floats
    told_hours: Floats
    asked_hours: Floats
    sent: Floats


class Installs(Struct, frozen=True, kw_only=True):
    """Installs, one a row: `age_days` by the moment of asking, stand-ins for what a platform sees, `profit`
    (0 for who was never granted, `nan` where not known yet), and the events. `groups`: the campaign of each
    by number, −1 for none, where campaigns are to be compared."""

    age_days: Floats
    features: Floats
    profit: Floats
    signals: tuple[Signal, ...]
    groups: Ints | None = None


class Figures(Struct, frozen=True, kw_only=True):
    """One event of one ad set.

    `events`: how many happened among `installs` old enough for the window, `share` of these installs that a
    platform was told of in time, `inside` the part of the events that came inside the window, `late` the part
    of them after 24 hours. `p50_hours`, `p90_hours` from the install to the platform's knowing; `None`
    without events. `per_week`: told inside the window, of late. `counted`: n_e. `rho` with its 80 % interval;
    `accuracy` is r. `lift`: money per install over buying at random, with its 80 % interval; `None` where
    profit shows no predictable part. `best`: P(best). `profit_error`: by how much profit per install is
    missed that is read off one week's count; `None` where too few campaigns say how the two go together.
    """

    name: str
    installs: int
    events: int
    share: float
    inside: float
    late: float
    p50_hours: float | None
    p90_hours: float | None
    per_week: float
    counted: float
    rho: float
    rho_low: float
    rho_high: float
    explained: float
    accuracy: float
    lift: float | None
    lift_low: float | None
    lift_high: float | None
    best: float
    profit_error: float | None = None

    @property
    def score(self) -> float:
        """ρ·r, by which events are ranked."""
        return self.rho * self.accuracy


class WhatIf(Struct, frozen=True, kw_only=True):
    """What would be best after a change, and how much more than today's best it would earn (relative)."""

    change: str
    best: str
    gain: float | None


class Choice(Struct, frozen=True, kw_only=True):
    """The advice for one ad set. `best` is the event that is likeliest to earn most; `None`: too thin.

    `gain` is what it would earn above `current`, relative; `None` where the present event is not known or
    earns nothing. `better` is the part of draws in which it earns more by `Rules.gain` at least.
    """

    verdict: Verdict
    best: str | None
    current: str | None
    gain: float | None
    better: float | None
    figures: tuple[Figures, ...]
    reasons: tuple[str, ...]
    what_if: tuple[WhatIf, ...]


class Learned(Struct, frozen=True, kw_only=True):
    """What all installs together say of each signal under one window: ρ, K, and draws of both; and what
    campaigns' differences say, where there are enough of them."""

    alignment: Alignment
    rho: Floats
    rho_draws: Floats
    half_learned: Floats
    surrogate: Surrogacy | None = None


def accuracy(counted: Floats, half_learned: Floats | float) -> Floats:
    """r = √(n / (n + K)), from 0 to 1."""
    return np.asarray(np.sqrt(counted / (counted + half_learned)))


def learned(installs: Installs, window_days: float, rules: Rules, rng: np.random.Generator) -> Learned | None:
    """What the installs whose profit is known say; `None` where fewer than `LEAST` are, or none made any.

    What an event points at is told by all of them, those behind the window too: the window takes away at
    random, and what is left of a late event is too little to tell by.
    """
    known = np.isfinite(installs.profit) & (installs.age_days >= window_days)
    profit = installs.profit[known]
    if len(profit) < LEAST or not profit.any():
        return None
    sent = np.column_stack([one.sent[known] for one in installs.signals])
    found = of_form(
        alignment(installs.features[known], sent, profit, rng), (sent != 0).mean(axis=0), rules, rng
    )
    if installs.groups is None:
        return found
    return replace(found, surrogate=surrogacy(installs.groups[known], sent, profit))


def of_form(found: Alignment, share: Floats, rules: Rules, rng: np.random.Generator) -> Learned:
    """ρ and K by the form that `rules` ask for; the simple one below `FEW_FOR_FEATURES` installs.

    `share` is p of each signal.
    """
    constant = np.full(len(share), rules.half_learned)
    if rules.form == "features" and found.installs >= FEW_FOR_FEATURES:
        return Learned(
            alignment=found,
            rho=found.rho,
            rho_draws=found.rho_draws,
            half_learned=_by_spread(found, share, rules),
        )
    # Two doubts: that of a correlation of so many users, on the scale of the guess, and that of the guess.
    scale = np.abs(found.guess / np.where(found.plain == 0, np.inf, found.plain))
    rho = found.guess
    doubt = np.hypot(scale / np.sqrt(found.installs), PLAIN_SPREAD)
    noise = np.where(found.plain == 0, 0.0, doubt) * rng.standard_normal(found.rho_draws.shape)
    return Learned(alignment=found, rho=rho, rho_draws=np.clip(rho + noise, -1, 1), half_learned=constant)


def _by_spread(found: Alignment, share: Floats, rules: Rules) -> Floats:
    happens = share > 0
    usual = float(found.explained[happens].sum()) / max(float(share[happens].sum()), 1e-12)
    own = found.explained / np.maximum(share, 1e-12)
    ratio = np.where(happens, usual / np.maximum(own, 1e-12), 1.0) if usual > 0 else np.ones(len(share))
    return np.asarray(rules.half_learned * np.clip(ratio, *K_RANGE))


def choose(
    installs: Installs,
    mine: Ints,
    known: Learned | None,
    learning: Learning,
    rules: Rules,
    rng: np.random.Generator,
    *,
    current: str | None = None,
    window_days: float | None = None,
) -> Choice:
    """The advice for the ad set whose installs are the rows `mine`; `known` is what all installs say.

    `current` is the event it optimises for now. `window_days` is the ad account's own, where it is not the
    platform's usual one.
    """
    window = learning.window_days if window_days is None else window_days
    names = [one.name for one in installs.signals]
    age = installs.age_days[mine]
    counted = np.array([counted_of(one, mine, age, window, rules) for one in installs.signals])
    if known is None:
        figures = tuple(
            _figures(one, mine, age, window, n, None)
            for one, n in zip(installs.signals, counted.tolist(), strict=True)
        )
        reason = (
            f"fewer than {LEAST} installs whose profit is known, or no profit among them: nothing is said"
        )
        return Choice(
            verdict="too_thin",
            best=None,
            current=current,
            gain=None,
            better=None,
            figures=figures,
            reasons=(reason,),
            what_if=(),
        )
    drawn = _drawn(known, counted, rules, rng)
    best_in = np.bincount(drawn.scores.argmax(axis=1), minlength=len(names)) / len(drawn.scores)
    figures = tuple(
        _figures(one, mine, age, window, n, _Said(known, drawn, place, float(best_in[place])))
        for place, (one, n) in enumerate(zip(installs.signals, counted.tolist(), strict=True))
    )
    mean = known.rho * accuracy(counted, known.half_learned)
    best = int(np.argmax(mean))
    if known.surrogate is not None:
        errors = known.surrogate.errors(_weekly(age))
        figures = tuple(
            replace(one, profit_error=error) for one, error in zip(figures, errors.tolist(), strict=True)
        )
        best = tie_broken(mean, errors)
    now = names.index(current) if current in names else None
    gain = None if now is None or mean[now] <= 0 else float(mean[best] / mean[now] - 1)
    better = None
    if now is not None:
        beaten = drawn.scores[:, best] > (1 + rules.gain) * drawn.scores[:, now]
        better = float((beaten & (drawn.scores[:, best] > 0)).mean())
    verdict = verdict_on(best, now, gain, float(best_in[best]), better, rules)
    return Choice(
        verdict=verdict,
        best=names[best],
        current=current,
        gain=gain,
        better=better,
        figures=figures,
        reasons=tuple(_reasons(figures, best, now, verdict, gain, learning, window, rules)),
        what_if=_what_if(installs, mine, age, window, known, counted, rules),
    )


def tie_broken(scores: Floats, errors: Floats) -> int:
    """The place of the highest score; among those that are level with it, of the smallest error."""
    highest = float(scores.max())
    level = scores >= highest - TIE * abs(highest)
    return int(np.argmin(np.where(level, errors, np.inf)))


def _weekly(age: Floats) -> float:
    """Installs of a week, of late."""
    weeks = max(min(RECENT_DAYS, float(age.max(initial=0.0))), 7.0) / 7
    return float((age < RECENT_DAYS).sum()) / weeks


class _Drawn(Struct, frozen=True):
    """Draws of ρ·r (for who is best), of r, and of the lift in money."""

    scores: Floats
    lifts: Floats


class _Said(Struct, frozen=True):
    known: Learned
    drawn: _Drawn
    place: int
    best: float


def _drawn(known: Learned, counted: Floats, rules: Rules, rng: np.random.Generator) -> _Drawn:
    """A count is drawn as Poisson's would be seen, K around what it is taken to be: one K for all events."""
    draws = len(known.rho_draws)
    n = rng.gamma(np.maximum(counted, 0.0) + 0.5, size=(draws, len(counted)))
    n = np.where(counted > 0, n, 0.0)
    k = known.half_learned * np.exp(K_SPREAD * rng.standard_normal(draws))[:, None]
    # What happens in no draw is settled by lot, so that nobody wins by standing first.
    scores = known.rho_draws * accuracy(n, k) + 1e-9 * rng.standard_normal(n.shape)
    spread = known.alignment.spread_draws[:, None]
    return _Drawn(scores, rules.intensity * (1 - rules.explored) * spread * scores)


def counted_of(signal: Signal, mine: Ints, age: Floats, window_days: float, rules: Rules) -> float:
    """n_e: told inside the window and by now, each by its age."""
    told = signal.told_hours[mine] <= HOURS * np.minimum(window_days, age)
    return float(np.exp2(-age[told] / rules.half_life_days).sum())


def _figures(
    signal: Signal, mine: Ints, age: Floats, window_days: float, counted: float, said: _Said | None
) -> Figures:
    old = mine[age >= window_days]
    told, happened = signal.told_hours[old], signal.sent[old] != 0
    hours = told[happened]
    inside = hours <= HOURS * window_days
    p50, p90 = (float(q) for q in np.quantile(hours, [0.5, 0.9])) if len(hours) else (None, None)
    all_told = signal.told_hours[mine]
    since = HOURS * age - all_told
    recent = (since >= 0) & (since < HOURS * RECENT_DAYS) & (all_told <= HOURS * window_days)
    weeks = max(min(RECENT_DAYS, float(age.max(initial=0.0))), 7.0) / 7
    figures = Figures(
        name=signal.name,
        installs=len(old),
        events=int(happened.sum()),
        share=float(inside.sum()) / max(len(old), 1),
        inside=float(inside.mean()) if len(hours) else 0.0,
        late=float((hours > HOURS).mean()) if len(hours) else 0.0,
        p50_hours=p50,
        p90_hours=p90,
        per_week=float(recent.sum()) / weeks,
        counted=counted,
        rho=0.0,
        rho_low=-1.0,
        rho_high=1.0,
        explained=0.0,
        accuracy=0.0,
        lift=None,
        lift_low=None,
        lift_high=None,
        best=0.0,
    )
    return figures if said is None else _with(figures, said)


def _with(figures: Figures, said: _Said) -> Figures:
    """With what is foreseen of the event."""
    known, place = said.known, said.place
    rho_low, rho_high = (float(q) for q in np.quantile(known.rho_draws[:, place], [0.1, 0.9]))
    lifts = said.drawn.lifts[:, place]
    foreseen = bool((known.alignment.spread_draws > 0).mean() >= 0.5)
    low, high = (float(q) for q in np.quantile(lifts, [0.1, 0.9]))
    return replace(
        figures,
        rho=float(known.rho[place]),
        rho_low=rho_low,
        rho_high=rho_high,
        explained=float(known.alignment.explained[place]),
        accuracy=float(accuracy(np.array(figures.counted), float(known.half_learned[place]))),
        lift=float(lifts.mean()) if foreseen else None,
        lift_low=low if foreseen else None,
        lift_high=high if foreseen else None,
        best=said.best,
    )


def verdict_on(
    best: int, now: int | None, gain: float | None, sure: float, better: float | None, rules: Rules
) -> Verdict:
    """What to do, where `best` is the event with the highest score and `now` the present one (`None`: it is
    not known).

    `gain` is that of `best` over `now`, relative; `sure` is P(best), and `better` the part of draws in which
    it earns more by `Rules.gain` at least.
    """
    if best == now:
        return "keep"
    if better is not None and better >= rules.better:
        return "switch"
    if sure < rules.sure:
        return "no_clear_winner"
    if now is None:
        return "best"
    return "switch" if gain is None or gain > rules.gain else "keep"


def _what_if(
    installs: Installs,
    mine: Ints,
    age: Floats,
    window_days: float,
    known: Learned,
    counted: Floats,
    rules: Rules,
) -> tuple[WhatIf, ...]:
    """More volume, and a quicker review."""
    today = float((known.rho * accuracy(counted, known.half_learned)).max())
    quicker = np.array(
        [counted_of(_sooner(one, 6.0), mine, age, window_days, rules) for one in installs.signals]
    )
    changes = (("twice the installs", 2 * counted), ("five times the installs", 5 * counted))
    found = []
    for change, n in (*changes, ("a review 6 hours shorter", quicker)):
        then = known.rho * accuracy(n, known.half_learned)
        place = int(np.argmax(then))
        gain = float(then[place]) / today - 1 if today > 0 else None
        found.append(WhatIf(change=change, best=installs.signals[place].name, gain=gain))
    return tuple(found)


def _sooner(signal: Signal, hours: float) -> Signal:
    """The same event, decided so many hours earlier, but never before it was asked for."""
    waited = np.isfinite(signal.told_hours) & np.isfinite(signal.asked_hours)
    floor = np.where(waited, np.minimum(signal.asked_hours, signal.told_hours), 0.0)
    told = np.where(waited, np.maximum(signal.told_hours - hours, floor), signal.told_hours)
    return Signal(
        name=signal.name,
        hours=signal.hours,
        told_hours=told,
        asked_hours=signal.asked_hours,
        sent=signal.sent,
    )


def _reasons(
    figures: Sequence[Figures],
    best: int,
    now: int | None,
    verdict: Verdict,
    gain: float | None,
    learning: Learning,
    window_days: float,
    rules: Rules,
) -> list[str]:
    """The advice in words, most important first."""
    one = figures[best]
    said = [
        f"{one.name}: {one.per_week:.0f} a week inside {_days(window_days)}, points at profit by"
        f" {one.rho:.2f} ({one.rho_low:.2f} to {one.rho_high:.2f}), learned to {one.accuracy:.0%};"
        f" P(best) {one.best:.0%}"
    ]
    equal = [each.name for each in figures if each.name != one.name and each.best >= 0.1]
    match verdict:
        case "no_clear_winner":
            said.append(f"no clear winner, keep what you have: {', '.join(equal) or 'others'} may be as good")
        case "keep" if now != best:
            said.append(f"the gain of {gain or 0:.0%} is not worth a new learning phase")
        case "switch":
            much = "from nothing" if gain is None else f"{gain:.0%} more"
            said.append(f"{much} than {figures[now or 0].name}; then leave it for {rules.dwell_days} days")
            if one.best < rules.sure:
                said.append(f"nearly as good: {', '.join(equal)}")
        case _:
            pass
    for each in figures:
        if each.name != one.name and each.rho > one.rho + 0.05:
            said.append(
                f"{each.name} points better ({each.rho:.2f}) and is learned to {each.accuracy:.0%} only:"
                f" {each.per_week:.0f} a week in time"
            )
    late = [each for each in figures if each.events and each.inside < SAME_DAY]
    if late:
        worst = min(late, key=lambda each: each.inside)
        said.append(f"{1 - worst.inside:.0%} of {worst.name} come after {_days(window_days)}")
    wanted = learning.wanted * 7 / learning.wanted_days
    if one.per_week < wanted:
        said.append(f"{learning.label} wants about {wanted:.0f} a week: learning will be slow")
    said.append(f"rule of thumb: {rule_of_thumb(figures, window_days)}")
    return said


def _days(days: float) -> str:
    return f"{days:g} day{'' if days == 1 else 's'}"


def rule_of_thumb(figures: Sequence[Figures], window_days: float) -> str:
    """What volume and delay alone would say; it knows nothing of how well an event points at profit."""
    by_name = {one.name: one for one in figures}
    grants = by_name.get("first_credit")
    if grants is None:
        return "disbursement or repeat_loan, whichever comes more often"
    if grants.late > MANY_REVIEWS_LATE and window_days <= 1:
        return f"{grants.late:.0%} of grants after a day: application"
    if grants.per_week < 20:
        return f"{grants.per_week:.0f} grants a week: application"
    if grants.per_week <= 75:
        return f"{grants.per_week:.0f} grants a week: first_credit or credit_top50"
    return (
        f"{grants.per_week:.0f} grants a week: value, or first_loan where most are paid out on the same day"
    )
