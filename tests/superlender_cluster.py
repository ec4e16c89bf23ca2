"""Plays the SuperLender twice, through one data folder and through a cluster with a desk, and compares both
row by row: `python -m tests.superlender_cluster [--customers N] [--seed N]`.

Brings a PostgreSQL of its own. Its last line is the result as JSON; 0 where all is the same, 1 where anything
is not. Without the loans and the judge it says so, and runs nothing.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from tests.servers.postgresql import postgresql

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("LENDSIGNAL_SHARED", ROOT.parent / "shared"))
DATA, TOOL = SHARED / "data" / "superlender", SHARED / "tools" / "superlender_world.py"


def main() -> int:
    """Runs it; what `examples/superlender/run.py` ends with."""
    words = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    words.add_argument("--customers", type=int, help="only so many, the earliest registered")
    words.add_argument("--seed", type=int, help="of the judge's world; drawn and printed by default")
    given = words.parse_args()
    if not (DATA.is_dir() and TOOL.is_file()):
        print(
            f"NOT RUN: no loans and no judge at {SHARED}; LENDSIGNAL_SHARED can name their folder",
            file=sys.stderr,
        )
        return 0
    with postgresql(fsync="off") as server:
        command = [sys.executable, str(ROOT / "examples" / "superlender" / "run.py"), "--json"]
        command += ["--data", str(DATA), "--world-tool", str(TOOL), "--store", server.plain_url]
        for name in ("customers", "seed"):
            if (value := getattr(given, name)) is not None:
                command += [f"--{name}", str(value)]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
