"""Whether the two arms of a holdout are what was drawn: looked at before anything else is."""

from math import erfc, sqrt

from msgspec import Struct

DOUBT = 0.001
"""A draw that chance makes so seldom is taken for a fault. Small, because it is looked at again and again."""


class SampleRatio(Struct, frozen=True, kw_only=True):
    """Users of each arm against the share that was drawn. `p`: how often chance strays that far."""

    treated: int
    control: int
    share: float
    p: float

    @property
    def is_sound(self) -> bool:
        """Whether the arms may be compared at all."""
        return self.p >= DOUBT

    @property
    def found(self) -> float | None:
        """The part that was held out in fact."""
        users = self.treated + self.control
        return self.control / users if users else None


class MatchParity(Struct, frozen=True, kw_only=True):
    """Which part of each arm a platform found among its own users. `p`: chance of a gap that wide."""

    treated: float
    control: float
    p: float

    @property
    def is_sound(self) -> bool:
        """Whether the platform knows both arms alike."""
        return self.p >= DOUBT


def sample_ratio(treated: int, control: int, share: float) -> SampleRatio:
    """The sample-ratio test: χ² with one degree of freedom of the users in each arm.

    χ² = (control − share·n)² / (n·share·(1 − share)). A. Fabijan et al., "Diagnosing sample ratio mismatch
    in online controlled experiments", KDD 2019. `share` is the part held out, between 0 and 1.
    """
    n = treated + control
    if not n:
        return SampleRatio(treated=0, control=0, share=share, p=1.0)
    z = (control - share * n) / sqrt(n * share * (1 - share))
    return SampleRatio(treated=treated, control=control, share=share, p=two_sided(z))


def match_parity(treated: tuple[int, int], control: tuple[int, int]) -> MatchParity:
    """Both match rates, each given as (matched, uploaded), and the test that they are one.

    A platform tells no single user, only how many of a list it found: both arms are uploaded as lists and
    compared. z = (a − b) / √(m(1 − m)(1/n + 1/k)) with the common rate m. Both lists must have users.
    """
    (found_t, n_t), (found_c, n_c) = treated, control
    rate_t, rate_c = found_t / n_t, found_c / n_c
    common = (found_t + found_c) / (n_t + n_c)
    se = sqrt(common * (1 - common) * (1 / n_t + 1 / n_c))
    return MatchParity(treated=rate_t, control=rate_c, p=two_sided((rate_t - rate_c) / se) if se else 1.0)


def two_sided(z: float) -> float:
    """How often a standard normal number is at least that far from 0."""
    return erfc(abs(z) / sqrt(2))
