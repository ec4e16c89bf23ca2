"""The pages about holdouts and made-up markets: their examples are what the commands print and take."""

import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from lendsignal.cli import main
from lendsignal.plan import HoldoutSettings
from lendsignal.settings import read
from lendsignal.simulate.market import load_market, load_strategy
from lendsignal.simulate.market.rules import RULES
from lendsignal.simulate.market.trying import MARK

DOCS = Path(__file__).parents[2] / "docs"
HOLDOUTS = (DOCS / "explanation" / "holdouts.md").read_text()
MEASURE = (DOCS / "how-to" / "measure-retargeting.md").read_text()
COMPARE = (DOCS / "how-to" / "compare-strategies.md").read_text()
RULES_PAGE = (DOCS / "explanation" / "market-rules.md").read_text()


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_the_plan_on_the_page_is_what_the_command_prints() -> None:
    (block,) = (one for one in blocks(HOLDOUTS, "text") if one.startswith("$ lendsignal"))
    command, *lines = block.splitlines()
    printed = CliRunner().invoke(main, command.split()[2:]).stdout

    told = [line for line in lines if "held out," in line]
    assert len(told) == 4
    assert all(line in printed for line in told)
    assert lines[-1].rstrip("… ") in printed


def test_the_worked_example_is_the_formula() -> None:
    words = "advise holdout plan --rate 0.10 --reach 0.4 --share 0.1 --weeks 0 --eligible".split()

    for eligible, per_cent in (("10000", "70"), ("50000", "31"), ("1000000", "7")):
        assert f" {per_cent} %" in HOLDOUTS
        assert f" {per_cent}." in CliRunner().invoke(main, [*words, eligible]).stdout


def test_every_holdout_on_the_page_can_be_read() -> None:
    found = [tomllib.loads(one)["holdout"] for one in blocks(MEASURE, "toml")]

    assert len(found) == 2
    for tables in found:
        for table in tables.values():
            assert read(HoldoutSettings, table, path="", origin="")[1] == []


@pytest.mark.parametrize("text", [one for one in blocks(COMPARE, "toml") if one.startswith("# ")])
def test_every_strategy_on_the_page_can_be_played(text: str, tmp_path: Path) -> None:
    path = tmp_path / text.splitlines()[0].removeprefix("# ")
    path.write_text(text)

    assert load_strategy(path).event


def test_the_market_on_the_page_is_one() -> None:
    (text,) = (one for one in blocks(COMPARE, "toml") if not one.startswith("# "))

    assert load_market(changes=tomllib.loads(text)).drawn(1).lender.fee == 0.25


def test_every_rule_has_its_verdict_on_the_page() -> None:
    written = RULES_PAGE.partition(MARK)[2]

    for rule in RULES:
        assert f"## {rule.rule}\n" in written
        for claim in rule.claims:
            assert claim.words in written
