"""Strategies played in a made-up market for a page: one comparison at a time, and the last ones kept."""

from collections.abc import Sequence
from functools import lru_cache
from threading import Lock

from lendsignal.report import Report

KEPT = 64
"""Comparisons whose figures are kept; each has a few hundred numbers."""

_one_at_a_time = Lock()


def compared_in_market(strategies: Sequence[str], worlds: int, seed: int) -> Report:
    """What `lendsignal simulate` reports of these strategies, each the text of a file with its name in it.

    The default market, so many worlds, `seed` that of the first. Whoever asks while another comparison is
    reckoned waits, so that pages never keep more than one processor busy with markets. Raises `ConfigError`
    with every mistake.
    """
    with _one_at_a_time:
        return _compared(tuple(strategies), worlds, seed)


@lru_cache(maxsize=KEPT)
def _compared(texts: tuple[str, ...], worlds: int, seed: int) -> Report:
    from lendsignal.simulate import market  # here: numpy is for those who play

    strategies = [market.strategy_of(text) for text in texts]
    played = market.play(
        strategies, lambda one: market.load_market(changes=one.market), worlds=worlds, seed=seed
    )
    return market.compared(played, strategies)
