"""A node that works is given another configuration, and a user is erased by a call at its door."""

import http.client
import json
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.noded import BROKERS, Node
from tests.running import BackEnd, Stand, borrowing, call, until
from tests.servers.postgresql import PostgreSql, postgresql

from lendsignal.log.postgres import Database

KEY = "ls_made-up-key-of-the-office"
OFFICE = """
[source.office]
key    = { env = "ACME_OFFICE" }
scopes = ["admin"]
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql() as one:
        yield one


def test_a_source_that_is_added_while_a_node_works_has_a_user_erased(
    server: PostgreSql, tmp_path: Path
) -> None:
    stand = Stand(tmp_path / "sandbox")
    node = Node(tmp_path / "node", server.plain_url, stand.address, ("ingest", "work", "send"), "told")
    node.environment["ACME_OFFICE"] = KEY

    def office(method: str, path: str) -> tuple[int, Any]:
        """As a client that comes again where a door that is renewed hangs up: 0."""
        try:
            status, _, body = call(node.address, method, path, Authorization=f"Bearer {KEY}")
        except (OSError, http.client.HTTPException):
            return 0, {"ended": None}
        return status, json.loads(body) if body.startswith(b"{") else None

    def reload(text: str, says: str) -> None:
        said = len(node.said)
        node.config.write_text(text)
        assert node.process is not None
        node.process.send_signal(signal.SIGHUP)
        until(lambda: says in node.said[said:], says)

    try:
        node.verb("store", "prepare")
        node.verb("store", "policy")
        before = node.config.read_text()
        node.start().ready()
        BackEnd(node).send([event for number in range(6) for event in borrowing(number)])
        node.idle()
        assert office("DELETE", "/v1/users/u1?brand=acme")[0] in (401, 404)

        reload(before.replace('schema = "told"', 'schema = "elsewhere"'), "not reloaded")
        if BROKERS:
            reload(before.replace('topic   = "', 'topic   = "no-'), "not reloaded")
        reload(before + OFFICE, "configuration reloaded")
        until(lambda: office("DELETE", "/v1/users/u1?brand=acme")[0] == 202, "the new source may ask")
        receipt = until(
            lambda: office("DELETE", "/v1/users/u1?brand=acme")[1].get("receipt"), "twice it is one erasure"
        )
        until(lambda: office("GET", f"/v1/erasures/{receipt}")[1]["ended"], "the erasure has ended")

        again = json.dumps(borrowing(1)[:1]).encode()
        until(lambda: call(node.address, "POST", "/v1/events", again)[0] == 422, "the door knows")
        BackEnd(node).send(borrowing(7))
        node.idle()
        with closing(Database(server.plain_url, "told")) as store:
            states = {bytes(key).decode() for (key,) in store.rows("select key from state")}
            bodies = b"".join(body for (body,) in store.rows("select body from event"))
        assert states == {f"acme:u{number}" for number in (0, 2, 3, 4, 5, 7)}
        assert b"d-u1" not in bodies
        assert set(stand.ids("warehouse").values()) == {1}
        assert len(stand.ids("warehouse")) == 14, "what was sent before stays sent"
    finally:
        node.close()
        stand.close()
