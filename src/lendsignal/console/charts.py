"""Charts as plain data for the templates: what to draw, in percent of the space there is."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:  # the report room brings its database with it: only pages that show one need that
    from lendsignal.report import Reports, Table

FATES = ("accepted", "waiting", "held", "skipped", "cancelled", "dead")
"""What becomes of a delivery, in the order it is stacked."""


class Bar(Struct, frozen=True):
    """One bar: its words, its number, its length in percent of the longest."""

    label: str
    value: int
    percent: float
    note: str = ""


class Pair(Struct, frozen=True):
    """The same thing by two rules, side by side."""

    label: str
    first: Bar
    last: Bar
    shift: int


class Part(Struct, frozen=True):
    """One piece of a stacked bar."""

    what: str
    value: int
    percent: float


class Stack(Struct, frozen=True):
    """One destination's deliveries, piece by piece."""

    label: str
    total: int
    parts: tuple[Part, ...]
    balanced: bool


class Dashboard(Struct, frozen=True, kw_only=True):
    """What the page draws. `headline` counts: (words, number)."""

    headline: tuple[tuple[str, int], ...]
    funnel: tuple[Bar, ...]
    moved: tuple[Bar, ...]
    sources: tuple[Pair, ...]
    stacks: tuple[Stack, ...]
    balanced: bool


def dashboard(reports: "Reports") -> Dashboard:
    """The drawing of all reports."""
    steps = [row for row in reports.funnel.steps.records() if row["loans"] == "all"]
    longest = max((_int(row["users"]) for row in steps), default=0)
    stacks = tuple(_stack(row) for row in reports.delivery.destinations.records())
    return Dashboard(
        headline=(
            (
                "users registered",
                next((_int(row["users"]) for row in steps if row["step"] == "registered"), 0),
            ),
            (
                "loans disbursed",
                next((_int(row["events"]) for row in steps if row["step"] == "disbursed"), 0),
            ),
            ("deliveries planned", sum(stack.total for stack in stacks)),
            (
                "accepted",
                sum(part.value for stack in stacks for part in stack.parts if part.what == "accepted"),
            ),
        ),
        funnel=tuple(_step(row, longest) for row in steps),
        moved=tuple(_moved(row) for row in reports.bindings.moved.records()),
        sources=_sources(reports.bindings.sources),
        stacks=stacks,
        balanced=reports.delivery.balanced,
    )


def _step(row: Mapping[str, object], longest: int) -> Bar:
    rate = row["rate"]
    note = f"{_float(rate):.0%} of {row['of']}" if rate is not None else ""
    return Bar(str(row["step"]), _int(row["users"]), _percent(_int(row["users"]), longest), note)


def _moved(row: Mapping[str, object]) -> Bar:
    share = _float(row["moved_share"])
    note = f"{row['moved']} of {row['events']}"
    return Bar(str(row["event"]).replace("_", " "), _int(row["moved"]), share * 100, note)


def _sources(table: "Table") -> tuple[Pair, ...]:
    rows = table.records()
    longest = max((max(_int(row["first_install"]), _int(row["last_login"])) for row in rows), default=0)
    return tuple(
        Pair(
            str(row["media_source"]),
            Bar("first install", _int(row["first_install"]), _percent(_int(row["first_install"]), longest)),
            Bar("last login", _int(row["last_login"]), _percent(_int(row["last_login"]), longest)),
            _int(row["shift"]),
        )
        for row in rows
    )


def _stack(row: Mapping[str, object]) -> Stack:
    total = _int(row["planned"])
    parts = tuple(
        Part(what, _int(row[what]), _percent(_int(row[what]), total)) for what in FATES if row[what]
    )
    return Stack(str(row["destination"]), total, parts, bool(row["balanced"]))


def _percent(value: int, of: int) -> float:
    return round(100 * value / of, 2) if of else 0.0


def _int(value: object) -> int:
    return int(str(value)) if value is not None else 0


def _float(value: object) -> float:
    return float(str(value)) if value is not None else 0.0


def tables_of(reports: "Reports") -> "Sequence[tuple[str, Table]]":
    """Every table of the reports with the report's own title, in the order of reading."""
    every = (reports.funnel, reports.funnel_by_source, reports.bindings, reports.delivery)
    return [(report.title, table) for report in every for table in report.tables().values() if table.rows]
