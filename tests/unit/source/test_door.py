"""The HTTP door: what it takes, what it refuses and how, and that it answers only when it is durable."""

import asyncio
import gzip
import json
import logging
import random
import socket
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from threading import Event as Signal
from threading import Thread
from typing import Any, NamedTuple

import pytest
import uvicorn
from tests.acme import APPS, T0, source, us

from lendsignal.decide import Decider
from lendsignal.errors import LogError
from lendsignal.log import Log, open_log
from lendsignal.model import Event
from lendsignal.source import Door, DoorSettings, Held, Intake, Keyring, SourceSettings, access_of, reader_of
from lendsignal.source.answers import Refusal
from lendsignal.source.body import Body

KEY = "lk_test_9f2c"
READER = reader_of(APPS, source().resolve.clock_ahead)
LIMITS = DoorSettings(max_events=5, max_bytes=20_000, queue=50)


class Clock:
    """Stands still at T0."""

    replay = False

    def now_us(self) -> int:
        return us(0)


class Answer(NamedTuple):
    """What the door answered."""

    status: int
    body: Any
    kind: str
    headers: Mapping[str, str]


class House:
    """A door with its intake, decider and log; `ask` speaks ASGI to it."""

    def __init__(self, folder: Path, settings: DoorSettings = LIMITS, **keys_may: Any) -> None:
        self.log: Log = open_log(folder / "log.sqlite")
        self.decider = Decider(self.log, source(), Clock(), lambda: None)
        self.intake = Intake(self.log, self.decider.turn, limit=settings.queue)
        digest = sha256(KEY.encode()).hexdigest()
        keys = Keyring({digest: access_of("crm", SourceSettings(**keys_may), digest)}, Clock(), lambda: 0.0)
        self.door = Door(settings, READER, self.intake, self.log, Clock(), keys)

    async def ask_async(
        self,
        body: bytes | Sequence[bytes] = b"",
        *,
        method: str = "POST",
        path: str = "/v1/events",
        key: str | None = KEY,
        leaves: bool = False,
        **headers: str,
    ) -> Answer:
        parts = [body] if isinstance(body, bytes) else list(body)
        incoming: list[dict[str, Any]] = [
            {"type": "http.request", "body": part, "more_body": n < len(parts) - 1 or leaves}
            for n, part in enumerate(parts)
        ]
        incoming.append({"type": "http.disconnect"})
        sent: list[Any] = []
        pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        if key is not None:
            pairs.append((b"authorization", f"Bearer {key}".encode()))
        scope = {"type": "http", "method": method, "path": path, "headers": pairs}

        async def receive() -> Any:
            return incoming.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        await self.door(scope, receive, send)
        start, content = sent
        given = {name.decode(): value.decode() for name, value in start["headers"]}
        assert int(given["content-length"]) == len(content["body"])
        return Answer(start["status"], json.loads(content["body"]), given["content-type"], given)

    def ask(self, body: Any = b"", **options: Any) -> Answer:
        """The answer to bytes, or to whatever becomes JSON."""
        is_parts = isinstance(body, list) and all(isinstance(part, bytes) for part in body)
        raw = body if isinstance(body, bytes) or is_parts else json.dumps(body).encode()
        return asyncio.run(self.ask_async(raw, **options))

    def events(self) -> list[Event]:
        """The senders' events that are in the log."""
        return [fact.event for fact in self.log.read(0, 10_000) if fact.event.brand == "acme"]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    one = House(tmp_path)
    one.intake.start()
    yield one
    one.intake.stop()
    one.log.close()


def applied(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": "applied",
        "brand": "acme",
        "user_id": "u1",
        "application_id": name,
        "event_id": f"e-{name}",
        "occurred_at": "2026-03-10T08:00:00Z",
        **fields,
    }


# taking


def test_one_event_is_taken_and_answered_with_its_id(house: House) -> None:
    answer = house.ask(applied("A1", phone="0801"))

    assert (answer.status, answer.kind) == (202, "application/json")
    assert answer.body == {"event_id": "e-A1", "status": "accepted", "flags": ["unusable_phone"]}
    (event,) = house.events()
    assert (event.application_id, event.source, event.received_at) == ("A1", "crm", T0)


def test_good_events_are_taken_though_others_in_the_request_are_bad(house: House) -> None:
    answer = house.ask([applied("A1"), applied("A2", app="acme-mg"), 7, applied("A3")])

    assert answer.status == 202
    assert (answer.body["accepted"], answer.body["refused"]) == (2, 2)
    results = answer.body["results"]
    assert [one["status"] for one in results] == ["accepted", "refused", "refused", "accepted"]
    assert [one.get("event_id") for one in results] == ["e-A1", None, None, "e-A3"]
    assert (results[1]["field"], results[1]["nearest"]) == ("app", "acme-ng")
    assert [event.application_id for event in house.events()] == ["A1", "A3"]
    assert [(one.field, one.source) for one in house.log.quarantined()] == [("body", "crm"), ("app", "crm")]


def test_of_an_array_each_refused_event_is_kept_as_it_was_sent(house: House) -> None:
    sent = [applied("A1"), applied("A2", app="acme-mg"), applied("A3"), applied("A4", app="acme-mg")]

    house.ask(sent)

    # The youngest first.
    kept = [json.loads(one.body)["application_id"] for one in house.log.quarantined()]
    assert kept == ["A4", "A2"]


def test_a_request_in_which_nothing_is_good_is_refused_and_kept(house: House) -> None:
    answer = house.ask([applied("A1", brand="zeta"), {}])

    assert (answer.status, answer.body["accepted"]) == (422, 0)
    assert len(house.log.quarantined()) == 2


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/jsonl; charset=utf-8"])
def test_one_event_a_line_is_taken(house: House, kind: str) -> None:
    lines = b"\n".join(
        [json.dumps(applied("A1")).encode(), b"", b"{broken", json.dumps(applied("A2")).encode()]
    )

    answer = house.ask(lines + b"\r\n", content_type=kind)

    assert (answer.body["accepted"], answer.body["refused"]) == (2, 1)


def test_gzip_is_unpacked_however_it_is_cut_into_parts_and_members(house: House) -> None:
    whole = json.dumps([applied("A1"), applied("A2")]).encode()
    packed = gzip.compress(whole[:40]) + gzip.compress(whole[40:])

    for size in (1, 7, 1_000):
        parts = [packed[n : n + size] for n in range(0, len(packed), size)]
        assert house.ask(parts, content_encoding="gzip").body["accepted"] == 2


# refusing


def test_a_single_bad_event_is_a_problem_with_field_and_rule(house: House) -> None:
    answer = house.ask(applied("A1", app="acme-mg"))

    assert (answer.status, answer.kind) == (422, "application/problem+json")
    assert answer.body["field"] == "app"
    assert answer.body["detail"] == "is not one of yours"
    assert answer.body["nearest"] == "acme-ng"
    assert answer.body["status"] == 422


BAD = [
    (b"", 400, 0),
    (b"   \n", 400, 0),
    (b"[]", 400, 0),
    (b"[1, 2", 400, 1),
    (b"[" * 100_000, 413, 0),
    (b"[" * 15_000, 400, 1),
    (b'{"type":', 422, 1),
    (b"nonsense", 422, 1),
    (b"\xff\xfe", 422, 1),
    (b'[{"a":"\xff"}]', 422, 1),
    (b'{"a":1,"a":2}', 422, 1),
    (json.dumps(applied("A1", user_id="x" * 15_000)).encode(), 422, 1),
    (json.dumps(applied("A1", user_id="x" * 1_000_000)).encode(), 413, 0),
    (json.dumps([applied(f"A{n}") for n in range(6)]).encode(), 413, 0),
    (json.dumps(applied("A1", amount=-5, currency="NGN")).encode(), 422, 1),
    (json.dumps(applied("A1", occurred_at="1970-01-01T00:00:00Z")).encode(), 422, 1),
    (json.dumps(applied("A1", occurred_at="2099-01-01T00:00:00Z")).encode(), 422, 1),
]


@pytest.mark.parametrize(("body", "status", "kept"), BAD)
def test_a_bad_request_is_a_problem_and_goes_to_quarantine(
    house: House, body: bytes, status: int, kept: int
) -> None:
    answer = house.ask(body)

    single = answer.kind == "application/problem+json"
    assert answer.status == status
    assert single or answer.body["accepted"] == 0
    assert len(house.log.quarantined()) == kept
    assert house.events() == []


def test_every_problem_has_the_members_of_rfc_9457(house: House) -> None:
    for body in (b"", b"nonsense", b"[1"):
        answer = house.ask(body)

        assert answer.kind == "application/problem+json"
        assert {"type", "title", "status", "detail"} <= answer.body.keys()
        assert answer.body["status"] == answer.status


@pytest.mark.parametrize(
    "options",
    [
        {"key": None},
        {"key": "wrong"},
        {"key": None, "authorization": "Basic " + KEY},
        {"key": None, "authorization": KEY},
        {"key": None, "authorization": "Bearer"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_without_a_right_key_nothing_is_read_or_told(
    house: House, options: dict[str, Any], method: str
) -> None:
    answer = house.ask(applied("A1"), method=method, **options)

    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert house.events() == []


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/events"), ("DELETE", "/v1/events/e1"), ("POST", "/v1/events/e1")]
)
def test_another_method_or_path_is_refused(house: House, method: str, path: str) -> None:
    assert house.ask(applied("A1"), method=method, path=path).status == 405


def test_a_body_that_says_it_is_too_large_is_not_waited_for(house: House) -> None:
    assert house.ask([], content_length="20001").status == 413


def test_a_body_that_grows_too_large_is_refused_while_it_grows(house: House) -> None:
    assert house.ask([b" " * 10_000] * 50).status == 413


@pytest.mark.parametrize("size", [19_999, 20_000, 20_001, 2_000_000])
def test_a_gzip_bomb_is_refused_before_it_is_unpacked_whole(house: House, size: int) -> None:
    packed = gzip.compress(b" " * size)

    answer = house.ask(packed, content_encoding="gzip")

    assert answer.status == (400 if size <= 20_000 else 413)
    assert answer.body["title"] == ("empty body" if size <= 20_000 else "too large")


def test_gzip_of_endless_empty_members_is_refused(house: House) -> None:
    assert house.ask(gzip.compress(b"") * 990, content_encoding="gzip").status == 400
    assert house.ask([gzip.compress(b"") * 500] * 3, content_encoding="gzip").status == 413


@pytest.mark.parametrize(
    "packed",
    [
        b"no gzip",
        gzip.compress(b"{}")[:-3],
        gzip.compress(b"{}") + b"tail",
        zlib.compress(b"{}"),
        b"",
    ],
    ids=["no gzip", "cut short", "with a tail", "zlib", "empty"],
)
def test_broken_gzip_is_refused(house: House, packed: bytes) -> None:
    answer = house.ask(packed, content_encoding="gzip")

    assert (answer.status, answer.body["title"]) == (400, "malformed gzip")


def test_another_encoding_is_refused(house: House) -> None:
    assert house.ask(b"{}", content_encoding="br").status == 415


def test_a_sender_that_leaves_in_the_middle_leaves_nothing_behind(house: House) -> None:
    raw = json.dumps(applied("A1")).encode()

    assert house.ask([raw[:20], raw[20:]], leaves=True).status == 400
    assert house.events() == []


# durable before answered


def test_the_answer_waits_until_the_event_is_durable(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    may_commit, append = Signal(), house.log.append

    def blocked(events: Sequence[Event], **more: Any) -> int:
        assert may_commit.wait(10)
        return append(events, **more)

    monkeypatch.setattr(house.log, "append", blocked)

    async def story() -> tuple[bool, Answer]:
        answer = asyncio.create_task(house.ask_async(json.dumps(applied("A1")).encode()))
        early, _ = await asyncio.wait([answer], timeout=0.1)
        may_commit.set()
        return bool(early), await answer

    early, answer = asyncio.run(story())

    assert not early
    assert answer.status == 202
    assert len(house.events()) == 1


def test_what_the_log_does_not_take_is_answered_503_with_when_to_come_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(events: Sequence[Event]) -> int:
        raise LogError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(house.log, "append", full)
        answer = house.ask(applied("A1"))

    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert house.ask(applied("A1")).status == 202


def test_a_full_queue_is_answered_429_with_when_to_come_again(tmp_path: Path) -> None:
    house = House(tmp_path, DoorSettings(max_events=10, queue=2))

    async def story() -> Answer:
        waiting = asyncio.create_task(house.ask_async(json.dumps([applied("A1"), applied("A2")]).encode()))
        await asyncio.wait([waiting], timeout=0.05)
        turned_away = await house.ask_async(json.dumps(applied("A3")).encode())
        broken = await house.ask_async(b"[1")
        house.intake.start()
        assert (await waiting).status == 202
        assert broken.status == 429
        return turned_away

    answer = asyncio.run(story())
    house.intake.stop()

    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    assert [event.application_id for event in house.events()] == ["A1", "A2"]
    house.log.close()


def test_after_stopping_nothing_more_is_taken(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.intake.start()
    house.intake.stop()

    assert house.ask(applied("A1")).status == 429
    assert house.ask(b"[1").status == 429
    house.log.close()


# what a key may


def test_a_key_that_may_only_send_cannot_ask(tmp_path: Path) -> None:
    house = House(tmp_path, scopes=("events",))
    house.intake.start()
    sent, asked = house.ask(applied("A1")), house.ask(method="GET", path="/v1/events/e-A1")
    house.intake.stop()
    house.log.close()

    assert (sent.status, asked.status) == (202, 403)
    assert asked.body["detail"] == "this API key lacks the scope 'read'"


def test_a_key_that_may_only_ask_cannot_send(tmp_path: Path) -> None:
    house = House(tmp_path, scopes=("read",))
    sent, asked = house.ask(applied("A1")), house.ask(method="GET", path="/v1/events/e-A1")
    house.log.close()

    assert (sent.status, asked.status) == (403, 404)


def test_a_key_may_send_so_many_events_a_second_and_no_more_bytes_than_its_own(tmp_path: Path) -> None:
    house = House(tmp_path, per_second=2, burst=4, max_bytes=2_048)
    house.intake.start()
    large = house.ask(b" " * 2_049)
    first = house.ask([applied(f"A{n}") for n in range(5)])
    second = house.ask(applied("A6"))
    house.intake.stop()
    house.log.close()

    assert large.status == 413
    assert first.status == 202
    # One too many and one more to come, at 2 a second.
    assert (second.status, second.headers["retry-after"]) == (429, "1")
    assert first.body["accepted"] == 5


def test_a_full_queue_is_known_before_a_body_is_read(tmp_path: Path) -> None:
    house = House(tmp_path, DoorSettings(max_events=10, queue=2))

    async def story() -> Answer:
        waiting = asyncio.create_task(house.ask_async(json.dumps([applied("A1"), applied("A2")]).encode()))
        await asyncio.wait([waiting], timeout=0.05)
        # No part of the body is there: whoever waited for one would be told that the sender left.
        turned_away = await house.ask_async([])
        house.intake.start()
        await waiting
        return turned_away

    answer = asyncio.run(story())
    house.intake.stop()
    house.log.close()

    assert (answer.status, answer.headers["retry-after"]) == (429, "1")


def test_bodies_together_hold_no_more_than_allowed(tmp_path: Path) -> None:
    house = House(tmp_path, DoorSettings(max_held_bytes=1_024, max_bytes=100_000))

    async def story() -> list[Answer]:
        bodies = [json.dumps(applied(f"A{n}", product="p" * 120)).encode() for n in range(9)]
        waiting = [asyncio.create_task(house.ask_async(body)) for body in bodies]
        await asyncio.wait(waiting, timeout=0.05)
        house.intake.start()
        return [await one for one in waiting]

    answers = asyncio.run(story())
    size = len(json.dumps(applied("A1", product="p" * 120)))
    after = house.ask(applied("A99", properties={"x": "y" * 1_000}))
    house.intake.stop()
    house.log.close()

    statuses = [answer.status for answer in answers]
    assert statuses.count(202) == 1_024 // size
    assert statuses.count(429) == 9 - 1_024 // size
    assert after.status == 202


def test_a_body_that_dribbles_in_is_not_waited_for_and_holds_nothing_any_more() -> None:
    held = Held(1_000)

    async def story() -> Refusal:
        parts = [{"type": "http.request", "body": b"[" * 900, "more_body": True}]

        async def receive() -> Any:
            return parts.pop() if parts else await asyncio.Future()

        with pytest.raises(Refusal) as refused, Body({}, 1_000, held, seconds=0.01) as arriving:
            await arriving.read(receive)
        return refused.value

    refusal = asyncio.run(story())

    assert (refusal.status, refusal.title, held.now) == (408, "too slow", 0)


# asking what became of it


def test_an_events_verdict_can_be_asked_for(house: House) -> None:
    house.ask(applied("A1"))
    house.ask(applied("A1"))
    house.ask(applied("A1", product="other"))
    house.intake.stop()

    answer = house.ask(method="GET", path="/v1/events/e-A1")

    shown = answer.body["events"]
    assert [one["verdict"] for one in shown] == ["taken", "duplicate", "conflict"]
    assert {one["source"] for one in shown} == {"crm"}
    assert shown[0]["received_at"].startswith("2026-03-10T09:00:00")
    house.intake = Intake(house.log, house.decider.turn)
    house.intake.start()


def test_an_event_that_is_not_decided_yet_is_pending(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.log.append([READ_LATER])

    assert house.ask(method="GET", path="/v1/events/later").body["events"][0]["verdict"] == "pending"
    house.log.close()


READ_LATER = Event(
    type="applied",
    brand="acme",
    user_id="u1",
    event_id="later",
    application_id="A9",
    occurred_at=T0,
    received_at=T0,
)


def test_an_unknown_event_is_not_found(house: House) -> None:
    assert house.ask(method="GET", path="/v1/events/nobody").status == 404


# what must not get out


def test_no_phone_no_mail_and_no_score_gets_into_answers_log_lines_or_quarantine(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    secret = {"email": "someone@acme.example", "phone": "+2348012345678", "score": 733.25}
    grant = {**applied("A1", **secret), "type": "credit_granted", "grant_id": "G1"}
    asked = [
        grant,
        {**grant, "grant_id": None},
        {**grant, "phone_number": "08012345678"},
        {**grant, "score": "733.25"},
        {**grant, "score": {"value": 733.25}},
        {**grant, "email": ["someone@acme.example"]},
        {**grant, "amount": "+2348012345678"},
        {**grant, "+2348012345678": 733.25},
        {**grant, "occurred_at": "2348012345678"},
    ]
    bodies = [json.dumps(one).encode() for one in asked]
    bodies += [bodies[0][:-1], b"[" + bodies[0], bodies[0].replace(b'"', b"'"), bodies[0] + b"\xff"]
    with caplog.at_level(logging.DEBUG):
        answers = [house.ask(body) for body in bodies]
        found = house.ask(method="GET", path="/v1/events/e-A1")
        house.intake.stop()

    kept = b"".join(one.body + one.field.encode() + one.rule.encode() for one in house.log.quarantined())
    said = json.dumps([one.body for one in (*answers, found)]) + caplog.text + kept.decode()
    assert len(house.log.quarantined()) == len(bodies) - 1
    assert [value for value in ("someone", "8012345678", "733") if value in said] == []
    assert b"someone" not in b"".join(bytes(str(event), "utf8") for event in house.events())
    house.intake = Intake(house.log, house.decider.turn)
    house.intake.start()


# whatever comes


def test_whatever_comes_is_answered(house: House) -> None:
    """Good bodies with bytes changed, cut out or doubled: an answer below 500, and nothing half taken."""
    chance = random.Random(20260310)
    good = json.dumps([applied("A1", properties={"a": 1}), applied("A2", amount=5, currency="NGN")]).encode()
    for _ in range(300):
        body = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            start = chance.randrange(len(body))
            match chance.randrange(3):
                case 0:
                    body[start] = chance.randrange(256)
                case 1:
                    del body[start : start + chance.randint(1, 9)]
                case _:
                    body[start:start] = body[: chance.randint(1, 9)]
        answer = house.ask(bytes(body))
        assert answer.status in (202, 400, 413, 422)


# over a real connection


@pytest.fixture
def address(house: House) -> Iterator[str]:
    """A real server on loopback, as `run` sets it up."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        house.door, http="httptools", lifespan="off", log_level="warning", timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(config)
    listening.listen()
    thread = Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    listening.close()


def over_http(url: str, body: bytes | None, **headers: str) -> tuple[int, Any]:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, body, {"authorization": f"Bearer {KEY}", **given})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_over_a_real_connection_it_is_the_same(house: House, address: str) -> None:
    packed = gzip.compress(json.dumps([applied("A1"), applied("A/2")]).encode())
    events = f"{address}/v1/events"

    assert over_http(events, packed, content_encoding="gzip")[1]["accepted"] == 2
    assert over_http(events, b"{broken")[0] == 422
    assert over_http(events, b"x" * 20_001)[0] == 413
    assert over_http(events, b"{}", authorization="Bearer wrong")[0] == 401
    status, found = over_http(f"{events}/e-A%2F2", None)
    assert (status, found["events"][0]["event_id"]) == (200, "e-A/2")


def both(*calls: Callable[[], Any]) -> list[Any]:
    """Makes the calls at once, each in a thread of its own."""
    found: list[Any] = []
    threads = [Thread(target=lambda call=call: found.append(call())) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return found


def test_many_senders_at_once_are_each_told_of_their_own(house: House, address: str) -> None:
    def send(sender: int) -> bool:
        names = [f"S{sender}-{n}" for n in range(5)]
        for name in names:
            status, answer = over_http(f"{address}/v1/events", json.dumps(applied(name)).encode())
            if (status, answer["event_id"]) != (202, f"e-{name}"):
                return False
        return True

    assert both(*(lambda sender=sender: send(sender) for sender in range(8))) == [True] * 8
    assert len({event.application_id for event in house.events()}) == 40
