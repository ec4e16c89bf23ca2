"""From loans to evidence: how much of each loan's end is known, and what is known of it.

A loan's part in the evidence has two numbers: how much its state tells of its end (`known`, from 0 to 1), and
how much of a lost loan that amounts to (`bad`). By a development curve, with f the part of all lost loans
that are known by that age and p what is lost of its kind, a loan is known as lost with the chance f·p, and
tells f·w of its end, w = (1 − p)/(1 − f·p): Fisher's information in parts of that of a known end. `bad` is w
or 0. By roll rates `bad` is what the loan's state adds to
what was expected of it, so that a loan three days late speaks before it is lost.
"""

from collections.abc import Mapping

import numpy as np
from msgspec import Struct

from lendsignal.advise.bids.posterior import Evidence, Floats, Ints
from lendsignal.report.development import NEVER, Curve, curve_of

MEMORY_PER_WEEK = 0.93
"""What a price or a size of a loan a week ago still says of the next. Of losses the weeks speak themselves:
`posterior` finds how fast campaigns change."""

WEEKS = 52
"""Older loans stand with those of a year ago."""


class Said(Struct, frozen=True):
    """Of each loan how much of its end is `known`, how much `bad` that is, and what was `expected`."""

    known: Floats
    bad: Floats
    expected: Floats


def gathered(
    campaign: Ints, campaigns: int, age_days: Ints, said: Said, score: Floats | None = None
) -> Evidence:
    """The evidence of each campaign, from its loans: `campaign` is the campaign's number, 0 to `campaigns` −
    1.

    `age_days`: since the disbursement, of each loan. `score`: of each loan, higher is better, `nan` where it
    has none; a campaign without any has the mean of all.
    """
    week = np.clip(age_days // 7, 0, WEEKS - 1)
    weeks = int(week.max(initial=0)) + 1
    cell = campaign * weeks + week
    seen, bad = (
        _sum(cell, values, campaigns * weeks).reshape(campaigns, weeks) for values in (said.known, said.bad)
    )
    general = float(said.expected.mean()) if len(said.expected) else 0.5
    return Evidence(
        seen=seen,
        bad=bad,
        expected=_mean(campaign, said.expected, campaigns, general),
        score=None if score is None else _scores(campaign, campaigns, score),
    )


def by_development(
    kind: Ints, bad_at: Ints, seen_until: Ints
) -> tuple[Said, Mapping[int | None, Curve]] | None:
    """What loans say by the development curves of their kinds, and those curves (`None`: that of all loans).

    `kind`: what develops alike, such as a product in a country with a term. `bad_at`, `seen_until`: due ages,
    as in `report.development`. A kind with too few lost loans goes by the curve of all. `None`: there are too
    few for that one.
    """
    seen = np.maximum(seen_until, np.where(bad_at < NEVER, bad_at, seen_until))
    everyone = curve_of(bad_at, seen)
    if everyone is None:
        return None
    is_bad = (bad_at < NEVER).astype(np.float64)
    part = everyone.at(seen_until)
    expected = np.full(len(kind), _final(is_bad, part))
    curves: dict[int | None, Curve] = {None: everyone}
    for one in np.unique(kind).tolist():
        mine = kind == one
        curve = curve_of(bad_at[mine], seen[mine])
        if curve is not None:
            curves[one] = curve
            part[mine] = curve.at(seen_until[mine])
            expected[mine] = _final(is_bad[mine], part[mine])
    # A young loan that is not lost yet hardly says anything, so that lost ones among young are pure luck.
    worth = (1 - expected) / (1 - part * expected)
    return Said(part * worth, is_bad * worth, expected), curves


def _final(is_bad: Floats, known: Floats) -> float:
    """The share that is lost in the end."""
    return float(np.clip(is_bad.sum() / max(known.sum(), 1e-9), 1e-4, 1 - 1e-4))


def _scores(campaign: Ints, campaigns: int, score: Floats) -> Floats | None:
    """Each campaign's mean score in standard deviations of all loans' scores."""
    told = ~np.isnan(score)
    spread = float(score[told].std()) if told.any() else 0.0
    if spread == 0:
        return None
    return _mean(campaign[told], (score[told] - score[told].mean()) / spread, campaigns, 0.0)


def _sum(campaign: Ints, values: Floats, campaigns: int) -> Floats:
    return np.bincount(campaign, weights=values, minlength=campaigns).astype(np.float64)


def _mean(campaign: Ints, values: Floats, campaigns: int, otherwise: float) -> Floats:
    count = np.bincount(campaign, minlength=campaigns)
    return np.where(count > 0, _sum(campaign, values, campaigns) / np.maximum(count, 1), otherwise)
