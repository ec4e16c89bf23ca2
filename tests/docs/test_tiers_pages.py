"""The pages of tiers and expressions say what the code and the kept run say."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest
from docs.generate import MARK

from lendsignal.bench import TierFigures
from lendsignal.derive import CustomSettings, custom_rule
from lendsignal.derive.expression import compiled
from lendsignal.derive.facts import TABLES, VERSION

DOCS = Path(__file__).parents[2] / "docs"
EXPRESSIONS = (DOCS / "reference" / "expressions.md").read_text()
TIERS = (DOCS / "reference" / "tiers.md").read_text()


def test_every_fact_is_on_the_page_with_its_meaning() -> None:
    listed = dict(re.findall(r"^\| `(\w+\.\w+)` \| [^|]+ \| (.+) \|$", EXPRESSIONS, re.MULTILINE))

    facts = {
        f"{table}.{name}": fact.meaning for table, found in TABLES.items() for name, fact in found.items()
    }
    assert listed == facts
    assert f"## The facts, version {VERSION}" in EXPRESSIONS
    assert MARK not in EXPRESSIONS


def test_the_figures_on_the_page_are_those_of_the_kept_run() -> None:
    kept = (DOCS / "reference" / "pictures" / "tiers.json").read_bytes()
    run = msgspec.json.decode(kept, type=TierFigures)

    for cell in run.cells:
        figures = (
            cell.share_rmse_points,
            cell.fixed_rmse_points,
            cell.worst_tier_rmse_points,
            cell.changes,
        )
        row = next(
            line
            for line in TIERS.splitlines()
            if line.startswith(f"| {cell.grants_per_day:,} | {cell.drift} |")
        )
        shown = [float(part) for part in row.split("|")[3:7]]
        assert shown == pytest.approx(figures, abs=0.051)
    assert all(target.reached for target in run.targets)
    assert f"each of {run.cells[0].worlds} worlds" in TIERS


@pytest.mark.parametrize("name", ["write-a-custom-conversion.md", "mark-test-users.md"])
def test_every_rule_on_a_page_compiles(name: str) -> None:
    text = (DOCS / "how-to" / name).read_text()
    blocks = [tomllib.loads(found) for found in re.findall(r"```toml\n(.*?)```", text, re.DOTALL)]

    rules = [(key, one) for block in blocks for key, one in block.get("conversion", {}).items()]
    tests = [block["people"]["test_rule"] for block in blocks if "test_rule" in block.get("people", {})]

    assert rules or tests
    for key, one in rules:
        custom_rule(key, CustomSettings(**one))
    for rule in tests:
        compiled(rule, "bool")
