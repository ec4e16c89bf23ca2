"""A desk as a real process: killed, it brings later what it missed."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from secrets import randbelow

import pytest
from tests.clustered import Clock, Steady, decide_all, happenings
from tests.noded import SLOTS, Node
from tests.running import PATIENCE, until
from tests.servers.postgresql import PostgreSql, postgresql

from lendsignal.clock import SystemClock
from lendsignal.decide.slots import SlotDecider
from lendsignal.log import DataFolder, open_log
from lendsignal.log.copied import Lead, copy_standing, lead
from lendsignal.log.postgres import Database, DoorLog, Leases, SlotLog, Terms, schema

SCHEMA = "killed_desk"


class DeskProcess:
    """The role `desk` of one node, and nothing else of it."""

    def __init__(self, folder: Path, store: str) -> None:
        self.node = Node(folder, store, "http://127.0.0.1:9", ("desk",), SCHEMA)
        self.folder = DataFolder(folder / "data")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.node.folder / "said").open("ab") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lendsignal.role", "desk", "--config", str(self.node.config)],
                cwd=self.node.folder,
                env=self.node.environment,
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
            )

    def ends(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE)
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process = None

    def has_all(self) -> None:
        """Returns when its copy was whole at a moment behind this one."""
        since = SystemClock().now_us()

        def is_whole() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, self.node.said
            found = copy_standing(self.folder)
            return found is not None and found.whole_us > since

        until(is_whole, "the copy is whole")

    def leads(self) -> Lead | None:
        return lead(self.folder, SystemClock().now_us())


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql(fsync="off") as one:
        yield one


def test_a_desk_that_is_killed_goes_on_where_it_was_and_leads_again(
    server: PostgreSql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = randbelow(1_000_000)
    print("seed", seed)
    monkeypatch.setattr(schema, "DAYS_AHEAD", 0)
    events = happenings(Random(seed), 120, users=15)
    desk = DeskProcess(tmp_path / "node", server.plain_url)
    desk.node.verb("store", "prepare")
    desk.node.verb("store", "policy")
    with closing(Database(server.plain_url, SCHEMA)) as database:
        leases = Leases(database, "worker", terms=Terms(lease_seconds=600.0))
        worker = SlotDecider(SlotLog(database, leases, SLOTS), Clock(), steady=Steady())
        door = DoorLog(database, SLOTS)

        def tell(part: int) -> None:
            door.append(events[part::3])
            decide_all(worker)

        try:
            tell(0)
            desk.start()
            desk.has_all()
            first = until(desk.leads, "who is alone leads")
            tell(1)
            desk.ends(signal.SIGKILL)
            # The lease lasts half a minute; by the database's clock it is over now.
            database.rows("update single set until = clock_timestamp() - interval '1 second'")
            tell(2)
            desk.start()
            desk.has_all()
            second = until(desk.leads, "it leads again")
        finally:
            desk.ends(signal.SIGTERM)

        assert second.epoch == first.epoch + 1
        assert desk.leads() is None
        assert database.rows("select 1 from single where until > clock_timestamp()") == []
    with closing(open_log(desk.folder.log, read_only=True)) as log:
        told = [fact.event.event_id for fact in log.scan() if fact.event.brand == "acme"]
    assert sorted(told) == sorted(event.event_id for event in events)
