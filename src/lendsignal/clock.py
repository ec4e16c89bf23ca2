"""The one place that knows what time it is: the system's clock, or a replay clock shared by processes.

Deciding rooms never read a clock: times reach them as arguments.
"""

import mmap
import struct
import time
from pathlib import Path
from typing import Protocol

from lendsignal.model.moment import EPOCH, MICROSECOND, from_us, to_us

__all__ = [
    "EPOCH",
    "MICROSECOND",
    "Clock",
    "ReplayClock",
    "SystemClock",
    "clock_at",
    "from_us",
    "to_us",
]


class Clock(Protocol):
    """What tells the time: microseconds since 1970, UTC. `replay` says that time is told by a file."""

    replay: bool

    def now_us(self) -> int: ...


class SystemClock:
    """The machine's own clock."""

    replay = False

    def now_us(self) -> int:
        return time.time_ns() // 1_000


class ReplayClock:
    """A clock that somebody else sets: eight bytes in a file, mapped by every process that shares it."""

    replay = True

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(struct.pack("<q", 0))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 8)

    def now_us(self) -> int:
        return int(struct.unpack_from("<q", self._map)[0])

    def set_us(self, us: int) -> None:
        struct.pack_into("<q", self._map, 0, us)


def clock_at(path: Path | None) -> Clock:
    """The replay clock kept at `path`, or the system's where there is none."""
    return SystemClock() if path is None else ReplayClock(path)
