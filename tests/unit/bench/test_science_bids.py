"""The figures of bids in their short form, and what was published of others' methods."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from lendsignal.advise.bids.triangle import growth, ultimates
from lendsignal.bench.science.bids import errors, loop, mature_only
from lendsignal.bench.science.oracles import RAA_IBNR, bg_nbd, bg_nbd_log_likelihood, raa_ibnr, raa_triangle
from lendsignal.simulate.worlds.bids import closed_loop, cohorts

CDNOW = Path(__file__).parents[4] / "shared" / "data" / "cdnow" / "cdnow_customers_summary.csv.gz"


@pytest.mark.parametrize("cell", [(14, 5), (30, 5)])
def test_the_blend_is_two_fifths_nearer_to_the_truth_than_chain_ladder_where_loans_are_few(
    cell: tuple[int, int],
) -> None:
    runs = [errors(cohorts(*cell, seed), seed) for seed in range(2)]
    rmse = {name: np.sqrt(np.mean([squares[name] for squares, _ in runs])) for name in runs[0][0]}
    held = np.mean([held["roll_rates_score"] for _, held in runs])

    assert rmse["eb"] < 0.6 * rmse["chain_ladder"]
    assert rmse["roll_rates_score"] < 0.5 * rmse["chain_ladder"]
    assert rmse["roll_rates_score"] < rmse["eb"] < rmse["mature_only"]
    # Nine in ten, give or take what two worlds leave unsure of how much campaigns differ.
    assert 0.82 < held < 0.98


def test_going_by_the_blend_earns_no_less_than_going_by_raw_rates_with_fewer_edits() -> None:
    found = loop(range(6))

    assert found["eb_gated"]["profit_per_spend"] > found["raw"]["profit_per_spend"] - 0.004
    assert found["eb"]["profit_per_spend"] > found["as_observed"]["profit_per_spend"]
    assert found["eb_gated"]["edits"] < 0.7
    assert found["static"]["edits"] == 0


def test_every_strategy_meets_the_same_world() -> None:
    assert closed_loop("static", 3) == closed_loop("static", 3)
    assert closed_loop("static", 3) != closed_loop("static", 4)


def test_a_world_tells_no_end_before_its_day() -> None:
    world = cohorts(14, 25, 1, campaigns=200)
    known = world.bad_at < 10_000

    assert (world.bad_at[known] <= world.due_age[known]).all()
    assert (world.paid_at[world.paid_at < 10_000] <= world.due_age[world.paid_at < 10_000]).all()
    assert np.abs(mature_only(world).mean() - world.truth.mean()) < 0.02


def test_chain_ladder_comes_to_the_published_reserve() -> None:
    assert raa_ibnr() == pytest.approx(RAA_IBNR, abs=1)


def test_chain_ladder_multiplies_by_the_growth_of_older_cohorts() -> None:
    triangle = np.array([[10.0, 20, 30], [30, 60, np.nan], [50, np.nan, np.nan]])

    # 80 / 40 and 30 / 20.
    assert growth(triangle).tolist() == [2.0, 1.5]
    assert ultimates(triangle).tolist() == [30.0, 90.0, 150.0]
    assert raa_triangle().shape == (10, 10)


def test_the_likelihood_of_purchases_comes_to_the_published_figures() -> None:
    if not CDNOW.exists():
        pytest.skip(f"the purchases of CDNOW's customers are not there: {CDNOW.name}")
    with gzip.open(CDNOW, "rt") as lines:
        rows = list(csv.DictReader(lines))
    repeats, last, watched = (
        np.array([float(row[name]) for row in rows]) for name in ("frequency", "recency", "T")
    )
    parameters, likelihood = bg_nbd(repeats, last, watched)

    assert len(rows) == 2_357
    assert likelihood == pytest.approx(-9_582.43, abs=0.01)
    assert parameters == pytest.approx([0.243, 4.414, 0.793, 2.426], abs=0.001)
    assert bg_nbd_log_likelihood((0.3, 4.0, 0.8, 2.4), repeats, last, watched) < likelihood
