"""What the pages' role says of lists that platforms were told of."""

from collections.abc import Sequence
from pathlib import Path
from threading import Event

import pytest
from tests.unit.console.test_keys_page import CONFIG

from lendsignal import config as configuration
from lendsignal.clock import Clock
from lendsignal.config import Config
from lendsignal.deliver.audiences import Synced
from lendsignal.role.web import in_step


def test_each_list_is_told_of_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lendsignal.toml"
    path.write_text(CONFIG)
    config, asked = configuration.load(path), []

    def brought(_: Config, clock: Clock, stopping: Event, only: Sequence[str]) -> list[Synced]:
        asked.append(tuple(only))
        return [
            Synced(audience="good", account="meta-ng", outcome="done", added=1_234, removed=5, refused=2),
            Synced(audience="good", account="csv", outcome="paused", reason="token", added=0, removed=0),
        ]

    monkeypatch.setattr("lendsignal.role.audience.brought_in_step", brought)

    assert in_step(config, ("good",)).splitlines() == [
        "good → meta-ng: done, +1,234 −5, 2 refused",
        "good → csv: paused (token), +0 −0, 0 refused",
    ]
    assert asked == [("good",)]
