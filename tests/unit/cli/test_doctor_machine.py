"""The doctor's look at the machine: each thing that can be wrong is found, with what to do."""

import json
import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import apsw
import pytest
from click.testing import CliRunner
from tests.acme import loan
from tests.running import CONFIG, ENVIRONMENT, free_port

from lendsignal import __version__
from lendsignal import config as configuration
from lendsignal.cli import machine, main
from lendsignal.cli.findings import Finding
from lendsignal.config import Config
from lendsignal.log import DataFolder, open_deliveries, open_log


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A configuration whose data folder has a log."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return at(tmp_path, sandbox="http://127.0.0.1:1")


def at(tmp_path: Path, sandbox: str) -> Config:
    path = tmp_path / "lendsignal.toml"
    path.write_text(CONFIG.format(door=free_port(), web=free_port(), sandbox=sandbox, outlet="", deliver=""))
    found = configuration.load(path)
    folder = DataFolder(found.data)
    with closing(open_log(folder.log)) as log:
        log.append([loan(0)])
    open_deliveries(folder.deliveries).close()
    return found


def levels(found: Iterator[Finding]) -> list[str]:
    return [one.level for one in found]


def test_versions_are_told_and_a_file_of_another_one_needs_a_person(config: Config) -> None:
    folder = DataFolder(config.data)
    (first,) = machine.version(config)
    assert __version__ in first.found

    with closing(apsw.Connection(str(folder.log))) as db:
        db.execute("pragma user_version = 7")
    newer = list(machine.version(config))[1]
    assert (newer.level, "of a newer version" in newer.found) == ("act", True)


def test_a_role_that_still_runs_an_earlier_version_is_named(config: Config) -> None:
    told = '# lendsignal at 0.0\nlendsignal_build_info{role="core",version="0.0.9",python="3.11"} 1\n'
    (config.data / "core.metrics").write_text(told.replace("0.0", str(time.monotonic()), 1))

    assert "core still runs 0.0.9" in [one.found for one in machine.version(config)]


def test_a_file_that_was_changed_and_not_taken_up_is_named(config: Config) -> None:
    folder = DataFolder(config.data)
    assert list(machine.taken_up(config)) == []
    with folder.lock("run"):
        folder.accepted.write_text(config.path.read_text())
        assert levels(machine.taken_up(config)) == ["ok"]

        config.path.write_text(config.path.read_text() + "# changed\n")
        assert levels(machine.taken_up(config)) == ["look"]


@pytest.mark.parametrize(("seconds", "level"), [(0.001, "ok"), (0.03, "look")])
def test_a_disk_is_as_good_as_its_durable_writes_are_quick(
    config: Config, monkeypatch: pytest.MonkeyPatch, seconds: float, level: str
) -> None:
    now = [0.0]

    def syncs(file: int) -> None:
        now[0] += seconds

    monkeypatch.setattr("lendsignal.cli.machine.os.fsync", syncs)
    monkeypatch.setattr("lendsignal.cli.machine.time.monotonic", lambda: now[0])

    assert levels(machine.durability(config)) == [level]
    assert not list(config.data.glob("tmp*"))


def test_files_that_the_machine_does_not_let_the_door_open_are_told(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    for hard, level in ((1_024, "look"), (65_536, "ok"), (resource.RLIM_INFINITY, "ok")):
        monkeypatch.setattr("lendsignal.cli.machine.resource.getrlimit", lambda what, hard=hard: (512, hard))
        assert levels(machine.open_files(config)) == [level]


def test_who_else_may_read_the_data_is_told(config: Config) -> None:
    for mode, level in ((0o700, "ok"), (0o750, "look"), (0o755, "act")):
        config.data.chmod(mode)
        assert levels(machine.permissions(config)) == [level]

    config.data.chmod(0o700)
    config.path.chmod(0o666)
    assert levels(machine.permissions(config)) == ["ok", "act"]


def test_ports_are_free_or_taken_by_somebody_else_or_ours(config: Config) -> None:
    assert levels(machine.ports(config)) == ["ok", "ok"]

    with socket.socket() as other:
        other.bind((config.door.host, config.door.port))
        other.listen()
        found = list(machine.ports(config))
        assert [one.level for one in found] == ["act", "ok"]
        assert str(config.door.port) in found[0].found

        with DataFolder(config.data).lock("core"):
            (config.data / "core.address").write_text(f"http://127.0.0.1:{config.door.port}")
            assert levels(machine.ports(config)) == ["ok", "ok"]
    with DataFolder(config.data).lock("core"):
        assert levels(machine.ports(config)) == ["act", "ok"]


def test_the_age_of_the_last_copy_is_told(config: Config, tmp_path: Path) -> None:
    assert [one.found for one in machine.backups(config)] == ["no copy was ever made by `lendsignal backup`"]

    made = CliRunner().invoke(main, ["backup", str(tmp_path / "copy"), "--config", str(config.path)])
    assert made.exit_code == 0, made.output
    assert levels(machine.backups(config)) == ["ok"]

    note = json.loads((config.data / "backup.json").read_text())
    note["made_at"] = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    (config.data / "backup.json").write_text(json.dumps(note))
    (old,) = machine.backups(config)
    assert (old.level, old.found[:27]) == ("look", "the last copy is 3d old: 1 ")


class Dated(BaseHTTPRequestHandler):
    """A platform whose clock differs by `ahead`."""

    ahead = timedelta(0)

    def do_HEAD(self) -> None:
        self.send_response_only(404)
        self.send_header("Date", format_datetime(datetime.now(UTC) + self.ahead))
        self.end_headers()

    def log_message(self, *said: Any) -> None:
        return


def test_who_is_reached_answers_and_tells_the_time(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HTTPServer(("127.0.0.1", 0), Dated) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        config = at(tmp_path, sandbox=f"http://127.0.0.1:{server.server_port}")
        for ahead, level in ((0, "ok"), (20, "look"), (-20, "look"), (300, "act")):
            monkeypatch.setattr(Dated, "ahead", timedelta(seconds=ahead))
            assert levels(machine.reach(config)) == [level]
        server.shutdown()
        thread.join()

    (gone,) = machine.reach(config)
    assert (gone.level, gone.found) == ("act", "the sandbox cannot be reached: Connection refused")


def test_only_declared_hosts_are_asked_and_only_when_wanted(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def noted(what: str, url: str) -> Finding:
        asked.append(url)
        return Finding(check="reach", level="ok", found=what)

    path = config.path
    path.write_text("\n".join(line for line in path.read_text().splitlines() if "sandbox" not in line))
    monkeypatch.setattr(machine, "_reached", noted)
    words = ["doctor", "--json", "--skip-files", "--config", str(path)]
    CliRunner().invoke(main, words)
    assert asked == []

    CliRunner().invoke(main, [*words, "--reach"])
    declared = {host for outlet in configuration.load(path).outlets.values() for host in outlet.hosts}
    assert set(asked) == {f"https://{host}" for host in declared}
    assert "https://hooks.acme.example" in asked


def test_nothing_is_left_behind_by_a_look(config: Config) -> None:
    before = sorted(os.listdir(config.data))
    for check in (machine.version, machine.taken_up, machine.durability, machine.permissions, machine.ports):
        list(check(config))

    assert [name for name in os.listdir(config.data) if not name.endswith((".lock", "-shm", "-wal"))] == [
        name for name in before if not name.endswith((".lock", "-shm", "-wal"))
    ]
