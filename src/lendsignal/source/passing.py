"""The door's side of the hatch, where the door is a process of its own."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import cast

from msgspec import Struct

from lendsignal.errors import LogError
from lendsignal.log import Quarantined
from lendsignal.log.folder import short
from lendsignal.model import Event
from lendsignal.source.hatch import Frames, Passed, Told, frame, pack, read_told
from lendsignal.source.intake import Full
from lendsignal.source.meters import SourceMeters

PATIENCE_SECONDS = 5.0
"""How long a door waits for the process that decides to come (back), before it refuses."""

AGAIN_SECONDS = 0.05
"""How often it knocks meanwhile."""


class Passing:
    """An inlet whose events are made durable by another process.

    Used in the thread of one event loop alone. What is submitted while that process is away waits for
    `patience` seconds, and is refused then; what was on its way when it went is refused at once.
    """

    def __init__(
        self,
        path: Path,
        *,
        limit: int = 50_000,
        patience: float = PATIENCE_SECONDS,
        meters: SourceMeters | None = None,
    ) -> None:
        self._path = path
        self._limit = limit
        self._patience = patience
        self._meters = meters or SourceMeters()
        self._number = 0
        self._waiting: dict[int, _Waiting] = {}
        self._unsent: list[bytes] = []
        self._count = 0
        self._line: asyncio.Transport | None = None
        self._knocking: asyncio.Task[None] | None = None
        self._is_flushing = False
        self._refused_at: float | None = None
        self.damage: str | None = None

    @property
    def is_full(self) -> bool:
        """Whether so many wait that hardly anything is taken: known before a request's body is read."""
        return self._count >= self._limit

    def seconds_since_refusal(self) -> float | None:
        """How long ago events were last refused there; `None` where the last ones were taken."""
        return None if self._refused_at is None else monotonic() - self._refused_at

    def submit(
        self,
        events: Sequence[Event],
        refused: Sequence[Quarantined],
        done: Callable[[Exception | None], None],
    ) -> None:
        """Passes events and refusals through; raises `Full` where too many wait already."""
        size = len(events) + len(refused)
        if self._count and self._count + size > self._limit:
            raise Full("too many events wait to be written")
        self._number += 1
        self._count += size
        self._meters.waiting = self._count
        self._waiting[self._number] = _Waiting(events, refused, done, monotonic())
        self._unsent.append(frame(self._number, pack(Passed(events, refused))))
        if not self._is_flushing:
            self._is_flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """All that the requests of one turn of the loop brought leaves together."""
        self._is_flushing = False
        if self._line is not None:
            self._line.writelines(self._unsent)
            self._unsent.clear()
        elif self._knocking is None:
            self._knocking = asyncio.get_running_loop().create_task(self._knock())

    async def _knock(self) -> None:
        began = monotonic()
        try:
            while True:
                try:
                    await asyncio.get_running_loop().create_unix_connection(
                        lambda: _Line(self), short(self._path)
                    )
                    return
                except OSError:
                    if monotonic() - began > self._patience:
                        self._refuse_all("the process that decides does not answer")
                        return
                    await asyncio.sleep(AGAIN_SECONDS)
        finally:
            self._knocking = None

    def joined(self, line: asyncio.Transport) -> None:
        """The process that decides is there."""
        self._line = line
        self._flush()

    def heard(self, told: Told) -> None:
        """What became of some of what was passed through."""
        error = _error_of(told)
        for number in range(told.first, told.last + 1):
            waiting = self._waiting.pop(number, None)
            if waiting is not None:
                self._end(waiting, error)

    def left(self) -> None:
        """The process that decides went away: nobody knows whether it kept what was on its way."""
        self._line = None
        self._refuse_all("the process that decides went away")

    def close(self) -> None:
        """Lets the connection go."""
        if self._line is not None:
            self._line.close()

    def _refuse_all(self, why: str) -> None:
        waiting, self._waiting = self._waiting, {}
        self._unsent.clear()
        for one in waiting.values():
            self._end(one, LogError(why))

    def _end(self, waiting: "_Waiting", error: Exception | None) -> None:
        self._count -= len(waiting.events) + len(waiting.refused)
        self._meters.waiting = self._count
        if error is None:
            self._refused_at, self._meters.trouble = None, False
            self._meters.written(waiting.events, waiting.refused, monotonic() - waiting.since)
        elif not isinstance(error, Full):
            self._refused_at, self._meters.trouble = monotonic(), True
        waiting.done(error)


class _Waiting(Struct, frozen=True, gc=False):
    """What one request waits for."""

    events: Sequence[Event]
    refused: Sequence[Quarantined]
    done: Callable[[Exception | None], None]
    since: float


class _Line(asyncio.Protocol):
    """The connection as the event loop sees it."""

    def __init__(self, passing: Passing) -> None:
        self._passing = passing
        self._frames = Frames()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._passing.joined(cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        for _, body in self._frames.cut(data):
            self._passing.heard(read_told(body))

    def connection_lost(self, error: Exception | None) -> None:
        self._passing.left()


def _error_of(told: Told) -> Exception | None:
    if not told.why:
        return None
    return Full(told.why) if told.is_full else LogError(told.why)
