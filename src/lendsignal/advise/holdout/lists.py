"""What each list brought by its holdouts: the readings side by side, and what is not promised to be seen.

Users of a list's holdout are left out of it by a draw; what the others did more is what the list brought, by
the lender's own ledger and by intention to treat: whoever is in the arm counts, reached or not.
"""

from collections.abc import Mapping, Sequence

from lendsignal.advise.holdout.reading import HoldoutReading
from lendsignal.report.layout import SHARE, Cell, Table, columns, table

TOLD = ("reloan", "margin")
"""Outcomes that stand for the others: whether users borrowed, and what that left."""

NO_HOLDOUT = "no holdout: what would have come anyway is not known"
NO_BEGINNING = "the holdout has no `from`: nobody says when it began"

SEEN = "seen"


def effects_of_lists(readings: Mapping[str, Sequence[tuple[str, HoldoutReading | None]]]) -> Table:
    """A row for each list, holdout and outcome, by list: (the holdout's name, its reading).

    `None` for a reading: nobody says when the holdout began. Lists without any holdout stand there too. A
    lift that is not told from chance comes with the smallest one that these arms would see four times in
    five: a smaller one is not promised.
    """
    rows: list[tuple[Cell, ...]] = []
    for name, found in readings.items():
        if not found:
            rows.append(_silent(name, None, NO_HOLDOUT))
        for holdout, reading in found:
            if reading is None:
                rows.append(_silent(name, holdout, NO_BEGINNING))
            elif not reading.sound or not reading.effects.rows:
                rows.append(_silent(name, holdout, reading.verdict))
            else:
                rows += _read(name, holdout, reading)
    return table(
        "What lists brought, by holdout",
        columns(
            "list holdout outcome users held_out lift low high smallest_lift says",
            lift=SHARE,
            low=SHARE,
            high=SHARE,
            smallest_lift=SHARE,
        ),
        rows,
        "lift: of all users of the treated arm over those held out, with its 95 % interval; reached or not."
        "\nsmallest_lift: a smaller one is not promised to be seen.",
    )


def _read(name: str, holdout: str, reading: HoldoutReading) -> list[tuple[Cell, ...]]:
    arms = {row["arm"]: row["users"] for row in reading.arms.records()}
    rows: list[tuple[Cell, ...]] = []
    for one in reading.effects.records():
        if one["outcome"] not in TOLD:
            continue
        says = one["remark"]
        least = one["smallest_lift"]
        if says != SEEN and isinstance(least, float):
            says = f"{says}; below {least:.0%} nothing is promised"
        figures = (one["lift"], one["low"], one["high"], least)
        rows.append((name, holdout, one["outcome"], arms["treated"], arms["held out"], *figures, says))
    return rows


def _silent(name: str, holdout: str | None, why: str) -> tuple[Cell, ...]:
    return (name, holdout, *(None,) * 7, why)
