"""What training and scoring of predicted value cost, and how what is said is met, on made-up borrowers."""

from collections.abc import Callable
from resource import RUSAGE_SELF, getrusage
from time import perf_counter, process_time
from typing import Literal

import numpy as np
from msgspec import Struct

from lendsignal.simulate.worlds.value import World, applicants, at_first_loan, world
from lendsignal.value.judging import Decile, deciles, judged, normalised_gini
from lendsignal.value.low import LOW, lows_of
from lendsignal.value.training import Learning, learned, values_of
from lendsignal.value.users import Floats
from lendsignal.value.worth import score_of

HORIZON_DAYS = 90.0
JUDGED, ONE_BY_ONE = 100_000, 20_000
"""Users that are judged by, and how many of them are valued one by one as decisions do it."""


class LowTenth(Struct, frozen=True):
    """A tenth of the users by what was said of them, the lowest first: the mean value that came, what three
    in ten of them were said to bring less than (the median of it), and what three in ten truly brought less
    than."""

    mean: float
    said: float
    came: float


class Valuing(Struct, frozen=True, kw_only=True):
    """Times of one run on this machine, in seconds, and the figures of its model.

    `train_seconds` has look-up and trees together, on one thread. `one_us` is what one user costs a decision,
    `score_seconds` what all judged users cost at once. `rss_mib` is the most that the process ever held.
    """

    users: int
    trees: int
    lookup_seconds: float
    train_seconds: float
    train_cpu_seconds: float
    score_seconds: float
    one_us: float
    lookup_one_us: float
    rss_mib: float
    gini: float
    lookup_gini: float
    score_gini: float
    bias: float
    deciles: tuple[Decile, ...]
    lookup_deciles: tuple[Decile, ...]
    low_tenths: tuple[LowTenth, ...]


At = Literal["grant", "apply", "loan"]
"""When users are valued: at the grant, at the application, at the first loan."""


def value_users(users: int, tell: Callable[[str], None], seed: int = 11, at: At = "grant") -> Valuing:
    """Makes a world of so many borrowers, learns from it, and values others of the same world.

    At `apply` they are applicants, and `score_gini` is that of the score that their review will give them.
    At `loan` those are left who borrowed.
    """
    tell(f"making {users:,} {'applicants' if at == 'apply' else 'borrowers'}")
    made = (applicants if at == "apply" else world)(seed, users, JUDGED, horizon_days=HORIZON_DAYS)
    if at == "loan":
        made = at_first_loan(made)
    learning = Learning(horizon_days=HORIZON_DAYS)
    tell("learning the look-up")
    begun = perf_counter()
    learned(made.users, learning, np.random.default_rng(5), trees=False)
    lookup_seconds = perf_counter() - begun
    tell("learning look-up and trees")
    begun, cpu = perf_counter(), process_time()
    models = learned(made.users, learning, np.random.default_rng(5))
    train_seconds, train_cpu = perf_counter() - begun, process_time() - cpu
    tell("valuing others")
    begun = perf_counter()
    said = values_of(models.of("trees"), made.others)
    score_seconds = perf_counter() - begun
    by_table = values_of(models.lookup, made.others)
    strong = models.of("trees")
    found = judged(said, made.value)
    return Valuing(
        users=users,
        trees=len(strong.trees.trees) if strong.trees is not None else 0,
        lookup_seconds=lookup_seconds,
        train_seconds=train_seconds,
        train_cpu_seconds=train_cpu,
        score_seconds=score_seconds,
        one_us=_one_us(score_of(strong), made),
        lookup_one_us=_one_us(score_of(models.lookup), made),
        rss_mib=getrusage(RUSAGE_SELF).ru_maxrss / 1024,
        gini=found.gini,
        lookup_gini=normalised_gini(by_table, made.value),
        score_gini=normalised_gini(made.score, made.value),
        bias=found.bias,
        deciles=found.deciles,
        lookup_deciles=deciles(by_table, made.value),
        low_tenths=_low_tenths(lows_of(strong.bands, said), said, made.value),
    )


def _low_tenths(low: Floats, said: Floats, came: Floats) -> tuple[LowTenth, ...]:
    tenths = np.array_split(np.argsort(said, kind="stable"), 10)
    return tuple(
        LowTenth(
            float(came[part].mean()),
            float(np.median(low[part])),
            float(np.quantile(came[part], LOW, method="inverted_cdf")),
        )
        for part in tenths
    )


def _one_us(score: Callable[..., float], made: World) -> float:
    """Processor time of one value, the facts at hand."""
    facts = [made.others.facts(place) for place in range(min(ONE_BY_ONE, len(made.others)))]
    begun = process_time()
    for one in facts:
        score(one)
    return (process_time() - begun) / len(facts) * 1e6
