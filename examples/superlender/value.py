"""What a real lender's loans tell of value: the published facts found again, and bad loans told apart.

    value.py --data DIR [--chart FILE] [--json]

DIR holds the two tables of loans and `CONVERSION.md`, whose section 1.4 the facts are from; `creationdate` is
UTC, every other time is Lagos's, an hour ahead. Trees are grown by the code that grows a value model, on what
was known when each customer's last loan was approved. Exit code 0 where every fact is found within the
tolerances of that page, 1 where one is not.
"""

import argparse
import csv
import gzip
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from lendsignal.report.chart import Lines, Series, svg
from lendsignal.report.layout import SHARE
from lendsignal.value.boosting import Columns, grown, predicted_of
from lendsignal.value.judging import spearman
from lendsignal.value.users import Floats, Truths
from lendsignal.value.worth import Trees

FILES = ("trainprevloans.csv.gz", "trainperf.csv.gz")
HOUR, DAY = 3_600.0, 86_400.0
CUT = datetime(2017, 7, 20, tzinfo=UTC).timestamp()
"""Trees of a time split learn from loans before it."""

NAMES = (
    "number amount term fee_rate worst_late mean_late last_late share_late days_to_close known_for"
    " loans_a_month"
).split()

SHARE_OFF, TIER_OFF, RANK_OFF = 0.002, 0.015, 0.006
"""Tolerances: of shares, of bad rates inside tiers, and of a rank correlation published with two digits."""

BY_NUMBER = {
    2: 0.249, 3: 0.267, 4: 0.251, 5: 0.160, 6: 0.227, 7: 0.163, 8: 0.168, 9: 0.167, 10: 0.147, 11: 0.142,
    12: 0.202, 13: 0.141,
}  # fmt: skip
"""Bad rate by the loan's number."""

BY_LATENESS = {
    (-999, -5): 0.129, (-5, 0): 0.156, (0, 3): 0.222, (3, 7): 0.311, (7, 15): 0.324, (15, 30): 0.482,
    (30, 999): 0.386,
}  # fmt: skip
"""The same by the worst lateness of the loans before, in days: above the first number, up to the second."""

BY_TIER = {20: 0.107, 30: 0.114, 50: 0.126, 70: 0.148}
"""The same among the best so many per cent by a score."""

HOURS_TO_NEXT = {0.1: 1 / 6, 0.25: 2.1, 0.5: 28.8, 0.75: 177.6, 0.9: 552.0, 0.95: 1_296.0, 0.99: 5_424.0}
"""From the close of a loan to the next application, by the part of the loans that take no longer."""


class Fact(Struct, frozen=True, kw_only=True):
    """One published figure, what was found, and how far apart they may be; `least`: no farther below."""

    name: str
    published: float
    found: float
    off: float
    least: bool = False

    @property
    def holds(self) -> bool:
        """Whether it was found again."""
        if self.least:
            return self.found >= self.published
        return abs(self.found - self.published) <= self.off + 1e-9


class Outcomes(Struct, frozen=True):
    """What was known of each customer's last loan at its approval, whether it went bad, and when it was;
    `worst_late` is by how many days the latest of the loans before was late, NaN without any."""

    facts: Floats
    bad: Floats
    at: Floats
    worst_late: Floats


@cache
def rows(data: Path, name: str) -> Sequence[Mapping[str, str]]:
    """The rows of a table."""
    with gzip.open(data / name, "rt", newline="") as file:
        return list(csv.DictReader(file))


def seconds(text: str) -> float:
    """Seconds since 1970 of a time as it is written."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@cache
def outcomes(data: Path) -> Outcomes:
    """The loans whose end is known, in the order of their table."""
    before: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    for one in rows(data, "trainprevloans.csv.gz"):
        before[one["customerid"]].append(one)
    facts, bad, at, worst = [], [], [], []
    for one in rows(data, "trainperf.csv.gz"):
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
        worst.append(max(map(days_late, past), default=np.nan))
    return Outcomes(np.array(facts), np.array(bad, dtype=np.float64), np.array(at), np.array(worst))


def days_late(loan: Mapping[str, str]) -> float:
    """From the first due day to the day of the first repayment; below 0 where it was early."""
    return (seconds(loan["firstrepaiddate"][:10]) - seconds(loan["firstduedate"][:10])) / DAY


def scored(found: Outcomes, learned: Truths) -> Floats:
    """The logit of a bad end of every loan, by trees of those that were learned from."""
    columns = Columns(found.facts, tuple(NAMES), ())
    apart = np.random.default_rng(3).random(len(found.bad)) < 0.2
    trees = grown(columns, np.flatnonzero(learned), found.bad[learned], apart[learned], "binary")
    return predicted_of(Trees(numbers=columns.numbers, words=(), trees=tuple(trees)), found.facts)


@cache
def by_folds(data: Path, folds: int = 5) -> Floats:
    """P(bad) of every loan whose end is known, by trees that never saw its customer."""
    found = outcomes(data)
    fold = np.random.default_rng(1).integers(0, folds, len(found.bad))
    logit = np.zeros(len(found.bad))
    for one in range(folds):
        logit[fold == one] = scored(found, fold != one)[fold == one]
    return np.asarray(1 / (1 + np.exp(-logit)))


def auc(said: Floats, came: Floats) -> float:
    """The chance that of a bad and a good loan the bad one is said to be worse (Mann and Whitney)."""
    from scipy.stats import rankdata

    ranks, bad = rankdata(said), came > 0
    n, m = int(bad.sum()), int((~bad).sum())
    return float((ranks[bad].sum() - n * (n + 1) / 2) / (n * m))


def fees_by_day(data: Path, days: Sequence[int]) -> list[Floats]:
    """The fees of loans taken within so many days of the first, of customers who began before 2017."""
    first: dict[str, float] = {}
    loans: list[tuple[str, float, float]] = []
    for one in rows(data, "trainprevloans.csv.gz"):
        began = seconds(one["creationdate"])
        first[one["customerid"]] = min(began, first.get(one["customerid"], began))
        loans.append((one["customerid"], began, _fee(one)))
    old = {name for name, at in first.items() if at < datetime(2017, 1, 1, tzinfo=UTC).timestamp()}
    place = {name: number for number, name in enumerate(sorted(old))}
    found: list[Any] = [np.zeros(len(place)) for _ in days]
    for name, taken, fee in loans:
        for total, limit in zip(found, days, strict=True):
            if name in old and taken <= first[name] + limit * DAY:
                total[place[name]] += fee
    return found


def _fee(loan: Mapping[str, str]) -> float:
    return float(loan["totaldue"]) - float(loan["loanamount"])


def facts_of(data: Path) -> Iterator[Fact]:
    """Every fact of value, risk and timing that the page has, with what these tables say."""
    found = outcomes(data)
    yield Fact(name="loans whose end is known", published=4_368, found=len(found.bad), off=0)
    yield Fact(name="of them bad", published=952, found=found.bad.sum(), off=0)
    yield from _bad_rates(found)
    yield from _lateness(data)
    yield from _returns(data)
    yield from _fees(data)
    said = by_folds(data)
    order = np.argsort(said, kind="stable")
    for per_cent, share in BY_TIER.items():
        best = float(found.bad[order[: round(len(order) * per_cent / 100)]].mean())
        yield Fact(name=f"bad, best {per_cent} % by trees", published=share, found=best, off=TIER_OFF)
    yield Fact(name="AUC, five folds", published=0.69, found=auc(said, found.bad), off=0, least=True)
    earlier = found.at < CUT
    later = auc(scored(found, earlier)[~earlier], found.bad[~earlier])
    yield Fact(name="AUC of loans after 20 July 2017", published=0.67, found=later, off=0, least=True)


def _bad_rates(found: Outcomes) -> Iterator[Fact]:
    number, amount, term = found.facts[:, 0], found.facts[:, 1], found.facts[:, 2]
    for column, name, published in (
        (number, "loan number {:g}", BY_NUMBER),
        (amount, "amount {:g}", {10_000: 0.266, 20_000: 0.163, 30_000: 0.164, 40_000: 0.138}),
        (term, "term {:g} days", {15: 0.226, 30: 0.215, 60: 0.226}),
    ):
        for value, share in published.items():
            rate = float(found.bad[column == value].mean())
            yield Fact(name=f"bad, {name.format(value)}", published=share, found=rate, off=SHARE_OFF)
    for (low, high), share in BY_LATENESS.items():
        mine = (found.worst_late > low) & (found.worst_late <= high)
        name = f"bad, worst earlier lateness {low:g} to {high:g} days"
        yield Fact(name=name, published=share, found=float(found.bad[mine].mean()), off=SHARE_OFF)


def _lateness(data: Path) -> Iterator[Fact]:
    late = np.array([days_late(one) for one in rows(data, "trainprevloans.csv.gz")])
    for days, share in ((0, 0.174), (3, 0.102), (7, 0.063), (15, 0.029), (30, 0.007)):
        found = float((late > days).mean())
        yield Fact(name=f"first repayment late > {days} days", published=share, found=found, off=SHARE_OFF)
    yield Fact(name="on the due day", published=0.186, found=float((late == 0).mean()), off=SHARE_OFF)


def _returns(data: Path) -> Iterator[Fact]:
    """From the close of a loan to the next application."""
    loans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for name in FILES:
        for one in rows(data, name):
            closed = seconds(one["closeddate"]) - HOUR if "closeddate" in one else np.nan
            loans[one["customerid"]].append((seconds(one["creationdate"]), closed))
    gaps = []
    for mine in map(sorted, loans.values()):
        gaps += [after[0] - before[1] for before, after in pairwise(mine)]
    gap = np.array(gaps)
    for limit, name, share in ((HOUR, "an hour", 0.209), (DAY, "a day", 0.478), (7 * DAY, "a week", 0.743)):
        found = float((gap < limit).mean())
        yield Fact(name=f"next application within {name}", published=share, found=found, off=SHARE_OFF)
    for part, hours in HOURS_TO_NEXT.items():
        found = float(np.quantile(gap, part)) / HOUR
        name = f"hours to the next application, {part:.0%}"
        # Published with two digits, and the shortest as 10 minutes.
        yield Fact(name=name, published=hours, found=found, off=max(0.05 * hours, 0.5 / 60))


def _fees(data: Path) -> Iterator[Fact]:
    fees: dict[str, float] = defaultdict(float)
    for name in FILES:
        for one in rows(data, name):
            fees[one["customerid"]] += _fee(one)
    total = np.sort(np.array(list(fees.values())))
    best = float(total[-round(len(total) / 10) :].sum() / total.sum())
    yield Fact(name="fees of a customer, median", published=9_000, found=float(np.median(total)), off=0.5)
    yield Fact(name="the same, nine tenths", published=38_865, found=float(np.quantile(total, 0.9)), off=0.5)
    yield Fact(name="the same, most", published=104_400, found=float(total[-1]), off=0.5)
    yield Fact(name="fees that the best tenth pays", published=0.316, found=best, off=SHARE_OFF)
    early = fees_by_day(data, (7, 30, 90, 180))
    for days, said, published in zip((7, 30, 90), early[:-1], (0.10, 0.44, 0.86), strict=True):
        rank = spearman(said, early[-1])
        yield Fact(
            name=f"Spearman of fees by day {days} with day 180", published=published, found=rank, off=RANK_OFF
        )


def calibration(data: Path) -> Lines:
    """P(bad) as said by trees that never saw the customer, and what came, tenth by tenth."""
    found, said = outcomes(data), by_folds(data)
    tenths = np.array_split(np.argsort(said, kind="stable"), 10)
    came = [float(found.bad[part].mean()) for part in tenths]
    error = [
        1.96 * (share * (1 - share) / len(part)) ** 0.5 for share, part in zip(came, tenths, strict=True)
    ]
    return Lines(
        title="Bad loans said and bad loans that came, 4,368 loans of a real lender",
        at=tuple(float(place) for place in range(1, 11)),
        series=(
            Series(name="said", values=tuple(float(said[part].mean()) for part in tenths)),
            Series(
                name="came",
                values=tuple(came),
                low=tuple(share - off for share, off in zip(came, error, strict=True)),
                high=tuple(share + off for share, off in zip(came, error, strict=True)),
            ),
        ),
        across="tenths of the loans by what was said, the best first",
        axis="share of loans that went bad",
        unit=SHARE,
    )


def main(words: Sequence[str] | None = None) -> int:
    """Prints the facts, draws the calibration where it is asked for, and says whether all were found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw the calibration, as SVG")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(words)
    facts = list(facts_of(asked.data))
    if asked.chart is not None:
        asked.chart.write_text(svg(calibration(asked.data)))
    if asked.json:
        told = [
            {"fact": one.name, "published": one.published, "found": float(one.found), "holds": one.holds}
            for one in facts
        ]
        print(json.dumps(told))
    else:
        Console().print(_table(facts))
    return 0 if all(one.holds for one in facts) else 1


def _table(facts: Sequence[Fact]) -> Table:
    table = Table("fact", "published", "found", "holds", box=None)
    for one in facts:
        mark = "≥ " if one.least else ""
        shown = f"{one.found:,.0f}" if abs(one.found) >= 100 else f"{one.found:.3f}"
        table.add_row(
            one.name,
            f"{mark}{one.published:,.4g}" if one.published < 100 else f"{one.published:,.0f}",
            shown,
            "yes" if one.holds else "NO",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
