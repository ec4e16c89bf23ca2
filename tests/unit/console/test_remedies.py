"""What to do about a reason: one sentence for each that somebody can do something about."""

import re
from pathlib import Path

import pytest

from lendsignal.console.remedies import ANSWER, ITSELF, NOTHING, REMEDIES, remedies, remedy
from lendsignal.model import SkipReason

REASONS = Path(__file__).parents[3] / "docs" / "reference" / "reasons.md"


def listed(heading: str) -> list[str]:
    """Reasons in the tables below a heading of the list of reasons, those with a number left out."""
    text = REASONS.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return [reason for row in rows for reason in re.findall(r"`([a-z_]+)`", row)]


@pytest.mark.parametrize("reason", list(SkipReason))
def test_every_reason_to_skip_says_what_to_do(reason: SkipReason) -> None:
    assert reason.value in REMEDIES


@pytest.mark.parametrize("reason", listed("Why a destination is paused"))
def test_every_reason_to_pause_says_what_to_do(reason: str) -> None:
    assert remedy("paused", reason) not in (NOTHING, ITSELF, ANSWER)


def test_no_remedy_is_for_a_reason_that_there_is_not() -> None:
    text = REASONS.read_text()

    unlisted = [one for one in REMEDIES if f"`{one}`" not in text and not one.startswith("http_")]
    assert unlisted == []


def test_a_reason_that_nobody_foresaw_sends_to_the_platform_s_answer_once_it_is_dead() -> None:
    assert remedy("dead", "code_4711") == ANSWER
    assert remedy("waiting", "code_4711") == ITSELF


def test_a_platform_s_own_trouble_passes_until_it_has_killed_a_delivery() -> None:
    assert (remedy("waiting", "platform_error"), remedy("dead", "platform_error")) == (ITSELF, ANSWER)


def test_reasons_with_the_same_remedy_stand_together_and_those_without_any_nowhere() -> None:
    found = remedies(
        [("skipped", "no_consent"), ("skipped", "no_device_id"), ("dead", "appsflyer_id_missing")]
    )

    assert list(found.values()) == [(("skipped", "no_device_id"), ("dead", "appsflyer_id_missing"))]
