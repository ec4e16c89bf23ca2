"""Published figures that our own arithmetic must come to: what is right once stays right."""

from collections.abc import Sequence

import numpy as np

from lendsignal.advise.bids.triangle import ultimates
from lendsignal.simulate.chance import Floats

RAA: Sequence[Sequence[float]] = (
    (5012, 8269, 10907, 11805, 13539, 16181, 18009, 18608, 18662, 18834),
    (106, 4285, 5396, 10666, 13782, 15599, 15496, 16169, 16704),
    (3410, 8992, 13873, 16141, 18735, 22214, 22863, 23466),
    (5655, 11555, 15766, 21266, 23425, 26083, 27067),
    (1092, 9565, 15836, 22169, 25955, 26180),
    (1513, 6445, 11702, 12935, 15852),
    (557, 4020, 10946, 12314),
    (1351, 6947, 13112),
    (3133, 5395),
    (2063,),
)
"""Incurred losses of automatic facultative business in general liability, 1981 to 1990, in thousand dollars,
of the Reinsurance Association of America; as printed by T. Mack, "Which stochastic model is underlying the
chain ladder method?", Insurance: Mathematics and Economics 15 (1994) 133–138."""

RAA_IBNR = 52_135
"""What is still to come by chain-ladder, ibid."""


def raa_triangle() -> Floats:
    """The triangle with `nan` for what was not known yet."""
    found = np.full((len(RAA), len(RAA)), np.nan)
    for place, row in enumerate(RAA):
        found[place, : len(row)] = row
    return found


def raa_ibnr() -> float:
    """What is still to come of those losses by our chain-ladder."""
    latest = np.array([row[-1] for row in RAA])
    return float((ultimates(raa_triangle()) - latest).sum())


def bg_nbd_log_likelihood(
    parameters: Sequence[float], repeats: Floats, last: Floats, watched: Floats
) -> float:
    """The logarithm of the likelihood of purchases under BG/NBD with parameters (r, α, a, b), added up.

    `repeats` x: purchases after the first one. `last` t_x: when the last of them was, 0 without any;
    `watched` T: until when the customer was watched; both since the first purchase. With
    A₁ = Γ(r+x) α^r / Γ(r), A₂ = Γ(a+b) Γ(b+x) / (Γ(b) Γ(a+b+x)), A₃ = (α+T)^−(r+x) and, where x > 0,
    A₄ = a / (b+x−1) · (α+t_x)^−(r+x), it is ln A₁ + ln A₂ + ln (A₃ + A₄).
    P. Fader, B. Hardie and K. Lee, "Counting your customers the easy way", Marketing Science 24 (2005)
    275–284.
    """
    from scipy.special import gammaln  # here: it takes its time to load

    r, alpha, a, b = parameters
    x = repeats
    first = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    second = gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
    third = -(r + x) * np.log(alpha + watched)
    fourth = np.where(
        x > 0, np.log(a) - np.log(b + np.maximum(x, 1) - 1) - (r + x) * np.log(alpha + last), -np.inf
    )
    return float((first + second + np.logaddexp(third, fourth)).sum())


def bg_nbd(repeats: Floats, last: Floats, watched: Floats) -> tuple[Floats, float]:
    """The parameters (r, α, a, b) of the greatest likelihood, and its logarithm."""
    from scipy.optimize import minimize

    def loss(logs: Floats) -> float:
        return -bg_nbd_log_likelihood(np.exp(logs).tolist(), repeats, last, watched) / len(repeats)

    found = minimize(loss, np.zeros(4), method="Nelder-Mead", options={"maxiter": 2_000, "fatol": 1e-10})
    return np.exp(found.x), float(-found.fun * len(repeats))
