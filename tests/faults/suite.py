"""Seeds and planted bugs in the portions that the processes of `make faults` work on."""

from collections.abc import Iterator

from tests.faults.planted import found_by
from tests.faults.seed import broken_by

SEEDS_FOR_A_BUG = 1_000
"""Within so many seeds each planted bug must be found."""

SEEDS_AT_ONCE = 20


def parts(first: int, seeds: int) -> Iterator[range]:
    """So many seeds from the first on, in portions."""
    end = first + seeds
    return (range(one, min(one + SEEDS_AT_ONCE, end)) for one in range(first, end, SEEDS_AT_ONCE))


def tried(seeds: range) -> tuple[int, list[tuple[int, str]]]:
    """How many were tried, and those that broke a promise, each with a sentence."""
    return len(seeds), [(seed, broken) for seed in seeds if (broken := broken_by(seed)) is not None]


def hunted(name: str) -> tuple[str, int | None]:
    """The first seed that finds a planted bug; `None` where none does in time."""
    seeds = (seed for seed in range(SEEDS_FOR_A_BUG) if found_by(name, seed) is not None)
    return name, next(seeds, None)
