"""The archive as a process of its own: killed at random instants, it ends with every row once."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from tests.acme import source
from tests.desk import borrowers
from tests.lender_file import ACME
from tests.running import BackEnd, borrowing, service, until

from lendsignal.archive import TABLES
from lendsignal.clock import SystemClock
from lendsignal.decide import Decider
from lendsignal.log import DataFolder, open_log

CONFIG = (
    ACME
    + """\
[service]
data = "data"
"""
)


@pytest.fixture
def lender(tmp_path: Path) -> Path:
    """The configuration of a lender whose log holds 1,200 borrowers."""
    config = tmp_path / "lendsignal.toml"
    config.write_text(CONFIG)
    log = open_log(DataFolder(tmp_path / "data").log)
    decider = Decider(log, source(), SystemClock(), lambda: None)
    log.append(borrowers(1_200))
    while decider.turn():
        pass
    log.close()
    return config


def writing(config: Path, *words: str) -> subprocess.Popen[str]:
    """`lendsignal archive write`, started."""
    command = [
        sys.executable,
        "-m",
        "lendsignal",
        "archive",
        "write",
        "--json",
        "--config",
        str(config),
        *words,
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def counts(root: Path) -> dict[str, tuple[int, int]]:
    """Rows and distinct keys of each table, as a reader of plain files finds them."""
    found = {}
    for table in TABLES:
        if list(root.glob(f"{table.name}/*/*.parquet")):
            key = ", ".join(table.key)
            files = f"{root}/{table.name}/*/*.parquet"
            with duckdb.connect() as db:
                (found[table.name],) = db.execute(
                    f"select count(*), count(distinct ({key})) from read_parquet('{files}')"
                ).fetchall()
    return found


def test_killed_at_any_instant_it_ends_with_every_row_once(lender: Path) -> None:
    chance = random.Random(seed := random.randrange(2**32))
    root, kills = lender.parent / "data" / "archive", 0
    while kills < 12:
        process = writing(lender, "--piece", "100")
        # Nothing tells from outside where it is: any instant of its life is as good as another.
        try:
            process.wait(chance.uniform(0.3, 1.2))
            process.communicate()
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
    done = writing(lender)
    said, trouble = done.communicate(timeout=120)

    assert done.returncode == 0, trouble
    assert json.loads(said)["rows"] >= 0
    found = counts(root)
    # The policy, and a login and a loan of each.
    assert found["events"] == (2_401, 2_401), f"seed {seed}, {kills} kills"
    assert found["touches"] == (1_200, 1_200)
    assert all(rows == keys for rows, keys in found.values()), found


def test_two_at_once_write_nothing_twice(lender: Path) -> None:
    first, second = writing(lender, "--piece", "50"), writing(lender, "--piece", "50")
    codes = {process.wait(120) for process in (first, second)}
    for process in (first, second):
        process.communicate()

    assert codes <= {0, 1}, "who comes second says so and goes"
    assert 0 in codes
    assert counts(lender.parent / "data" / "archive")["events"] == (2_401, 2_401)


def test_status_says_what_is_there_and_how_far_behind_it_is(lender: Path) -> None:
    words = [sys.executable, "-m", "lendsignal", "archive", "status", "--config", str(lender)]
    before = subprocess.run(words, capture_output=True, text=True, check=False)
    assert before.returncode == 1
    assert "nothing is archived yet" in before.stderr
    writing(lender).communicate(timeout=120)
    after = subprocess.run([*words, "--json"], capture_output=True, text=True, check=True)

    said = json.loads(after.stdout)
    assert said["behind_events"] == 0
    assert {one["table"]: one["rows"] for one in said["tables"]}["touches"] == 1_200


def test_a_running_service_archives_by_itself_what_it_took_and_what_became_of_it(tmp_path: Path) -> None:
    with service(tmp_path, start=False) as (one, _):
        settings = one.folder / "lendsignal.toml"
        settings.write_text(settings.read_text() + '\n[archive]\nevery = "200ms"\n')
        one.start()
        back_end = BackEnd(one)
        for number in range(20):
            back_end.send(borrowing(number))
        root = one.data / "archive"
        # Of each borrower two events and three deliveries; the policy is an event too.
        whole = {"events": (41, 41), "deliveries": (60, 60)}
        until(lambda: whole.items() <= counts(root).items(), "events and deliveries")
        until(lambda: counts(root)["outcomes"][0] >= 60, "what became of them")
