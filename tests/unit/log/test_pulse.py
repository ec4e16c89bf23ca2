"""A pulse tells that a loop turns, and stops telling when it ends."""

import struct
import time
from pathlib import Path

from lendsignal.log import Pulse, seconds_since_beat


def test_a_loop_that_turned_just_now_has_a_young_pulse(tmp_path: Path) -> None:
    pulse = Pulse(tmp_path / "send.pulse")
    before = seconds_since_beat(tmp_path / "send.pulse")
    pulse.beat()
    since = seconds_since_beat(tmp_path / "send.pulse")

    assert before is None
    assert since is not None
    assert 0 <= since < 5


def test_a_loop_that_stands_has_an_old_one(tmp_path: Path) -> None:
    (tmp_path / "send.pulse").write_bytes(struct.pack("<d", max(time.monotonic() - 40, 0.001)))
    since = seconds_since_beat(tmp_path / "send.pulse")

    assert since is not None
    assert since >= min(40.0, time.monotonic() - 1)


def test_a_loop_that_ended_well_has_none(tmp_path: Path) -> None:
    pulse = Pulse(tmp_path / "send.pulse")
    pulse.beat()
    pulse.close()

    assert seconds_since_beat(tmp_path / "send.pulse") is None


def test_a_beat_from_before_the_machine_started_is_none(tmp_path: Path) -> None:
    (tmp_path / "send.pulse").write_bytes(struct.pack("<d", time.monotonic() + 1_000))

    assert seconds_since_beat(tmp_path / "send.pulse") is None


def test_a_file_that_is_no_pulse_is_none_and_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "send.pulse").write_bytes(b"no")
    found = seconds_since_beat(tmp_path / "send.pulse")
    Pulse(tmp_path / "send.pulse").beat()

    assert found is None
    assert seconds_since_beat(tmp_path / "missing.pulse") is None
    assert seconds_since_beat(tmp_path / "send.pulse") is not None
