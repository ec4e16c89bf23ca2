"""Shares with their uncertainty: a rate from few cases says so."""

from math import sqrt

from msgspec import Struct

THIN = 30
"""Cases below which a share is marked as thin: around one half it is then known to ± 17 points at best."""

Z95 = 1.959963984540054
"""The 97.5th percentile of the normal distribution: both tails together hold 5 %."""


class Rate(Struct, frozen=True):
    """`hits` of `n` cases with its 95 % interval; without any case there is no rate."""

    hits: int
    n: int

    @property
    def value(self) -> float | None:
        """The share, from 0 to 1."""
        return self.hits / self.n if self.n else None

    @property
    def low(self) -> float | None:
        """The interval's lower end."""
        return wilson(self.hits, self.n)[0] if self.n else None

    @property
    def high(self) -> float | None:
        """The interval's upper end."""
        return wilson(self.hits, self.n)[1] if self.n else None

    @property
    def remark(self) -> str:
        """What a reader must know of the number of cases: `empty`, `thin` (fewer than 30), or nothing."""
        return "empty" if not self.n else "thin" if self.n < THIN else ""


def wilson(hits: int, n: int, z: float = Z95) -> tuple[float, float]:
    """The score interval of a share: (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n) with p = hits/n.

    `n` must be positive; the ends stay within 0 and 1. E. B. Wilson, "Probable inference, the law of
    succession, and statistical inference", JASA 22 (1927) 209–212.
    """
    share = hits / n
    middle = share + z * z / (2 * n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)
