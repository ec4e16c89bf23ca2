"""The exam of the shelf, in a data folder's file and in the store of a cluster: who is offered what, and what
is left after each step."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from tests.servers.postgresql import PostgreSql, postgresql
from tests.shelved import ClusterShelf, Shelf

from lendsignal.errors import LogError, Overtaken
from lendsignal.log import Acknowledged, Giving, Offer, open_shelf
from lendsignal.log.postgres import Database, prepare, schema
from lendsignal.log.postgres.relay import DoorShelf, SlotShelf
from lendsignal.log.postgres.sending import Sending

HOUR = 3_600_000_000
SLOTS = 4


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql(autovacuum="off", fsync="off") as one, pytest.MonkeyPatch.context() as patched:
        patched.setattr(schema, "DAYS_AHEAD", 0)
        yield one


@pytest.fixture(scope="module")
def prepared(server: PostgreSql) -> str:
    """The schema of all tests here: to make one for each is most of what they would cost."""
    with closing(Database(server.plain_url, "shelves")) as one:
        prepare(one, SLOTS)
        return one.schema


@pytest.fixture
def connect(server: PostgreSql, prepared: str) -> Iterator[Callable[[], Database]]:
    """Connections to a store in which nothing was told yet."""
    with ExitStack() as opened:

        def connected() -> Database:
            return opened.enter_context(closing(Database(server.plain_url, prepared)))

        one = connected()
        one.rows("truncate offer, paused, node")
        one.rows("update sending set owner = null")
        yield connected


@pytest.fixture
def store(connect: Callable[[], Database]) -> Database:
    return connect()


@pytest.fixture
def open_(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[str], Shelf]]:
    """Opens the shelf of that engine, each time with connections of its own."""
    with ExitStack() as opened:

        def shelf(engine: str) -> Shelf:
            if engine == "folder":
                return opened.enter_context(closing(open_shelf(tmp_path / "relay.sqlite")))
            connect = request.getfixturevalue("connect")
            return ClusterShelf(connect(), connect(), SLOTS)

        yield shelf


@pytest.fixture(params=["folder", "cluster"])
def engine(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def shelf(open_: Callable[[str], Shelf], engine: str) -> Shelf:
    return open_(engine)


def offer(delivery: int, address: str = "ada", **changes: object) -> Offer:
    return Offer(
        **{  # type: ignore[arg-type]
            "destination": "app-ng",
            "delivery": delivery,
            "address": address,
            "conversion": f"c{delivery}",
            "item": f'{{"id":"c{delivery}"}}'.encode(),
            "expires_us": 24 * HOUR,
            **changes,
        }
    )


def fetched(shelf: Giving, address: str = "ada", now_us: int = HOUR, limit: int = 100) -> list[str]:
    return [item.decode() for item in shelf.fetch("app-ng", address, now_us, limit)]


def test_only_the_address_it_waits_at_is_given_an_offer(shelf: Shelf) -> None:
    shelf.place([offer(1), offer(2, "bola")], 10)

    assert fetched(shelf) == ['{"id":"c1"}']
    assert fetched(shelf, "bola") == ['{"id":"c2"}']
    assert shelf.fetch("app-mx", "ada", HOUR, 100) == []


def test_what_is_fetched_and_not_acknowledged_is_given_again(shelf: Shelf) -> None:
    shelf.place([offer(1)], 10)

    assert fetched(shelf, now_us=20) == fetched(shelf, now_us=30) == ['{"id":"c1"}']
    assert shelf.fetched_us("app-ng", 1) == 20


def test_what_is_acknowledged_is_not_given_again(shelf: Shelf) -> None:
    shelf.place([offer(1), offer(2)], 10)
    fetched(shelf, now_us=20)

    assert shelf.acknowledge("app-ng", "ada", ["c1"], 30) == 1
    assert shelf.acknowledge("app-ng", "ada", ["c1"], 40) == 0
    assert fetched(shelf) == ['{"id":"c2"}']
    assert shelf.acknowledged(10) == [Acknowledged("app-ng", 1, 20, 30)]


def test_nobody_acknowledges_what_was_not_given_to_him(shelf: Shelf) -> None:
    shelf.place([offer(1), offer(2, "bola")], 10)
    fetched(shelf, "bola")

    assert shelf.acknowledge("app-ng", "ada", ["c1", "c2"], 30) == 0
    assert shelf.acknowledged(10) == []


def test_placing_again_changes_nothing(shelf: Shelf) -> None:
    shelf.place([offer(1)], 10)
    fetched(shelf, now_us=20)
    shelf.acknowledge("app-ng", "ada", ["c1"], 30)
    shelf.place([offer(1, "bola")], 40)

    assert shelf.acknowledged(10) == [Acknowledged("app-ng", 1, 20, 30)]
    assert fetched(shelf, "bola") == []


def test_an_offer_can_be_taken_back_until_it_is_fetched(shelf: Shelf) -> None:
    shelf.place([offer(1), offer(2, "bola")], 10)
    fetched(shelf, "bola")

    assert shelf.recall("app-ng", 1)
    assert not shelf.recall("app-ng", 2)
    assert fetched(shelf) == []
    assert fetched(shelf, "bola") == ['{"id":"c2"}']


def test_what_is_withheld_is_not_given_again_and_may_still_be_acknowledged(shelf: Shelf) -> None:
    shelf.place([offer(1)], 10)
    fetched(shelf)
    shelf.withhold("app-ng", 1)

    assert fetched(shelf) == []
    assert shelf.acknowledge("app-ng", "ada", ["c1"], 30) == 1


def test_nothing_is_given_out_from_the_moment_it_expires(shelf: Shelf) -> None:
    shelf.place([offer(1)], 10)

    assert fetched(shelf, now_us=24 * HOUR) == []
    assert fetched(shelf, now_us=24 * HOUR - 1) == ['{"id":"c1"}']


def test_a_shut_destination_gives_nothing_out_until_it_is_open_again(shelf: Shelf) -> None:
    shelf.place([offer(1)], 10)
    shelf.shut({"app-ng"})

    assert fetched(shelf) == []
    shelf.shut(set())
    assert fetched(shelf) == ['{"id":"c1"}']


def test_the_oldest_come_first_and_no_more_than_asked_for(shelf: Shelf) -> None:
    shelf.place([offer(3)], 10)
    shelf.place([offer(1), offer(2)], 20)

    assert fetched(shelf, limit=2) == ['{"id":"c3"}', '{"id":"c1"}']
    assert shelf.fetched_us("app-ng", 2) == 0


def test_what_was_cleared_away_is_gone(shelf: Shelf) -> None:
    shelf.place([offer(1), offer(2)], 10)
    shelf.clear([("app-ng", 1)])

    assert shelf.among("app-ng", [1, 2, 3]) == {2}


def test_what_waits_under_a_former_name_is_the_new_ones(shelf: Shelf) -> None:
    shelf.place([offer(1)], 10)
    shelf.rename("app-ng", "app-ke")

    assert fetched(shelf) == []
    assert shelf.fetch("app-ke", "ada", HOUR, 10) == [b'{"id":"c1"}']


def test_what_nobody_can_fetch_any_more_is_told_oldest_first(shelf: Shelf) -> None:
    shelf.place([offer(1, expires_us=30), offer(2, expires_us=20), offer(3, expires_us=40)], 10)

    assert shelf.expired(40, 100) == [("app-ng", 2), ("app-ng", 1)]
    assert shelf.expired(40, 1) == [("app-ng", 2)]


def test_an_id_that_is_none_of_ours_is_no_trouble(shelf: Shelf) -> None:
    shelf.place([offer(1)], 10)
    fetched(shelf)

    assert shelf.acknowledge("app-ng", "ada", ["\0", "c1", "ü" * 128], 30) == 1


def test_two_processes_see_one_shelf(open_: Callable[[str], Shelf], engine: str, shelf: Shelf) -> None:
    other = open_(engine)
    shelf.place([offer(1)], 10)

    assert fetched(other) == ['{"id":"c1"}']
    assert not shelf.recall("app-ng", 1)


# several senders


EVENT = 256 * 64
"""Deliveries of one event: the next event's are of the next slot."""


def test_a_sender_hears_of_its_own_slots_alone(store: Database) -> None:
    ours, theirs = SlotShelf(store, SLOTS, [0, 1]), SlotShelf(store, SLOTS, [2, 3])
    ours.place([offer(EVENT)], 10)
    theirs.place([offer(3 * EVENT)], 10)
    door = DoorShelf(store)
    door.fetch("app-ng", "ada", 20, 10)
    assert door.acknowledge("app-ng", "ada", [f"c{EVENT}", f"c{3 * EVENT}"], 30) == 2

    assert [one.delivery for one in ours.acknowledged(10)] == [EVENT]
    assert [one.delivery for one in theirs.acknowledged(10)] == [3 * EVENT]
    assert ours.among("app-ng", [EVENT, 3 * EVENT]) == {EVENT}
    assert theirs.expired(1 << 60, 10) == [("app-ng", 3 * EVENT)]


def test_a_sender_that_lost_its_slots_changes_nothing_on_the_shelf(store: Database) -> None:
    first, second = Sending(store, "first", SLOTS), Sending(store, "second", SLOTS)
    first.tend(0.0)
    frozen = SlotShelf(store, SLOTS, first.held, first.guard)
    frozen.place([offer(EVENT)], 10)
    store.rows("update node set until = clock_timestamp() - interval '1 minute' where name = 'first'")
    for seconds in (0.0, 1.0, 2.5):  # it judges nobody's silence before it was there for a lease
        second.tend(seconds)
    assert len(second.held) == SLOTS

    steps: list[Callable[[], object]] = [
        lambda: frozen.place([offer(EVENT + 1)], 20),
        lambda: frozen.recall("app-ng", EVENT),
        lambda: frozen.withhold("app-ng", EVENT),
        lambda: frozen.clear([("app-ng", EVENT)]),
        lambda: frozen.rename("app-ng", "app-ke"),
    ]
    for step in steps:
        with pytest.raises(Overtaken):
            step()
    assert DoorShelf(store).fetch("app-ng", "ada", 30, 10) == [offer(EVENT).item]


def test_what_it_knows_to_be_lost_is_left_to_its_next_holder(store: Database) -> None:
    sending = Sending(store, "first", SLOTS)
    sending.tend(0.0)
    shelf = SlotShelf(store, SLOTS, sending.held, sending.guard)
    shelf.disown([1])
    shelf.place([offer(EVENT), offer(2 * EVENT)], 10)

    assert SlotShelf(store, SLOTS, range(SLOTS)).among("app-ng", [EVENT, 2 * EVENT]) == {2 * EVENT}


def test_a_shelf_whose_database_is_away_says_so(tmp_path: Path) -> None:
    with closing(Database(f"postgresql://nobody@/none?host={tmp_path}")) as nowhere:
        with pytest.raises(LogError):
            DoorShelf(nowhere).fetch("app-ng", "ada", 20, 10)
        with pytest.raises(LogError):
            SlotShelf(nowhere, SLOTS, [0]).place([offer(1)], 10)
