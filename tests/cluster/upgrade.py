"""`python -m tests.cluster.upgrade`: every node is replaced by a newer one under traffic, one by one.

The nodes run the code of the last commit whose tables have an earlier form than ours, or of `--old`; where
there is no such commit, ours. Their tables are brought to our form while they work, then each ends in good
order and comes again with our code. Workers and senders join and leave; a third of all events are of one
user, and some cannot be decided. The last line is the proof as JSON, as of `tests.cluster.failover`.
"""

import argparse
import io
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import SystemRandom

from tests.cluster.fleet import Fleet, Member, as_json
from tests.servers.postgresql import postgresql

from lendsignal.log.postgres.schema import VERSION

SCHEMA = "src/lendsignal/log/postgres/schema.py"
NODES = "src/lendsignal/role/ingest.py"
HERE = Path(__file__).parents[2]


def commit_of_an_earlier_form() -> str | None:
    """The last commit whose nodes make tables of an earlier form than ours; `None`: there is none."""
    for commit in _git("log", "--format=%H", "--", SCHEMA).decode().split():
        form = re.search(r"^VERSION = (\d+)$", _git("show", f"{commit}:{SCHEMA}").decode(), re.MULTILINE)
        if form is not None and int(form[1]) < VERSION and _git("ls-tree", commit, NODES):
            return commit
    return None


def unpacked(commit: str, into: Path) -> Path:
    """The code of a commit; the folder that Python finds it in."""
    with tarfile.open(fileobj=io.BytesIO(_git("archive", commit, "src"))) as packed:
        packed.extractall(into, filter="data")
    return into / "src"


def _git(*words: str) -> bytes:
    done = subprocess.run(["git", *words], cwd=HERE, capture_output=True, timeout=60, check=False)
    return done.stdout if done.returncode == 0 else b""


def upgrade(fleet: Fleet, tell: Callable[[str], None] = print) -> None:
    """Brings the store of a running fleet to our form, and then every node to our code."""
    seconds = fleet.blow("store prepared", lambda: fleet.verb("store", "prepare"))
    tell(f"store prepared: {seconds:.1f} s")
    for one in fleet.members:
        seconds = fleet.blow(f"{one.role} replaced", partial(fleet.replace, one))
        tell(f"{one.role} replaced: {seconds:.1f} s")


def grow_and_shrink(fleet: Fleet, tell: Callable[[str], None] = print) -> None:
    """One worker and one sender more come, and those that were there longest go."""
    for role, others in (("work", fleet.workers), ("send", fleet.senders)):

        def join(others: list[Member] = others, role: str = role) -> None:
            others.append(fleet.member(role).start())
            fleet.wait_for_shares()

        seconds = fleet.blow(f"{role} joined", join)
        tell(f"{role} joined: {seconds:.1f} s")
        seconds = fleet.blow(f"{role} left", others.pop(0).end)
        tell(f"{role} left: {seconds:.1f} s")


def main() -> int:
    """0 where every promise was kept."""
    words = argparse.ArgumentParser(prog="python -m tests.cluster.upgrade", description=__doc__)
    words.add_argument("--old", default="", help="the commit that the nodes begin with")
    words.add_argument("--seed", type=int, help="of everything that chance decides")
    given = words.parse_args()
    seed = SystemRandom().randrange(2**31) if given.seed is None else given.seed
    print(f"seed {seed}")
    began = time.monotonic()

    def tell(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", file=sys.stderr, flush=True)

    folder = Path(tempfile.mkdtemp(prefix="lendsignal-upgrade-"))
    old = given.old or commit_of_an_earlier_form()
    tell(f"from the code of {old or 'today: no commit here has an earlier form of the tables'}")
    with ExitStack() as running:
        server = running.enter_context(postgresql())
        source = unpacked(old, folder / "old") if old else None
        fleet = Fleet(server.plain_url, folder, seed, source=source, a_second=60.0)
        running.callback(fleet.close)
        fleet.start()
        upgrade(fleet, tell)
        grow_and_shrink(fleet, tell)
        proof = fleet.reckoning()
    if proof.is_broken:
        print(f"BROKEN: what the nodes said is kept in {folder}")
    else:
        shutil.rmtree(folder)
    print(as_json(proof))
    return 1 if proof.is_broken else 0


if __name__ == "__main__":
    sys.exit(main())
