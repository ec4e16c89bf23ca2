"""Seeded chance and the few formulas that the generator's files share. Nothing here is global."""

from typing import TypeAlias
from zlib import crc32

import numpy as np
import numpy.typing as npt

from lendsignal.simulate.parameters import Delay

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Words: TypeAlias = npt.NDArray[np.uint64]

NEVER = np.int64(2**62)
"""A moment that does not come, in milliseconds or days."""


def dice(seed: int, part: str) -> np.random.Generator:
    """The random numbers of one part of the story: a change in one part leaves the others' draws alone."""
    return np.random.Generator(np.random.PCG64([seed, crc32(part.encode())]))


def waits(rng: np.random.Generator, delay: Delay, count: int) -> Ints:
    """`count` log-normal waits, milliseconds, at least one."""
    seconds = delay.median_seconds * np.exp(delay.spread * rng.standard_normal(count))
    return np.clip(seconds * 1_000, 1, 3e11).astype(np.int64)


def between(rng: np.random.Generator, low: float, high: float, count: int) -> Ints:
    """`count` waits between `low` and `high` seconds, even on a logarithmic scale; milliseconds."""
    return np.asarray(np.exp(rng.uniform(np.log(low), np.log(high), count)) * 1_000).astype(np.int64)


def chosen(rng: np.random.Generator, share: float | Floats, count: int) -> Flags:
    """`count` independent yes or no, yes with probability `share`."""
    return np.asarray(rng.random(count) < share)


def drawn(rng: np.random.Generator, weights: Floats, count: int) -> Ints:
    """`count` indices drawn in proportion to `weights`."""
    edges = np.cumsum(weights)
    return np.asarray(np.searchsorted(edges, rng.random(count) * edges[-1], side="right"), dtype=np.int64)


def logistic(x: Floats) -> Floats:
    """1 / (1 + e^-x)."""
    return np.asarray(1 / (1 + np.exp(-x)))


def logit(share: float) -> float:
    """The inverse of `logistic`; 0 and 1 become as good as never and always."""
    bounded = min(max(share, 1e-12), 1 - 1e-12)
    return float(np.log(bounded / (1 - bounded)))
