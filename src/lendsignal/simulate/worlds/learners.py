"""Three made-up platforms that learn in three ways: a ridge regression, boosted trees, and a bandit.

None of them shares a formula with the advisor, which has to foresee what they do.
"""

from collections.abc import Callable, Mapping

import numpy as np

from lendsignal.simulate.chance import Floats, logistic
from lendsignal.simulate.worlds.events import Learner


class Ridge:
    """Linear in the features; the penalty is σ²·p / b'b of the plain fit.

    A. E. Hoerl, R. W. Kennard and K. F. Baldwin, "Ridge regression: some simulations", Communications in
    Statistics 4 (1975) 105–123.
    """

    def __init__(self, seed: int) -> None:
        self._weights: Floats | None = None

    def learn(self, features: Floats, labels: Floats) -> None:
        count, width = features.shape
        x = features - features.mean(axis=0)
        y = labels - labels.mean()
        gram, moment = x.T @ x, x.T @ y
        plain = np.linalg.solve(gram + 1e-3 * count * np.eye(width), moment)
        rest = float(np.square(y - x @ plain).sum()) / max(count - width, 1)
        penalty = rest * width / max(float(plain @ plain), 1e-12)
        self._weights = np.linalg.solve(gram + penalty * np.eye(width), moment)

    def wants(self, features: Floats) -> Floats:
        return np.zeros(len(features)) if self._weights is None else np.asarray(features @ self._weights)


class Trees:
    """Sixty small boosted trees on squared error, grown anew every second day."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._asked = 0
        self._trees: Callable[[Floats], Floats] | None = None

    def learn(self, features: Floats, labels: Floats) -> None:
        import lightgbm

        self._asked += 1
        if self._asked % 2 == 0 or not labels.any():
            return
        grown = lightgbm.train(
            {
                "objective": "regression",
                "num_leaves": 6,
                "learning_rate": 0.06,
                "min_data_in_leaf": 20,
                "lambda_l2": 10.0,
                "max_bin": 31,
                "num_threads": 1,
                "seed": self._seed,
                "deterministic": True,
                "force_row_wise": True,
                "verbosity": -1,
            },
            lightgbm.Dataset(features, label=labels),
            num_boost_round=60,
        )
        self._trees = lambda asked: np.asarray(grown.predict(asked, num_threads=1))

    def wants(self, features: Floats) -> Floats:
        return np.zeros(len(features)) if self._trees is None else self._trees(features)


class Bandit:
    """Thompson sampling over a logistic response: weights are drawn anew each day from what is known of them.

    The posterior is Laplace's, diagonal, from Newton steps (O. Chapelle and L. Li, "An empirical evaluation
    of Thompson sampling", NIPS 24 (2011), algorithm 3). A value counts as that many responses, in units of
    the mean value.
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng([seed, 3])
        self._mean: Floats | None = None
        self._spread: Floats | None = None

    def learn(self, features: Floats, labels: Floats) -> None:
        hits = labels > 0
        if not hits.any():
            return
        weight = np.where(hits, labels / labels[hits].mean(), 1.0)
        x = np.column_stack([np.ones(len(features)), features])
        prior = np.full(x.shape[1], 20.0)
        prior[0] = 1e-3
        w = np.zeros(x.shape[1])
        share = float(np.average(hits, weights=weight))
        w[0] = np.log(share / max(1 - share, 1e-6))
        for _ in range(4):
            p = logistic(x @ w)
            slope = x.T @ (weight * (hits - p)) - prior * w
            curve = (x.T * (weight * p * (1 - p))) @ x + np.diag(prior)
            w = w + np.linalg.solve(curve, slope)
        self._mean, self._spread = w, 1 / np.sqrt(np.diag(curve))

    def wants(self, features: Floats) -> Floats:
        if self._mean is None or self._spread is None:
            return self._rng.standard_normal(len(features))
        w = self._mean + self._spread * self._rng.standard_normal(len(self._mean))
        return np.asarray(features @ w[1:])


LEARNERS: Mapping[str, Callable[[int], Learner]] = {"ridge": Ridge, "trees": Trees, "bandit": Bandit}
"""Each platform by its name; the argument is a seed."""
