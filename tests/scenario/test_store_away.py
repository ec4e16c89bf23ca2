"""The door of a cluster while its PostgreSQL is away: what it answers stays durable, and comes in order."""

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.noded import BROKERS, Node
from tests.running import BackEnd, Stand, borrowing, call, until
from tests.servers.postgresql import PostgreSql, postgresql

from lendsignal.log.postgres import Database
from lendsignal.log.postgres.rows import read_event

SCHEMA = "store_away"
SECRET = "made-up-secret-of-the-mmp"
FEED = """
[feed.appsflyer]
kind   = "appsflyer"
secret = { file = "mmp" }
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql() as one:
        yield one


def loans(users: Sequence[int], name: str) -> list[dict[str, Any]]:
    """One more loan of each of these users."""
    now = datetime.now(UTC).isoformat()
    common = {"brand": "acme", "type": "disbursed", "occurred_at": now, "amount": "900", "currency": "NGN"}
    return [
        {**common, "user_id": f"u{user}", "event_id": f"{name}-u{user}", "loan_id": f"{name}-u{user}"}
        for user in users
    ]


def test_events_that_came_while_the_store_was_away_are_decided_in_order_though_the_door_was_killed(
    server: PostgreSql, tmp_path: Path
) -> None:
    stand = Stand(tmp_path / "sandbox")
    node = Node(tmp_path / "node", server.plain_url, stand.address, ("ingest", "work"), SCHEMA)
    (node.folder / "mmp").write_text(SECRET)
    node.config.write_text(node.config.read_text() + FEED)
    users = range(12)
    told = [
        [event for user in users for event in borrowing(user)],
        loans(users, "away"),
        loans(users, "killed"),
        loans(users, "frozen"),
        loans(users, "back"),
    ]
    try:
        node.verb("store", "prepare")
        node.verb("store", "policy")
        node.start().ready()
        door = BackEnd(node)
        door.send(told[0])
        push(node, "there")

        server.kill()
        door.send(told[1])
        push(node, "away")
        push(node, "there")  # MMPs tell twice
        # A topic takes events also while PostgreSQL is away.
        assert f"lendsignal_spool_waiting_events {2 if BROKERS else 14}" in metrics(node)
        kill_door(node)
        door.send(told[2])
        push(node, "killed")
        server.start()
        server.signal_all(signal.SIGSTOP)
        door.send(told[3])
        push(node, "frozen")
        server.signal_all(signal.SIGCONT)
        door.send(told[4])
        push(node, "back")

        with closing(Database(server.plain_url, SCHEMA)) as store:
            until(lambda: decided(store) == 72, "all is in the store and decided")
            for batch in told:
                door.send(batch)
            until(lambda: decided(store) == 144, "so are the repeats")
            stood = [read_event(body) for (body,) in store.rows("select body from event order by xid, id")]
            until(lambda: len(facts(store)) >= 5, "what the MMP told is there")
            verdicts = dict(store.rows("select verdict, count(*)::int from verdict group by 1"))
            order_of_facts = facts(store)
        order = [event["event_id"] for batch in told for event in batch]
        for user in users:
            mine = [one.event_id for one in stood if one.user_id == f"u{user}"]
            assert list(dict.fromkeys(mine)) == [name for name in order if name.endswith(f"-u{user}")]
        assert order_of_facts == ["there", "away", "killed", "frozen", "back"]
        assert verdicts.get("duplicate", 0) >= 72
        assert set(verdicts) == {"duplicate"}
    finally:
        node.close()
        stand.close()


def push(node: Node, name: str) -> None:
    """A message of the MMP, which is taken as always."""
    told = {
        "app_id": "com.acme.loans",
        "appsflyer_id": name,
        "event_name": "install",
        "install_time": "2026-11-20 08:15:30.250",
        "media_source": "bytedanceglobal_int",
    }
    path = f"/v1/attribution/appsflyer/appsflyer/{SECRET}"
    status, _, body = call(node.address, "POST", path, json.dumps(told).encode())
    assert (status, json.loads(body)) == (200, {"taken": 1}), node.said


def facts(store: Database) -> list[str]:
    """Whom the MMP told of, in the order in which it stands in the store."""
    return [name.decode() for (name,) in store.rows("select installation from feed_told order by xid, id")]


def decided(store: Database) -> int:
    """How many events of users were decided, twice as many where all were repeated; 0 while any waits.

    What was told twice on its way counts once.
    """
    waiting = store.row(
        "select count(*) from event join cursor using (slot)"
        " where (event.xid, event.id) > (cursor.xid, cursor.id)"
    )
    found = store.rows("select body from event")
    if waiting != (0,):
        return 0
    often = Counter(one.event_id for one in (read_event(body) for (body,) in found) if one.brand == "acme")
    return 2 * len(often) if min(often.values(), default=0) > 1 else len(often)


def metrics(node: Node) -> str:
    return call(node.address, "GET", "/metrics")[2].decode()


def kill_door(node: Node) -> None:
    """`kill -9` for the door's process; returns when another has the role and answers."""
    lock = node.folder / "data" / "ingest.lock"
    number = int(lock.read_text())
    os.kill(number, signal.SIGKILL)
    until(lambda: lock.read_text() not in ("", str(number)), "another door")
    node.ready()
