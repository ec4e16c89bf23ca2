"""A desk whose archive lies in an S3-compatible object store, as `lendsignal run --role desk` writes it."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from secrets import randbelow

import apsw
import duckdb
import pytest
from fsspec import get_filesystem_class
from tests.clustered import Clock, Steady, decide_all, happenings
from tests.noded import SLOTS, Node
from tests.running import until
from tests.servers.objects import ObjectStore, object_store
from tests.servers.postgresql import PostgreSql, postgresql

from lendsignal.archive import Book
from lendsignal.clock import SystemClock
from lendsignal.decide.slots import SlotDecider
from lendsignal.errors import NotYet
from lendsignal.log import DataFolder, open_log
from lendsignal.log.copied import copy_standing
from lendsignal.log.postgres import Database, DoorLog, Leases, SlotLog, Terms, schema

SCHEMA = "stored_desk"

ARCHIVE = """
[archive]
to    = "s3://loans/lender"
every = "1s"
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql(fsync="off") as one:
        yield one


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with object_store() as one:
        yield one


class Desk:
    """A node with the role `desk` alone, and what readers from outside find in the store."""

    def __init__(self, folder: Path, server: PostgreSql, store: ObjectStore) -> None:
        self.node = Node(folder, server.plain_url, "http://127.0.0.1:9", ("desk",), SCHEMA)
        self.node.config.write_text(self.node.config.read_text() + ARCHIVE)
        self.node.environment |= store.environment
        self.folder = DataFolder(folder / "data")
        self._store = store
        self._scratch = folder / "scratch"
        self._scratch.mkdir()

    def reach(self) -> int:
        """Up to which event of its copy the archive is written."""
        try:
            with closing(Book(self.folder.archive, read_only=True)) as book:
                return book.reach("log")
        except (apsw.CantOpenError, NotYet):  # it is just being made
            return 0

    def has_all(self) -> None:
        """Returns when its copy was whole at a moment behind this one, and the archive has all of it."""
        since = SystemClock().now_us()

        def is_whole() -> bool:
            found = copy_standing(self.folder)
            return found is not None and found.whole_us > since

        until(is_whole, "the copy is whole")
        with closing(open_log(self.folder.log, read_only=True)) as log:
            until(lambda: self.reach() >= log.position(), "it is archived")

    def uploads(self, behind: int) -> bool:
        """Whether a file of events from behind that place is in the store, whether it counts or not."""
        with closing(apsw.Connection(str(self.folder.archive), flags=apsw.SQLITE_OPEN_READONLY)) as book:
            book.set_busy_timeout(30_000)
            begun = book.execute("select 1 from chunk where stream = 'log'").fetchone()
        if begun is None and self.reach() <= behind:
            return False  # which spares the store a question
        files = (name for name in self._store.objects() if "/events/" in name)
        return any(int(Path(name).name.partition("-")[0]) > behind for name in files)

    def told(self) -> tuple[str, list[str]]:
        """The archive that is said to lead, and the files of events that it says count; none where nothing is
        said yet."""
        if "lender/_leading.json" not in self._store.objects():
            return "", []
        root = f"lender/{json.loads(self._store.get('lender/_leading.json'))['archive']}"
        return root, json.loads(self._store.get(f"{root}/_files.json"))["events"]

    def tells_all(self) -> bool:
        """Whether readers from outside are told what the archive's own book has."""
        with closing(Book(self.folder.archive, read_only=True)) as book:
            ours = {one.name for one in book.parts() if one.table == "events"}
        return set(self.told()[1]) == ours

    def archived(self) -> Counter[str]:
        """How often each event stands in the archive that leads, by the files that it says count."""
        root, names = self.told()
        for number, name in enumerate(names):
            (self._scratch / f"{number}.parquet").write_bytes(self._store.get(f"{root}/{name}"))
        with duckdb.connect() as db:
            found = db.execute(
                f"select event_id from read_parquet('{self._scratch}/*.parquet') where brand = 'acme'"
            )
            return Counter(name for (name,) in found.fetchall())

    def report(self, code: int = 0) -> str:
        """What a report says that has asked nobody before."""
        get_filesystem_class("s3").clear_instance_cache()
        return self.node.verb("report", "funnel", "--json", code=code)


def test_a_desk_that_is_killed_while_it_uploads_has_each_row_once_and_reports_read_them_from_the_store(
    server: PostgreSql,
    store: ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    seed = randbelow(1_000_000)
    print("seed", seed)
    monkeypatch.setattr(schema, "DAYS_AHEAD", 0)
    events = happenings(Random(seed), 150, users=15)
    desk = Desk(tmp_path / "node", server, store)
    desk.node.verb("store", "prepare")
    desk.node.verb("store", "policy")
    with closing(Database(server.plain_url, SCHEMA)) as database, closing(desk.node):
        leases = Leases(database, "worker", terms=Terms(lease_seconds=600.0))
        worker = SlotDecider(SlotLog(database, leases, SLOTS), Clock(), steady=Steady())
        door = DoorLog(database, SLOTS)

        def tell(part: int) -> None:
            door.append(events[part::3])
            decide_all(worker)

        tell(0)
        desk.node.start()
        desk.has_all()
        before = desk.reach()
        tell(1)
        until(lambda: desk.uploads(before), "it uploads what came since")
        desk.node.kill()
        # The lease lasts half a minute; by the database's clock it is over now.
        database.rows("update single set until = clock_timestamp() - interval '1 second'")
        tell(2)
        desk.node.start()
        desk.has_all()
        until(desk.tells_all, "its archive is said to lead, and what is in it")

    assert desk.archived() == Counter(event.event_id for event in events)
    caplog.clear()
    from_the_store = desk.report()
    asked = [one.getMessage() for one in caplog.records if ".parquet" in one.getMessage()]
    store.drop(next(name for name in store.objects() if "/events/" in name))
    without_a_file = desk.report(code=1)
    desk.folder.archive.unlink()
    from_the_copy = desk.report()

    assert any("GET /" in one for one in asked)
    assert not any("HEAD /" in one for one in asked), "one list told what all files are"
    assert json.loads(from_the_store) == json.loads(from_the_copy)
    assert "made-up" not in without_a_file
