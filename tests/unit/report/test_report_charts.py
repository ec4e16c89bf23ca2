"""Charts and pages: what a reader must find on them, and nothing from elsewhere."""

import re
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml
from zoneinfo import ZoneInfo

import pytest
from tests.unit.report.kept import Kept
from tests.unit.report.world import ZONE, filled, world

from lendsignal.report import Report, bindings, coverage, delay, delivery, funnel, load, reconcile, spend
from lendsignal.report.attribution import attribution
from lendsignal.report.chart import NARROW, WIDE, Bars, Box, Chart, Lines, Series, drawn, png, svg
from lendsignal.report.charts import charts_of
from lendsignal.report.health import (
    SLOT_US,
    DelayOf,
    Facts,
    Volume,
    What,
    health,
    learnt,
    volume,
)
from lendsignal.report.health import Series as Counts
from lendsignal.report.layout import SECONDS, SHARE, columns, table
from lendsignal.report.page import ROWS, page
from lendsignal.report.proxy import proxy
from lendsignal.report.slices import Slice
from lendsignal.report.vintages import vintages

BARS = Bars(
    title="Loans by source",
    labels=("Meta", "TikTok & co"),
    series=(
        Series(name="first", values=(30.0, 12.0), low=(25.0, 8.0), high=(36.0, 17.0)),
        Series(name="repeat", values=(10.0, None)),
    ),
    axis="loans",
)
LINES = Lines(
    title="Repaid",
    at=(0.0, 30.0, 90.0),
    series=(Series(name="March", values=(0.0, 0.5, 0.95)), Series(name="April", values=(0.0, 0.4, None))),
    across="days",
    axis="share",
    unit=SHARE,
)


def words(chart: Chart, width: int = WIDE) -> list[str]:
    return [one.text or "" for one in Xml.fromstring(svg(chart, width)).iter() if one.tag.endswith("text")]


def test_a_chart_says_what_it_shows_with_axis_and_unit() -> None:
    assert {"Loans by source", "Meta", "TikTok & co", "first", "repeat", "loans"} <= set(words(BARS))
    assert {"Repaid", "days", "share, per cent", "March", "April", "100"} <= set(words(LINES))


def test_bars_are_as_long_as_their_numbers() -> None:
    chart = Bars(title="t", labels=("a", "b"), series=(Series(name="n", values=(40.0, 10.0)),), axis="x")
    long, short = [shape.width for shape in drawn(chart).shapes if isinstance(shape, Box)]

    assert long == pytest.approx(4 * short)


def test_stacked_bars_end_at_their_sum() -> None:
    stacked = Bars(title=BARS.title, labels=BARS.labels, series=BARS.series, axis="loans", stacked=True)

    assert "40" in words(stacked)


@pytest.mark.parametrize(
    ("seconds", "axis"),
    [(90.0, "time, seconds"), (600.0, "time, minutes"), (9_000.0, "time, hours"), (400_000.0, "time, days")],
)
def test_time_is_told_in_the_unit_that_fits(seconds: float, axis: str) -> None:
    chart = Bars(
        title="t", labels=("a",), series=(Series(name="n", values=(seconds,)),), axis="time", unit=SECONDS
    )

    assert axis in words(chart)


def test_on_a_phone_everything_stands_within_the_width() -> None:
    for chart in (BARS, LINES):
        for shape in drawn(chart, NARROW).shapes:
            for x in [shape.x] if hasattr(shape, "x") else [point[0] for point in shape.points]:
                assert 0 <= x <= NARROW


def test_an_empty_chart_says_so() -> None:
    assert "nothing yet" in words(Bars(title="t", labels=(), series=(Series(name="n", values=()),), axis="x"))


def test_the_same_chart_is_the_same_bytes_and_png_is_a_picture() -> None:
    assert svg(BARS) == svg(BARS)
    assert png(BARS).startswith(b"\x89PNG")


class Links(HTMLParser):
    """Whatever a page would fetch or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[Any] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "img", "iframe", "object"):
            self.found.append(tag)
        self.found += [name for name, _ in attributes if name in ("src", "href", "onclick", "onload")]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[Report]:
    """Reports of a made-up lender, and of one of whom nothing is known."""
    folder = tmp_path_factory.mktemp("world")
    kept = [filled(folder / "full", world(users=150, days=30)), Kept(folder / "empty")]
    found: list[Report] = []
    for one in kept:
        with load(one.folder) as tables:
            found += [
                funnel(tables),
                funnel(tables, Slice(by=("app",))),
                bindings(tables),
                delivery(tables),
                delay(tables),
                reconcile(tables, [], zone=ZoneInfo(ZONE)),
                vintages(tables),
                attribution(tables),
                spend(tables),
                coverage(tables, log=one.log),
                proxy(one.log, after=timedelta(0), within=timedelta(0), precision=0.9, tables=tables).report,
                health(Facts(now_us=0)),
            ]
        one.log.close()
    return found


def test_every_report_has_a_page_that_needs_nothing_else(reports: list[Report]) -> None:
    for report in reports:
        text = page(report)

        assert Links(text).found == []
        assert not re.search(r"@import|url\(|https?://", text)
        assert all(found.title.replace("'", "&#x27;") in text for found in report.tables().values())


def test_every_chart_of_a_report_is_well_formed_in_both_widths(reports: list[Report]) -> None:
    for report in reports:
        for chart in charts_of(report):
            assert all(Xml.fromstring(svg(chart, width)).tag.endswith("svg") for width in (WIDE, NARROW))


def counted(what: What, name: str, each: int, last: int) -> Volume:
    """Five weeks of `each` in every quarter of an hour, and in the last hour `last`."""
    now = 100 * 96
    slots = {**dict.fromkeys(range(now - 35 * 96, now), each), **dict.fromkeys(range(now - 4, now), last)}
    one = Counts(what=what, name=name, scope="acme-ng", timezone="UTC", slots=slots)
    return volume(one, learnt(one, now * SLOT_US), now * SLOT_US)


def test_the_picture_of_health_has_what_is_not_as_expected_first_and_what_is_thin_last() -> None:
    volumes = [
        counted("event", "logged_in", 50, 50),
        counted("event", "defaulted", 0, 0),
        counted("accepted", "ev_fl", 25, 0),
    ]
    slow = DelayOf(stage="arrival", name="acme-ng", bins=[0, 40, *[0] * 11])
    day, hour, delays = charts_of(health(Facts(now_us=100 * 96 * SLOT_US, volumes=volumes, delays=[slow])))
    assert isinstance(day, Bars)
    assert isinstance(hour, Bars)
    assert isinstance(delays, Bars)

    # 25 in each of 96 quarters of an hour are expected; four of them brought none.
    assert day.labels[:2] == ("acme-ng · ev_fl (silent)", "acme-ng · logged_in")
    assert (round(day.series[0].values[0] or 0), day.series[1].values[0]) == (2_400, 2_300)
    assert (round(hour.series[0].values[0] or 0), hour.series[1].values[0]) == (100, 0)
    assert (hour.series[0].low[0] or 0) < 100 < (hour.series[0].high[0] or 0)
    assert delays.labels == ("arrival · acme-ng",)
    # Nine in ten of those between one minute and five, by a straight line: 60 + 0.9 · 240.
    assert delays.series[0].values == (276,)


class Long(Report, frozen=True, kw_only=True):
    """A report with one table."""

    rows: Any


def test_a_page_shows_the_first_rows_and_counts_the_rest(tmp_path: Path) -> None:
    many = table("Many <b>", columns("name share", share=SHARE), [(f"n{n}", 0.25) for n in range(ROWS + 3)])
    text = page(Long(title="A & B", as_of=None, rows=many))

    assert "Many &lt;b&gt;" in text
    assert f"n{ROWS - 1}<" in text
    assert f"n{ROWS}<" not in text
    assert "3 further rows" in text
    assert "25.00%" in text
