"""The reference page names everything that reports give."""

import re
from datetime import UTC, timedelta
from pathlib import Path

from tests.acme import loan, login
from tests.unit.report.kept import Fate, Kept

import lendsignal.report
from lendsignal.model import IdKind
from lendsignal.report import (
    DeliveryReport,
    Report,
    Table,
    all_reports,
    attribution,
    coverage,
    delay,
    devices,
    installations,
    load,
    making,
    reconcile,
    spend,
)
from lendsignal.report.health import Facts, health
from lendsignal.report.proxy import proxy
from lendsignal.report.tiers import tiers
from lendsignal.report.vintages import vintages

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "reports.md").read_text()
INSIDE = {
    "tester",
    "step",
    "entry",
    "receipt",
    "waits",
    "planned_delivery",
    "event_struck",
    "event_touch",
} | {
    "coming_told",
    "install_name",
    "touch_look",
}
"""Tables that only the making of others needs."""


def kept(path: Path) -> Kept:
    told = Kept(path).tell(login(0, "old"), loan(1, loan_number=1))
    return told.send(lambda *_: Fate("accepted", "confirmed", 2))


def unfit(path: Path) -> Report:
    one = kept(path)
    try:
        return proxy(one.log, after=timedelta(0), within=timedelta(0), precision=0.9).report
    finally:
        one.log.close()


def test_every_column_of_every_report_is_explained(tmp_path: Path) -> None:
    reports = all_reports(kept(tmp_path).folder)
    found: list[Report] = [reports.funnel, reports.funnel_by_source, reports.bindings, reports.delivery]
    with load(kept(tmp_path / "feeds").folder) as tables:
        found += [attribution(tables, level="ad"), spend(tables), delay(tables), vintages(tables)]
        found += [reconcile(tables, [], zone=UTC), tiers(tables), devices(tables), installations(tables)]
        found += [coverage(tables), health(Facts(now_us=0)), unfit(tmp_path / "proxy")]
    missing = {
        column.name
        for report in found
        for table in report.tables().values()
        for column in table.columns
        if f"`{column.name}`" not in PAGE and column.name not in set(IdKind)  # ids have a page of their own
    }
    unnamed = {name for report in found for name in report.tables() if f"`{name}`" not in PAGE}

    assert missing == set()
    assert unnamed == set()


def test_every_table_is_listed_with_its_columns(tmp_path: Path) -> None:
    columns: dict[str, list[str]] = {}
    with load(kept(tmp_path).folder) as tables:
        for name in {*making.TABLES, *making.VIEWS, "app", "installation", "sent", "paused"} - INSIDE:
            columns[name] = [column for column, *_ in tables.rows(f"describe select * from {name}")]
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]* \| ([^|]*) \|$", PAGE, re.MULTILINE))
    listed = {name: set(re.findall(r"`(\w+)`", text)) - {"event"} for name, text in rows.items()}
    listed["counted"] |= listed["event"]

    assert listed == {name: set(found) for name, found in columns.items()}


def test_reports_are_typed_tables() -> None:
    fields = {name for name, kind in DeliveryReport.__annotations__.items() if kind is Table}

    assert fields == {"destinations", "conversions", "reasons", "delays", "paused", "undone"}
    assert set(lendsignal.report.__all__) >= {"all_reports", "explain", "load"}
