"""One way for what people order, wherever an install keeps its deliveries: in a data folder, or in the store
that the nodes of a cluster share.

The command line and the console steer alike, and ask nobody which of the two it is.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from lendsignal.clock import Clock
from lendsignal.deliver.choose import Past, Sent
from lendsignal.deliver.giving import Came, Stores, give, orders_of, standing
from lendsignal.deliver.standing import Standing, Stopped, stopped
from lendsignal.errors import NotYet
from lendsignal.log import DataFolder, Order, open_deliveries
from lendsignal.log.store import StoreSettings


class Looked(Protocol):
    """What deliveries are chosen from: what was planned, and what came of it."""

    @property
    def log(self) -> Past: ...

    @property
    def deliveries(self) -> Sent: ...


class Steering(Protocol):
    """Gives orders to whoever sends, and says how sending stands. Raises `LogError` where the store or the
    folder does not answer."""

    def give(self, orders: Sequence[Order], clock: Clock, by: str) -> Came:
        """Makes orders durable, and waits a while for what came of them; `by` is who gives them."""

    def standing(self, configured: Iterable[str]) -> list[Standing]:
        """How each destination stands."""

    def stopped(self) -> dict[str, Stopped]:
        """What is stopped now, and by whom."""

    def looked(self) -> AbstractContextManager[Looked]:
        """What deliveries are chosen from, by the numbers that orders name, while the block runs.

        Raises `NotYet` where nothing was sent yet.
        """


class FolderSteering:
    """Steers the sender of a data folder."""

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder

    def give(self, orders: Sequence[Order], clock: Clock, by: str) -> Came:
        """See `giving.give`."""
        return give(self._folder, orders, clock, by)

    def standing(self, configured: Iterable[str]) -> list[Standing]:
        """See `giving.standing`."""
        return standing(self._folder, configured)

    def stopped(self) -> dict[str, Stopped]:
        """What is stopped now; nothing where no sender has run yet."""
        try:
            store = open_deliveries(self._folder.deliveries, read_only=True)
        except NotYet:
            return {}
        orders = orders_of(self._folder)
        try:
            return {name: stopped(name, pause, orders) for name, pause in store.paused().items()}
        finally:
            store.close()
            if orders is not None:
                orders.close()

    def looked(self) -> Stores:
        """The log and the deliveries of the folder."""
        return Stores(self._folder)


def steering_of(folder: DataFolder, store: StoreSettings | None) -> Steering:
    """The way to whoever sends for an install: `store` is its configuration's."""
    return FolderSteering(folder) if store is None else steering_of_store(store)


def steering_of_store(store: StoreSettings) -> Steering:
    """The way to the senders of a cluster."""
    from lendsignal.deliver.steering_store import StoreSteering  # with the store's client

    return StoreSteering(store)
