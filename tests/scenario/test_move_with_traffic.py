"""From a data folder to a cluster with traffic before and after, by real processes over a real PostgreSQL."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.noded import Node
from tests.running import BackEnd, Ledger, Service, Stand, borrowing, call, until
from tests.servers.postgresql import PostgreSql, postgresql

from lendsignal.clock import SystemClock
from lendsignal.config import load
from lendsignal.decide import Decider
from lendsignal.log import open_log
from lendsignal.log.postgres import Database
from lendsignal.plan import Planned
from lendsignal.source import reader_of
from lendsignal.source.reading import read_event

SCHEMA = "moved_here"
APPSFLYER, WAREHOUSE = "api3.appsflyer.com", "hooks.acme.example"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql() as one:
        yield one


def test_users_go_on_at_the_cluster_and_nothing_is_lost_doubled_or_forgotten(
    server: PostgreSql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the folder some deliveries are accepted, some dead, some held, and all of one platform wait; then
    the folder is moved (the move is killed once), and its users go on at the cluster."""
    stand = Stand(tmp_path / "sandbox")
    service = Service(tmp_path / "service", stand.address, outlet='on_unknown = { hold = "7d" }')
    node = Node(tmp_path / "node", server.plain_url, stand.address, ("ingest", "work", "send"), SCHEMA)
    before = [event for number in range(30) for event in borrowing(number)]
    after = [event for number in range(20, 50) for event in borrowing(number)]
    try:
        stand.faults(
            {"kind": "close_after_accept", "host": WAREHOUSE, "every": 5, "times": 3},
            {"kind": "status", "host": WAREHOUSE, "status": 400, "every": 7, "times": 2},
            {"kind": "status", "host": APPSFLYER, "status": 503},
        )
        service.start()
        BackEnd(service).send(before)
        until(lambda: ended(service) == 60, "all of the warehouse's deliveries have ended or are held")
        service.stop()
        folder = Ledger(service.data)
        assert (folder.held("warehouse"), folder.count("warehouse", "dead")) == (3, 2)
        assert folder.waiting["appsflyer-ng"]["waiting"] == 30

        node.verb("store", "prepare")
        words = ["migrate-store", "--from", str(service.data), "--json"]
        killed_at_work(node, words)
        moved = json.loads(node.verb(*words).splitlines()[-1])
        assert moved["is_new"]

        stand.faults()
        node.start().ready()
        BackEnd(node).send(after)
        until(lambda: len(stand.ids("appsflyer-ng")) == 50, "what had waited is sent, and what is new")
        until(lambda: len(stand.ids("warehouse")) == 98, "all but the two that are dead")
        found = until(lambda: still(node), "nothing is left but what is held")

        assert set(stand.ids("appsflyer-ng").values()) == {1}
        assert set(stand.ids("warehouse").values()) == {1}
        assert found["waiting"] == {"warehouse": {"held": 3}}
        monkeypatch.setattr(os, "environ", node.environment)
        straight = straight_on(node, tmp_path / "log.sqlite", [*before, *after])
        assert set(stand.ids("appsflyer-ng")) == straight["appsflyer-ng"]
        dead = straight["warehouse"] - set(stand.ids("warehouse"))
        assert len(dead) == 2
        for event in borrowing(25):
            body = call(node.address, "GET", f"/v1/events/{event['event_id']}")[2]
            verdicts = [one["verdict"] for one in json.loads(body)["events"]]
            assert verdicts == ["taken", "duplicate"]
    finally:
        service.close()
        node.close()
        stand.close()


def ended(service: Service) -> int:
    """How many of the warehouse's deliveries are accepted, dead or held."""
    with_folder = Ledger(service.data)
    ends = sum(with_folder.count("warehouse", what) for what in ("accepted", "dead"))
    return ends + with_folder.held("warehouse")


def still(node: Node) -> dict[str, object] | None:
    """How the cluster stands, once nothing is on its way any more."""
    found = node.status()
    waiting = {name: stages for name, stages in found["waiting"].items() if any(stages.values())}
    moving = any(stages.get("waiting") or stages.get("claimed") for stages in waiting.values())
    return {"waiting": waiting} if found["idle"] and not moving else None


def killed_at_work(node: Node, words: list[str]) -> None:
    """Starts the move and kills it as soon as it has taken something, wherever it is then."""
    with subprocess.Popen(
        [sys.executable, "-m", "lendsignal", *words],
        cwd=node.folder,
        env=node.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        with closing(Database(node.environment["ACME_STORE"], SCHEMA)) as store:
            until(lambda: store.row("select to_regclass('moved')::oid") != (None,), "it has begun")
        process.kill()


def straight_on(node: Node, folder: Path, events: list[dict[str, Any]]) -> dict[str, set[str]]:
    """What one data folder plans of all the events, under the node's policy: conversions by destination."""
    config = load(node.config)
    reader = reader_of(config.apps, config.policy.resolve.clock_ahead)
    now, planned = datetime.now(UTC), defaultdict[str, set[str]](set)
    with closing(open_log(folder)) as log:
        one = Decider(log, config.policy, SystemClock(), lambda: None)
        log.append([read_event({**event}, now, reader) for event in events])
        while one.turn():
            pass
        for record in (one for _, one in log.records(0, 10_000) if isinstance(one, Planned)):
            for entry in record.entries:
                planned[entry.destination].add(record.conversion.id)
    return planned
