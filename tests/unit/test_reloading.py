"""How the supervisor takes up another configuration: in which order, and back where it does not work."""

import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lendsignal import config as configuration
from lendsignal.config import Config
from lendsignal.log import DataFolder
from lendsignal.role import SILENT
from lendsignal.role.serving import LISTENS_ON
from lendsignal.run import Supervisor

TEXT = '[portfolio]\nname = "acme"\n[brand.acme]\n[app]\n[door]\nport = 0\n[web]\nport = 0\n'
OTHER = TEXT.replace('"acme"', '"other"')


class House:
    """Children that do what a test says: `begun` tells which were started, and by which configuration."""

    def __init__(self, folder: DataFolder) -> None:
        self.folder = folder
        self.begun: list[tuple[str, str]] = []
        self.fails: Callable[[str, str], bool] = lambda role, text: False
        self.doors: list[str | None] = []
        self.pid = 100

    def child(self, words: list[str], **how: Any) -> "Child":
        role = words[3]
        text = Path(words[words.index("--accepted") + 1]).read_text()
        self.begun.append((role, "other" if text == OTHER else "first"))
        self.doors.append(how["env"].get(LISTENS_ON))
        self.pid += 1
        one = Child(self.pid)
        if self.fails(role, text):
            one.code = 1
            return one
        (self.folder.path / f"{role}.lock").write_text(str(self.pid))
        if role not in SILENT:
            address = self.folder.path / f"{role}.address"
            address.unlink(missing_ok=True)
            address.write_text(f"http://127.0.0.1:{self.pid}")
        return one


class Child:
    stdin = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.code: int | None = None

    def poll(self) -> int | None:
        return self.code

    def send_signal(self, number: int) -> None:
        assert number == signal.SIGTERM
        self.code = 0

    def wait(self, seconds: float | None = None) -> int:
        return 0


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "lendsignal.toml"
    path.write_text(TEXT)
    return configuration.load(path)


@pytest.fixture
def house(config: Config, monkeypatch: pytest.MonkeyPatch) -> House:
    found = House(DataFolder(config.data))
    monkeypatch.setattr("lendsignal.run.subprocess.Popen", found.child)
    return found


@pytest.fixture
def supervisor(config: Config, house: House, now: list[float]) -> Iterator[Supervisor]:
    found = Supervisor(config, ("core", "send", "web"))
    found.start()
    house.begun.clear()
    yield found
    found.stop()


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The steady time, which a test sets."""
    found = [0.0]
    monkeypatch.setattr("lendsignal.run.time.monotonic", lambda: found[0])
    return found


def turns(supervisor: Supervisor, now: list[float], seconds: float = 4.0) -> None:
    """The supervisor turns for so long, five times a second."""
    for _ in range(round(seconds * 5)):
        now[0] += 0.2
        supervisor.tend()


def test_readers_are_renewed_before_writers_and_one_after_the_other(
    config: Config, house: House, supervisor: Supervisor, now: list[float]
) -> None:
    config.path.write_text(OTHER)
    assert supervisor.reload()
    turns(supervisor, now)

    assert house.begun == [("web", "other"), ("send", "other"), ("core", "other")]
    assert not supervisor.is_renewing


def test_a_mistake_renews_nobody_and_names_itself(
    config: Config, house: House, supervisor: Supervisor, now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    config.path.write_text(TEXT.replace("port = 0", "prot = 0", 1))

    assert not supervisor.reload()
    turns(supervisor, now)
    assert house.begun == []
    assert "door.prot" in caplog.text


def test_a_role_that_dies_goes_by_what_was_accepted_and_not_by_what_stands_in_the_file(
    config: Config, house: House, supervisor: Supervisor, now: list[float]
) -> None:
    config.path.write_text("no configuration at all")
    supervisor._children["core"].send_signal(signal.SIGTERM)
    turns(supervisor, now)

    assert house.begun == [("core", "first")]


def test_where_a_role_does_not_come_up_the_configuration_of_before_is_taken_up_again(
    config: Config, house: House, supervisor: Supervisor, now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    house.fails = lambda role, text: role == "send" and text == OTHER
    config.path.write_text(OTHER)
    assert supervisor.reload()
    turns(supervisor, now)

    assert house.begun == [("web", "other"), ("send", "other"), ("send", "first"), ("web", "first")]
    assert "send ended with code 1" in caplog.text
    assert DataFolder(config.data).accepted.read_text() == TEXT
    assert not supervisor.is_renewing


def test_the_doors_socket_outlives_a_role_that_is_renewed_and_not_one_that_dies(
    config: Config, house: House, supervisor: Supervisor, now: list[float]
) -> None:
    """Who calls between two processes waits in its queue; where nobody may come back, callers must know."""
    door = supervisor._doors["core"]
    port = door.getsockname()[1]
    assert supervisor.reload()
    turns(supervisor, now)

    assert house.doors[-1] == str(door.fileno())
    with socket.create_connection(("127.0.0.1", port), 5):
        pass
    supervisor._children["core"].send_signal(signal.SIGTERM)
    turns(supervisor, now)
    assert door.fileno() == -1
    assert house.doors[-1] == str(supervisor._doors["core"].fileno())


def test_another_port_is_listened_on_at_once_and_one_that_is_taken_is_refused(
    config: Config, house: House, supervisor: Supervisor, now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    old = supervisor._doors["core"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config.path.write_text(TEXT.replace("port = 0", f"port = {port}", 1))
        assert not supervisor.reload()
    assert f"cannot listen on 127.0.0.1:{port}" in caplog.text
    assert old.fileno() != -1

    assert supervisor.reload()
    turns(supervisor, now)
    assert supervisor._doors["core"].getsockname()[1] == port
    assert old.fileno() == -1
