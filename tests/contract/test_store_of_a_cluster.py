"""What nodes share beside events and deliveries: the tables' form, keys, single rights, who was erased."""

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from secrets import token_hex

import pytest
from tests.acme import again, loan, login, source, us
from tests.clustered import Cluster, decide_all
from tests.servers.postgresql import PostgreSql, postgresql

from lendsignal.errors import LogError, Overtaken
from lendsignal.log import ApiKey, Decided, KeyUse, Quarantined
from lendsignal.log.deliveries import Changes, Open, Stage
from lendsignal.log.postgres import Database, SlotLog, prepare, schema, slots_of, tend_days
from lendsignal.log.postgres.deliveries import SlotDeliveries
from lendsignal.log.postgres.erasing import SlotErasing, Struck
from lendsignal.log.postgres.keys import KeyRows
from lendsignal.log.postgres.quarantine import forget_refused
from lendsignal.log.postgres.rows import pack_whole_records
from lendsignal.log.postgres.singles import Single
from lendsignal.log.postgres.standing import standing
from lendsignal.log.slots import slot_of
from lendsignal.model import EventType
from lendsignal.plan import Planned, Withdrawn, delivery_id, record_id
from lendsignal.role.chores import Chore, Chores

HOUR = timedelta(hours=1)
NOW_US = us(60)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql(autovacuum="off", fsync="off") as one:
        yield one


@pytest.fixture
def cluster(server: PostgreSql) -> Iterator[Cluster]:
    with closing(Cluster(server.plain_url, policy=source(default_dpd=30))) as one:
        yield one


@pytest.fixture
def empty(server: PostgreSql) -> Iterator[Database]:
    """A schema that is not there yet."""
    with closing(Database(server.plain_url, f"fresh_{token_hex(4)}")) as one:
        yield one
        one.rows(f"drop schema if exists {one.schema} cascade")


# the tables' form


def test_a_dry_run_tells_what_would_be_made_and_makes_nothing(empty: Database) -> None:
    told = prepare(empty, 4, dry_run=True)

    with pytest.raises(LogError, match="store prepare"):
        slots_of(empty)
    assert told.before is None
    assert {"event", "cursor", "open", "single"} <= set(told.made)
    assert prepare(empty, 4) == told
    assert slots_of(empty) == 4


def test_preparing_again_changes_nothing(empty: Database) -> None:
    first = prepare(empty, 4)
    again_ = prepare(empty, 4)

    assert (again_.before, again_.version, again_.made) == (first.version, first.version, ())


def test_tables_of_a_version_before_are_brought_up_with_all_that_is_in_them(
    empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(empty, 4)
    empty.rows("update shape set version = 1")
    empty.rows("drop table single")
    empty.rows("alter table key_use drop column requests")
    empty.rows("insert into imported values ('f1', 'loans.csv', 7, false)")
    monkeypatch.setattr(
        schema, "UPGRADES", {2: ["alter table key_use add column requests bigint not null default 3"]}
    )

    with pytest.raises(LogError, match="form 1"):
        slots_of(empty)
    told = prepare(empty, 4)

    assert (told.before, told.version, told.made) == (1, schema.VERSION, ("single",))
    assert empty.rows("select rows from imported") == [(7,)]
    assert empty.rows("select requests from key_use") == []


def test_tables_of_a_younger_version_are_refused(empty: Database) -> None:
    prepare(empty, 4)
    empty.rows("update shape set version = 99")

    with pytest.raises(LogError, match="install the version that made"):
        prepare(empty, 4)
    with pytest.raises(LogError, match="install the version that made"):
        slots_of(empty)


def test_a_store_on_a_server_whose_numbers_are_behind_its_rows_is_not_worked_with(cluster: Cluster) -> None:
    """As where a dump of it was loaded into a fresh server."""
    assert slots_of(cluster.database) == cluster.slots
    cluster.database.rows("update cursor set xid = '4294967296' where slot = 1")

    with pytest.raises(LogError, match="behind those of its rows"):
        slots_of(cluster.database)


# keys


def test_a_key_is_good_and_ended_on_every_node_alike(cluster: Cluster) -> None:
    here, there = KeyRows(cluster.connect()), KeyRows(cluster.connect())
    before = there.version()
    key = ApiKey(sha256="a1" * 32, source="backend", made_us=11, expires_us=22, scopes=("events", "read"))
    here.add(key)

    assert there.all() == [key]
    assert there.version() > before
    there.end(key.sha256, 90)
    there.end(key.sha256, 50)
    there.end(key.sha256, 70)
    assert here.ends() == {key.sha256: 50}


def test_the_use_of_a_key_adds_up_over_all_doors(cluster: Cluster) -> None:
    here, there = KeyRows(cluster.connect()), KeyRows(cluster.connect())
    here.note({"a1": KeyUse(5, 2), "b2": KeyUse(9, 1)})
    there.note({"a1": KeyUse(3, 4)})

    assert here.uses() == {"a1": KeyUse(5, 6), "b2": KeyUse(9, 1)}


# what one node does for all


def test_one_node_has_a_right_and_keeps_it_until_it_is_silent(cluster: Cluster) -> None:
    one, other = (Single(cluster.connect(), "days", name) for name in ("one", "other"))

    assert one.take()
    assert not other.take()
    assert one.take()
    cluster.database.rows("update single set until = clock_timestamp() - interval '1 second'")
    assert other.take()
    assert not one.take()


def test_who_was_overtaken_writes_nothing_under_its_right(cluster: Cluster) -> None:
    one, other = (Single(cluster.connect(), "days", name) for name in ("one", "other"))
    assert one.take()
    cluster.database.rows("update single set until = clock_timestamp() - interval '1 second'")
    assert other.take()

    with pytest.raises(Overtaken, match="days"), one.transaction() as session:
        session.rows("insert into note values ('one', '')")
    with other.transaction() as session:
        session.rows("insert into note values ('other', '')")

    assert cluster.database.rows("select name from note") == [("other",)]


def test_what_is_let_go_is_free_at_once(cluster: Cluster) -> None:
    one, other = (Single(cluster.connect(), "days", name) for name in ("one", "other"))
    assert one.take()
    one.let_go()

    assert other.take()


def test_a_chore_is_done_once_for_all_when_it_is_due(cluster: Cluster) -> None:
    did: list[str] = []

    def node(name: str) -> Chores:
        return Chores(cluster.connect(), name, [Chore("days", HOUR, lambda single: did.append(name))])

    nodes = [node("one"), node("other")]

    assert [one.turn() for one in nodes] == [["days"], []]
    assert [one.turn() for one in nodes] == [[], []]
    cluster.database.rows(
        "update single set done = done - interval '2 hours', until = now() - interval '1 s'"
    )
    assert [one.turn() for one in reversed(nodes)] == [["days"], []]
    assert did == ["one", "other"]


def test_a_chore_that_fails_is_tried_again_and_keeps_no_other_from_being_done(cluster: Cluster) -> None:
    tries: list[int] = []

    def fails(single: Single) -> None:
        tries.append(1)
        raise LogError("not today")

    nodes = Chores(cluster.connect(), "one", [Chore("bad", HOUR, fails), Chore("good", HOUR, lambda _: None)])

    assert [nodes.turn(), nodes.turn()] == [["good"], []]
    assert len(tries) == 2


# how it stands


def test_a_cluster_tells_what_waits_and_which_slots_nobody_has(cluster: Cluster) -> None:
    cluster.door().append([login(0, "a", user_id=f"u{n}") for n in range(6)])
    before = standing(cluster.database, cluster.slots, NOW_US)
    worker = cluster.worker("one")
    decide_all(worker)
    after = standing(cluster.database, cluster.slots, NOW_US)

    # The policy that was put in force is an event of each of the four slots.
    assert (before.events, before.decided, before.unheld) == (10, 0, {"work": 4, "send": 4})
    assert (after.events, after.decided, after.unheld) == (10, 10, {"work": 0, "send": 4})
    assert (before.nodes, after.nodes) == ({}, {"work": 1})


# what is kept


def test_a_day_stays_until_its_records_are_read_and_nothing_of_it_is_open(cluster: Cluster) -> None:
    for table in ("event", "record"):
        cluster.database.rows(
            f"create table {table}_20200101 partition of {table}"
            " for values from ('2020-01-01') to ('2020-01-02')"
        )
    seq = 1 * cluster.slots  # the first event of slot 0
    number = record_id(seq, 0)
    body = pack_whole_records([Withdrawn(number, "made up", None, 0)])
    cluster.database.rows("insert into record values (0, %s, %b, '2020-01-01')", seq, body)
    sending = SlotDeliveries(cluster.connect(), cluster.slots, [0])
    changes = Changes()
    changes.keep(Open("af", delivery_id(number, 0), Stage.HELD, NOW_US))

    unread = tend_days(cluster.database, keep=14)
    sending.commit(changes)
    cluster.database.rows("update sending set position = %s where slot = 0", number)
    held = tend_days(cluster.database, keep=14)
    cluster.database.rows("delete from open")

    assert (unread, held) == ([], [])
    assert tend_days(cluster.database, keep=14) == ["event_20200101", "record_20200101"]


def test_what_was_refused_goes_by_its_age(cluster: Cluster) -> None:
    day_us = 86_400_000_000
    cluster.door().refuse([refused(NOW_US - 31 * day_us), refused(NOW_US - 29 * day_us)])
    single = Single(cluster.connect(), "quarantine", "one")
    assert single.take()

    assert forget_refused(single, NOW_US, timedelta(days=30)) == 1
    assert [one.received_us for one in cluster.door().quarantined()] == [NOW_US - 29 * day_us]


def refused(received_us: int) -> Quarantined:
    return Quarantined(received_us=received_us, source="backend", field="type", rule="is needed", body=b"{}")


# who was erased


def erased(cluster: Cluster, user: str = "u1") -> Struck:
    erasing = SlotErasing(cluster.connect(), cluster.slots)
    erasing.keep_out("acme", user, "er-1", NOW_US)
    return erasing.strike("acme", user)


def left(cluster: Cluster, word: str) -> list[str]:
    """The tables in which that text still stands somewhere."""
    columns = cluster.database.rows(
        "select table_name::text, column_name::text, data_type::text from information_schema.columns"
        " where table_schema = %s and data_type in ('bytea', 'text')",
        cluster.schema,
    )
    found: set[str] = set()
    for table, column, kind in columns:
        raw = column if kind == "bytea" else f"convert_to({column}, 'utf8')"
        where = f"position(%b::bytea in {raw}) > 0"
        if cluster.database.row(f"select 1 from {table} where {where} limit 1", word.encode()):
            found.add(table)
    return sorted(found)


USER = "user-88231-of-nobody-else"


def test_nothing_of_an_erased_user_is_left_in_any_table(cluster: Cluster) -> None:
    door, worker = cluster.door(), cluster.worker("one")
    door.append(
        [
            login(0, "a", user_id=USER, person_id=f"p-{USER}"),
            login(1, "b", user_id="u2", event_id="of-u2"),
            loan(2, "L1", user_id=USER, event_id=f"loan-{USER}"),
        ]
    )
    decide_all(worker)
    assert {"state"} < set(left(cluster, USER))

    struck = erased(cluster, USER)

    assert left(cluster, USER) == []
    assert (struck.events, struck.states, struck.records) == (2, 1, 1)
    assert door.find("of-u2")
    assert [one for _, one in cluster.records() if isinstance(one, Planned)] == []
    assert any(isinstance(one, Withdrawn) for _, one in cluster.records())


def test_nothing_of_an_erased_user_comes_in_at_any_door(cluster: Cluster) -> None:
    here, there, worker = cluster.door(), cluster.door(), cluster.worker("one")
    here.append([login(0, "a", user_id=USER)])
    there.append([login(1, "a", user_id="u2")])  # both have looked who is kept out
    erased(cluster, USER)
    for n, door in enumerate((here, there)):
        door.append([login(2 + n, "a", user_id=USER), login(4 + n, "b", user_id=f"v{n}")])
    decide_all(worker)

    assert left(cluster, USER) == []
    assert {"acme:v0", "acme:v1", "acme:u2"} <= cluster.states().keys()
    assert cluster.tally()["event", EventType.LOGGED_IN.value] == 3


def test_an_append_under_way_when_a_user_is_kept_out_is_through_before(cluster: Cluster) -> None:
    """Keeping out waits for it; so `strike` finds what it brought."""
    slow, door = cluster.connect(), cluster.door()
    erasing = SlotErasing(cluster.connect(), cluster.slots)
    kept_out = threading.Event()

    def keep_out() -> None:
        erasing.keep_out("acme", USER, "er-1", NOW_US)
        kept_out.set()

    with slow.transaction() as session:
        session.rows("select erasures_seen()")
        other = threading.Thread(target=keep_out)
        other.start()
        assert not kept_out.wait(0.3)
        assert cluster.database.rows("select 1 from kept_out") == []
    assert kept_out.wait(60)
    other.join()
    door.append([login(0, "a", user_id=USER)])

    assert left(cluster, USER) == []


def test_a_worker_that_was_just_deciding_of_the_user_brings_nothing_back(cluster: Cluster) -> None:
    struck: list[Struck] = []

    class Overtaken(SlotLog):
        """Between its reading and its commit the user is erased."""

        def commit(self, decided: Decided) -> None:
            if not struck and f"acme:{USER}" in decided.states:
                struck.append(erased(cluster, USER))
            super().commit(decided)

    cluster.door().append([login(0, "a", user_id=USER), loan(1, "L1", user_id=USER, event_id=f"loan-{USER}")])
    decide_all(cluster.worker("one", kind=Overtaken))

    assert struck[0].events == 2
    assert f"acme:{USER}" not in cluster.states()
    assert left(cluster, USER) == []


def test_what_is_open_ends_and_the_books_still_balance(cluster: Cluster) -> None:
    door, worker = cluster.door(), cluster.worker("one")
    door.append([login(0, "a", user_id=USER), loan(2, "L1", user_id=USER, event_id=f"loan-{USER}")])
    decide_all(worker)
    (number,) = [
        number
        for number, one in cluster.records()
        if isinstance(one, Planned) and one.conversion.name == "disbursement"
    ]
    slot = slot_of(f"acme:{USER}", cluster.slots)
    sending = SlotDeliveries(cluster.connect(), cluster.slots, [slot])
    waits, flies = number * 64, number * 64 + 1
    changes = Changes()
    changes.keep(Open("af", waits, Stage.WAITING, NOW_US))
    changes.keep(Open("af", flies, Stage.CLAIMED, NOW_US))
    changes.tally = {("af", "disbursement", "planned", ""): 2}
    sending.commit(changes)
    struck = erased(cluster, USER)

    assert struck.deliveries == 2
    assert sending.waiting() == {}
    assert sending.tally() == {
        ("af", "disbursement", "planned", ""): 2,
        ("af", "disbursement", "skipped", "suppressed"): 1,
        ("af", "disbursement", "dead", "unknown"): 1,
    }


def test_an_erasure_done_again_finds_nothing_more(cluster: Cluster) -> None:
    cluster.door().append([login(0, "a", user_id=USER)])
    decide_all(cluster.worker("one"))

    assert erased(cluster, USER).events == 1
    assert erased(cluster, USER) == Struck()


def test_who_is_allowed_again_comes_in_with_what_is_new_alone(cluster: Cluster) -> None:
    door = cluster.door()
    erased(cluster, USER)
    allowed_us = int(login(10, "a").occurred_at.timestamp() * 1e6)
    erasing = SlotErasing(cluster.connect(), cluster.slots)

    assert erasing.allow_again("acme", USER, allowed_us)
    door.append([login(5, "a", user_id=USER), again(login(11, "a", user_id=USER), event_id="new")])
    decide_all(cluster.worker("one"))

    assert cluster.tally()["event", EventType.LOGGED_IN.value] == 1
    assert f"acme:{USER}" in cluster.states()


def test_what_went_is_noted_and_says_nothing_of_whom(cluster: Cluster) -> None:
    erasing = SlotErasing(cluster.connect(), cluster.slots)
    erasing.note("er-1", 11, "ada", None, Struck())
    erasing.note("er-1", 11, "ada", 22, Struck(events=3))

    assert erasing.noted() == [("er-1", 11, "ada", 22, Struck(events=3))]
