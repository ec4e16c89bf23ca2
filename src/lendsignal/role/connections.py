"""What one connection may take of a role that listens: a place, a head of so many bytes, and so much time.

Bodies are bounded by who reads them (`source.body`); idle connections are closed by uvicorn.
"""

import asyncio
import resource

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 65_536
"""Request line and headers together; a long token and a few cookies take a tenth of it."""

HEAD_SECONDS = 20.0
"""From the connection, or the first byte of a later request, until its headers are whole."""

PAGES_CONNECTIONS = 500
"""Browsers open six each."""

FILES_BESIDE = 256
"""Files that a role has open besides its connections."""

BUSY, SLOW, LONG = "503 Service Unavailable", "408 Request Timeout", "431 Request Header Fields Too Large"


def limited(connections: int) -> type[HttpToolsProtocol]:
    """Uvicorn's HTTP protocol for so many connections at once; who comes on top is answered 503."""

    class Limited(HttpToolsProtocol):
        """One connection, whose heads are counted and timed."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._head = 0
            self._in_head = True
            self._timer: asyncio.TimerHandle | None = None
            if len(self.connections) > connections:
                self._refuse(BUSY, "Retry-After: 1\r\n")
            else:
                self._wait_for_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._head_is_there()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._in_head:
                self._head += len(data)
                if self._timer is None:
                    self._wait_for_head()
            super().data_received(data)
            if self._in_head and self._head > HEAD_BYTES and not self.transport.is_closing():
                self._refuse(LONG)

        def on_headers_complete(self) -> None:
            self._in_head = False
            self._head_is_there()
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            super().on_message_complete()
            self._in_head, self._head = True, 0

        def _wait_for_head(self) -> None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

        def _head_is_there(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _too_slow(self) -> None:
            if not self.transport.is_closing():
                self._refuse(SLOW)

        def _refuse(self, status: str, header: str = "") -> None:
            self._head_is_there()
            head = f"HTTP/1.1 {status}\r\n{header}Content-Length: 0\r\nConnection: close\r\n\r\n"
            self.transport.write(head.encode())
            self.transport.close()

    return Limited


def allow_files(connections: int) -> None:
    """Lets this process have so many connections open, as far as its hard limit goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + FILES_BESIDE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
