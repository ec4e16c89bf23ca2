"""The exam of a move: what a data folder decided and kept goes on in a cluster as if nothing had happened."""

import json
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from tests.acme import again, event, loan, login, source, us
from tests.clustered import Clock, Cluster, decide_all, happenings, lives
from tests.servers.postgresql import PostgreSql, postgresql

from lendsignal.cli import doctor_moving
from lendsignal.cli.main import main
from lendsignal.decide import Decider
from lendsignal.errors import DataError, LogError
from lendsignal.log import (
    ApiKey,
    Changes,
    DataFolder,
    Dead,
    Halt,
    KeyUse,
    Log,
    Offer,
    Open,
    Pause,
    Quarantined,
    Receipt,
    Stage,
    Stop,
    open_deliveries,
    open_keys,
    open_log,
    open_orders,
    open_shelf,
    refuse_damage,
)
from lendsignal.log.postgres import moving, schema
from lendsignal.log.postgres.deliveries import SlotDeliveries
from lendsignal.log.postgres.keys import KeyRows
from lendsignal.log.postgres.moving import looked_at, move
from lendsignal.log.postgres.relay import DoorShelf, SlotShelf
from lendsignal.log.postgres.standing import standing
from lendsignal.log.slots import sequence_of, slot_of
from lendsignal.log.store import StoreSettings
from lendsignal.model import Event, Secret, person_key
from lendsignal.plan import Planned, Rebound, Verdict, delivery_id, event_of

POLICY = source(default_dpd=30)
KEEP = 14


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
    with closing(Cluster(server.plain_url)) as one:
        yield one


def decided(log: Log, events: list[Event]) -> None:
    """Takes and decides events as a data folder does."""
    one = Decider(log, POLICY, Clock(), lambda: None)
    log.append(events)
    while one.turn():
        pass


def folder_of(path: Path, events: list[Event]) -> DataFolder:
    """A data folder that has decided these events."""
    folder = DataFolder(path)
    with closing(open_log(folder.log)) as log:
        decided(log, events)
    return folder


def known_of(folder: DataFolder) -> tuple[dict[str, list[Any]], dict[tuple[str, str], int]]:
    """Everybody's life and the counts, as the folder has them."""
    with closing(open_log(folder.log)) as log:
        return lives(log.records(0, 1_000_000)), dict(log.tally())


@pytest.mark.parametrize("seed", [21, 22])
def test_a_user_goes_on_in_the_cluster_where_the_folder_ended(
    cluster: Cluster, tmp_path: Path, seed: int
) -> None:
    print("seed", seed)
    events = happenings(Random(seed), 240, users=17)
    half = Random(seed).randrange(60, 200)
    folder = folder_of(tmp_path / "moved", events[:half])
    straight = folder_of(tmp_path / "straight", events)

    moved = move(cluster.database, folder, KEEP)
    cluster.door().append(events[half:])
    decide_all(cluster.worker("one"), cluster.worker("two"))

    assert moved.tables["state"].rows == len({person_key(one) for one in events[:half]})
    expected, tally = known_of(straight)
    assert lives(cluster.records()) == expected
    assert cluster.tally() == tally


def test_what_was_told_to_the_folder_is_a_duplicate_at_the_door_of_the_cluster(
    cluster: Cluster, tmp_path: Path
) -> None:
    events = [login(0, "old"), event("registered", 1), loan(2), event("app_opened", 3)]
    move(cluster.database, folder_of(tmp_path, events), KEEP)
    before = cluster.records()

    cluster.door().append(events)
    decide_all(cluster.worker())

    assert cluster.records() == before
    for one in events:
        verdicts = [verdict for _, verdict in cluster.door().find(one.event_id)]
        assert verdicts == [Verdict.TAKEN, Verdict.DUPLICATE]


def test_an_event_that_the_folder_refused_keeps_its_verdict_and_all_keep_their_places(
    cluster: Cluster, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path, [loan(2), loan(2), again(loan(2), user_id="u2")])
    with closing(open_log(folder.log)) as log:
        expected = [
            (sequence_of(fact.seq, slot_of(person_key(fact.event), 4), 4), verdict)
            for fact, verdict in log.find("disbursed-L1")
        ]

    move(cluster.database, folder, KEEP)

    found = [(fact.seq, verdict) for fact, verdict in cluster.door().find("disbursed-L1")]
    assert sorted(found) == sorted(expected)
    assert [verdict for _, verdict in expected] == [Verdict.TAKEN, Verdict.DUPLICATE, Verdict.TAKEN]


def test_the_numbers_of_what_comes_later_lie_behind_all_that_was_moved(
    cluster: Cluster, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path, happenings(Random(3), 60, users=9))
    with closing(open_log(folder.log)) as log:
        end = log.end()

    move(cluster.database, folder, KEEP)
    for user in (f"new{number}" for number in range(20)):
        cluster.door().append([again(login(900, "a"), user_id=user), again(loan(901), user_id=user)])
    decide_all(cluster.worker())

    assert standing(cluster.database, 4, 0).decided == end + 40
    later = [
        event_of(number)[0]
        for number, one in cluster.records()
        if isinstance(one, Planned) and one.conversion.origin.user_id.startswith("new")
    ]
    assert len(later) >= 20
    assert min(later) >= sequence_of(end + 1, 0, 4)


def test_a_move_that_is_killed_at_any_table_goes_on_and_ends_the_same(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path, happenings(Random(5), 150, users=11))
    monkeypatch.setattr(moving, "AT_ONCE", 20)
    straight = looked_at(folder, 4, KEEP, moving._today(cluster.database))

    class Killed(BaseException):
        pass

    kills = told = 0

    def killing(name: str, done: int, whole: int) -> None:
        nonlocal kills, told
        told += 1
        if told == 4 * (kills + 1):  # each run comes a little further
            kills, told = kills + 1, 0
            raise Killed

    found = None
    while found is None:
        try:
            found = move(cluster.database, folder, KEEP, killing)
        except Killed:
            assert cluster.held("move") == 4
    monkeypatch.undo()

    assert kills > 5

    assert found.tables == straight.tables
    assert found.is_new
    assert not move(cluster.database, folder, KEEP).is_new
    assert cluster.held("move") == 0


# deliveries


def with_deliveries(folder: DataFolder) -> dict[str, str]:
    """A sender's file beside the log: one delivery of each standing, by its conversion's id."""
    with closing(open_log(folder.log)) as log, closing(open_deliveries(folder.deliveries)) as store:
        planned = [(number, one) for number, one in log.records(0, 1_000) if isinstance(one, Planned)]
        first, second, third, fourth, *rest = [(delivery_id(number, 0), one) for number, one in planned]
        changes = Changes()
        changes.keep(Open("appsflyer-ng", first[0], Stage.HELD, us(1), 3, 1, planned[0][0], reason="unknown"))
        changes.keep(
            Open("appsflyer-ng", second[0], Stage.CLAIMED, us(2), 1, lane=77, stamp_us=us(3), again=True)
        )
        changes.receipts.append(
            Receipt(third[0], "appsflyer-ng", "accepted", "", 1, us(4), us(5), 200, b"ok")
        )
        changes.receipts.append(Receipt(fourth[0], "appsflyer-ng", "dead", "gone \0", 2, us(6), us(7), 400))
        changes.dead.append(
            Dead(fourth[0], "appsflyer-ng", "disbursement", us(7), "gone \0", b"request", b"answer")
        )
        changes.lanes["appsflyer-ng", 77] = (us(3), second[0])
        changes.told["appsflyer-ng", third[0]] = us(5)
        changes.volume["appsflyer-ng", 491_000] = 4
        changes.agreed["appsflyer-ng"] = (True, us(9))
        changes.paused["appsflyer-ng"] = Pause(us(8), Stop.PERSON, "by_hand")
        for what, n in (("planned", 4), ("accepted", 1), ("dead", 1)):
            changes.add("appsflyer-ng", "disbursement", what, "", n)
        changes.read(planned[3][0])
        store.commit(changes)
        store.rename("appsflyer-ng", "appsflyer-africa")
        assert rest, "some records are not read yet"
    return dict(
        zip("held claimed accepted dead".split(), (one.conversion.id for _, one in planned), strict=False)
    )


def test_open_held_dead_and_told_deliveries_stand_in_the_cluster_as_they_stood_in_the_folder(
    cluster: Cluster, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path, [one for n in range(8) for one in (
        again(login(n, "a"), user_id=f"u{n}"), again(loan(n + 10, f"L{n}"), user_id=f"u{n}")
    )])  # fmt: skip
    expected = with_deliveries(folder)

    move(cluster.database, folder, KEEP)

    store = SlotDeliveries(cluster.connect(), 4, range(4))
    there = {
        one.conversion.id: delivery_id(number, 0)
        for number, one in cluster.records()
        if isinstance(one, Planned)
    }
    at = {name: there[id_] for name, id_ in expected.items()}
    name = "appsflyer-africa"
    assert store.one(name, at["held"]) == Open(
        name, at["held"], Stage.HELD, us(1), 3, 1, at["held"] // 64, reason="unknown"
    )
    assert store.one(name, at["claimed"]) == Open(
        name, at["claimed"], Stage.CLAIMED, us(2), 1, lane=77, stamp_us=us(3), again=True
    )
    assert store.receipts(at["accepted"]) == [
        Receipt(at["accepted"], "appsflyer-ng", "accepted", "", 1, us(4), us(5), 200, b"ok")
    ]
    assert store.dead(at["dead"]) == Dead(
        at["dead"], name, "disbursement", us(7), "gone \ufffd", b"request", b"answer"
    )
    assert store.last_of(name, 77) == (us(3), at["claimed"])
    assert store.is_told(name, at["accepted"])
    assert store.volume(name, 0) == {491_000: 4}
    assert store.agreed(name) == (True, us(9))
    assert store.paused() == {name: Pause(us(8), Stop.PERSON, "by_hand")}
    assert store.renamed() == {"appsflyer-ng": name}
    assert store.waiting() == {name: {"claimed": 1, "held": 1}}


def test_what_waits_for_an_app_in_the_folder_is_given_to_it_by_the_cluster_and_its_word_counts(
    cluster: Cluster, tmp_path: Path
) -> None:
    events = [one for n in range(3) for one in (
        again(login(n, "a"), user_id=f"u{n}"), again(loan(n + 10, f"L{n}"), user_id=f"u{n}")
    )]  # fmt: skip
    folder = folder_of(tmp_path, events)
    with closing(open_log(folder.log)) as log, closing(open_deliveries(folder.deliveries)) as store:
        ids = [delivery_id(number, 0) for number, one in log.records(0, 99) if isinstance(one, Planned)]
        changes = Changes()
        for one in ids[:2]:
            changes.keep(Open("relay-ng", one, Stage.PENDING, us(9), first_us=us(1), reason="pending relay"))
        store.commit(changes)
    with closing(open_shelf(folder.relay)) as shelf:
        offers = [
            Offer(
                destination="relay-ng",
                delivery=one,
                address=f"ad{place}",
                conversion=f"c{place}",
                item=f'"{place}"'.encode(),
                expires_us=us(9),
            )
            for place, one in enumerate(ids)
        ]
        shelf.place(offers, us(1))
        shelf.fetch("relay-ng", "ad0", us(2), 9)
        shelf.fetch("relay-ng", "ad1", us(3), 9)
        shelf.acknowledge("relay-ng", "ad0", ["c0"], us(4))

    move(cluster.database, folder, KEEP)

    there, door = SlotShelf(cluster.connect(), 4, range(4)), DoorShelf(cluster.connect())
    store_ = SlotDeliveries(cluster.connect(), 4, range(4))
    first, second = (one.id for one in store_.open("relay-ng", 0, 9, Stage.PENDING))
    said = there.acknowledged(9)
    assert [(one.fetched_us, one.acknowledged_us) for one in said] == [(us(2), us(4))]
    assert {one.delivery for one in said} < {first, second}
    assert door.fetch("relay-ng", "ad0", us(5), 9) == []
    assert door.fetch("relay-ng", "ad1", us(5), 9) == [b'"1"']
    assert there.among("relay-ng", [first, second]) == {first, second}
    assert door.fetch("relay-ng", "ad2", us(5), 9) == [], "its delivery has ended"


def test_a_sender_of_the_cluster_reads_on_behind_what_the_folder_had_read(
    cluster: Cluster, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path, happenings(Random(8), 120, users=12))
    with closing(open_log(folder.log)) as log, closing(open_deliveries(folder.deliveries)) as store:
        records = log.records(0, 1_000)
        # In the middle of an event that several records follow from.
        number = next(
            one for (one, _), (next_, then) in pairwise(records)
            if one > records[20][0]
            and event_of(one)[0] == event_of(next_)[0]
            and isinstance(then, Planned)
        )  # fmt: skip
        changes = Changes()
        changes.read(number)
        store.commit(changes)
        unread = [one for one in records if one[0] > number]
        expected = [(one.conversion.id, type(one)) for _, one in unread if isinstance(one, Planned)]

    move(cluster.database, folder, KEEP)

    stream = SlotDeliveries(cluster.connect(), 4, range(4)).stream(None)  # type: ignore[arg-type]
    found: list[Any] = []
    while portion := stream.next(10):
        found += [(one.conversion.id, type(one)) for _, one in portion if isinstance(one, Planned)]
    assert sorted(found, key=str) == sorted(expected, key=str)


# the command

CONFIG = """\
[portfolio]
name = "acme"
[service]
data = "data"
[brand.acme]
[app.acme-ng]
brand    = "acme"
platform = "android"
bundle   = "com.acme.loans"
country  = "NG"
currency = "NGN"
timezone = "Africa/Lagos"
"""


def said(tmp_path: Path, cluster: Cluster, *words: str) -> tuple[int, str]:
    """The verb's exit code and what it says."""
    (tmp_path / "lendsignal.toml").write_text(CONFIG)
    found = CliRunner().invoke(
        main,
        f"migrate-store --to ACME_STORE --schema {cluster.schema} --config {tmp_path}/lendsignal.toml".split()
        + list(words),
        env={"ACME_STORE": cluster.url},
    )
    return found.exit_code, found.output


@pytest.fixture
def wide(server: PostgreSql) -> Iterator[Cluster]:
    with closing(Cluster(server.plain_url, slots=256)) as one:
        yield one


def test_the_verb_counts_moves_and_then_has_nothing_more_to_do(wide: Cluster, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "data", happenings(Random(9), 40, users=5))

    code, counted = said(tmp_path, wide, "--dry-run", "--json")
    assert code == 0, counted
    assert wide.database.rows("select 1 from event") == []
    code, told = said(tmp_path, wide, "--json")
    assert code == 0, told
    before, after = json.loads(counted), json.loads(told)
    assert after["rows"] == before["rows"]
    assert after["digests"] == before["digests"]
    assert after["rows"]["state"] == 5
    assert [before["dry_run"], after["dry_run"], after["is_new"]] == [True, False, True]

    assert "already" in said(tmp_path, wide)[1]
    with pytest.raises(LogError, match="taken to a cluster"):
        refuse_damage(folder)


def test_events_that_wait_to_be_decided_are_decided_before_the_move(wide: Cluster, tmp_path: Path) -> None:
    events = [login(0, "a"), loan(1)]
    folder = folder_of(tmp_path / "data", events[:1])
    with closing(open_log(folder.log)) as log:
        log.append(events[1:])

    assert said(tmp_path, wide)[0] == 0

    assert [one.conversion.name for _, one in wide.records() if isinstance(one, Planned)] != []


def test_a_service_over_the_folder_must_be_stopped(wide: Cluster, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "data", [loan(1)])
    with folder.lock("core"):
        code, told = said(tmp_path, wide)

    assert code == 1
    assert "core" in told
    assert not folder.moved.exists()


def test_an_order_that_waits_for_the_sender_is_carried_out_first(wide: Cluster, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "data", [loan(1)])
    with closing(open_orders(folder.orders)) as orders:
        orders.give([Halt(("*",))], "somebody", us(1))

    code, told = said(tmp_path, wide)

    assert code == 1
    assert "1 orders" in told


# what is refused


def test_a_store_that_has_decided_takes_no_folder_in(cluster: Cluster, tmp_path: Path) -> None:
    cluster.put_policy(POLICY)
    cluster.door().append([loan(1)])
    decide_all(cluster.worker())

    with pytest.raises(LogError, match="decided events already"):
        move(cluster.database, folder_of(tmp_path, [loan(1)]), KEEP)


def test_a_second_folder_is_refused_and_so_is_one_that_went_on(cluster: Cluster, tmp_path: Path) -> None:
    first = folder_of(tmp_path / "one", [loan(1)])
    move(cluster.database, first, KEEP)
    with closing(open_log(first.log)) as log:
        decided(log, [loan(2, "L2")])

    for folder in (first, folder_of(tmp_path / "two", [loan(1), loan(2)])):
        with pytest.raises(LogError, match="taken in a data folder already"):
            move(cluster.database, folder, KEEP)


def test_a_folder_that_went_on_after_half_a_move_is_taken_in_anew(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path, happenings(Random(4), 40, users=5))

    def failing(*words: object) -> None:
        raise LogError("cut off")

    with monkeypatch.context() as patched:
        patched.setattr(moving, "_finish", failing)
        with pytest.raises(LogError, match="cut off"):
            move(cluster.database, folder, KEEP)
    with closing(open_log(folder.log)) as log:
        decided(log, [again(one, event_id=f"more-{n}") for n, one in enumerate(happenings(Random(6), 20, 9))])

    move(cluster.database, folder, KEEP)

    assert lives(cluster.records()) == known_of(folder)[0]


def test_a_row_that_somebody_changes_meanwhile_is_found_at_the_end(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path, happenings(Random(4), 40, users=5))

    def meddling(name: str, done: int, whole: int) -> None:
        if name == "comparing event" and done == 0:
            cluster.database.rows("update state set body = body || '\\x00' where key = %b", b"acme:u1")

    with pytest.raises(DataError, match="state"):
        move(cluster.database, folder, KEEP, meddling)

    assert cluster.held("move") == 4


def test_a_worker_and_a_sender_that_are_there_too_early_wait(cluster: Cluster, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, happenings(Random(4), 40, users=5))
    worker = cluster.worker()
    early: list[bool] = []

    def looking(name: str, done: int, whole: int) -> None:
        early.append(worker.turn())

    move(cluster.database, folder, KEEP, looking)
    cluster.door().append([again(login(900, "a"), user_id="new"), again(loan(901), user_id="new")])
    decide_all(worker)

    assert early
    assert not any(early)
    assert "acme:new" in cluster.states()


# days


def test_older_events_stay_behind_and_what_somebody_still_speaks_of_comes_along(
    cluster: Cluster, tmp_path: Path
) -> None:
    day = 24 * 60
    old = [login(0, "a"), loan(1), again(login(2, "b"), user_id="u2"), again(loan(3, "L3"), user_id="u2")]
    folder = folder_of(tmp_path, [*old, again(login(20 * day, "c"), user_id="u3")])
    with closing(open_log(folder.log)) as log, closing(open_deliveries(folder.deliveries)) as store:
        planned = [number for number, one in log.records(0, 100) if isinstance(one, Planned)]
        last = log.last_record()
        changes = Changes()
        changes.keep(Open("appsflyer-ng", delivery_id(planned[0], 0), Stage.HELD, us(1)))
        changes.read(last + 255)
        store.commit(changes)

    move(cluster.database, folder, KEEP)

    there = cluster.database.rows("select body from event")
    assert len(there) == 1, "that of the last day alone"
    (held,) = SlotDeliveries(cluster.connect(), 4, range(4)).open("appsflyer-ng", 0, 9, Stage.HELD)
    records = dict(cluster.records())
    assert isinstance(records[held.id // 64], Planned)
    assert set(cluster.states()) == {"acme:u1", "acme:u2", "acme:u3"}


# who is kept out


def test_who_was_erased_is_kept_out_at_the_doors_of_the_cluster(cluster: Cluster, tmp_path: Path) -> None:
    folder = folder_of(tmp_path, [loan(1), again(loan(2, "L2"), user_id="u2")])
    with closing(open_log(folder.log)) as log:
        log.erasing.keep_out({("acme", "u1")}, None, "receipt-1", us(5))

    move(cluster.database, folder, KEEP)
    cluster.door().append([loan(3, "L3"), again(loan(3, "L4"), user_id="u2")])
    decide_all(cluster.worker())

    told = [body for (body,) in cluster.database.rows("select body from event where xid <> '0'")]
    assert [b"L3" in body for body in told].count(True) == 0, "a husk stands in its place"
    assert [b"L4" in body for body in told].count(True) == 1


def test_an_old_delivery_that_a_late_touch_moved_brings_the_plan_that_it_was_moved_from(
    cluster: Cluster, tmp_path: Path
) -> None:
    day = 24 * 60
    late = login(5, "i", app="acme-ios", arrives=20, event_id="late")
    folder = folder_of(tmp_path, [login(0, "a"), loan(10), late, again(login(20 * day, "c"), user_id="u3")])
    with closing(open_log(folder.log)) as log, closing(open_deliveries(folder.deliveries)) as store:
        number, rebound = next((n, one) for n, one in log.records(0, 100) if isinstance(one, Rebound))
        changes = Changes()
        changes.keep(Open("appsflyer-ios", delivery_id(number, 0), Stage.HELD, us(1)))
        changes.read(log.last_record())
        store.commit(changes)

    move(cluster.database, folder, KEEP)

    records = dict(cluster.records())
    (held,) = SlotDeliveries(cluster.connect(), 4, range(4)).open("appsflyer-ios", 0, 9, Stage.HELD)
    moved = records[held.id // 64]
    assert isinstance(moved, Rebound)
    planned = records[moved.record]
    assert isinstance(planned, Planned)
    assert moved.conversion == planned.conversion == rebound.conversion


def test_keys_refused_events_and_rules_go_beside_those_that_the_store_has(
    cluster: Cluster, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path, [loan(1)])
    refused = Quarantined(
        received_us=us(1), source="backend", field="amount", rule="must be a number", body=b"{}", kept=b"{ }"
    )
    with closing(open_log(folder.log)) as log, closing(open_keys(folder.keys)) as keys:
        log.refuse([refused])
        keys.add(ApiKey(sha256="aa", source="backend", made_us=us(2), expires_us=us(9), scopes=("send",)))
        keys.note({"aa": KeyUse(us(3), 7)})
        version = log.policy()
    cluster.put_policy(source(send={"disbursement": "ev_next"}))
    there = KeyRows(cluster.connect())
    there.add(ApiKey(sha256="bb", source="app", made_us=us(4)))

    move(cluster.database, folder, KEEP)

    assert {key.sha256: key.expires_us for key in there.all()} == {"aa": us(9), "bb": None}
    assert there.uses() == {"aa": KeyUse(us(3), 7)}
    (kept,) = cluster.door().quarantined()
    assert (kept.field, kept.rule, kept.kept) == ("amount", "must be a number", b"{ }")
    assert {policy for (policy,) in cluster.database.rows("select policy from cursor")} == {version}
    decide_all(cluster.worker())
    (after,) = {policy for (policy,) in cluster.database.rows("select policy from cursor")}
    assert after == cluster.rules.wanted("policy") != version, "what was put in force before comes next"


def test_the_doctor_knows_of_a_folder_that_is_half_moved(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_of(tmp_path, [loan(1)])
    monkeypatch.setenv("ACME_STORE", cluster.url)
    store = StoreSettings(url=Secret(env="ACME_STORE"), schema=cluster.schema)
    config: Any = SimpleNamespace(store=store)
    levels: list[list[str]] = []

    def looking(name: str, done: int, whole: int) -> None:
        if name == "state" and done == 0:
            levels.append([one.level for one in doctor_moving.moving(config)])

    levels.append([one.level for one in doctor_moving.moving(config)])
    move(cluster.database, folder, KEEP, looking)
    levels.append([one.level for one in doctor_moving.moving(config)])

    assert levels == [[], ["act"], ["ok"]]
