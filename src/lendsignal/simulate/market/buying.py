"""Platforms buying installs for a lender, each learning from what it is told in time of whom it sold.

A signal reaches a platform when all of this holds: it happened, on the installation that the ad brought as
the binding sees it, and it was posted within the platform's window. Everything else looks to the platform as
if nothing had happened, which is what a delivery that is late or wrongly bound costs.
"""

from collections.abc import Mapping

import numpy as np
from msgspec import Struct

from lendsignal.simulate.chance import Flags, Floats, Ints
from lendsignal.simulate.market.crowd import NEVER, Crowd, World
from lendsignal.simulate.market.parameters import Channel, Strategy
from lendsignal.simulate.worlds.learners import LEARNERS

WEEK = 7 * 24.0

LEAST = 0.05
"""Nobody is thought to be worth less than this part of the average: a guess is no certainty."""

FEWEST_TOLD = 5
"""Conversions that a platform must have been told of before it has an opinion."""


class Bought(Struct, frozen=True, kw_only=True):
    """What one platform bought: `worth` of its users in the mean, `learning` the part of days in learning.

    `happened` counts the event among them, `told` what reached the platform in time, `unbound` what went to
    another installation and `late` what was posted after the window.
    """

    spend: float
    worth: float
    installs: int
    returning: int
    loans: int
    happened: int
    told: int
    unbound: int
    late: int
    learning: float

    @property
    def profit(self) -> float:
        """What is left of the worth."""
        return self.worth - self.spend


class Told(Struct, frozen=True, kw_only=True):
    """Of people on offer: when the platform would hear of the event, what of, and why not."""

    at: Floats
    label: Floats
    happened: Flags
    unbound: Flags
    late: Flags


def run(world: World, strategy: Strategy, learner: str | None = None) -> Mapping[str, Bought]:
    """What each channel buys by that strategy; `learner` is how platforms learn, by default the market's way.

    The people on offer are the same for every strategy.
    """
    way = learner or world.market.ads.learner
    return {name: _bought(world, strategy, name, one, way) for name, one in world.market.channel.items()}


def told_of(world: World, strategy: Strategy, crowd: Crowd, window_days: float) -> Told:
    """What a platform would be told of people if it bought them.

    Somebody who returns has an installation from before: by the first install what happens is told of that
    one, by the last login of the new one. Whoever gives up the new installation before the event is told of
    to the ad by the first install, and by the last login no more.
    """
    if strategy.event == "none":
        nothing = np.zeros(len(crowd.price), dtype=np.bool_)
        return Told(
            at=np.full(len(nothing), NEVER),
            label=np.zeros(len(nothing)),
            happened=nothing,
            unbound=nothing,
            late=nothing,
        )
    happens = crowd.at[strategy.event]
    happened = np.isfinite(happens)
    lost = crowd.returns if strategy.binding == "first_install" else crowd.moved < happens
    posted = happens
    if strategy.batch_hours:
        posted = np.where(happened, np.ceil(happens / strategy.batch_hours) * strategy.batch_hours, NEVER)
    late = happened & ~lost & (posted > crowd.shown + 24 * window_days)
    counts = happened & ~lost & ~late
    label = np.ones(len(happens))
    if strategy.value != "none":
        label = world.scale.value(strategy.value, crowd.score, strategy.bins)
    return Told(
        at=np.where(counts, posted, NEVER),
        label=np.where(counts, label, 0.0),
        happened=happened,
        unbound=happened & lost,
        late=late,
    )


def _bought(world: World, strategy: Strategy, name: str, channel: Channel, way: str) -> Bought:
    ads = world.market.ads
    learner = LEARNERS[way](len(name))
    crowd = world.crowd(name)
    told = told_of(world, strategy, crowd, channel.window_days)
    bought = np.zeros(0, dtype=np.int64)
    learning = 0
    for day in range(ads.days):
        now = 24.0 * day
        offered = np.arange(day * crowd.a_day, (day + 1) * crowd.a_day)
        at = told.at[bought]
        seen = at <= now
        still_learning = int((seen & (at > now - WEEK)).sum()) < ads.learning_minimum
        learning += still_learning
        wants = np.ones(crowd.a_day)
        if int(seen.sum()) >= FEWEST_TOLD:
            label = np.where(seen, told.label[bought], 0.0)
            learner.learn(crowd.features[bought], label)
            mean = float(label.mean())
            wants = np.maximum(mean + learner.wants(crowd.features[offered]), LEAST * mean)
        explored = ads.explored_learning if still_learning else ads.explored
        mine = _chosen(wants, crowd.price[offered], channel.budget, explored)
        bought = np.concatenate([bought, offered[mine]])
    return Bought(
        spend=float(crowd.price[bought].sum()),
        worth=float(crowd.worth[bought].sum()),
        installs=len(bought),
        returning=int(crowd.returns[bought].sum()),
        loans=int(crowd.borrows[bought].sum()),
        happened=int(told.happened[bought].sum()),
        told=int(np.isfinite(told.at[bought]).sum()),
        unbound=int(told.unbound[bought].sum()),
        late=int(told.late[bought].sum()),
        learning=learning / ads.days,
    )


def _chosen(wants: Floats, price: Floats, budget: float, explored: float) -> Ints:
    """Whom a day's budget buys: those of whom most is expected for the money, and whoever comes."""
    ranked = np.argsort(-wants / price, kind="stable")
    best = ranked[np.cumsum(price[ranked]) <= budget * (1 - explored)]
    # People come in no order that tells anything: the next ones are as good as drawn.
    rest = np.setdiff1d(np.arange(len(price)), best, assume_unique=True)
    more = rest[np.cumsum(price[rest]) <= budget - float(price[best].sum())]
    return np.concatenate([best, more])
