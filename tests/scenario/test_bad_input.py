"""What no back end should send, sent to the running door over sockets: a clear answer each, nobody harmed."""

import gzip
import json
import re
import socket
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.running import KEY, PATIENCE, Service, call, service

from lendsignal.log import open_log

EMAIL, PHONE, SCORE = "ada.private@example.com", "+2348012345678", 713.25
"""What may never be repeated to anybody."""

PRIVATE = {"email": EMAIL, "phone": PHONE, "score": SCORE}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service that has to bear all of it."""
    with service(tmp_path_factory.mktemp("bad")) as (one, _):
        yield one


class Guard:
    """Looks, before and after, whether the door is the same process and loses nothing it has taken."""

    def __init__(self, running: Service) -> None:
        self.service = running
        self.taken: list[str] = []

    def well(self, name: str) -> None:
        """A good event is taken."""
        status, _, body = call(self.service.address, "POST", "/v1/events", json.dumps(good(name)).encode())
        assert status == 202, body
        self.taken.append(name)


@pytest.fixture
def guard(running: Service, request: pytest.FixtureRequest) -> Iterator[Guard]:
    one, pid, name = Guard(running), running.pid("core"), re.sub(r"\W+", "-", request.node.name)[:80]
    one.well(f"{name}-before")
    yield one
    one.well(f"{name}-after")

    assert running.pid("core") == pid, "the door is still the same process"
    log = open_log(running.data / "log.sqlite", read_only=True)
    try:
        assert all(log.find(event_id) for event_id in one.taken)
    finally:
        log.close()


def now(**ahead: float) -> str:
    return (datetime.now(UTC) + timedelta(**ahead)).isoformat()


def good(name: str = "good", **changes: Any) -> dict[str, Any]:
    """A disbursement that the door takes."""
    known = {
        "event_id": name,
        "type": "disbursed",
        "brand": "acme",
        "user_id": "u1",
        "loan_id": f"L-{name}",
        "occurred_at": now(),
        "amount": "25000",
        "currency": "NGN",
    }
    return {key: value for key, value in {**known, **changes}.items() if value is not None}


def touch(**changes: Any) -> dict[str, Any]:
    return {
        "event_id": "touch",
        "type": "logged_in",
        "brand": "acme",
        "app": "acme-ng",
        "user_id": "u1",
        "occurred_at": now(),
        "device": {"appsflyer_id": "1700000000001-1000001"},
        **changes,
    }


def refusal(answer: tuple[int, dict[str, str], bytes], status: int) -> dict[str, Any]:
    """The problem in an answer; nothing private is in it."""
    found, headers, body = answer
    assert found == status, body
    assert headers["content-type"] == "application/problem+json"
    for secret in (EMAIL, PHONE, str(SCORE), KEY):
        assert secret not in body.decode()
    problem: dict[str, Any] = json.loads(body)
    assert problem["status"] == status
    assert problem["title"]
    return problem


def post(one: Service, body: bytes, **headers: str) -> tuple[int, dict[str, str], bytes]:
    return call(one.address, "POST", "/v1/events", body, timeout=PATIENCE, **headers)


# one event that is not one


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (good(type=17), "type"),
        (good(type=None), "type"),
        (good(user_id=["u1"]), "user_id"),
        (good(user_id=None), "user_id"),
        (good(loan_id=None), "loan_id"),
        (good(app="acme-xx"), "app"),
        (good(brand="acmee"), "brand"),
        (good(occurred_at="1970-01-01T00:00:00Z"), "occurred_at"),
        (good(occurred_at=0), "occurred_at"),
        (good(occurred_at="2099-01-01T00:00:00Z"), "occurred_at"),
        (good(occurred_at="2026-11-22 09:00"), "occurred_at"),
        (good(occurred_at=10**30), "occurred_at"),
        (good(amount="-1"), "amount"),
        (good(amount="NaN"), "amount"),
        (good(amount="1e400"), "amount"),
        (good(currency="naira"), "currency"),
        (good(currency=None), "currency"),
        (good(user_id="x" * 1_000_000), "user_id"),
        (good(event_id="x" * 1_000_000), "event_id"),
        (good(surprise="x" * 1_000_000), "surprise"),
        (good(loan_nubmer=3), "loan_nubmer"),
        (good(received_at=now()), "received_at"),
        (touch(device={"appsflyer_id": 17}), "device.appsflyer_id"),
    ],
    ids=lambda found: found if isinstance(found, str) else "",
)
def test_a_malformed_event_is_refused_with_its_field_and_the_rule(
    guard: Guard, event: dict[str, Any], field: str
) -> None:
    problem = refusal(post(guard.service, json.dumps({**event, **PRIVATE}).encode()), 422)

    assert problem["field"] == field
    assert problem["detail"]


def test_the_nearest_known_field_is_named(guard: Guard) -> None:
    problem = refusal(post(guard.service, json.dumps(good(loan_nubmer=3)).encode()), 422)

    assert problem["nearest"] == "loan_number"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"   ", 400),
        (b"[]", 400),
        (b"[1,", 400),
        (b"{", 422),
        (b'{"type": "disbursed"', 422),
        (b"null", 422),
        (b"17", 422),
        (b'"disbursed"', 422),
        (b'{"type": "disbursed", "type": "repaid"}', 422),
        (b"\xff\xfe\x00{", 422),
        (b'{"type": "disb\xffursed"}', 422),
        (b"[" * 100_000, 400),
        (b'{"a":' * 100_000, 422),
        (b'{"type": "\xed\xa0\x80"}', 422),
    ],
)
def test_a_body_that_is_no_event_is_refused(guard: Guard, body: bytes, status: int) -> None:
    refusal(post(guard.service, body), status)


def test_rows_that_are_bad_do_not_keep_the_good_ones_out(guard: Guard) -> None:
    rows = [good("row-1"), good("row-2", amount="-3", **PRIVATE), "no object", good("row-4"), None]
    status, _, body = post(guard.service, json.dumps(rows).encode())
    found = json.loads(body)

    assert status == 202
    assert (found["accepted"], found["refused"]) == (2, 3)
    assert [one["status"] for one in found["results"]] == [
        "accepted", "refused", "refused", "accepted", "refused",
    ]  # fmt: skip
    assert found["results"][1]["field"] == "amount"
    assert EMAIL not in body.decode()
    guard.taken += ["row-1", "row-4"]


def test_lines_of_which_one_is_broken_are_answered_line_by_line(guard: Guard) -> None:
    lines = [json.dumps(good("line-1")), '{"type":', json.dumps(good("line-3"))]
    status, _, body = post(guard.service, "\n".join(lines).encode(), content_type="application/x-ndjson")

    assert status == 202
    assert [one["status"] for one in json.loads(body)["results"]] == ["accepted", "refused", "accepted"]
    guard.taken += ["line-1", "line-3"]


# requests that are none


def test_a_request_without_a_key_or_with_another_is_refused(guard: Guard) -> None:
    for authorization in ("", "Bearer", "Bearer ls_other", f"Basic {KEY}", KEY):
        answer = call(
            guard.service.address,
            "POST",
            "/v1/events",
            json.dumps(good()).encode(),
            Authorization=authorization,
        )
        refusal(answer, 401)
        assert answer[1]["www-authenticate"] == "Bearer"


def test_other_calls_are_told_what_there_is(guard: Guard) -> None:
    refusal(call(guard.service.address, "PUT", "/v1/events", b"{}"), 405)
    refusal(call(guard.service.address, "DELETE", "/v1/events/e1"), 405)
    refusal(call(guard.service.address, "GET", "/v1/events/nobody-sent-this"), 404)


def test_too_many_events_and_too_many_bytes_are_refused(guard: Guard) -> None:
    refusal(post(guard.service, json.dumps([good()] * 1_001).encode()), 413)
    refusal(post(guard.service, b" " * 5_000_001), 413)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(guard: Guard) -> None:
    packed = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    zeros = b"0" * 1_000_000
    bomb = b"".join([packed.compress(zeros) for _ in range(300)]) + packed.flush()
    before = memory_of(guard.service)

    refusal(post(guard.service, bomb, content_encoding="gzip"), 413)

    assert len(bomb) < 1_000_000
    assert memory_of(guard.service) - before < 60_000_000


@pytest.mark.parametrize(
    "body",
    [b"no gzip at all", gzip.compress(json.dumps(good()).encode())[:-5], b"\x1f\x8b\x08\x00" + b"\xff" * 50],
    ids=["plain", "cut", "garbage"],
)
def test_gzip_that_is_none_is_refused(guard: Guard, body: bytes) -> None:
    refusal(post(guard.service, body, content_encoding="gzip"), 400)


def test_an_unknown_encoding_is_refused(guard: Guard) -> None:
    refusal(post(guard.service, b"{}", content_encoding="br"), 415)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
        b"GET\r\n\r\n",
        b"POST /v1/events HTTP/9.9\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: minus one\r\n\r\n{}",
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"A" * 200_000,
    ],
    ids=["tls", "no path", "version", "length", "chunk", "endless line"],
)
def test_bytes_that_are_no_http_end_their_own_connection(guard: Guard, raw: bytes) -> None:
    answered = spoken(guard.service, raw)

    assert answered == b"" or answered.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5"))


def test_a_sender_that_goes_away_midway_costs_nothing(guard: Guard) -> None:
    head = (
        f"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: 500\r\n\r\n"
    )
    for part in (head.encode(), head.encode() + b'{"type": "disb'):
        with socket.create_connection(("127.0.0.1", guard.service.port), PATIENCE) as connection:
            connection.sendall(part)


def test_many_who_say_nothing_do_not_keep_others_out(guard: Guard) -> None:
    silent = [socket.create_connection(("127.0.0.1", guard.service.port), PATIENCE) for _ in range(100)]
    try:
        for one in silent:
            one.sendall(b"POST /v1/events HTTP/1.1\r\n")
        guard.well("beside-the-silent")
    finally:
        for one in silent:
            one.close()


# what is taken with care


def test_a_login_by_an_agent_is_taken_and_is_no_touch(guard: Guard) -> None:
    user = "by-agent"
    events = [
        touch(event_id="t-agent", user_id=user, actor="agent"),
        good("d-agent", user_id=user),
    ]
    status, _, body = post(guard.service, json.dumps(events).encode())
    guard.taken += ["t-agent", "d-agent"]

    assert (status, json.loads(body)["accepted"]) == (202, 2)
    guard.service.idle()
    log = open_log(guard.service.data / "log.sqlite", read_only=True)
    try:
        state = log.state(f"acme:{user}")
    finally:
        log.close()
    assert state is not None
    assert len(state.pen) == 1, "the loan still waits for a login of the user's own"


def test_a_phone_whose_clock_is_three_hours_ahead_is_corrected(guard: Guard) -> None:
    event = touch(event_id="t-ahead", user_id="ahead", occurred_at=now(hours=3), sent_at=now(hours=3))
    status, _, body = post(guard.service, json.dumps(event).encode())
    guard.taken.append("t-ahead")

    assert (status, json.loads(body)["flags"]) == (202, ["clock_corrected"])
    shown = json.loads(call(guard.service.address, "GET", "/v1/events/t-ahead")[2])["events"][0]
    assert abs(datetime.fromisoformat(shown["occurred_at"]) - datetime.now(UTC)) < timedelta(minutes=5)


def test_a_back_end_whose_clock_is_three_hours_ahead_is_refused(guard: Guard) -> None:
    event = good(occurred_at=now(hours=3))

    assert refusal(post(guard.service, json.dumps(event).encode()), 422)["field"] == "occurred_at"


def test_the_same_event_twice_is_a_duplicate_and_another_story_a_conflict(guard: Guard) -> None:
    first = good("told-first", loan_id="L-told", amount="100")
    again, other = (
        {**first, "event_id": "told-again"},
        {**first, "event_id": "told-otherwise", "amount": "200"},
    )
    for event in (first, again, other):
        assert post(guard.service, json.dumps(event).encode())[0] == 202
    guard.taken += ["told-first", "told-again", "told-otherwise"]
    guard.service.idle()

    def verdict(event_id: str) -> str:
        body = json.loads(call(guard.service.address, "GET", f"/v1/events/{event_id}")[2])
        found: str = body["events"][0]["verdict"]
        return found

    assert [verdict(name) for name in ("told-first", "told-again", "told-otherwise")] == [
        "taken",
        "duplicate",
        "conflict",
    ]


# afterwards


def test_what_was_refused_is_kept_and_nothing_private_is_anywhere(running: Service) -> None:
    notes = {"note": f"call {PHONE} or {EMAIL}"}
    post(running, json.dumps(good("last", amount="-1", properties=notes, **PRIVATE)).encode())
    post(running, f"{EMAIL} {PHONE} {SCORE} is no JSON".encode())
    log = open_log(running.data / "log.sqlite", read_only=True)
    try:
        kept = log.quarantined(1_000)
        rules = log.refusals()
    finally:
        log.close()

    assert len(kept) >= 2
    assert kept[1].field == "amount"
    assert ("amount", kept[1].rule) in rules
    for secret in (EMAIL, PHONE, PHONE.lstrip("+"), str(SCORE), KEY):
        assert [one.id for one in kept if secret.encode() in one.body] == []
        assert [one.id for one in kept if secret in one.rule or secret in one.field] == []
        assert secret not in running.said
        for file in running.data.glob("*.sqlite*"):
            assert secret.encode() not in file.read_bytes(), f"{secret} in {file.name}"


def test_no_child_died_of_any_of_it(running: Service) -> None:
    assert "ended with code" not in running.said
    assert "Traceback" not in running.said
    running.idle()


def spoken(one: Service, raw: bytes) -> bytes:
    """What comes back on a connection until the other side closes it."""
    found = b""
    with socket.create_connection(("127.0.0.1", one.port), 5) as connection:
        try:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65_536):
                found += part
        except OSError:
            pass
    return found


def memory_of(one: Service) -> int:
    """Resident bytes of the core."""
    with open(f"/proc/{one.pid('core')}/statm") as file:
        return int(file.read().split()[1]) * 4096
