"""The real Segment and RudderStack SDKs, pointed at the real service: what they send arrives, binds to the
phone they showed and is delivered, and what we answer is what they understand."""

import json
import logging
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import rudderstack.analytics.client
import segment.analytics.client
from tests.running import Ledger, Service, Stand, call, service, until
from tests.servers.segment_node import node_modules

from lendsignal.log import open_keys

SENDER = Path(__file__).parent / "segment" / "send.js"
WRITE_KEY, SLOW_KEY, NARROW_KEY = "ls_made-up-write-key", "ls_made-up-slow-key", "ls_made-up-narrow-key"

SOURCES = """
[source.sdk]
key = { env = "SDK_KEY" }

[source.slow]
key        = { env = "SLOW_KEY" }
per_second = 10
burst      = 5

[source.narrow]
key    = { env = "NARROW_KEY" }
scopes = ["events"]
"""

Call = tuple[str, dict[str, Any]]
"""A method of an SDK, and what it is called with, in Segment's own field names."""

Sdk = Callable[[str, str, Sequence[Call]], Sequence[str]]
"""Sends calls to an address with a write key; what went wrong in the SDK's words."""


def by_python(module: Any) -> Sdk:
    """An SDK of the Python family: Segment's own, or RudderStack's that grew from it."""

    def send(address: str, key: str, calls: Sequence[Call]) -> Sequence[str]:
        wrong: list[str] = []
        client = module.client.Client(
            key,
            host=f"http://{address}",
            gzip=True,
            upload_size=5,
            upload_interval=0.05,
            on_error=lambda error, batch: wrong.append(str(error)),
        )
        logging.getLogger(module.__name__.partition(".")[0]).setLevel(logging.CRITICAL)
        names = {"userId": "user_id", "previousId": "previous_id", "messageId": "message_id"}
        for method, fields in calls:
            getattr(client, method)(**{names.get(name, name): value for name, value in fields.items()})
        client.flush()
        client.join()
        return wrong

    return send


def by_node(address: str, key: str, calls: Sequence[Call]) -> Sequence[str]:
    """Segment's SDK for Node, in a process of its own."""
    told = json.dumps({"writeKey": key, "host": f"http://{address}", "calls": calls})
    ended = subprocess.run(
        ["node", str(SENDER)],
        input=told,
        env={**os.environ, "NODE_PATH": str(node_modules())},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stderr.splitlines()


SDKS: dict[str, Sdk] = {
    "segment-python": by_python(segment.analytics),
    "rudder-python": by_python(rudderstack.analytics),
    "segment-node": by_node,
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Stand]]:
    """One service for all: each SDK has users of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDK_KEY", WRITE_KEY)
        patch.setenv("SLOW_KEY", SLOW_KEY)
        patch.setenv("NARROW_KEY", NARROW_KEY)
        with service(tmp_path_factory.mktemp("segment"), start=False) as (one, stand):
            with (one.folder / "lendsignal.toml").open("a") as config:
                config.write(SOURCES)
            yield one.start(), stand


def borrowing(user: str, number: int) -> list[Call]:
    """A user is shown on a phone, applies, gets a loan, and looks at offers."""
    phone = {
        "os": {"name": "Android", "version": "13"},
        "app": {"namespace": "com.acme.loans", "version": "2.1"},
        "device": {"advertisingId": "38400000-8cf0-11bd-b23e-10b96e40000d", "model": "Infinix X657"},
        "ip": "203.0.113.7",
    }
    ids = {"AppsFlyer": {"appsflyer_id": appsflyer_id(number)}}
    loan = {"loanId": f"L-{user}", "amount": 25000, "currency": "NGN", "fee": "1500"}
    return [
        (
            "identify",
            {
                "userId": user,
                "traits": {"email": f"{user}@acme.example", "name": "Ada"},
                "context": phone,
                "integrations": ids,
            },
        ),
        ("track", {"userId": user, "event": "Loan Applied", "properties": {"applicationId": f"A-{user}"}}),
        ("track", {"userId": user, "event": "Loan Disbursed", "properties": loan}),
        ("track", {"userId": user, "event": "Viewed Offer", "properties": {"step": 3}}),
        ("alias", {"userId": user, "previousId": f"anon-{user}"}),
    ]


def appsflyer_id(number: int) -> str:
    return f"{1_700_000_000_000 + number}-{2_000_000 + number}"


def delivered(stand: Stand) -> set[str]:
    """The installations for which AppsFlyer took a conversion."""
    found = stand.look("received?platform=appsflyer&account=com.acme.loans")["items"]
    return {json.dumps(one) for one in found}


@pytest.mark.parametrize("name", SDKS)
def test_what_an_sdk_sends_is_delivered_for_the_phone_it_showed(
    house: tuple[Service, Stand], name: str
) -> None:
    one, stand = house
    number = 10 * (1 + list(SDKS).index(name))
    users = [f"{name}-{n}" for n in range(3)]
    calls = [call for n, user in enumerate(users) for call in borrowing(user, number + n)]

    assert SDKS[name](one.address, WRITE_KEY, calls) == []
    one.idle()
    shown = delivered(stand)
    for n in range(3):
        assert sum(appsflyer_id(number + n) in row for row in shown) == 1


@pytest.mark.parametrize("name", SDKS)
def test_an_sdk_is_told_of_a_wrong_key_and_of_a_missing_scope(
    house: tuple[Service, Stand], name: str
) -> None:
    one, _ = house
    (wrong,) = SDKS[name](one.address, "ls_of-somebody-else", borrowing("stranger", 1)[:1])
    (narrow,) = SDKS[name](one.address, NARROW_KEY, borrowing("stranger", 1)[:1])

    assert "401" in wrong
    assert "403" in narrow


@pytest.mark.parametrize("name", ["segment-python", "rudder-python"])
def test_an_sdk_that_is_slowed_down_loses_nothing(house: tuple[Service, Stand], name: str) -> None:
    one, stand = house
    number = 100 * (1 + list(SDKS).index(name))
    users = [f"slow-{name}-{n}" for n in range(4)]
    calls = [call for n, user in enumerate(users) for call in borrowing(user, number + n)]

    assert SDKS[name](one.address, SLOW_KEY, calls) == []
    one.idle()
    shown = delivered(stand)
    for n in range(4):
        assert sum(appsflyer_id(number + n) in row for row in shown) == 1
    page = call(one.address, "GET", "/metrics")[2].decode()
    assert 'door_turned_away_total{source="slow",why="rate"}' in page


def test_an_sdk_sends_again_what_a_killed_service_did_not_answer(house: tuple[Service, Stand]) -> None:
    one, stand = house
    calls = [call for n in range(40) for call in borrowing(f"killed-{n}", 500 + n)]
    wrong: list[Sequence[str]] = []
    before = one.status()["events"]
    sending = Thread(
        target=lambda: wrong.append(SDKS["segment-python"](one.address, WRITE_KEY, calls)), name="sdk"
    )
    sending.start()
    until(lambda: one.status()["events"] > before, "some of it has arrived")
    one.kill("core")
    sending.join(60)

    assert wrong == [[]]
    one.ready()
    one.idle()
    shown = delivered(stand)
    for n in range(40):
        assert sum(appsflyer_id(500 + n) in row for row in shown) == 1


def test_what_stands_in_the_log_is_ours_and_nobodys_contact(house: tuple[Service, Stand]) -> None:
    one, _ = house
    with (one.folder / "lendsignal.toml").open() as config:
        assert WRITE_KEY not in config.read()
    user = "log-1"
    assert SDKS["segment-python"](one.address, WRITE_KEY, borrowing(user, 900)) == []
    one.idle()
    one.stop()
    try:
        told = Ledger(one.data)
        keys = open_keys(one.data / "keys.sqlite")
        uses = keys.uses()
        keys.close()
    finally:
        one.start()

    assert len(told.events) == len(set(told.events))
    assert told.balances("appsflyer-ng")
    assert sum(use.requests for use in uses.values()) > 0
    for file in one.data.iterdir():
        if file.is_file():
            assert b"log-1@acme.example" not in file.read_bytes()
            assert WRITE_KEY.encode() not in file.read_bytes()


def test_a_call_over_plain_http_needs_no_sdk(house: tuple[Service, Stand]) -> None:
    one, _ = house
    body = json.dumps({"userId": "plain-1", "event": "Viewed Offer", "messageId": "plain-m1"}).encode()
    status, _, answer = call(one.address, "POST", "/v1/track", body, Authorization=f"Bearer {WRITE_KEY}")

    assert (status, json.loads(answer)) == (200, {"success": True, "accepted": 1})
    until(lambda: b'"taken"' in call(one.address, "GET", "/v1/events/plain-m1")[2], "the event is decided")
