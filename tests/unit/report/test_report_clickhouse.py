"""Every report of the product says the same whichever engine answers, row by row."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.acme import event, loan, login, moment, us
from tests.unit.report.kept import SECOND, Fate, Kept
from tests.unit.report.world import policy, told, world

from lendsignal.archive.keeper import brought_up
from lendsignal.archive.place import place_at
from lendsignal.archive.settings import ArchiveSettings
from lendsignal.errors import DataError
from lendsignal.log import open_feeds
from lendsignal.model.attribution import Ad, Attribution, Recorded, Spend
from lendsignal.plan import Entry, Planned
from lendsignal.report import (
    Report,
    Tables,
    attribution,
    bindings,
    coverage,
    delay,
    delivery,
    devices,
    funnel,
    installations,
    load,
    reconcile,
    spend,
)
from lendsignal.report.engine import Engine
from lendsignal.report.slices import Slice
from lendsignal.report.tables import answered_by
from lendsignal.report.tiers import tiers
from lendsignal.report.vintages import vintages

BY_CAMPAIGN = Slice(by=("campaign",))
BY_MONTH = Slice(by=("channel",), every="month")
OF_META = Slice(
    by=("country", "channel"), every="week", binding="first_install", where=(("channel", "meta"),)
)

REPORTS: Mapping[str, Callable[[Tables], Report]] = {
    "funnel": funnel,
    "funnel of a cohort by campaign": lambda tables: funnel(tables, BY_CAMPAIGN, cohort="install"),
    "funnel of a channel by week, first install": lambda tables: funnel(tables, OF_META),
    "bindings": bindings,
    "delay": delay,
    "delivery by month": lambda tables: delivery(tables, BY_MONTH),
    "spend": spend,
    "attribution": lambda tables: attribution(tables, BY_MONTH, level="channel"),
    "installations": lambda tables: installations(tables, BY_CAMPAIGN),
    "devices": devices,
    "coverage": lambda tables: coverage(tables, BY_MONTH),
    "vintages": vintages,
    "tiers": lambda tables: tiers(tables, what_if=(40,)),
    "reconcile": lambda tables: reconcile(tables, zone=ZoneInfo("Africa/Lagos")),
}


def lender(folder: Path) -> Kept:
    """A made-up lender of a month: half of it is archived, the rest stands in the log."""
    kept = Kept(folder, policy())
    events = [*told(world(users=40, days=30))]
    half = len(events) // 2
    kept.tell(*events[:half]).send(_fate)
    with kept.tables() as tables:
        seen = tables.rows("select app, id from installation order by number")
    kept.feed(*(fact for place, (app, name) in enumerate(seen) for fact in _facts(place, app, name)))
    feeds = open_feeds(kept.folder.feeds)
    feeds.replace_days([_cost(day) for day in range(9)])
    feeds.close()
    brought_up(kept.folder, ArchiveSettings(), 0)
    kept.tell(*events[half:]).send(_fate)
    return kept


def _fate(name: int, planned: Planned, entry: Entry) -> Fate | None:
    """Most are accepted, some dead, some wait."""
    if name % 13 == 0:
        return None
    end = Fate("dead", "gone") if name % 7 == 0 else Fate("accepted", "confirmed")
    end.answered_us = planned.at_us + entry.settle_us + name % 977 * 60 * SECOND
    return end


def _facts(place: int, app: str, name: str) -> Iterator[Attribution | Recorded]:
    came_us = us(0) + place * 3_600 * SECOND
    ad = Ad(channel=("meta", "google", "organic")[place % 3], campaign=f"c{place % 7}")
    yield Attribution(feed="mmp", mmp="appsflyer", app=app, id=name, at_us=came_us, told_us=came_us, ad=ad)
    if place % 5 == 0:
        yield Recorded(
            feed="mmp", mmp="appsflyer", app=app, id=name, name="ev_d", at_us=came_us, amount=Decimal(place)
        )


def _cost(day: int) -> Spend:
    ad, amount = Ad(channel="meta", campaign="c1"), Decimal("12.50") + day
    return Spend(
        feed="ads", account="a", day=date(2026, 3, 10 + day), ad=ad, amount=amount, currency="USD", clicks=day
    )


Both = tuple[Tables, Tables]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    kept = lender(tmp_path_factory.mktemp("lender"))
    with ExitStack() as opened:
        opened.callback(kept.log.close)
        duckdb = opened.enter_context(load(kept.folder))
        with answered_by(Engine.CLICKHOUSE):
            clickhouse = opened.enter_context(load(kept.folder))
        yield duckdb, clickhouse


@pytest.mark.parametrize("name", REPORTS, ids=lambda name: name.replace(" ", "_"))
def test_a_report_is_the_same_from_either_engine(both: Both, name: str) -> None:
    found, other = (REPORTS[name](tables) for tables in both)

    assert found.as_of == other.as_of
    assert found.notes == other.notes
    assert any(one.rows for one in found.tables().values())
    for title, one in found.tables().items():
        assert _alike(one.rows, other.tables()[title].rows), title


def _alike(one: Any, other: Any) -> bool:
    """Equal, and of one kind; of sums of fractions the last digits depend on the order of the rows."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_alike, one, other))
    return type(one) is type(other) and bool(one == other)


def test_what_was_known_at_an_earlier_moment_is_the_same_from_either_engine(tmp_path: Path) -> None:
    kept = Kept(tmp_path).tell(login(0, "a"), loan(10, "L1"), event("repaid", 30, loan_id="L1"))
    query = "select type, at_us, amount, currency, loan_id from event order by at_us"
    with load(kept.folder, as_of=moment(20)) as tables:
        found = tables.rows(query)
    with answered_by(Engine.CLICKHOUSE), load(kept.folder, as_of=moment(20)) as tables:
        other = tables.rows(query)
    kept.log.close()

    assert other == found
    assert [row[0] for row in found] == ["logged_in", "disbursed"]


def test_clickhouse_answers_from_an_archive_in_object_storage_and_says_where_a_file_is_missing(
    tmp_path: Path,
) -> None:
    kept = Kept(tmp_path / "data").tell(login(0, "a"), loan(10, "L1"), loan(20, "L2", user_id="u2"))
    place = f"memory://{tmp_path.name}/lender"
    brought_up(kept.folder, ArchiveSettings(to=place), 0)
    query = "select type, at_us, amount, currency, loan_id from event order by at_us"
    with load(kept.folder) as tables:
        found = tables.rows(query)
    with answered_by(Engine.CLICKHOUSE), load(kept.folder) as tables:
        other = tables.rows(query)
    files = place_at(place, tmp_path)
    for name in [name for name in files.names() if name.startswith("events/")]:
        files.drop(name)
    missing = pytest.raises(DataError, match="archive cannot be read")
    with answered_by(Engine.CLICKHOUSE), load(kept.folder) as tables, missing:
        tables.rows(query)
    kept.log.close()

    assert other == found
    assert len(found) == 3
