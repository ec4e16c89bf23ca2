"""The tutorial for the media buyer: its commands run, and what it quotes is what they say."""

import re
import shlex
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lendsignal.cli import main as command
from lendsignal.cli import understand
from lendsignal.log import DataFolder
from lendsignal.report import Tables, load

PAGE = Path(__file__).parents[2] / "docs" / "tutorials" / "which-campaign.md"


def words_of(line: str) -> list[str]:
    """A row's cells: what two blanks or more keep apart."""
    return re.split(r" {2,}", line.strip())


def followed(text: str) -> tuple[list[list[str]], list[str]]:
    """Each quoted row as cells, and all that the commands printed, line by line."""
    quoted: list[list[str]] = []
    printed: list[str] = []
    for language, block in re.findall(r"^```(sh|text)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        if language == "text":
            quoted += [words_of(line) for line in block.splitlines()[1:]]
            continue
        for line in block.splitlines():
            words = shlex.split(line.partition(" >")[0])[1:]
            done = CliRunner().invoke(command, words, env={"COLUMNS": "200"})
            assert done.exit_code == 0, f"{line}: {done.output}"
            printed += done.output.splitlines()
    return quoted, printed


def within(cells: list[str], row: list[str]) -> bool:
    """Whether a row has these cells in this order, others between them left out."""
    left = iter(row)
    return all(cell in left for cell in cells)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the files that the page has saved there."""
    blocks = re.findall(r"as `([\w.]+\.toml)`.*?\n\n```toml\n(.*?)^```$", PAGE.read_text(), re.S | re.M)
    for name, text in blocks:
        (tmp_path / name).write_text(text)
    assert [name for name, _ in blocks] == ["small.toml", "lendsignal.toml", "map.toml"]
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def read_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Reports ask the same tables, as pages do: nothing comes in between two of the page's reports."""
    kept: dict[tuple[object, ...], Tables] = {}

    def tables_of(folder: DataFolder, **words: Any) -> nullcontext[Tables]:
        asked = (folder.path, folder.last_written(), *sorted(words.items()))
        if asked not in kept:
            kept[asked] = load(folder, **words)
        return nullcontext(kept[asked])

    monkeypatch.setattr(understand, "load", tables_of)
    yield
    for tables in kept.values():
        tables.close()


@pytest.mark.usefixtures("read_once")
def test_what_the_tutorial_quotes_is_what_its_commands_print(folder: Path) -> None:
    quoted, printed = followed(PAGE.read_text())
    rows = [words_of(line) for line in printed]

    assert len(quoted) > 15
    assert [cells for cells in quoted if not any(within(cells, row) for row in rows)] == []
