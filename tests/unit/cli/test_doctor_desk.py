"""What the doctor says of a desk's copy of the store."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lendsignal.cli.doctor_store import copy
from lendsignal.cli.findings import Finding
from lendsignal.clock import SystemClock
from lendsignal.log import DataFolder
from lendsignal.log.copied import CopyStanding, tell_standing


def found(data: Path) -> list[Finding]:
    return list(copy(cast(Any, SimpleNamespace(data=data))))


@pytest.mark.parametrize(
    ("age_seconds", "wrong", "level", "said"),
    [
        (0, "", "ok", "is young"),
        (600, "", "act", "10m old, and 5 events behind"),
        (0, "the store has dropped days", "act", "the store has dropped days"),
    ],
)
def test_a_copy_is_judged_by_its_age_and_by_what_keeps_it(
    tmp_path: Path, age_seconds: int, wrong: str, level: str, said: str
) -> None:
    whole_us = SystemClock().now_us() - age_seconds * 1_000_000
    tell_standing(DataFolder(tmp_path), CopyStanding(whole_us=whole_us, behind=5, wrong=wrong))
    (one,) = found(tmp_path)

    assert (one.check, one.level) == ("copy", level)
    assert said in one.found


def test_a_copy_that_is_being_made_is_waited_for(tmp_path: Path) -> None:
    tell_standing(DataFolder(tmp_path), CopyStanding(whole_us=0, behind=9))

    assert [one.level for one in found(tmp_path)] == ["look"]


def test_of_a_node_without_a_copy_nothing_is_said(tmp_path: Path) -> None:
    assert found(tmp_path) == []
    assert found(tmp_path / "nowhere") == []
    assert not (tmp_path / "nowhere").exists()
