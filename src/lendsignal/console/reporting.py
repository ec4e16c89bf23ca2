"""Report pages: a form of slices that keeps its state in the address, then charts, tables, CSV and images.

The same makers that answer `GET /v1/reports/NAME` make the reports, so that a page, the command line and a
program are told the same figures.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from operator import eq
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from lendsignal.console.filters import SHOWN
from lendsignal.console.page import Asked, File, Group, Page, Panel
from lendsignal.console.room import Room
from lendsignal.errors import InputError

if TYPE_CHECKING:  # reports bring their database with them: loaded when the first page shows one
    from lendsignal.console.words import Words
    from lendsignal.report import Report, Table
    from lendsignal.report.chart import Chart
    from lendsignal.report.slices import Slice

SLICED = ("channel", "media_source", "campaign", "ad_set", "app", "country", "os", "product", "loans")
"""What a page offers to slice by, in the order of drilling down."""

FILTERED = ("channel", "media_source", "campaign", "ad_set", "app", "country", "os", "product")

ADDED = re.compile(r" \([\d,]+ loans\)$|(?:\w+ · )?best \d+ %.*$")
"""What a report adds to a name in a chart's label."""


CELLS = 2_500
"""Cells of all the tables of a page: with the drawings and the scripts that stays below 300 kB."""

FEWEST = 10
"""Rows of a table that are shown however many stand above it."""


class Reporting(Struct, frozen=True, kw_only=True):
    """A report's page. `own` offers the report's own words; `given` are those it begins with."""

    name: str
    path: str
    title: str
    what: str
    group: Group
    place: int
    by: tuple[str, ...] = SLICED
    first: tuple[str, ...] = ()
    own: Mapping[str, tuple[str, ...]] = {}
    given: Mapping[str, str] = {}
    order: tuple[str, ...] = ()
    """Tables that come first; the others follow as the report has them."""
    open: int = 1
    """How many of the tables are unfolded."""
    by_campaign: bool = False
    template: str = "pages/report.html"
    inside: str = "pages/report_inside.html"
    extra: Any = None
    """More for the template of the inside: a function of (room, asked, report)."""


def slice_asked(reporting: Reporting, asked: Asked) -> "Slice":
    """The slice that an address means; of a member with limits, never more than those."""
    from lendsignal.report.slices import limited, slice_of

    by = tuple(word for word in asked.many.get("by", reporting.first) if word)
    where = [f"{key}={value}" for key in FILTERED if (value := asked.get(key))]
    found = slice_of(
        by=by,
        where=where,
        since=asked.get("from") or None,
        until=asked.get("to") or None,
        every=asked.get("every") or None,
        binding=asked.get("binding") or None,
    )
    return limited(found, asked.member.limits) if asked.member.is_limited else found


def made(reporting: Reporting, room: Room, asked: Asked, one: "Slice | None" = None) -> "Report":
    """The report that an address means."""
    own = {
        word: value for word in reporting.own if (value := asked.get(word) or reporting.given.get(word, ""))
    }
    sliced = one or slice_asked(reporting, asked)
    with room.tables() as tables:
        return room.makers[reporting.name](room.config, tables, sliced, {**reporting.given, **own})


def page_of(reporting: Reporting) -> Page:
    """The page of a report."""

    def look(room: Room, asked: Asked) -> Mapping[str, Any]:
        kept = {key: value for key, value in asked.query.items() if value and key != "by"}
        by = tuple(word for word in asked.many.get("by", reporting.first) if word)
        return {
            "reporting": reporting,
            "by": by,
            "kept": kept,
            "filters": [(key, kept[key]) for key in FILTERED if key in kept],
            "filtered": FILTERED,
            "earlier": _earlier(asked),
        }

    def inside(room: Room, asked: Asked) -> Mapping[str, Any]:
        found = made(reporting, room, asked)
        more = reporting.extra(room, asked, found) if reporting.extra is not None else {}
        by = tuple(word for word in asked.many.get("by", reporting.first) if word)
        return {
            "reporting": reporting,
            "report": found,
            "charts": drawn(found, asked.words),
            "tables": (tables := _ordered(found, reporting.order)),
            "shown": rows_shown(tables),
            "drill": Drill(reporting.path, asked, by),
            **more,
        }

    def table(room: Room, asked: Asked) -> tuple[str, str, bytes]:
        wanted = asked.get("table")
        texts = made(reporting, room, asked).to_csv()
        if wanted not in texts:
            raise InputError("table", f"one of {', '.join(texts)}")
        return f"{reporting.name}-{wanted}.csv", "text/csv", texts[wanted].encode("utf-8-sig")

    def image(room: Room, asked: Asked) -> tuple[str, str, bytes]:
        from lendsignal.report.chart import WIDE, svg
        from lendsignal.report.charts import charts_of

        charts = [spoken(chart, asked.words) for chart in charts_of(made(reporting, room, asked))]
        number = asked.number("chart", 0)
        if number >= len(charts):
            raise InputError("chart", "there is no such chart")
        drawing = svg(charts[number], WIDE, words=asked.words)
        return f"{reporting.name}.svg", "image/svg+xml", drawing.encode()

    return Page(
        path=reporting.path,
        title=reporting.title,
        template=reporting.template,
        look=look,
        group=reporting.group,
        place=reporting.place,
        by_campaign=reporting.by_campaign,
        panels={"report": Panel(template=reporting.inside, look=inside, kept=True)},
        files={"table": File(make=table), "image": File(make=image)},
    )


def drawn(report: "Report", words: "Words") -> list[tuple[str, str]]:
    """The report's charts as SVG, for a wide page and for a phone."""
    from lendsignal.report.chart import NARROW, WIDE, svg
    from lendsignal.report.charts import charts_of

    charts = [spoken(chart, words) for chart in charts_of(report)]
    return [
        (svg(chart, WIDE, alone=False, words=words), svg(chart, NARROW, alone=False, words=words))
        for chart in charts
    ]


def spoken(chart: "Chart", words: "Words") -> "Chart":
    """The chart with its texts in the visitor's language."""
    from lendsignal.report.chart import Lines

    series = [one.name for one in chart.series]
    names = _ours(series, list(map(words.told, series)), words)
    texts: dict[str, Any] = {
        "title": words.told(chart.title),
        "axis": words.told(chart.axis),
        "series": tuple(replace(one, name=name) for one, name in zip(chart.series, names, strict=True)),
    }
    if isinstance(chart, Lines):
        return replace(chart, across=words.told(chart.across), **texts)
    labels = _ours(chart.labels, list(map(words.named, chart.labels)), words)
    return replace(chart, labels=tuple(labels), **texts)


def _ours(names: Sequence[str], told: Sequence[str], words: "Words") -> Sequence[str]:
    """Names as they are `told` where all of them are words of ours, such as steps. Among names that people
    gave, only what a report adds to them is translated, such as (120 loans)."""
    if not any(map(eq, names, told)):
        return told
    return [ADDED.sub(lambda found: words.told(found[0]), name) for name in names]


def rows_shown(tables: "Sequence[tuple[str, Table]]") -> Mapping[str, int]:
    """How many rows of each table a page shows, so that the whole of it stays light: the first tables have
    the most, and each has some."""
    left, found = CELLS, {}
    for name, table in tables:
        wide = max(len(table.columns), 1)
        found[name] = min(len(table.rows), SHOWN, max(FEWEST, left // wide))
        left -= found[name] * wide
    return found


def _ordered(report: "Report", first: tuple[str, ...]) -> "list[tuple[str, Table]]":
    tables = report.tables()
    names = [*(name for name in first if name in tables), *(name for name in tables if name not in first)]
    return [(name, tables[name]) for name in names]


class Drill:
    """Where a click on a row leads: the same page, of that part alone, by the next smaller thing."""

    def __init__(self, path: str, asked: Asked, by: tuple[str, ...]) -> None:
        self._path, self._asked, self._by = path, asked, by

    def __call__(self, column: str, value: object) -> str | None:
        """The address that a cell leads to; `None` where there is nothing smaller."""
        from urllib.parse import urlencode

        if column not in FILTERED or column not in self._by or not isinstance(value, str):
            return None
        if value.startswith("("):  # (no touch), (not attributed): nothing to filter by
            return None
        place = SLICED.index(column)
        smaller = next((key for key in SLICED[place + 1 : 4] if key not in self._asked.query), None)
        kept = [(key, each) for key, each in self._asked.query.items() if each and key not in ("by", column)]
        by = [("by", smaller)] if smaller else [("by", word) for word in self._by if word != column]
        return f"{self._path}?{urlencode([*kept, (column, value), *by])}"


def _earlier(asked: Asked) -> str | None:
    """The address of the same span just before, to compare with."""
    from urllib.parse import urlencode

    days = [asked.get("from"), asked.get("to")]
    if not all(re.fullmatch(r"\d{4}-\d\d-\d\d", day) for day in days):
        return None
    try:
        first, last = (date.fromisoformat(day) for day in days)
    except ValueError:
        return None
    span = last - first + timedelta(days=1)
    pairs = [
        (key, value) for key, values in asked.many.items() for value in values if key not in ("from", "to")
    ]
    return urlencode([*pairs, ("from", str(first - span)), ("to", str(last - span))])
