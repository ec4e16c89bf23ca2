"""What a real lender's history tells of value: the published facts, found by our own trees.

Needs the data: a folder `shared` beside the repository, or where LENDSIGNAL_SHARED says.
"""

import csv
import gzip
import os
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lendsignal.value.boosting import Columns, grown, predicted_of
from lendsignal.value.judging import spearman
from lendsignal.value.users import Floats, Truths
from lendsignal.value.worth import Trees, Walk

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("LENDSIGNAL_SHARED", ROOT.parent / "shared")) / "data" / "superlender"

pytestmark = pytest.mark.skipif(
    not (DATA / "trainperf.csv.gz").exists(),
    reason="the SuperLender data is not here: set LENDSIGNAL_SHARED to the folder that has data/",
)

DAY = 86_400.0
NAMES = (
    "number amount term fee_rate worst_late mean_late last_late share_late days_to_close known_for"
    " loans_a_month"
).split()


def rows(name: str) -> list[dict[str, str]]:
    with gzip.open(DATA / f"{name}.csv.gz", "rt", newline="") as file:
        return list(csv.DictReader(file))


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@cache
def outcome_loans() -> tuple[Floats, Floats, Floats]:
    """What was known of each user's last loan when it was approved, whether it went bad, and when it was."""
    before: dict[str, list[dict[str, str]]] = defaultdict(list)
    for one in rows("trainprevloans"):
        before[one["customerid"]].append(one)
    facts, bad, at = [], [], []
    for one in rows("trainperf"):
        now = seconds(one["creationdate"])
        past = sorted(before[one["customerid"]], key=lambda loan: loan["creationdate"])
        late = [(seconds(loan["firstrepaiddate"]) - seconds(loan["firstduedate"])) / DAY for loan in past]
        held = [(seconds(loan["closeddate"]) - seconds(loan["approveddate"])) / DAY for loan in past]
        since = (now - seconds(past[0]["creationdate"])) / DAY if past else 0.0
        amount = float(one["loanamount"])
        of_past = (
            [max(late), float(np.mean(late)), late[-1], float(np.mean(np.array(late) > 0))]
            if past
            else [np.nan] * 4
        )
        facts.append(
            [
                float(one["loannumber"]),
                amount,
                float(one["termdays"]),
                float(one["totaldue"]) / amount - 1,
                *of_past,
                float(np.mean(held)) if past else np.nan,
                since,
                30 * len(past) / since if since else np.nan,
            ]
        )
        bad.append(one["good_bad_flag"] == "Bad")
        at.append(now)
    return np.array(facts), np.array(bad, dtype=np.float64), np.array(at)


def scored(learned: Truths) -> Floats:
    """The logit of everybody by trees of those who were learned from."""
    facts, bad, _ = outcome_loans()
    columns = Columns(facts, tuple(NAMES), ())
    chance = np.random.default_rng(3)
    apart = chance.random(len(facts)) < 0.2
    found = grown(columns, np.flatnonzero(learned), bad[learned], apart[learned], "binary")
    return predicted_of(Trees(numbers=columns.numbers, words=(), trees=tuple(found)), facts)


def auc(said: Floats, came: Floats) -> float:
    """The chance that of a bad and a good loan the bad one is said to be worse (Mann and Whitney)."""
    from scipy.stats import rankdata

    ranks, bad = rankdata(said), came > 0
    n, m = int(bad.sum()), int((~bad).sum())
    return float((ranks[bad].sum() - n * (n + 1) / 2) / (n * m))


def test_trees_tell_bad_loans_as_well_as_published_on_customers_they_never_saw() -> None:
    """CONVERSION.md: by five folds 0.69 at least."""
    facts, bad, _ = outcome_loans()
    fold = np.random.default_rng(1).integers(0, 5, len(facts))
    said = np.zeros(len(facts))
    for one in range(5):
        said[fold == one] = scored(fold != one)[fold == one]

    assert (len(bad), int(bad.sum())) == (4_368, 952)
    assert auc(said, bad) >= 0.69
    # What is said comes: in the best, the middle and the worst fifth, within three standard deviations.
    p = 1 / (1 + np.exp(-said))
    for part in np.array_split(np.argsort(p), 5)[::2]:
        expected = float(p[part].mean())
        assert abs(bad[part].mean() - expected) < 3 * (expected * (1 - expected) / len(part)) ** 0.5 + 0.02


def test_trees_tell_bad_loans_of_a_later_time() -> None:
    """CONVERSION.md: learned before 20 July 2017, 0.67 at least."""
    _, bad, at = outcome_loans()
    earlier = at < datetime(2017, 7, 20, tzinfo=UTC).timestamp()

    said = scored(earlier)

    assert auc(said[~earlier], bad[~earlier]) >= 0.67


def test_one_customer_is_scored_by_a_decision_as_all_are() -> None:
    facts, bad, _ = outcome_loans()
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
    fees = fees_by_day((7, 30, 90, 180))

    found = [spearman(early, fees[-1]) for early in fees[:-1]]
    assert found == pytest.approx([0.10, 0.44, 0.86], abs=0.006)


def fees_by_day(days: Sequence[int]) -> list[Floats]:
    """The fees of loans taken within so many days of the first, of customers who began before 2017."""
    first: dict[str, float] = {}
    loans: list[tuple[str, float, float]] = []
    for one in rows("trainprevloans"):
        fee = float(one["totaldue"]) - float(one["loanamount"])
        began = seconds(one["creationdate"])
        first[one["customerid"]] = min(began, first.get(one["customerid"], began))
        loans.append((one["customerid"], began, fee))
    old = {name for name, at in first.items() if at < datetime(2017, 1, 1, tzinfo=UTC).timestamp()}
    place = {name: number for number, name in enumerate(sorted(old))}
    found: list[Any] = [np.zeros(len(place)) for _ in days]
    for name, taken, fee in loans:
        for total, limit in zip(found, days, strict=True):
            if name in old and taken <= first[name] + limit * DAY:
                total[place[name]] += fee
    return found
