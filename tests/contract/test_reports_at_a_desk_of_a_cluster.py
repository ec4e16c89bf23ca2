"""Every report over a desk's copy of a store, beside that of a data folder which took and sent the same."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from starlette.datastructures import QueryParams
from tests.acme import us
from tests.clustered import Cluster, decide_all
from tests.copying import copy_of
from tests.servers.postgresql import PostgreSql, postgresql
from tests.unit.report.kept import SECOND, Fate, Kept, Still
from tests.unit.report.world import policy, told, world

from lendsignal.archive.keeper import brought_up
from lendsignal.config import Config
from lendsignal.config import load as configured
from lendsignal.log import Changes, DataFolder, open_feeds
from lendsignal.log.postgres import schema
from lendsignal.log.postgres.deliveries import SlotDeliveries
from lendsignal.log.postgres.told import ToldRows, follow
from lendsignal.model.attribution import Ad, Attribution, Spend
from lendsignal.plan import Entry, Planned, delivery_id
from lendsignal.report.catalog import REPORTS
from lendsignal.role.reports import report_of

CONFIG = """
[portfolio]
name = "acme-group"

[brand.acme]

[app.acme-android]
brand = "acme"
platform = "android"
bundle = "com.acme.loans"
country = "NG"
currency = "NGN"
timezone = "Africa/Lagos"
"""

OF_ITS_OWN = frozenset(("record", "delivery", "seq"))
"""Columns that only number rows: each folder numbers for itself."""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql(autovacuum="off", fsync="off") as one:
        yield one


def outcome(planned: Planned, entry: Entry) -> Fate:
    """What became of a delivery: chance by its conversion's id, so that it is the same in both."""
    drawn = int(sha256(f"{planned.conversion.id} {entry.destination}".encode()).hexdigest()[:8], 16)
    ready_us = planned.at_us + entry.settle_us
    fate = Fate("dead", "http_400", status=400) if drawn % 10 == 0 else Fate("accepted", "confirmed")
    fate.answered_us = ready_us + drawn % 977 * 60 * SECOND
    return fate


def said_of(planned: list[tuple[int, int, Planned, Entry]]) -> Changes:
    """The changes by which a sender keeps all of that."""
    changes = Changes()
    for name, _, record, entry in planned:
        changes.add(entry.destination, record.conversion.name, "planned")
        if entry.skip is not None:
            changes.add(entry.destination, record.conversion.name, "skipped", entry.skip.value)
        else:
            outcome(record, entry).write(changes, name, entry.destination, record.conversion.name)
    return changes


FACTS = [
    Attribution(
        feed="mmp",
        mmp="appsflyer",
        app="acme-android",
        id=f"installation-{number}",
        told_us=us(number),
        dated=True,
        ad=Ad(media_source="Facebook Ads", channel="meta", campaign=f"campaign {number % 2}"),
    )
    for number in range(5)
]

COSTS = [
    Spend(
        feed="ads",
        account="act-7",
        day=date(2026, 3, 12),
        ad=Ad(channel="meta", campaign="campaign 1"),
        amount=Decimal("12.50"),
        currency="USD",
    )
]


@pytest.fixture(scope="module")
def both(server: PostgreSql, tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Config]:
    """The configuration over one install's own folder, and that over a desk's copy of a store."""
    place = tmp_path_factory.mktemp("both")
    events = list(told(world(users=40, days=15)))
    found = []
    for name in ("alone", "desk"):
        (place / name).mkdir()
        (place / name / "lendsignal.toml").write_text(CONFIG)
        found.append(configured(place / name / "lendsignal.toml"))
    kept = Kept(place / "alone" / "data", policy()).tell(*events)
    kept.send(lambda name, planned, entry: outcome(planned, entry))
    kept.log.close()
    with closing(open_feeds(place / "alone" / "data" / "feeds.sqlite")) as feeds:
        feeds.take(FACTS)
        feeds.replace_days(COSTS)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(schema, "DAYS_AHEAD", 0)
        _through_a_store(server, place / "desk" / "data", events)
    return found[0], found[1]


def _through_a_store(server: PostgreSql, data: Path, events: list[Any]) -> None:
    with closing(Cluster(server.plain_url, policy=policy())) as cluster:
        cluster.door().append(events)
        cluster.clock = Still(0)  # type: ignore[assignment]
        decide_all(cluster.worker("one"))
        planned = [
            (delivery_id(number, at), number, record, entry)
            for number, record in cluster.records()
            if isinstance(record, Planned)
            for at, entry in enumerate(record.entries)
        ]
        SlotDeliveries(cluster.connect(), cluster.slots, range(cluster.slots)).commit(said_of(planned))
        rows = ToldRows(cluster.connect(), lambda: us(0))
        rows.take(FACTS)
        rows.replace_days(COSTS)
        with closing(copy_of(data, cluster)) as copy:
            copy.follow()
        with closing(open_feeds(data / "feeds.sqlite")) as feeds:
            follow(rows, feeds)


def told_by(config: Config, name: str) -> dict[str, Any]:
    """A report's tables, each with its rows in an order of their own and without the folder's numbers."""
    query = QueryParams("timezone=Africa/Lagos") if name == "reconcile" else QueryParams("")
    found = report_of(config, name, query).to_data()
    tables: dict[str, Any] = {}
    for table, one in found["tables"].items():
        rows = [{key: value for key, value in row.items() if key not in OF_ITS_OWN} for row in one["rows"]]
        tables[table] = sorted(json.dumps(row, default=str, sort_keys=True) for row in rows)
    return tables


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_says_the_same_at_a_desk_row_by_row(both: tuple[Config, Config], name: str) -> None:
    alone, desk = (told_by(config, name) for config in both)

    assert desk == alone


def test_out_of_the_archive_a_desk_reports_the_same_as_out_of_its_copy(both: tuple[Config, Config]) -> None:
    _, desk = both
    before = {name: told_by(desk, name) for name in ("funnel", "delivery", "bindings", "spend")}
    brought_up(DataFolder(desk.data), desk.archive, us(0))

    assert (desk.data / "archive" / "outcomes").is_dir()
    assert {name: told_by(desk, name) for name in before} == before
