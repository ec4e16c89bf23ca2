"""Delay: of decisions and of postings, by cause; and why yesterday was slower, or quicker, than the week."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from lendsignal.console.page import Asked, Group
from lendsignal.console.reporting import Reporting, made, page_of, slice_asked
from lendsignal.console.room import Room
from lendsignal.console.words import marked as _

if TYPE_CHECKING:  # the report room brings its database with it
    from lendsignal.report import Report, Table

WEEK = timedelta(days=7)
DAY = timedelta(days=1)

DECIDED = "credit"
"""The conversion whose decision delay is compared: every grant."""


class Change(Struct, frozen=True, kw_only=True):
    """Mean seconds of one stage: yesterday, and in the seven days before."""

    stage: str
    yesterday: float
    before: float

    @property
    def more(self) -> float:
        """Seconds by which it rose; negative where it fell."""
        return self.yesterday - self.before


class Compared(Struct, frozen=True, kw_only=True):
    """One delay, whole and by its stages: the stage that moved it most is `cause`."""

    title: str
    whole: Change
    stages: tuple[Change, ...]

    @property
    def cause(self) -> Change:
        """The stage that accounts for most of the change."""
        return max(self.stages, key=lambda stage: stage.more * (1 if self.whole.more >= 0 else -1))


def why(room: Room, asked: Asked, report: "Report") -> Mapping[str, Any]:
    """Yesterday against the week before, by stage."""
    if report.as_of is None:
        return {"compared": [], "yesterday": None}
    yesterday = report.as_of.date() - DAY
    then = _of(room, asked, yesterday, yesterday)
    before = _of(room, asked, yesterday - WEEK, yesterday - DAY)
    found = [
        _compared(_("From application to grant"), _decision(then), _decision(before)),
        _compared(_("From event to platform"), _posting(then), _posting(before)),
    ]
    return {"compared": [one for one in found if one is not None], "yesterday": yesterday}


def _of(room: Room, asked: Asked, since: date, until: date) -> "Mapping[str, Table]":
    one = replace(slice_asked(REPORTING, asked), since=since, until=until, by=(), every=None)
    return made(REPORTING, room, asked, one).tables()


def _decision(tables: "Mapping[str, Table]") -> Mapping[str, float]:
    return {
        str(row["stage"]): float(str(row["mean"]))
        for row in tables["decision"].records()
        if row["conversion"] == DECIDED and row["mean"] is not None
    }


def _posting(tables: "Mapping[str, Table]") -> Mapping[str, float]:
    """The mean of every stage over all accepted deliveries."""
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    for row in tables["posting"].records():
        stage, n = str(row["stage"]), int(str(row["accepted"]))
        sums[stage] = sums.get(stage, 0.0) + n * float(str(row["mean"]))
        counts[stage] = counts.get(stage, 0) + n
    return {stage: total / counts[stage] for stage, total in sums.items() if counts[stage]}


def _compared(title: str, then: Mapping[str, float], before: Mapping[str, float]) -> Compared | None:
    if "whole" not in then or "whole" not in before:
        return None
    changes = {
        stage: Change(stage=stage, yesterday=then.get(stage, 0.0), before=before.get(stage, 0.0))
        for stage in dict.fromkeys([*then, *before])
    }
    whole = changes.pop("whole")
    return Compared(title=title, whole=whole, stages=tuple(changes.values()))


REPORTING = Reporting(
    name="delay",
    path="/delay",
    title=_("Delay"),
    what=_("From the application to the decision, and from the event to the platform: how long, and why."),
    group=Group.USERS,
    place=20,
    open=2,
    inside="pages/delay_inside.html",
    extra=why,
)

PAGE = page_of(REPORTING)
