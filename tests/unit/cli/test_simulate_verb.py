"""`simulate` from the command line."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lendsignal.cli import main

SHORT = "[ads]\ndays = 8\n"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "early.toml").write_text('event = "application"\n')
    (tmp_path / "grant.toml").write_text('name = "the grant"\nevent = "first_credit"\nvalue = "predicted"\n')
    (tmp_path / "short.toml").write_text(SHORT)
    return tmp_path


def simulated(files: Path, *words: str) -> Result:
    short = ("--market", str(files / "short.toml"), "--worlds", "2")
    return CliRunner().invoke(main, ["simulate", *words, *short])


def test_two_files_behind_one_option_are_two_strategies(files: Path) -> None:
    found = simulated(files, "--json", "--strategy", str(files / "grant.toml"), str(files / "early.toml"))
    rows = json.loads(found.stdout)["tables"]["strategies"]["rows"]

    assert [row["strategy"] for row in rows] == ["the grant", "early"]
    assert all(row["low"] <= row["profit_per_spend"] <= row["high"] for row in rows)


def test_the_picture_shows_profit_with_its_interval(files: Path) -> None:
    chart = files / "a.svg"
    found = simulated(
        files, "--strategy", str(files / "grant.toml"), str(files / "early.toml"), "--chart", str(chart)
    )

    assert found.exit_code == 0, found.output
    assert "profit per spend, with 95 % interval" in chart.read_text()


def test_one_name_for_two_strategies_is_refused(files: Path) -> None:
    early = str(files / "early.toml")

    assert simulated(files, "--strategy", early, early).exit_code == 1


def test_without_a_strategy_it_says_what_it_wants(files: Path) -> None:
    assert simulated(files).exit_code == 2


def test_a_mistake_in_a_strategy_is_named(files: Path) -> None:
    (files / "early.toml").write_text('event = "aplication"\n')
    found = simulated(files, "--strategy", str(files / "early.toml"))

    assert found.exit_code == 2
    assert "application" in found.stderr


def test_the_defaults_are_a_market_that_can_be_read(files: Path) -> None:
    found = CliRunner().invoke(main, ["simulate", "--defaults"])
    (files / "short.toml").write_text(found.stdout)

    assert simulated(files, "--strategy", str(files / "missing.toml")).exit_code == 2
    assert "[lender]" in found.stdout
