"""The one door to the network, against real sockets: what came back, and whether anything can have left."""

import gc
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from tests.scripted import (
    PATIENCE,
    Act,
    answer,
    closes,
    hangs,
    platform,
    resets,
    says,
    then_closes,
    waits_for,
    writes,
)

from lendsignal.deliver import Done, NoAnswer, Wire
from lendsignal.deliver.transport import PORTION, Transport
from lendsignal.destination.spec import Response

BODY = b'{"id":"c0ffee01"}'
SOON = 0.3
"""Seconds a request may take where the test wants it to run out of time."""


@pytest.fixture
def transport() -> Iterator[Transport]:
    one = Transport()
    yield one
    one.close()


def sent(
    transport: Transport,
    url: str,
    *,
    body: bytes = BODY,
    timeout: float = PATIENCE,
    private: bool = True,
    method: str = "POST",
) -> Response | NoAnswer:
    """How one request ends."""
    transport.start(Wire(method, url, (("X-Trial", "yes"),), body), "it", timeout, private=private)
    (done,) = ended(transport, 1)
    assert done.token == "it"
    result: Response | NoAnswer = done.result
    return result


def ended(transport: Transport, requests: int) -> list[Done]:
    """The next so many requests that end."""
    found: list[Done] = []
    for _ in range(int(PATIENCE / 0.05)):
        found += transport.wait(0.05)
        if len(found) >= requests:
            return found
    raise AssertionError(f"{len(found)} of {requests} requests ended")


# answers


def test_an_answer_comes_with_status_body_and_headers_in_lower_case(transport: Transport) -> None:
    with platform(says(202, b'{"ok":1}', Retry_After="7", X_Usage="a: b")) as acme:
        found = sent(transport, f"{acme.url}/v1/events?a=1")

        assert found == Response(
            status=202,
            body=b'{"ok":1}',
            headers={"content-length": "8", "retry-after": "7", "x-usage": "a: b"},
        )
        (came,) = acme.came
        assert (came.target, came.body) == ("/v1/events?a=1", BODY)
        assert came.head.startswith(b"POST ")
        assert came.headers["x-trial"] == "yes"
        assert "expect" not in came.headers


def test_a_redirect_is_an_answer_and_is_not_followed(transport: Transport) -> None:
    with platform(says(302, Location="/elsewhere")) as acme:
        found = sent(transport, acme.url)

        assert isinstance(found, Response)
        assert found.status == 302
        assert len(acme.came) == 1


def test_an_interim_answer_leaves_nothing_behind(transport: Transport) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nX-Early: yes\r\n\r\n"
    with platform(writes(early + answer(200, b"OK", X_Late="yes"))) as acme:
        found = sent(transport, acme.url)

        assert isinstance(found, Response)
        assert (found.status, found.body) == (200, b"OK")
        assert "x-late" in found.headers
        assert "x-early" not in found.headers


def test_a_long_answer_is_cut_and_is_still_an_answer(transport: Transport) -> None:
    with platform(says(200, b"x" * 3_000_000)) as acme:
        found = sent(transport, acme.url)

        assert isinstance(found, Response)
        assert found.status == 200
        assert 0 < len(found.body) <= 1_000_000


def test_a_slow_answer_is_waited_for_while_others_come_in(transport: Transport) -> None:
    released = threading.Event()
    with platform(waits_for(released, says(200, b"slow"))) as slow, platform(says(200, b"quick")) as quick:
        transport.start(Wire("POST", slow.url, (), BODY), "slow", PATIENCE)
        slow_came = threading.Thread(target=slow.wait_for, args=(1,))
        slow_came.start()
        for number in range(3):
            transport.start(Wire("POST", quick.url, (), BODY), number, PATIENCE)

        quick_ones = ended(transport, 3)

        assert {done.token for done in quick_ones} == {0, 1, 2}
        assert len(transport) == 1
        released.set()
        (last,) = ended(transport, 1)
        slow_came.join()
        assert last.token == "slow"
        assert isinstance(last.result, Response)
        assert last.result.body == b"slow"


def test_a_bell_ends_a_wait_and_is_answered(transport: Transport) -> None:
    read, write = os.pipe()
    rung: list[bytes] = []
    with ExitStack() as closing:
        closing.callback(os.close, read)
        closing.callback(os.close, write)
        waiting = Transport([(read, lambda: rung.append(os.read(read, 10)))])
        closing.callback(waiting.close)
        os.write(write, b"!")

        assert waiting.wait(PATIENCE) == []
        assert rung == [b"!"]


# no answer: what can have left


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (closes, "no_answer"),
        (resets, "connection_reset"),
        (writes(b"HTTP/1.1"), "no_answer"),
        (writes(answer(200, b"x" * 100)[:80]), "half_answer"),
        (writes(b"\x16\x03 this is no HTTP\r\n\r\n"), "unreadable_answer"),
        (writes(b"HTTP/1.1 abc\r\n\r\n"), "unreadable_answer"),
        (writes(b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\nOK"), "unreadable_answer"),
        (writes(b"HTTP/1.1 100 Continue\r\n\r\n"), "no_answer"),
    ],
    ids=[
        "closed", "reset", "cut in the status line", "cut in the body", "garbage", "no status",
        "no length", "interim only",
    ],
)  # fmt: skip
@pytest.mark.parametrize("kept", [False, True], ids=["fresh connection", "kept connection"])
def test_a_request_that_arrived_and_was_not_answered_may_have_been_taken(
    transport: Transport, act: Act, reason: str, kept: bool
) -> None:
    script = [says(200, b"OK"), act] if kept else [act]
    with platform(*script) as acme:
        if kept:
            sent(transport, acme.url)
        found = sent(transport, acme.url)

        assert isinstance(found, NoAnswer)
        assert found.left
        # libcurl tells a kept connection that died by the rewind that it was refused.
        assert found.reason in ({reason, "no_answer"} if kept else {reason})
        assert len(acme.came) == len(script)


def test_a_request_that_hangs_runs_out_of_time_and_may_have_been_taken(transport: Transport) -> None:
    with platform(hangs) as acme:
        assert sent(transport, acme.url, timeout=SOON) == NoAnswer("timeout", left=True)
        acme.wait_for(1)


def test_the_smallest_timeout_is_still_one(transport: Transport) -> None:
    with platform(hangs) as acme:
        found = sent(transport, acme.url, timeout=0.0001)

        assert isinstance(found, NoAnswer)
        assert found.reason == "timeout"


def test_where_nobody_listens_nothing_has_left(transport: Transport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]

    assert sent(transport, f"http://127.0.0.1:{port}/") == NoAnswer("connect_failed", left=False)


def test_a_name_that_nobody_has_is_no_host(transport: Transport) -> None:
    # RFC 6761: no name under .invalid ever exists.
    assert sent(transport, "http://acme.invalid/") == NoAnswer("host_unknown", left=False)


def test_a_connection_that_never_came_about_has_carried_nothing(transport: Transport) -> None:
    with full_listener() as port:
        found = sent(transport, f"http://127.0.0.1:{port}/", timeout=SOON)

        assert found == NoAnswer("timeout", left=False)


def test_a_host_without_tls_has_been_told_nothing(transport: Transport) -> None:
    with platform_without_tls() as port:
        found = sent(transport, f"https://127.0.0.1:{port}/")

        assert found == NoAnswer("tls_failed", left=False)


# kept connections


def test_requests_one_behind_the_other_share_a_connection(transport: Transport) -> None:
    with platform() as acme:
        for _ in range(3):
            sent(transport, acme.url)

        assert [came.connection for came in acme.came] == [1, 1, 1]


def test_requests_in_flight_together_have_connections_of_their_own(transport: Transport) -> None:
    released = threading.Event()
    with platform(waits_for(released, says(200))) as acme:
        for number in range(4):
            transport.start(Wire("POST", acme.url, (), BODY), number, PATIENCE)

        def release() -> None:
            acme.wait_for(4)
            released.set()

        all_there = threading.Thread(target=release)
        all_there.start()

        assert {done.token for done in ended(transport, 4)} == {0, 1, 2, 3}
        all_there.join()
        assert acme.connections == 4


@pytest.mark.parametrize("act", [closes, resets], ids=["closed", "reset"])
@pytest.mark.parametrize("body", [BODY, b"x" * 300_000, b""], ids=["a body", "a long body", "no body at all"])
def test_a_kept_connection_that_dies_under_a_request_does_not_make_it_leave_twice(
    transport: Transport, act: Act, body: bytes
) -> None:
    # libcurl by itself sends such a request again on a fresh connection: the platform would count two.
    with platform(says(200), act, says(200, b"twice")) as acme:
        sent(transport, acme.url)
        found = sent(transport, acme.url, body=body)

        assert isinstance(found, NoAnswer)
        assert found.left
        assert [came.body for came in acme.came] == [BODY, body]


def test_a_connection_that_was_closed_while_idle_carries_nothing_twice(transport: Transport) -> None:
    # libcurl looks whether a kept connection lives only after a second of rest. Before, the request is
    # written to a closed socket, and nobody on this side can know that it was not read.
    with platform(then_closes(says(200, b"one")), says(200, b"two")) as acme:
        sent(transport, acme.url)
        acme.wait_for_closed(1)
        found = sent(transport, acme.url)

        if isinstance(found, NoAnswer):
            assert found.left
            assert len(acme.came) == 1
        else:
            assert found.body == b"two"
            assert [came.connection for came in acme.came] == [1, 2]


def test_a_connection_that_the_platform_says_it_closes_is_not_used_again(transport: Transport) -> None:
    with platform(then_closes(says(200, Connection="close"))) as acme:
        for _ in range(3):
            assert isinstance(sent(transport, acme.url), Response)

        assert [came.connection for came in acme.came] == [1, 2, 3]


def test_what_the_last_request_left_does_not_reach_into_the_next(transport: Transport) -> None:
    with platform(says(500, b"long answer", X_One="1")) as acme:
        sent(transport, acme.url)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]

    assert sent(transport, f"http://127.0.0.1:{port}/") == NoAnswer("connect_failed", left=False)
    with platform(says(204)) as acme:
        assert sent(transport, acme.url) == Response(status=204, headers={"content-length": "0"})


def test_closing_drops_what_is_in_flight() -> None:
    transport = Transport()
    with platform(hangs) as acme:
        transport.start(Wire("POST", acme.url, (), BODY), "it", PATIENCE)
        came = threading.Thread(target=acme.wait_for, args=(1,))
        came.start()
        while came.is_alive():
            transport.wait(0.02)

        transport.close()

        assert len(transport) == 0


def test_connections_that_end_leave_no_descriptor_behind(transport: Transport) -> None:
    def descriptors() -> int:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir()))

    with platform(then_closes(says(200, Connection="close"))) as acme:
        sent(transport, acme.url)
        acme.wait_for_closed(1)
        before = descriptors()
        for number in range(2, 12):
            sent(transport, acme.url)
            acme.wait_for_closed(number)

        # The platform's end is in this process too: a connection that lingers would show twice.
        assert descriptors() <= before + 1


# private addresses


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"]
)
def test_a_private_address_is_refused_whatever_name_stands_for_it(transport: Transport, host: str) -> None:
    with platform() as acme:
        found = sent(transport, f"http://{host}:{acme.port}/", private=False)

        assert found == NoAnswer("private_address", left=False)
        assert acme.connections == 0


def test_refusing_one_request_does_not_refuse_the_next(transport: Transport) -> None:
    with platform() as acme:
        sent(transport, acme.url, private=False)

        assert isinstance(sent(transport, acme.url), Response)


@contextmanager
def full_listener() -> Iterator[int]:
    """A port whose queue of connections is full: the kernel answers nobody any more."""
    with ExitStack() as closing:
        full = closing.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            waiting = closing.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield full.getsockname()[1]


@contextmanager
def platform_without_tls() -> Iterator[int]:
    """A port where plain HTTP is spoken to whoever comes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.recv(65_536)
                connection.sendall(answer(400))
                connection.recv(65_536)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(PATIENCE)


# many at once


def test_the_first_of_many_leave_while_the_others_are_started(transport: Transport) -> None:
    came = threading.Event()
    with platform(look=lambda request: came.set()) as acme:
        for number in range(PORTION + 1):
            transport.start(Wire("POST", acme.url, (), BODY), number, PATIENCE)

        assert came.wait(PATIENCE)
        assert len(transport) == PORTION + 1
        found = ended(transport, PORTION + 1)
        assert {done.token for done in found} == set(range(PORTION + 1))
        assert len(transport) == 0
