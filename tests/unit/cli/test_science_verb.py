"""`bench science` from the command line: which parts, which files. What they measure is stood in for."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from lendsignal.bench import science
from lendsignal.cli import main
from lendsignal.report.chart import Bars, Series


@pytest.fixture(autouse=True)
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part measures whether it was quick; that of bids has a picture."""

    def module(key: str) -> Any:
        made: dict[str, Any] = {"measure": lambda quick: {"part": key, "quick": quick}}
        if key == "bids":
            bars = Bars(
                title="Errors", labels=("a",), series=(Series(name="s", values=(0.5,)),), axis="share"
            )
            made["charts"] = lambda found: (bars,)
        return SimpleNamespace(**made)

    monkeypatch.setattr(science, "_module", module)


def run(*words: str) -> str:
    found = CliRunner().invoke(main, ["bench", "science", *words])
    assert found.exit_code == 0, found.output
    return found.stdout


def test_every_part_is_measured_under_its_key() -> None:
    found = json.loads(run("--quick", "--json"))

    assert list(found) == ["tiers", "value", "event_choice", "bids", "holdout"]
    assert all(figures == {"part": key, "quick": True} for key, figures in found.items())


def test_parts_can_be_asked_for_one_by_one_and_draw_their_pictures(tmp_path: Path) -> None:
    found = json.loads(run("--only", "bids", "--only", "tiers", "--charts", str(tmp_path / "new"), "--json"))

    assert list(found) == ["tiers", "bids"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["bids-1.svg"]
    assert "Errors" in (tmp_path / "new" / "bids-1.svg").read_text()


def test_people_get_a_line_for_each_figure() -> None:
    assert "bids.part" in run("--only", "bids")
