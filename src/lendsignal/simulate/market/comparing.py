"""Strategies side by side in the same made-up worlds: what each leaves of the money, and how sure that is."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from lendsignal.report.layout import SHARE, Cell, Reckoned, Table, columns, table
from lendsignal.simulate.chance import Floats
from lendsignal.simulate.market.buying import Bought, run
from lendsignal.simulate.market.crowd import World
from lendsignal.simulate.market.parameters import Market, Markets, Strategy

Worlds = Sequence[Mapping[str, Bought]]
"""What one strategy bought in each world, by channel."""


class Interval(Struct, frozen=True, kw_only=True):
    """A mean over worlds with its 95 % interval, and the part of the worlds above 0."""

    mean: float
    low: float
    high: float
    above: float

    @property
    def is_positive(self) -> bool:
        """Whether the whole interval lies above 0."""
        return self.low > 0

    @property
    def is_negative(self) -> bool:
        """Whether the whole interval lies below 0."""
        return self.high < 0


class MarketReport(Reckoned, frozen=True, kw_only=True):
    """`strategies` by what they leave, `differences` against the first in the same worlds, `channels` the
    first by platform, `signals` what became of the event that each is optimised for."""

    strategies: Table
    differences: Table
    channels: Table
    signals: Table


def play(
    strategies: Sequence[Strategy],
    markets: Callable[[Strategy], Markets],
    *,
    worlds: int,
    seed: int,
    tell: Callable[[int], None] = lambda done: None,
) -> dict[str, list[Mapping[str, Bought]]]:
    """What each strategy buys in each world, by its name.

    World n is the same for all strategies: ranges draw the same numbers, and the same people are on offer
    wherever the markets of two strategies agree. `markets` gives the market that goes with a strategy.
    """
    found: dict[str, list[Mapping[str, Bought]]] = {one.name: [] for one in strategies}
    of = {one.name: markets(one) for one in strategies}
    for number in range(seed, seed + worlds):
        known: list[World] = []
        for strategy in strategies:
            market = of[strategy.name].drawn(number)
            world = next((one for one in known if _same_people(one.market, market)), None)
            if world is None:
                world = World(market, number)
                known.append(world)
            found[strategy.name].append(run(world, strategy, market.ads.learner))
        tell(number - seed + 1)
    return found


def _same_people(one: Market, other: Market) -> bool:
    """Whether two markets differ in nothing but how platforms learn."""
    return one == replace(other, ads=replace(other.ads, learner=one.ads.learner))


def compared(played: Mapping[str, Worlds], strategies: Sequence[Strategy]) -> MarketReport:
    """The report of what was played: strategies in the order given, differences against the first."""
    first = strategies[0].name
    names = [one.name for one in strategies]
    count = len(played[first])
    return MarketReport(
        title=f"{len(names)} strategies in {count} made-up worlds",
        strategies=_strategies(played, names),
        differences=_differences(played, names),
        channels=_channels(played, names),
        signals=_signals(played, strategies),
        notes=(
            "Money is in median prices of an install; profit is worth less spend, in the mean over luck with"
            " loans.\nIntervals are 95 % over worlds: they hold for these made-up markets, and for no real"
            " one before it is tried.",
        ),
    )


def returns(played: Worlds, channel: str | None = None) -> Floats:
    """Profit for each unit spent, in each world; of one channel, or of all together."""
    found = []
    for world in played:
        parts = [one for name, one in world.items() if channel in (None, name)]
        found.append(sum(one.profit for one in parts) / max(sum(one.spend for one in parts), 1e-9))
    return np.array(found)


def total(played: Worlds, what: str) -> Floats:
    """A figure of `Bought` summed over channels, in each world."""
    return np.array([float(sum(getattr(one, what) for one in world.values())) for world in played])


def interval(values: Floats) -> Interval:
    """Student's interval of the mean; with one world there is none, and the ends are infinite."""
    from scipy.special import stdtrit  # here: parameters are read without it

    count = len(values)
    half = np.inf
    if count > 1:
        half = float(stdtrit(count - 1, 0.975)) * float(values.std(ddof=1)) / np.sqrt(count)
    mean = float(values.mean())
    return Interval(
        mean=mean, low=mean - float(half), high=mean + float(half), above=float((values > 0).mean())
    )


def _ends(one: Interval) -> tuple[float, float | None, float | None]:
    """Mean and ends, without ends where there are none."""
    return (one.mean, None, None) if np.isinf(one.high) else (one.mean, one.low, one.high)


def _strategies(played: Mapping[str, Worlds], names: Sequence[str]) -> Table:
    best = np.argmax([returns(played[name]) for name in names], axis=0)
    rows: list[tuple[Cell, ...]] = []
    for place, name in enumerate(names):
        mine = played[name]
        rows.append(
            (
                name,
                *_ends(interval(returns(mine))),
                float(total(mine, "profit").mean()),
                float(total(mine, "spend").mean()),
                float(total(mine, "installs").mean()),
                float(total(mine, "loans").mean()),
                float((total(mine, "spend") / np.maximum(total(mine, "loans"), 1)).mean()),
                float((best == place).mean()),
            )
        )
    return table(
        "Strategies",
        columns(
            "strategy profit_per_spend low high profit spend installs borrowers cost_per_borrower best_in",
            profit_per_spend=SHARE,
            low=SHARE,
            high=SHARE,
            best_in=SHARE,
        ),
        rows,
        "best_in: part of the worlds in which no other did better.",
    )


def _differences(played: Mapping[str, Worlds], names: Sequence[str]) -> Table:
    base = returns(played[names[0]])
    rows: list[tuple[Cell, ...]] = []
    for name in names[1:]:
        one = interval(returns(played[name]) - base)
        word = "better" if one.is_positive else "worse" if one.is_negative else "not told apart"
        rows.append((name, *_ends(one), one.above, word))
    return table(
        f"Against {names[0]}, in the same worlds",
        columns(
            "strategy difference low high better_in remark",
            difference=SHARE,
            low=SHARE,
            high=SHARE,
            better_in=SHARE,
        ),
        rows,
        "difference: in profit per spend.",
    )


def _channels(played: Mapping[str, Worlds], names: Sequence[str]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name in names:
        for channel in played[name][0]:
            of = [world[channel] for world in played[name] if channel in world]
            rows.append(
                (
                    channel,
                    name,
                    *_ends(interval(returns(played[name], channel))),
                    float(np.mean([one.installs for one in of])),
                    float(np.mean([one.learning for one in of])),
                )
            )
    rows.sort(key=lambda row: (str(row[0]), names.index(str(row[1]))))
    return table(
        "By platform",
        columns(
            "channel strategy profit_per_spend low high installs learning",
            profit_per_spend=SHARE,
            low=SHARE,
            high=SHARE,
            learning=SHARE,
        ),
        rows,
        "learning: part of the days with too few conversions in the week before.",
    )


def _signals(played: Mapping[str, Worlds], strategies: Sequence[Strategy]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for one in strategies:
        mine = played[one.name]
        happened = total(mine, "happened").sum()
        parts = [float(total(mine, what).sum() / happened) if happened else None for what in _FATES]
        rows.append((one.name, one.event, float(total(mine, "happened").mean()), *parts))
    return table(
        "What became of the event",
        columns("strategy event happened told unbound late", told=SHARE, unbound=SHARE, late=SHARE),
        rows,
        "told: to the platform in time. unbound: of another installation, by the strategy's binding."
        "\nlate: posted after the platform's window.",
    )


_FATES = ("told", "unbound", "late")
