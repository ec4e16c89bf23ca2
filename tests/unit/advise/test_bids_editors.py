"""The files for the platforms' bulk editors."""

import csv
import io
from typing import Any

import pytest

from lendsignal.advise.bids.editors import HEADS, Editor, editor_csv


def proposal(channel: str, **changes: Any) -> dict[str, Any]:
    return {
        "channel": channel,
        "campaign_id": "4711",
        "campaign": "loans, search",
        "proposed": 1234.5,
        "pause": False,
        "target_cpa": 56.789,
        "target_roas": 2.345,
        **changes,
    }


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_google_takes_a_daily_budget_and_targets_only_where_they_are_asked_for() -> None:
    (plain,) = rows(editor_csv("google", [proposal("google")]))
    (aimed,) = rows(editor_csv("google", [proposal("google")], targets=True))

    assert plain == {
        "Campaign": "loans, search",
        "Campaign ID": "4711",
        "Campaign daily budget": "1234.50",
        "Target CPA": "",
        "Target ROAS": "",
        "Campaign status": "",
    }
    assert (aimed["Target CPA"], aimed["Target ROAS"]) == ("56.79", "234.50%")


def test_meta_takes_a_daily_budget_by_the_campaigns_id() -> None:
    (one,) = rows(editor_csv("meta", [proposal("meta")]))

    assert one == {
        "Campaign ID": "4711",
        "Campaign Name": "loans, search",
        "Campaign Status": "",
        "Campaign Daily Budget": "1234.50",
    }


@pytest.mark.parametrize(
    ("editor", "status", "word"),
    [("google", "Campaign status", "Paused"), ("meta", "Campaign Status", "PAUSED")],
)
def test_a_pause_leaves_the_budget_as_it_is(editor: Editor, status: str, word: str) -> None:
    (one,) = rows(editor_csv(editor, [proposal(editor, pause=True, proposed=0.0)], targets=True))

    assert one[status] == word
    assert not any(value for name, value in one.items() if "udget" in name or "Target" in name)


def test_campaigns_of_other_channels_are_left_out() -> None:
    assert editor_csv("google", [proposal("meta")]) == ",".join(HEADS["google"]) + "\n"
