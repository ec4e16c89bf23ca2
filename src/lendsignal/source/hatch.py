"""From a door that is a process of its own to the process that decides: what it took goes through here.

The door sends frames over a socket in the data folder: a number of its own, and the events and refusals of
one request. It is told of each number when that is durable, or why it is not. A request whose process went
away has no answer, and its sender comes again: what was durable after all is a duplicate then.
"""

import logging
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread

import msgspec
from msgspec import Struct

from lendsignal.log import Quarantined
from lendsignal.log.folder import short
from lendsignal.model import Event
from lendsignal.source.intake import Full, Intake

logger = logging.getLogger(__name__)

AT_ONCE = 1 << 20
"""Bytes read from the socket in one go, at most."""

_HEAD = struct.Struct("<IQ")
"""Of a frame: how many bytes follow, and the number that the door gave it."""


class Passed(Struct, frozen=True, array_like=True, gc=False):
    """What one request brought."""

    events: Sequence[Event]
    refused: Sequence[Quarantined]


class Told(Struct, frozen=True, array_like=True, gc=False):
    """What became of the frames of these numbers, both included. `why` is empty where they are durable."""

    first: int
    last: int
    why: str = ""
    is_full: bool = False


pack = msgspec.msgpack.Encoder().encode
read_told = msgspec.msgpack.Decoder(Told).decode
_read_passed = msgspec.msgpack.Decoder(Passed).decode


class Frames:
    """Cuts what arrives into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def cut(self, arrived: bytes) -> list[tuple[int, bytes]]:
        """The frames that are whole now, each with its number; the beginning of another one is kept."""
        self._rest += arrived
        found: list[tuple[int, bytes]] = []
        at, end = 0, len(self._rest)
        while end - at >= _HEAD.size:
            size, number = _HEAD.unpack_from(self._rest, at)
            if end - at < _HEAD.size + size:
                break
            at += _HEAD.size
            found.append((number, bytes(self._rest[at : at + size])))
            at += size
        del self._rest[:at]
        return found


def frame(number: int, body: bytes) -> bytes:
    """A frame as it goes over the socket."""
    return _HEAD.pack(len(body), number) + body


class Hatch:
    """The side of the process that decides: hands on to its intake what doors pass through, in their order.

    Each door has a thread, which reads all that has come and submits it as one.
    """

    def __init__(self, path: Path, intake: Intake) -> None:
        self._path = path
        self._intake = intake
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(short(path))
        self._socket.listen()
        self._doors: dict[socket.socket, Thread] = {}
        self._lock = Lock()
        self._thread = Thread(target=self._open, name="hatch", daemon=True)

    def __enter__(self) -> "Hatch":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._path.unlink(missing_ok=True)
        _shut(self._socket)
        self._thread.join()
        with self._lock:
            doors = self._doors.copy()
        for door, thread in doors.items():
            _shut(door)
            thread.join()

    def _open(self) -> None:
        while True:
            try:
                door, _ = self._socket.accept()
            except OSError:
                return
            thread = Thread(target=self._serve, args=(door,), name="door", daemon=True)
            with self._lock:
                self._doors[door] = thread
            thread.start()

    def _serve(self, door: socket.socket) -> None:
        frames, saying = Frames(), Lock()
        try:
            while arrived := door.recv(AT_ONCE):
                found = frames.cut(arrived)
                if found:
                    self._hand_on(found, door, saying)
        except OSError:
            pass
        except msgspec.MsgspecError as error:
            logger.error("what a door passed through cannot be read, and it has to begin anew: %s", error)
        finally:
            with self._lock:
                self._doors.pop(door, None)
            _shut(door)

    def _hand_on(self, frames: Sequence[tuple[int, bytes]], door: socket.socket, saying: Lock) -> None:
        passed = [_read_passed(body) for _, body in frames]
        first, last = frames[0][0], frames[-1][0]

        def done(error: Exception | None) -> None:
            _say(Told(first, last, "" if error is None else str(error)), door, saying)

        try:
            self._intake.submit(
                [event for one in passed for event in one.events],
                [refused for one in passed for refused in one.refused],
                done,
            )
        except Full as full:
            _say(Told(first, last, str(full), is_full=True), door, saying)


def _say(told: Told, door: socket.socket, saying: Lock) -> None:
    with saying:
        try:
            door.sendall(frame(0, pack(told)))
        except OSError:
            return  # the door is gone: nobody waits any more


def _shut(one: socket.socket) -> None:
    with suppress(OSError):  # the other side was first
        one.shutdown(socket.SHUT_RDWR)
    one.close()
