"""The exam of a log that is a Kafka topic, as doors and workers use it; broker and PostgreSQL are genuine."""

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path
from random import Random
from secrets import randbelow
from typing import Any

import msgspec
import pytest
from tests.acme import again, loan, login, source
from tests.cluster.topic_storm import ShortStorm
from tests.clustered import Clock, Cluster, happenings, lives
from tests.contract import test_log as exam
from tests.contract import test_senders_of_a_cluster as senders
from tests.contract import test_verbs_of_a_cluster as verbs
from tests.copying import copy_of, numbers
from tests.noded import topic_words
from tests.running import borrowing
from tests.scripted import Platform
from tests.servers.kafka import Broker, Brokers, kafka
from tests.servers.postgresql import PostgreSql, postgresql
from tests.several import Several
from tests.topical import PATIENCE, TopicCluster, reaching, settle
from tests.whole_topic import WholeTopic, fresh_topic

from lendsignal import plan
from lendsignal.decide import Decider, decider
from lendsignal.decide.slots import SlotDecider
from lendsignal.errors import DataError, LogError
from lendsignal.log import Decided, open_log
from lendsignal.log.cluster import door_of, rules_of, slots_of_worker, standing_still, waiting_in_topic
from lendsignal.log.kafka import TopicDoor, TopicSlots, prepare_topic
from lendsignal.log.kafka.looking import undecided
from lendsignal.log.postgres import Database, Leases, prepare, schema
from lendsignal.log.postgres.erasing import SlotErasing
from lendsignal.log.slots import slot_of
from lendsignal.log.store import StoreSettings
from lendsignal.model import Event, Secret
from lendsignal.plan import Planned, PolicySource

ASKED_OF_SENDERS = (
    "test_every_delivery_is_sent_once_by_whoever_has_its_slot",
    "test_a_verdict_that_comes_later_is_asked_for_by_whoever_has_the_slot_then",
)
"""It is the same sender on any log: what it reads was decided out of a topic."""

log, played, store_secrets, platform_secrets = exam.log, senders.played, verbs.secrets, senders.secrets
globals().update({name: getattr(senders, name) for name in ASKED_OF_SENDERS})
for other in (exam, verbs):
    globals().update({name: test for name, test in vars(other).items() if name.startswith("test_")})

STREAM = """
[pull.stream]
kind       = "kafka"
brokers    = ["{broker}"]
topic      = "{topic}"
tls        = false
send_since = 2020-01-01T00:00:00Z
"""

OLD, NEW = source(send={"disbursement": "ev_old"}), source(default_dpd=30)


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[PostgreSql, Broker]]:
    with kafka() as broker, postgresql(fsync="off") as server:
        yield server, broker


@pytest.fixture(scope="module", autouse=True)
def few_days() -> Iterator[None]:
    """Tables of fewer days beforehand: making them is most of what a fresh store costs."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(schema, "DAYS_AHEAD", 0)
        yield


@pytest.fixture
def broker(servers: tuple[PostgreSql, Broker]) -> Broker:
    return servers[1]


@pytest.fixture
def cluster(servers: tuple[PostgreSql, Broker]) -> Iterator[TopicCluster]:
    server, broker = servers
    with closing(TopicCluster(server.plain_url, broker.address, policy=NEW)) as one:
        yield one


@pytest.fixture(scope="module")
def tables(servers: tuple[PostgreSql, Broker], few_days: None) -> Iterator[Database]:
    """Those beside a topic of one partition."""
    with closing(Database(servers[0].plain_url, "exam")) as one:
        prepare(one, 1)
        yield one


@pytest.fixture
def opened(tables: Database, servers: tuple[PostgreSql, Broker]) -> Iterator[Callable[[], WholeTopic]]:
    """What the exam of every log engine asks for."""
    server, broker = servers
    with fresh_topic(tables, server.plain_url, broker.address) as one:
        yield one


@pytest.fixture
def install(servers: tuple[PostgreSql, Broker], tmp_path: Path) -> Iterator[verbs.Install]:
    """What the tests of a cluster's verbs ask for."""
    server, broker = servers
    with closing(TopicCluster(server.plain_url, broker.address, policy=source())) as one:
        topic = topic_words(broker.address, one.topic.topic)
        yield verbs.installed(tmp_path, one, settle, topic)


class SeveralOverATopic(Several):
    """The senders of a cluster whose workers read a topic."""

    servers = ""

    def _made(self, url: str, slots: int, policy: PolicySource) -> Cluster:
        return TopicCluster(url, self.servers, slots, policy)

    def _decide(self) -> None:
        assert isinstance(self.cluster, TopicCluster)
        settle(self.cluster, self._worker)


@pytest.fixture
def several(
    servers: tuple[PostgreSql, Broker], played: Platform, monkeypatch: pytest.MonkeyPatch
) -> Iterator[senders.Makes]:
    """What the tests of senders ask for."""
    monkeypatch.setattr(SeveralOverATopic, "servers", servers[1].address)
    with ExitStack() as opened:
        yield lambda *outlets, **settings: opened.enter_context(
            closing(SeveralOverATopic(servers[0].plain_url, played.url, *outlets, **settings))
        )


def embedded(
    folder: Path, events: list[Event]
) -> tuple[dict[str, list[Any]], set[str], dict[tuple[str, str], int]]:
    """What a data folder makes of the same events: lives, people with a state, counts."""
    log = open_log(folder / "log.sqlite")
    one = Decider(log, NEW, Clock(), lambda: None)
    log.append(events)
    while one.turn():
        pass
    found = lives(log.records(0, 1_000_000))
    people = {key for key in (f"acme:{event.user_id}" for event in events) if log.state(key)}
    tally = log.tally()
    log.close()
    return found, people, tally


def planned(cluster: TopicCluster) -> list[Planned]:
    return [record for _, record in cluster.records() if isinstance(record, Planned)]


def disbursed(cluster: TopicCluster) -> list[str | None]:
    """The loans of planned disbursements, in the order of their records."""
    return [one.conversion.loan_id for one in planned(cluster) if one.conversion.name == "disbursement"]


def user_of_slot(slot: int) -> str:
    """The first user whose slot of four that is."""
    return next(name for n in range(1_000) if slot_of(f"acme:{(name := f'u{n}')}", 4) == slot)


# deciding


def test_workers_of_one_group_decide_of_every_user_what_a_data_folder_decides(
    cluster: TopicCluster, tmp_path: Path
) -> None:
    seed = 21
    print("seed", seed)
    chance = Random(seed)
    events = happenings(chance, 240, users=17)
    doors = [cluster.door(), cluster.door()]
    workers = [cluster.worker("one"), cluster.worker("two")]
    at = 0
    while at < len(events):
        size = chance.randrange(1, 60)
        chance.choice(doors).append(events[at : at + size])
        at += size
        for worker in chance.sample(workers, chance.randrange(3)):
            worker.turn()
    settle(cluster, *workers, shares=(2, 2))

    expected, people, tally = embedded(tmp_path, events)
    assert lives(cluster.records()) == expected
    assert set(cluster.states()) == people
    assert cluster.tally() == tally


def test_a_worker_that_joins_in_the_middle_of_a_batch_gets_its_share_and_nothing_is_decided_twice(
    cluster: TopicCluster, tmp_path: Path
) -> None:
    """The group moves slots while the first one holds a batch that it has decided and not committed."""
    events = happenings(Random(6), 120, users=9)
    second = cluster.worker("second")

    def joins() -> None:
        for _ in range(40):
            second.turn()
            threading.Event().wait(0.01)

    first = frozen(cluster, "first", joins)
    cluster.door().append(events[:80])
    settle(cluster, first, second)
    cluster.door().append(events[80:])
    settle(cluster, first, second, shares=(2, 2))

    expected, _, tally = embedded(tmp_path, events)
    assert (lives(cluster.records()), cluster.tally()) == (expected, tally)


def test_what_is_told_twice_at_two_doors_is_decided_once_and_both_can_be_looked_up(
    cluster: TopicCluster,
) -> None:
    cluster.door().append([login(-5, "a"), loan(0)])
    worker = cluster.worker()
    settle(cluster, worker)
    cluster.door().append([loan(0)])
    settle(cluster, worker)

    found = cluster.door().find("disbursed-L1")
    assert [str(verdict) for _, verdict in found] == ["taken", "duplicate"]
    assert [fact.event.loan_id for fact, _ in found] == ["L1", "L1"]
    assert found[0][0].seq < found[1][0].seq
    assert disbursed(cluster) == ["L1"]


def test_an_event_that_cannot_be_decided_stops_no_slot(
    cluster: TopicCluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def decide(state: Any, sequence: int, one: Event, *rest: Any) -> Any:
        if one.loan_id == "L2":
            raise ZeroDivisionError("score 733.25 of +2348012345678")
        return plan.decide(state, sequence, one, *rest)

    monkeypatch.setattr(decider, "decide", decide)
    cluster.door().append([login(-5, "a"), loan(0, "L1"), loan(1, "L2"), loan(2, "L3")])
    with caplog.at_level(logging.DEBUG):
        settle(cluster, cluster.worker())

    assert disbursed(cluster) == ["L1", "L3"]
    assert [str(verdict) for _, verdict in cluster.door().find("disbursed-L2")] == ["failed"]
    assert "733.25" not in caplog.text


def test_what_is_no_event_of_ours_goes_to_the_quarantine_and_stops_no_slot(
    cluster: TopicCluster, broker: Broker
) -> None:
    (slot,) = {slot_of("acme:u1", 4)}
    elsewhere = user_of_slot((slot + 1) % 4)
    door, put = cluster.door(), broker.produce
    put(cluster.topic.topic, b"{broken", partition=slot)
    worker = cluster.worker()
    settle(cluster, worker)
    alone = len(door.quarantined())
    door.append([login(-5, "a")])
    misplaced = msgspec.msgpack.encode(again(loan(0, "L9"), user_id=elsewhere))
    put(cluster.topic.topic, misplaced, None, b"", partition=slot)
    door.append([loan(0)])
    settle(cluster, worker)

    assert alone == 1
    assert [(one.source, one.rule) for one in door.quarantined()] == [
        ("topic", "is no event of ours"),
        ("topic", "is empty"),
        ("topic", "stands in a partition that is not its person's slot"),
        ("topic", "is no event of ours"),
    ]
    assert door.quarantined()[-1].body == b"{broken"
    assert disbursed(cluster) == ["L1"]


# offsets


def test_offsets_may_have_holes_and_end_in_one(cluster: TopicCluster) -> None:
    """Of a transaction its marker takes an offset; of one that was taken back all messages do."""
    from confluent_kafka import Producer

    slot = slot_of("acme:u1", 4)
    producer = Producer(
        {"bootstrap.servers": cluster.servers, "transactional.id": "somebody", "log_level": 0}
    )
    producer.init_transactions(PATIENCE)
    for names, end in ((("L1", "L2"), "commit"), (("L3",), "abort"), (("L4",), "commit")):
        producer.begin_transaction()
        for name in names:
            producer.produce(cluster.topic.topic, msgspec.msgpack.encode(loan(0, name)), partition=slot)
        producer.flush(PATIENCE)
        getattr(producer, f"{end}_transaction")(PATIENCE)
    del producer
    cluster.put_policy(OLD)  # stands behind the last hole
    worker = cluster.worker()
    until(lambda: worker.turn() or not cluster.database.rows("select 1 from said"))
    ends = cluster.asking.ends([slot])
    cluster.door().append([login(-5, "a")])
    settle(cluster, worker)

    assert ends == {slot: 7}  # four events and three markers
    assert sorted(map(str, disbursed(cluster))) == ["L1", "L2", "L4"]
    assert cluster.rules.wanted("policy") == worker._rules[slot].versions.policy


def test_messages_that_are_delivered_again_are_not_decided_again(cluster: TopicCluster) -> None:
    from confluent_kafka import TopicPartition

    cluster.door().append([login(-5, "a"), loan(0)])
    worker = cluster.worker()
    settle(cluster, worker)
    before = cluster.tally()
    member = worker._log._ours  # type: ignore[attr-defined]
    for slot in range(4):
        member.seek(TopicPartition(cluster.topic.topic, slot, 0))
    cluster.door().append([loan(1, "L2")])
    settle(cluster, worker)

    assert before["event", "disbursed"] == 1
    assert cluster.tally()["event", "disbursed"] == 2
    assert cluster.tally()["verdict", "taken"] == 3


def test_a_slot_whose_next_event_is_gone_from_the_topic_stands_still_and_says_so(
    cluster: TopicCluster, caplog: pytest.LogCaptureFixture
) -> None:
    from confluent_kafka import TopicPartition

    kept, gone = user_of_slot(0), user_of_slot(1)
    cluster.door().append([again(login(-5, "a"), user_id=user) for user in (kept, gone)])
    worker = cluster.worker()
    settle(cluster, worker)
    worker.end()
    cluster.door().append([again(loan(0, f"{user}-1"), user_id=user) for user in (kept, gone)])
    cut = TopicPartition(cluster.topic.topic, 1, 2)
    cluster.asking.admin.delete_records([cut])[cut].result(PATIENCE)
    cluster.door().append([again(loan(1, f"{user}-2"), user_id=user) for user in (kept, gone)])
    another = cluster.worker()

    def is_told() -> bool:
        another.turn()
        return len(disbursed(cluster)) == 2 and "slot 1 stands still" in caplog.text

    until(is_told)

    assert disbursed(cluster) == [f"{kept}-1", f"{kept}-2"]
    assert standing_still(cluster.topic, cluster.database) == [1]
    store = StoreSettings(url=Secret(env="ACME_STORE"), kafka=cluster.topic)
    assert waiting_in_topic(store, cluster.database) == 2  # one is there, and one is gone


def until(happened: Callable[[], bool]) -> None:
    end, breath = time.monotonic() + PATIENCE, threading.Event()
    while not happened():
        assert time.monotonic() < end, "it does not happen"
        breath.wait(0.01)


# fencing


class Frozen(TopicSlots):
    """A worker that freezes with a decided batch in its hands; what happens meanwhile is told by a test."""

    def commit(self, decided: Decided) -> None:
        happen, self.meanwhile = self.meanwhile, lambda: None
        happen()
        super().commit(decided)

    meanwhile: Callable[[], None] = staticmethod(lambda: None)


def frozen(cluster: TopicCluster, name: str, meanwhile: Callable[[], None]) -> SlotDecider:
    """Such a worker, with every slot its own and nothing decided yet but the policy."""
    worker = cluster.worker(name, kind=Frozen)
    settle(cluster, worker, shares=(4,))
    worker._log.meanwhile = meanwhile  # type: ignore[attr-defined]
    return worker


def test_a_worker_that_wakes_after_its_slots_were_taken_commits_nothing(
    cluster: TopicCluster, tmp_path: Path
) -> None:
    """Of two who have one slot, as after a freeze, the later is the one who goes on."""
    events = happenings(Random(3), 60, users=7)
    other = cluster.worker("other", group="nobody-tells-the-zombie")
    zombie = frozen(cluster, "zombie", lambda: settle(cluster, other, shares=(4,)))
    cluster.door().append(events)
    until(lambda: zombie.turn() and cluster.held("other") == 4)

    expected, _, tally = embedded(tmp_path, events)
    assert (lives(cluster.records()), cluster.tally()) == (expected, tally)
    settle(cluster, zombie)
    assert (lives(cluster.records()), cluster.tally()) == (expected, tally)


def test_an_epoch_rises_with_every_owner_so_that_even_the_same_place_is_refused(
    cluster: TopicCluster, caplog: pytest.LogCaptureFixture
) -> None:
    """The taker has decided nothing yet: only the epoch tells the two apart."""
    other = cluster.worker("other", group="nobody-tells-the-zombie")
    other._log.read = lambda limit: []  # type: ignore[method-assign]

    def taken() -> None:
        until(lambda: other.turn() or cluster.held("other") == 4)

    zombie = frozen(cluster, "zombie", taken)
    before = cluster.tally()
    cluster.door().append([login(0, "a")])
    until(lambda: zombie.turn() or "another process decides" in caplog.text)

    assert cluster.tally() == before
    assert cluster.states() == {}


def test_a_commit_whose_answer_was_lost_is_not_decided_a_second_time(
    cluster: TopicCluster, tmp_path: Path
) -> None:
    class Deaf(TopicSlots):
        deaf = False

        def commit(self, decided: Decided) -> None:
            super().commit(decided)
            if self.deaf:
                self.deaf = False
                raise LogError("the connection broke")

    worker = cluster.worker("one", kind=Deaf)
    settle(cluster, worker)
    events = happenings(Random(4), 30, users=3)
    cluster.door().append(events[:15])
    worker._log.deaf = True  # type: ignore[attr-defined]
    with pytest.raises(LogError, match="broke"):
        until(lambda: worker.turn() and False)
    cluster.door().append(events[15:])
    settle(cluster, worker)

    expected, _, tally = embedded(tmp_path, events)
    assert (lives(cluster.records()), cluster.tally()) == (expected, tally)


def test_of_who_was_erased_nothing_follows_from_what_still_stands_in_the_topic(cluster: TopicCluster) -> None:
    cluster.door().append([login(-5, "a"), again(login(-5, "b"), user_id="u2")])
    worker = cluster.worker()
    settle(cluster, worker)
    cluster.door().append([loan(0), again(loan(0, "L2"), user_id="u2")])
    erasing = SlotErasing(cluster.connect(), 4)
    erasing.keep_out("acme", "u1", "receipt-1", Clock().now_us())
    struck = erasing.strike("acme", "u1")
    settle(cluster, worker)

    assert struck.events == 1
    assert set(cluster.states()) == {"acme:u2"}
    assert disbursed(cluster) == ["L2"]
    assert (
        cluster.database.rows("select 1 from event where position('disbursed-L1'::bytea in body) > 0") == []
    )


# rules and timers


def test_a_policy_enters_every_slot_at_one_place_among_its_events(
    servers: tuple[PostgreSql, Broker],
) -> None:
    server, broker = servers
    with closing(TopicCluster(server.plain_url, broker.address, policy=OLD)) as cluster:
        users = [user_of_slot(slot) for slot in range(4)]
        for name, policy in (("L1", NEW), ("L2", None)):
            cluster.door().append(
                [again(login(-9, name), user_id=user, event_id=f"{user}{name}") for user in users]
                + [again(loan(0, f"{name}{user}"), user_id=user, event_id=f"{name}{user}") for user in users]
            )
            if policy is not None:
                cluster.put_policy(policy)
        settle(cluster, cluster.worker(), cluster.worker())

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


def test_without_any_policy_a_worker_says_so_and_decides_nothing(
    servers: tuple[PostgreSql, Broker],
) -> None:
    server, broker = servers
    with closing(TopicCluster(server.plain_url, broker.address)) as cluster:
        cluster.door().append([login(0, "a")])
        worker = cluster.worker()
        with pytest.raises(DataError, match="no policy"):
            until(lambda: worker.turn() and False)

        assert cluster.states() == {}


def test_a_timer_fires_once_and_behind_what_was_durable_before_it(cluster: TopicCluster) -> None:
    """The login came in time, though nobody had decided it yet when the wait was over."""
    cluster.door().append([loan(0)])
    worker = cluster.worker()
    settle(cluster, worker)
    due = worker._log.due(1 << 62)
    zombie = cluster.worker("zombie", group="nobody-tells-the-zombie")
    settle(cluster, zombie)
    cluster.door().append([login(-1, "a")])
    cluster.clock.minutes = 30 * 24 * 60
    settle(cluster, worker)
    zombie._log.fire(due, [decider.pen_expired(*timer) for timer in due])

    assert len(due) == 2  # disbursement and first_loan have no device
    assert cluster.database.rows("select 1 from said") == []
    assert cluster.tally()["event", "lendsignal.pen_expired"] == 2
    assert disbursed(cluster) == ["L1"]
    assert "no_login" not in [entry.skip for one in planned(cluster) for entry in one.entries]


# the door


def test_a_door_takes_events_while_the_database_is_away(cluster: TopicCluster) -> None:
    away = Database("postgresql://lender:hidden-word@127.0.0.1:1/postgres")
    url = Secret(env="ACME_STORE")
    door_of(StoreSettings(url=url, kafka=cluster.topic), away).append([login(-5, "a"), loan(0)])
    settle(cluster, cluster.worker())

    assert disbursed(cluster) == ["L1"]


def test_an_import_moves_on_behind_its_rows(cluster: TopicCluster) -> None:
    door = cluster.door()
    door.append([login(-5, "a"), loan(0)], imported=("hash", "loans.csv", 2, True))

    assert door.imported("hash") == (2, True)
    assert sum(cluster.asking.ends(range(4)).values()) == 2


def test_what_a_frozen_broker_does_not_acknowledge_is_refused_and_said_again_in_order(
    cluster: TopicCluster, broker: Broker
) -> None:
    impatient = reaching(cluster.servers, cluster.topic.topic, timeout=timedelta(seconds=1))
    with closing(TopicDoor(cluster.connect(), impatient, 4)) as door:
        door.append([login(-5, "a")])
        broker.freeze()
        try:
            with pytest.raises(LogError, match="no answer"):
                door.append([loan(0, "L1"), loan(1, "L2")])
        finally:
            broker.thaw()
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                door.append([loan(0, "L1"), loan(1, "L2"), loan(2, "L3")])
                break
            except LogError:
                continue
    settle(cluster, cluster.worker())

    assert disbursed(cluster) == ["L1", "L2", "L3"]
    assert cluster.tally()["event", "disbursed"] >= 3


def test_of_what_waits_in_the_topic_the_youngest_is_looked_through_and_no_event_is_passed_over(
    cluster: TopicCluster, broker: Broker
) -> None:
    settle(cluster, cluster.worker())
    cluster.door().append([loan(n, f"L{n}") for n in range(5)])
    broker.produce(cluster.topic.topic, b"{broken", None, partition=slot_of("acme:u1", 4))
    cluster.door().append([loan(5, "L5")])

    def loans(most: int | None) -> list[str | None]:
        found = undecided(cluster.database, cluster.topic, cluster.asking, most)
        return [one.event.loan_id for one in found]

    assert loans(None) == [f"L{n}" for n in range(6)]
    assert loans(4) == ["L4", "L5"]


def test_a_topic_of_the_lenders_own_is_pulled_into_the_topic_that_is_the_log(
    install: verbs.Install, broker: Broker
) -> None:
    own = broker.make_topic("acme.loans", partitions=2)
    for n in range(6):
        told = [json.dumps(one).encode() for one in borrowing(n)]
        broker.produce(own, *told, key=f"u{n}".encode())
    with install.node.config.open("a") as config:
        config.write(STREAM.format(broker=broker.address, topic=own))
    first, again = (
        json.loads(install.node.verb("pull", "stream", "--once", "--json"))["events"] for _ in range(2)
    )

    assert (first, again) == (12, 12), "the second time nothing is left"
    assert install.decided() == {"taken": 12}
    assert install.users() == {f"acme:u{n}" for n in range(6)}
    assert broker.committed("lendsignal-stream", own) == 12


# the topic


def test_a_topic_that_cannot_be_the_log_is_told_with_what_is_wrong(
    cluster: TopicCluster, broker: Broker
) -> None:
    name = broker.make_topic("odd", partitions=4, retention_ms="1000", cleanup_policy="compact")
    odd = reaching(broker.address, name, replicas=3, in_sync=2)
    found = prepare_topic(cluster.database, odd, 4, dry_run=True)
    with pytest.raises(LogError, match="4 partitions, and there are 8 slots"):
        prepare_topic(cluster.database, odd, 8)

    assert not found.made
    assert [problem.split(":")[0] for problem in found.problems] == [
        "odd has 1 copies of a partition, and 3 are wanted",
        "min.insync.replicas is 1, and 2 are wanted",
        "cleanup.policy is compact",
        "retention.ms is 1000, which is less than keep_for = 14 days, 0",
        "max.message.bytes is 1048588",
    ]


def test_a_topic_that_was_made_anew_under_its_name_is_not_read(cluster: TopicCluster, broker: Broker) -> None:
    cluster.door().append([login(0, "a")])
    worker = cluster.worker()
    settle(cluster, worker)
    worker.end()
    admin, name = cluster.asking.admin, cluster.topic.topic
    admin.delete_topics([name])[name].result(PATIENCE)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            broker.make_topic(name, partitions=4)
            break
        except Exception:  # it is going still
            continue

    with pytest.raises(LogError, match="not the one that the slots were decided from"):
        cluster.worker().turn()
    with pytest.raises(LogError, match="mean nothing in this one"):
        prepare_topic(cluster.database, cluster.topic, 4)


def test_events_that_wait_in_postgresql_are_decided_before_a_topic_becomes_the_log(
    cluster: TopicCluster,
) -> None:
    cluster.database.rows("insert into event (slot, name, body) values (0, 1, %b)", b"waits")

    with pytest.raises(LogError, match="1 events wait in PostgreSQL"):
        prepare_topic(cluster.database, cluster.topic, 4)


def test_a_node_that_is_configured_for_postgresqls_log_is_refused(cluster: TopicCluster) -> None:
    plain = StoreSettings(url=Secret(env="ACME_STORE"), slots=4)
    database = cluster.connect()

    for opened in (
        lambda: door_of(plain, database),
        lambda: rules_of(plain, database),
        lambda: slots_of_worker(plain, database, Leases(database, "one"), 4),
    ):
        with pytest.raises(LogError, match="is a topic"):
            opened()


def test_a_door_puts_nothing_where_nobody_reads_as_far_as_the_store_says(
    cluster: TopicCluster, broker: Broker
) -> None:
    url, other = Secret(env="ACME_STORE"), broker.make_topic("another", partitions=4)
    with pytest.raises(LogError, match="is read by nobody"):
        door_of(StoreSettings(url=url, kafka=reaching(broker.address, other)), cluster.database)
    cluster.database.rows("delete from topic")
    with pytest.raises(LogError, match="lendsignal store prepare"):
        door_of(StoreSettings(url=url, kafka=cluster.topic), cluster.database)


# real processes


def test_kills_zombies_and_a_frozen_broker_lose_double_and_disorder_nothing(
    servers: tuple[PostgreSql, Broker], tmp_path: Path
) -> None:
    """Two doors and two workers as processes; `make cluster-test LOG=kafka` goes on, with three brokers."""
    server, broker = servers
    seed = randbelow(2**31)
    print("seed", seed)
    storm = ShortStorm(server, Brokers([broker]), tmp_path, seed, events=800)
    try:
        storm.rage(0.5, print)
        proof = storm.reckoning()
    finally:
        storm.close()

    assert (proof.lost, proof.doubled, proof.disordered) == (0, 0, 0)
    assert proof.events >= 800
    assert proof.kills >= 4


# a desk


def test_a_desk_copies_what_is_decided_over_a_topic(cluster: TopicCluster, tmp_path: Path) -> None:
    events = happenings(Random(31), 150, users=13)
    door, worker = cluster.door(), cluster.worker()
    with closing(copy_of(tmp_path / "desk", cluster, events_at_once=40)) as copy:
        for at in range(0, len(events), 60):
            door.append(events[at : at + 60])
            settle(cluster, worker)
            copy.follower.turn()
        copy.follow()

        expected, people, tally = embedded(tmp_path, events)
        assert lives(copy.log.records(0, 1_000_000)) == expected
        assert copy.log.tally() == tally
        assert copy.log.states(people).keys() == people
        assert numbers(copy.folder) == list(range(1, copy.log.end() + 1))
        found = [fact.event.event_id for fact in copy.log.scan() if fact.event.brand == "acme"]
        assert sorted(found) == sorted(event.event_id for event in events)
