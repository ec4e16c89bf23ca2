"""Chain-ladder: what cohorts come to by the growth of older ones; each cohort stands for itself.

Kept to compare with: of small cohorts it makes wild guesses, which is why bids do not go by it.
T. Mack, "Distribution-free calculation of the standard error of chain ladder reserve estimates", ASTIN
Bulletin 23 (1993) 213–225, equations 1 and 2.
"""

import numpy as np

from lendsignal.advise.bids.posterior import Floats


def growth(triangle: Floats) -> Floats:
    """By how much cohorts grow from each age to the next: sums over those that are known at both.

    `triangle`: cumulative amounts, a row a cohort and a column an age, `nan` where it is not known yet. An
    age that nothing is known of, or where all is 0, leaves the amount as it is.
    """
    known = ~np.isnan(triangle)
    both = known[:, :-1] & known[:, 1:]
    before = np.where(both, triangle[:, :-1], 0).sum(axis=0)
    after = np.where(both, triangle[:, 1:], 0).sum(axis=0)
    return np.where(before > 0, after / np.where(before > 0, before, 1), 1.0)


def ultimates(triangle: Floats, factors: Floats | None = None) -> Floats:
    """What each cohort comes to at the last age: its latest amount times the growth that is still to come.

    `factors`: of a larger triangle, such as that of all campaigns; by default the triangle's own. A cohort of
    which nothing is known comes to `nan`.
    """
    to_come = growth(triangle) if factors is None else factors
    still = np.append(np.cumprod(to_come[::-1])[::-1], 1.0)
    known = ~np.isnan(triangle)
    last = np.where(known.any(axis=1), triangle.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1), 0)
    return np.asarray(triangle[np.arange(len(triangle)), last] * still[last])
