"""What reports put on disk: of a killed one it goes with the next."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from lendsignal.report.spill import OURS, PREFIX, Spill, sweep

SPILLS = """
import sys
from pathlib import Path
from lendsignal.report.spill import Spill
spill = Spill(Path(sys.argv[1]))
(Path(spill.name) / "much").write_text("of it")
print(spill.name, flush=True)
sys.stdin.read()
"""


def test_a_killed_report_leaves_a_folder_that_the_next_one_takes_away(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SPILLS, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        left = Path(other.stdout.readline().strip())
        during = Spill(tmp_path)
        assert left.exists()
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
    own = Spill(tmp_path)

    assert not left.exists()
    assert Path(during.name).exists()
    during.cleanup()
    own.cleanup()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_nobody_says_is_his_stays(tmp_path: Path) -> None:
    (tmp_path / f"{PREFIX}old").mkdir()
    (tmp_path / "another").mkdir()
    (tmp_path / "another" / OURS).touch()

    assert sweep(tmp_path) == 0
    assert len(list(tmp_path.iterdir())) == 2
