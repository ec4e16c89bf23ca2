"""Ready means that events are taken, decided and sent; each of the three can be what is missing."""

import struct
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.acme import loan, login

from lendsignal import config as configuration
from lendsignal.clock import SystemClock
from lendsignal.config import Config
from lendsignal.log import DataFolder, Log, Pulse, open_log
from lendsignal.role.standing import BEHIND, STILL_SECONDS, Readiness
from lendsignal.source import Intake


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "lendsignal.toml"
    path.write_text('[portfolio]\nname = "acme"\n[brand.acme]\n[app]\n')
    return configuration.load(path)


@pytest.fixture
def log(config: Config) -> Iterator[Log]:
    with closing(open_log(DataFolder(config.data).log)) as found:
        yield found


@pytest.fixture
def pulse(config: Config) -> Pulse:
    """That of a sender which turned just now."""
    found = Pulse(DataFolder(config.data).pulse("send"))
    found.beat()
    return found


class Steady:
    """Steady time that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


def readiness(config: Config, log: Log, steady: Any = time.monotonic) -> Readiness:
    return Readiness(config, SystemClock(), Intake(log, lambda first, events: False), steady)


def test_a_service_that_takes_decides_and_sends_is_ready(config: Config, log: Log, pulse: Pulse) -> None:
    assert readiness(config, log).missing() == []


def test_a_door_that_is_apart_is_not_ready_where_nobody_decides(
    config: Config, log: Log, pulse: Pulse, tmp_path: Path
) -> None:
    path = tmp_path / "lendsignal.toml"
    path.write_text(f"{path.read_text()}\n[door]\napart = true\n")
    apart = readiness(configuration.load(path), log)
    assert apart.missing() == ["the process that decides does not run"]
    with DataFolder(config.data).lock("core"):
        assert apart.missing() == []


def test_without_a_log_it_is_not_ready(config: Config) -> None:
    other = open_log(Path(":memory:"))

    with closing(other):
        (why,) = readiness(config, other).missing()
    assert "log.sqlite" in why


def test_without_a_sender_it_is_not_ready(config: Config, log: Log) -> None:
    assert readiness(config, log).missing() == ["the sender does not run"]


def test_a_sender_that_runs_and_does_not_turn_is_told_from_one_that_is_gone(config: Config, log: Log) -> None:
    folder = DataFolder(config.data)
    folder.pulse("send").write_bytes(struct.pack("<d", time.monotonic() - STILL_SECONDS - 1))

    assert readiness(config, log).missing() == ["the sender does not run"]
    with folder.lock("send"):
        (why,) = readiness(config, log).missing()
    assert why.startswith("the sender has not turned for 31 s")


def test_a_log_that_refused_the_last_events_is_said_for_a_while(
    config: Config, log: Log, pulse: Pulse, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake = Intake(log, lambda first, events: False)
    found = Readiness(config, SystemClock(), intake)
    intake.start()
    try:
        with monkeypatch.context() as broken:
            broken.setattr(log, "append", full)
            with pytest.raises(OSError, match="no space"):
                intake.submit_and_wait([login(0, "old")])
        refused = found.missing()
        intake.submit_and_wait([login(1, "old")])
        taken = found.missing()
    finally:
        intake.stop()

    assert refused == ["the log does not take events"]
    assert taken == []


def full(events: object) -> int:
    raise OSError("no space left on device")


def test_a_refusal_of_long_ago_is_forgotten(
    config: Config, log: Log, pulse: Pulse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody sends to what is not ready: no append would ever prove that the disk is well again."""
    intake = Intake(log, lambda first, events: False)
    monkeypatch.setattr(intake, "seconds_since_refusal", lambda: STILL_SECONDS + 1)

    assert Readiness(config, SystemClock(), intake).missing() == []


def test_deciding_that_stands_still_is_noticed_though_little_waits(
    config: Config, log: Log, pulse: Pulse
) -> None:
    steady = Steady()
    found = readiness(config, log, steady)
    log.append([login(0, "old"), loan(1)])
    first = found.missing()
    steady.seconds += STILL_SECONDS + 1
    later = found.missing()

    assert first == []
    assert later == ["no event was decided for 30 s, and 2 wait"]


def test_deciding_that_was_idle_for_long_is_not_standing_still(
    config: Config, log: Log, pulse: Pulse
) -> None:
    steady = Steady()
    found = readiness(config, log, steady)
    found.missing()
    steady.seconds += 3_600
    log.append([login(0, "old")])

    assert found.missing() == []


def test_a_rush_that_waits_to_be_decided_is_not_ready(
    config: Config, log: Log, pulse: Pulse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lendsignal.role.standing.BEHIND", 1)
    log.append([login(0, "old"), loan(1)])

    assert BEHIND == 50_000
    assert readiness(config, log).missing() == ["2 events wait to be decided"]


def test_a_damaged_log_is_said_by_name_for_as_long_as_the_process_lives(
    config: Config, log: Log, pulse: Pulse
) -> None:
    steady = Steady()
    intake = Intake(log, lambda first, events: False)
    intake.damage = "log.sqlite is damaged (database disk image is malformed)"
    found = Readiness(config, SystemClock(), intake, steady)
    steady.seconds += 100 * STILL_SECONDS

    assert found.missing() == ["log.sqlite is damaged (database disk image is malformed)"]


def test_why_the_sender_ended_by_itself_is_said(config: Config, log: Log) -> None:
    DataFolder(config.data).trouble("send").write_text("deliveries.sqlite is damaged")

    assert readiness(config, log).missing() == ["the sender ended: deliveries.sqlite is damaged"]
