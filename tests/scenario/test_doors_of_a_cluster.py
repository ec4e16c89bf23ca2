"""A door of a cluster that is nothing else: apps fetch at any door while senders are killed, and a user who
is erased at one is erased at all."""

import json
import os
import random
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import cycle
from typing import Any

import pytest
from msgspec import Struct
from tests.noded import Node
from tests.running import S2S_TOKEN, BackEnd, Stand, borrowing, call, drawn_seed, until
from tests.scenario.test_client_relay import RELAY, App
from tests.servers.postgresql import PostgreSql, postgresql

from lendsignal.log.postgres import Database

SCHEMA = "doors"
USERS = 12
TOKEN = 'token = { env = "ACME_S2S" }'
MORE = f"""
[archive]
keep = false

[source.office]
scopes = ["admin"]
{RELAY}"""


class Doors:
    """Two doors by turns, as a balancer gives them."""

    def __init__(self, doors: Sequence[Node]) -> None:
        self._next = cycle(doors)

    @property
    def address(self) -> str:
        return next(self._next).address


class House(Struct, frozen=True):
    """A cluster: one node is a door alone, another is a door, decides, sends, and is the desk."""

    doors: tuple[Node, Node]
    store: Database
    server: PostgreSql

    @property
    def balancer(self) -> Any:
        return Doors(self.doors)

    def app(self, name: str, number: int) -> App:
        """The app of a user of `borrowing`."""
        return App(self.balancer, name, f"{1_700_000_000_000 + number}-{1_000_000 + number}")

    def pending(self) -> int:
        """Deliveries that wait for an app."""
        return int(self.doors[0].status()["waiting"].get("relay-ng", {}).get("pending", 0))

    def counted(self, what: str) -> int:
        """Deliveries of the relay that ended so."""
        query = "select sum(n)::int from delivery_tally where destination = 'relay-ng' and what = %s"
        found = self.store.row(query, what)
        return 0 if found is None else int(found[0] or 0)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("doors")
    with ExitStack() as opened:
        opened.enter_context(pytest.MonkeyPatch.context()).setenv(
            "ACME_RELAY", "made-up-signing-secret-of-32-chars"
        )
        server = opened.enter_context(postgresql(fsync="off"))
        stand = opened.enter_context(
            closing(Stand(folder / "sandbox", more={"appsflyer_api_tokens": {S2S_TOKEN: ["com.acme.loans"]}}))
        )

        def made(name: str, *roles: str) -> Node:
            one = Node(folder / name, server.plain_url, stand.address, roles, SCHEMA)
            text = one.config.read_text().replace(TOKEN, f"{TOKEN}\napi_{TOKEN}")
            one.config.write_text(text + MORE)
            return opened.enter_context(closing(one))

        doors = made("first", "ingest"), made("second", "ingest", "work", "send", "desk")
        doors[0].verb("store", "prepare")
        doors[0].verb("store", "policy")
        store = opened.enter_context(closing(Database(server.plain_url, SCHEMA)))
        for one in doors:
            one.start()
        for one in doors:
            one.ready()
        yield House(doors, store, server)


def kill(node: Node, role: str) -> None:
    """`kill -9` for the node's process with that role; returns when another has it."""
    lock = node.folder / "data" / f"{role}.lock"
    number = until(lambda: lock.exists() and lock.read_text(), f"{role} lives")
    os.kill(int(number), signal.SIGKILL)
    until(lambda: lock.read_text() not in ("", number), f"another {role}")


def test_apps_fetch_at_any_door_and_each_logs_its_conversion_once_whoever_is_killed(house: House) -> None:
    chance = random.Random(drawn_seed())
    apps = [house.app(f"u{number}", number) for number in range(USERS)]
    BackEnd(house.doors[0]).send([event for number in range(USERS) for event in borrowing(number)])
    until(lambda: house.pending() >= 1, "some wait for their apps")
    for app in chance.sample(apps, USERS // 2):
        app.opens()
    kill(house.doors[1], "send")

    def through() -> bool:
        for app in apps:
            if not app.logged or app.words_lost:
                app.opens()
        return all(app.logged for app in apps) and house.counted("accepted") == USERS

    until(through, "every app got its conversion and every word is heard")
    logged = [identifier for app in apps for identifier in app.logged]
    assert len(logged) == len(set(logged)) == USERS
    until(lambda: not house.store.rows("select 1 from offer"), "nothing is left on the shelf")
    assert house.counted("planned") == USERS


def refuses(door: Node, event: bytes) -> bool:
    return call(door.address, "POST", "/v1/events", event)[0] == 422


def test_a_user_who_is_erased_at_one_door_is_erased_at_all_and_at_the_desk(house: House) -> None:
    first, second = house.doors
    key = json.loads(first.verb("keys", "new", "office", "--scope", "admin", "--json"))["key"]
    gone, stays = house.app("gone-40", 40), house.app("stays-41", 41)
    BackEnd(second).send([*borrowing(40, prefix="gone-"), *borrowing(41, prefix="stays-")])
    until(lambda: house.pending() == 2, "both wait for their apps")

    def asked(door: Node) -> tuple[int, Any]:
        path = "/v1/users/gone-40?brand=acme"
        status, _, body = call(door.address, "DELETE", path, Authorization=f"Bearer {key}")
        return status, json.loads(body)

    until(lambda: asked(first)[0] == 202, "the new key is good")
    assert call(second.address, "DELETE", "/v1/users/stays-41?brand=acme")[0] == 403
    number = asked(first)[1]["receipt"]

    def shown(door: Node) -> Any:
        path = f"/v1/erasures/{number}"
        status, _, body = call(door.address, "GET", path, Authorization=f"Bearer {key}")
        assert status == 200, body
        return json.loads(body)

    again = json.dumps(borrowing(40, prefix="gone-")[1]).encode()
    for door in house.doors:
        until(partial(refuses, door, again), "the door knows")
        assert json.loads(call(door.address, "POST", "/v1/events", again)[2])["detail"].startswith("erased")
    until(lambda: shown(second)["ended"], "the store and the desk are through")
    receipt = shown(second)
    places = {(one["step"], bool(one["at_desk"])): one["state"] for one in receipt["places"]}
    assert places["deliveries", False] == places["log", True] == places["files", True] == "done"
    asked_of = {one["destination"]: one["state"] for one in receipt["platforms"]}
    assert asked_of["appsflyer-ng"] in ("asked", "confirmed")
    assert gone.fetch() == []
    assert len(stays.fetch()) == 1
    assert asked(second)[0] == 202
    assert house.counted("skipped") == 1
    for node in house.doors:
        assert "gone-40" not in node.said


def test_while_the_store_is_away_a_door_says_that_nobody_is_erased_and_no_app_is_given_anything(
    house: House,
) -> None:
    first = house.doors[0]
    key = json.loads(first.verb("keys", "new", "office", "--scope", "admin", "--json"))["key"]

    def answered(path: str) -> int:
        return call(first.address, "DELETE", path, Authorization=f"Bearer {key}")[0]

    until(lambda: answered("/v1/users/nobody-1?brand=acme") == 202, "the new key is good")
    app = house.app("stays-41", 41)
    house.store.close()
    house.server.kill()

    assert answered("/v1/users/nobody-2?brand=acme") == 503
    assert app._call("GET", "events")[0] == 503
    house.server.start()
    assert until(lambda: app._call("GET", "events")[0] == 200, "the door has the store again")
