"""What the stand-ins remember of each device's latest event, and when they forget it."""

import asyncio
from datetime import UTC, datetime
from urllib.parse import urlencode

from starlette.types import ASGIApp, Message

from lendsignal.clock import to_us
from lendsignal.sandbox import Memory, SandboxSettings, build
from lendsignal.sandbox.order import Latest

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
EVENT = {
    "s2s": "1",
    "os_name": "android",
    "app_token": "4w565xzmb54d",
    "event_token": "f0ob4r",
    "gps_adid": "660e1d86-6796-463a-be86-897993136018",
    "created_at_unix": str(int(NOW.timestamp()) - 60),
}


class Still:
    """A clock that stands at one moment."""

    replay = True

    def now_us(self) -> int:
        return to_us(NOW)


def posted(app: ASGIApp, path: str, body: bytes = b"") -> int:
    """The status of one POST of a form."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"content-type", b"application/x-www-form-urlencoded")],
    }

    async def call() -> None:
        await app(scope, receive, send)

    asyncio.run(call())
    status: int = sent[0]["status"]
    return status


def test_the_latest_moment_is_that_of_any_of_the_keys_and_never_goes_back() -> None:
    latest = Latest()
    latest.note([("adid",), ("gaid",)], 7)
    latest.note([("gaid",)], 5)

    assert latest.of([("gaid",), ("idfv",)]) == 7
    assert latest.of([("adid",)]) == 7
    assert latest.of([("idfv",)]) is None


def test_one_sandbox_remembers_over_requests_another_knows_nothing_and_a_reset_forgets() -> None:
    memories = Memory(), Memory()
    one, other = (build(SandboxSettings(adjust={"4w565xzmb54d": ""}), Still(), memory) for memory in memories)
    body = urlencode(EVENT).encode()

    assert posted(one, "/s2s.adjust.com/event", body) == 200
    assert posted(one, "/s2s.adjust.com/event", body) == 400
    assert posted(other, "/s2s.adjust.com/event", body) == 200
    assert posted(one, "/_sandbox/reset") == 200
    assert posted(one, "/s2s.adjust.com/event", body) == 200
    for memory in memories:
        memory.close()
