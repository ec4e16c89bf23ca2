"""What a real lender's history tells of value: the published facts, found by our own trees.

Needs the data: a folder `shared` beside the repository, or where LENDSIGNAL_SHARED says.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from examples.superlender.value import (
    CUT,
    NAMES,
    Fact,
    auc,
    by_folds,
    calibration,
    facts_of,
    fees_by_day,
    outcomes,
    scored,
)

from lendsignal.value.boosting import Columns, grown, predicted_of
from lendsignal.value.judging import spearman
from lendsignal.value.worth import Trees, Walk

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("LENDSIGNAL_SHARED", ROOT.parent / "shared")) / "data" / "superlender"

pytestmark = pytest.mark.skipif(
    not (DATA / "trainperf.csv.gz").exists(),
    reason="the SuperLender data is not here: set LENDSIGNAL_SHARED to the folder that has data/",
)


@pytest.fixture(scope="module")
def facts() -> list[Fact]:
    return list(facts_of(DATA))


def test_every_published_fact_of_value_and_risk_is_found_again(facts: list[Fact]) -> None:
    """CONVERSION.md 1.4, within the tolerances that stand at its end."""
    assert len(facts) > 40
    assert [(one.name, one.published, one.found) for one in facts if not one.holds] == []


def test_a_fact_that_is_off_by_more_than_its_tolerance_is_told() -> None:
    assert Fact(name="share", published=0.218, found=0.2199, off=0.002).holds
    assert not Fact(name="share", published=0.218, found=0.2203, off=0.002).holds
    assert not Fact(name="AUC", published=0.69, found=0.6899, off=0, least=True).holds


def test_what_is_said_of_real_loans_comes() -> None:
    """Of tenths of 437 loans by trees that never saw the customer, nine in ten within two and a half
    standard errors."""
    chart = calibration(DATA)
    said, came = (one.values for one in chart.series)

    off = [
        abs(a - b) / (b * (1 - b) / 436) ** 0.5
        for a, b in zip(said, came, strict=True)
        if a is not None and b is not None
    ]

    assert len(off) == 10
    assert sum(one < 2.5 for one in off) >= 9


def test_trees_tell_bad_loans_as_well_as_published_on_customers_they_never_saw() -> None:
    """CONVERSION.md: by five folds 0.69 at least."""
    bad, p = outcomes(DATA).bad, by_folds(DATA)

    assert (len(bad), int(bad.sum())) == (4_368, 952)
    assert auc(p, bad) >= 0.69
    # What is said comes: in the best, the middle and the worst fifth, within three standard deviations.
    for part in np.array_split(np.argsort(p), 5)[::2]:
        expected = float(p[part].mean())
        assert abs(bad[part].mean() - expected) < 3 * (expected * (1 - expected) / len(part)) ** 0.5 + 0.02


def test_trees_tell_bad_loans_of_a_later_time() -> None:
    """CONVERSION.md: learned before 20 July 2017, 0.67 at least."""
    found = outcomes(DATA)
    bad, earlier = found.bad, found.at < CUT

    said = scored(found, earlier)

    assert auc(said[~earlier], bad[~earlier]) >= 0.67


def test_one_customer_is_scored_by_a_decision_as_all_are() -> None:
    facts, bad = outcomes(DATA).facts, outcomes(DATA).bad
    columns = Columns(facts, tuple(NAMES), ())
    trees = Trees(
        numbers=columns.numbers,
        words=(),
        trees=tuple(grown(columns, np.arange(len(facts)), bad, np.arange(len(facts)) % 5 == 0, "binary")),
    )
    walk = Walk(trees)

    one_by_one = [
        walk.total({name: value for name, value in zip(NAMES, row, strict=True) if value == value})
        for row in facts[:300].tolist()
    ]

    assert one_by_one == pytest.approx(predicted_of(trees, facts[:300]).tolist(), rel=1e-12)


def test_the_value_of_the_first_week_says_little_of_the_half_year() -> None:
    """CONVERSION.md 1.4: Spearman of fees by day 7, 30 and 90 with day 180 is 0.10, 0.44 and 0.86."""
    fees = fees_by_day(DATA, (7, 30, 90, 180))

    found = [spearman(early, fees[-1]) for early in fees[:-1]]
    assert found == pytest.approx([0.10, 0.44, 0.86], abs=0.006)
