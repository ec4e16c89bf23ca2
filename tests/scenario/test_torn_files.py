"""Files that are torn, overwritten, missing, or somebody else's, under the real service.

It goes on from what is whole, or says which file is wrong and which page helps; it never goes on from what
is not there.
"""

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
from typing import Any

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

from lendsignal.clock import SystemClock
from lendsignal.errors import LogError
from lendsignal.log import (
    Changes,
    DataFolder,
    LetGo,
    open_deliveries,
    open_log,
    open_orders,
    refuse_damage,
)

GUIDE = "docs/how-to/recover-a-data-folder.md"
OUTLET = 'on_unknown = { hold = "7d" }'
NOWHERE = "http://127.0.0.1:9"
USERS = 30
PAGE = 4096
WAL_HEADER, FRAME_HEADER = 32, 24
"""Bytes before the pages of a write-ahead log, and before each page (sqlite.org/fileformat2.html, 4.1)."""

Spoil = Callable[[Path, float, random.Random], None]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a service that was killed at rest: its write-ahead logs hold all that it committed."""
    with service(tmp_path_factory.mktemp("killed"), outlet=OUTLET) as (one, _):
        at_work(one)
        assert one.process is not None
        pids = [pid for role in ("core", "send", "web") if (pid := one.pid(role))]
        os.kill(one.process.pid, signal.SIGSTOP)
        for pid in (*pids, one.process.pid):
            os.kill(pid, signal.SIGKILL)
        one.process.wait(PATIENCE)
        for name in ("log", "deliveries"):
            assert (one.data / f"{name}.sqlite-wal").stat().st_size > 20 * PAGE
        return one.data


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a service that was stopped: everything is folded into the databases."""
    with service(tmp_path_factory.mktemp("stopped"), outlet=OUTLET) as (one, _):
        at_work(one)
        assert lendsignal(one, "pause", "warehouse").returncode == 0
        assert lendsignal(one, "resume", "warehouse").returncode == 0
        one.idle()
        assert one.stop() == 0
        for path in one.data.glob("*.sqlite"):
            fold(path)
        assert not list(one.data.glob("*-wal"))
        return one.data


def fold(file: Path) -> None:
    """Folds the write-ahead log into its database."""
    with closing(apsw.Connection(str(file))) as db:
        db.set_busy_timeout(int(PATIENCE * 1000))
        db.execute("pragma wal_checkpoint(truncate)").fetchall()


def at_work(one: Service) -> None:
    """A few dozen users borrow, and everything is sent."""
    back_end = BackEnd(one)
    for number in range(USERS):
        back_end.send(borrowing(number))
    one.idle()


def copy_of(data: Path, folder: Path, sandbox: str = NOWHERE) -> Service:
    """Another service over a copy of the databases."""
    (folder / "data").mkdir(parents=True)
    for path in data.glob("*.sqlite*"):
        shutil.copy(path, folder / "data")
    return Service(folder, sandbox, outlet=OUTLET)


def ledger_of(data: Path, folder: Path) -> Ledger:
    """What stands in the databases, read from a copy: reading folds a write-ahead log."""
    return Ledger(copy_of(data, folder).data)


def events_of(data: Path, folder: Path) -> list[str | None]:
    """The events of the log alone, read from a copy too."""
    log = open_log(copy_of(data, folder).data / "log.sqlite")
    try:
        return [fact.event.event_id for fact in log.scan()]
    finally:
        log.close()


def lendsignal(one: Service, *words: str, unprivileged: bool = False) -> "subprocess.CompletedProcess[str]":
    """A command that ends by itself, in the service's own folder."""
    before = UNPRIVILEGED if unprivileged else []
    return subprocess.run(
        [*before, sys.executable, "-m", "lendsignal", *words],
        cwd=one.folder,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def refused(one: Service, *parts: str, unprivileged: bool = False) -> None:
    """`run` starts nothing, and says these things and where to read on."""
    found = lendsignal(one, "run", unprivileged=unprivileged)
    assert found.returncode == 1, found.stderr
    assert [part for part in (*parts, GUIDE) if part not in found.stderr] == [], found.stderr
    assert "Traceback" not in found.stderr
    assert not list(one.data.glob("*.address"))


def refused_here(one: Service, *parts: str) -> None:
    """The same without a process: what `run` looks at before it starts one."""
    with pytest.raises(LogError) as told:
        refuse_damage(DataFolder(one.data))
    assert [part for part in (*parts, GUIDE) if part not in str(told.value)] == []


def acts(one: Service) -> list[str]:
    """What `doctor` wants a person to act on, in the files."""
    found = lendsignal(one, "doctor", "--json")
    assert "Traceback" not in found.stderr
    findings: list[dict[str, Any]] = json.loads(found.stdout)["findings"]
    told = [item["found"] for item in findings if (item["check"], item["level"]) == ("files", "act")]
    assert found.returncode == 1 or not told
    return told


# the tail of the write-ahead log


def cut(wal: Path, share: float, chance: random.Random) -> None:
    """So much of the end never reached the disk; the rest hardly ever ends with a page."""
    with wal.open("r+b") as file:
        file.truncate(WAL_HEADER + int((wal.stat().st_size - WAL_HEADER) * (1 - share)))


def overwrite(wal: Path, share: float, chance: random.Random) -> None:
    """So much of the end is noise."""
    size = wal.stat().st_size
    begin = WAL_HEADER + int((size - WAL_HEADER) * (1 - share))
    with wal.open("r+b") as file:
        file.seek(begin)
        file.write(chance.randbytes(size - begin))


TEARS = pytest.mark.parametrize("tear", [cut, overwrite])


@TEARS
def test_a_log_whose_last_commits_are_lost_is_refused_once_they_were_sent(
    tmp_path: Path, killed: Path, tear: Spoil
) -> None:
    """Acknowledged events are gone, and whoever has read their records says so."""
    chance = random.Random(drawn_seed())
    one = copy_of(killed, tmp_path / "torn")
    tear(one.data / "log.sqlite-wal", chance.uniform(0.3, 0.8), chance)

    torn, whole = events_of(one.data, tmp_path / "read"), events_of(killed, tmp_path / "whole")
    assert torn == whole[: len(torn)], "nothing is missing but the end"
    assert len(torn) < len(whole)
    refused(one, "deliveries.sqlite is ahead of log.sqlite")
    assert any("is ahead of log.sqlite" in found for found in acts(one))


@TEARS
def test_what_the_deliveries_forgot_is_sent_again_and_nothing_else_is(
    tmp_path: Path, killed: Path, tear: Spoil
) -> None:
    chance = random.Random(drawn_seed())
    stand = Stand(tmp_path / "sandbox")
    try:
        one = copy_of(killed, tmp_path / "torn", stand.address)
        tear(one.data / "deliveries.sqlite-wal", chance.uniform(0.05, 0.8), chance)
        torn, whole = ledger_of(one.data, tmp_path / "read"), ledger_of(killed, tmp_path / "whole")
        one.start()
        one.idle()
        # A sandbox that has seen nothing before: it counts what was sent after the tear.
        received = {name: stand.ids(name) for name in ACCOUNTS}
        assert one.stop() == 0
    finally:
        stand.close()

    books = Ledger(one.data)
    assert books.events == whole.events
    for name in ACCOUNTS:
        forgotten = whole.accepted[name] - torn.accepted[name]
        assert set(received[name]) <= forgotten
        assert set(received[name].values()) <= {1}
        assert len(received[name]) + books.held(name) == len(forgotten)
        assert books.accepted[name] == torn.accepted[name] | set(received[name])
        assert books.balances(name)


def test_where_both_lost_their_ends_the_service_goes_on_from_what_is_left(
    tmp_path: Path, killed: Path
) -> None:
    """Where the log keeps more than was sent from it, only the events that were cut are missing."""
    chance = random.Random(drawn_seed())
    stand = Stand(tmp_path / "sandbox")
    try:
        one = copy_of(killed, tmp_path / "torn", stand.address)
        cut(one.data / "log.sqlite-wal", chance.uniform(0.1, 0.3), chance)
        cut(one.data / "deliveries.sqlite-wal", chance.uniform(0.8, 0.9), chance)
        torn, whole = ledger_of(one.data, tmp_path / "read"), ledger_of(killed, tmp_path / "whole")
        assert torn.events == whole.events[: len(torn.events)]
        one.start()
        back_end = BackEnd(one)
        for number in range(USERS):  # the back end's outbox sends once more what it is not sure of
            back_end.send(borrowing(number))
        one.idle()
        received = {name: stand.ids(name) for name in ACCOUNTS}
        assert one.stop() == 0
    finally:
        stand.close()

    books = Ledger(one.data)
    assert set(books.events) == set(whole.events)
    for name in ACCOUNTS:
        assert len(books.planned[name]) == len(set(books.planned[name])) == len(whole.planned[name])
        assert books.accepted[name] == torn.accepted[name] | set(received[name])
        assert len(books.accepted[name]) + books.held(name) == len(books.planned[name])
        assert books.balances(name)


# a page of the database


def pages(file: Path) -> dict[str, list[int]]:
    """The pages of a database: `header`, `root` of a table or index, `inner` ones below those."""
    with closing(apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)) as db:
        roots = [n for (n,) in db.execute("select rootpage from sqlite_master where rootpage > 0")]
        trees = [n for (n,) in db.execute("select pageno from dbstat where pagetype <> 'overflow'")]
    return {"header": [1], "root": roots, "inner": [n for n in trees if n not in roots and n != 1]}


def root_of(file: Path, table: str) -> int:
    """The page that a table begins with."""
    with closing(apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)) as db:
        query = "select rootpage from sqlite_master where name = ?"
        ((root,),) = db.execute(query, (table,)).fetchall()
    assert isinstance(root, int)
    return root


def noise(file: Path, page: int, chance: random.Random) -> None:
    """Overwrites a page with what nobody wrote."""
    with file.open("r+b") as opened:
        opened.seek((page - 1) * PAGE)
        opened.write(chance.randbytes(PAGE))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(
            (f"{name}.sqlite", kind)
            for name in ("log", "deliveries", "orders")
            for kind in ("header", "root")
        ),
        ("log.sqlite", "inner"),
    ],
)
def test_a_page_of_noise_is_noticed_before_anything_starts(
    tmp_path: Path, stopped: Path, name: str, kind: str
) -> None:
    chance = random.Random(drawn_seed())
    one = copy_of(stopped, tmp_path / "noisy")
    page = chance.choice(pages(one.data / name)[kind])
    print(f"page {page}")
    noise(one.data / name, page, chance)

    refused_here(one, f"{name} is damaged")
    if kind == "header":
        refused(one, f"{name} is damaged")
        assert any(found.startswith(name) for found in acts(one))
        looked = lendsignal(one, "status")
        assert looked.returncode == 1
        assert f"{name} is damaged" in looked.stderr
        assert "Traceback" not in looked.stderr


def test_a_file_that_is_damaged_under_the_running_sender_stops_it_and_is_named(tmp_path: Path) -> None:
    chance = random.Random(drawn_seed())
    with service(tmp_path, outlet=OUTLET) as (one, _):
        at_work(one)
        spoil_while_down(one, "send", "deliveries.sqlite", chance)
        until(lambda: "ended with code 3" in one.said, "the sender says that it cannot go on")
        status, _, body = until(lambda: not_ready(one, "is damaged"), "/readyz says why")
        assert status == 503
        assert "deliveries.sqlite is damaged" in json.loads(body)["why"]
        # Events are still taken: nothing that comes in is lost while the file is repaired.
        BackEnd(one).send(borrowing(1, prefix="meanwhile-"))
        looked = lendsignal(one, "status")
        assert looked.returncode == 1
        assert "deliveries.sqlite is damaged" in looked.stderr
        assert one.said.count("ended with code 3") == 1, "it is not started again and again"
        assert "starting it again in 60.0 s" in one.said
        assert one.stop() == 0
    assert "Traceback" not in one.said


def test_a_log_that_is_damaged_under_the_running_core_stops_it_and_is_named(tmp_path: Path) -> None:
    chance = random.Random(drawn_seed())
    with service(tmp_path, outlet=OUTLET) as (one, _):
        at_work(one)
        spoil_while_down(one, "core", "log.sqlite", chance)
        until(lambda: "core ended with code 3" in one.said, "the core says that it cannot go on")
        assert "log.sqlite is damaged" in one.said
        looked = lendsignal(one, "status")
        assert looked.returncode == 1
        assert "log.sqlite is damaged" in looked.stderr
        assert one.said.count("core ended with code 3") == 1
        assert one.stop() == 0
    assert "Traceback" not in one.said


def spoil_while_down(one: Service, role: str, name: str, chance: random.Random) -> None:
    """Kills a role and overwrites the table of cursors before it is started again."""
    assert one.process is not None
    os.kill(one.process.pid, signal.SIGSTOP)
    try:
        pid = one.kill(role)
        until(lambda: one.pid(role) != pid, f"{role} is gone")
        fold(one.data / name)
        noise(one.data / name, root_of(one.data / name, "cursor"), chance)
    finally:
        os.kill(one.process.pid, signal.SIGCONT)


def not_ready(one: Service, why: str) -> tuple[int, dict[str, str], bytes] | None:
    found = call(one.address, "GET", "/readyz")
    return found if why in found[2].decode() else None


# missing, empty, somebody else's


def remove(file: Path) -> None:
    file.unlink()


def empty(file: Path) -> None:
    file.write_bytes(b"")


def letter(file: Path) -> None:
    file.write_text("Dear Sir or Madam, " * 500)


def another_programs(file: Path) -> None:
    file.unlink()
    with closing(apsw.Connection(str(file))) as db:
        db.execute("create table bookmark (url text); insert into bookmark values ('https://example.org')")


WRONG = [
    (remove, "log.sqlite", "log.sqlite is missing or empty"),
    (empty, "log.sqlite", "log.sqlite is missing or empty"),
    (letter, "log.sqlite", "log.sqlite is damaged"),
    (another_programs, "log.sqlite", "is another file under this name"),
    (remove, "deliveries.sqlite", "deliveries.sqlite is missing or empty"),
    (empty, "deliveries.sqlite", "deliveries.sqlite is missing or empty"),
    (letter, "deliveries.sqlite", "deliveries.sqlite is damaged"),
    (another_programs, "deliveries.sqlite", "is another file under this name"),
    (remove, "orders.sqlite", "deliveries.sqlite is ahead of orders.sqlite"),
    (letter, "orders.sqlite", "orders.sqlite is damaged"),
]


@pytest.mark.parametrize(
    ("spoil", "name", "told"), WRONG, ids=[f"{name}-{spoil.__name__}" for spoil, name, _ in WRONG]
)
def test_a_file_that_is_not_what_it_should_be_is_refused_before_anything_starts(
    tmp_path: Path, stopped: Path, spoil: Callable[[Path], None], name: str, told: str
) -> None:
    one = copy_of(stopped, tmp_path / "wrong")
    refuse_damage(DataFolder(one.data))  # all is well
    spoil(one.data / name)
    before = {path.name: path.read_bytes() for path in one.data.glob("*.sqlite")}

    refused_here(one, told)
    refused_here(one, told)  # nothing was made that would pass the second time
    if spoil in (letter, another_programs):
        assert (one.data / name).read_bytes() == before[name], "a stranger's file is left alone"


def test_a_lost_file_of_deliveries_starts_nothing_and_says_what_it_would_have_done(
    tmp_path: Path, stopped: Path
) -> None:
    one = copy_of(stopped, tmp_path / "lost")
    (one.data / "deliveries.sqlite").unlink()

    refused(one, "deliveries.sqlite is missing or empty", "it would send once more")


def test_deliveries_beside_another_log_are_refused_though_it_is_longer(tmp_path: Path, stopped: Path) -> None:
    """A log that was begun anew, say by an import: its numbers mean other conversions."""
    one, other = copy_of(stopped, tmp_path / "one"), tmp_path / "other"
    (one.data / "log.sqlite").unlink()
    with service(other, outlet=OUTLET) as (another, _):
        at_work(another)
        BackEnd(another).send(borrowing(USERS))
        another.idle()
        assert another.stop() == 0
    fold(another.data / "log.sqlite")
    shutil.copy(another.data / "log.sqlite", one.data)

    refused_here(one, "deliveries.sqlite is of another log than log.sqlite")


def test_log_and_deliveries_under_each_other_s_names_start_nothing(tmp_path: Path, stopped: Path) -> None:
    one = copy_of(stopped, tmp_path / "swapped")
    log, deliveries = one.data / "log.sqlite", one.data / "deliveries.sqlite"
    log.rename(one.data / "kept")
    deliveries.rename(log)
    (one.data / "kept").rename(deliveries)

    refused_here(one, "is another file under this name")


UNPRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.getuid() == 0 else []
"""Root writes everything, so it lets go of that right first."""

NEEDS_SETPRIV = pytest.mark.skipif(
    bool(UNPRIVILEGED) and shutil.which("setpriv") is None, reason="root cannot let go of its rights here"
)


@NEEDS_SETPRIV
@pytest.mark.parametrize(
    ("name", "mode"), [("log.sqlite", 0o000), ("log.sqlite", 0o444), ("deliveries.sqlite", 0o444)]
)
def test_a_file_that_may_not_be_written_starts_nothing(
    tmp_path: Path, stopped: Path, name: str, mode: int
) -> None:
    one = copy_of(stopped, tmp_path / "kept")
    (one.data / name).chmod(mode)

    refused(one, name, "by this user", unprivileged=True)


@NEEDS_SETPRIV
def test_a_folder_that_may_not_be_written_starts_nothing(tmp_path: Path, stopped: Path) -> None:
    one = copy_of(stopped, tmp_path / "kept")
    one.data.chmod(0o555)
    try:
        refused(one, "cannot be written by this user", unprivileged=True)
    finally:
        one.data.chmod(0o755)


# what the page on recovery says


def test_a_new_file_of_deliveries_sends_again_what_is_inside_its_window(
    tmp_path: Path, stopped: Path
) -> None:
    received = recovered(tmp_path, stopped, lambda data: open_deliveries(data / "deliveries.sqlite").close())

    assert {name: len(ids) for name, ids in received.items()} == {
        "appsflyer-ng": USERS,
        "warehouse": 2 * USERS,
    }
    assert all(set(ids.values()) == {1} for ids in received.values())


def test_a_file_of_deliveries_whose_cursor_stands_at_the_end_sends_nothing_again(
    tmp_path: Path, stopped: Path
) -> None:
    def make(data: Path) -> None:
        log = open_log(data / "log.sqlite", read_only=True)
        deliveries = open_deliveries(data / "deliveries.sqlite")
        changes = Changes()
        changes.position = log.last_record()
        deliveries.commit(changes)
        deliveries.close()
        log.close()

    assert recovered(tmp_path, stopped, make) == {"appsflyer-ng": {}, "warehouse": {}}


def recovered(tmp_path: Path, data: Path, make: Callable[[Path], None]) -> dict[str, dict[str, int]]:
    """What the platforms get when the deliveries were lost and others were made in their place."""
    stand = Stand(tmp_path / "sandbox")
    one = copy_of(data, tmp_path / "service", stand.address)
    try:
        (one.data / "deliveries.sqlite").unlink()
        make(one.data)
        one.start()
        one.idle()
        received = {name: stand.ids(name) for name in ACCOUNTS}
        assert one.stop() == 0
        return received
    finally:
        one.close()
        stand.close()


def test_orders_that_were_lost_are_made_up_for_by_as_many_that_change_nothing(
    tmp_path: Path, stopped: Path
) -> None:
    stand = Stand(tmp_path / "sandbox")
    one = copy_of(stopped, tmp_path / "service", stand.address)
    try:
        (one.data / "orders.sqlite").unlink()
        deliveries = open_deliveries(one.data / "deliveries.sqlite", read_only=True)
        orders = open_orders(one.data / "orders.sqlite")
        orders.give([LetGo(())] * deliveries.order(), "recovery", SystemClock().now_us())
        orders.close()
        deliveries.close()
        one.start()
        assert lendsignal(one, "pause", "warehouse").returncode == 0
        until(lambda: "warehouse" in one.status()["paused"], "the next order is obeyed")
        assert one.stop() == 0
    finally:
        one.close()
        stand.close()
