"""`migrate`: what it would do, tried on copies; what it does; and that it needs the folder to itself."""

import json
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from click.testing import CliRunner, Result

from lendsignal import config as configuration
from lendsignal.cli import main
from lendsignal.log import DataFolder, forms, open_keys, open_orders
from lendsignal.log.forms import Step

AGE = Step(does="orders have an age", work=lambda db: db.execute("alter table orders add column age integer"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataFolder:
    """A folder of an earlier version: its orders lack something."""
    (tmp_path / "lendsignal.toml").write_text('[portfolio]\nname = "acme"\n[brand.acme]\n[app]\n')
    monkeypatch.chdir(tmp_path)
    found = DataFolder(configuration.load(tmp_path / "lendsignal.toml").data)
    open_orders(found.orders).close()
    open_keys(found.keys).close()
    monkeypatch.setattr(forms, "STEPS", {"orders.sqlite": [AGE]})
    return found


def call(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def columns(path: Path) -> list[str]:
    with closing(apsw.Connection(str(path))) as db:
        return [str(row[1]) for row in db.execute("pragma table_info(orders)")]


def test_a_dry_run_does_it_to_copies_and_changes_nothing(folder: DataFolder) -> None:
    found = call("migrate", "--dry-run")

    assert found.exit_code == 0, found.output
    assert "keys.sqlite          form 1, current" in found.stdout
    assert "orders.sqlite        form 1 → 2, tried on a copy" in found.stdout
    assert "- orders have an age" in found.stdout
    assert "age" not in columns(folder.orders)
    assert not list(folder.path.glob("migrate-*"))


def test_migrating_does_it_once(folder: DataFolder) -> None:
    first = json.loads(call("migrate", "--json").stdout)["files"]
    again = json.loads(call("migrate", "--json").stdout)["files"]

    assert [one["done"] for one in first] == [False, True]
    assert [one["done"] for one in again] == [False, False]
    assert "age" in columns(folder.orders)


def test_nothing_else_works_on_an_older_folder_and_each_names_the_way(folder: DataFolder) -> None:
    for verb in (["run"], ["backup", "elsewhere"], ["pause", "--all"]):
        found = call(*verb)
        assert found.exit_code == 1, (verb, found.output)
        assert "lendsignal migrate" in found.output or "no log" in found.output, (verb, found.output)


def test_a_service_that_runs_is_not_migrated_under_its_feet(folder: DataFolder) -> None:
    with folder.lock("send"):
        found = call("migrate")
        tried = call("migrate", "--dry-run")

    assert (found.exit_code, tried.exit_code) == (1, 0)
    assert "another lendsignal process" in found.output
    assert "age" not in columns(folder.orders)


def test_a_newer_folder_is_refused(folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    call("migrate")
    monkeypatch.setattr(forms, "STEPS", {})
    found = call("migrate")

    assert found.exit_code == 1
    assert "orders.sqlite has form 2, and this version knows form 1 at most" in found.output
