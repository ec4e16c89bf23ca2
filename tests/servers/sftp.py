"""A genuine OpenSSH server for scenario tests, on the loopback: it takes files by SFTP into a folder."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.servers.daemon import PATIENCE, Daemon, free_port, own_folder, program, server_user

# Without PAM a user without a password counts as locked.
CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {folder}/allowed
StrictModes no
UsePAM yes
PasswordAuthentication no
KbdInteractiveAuthentication no
Subsystem sftp internal-sftp
ForceCommand internal-sftp
"""


class Sftp(Daemon):
    """A server that lets one user in, with a key; what it is sent stands in `there`."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.user = server_user() or getpass.getuser()
        self.there = folder / "in"
        self.there.mkdir()
        for name in ("host", "mine"):
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(folder / name)]
            subprocess.run(words, check=True, timeout=PATIENCE)
        shutil.copy(folder / "mine.pub", folder / "allowed")
        self.key = folder / "mine"
        (folder / "sshd_config").write_text(CONFIG.format(port=self.port, folder=folder))
        if os.getuid() == 0:
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, self.user)
        super().__init__(
            [program("sshd", "usr/sbin"), "-D", "-e", "-f", str(folder / "sshd_config")],
            folder,
            self._answers_now,
        )
        self._host_key = folder / "host.pub"

    @property
    def url(self) -> str:
        """As the configuration has it."""
        return f"sftp://{self.user}@127.0.0.1:{self.port}{self.there}"

    @property
    def host_key_sha256(self) -> str:
        """What `ssh-keygen -lf` shows behind `SHA256:`."""
        words = ["ssh-keygen", "-l", "-E", "sha256", "-f", str(self._host_key)]
        said = subprocess.run(words, check=True, capture_output=True, text=True, timeout=PATIENCE).stdout
        return said.split()[1].removeprefix("SHA256:")

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """While the block runs, it takes nothing of any connection."""
        found = [self._pid, *descendants(self._pid)]
        for one in found:
            _signal(one, signal.SIGSTOP)
        try:
            yield
        finally:
            for one in found:
                _signal(one, signal.SIGCONT)

    @property
    def _pid(self) -> int:
        assert self._process is not None, "it was started"
        return self._process.pid

    def _answers_now(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as one:
                return one.recv(4) == b"SSH-"
        except OSError:
            return False


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and theirs."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it ended meanwhile
            continue
        if parent == pid:
            child = int(path.parent.name)
            found += [child, *descendants(child)]
    return found


@contextmanager
def sftp() -> Iterator[Sftp]:
    """The server, while the block runs."""
    with own_folder() as folder:
        server = Sftp(folder)
        server.start()
        try:
            yield server
        finally:
            server.kill()


def _signal(process: int, number: signal.Signals) -> None:
    """One that served a connection may have ended since it was found."""
    with suppress(ProcessLookupError):
        os.kill(process, number)
