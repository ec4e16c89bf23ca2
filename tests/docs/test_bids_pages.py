"""The pages on bids: what they quote is what the commands say; their figures are those of the kept run."""

import re
import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from tests.docs.test_which_campaign import PAGE as TUTORIAL
from tests.docs.test_which_campaign import within, words_of

from lendsignal.cli import main

DOCS = Path(__file__).parents[2] / "docs"
HOW_TO = (DOCS / "how-to" / "move-bids.md").read_text()
EXPLANATION = (DOCS / "explanation" / "bids-from-cohorts.md").read_text()
RUN: dict[str, Any] = msgspec.json.decode((DOCS / "explanation" / "pictures" / "bids.json").read_bytes())


def run(line: str) -> list[str]:
    done = CliRunner().invoke(main, shlex.split(line)[1:], env={"COLUMNS": "200"})
    assert done.exit_code == 0, f"{line}: {done.output}"
    return done.output.splitlines()


@pytest.fixture
def lender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tutorial's lender, in a folder of its own."""
    for name, text in re.findall(
        r"as `([\w.]+\.toml)`.*?\n\n```toml\n(.*?)^```$", TUTORIAL.read_text(), re.S | re.M
    ):
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    for line in re.findall(r"^lendsignal (?:generate|import) .*$", TUTORIAL.read_text(), re.M):
        run(line)
    return tmp_path


def test_what_the_how_to_quotes_is_what_its_commands_print(lender: Path) -> None:
    printed: list[list[str]] = []
    quoted: list[list[str]] = []
    for language, block in re.findall(r"^```(sh|text)\n(.*?)^```$", HOW_TO, re.DOTALL | re.MULTILINE):
        if language == "sh":
            printed += [words_of(row) for line in block.splitlines() for row in run(line)]
        else:
            quoted += [words_of(row) for row in block.splitlines()[1:]]

    assert len(quoted) > 15
    assert [cells for cells in quoted if not any(within(cells, row) for row in printed)] == []
    assert "google_ua_loans_search" in (lender / "google.csv").read_text()


def table_after(words: str) -> list[list[float]]:
    """The numbers of the first table behind these words, row by row."""
    lines = EXPLANATION.partition(words)[2].lstrip("\n").splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("| ---"))
    rows = []
    for line in lines[start + 1 :]:
        if not line.startswith("|"):
            break
        rows.append([float(cell.strip(" %")) for cell in line.strip("|").split("|")[1:]])
    return rows


def test_the_figures_of_the_explanation_are_those_of_the_kept_run() -> None:
    errors = [[100 * value for value in cell.values()] for cell in RUN["rmse"].values()]
    held = [[100 * value for value in cell.values()] for cell in RUN["coverage_90"].values()]
    earned = [[100 * one["profit_per_spend"], 100 * one["edits"]] for one in RUN["closed_loop"].values()]

    for words, expected, near in (
        ("in points:", errors, 0.051),
        ("hold the truth in:", held, 0.051),
        ("sixty such worlds:", earned, 0.51),
    ):
        assert [pytest.approx(row, abs=near) for row in expected] == table_after(words)


def test_the_kept_run_reaches_what_was_asked_of_it() -> None:
    small = [RUN["better_than_chain_ladder"][cell]["eb"] for cell in ("14d_5_a_week", "30d_5_a_week")]
    loop = RUN["closed_loop"]

    assert min(small) >= 0.4
    assert loop["eb_gated"]["profit_per_spend"] >= loop["raw"]["profit_per_spend"]
    assert loop["eb_gated"]["edits"] <= 0.7
    assert RUN["oracles"]["raa_ibnr"] == pytest.approx(52_135, abs=1)


def test_the_worked_example_is_arithmetic() -> None:
    blended = (8 + 70 * 0.1) / (40 + 70)
    profit = round(240 - blended * 0.93 * 1_240 - 20)

    assert f"{blended:.1%}".replace("%", " %") == "13.6 %"
    assert (profit, f"{profit / 50:.2f}", f"{(profit / 50) ** 0.5:.2f}") == (63, "1.26", "1.12")
