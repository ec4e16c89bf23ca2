"""Every trap on the reference page has the test that it names, and every platform has its traps there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from lendsignal.destination import registry

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "traps.md").read_text()
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and "::" in line]
WITHOUT_TRAPS = {"kafka"}
"""Destinations whose receiver is the lender's own."""


@cache
def functions(path: Path) -> frozenset[str]:
    """The names of a file's functions."""
    return frozenset(
        node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)
    )


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_the_test_that_a_trap_names_exists(row: list[str]) -> None:
    (named,) = re.findall(r"`(tests/[\w/]+\.py::\w+)`", row[-1])
    path, _, name = named.partition("::")

    assert len(row) == 4
    assert name in functions(ROOT / path)


def test_every_platform_has_its_traps() -> None:
    told = set(re.findall(r"`(\w+)`", " ".join(row[1] for row in ROWS)))

    assert told == set(registry()) - WITHOUT_TRAPS


def test_no_trap_stands_there_twice() -> None:
    assert len({row[0] for row in ROWS}) == len(ROWS) >= 60
