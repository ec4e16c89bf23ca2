"""Writes with and without a sync and dies: `python -m tests.crash.shim_at_work FOLDER`.

What the shim must take back, and what it must not, is known here: the suite looks before it trusts it.
"""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import apsw
from tests.crash.unsynced import Disk

from lendsignal.errors import LogError
from lendsignal.log.sqlite import connect, row, transaction

ROWS = 300
SCHEMA = "create table if not exists cursor (name text)"


def die_writing(folder: Path) -> None:
    """Leaves a file half synced, a database of ours, and one that never syncs; then `kill -9`."""
    file = os.open(folder / "plain.sqlite", os.O_RDWR | os.O_CREAT, 0o600)
    os.pwrite(file, b"safe safe", 0)
    os.fsync(file)
    parent = os.open(folder, os.O_RDONLY)
    os.fsync(parent)
    os.pwrite(file, b"lost", 5)
    os.pwrite(file, b"longer", 9)
    for name in ("ours", "careless"):
        db = connect(folder / f"{name}.sqlite", SCHEMA)
        if name == "careless":
            db.execute("pragma synchronous = off")
        # Folded on the way, so that the database itself is written too.
        db.execute("pragma wal_autocheckpoint = 50")
        for number in range(ROWS):
            with transaction(db):
                db.execute("insert into cursor values (?)", (f"{number}" * 100,))
    # Last of all: SQLite syncs the folder, and every name in it with that.
    os.pwrite(os.open(folder / "fresh.sqlite", os.O_RDWR | os.O_CREAT, 0o600), b"lost", 0)
    os.kill(os.getpid(), signal.SIGKILL)


def blind_spot(
    library: Path, folder: Path, *, lies: bool = False, chance: random.Random | None = None
) -> str | None:
    """What is wrong with the shim on this machine, as a sentence; `None` where it sees everything.

    With `lies` the disk's syncs are worth nothing, and everything must be gone. With `chance` the cut is
    torn, and only what was synced is looked at.
    """
    root = Path(__file__).parents[2]
    data = folder / "data"
    data.mkdir(parents=True)
    disk = Disk(library, data, folder / "notes", lies=lies)
    path = os.pathsep.join([str(root / "src"), str(root)])
    died = subprocess.run(
        [sys.executable, "-m", "tests.crash.shim_at_work", str(disk.folder)],
        env={**os.environ, **disk.environment, "PYTHONPATH": path},
        timeout=60,
        check=False,
    )
    if died.returncode != -signal.SIGKILL:
        return f"the writer ended with {died.returncode}"
    disk.cut(chance)
    plain, fresh = data / "plain.sqlite", data / "fresh.sqlite"
    if lies:
        return "what was synced on a disk that lies stays" if plain.exists() else None
    if plain.read_bytes()[:5] != b"safe ":
        return f"what was synced is gone: {plain.read_bytes()!r}"
    if (rows := rows_in(data / "ours.sqlite")) != ROWS:
        return f"of {ROWS} commits that were synced {rows} stay"
    if chance is not None:
        return None
    if plain.read_bytes() != b"safe safe":
        return f"an unsynced write stays: {plain.read_bytes()!r}"
    if fresh.exists():
        return "a name that was never synced stays"
    if rows_in(data / "careless.sqlite") == ROWS:
        return "commits of SQLite that were not synced stay"
    return None


def rows_in(path: Path) -> int:
    """How many rows are there; none where there is no database any more."""
    try:
        db = connect(path, SCHEMA)
        found = row(db, "select count(*) from cursor")
        db.close()
    except (LogError, apsw.Error):
        return 0
    return 0 if found is None else int(found[0])


if __name__ == "__main__":
    die_writing(Path(sys.argv[1]))
