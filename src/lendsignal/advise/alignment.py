"""How well what a platform can learn of an event points at profit, from a lender's own installs.

A platform ranks people by its estimate of E[signal | x]. What counts is therefore how the *predictable* parts
of signal and profit go together, not how the two themselves do: one user's luck cannot be bought. x is not
ours to see; stand-ins are (campaign, app, hour). The installs are cut into parts by lot; with b_i the weights
of the stand-ins in part i and S their covariance,

    C_uv = mean over i ≠ j of b_u,i' S b_v,j        ρ̂ = C_eV / √(C_ee C_VV)        λ̂ = C_ee / Var(e)

No part meets itself, so that the noise of the weights cancels: the mean over all ways to split the installs
in two halves and hold one against the other. What that leaves uncertain of ρ̂ is filled up from the plain
correlation of users, per event: less noisy and less to the point.
"""

from typing import Any, TypeAlias

import numpy as np
from msgspec import Struct

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Ints: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

PARTS = 80
"""Into so many parts the installs are cut; they are drawn again for the uncertainty."""

LEAST = 2 * PARTS
"""Installs below which nothing is said."""

DRAWS = 400

BEST_GUESS = 0.95
"""Before ρ̂ says anything, ρ is taken to be in proportion to (correlation of users) / √(share of installs with
the event), and so much for the highest: a rare event is diluted by luck, and hardly the worse for it."""

PLAIN_SPREAD = 0.2
"""The standard deviation of what that guess leaves open, as made-up markets have it (`bench science`); a ρ̂ as
uncertain as this counts for one half."""

CHANCE = 4.0
"""The mean of n·correlation² over all events, up to which it is taken for chance: where profit has nothing to
do with any event it is 1. The guess is made smaller by that part (W. James and C. Stein, "Estimation with
quadratic loss", Proceedings of the Fourth Berkeley Symposium 1 (1961) 361–379)."""

USABLE = 0.8
"""The part of all draws in which both predictable parts must show, for ρ̂ to count at all."""


class Alignment(Struct, frozen=True, kw_only=True):
    """What the installs say of each signal, in the order of the columns given.

    `rho`: correlation of the predictable parts of signal and profit, from −1 to 1, after shrinking; `plain`:
    that of users, and `guess` what follows from it; `split_half`: ρ̂ before shrinking, `nan` where nothing
    predictable shows; `weight`: how much of `rho` is ρ̂. `explained`: λ̂, the part of the signal's variance
    that the stand-ins tell. `spread`: σ̂ of the predictable part of profit, in its unit. The `_draws` have
    one row a draw.
    """

    installs: int
    rho: Floats
    plain: Floats
    guess: Floats
    split_half: Floats
    weight: Floats
    explained: Floats
    spread: float
    rho_draws: Floats
    spread_draws: Floats


def alignment(
    features: Floats, signals: Floats, profit: Floats, rng: np.random.Generator, *, draws: int = DRAWS
) -> Alignment:
    """`features` n×p, numbers of about unit scale; `signals` n×e; `profit` n: 0 for who was never granted.

    All of them of the same installs, old enough that signal and profit are known; `LEAST` at least.
    """
    count = len(profit)
    outcomes = np.column_stack([signals, profit])
    x = features - features.mean(axis=0)
    y = outcomes - outcomes.mean(axis=0)
    spread_y = y.std(axis=0)
    y = y / np.where(spread_y > 0, spread_y, 1.0)
    shared = x.T @ x / count
    moments = _moments(x, y, rng)
    together = _together(moments, shared, count, _times(rng, draws))
    rho, explained = _rho(together)
    plain = y[:, :-1].T @ y[:, -1] / count
    share = (signals != 0).mean(axis=0)
    return _shrunk(rho, explained, plain, share, together[:, -1, -1], float(spread_y[-1]), count, rng)


def _moments(x: Floats, y: Floats, rng: np.random.Generator) -> Floats:
    """X'Y of each part of the installs."""
    parts = np.array_split(rng.permutation(len(x)), PARTS)
    return np.array([x[part].T @ y[part] for part in parts])


def _times(rng: np.random.Generator, draws: int) -> Floats:
    """How often each part counts: once in the first row, which is the data themselves; then drawn anew."""
    drawn = rng.multinomial(PARTS, np.full(PARTS, 1 / PARTS), size=draws)
    return np.vstack([np.ones(PARTS), drawn])


def _together(moments: Floats, shared: Floats, count: int, times: Floats) -> Floats:
    """b'Sb of every pair of columns for each draw, less what each part says of itself."""
    width, columns = moments.shape[1:]
    # As much as the square root of the installs: it only keeps thin campaigns from running away.
    penalty = max(float(np.trace(shared)) / max(width, 1), 1e-12) / np.sqrt(count)
    inverse = np.linalg.inv(shared + penalty * np.eye(width))
    metric = inverse @ shared @ inverse / count**2
    own = np.einsum("iwa,wv,ivb->iab", moments, metric, moments, optimize=True)
    whole = (times @ moments.reshape(PARTS, -1)).reshape(len(times), width, columns)
    squares = np.square(times)
    crossed = np.einsum("twa,wv,tvb->tab", whole, metric, whole, optimize=True)
    crossed -= np.tensordot(squares, own, axes=1)
    pairs = 1 - squares.sum(axis=1) / PARTS**2
    return np.asarray(crossed / pairs[:, None, None])


def _rho(together: Floats) -> tuple[Floats, Floats]:
    """ρ̂ and λ̂ of each draw and signal; ρ̂ is `nan` where a predictable part does not show."""
    own = np.diagonal(together, axis1=1, axis2=2)
    under = own[:, :-1] * own[:, -1:]
    shows = (own[:, :-1] > 0) & (own[:, -1:] > 0)
    rho = np.where(shows, together[:, :-1, -1] / np.sqrt(np.where(shows, under, 1.0)), np.nan)
    return np.clip(rho, -1.5, 1.5), own[:, :-1]


def _guess(plain: Floats, share: Floats, count: int) -> Floats:
    """ρ by users' correlation alone; nothing where all of them together are what chance would give."""
    chance = CHANCE * len(plain) / max(count * float(np.square(plain).sum()), 1e-12)
    per_event = plain / np.sqrt(np.maximum(share, 1e-12))
    best = max(float(np.abs(per_event).max()), 1e-9)
    return np.asarray(max(0.0, 1 - chance) * BEST_GUESS * per_event / best)


def _shrunk(
    rho: Floats,
    explained: Floats,
    plain: Floats,
    share: Floats,
    profit: Floats,
    spread: float,
    count: int,
    rng: np.random.Generator,
) -> Alignment:
    """ρ̂ and the guess from users' correlation, each by how sure it is: the mean of two normals."""
    draws = rho[1:]
    shown = np.isfinite(draws)
    usable = np.isfinite(rho[0]) & (shown.mean(axis=0) >= USABLE)
    middle = np.where(usable, rho[0], 0.0)
    off = np.where(shown & usable, draws - middle, 0.0)
    noise = off.std(axis=0)
    weight = np.where(usable, PLAIN_SPREAD**2 / (PLAIN_SPREAD**2 + noise**2), 0.0)
    guess = _guess(plain, share, count)
    mean = np.clip(weight * middle + (1 - weight) * guess, -1, 1)
    # The posterior's variance is w·noise². The draws of ρ̂ hold w²·noise² of it, in which nested events move
    # together; the rest is drawn beside them. Where ρ̂ does not count, the guess's own doubt is all there is.
    left = np.where(usable, weight * (1 - weight) * noise**2, PLAIN_SPREAD**2)
    beside = np.sqrt(left) * rng.standard_normal(draws.shape)
    return Alignment(
        installs=count,
        rho=mean,
        plain=plain,
        guess=guess,
        split_half=np.where(usable, rho[0], np.nan),
        weight=weight,
        explained=np.maximum(explained[0], 0.0),
        spread=spread * float(np.sqrt(max(profit[0], 0.0))),
        rho_draws=np.clip(mean + weight * off + beside, -1, 1),
        spread_draws=spread * np.sqrt(np.maximum(profit[1:], 0.0)),
    )
