"""One destination's queue: what waits, what is in flight, how fast it may go, whether it may go at all."""

import heapq
import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from lendsignal.clock import to_us
from lendsignal.deliver.settings import DeliverSettings, DestinationSettings, Unknown
from lendsignal.destination.spec import Destination, Hold, Retries, Spec
from lendsignal.log import Open
from lendsignal.model import App

MICROSECONDS = timedelta(microseconds=1)


class Outlet(Struct, frozen=True, kw_only=True):
    """A destination as it is configured: the platform's module, our settings for it, and its own."""

    name: str
    module: Destination
    common: DestinationSettings
    own: Any
    app: App
    hosts: tuple[str, ...]

    @property
    def spec(self) -> Spec:
        """The platform's facts."""
        return self.module.SPEC

    @property
    def late(self) -> str:
        """`send` or `skip`: ours if set, else the platform's rule."""
        return self.common.late or self.spec.late

    @property
    def allows_private(self) -> bool:
        """Whether its requests may reach loopback and private addresses; only webhooks are kept from them."""
        return bool(getattr(self.own, "allow_private", True))

    @property
    def on_unknown(self) -> Retries | Hold | Unknown:
        """What follows a request that left and was never answered."""
        return self.common.on_unknown or self.spec.on_unknown

    def too_old_from(self, occurred_at: datetime) -> datetime | None:
        """From when on a conversion of that moment is not sent any more; `None`: never.

        Our own `max_age` always counts; the platform's window counts where `late` is skip.
        """
        own = self.common.max_age
        ends = [] if own is None else [occurred_at + own]
        if self.late == "skip":
            ends.append(self.spec.closes_at(occurred_at))
        return min(ends, default=None)


class Bucket:
    """A token bucket in the machine's own steady time: `per_second` on average, a second's worth at once."""

    def __init__(self, per_second: float, now: float) -> None:
        self._rate = per_second
        self._size = max(1.0, per_second)
        self._tokens = self._size
        self._at = now

    def take(self, now: float) -> bool:
        """Takes one request's token where there is one."""
        self._tokens = min(self._size, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def ready_in(self, now: float) -> float:
        """Seconds until the next token."""
        tokens = min(self._size, self._tokens + (now - self._at) * self._rate)
        return max(0.0, (1 - tokens) / self._rate)


class Line:
    """The queue of one destination. Deliveries beyond `window` stay in the store until there is room."""

    def __init__(self, outlet: Outlet, settings: DeliverSettings, now: float) -> None:
        self.outlet = outlet
        self.settings = settings
        self.bucket = Bucket(outlet.common.per_second or outlet.spec.per_second, now)
        self.items: dict[int, Open] = {}
        self.flying: set[int] = set()
        self.requests = 0
        self.more_in_store = False
        self.hand = 0
        self.paused: str | None = None
        self.probe_us = 0
        self.probes = 0
        self.held_until_us = 0
        self.throttles = 0
        self._due: list[tuple[int, int]] = []

    def offer(self, delivery: Open) -> bool:
        """Takes a new delivery into memory where there is room; otherwise the store keeps it for later."""
        if self.more_in_store or len(self.items) >= self.settings.window:
            self.more_in_store = True
            return False
        self.put(delivery)
        return True

    def put(self, delivery: Open) -> None:
        """A delivery that waits until it is due."""
        self.items[delivery.id] = delivery
        heapq.heappush(self._due, (delivery.due_us, delivery.id))

    def drop(self, delivery: int) -> None:
        """A delivery that is open no more."""
        self.items.pop(delivery, None)
        self.flying.discard(delivery)

    def due(self, now_us: int, limit: int) -> list[Open]:
        """At most so many deliveries whose time has come, longest due first; they leave the queue."""
        found: list[Open] = []
        while self._due and len(found) < limit:
            due_us, number = self._due[0]
            if due_us > now_us:
                break
            heapq.heappop(self._due)
            delivery = self.items.get(number)
            if delivery is not None and delivery.due_us == due_us and number not in self.flying:
                found.append(delivery)
        return found

    def next_due_us(self) -> int | None:
        """When the next delivery in memory is due."""
        return self._due[0][0] if self._due else None

    def may_start(self, now_us: int) -> bool:
        """Whether another request may start now, pacing aside: a paused line sends one probe at a time."""
        if now_us < self.held_until_us:
            return False
        if self.paused is not None:
            return now_us >= self.probe_us and self.requests == 0
        return self.requests < self.outlet.common.concurrency

    def pause(self, reason: str, now_us: int) -> None:
        """Stops sending but for a probe after a while, longer each time up to a quarter of an hour.

        Only a probe's answer makes the wait longer: the rows of one batch and the requests that were in
        flight beside it all say the same.
        """
        if self.paused is not None and now_us < self.probe_us:
            self.paused = reason
            return
        self.probes = 0 if self.paused is None else min(self.probes + 1, 4)
        self.paused = reason
        self.probe_us = now_us + (self.settings.probe_after * 2**self.probes) // MICROSECONDS

    def resume(self) -> None:
        """Sends again."""
        self.paused, self.probes, self.throttles = None, 0, 0

    def slow_down(self, after: timedelta | None, now_us: int) -> None:
        """The whole line waits: so long as the platform asks, else a second, doubling up to a minute.

        What is told while it waits already (by the other rows and requests) does not double it.
        """
        waits = now_us < self.held_until_us
        if after is None and waits:
            return
        wait = after if after is not None else timedelta(seconds=min(60, 2**self.throttles))
        self.throttles = min(self.throttles + (not waits), 6)
        self.held_until_us = max(self.held_until_us, now_us + wait // MICROSECONDS)

    def retry_at(self, delivery: Open, after: timedelta | None, now_us: int) -> int:
        """Full jitter: anywhere up to the doubled wait, but never before the platform's `after`."""
        longest = min(
            self.settings.longest_retry, self.settings.first_retry * 2 ** min(delivery.attempts, 20)
        )
        jittered = random.uniform(0.0, 1.0) * (longest // MICROSECONDS)
        return now_us + max(int(jittered), (after or timedelta(0)) // MICROSECONDS)

    def gives_up_us(self, delivery: Open, occurred_at: datetime) -> int | None:
        """When trying ends: as the conversion is too old; where it never is, after `retry_for`."""
        ends = self.outlet.too_old_from(occurred_at)
        if ends is not None:
            return to_us(ends)
        return delivery.first_us + self.settings.retry_for // MICROSECONDS if delivery.first_us else None


def outlets_by_name(outlets: Mapping[str, Outlet], settings: DeliverSettings, now: float) -> dict[str, Line]:
    """An empty line for each destination."""
    return {name: Line(outlet, settings, now) for name, outlet in outlets.items()}
