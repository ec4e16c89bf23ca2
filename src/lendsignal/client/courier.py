"""What takes events from the spool to the service: batches, answers, waits. One process a spool at a time."""

import gzip
import logging
import os
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Condition
from time import monotonic
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from lendsignal.client.spool import Kept, Refused, Spool

try:
    import fcntl
except ImportError:  # Windows: two processes over one spool may send the same; the service drops repeats
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger("lendsignal.client")

AT_ONCE = 500
BYTES_AT_ONCE = 1_000_000
"""Of one request, unpacked: well below the door's own limits (`door.max_events`, `door.max_bytes`)."""

WORTH_PACKING = 1_000
"""Bytes from which a request is gzipped."""

TIMEOUT_SECONDS = 30.0
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 60.0
PERSON_SECONDS = 60.0
"""How soon it is tried again what a person must mend, such as a key."""

LEASE_SECONDS = 0.2
"""How soon it is looked whether the process that sends has ended."""

IDLE_SECONDS = 5.0
"""How soon it is looked whether a process that died has left something."""


class Settled(Struct, frozen=True):
    """The service has the batch, save what it refused: field and rule by place.

    `warned` are the fields that it left out of events it took, each with the rule.
    """

    refused: Mapping[int, tuple[str, str]] = {}
    warned: frozenset[tuple[str, str]] = frozenset()


class Halve(Struct, frozen=True):
    """The batch was refused whole: it goes in two parts, until what is bad stands alone."""


class Later(Struct, frozen=True):
    """Not now; `seconds` where the service said so."""

    why: str
    seconds: float | None = None


class Person(Struct, frozen=True):
    """Nothing is taken until a person mends something; it is tried again all the same."""

    why: str


Answer = Settled | Halve | Later | Person


def judged(status: int, headers: Mapping[str, str], body: bytes, count: int) -> Answer:
    """What an answer means for a batch of `count` events. Header names are in lower case."""
    if status in (202, 422):
        settled = _settled(body, count)
        if settled is not None:
            return settled
        if status == 202:
            return Later("an answer that is not the service's")
    if status in (400, 413, 422):
        return Halve() if count > 1 else Settled({0: _why(body, status)})
    if status in (408, 425, 429) or status >= 500:
        return Later(f"status {status}", _seconds(headers.get("retry-after")))
    if status in (401, 403):
        return Person(f"status {status}: the API key is not accepted")
    return Person(f"status {status}: is this the service's address?")


def _settled(body: bytes, count: int) -> Settled | None:
    """What was refused of a batch, and what was left out; `None` where the body does not tell."""
    try:
        results = msgspec.json.decode(body, type=_Results).results
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if len(results) != count:
        return None
    refused = {place: (one.field, one.rule) for place, one in enumerate(results) if one.status == "refused"}
    return Settled(refused, frozenset((said.field, said.rule) for one in results for said in one.warnings))


class _Warned(Struct):
    field: str
    rule: str


class _Result(Struct):
    status: str = "accepted"
    field: str = ""
    rule: str = ""
    warnings: list[_Warned] = []


class _Results(Struct):
    results: list[_Result]


def _why(body: bytes, status: int) -> tuple[str, str]:
    try:
        found = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = {}
    return str(found.get("field") or "event"), str(found.get("detail") or f"status {status}")


def _seconds(text: str | None) -> float | None:
    """A Retry-After in seconds; one that names a date is left to our own wait."""
    return float(text) if text is not None and text.isdigit() else None


class Transport(Protocol):
    """Sends one body. Raises `OSError` where there was no answer."""

    def post(self, body: bytes, *, packed: bool) -> tuple[int, Mapping[str, str], bytes]: ...

    def close(self) -> None: ...


class Http:
    """One connection to the door, kept open. The key stands in no text of this object."""

    def __init__(self, address: str, key: str, timeout: float = TIMEOUT_SECONDS) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the address must be like https://events.acme.example")
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname, parts.port
        self._path = f"{parts.path.rstrip('/')}/v1/events"
        self._authorization = f"Bearer {key}"
        self._timeout = timeout
        self._connection: Any = None

    def post(self, body: bytes, *, packed: bool) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers in lower case, and body of the answer."""
        # Loaded here: whoever only imports the client does not wait for it.
        import http.client

        headers = {"Authorization": self._authorization, "Content-Type": "application/json"}
        if packed:
            headers["Content-Encoding"] = "gzip"
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            self._connection = kind(self._host, self._port, timeout=self._timeout)
        try:
            self._connection.request("POST", self._path, body, headers)
            response = self._connection.getresponse()
            found = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise ConnectionError(type(error).__name__) from None
        return response.status, {name.lower(): value for name, value in response.getheaders()}, found

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Lease:
    """Who sends from a spool: the process that holds a lock beside it. It ends with the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    @property
    def held(self) -> bool:
        """Whether it is ours already."""
        return fcntl is None or self._file is not None

    def take(self) -> bool:
        """Whether it is ours now."""
        if self.held:
            return True
        file = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            return False
        self._file = file
        return True

    def give_up(self) -> None:
        """Lets another process send."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    after_fork_in_child = give_up
    """A child shares the parent's lock as long as it has the file open; closing it here frees nothing."""


class Courier:
    """Empties the spool while `run` runs, in a thread of its own.

    `on_refused` is called in that thread for every event that the service refused.
    """

    def __init__(
        self,
        spool: Spool,
        transport: Transport,
        on_refused: Callable[[Refused], None] | None = None,
        *,
        linger: float = 0.02,
        first_wait: float = FIRST_WAIT_SECONDS,
    ) -> None:
        self._spool = spool
        self._transport = transport
        self._on_refused = on_refused
        self._lease = Lease(spool.path.with_name(spool.path.name + ".sending"))
        self._linger = linger
        self._first_wait = first_wait
        self._wake = Condition()
        self._called = self._hurried = False
        self._stopping = False
        self._at_once = AT_ONCE
        self._packs = True
        self._tries = 0
        self._warned: frozenset[tuple[str, str]] = frozenset()
        self.trouble: str | None = None
        """Why the service does not take events now; `None` where it took the last ones."""

    def call(self) -> None:
        """Something was put into the spool."""
        if self._called:  # it has been woken and has not looked yet
            return
        with self._wake:
            self._called = True
            self._wake.notify_all()

    def hurry(self) -> None:
        """Somebody waits: it is tried now, however long was to be waited."""
        with self._wake:
            self._called = self._hurried = True
            self._wake.notify_all()

    def stop(self) -> None:
        """Has `run` end after the request that is on its way."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()

    def wait(self, done: Callable[[], bool], seconds: float) -> bool:
        """Waits until `done`, looking whenever a batch has left and now and then; whether it came true."""
        end = monotonic() + seconds
        while not done():
            left = end - monotonic()
            if left <= 0:
                return False
            with self._wake:
                self._wake.wait(min(left, 0.05))
        return True

    def run(self) -> None:
        """Sends until told to stop."""
        try:
            while not self._stopping:
                self._called = self._hurried = False
                try:
                    wait = self.turn()
                except Exception as error:  # a caller's data must not stay because of one bad turn
                    self._note(f"{type(error).__name__} in the client")
                    wait = self._later(None)
                if wait:
                    self._rest(wait)
        finally:
            self._lease.give_up()
            self._transport.close()

    def _rest(self, seconds: float) -> None:
        """Waits, but not for one who has something new where nothing holds us up."""
        end = monotonic() + seconds
        with self._wake:
            while not (self._stopping or self._hurried or (self._called and self.trouble is None)):
                left = end - monotonic()
                if left <= 0:
                    return
                self._wake.wait(left)
        if not self._stopping and self._linger:
            with self._wake:  # those who call at the same time go together
                self._wake.wait_for(lambda: self._stopping, self._linger)

    def turn(self) -> float:
        """Sends one batch; how many seconds to rest before the next turn, 0 where more waits."""
        if not self._spool.write():
            self._note("the spool does not take events")
            return self._later(None)
        if not self._lease.held:
            if not self._spool.last():
                return IDLE_SECONDS
            if not self._lease.take():
                return LEASE_SECONDS
        batch = self._spool.batch(self._at_once, BYTES_AT_ONCE)
        if not batch:
            self._lease.give_up()
            return IDLE_SECONDS
        return self._send(batch)

    def _send(self, batch: Sequence[Kept]) -> float:
        body = b"[" + b",".join(one.body for one in batch) + b"]"
        packed = self._packs and len(body) >= WORTH_PACKING
        try:
            status, headers, found = self._transport.post(
                gzip.compress(body, 1) if packed else body, packed=packed
            )
        except OSError as error:
            self._note(f"no answer: {error}")
            return self._later(None)
        if status == 415 and packed:
            self._packs = False
            return 0.0
        match judged(status, headers, found, len(batch)):
            case Settled(refused, warned):
                self._settle(batch, refused)
                self._warn(warned)
                return 0.0
            case Halve():
                self._at_once = max(1, len(batch) // 2)
                return 0.0
            case Later(why, seconds):
                self._note(why)
                return self._later(seconds)
            case Person(why):
                self._note(why)
                return PERSON_SECONDS

    def _settle(self, batch: Sequence[Kept], refused: Mapping[int, tuple[str, str]]) -> None:
        found = self._spool.settle(batch, refused)
        if self.trouble is not None:
            logger.info("the service takes events again")
        self.trouble, self._tries = None, 0
        self._at_once = min(AT_ONCE, self._at_once * 2)
        with self._wake:
            self._wake.notify_all()
        for one in found:
            logger.warning("the service refused %s: %s: %s", one.event_id, one.field, one.rule)
            if self._on_refused is not None:
                try:
                    self._on_refused(one)
                except Exception as error:  # the caller's own; the event stays among the refused
                    logger.error("on_refused raised %s", type(error).__name__)

    def _warn(self, warned: frozenset[tuple[str, str]]) -> None:
        """Says once of each rule that the service left a field out."""
        for field, rule in sorted(warned - self._warned):
            logger.warning("the service leaves %s out of events: %s", field, rule)
        self._warned |= warned

    def _note(self, why: str) -> None:
        """Says once what holds events up."""
        if why != self.trouble:
            logger.warning("events wait in the spool: %s", why)
        self.trouble = why

    def _later(self, seconds: float | None) -> float:
        """How long to wait: as told, else longer each time, with chance in it so that callers spread."""
        self._tries += 1
        longest = min(LONGEST_WAIT_SECONDS, self._first_wait * 2.0 ** min(self._tries - 1, 20))
        own = longest * random.uniform(0.5, 1.0)
        return own if seconds is None else max(seconds, 0.05) + random.uniform(0, 0.1)

    def after_fork_in_child(self) -> None:
        """The thread stayed in the parent."""
        self._lease.after_fork_in_child()
        self._transport.close()
