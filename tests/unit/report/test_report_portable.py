"""The reports that two engines answer alike, over the same files."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from tests.unit.archive.reader import Archive
from tests.unit.report.kept import SECOND, Fate, Kept
from tests.unit.report.test_report_attribution import META, ORGANIC, TIKTOK, came
from tests.unit.report.test_report_spend import cost
from tests.unit.report.world import policy, told, world

from lendsignal.log import open_deliveries, open_feeds
from lendsignal.plan import Entry, Planned
from lendsignal.report import delivery, funnel
from lendsignal.report.portable import (
    ATTRIBUTION,
    DELAY,
    FUNNEL,
    PORTABLE,
    SPEND,
    WATERFALL,
    Engine,
    Portable,
    statement,
)

Row = tuple[Any, ...]


class Shelf:
    """A made-up lender's archive, asked by both engines."""

    def __init__(self, path: Path) -> None:
        self.kept = Kept(path, policy())
        self.kept.tell(*told(world(users=60, days=30)))
        self.kept.send(_fate)
        comings = [came("a", META), came("b", META), came("c", TIKTOK), came("d", ORGANIC)]
        self.kept.feed(*comings, came("a", META, kind="re_engagement"))
        feeds = open_feeds(self.kept.folder.feeds)
        feeds.replace_days([cost(10, "3000.25", clicks=5), cost(11, "1500"), cost(11, "7", currency="USD")])
        self.archive = Archive(path / "kept")
        sent = open_deliveries(self.kept.folder.deliveries, read_only=True)
        while self.archive.keeper.turn(self.kept.log, sent, feeds):
            pass
        sent.close()
        feeds.close()
        self.root = str(self.archive.root)
        self.there = {path.name for path in self.archive.root.iterdir() if list(path.glob("*/*.parquet"))}

    def by_duckdb(self, one: Portable) -> list[Row]:
        with duckdb.connect() as db:
            db.execute("set TimeZone = 'UTC'")
            found = db.sql(statement(one, Engine.DUCKDB, self.root, self.there))
            assert tuple(found.columns) == one.columns
            return [tuple(map(_plain, row)) for row in found.fetchall()]

    def by_clickhouse(self, one: Portable) -> list[Row]:
        import chdb

        sql = statement(one, Engine.CLICKHOUSE, self.root, self.there)
        answer = chdb.query(  # type: ignore[no-untyped-call]
            f"{sql}, output_format_json_quote_64bit_integers = 0, output_format_json_quote_decimals = 1",
            "JSONCompactEachRowWithNames",
        ).data()
        names, *rows = [msgspec.json.decode(line) for line in answer.splitlines()]
        assert tuple(names) == one.columns
        return [tuple(map(_plain, row)) for row in rows]


def _fate(name: int, planned: Planned, entry: Entry) -> Fate | None:
    """Most are accepted, some dead, some wait."""
    if name % 13 == 0:
        return None
    end = Fate("dead", "gone") if name % 7 == 0 else Fate("accepted", "confirmed")
    end.answered_us = planned.at_us + entry.settle_us + name % 977 * 60 * SECOND
    return end


def _plain(value: Any) -> Any:
    """Numbers alike, however an engine writes them."""
    if isinstance(value, str):
        try:
            return Decimal(value).normalize()
        except ArithmeticError:
            return value
    return Decimal(str(value)).normalize() if isinstance(value, (int, float, Decimal)) else value


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    one = Shelf(tmp_path_factory.mktemp("shelf"))
    yield one
    one.kept.log.close()


@pytest.mark.parametrize("one", PORTABLE, ids=lambda one: one.name.replace(" ", "_"))
def test_both_engines_give_the_same_rows(shelf: Shelf, one: Portable) -> None:
    found = shelf.by_duckdb(one)

    assert found
    assert shelf.by_clickhouse(one) == found


@pytest.mark.parametrize("one", PORTABLE, ids=lambda one: one.name.replace(" ", "_"))
def test_an_archive_without_a_row_gives_none_on_either(shelf: Shelf, one: Portable, tmp_path: Path) -> None:
    bare = Shelf.__new__(Shelf)
    bare.root, bare.there = str(tmp_path), set()

    assert bare.by_duckdb(one) == bare.by_clickhouse(one) == []


def test_the_funnel_counts_what_the_products_own_counts(shelf: Shelf) -> None:
    with shelf.kept.tables() as tables:
        own = {
            row["step"]: (row["events"], row["users"])
            for row in funnel(tables).steps.records()
            if row["loans"] == "all"
        }
    portable = {kind: (int(events), int(users)) for kind, events, users in shelf.by_duckdb(FUNNEL)}

    shared = own.keys() & portable.keys()
    assert {"registered", "applied", "disbursed"} <= shared
    assert {kind: portable[kind] for kind in shared} == {kind: own[kind] for kind in shared}


def test_the_waterfall_counts_what_the_products_own_counts_and_balances(shelf: Shelf) -> None:
    with shelf.kept.tables() as tables:
        own = {
            (row["destination"], row["conversion"]): tuple(
                row[name] for name in ("planned", "accepted", "dead")
            )
            for row in delivery(tables).conversions.records()
        }
    found = shelf.by_duckdb(WATERFALL)

    assert {(row[0], row[1]): tuple(map(int, row[2:5])) for row in found} == own
    assert all(row[2] == sum(row[3:]) for row in found)
    assert any(row[4] for row in found), "some are dead"
    assert any(row[7] for row in found), "some wait"


def test_comings_and_costs_are_summed_as_by_hand(shelf: Shelf) -> None:
    assert [(row[0], row[1], row[2], int(row[3])) for row in shelf.by_duckdb(ATTRIBUTION)] == [
        ("meta", "spring", "install", 2),
        ("meta", "spring", "re_engagement", 1),
        ("organic", "", "install", 1),
        ("tiktok", "video", "install", 1),
    ]
    assert [row[2:] for row in shelf.by_duckdb(SPEND)] == [
        ("NGN", Decimal("4500.25"), 0, 5),
        ("USD", Decimal(7), 0, 0),
    ]


def test_a_delay_is_counted_from_the_event_to_the_platforms_yes(shelf: Shelf) -> None:
    for _, _, n, p50, p90, same_day in shelf.by_duckdb(DELAY):
        assert 0 < p50 <= p90
        assert 0 <= same_day <= n
