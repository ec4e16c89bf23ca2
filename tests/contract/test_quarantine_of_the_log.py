"""What a log engine does with refused events: they are found, mended once, dropped and forgotten."""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

import pytest
from tests.acme import event, loan, us
from tests.clustered import Cluster
from tests.lender_file import ACME
from tests.servers.postgresql import PostgreSql, postgresql

from lendsignal import config as configuration
from lendsignal.clock import SystemClock
from lendsignal.errors import LogError
from lendsignal.log import Log as FolderLog
from lendsignal.log import Mended, Quarantined, Wanted, open_log
from lendsignal.log.postgres import DoorLog
from lendsignal.log.postgres.refused import RefusedRows
from lendsignal.model import Event
from lendsignal.role.work import mend_what_was_left
from lendsignal.source.mending import kept_of


class Stored:
    """The store of a cluster, with one door and one who looks at what it refused."""

    def __init__(self, cluster: Cluster) -> None:
        database = cluster.connect()
        self._cluster = cluster
        self.schema = cluster.schema
        self._door = cluster.door()
        self.database = database
        self.quarantine = RefusedRows(database, lambda: DoorLog(database, cluster.slots))

    def refuse(self, refused: Sequence[Quarantined]) -> None:
        self._door.refuse(refused)

    def end(self) -> int:
        return len(self.database.rows("select 1 from event"))

    def close(self) -> None:
        self._cluster.close()


Log: TypeAlias = FolderLog | Stored


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql(autovacuum="off", fsync="off") as one:
        yield one


@pytest.fixture(params=["postgresql", "sqlite"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    if request.param == "sqlite":
        one: Log = open_log(tmp_path / "log.sqlite")
    else:
        one = Stored(Cluster(request.getfixturevalue("server").plain_url, 2))
    with closing(one):
        yield one


def refused(minute: int, field: str = "brand", source: str = "crm", kept: bytes | None = b"k") -> Quarantined:
    return Quarantined(
        received_us=us(minute), source=source, field=field, rule="is not one of yours", body=b"{}", kept=kept
    )


def ids(log: Log, **wanted: object) -> list[int | None]:
    return [one.id for one in log.quarantine.find(Wanted(**wanted), 100)]  # type: ignore[arg-type]


def test_refusals_are_found_by_what_is_asked(log: Log) -> None:
    log.refuse([refused(0), refused(1, field="dpd"), refused(2, source="los")])

    assert ids(log) == [3, 2, 1]
    assert ids(log, source="los") == [3]
    assert ids(log, field="dpd") == [2]
    assert ids(log, rule="one of") == [3, 2, 1]
    assert ids(log, rule="%") == []
    assert ids(log, since_us=us(1)) == [3, 2]
    assert ids(log, until_us=us(1)) == [1]
    assert ids(log, ids=(1, 3, 9)) == [3, 1]
    assert ids(log, states=("dropped",)) == []
    assert log.quarantine.count(Wanted(source="crm")) == 2


def test_refusals_of_one_kind_are_counted_together_the_most_first(log: Log) -> None:
    log.refuse([refused(0, field="dpd"), refused(1), refused(2)])

    found = [(one.source, one.field, one.n, one.last_us) for one in log.quarantine.kinds()]
    assert found == [("crm", "brand", 2, us(2)), ("crm", "dpd", 1, us(0))]


def test_what_is_asked_for_waits_to_be_carried_out_and_is_asked_for_once(log: Log) -> None:
    log.refuse([refused(0), refused(1)])

    assert log.quarantine.ask({1: b"mended"}, "ada", us(5)) == 1
    assert log.quarantine.ask({1: b"again"}, "bob", us(6)) == 0

    (one,) = log.quarantine.asked(10)
    assert (one.id, one.kept, one.who, one.at_us, one.state) == (1, b"mended", "ada", us(5), "asked")


def test_a_mended_event_is_in_the_log_and_its_refusal_done_with_or_neither(log: Log) -> None:
    log.refuse([refused(0), refused(1)])
    log.quarantine.ask({1: b"a", 2: b"b"}, "ada", us(5))

    with pytest.raises((OverflowError, LogError)):
        log.quarantine.settle([Mended(1, event("kyc_passed", 0, properties={"n": 2**70}))])
    assert log.end() == 0
    assert len(log.quarantine.asked(10)) == 2

    first = log.quarantine.settle([Mended(1, loan(0, "L1")), Mended(2, None, "dpd", "is needed")])

    # A cluster's events get their numbers where they are decided.
    assert (first, log.end()) == (0 if isinstance(log, Stored) else 1, 1)
    taken, again = log.quarantine.one(1), log.quarantine.one(2)
    assert taken is not None
    assert again is not None
    assert (taken.state, taken.event_id, taken.kept) == ("taken", loan(0, "L1").event_id, None)
    assert (again.state, again.field, again.rule, again.kept) == ("open", "dpd", "is needed", b"b")
    assert ids(log) == [2]


def test_what_is_dropped_is_forgotten_but_for_its_trace(log: Log) -> None:
    log.refuse([refused(0), refused(1)])
    log.quarantine.ask({2: b"b"}, "ada", us(5))

    assert log.quarantine.drop([1, 2, 7], "ada", us(6)) == 1, "what is about to be sent is not dropped"

    one = log.quarantine.one(1)
    assert one is not None
    assert (one.state, one.kept, one.who) == ("dropped", None, "ada")
    assert log.quarantine.ask({1: b"x"}, "ada", us(7)) == 0


def test_old_refusals_expire_except_what_is_about_to_be_sent(log: Log) -> None:
    log.refuse([refused(0), refused(1), refused(2)])
    log.quarantine.ask({2: b"b"}, "ada", us(5))

    assert log.quarantine.expire(us(2)) == 1

    assert ids(log, states=("open", "asked")) == [3, 2]
    assert log.quarantine.expire(us(2)) == 0


def test_many_old_refusals_expire_in_one_go(log: Log) -> None:
    log.refuse([refused(0)] * 2_500 + [refused(9)])

    assert log.quarantine.expire(us(1)) == 2_500
    assert log.quarantine.count(Wanted()) == 1


def test_a_refusal_without_a_whole_event_is_open_and_has_nothing_to_send(log: Log) -> None:
    log.refuse([refused(0, kept=None)])

    (one,) = log.quarantine.find(Wanted(), 10)
    assert (one.state, one.kept) == ("open", None)


@pytest.fixture
def stored(server: PostgreSql) -> Iterator[Stored]:
    with closing(Stored(Cluster(server.plain_url, 2))) as one:
        yield one


def test_of_two_nodes_that_carry_out_the_same_wish_one_does(stored: Stored) -> None:
    stored.refuse([refused(0)])
    stored.quarantine.ask({1: b"a"}, "ada", us(5))

    stored.quarantine.settle([Mended(1, loan(0, "L1"))])
    stored.quarantine.settle([Mended(1, loan(0, "L1"))])

    assert stored.end() == 1


def test_an_event_that_was_appended_goes_again_where_its_refusal_cannot_be_settled(stored: Stored) -> None:
    stored.refuse([refused(0)])
    stored.quarantine.ask({1: b"a"}, "ada", us(5))

    class Broken:
        def append(self, events: Sequence[Event]) -> int:
            DoorLog(stored.database, 2).append(events)
            raise LogError("the connection broke")

    with pytest.raises(LogError):
        RefusedRows(stored.database, Broken).settle([Mended(1, loan(0, "L1"))])

    assert (stored.end(), len(stored.quarantine.asked(10))) == (0, 1)


CONFIG = (
    ACME
    + """
[store]
url    = {{ env = "ACME_STORE" }}
schema = "{schema}"
slots  = 2
"""
)


def test_what_a_node_that_ended_was_asked_for_a_worker_sends_through(
    stored: Stored, server: PostgreSql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_STORE", server.plain_url)
    path = tmp_path / "lendsignal.toml"
    path.write_text(CONFIG.format(schema=stored.schema))
    raw = {"type": "logged_in", "brand": "acme", "user_id": "u1", "occurred_at": "2025-11-22T12:00:00Z"}
    good, bad = (kept_of(json.dumps(one).encode()) for one in (raw, {**raw, "brand": "nobody"}))
    stored.refuse([refused(0, kept=good), refused(1, kept=bad), refused(2, kept=good)])
    stored.quarantine.ask({1: good or b"", 2: bad or b""}, "ada", us(5))

    taken = mend_what_was_left(stored.database, configuration.load(path), SystemClock())

    assert (taken, stored.end()) == (1, 1)
    assert [one.id for one in stored.quarantine.find(Wanted(), 10)] == [3, 2], "one waits for a person again"
    assert stored.quarantine.asked(10) == []
