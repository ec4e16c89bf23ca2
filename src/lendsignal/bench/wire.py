"""The two ends of a bench: a bare sink that only counts, and a load tool that only sends.

Both speak just enough HTTP/1.1 over asyncio to cost little beside what is measured.
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, cast

import msgspec
import uvloop

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOK"


class Sink(asyncio.Protocol):
    """Answers every request with 200 OK.

    It remembers when which user's came of those whose host has `keeps` in its name (empty: of all; `None`:
    of none). Requests to hosts with `hangs` in their name are counted apart and never answered; empty:
    none hangs. Times are seconds since 1970.
    """

    arrivals: ClassVar[dict[bytes, list[float]]] = {}
    first = last = 0.0
    count = 0
    hung = 0
    keeps: ClassVar[bytes | None] = None
    hangs = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        answers = 0
        while (head := self._buffer.find(b"\r\n\r\n")) >= 0:
            start = self._buffer[:head]
            question = _question(start)
            if question is not None:
                self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(question))
                self._transport.write(question)
                self._buffer = self._buffer[head + 4 :]
                continue
            length = _length(start)
            end = head + 4 + length
            if len(self._buffer) < end:
                break
            address = start[: start.find(b"\r\n")]
            if Sink.hangs and Sink.hangs in address:
                Sink.hung += 1
                self._buffer = self._buffer[end:]
                continue
            Sink.last = time.time()
            Sink.first = Sink.first or Sink.last
            if Sink.keeps is not None and Sink.keeps in address:
                user = self._buffer.find(b'"bench-', head)
                if 0 <= user < end:
                    name = self._buffer[user + 1 : self._buffer.find(b'"', user + 1)]
                    Sink.arrivals.setdefault(name, []).append(Sink.last)
            self._buffer = self._buffer[end:]
            Sink.count += 1
            answers += 1
        if answers:
            self._transport.write(OK * answers)


class Received(msgspec.Struct, frozen=True):
    """What a sink has got: requests it answered, those it left hanging, and when the first and last came.

    Times are seconds since 1970; 0 where nothing came.
    """

    count: int
    hung: int
    first: float
    last: float


def _question(start: bytes) -> bytes | None:
    """The answer to a bench that asks what came; `None` for a delivery."""
    if start.startswith(b"GET /received"):
        return msgspec.json.encode(Received(Sink.count, Sink.hung, Sink.first, Sink.last))
    if start.startswith(b"GET /arrivals"):
        return msgspec.json.encode({user.decode(): times for user, times in Sink.arrivals.items()})
    return None


def serve_sink(address: Path, *, keeps: str | None, hangs: str = "") -> None:
    """Runs a sink until killed; writes where it listens into a file."""

    async def main() -> None:
        Sink.keeps, Sink.hangs = None if keeps is None else keeps.encode(), hangs.encode()
        server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        fresh = address.with_suffix(".new")
        fresh.write_text(f"http://127.0.0.1:{port}")
        fresh.replace(address)
        await server.serve_forever()

    uvloop.run(main())


class _Client(asyncio.Protocol):
    """One kept connection that sends its share of the bodies, one after the other."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._buffer = b""
        self._index = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.next()

    def next(self) -> None:
        self._index = self._load.take(self)
        if self._index >= 0:
            self._transport.write(self._load.request(self._index))
        elif self._load.over:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        end = head + 4 + _length(self._buffer[:head])
        if len(self._buffer) < end:
            return
        status = self._buffer[9:12]
        self._buffer = self._buffer[end:]
        self._load.answered(self._index, status)
        self.next()

    def connection_lost(self, error: Exception | None) -> None:
        self._load.lost(self._index if error else -1)


class Load:
    """Sends bodies over kept connections, as fast as they are answered or at a rate."""

    def __init__(
        self, url: str, key: str, bodies: Sequence[bytes], *, per_second: float | None = None
    ) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._host, self._port = host, int(port)
        self._head = (
            f"POST /v1/events HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\ncontent-length: "
        )
        self._bodies = bodies
        self._per_second = per_second
        self._next = 0
        self._left = len(bodies)
        self._idle: list[_Client] = []
        self._waits = False
        self._done = asyncio.Event()
        self.sent: list[float] = [0.0] * len(bodies)
        self.answers: list[float] = [0.0] * len(bodies)
        self.refused = 0

    @property
    def over(self) -> bool:
        """Whether every body was taken."""
        return self._next >= len(self._bodies)

    def request(self, index: int) -> bytes:
        """The bytes of one request."""
        body = self._bodies[index]
        return f"{self._head}{len(body)}\r\n\r\n".encode() + body

    def take(self, client: _Client) -> int:
        """The next body's number; -1 where the client must wait or is done."""
        if self.over:
            return -1
        if self._per_second is not None:
            wait = self._started + self._next / self._per_second - time.perf_counter()
            if wait > 0:
                self._idle.append(client)
                if not self._waits:
                    self._waits = True
                    asyncio.get_running_loop().call_later(wait, self._go_on)
                return -1
        index = self._next
        self._next += 1
        self.sent[index] = time.time()
        return index

    def _go_on(self) -> None:
        """The next body is due. One timer for all that wait: a timer each would be most of the work."""
        self._waits = False
        while self._idle and not self._waits:
            self._idle.pop().next()

    def answered(self, index: int, status: bytes) -> None:
        """One request is answered."""
        self.answers[index] = time.time()
        if status != b"202":
            self.refused += 1
        self._left -= 1
        if not self._left:
            self._done.set()

    def lost(self, index: int) -> None:
        """A connection broke: what it carried counts as refused."""
        if index >= 0:
            self.refused += 1
            self._left -= 1
        if not self._left:
            self._done.set()

    async def run(self, connections: int) -> float:
        """Sends everything; the seconds it took."""
        loop = asyncio.get_running_loop()
        self._started = time.perf_counter()
        for _ in range(min(connections, len(self._bodies))):
            await loop.create_connection(lambda: _Client(self), self._host, self._port)
        await self._done.wait()
        return time.perf_counter() - self._started


def _length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"content-length:")
    return int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
