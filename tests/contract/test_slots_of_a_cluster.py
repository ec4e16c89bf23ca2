"""The exam of the log on PostgreSQL as workers use it: slots, leases, epochs, and what is safe to read."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import psycopg
import pytest
from tests.acme import DAY, again, event, loan, login, source
from tests.clustered import Clock, Cluster, decide_all, happenings, lives
from tests.servers.postgresql import PostgreSql, postgresql

from lendsignal import plan
from lendsignal.decide import Decider, decider
from lendsignal.decide.slots import SlotDecider
from lendsignal.errors import DataError, LogError
from lendsignal.log import Decided, Quarantined, open_log
from lendsignal.log.postgres import Database, SlotLog, prepare, slots_of, tend_days
from lendsignal.log.slots import SLOTS, slot_of
from lendsignal.model import Event
from lendsignal.plan import Planned, UserState, person_state_key

OLD, NEW = source(send={"disbursement": "ev_old"}), source(default_dpd=30)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    # Its own housekeeping writes too, and what writes holds reading back for a moment.
    with postgresql(autovacuum="off", fsync="off") as one:
        yield one


@pytest.fixture
def cluster(server: PostgreSql) -> Iterator[Cluster]:
    with closing(Cluster(server.plain_url, policy=NEW)) as one:
        yield one


def users_of_slot(slot: int, n: int, slots: int = 4) -> list[str]:
    """The first so many users whose slot that is."""
    found: list[str] = []
    number = 0
    while len(found) < n:
        if slot_of(f"acme:u{number}", slots) == slot:
            found.append(f"u{number}")
        number += 1
    return found


def embedded(
    folder: Path, events: list[Event]
) -> tuple[dict[str, list[Any]], set[str], dict[tuple[str, str], int]]:
    """What a data folder makes of the same events: lives, people with a state, counts."""
    log = open_log(folder / "log.sqlite")

    one = Decider(log, NEW, Clock(), lambda: None)
    log.append(events)
    while one.turn():
        pass
    found = log.records(0, 1_000_000)
    people = {key for key in (f"acme:{event.user_id}" for event in events) if log.state(key)}
    tally = log.tally()
    log.close()
    return lives(found), people, tally


# where events go


def test_a_slot_follows_from_the_key_alone_and_from_nothing_that_may_change() -> None:
    """The last byte of what `printf acme:u1 | b2sum -l 64` prints is the slot of 256."""
    assert SLOTS == 256
    assert [slot_of(key) for key in ("acme:u1", "acme:u2", ":p1")] == [0xBD, 0xE8, 0x99]


def test_users_fall_into_all_slots_alike() -> None:
    counted = Counter(slot_of(f"acme:{number}") for number in range(256 * 100))

    assert len(counted) == 256
    assert min(counted.values()) > 50  # 100 each, five sigma either way
    assert max(counted.values()) < 170


def test_tables_keep_the_number_of_slots_that_they_were_made_with(cluster: Cluster) -> None:
    assert slots_of(cluster.database) == 4

    with pytest.raises(LogError, match="made for"):
        prepare(cluster.database, 8)


def test_a_schema_without_our_tables_says_so(server: PostgreSql) -> None:
    with (
        closing(Database(server.plain_url, "nothing_here")) as database,
        pytest.raises(LogError, match="no tables"),
    ):
        slots_of(database)


def test_a_database_that_is_away_is_an_error_of_ours_without_its_password() -> None:
    away = Database("postgresql://lender:hidden-word@127.0.0.1:1/postgres")
    with pytest.raises(LogError) as caught:
        away.rows("select 1")

    assert "hidden-word" not in str(caught.value)


# deciding


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_many_workers_decide_of_every_user_what_a_data_folder_decides(
    cluster: Cluster, tmp_path: Path, seed: int
) -> None:
    print("seed", seed)
    chance = Random(seed)
    events = happenings(chance, 240, users=17)
    doors = [cluster.door(), cluster.door()]
    workers = [cluster.worker("one"), cluster.worker("two")]
    at = 0
    while at < len(events):
        size = chance.randrange(1, 25)
        chance.choice(doors).append(events[at : at + size])
        at += size
        for worker in chance.sample(workers, chance.randrange(3)):
            worker.turn()
    decide_all(*workers)

    expected, people, tally = embedded(tmp_path, events)
    assert lives(cluster.records()) == expected
    assert set(cluster.states()) == people
    assert cluster.tally() == tally
    assert (cluster.held("one"), cluster.held("two")) == (2, 2)


def test_a_second_run_over_the_same_log_gives_the_same_numbers_records_and_states(
    cluster: Cluster, server: PostgreSql
) -> None:
    cluster.door().append(happenings(Random(5), 120, users=9))
    decide_all(cluster.worker())

    with closing(Cluster(server.plain_url)) as other:
        for kind, version, body in cluster.database.rows("select kind, version, body from rule"):
            other.database.rows("insert into rule values (%s, %s, %b)", kind, version, body)
            other.database.rows("insert into wanted values (%s, %s)", kind, version)
        for slot, name, body in cluster.database.rows("select slot, name, body from event order by xid, id"):
            other.database.rows("insert into event (slot, name, body) values (%s, %s, %b)", slot, name, body)
        decide_all(other.worker(), other.worker())

        assert other.records() == cluster.records()
        assert other.states() == cluster.states()


def test_what_is_told_twice_at_two_doors_is_decided_once_and_both_can_be_looked_up(cluster: Cluster) -> None:
    cluster.door().append([login(-5, "a"), loan(0)])
    worker = cluster.worker()
    decide_all(worker)
    cluster.door().append([loan(0)])
    waiting = cluster.door().find("disbursed-L1")
    decide_all(worker)

    assert [str(verdict) for _, verdict in waiting] == ["taken", "None"]
    found = cluster.door().find("disbursed-L1")
    assert [str(verdict) for _, verdict in found] == ["taken", "duplicate"]
    assert [fact.seq for fact, _ in found] == [fact.seq for fact, _ in waiting]
    assert [one.conversion.name for one in planned(cluster)].count("disbursement") == 1


def planned(cluster: Cluster) -> list[Planned]:
    return [record for _, record in cluster.records() if isinstance(record, Planned)]


def test_an_event_that_cannot_be_decided_stops_no_slot(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def decide(state: Any, sequence: int, one: Event, *rest: Any) -> Any:
        if one.loan_id == "L2":
            raise ZeroDivisionError("score 733.25 of +2348012345678")
        return plan.decide(state, sequence, one, *rest)

    monkeypatch.setattr(decider, "decide", decide)
    cluster.door().append([login(-5, "a"), loan(0, "L1"), loan(1, "L2"), loan(2, "L3")])
    with caplog.at_level(logging.DEBUG):
        decide_all(cluster.worker())

    assert [one.conversion.loan_id for one in planned(cluster) if one.conversion.name == "disbursement"] == [
        "L1",
        "L3",
    ]
    assert [str(verdict) for _, verdict in cluster.door().find("disbursed-L2")] == ["failed"]
    assert "733.25" not in caplog.text


def test_an_id_may_hold_what_no_text_of_the_database_can(cluster: Cluster) -> None:
    door, odd = cluster.door(), "u\x00\U0001f600'\\"
    door.append([again(one, user_id=odd, person_id=odd) for one in (login(-5, "a"), loan(0))])
    door.append([again(loan(0), user_id=f"{odd}2")])
    door.refuse([Quarantined(received_us=1, source=odd, field=odd, rule=odd, body=b"{}")])
    decide_all(cluster.worker())

    assert {f"acme:{odd}", f":{odd}", f"acme:{odd}2"} == set(cluster.states())
    assert [one.field for one in door.quarantined()] == [odd]
    assert [person for _, _, person in cluster.worker()._log.due_in([0, 1, 2, 3], 1 << 62, 9)] == [
        f"acme:{odd}2"
    ] * 2


def test_one_busy_user_fills_batches_and_keeps_nobody_else_waiting(cluster: Cluster) -> None:
    (busy,), (quiet,) = users_of_slot(0, 1), users_of_slot(3, 1)
    cluster.door().append(
        [again(event("overdue", n, loan_id="L1", dpd=n), user_id=busy) for n in range(3_000)]
    )
    cluster.door().append([again(login(0, "a"), user_id=quiet)])
    worker = cluster.worker()

    worker.turn()

    assert f"acme:{quiet}" in cluster.states()
    decide_all(worker)
    assert cluster.tally()["event", "overdue"] == 3_000


# what is safe to read


def test_what_commits_late_is_read_late_and_never_passed_over(cluster: Cluster, server: PostgreSql) -> None:
    """Rows are numbered in one order, transactions in another, and both commit in a third."""
    worker = cluster.worker()
    decide_all(worker)
    insert = "insert into event (slot, name, body) values (%s, 1, %s)"
    bodies = {name: msgspec.msgpack.encode(loan(0, name)) for name in ("L1", "L2", "L3")}
    slot = slot_of("acme:u1", 4)
    with raw(server, cluster) as first, raw(server, cluster) as second:
        first.execute("select pg_current_xact_id()")  # the older transaction …
        second.execute("select pg_current_xact_id()")
        second.execute(insert, (slot, bodies["L2"]))  # … has the younger row
        first.execute(insert, (slot, bodies["L1"]))
        first.commit()
        decide_all(worker)
        seen_first = decided_loans(cluster)
        second.commit()
        decide_all(worker)
        seen_then = decided_loans(cluster)
        first.execute(insert, (slot, bodies["L3"]))
        cluster.door().append([loan(0, "L4")])
        decide_all(worker)
        seen_while_open = decided_loans(cluster)
        first.commit()
    decide_all(worker)

    assert seen_first == ["L1"]
    assert seen_then == seen_while_open == ["L1", "L2"]
    assert decided_loans(cluster) == ["L1", "L2", "L3", "L4"]


def test_a_worker_with_nothing_to_do_asks_one_question_for_all_its_slots(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lendsignal.log.postgres.slots.TRUSTED_SECONDS", 3_600.0)
    worker = cluster.worker()
    decide_all(worker)
    for _ in range(3):
        worker.turn()
    asked: list[str] = []
    rows = Database.rows

    def noted(database: Database, query: str, *values: Any) -> list[tuple[Any, ...]]:
        asked.append(query)
        return rows(database, query, *values)

    monkeypatch.setattr(Database, "rows", noted)
    for _ in range(5):
        worker.turn()
    looked_into_slots = [query for query in asked if "cross join lateral" in query]
    cluster.door().append([loan(0)])

    assert not looked_into_slots
    assert worker.turn(), "an event is there at the next look"


def raw(server: PostgreSql, cluster: Cluster) -> "psycopg.Connection[Any]":
    """Somebody else's connection to the same tables."""
    return psycopg.connect(server.plain_url, options=f"-c search_path={cluster.schema}")


def decided_loans(cluster: Cluster) -> list[str | None]:
    """The loans of a user without a device, in the order in which they were decided."""
    (state,) = cluster.states().values() if cluster.states() else (UserState("acme:u1"),)
    return [one.conversion.loan_id for one in state.pen if one.conversion.name == "disbursement"]


# fencing


class Frozen(SlotLog):
    """A worker that freezes with a decided batch in its hands; what happens meanwhile is told by a test."""

    def commit(self, decided: Decided) -> None:
        happen, self.meanwhile = self.meanwhile, lambda: None
        happen()
        super().commit(decided)

    meanwhile: Callable[[], None] = staticmethod(lambda: None)


def frozen(cluster: Cluster, name: str, meanwhile: Callable[[], None]) -> SlotDecider:
    """Such a worker, with every slot leased and nothing decided yet."""
    worker = cluster.worker(name, kind=Frozen)
    decide_all(worker)
    worker._log.meanwhile = meanwhile  # type: ignore[attr-defined]
    return worker


def test_a_worker_that_wakes_after_its_slots_were_taken_commits_nothing(
    cluster: Cluster, tmp_path: Path
) -> None:
    events = happenings(Random(3), 60, users=7)

    def taken_over() -> None:
        cluster.silence("zombie")
        decide_all(other)

    other = cluster.worker("other")
    zombie = frozen(cluster, "zombie", taken_over)
    cluster.door().append(events)
    zombie.turn()

    expected, _, tally = embedded(tmp_path, events)
    assert lives(cluster.records()) == expected
    decide_all(zombie, other)
    assert (lives(cluster.records()), cluster.tally()) == (expected, tally)
    assert cluster.held("zombie") == cluster.held("other") == 2


def test_an_epoch_rises_with_every_owner_so_that_even_the_same_place_is_refused(cluster: Cluster) -> None:
    """The taker has decided nothing yet: only the epoch tells the two apart."""

    def taken() -> None:
        cluster.silence("zombie")
        other.turn()

    other = cluster.worker("other")
    zombie = frozen(cluster, "zombie", taken)
    cluster.door().append([login(0, "a")])
    before = cluster.tally()
    other._log.read = lambda limit: []  # type: ignore[method-assign]
    zombie.turn()

    assert cluster.tally() == before
    assert cluster.held("other") == 4


def test_a_worker_whose_session_was_ended_within_its_transaction_keeps_nothing_of_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What happens to one that freezes there for longer than `idle_in_transaction_session_timeout`."""
    from lendsignal.log.postgres import slots

    worker = cluster.worker()
    decide_all(worker)
    cluster.door().append([login(0, "a")])

    def ended(self: Any, session: Any, decided: Any) -> None:
        pid = session.row("select pg_backend_pid()")[0]
        cluster.database.rows("select pg_terminate_backend(%s)", pid)
        session.rows("select 1")

    with monkeypatch.context() as patched:
        patched.setattr(slots.SlotLog, "_keep_states", ended)
        with pytest.raises(LogError):
            worker.turn()
    assert cluster.states() == {}

    decide_all(worker)
    assert list(cluster.states()) == ["acme:u1"]


def test_a_commit_whose_answer_was_lost_is_not_decided_a_second_time(
    cluster: Cluster, tmp_path: Path
) -> None:
    class Deaf(SlotLog):
        deaf = False

        def commit(self, decided: Decided) -> None:
            super().commit(decided)
            if self.deaf:
                self.deaf = False
                raise LogError("the connection broke")

    worker = cluster.worker("one", kind=Deaf)
    decide_all(worker)
    events = happenings(Random(4), 30, users=3)
    cluster.door().append(events[:15])
    worker._log.deaf = True  # type: ignore[attr-defined]
    with pytest.raises(LogError):
        worker.turn()
    cluster.door().append(events[15:])
    decide_all(worker)

    expected, _, tally = embedded(tmp_path, events)
    assert (lives(cluster.records()), cluster.tally()) == (expected, tally)


def test_slots_are_shared_fairly_and_taken_over_when_a_worker_ends_or_falls_silent(cluster: Cluster) -> None:
    one, two, three = (cluster.worker(name) for name in ("one", "two", "three"))
    shares: list[Any] = []
    decide_all(one)
    shares.append(cluster.held("one"))
    decide_all(one, two)
    shares.append((cluster.held("one"), cluster.held("two")))
    one.end()
    decide_all(two)
    shares.append(cluster.held("two"))
    cluster.silence("two")
    decide_all(three)
    shares.append(cluster.held("three"))

    assert shares == [4, (2, 2), 4, 4]


# what users of several slots share


def test_users_of_one_person_in_two_slots_see_each_others_loans_whoever_decides_first(
    cluster: Cluster,
) -> None:
    """Two workers decide at the same time: the slower one's word rests on what is not so any more."""
    (mine,), (others,) = users_of_slot(0, 1), users_of_slot(3, 1)
    first = [again(one, user_id=mine, person_id="p1") for one in (login(-9, "a"), loan(0, "L1"))]
    then = [again(one, user_id=others, person_id="p1") for one in (login(-8, "b"), loan(1, "L2"))]

    def the_other_first() -> None:
        cluster.door().append(first)
        decide_all(other)

    workers = {name: cluster.worker(name, kind=Frozen) for name in ("one", "two")}
    decide_all(*workers.values())
    owners = dict(cluster.database.rows("select slot, owner from cursor"))
    other, slow = workers[owners[0]], workers[owners[3]]
    assert other is not slow
    slow._log.meanwhile = the_other_first  # type: ignore[attr-defined]
    cluster.door().append(then)
    decide_all(slow)
    decide_all(*workers.values())

    names = {
        one.conversion.loan_id: one.conversion.name
        for one in planned(cluster)
        if one.conversion.name in ("first_loan", "repeat_loan")
    }
    assert names == {"L1": "first_loan", "L2": "repeat_loan"}
    assert person_state_key("p1") in cluster.states()


# rules


def test_a_policy_enters_every_slot_at_one_place_among_its_events(server: PostgreSql) -> None:
    with closing(Cluster(server.plain_url, policy=OLD)) as cluster:
        users = [users_of_slot(slot, 1)[0] for slot in range(4)]
        for name, policy in (("L1", NEW), ("L2", None)):
            cluster.door().append(
                [again(login(-9, name), user_id=user, event_id=f"{user}{name}") for user in users]
            )
            cluster.door().append(
                [again(loan(0, f"{name}{user}"), user_id=user, event_id=f"{name}{user}") for user in users]
            )
            if policy is not None:
                cluster.put_policy(policy)
        decide_all(cluster.worker(), cluster.worker())

        told = Counter(
            (one.conversion.origin.user_id, str(one.conversion.loan_id)[:2], entry.name)
            for one in planned(cluster)
            if one.conversion.name == "disbursement"
            for entry in one.entries
            if entry.destination == "appsflyer-ng"
        )
        assert told == {
            key: 1 for user in users for key in ((user, "L1", "ev_old"), (user, "L2", "ev_disbursement"))
        }


def test_the_policy_that_is_in_force_is_not_put_again(cluster: Cluster) -> None:
    before = cluster.database.row("select count(*) from event")

    cluster.put_policy(NEW)

    assert cluster.database.row("select count(*) from event") == before == (4,)


def test_without_any_policy_a_worker_says_so_and_decides_nothing(server: PostgreSql) -> None:
    with closing(Cluster(server.plain_url)) as cluster:
        cluster.door().append([login(0, "a")])
        with pytest.raises(DataError, match="no policy"):
            cluster.worker().turn()

        assert cluster.states() == {}


# timers


def test_a_timer_fires_once_though_two_workers_hold_it_for_theirs(cluster: Cluster) -> None:
    cluster.door().append([loan(0)])
    one = cluster.worker("one")
    decide_all(one)
    due = one._log.due(1 << 62)
    cluster.clock.minutes = 30 * DAY
    zombie = cluster.worker("zombie")._log
    events = [event("lendsignal.pen_expired", 0) for _ in due]
    decide_all(one)
    before = cluster.database.row("select count(*) from event")

    zombie.fire(due, events)

    assert len(due) == 2  # disbursement and first_loan have no device
    assert cluster.database.row("select count(*) from event") == before
    assert cluster.tally()["event", "lendsignal.pen_expired"] == 2
    assert [one.entries[0].skip for one in planned(cluster)] == ["no_login"] * 2


# days


def test_days_are_made_ahead_and_old_ones_dropped_once_they_are_decided(cluster: Cluster) -> None:
    for table in ("event", "record"):
        cluster.database.rows(
            f"create table {table}_20200101 partition of {table}"
            " for values from ('2020-01-01') to ('2020-01-02')"
        )
    cluster.database.rows(
        "insert into event (slot, name, body, day) values (%s, 1, %b, '2020-01-01')",
        slot_of("acme:u1", 4),
        msgspec.msgpack.encode(login(0, "a")),
    )
    waiting = tend_days(cluster.database, keep=14)
    decide_all(cluster.worker())

    assert waiting == []
    assert tend_days(cluster.database, keep=14) == ["event_20200101", "record_20200101"]
    assert list(cluster.states()) == ["acme:u1"]
    ahead = cluster.database.row("select count(*) from pg_inherits where inhparent = 'event'::regclass")
    assert ahead == (9,)  # yesterday, today and seven more
