"""A pulse: by it others see that the loop of a role turns, which its process alone does not tell."""

import mmap
import struct
import time
from pathlib import Path

SIZE = 8


class Pulse:
    """Seconds of the machine's steady clock at the last turn, in a file that is mapped: a beat is free."""

    def __init__(self, path: Path) -> None:
        if not path.exists() or path.stat().st_size != SIZE:
            path.write_bytes(bytes(SIZE))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SIZE)

    def beat(self) -> None:
        """The loop turned once more."""
        struct.pack_into("<d", self._map, 0, time.monotonic())

    def close(self) -> None:
        """The loop ended in good order: there is no pulse."""
        struct.pack_into("<d", self._map, 0, 0.0)
        self._map.close()


def seconds_since_beat(path: Path) -> float | None:
    """How long ago the last beat was; `None`: no loop has turned since the machine started,
    or it ended in good order."""
    try:
        (then,) = struct.unpack("<d", path.read_bytes())
    except (OSError, struct.error):
        return None
    since = time.monotonic() - then
    return since if then > 0 and since >= 0 else None
