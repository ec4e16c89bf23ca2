"""The sandbox over ASGI: routing, faults, looking in. The platform's rules have their own files."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message

from lendsignal.clock import to_us
from lendsignal.sandbox import Fault, Faults, Memory, SandboxSettings, build
from lendsignal.sandbox.app import DROP
from lendsignal.sandbox.fault import from_header

EXAMPLES = json.loads(Path(__file__).with_name("vendor_examples.json").read_text())
APP = "com.acme.loans"
GA4_APP = "1:1234567890:android:0a1b2c3d4e5f6a7b"
APPSFLYER = f"/api3.appsflyer.com/inappevent/{APP}"
SETTINGS = SandboxSettings(
    appsflyer={APP: "key-a"},
    ga4={GA4_APP: "sec-1"},
    webhooks={"hooks.example.com": EXAMPLES["webhook"]["secret"]},
)


class Still:
    """A clock that stands at one moment."""

    replay = True

    def now_us(self) -> int:
        return to_us(datetime(2026, 11, 22, 10, tzinfo=UTC))


class Caller:
    """Calls the application as a server would, and sees what reached the wire."""

    def __init__(self) -> None:
        self.memory, self.faults = Memory(), Faults()
        self.app = build(SETTINGS, Still(), self.memory, self.faults)
        self.dropped = False

    def __call__(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        query: str = "",
    ) -> tuple[int | None, dict[str, str], bytes]:
        """Status, headers and body; status `None` where no answer was begun."""
        self.dropped = False
        sent: list[Message] = []
        closed = asyncio.Event()

        async def call() -> None:
            waiting = [{"type": "http.request", "body": body, "more_body": False}]

            async def receive() -> Message:
                if waiting:
                    return waiting.pop()
                if self.hangs_up:
                    closed.set()
                await closed.wait()
                return {"type": "http.disconnect"}

            async def send(message: Message) -> None:
                sent.append(message)

            def drop() -> None:
                self.dropped = True
                closed.set()

            await self.app(
                {
                    "type": "http",
                    "method": method,
                    "path": path,
                    "raw_path": path.encode(),
                    "root_path": "",
                    "query_string": query.encode(),
                    "headers": [(k.encode(), v.encode()) for k, v in (headers or {}).items()],
                    "extensions": {DROP: {"abort": drop, "close": drop}},
                },
                receive,
                send,
            )

        asyncio.run(call())
        if not sent:
            return None, {}, b""
        head = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], head, b"".join(message["body"] for message in sent[1:])

    hangs_up = False

    def event(self, **headers: str) -> tuple[int | None, dict[str, str], bytes]:
        return self(
            "POST",
            APPSFLYER,
            json.dumps(EXAMPLES["appsflyer"]["android"]).encode(),
            {"content-type": "application/json", "authentication": "key-a", **headers},
        )

    def kept(self) -> int:
        return sum(self.memory.ids().values())

    def play(self, *script: Fault) -> None:
        self.faults.play(script)

    def look(self, path: str, query: str = "") -> Any:
        return json.loads(self("GET", path, query=query)[2])


@pytest.fixture
def call() -> Iterator[Caller]:
    caller = Caller()
    yield caller
    caller.memory.close()


def test_the_first_path_segment_chooses_the_platform(call: Caller) -> None:
    headers = {"content-type": "application/json"}
    query = f"firebase_app_id={GA4_APP}&api_secret=sec-1"
    body = json.dumps(EXAMPLES["ga4"]["minimal"]).encode()

    assert call.event()[::2] == (200, b"OK")
    for host in ("www.google-analytics.com", "region1.google-analytics.com"):
        assert call("POST", f"/{host}/mp/collect", body, headers, query)[0] == 204
    assert call("POST", "/graph.facebook.com/v26.0/1/events", b"{}", headers)[0] == 400
    assert call("POST", "/hooks.example.com/in", b"{}", headers)[0] == 401
    assert call("POST", "/hooks.example.com:8443/in", b"{}", headers)[0] == 401
    assert call("POST", "/evil.example.com/in", b"{}", headers)[0] == 404
    assert [row["received"] for row in call.look("/_sandbox/summary")["accounts"]] == [1, 2, 0, 0, 0]


def test_the_clock_that_was_given_tells_the_time(call: Caller) -> None:
    call.event()

    assert next(call.memory.taken()).received_us == Still().now_us()


@pytest.mark.parametrize(
    ("kind", "status", "kept", "dropped"),
    [
        ("accept", 200, 1, False),
        ("status", 503, 0, False),
        ("garbage", 200, 0, False),
        ("lie", 200, 0, False),
        ("slow", 200, 1, False),
        ("close_before", None, 0, True),
        ("close_after_accept", None, 1, True),
        ("truncate", 200, 1, True),
    ],
)
def test_each_fault_answers_and_keeps_as_its_name_says(
    call: Caller, kind: Any, status: int | None, kept: int, dropped: bool
) -> None:
    call.play(Fault(kind=kind, delay_ms=0))

    assert call.event()[0] == status
    assert (call.kept(), call.dropped) == (kept, dropped)


def test_a_truncated_answer_promises_more_than_it_brings(call: Caller) -> None:
    call.play(Fault(kind="truncate"))
    _, headers, body = call.event()

    assert (headers["content-length"], body) == ("2", b"O")


def test_a_lie_and_garbage_look_like_an_answer(call: Caller) -> None:
    call.play(Fault(kind="lie", times=1), Fault(kind="garbage"))

    assert call.event()[2] == b"OK"
    assert b"<html>" in call.event()[2]


def test_a_hanging_platform_waits_for_the_sender_or_its_delay(call: Caller) -> None:
    call.play(Fault(kind="hang", delay_ms=0))
    assert call.event()[0] is None
    assert call.dropped is True

    call.play(Fault(kind="hang"))
    call.hangs_up = True
    assert call.event()[0] is None
    assert (call.dropped, call.kept()) == (False, 0)


def test_a_script_runs_in_order_and_ends(call: Caller) -> None:
    call.play(
        Fault(kind="accept", times=2),
        Fault(kind="status", status=429, headers={"Retry-After": "3"}, body="slow down", times=1),
        Fault(kind="status", status=500, host="graph.facebook.com"),
        Fault(kind="status", status=500, times=1),
    )
    answers = [call.event() for _ in range(5)]

    assert [status for status, _, _ in answers] == [200, 200, 429, 500, 200]
    assert (answers[2][1]["retry-after"], answers[2][2]) == ("3", b"slow down")
    assert answers[3][2] == b"Internal Server Error"
    assert [rule["fired"] for rule in call.look("/_sandbox/faults")] == [2, 1, 0, 1]


def test_every_third_request_fails(call: Caller) -> None:
    call.play(Fault(kind="status", every=3))

    assert [call.event()[0] for _ in range(7)] == [200, 200, 503, 200, 200, 503, 200]


def test_chance_comes_from_its_seed() -> None:
    def fired(seed: int) -> list[bool]:
        faults = Faults([Fault(kind="status", probability=0.3, seed=seed)])
        return [faults.next("h") is not None for _ in range(1000)]

    assert fired(7) == fired(7)
    assert fired(7) != fired(8)
    assert 240 <= sum(fired(7)) <= 360  # 300 ± 4 standard deviations of 14.5


def test_one_request_can_ask_for_its_own_fault(call: Caller) -> None:
    mock = "x-mock-fault"

    assert call.event(**{mock: "429"})[0] == 429
    assert call.event(**{mock: "5xx"})[0] == 503
    assert call.event(**{mock: "drop-after-accept"})[0] is None
    assert call.event(**{mock: "latency=0"})[0] == 200
    assert call.event(**{mock: "no-such-word"})[0] == 400
    assert call.kept() == 2
    assert call.look("/_sandbox/summary")["faults_by_header"] == {
        "status": 2,
        "close_after_accept": 1,
        "slow": 1,
    }


def test_a_header_word_with_nonsense_behind_it_is_none() -> None:
    assert from_header("latency=soon") is None
    assert from_header("999") is None
    assert from_header("hang=20") == Fault(kind="hang", delay_ms=20)


def test_a_script_is_posted_and_a_wrong_one_refused_with_its_place(call: Caller) -> None:
    status, _, body = call("POST", "/_sandbox/faults", b'[{"kind": "status", "times": 1}]')
    assert (status, json.loads(body)[0]["fired"]) == (200, 0)

    status, headers, body = call("POST", "/_sandbox/faults", b'[{"kind": "explode"}]')
    assert (status, headers["content-type"]) == (400, "application/problem+json")
    assert "$[0].kind" in json.loads(body)["detail"]
    assert call.event()[0] == 503


def test_looking_in_shows_items_ids_and_refusals(call: Caller) -> None:
    call.event()
    call.event()
    call.event(authentication="wrong")

    page = call.look("/_sandbox/received", "platform=appsflyer&limit=1")
    assert (page["items"][0]["conversion_id"], page["next"]) == ("c0ffee01", 1)
    assert call.look("/_sandbox/received", f"after=1&account={APP}")["next"] is None
    assert call.look("/_sandbox/received", "id=c0ffee99")["items"] == []
    assert call.look("/_sandbox/ids", "platform=appsflyer") == {"c0ffee01": 2}
    assert call("GET", "/_sandbox/ids", query="format=text")[2] == b"c0ffee01\t2\n"
    assert call.look("/_sandbox/refused")["items"][0]["reason"] == "authentication: missing or unknown"
    assert call("GET", "/_sandbox/received", query="limit=0")[0] == 400

    call.play(Fault(kind="status"))
    assert call("POST", "/_sandbox/reset")[0] == 200
    assert call.look("/_sandbox/summary") == {"accounts": [], "faults": [], "faults_by_header": {}}
    assert call.event()[0] == 200
