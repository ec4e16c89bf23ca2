"""Segment's calls over HTTP: what is answered, what is kept, and who may come in."""

import asyncio
import base64
import gzip
import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.acme import APPS, T0, source, us
from tests.measured import measured

from lendsignal.decide import Decider
from lendsignal.log import Log, open_log
from lendsignal.model import Event
from lendsignal.source import (
    SEGMENT_PATHS,
    DoorSettings,
    Held,
    Intake,
    Keyring,
    SegmentDoor,
    SourceMeters,
    SourceSettings,
    access_of,
    reader_of,
)

KEY = "ls_write-key"
READER = reader_of(APPS, source().resolve.clock_ahead)


class Clock:
    """Stands still at T0."""

    replay = False

    def now_us(self) -> int:
        return us(0)


class Answer(NamedTuple):
    """What was answered."""

    status: int
    body: Any
    headers: dict[str, str]


class House:
    """Segment's door with its intake, decider and log; `ask` speaks ASGI to it."""

    def __init__(self, folder: Path, settings: DoorSettings, **keys: Any) -> None:
        self.log: Log = open_log(folder / "log.sqlite")
        self.decider = Decider(self.log, source(), Clock(), lambda: None)
        self.meters = SourceMeters()
        self.intake = Intake(self.log, self.decider.turn, limit=settings.queue, meters=self.meters)
        self.held = Held(settings.max_held_bytes)
        sender = SourceSettings(**keys)
        digest = sha256(KEY.encode()).hexdigest()
        ring = Keyring({digest: access_of("app", sender, digest)}, Clock(), lambda: 0.0)
        self.door = SegmentDoor(
            settings, {"app": sender}, READER, self.intake, Clock(), ring, self.meters, self.held
        )
        self.intake.start()

    def ask(
        self, call: str, body: Any, *, key: str | None = KEY, method: str = "POST", **headers: str
    ) -> Answer:
        """The answer to bytes, or to whatever becomes JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        incoming = [{"type": "http.request", "body": raw}]
        sent: list[Any] = []
        pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        if key is not None:
            pairs.append((b"authorization", b"Basic " + base64.b64encode(f"{key}:".encode())))
        scope = {"type": "http", "method": method, "path": f"/v1/{call}", "headers": pairs}

        async def receive() -> Any:
            return incoming.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(self.door(scope, receive, send))
        start, content = sent
        given = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], json.loads(content["body"]), given)

    def events(self) -> list[Event]:
        """The senders' events that are in the log."""
        return [fact.event for fact in self.log.read(0, 10_000) if fact.event.brand == "acme"]

    def close(self) -> None:
        self.intake.stop()
        self.log.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    one = House(tmp_path, DoorSettings())
    yield one
    one.close()


def track(name: str = "Viewed Offer", **fields: Any) -> dict[str, Any]:
    return {"type": "track", "event": name, "userId": "u1", "messageId": f"m-{name}", **fields}


def applied(name: str) -> dict[str, Any]:
    return track("applied", messageId=f"m-{name}", properties={"application_id": name})


def test_the_paths_are_segments() -> None:
    names = "track identify page screen group alias batch b import".split()

    assert {f"/v1/{name}" for name in names} == SEGMENT_PATHS


def test_a_single_call_is_what_its_path_says(house: House) -> None:
    answer = house.ask("screen", {"userId": "u1", "messageId": "m-1", "type": "track"})

    assert (answer.status, answer.body) == (200, {"success": True, "accepted": 1})
    (event,) = house.events()
    assert (event.type, event.event_id, event.source, event.received_at) == ("app_opened", "m-1", "app", T0)


def test_a_zipped_batch_has_its_context_and_its_clock_in_common(house: House) -> None:
    batch = {
        "batch": [
            {"type": "identify", "userId": "u1", "messageId": "m-1", "timestamp": "2026-03-10T07:59:00Z"},
            track(timestamp="2026-03-10T07:59:30Z", context={"app": {"namespace": "com.acme.ios"}}),
        ],
        "sentAt": "2026-03-10T08:00:00Z",
        "context": {"app": {"namespace": "com.acme.loans"}, "os": {"name": "Android", "version": "14"}},
    }
    answer = house.ask("batch", gzip.compress(json.dumps(batch).encode()), content_encoding="gzip")

    assert (answer.status, answer.body["accepted"]) == (200, 2)
    identify, viewed = house.events()
    assert identify.device is not None
    assert (identify.app, identify.device.os_version) == ("acme-ng", "14")
    assert viewed.app == "acme-ios"
    # The sender's clock is an hour behind ours.
    assert [event.occurred_at.isoformat()[11:19] for event in (identify, viewed)] == ["08:59:00", "08:59:30"]
    assert identify.flags == ("clock_corrected",)


def test_a_batch_with_bad_calls_is_taken_and_the_bad_ones_are_kept_apart(house: House) -> None:
    batch = [applied("A1"), track("Loan Disbursed"), 7, {"type": "page", "anonymousId": "a-1"}, applied("A2")]
    answer = house.ask("batch", {"batch": batch})

    assert answer.status == 200
    assert answer.body == {"success": True, "accepted": 2, "passed_over": 1, "refused": 2}
    assert [event.application_id for event in house.events()] == ["A1", "A2"]
    assert house.log.refusals() == {
        ("loan_id", "is needed for disbursed"): 1,
        ("body", "must be a JSON object"): 1,
    }
    assert measured(house.meters).value("segment_passed_over_total", source="app", why="anonymous") == 1
    assert measured(house.meters).value("events_refused_total", source="app", rule="missing") == 1


def test_what_is_refused_is_kept_in_our_own_words(house: House) -> None:
    house.ask("track", track("Loan Disbursed", properties={"amount": 5, "bvn": "22123456789"}))

    (kept,) = house.log.quarantined()
    shown = json.loads(kept.body)
    assert (shown["type"], shown["user_id"], shown["amount"]) == ("disbursed", "u1", 5)
    assert b"22123456789" not in kept.body


def test_a_call_that_is_refused_alone_is_a_bad_request_with_the_reason(house: House) -> None:
    answer = house.ask("track", track("Loan Disbursed"))

    assert answer.status == 400
    assert answer.body == {
        "success": False,
        "code": "invalid_request",
        "message": "loan_id: is needed for disbursed",
    }


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"batch": {}}', b"{}", b"\xff"])
def test_a_body_that_holds_no_batch_is_a_bad_request_and_kept(house: House, body: bytes) -> None:
    answer = house.ask("batch", body)

    assert (answer.status, answer.body["success"], answer.body["code"]) == (400, False, "invalid_request")
    assert len(house.log.quarantined()) == 1


def test_imported_history_is_marked(house: House) -> None:
    call = {"type": "identify", "userId": "u1", "messageId": "m", "timestamp": "2024-05-01T00:00:00Z"}
    assert house.ask("import", {"batch": [call], "sentAt": "2024-01-01T00:00:00Z"}).status == 200

    (event,) = house.events()
    assert (event.history, event.occurred_at.year) == (True, 2024)


def test_the_phones_sdks_bring_the_key_in_the_body(house: House) -> None:
    batch = {"batch": [applied("A1")], "writeKey": KEY}

    assert house.ask("b", batch, key=None).status == 200
    assert house.ask("b", {**batch, "writeKey": "other"}, key=None).status == 401
    assert house.ask("b", {"batch": [applied("A1")]}, key=None).status == 401
    assert house.ask("b", b"{", key=None).status == 401
    assert house.ask("b", {**batch, "padding": "x" * 500_000}, key=None).status == 413
    assert len(house.events()) == 1
    assert house.log.quarantined() == []


def test_an_unknown_key_is_told_how_to_sign_in(house: House) -> None:
    answer = house.ask("track", track(), key="other")

    assert (answer.status, answer.body["code"]) == (401, "unauthorised")
    assert answer.headers["www-authenticate"] == "Basic"
    assert measured(house.meters).value("door_turned_away_total", source="", why="unknown_key") == 1


def test_another_method_is_not_allowed(house: House) -> None:
    assert house.ask("track", b"", method="GET").status == 405


def test_a_key_needs_the_scope(tmp_path: Path) -> None:
    house = House(tmp_path, DoorSettings(), scopes=("events",))
    answer = house.ask("track", track())
    house.close()

    assert (answer.status, answer.body["code"]) == (403, "forbidden")
    assert measured(house.meters).value("door_turned_away_total", source="app", why="scope") == 1


def test_a_request_may_have_the_keys_bytes(tmp_path: Path) -> None:
    house = House(tmp_path, DoorSettings(), max_bytes=2_048)
    plain = house.ask("track", track(properties={"x": "y" * 2_048}))
    zipped = house.ask("track", gzip.compress(b"x" * 4_096), content_encoding="gzip")
    house.close()

    assert (plain.status, zipped.status) == (413, 413)
    assert plain.body["message"] == "a request may have 2048 bytes"


def test_a_batch_may_have_2500_calls(house: House) -> None:
    assert house.ask("batch", {"batch": [1] * 2_501}).status == 413
    assert house.ask("batch", {"batch": [1] * 2_500}).status == 400
    assert len(house.log.quarantined(5_000)) == 2_500


def test_a_key_that_sends_too_much_is_told_when_to_come_again(tmp_path: Path) -> None:
    house = House(tmp_path, DoorSettings(), per_second=2, burst=4)
    first = house.ask("batch", {"batch": [applied(f"A{n}") for n in range(9)]})
    second = house.ask("batch", {"batch": [applied("A10")]})
    house.close()

    assert first.status == 200
    # 5 too many and one more to come, at 2 a second.
    assert (second.status, second.headers["retry-after"]) == (429, "3")
    assert second.body["code"] == "too_many_requests"


def test_a_request_is_told_to_come_again_while_too_much_is_held(tmp_path: Path) -> None:
    house = House(tmp_path, DoorSettings(max_held_bytes=10_000))
    house.held.add(9_990)
    waits = house.ask("track", track())
    house.held.let_go(9_990)
    alone = house.ask("track", track(properties={"x": ["y" * 500] * 40}))
    house.close()

    assert (waits.status, waits.headers["retry-after"]) == (429, "1")
    assert measured(house.meters).value("door_turned_away_total", source="app", why="held") == 1
    # A request that is larger than the limit has its turn when there are no others.
    assert alone.status == 200
    assert house.held.now == 0


def test_those_without_a_key_in_the_header_keep_nobody_out_who_has_one(tmp_path: Path) -> None:
    house = House(tmp_path, DoorSettings(max_held_bytes=8_000))

    async def story() -> tuple[int, int]:
        begun = asyncio.Event()

        async def half() -> Any:
            if begun.is_set():
                return await asyncio.Future()
            begun.set()
            return {"type": "http.request", "body": b" " * 990, "more_body": True}

        statuses: list[int] = []

        async def send(message: Any) -> None:
            statuses.extend([message["status"]] if "status" in message else [])

        scope = {"type": "http", "method": "POST", "path": "/v1/track", "headers": []}
        dribbling = asyncio.create_task(house.door(scope, half, send))
        await begun.wait()
        await asyncio.sleep(0)

        async def whole() -> Any:
            return {"type": "http.request", "body": json.dumps({"writeKey": KEY, **track()}).encode()}

        await house.door(scope, whole, send)
        dribbling.cancel()
        return statuses[0], house.held.now

    unsigned, held = asyncio.run(story())
    signed = house.ask("track", track())
    house.close()

    assert (unsigned, held) == (429, 0)
    assert signed.status == 200
