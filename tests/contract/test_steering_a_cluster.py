"""Choosing and ordering over a whole store, as the command line and the console do on any node."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from tests.desk import TOKEN, acme, borrower, verdicts
from tests.scripted import Platform, platform
from tests.servers.postgresql import PostgreSql, postgresql
from tests.several import Several, users_in

from lendsignal.deliver import Choice, Chooser, Chosen
from lendsignal.deliver.giving import Came
from lendsignal.deliver.steering import Steering, steering_of_store
from lendsignal.log import Halt, LetGo, Order
from lendsignal.log.postgres.desks import Desk, Desks
from lendsignal.log.store import StoreSettings
from lendsignal.model import Secret

USERS = [user for users in users_in(4, 2).values() for user in users]
"""Two of every slot."""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql(autovacuum="off", fsync="off") as one:
        yield one


@pytest.fixture
def played() -> Iterator[Platform]:
    with platform(verdicts("rejected:bad")) as one:
        yield one


@pytest.fixture
def cluster(server: PostgreSql, played: Platform, monkeypatch: pytest.MonkeyPatch) -> Iterator[Several]:
    """Nobody sends yet; the platform refuses whatever comes."""
    monkeypatch.setenv("ACME_TOKEN", TOKEN)
    monkeypatch.setenv("ACME_STORE", server.plain_url)
    one = Several(server.plain_url, played.url, acme(), drain=timedelta(seconds=60))
    yield one
    one.close()


@pytest.fixture
def steering(cluster: Several) -> Steering:
    return steering_of_store(StoreSettings(url=Secret(env="ACME_STORE"), schema=cluster.cluster.schema))


def chosen(steering: Steering, cluster: Several, *states: str, now_us: int) -> Chosen:
    with steering.looked() as looked:
        chooser = Chooser(looked.log, looked.deliveries, {"acme-ng": acme()}, now_us)
        choice = Choice(states=frozenset(states))
        return chooser.to_cancel(choice) if "waiting" in states else chooser.to_send_again(choice)


def ordered(steering: Steering, cluster: Several, orders: list[Order]) -> Came:
    """What a person is told who waits for an order, while the senders turn."""
    told: list[Came] = []
    clock = cluster.clocks["one"]
    waits = threading.Thread(target=lambda: told.append(steering.give(orders, clock, "ada")))
    waits.start()
    try:
        cluster.until(lambda: told, *cluster.senders)
    finally:
        waits.join()
    return told[0]


def test_the_dead_of_a_whole_cluster_are_chosen_counted_and_sent_again(
    cluster: Several, steering: Steering, played: Platform
) -> None:
    cluster.share_out(cluster.sender("one"), cluster.sender("other"))
    cluster.tell(*(one for user in USERS for one in borrower(user)))
    cluster.until(lambda: cluster.tally().get("dead") == len(USERS) == 8, *cluster.senders)

    played.play(verdicts("accepted"))
    found = chosen(steering, cluster, "dead", now_us=cluster.clocks["one"].now_us())
    came = ordered(steering, cluster, [*found.again()])
    cluster.until(lambda: cluster.tally().get("accepted") == len(USERS), *cluster.senders)

    assert [(one.n, one.conversion, one.reason) for one in found.counts()] == [(8, "disbursement", "bad")]
    assert (came.done, came.passed_over, came.open) == (8, 0, 0)
    assert chosen(steering, cluster, "dead", now_us=cluster.clocks["one"].now_us()).counts() == []


def test_what_waits_in_a_whole_cluster_is_cancelled_and_who_stopped_it_is_known(
    cluster: Several, steering: Steering, played: Platform
) -> None:
    cluster.share_out(cluster.sender("one"), cluster.sender("other"))
    halted = ordered(steering, cluster, [Halt(("acme-ng",), "new token")])
    cluster.until(cluster.everybody_stopped, *cluster.senders)
    cluster.tell(*(one for user in USERS for one in borrower(user)))
    cluster.until(lambda: len(cluster.open()) == len(USERS), *cluster.senders)

    (stands,) = steering.standing(["acme-ng"])
    found = chosen(steering, cluster, "waiting", now_us=cluster.clocks["one"].now_us())
    came = ordered(steering, cluster, [*found.cancel()])
    ordered(steering, cluster, [LetGo(("acme-ng",))])

    assert (halted.done, halted.sender_runs) == (1, True)
    assert [(one.who, one.reason) for one in stands.stopped] == [("ada", "new token")]
    assert stands.waiting == len(found) == came.done == 8
    assert (steering.stopped(), cluster.open(), played.came) == ({}, [], [])


def test_where_desks_are_is_known_as_long_as_they_say_so(cluster: Several) -> None:
    desks = Desks(cluster.cluster.connect())
    desks.tell(Desk("one", "http://b.example"), 600)
    desks.tell(Desk("other", "http://a.example"), 600)
    desks.tell(Desk("gone", "http://c.example"), -1)
    both = [one.address for one in desks.alive()]
    desks.end("other")

    assert both == ["http://a.example", "http://b.example"]
    assert [one.name for one in desks.alive()] == ["one"]
