"""The one place that knows what time it is: the system's clock, or a replay clock shared by processes.

Deciding rooms never read a clock: times reach them as arguments.
"""

import mmap
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
            path.write_bytes(bytes(8))
        # One number, written and read as a whole: `struct` goes byte by byte, and zeroes them before.
        with path.open("r+b") as file:
            self._cell = memoryview(mmap.mmap(file.fileno(), 8)).cast("q")

    def now_us(self) -> int:
        return self._cell[0]

    def set_us(self, us: int) -> None:
        self._cell[0] = us


def clock_at(path: Path | None) -> Clock:
    """The replay clock kept at `path`, or the system's where there is none."""
    return SystemClock() if path is None else ReplayClock(path)
