"""A cluster's shelf as one thing, for tests that ask the same of a data folder's."""

from collections.abc import Collection
from typing import Protocol

from lendsignal.log import Changes, Giving, Pause, Placing, Stop
from lendsignal.log.postgres import Database
from lendsignal.log.postgres.deliveries import SlotDeliveries
from lendsignal.log.postgres.relay import DoorShelf, SlotShelf


class Shelf(Giving, Placing, Protocol):
    """Both sides of one shelf."""


class ClusterShelf:
    """Both sides of a cluster's shelf: one sender has every slot, and a door has a connection of its own."""

    def __init__(self, sender: Database, door: Database, slots: int) -> None:
        shelf, given = SlotShelf(sender, slots, range(slots)), DoorShelf(door)
        self._deliveries = SlotDeliveries(sender, slots, range(slots))
        self._paused: set[str] = set()
        self.fetch, self.acknowledge = given.fetch, given.acknowledge
        self.place, self.recall, self.withhold = shelf.place, shelf.recall, shelf.withhold
        self.fetched_us, self.among, self.clear = shelf.fetched_us, shelf.among, shelf.clear
        self.acknowledged, self.expired, self.rename = shelf.acknowledged, shelf.expired, shelf.rename

    def shut(self, destinations: Collection[str]) -> None:
        """As a sender pauses: doors look at that, and at nothing of the shelf's own."""
        changes = Changes()
        changes.paused.update(dict.fromkeys(self._paused))
        changes.paused.update({name: Pause(1, Stop.PERSON, "by_hand") for name in destinations})
        self._deliveries.commit(changes)
        self._paused = set(destinations)
