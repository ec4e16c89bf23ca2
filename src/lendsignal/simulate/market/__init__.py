"""A market of platforms that learn, for strategies to be compared in before money is spent on them.

    parameters → crowd (who is on offer) → buying (what platforms learn and buy) → comparing → rules

Small, vectorised and seeded; the same people are on offer to every strategy. It is no forecast: prices do not
answer to the lender, ads do not tire, and platforms learn from this lender alone.
"""

from lendsignal.simulate.market.buying import Bought, run
from lendsignal.simulate.market.comparing import MarketReport, compared, interval, play, returns, total
from lendsignal.simulate.market.crowd import World
from lendsignal.simulate.market.parameters import (
    DEFAULT,
    Market,
    Markets,
    Strategy,
    load_market,
    load_strategy,
    strategy_of,
)

__all__ = [
    "DEFAULT",
    "Bought",
    "Market",
    "MarketReport",
    "Markets",
    "Strategy",
    "World",
    "compared",
    "interval",
    "load_market",
    "load_strategy",
    "play",
    "returns",
    "run",
    "strategy_of",
    "total",
]
