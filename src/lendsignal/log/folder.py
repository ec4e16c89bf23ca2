"""The data folder: everything lendsignal keeps, and who works on it."""

import fcntl
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from lendsignal.errors import FolderInUse, LogError

ASKING_SECONDS = 0.1
"""For so long a role that is free may look taken: somebody only asked whether it is."""


class DataFolder:
    """Where things are kept: the log, the deliveries, locks and wake-up sockets."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # Nobody's but the service's: users and their devices stand in it.
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise LogError(f"the data folder {path} cannot be made: {error.strerror}") from error

    @property
    def log(self) -> Path:
        return self.path / "log.sqlite"

    @property
    def deliveries(self) -> Path:
        return self.path / "deliveries.sqlite"

    @property
    def orders(self) -> Path:
        return self.path / "orders.sqlite"

    @property
    def hatch(self) -> Path:
        """The socket by which a door of its own hands events to the process that decides."""
        return self.path / "core.hatch"

    @property
    def relay(self) -> Path:
        return self.path / "relay.sqlite"

    @property
    def feeds(self) -> Path:
        return self.path / "feeds.sqlite"

    @property
    def pulls(self) -> Path:
        return self.path / "pulls.sqlite"

    @property
    def alerts(self) -> Path:
        return self.path / "alerts.sqlite"

    @property
    def keys(self) -> Path:
        return self.path / "keys.sqlite"

    @property
    def people(self) -> Path:
        return self.path / "people.sqlite"

    @property
    def value_models(self) -> Path:
        """A folder for each value model that was trained."""
        return self.path / "models" / "value"

    @property
    def archive(self) -> Path:
        return self.path / "archive.sqlite"

    @property
    def audiences(self) -> Path:
        return self.path / "audiences.sqlite"

    @property
    def audience_files(self) -> Path:
        """The members of every list, as Parquet files."""
        return self.path / "audiences"

    @property
    def erasures(self) -> Path:
        return self.path / "erasures.sqlite"

    @property
    def erased(self) -> Path:
        """Every erasure there was, by hash: beside the databases, so that no copy put back undoes it."""
        return self.path / "erasures.kept"

    @property
    def erased_again(self) -> Path:
        """Erasures that a copy which was put in place does not know; not there: it knows them all."""
        return self.path / "erasures.again"

    @property
    def erasing(self) -> Path:
        """When an erasure has something to do next, in seconds since 1970; not there: none has."""
        return self.path / "erase.due"

    @property
    def proposals(self) -> Path:
        return self.path / "proposals.sqlite"

    @property
    def restoring(self) -> Path:
        """Files that are being put back; there only while that is under way, or was broken off."""
        return self.path / "restoring"

    @property
    def backup_note(self) -> Path:
        """When the last copy was made, and where."""
        return self.path / "backup.json"

    @property
    def moved(self) -> Path:
        """When what is here was taken to a cluster; there only where it was: nobody decides or sends here."""
        return self.path / "moved.json"

    @property
    def desk_lead(self) -> Path:
        """The lease of what one desk of a cluster does for all; there only while this folder's has it."""
        return self.path / "desk.lead"

    @property
    def desk_standing(self) -> Path:
        """How old this copy of a cluster's store is; there only in a desk's folder."""
        return self.path / "desk.json"

    @property
    def accepted(self) -> Path:
        """The configuration that the running service works by, as it was when it was read."""
        return self.path / "run.toml"

    def databases(self) -> list[Path]:
        """Every database that is there, by name."""
        return sorted(self.path.glob("*.sqlite"))

    def last_written(self) -> int:
        """When log or deliveries were last written, in nanoseconds of the file system's clock; 0: never."""
        files = [Path(f"{path}{end}") for path in (self.log, self.deliveries) for end in ("", "-wal")]
        return max((path.stat().st_mtime_ns for path in files if path.exists()), default=0)

    def pulse(self, role: str) -> Path:
        """By which others see that the loop of that role turns."""
        return self.path / f"{role}.pulse"

    def trouble(self, role: str) -> Path:
        """Why that role ended by itself, in words, until it starts again."""
        return self.path / f"{role}.trouble"

    def lock(self, role: str) -> "RoleLock":
        """The exclusive right to one role over this folder; raises `FolderInUse` where another has it."""
        return RoleLock(self.path, role)

    def is_running(self, role: str) -> bool:
        """Whether a process has that role over this folder; asking leaves no trace."""
        try:
            file = (self.path / f"{role}.lock").open("rb")
        except FileNotFoundError:
            return False
        with file:
            return not _takes(file, fcntl.LOCK_SH)

    def holder(self, role: str) -> int | None:
        """The number of the process that had a role last: while `is_running`, the one that has it."""
        try:
            return int((self.path / f"{role}.lock").read_text())
        except (OSError, ValueError):
            return None

    def bell(self, role: str) -> "Bell":
        """What the process with that role listens on to be woken."""
        return Bell(self.path / f"{role}.wake")

    def ringer(self, role: str) -> "Ringer":
        """What wakes the process with that role."""
        return Ringer(self.path / f"{role}.wake")


class RoleLock:
    """A lock that the kernel lets go when its process dies, however it dies."""

    def __init__(self, folder: Path, role: str) -> None:
        try:
            self._file = (folder / f"{role}.lock").open("a+")
        except OSError as error:
            raise LogError(
                f"the data folder {folder} cannot be written by this user: {error.strerror};"
                " see docs/how-to/recover-a-data-folder.md"
            ) from error
        until = time.monotonic() + ASKING_SECONDS
        while not _takes(self._file, fcntl.LOCK_EX):
            if time.monotonic() > until:
                self._file.close()
                raise FolderInUse(str(folder), role)
            time.sleep(ASKING_SECONDS / 10)  # whoever asked lets go in a moment; a lock tells nobody when
        with suppress(OSError):  # for people: on a full disk the right is ours all the same
            self._file.truncate(0)
            os.write(self._file.fileno(), str(os.getpid()).encode())

    def release(self) -> None:
        """Lets another process have the role."""
        self._file.close()

    def __enter__(self) -> "RoleLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _takes(file: IO[Any], how: int) -> bool:
    """Takes the lock of an open file where nobody stands in the way."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Bell:
    """A datagram socket to wait on. A lost ring costs a poll interval, never an event."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(short(path))
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def quiet(self) -> None:
        """Takes every ring that waits."""
        try:
            while True:
                self._socket.recv(1)
        except BlockingIOError:
            return

    def close(self) -> None:
        self._socket.close()


class Ringer:
    """Rings the bell of another process; nobody listening is no error."""

    def __init__(self, path: Path) -> None:
        self._path = short(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def ring(self) -> None:
        try:
            self._socket.sendto(b"!", self._path)
        except (BlockingIOError, FileNotFoundError, ConnectionRefusedError):
            return

    def close(self) -> None:
        self._socket.close()


def short(path: Path) -> str:
    """The path as an address: Unix sockets take about a hundred bytes, so the shorter form is used."""
    relative = os.path.relpath(path)
    return min(str(path), relative, key=len)
