"""The whole service reads a lender's own database and folder, and is killed while it does."""

import http.client
import json
import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.running import ENVIRONMENT, Ledger, Service, call, drawn_seed, service, until
from tests.servers.mariadb import PASSWORD
from tests.servers.postgresql import PostgreSql, postgresql

from lendsignal.errors import NotYet
from lendsignal.log import open_pulls
from lendsignal.source.sql import outbox_sql

PULLS = """
[pull.loans]
kind       = "sql"
url        = "{url}"
password   = {{ env = "LOANS_PASSWORD" }}
outbox     = "outbox"
every      = "50ms"
batch      = 20
send_since = 2020-01-01T00:00:00Z

[pull.logins]
kind       = "files"
folder     = "drop"
match      = "*.jsonl"
settle     = "0s"
every      = "50ms"
send_since = 2020-01-01T00:00:00Z

[pull.elsewhere]
kind     = "sql"
url      = "postgresql+psycopg://lender@127.0.0.1:1/none"
outbox   = "outbox"
every    = "50ms"
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgreSql]:
    with postgresql() as one:
        yield one


def boxed(n: int) -> str:
    event = {
        "type": "disbursed",
        "brand": "acme",
        "user_id": f"u{n}",
        "loan_id": f"L{n}",
        "amount": "25000",
        "currency": "NGN",
        "occurred_at": datetime.now(UTC).isoformat(),
    }
    return f"insert into outbox (event) values ('{json.dumps(event)}')"


def login(n: int) -> dict[str, Any]:
    ids = {"appsflyer_id": f"{1_700_000_000_000 + n}-{1_000_000 + n}", "os_version": "13"}
    return {
        "type": "registered",
        "brand": "acme",
        "user_id": f"u{n}",
        "app": "acme-ng",
        "device": ids,
        "occurred_at": datetime.now(UTC).isoformat(),
    }


def status_of(one: Service) -> dict[str, Any]:
    return {state.name: state for state in standing(one)}


def standing(one: Service) -> list[Any]:
    """What the role has noted; nothing while it has only just been started."""
    try:
        pulls = open_pulls(one.data / "pulls.sqlite", read_only=True)
    except NotYet:
        return []
    try:
        return pulls.standing()
    finally:
        pulls.close()


def test_rows_and_files_become_deliveries_once_though_everything_is_killed(
    tmp_path: Path, postgres: PostgreSql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "LOANS_PASSWORD", PASSWORD)
    users, chance = 240, random.Random(drawn_seed())
    postgres.execute("drop table if exists outbox", outbox_sql("postgresql", "outbox"))
    with service(tmp_path, start=False) as (one, stand):
        config = one.folder / "lendsignal.toml"
        config.write_text(config.read_text() + PULLS.format(url=postgres.url))
        drop = one.folder / "drop"
        drop.mkdir()
        (drop / "logins.jsonl").write_text("".join(json.dumps(login(n)) + "\n" for n in range(users)))
        one.start()
        until(
            lambda: status_of(one).get("logins") and status_of(one)["logins"].events == users, "logins are in"
        )

        def insert() -> None:
            for start in range(0, users, 12):
                postgres.execute(*(boxed(n) for n in range(start, start + 12)))

        writer = threading.Thread(target=insert)
        writer.start()
        for role in ("pull", "core", "pull", "core", "pull"):
            one.kill(role)
            threading.Event().wait(chance.uniform(0.1, 0.5))
        writer.join()
        until(lambda: len(stand.ids("warehouse")) >= 2 * users, "all of it is delivered")
        one.ready()
        one.idle()
        metrics = until(lambda: _page_with(one, "lendsignal_pull_rows_total"), "the pull's metrics")
        seen = status_of(one)
        one.stop()
        ledger = Ledger(one.data)

    assert len(set(ledger.planned["appsflyer-ng"])) == users
    assert ledger.verdicts["taken"] == 2 * users
    assert len(set(ledger.events)) == 2 * users
    assert ledger.count("appsflyer-ng", "accepted") == users
    assert ledger.balances("appsflyer-ng")
    assert ledger.balances("warehouse")
    assert seen["elsewhere"].state == "trouble"
    assert seen["elsewhere"].reason == "unreachable"
    assert 'lendsignal_pull_up{pull="elsewhere"} 0.0' in metrics
    assert 'lendsignal_role_up{role="pull"} 1.0' in metrics
    assert PASSWORD not in one.said


def _page_with(one: Service, metric: str) -> str | None:
    try:
        page = call(one.address, "GET", "/metrics")[2].decode()
    except (OSError, http.client.HTTPException):
        return None
    return page if f'{metric}{{pull="loans"}}' in page else None


def test_without_a_pull_no_process_waits_for_one_and_nobody_finds_the_inner_door(tmp_path: Path) -> None:
    with service(tmp_path) as (one, _):
        page = call(one.address, "GET", "/metrics")[2].decode()
        status, _, _ = call(one.address, "POST", "/v1/pulled", b'{"pull":"x","events":[],"unread":[]}')

        assert one.pid("pull") is None
        assert 'role="pull"' not in page
        assert status == 404
