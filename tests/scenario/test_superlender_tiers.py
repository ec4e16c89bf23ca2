"""Tiers on real loans: the better the tier, the fewer are lost, by the figures that stand beside the data."""

import csv
import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from lendsignal.derive.recut import Sample, rungs_over

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("LENDSIGNAL_SHARED", ROOT.parent / "shared")) / "data" / "superlender"

pytestmark = pytest.mark.skipif(
    not (DATA / "scores.csv.gz").exists(),
    reason=f"NOT RUN: no loans at {DATA}; LENDSIGNAL_SHARED can name their folder",
)

LOST = {20: 9.84, 30: 10.76, 50: 12.32, 70: 14.19, 100: 21.79}
"""Per cent of loans lost among the best so many per cent by score, as the data's README has them."""


def rows(name: str) -> list[dict[str, str]]:
    with gzip.open(DATA / name, "rt") as file:
        return list(csv.DictReader(file))


def test_the_tiers_of_real_loans_lose_what_the_data_says() -> None:
    scores = {one["systemloanid"]: float(one["score"]) for one in rows("scores.csv.gz")}
    loans = rows("trainperf.csv.gz")
    measures = np.array([scores[one["systemloanid"]] for one in loans])
    lost = np.array([one["good_bad_flag"] == "Bad" for one in loans])
    sample = Sample(measures, np.random.default_rng(1).random(len(loans)))

    rungs = rungs_over(sample, None, [20, 30, 50, 70], own_weight=1.0)

    for rung in rungs:
        chosen = (measures > rung.edge) | ((measures == rung.edge) & (sample.seed < rung.ties))
        assert chosen.mean() == pytest.approx(rung.share / 100, abs=0.005)
        assert lost[chosen].mean() * 100 == pytest.approx(LOST[rung.share], abs=0.5)
    assert lost.mean() * 100 == pytest.approx(LOST[100], abs=0.005)
