"""The exam of the sender's file, taken by the deliveries of a cluster: the same tests over PostgreSQL."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any, cast

import pytest
from tests.clustered import Cluster
from tests.servers.postgresql import PostgreSql, postgresql
from tests.unit.log import test_deliveries as exam
from tests.unit.log.test_deliveries import commit, waiting

from lendsignal.errors import LogError, Overtaken
from lendsignal.log import Changes, Deliveries, Open, Stage
from lendsignal.log.postgres import Database
from lendsignal.log.postgres.arrays import Packed, bigints, bodies, booleans, ints, smallints, texts
from lendsignal.log.postgres.deliveries import SlotDeliveries

OF_A_FILE = (
    "test_a_stage_is_found_without_looking_through_what_waits",  # SQLite's plan
    "test_a_commit_that_the_disk_does_not_take_changes_nothing",  # SQLite's pages
    # A store lets go of no receipts yet: docs/explanation/cluster.md says so.
    "test_packs_go_that_tell_of_old_deliveries_alone_and_the_last_stays",
    "test_no_pack_goes_beyond_what_was_asked_for_and_a_piece_says_where_it_ended",
    "test_receipts_of_a_dead_delivery_stay_as_long_as_that_does",
)

globals().update(
    {name: test for name, test in vars(exam).items() if name.startswith("test_") and name not in OF_A_FILE}
)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql(autovacuum="off", fsync="off") as one:
        yield one


@pytest.fixture
def cluster(server: PostgreSql) -> Iterator[Cluster]:
    with closing(Cluster(server.plain_url, slots=1)) as one:
        yield one


@pytest.fixture
def store(cluster: Cluster) -> Deliveries:
    """The deliveries of the only slot there is; the exam asks them what it asks a file."""
    return cast(Deliveries, SlotDeliveries(cluster.connect(), 1, [0]))


def test_a_commit_that_the_database_does_not_take_changes_nothing(store: Deliveries) -> None:
    commit(store, waiting(64))
    changes = Changes()
    changes.position = 9
    changes.keep(waiting(65))
    changes.keep(Open("new-ng", 66, Stage.WAITING, 5, strikes=2**40))
    with pytest.raises((LogError, OverflowError)):
        store.commit(changes)

    assert (store.position(), store.destinations(), store.open("acme-ng", 0, 9)) == (
        0,
        ["acme-ng"],
        [waiting(64)],
    )


def test_a_reason_may_hold_what_no_text_of_the_database_can(store: Deliveries) -> None:
    commit(store, waiting(64, reason="pending a\0b"))

    assert store.open("acme-ng", 0, 9) == [waiting(64, reason="pending a\ufffdb")]


def test_a_sender_sees_the_deliveries_of_its_own_slots_and_the_counts_of_all(server: PostgreSql) -> None:
    with closing(Cluster(server.plain_url, slots=4)) as four:
        mine = SlotDeliveries(four.connect(), 4, [0, 1])
        other = SlotDeliveries(four.connect(), 4, [2, 3])
        for slot, store in enumerate((mine, mine, other, other)):
            changes = Changes()
            changes.keep(waiting(delivery_in(slot)))
            changes.add("acme-ng", "disbursement", "planned")
            changes.position = {slot: 100 + slot}
            store.commit(changes)

        assert [one.id for one in mine.open("acme-ng", 0, 9)] == [delivery_in(0), delivery_in(1)]
        assert [one.id for one in other.open("acme-ng", 0, 9)] == [delivery_in(2), delivery_in(3)]
        assert (mine.positions(), other.positions()) == ({0: 100, 1: 101}, {2: 102, 3: 103})
        assert mine.waiting() == other.waiting() == {"acme-ng": {"waiting": 4}}


def delivery_in(slot: int) -> int:
    """The first delivery of the fifth event that is decided in a slot of four."""
    return (5 * 4 + slot) * 256 * 64


def test_a_sender_that_is_fenced_off_keeps_nothing(cluster: Cluster) -> None:
    def guard(session: object, slots: object) -> None:
        raise Overtaken("another sender has these slots")

    store = SlotDeliveries(cluster.connect(), 1, [0], guard)
    changes = Changes()
    changes.keep(waiting(64))
    with pytest.raises(Overtaken):
        store.commit(changes)

    assert store.open("acme-ng", 0, 9) == []


# arrays

GIVEN: list[tuple[Packed, str, list[Any]]] = [
    (smallints([0, 1, -1, 255, 256, -(2**15)]), "smallint[]", [0, 1, -1, 255, 256, -(2**15)]),
    (ints([2**31 - 1, -(2**31), 66_051]), "integer[]", [2**31 - 1, -(2**31), 66_051]),
    (bigints([2**63 - 1, -(2**63), 7]), "bigint[]", [2**63 - 1, -(2**63), 7]),
    (booleans([True, False]), "boolean[]", [True, False]),
    (texts(["", "ü", "a", "a"]), "text[]", ["", "ü", "a", "a"]),
    (bodies([b"", b"\x00\xff", b"x" * 300]), "bytea[]", [b"", b"\x00\xff", b"x" * 300]),
    (bigints([]), "bigint[]", []),
    (texts([]), "text[]", []),
]


@pytest.mark.parametrize(("packed", "kind", "values"), GIVEN, ids=lambda one: str(one)[:20])
def test_an_array_arrives_as_it_was_given(
    server: PostgreSql, packed: Packed, kind: str, values: list[Any]
) -> None:
    with closing(Database(server.plain_url)) as database:
        assert database.row("select %b, pg_typeof(%b)::text", packed, packed) == (values, kind)


def test_what_a_column_cannot_hold_is_refused_before_it_is_sent() -> None:
    for make, number in ((smallints, 2**15), (ints, 2**31), (bigints, 2**63)):
        with pytest.raises(OverflowError):
            make([number])
