"""A platform on loopback that follows a script: real sockets, real breaks, and a memory of what came."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from msgspec import Struct

PATIENCE = 20.0
"""Seconds after which a test that waits for something has failed."""


class Came(Struct, frozen=True):
    """One request as it stood on the wire; `connection` counts from 1."""

    connection: int
    head: bytes
    body: bytes

    @property
    def target(self) -> str:
        """Path and query."""
        return self.head.split(b" ", 2)[1].decode()

    @property
    def headers(self) -> dict[str, str]:
        """Header lines, names in lower case."""
        lines = (line.partition(b":") for line in self.head.split(b"\r\n")[1:] if line)
        return {name.decode().lower(): value.strip().decode() for name, _, value in lines}


Act = Callable[[socket.socket, threading.Event], bool]
"""What is done with a request once it is whole; returns whether the connection stays."""


def says(status: int, body: bytes = b"", **headers: str) -> Act:
    """A whole answer; the connection is kept."""

    def act(connection: socket.socket, ending: threading.Event) -> bool:
        connection.sendall(answer(status, body, **headers))
        return True

    return act


def then_closes(act: Act) -> Act:
    """As before, and the connection is closed behind the answer, without a word about it."""

    def closing(connection: socket.socket, ending: threading.Event) -> bool:
        act(connection, ending)
        return False

    return closing


def writes(data: bytes) -> Act:
    """These bytes, whatever they are, and the connection is closed."""

    def act(connection: socket.socket, ending: threading.Event) -> bool:
        connection.sendall(data)
        return False

    return act


def waits_for(signal: threading.Event, act: Act) -> Act:
    """Says nothing until the signal, then acts."""

    def late(connection: socket.socket, ending: threading.Event) -> bool:
        while not signal.wait(0.02):
            if ending.is_set():
                return False
        return act(connection, ending)

    return late


def hangs(connection: socket.socket, ending: threading.Event) -> bool:
    """Says nothing for ever."""
    ending.wait(PATIENCE)
    return False


def closes(connection: socket.socket, ending: threading.Event) -> bool:
    """Closes without an answer."""
    return False


def resets(connection: socket.socket, ending: threading.Event) -> bool:
    """Breaks the connection: the other side gets a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """An HTTP/1.1 answer with its length."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Platform:
    """Plays one act of the script a request, the last one for ever.

    `look` is called with each request before it is answered, in the connection's own thread.
    """

    def __init__(self, script: Sequence[Act], look: Callable[[Came], None] | None) -> None:
        self._script = list(script)
        self._look = look
        self._ending = threading.Event()
        self._changed = threading.Condition()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.came: list[Came] = []
        self.connections = self.closed = 0
        self.faults: list[BaseException] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._start(self._accept)

    def wait_for(self, requests: int) -> None:
        """Returns when so many requests have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.came) >= requests, PATIENCE), len(self.came)

    def wait_for_closed(self, connections: int) -> None:
        """Returns when so many connections are closed from this side."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.closed >= connections, PATIENCE), self.closed

    def play(self, *script: Act) -> None:
        """Another script from now on."""
        with self._changed:
            self._script = list(script)

    def close(self) -> None:
        self._ending.set()
        with suppress(OSError):  # wakes `accept`
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        for connection in self._open:
            connection.close()

    def _start(self, target: Callable[..., None], *words: object) -> None:
        thread = threading.Thread(target=target, args=words, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ending.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                self.connections += 1
                self._open.append(connection)
            self._start(self._serve, connection, self.connections)

    def _serve(self, connection: socket.socket, number: int) -> None:
        stays = True
        buffer = b""
        while stays:
            try:
                head, body, buffer = _request(connection, buffer)
            except (OSError, EOFError):
                break
            came = Came(number, head, body)
            with self._changed:
                self.came.append(came)
                act = self._script.pop(0) if len(self._script) > 1 else self._script[0]
                self._changed.notify_all()
            try:
                if self._look is not None:
                    self._look(came)
                stays = act(connection, self._ending)
            except OSError:
                break
            except BaseException as fault:
                self.faults.append(fault)
                break
        connection.close()
        with self._changed:
            self.closed += 1
            self._changed.notify_all()


@contextmanager
def platform(*script: Act, look: Callable[[Came], None] | None = None) -> Iterator[Platform]:
    """A platform while the block runs; what went wrong in `look` goes wrong in the test."""
    one = Platform(script or (says(200, b"OK"),), look)
    try:
        yield one
    finally:
        one.close()
    for fault in one.faults:
        raise fault


def _request(connection: socket.socket, buffer: bytes) -> tuple[bytes, bytes, bytes]:
    while (end := buffer.find(b"\r\n\r\n")) < 0:
        buffer += _more(connection)
    head, buffer = buffer[:end], buffer[end + 4 :]
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(buffer) < length:
        buffer += _more(connection)
    return head, buffer[:length], buffer[length:]


def _more(connection: socket.socket) -> bytes:
    part = connection.recv(65_536)
    if not part:
        raise EOFError
    return part
