"""A build that is killed at any moment leaves lists that hold."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tests.unit.audience.lists import Still
from tests.unit.report.world import filled, world

from lendsignal.audience.build import Builder, Rules
from lendsignal.audience.definitions import definition_of
from lendsignal.audience.membership import Membership, Planned
from lendsignal.audience.settings import AudienceSettings
from lendsignal.log import DataFolder, open_audiences

ROOT = Path(__file__).parents[3]

LISTS = {
    "open": definition_of("open", AudienceSettings(kind="open_loan")),
    "customers": definition_of("customers", AudienceSettings(kind="existing_customers")),
}

# Kills itself, as kill -9 does, at the n-th file that is written or row that is kept.
KILLED = """
import os, signal, sys
from pathlib import Path
from lendsignal.audience.files import Files
from lendsignal.log.audiences import Audiences
from tests.unit.audience.test_audience_killed import built
left = [int(sys.argv[2])]
def dying(kind, name):
    does = getattr(kind, name)
    def step(*given, **named):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return does(*given, **named)
    setattr(kind, name, step)
for kind, name in ((Files, "write"), (Audiences, "keep_file"), (Audiences, "keep_build"),
                   (Audiences, "keep_told"), (Audiences, "move"), (Files, "sweep")):
    dying(kind, name)
built(Path(sys.argv[1]))
"""


def built(folder: Path) -> list[int]:
    with closing(Builder(DataFolder(folder), Rules(lists=LISTS), Still())) as builder:
        return [one.members for one in builder.whole()]


def test_after_a_kill_at_any_step_every_member_has_ids_and_nothing_is_left_over(tmp_path: Path) -> None:
    filled(tmp_path, world(users=60, days=40)).log.close()
    step, deaths = 1, 0
    while True:
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(tmp_path), str(step)],
            cwd=Path(__file__).parents[3],
            check=False,
        )
        if done.returncode == 0:
            break
        assert done.returncode == -9
        step, deaths = step + 3, deaths + 1
        _whole(tmp_path)
    sizes = built(tmp_path)

    assert deaths >= 3
    assert all(sizes)
    with closing(open_audiences(DataFolder(tmp_path).audiences)) as book:
        names = book.files()
    root = DataFolder(tmp_path).audience_files
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*.parquet")) == sorted(names)
    assert not list(root.rglob("*.new"))


def _whole(folder: Path) -> None:
    """Whatever list there is, each of its members can be told by ids."""
    plan = [Planned(audience=name, account="a", code="c", use="exclusion") for name in LISTS]
    with closing(Membership(DataFolder(folder), plan, Still())) as found:
        for sync in found.syncs():
            assert len(found.everyone(sync, None, 10_000)) == sync.intended
