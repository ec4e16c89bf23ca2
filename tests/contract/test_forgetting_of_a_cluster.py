"""What a store lets go of: receipts by the day, but for those of the dead, and what nobody looks at."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from secrets import token_hex
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.acme import loan, login, source, us
from tests.clustered import Cluster, decide_all
from tests.copying import Copy, copy_of
from tests.servers.postgresql import PostgreSql, postgresql

from lendsignal.cli import doctor_copies
from lendsignal.errors import DataError, LogError, Overtaken
from lendsignal.log.deliveries import Changes, Dead, Open, Receipt, Stage
from lendsignal.log.postgres import Database, prepare, schema
from lendsignal.log.postgres.deliveries import SlotDeliveries
from lendsignal.log.postgres.following import Turned
from lendsignal.log.postgres.forgetting import (
    LANE_US,
    Forgetting,
    copies,
    tell_copied,
)
from lendsignal.log.postgres.singles import Single
from lendsignal.log.store import StoreSettings
from lendsignal.metrics import Gauge
from lendsignal.model import Secret
from lendsignal.plan import Placed, delivery_id, record_id
from lendsignal.role.desk import TELL_SECONDS, Telling
from lendsignal.role.forgetting import StoreMeters

KEEP = 14
NOW_US = us(60)
DAY = "2020-01-01"
PART = "receipt_20200101"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql(autovacuum="off", fsync="off") as one:
        yield one


@pytest.fixture(scope="module", autouse=True)
def few_days() -> Iterator[None]:
    """Tables of fewer days beforehand: making them is most of what these tests cost."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(schema, "DAYS_AHEAD", 0)
        yield


@pytest.fixture
def cluster(server: PostgreSql) -> Iterator[Cluster]:
    with closing(Cluster(server.plain_url, slots=2, policy=source())) as one:
        yield one


@pytest.fixture
def store(cluster: Cluster) -> SlotDeliveries:
    return SlotDeliveries(cluster.connect(), cluster.slots, range(cluster.slots))


@pytest.fixture
def single(cluster: Cluster) -> Single:
    one = Single(cluster.connect(), "receipts", "one")
    assert one.take()
    return one


@pytest.fixture
def desk(tmp_path: Path, cluster: Cluster) -> Iterator[Callable[[], Copy]]:
    made: list[Copy] = []

    def make() -> Copy:
        made.append(copy_of(tmp_path / f"desk-{len(made)}", cluster))
        return made[-1]

    yield make
    for one in made:
        one.close()


def number(place: int, slot: int = 0) -> int:
    """A delivery of that event of a slot, of two slots."""
    return delivery_id(record_id(place * 2 + slot, 0), 0)


def keep(store: SlotDeliveries, *deliveries: int) -> None:
    """One pack that tells what came of these."""
    changes = Changes()
    changes.receipts += [
        Receipt(one, "acme-ng", "accepted", "confirmed", answer=b"%d" % one) for one in deliveries
    ]
    store.commit(changes)


def long_ago(cluster: Cluster) -> None:
    """What was told until now was told on a day of 2020."""
    if cluster.database.row("select to_regclass(%s)", PART) == (None,):
        cluster.database.rows(
            f"create table {PART} partition of receipt for values from ('{DAY}') to ('2020-01-02')"
        )
    cluster.database.rows(f"update receipt set day = '{DAY}' where day > '{DAY}'")


def died(store: SlotDeliveries, delivery: int) -> None:
    changes = Changes()
    changes.dead.append(Dead(delivery, "acme-ng", "disbursement", NOW_US, "bad_row", b"asked", b"answered"))
    store.commit(changes)


def told(store: SlotDeliveries) -> list[int]:
    """The deliveries of all receipts that are there."""
    return [one.id for _, pack in store.all_receipts() for one in pack]


def parts(database: Database) -> Sequence[str]:
    found = database.rows(
        "select inhrelid::regclass::text from pg_inherits where inhparent = 'receipt'::regclass order by 1"
    )
    return [name for (name,) in found]


# receipts


def test_receipts_of_an_old_day_go_with_it_and_those_of_today_stay(
    cluster: Cluster, store: SlotDeliveries, single: Single
) -> None:
    keep(store, number(3), number(4))
    long_ago(cluster)
    keep(store, number(5))

    forgot = Forgetting().turn(single, KEEP, NOW_US)

    assert (forgot.dropped, forgot.kept) == ([PART], 0)
    assert PART not in parts(cluster.database)
    assert told(store) == [number(5)]


def test_receipts_stay_as_long_as_the_events_of_their_day(
    cluster: Cluster, store: SlotDeliveries, single: Single
) -> None:
    """Some record of that day is still to be read by a sender."""
    keep(store, number(3))
    long_ago(cluster)
    for table in ("event", "record"):
        cluster.database.rows(
            f"create table {table}_20200101 partition of {table} for values from ('{DAY}') to ('2020-01-02')"
        )
    cluster.database.rows(f"insert into record values (0, 6, '', '{DAY}')")

    held = Forgetting().turn(single, KEEP, NOW_US)
    cluster.database.rows("update sending set position = %s", record_id(7, 0))

    assert held.dropped == []
    assert Forgetting().turn(single, KEEP, NOW_US).dropped == [PART]


def test_what_came_of_a_dead_delivery_stays_as_long_as_that_one(
    cluster: Cluster, store: SlotDeliveries, single: Single
) -> None:
    keep(store, number(3), number(4), number(5))
    keep(store, number(6))
    died(store, number(4))
    long_ago(cluster)

    forgot = Forgetting(packs_at_once=1).turn(single, KEEP, NOW_US)

    assert (forgot.dropped, forgot.kept) == ([PART], 1)
    assert told(store) == [number(4)]
    assert [one.answer for one in store.receipts(number(4))] == [b"%d" % number(4)]
    changes = Changes()
    changes.bury_us = NOW_US + 1
    store.commit(changes)
    assert Forgetting().turn(single, KEEP, NOW_US).dropped == []
    assert told(store) == []


def test_what_came_of_an_open_delivery_stays_though_its_event_has_gone(
    cluster: Cluster, store: SlotDeliveries, single: Single
) -> None:
    keep(store, number(3), number(4))
    long_ago(cluster)
    changes = Changes()
    changes.keep(Open("acme-ng", number(3), Stage.HELD, NOW_US))
    store.commit(changes)

    assert Forgetting().turn(single, KEEP, NOW_US).dropped == [PART]
    assert told(store) == [number(3)]


def test_a_turn_looks_at_so_many_packs_and_the_next_one_goes_on(
    cluster: Cluster, store: SlotDeliveries, single: Single
) -> None:
    for place in range(3, 8):
        keep(store, number(place))
    died(store, number(7))
    long_ago(cluster)
    forgetting = Forgetting(packs_at_once=2, packs_in_a_turn=2)

    turns = [forgetting.turn(single, KEEP, NOW_US) for _ in range(3)]

    assert [(one.looked_at, one.dropped) for one in turns] == [(2, []), (2, []), (2, [PART])]
    assert told(store) == [number(7)]


def test_a_day_that_somebody_reads_goes_later_and_senders_write_meanwhile(
    cluster: Cluster, store: SlotDeliveries, single: Single
) -> None:
    keep(store, number(3))
    long_ago(cluster)
    reader, forgetting = cluster.connect(), Forgetting()
    with reader.transaction() as session:
        session.rows("select count(*) from receipt")
        with pytest.raises(LogError, match="LockNotAvailable"):
            forgetting.turn(single, KEEP, NOW_US)
        keep(store, number(4))

    assert forgetting.turn(single, KEEP, NOW_US).dropped == [PART]
    assert told(store) == [number(4)]


def test_who_was_overtaken_lets_nothing_go(cluster: Cluster, store: SlotDeliveries, single: Single) -> None:
    keep(store, number(3))
    long_ago(cluster)
    cluster.database.rows("update single set until = clock_timestamp() - interval '1 second'")
    assert Single(cluster.connect(), "receipts", "other").take()

    with pytest.raises(Overtaken):
        Forgetting().turn(single, KEEP, NOW_US)
    assert told(store) == [number(3)]


# desks


def lived(cluster: Cluster, *users: str) -> list[int]:
    """A delivery of each of these users, by its number in the store."""
    cluster.door().append(
        [told for user in users for told in (login(0, "a", user_id=user), loan(2, f"L-{user}", user_id=user))]
    )
    decide_all(cluster.worker("one"))
    first: dict[str, int] = {}
    for record, one in cluster.records():
        if isinstance(one, Placed):
            first.setdefault(one.conversion.origin.user_id, delivery_id(record, 0))
    return [first[user] for user in users]


def test_a_desk_that_has_copied_all_goes_on_when_a_day_goes(
    cluster: Cluster, store: SlotDeliveries, single: Single, desk: Callable[[], Copy]
) -> None:
    first, second = lived(cluster, "u1", "u2")
    copy = desk()
    keep(store, first)
    copy.follow()
    long_ago(cluster)
    Forgetting().turn(single, KEEP, NOW_US)
    keep(store, second)
    copy.follow()

    assert len([one for _, pack in copy.deliveries.all_receipts() for one in pack]) == 2


def test_a_desk_that_missed_receipts_says_so_and_one_that_begins_anew_has_what_is_left(
    cluster: Cluster, store: SlotDeliveries, single: Single, desk: Callable[[], Copy]
) -> None:
    first, second, third = lived(cluster, "u1", "u2", "u3")
    copy = desk()
    copy.follow()
    keep(store, first, second)
    died(store, second)
    long_ago(cluster)
    Forgetting().turn(single, KEEP, NOW_US)
    keep(store, third)

    with pytest.raises(DataError, match="stood still for longer"):
        copy.follower.turn()
    fresh = desk()
    fresh.follow()
    numbers = fresh.log.numbers
    assert [one.id for _, pack in fresh.deliveries.all_receipts() for one in pack] == [
        numbers.delivery(second),
        numbers.delivery(third),
    ]


def test_it_is_known_how_far_behind_each_copy_is_that_has_no_hole_yet(cluster: Cluster) -> None:
    for name in ("desk-1", "desk-2", "desk-3"):
        tell_copied(cluster.database, name)
    cluster.database.rows("update copied set whole = now() - interval '5 days' where desk = 'desk-2'")
    cluster.database.rows("update copied set whole = now() - interval '15 days' where desk = 'desk-3'")

    found = copies(cluster.database, KEEP)

    assert {name: int(seconds / 86_400) for name, seconds in found.items()} == {"desk-1": 0, "desk-2": 5}


def test_a_desk_says_that_its_copy_is_whole_once_a_minute_and_only_then(cluster: Cluster) -> None:
    now = [0.0]
    telling = Telling(cluster.connect(), "desk-1", steady=lambda: now[0])
    telling.turned(Turned(is_whole=False))
    before = copies(cluster.database, KEEP)
    telling.turned(Turned(is_whole=True))
    first = cluster.database.rows("select whole from copied")
    now[0] = TELL_SECONDS / 2
    telling.turned(Turned(is_whole=True))
    again = cluster.database.rows("select whole from copied")
    now[0] = TELL_SECONDS
    telling.turned(Turned(is_whole=True))

    assert before == {}
    assert first == again < cluster.database.rows("select whole from copied")


@pytest.mark.parametrize(
    ("days", "levels", "said"),
    [
        ([], ["look"], "kept for 14 days and nowhere else"),
        ([0], ["ok"], "1 desks have what came of deliveries"),
        ([0, 2], ["look"], "the copy of desk-1 was whole 2d ago"),
        ([12, 0], ["act"], "the copy of desk-0 was whole 12d ago"),
        ([0, 20], ["ok"], "1 desks have"),
    ],
)
def test_the_doctor_tells_of_a_desk_that_stands_still_before_its_copy_has_a_hole(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, days: Sequence[int], levels: Sequence[str], said: str
) -> None:
    for number_, ago in enumerate(days):
        tell_copied(cluster.database, f"desk-{number_}")
        cluster.database.rows(
            "update copied set whole = now() - make_interval(days => %s) where desk = %s",
            ago,
            f"desk-{number_}",
        )
    monkeypatch.setenv("ACME_STORE", cluster.url)
    monkeypatch.setattr(doctor_copies, "days_kept", lambda config, clock: KEEP)
    store = StoreSettings(url=Secret(env="ACME_STORE"), schema=cluster.schema)

    found = list(doctor_copies.copied(cast(Any, SimpleNamespace(store=store, replay_clock=None))))

    assert [one.level for one in found] == levels
    assert said in found[0].found


def test_a_worker_tells_how_far_back_receipts_go_and_how_far_behind_desks_are(cluster: Cluster) -> None:
    tell_copied(cluster.database, "desk-1")
    cluster.database.rows("update copied set whole = now() - interval '5 hours'")
    meters = StoreMeters(cluster.connect(), lambda: KEEP)
    meters.sample()

    told = {one.family.name: one.values[()] for one in meters.all if isinstance(one, Gauge)}
    assert told["lendsignal_copies_behind_seconds"] == pytest.approx(5 * 3_600, abs=300)
    assert 86_400 <= told["lendsignal_receipts_oldest_seconds"] <= 2 * 86_400 + 300  # yesterday's


# what else grew


def test_lanes_hours_and_nodes_that_nobody_looks_at_are_forgotten(
    cluster: Cluster, store: SlotDeliveries, single: Single
) -> None:
    changes = Changes()
    changes.lanes = {("acme-ng", 5): (NOW_US - LANE_US - 1, 1), ("acme-ng", 6): (NOW_US - LANE_US, 2)}
    changes.volume = {("acme-ng", 1000): 7, ("acme-ng", 5000): 8, ("other", 999): 9}
    store.commit(changes)
    cluster.database.rows("insert into node values ('gone', 'work', now() - interval '2 days')")
    Forgetting().turn(single, KEEP, NOW_US)

    assert store.last_of("acme-ng", 5) is None
    assert store.last_of("acme-ng", 6) == (NOW_US - LANE_US, 2)
    assert (store.volume("acme-ng", 0), store.volume("other", 0)) == ({5000: 8}, {999: 9})
    assert cluster.database.rows("select name from node where name = 'gone'") == []


# the form before

BEFORE = """
drop table receipt;
drop sequence receipt_id;
create table receipt (
    slot smallint not null, id bigint generated always as identity, low bigint not null,
    high bigint not null, body bytea not null, xid xid8 not null default pg_current_xact_id(),
    primary key (id)
);
create index receipt_span on receipt (low, high);
create index receipt_order on receipt (xid, id);
update shape set version = 3
"""


def test_receipts_in_one_table_are_laid_by_day_with_all_that_is_in_them(server: PostgreSql) -> None:
    with closing(Database(server.plain_url, f"fresh_{token_hex(4)}")) as database:
        prepare(database, 2)
        for statement in BEFORE.split(";\n"):
            database.rows(statement)
        store = SlotDeliveries(database, 2, [0, 1])
        keep(store, number(3))
        keep(store, number(4))
        before = list(store.all_receipts())

        assert prepare(database, 2).before == 3
        keep(store, number(5))
        assert list(store.all_receipts())[:2] == before
        assert [pack for pack, _ in store.all_receipts()] == [1, 2, 3]
        assert told(store) == [number(3), number(4), number(5)]
        assert prepare(database, 2).made == ()
        today = database.row("select (now() at time zone 'utc')::date")
        assert (schema.first_day(database, "receipt"),) == today
        database.rows(f"drop schema {database.schema} cascade")
