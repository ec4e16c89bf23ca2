"""The console of a cluster, at a desk: every page over its copy, every form against the store."""

import http.client
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from urllib.parse import urlencode

import pytest
from msgspec import Struct
from tests.noded import Node
from tests.running import PATIENCE, BackEnd, Stand, borrowing, call, until
from tests.servers.postgresql import PostgreSql, postgresql

from lendsignal.console.app import every_page

USERS = 6
REFUSED = 3
"""Loans that say no currency, and which somebody must mend."""


class Visitor:
    """Somebody at the pages of a node; a form carries what its page gave."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.at = "/"

    def get(self, path: str) -> tuple[int, str]:
        status, _, body = call(self.address, "GET", path)
        return status, body.decode()

    def post(self, page: str, act: str, **fields: str) -> str:
        """What the page says after a form of it was sent; where that led is `at`."""
        _, before = self.get(page)
        secret = re.search(r'"X-Form": "([^"]+)"', before)
        assert secret is not None, before[:500]
        body = urlencode({"form": secret[1], **fields}).encode()
        headers = {
            "Content_Type": "application/x-www-form-urlencoded",
            "Referer": f"http://{self.address}{page}",
        }
        status, answered, _ = call(
            self.address, "POST", f"{page.rstrip('/')}/act/{act}", body, timeout=60, **headers
        )
        assert status == 303, (page, act, status)
        self.at = answered["location"]
        status, after = self.get(self.at)
        assert status == 200, (page, act, after[:2000])
        said = re.search(r'class="said (?:good|bad)" role="status">(.*?)</p>', after, re.S)
        assert said is not None, (page, act)
        return said[1]


class House(Struct, frozen=True):
    """A cluster at work: one node does all, and another is its desk."""

    stand: Stand
    node: Node
    desk: Node
    visitor: Visitor


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql(fsync="off") as one:
        yield one


@pytest.fixture(scope="module")
def house(server: PostgreSql, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder, url = tmp_path_factory.mktemp("house"), server.plain_url
    with ExitStack() as opened:
        stand = opened.enter_context(closing(Stand(folder / "sandbox")))

        def made(name: str, *roles: str) -> Node:
            return opened.enter_context(closing(Node(folder / name, url, stand.address, roles, "with_desk")))

        node, desk = made("node", "ingest", "work", "send"), made("desk", "desk", "web")
        desk.config.write_text(desk.config.read_text() + "\n[archive]\nkeep = false\n")
        one = House(stand, node, desk, Visitor(desk.pages))
        node.verb("store", "prepare")
        node.verb("store", "policy")
        node.start()
        desk.start()
        node.ready()
        desk.ready()
        BackEnd(node).send([event for number in range(USERS) for event in borrowing(number)])
        refused = [{**borrowing(number, prefix="x")[1], "currency": "naira"} for number in range(REFUSED)]
        call(node.address, "POST", "/v1/events", json.dumps(refused).encode())
        node.idle()
        until(lambda: f"d-u{USERS - 1}" in one.visitor.get("/live/panel/events")[1], "the copy has them")
        until(
            lambda: "accepted" in one.visitor.get(f"/life/panel/life?q=d-u{USERS - 1}")[1],
            "and what came of them",
        )
        yield one


ABOUT_ONE = {"/erasures/panel/receipt"}
"""What is about one thing that somebody named."""

PARTS = [
    *((page.path, page.path) for page in every_page()),
    *((page.path, f"{page.path.rstrip('/')}/panel/{name}") for page in every_page() for name in page.panels),
]


@pytest.mark.parametrize("path", [path for _, path in PARTS if path not in ABOUT_ONE])
def test_every_page_and_panel_is_there_at_a_desk(house: House, path: str) -> None:
    status, text = house.visitor.get(path)

    assert status == 200, text


def test_a_desk_tells_the_life_of_an_event_and_the_timeline_of_a_user(house: House) -> None:
    life = house.visitor.get("/life/panel/life?q=d-u1")[1]
    timeline = house.visitor.get("/life/panel/life?q=acme:u1")[1]
    told = json.loads(house.desk.verb("explain", "d-u1", "--json"))

    assert "warehouse" in life
    assert "accepted" in life
    assert timeline.index("registered") < timeline.index("disbursed")
    assert told["kind"] == "event"


def test_a_desk_says_by_server_sent_events_when_something_came(house: House) -> None:
    host, _, port = house.desk.pages.partition(":")
    with closing(http.client.HTTPConnection(host, int(port), timeout=PATIENCE)) as connection:
        connection.request("GET", "/fresh")
        lines = connection.getresponse()
        first = lines.readline()
        BackEnd(house.node).send(borrowing(90)[:1])
        fresh = next(line for line in iter(lines.readline, b"") if line.startswith(b"event:"))

    assert first == b"retry: 3000\n"
    assert fresh == b"event: fresh\n"


def test_a_desk_answers_the_calls_of_a_node_and_those_of_reports(house: House) -> None:
    calls = ("/healthz", "/readyz", "/v1/status", "/v1/events/d-u1", "/v1/reports/funnel", "/metrics")
    status = {path: call(house.desk.pages, "GET", path)[0] for path in calls}
    steps = json.loads(call(house.desk.pages, "GET", "/v1/reports/delivery")[2])

    assert set(status.values()) == {200}, status
    assert steps["tables"]


def test_who_wants_a_report_on_another_node_is_told_where_the_desk_is(house: House) -> None:
    address = f"http://{house.desk.pages}"

    until(lambda: address in house.node.verb("report", "funnel", code=2), "the store knows the desk")


# what pages change goes to the store


ELSEWHERE = {
    *(("/destinations", act) for act in ("pause", "resume", "replay")),
    *(("/quarantine", act) for act in ("send_through", "drop")),
    *(("/keys", act) for act in ("make", "rotate", "revoke")),
    *(("/routes", act) for act in ("draft_text", "take_over", "put_in_force")),
}
"""What the tests below do."""

ACTS: Mapping[tuple[str, str], tuple[Mapping[str, str], str]] = {
    ("/account", "remember"): ({"language": "zh"}, "demo"),
    ("/advice", "propose"): ({}, "No campaign has a step to take now"),
    ("/advice", "accept"): ({"proposal": "1"}, "it is not open any more"),
    ("/advice", "decline"): ({"proposal": "1"}, "it is not open any more"),
    ("/alerts", "silence"): ({"key": "silence:acme-ng", "span": "1h"}, "this alarm is not open any more"),
    ("/audiences", "build"): ({}, "Building"),
    ("/audiences", "confirm"): ({"list": "none"}, "there is no such list"),
    ("/audiences", "sync"): ({}, "Telling"),
    ("/destinations", "test"): ({"name": "warehouse"}, "Test event for warehouse: accepted"),
    ("/erasures", "erase"): ({"user": "u5", "brand": "acme", "sure": "yes"}, "is asked for"),
    ("/erasures", "allow"): ({"user": "u5", "brand": "acme"}, "may come in again"),
    ("/people", "invite"): ({"role": "viewer"}, "Hand this over within a day"),
    ("/people", "expect"): ({"login": "ada@acme.example", "role": "buyer"}, "may come in by the provider"),
    ("/people", "change"): ({"login": "nobody", "state": "out"}, "nobody"),
    ("/routes", "draft_route"): (
        {"route": "0", "send.disbursement": "ev_y", "mode": "live"},
        "without a mistake",
    ),
    ("/value", "promote"): ({"version": "v1"}, "there is no such value model any more"),
}
"""Each other act, with what it says here: it is done in the desk's own folder, or says why it is not."""


def test_no_act_of_the_console_is_left_out() -> None:
    assert {(page.path, act) for page in every_page() for act in page.acts} == ELSEWHERE | ACTS.keys()


@pytest.mark.parametrize(("page", "act"), ACTS)
def test_an_act_is_done_at_the_desk_or_says_why_not(house: House, page: str, act: str) -> None:
    fields, expected = ACTS[page, act]

    def said() -> str:
        found = house.visitor.post(page, act, **fields)
        return "" if "is at work: wait" in found else found  # one at a time

    assert expected in until(said, "it is done")


def test_a_destination_is_stopped_and_let_go_for_all_senders(house: House) -> None:
    said = house.visitor.post("/destinations", "pause", name="warehouse", reason="new token")
    paused = house.node.status()["paused"]
    shown = house.visitor.get("/destinations?name=warehouse")[1]
    let_go = house.visitor.post("/destinations", "resume", name="warehouse")

    assert said == "paused: warehouse"
    assert paused == {"warehouse": "new token"}
    assert "demo" in shown, "who stopped it"
    assert let_go == "let go: warehouse"
    assert house.node.status()["paused"] == {}


def test_the_dead_are_sent_again_from_the_console_and_from_the_command_line(house: House) -> None:
    visitor, words = house.visitor, ("--destination", "warehouse", "--json")
    house.stand.faults({"kind": "status", "host": "hooks.acme.example", "status": 400, "times": 2})
    BackEnd(house.node).send([event for number in (50, 51) for event in borrowing(number)[:1]])

    def dead() -> int:
        found = json.loads(house.node.verb("dead", "list", *words))
        return sum(one["n"] for one in found["counts"])

    until(lambda: dead() == 2, "two are dead")
    listed = json.loads(house.node.verb("dead", "list", *words))["deliveries"]
    number = str(listed[0]["id"])
    shown = json.loads(house.desk.verb("dead", "show", number, "--json"))
    counted = json.loads(house.node.verb("replay", *words, "--dry-run"))
    panel = visitor.get("/destinations/panel/dead?name=warehouse&span=24h")[1]
    released = json.loads(house.node.verb("dead", "release", number, "--json"))
    until(lambda: dead() == 1, "one is not dead any more")
    said = visitor.post("/destinations", "replay", name="warehouse", span="24h", state="dead")
    until(lambda: dead() == 0, "nor is the other")
    house.node.idle()

    assert shown["reason"] == "http_400"
    assert counted["chosen"] == 2
    assert "failed on purpose" in panel
    assert (released["done"], said) == (1, "1 deliveries of warehouse wait again")


def test_what_waits_is_cancelled_on_any_node(house: House) -> None:
    house.node.verb("pause", "warehouse")
    BackEnd(house.node).send(borrowing(60)[:1])
    until(lambda: house.node.status()["waiting"].get("warehouse"), "one waits")
    came = json.loads(house.desk.verb("cancel", "--destination", "warehouse", "--waiting", "--yes", "--json"))
    house.node.verb("resume", "warehouse")

    assert (came["chosen"], came["done"]) == (1, 1)
    assert not house.node.status()["waiting"].get("warehouse")


def test_what_the_door_refused_is_mended_and_taken_at_the_desk_and_on_any_node(house: House) -> None:
    visitor = house.visitor
    listed = json.loads(house.node.verb("quarantine", "list", "--json"))
    (kind,) = [one for one in listed["counts"] if one["field"] == "currency"]
    first = str(min(one["id"] for one in listed["events"] if one["field"] == "currency"))
    page = visitor.get("/quarantine?" + urlencode({"source": "backend", "field": "currency"}))[1]
    mended = json.loads(
        house.node.verb("quarantine", "mend", first, "--set", "currency=NGN", "--yes", "--json")
    )
    said = visitor.post(
        "/quarantine", "send_through", source="backend", field="currency", set="currency", to="NGN"
    )
    house.node.idle()
    became = json.loads(house.desk.verb("quarantine", "list", "--state", "taken", "--json"))["events"]
    verdicts = [
        json.loads(call(house.desk.pages, "GET", f"/v1/events/d-x{n}")[2])["events"][0]["verdict"]
        for n in range(REFUSED)
    ]

    assert kind["n"] == REFUSED
    assert "naira" in page
    assert (mended["would_pass"], mended["taken"]) == (1, 1)
    assert said == "2 are being sent through again."
    assert {one["event_id"] for one in became} == {f"d-x{n}" for n in range(REFUSED)}
    assert {one["who"] for one in became} >= {"demo"}
    assert verdicts == ["taken"] * REFUSED


def test_a_kind_that_nobody_wants_is_dropped_in_the_store(house: House) -> None:
    wrong = json.dumps([{**borrowing(70)[1], "event_id": "d-70", "amount": "much"}]).encode()
    call(house.node.address, "POST", "/v1/events", wrong)
    said = house.visitor.post("/quarantine", "drop", source="backend", field="amount")

    assert said == "1 were dropped."
    assert json.loads(house.node.verb("quarantine", "list", "--field", "amount", "--json"))["events"] == []


def test_keys_that_the_desk_makes_are_the_clusters(house: House) -> None:
    visitor = house.visitor

    def listed() -> list[str]:
        return [one["id"] for one in json.loads(house.node.verb("keys", "list", "--json"))]

    before = listed()
    made = visitor.post("/keys", "make", source="backend", expires="30d")
    visitor.post("/keys", "rotate", source="backend", overlap="24h", expires="never")
    fresh = [one for one in listed() if one not in before]
    ended = visitor.post("/keys", "revoke", id=fresh[0])

    assert "it is shown only now" in made
    assert len(fresh) == 2
    assert "has ended" in ended


def test_a_route_is_changed_at_the_desk_and_put_in_force_for_all(house: House) -> None:
    visitor, before = house.visitor, house.desk.config.read_text()
    drafted = visitor.post(
        "/routes", "draft_text", text=before.replace('registration = "ev_r"', 'registration = "ev_x"')
    )
    draft = re.search(r'name="draft" value="(\w+)"', visitor.get(visitor.at)[1])
    assert draft is not None
    rehearsed = visitor.get(f"/routes/panel/difference?draft={draft[1]}")
    taken = visitor.post("/routes", "take_over", draft=draft[1])
    page = visitor.get("/routes")[1]
    put = visitor.post("/routes", "put_in_force")
    again = visitor.post("/routes", "put_in_force")
    BackEnd(house.node).send(borrowing(80))
    house.node.idle()

    assert "without a mistake" in drafted
    assert rehearsed[0] == 200
    assert "is replaced on this node" in taken
    assert "not the one that is in force" in page
    assert "is in force on all nodes" in put
    assert "is in force already" in again
    assert "ev_x" in json.dumps(house.stand.look("received?platform=webhook"))
