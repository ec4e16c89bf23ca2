"""A clock in a file: set by one process, read by others."""

import subprocess
import sys
from pathlib import Path

from lendsignal.clock import ReplayClock

FIRST = 1_793_491_200_000_000
SETS = 200_000

SETTER = """
import sys
from pathlib import Path
from lendsignal.clock import ReplayClock
clock = ReplayClock(Path(sys.argv[1]))
first, sets = int(sys.argv[2]), int(sys.argv[3])
for number in range(sets):
    clock.set_us(first + 97 * number)
"""


def test_who_reads_while_another_process_sets_it_sees_only_times_that_were_set(tmp_path: Path) -> None:
    clock = ReplayClock(tmp_path / "clock")
    clock.set_us(FIRST)
    seen: set[int] = set()
    with subprocess.Popen(
        [sys.executable, "-c", SETTER, str(tmp_path / "clock"), str(FIRST), str(SETS)]
    ) as setter:
        while setter.poll() is None:
            seen.update(clock.now_us() for _ in range(1_000))

    assert setter.returncode == 0
    assert [us for us in seen if (us - FIRST) % 97 or not FIRST <= us < FIRST + 97 * SETS] == []
    assert clock.now_us() == FIRST + 97 * (SETS - 1)


def test_a_clock_that_nobody_set_stands_at_the_beginning_of_1970(tmp_path: Path) -> None:
    assert ReplayClock(tmp_path / "new" / "clock").now_us() == 0


def test_a_second_clock_over_the_same_file_tells_the_same_time(tmp_path: Path) -> None:
    ReplayClock(tmp_path / "clock").set_us(FIRST)

    assert ReplayClock(tmp_path / "clock").now_us() == FIRST
