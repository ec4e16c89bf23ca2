"""Several senders over one PostgreSQL, one turn at a time, and what the database says of their work."""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Protocol, Self

from tests.acme import APPS, source, us
from tests.clustered import Cluster, decide_all
from tests.desk import MINUTE, planned_for

from lendsignal.deliver import DeliverSettings, Outlet
from lendsignal.deliver.slots import SlotSender
from lendsignal.log import Open, Order, Receipt, Stage
from lendsignal.log.postgres import Terms
from lendsignal.log.postgres.deliveries import SlotDeliveries
from lendsignal.log.postgres.orders import OrderRows
from lendsignal.log.slots import slot_of
from lendsignal.model import Event
from lendsignal.plan import PolicySource
from lendsignal.resolve import ResolveSettings

PATIENCE = 60.0

LEASE = 600.0
"""Seconds: no sender falls silent by the machine's slowness, but only where a test says so."""


class Ahead:
    """A clock that goes on by itself, from so many minutes after T0, and that a test moves ahead."""

    replay = False

    def __init__(self, minutes: float) -> None:
        self._from_us = us(minutes) - round(time.monotonic() * 1_000_000)
        self._ahead_us = 0

    def steady(self) -> float:
        return time.monotonic() + self._ahead_us / 1_000_000

    def now_us(self) -> int:
        return self._from_us + round(self.steady() * 1_000_000)

    def ahead(self, minutes: float) -> None:
        self._ahead_us += round(minutes * MINUTE)


class Turns(Protocol):
    """What does its work round by round."""

    def turn(self, longest_wait: float = ...) -> bool: ...


class Several:
    """A cluster with senders that send when they are told to; `told` events are decided at once."""

    def __init__(self, url: str, sandbox: str, *outlets: Outlet, slots: int = 4, **settings: Any) -> None:
        policy = source(
            targets={one.name: planned_for(one) for one in outlets},
            send={"disbursement": "ev_disbursement"},
            resolve=ResolveSettings(settle=timedelta(0)),
        )
        self.cluster = self._made(url, slots, policy)
        self._outlets = {one.name: one for one in outlets}
        self._settings = DeliverSettings(sandbox=sandbox, **{"drain": timedelta(seconds=60), **settings})
        self._door = self.cluster.door()
        self._worker = self.cluster.worker("worker")
        self.senders: list[SlotSender] = []
        self.store = SlotDeliveries(self.cluster.connect(), slots, range(slots))
        self.orders = OrderRows(self.cluster.connect())
        self.clocks: dict[str, Ahead] = {}

    def _made(self, url: str, slots: int, policy: PolicySource) -> Cluster:
        return Cluster(url, slots, policy)

    def _decide(self) -> None:
        decide_all(self._worker)

    def sender(self, name: str, minutes: float = 10) -> SlotSender:
        """A sender that beats with every turn."""
        clock = self.clocks[name] = Ahead(minutes)
        one = SlotSender(
            self.cluster.connect(),
            self.cluster.slots,
            name,
            self._outlets,
            APPS,
            self._settings,
            clock,
            terms=Terms(lease_seconds=LEASE, beat_seconds=0.0),
            steady=clock.steady,
        )
        self.senders.append(one)
        return one

    def tell(self, *events: Event) -> Self:
        self._door.append(events)
        self._decide()
        return self

    def falls_silent(self, gone: SlotSender, heir: SlotSender) -> None:
        """`gone` does nothing any more, and `heir` has been there long enough to judge that."""
        self.cluster.silence(gone.name)
        self.until(lambda: self._is_heir(heir), heir)

    def _is_heir(self, heir: SlotSender) -> bool:
        self.clocks[heir.name].ahead(LEASE / 60 / 2)
        return len(self.held(heir)) == self.cluster.slots

    def held(self, one: SlotSender) -> list[int]:
        """The slots of a sender by the database's word."""
        found = self.cluster.database.rows(
            "select slot from sending where owner = %s order by slot", one.name
        )
        return [slot for (slot,) in found]

    def share_out(self, *senders: SlotSender) -> None:
        """Turns them until each has as many slots as the others, and sends from them."""
        even = -(-self.cluster.slots // len(senders))
        self.until(
            lambda: all(0 < len(self.held(one)) <= even and one.sender is not None for one in senders),
            *senders,
        )

    def until(self, true: Callable[[], Any], *senders: Turns) -> None:
        """Turns these senders until something is so."""
        end = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < end, f"never so: {self.store.waiting()} {self.tally()}"
            for one in senders:
                one.turn(0.005)

    def give(self, *orders: Order) -> int:
        return self.orders.give(orders, "operator", 0)[-1]

    # looking

    def tally(self) -> dict[str, int]:
        """Counts over all destinations: `accepted`, and with its reason `accepted confirmed`."""
        found: dict[str, int] = {}
        for (_, _, what, reason), n in self.store.tally().items():
            found[what] = found.get(what, 0) + n
            if reason:
                found[f"{what} {reason}"] = found.get(f"{what} {reason}", 0) + n
        return found

    def open(self, destination: str = "acme-ng") -> list[Open]:
        return [one for stage in Stage for one in self.store.open(destination, 0, 10_000, stage)]

    def everybody_stopped(self, destination: str = "acme-ng") -> bool:
        """Whether every sender knows by now that the destination is stopped: it looks four times a second."""
        working = [one.sender for one in self.senders if one.sender is not None]
        return all(one.book.lines[destination].stopped is not None for one in working)

    def is_done(self) -> bool:
        """Whether senders have read all that was decided, and nothing is open any more."""
        records = {
            record_id // 256 % self.cluster.slots: record_id for record_id, _ in self.cluster.records()
        }
        read = self.store.positions()
        ended = sum(self.tally().get(what, 0) for what in ("accepted", "dead", "skipped", "cancelled"))
        return all(read[slot] >= last for slot, last in records.items()) and ended == self.tally().get(
            "planned", 0
        )

    def receipts(self) -> Sequence[Receipt]:
        return [one for _, pack in self.store.all_receipts() for one in pack]

    def close(self) -> None:
        for one in self.senders:
            if one.sender is not None:
                one.sender.close()
        self.cluster.close()


def users_in(slots: int, each: int) -> dict[int, list[str]]:
    """So many users of every slot."""
    found: dict[int, list[str]] = {slot: [] for slot in range(slots)}
    number = 0
    while any(len(users) < each for users in found.values()):
        users = found[slot_of(f"acme:u{number}", slots)]
        if len(users) < each:
            users.append(f"u{number}")
        number += 1
    return found
