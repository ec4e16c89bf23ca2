"""How fast the whole service is on this machine: real processes, real disk, a load tool and a bare sink.

The figures are ratios of one run on one machine; docs/reference/performance.md says how to read them.
"""

from lendsignal.bench.backlog import Backlog, pile_up
from lendsignal.bench.cutting import TierFigures, cut_tiers
from lendsignal.bench.encoding import encode_and_classify_us
from lendsignal.bench.fan import Fan, fan_out
from lendsignal.bench.growth import Growth, grow
from lendsignal.bench.isolation import Isolation, isolate
from lendsignal.bench.measure import Figures, measure
from lendsignal.bench.targets import Target

__all__ = [
    "Backlog",
    "Fan",
    "Figures",
    "Growth",
    "Isolation",
    "Target",
    "TierFigures",
    "cut_tiers",
    "encode_and_classify_us",
    "fan_out",
    "grow",
    "isolate",
    "measure",
    "pile_up",
]
