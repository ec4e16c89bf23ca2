"""A cluster with desks as real processes: what they archive, pull and report, and which of them leads."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
import duckdb
from msgspec import Struct
from tests.noded import Node
from tests.running import Stand, call, until
from tests.servers.postgresql import PostgreSql, postgresql

from lendsignal.archive.book import Book
from lendsignal.errors import NotYet
from lendsignal.log.postgres import Database

SECRET = "made-up-secret-of-the-mmp"

MORE = """
[archive]
to    = "{archive}"
every = "4s"

[feed.appsflyer]
kind   = "appsflyer"
secret = {{ file = "{mmp}" }}

[pull.logins]
kind       = "files"
folder     = "{drop}"
match      = "*.jsonl"
settle     = "0s"
every      = "100ms"
send_since = 2020-01-01T00:00:00Z

"""


class House(Struct, frozen=True):
    """A cluster: `works` does the work, `first` and `second` are desks. `place`: what they share."""

    works: Node
    first: Node
    second: Node
    place: Path
    server: PostgreSql

    def put(self, name: str, *events: dict[str, Any]) -> None:
        """Puts a file where the pull looks."""
        fresh = self.place / "drop" / f".{name}"
        fresh.write_text("".join(json.dumps(one) + "\n" for one in events))
        fresh.rename(self.place / "drop" / name)

    def expire(self) -> None:
        """The time of the lease passes, by the database's clock."""
        with closing(Database(self.server.plain_url, "jobs")) as database:
            database.rows("update single set until = clock_timestamp() where name = 'desk'")

    def archived(self, desk: Node) -> Counter[str]:
        """How often each event stands in a desk's archive, by the files that count."""
        return Counter(self._column(desk, "events", "event_id"))

    def owner(self, desk: Node) -> str:
        """What a desk's archive is called."""
        return (desk.folder / "data" / "desk.name").read_text()

    def _column(self, desk: Node, table: str, column: str) -> list[str]:
        try:
            with closing(Book(desk.folder / "data" / "archive.sqlite", read_only=True)) as found:
                place = self.place / "archive" / self.owner(desk)
                paths = [str(place / one.name) for one in found.parts() if one.table == table]
        except (apsw.CantOpenError, FileNotFoundError, NotYet):  # it is just being made
            return []
        if not paths:
            return []
        with duckdb.connect() as db:
            return [name for (name,) in db.execute(f"select {column} from read_parquet({paths})").fetchall()]


@contextmanager
def house_at(place: Path) -> Iterator[House]:
    """The cluster with its first desk at work, while the block runs; the second is not started."""
    (place / "drop").mkdir()
    (place / "mmp").write_text(SECRET)
    more = MORE.format(archive=place / "archive", mmp=place / "mmp", drop=place / "drop")
    with ExitStack() as opened:
        server = opened.enter_context(postgresql())
        stand = opened.enter_context(closing(Stand(place / "sandbox")))

        def node(name: str, *roles: str) -> Node:
            one = Node(place / name, server.plain_url, stand.address, roles, "jobs")
            one.config.write_text(one.config.read_text() + more)
            return opened.enter_context(closing(one))

        works = node("works", "ingest", "work", "send")
        first, second = node("first", "desk", "web"), node("second", "desk")
        works.verb("store", "prepare")
        works.verb("store", "policy")
        yield House(works.start().ready(), first.start().ready(), second, place, server)


def leader(house: House) -> str:
    with closing(Database(house.server.plain_url, "jobs")) as database:
        found = database.row("select holder from single where name = 'desk' and until > clock_timestamp()")
    return "" if found is None else str(found[0])


def leading(house: House) -> str:
    """The archive that readers from outside are pointed to."""
    found: dict[str, str] = json.loads((house.place / "archive" / "_leading.json").read_text())
    return found["archive"]


def report(desk: Node, name: str) -> dict[str, Any]:
    status, _, body = call(desk.pages, "GET", f"/v1/reports/{name}", timeout=60)
    assert status == 200, (name, body)
    found: dict[str, Any] = json.loads(body)
    return found


def decided(house: House, n: int) -> None:
    """Returns when so many events were decided, and all that follows was sent."""
    until(lambda: house.works.idle()["decided"] >= n, f"{n} events are decided")
