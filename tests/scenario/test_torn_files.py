"""Files that are torn, overwritten, missing or somebody else's: the service goes on from what is whole, or says
which file is wrong and what to do; it never goes on from what is not there."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from tests.running import (
    ACCOUNTS,
    ENVIRONMENT,
    PATIENCE,
    BackEnd,
    Ledger,
    Service,
    Stand,
    borrowing,
    call,
    drawn_seed,
    service,
    until,
)

from lendsignal.log import open_deliveries, open_log

GUIDE = "docs/how-to/recover-a-data-folder.md"
USERS = 60
HELD = 'on_unknown = { hold = "7d" }'
FRAME = 24 + 4096
"""Bytes of one page in a write-ahead log, with its header (sqlite.org/fileformat2.html, section 4.1)."""

WAL_HEADER = 32


# the tail of the write-ahead log


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A service that was killed at work, whole: its write-ahead logs hold everything it committed."""
    folder = tmp_path_factory.mktemp("killed")
    with service(folder, outlet=HELD) as (one, _):
        back_end = BackEnd(one)
        for number in range(USERS):
            back_end.send(borrowing(number))
        one.idle()
        kill(one)
        assert (one.data / "log.sqlite-wal").stat().st_size > 20 * FRAME
        assert (one.data / "deliveries.sqlite-wal").stat().st_size > 20 * FRAME
    return folder / "service"


def test_a_torn_end_of_the_log_is_refused_once_its_deliveries_were_sent(tmp_path: Path, killed: Path) -> None:
    """Events that were acknowledged are gone: whoever holds the records of their sending says so."""
    chance = random.Random(drawn_seed())
    for tear in (cut, overwrite):
        one, _ = copied(tmp_path / tear.__name__, killed)
        whole = Ledger(one.data)
        one, wal = copied(tmp_path / tear.__name__, killed)
        # The last frames may be read marks and counts; a third of the file is more than those.
        tear(wal["log"], chance.uniform(0.3, 0.9), chance)
        refused = lendsignal(one.folder, "run")
        assert refused.returncode == 1, refused.stdout
        assert "deliveries.sqlite is ahead of log.sqlite" in refused.stderr
        assert GUIDE in refused.stderr
        assert "Traceback" not in refused.stderr
        doctor = findings(one, expected=1)
        assert any("ahead of log.sqlite" in found for found in doctor)
        torn = Ledger(one.data)
        assert torn.events == whole.events[: len(torn.events)], "what is left ends at a commit"
        assert len(torn.events) < len(whole.events)


def test_a_torn_end_of_the_deliveries_is_sent_again_and_nothing_is_lost(tmp_path: Path, killed: Path) -> None:
    chance = random.Random(drawn_seed())
    for tear in (cut, overwrite):
        one, wal = copied(tmp_path / tear.__name__, killed)
        before = Ledger(one.data)
        one, wal = copied(tmp_path / tear.__name__, killed)
        tear(wal["deliveries"], chance.uniform(0.05, 0.9), chance)
        forgotten = len(before.accepted["warehouse"]) - len(Ledger(one.data).accepted["warehouse"])
        one, wal_again = copied(tmp_path / tear.__name__, killed, keep=True)
        with starting(tmp_path / tear.__name__, one) as stand:
            one.idle()
            received = stand.ids("warehouse")
            assert one.stop() == 0
        books = Ledger(one.data)
        assert books.events == before.events
        assert set(books.planned["warehouse"]) == set(before.planned["warehouse"])
        # The sandbox is a fresh one: what it sees is what was sent after the tear.
        assert len(received) + books.held("warehouse") >= forgotten
        assert set(received.values()) <= {1}
        assert all(books.balances(name) for name in ACCOUNTS)
        assert wal_again


def cut(wal: Path, share: float, chance: random.Random) -> None:
    """So much of the end never reached the disk: rarely at the end of a page."""
    with wal.open("r+b") as file:
        file.truncate(WAL_HEADER + int((wal.stat().st_size - WAL_HEADER) * (1 - share)))


def overwrite(wal: Path, share: float, chance: random.Random) -> None:
    """So much of the end is noise."""
    size = wal.stat().st_size
    begin = WAL_HEADER + int((size - WAL_HEADER) * (1 - share))
    with wal.open("r+b") as file:
        file.seek(begin)
        file.write(chance.randbytes(size - begin))
