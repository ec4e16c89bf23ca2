"""The exam of a desk's copy: a folder that was followed out of a store is the folder that one install would
have written, whatever is killed on the way."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from secrets import randbelow

import pytest
from tests.acme import again, consent_of, event, loan, login, source
from tests.clustered import Clock, Cluster, decide_all, happenings
from tests.copying import Copy, copy_of, numbers, read, told, verdicts
from tests.servers.postgresql import PostgreSql, postgresql

from lendsignal.clock import SystemClock
from lendsignal.decide import Decider
from lendsignal.errors import DataError, LogError, Overtaken
from lendsignal.log import STATES, DataFolder, Log, Quarantined, Wanted, open_log, refuse_damage
from lendsignal.log.copied import copy_of as store_of_copy
from lendsignal.log.copied import folder_delivery, lead, store_delivery, store_record
from lendsignal.log.postgres import schema
from lendsignal.log.postgres.erasing import SlotErasing
from lendsignal.log.postgres.following import Turned, store_word
from lendsignal.log.postgres.moving import move
from lendsignal.log.postgres.schema import prepare
from lendsignal.log.postgres.singles import DESK, Single, led
from lendsignal.model import Event
from lendsignal.plan import Planned, Withdrawn
from lendsignal.role.desk import Leading

POLICY = source(default_dpd=30)


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
    with closing(Cluster(server.plain_url, policy=POLICY)) as one:
        yield one


@pytest.fixture
def copy(cluster: Cluster, tmp_path: Path) -> Iterator[Copy]:
    with closing(copy_of(tmp_path / "desk", cluster)) as one:
        yield one


def straight(path: Path, events: list[Event]) -> Log:
    """The log of one install that took and decided these events."""
    log = open_log(path / "log.sqlite")
    one = Decider(log, POLICY, Clock(), lambda: None)
    log.append(events)
    while one.turn():
        pass
    return log


def same_as(log: Log, folder: DataFolder, users: set[str]) -> None:
    """Asserts that a copy holds what the log of one install holds."""
    copied, sent = read(folder)
    with closing(copied), closing(sent):
        assert told(copied) == told(log)
        assert verdicts(copied) == verdicts(log)
        assert copied.end() == copied.position()
        assert numbers(folder) == list(range(1, copied.end() + 1))
        keys = [f"acme:{user}" for user in users]
        ours, theirs = copied.states(keys), log.states(keys)
        assert ours.keys() == theirs.keys()
        for key, state in theirs.items():
            assert (ours[key].touches, ours[key].ledger) == (state.touches, state.ledger)
            assert (ours[key].seen, ours[key].consent) == (state.seen, state.consent)
            places = [record_told(log, one.record) for one in state.opened]
            assert [record_told(copied, one.record) for one in ours[key].opened] == places
        assert (copied.policy(), copied.cuts()) == (log.policy(), log.cuts())


def record_told(log: Log, number: int) -> str:
    """Which conversion a record planned."""
    record = log.record(number)
    assert isinstance(record, Planned)
    return record.conversion.id


@pytest.mark.parametrize("at_once", [7, 5_000])
def test_a_copy_holds_what_one_install_would_have_decided(
    cluster: Cluster, tmp_path: Path, at_once: int
) -> None:
    seed = randbelow(1_000_000)
    print("seed", seed)
    chance = Random(seed)
    events = happenings(chance, 140, users=17)
    workers = cluster.worker("one"), cluster.worker("two")
    door, at = cluster.door(), 0
    with closing(copy_of(tmp_path / "desk", cluster, events_at_once=at_once)) as copy:
        while at < len(events):
            size = chance.randrange(1, 60)
            door.append(events[at : at + size])
            at += size
            chance.choice(workers).turn()
            copy.follower.turn()
        decide_all(*workers)
        found = copy.follow()

        assert (found.behind, found.is_whole) == (0, True)
        with closing(straight(tmp_path, events)) as log:
            same_as(log, copy.folder, {one.user_id for one in events})


def test_a_copy_that_is_killed_at_any_instant_loses_nothing_and_has_nothing_twice(
    cluster: Cluster, tmp_path: Path
) -> None:
    seed = randbelow(1_000_000)
    print("seed", seed)
    chance = Random(seed)
    events = happenings(chance, 160, users=13)
    folder, worker, door = tmp_path / "desk", cluster.worker(), cluster.door()
    for at in range(0, len(events), 30):
        door.append(events[at : at + 30])
        decide_all(worker)
        _killed_at_work(folder, cluster, chance)
    with closing(copy_of(folder, cluster)) as copy:
        copy.follow()

        with closing(straight(tmp_path, events)) as log:
            same_as(log, copy.folder, {one.user_id for one in events})


def _killed_at_work(folder: Path, cluster: Cluster, chance: Random) -> None:
    """A desk that takes a few events a turn is killed somewhere behind one of its first turns."""
    heard, said = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            copy = copy_of(folder, cluster, events_at_once=4)
            while True:
                copy.follower.turn()
                os.write(said, b".")
        finally:
            os._exit(1)
    os.close(said)
    turns = chance.randrange(1, 6)
    while turns > 0:
        found = os.read(heard, turns)
        assert found, "the desk ended by itself"
        turns -= len(found)
    threading.Event().wait(chance.random() * 0.02)  # for nothing: it says at which instant the kill comes
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    os.close(heard)


def test_rules_that_every_slot_is_told_of_stand_once_in_a_copy(cluster: Cluster, copy: Copy) -> None:
    cluster.door().append([login(0, "a"), loan(1)])
    decide_all(worker := cluster.worker())
    copy.follow()
    cluster.put_policy(source(default_dpd=90))
    decide_all(worker)
    copy.follow()

    rules = [fact.event.event_id for fact in copy.log.scan() if fact.event.brand == "lendsignal"]
    assert len(rules) == 2
    assert copy.log.policy() == cluster.rules.wanted("policy")
    assert copy.log.policy_source(copy.log.policy() or "") == source(default_dpd=90)


def test_a_copy_that_begins_late_has_everybody_who_was_there_before(cluster: Cluster, tmp_path: Path) -> None:
    events = happenings(Random(4), 120, users=30)
    cluster.door().append(events)
    decide_all(cluster.worker())
    with closing(copy_of(tmp_path / "desk", cluster)) as copy:
        copy.follow()

        with closing(straight(tmp_path, events)) as log:
            same_as(log, copy.folder, {one.user_id for one in events})


def test_a_user_who_becomes_another_person_changes_both_in_the_copy(cluster: Cluster, copy: Copy) -> None:
    door, worker = cluster.door(), cluster.worker()
    for number, person in enumerate(("p1", "p2")):
        door.append([again(login(number, "a"), person_id=person, event_id=f"login-{number}")])
        door.append([loan(number + 0.5, f"L{number}")])
        decide_all(worker)
        copy.follow()

    states = cluster.states()
    assert {":p1", ":p2"} & set(states)
    for key in (key for key in states if key.startswith(":")):
        found = copy.log.state(key)
        assert found is not None
        assert found.ledger == states[key].ledger


def test_a_copy_of_a_store_that_an_install_was_moved_to_keeps_the_order_of_the_install(
    server: PostgreSql, tmp_path: Path
) -> None:
    events = happenings(Random(8), 100, users=11)
    with closing(Cluster(server.plain_url)) as cluster:
        with closing(straight(tmp_path, events[:60])) as log:
            before = [fact.event.event_id for fact in log.scan()]
        move(cluster.database, DataFolder(tmp_path), 14)
        cluster.door().append(events[60:])
        decide_all(cluster.worker())
        with closing(copy_of(tmp_path / "desk", cluster, events_at_once=30)) as copy:
            copy.follow()

            assert [fact.event.event_id for fact in copy.log.scan()][: len(before)] == before
            (tmp_path / "straight").mkdir()
            with closing(straight(tmp_path / "straight", events)) as log:
                same_as(log, copy.folder, {one.user_id for one in events})


# what a copy refuses


def test_the_folder_of_an_install_is_not_made_a_copy(cluster: Cluster, tmp_path: Path) -> None:
    straight(tmp_path, [login(0, "a"), loan(1)]).close()

    with pytest.raises(LogError, match="an install's own"):
        copy_of(tmp_path, cluster)
    with closing(open_log(tmp_path / "log.sqlite", read_only=True)) as log:
        assert log.end() == 3
    assert store_of_copy(tmp_path / "log.sqlite") is None


def test_an_install_does_not_decide_or_send_over_a_copy(cluster: Cluster, copy: Copy) -> None:
    copy.follow()

    with pytest.raises(LogError, match="a desk's copy"):
        refuse_damage(copy.folder)


def test_a_copy_of_one_store_does_not_follow_another(
    server: PostgreSql, cluster: Cluster, copy: Copy
) -> None:
    copy.follow()
    with closing(Cluster(server.plain_url)) as other, pytest.raises(LogError, match="another store"):
        copy_of(copy.folder.path, other)


def test_a_copy_that_stood_still_until_days_were_dropped_says_so_and_takes_nothing(
    cluster: Cluster, tmp_path: Path
) -> None:
    door, worker = cluster.door(), cluster.worker()
    with closing(copy_of(tmp_path / "desk", cluster)) as copy:
        door.append([login(0, "a"), loan(1)])
        decide_all(worker)
        copy.follow()
        door.append([loan(2, "L2")])
        decide_all(worker)
        _let_days_pass(cluster)
        door.append([loan(3, "L3")])
        decide_all(worker)
        end = copy.log.end()

        for _ in range(2):
            with pytest.raises(DataError, match=r"1 decided events went out .* empty its data folder"):
                copy.follower.turn()
        assert copy.log.end() == end
    with closing(copy_of(tmp_path / "anew", cluster)) as anew:
        anew.follow()
        assert [fact.event.event_id for fact in anew.log.scan()] == ["disbursed-L3"]
        assert {one.conversion.name for _, one in anew.log.records(0, 99) if isinstance(one, Planned)}
        assert anew.log.state("acme:u1") is not None


def _let_days_pass(cluster: Cluster) -> None:
    """What is there becomes of three days ago, and is dropped."""
    for table in ("event", "verdict", "record"):
        for (part,) in cluster.database.rows(
            "select inhrelid::regclass::text from pg_inherits where inhparent = %s::regclass", table
        ):
            cluster.database.rows(f"drop table {part}")
        cluster.database.rows(
            f"create table {table}_29990101 partition of {table} for values from (minvalue) to ('2999-01-01')"
        )


def test_a_copy_that_is_ahead_of_its_store_says_that_the_store_was_put_back(
    cluster: Cluster, copy: Copy
) -> None:
    cluster.door().append([login(0, "a"), loan(1)])
    decide_all(cluster.worker())
    copy.follow()
    cluster.database.rows("update cursor set place = place - 1 where place > 1")

    with pytest.raises(DataError, match="put back"):
        copy.follower.turn()


# who was erased


def test_who_was_erased_from_the_store_is_gone_from_the_copy_too(cluster: Cluster, copy: Copy) -> None:
    door, worker = cluster.door(), cluster.worker()
    events = [*happenings(Random(3), 60, users=5), again(login(70, "z"), user_id="gone", event_id="gone-1")]
    events.append(again(loan(71, "gone-L"), user_id="gone", event_id="gone-2"))
    door.append(events)
    decide_all(worker)
    copy.follow()
    before = copy.log.end()

    erasing = SlotErasing(cluster.connect(), cluster.slots)
    erasing.keep_out("acme", "gone", "r1", 1)
    door.append([again(loan(72, "gone-M"), user_id="gone", event_id="gone-3")])
    erasing.strike("acme", "gone")
    decide_all(worker)
    copy.follow()

    assert copy.log.state("acme:gone") is None
    assert not any("gone" in (one.event.user_id, one.event.loan_id) for one in copy.log.scan())
    records = dict(copy.log.records(0, 100_000))
    assert not any(
        one.conversion.origin.user_id == "gone" for one in records.values() if not isinstance(one, Withdrawn)
    )
    assert copy.log.end() == before + 1
    assert numbers(copy.folder) == list(range(1, before + 2))
    assert b"gone" not in copy.folder.log.read_bytes()
    assert copy.log.tally() == cluster.tally()


def test_who_is_erased_before_his_events_are_copied_never_comes_in(cluster: Cluster, copy: Copy) -> None:
    door, worker = cluster.door(), cluster.worker()
    door.append([again(login(0, "z"), user_id="gone"), again(loan(1), user_id="gone"), loan(2, "L2")])
    decide_all(worker)
    # Kept out, and not struck yet: the store still has all of it.
    SlotErasing(cluster.connect(), cluster.slots).keep_out("acme", "gone", "r1", 1)
    copy.follow()

    assert copy.log.state("acme:gone") is None
    users = {one.event.user_id for one in copy.log.scan()}
    assert users == {"u1", "lendsignal"}
    kinds = [type(one) for _, one in copy.log.records(0, 99)]
    assert Withdrawn in kinds
    assert b"gone" not in copy.folder.log.read_bytes()


def test_who_was_erased_and_let_in_again_counts_from_then_on(cluster: Cluster, copy: Copy) -> None:
    door, worker = cluster.door(), cluster.worker()
    erasing = SlotErasing(cluster.connect(), cluster.slots)
    door.append([login(0, "a"), loan(1)])
    decide_all(worker)
    copy.follow()
    erasing.keep_out("acme", "u1", "r1", 1)
    erasing.strike("acme", "u1")
    copy.follow()
    erasing.allow_again("acme", "u1", 0)
    door.append([login(10, "b"), loan(11, "L2")])
    decide_all(worker)
    copy.follow()

    assert [one.event.event_id for one in copy.log.scan() if one.event.user_id == "u1"] == [
        "logged_in@10",
        "disbursed-L2",
    ]
    assert copy.log.state("acme:u1") is not None


# what doors refused


def test_what_doors_refused_comes_along_and_follows_what_becomes_of_it(cluster: Cluster, copy: Copy) -> None:
    refused = [
        Quarantined(received_us=n, source="api", field="amount", rule=f"rule {n}", body=b"{}", kept=b"k")
        for n in range(3)
    ]
    cluster.door().refuse(refused)
    copy.follow()
    cluster.database.rows(
        "update quarantine set state = 'dropped', who = 'ada', at_us = 5 where rule = %s", b"rule 1"
    )
    cluster.database.rows("delete from quarantine where rule = %s", b"rule 2")
    copy.follow()

    found = {
        one.rule: (one.state, one.who, one.kept) for one in copy.log.quarantine.find(Wanted(states=STATES), 9)
    }
    assert found == {"rule 0": ("open", None, b"k"), "rule 1": ("dropped", "ada", b"k")}


# numbers


def test_a_delivery_of_the_copy_is_found_in_the_store_and_the_other_way_round(
    cluster: Cluster, copy: Copy
) -> None:
    cluster.door().append([login(0, "a"), loan(1), consent_of(2, True), event("registered", 3)])
    decide_all(cluster.worker())
    copy.follow()
    there = {one.conversion.id: number for number, one in cluster.records() if isinstance(one, Planned)}

    for number, one in copy.log.records(0, 99):
        assert isinstance(one, Planned)
        assert store_record(copy.folder.log, number) == there[one.conversion.id]
        delivery = store_delivery(copy.folder.log, number * 64 + 1)
        assert delivery == there[one.conversion.id] * 64 + 1
        assert folder_delivery(copy.folder.log, delivery) == number * 64 + 1
    assert store_delivery(copy.folder.log, 99 << 30) is None


# tables of before


def test_receipts_of_before_a_store_was_brought_up_stand_before_all_that_come_later(
    cluster: Cluster,
) -> None:
    cluster.database.rows("alter table receipt drop column xid")
    cluster.database.rows("update shape set version = 2")
    cluster.database.rows("insert into receipt (slot, low, high, body) values (0, 1, 1, ''), (0, 2, 2, '')")
    cluster.database.rows("alter table shape drop column word")

    prepare(cluster.database, cluster.slots)
    cluster.database.rows("insert into receipt (slot, low, high, body) values (0, 3, 3, '')")

    found = cluster.database.rows("select low, xid = '0' from receipt order by xid, id")
    assert found == [(1, True), (2, True), (3, False)]
    assert len(store_word(cluster.database)) == 32


# who leads


def test_one_desk_leads_from_its_first_whole_copy_on_and_another_only_when_it_is_gone(
    cluster: Cluster, tmp_path: Path
) -> None:
    moment, whole, half = [0.0], Turned(is_whole=True), Turned(has_more=True)
    folders = [DataFolder(tmp_path / name) for name in ("one", "other")]
    one, other = (
        Leading(Single(cluster.connect(), DESK, folder.path.name), folder, steady=lambda: moment[0])
        for folder in folders
    )

    def turned(*turns: tuple[Leading, Turned]) -> list[str | None]:
        """Who leads after these turns, as each folder says."""
        moment[0] += 10.0
        for leading, found in turns:
            leading.turned(found)
        now_us = SystemClock().now_us()
        return [None if (one := lead(folder, now_us)) is None else one.holder for folder in folders]

    with other, one:
        assert turned((one, half), (other, whole)) == [None, "other"]
        assert turned((one, whole), (other, half)) == [None, "other"]
        ours = lead(folders[1], SystemClock().now_us())
        cluster.database.rows("update single set until = clock_timestamp() - interval '1 second'")
        assert turned((one, whole)) == ["one", "other"]  # who froze does not know yet, and is refused
        assert ours is not None
        with pytest.raises(Overtaken), led(cluster.database, ours).transaction():
            pass
        assert turned((other, whole), (one, whole)) == ["one", None]
    assert turned() == [None, None]
    assert cluster.database.rows("select 1 from single where until > clock_timestamp()") == []
