"""What the machine says: processor time and memory of processes, its load, and how long a commit takes."""

import os
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct


class Machine(Struct, frozen=True, kw_only=True):
    """The machine before a run. `load_before` is the average number of running processes over a minute;
    above a few tenths, somebody else's work is in the figures too."""

    cores: int
    load_before: float
    fsync_ms: float


def machine() -> Machine:
    """This machine, now."""
    return Machine(
        cores=os.cpu_count() or 1,
        load_before=round(os.getloadavg()[0], 2),
        fsync_ms=round(fsync_ms(), 3),
    )


def fsync_ms(times: int = 50) -> float:
    """How long a small durable write takes here, the median: what a commit cannot be faster than."""
    with tempfile.NamedTemporaryFile() as file:
        took = []
        for _ in range(times):
            file.write(b"x" * 4096)
            started = time.perf_counter()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - started)
    return statistics.median(took) * 1000


def cpu_seconds(pid: int, *, children: bool = False) -> float:
    """User and system time of a process so far; with `children`, of those it has waited for as well."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if children else 13])) / os.sysconf("SC_CLK_TCK")


def rss_mib(pid: int, *, peak: bool = False) -> float:
    """Resident memory of a process in MiB, now or at its highest."""
    word = "VmHWM:" if peak else "VmRSS:"
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(word):
            return int(line.split()[1]) / 1024
    return 0.0


def together_mib(pids: Iterable[int]) -> float:
    """What processes of one program hold together in MiB: what is private to each, and what they share once.

    Of the pages that others have mapped too (the interpreter's, libraries'), the largest share of any of them
    counts: the rest of them have the same.
    """
    private, shared = 0, 0
    for pid in pids:
        rows = [line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]]
        held = {row[0]: int(row[1]) for row in rows if row[-1] == "kB"}
        private += held["Private_Clean:"] + held["Private_Dirty:"]
        shared = max(shared, held["Shared_Clean:"] + held["Shared_Dirty:"])
    return (private + shared) / 1024


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those they have."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found
