"""What comes into a cluster beside its doors, and what a person does to what is in it: the same over any log.

`test_slots_of_a_topic` takes these tests over a Kafka topic.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from starlette.applications import Starlette
from tests.acme import source
from tests.browsing import Browser
from tests.clustered import Cluster, decide_all
from tests.noded import Node
from tests.running import ENVIRONMENT, borrowing
from tests.servers.postgresql import PostgreSql, postgresql

from lendsignal import config as configuration
from lendsignal.clock import SystemClock
from lendsignal.decide.slots import SlotDecider
from lendsignal.erase import in_store
from lendsignal.errors import LogError
from lendsignal.log import Quarantined
from lendsignal.log.cluster import waiting_in_topic
from lendsignal.log.erasures import About
from lendsignal.log.postgres import schema
from lendsignal.role.cluster import cluster_status
from lendsignal.role.erasing import erasing_routes
from lendsignal.source import Keyring, read_event, reader_of
from lendsignal.source.mending import kept_of

PERSON = "p-77"

MAP = """
[constant]
brand    = "acme"
currency = "NGN"

[file.loans]
match = "loans.csv"

[column.at]
kind     = "time"
timezone = "UTC"

[[event]]
type = "disbursed"
[event.columns]
user_id     = "user"
occurred_at = "at"
loan_id     = "loan"
amount      = "amount"
"""

OFFICE_KEY = "ls_made-up-key-of-the-office"

MORE = """
[source.office]
key    = {{ env = "ACME_OFFICE" }}
scopes = ["admin"]

[pull.logins]
kind       = "files"
folder     = "{folder}"
match      = "*.jsonl"
settle     = "0s"
send_since = 2020-01-01T00:00:00Z
"""


class Install(NamedTuple):
    """A node that is not started, over a store: its verbs are said, and a worker decides when it is told."""

    node: Node
    cluster: Any
    settle: Callable[..., None]
    worker: SlotDecider

    def tell(self, *events: dict[str, Any]) -> None:
        """What a back end says is durable, and not decided yet."""
        config = configuration.load(self.node.config)
        reader = reader_of(config.apps, config.policy.resolve.clock_ahead)
        now = datetime.now(UTC)
        self.cluster.door().append([read_event(one, now, reader, source="backend") for one in events])

    def decided(self) -> dict[str, int]:
        """Decides all that is durable; how often there was which verdict since the beginning."""
        self.settle(self.cluster, self.worker)
        return {name: n for (what, name), n in self.cluster.tally().items() if what == "verdict"}

    def users(self) -> set[str]:
        """Who has a state."""
        return set(self.cluster.states()) - {f":{PERSON}"}


def installed(folder: Path, cluster: Any, settle: Callable[..., None], store: str = "") -> Install:
    """`store`: what its configuration says of the log, where that is not PostgreSQL's own."""
    node = Node(folder / "node", cluster.url, "http://127.0.0.1:9", ("work",), cluster.schema)
    node.config.write_text(node.config.read_text() + store + MORE.format(folder=folder / "drop"))
    return Install(node, cluster, settle, cluster.worker("one"))


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql(autovacuum="off", fsync="off") as one:
        yield one


@pytest.fixture
def install(server: PostgreSql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    monkeypatch.setattr(schema, "DAYS_AHEAD", 0)

    def settle(cluster: Cluster, *workers: SlotDecider) -> None:
        decide_all(*workers)

    with closing(Cluster(server.plain_url, policy=source())) as cluster:
        yield installed(tmp_path, cluster, settle)


@pytest.fixture(autouse=True)
def secrets(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verbs of a node find the store; what this process asks of it finds it too."""
    if "install" in request.fixturenames:
        one: Install = request.getfixturevalue("install")
        monkeypatch.setenv("ACME_OFFICE", OFFICE_KEY)
        for name in ("ACME_STORE", *ENVIRONMENT):
            monkeypatch.setenv(name, one.node.environment[name])


def test_a_file_is_imported_from_any_node_once(install: Install, tmp_path: Path) -> None:
    rows = ["user,at,loan,amount", *(f"f{n},2026-03-0{n + 1} 10:00:00,F{n},100{n}" for n in range(3))]
    (tmp_path / "loans.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "loans.toml").write_text(MAP)
    words = ("import", str(tmp_path / "loans.csv"), "--map", str(tmp_path / "loans.toml"))
    first, again = install.node.verb(*words), install.node.verb(*words)

    assert "3  events imported" in first
    assert "nothing is added" in again
    assert install.decided()["taken"] == 3
    assert install.users() == {"acme:f0", "acme:f1", "acme:f2"}


def test_files_that_are_pulled_are_decided_once_though_the_place_in_them_was_lost(
    install: Install, tmp_path: Path
) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / "a.jsonl").write_text("".join(json.dumps(one) + "\n" for n in range(4) for one in borrowing(n)))
    first = json.loads(install.node.verb("pull", "logins", "--once", "--json"))
    install.cluster.database.rows("truncate pull_mark, pull_remembered, pull_note")
    again = json.loads(install.node.verb("pull", "logins", "--once", "--json"))

    assert (first["events"], again["events"]) == (8, 16)
    assert {name: install.decided()[name] for name in ("taken", "duplicate")} == {"taken": 8, "duplicate": 8}
    assert install.users() == {f"acme:u{n}" for n in range(4)}


def test_what_a_door_refused_is_mended_at_a_node_and_decided(install: Install) -> None:
    wrong = json.dumps({**borrowing(1)[1], "currency": "naira"}).encode()
    refused = Quarantined(
        received_us=SystemClock().now_us(),
        source="backend",
        field="currency",
        rule="is no currency",
        body=wrong,
        kept=kept_of(wrong),
    )
    install.cluster.door().refuse([refused])
    words = ("--set", "currency=NGN", "--yes", "--json")
    mended = json.loads(install.node.verb("quarantine", "mend", "1", *words))
    install.decided()

    assert (mended["would_pass"], mended["taken"]) == (1, 1)
    ((fact, verdict),) = install.cluster.door().find("d-u1")
    assert (fact.event.currency, str(verdict)) == ("NGN", "taken")


def test_how_far_a_cluster_is_counts_what_nobody_has_decided_yet(install: Install) -> None:
    install.decided()
    install.tell(*borrowing(1), *borrowing(2))
    config = configuration.load(install.node.config)
    before = cluster_status(install.cluster.database, config, SystemClock())
    waiting = install.cluster.door().find("d-u2")
    install.decided()
    after = cluster_status(install.cluster.database, config, SystemClock())

    assert (before.events - before.decided, before.idle) == (4, False)
    assert [verdict for _, verdict in waiting] == [None]
    assert after.events == after.decided == before.events
    assert [fact.seq for fact, _ in install.cluster.door().find("d-u2")] == [fact.seq for fact, _ in waiting]
    assert config.store is not None
    assert waiting_in_topic(config.store, install.cluster.database) == 0


def test_a_person_is_erased_with_a_user_whom_only_an_event_names_that_waits(install: Install) -> None:
    """What is decided of that user goes too, though nobody knew yet whose it is."""
    install.tell(*borrowing(1), *borrowing(2), *({**one, "person_id": PERSON} for one in borrowing(3)))
    install.decided()
    install.tell({**borrowing(1)[0], "event_id": "says-who", "person_id": PERSON})
    receipt = json.loads(install.node.verb("erase", "--person", PERSON, "--yes", "--json"))
    install.decided()

    assert len(receipt["subjects"]) == 3
    assert install.users() == {"acme:u2"}
    assert install.cluster.door().find("d-u1") == install.cluster.door().find("says-who") == []
    bodies = b"".join(body for (body,) in install.cluster.database.rows("select body from event"))
    assert (b"d-u2" in bodies, b"d-u1" in bodies, b"says-who" in bodies) == (True, False, False)


def test_a_user_whose_events_wait_is_erased_by_a_call_and_a_worker(install: Install) -> None:
    config = configuration.load(install.node.config)

    keys = Keyring(config.keys, SystemClock(), lambda: 0.0)
    install.tell(*borrowing(1), *borrowing(2))
    office = Browser(Starlette(routes=erasing_routes(config, keys, SystemClock())))
    bearer = {"authorization": f"Bearer {OFFICE_KEY}"}
    asked = office._ask("DELETE", "/v1/users/u1?brand=acme", b"", bearer)
    in_store.carried_on(config, SystemClock(), asks=False)
    shown = office._ask("GET", json.loads(asked.text)["see"], b"", bearer)
    found = install.cluster.door().find("d-u1")
    install.decided()

    assert (asked.status, shown.status) == (202, 200)
    assert found == []
    assert install.users() == {"acme:u2"}
    assert "u1" not in shown.text


def test_while_brokers_are_away_a_persons_erasure_waits_and_a_users_goes_on(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, clock = configuration.load(install.node.config), SystemClock()
    install.tell(*borrowing(1), *({**one, "person_id": PERSON} for one in borrowing(2)), *borrowing(3))
    install.decided()

    def away(*about: object) -> None:
        raise LogError("Kafka does not answer")

    in_store.ask(config, About(users=(), person=PERSON), "ada", clock)
    in_store.ask(config, About(users=(("acme", "u1"),)), "ada", clock)
    with monkeypatch.context() as patched:
        patched.setattr(in_store, "undecided_in_topic", away)
        with pytest.raises(LogError, match="Kafka"):
            in_store.carried_on(config, clock, asks=False)
        meanwhile = install.users()
    in_store.carried_on(config, clock, asks=False)

    assert meanwhile == {"acme:u2", "acme:u3"}
    assert install.users() == {"acme:u3"}
