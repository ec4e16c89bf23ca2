"""How well the advisor foresees which event earns most, in made-up markets whose platforms truly learn.

Each cell is a kind of market at one volume. In each of its worlds every event is tried: a platform learns
from it for four weeks and buys by it. The advisor has seen 12,000 installs that were bought at random, what
the lender's value model says of each borrower among them, and 8 of the 20 features. Seeds are not those that
anything was chosen by.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.advise.alignment import Alignment, alignment
from lendsignal.advise.choice import K_SPREAD, Form, Learned, Rules, accuracy, of_form, verdict_on
from lendsignal.advise.holdout.effect import effect_of
from lendsignal.simulate.chance import Floats
from lendsignal.simulate.worlds.events import (
    SIGNALS,
    Market,
    Offer,
    People,
    World,
    bought_by,
    campaign,
    offer_of,
)
from lendsignal.simulate.worlds.learners import LEARNERS

FIRST_SEED = 90_000
"""Whatever was chosen by looking at figures was chosen in worlds of 50,000 and on."""

SEEN_INSTALLS, SEEN_FEATURES = 12_000, 8
"""What the advisor may look at."""

TRUTH = 20_000
"""People from whom the true alignment is taken, with all features and without the luck of single loans."""

MARKETS: Mapping[str, Market] = {
    "new": Market(),
    "mature": Market(intent_quality=-0.35),
    "very mature": Market(intent_quality=-0.75),
    "new, people alike": Market(explained=0.06),
    "mature, people alike": Market(intent_quality=-0.35, explained=0.06),
    "new, 1 day, half of grants overnight": Market(window_days=1, manual=0.5, review_hours=20),
    "new, 1 day, next-day grants": Market(window_days=1, manual=0.8, review_hours=30),
    "mature, 1 day, next-day grants": Market(
        intent_quality=-0.35, window_days=1, manual=0.8, review_hours=30
    ),
    "mature, poor value": Market(intent_quality=-0.35, value_noise=1.0),
}
VOLUMES = (15, 60, 300)

DEEPEST_FIRST = (
    "credit_top20",
    "first_loan",
    "credit_top50",
    "first_credit",
    "application",
    "registration",
)
FIFTY_A_WEEK = 50.0

POLICIES = (
    "best_in_hindsight",
    "score_true",
    "score_estimated",
    "score_by_outcomes",
    "score_simple",
    "advised",
    "always_value",
    "always_value_at_apply",
    "always_first_credit",
    "fifty_a_week",
    "always_application",
)

WORLDS: Mapping[str, tuple[int, int]] = {"ridge": (8, 2), "trees": (4, 1), "bandit": (4, 2)}
"""Worlds of each cell, and campaigns in each world, by platform: growing trees takes its time. A lift of one
campaign is known to about 0.2, so that means of fewer hide what can be foreseen."""

FRESH, FRESH_RUNS = 40, {"ridge": 4, "trees": 2, "bandit": 4}
"""Markets drawn afresh, for each platform, and campaigns in each."""

START = "first_credit"
"""What the campaign of `advised` optimises for until the advice says otherwise."""

RIVALS = ("application", "credit_top20", "value", "value_at_apply")
"""Events that are tried against `START`, campaign against campaign."""

SURROGATE_DAYS = 14.0

RULES: Mapping[Form, Rules] = {"simple": Rules(form="simple"), "features": Rules(form="features")}


class Tried(Struct, frozen=True, kw_only=True):
    """One world: what was foreseen of each event and what it earned, and what each policy chose."""

    cell: str
    short: bool
    volume: int
    foreseen: tuple[float, ...]
    earned: tuple[float, ...]
    chosen: dict[str, str]


class Found(Struct, frozen=True, kw_only=True):
    """All worlds of one platform. `pearson`: of foreseen and earned lift over cells and events, cell means.

    `lift`: money per install over buying at random, by policy; `short` the same where the window is a day,
    and `volume` by installs a day. `loses`: cells in which the advisor's choice earned less than always
    value, and by how much.
    """

    worlds: int
    pearson: float
    lift: dict[str, float]
    short: dict[str, float]
    volume: dict[str, dict[str, float]]
    cells: dict[str, dict[str, float]]
    loses: dict[str, float]


def measure(quick: bool) -> dict[str, Any]:
    """`pearson` and `lift` by policy on the ridge platform; in full also the others, and fresh markets.

    Quick: within 15 seconds on one core. In full: about 10 minutes of one core.
    """
    if quick:
        found = found_of(tried("ridge", worlds=2, runs=1))
        return {
            "pearson": found.pearson,
            "lift": found.lift,
            "short_windows": found.short,
            "best_when_shuffled": best_when_shuffled(20),
            "surrogate": surrogate_decisions(worlds=1, runs=1),
        }
    platforms = {
        name: found_of(tried(name, worlds=worlds, runs=runs)) for name, (worlds, runs) in WORLDS.items()
    }
    fresh = {name: found_of(tried_afresh(name, markets=FRESH, runs=FRESH_RUNS[name])) for name in LEARNERS}
    return {
        "pearson": platforms["ridge"].pearson,
        "lift": platforms["ridge"].lift,
        "short_windows": platforms["ridge"].short,
        "best_when_shuffled": best_when_shuffled(200),
        "surrogate": surrogate_decisions(worlds=3),
        "platforms": platforms,
        "afresh": fresh,
    }


def tried(learner: str, *, worlds: int, runs: int, volumes: Sequence[int] = VOLUMES) -> Iterator[Tried]:
    """Every cell of these volumes, `worlds` times; each event runs in `runs` campaigns of each world."""
    seed = FIRST_SEED
    for name, market in MARKETS.items():
        for volume in volumes:
            for _ in range(worlds):
                seed += 1
                yield _tried(
                    f"{name}, {volume} a day", replace(market, installs_a_day=volume), learner, seed, runs
                )


def tried_afresh(learner: str, *, markets: int, runs: int) -> Iterator[Tried]:
    """Markets with every number drawn anew, one world each: nothing that the advisor was built on. Each event
    runs in `runs` campaigns of each."""
    for place in range(markets):
        seed = 2 * FIRST_SEED + place
        rng = np.random.default_rng([seed, 9])
        market = Market(
            installs_a_day=int(np.exp(rng.uniform(np.log(15), np.log(300)))),
            window_days=float(rng.choice([1.0, 7.0, 30.0])),
            explained=float(rng.uniform(0.05, 0.2)),
            intent_quality=float(rng.uniform(-0.75, 0.4)),
            need_quality=float(rng.uniform(-0.5, 0.2)),
            manual=float(rng.uniform(0.05, 0.9)),
            review_hours=float(rng.uniform(2, 40)),
            value_noise=float(rng.uniform(0, 0.6)),
            default_logit=float(rng.uniform(-2.2, -1.2)),
            default_quality=float(rng.uniform(-1.2, -0.6)),
            apply_logit=float(rng.uniform(-0.6, 0.8)),
            repeats=float(rng.uniform(0.5, 4)),
            explored=float(rng.uniform(0.05, 0.2)),
        )
        yield _tried(f"market {place}", market, learner, seed, runs)


def best_when_shuffled(times: int) -> dict[str, float]:
    """Mean P(best) of each event when everybody's profit is somebody else's: about 1 / the events' number.

    Repayments, of which no platform is told in time, are left out.
    """
    world = World(MARKETS["mature"], FIRST_SEED)
    seen = world.people(SEEN_INSTALLS // 2, 3)
    names = [name for name in SIGNALS if name != "repayment"]
    labels = np.column_stack([seen.sent[name] for name in names])
    share = (labels > 0).mean(axis=0)
    rng = np.random.default_rng(FIRST_SEED)
    best = np.zeros(len(names))
    for _ in range(times):
        told = alignment(seen.features[:, :SEEN_FEATURES], labels, rng.permutation(seen.worth), rng)
        drawn = of_form(told, share, RULES["features"], rng).rho_draws
        best += np.bincount(drawn.argmax(axis=1), minlength=len(names)) / len(drawn)
    return dict(zip(names, (best / times).tolist(), strict=True))


def surrogate_decisions(worlds: int, runs: int = 4) -> dict[str, float]:
    """Whether campaigns on another event are better than those on `START`, told after 14 days by what the
    value model says, against what truly comes.

    `runs` campaigns of each of two events side by side, in every kind of market at 300 installs a day; the
    difference of their users' means is read with the interval that holds at every look. `right`: of the pairs
    that 14 days decide, those whose true difference has that sign; `contradicted`: of all pairs, those that
    outcomes decide the other way; `recall`: of the pairs that outcomes decide in the end, those that 14 days
    had decided alike.
    """
    pairs = early = right = against = late = alike = 0
    seed = 3 * FIRST_SEED
    for market in MARKETS.values():
        for _ in range(worlds):
            seed += 1
            tested = replace(market, installs_a_day=VOLUMES[-1])
            for sooner, later, truth in _paired(World(tested, seed), seed, runs):
                pairs += 1
                early += sooner != 0
                right += sooner != 0 and sooner == truth
                against += sooner * later < 0
                late += later != 0
                alike += later != 0 and sooner == later
    return {
        "pairs": float(pairs),
        "decided": early / max(pairs, 1),
        "right": right / max(early, 1),
        "contradicted": against / max(pairs, 1),
        "decided_by_outcomes": late / max(pairs, 1),
        "recall": alike / max(late, 1),
    }


class Arm(Struct, frozen=True):
    """Users of one event's campaigns: what was said of each after 14 days, what came, and its mean."""

    said: Floats
    came: Floats
    meant: Floats


def _paired(world: World, seed: int, runs: int) -> Iterator[tuple[int, int, int]]:
    """For each event against `START`: the sign that 14 days decide, that outcomes do, and the true one."""
    # Campaigns that run side by side share no users: the rivals buy of other offers.
    usual = _arm(world, START, seed, range(runs))
    for name in RIVALS:
        rival = _arm(world, name, seed, range(runs, 2 * runs))
        yield (
            _decided(rival.said, usual.said),
            _decided(rival.came, usual.came),
            int(np.sign(rival.meant.mean() - usual.meant.mean())),
        )


def _arm(world: World, signal: str, seed: int, parts: Iterable[int]) -> Arm:
    found: list[list[Floats]] = []
    for part in parts:
        offer = offer_of(world, part)
        people = offer.people
        bought = bought_by(world.market, offer, signal, LEARNERS["ridge"](seed))
        said = np.where(people.hours["first_loan"] <= 24 * SURROGATE_DAYS, people.predicted, 0.0)
        found.append([said[bought], people.worth[bought], people.expected[bought]])
    return Arm(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _decided(rival: Floats, usual: Floats) -> int:
    """1: the rival is better, −1: it is worse, 0: not told from chance; at any look."""
    outcome = np.concatenate([rival, usual])
    treated = np.arange(len(outcome)) < len(rival)
    found = effect_of(outcome, treated)
    return int(np.sign(found.difference)) if found.seen(once=False) else 0


def found_of(worlds: Iterator[Tried]) -> Found:
    """The figures of some worlds."""
    every = list(worlds)
    by_cell: dict[str, list[Tried]] = defaultdict(list)
    for one in every:
        by_cell[one.cell].append(one)
    foreseen = np.array([np.mean([one.foreseen for one in cell], axis=0) for cell in by_cell.values()])
    earned = np.array([np.mean([one.earned for one in cell], axis=0) for cell in by_cell.values()])
    best = {name: SIGNALS[int(np.argmax(mean))] for name, mean in zip(by_cell, earned, strict=True)}
    cells = {name: _lifts(cell, best) for name, cell in by_cell.items()}
    return Found(
        worlds=len(every),
        pearson=float(np.corrcoef(foreseen.ravel(), earned.ravel())[0, 1]),
        lift=_lifts(every, best),
        short=_lifts([one for one in every if one.short], best),
        volume={
            str(volume): _lifts([one for one in every if one.volume == volume], best) for volume in VOLUMES
        },
        cells=cells,
        loses={
            name: lift["score_estimated"] - lift["always_value"]
            for name, lift in cells.items()
            if lift["score_estimated"] < lift["always_value"]
        },
    )


def _lifts(worlds: Sequence[Tried], best: Mapping[str, str]) -> dict[str, float]:
    """The mean lift of each policy; the best in hindsight is one event for each cell."""
    if not worlds:
        return {}
    place = {name: number for number, name in enumerate(SIGNALS)}
    return {
        policy: float(np.mean([one.earned[place[one.chosen.get(policy, best[one.cell])]] for one in worlds]))
        for policy in POLICIES
    }


def _tried(cell: str, market: Market, learner: str, seed: int, runs: int) -> Tried:
    world = World(market, seed)
    earned = np.zeros(len(SIGNALS))
    for run in range(runs):
        offer = offer_of(world, run)
        earned += [_earned(market, offer, name, learner, seed) / runs for name in SIGNALS]
    truth = _truth(world)
    seen = world.people(SEEN_INSTALLS, 1)
    labels = _labels(seen)
    share = (labels > 0).mean(axis=0)
    in_time = np.array([(seen.label(name, market.window_days) > 0).mean() for name in SIGNALS])
    rng = np.random.default_rng([seed, 4])
    told = alignment(seen.features[:, :SEEN_FEATURES], labels, seen.predicted, rng)
    features = of_form(told, share, RULES["features"], rng)
    simple = of_form(told, share, RULES["simple"], rng)
    outcomes = alignment(seen.features[:, :SEEN_FEATURES], labels, seen.worth, rng)
    counts = _told(seen, market)
    scores = {
        "score_true": _scores(truth[0], _told(truth[1], market)),
        "score_estimated": _scores(features, counts),
        "score_by_outcomes": _scores(of_form(outcomes, share, RULES["features"], rng), counts),
        "score_simple": _scores(simple, counts),
    }
    weekly = dict(zip(SIGNALS, (7 * market.installs_a_day * in_time).tolist(), strict=True))
    enough = (name for name in DEEPEST_FIRST if weekly[name] >= FIFTY_A_WEEK)
    chosen = {policy: SIGNALS[int(np.argmax(one))] for policy, one in scores.items()}
    chosen |= {
        "advised": _advised(features, counts, rng),
        "always_value": "value",
        "always_value_at_apply": "value_at_apply",
        "always_first_credit": "first_credit",
        "always_application": "application",
        "fifty_a_week": next(enough, "registration"),
    }
    rules = RULES["features"]
    spread = rules.intensity * (1 - rules.explored) * truth[0].alignment.spread
    return Tried(
        cell=cell,
        short=market.window_days <= 1,
        volume=market.installs_a_day,
        foreseen=tuple((spread * scores["score_estimated"]).tolist()),
        earned=tuple(earned.tolist()),
        chosen=chosen,
    )


def _earned(market: Market, offer: Offer, signal: str, learner: str, seed: int) -> float:
    return campaign(market, offer, signal, LEARNERS[learner](seed)).lift


def _labels(people: People) -> Floats:
    return np.column_stack([people.sent[name] for name in SIGNALS])


def _truth(world: World) -> tuple[Learned, People]:
    """The alignment as it is, from many people with every feature and the expected worth of each."""
    people = world.people(TRUTH, 2)
    labels = _labels(people)
    rng = np.random.default_rng(0)
    found: Alignment = alignment(people.features, labels, people.expected, rng, draws=1)
    known = replace(found, rho=np.nan_to_num(found.split_half))
    return of_form(known, (labels > 0).mean(axis=0), RULES["features"], rng), people


def _advised(known: Learned, told: Floats, rng: np.random.Generator) -> str:
    """What who follows the advice optimises for: `START`, unless the verdict is to switch."""
    rules, now = RULES["features"], SIGNALS.index(START)
    mean = _scores(known, told)
    off = np.exp(K_SPREAD * rng.standard_normal(len(known.rho_draws)))[:, None]
    drawn = known.rho_draws * _accuracies(known.half_learned * off, told)
    best = int(np.argmax(mean))
    gain = float(mean[best] / mean[now] - 1) if mean[now] > 0 else None
    sure = float((drawn.argmax(axis=1) == best).mean())
    beaten = (drawn[:, best] > (1 + rules.gain) * drawn[:, now]) & (drawn[:, best] > 0)
    said = verdict_on(best, now, gain, sure, float(beaten.mean()), rules)
    return SIGNALS[best] if said == "switch" else START


def _scores(known: Learned, told: Floats) -> Floats:
    """ρ·r of each event, r meant over the days of a campaign that starts with nothing."""
    return np.asarray(known.rho * _accuracies(known.half_learned, told))


def _accuracies(half_learned: Floats, told: Floats) -> Floats:
    """r of each event (the last axis), the mean over days."""
    return np.asarray(accuracy(told, half_learned[..., None]).mean(axis=-1))


def _told(people: People, market: Market) -> Floats:
    """How many conversions of each event a platform knows of on each day of a campaign (events × days)."""
    found = []
    for name in SIGNALS:
        hours = people.hours[name]
        hours = hours[hours <= 24 * market.window_days]
        # Bought at noon, a conversion is known on the days that begin after it.
        days = np.ceil(hours / 24 + 0.5)
        new = np.bincount(days.astype(np.int64), minlength=market.days)[: market.days] / len(people.worth)
        found.append(market.installs_a_day * (np.cumsum(np.cumsum(new)) - np.cumsum(new)))
    return np.array(found)
