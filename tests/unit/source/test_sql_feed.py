"""Any database that SQLAlchemy speaks to, shown on SQLite; and what a table of settings may say."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.pulling import House

from lendsignal.errors import PullError
from lendsignal.settings import read
from lendsignal.source import sql
from lendsignal.source.sql import outbox_sql, packed, unpacked

LOGINS: dict[str, Any] = {
    "query": "select id, customer, seen_ms, gaid from logins",
    "cursor": "id",
    "overlap_numbers": 5,
    "constant": {"brand": "acme", "app": "acme-ng"},
    "column": {"seen_ms": {"kind": "epoch_ms"}},
    "event": [
        {
            "type": "logged_in",
            "columns": {"user_id": "customer", "occurred_at": "seen_ms", "device.gaid": "gaid"},
        }
    ],
}

GAID = "38400000-8cf0-11bd-b23e-10b96e40000d"


class Lender:
    """A lender whose database is a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run("create table logins (id integer primary key, customer text, seen_ms integer, gaid text)")

    def run(self, statement: str, *values: Any) -> None:
        with closing(sqlite3.connect(self.path)) as db, db:
            db.execute(statement, values)

    def log_in(self, *numbers: int) -> None:
        for n in numbers:
            at = 1_772_000_000_000 + n * 60_000
            self.run("insert into logins values (?, ?, ?, ?)", n, f"c{n}", at, GAID)

    def table(self, **more: Any) -> dict[str, Any]:
        return {"url": f"sqlite:///{self.path}", **LOGINS, **more}


@pytest.fixture
def lender(tmp_path: Path) -> Lender:
    return Lender(tmp_path / "lender.sqlite")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    found = House(tmp_path / "data")
    yield found
    found.close()


def users(house: House) -> list[str]:
    return [one.user_id for one in house.events()]


def test_a_number_that_appears_behind_the_largest_is_found_within_the_overlap(
    lender: Lender, house: House
) -> None:
    lender.log_in(1, 2, 10)
    house.read_all("sql", lender.table())
    lender.log_in(4, 5, 12)
    house.read_all("sql", lender.table())

    assert users(house) == ["c1", "c2", "c10", "c5", "c12"]  # 4 is six numbers behind 10


def test_an_empty_table_is_no_trouble_and_its_first_row_is_read(lender: Lender, house: House) -> None:
    house.read_all("sql", lender.table())
    lender.log_in(1)
    house.read_all("sql", lender.table())

    assert users(house) == ["c1"]


def test_killed_for_good_between_durable_and_mark_no_row_counts_twice(
    lender: Lender, house: House, tmp_path: Path
) -> None:
    lender.log_in(1, 2, 3)
    house.close()
    script = f"""
import os, signal
from pathlib import Path
from tests.pulling import House
house = House(Path({str(tmp_path / "data")!r}))
straight = house.hand()
def hand(name, batch):
    straight(name, batch)
    os.kill(os.getpid(), signal.SIGKILL)
house.puller("sql", {lender.table()!r}, hand=hand).turn()
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=Path.cwd(), timeout=60, env={**os.environ})
    house.open()
    house.read_all("sql", lender.table())

    assert done.returncode == -signal.SIGKILL
    assert len(house.ids()) == 6
    assert len(set(house.ids())) == 3
    assert house.verdicts() == {"taken": 3, "duplicate": 3}


def test_a_mark_of_another_way_of_reading_is_told_and_not_guessed_at(lender: Lender, house: House) -> None:
    house.pulls.commit("loans", b"[1, 2]", 1, remembered={}, notes={})
    puller = house.puller("sql", lender.table())
    with pytest.raises(PullError, match="other_mark"):
        puller.turn()


def test_a_driver_that_is_not_there_is_named(house: House, lender: Lender) -> None:
    puller = house.puller("sql", lender.table(url="oracle://reader@db.example/loans"))
    with pytest.raises(PullError, match="no_driver"):
        puller.turn()


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"url": "postgresql://reader:hunter2@db.example/loans"}, "url"),
        ({"url": "db.example"}, "url"),
        ({"cursor": None}, "cursor"),
        ({"outbox": "outbox"}, "query"),
        ({"delete": True}, "delete"),
        ({"event": []}, "event"),
        ({"query": None, "outbox": "x; drop table loans"}, "outbox"),
        (
            {"event": [{"type": "disbursed", "columns": {"user_id": "c", "occurred_at": "t"}}]},
            "event[0].columns",
        ),
        ({"event": [{**LOGINS["event"][0], "once_per": "customer"}]}, "event[0].once_per"),
        ({"event": [{**LOGINS["event"][0], "constants": {"lone_id": "x"}}]}, "event[0].constants.lone_id"),
    ],
)
def test_what_cannot_be_is_named_by_its_key(lender: Lender, change: dict[str, Any], key: str) -> None:
    table = {name: value for name, value in (lender.table() | change).items() if value is not None}
    own, wrong = read(sql.Settings, table, path="", origin="")
    assert own is not None, wrong
    found = list(sql.problems(own))

    assert key in [one.key for one in found]
    assert all("hunter2" not in str(one) for one in found)


@pytest.mark.parametrize(
    "value",
    [
        7,
        Decimal("7.25"),
        "01JD9Z",
        date(2026, 5, 2),
        datetime(2026, 5, 2, 9, 0, 0, 123456),  # noqa: DTZ001 - a database's clock without a zone
        datetime(2026, 5, 2, 9, 0, 0, 123456, tzinfo=UTC),
    ],
)
def test_a_cursor_is_the_same_after_a_restart(value: Any) -> None:
    assert unpacked(packed(value)) == value
    assert type(unpacked(packed(value))) is type(value)


def test_the_sql_of_an_outbox_names_the_table_everywhere() -> None:
    for dialect in ("postgresql", "mariadb", "mysql"):
        text = outbox_sql(dialect, "acme.events_out")

        assert text.count("acme.events_out") >= 3
        assert "{" not in text
