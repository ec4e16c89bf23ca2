"""Whoever asks how far a service is may ask while a sender works: idle means that nothing is under way."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from lendsignal.clock import SystemClock
from lendsignal.log import DataFolder, open_log
from lendsignal.log.postgres import Database
from lendsignal.log.postgres import standing as of_cluster
from lendsignal.role import standing as of_folder


class Sender:
    """Deliveries of which one waits and is due; it is claimed, and then is accepted, behind so many looks."""

    def __init__(self, claimed_after: int, ended_after: int = 99) -> None:
        self._looks = 0
        self._claimed_after = claimed_after
        self._ended_after = ended_after

    def due(self, now_us: int) -> set[str]:
        return {"warehouse"} if self._stage() == "waiting" else set()

    def waiting(self) -> Mapping[str, Mapping[str, int]]:
        stage = self._stage()
        return {} if stage == "accepted" else {"warehouse": {stage: 1}}

    def position(self) -> int:
        return 0

    def paused(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass

    def _stage(self) -> str:
        self._looks += 1
        if self._looks > self._ended_after:
            return "accepted"
        return "claimed" if self._looks > self._claimed_after else "waiting"


class NothingElse:
    """A store in which all is decided, and read by senders."""

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return []

    def row(self, query: str, *values: object) -> tuple[Any, ...]:
        return (False,)


def folder_is_idle(sender: Sender, path: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    open_log(DataFolder(path).log).close()
    monkeypatch.setattr(of_folder, "open_deliveries", lambda path, read_only: sender)
    return of_folder.status(path, SystemClock()).idle


@pytest.mark.parametrize("claimed_after", [0, 1, 2])
def test_a_data_folder_whose_sender_claims_between_two_looks_is_not_idle(
    claimed_after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not folder_is_idle(Sender(claimed_after), tmp_path, monkeypatch)


def test_a_data_folder_whose_last_delivery_is_accepted_is_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folder_is_idle(Sender(0, ended_after=0), tmp_path, monkeypatch)


@pytest.mark.parametrize("claimed_after", [0, 1, 2])
def test_a_cluster_whose_sender_claims_between_two_looks_is_busy(
    claimed_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = Sender(claimed_after)
    monkeypatch.setattr(of_cluster, "SlotDeliveries", lambda database, slots, mine: sender)
    found = of_cluster.standing(cast(Database, NothingElse()), 4, 0)

    assert found.due or any(stages.get("claimed") for stages in found.waiting.values())
