"""What is particular to the SQLite engine and the data folder: durability, damage, locks, hash collisions."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from select import POLLIN, poll
from threading import Event as Signal
from threading import Thread, Timer

import msgspec
import pytest
from tests.acme import loan, login, told

from lendsignal.errors import FolderInUse, LogError
from lendsignal.log import Bell, DataFolder, Decided, open_log, parts
from lendsignal.log import log as module
from lendsignal.log.numbers import number_of_event
from lendsignal.log.packing import read_state
from lendsignal.log.sqlite import connect, row, transaction
from lendsignal.model import Contact
from lendsignal.plan import Record, UserState


def decided(position: int, after: int, *keys: str) -> Decided:
    return kept(position, after, {key: UserState(key, forgotten_us=position) for key in keys})


def kept(
    position: int, after: int, states: Mapping[str, UserState], records: Sequence[tuple[int, Record]] = ()
) -> Decided:
    return Decided(
        after=after, position=position, states=states, records=records, verdicts=[], timers=[], tally={}
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


def test_a_file_has_all_of_its_tables_or_none(tmp_path: Path) -> None:
    with pytest.raises(LogError):
        connect(tmp_path / "log", "create table if not exists cursor (name text); create table oddly")

    assert row(connect(tmp_path / "log", ""), "select count(*) from sqlite_master") == (0,)


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
    monkeypatch.setattr(module, "number_of_user", lambda key: 7)
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


def test_a_state_is_found_whether_or_not_its_place_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PLACES_AT_HAND", 2)
    log = open_log(tmp_path / "log.sqlite")
    log.commit(decided(1, 0, "a", "b", "c"))
    fresh = open_log(tmp_path / "log.sqlite")
    fresh.state("b")

    # The first remembers all three places until it has too many, the second one of them.
    assert log.states("abcd") == fresh.states("abcd") == log.states("dcba")
    assert set(fresh.states("abcd")) == {"a", "b", "c"}
    log.close()
    fresh.close()


def test_people_stand_in_the_order_in_which_they_were_first_seen(tmp_path: Path) -> None:
    """So that those who came together, and act together, share pages of the file."""
    log = open_log(tmp_path / "log.sqlite")
    log.commit(decided(1, 0, "z", "m"))
    log.commit(decided(2, 1, "a", "z"))
    log.close()

    db = connect(tmp_path / "log.sqlite", "", read_only=True)
    keys = [read_state(body).key for (body,) in db.execute("select body from state order by id")]
    db.close()
    assert keys == ["z", "m", "a"]


def test_an_installation_and_a_contact_are_kept_once_however_often_they_are_spoken_of(
    tmp_path: Path,
) -> None:
    log = open_log(tmp_path / "log.sqlite")
    after = told(login(0, "a", contact=Contact(email="ab" * 32)))
    for position in range(1, 6):
        after.tell(loan(position, f"L{position}"))
        records = list(after.records.items())[-2:]
        log.commit(kept(position, position - 1, {"acme:u1": after.state}, records))
    log.close()

    db = connect(tmp_path / "log.sqlite", "", read_only=True)
    assert row(db, "select count(*) from part") == (2,)
    db.close()


def test_what_fell_out_of_memory_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "AT_HAND", 1)
    monkeypatch.setattr(module, "PLACES_AT_HAND", 1)
    log = open_log(tmp_path / "log.sqlite")
    lives = {f"acme:u{n}": told(login(0, f"p{n}"), loan(1, f"L{n}")) for n in range(6)}
    states = {key: msgspec.structs.replace(life.state, key=key) for key, life in lives.items()}
    for after, key in enumerate(("acme:u5", *states, *states)):
        log.commit(kept(after + 1, after, {known: states[known] for known in ("acme:u5", key)}))

        known = {"acme:u5", *list(states)[:after]}
        assert log.states(states) == {one: state for one, state in states.items() if one in known}

    assert row(log._db, "select count(*) from state") == (len(states),)
    log.close()


def test_events_whose_ids_share_a_number_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "number_of_event", lambda event_id: 7)
    log = open_log(tmp_path / "log.sqlite")
    log.append([loan(0, "L1"), loan(1, "L2"), loan(2, "L1")])

    assert [fact.seq for fact, _ in log.find("disbursed-L1")] == [1, 3]
    assert log.find("disbursed-L3") == []
    log.close()


def test_ids_that_begin_with_their_time_are_numbered_in_its_order() -> None:
    """Ours and UUIDs of version 7 begin with the milliseconds since 1970 in hexadecimal (RFC 9562, 5.7)."""
    ours = [f"{milliseconds:012x}-ffee0011" for milliseconds in (1_700_000_000_000, 1_700_000_000_001)]
    sevens = [
        "018bcfe5-6802-7000-8000-000000000000",  # 1_700_000_000_002
        "018bcfe5-6803-7000-8000-000000000000",
    ]

    numbers = [number_of_event(event_id) for event_id in (*ours, *sevens)]

    assert numbers == sorted(set(numbers))
    strange = (*ours, "order 66", "", "-1", "ffff" * 9)
    assert all(0 <= number_of_event(event_id) < 2**63 for event_id in strange)


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


def test_a_data_folder_that_is_made_is_open_to_its_owner_alone(tmp_path: Path) -> None:
    assert DataFolder(tmp_path / "data").path.stat().st_mode & 0o777 == 0o700


def test_a_role_over_a_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")

    with folder.lock("core"), folder.lock("send"), pytest.raises(FolderInUse, match="already does 'core'"):
        folder.lock("core")
    folder.lock("core").release()


def test_asking_who_works_neither_claims_a_role_nor_stands_in_its_way(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data")
    never_there = folder.is_running("core"), (folder.path / "core.lock").exists()
    (folder.path / "core.lock").write_text("12345")

    assert never_there == (False, False)
    assert not folder.is_running("core")
    assert folder.holder("core") == 12345, "the process that had it last, and not the one that asks"
    with folder.lock("core"):
        assert folder.is_running("core")
        assert folder.holder("core") == os.getpid()
    asking = (folder.path / "core.lock").open("rb")
    fcntl.flock(asking, fcntl.LOCK_SH)
    Timer(0.02, asking.close).start()
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


def is_rung(bell: Bell) -> bool:
    waiting = poll()
    waiting.register(bell, POLLIN)
    return bool(waiting.poll(0))


def test_a_ring_waits_until_it_is_taken_and_ringing_nobody_is_no_error(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path)
    ringer = folder.ringer("send")
    ringer.ring()

    bell = folder.bell("send")
    assert not is_rung(bell)
    ringer.ring()
    ringer.ring()
    assert is_rung(bell)
    bell.quiet()
    assert not is_rung(bell)
    bell.close()
    ringer.ring()
    ringer.close()
