"""The short form of `make faults`: simulated worlds, and bugs planted on purpose that they have to find."""

import os
import subprocess
import sys

import pytest
from tests.faults.planted import PLANTED, found_by
from tests.faults.seed import broken_by
from tests.faults.suite import SEEDS_FOR_A_BUG, hunted

SEEDS = 200


def test_no_promise_is_broken_in_any_simulated_world() -> None:
    broken = {seed: sentence for seed in range(SEEDS) if (sentence := broken_by(seed)) is not None}

    assert broken == {}


def test_ten_planted_bugs_and_more_are_hunted_for() -> None:
    assert len(PLANTED) >= 10
    assert all(bug.__doc__ for bug in PLANTED)


@pytest.mark.parametrize("bug", [bug.__name__ for bug in PLANTED])
def test_each_planted_bug_is_found_within_a_thousand_seeds(bug: str) -> None:
    name, seed = hunted(bug)

    assert name == bug
    assert seed is not None
    assert seed < SEEDS_FOR_A_BUG
    assert broken_by(seed) is None, "without the bug the same seed keeps every promise"


def test_a_seed_is_the_same_world_every_time() -> None:
    traces: list[list[str]] = [[], []]
    for trace in traces:
        assert broken_by(11, trace.append) is None

    assert len(traces[0]) > 20
    assert traces[0] == traces[1]


def test_a_failing_seed_is_shown_by_one_command_in_another_process() -> None:
    sentence = found_by("lost_timer", 0)
    asked = ("-m", "tests.faults", "--seed", "0", "--planted", "lost_timer", "--trace")
    shown = subprocess.run(
        [sys.executable, *asked],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONHASHSEED": "7"},
        check=False,
    )

    assert shown.returncode == 1
    assert sentence is not None
    assert shown.stdout.splitlines()[-1] == f"seed 0: {sentence}"
