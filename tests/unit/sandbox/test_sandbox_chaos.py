"""Flapping, throttling, errors under a 200, and the mix of all: each by the script, and by a seed."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from lendsignal.clock import SystemClock
from lendsignal.sandbox import Fault, Faults, Memory, SandboxSettings, build, chaos, settings_at

HOSTS = ("api3.appsflyer.com", "business-api.tiktok.com", "graph.facebook.com", "s2s.adjust.com")


class Steady:
    """Steady time that a test moves."""

    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def asked(
    faults: Faults, path: str, method: str = "POST", query: str = "", **settings: Any
) -> tuple[int, Mapping[str, str], Any]:
    """Status, headers and body of one request without a body of its own."""
    sent: list[Message] = []
    memory = Memory()
    app = build(SandboxSettings(**settings), SystemClock(), memory, faults)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [],
    }

    async def call() -> None:
        await app(scope, receive, send)

    asyncio.run(call())
    memory.close()
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    body = b"".join(message["body"] for message in sent[1:])
    return sent[0]["status"], headers, body


def test_a_flapping_platform_is_down_and_up_in_turns_from_its_first_request_on() -> None:
    steady = Steady()
    faults = Faults([Fault(kind="status", down_ms=250, up_ms=750)], steady)
    seen = []
    for _ in range(16):
        seen.append(faults.next("api3.appsflyer.com") is not None)
        steady.seconds += 0.125

    # 0 and 125 ms are down, 250 to 875 ms are up, and so on.
    assert seen == ([True] * 2 + [False] * 6) * 2
    assert faults.counts()[0] == {"rule": faults.script[0], "seen": 16, "fired": 4}


@pytest.mark.parametrize(
    ("host", "status", "said"),
    [
        ("api3.appsflyer.com", 429, b"Too Many Requests"),
        ("graph.facebook.com", 429, b'"code":4,'),
        ("business-api.tiktok.com", 200, b'"code":40100,'),
    ],
)
def test_each_platform_throttles_in_its_own_words(host: str, status: int, said: bytes) -> None:
    faults = Faults([Fault(kind="throttle", headers={"Retry-After": "7"})])
    found, headers, body = asked(faults, f"/{host}/any")

    assert (found, headers["retry-after"]) == (status, "7")
    assert said in body
    assert ("x-app-usage" in headers) is (host == "graph.facebook.com")


@pytest.mark.parametrize(
    ("host", "status", "said"),
    [
        ("graph.facebook.com", 200, b'"code":2,'),
        ("business-api.tiktok.com", 200, b'"code":50000,'),
        ("www.adsnebula.com", 200, b'"result":-2'),
        ("api3.appsflyer.com", 503, b"Service Unavailable"),
    ],
)
def test_an_error_comes_under_a_200_where_the_platform_does_that(host: str, status: int, said: bytes) -> None:
    found, _, body = asked(Faults([Fault(kind="error_in_200")]), f"/{host}/any")

    assert found == status
    assert said in body


def test_the_same_seed_gives_the_same_chaos_and_another_seed_another() -> None:
    assert chaos(7, HOSTS) == chaos(7, reversed(HOSTS))
    assert chaos(7, HOSTS) != chaos(8, HOSTS)
    assert [rule for rule in chaos(7, HOSTS) if rule.host == HOSTS[0]] == chaos(7, HOSTS[:1])


def test_chaos_has_every_fault_on_every_platform_but_those_that_nobody_could_notice() -> None:
    script = chaos(7, HOSTS, late_ms=2_500)
    kinds = {host: {rule.kind for rule in script if rule.host == host} for host in HOSTS}

    assert all(
        found
        >= {
            "status",
            "throttle",
            "error_in_200",
            "garbage",
            "close_before",
            "close_after_accept",
            "truncate",
            "slow",
            "hang",
        }
        for found in kinds.values()
    )
    assert not any(rule.kind == "lie" for rule in script)
    assert not any(rule.kind == "garbage" and rule.status == 200 for rule in script)
    assert {host: sum(rule.delay_ms == 2_500 for rule in script if rule.host == host) for host in HOSTS} == (
        Counter(HOSTS)
    )
    assert all(any(rule.host == host and rule.down_ms for rule in script) for host in HOSTS)


def test_chaos_lets_most_through_while_a_platform_is_up() -> None:
    steady = Steady()
    for seed in range(20):
        faults = Faults(chaos(seed, HOSTS[:1]), steady)
        down = next(rule.down_ms for rule in faults.script if rule.down_ms)
        faults.next(HOSTS[0])
        steady.seconds += (down + 1) / 1000
        failed = sum(
            rule is not None and rule.kind != "slow" for rule in (faults.next(HOSTS[0]) for _ in range(1_000))
        )
        # The shares that `chaos` draws from sum up to between 4.7 and 34 per cent.
        assert 20 < failed < 420


def test_chaos_is_begun_by_a_setting_and_by_a_call_and_ended_by_another() -> None:
    by_setting, by_call = Faults(), Faults()
    asked(by_setting, "/_sandbox/faults", "GET", chaos=7, chaos_late_ms=900)
    status, _, body = asked(by_call, "/_sandbox/chaos", query="seed=7&late_ms=900")

    assert status == 200
    assert by_call.script == by_setting.script
    assert len(json.loads(body)) == len(by_call.script) > 100
    assert asked(by_call, "/_sandbox/chaos", query="seed=soon")[0] == 400
    assert asked(by_call, "/_sandbox/reset")[0] == 200
    assert by_call.script == ()


def test_a_seed_given_to_the_command_goes_before_the_file_s(tmp_path: Path) -> None:
    path = tmp_path / "sandbox.toml"
    path.write_text("chaos = 3\nchaos_late_ms = 1500\n")

    assert (settings_at(path).chaos, settings_at(path).chaos_late_ms) == (3, 1500)
    assert settings_at(path, chaos=4).chaos == 4
