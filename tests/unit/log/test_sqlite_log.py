"""What is particular to the SQLite engine and the data folder: durability, damage, locks, hash collisions."""

import subprocess
import sys
from pathlib import Path
from select import select
from threading import Event as Signal
from threading import Thread

import pytest
from tests.acme import loan

from lendsignal.errors import FolderInUse, LogError
from lendsignal.log import DataFolder, Decided, open_log
from lendsignal.log import log as module
from lendsignal.log.sqlite import connect, row, transaction
from lendsignal.plan import UserState


def decided(position: int, after: int, *keys: str) -> Decided:
    states = {key: UserState(key, forgotten_us=position) for key in keys}
    return Decided(
        after=after, position=position, states=states, records=[], verdicts=[], timers=[], tally={}
    )


def test_every_commit_is_on_disk_before_it_is_said_to_be(tmp_path: Path) -> None:
    db = connect(tmp_path / "log.sqlite", module.SCHEMA)

    # 2 is FULL: https://sqlite.org/pragma.html#pragma_synchronous
    assert row(db, "pragma synchronous") == (2,)
    assert row(db, "pragma journal_mode") == ("wal",)
    db.close()


def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "log.sqlite").write_bytes(b"no database at all, but long enough to be looked at" * 100)

    with pytest.raises(LogError, match=r"log\.sqlite.*recover-a-data-folder"):
        open_log(tmp_path / "log.sqlite")


def test_a_log_that_is_only_read_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(LogError):
        open_log(tmp_path / "log.sqlite", read_only=True)

    assert not list(tmp_path.iterdir())


def test_a_reader_sees_what_was_committed_while_it_is_open(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log.sqlite")
    reader = open_log(tmp_path / "log.sqlite", read_only=True)
    log.append([loan(0)])

    assert reader.end() == 1
    reader.close()
    log.close()


def test_people_whose_hashes_collide_keep_their_own_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_place", lambda key: 7)
    log = open_log(tmp_path / "log.sqlite")
    for after, keys in enumerate((["a"], ["b", "a"], ["c", "d"], ["d", "a"])):
        for key in keys:
            log.state(key)
        log.commit(decided(after + 1, after, *keys))

    fresh = open_log(tmp_path / "log.sqlite")
    found = [fresh.state(key) for key in "abcde"]

    assert [None if one is None else (one.key, one.forgotten_us) for one in found] == [
        ("a", 4),
        ("b", 2),
        ("c", 3),
        ("d", 4),
        None,
    ]
    fresh.close()
    log.close()


def test_waiting_for_another_writer_stops_no_other_thread(tmp_path: Path) -> None:
    """While one connection waits for the write lock, the thread that holds it must be able to go on."""
    path = tmp_path / "log.sqlite"
    holder, waiter = connect(path, module.SCHEMA), connect(path, module.SCHEMA)
    holder.execute("begin immediate")
    started, let_go = Signal(), Signal()

    def write() -> None:
        started.set()
        with transaction(waiter):
            assert let_go.is_set()

    thread = Thread(target=write)
    thread.start()
    assert started.wait(10)
    let_go.set()
    holder.execute("commit")
    thread.join(10)

    assert not thread.is_alive()
    holder.close()
    waiter.close()


def test_a_transaction_within_another_is_undone_with_it(tmp_path: Path) -> None:
    db = connect(tmp_path / "x.sqlite", "create table t (x)")

    def half_done() -> None:
        with transaction(db):
            with transaction(db):
                db.execute("insert into t values (1)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half_done()
    assert row(db, "select count(*) from t") == (0,)

    with transaction(db):
        db.execute("insert into t values (2)")
    assert row(db, "select x from t") == (2,)
    db.close()


# the folder


def test_a_role_over_a_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")

    with folder.lock("core"), folder.lock("send"), pytest.raises(FolderInUse, match="already does 'core'"):
        folder.lock("core")
    folder.lock("core").release()


def test_a_role_is_free_again_when_its_process_is_killed(tmp_path: Path) -> None:
    hold = (
        "import sys; from pathlib import Path; from lendsignal.log import DataFolder\n"
        "lock = DataFolder(Path(sys.argv[1])).lock('core'); print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(FolderInUse):
            DataFolder(tmp_path).lock("core")

        process.kill()
        process.wait()
        DataFolder(tmp_path).lock("core").release()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(LogError, match="cannot be made"):
        DataFolder(tmp_path / "file" / "data")


def test_a_ring_waits_until_it_is_taken_and_ringing_nobody_is_no_error(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    ringer = folder.ringer("send")
    ringer.ring()

    bell = folder.bell("send")
    assert not select([bell], [], [], 0)[0]
    ringer.ring()
    ringer.ring()
    assert select([bell], [], [], 0)[0]
    bell.quiet()
    assert not select([bell], [], [], 0)[0]
    bell.close()
    ringer.ring()
    ringer.close()
