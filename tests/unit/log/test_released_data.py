"""The data of every released version is opened, and means what it meant."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import duckdb
import pytest
from tests.released.folders import VERSIONS, unpacked
from tests.released.make import known

from lendsignal.archive import Book
from lendsignal.log import (
    DataFolder,
    form_at,
    migrate,
    open_alerts,
    open_audiences,
    open_deliveries,
    open_feeds,
    open_keys,
    open_log,
    open_orders,
    open_pulls,
    open_shelf,
    refuse_damage,
)
from lendsignal.log.people import open_people
from lendsignal.log.proposals import open_proposals

OPENED: dict[str, Callable[[Path], Any]] = {
    "alerts.sqlite": open_alerts,
    "archive.sqlite": Book,
    "audiences.sqlite": open_audiences,
    "deliveries.sqlite": open_deliveries,
    "feeds.sqlite": open_feeds,
    "keys.sqlite": open_keys,
    "log.sqlite": open_log,
    "orders.sqlite": open_orders,
    "people.sqlite": open_people,
    "proposals.sqlite": open_proposals,
    "pulls.sqlite": open_pulls,
    "relay.sqlite": open_shelf,
}


@pytest.fixture(params=VERSIONS)
def released(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[DataFolder, dict[str, Any]]:
    """A folder of an earlier version, brought to today's form; and what was true of it."""
    folder = DataFolder(tmp_path / "data")
    found = unpacked(request.param, folder.path)
    for path in folder.databases():
        migrate(path)
    return folder, found


def columns(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every table with its columns: name, type, whether it may be null, and whether it is of the key."""
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as db:
        names = [name for (name,) in db.execute("select name from sqlite_master where type = 'table'")]
        return {
            name: [row[1:4] + row[5:] for row in db.execute(f'pragma table_info("{name}")')]
            for name in sorted(map(str, names))
        }


def test_there_is_a_folder_of_the_first_version() -> None:
    assert "0.1.0" in VERSIONS


def test_it_is_whole_and_of_one_moment(released: tuple[DataFolder, dict[str, Any]]) -> None:
    refuse_damage(released[0])


def test_it_holds_what_it_held(released: tuple[DataFolder, dict[str, Any]]) -> None:
    """Events, verdicts, deliveries by destination, and the rows of every table that it had."""
    folder, then = released

    now = known(folder.path)

    for key in ("events", "verdicts", "planned", "accepted", "waiting"):
        assert now[key] == then[key], key
    for file, tables in then["rows"].items():
        assert {table: now["rows"][file].get(table) for table in tables} == tables, file


def test_every_file_has_the_tables_and_columns_that_a_fresh_one_has(
    released: tuple[DataFolder, dict[str, Any]], tmp_path: Path
) -> None:
    """Whoever gives a table another column gives it a step in `log/forms.py` too."""
    folder, _ = released
    for path in folder.databases():
        opened = OPENED[path.name]
        opened(path).close()
        opened(tmp_path / path.name).close()

        assert columns(path) == columns(tmp_path / path.name), path.name
        form = form_at(path)
        assert form is not None
        assert form.is_current


def test_the_archives_files_are_read(released: tuple[DataFolder, dict[str, Any]]) -> None:
    folder, then = released

    with closing(Book(folder.archive, read_only=True)) as book, duckdb.connect(":memory:") as db:
        parts = [part for part in book.parts() if part.table == "events"]
        files = [str(folder.path / "archive" / part.name) for part in parts]
        found = db.execute("select count(*) from read_parquet(?)", [files]).fetchall()

    assert found == [(sum(part.rows for part in parts),)]
    assert sum(part.rows for part in parts) >= then["events"]
