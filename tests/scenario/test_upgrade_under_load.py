"""Nodes of a cluster are replaced one by one while events come in, a third of them of one user."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.fleet import Fleet
from tests.cluster.upgrade import upgrade
from tests.clustered import Cluster
from tests.running import drawn_seed, until
from tests.servers.postgresql import PostgreSql, postgresql

from lendsignal.log.postgres import prepare


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql() as one:
        yield one


def test_nodes_are_replaced_under_load_and_nothing_is_lost_doubled_or_out_of_order(
    server: PostgreSql, tmp_path: Path
) -> None:
    """The store is prepared once more meanwhile, and some events cannot be decided.

    `make upgrade-under-load` begins with the code of an earlier commit, and more nodes come and go.
    """
    fleet = Fleet(server.plain_url, tmp_path, drawn_seed(), doors=1, workers=1, senders=1, supervised=False)
    try:
        fleet.start()
        upgrade(fleet)
        fleet.until("select count(*) > 0 from verdict where verdict = 'failed'")
        proof = fleet.reckoning()
    finally:
        fleet.close()

    assert (proof.lost, proof.doubled, proof.disordered) == (0, 0, 0)
    assert proof.limit_exceeded == 0
    assert proof.poisoned > 0
    assert all(sent.planned > 0 for sent in proof.sent.values())


def test_tables_are_brought_up_though_somebody_writes_into_them_for_long(server: PostgreSql) -> None:
    """`prepare` gives way to whoever waits behind it, and comes again until it has its turn."""
    cluster = Cluster(server.plain_url)
    cluster.database.rows("update shape set version = 2")
    tries: set[Any] = set()

    def tried_again() -> bool:
        tries.update(
            cluster.database.rows(
                "select xact_start from pg_stat_activity where wait_event_type = 'Lock'"
                " and query like 'alter table%%'"
            )
        )
        return len(tries) > 1

    with server.connect() as writer, ThreadPoolExecutor(1) as other:
        writer.execute(f"lock table {cluster.schema}.quarantine in row exclusive mode")
        preparing = other.submit(prepare, cluster.connect(), cluster.slots)
        until(tried_again, "it comes again")
        writer.rollback()
        found = preparing.result()
    writer.close()
    cluster.close()

    assert (found.before, found.made) == (2, ())
    assert found.version > 2
