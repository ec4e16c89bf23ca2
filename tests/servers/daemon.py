"""What the database servers of scenario tests share: a folder, a port, a process that ends with the test."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

PATIENCE = 180.0
"""Seconds in which a server that is going to answer has answered."""


def program(name: str, *patterns: str) -> str:
    """Where a program is; skips the test where it is not installed."""
    found = shutil.which(name)
    places = [str(one) for pattern in patterns for one in sorted(Path("/").glob(f"{pattern}/{name}"))]
    if found is None and not places:
        pytest.skip(f"{name} is not installed: bash tests/servers/install.sh")
    return places[-1] if places else str(found)


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def own_folder() -> Iterator[Path]:
    """A temporary folder of the user that servers run as, outside the folders that only root may enter."""
    folder = Path(tempfile.mkdtemp(prefix="lendsignal-test-"))
    if os.getuid() == 0:
        shutil.chown(folder, str(server_user()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def server_user() -> str | None:
    """Whom servers run as where we are root, which they refuse."""
    return pwd.getpwnam("nobody").pw_name if os.getuid() == 0 else None


def run_as_server(words: Sequence[str], folder: Path) -> None:
    """One command in the folder, as the server's user."""
    done = subprocess.run(
        list(words),
        cwd=folder,
        user=server_user(),
        env=_environment(folder),
        capture_output=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]


class Daemon:
    """A server process: started, killed, started again. It dies with us, however we die."""

    def __init__(
        self, words: Sequence[str], folder: Path, answers: Callable[[], bool], on: Sequence[str] = ()
    ) -> None:
        """`on`: what a command begins with that is to run on another machine, as `network.Machine` says."""
        # Only root may go there, so it goes first and becomes the server's user then.
        self._user = None if on else server_user()
        self._words = _dying_with_us([*on, *as_server(words)] if on else words)
        self._folder = folder
        self._answers = answers
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its first process."""
        assert self._process is not None, "it runs"
        return self._process.pid

    def start(self) -> None:
        """Returns when it answers."""
        log = (self._folder / "server.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                self._words,
                cwd=self._folder,
                user=self._user,
                env=_environment(self._folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end, breath = time.monotonic() + PATIENCE, threading.Event()
        while not self._answers():
            said = (self._folder / "server.log").read_text(errors="replace")[-2000:]
            assert self._process.poll() is None, said
            assert time.monotonic() < end, said
            breath.wait(0.05)

    def signal_all(self, number: int) -> None:
        """To the process and to those that it started itself, which may have left its group."""
        assert self._process is not None, "it runs"
        for one in (self._process.pid, *_children(self._process.pid)):
            with suppress(ProcessLookupError):
                os.kill(one, number)

    def kill(self) -> None:
        """As a power failure would."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(PATIENCE)
            self._process = None


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found


def as_server(words: Sequence[str]) -> list[str]:
    """The command as the server's user, killed when its parent dies; for root alone."""
    user = ["--reuid", str(server_user()), "--regid", "nogroup", "--clear-groups"]
    return ["setpriv", *user, "--pdeathsig", "KILL", *words]


def _dying_with_us(words: Sequence[str]) -> list[str]:
    """The command, killed by the kernel when its parent dies, where the system can do that."""
    setpriv = shutil.which("setpriv")
    return list(words) if setpriv is None else [setpriv, "--pdeathsig", "KILL", *words]


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "TZ": "Asia/Manila"}
