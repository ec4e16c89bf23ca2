"""How fast the whole service is on this machine: real processes, real disk, a load tool and a bare sink.

The figures are ratios of one run on one machine; docs/reference/performance.md says how to read them.
"""

from lendsignal.bench.measure import Figures, measure

__all__ = ["Figures", "measure"]
