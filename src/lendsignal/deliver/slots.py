"""The sender of a cluster: sends what is planned in the slots that it leases, whoever else sends beside it.

It is the sender of a data folder, over one set of slots. When that set changes, it lets what is on its way
end, keeps what came of it, and another one begins with what the store says of the new set, as after a stop.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from threading import Event
from time import monotonic
from typing import cast

from lendsignal.clock import Clock
from lendsignal.deliver.meters import DeliverMeters
from lendsignal.deliver.outlet import Outlet
from lendsignal.deliver.sender import Sender
from lendsignal.deliver.settings import DeliverSettings
from lendsignal.errors import LogError, Overtaken
from lendsignal.log import Deliveries, Log, Orders
from lendsignal.log.postgres import Database, Terms
from lendsignal.log.postgres.deliveries import RecordRows, SlotDeliveries, slot_of_delivery
from lendsignal.log.postgres.orders import OrderRows
from lendsignal.log.postgres.relay import SlotShelf
from lendsignal.log.postgres.sending import Change, Sending
from lendsignal.log.postgres.together import Together
from lendsignal.model import App

logger = logging.getLogger(__name__)

IDLE_SECONDS = 0.03
"""How soon a sender looks again for records where nothing was there: each look costs the server a little."""

SHELF_IDLE_SECONDS = 0.5
"""How soon it looks again for what apps acknowledged where there was nothing: nobody waits for that."""

AWAY_SECONDS = 0.25
"""How soon it tries again a database that did not answer."""

TURN_SECONDS = 0.1
"""The longest wait of one round: leases are renewed between rounds."""


class SlotSender:
    """The slots of one sender, and the sender over them. `name` is its own for this one run.

    `steady` counts seconds and is never set. Used by one thread.
    """

    def __init__(
        self,
        database: Database,
        slots: int,
        name: str,
        outlets: Mapping[str, Outlet],
        apps: Mapping[str, App],
        settings: DeliverSettings,
        clock: Clock,
        *,
        bells: Iterable[tuple[object, Callable[[], None]]] = (),
        terms: Terms | None = None,
        steady: Callable[[], float] = monotonic,
        meters: DeliverMeters | None = None,
    ) -> None:
        self.name = name
        self._database = database
        self._slots = slots
        self._outlets = outlets
        self._apps = apps
        self._settings = settings
        self._clock = clock
        self._bells = list(bells)
        self._steady = steady
        self._meters = meters or DeliverMeters()
        self._sending = Sending(database, name, slots, terms)
        self._sender: Sender | None = None
        self._store: SlotDeliveries | None = None
        self._shelf: SlotShelf | None = None
        self._lost: set[int] = set()
        self._ends_by: float | None = None

    @property
    def sender(self) -> Sender | None:
        """The sender over our slots; `None` while we have none, or another set is on its way to us."""
        return self._sender

    def turn(self, longest_wait: float = TURN_SECONDS) -> bool:
        """One round. False: there was nothing to do.

        Raises `LogError` where the database is away. Nothing is lost by that: who calls comes again.
        """
        try:
            return self._turned(longest_wait)
        except Overtaken as overtaken:
            logger.warning("%s; beginning again with those it has", overtaken)
            self._give_up()
            return True
        except LogError:
            self._wind_down()
            raise

    def end(self) -> None:
        """Starts nothing more, waits for answers within the limit, and leaves the slots to others at once."""
        self._wind_down()
        assert self._ends_by is not None
        try:
            while self._steady() < self._ends_by and not self._settled(TURN_SECONDS):
                self._tended()
        except LogError as error:
            logger.warning("%s; what was on its way is for its next holder", error)
        finally:
            self._drop()
        self._sending.end()

    def _turned(self, longest_wait: float) -> bool:
        try:
            change = self._tended()
        except Overtaken:
            raise
        except LogError:  # what comes in meanwhile is not forgotten
            self._settled(0.0)
            raise
        if self._sender is None:
            return bool(change or self._sending.held) and self._begin()
        if change.gained or change.extra:
            self._wind_down()
        if self._ends_by is None:
            return self._sender.turn(longest_wait)
        if self._settled(longest_wait) or self._has_ended():
            self._drop()
        return True

    def _tended(self) -> Change:
        """Keeps the lease. Raises `Overtaken` where slots of the sender are somebody else's, or were."""
        change = self._sending.tend(self._steady())
        self._lost.update(change.lost)
        if change.lost and self._sender is not None:
            raise Overtaken(f"{len(change.lost)} slots of ours are another sender's")
        return change

    def _give_up(self) -> None:
        """Of the slots that are lost nothing is ours to write; what is on its way of the others ends first.

        What was on its way of the lost ones is for their next holder as after a kill: it may have arrived.
        """
        self._sending.doubt()
        if self._sender is None or self._store is None:
            return
        lost = frozenset(self._lost)
        self._store.disown(lost)
        if self._shelf is not None:
            self._shelf.disown(lost)
        if not self._store.is_anything_ours():
            self._drop()
            return
        self._sender.disown(lambda delivery: slot_of_delivery(delivery, self._slots) in lost)
        self._wind_down()

    def _begin(self) -> bool:
        """Takes up what the store says of our slots; those that others are to have, they have from now on."""
        self._sending.share()
        mine = frozenset(self._sending.held)
        if not mine:
            return False
        store = SlotDeliveries(
            self._database, self._slots, mine, self._sending.guard, idle_seconds=IDLE_SECONDS
        )
        self._shelf = self._shelf_over(mine)
        # The sender knows the engine of a data folder by name; these give what it asks of that one.
        self._store, self._lost, self._ends_by = store, set(), None
        self._sender = Sender(
            cast(Log, RecordRows(self._database, self._slots)),
            cast(Deliveries, store),
            self._outlets,
            self._apps,
            self._settings,
            self._clock,
            orders=cast(Orders, OrderRows(self._database)),
            shelf=self._shelf,
            bells=self._bells,
            steady=self._steady,
            meters=self._meters,
            shared=Together(self._database, self._slots, mine, self._sending.senders),
            may_leave=lambda: self._sending.is_sure(self._steady()),
        )
        logger.info("%d of %d slots are sent here", len(mine), self._slots)
        return True

    def _shelf_over(self, mine: Collection[int]) -> SlotShelf | None:
        """Where the deliveries of these slots wait for apps, if any destination is a relay."""
        if not any(outlet.shelved for outlet in self._outlets.values()):
            return None
        return SlotShelf(
            self._database, self._slots, mine, self._sending.guard, idle_seconds=SHELF_IDLE_SECONDS
        )

    def _wind_down(self) -> None:
        """From now on nothing new is started."""
        if self._ends_by is None:
            self._ends_by = self._steady() + self._settings.drain.total_seconds()

    def _settled(self, longest_wait: float) -> bool:
        """Whether nothing is on its way any more, and all that came of it is kept."""
        return self._sender is None or self._sender.settle(longest_wait)

    def _has_ended(self) -> bool:
        """Whether answers were waited for long enough, and what came is kept."""
        assert self._sender is not None
        return self._ends_by is not None and self._steady() >= self._ends_by and not self._sender.book.changes

    def _drop(self) -> None:
        """Lets the sender go, with whatever it had in mind."""
        self._ends_by = None
        sender, self._sender = self._sender, None
        self._sending.doubt()
        if sender is not None:
            sender.close()


def send_slots(
    one: SlotSender,
    stopping: Event,
    *,
    away_seconds: float = AWAY_SECONDS,
    after_turn: Callable[[], object] = lambda: None,
) -> None:
    """Sends until it is told to stop, then leaves its slots to others.

    Where the database is away it comes again and again: nothing leaves meanwhile, and nothing is lost.
    """
    while not stopping.is_set():
        try:
            if not one.turn():
                stopping.wait(IDLE_SECONDS)
        except LogError as error:
            logger.warning("%s; nothing is lost, it is tried again", error)
            stopping.wait(away_seconds)
        after_turn()
    with suppress(LogError):
        one.end()
