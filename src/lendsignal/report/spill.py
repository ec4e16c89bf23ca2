"""Where reports put on disk what memory does not hold: one folder a report, which says whose it is."""

import fcntl
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "lendsignal-report-"

OURS = "in-use"
"""A file in the folder that its process holds locked: the kernel lets go of it when the process dies."""


class Spill:
    """A folder for what does not fit into memory. Folders of processes that were killed go with the next one.

    A folder without the file was made by an earlier version, or is being made in this moment: it stays.
    """

    def __init__(self, place: Path | None = None) -> None:
        place = Path(tempfile.gettempdir()) if place is None else place
        sweep(place)
        self.name = tempfile.mkdtemp(prefix=PREFIX, dir=place)
        made = Path(self.name) / f"{OURS}.new"
        self._file = made.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        made.rename(made.with_name(OURS))  # nobody finds it before it is locked

    def cleanup(self) -> None:
        """Takes the folder away."""
        shutil.rmtree(self.name, ignore_errors=True)
        self._file.close()


def sweep(place: Path) -> int:
    """Takes away the folders of reports whose process is gone; how many those were.

    Those of another user stay: they cannot be opened.
    """
    gone = 0
    for folder in place.glob(f"{PREFIX}*"):
        with suppress(OSError), (folder / OURS).open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
            gone += 1
    return gone
