"""Holdouts: what would have come anyway, told from what a measure brought.

    power (before: what can be seen) → arms (are they what was drawn?) → effect → reading (in words)

Who is held out is drawn in `plan.holdout`. `power` and `arms` are plain arithmetic; `effect` and `reading`
reckon with numpy and are imported by their own names.
"""

from lendsignal.advise.holdout.arms import MatchParity, SampleRatio, match_parity, sample_ratio
from lendsignal.advise.holdout.power import (
    Design,
    Sight,
    power_at,
    rate_design,
    sights,
    smallest_effect,
    users_for,
)

__all__ = [
    "Design",
    "MatchParity",
    "SampleRatio",
    "Sight",
    "match_parity",
    "power_at",
    "rate_design",
    "sample_ratio",
    "sights",
    "smallest_effect",
    "users_for",
]
