"""What a connection may take, tried over real ones."""

import socket
from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest
import uvicorn
from tests.running import until

from lendsignal.role import connections
from lendsignal.role.connections import HEAD_BYTES, limited

ROOM_FOR = 3
GET = b"GET / HTTP/1.1\r\nHost: here\r\n"


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers everything with an empty 204, whatever the size of its body."""
    while (await receive()).get("more_body"):
        continue
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def server() -> Iterator[uvicorn.Server]:
    settings = uvicorn.Config(
        app, http=limited(ROOM_FOR), loop="uvloop", lifespan="off", log_level="warning", log_config=None
    )
    found = uvicorn.Server(settings)
    with socket.socket() as listens:
        listens.bind(("127.0.0.1", 0))
        listens.listen()
        found.port = listens.getsockname()[1]  # type: ignore[attr-defined]
        thread = Thread(target=found.run, kwargs={"sockets": [listens]})
        thread.start()
        yield found
        found.should_exit = True
        thread.join(30)


def called(server: uvicorn.Server, *parts: bytes) -> socket.socket:
    """A connection over which these bytes went."""
    one = socket.create_connection(("127.0.0.1", server.port), 30)  # type: ignore[attr-defined]
    for part in parts:
        one.sendall(part)
    return one


def status(one: socket.socket) -> int:
    return int(one.recv(1_000).split()[1])


def test_a_request_of_any_length_of_body_is_answered_and_the_connection_stays(server: uvicorn.Server) -> None:
    long = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % (4 * HEAD_BYTES)
    with called(server, long, b"x" * 4 * HEAD_BYTES) as one:
        assert status(one) == 204
        one.sendall(GET + b"\r\n")
        assert status(one) == 204


def test_a_head_that_goes_on_and_on_is_refused(server: uvicorn.Server) -> None:
    with called(server, GET, b"X-Long: " + b"y" * HEAD_BYTES) as one:
        assert status(one) == 431
        assert one.recv(1) == b""


def test_so_does_that_of_a_later_request(server: uvicorn.Server) -> None:
    with called(server, GET + b"\r\n") as one:
        assert status(one) == 204
        one.sendall(GET + b"X-Long: " + b"y" * HEAD_BYTES)
        assert status(one) == 431


def test_who_says_nothing_or_dribbles_is_let_go(
    server: uvicorn.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.1)
    with called(server) as silent, called(server, GET) as dribbles:
        assert status(silent) == 408
        assert status(dribbles) == 408


def test_who_comes_on_top_is_told_to_come_again_and_finds_room_later(server: uvicorn.Server) -> None:
    taken = [called(server, GET + b"\r\n") for _ in range(ROOM_FOR)]
    assert [status(one) for one in taken] == [204] * ROOM_FOR
    with called(server) as one:
        answer = one.recv(1_000)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"Retry-After: 1" in answer

    for gone in taken:
        gone.close()
    until(lambda: len(server.server_state.connections) < ROOM_FOR, "they are gone")
    with called(server, GET + b"\r\n") as again:
        assert status(again) == 204
