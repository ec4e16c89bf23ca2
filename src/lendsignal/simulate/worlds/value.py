"""Borrowers whose true worth is known: the world that predicted value is judged on.

Every user has a hidden quality q and need d. The lender's score and a few facts of the phone tell of them,
with noise; loans follow from them alone:

    d = N − 0.25 q,   score = 600 + 60 (0.75 q + 0.65 ε − 0.1 d),   granted where score > 560
    P(first loan) = σ(1 + 0.5 d)
    P(loss of loan k) = σ(−1.7 − 0.9 q − 0.25 min(k, 4) + 0.15 [30 days])
    P(borrows again) = σ(0.9 + 0.8 d), gap ~ Exp(e^(1.2 − 0.4 d)) days, amount × 1.15
    fee 14 % (30 days: × 1.7); of a lost loan 90 % of the principal is gone

`applicants` are the same people a step earlier: everybody who asked, of whom the score is not known yet. A
third of them wait for a person's decision, 14 hours at the median; the others are decided at once.

Seeded, and the same for the same seed.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from lendsignal.value.users import DAY_US, Floats, Loans, Number, Users, Word

FIRST_AMOUNT = 100.0
FEE, LONG_FEE, LOSS, GROWTH = 0.14, 1.7, 0.9, 1.15
LOANS_AT_MOST = 12
CHANNELS, CAMPAIGNS = 8, 40
"""Campaigns are so many a channel."""

TELLING = {"phone_price": (0.55, 0.0), "apps": (0.0, 0.5), "contacts": (0.3, 0.35), "battery": (0.0, 0.0)}
"""Facts of the phone: how much of q and of d is in each; the rest of its variance is noise."""


MANUAL, REVIEW_HOURS = 0.35, 14.0
"""The part of the applications that a person decides, and the median of how long that takes."""


class World(Struct, frozen=True):
    """Users to learn from, and others of the same world to judge by.

    `users` are as they are known at `as_of_us`; `whole` the same with everything that is still to come.
    `others` were never learned from; `value` is what they brought by the horizon, `score` what the lender
    thought of them and `oracle` E[V | q, d], worked out over many lives of each.
    """

    users: Users
    whole: Users
    others: Users
    value: Floats
    score: Floats
    oracle: Floats
    as_of_us: int


def world(
    seed: int,
    number: int,
    others: int,
    *,
    history_days: float = 180.0,
    horizon_days: float = 90.0,
    lives: int = 0,
) -> World:
    """So many granted users who came evenly over the history, valued at their grant, and others beside them.

    `lives`: over how many lives of each of the others the oracle is averaged; 0 leaves it at 0.
    """
    asked = int((number + others) * 1.6) + 100
    return _world(seed, asked, number, others, history_days, horizon_days, lives, applying=False)


def applicants(
    seed: int,
    number: int,
    others: int,
    *,
    history_days: float = 180.0,
    horizon_days: float = 90.0,
    lives: int = 0,
) -> World:
    """The same with everybody who applied, valued at the application; `score` is what is thought of them in
    the review, and nobody's fact."""
    asked = number + others
    return _world(seed, asked, number, others, history_days, horizon_days, lives, applying=True)


def at_first_loan(made: World) -> World:
    """The same world with those who borrowed, who are then valued at their first loan."""
    had = _borrowed(made.others)
    return World(
        users=made.users.chosen(_borrowed(made.users)),
        whole=made.whole.chosen(_borrowed(made.whole)),
        others=made.others.chosen(had),
        value=made.value[had],
        score=made.score[had],
        oracle=made.oracle[had],
        as_of_us=made.as_of_us,
    )


def _borrowed(users: Users) -> NDArray[np.bool_]:
    return np.bincount(users.loans.user, minlength=len(users)) > 0


def _world(
    seed: int,
    asked: int,
    number: int,
    others: int,
    history_days: float,
    horizon_days: float,
    lives: int,
    *,
    applying: bool,
) -> World:
    chance = np.random.default_rng(seed)
    q = chance.normal(size=asked)
    d = chance.normal(size=asked) - 0.25 * q
    channel = chance.integers(0, CHANNELS, asked)
    campaign = channel * CAMPAIGNS + chance.integers(0, CAMPAIGNS, asked)
    # Campaigns differ in whom they bring.
    q = q + chance.normal(0, 0.15, CHANNELS * CAMPAIGNS)[campaign] + chance.normal(0, 0.1, CHANNELS)[channel]
    score = 600 + 60 * (0.75 * q + 0.65 * chance.normal(size=asked) - 0.1 * d)
    mine = np.ones(asked, dtype=np.bool_) if applying else score > 560
    chosen = np.flatnonzero(mine)[: number + others]
    q, d, score = q[chosen], d[chosen], score[chosen]
    channel, campaign = channel[chosen], campaign[chosen]
    n = len(chosen)
    as_of_us = 20_000 * DAY_US
    at_us = as_of_us - (chance.random(n) * history_days * DAY_US).astype(np.int64)
    term = np.where(chance.random(n) < 0.3, 30.0, 14.0)
    told = {
        name: _told(chance, of_q * q + of_d * d, float(np.hypot(of_q, of_d)))
        for name, (of_q, of_d) in TELLING.items()
    }
    names = tuple(f"campaign-{one}" for one in range(CHANNELS * CAMPAIGNS))
    begun = _decided(chance, score) if applying else np.zeros(n)
    known = {} if applying else {"score v1": Number(score, at_us)}
    every = Users(
        at_us=at_us,
        followed=np.full(n, np.inf),
        numbers={
            **known,
            "term_days": Number(term, at_us),
            **{name: Number(values, at_us) for name, values in told.items()},
        },
        words={
            "channel": Word(channel, tuple(f"channel-{one}" for one in range(CHANNELS)), at_us),
            "country": Word(np.zeros(n, dtype=np.int64), ("NG",), at_us),
            "campaign": Word(campaign, names, at_us),
        },
        loans=_lives(chance, q, d, term, horizon_days, begun),
        campaign=Word(campaign, names, at_us),
        granted=begun if applying else None,
    )
    mine = np.arange(n) < number
    whole, rest = every.chosen(mine), every.chosen(~mine)
    oracle = np.zeros(int((~mine).sum()))
    for _ in range(lives):
        once = _lives(chance, q[~mine], d[~mine], term[~mine], horizon_days, begun[~mine])
        oracle += np.bincount(once.user, weights=once.result, minlength=len(oracle)) / lives
    return World(
        users=whole.as_of(as_of_us, 0.0),
        whole=whole,
        others=rest,
        value=rest.value(horizon_days),
        score=score[~mine],
        oracle=oracle,
        as_of_us=as_of_us,
    )


def _decided(chance: np.random.Generator, score: Floats) -> Floats:
    """So many days after the application the grant comes; infinite where there is none."""
    waits = REVIEW_HOURS / 24 * np.exp(0.6 * chance.normal(size=len(score)))
    days = np.where(chance.random(len(score)) < MANUAL, waits, 0.0)
    return np.where(score > 560, days, np.inf)


def _told(chance: np.random.Generator, meant: Floats, part: float) -> Floats:
    """A fact of which that part is meant and the rest is noise; now and then it is not told."""
    noise = np.sqrt(max(1 - part**2, 0.0)) * chance.normal(size=len(meant))
    return np.where(chance.random(len(meant)) < 0.05, np.nan, meant + noise)


def _lives(
    chance: np.random.Generator, q: Floats, d: Floats, term: Floats, horizon_days: float, begun: Floats
) -> Loans:
    """The loans of every user that fall due within the horizon; the first is paid out on the day `begun`."""
    n = len(q)
    found: dict[str, list[NDArray[np.generic]]] = {name: [] for name in Loans.__struct_fields__}
    long = term == 30.0
    fee = FEE * np.where(long, LONG_FEE, 1.0)
    opened, amount = begun, np.full(n, FIRST_AMOUNT)
    alive: NDArray[np.bool_] = chance.random(n) < _sigma(1 + 0.5 * d)
    for number in range(LOANS_AT_MOST):
        due = opened + term
        alive = alive & (due <= horizon_days)
        who = np.flatnonzero(alive)
        if not len(who):
            break
        lost = chance.random(n) < _sigma(-1.7 - 0.9 * q - 0.25 * min(number + 1, 4) + 0.15 * long)
        result = np.where(lost, -LOSS, fee) * amount
        columns: dict[str, NDArray[np.generic]] = {
            "user": np.arange(n),
            "number": np.full(n, number),
            "opened": opened,
            "due": due,
            "term": term,
            "amount": amount,
            "fee": fee * amount,
            "lost": np.where(lost, LOSS * amount, 0.0),
            "result": result,
            "ended": np.where(lost, np.inf, due),
        }
        for name, values in columns.items():
            found[name].append(values[who])
        again = chance.random(n) < _sigma(0.9 + 0.8 * d)
        alive = alive & ~lost & again
        opened = due + chance.exponential(np.exp(1.2 - 0.4 * d))
        amount = amount * GROWTH
    whole = {name: np.concatenate(parts) for name, parts in found.items()}
    order = np.lexsort((whole["number"], whole["user"]))
    return Loans(**{name: values[order] for name, values in whole.items()})


def _sigma(logit: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-logit))
    return found
