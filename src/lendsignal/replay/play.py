"""Plays events through a running service in the order of their arrival, moving the clock as it goes."""

import http.client
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from lendsignal.clock import ReplayClock, to_us
from lendsignal.errors import LendsignalError
from lendsignal.log import Deliveries
from lendsignal.role.standing import Status

AT_ONCE = 1_000
PATIENCE_SECONDS = 120.0

LONGEST_LOOK_SECONDS = 0.02
"""How long it waits between two looks at most, where it does not begin with more."""

_encode = msgspec.json.Encoder().encode


class Player:
    """One sender of events on the stage's clock. `tend` is called while waiting.

    `look_seconds`: how soon it asks for the first time whether all is done, and then a little later each
    time. A cluster takes longer for its answer, and each of those costs its store some work.
    """

    def __init__(
        self,
        service: str,
        key: str,
        clock: ReplayClock,
        tend: Callable[[], None],
        *,
        look_seconds: float = 0.001,
    ) -> None:
        self._address = service.removeprefix("http://")
        self._key = key
        self._clock = clock
        self._tend = tend
        self._look_seconds = look_seconds
        self._connection = http.client.HTTPConnection(self._address, timeout=60)
        self.sent = 0
        self.refused = 0

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()

    def play(self, events: Sequence[Mapping[str, Any]], until_us: int) -> None:
        """Sends events that arrive by `until_us`, moves the clock there, and waits until all is done.

        Each event carries its `received_at`. A service that died is waited for and the events are sent
        again: what it had already is a duplicate and changes nothing.
        """
        self._clock.set_us(until_us)
        for start in range(0, len(events), AT_ONCE):
            answer = self._post(_encode(events[start : start + AT_ONCE]))
            self.sent += answer["accepted"]
            self.refused += answer["refused"]
        self.settle()

    def settle(self, *, until_idle: bool = True) -> Status:
        """Waits until nothing is left to do at this moment of the clock."""
        end = time.monotonic() + PATIENCE_SECONDS
        wait = self._look_seconds
        longest = max(wait, LONGEST_LOOK_SECONDS)
        while True:
            now = self.status()
            if now.idle or not until_idle:
                return now
            self._tend()
            if time.monotonic() > end:
                raise LendsignalError(f"the service is not idle after {PATIENCE_SECONDS:.0f} s: {now}")
            time.sleep(wait)
            wait = min(longest, wait * 1.5)

    def status(self) -> Status:
        """How far the service is."""
        return msgspec.json.decode(self._call("GET", "/v1/status", None), type=Status)

    def _post(self, body: bytes) -> dict[str, Any]:
        answer: dict[str, Any] = msgspec.json.decode(self._call("POST", "/v1/events", body))
        return answer

    def _call(self, method: str, path: str, body: bytes | None) -> bytes:
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self._connection.request(method, path, body, {"Authorization": f"Bearer {self._key}"})
                response = self._connection.getresponse()
                answer = response.read()
                if response.status in (200, 202, 422):
                    return answer
                if response.status not in (429, 503):
                    raise LendsignalError(f"{method} {path} was answered {response.status}: {answer[:300]!r}")
            except (OSError, http.client.HTTPException):
                self._connection.close()
            self._tend()
            if time.monotonic() > end:
                raise LendsignalError(f"the service does not answer {method} {path}")
            time.sleep(0.05)


def chunks(
    events: Iterable[Mapping[str, Any]], step_us: int, arrived: Callable[[Mapping[str, Any]], int]
) -> Iterable[tuple[int, list[Mapping[str, Any]]]]:
    """Events in steps of the clock: (end of the step, what arrived in it); empty steps are left out."""
    batch: list[Mapping[str, Any]] = []
    end = 0
    for event in events:
        at = arrived(event)
        if batch and at > end:
            yield end, batch
            batch = []
        if not batch:
            end = at - at % step_us + step_us
        batch.append(event)
    if batch:
        yield end, batch


def received_us(event: Mapping[str, Any]) -> int:
    """When an event of the generator arrives, in microseconds since 1970."""
    return to_us(datetime.fromisoformat(event["received_at"]))


class Received(Struct, frozen=True, kw_only=True):
    """What the sandboxes hold against what we hold: equal when every set of ids is."""

    received: int
    equal: bool
    missing: int
    extra: int


def received(
    sandbox: str, accepted: Mapping[str, set[str]], accounts: Mapping[str, tuple[str, str]]
) -> Received:
    """Compares, id by id, what each destination accepted with what its account in the sandbox received.

    `accounts` maps a destination to the platform and account that the sandbox knows it by.
    """
    address = sandbox.removeprefix("http://")
    total = missing = extra = 0
    for destination, (platform, account) in accounts.items():
        connection = http.client.HTTPConnection(address, timeout=60)
        connection.request("GET", f"/_sandbox/ids?platform={platform}&account={account}")
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status != 200:
            raise LendsignalError(f"the sandbox does not list what {destination} received: {answer.status}")
        theirs = set(msgspec.json.decode(body, type=dict[str, int]))
        ours = accepted.get(destination, set())
        total += len(theirs)
        missing += len(ours - theirs)
        extra += len(theirs - ours)
    return Received(received=total, equal=not missing and not extra, missing=missing, extra=extra)


def accepted_ids(deliveries: Deliveries, conversion_of: Callable[[int], str]) -> dict[str, set[str]]:
    """The conversion ids each destination accepted, from the receipts."""
    found: dict[str, set[str]] = {}
    for _, pack in deliveries.all_receipts():
        for receipt in pack:
            if receipt.what == "accepted":
                found.setdefault(receipt.destination, set()).add(conversion_of(receipt.id))
    return found
