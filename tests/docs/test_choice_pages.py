"""The pages about choosing an event: their numbers are the formula's, their facts the table's."""

import re
import shlex
from pathlib import Path

import click
import numpy as np
import pytest

from lendsignal.advise.choice import Rules, accuracy
from lendsignal.advise.platforms import LEARNING
from lendsignal.cli.advise_events import events

DOCS = Path(__file__).parents[2] / "docs"
WHY = (DOCS / "explanation" / "choosing-an-event.md").read_text()
HOW = (DOCS / "how-to" / "choose-an-event.md").read_text()


def test_the_worked_example_is_the_formula() -> None:
    counted = np.array([60.0, 20.0, 5.0])
    r = accuracy(counted, Rules().half_learned)
    scores = r * np.array([0.5, 0.9, 0.9])

    for number in (*r.tolist(), *scores.tolist()):
        assert f"= {number:.2f}" in WHY


def test_the_platforms_facts_are_those_that_the_advice_goes_by() -> None:
    for one in LEARNING.values():
        if one.source:
            assert f"({one.source})" in HOW
            assert f"{one.window_days:g} days" in HOW
            assert f"{one.wanted}" in HOW
            assert one.read in HOW


@pytest.mark.parametrize("line", re.findall(r"^lendsignal advise events (.*)$", WHY + HOW, re.MULTILINE))
def test_every_command_on_the_pages_is_understood(line: str) -> None:
    with click.Context(events) as context:
        rest = events.parse_args(context, shlex.split(line))

    assert rest == []


def test_what_is_printed_on_the_page_has_the_columns_that_it_explains() -> None:
    explained = re.findall(r"^\| `(\w+)`", HOW, re.MULTILINE)
    printed = "".join(re.findall(r"^```text\n(.*?)^```", HOW, re.MULTILINE | re.DOTALL))

    assert {"rho", "learned", "score", "per_week"} <= set(explained)
    assert "per_week" in printed
