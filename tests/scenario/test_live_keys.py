"""Keys that are made, changed and ended while the service runs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.running import ENVIRONMENT, Service, call, service, until

GATEWAY = """
[source.gateway]
scopes     = ["events", "read", "relay"]
per_second = 5
burst      = 10
max_bytes  = 2048
"""


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("keys"), start=False) as (found, _):
        with (found.folder / "lendsignal.toml").open("a") as config:
            config.write(GATEWAY)
        yield found.start()


def keys(one: Service, *words: str) -> Any:
    """`lendsignal keys`, as somebody types it beside the running service."""
    done = subprocess.run(
        [sys.executable, "-m", "lendsignal", "keys", *words, "--config", "lendsignal.toml", "--json"],
        cwd=one.folder,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)


def asks(one: Service, key: str) -> int:
    """The status of a question with that key: 404 where it is let in, for nobody knows the event."""
    return call(one.address, "GET", "/v1/events/none", Authorization=f"Bearer {key}")[0]


def tells(one: Service, key: str, number: int, **fields: Any) -> tuple[int, dict[str, str]]:
    """The status and headers of so many events with that key."""
    common = {"type": "app_opened", "brand": "acme", "occurred_at": "2026-03-01T00:00:00Z", **fields}
    events = [{**common, "user_id": f"u{n}"} for n in range(number)]
    status, headers, _ = call(
        one.address, "POST", "/v1/events", json.dumps(events).encode(), Authorization=f"Bearer {key}"
    )
    return status, headers


def test_a_key_is_good_and_ends_without_a_restart_and_its_use_is_seen(one: Service) -> None:
    pid = one.pid("core")
    made = keys(one, "new", "gateway", "--scope", "read")
    until(lambda: asks(one, made["key"]) == 404, "the new key is good")
    assert tells(one, made["key"], 1)[0] == 403
    changed = keys(one, "rotate", "gateway", "--overlap", "1h")
    until(lambda: asks(one, changed["key"]) == 404, "the changed key is good")
    assert asks(one, made["key"]) == 404

    def used() -> set[str]:
        return {found["id"] for found in keys(one, "list") if found["last_used"]}

    until(lambda: {made["id"], changed["id"]} <= used(), "the last use is written down")
    keys(one, "revoke", made["id"])
    until(lambda: asks(one, made["key"]) == 401, "the revoked key has ended")
    assert asks(one, changed["key"]) == 404
    assert one.pid("core") == pid
    assert made["key"] not in one.said


def test_a_key_that_sends_too_much_is_slowed_down_and_others_are_not(one: Service) -> None:
    slow, other = keys(one, "new", "gateway")["key"], keys(one, "new", "gateway")["key"]
    until(lambda: asks(one, slow) == asks(one, other) == 404, "the keys are good")

    assert tells(one, slow, 12)[0] == 202
    status, headers = tells(one, slow, 1)
    assert (status, headers["retry-after"]) == (429, "1")
    assert tells(one, other, 1)[0] == 202
    assert tells(one, other, 1, product="p" * 2_048)[0] == 413
    page = call(one.address, "GET", "/metrics")[2].decode()
    assert 'lendsignal_door_turned_away_total{source="gateway",why="rate"}' in page
    assert 'lendsignal_door_turned_away_total{source="gateway",why="size"}' in page
    until(lambda: tells(one, slow, 1)[0] == 202, "the slow key may send again")
