"""Nodes of a cluster as an operator runs them: `lendsignal run --role …` over one PostgreSQL."""

import json
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import pytest
from tests.noded import Node
from tests.running import BackEnd, Stand, borrowing, call, free_port, until
from tests.servers.postgresql import PostgreSql, postgresql

from lendsignal.role import NODE_ROLES


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql() as one:
        yield one


def test_one_node_is_killed_and_the_other_goes_on_with_everything(server: PostgreSql, tmp_path: Path) -> None:
    """Events come in at one door and are sent; then that node dies, and the other has the whole work."""
    stand = Stand(tmp_path / "sandbox")
    first = Node(tmp_path / "first", server.plain_url, stand.address, ("ingest", "work"), "two_nodes")
    second = Node(
        tmp_path / "second", server.plain_url, stand.address, ("ingest", "work", "send", "web"), "two_nodes"
    )
    try:
        first.verb("store", "prepare")
        first.verb("store", "policy")
        first.start()
        second.start()
        first.ready()
        second.ready()
        # A door is ready before anybody decides or sends.
        until(lambda: second.status()["nodes"] == {"work": 2, "send": 1}, "everybody is there")

        BackEnd(first).send([event for number in range(20) for event in borrowing(number)])
        told = [one.idle() for one in (first, second)]
        assert [one["decided"] for one in told] == [told[0]["decided"]] * 2
        status, _, body = call(second.address, "GET", "/v1/events/d-u7")
        assert (status, json.loads(body)["events"][0]["verdict"]) == (200, "taken")

        first.kill()
        BackEnd(second).send([event for number in range(20, 40) for event in borrowing(number)])
        until(lambda: second.status()["nodes"] == {"work": 1, "send": 1}, "the first is taken for dead")
        until(lambda: second.status()["unheld"] == {"work": 0, "send": 0}, "no slot is nobody's")
        second.idle()

        paused = json.loads(second.verb("pause", "warehouse", "--reason", "new key", "--json"))
        assert (paused["open"], second.status()["paused"]) == (0, {"warehouse": "new key"})
        assert "PAUSED by" in second.verb("status")
        second.verb("resume", "warehouse")
        assert second.status()["paused"] == {}
        doctor = json.loads(second.verb("doctor", "--json"))
        assert [one for one in doctor["findings"] if one["level"] == "act"] == []
        assert call(second.pages, "GET", "/")[0] == 200
        status, _, body = call(second.pages, "GET", "/funnel")
        assert (status, b"not on this node" in body.lower()) == (501, True)
        assert b"lendsignal run --role desk,web" in body
        assert set(stand.ids("warehouse").values()) == {1}
        assert len(stand.ids("warehouse")) == 80
        assert set(stand.ids("appsflyer-ng").values()) == {1}
        assert len(stand.ids("appsflyer-ng")) == 40
    finally:
        for one in (first, second):
            one.close()
        stand.close()


@pytest.fixture
def node(server: PostgreSql, tmp_path: Path) -> Node:
    """One that is not started, over tables that are not made."""
    schema = f"verbs_{token_hex(4)}"
    return Node(tmp_path / "node", server.plain_url, "http://127.0.0.1:9", NODE_ROLES, schema)


def test_a_store_is_prepared_once_and_gets_its_policy_by_one_act(node: Node) -> None:
    dry = node.verb("store", "prepare", "--dry-run")
    refused = node.verb("store", "policy", code=1)
    made = node.verb("store", "prepare")
    put = node.verb("store", "policy")

    assert "would be made" in dry
    assert "lendsignal store prepare" in refused
    assert "next: lendsignal store policy" in made
    assert "is in force" in put
    assert "in force already" in node.verb("store", "policy")
    assert json.loads(node.verb("store", "prepare", "--json"))["made"] == []


def test_another_policy_takes_the_place_of_the_one_in_force(node: Node) -> None:
    node.verb("store", "prepare")
    first = json.loads(node.verb("store", "policy", "--json"))["policy"]
    node.config.write_text(node.config.read_text() + "\n[derive]\ndefault_dpd = 41\n")
    dry = json.loads(node.verb("store", "policy", "--dry-run", "--json"))
    put = json.loads(node.verb("store", "policy", "--json"))

    assert (dry["before"], dry["changed"]) == (first, True)
    assert (put["before"], put["changed"]) == (first, True)
    assert put["policy"] == dry["policy"] != first


def test_the_doctor_names_what_a_store_lacks_and_what_to_do(node: Node) -> None:
    before = json.loads(node.verb("doctor", "--json", code=1))["findings"]
    node.verb("store", "prepare")
    after = json.loads(node.verb("doctor", "--json", code=1))["findings"]

    def to_do(findings: list[dict[str, str]]) -> set[str]:
        return {one["do"] for one in findings if one["level"] == "act"}

    assert "lendsignal store prepare" in to_do(before)
    assert to_do(after) == {
        "lendsignal store policy",
        "lendsignal run --role work",
        "lendsignal run --role send",
    }


def test_of_a_store_that_does_not_answer_the_doctor_says_just_that(tmp_path: Path) -> None:
    nobody = f"postgresql://lender:a-password@127.0.0.1:{free_port()}/postgres"
    node = Node(tmp_path / "node", nobody, "http://127.0.0.1:9", NODE_ROLES)
    findings = json.loads(node.verb("doctor", "--json", code=1))["findings"]

    (wrong,) = [one for one in findings if one["level"] == "act"]
    assert wrong["check"] == "store"
    assert "a-password" not in wrong["found"]
    assert "a-password" not in node.verb("status", code=1)


def test_a_key_that_is_made_on_one_node_is_listed_on_another(
    node: Node, server: PostgreSql, tmp_path: Path
) -> None:
    node.verb("store", "prepare")
    other = Node(tmp_path / "other", server.plain_url, "http://127.0.0.1:9", NODE_ROLES, node.schema)
    made = json.loads(node.verb("keys", "new", "backend", "--json"))

    assert made["id"] in {one["id"] for one in json.loads(other.verb("keys", "list", "--json"))}


def test_a_user_is_erased_from_the_store_with_a_receipt(node: Node) -> None:
    node.verb("store", "prepare")
    receipt = json.loads(node.verb("erase", "acme:u1", "--yes", "--json"))["receipt"]

    assert receipt in node.verb("erase", "--list")
    assert json.loads(node.verb("erase", "--allow-again", "acme:u1", "--json")) == {"allowed_again": 1}
    node.verb("erase", "--receipt", "er-none", code=1)


@pytest.mark.parametrize("words", [("explain", "acme:u1"), ("report", "funnel"), ("backup", "copies")])
def test_a_verb_that_reads_a_copy_says_that_there_is_none_here_and_what_makes_one(
    node: Node, words: tuple[str, ...]
) -> None:
    node.verb("store", "prepare")
    said = node.verb(*words, code=2)

    assert f"`lendsignal {words[0]}` reads a desk's copy" in said
    assert "lendsignal run --role desk,web" in said
    assert not (node.folder / "data").exists()


@pytest.mark.parametrize(
    ("roles", "allowed"), [("core", "ingest, work, send, web"), ("ingest,pull", "ingest")]
)
def test_roles_of_a_data_folder_are_no_roles_of_a_node(node: Node, roles: str, allowed: str) -> None:
    said = node.verb("run", "--role", roles, code=2)

    assert "[store]" in said
    assert allowed in said


def test_roles_of_a_node_need_a_store(node: Node) -> None:
    node.config.write_text(node.config.read_text().partition("[store]")[0])

    assert "[store]" in node.verb("run", "--role", "work", code=2)
    assert "[store]" in node.verb("store", "prepare", code=2)


def test_a_worker_waits_for_a_policy_and_goes_on_with_the_one_in_force(node: Node) -> None:
    """Then one with another configuration says which is in force, and decides by that."""
    node.verb("store", "prepare")
    store, nobody = node.environment["ACME_STORE"], "http://127.0.0.1:9"
    worker = Node(node.folder / "worker", store, nobody, ("work",), node.schema)
    worker.config.write_text(worker.config.read_text() + "\n[derive]\ndefault_dpd = 41\n")
    try:
        worker.start()
        until(lambda: "lendsignal store policy" in worker.said, "it says what is missing")
        in_force = json.loads(node.verb("store", "policy", "--json"))["policy"]
        until(lambda: f"{in_force} is in force" in worker.said, "it says which policy is in force")

        def nodes() -> dict[str, int]:
            found: dict[str, int] = json.loads(node.verb("status", "--json"))["nodes"]
            return found

        until(lambda: nodes() == {"work": 1}, "it works")
        assert json.loads(node.verb("doctor", "--json", code=1))["ok"] is False  # nobody sends
    finally:
        worker.close()
