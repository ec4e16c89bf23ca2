"""The one door to the network: libcurl's multi interface in an epoll loop of its own.

A request ends as an `Answer`, or as `NoAnswer`, which says whether the request can have reached the platform.
"""

import select
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from io import BytesIO
from typing import Any

import pycurl

from lendsignal.deliver.wire import Done, NoAnswer, Wire
from lendsignal.destination.spec import Response, public_ip

ANSWER_LIMIT = 1_000_000
"""Bytes of an answer that are read; a platform says in far fewer what it has to say."""


IDLE_HANDLES = 2_048
"""Requests that are kept ready to be filled again."""

PORTION = 32
"""Requests that are started before those under way are seen to. So the first of many leave early, and a
connection that was answered meanwhile carries the next: for a free one libcurl looks through all the busy."""


_MASKS = {
    pycurl.POLL_NONE: 0,
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}
_EVENTS = {select.EPOLLIN: pycurl.CSELECT_IN, select.EPOLLOUT: pycurl.CSELECT_OUT}
"""What epoll says most of the time, as libcurl says it; an end or an error is for both ways to find."""


class Transport:
    """Requests in flight. Not for threads: one loop starts them and waits for them.

    `bells` are further descriptors that end a wait, each with what to do then. `may_leave` is asked when a
    request has its connection and is about to leave: one that may not ends as `not_ours`, and has not left.
    """

    def __init__(
        self,
        bells: Iterable[tuple[Any, Callable[[], None]]] = (),
        may_leave: Callable[[], bool] | None = None,
    ) -> None:
        self._may_leave = may_leave
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_MAXCONNECTS, 2_048)
        self._multi.setopt(pycurl.M_PIPELINING, 0)
        self._epoll = select.epoll()
        self._watched: dict[int, int] = {}
        self._resting: set[int] = set()
        self._bells: dict[int, Callable[[], None]] = {}
        self._idle: dict[str, list[_Handle]] = {}
        self._idle_count = 0
        self._busy: dict[pycurl.Curl, _Handle] = {}
        self._fresh = 0
        self._ended: list[Done] = []
        for bell, quiet in bells:
            fd = bell if isinstance(bell, int) else bell.fileno()
            self._bells[fd] = quiet
            self._epoll.register(fd, select.EPOLLIN)

    def __len__(self) -> int:
        return len(self._busy) + len(self._ended)

    def start(self, wire: Wire, token: Any, timeout_seconds: float, *, private: bool = True) -> None:
        """Puts a request in flight; how it ends comes out of `wait`.

        Without `private` no connection is opened to a loopback, private or link-local address, whatever
        name stands for it at that moment.
        """
        if self._fresh >= PORTION:
            self._ended += self._turn(0.0)
        handle = self._idle_handle(wire.url)
        handle.opening = self._forget_resting
        handle.load(wire, token, timeout_seconds, private)
        self._busy[handle.curl] = handle
        self._multi.add_handle(handle.curl)
        self._fresh += 1

    def wait(self, seconds: float) -> list[Done]:
        """What ended, waiting at most so long for it; a bell ends the wait as well."""
        ended, self._ended = self._ended, []
        return ended + self._turn(0.0 if ended else seconds)

    def _turn(self, seconds: float) -> list[Done]:
        """Lets what was started leave, and finds what ended."""
        self._fresh = 0
        act = self._multi.socket_action
        for fd, mask in self._epoll.poll(self._at_most(seconds)):
            if fd in self._bells:
                self._bells[fd]()
            elif fd in self._resting:
                self._forget(fd)  # closed by the platform while nobody used it: libcurl finds out by itself
            else:
                act(fd, _EVENTS.get(mask, pycurl.CSELECT_IN | pycurl.CSELECT_OUT))
        if self._multi.timeout() == 0:
            act(pycurl.SOCKET_TIMEOUT, 0)
        return self._finished()

    def _at_most(self, seconds: float) -> float:
        """Until libcurl wants to be asked again, if that is sooner. What was just started leaves at once."""
        wanted = self._multi.timeout()
        if wanted == 0:
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
            wanted = self._multi.timeout()
        return seconds if wanted < 0 else min(seconds, wanted / 1000)

    def close(self) -> None:
        """Drops every connection; requests in flight end unanswered."""
        for curl in self._busy:
            self._multi.remove_handle(curl)
        self._busy.clear()
        self._multi.close()
        self._epoll.close()

    def _finished(self) -> list[Done]:
        done: list[Done] = []
        more = 1
        while more:
            more, good, bad = self._multi.info_read()
            for curl in good:
                handle = self._release(curl)
                done.append(Done(handle.token, handle.response()))
            for curl, code, _ in bad:
                handle = self._release(curl)
                done.append(Done(handle.token, handle.no_answer(code)))
        return done

    def _release(self, curl: pycurl.Curl) -> "_Handle":
        handle = self._busy.pop(curl)
        self._multi.remove_handle(curl)
        if self._idle_count < IDLE_HANDLES:
            self._idle.setdefault(handle.url, []).append(handle)
            self._idle_count += 1
        return handle

    def _idle_handle(self, url: str) -> "_Handle":
        """A handle that went to that address before, if there is one: little of it has to be set again."""
        if not self._idle_count:
            return _Handle(self._may_leave)
        key = url if url in self._idle else next(iter(self._idle))
        handles = self._idle[key]
        handle = handles.pop()
        self._idle_count -= 1
        if not handles:
            del self._idle[key]
        return handle

    def _watch(self, what: int, fd: int, multi: object, data: object) -> None:
        """libcurl says what it waits for. A connection it has no use for now stays watched for its next
        request, which spares two system calls for each."""
        if what == pycurl.POLL_REMOVE:
            if self._watched.get(fd) == select.EPOLLIN:
                self._resting.add(fd)
            else:
                self._forget(fd)
            return
        mask = _MASKS[what]
        self._resting.discard(fd)
        before = self._watched.get(fd)
        if before == mask:
            return
        self._watched[fd] = mask
        if before is not None:
            try:
                self._epoll.modify(fd, mask)
                return
            except FileNotFoundError:  # closed, and another has its number now
                pass
        self._epoll.register(fd, mask)

    def _forget_resting(self) -> None:
        """A new socket may get the number of one that was closed while it rested: none is trusted now."""
        for fd in list(self._resting):
            self._forget(fd)

    def _forget(self, fd: int) -> None:
        self._watched.pop(fd, None)
        self._resting.discard(fd)
        try:
            self._epoll.unregister(fd)
        except OSError:  # closed before
            return


class _Handle:
    """One reusable easy handle, and the answer it is reading."""

    def __init__(self, may_leave: Callable[[], bool] | None = None) -> None:
        self.curl = pycurl.Curl()
        self.token: Any = None
        self.url = ""
        self._method = ""
        self._told: tuple[tuple[str, str], ...] | None = None
        self._timeout_seconds = 0.0
        self._size = -1
        self._body: list[bytes] = []
        self._length = 0
        self._sent = BytesIO()
        self._headers: list[bytes] = []
        self._private = True
        self._refused = False
        self.opening: Callable[[], None] = lambda: None
        curl = self.curl
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.POST, 1)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.FOLLOWLOCATION, 0)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)  # libcurl reads files, too
        curl.setopt(pycurl.WRITEFUNCTION, self._write)
        curl.setopt(pycurl.HEADERFUNCTION, self._headers.append)
        # A kept connection that dies mid-request makes libcurl send the request again by itself. It
        # may have arrived the first time, so the body comes from a function that cannot be rewound:
        # libcurl then reports the break, and the route's `on_unknown` decides.
        curl.setopt(pycurl.READFUNCTION, self._read)
        curl.setopt(pycurl.MAXAGE_CONN, 60)
        curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open)
        if may_leave is not None:
            verdicts = (pycurl.PREREQFUNC_ABORT, pycurl.PREREQFUNC_OK)
            curl.setopt(pycurl.PREREQFUNCTION, lambda *ends: verdicts[may_leave()])

    def load(self, wire: Wire, token: Any, timeout_seconds: float, private: bool) -> None:
        self.token = token
        self._private, self._refused = private, False
        self._body, self._length = [], 0
        # libcurl keeps what it was told, so only what differs from the last request is told again.
        self._headers.clear()
        self._sent = BytesIO(wire.body)
        curl = self.curl
        if wire.url != self.url:
            self.url = wire.url
            curl.setopt(pycurl.URL, wire.url)
        if wire.method != self._method:
            self._method = wire.method
            curl.setopt(pycurl.CUSTOMREQUEST, wire.method)
        if wire.headers != self._told:
            self._told = wire.headers
            curl.setopt(pycurl.HTTPHEADER, ["Expect:", *(f"{name}: {value}" for name, value in wire.headers)])
        if len(wire.body) != self._size:
            self._size = len(wire.body)
            curl.setopt(pycurl.POSTFIELDSIZE, self._size)
            # Without a body nothing keeps it from being rewound: only a fresh connection is never retried.
            curl.setopt(pycurl.FRESH_CONNECT, 0 if wire.body else 1)
        if timeout_seconds != self._timeout_seconds:
            self._timeout_seconds = timeout_seconds
            curl.setopt(pycurl.TIMEOUT_MS, max(1, int(timeout_seconds * 1000)))
            curl.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, int(min(timeout_seconds, 10) * 1000)))

    def response(self) -> Response:
        return Response(
            status=self.curl.getinfo(pycurl.RESPONSE_CODE),
            body=self._body[0] if len(self._body) == 1 else b"".join(self._body),
            headers=Headers(self._headers),
        )

    def no_answer(self, code: int) -> NoAnswer:
        if self._refused and code == pycurl.E_COULDNT_CONNECT:
            return NoAnswer("private_address", left=False)
        # Bytes of the request that were written, whatever broke afterwards: an answer that is no HTTP has
        # the same code as an address that is no HTTP. A rewind was wanted because something had left.
        left = self.curl.getinfo(pycurl.REQUEST_SIZE) > 0 or code == pycurl.E_SEND_FAIL_REWIND
        reason = {
            pycurl.E_ABORTED_BY_CALLBACK: "not_ours",
            pycurl.E_OPERATION_TIMEDOUT: "timeout",
            pycurl.E_COULDNT_CONNECT: "connect_failed",
            pycurl.E_COULDNT_RESOLVE_HOST: "host_unknown",
            pycurl.E_SSL_CONNECT_ERROR: "tls_failed",
            pycurl.E_SSL_CACERT: "tls_failed",
            pycurl.E_GOT_NOTHING: "no_answer",
            pycurl.E_SEND_FAIL_REWIND: "no_answer",
            pycurl.E_RECV_ERROR: "connection_reset",
            pycurl.E_SEND_ERROR: "connection_reset",
            pycurl.E_PARTIAL_FILE: "half_answer",
            pycurl.E_UNSUPPORTED_PROTOCOL: "unreadable_answer" if left else "connection_failed",
            pycurl.E_FTP_WEIRD_SERVER_REPLY: "unreadable_answer",
        }.get(code, "connection_failed")
        return NoAnswer(reason, left)

    def _write(self, part: bytes) -> int:
        self._length += len(part)
        if self._length <= ANSWER_LIMIT:
            self._body.append(part)
        return len(part)

    def _read(self, size: int) -> bytes:
        return self._sent.read(size)

    def _open(self, purpose: int, address: Any) -> Any:
        """A socket for the address that the name stands for now: here, and not by name, it is judged."""
        self.opening()
        family, kind, protocol, place = address
        if not self._private and public_ip(place[0]) is None:
            self._refused = True
            return pycurl.SOCKET_BAD
        return _Passed(socket.socket(family, kind, protocol))


class _Passed:
    """A socket on its way to libcurl, which takes a duplicate of it and lets this one go."""

    def __init__(self, made: socket.socket) -> None:
        self._made = made

    def fileno(self) -> int:
        return self._made.fileno()

    def __del__(self) -> None:
        self._made.close()


class Headers(Mapping[str, str]):
    """Header lines of the last answer, names in lower case; read when somebody asks for one."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        self._lines = tuple(lines)

    @cached_property
    def _read(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        for line in self._lines:
            if line.startswith(b"HTTP/"):
                headers.clear()
                continue
            name, colon, value = line.partition(b":")
            if colon:
                headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
        return headers

    def __getitem__(self, name: str) -> str:
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read)

    def __len__(self) -> int:
        return len(self._read)
