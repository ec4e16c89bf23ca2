"""The short form of `make crash`: a few kills and power cuts, and the tools of the suite put to the proof."""

import random
from pathlib import Path

import pytest
from tests.crash.house import HAS_LANES
from tests.crash.role_that_dies import POINTS
from tests.crash.shim_at_work import blind_spot
from tests.crash.suite import FOLD_AT, Killings
from tests.crash.unsynced import compiled
from tests.running import drawn_seed

KILLS = 8
CUTS = 4
PER_SECOND = 200


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shim that drops what was not synced."""
    found = compiled(tmp_path_factory.mktemp("shim"))
    if found is None:
        pytest.skip("NO POWER CUTS: there is no C compiler on this machine")
    return found


def test_processes_killed_under_load_lose_nothing_and_double_at_most_what_was_in_flight(
    tmp_path: Path,
) -> None:
    killings = Killings(tmp_path, drawn_seed(), per_second=PER_SECOND)
    try:
        killings.kill(KILLS, print)
        proof = killings.reckoning()
    finally:
        killings.close()

    assert proof.judgement is not None
    assert proof.judgement.broken == []
    assert proof.judgement.lost == 0
    assert proof.judgement.doubled["hold"] == 0
    assert proof.judgement.doubled["retry"] <= proof.judgement.in_flight["retry"]
    assert proof.judgement.held <= proof.judgement.in_flight["hold"]
    assert proof.judgement.disordered == (0 if HAS_LANES else None)
    assert proof.kills >= KILLS
    assert set(proof.points) <= {*POINTS, "random", "both"}
    assert proof.events, "there was load"


def test_what_was_acknowledged_is_there_after_every_power_cut(tmp_path: Path, library: Path) -> None:
    killings = Killings(tmp_path, drawn_seed(), per_second=PER_SECOND, fold_at=FOLD_AT)
    try:
        cuts = killings.cut(CUTS, library, print)
        proof = killings.reckoning(cuts)
    finally:
        killings.close()

    assert cuts.is_harmless
    assert cuts.number == CUTS
    assert proof.judgement is not None
    assert proof.judgement.broken == []


def test_a_disk_that_lies_about_its_syncs_is_found_out(tmp_path: Path, library: Path) -> None:
    killings = Killings(tmp_path, drawn_seed(), per_second=PER_SECOND)
    try:
        cuts = killings.cut(CUTS, library, print, lies=True)
    finally:
        killings.close()

    assert not cuts.is_harmless


@pytest.mark.parametrize("torn", [False, True], ids=["clean", "torn"])
def test_the_shim_takes_back_what_was_not_synced_and_nothing_else(
    tmp_path: Path, library: Path, torn: bool
) -> None:
    assert blind_spot(library, tmp_path, chance=random.Random(drawn_seed()) if torn else None) is None


def test_on_a_disk_that_lies_the_shim_takes_back_everything(tmp_path: Path, library: Path) -> None:
    assert blind_spot(library, tmp_path, lies=True) is None
