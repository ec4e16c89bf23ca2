"""The two clients: `Client` for threads, `AsyncClient` for asyncio. Both keep events in one spool."""

import atexit
import os
import sys
import weakref
from collections.abc import Callable, Coroutine
from datetime import datetime
from pathlib import Path
from threading import Lock, Thread
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from lendsignal.client.courier import Courier, Http, Transport
from lendsignal.client.events import Calls, Common, made
from lendsignal.client.spool import Refused, Spool

T = TypeVar("T")

EXIT_SECONDS = 5.0
MOST = 1_000_000


class Client(Calls[str]):
    """Takes events and has them at the service sooner or later, in batches, from a thread of its own.

    `address`: the door, such as `https://events.acme.example`. `key`: the API key; by default that in
    the environment's `LENDSIGNAL_KEY`. `spool`: the file that keeps events until the service has them;
    several processes may share one on a local disk. `brand`, `app`: those of events that name none.
    `durable`: whether a call returns only when its event is on disk. `most`: events that may wait.
    `on_refused`: called, in the client's thread, for each event that the service refused.

    A call returns the event's id. Events arrive in the order they were kept, at least once and under the
    same id, so that the service counts each once. Safe between threads and over a fork.
    """

    def __init__(
        self,
        address: str = "http://127.0.0.1:8321",
        *,
        key: str | None = None,
        spool: str | Path,
        brand: str | None = None,
        app: str | None = None,
        durable: bool = True,
        most: int = MOST,
        on_refused: Callable[[Refused], None] | None = None,
        exit_seconds: float = EXIT_SECONDS,
        transport: Transport | None = None,
    ) -> None:
        if transport is None:
            found = (key if key is not None else os.environ.get("LENDSIGNAL_KEY", "")).strip()
            if not found or not found.isascii() or not found.isprintable():
                raise ValueError("an API key is needed: key=… or the environment's LENDSIGNAL_KEY")
            transport = Http(address, found)
        self._address = address
        self._own = {name: word for name, word in (("brand", brand), ("app", app)) if word is not None}
        self._durable = durable
        self._exit_seconds = exit_seconds
        self._transport, self._on_refused = transport, on_refused
        self._spool = Spool(Path(spool), most)
        self._courier = Courier(self._spool, transport, on_refused)
        self._thread: Thread | None = None
        self._starting = Lock()
        self._pid = os.getpid()
        self._closed = False
        _alive.add(self)

    def __repr__(self) -> str:
        return f"Client({self._address!r}, spool={str(self._spool.path)!r})"

    def start(self) -> None:
        """Sends what an earlier process left, before the first call of this one does."""
        self._started()

    # events

    def _take(self, kind: str, user_id: str, occurred_at: datetime, more: Common, **fields: Any) -> str:
        event = made(kind, user_id, occurred_at, {**self._own, **more}, fields, durable=self._durable)
        self._started()
        self._spool.put(event)
        self._courier.call()
        return event.event_id

    # what became of them

    @property
    def trouble(self) -> str | None:
        """Why events wait now, such as `status 401: …`; `None` where the service takes them."""
        return self._courier.trouble

    def waiting(self) -> int:
        """How many events are not at the service yet."""
        return self._spool.count()

    def refused(self, limit: int = 1_000) -> list[Refused]:
        """What the service refused and nobody has mended or dropped, youngest first."""
        return self._spool.refused(limit)

    def mend(self, one: Refused, **changes: Any) -> bool:
        """Sends a refused event again with some fields changed, under the same id; `None` takes one out.

        False where it was mended or dropped already.
        """
        event = {name: value for name, value in {**one.event, **changes}.items() if value is not None}
        body = msgspec.json.encode({**event, "event_id": one.event_id})
        self._started()
        done = self._spool.release(one.id, body)
        self._courier.call()
        return done

    def drop(self, one: Refused) -> bool:
        """Forgets a refused event; false where it is gone already."""
        return self._spool.release(one.id, None)

    def flush(self, timeout: float = 30.0) -> bool:
        """Waits until the service has everything that is in the spool now; false after `timeout` seconds."""
        self._started()
        self._spool.write()
        last = self._spool.last()
        self._courier.hurry()
        return self._courier.wait(lambda: not self._spool.has_up_to(last), timeout)

    def close(self, timeout: float | None = None) -> bool:
        """Flushes for a while, then stops; what is left waits in the spool for the next start.

        Whether everything left. Happens by itself when the process ends. What is called later only waits.
        """
        if self._closed:
            return True
        self._closed = True
        _alive.discard(self)
        self._spool.write()
        seconds = self._exit_seconds if timeout is None else timeout
        done = self._thread is None or (seconds > 0 and self.flush(seconds))
        self._courier.stop()
        if self._thread is not None:
            self._thread.join(1.0)
        self._spool.close()
        return done

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # threads and processes

    def _started(self) -> None:
        """A thread that sends, in this process."""
        if self._thread is not None and self._pid == os.getpid():
            return
        if self._pid != os.getpid():  # a fork that Python was not told of
            self._after_fork_in_child()
        with self._starting:
            if self._thread is None:
                self._thread = Thread(target=self._courier.run, name="lendsignal-client", daemon=True)
                self._thread.start()
                _close_with_worker(self)

    def _before_fork(self) -> None:
        self._spool.before_fork()

    def _after_fork_in_parent(self) -> None:
        self._spool.after_fork_in_parent()

    def _after_fork_in_child(self) -> None:
        self._spool.after_fork_in_child()
        self._courier.after_fork_in_child()
        self._courier = Courier(self._spool, self._transport, self._on_refused)
        self._thread, self._starting, self._pid = None, Lock(), os.getpid()


class AsyncClient(Calls[Coroutine[Any, Any, str]]):
    """The same for asyncio: every call is awaited, and the loop never waits for the disk.

    Takes what `Client` takes. Calls that are awaited together share a commit.
    """

    def __init__(self, address: str = "http://127.0.0.1:8321", **settings: Any) -> None:
        self._client = Client(address, **settings)

    def __repr__(self) -> str:
        return f"Async{self._client!r}"

    async def _take(self, kind: str, user_id: str, occurred_at: datetime, more: Common, **fields: Any) -> str:
        return await _in_thread(self._client._take, kind, user_id, occurred_at, more, **fields)

    @property
    def trouble(self) -> str | None:
        """Why events wait now; `None` where the service takes them."""
        return self._client.trouble

    async def waiting(self) -> int:
        """How many events are not at the service yet."""
        return await _in_thread(self._client.waiting)

    async def refused(self, limit: int = 1_000) -> list[Refused]:
        """What the service refused and nobody has mended or dropped, youngest first."""
        return await _in_thread(self._client.refused, limit)

    async def mend(self, one: Refused, **changes: Any) -> bool:
        """Sends a refused event again with some fields changed; `None` takes one out."""
        return await _in_thread(self._client.mend, one, **changes)

    async def drop(self, one: Refused) -> bool:
        """Forgets a refused event."""
        return await _in_thread(self._client.drop, one)

    async def flush(self, timeout: float = 30.0) -> bool:
        """Waits until the service has everything that is in the spool now."""
        return await _in_thread(self._client.flush, timeout)

    async def close(self, timeout: float | None = None) -> bool:
        """Flushes for a while, then stops."""
        return await _in_thread(self._client.close, timeout)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def _in_thread(call: Callable[..., T], *given: Any, **named: Any) -> T:
    # Loaded here: whoever has no loop does not wait for it.
    import asyncio

    return await asyncio.to_thread(call, *given, **named)


_alive: "weakref.WeakSet[Client]" = weakref.WeakSet()
"""Clients that are not closed: they are told of forks and of the end."""

_forking: list[Client] = []
"""Those that were told of the fork that is going on."""


def _before_fork() -> None:
    _forking[:] = sorted(_alive, key=id)
    for client in _forking:
        client._before_fork()


def _after_fork_in_parent() -> None:
    for client in _forking:
        client._after_fork_in_parent()
    _forking.clear()


def _after_fork_in_child() -> None:
    for client in _forking:
        client._after_fork_in_child()
    _forking.clear()


def _close_with_worker(client: Client) -> None:
    """A worker of `multiprocessing` ends without `atexit`; it has an end of its own to be told of."""
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(client, _closed, args=(weakref.ref(client),), exitpriority=10)


def _closed(client: "weakref.ref[Client]") -> None:
    found = client()
    if found is not None:
        found.close()


@atexit.register
def _close_all() -> None:
    for client in list(_alive):
        client.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
