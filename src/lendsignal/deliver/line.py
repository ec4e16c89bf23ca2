"""One destination's queue in memory: what waits, what is on its way, whether it may go at all."""

import heapq
from datetime import datetime, timedelta
from random import Random

from lendsignal.clock import to_us
from lendsignal.deliver.lanes import Lanes
from lendsignal.deliver.outlet import Outlet
from lendsignal.deliver.pace import Pace
from lendsignal.deliver.settings import DeliverSettings
from lendsignal.log import Open, Pause, Stop

MICROSECONDS = timedelta(microseconds=1)
DAY_US = 86_400_000_000

PROBES_DOUBLE = 4
"""How often the wait between two probes doubles: a minute becomes sixteen."""


class Line:
    """The queue of one destination. Deliveries beyond `window` stay in the store until there is room.

    `pace` is the account's, which other destinations may share; `pace_again` is what replayed deliveries
    have of it. What a platform has paused is probed; what a brake or a person stopped is not.
    """

    def __init__(
        self, outlet: Outlet, settings: DeliverSettings, pace: Pace, pace_again: Pace, chance: Random
    ) -> None:
        self.outlet = outlet
        self.settings = settings
        self.pace = pace
        self.pace_again = pace_again
        self.lanes = Lanes(outlet.common.lane_wait // MICROSECONDS)
        self.items: dict[int, Open] = {}
        self.flying: set[int] = set()
        self.requests = 0
        self.more_in_store = False
        self.hand = 0
        self.parked_us: int | None = None
        self.parked_hand = (0, 0)
        self.pending_us: int | None = None
        self.asking = False
        self.fed = 0
        self.last_due_us = 0
        self.stopped: Pause | None = None
        self.probe_us = 0
        self._probes = 0
        self._chance = chance
        self._due: list[tuple[int, int]] = []
        self._again: list[tuple[int, int]] = []
        self._linger_until_us = 0
        self._company_us = 0

    # what waits

    def offer(self, delivery: Open) -> bool:
        """Takes a new delivery into memory where there is room; otherwise the store keeps it for later."""
        self.fed += 1
        if self.more_in_store or len(self.items) >= self.settings.window:
            self.more_in_store = True
            return False
        self.put(delivery)
        self.last_due_us = max(self.last_due_us, delivery.due_us)
        return True

    def has_enough(self, now_us: int) -> bool:
        """Whether it sends, and enough wait here, all of them due, for the next requests."""
        if self.stopped is not None:
            return False
        waiting = len(self.items) - len(self.flying)
        wanted = max(self.outlet.common.concurrency, 2 * self.outlet.spec.batch)
        return waiting > wanted and self.last_due_us <= now_us

    def could_send(self) -> int:
        """How many requests what waits in memory could fill, the next one included."""
        return max(1, -(-(len(self.items) - len(self.flying)) // self.outlet.spec.batch))

    def has_room(self) -> bool:
        """Whether memory takes more from the store."""
        return len(self.items) <= self.settings.window // 2

    def put(self, delivery: Open) -> None:
        """A delivery that waits until it is due."""
        self.items[delivery.id] = delivery
        heapq.heappush(self._again if delivery.again else self._due, (delivery.due_us, delivery.id))

    def drop(self, delivery: Open) -> None:
        """A delivery that is open no more, or not in memory: whoever waited for it in its lane is next."""
        self.items.pop(delivery.id, None)
        self.flying.discard(delivery.id)
        if delivery.lane:
            self.free(delivery)

    def free(self, delivery: Open) -> None:
        """The lane goes on without this delivery."""
        self._goes_on(delivery.lane, self.lanes.freed(delivery.lane, delivery.id))

    def _goes_on(self, lane: int, following: int | None) -> None:
        """The next of a lane comes; one that was taken back while it stood aside lets the next one come."""
        while following is not None:
            waiting = self.items.get(following)
            if waiting is not None:
                self.put(waiting)
                return
            following = self.lanes.freed(lane, following)

    def pass_slow_heads(self, now_us: int) -> None:
        """Lanes whose head took too long go on with the next."""
        if self.stopped is not None:
            return
        for lane, following in self.lanes.passed(now_us):
            self._goes_on(lane, following)

    def due(self, now_us: int, limit: int, now: float) -> list[Open]:
        """At most so many deliveries whose time has come, longest due first; they leave the queue.

        Replayed ones only where nothing else is due, and within their own pace. Where a batch is not
        full yet, nothing until its first has waited for company long enough.
        """
        linger = self.outlet.linger
        if linger and limit > 1 and now_us < self._linger_until_us and 0 < len(self._due) < limit:
            return []
        found = self._taken(self._due, now_us, limit)
        if not found and self._again and self.pace_again.ready_in(now) == 0:
            found = self._taken(self._again, now_us, min(limit, self.outlet.spec.batch))
            if found:
                self.pace_again.take(now)
                return found
        if linger and found and len(found) < limit:
            until_us = min(one.due_us for one in found) + linger // MICROSECONDS
            if now_us < until_us:
                self._linger_until_us = until_us
                self._company_us = self._due[0][0] if self._due else until_us
                for one in found:
                    self.put(one)
                return []
        return found

    def _taken(self, queue: list[tuple[int, int]], now_us: int, limit: int) -> list[Open]:
        found: list[Open] = []
        while queue and len(found) < limit:
            due_us, number = queue[0]
            if due_us > now_us:
                break
            heapq.heappop(queue)
            delivery = self.items.get(number)
            if delivery is not None and delivery.due_us == due_us and number not in self.flying:
                found.append(delivery)
        return found

    def longest_due(self, now_us: int) -> float:
        """How many seconds ago the time came of what has been due longest; 0: nothing is.

        What stands aside in a lane is not looked at.
        """
        while self._due:
            due_us, number = self._due[0]
            waiting = self.items.get(number)
            if waiting is not None and waiting.due_us == due_us and number not in self.flying:
                break
            heapq.heappop(self._due)  # left over of one that is on its way, or was withdrawn
        moments = [due_us for due_us in (self.parked_us, *(one[0] for one in self._due[:1])) if due_us]
        return max(0, now_us - min(moments, default=now_us)) / 1e6

    def next_due_us(self, now: float, now_us: int) -> int | None:
        """When something in memory, parked or pending can be done next, the account's pace aside."""
        moments: list[int | None] = []
        lingers_us = self._linger_until_us if self._due else 0
        if self._due:
            # Of many that wait only some may be due: then the next that is brings company.
            many = len(self._due) >= self.outlet.spec.batch
            looks_us = min(lingers_us, self._company_us) if many else lingers_us
            moments.append(max(self._due[0][0], looks_us))
        if self._again:
            ready_us = now_us + int(self.pace_again.ready_in(now) * 1_000_000)
            moments.append(max(self._again[0][0], ready_us, lingers_us))
        if self.has_room():
            moments.append(self.parked_us)
        if not self.asking:
            moments.append(self.pending_us)
        if not self.stopped:
            moments.append(self.lanes.next_end_us())
        return min((moment for moment in moments if moment is not None), default=None)

    def shift(self, by_us: int) -> None:
        """The clock was set by so much: what waits in memory waits as long as it was to."""
        for one in self.items.values():
            if one.id not in self.flying:
                one.due_us += by_us
        self._due = [(due_us + by_us, number) for due_us, number in self._due]
        self._again = [(due_us + by_us, number) for due_us, number in self._again]
        self._linger_until_us += by_us
        self._company_us += by_us
        self.probe_us += by_us
        self.lanes.shift(by_us)
        # What is in the store is looked up anew, where there is any.
        self.parked_us, self.parked_hand = None if self.parked_us is None else 0, (0, 0)
        self.pending_us = None if self.pending_us is None else 0

    # whether it may go

    def may_start(self, now_us: int) -> bool:
        """Whether another request may start now, tokens aside: a paused line sends one probe at a time."""
        if now_us < self.pace.waits_until_us:
            return False
        if self.stopped is not None:
            return self.stopped.kind is Stop.PLATFORM and now_us >= self.probe_us and self.requests == 0
        return self.requests < self.outlet.common.concurrency

    def stop(self, pause: Pause, now_us: int) -> None:
        """Stops sending; for a platform's reason but for a probe after a while, longer each time.

        Only a probe's answer makes the wait longer: the rows of one batch and the requests that were in
        flight beside it all say the same. What a person or a brake stopped stays so.
        """
        before = self.stopped
        if before is not None and before.kind is not Stop.PLATFORM and pause.kind is Stop.PLATFORM:
            return
        self.stopped = pause if before is None or before.kind is not pause.kind else _since(pause, before)
        if pause.kind is not Stop.PLATFORM or (before is not None and now_us < self.probe_us):
            return
        self._probes = 0 if before is None else min(self._probes + 1, PROBES_DOUBLE)
        self.probe_us = now_us + (self.settings.probe_after * 2**self._probes) // MICROSECONDS

    def resume(self) -> None:
        """Sends again."""
        self.stopped, self._probes = None, 0

    def retry_at(self, delivery: Open, after: timedelta | None, now_us: int) -> int:
        """Full jitter: anywhere up to the doubled wait, but never before the platform's `after`."""
        longest = min(
            self.settings.longest_retry, self.settings.first_retry * 2 ** min(delivery.attempts, 20)
        )
        jittered = self._chance.uniform(0.0, 1.0) * (longest // MICROSECONDS)
        return now_us + max(int(jittered), (after or timedelta(0)) // MICROSECONDS)

    def gives_up_us(self, delivery: Open, occurred_at: datetime) -> int | None:
        """When trying ends: as the conversion is too old; where it never is, after `retry_for`."""
        if self.outlet.age_us is not None:
            return to_us(occurred_at) + self.outlet.age_us
        if self.outlet.grows_old:
            ends = self.outlet.too_old_from(occurred_at)
            if ends is not None:
                return to_us(ends)
        return delivery.first_us + self.settings.retry_for // MICROSECONDS if delivery.first_us else None

    def scheduled_us(self, due_us: int) -> int:
        """When what is due then is sent: at once, or at the next full period since midnight UTC."""
        span = self.outlet.period
        if span is None:
            return due_us
        period_us = span // MICROSECONDS
        midnight = due_us - due_us % DAY_US
        periods = -(-(due_us - midnight) // period_us)
        return min(midnight + periods * period_us, midnight + DAY_US)


def _since(pause: Pause, before: Pause) -> Pause:
    return Pause(before.since_us, pause.kind, pause.reason)
