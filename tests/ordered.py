"""A desk with an operator: what a person orders, and the sender that obeys."""

import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from tests.acme import APPS
from tests.desk import Desk

from lendsignal.deliver.sender import Sender
from lendsignal.log import EVERY, Again, Cancel, Halt, LetGo, Order, Orders, open_orders

__all__ = ["EVERY", "Again", "Cancel", "Halt", "LetGo", "OrderedDesk"]


class OrderedDesk(Desk):
    """A desk whose sender obeys the file of orders."""

    orders: Orders | None = None

    def started(self) -> Sender:
        if self.orders is None:
            self.orders = open_orders(self.folder.orders)
        steady = getattr(self.clock, "steady", time.monotonic)
        return Sender(
            self.log,
            self.store,
            self.outlets,
            APPS,
            self.settings,
            self.clock,
            orders=self.orders,
            steady=steady,
        )

    def close(self) -> None:
        super().close()
        if self.orders is not None:
            self.orders.close()

    def give(self, *orders: Order) -> int:
        """Gives orders to a sender that need not run; the number of the last."""
        assert self.orders is not None
        return self.orders.give(orders, "operator", self.clock.now_us())[-1]

    def order(self, *orders: Order) -> tuple[int, int]:
        """Gives orders and turns until they are obeyed: what the last one reached and passed over."""
        number = self.give(*orders)
        self.until(lambda: self.obeyed(number) is not None)
        done = self.obeyed(number)
        assert done is not None
        return done

    def obeyed(self, number: int) -> tuple[int, int] | None:
        """What came of an order, as another process reads it."""
        with closing(self.stored()) as store:
            return store.obeyed(number)

    def again(self, what: str, reason: str, *deliveries: int, **changes: Any) -> Again:
        """The order to send deliveries through again that ended so, chosen now."""
        return Again(
            **{
                "destination": "acme-ng",
                "conversion": "disbursement",
                "what": what,
                "reason": reason,
                "deliveries": tuple((number, 0) for number in deliveries),
                "pack": self.store.last_pack(),
                **changes,
            }
        )

    def ended(self, what: str) -> Sequence[int]:
        """The deliveries with such a receipt, in the order of their ids."""
        return sorted({one.id for one in self.all_receipts() if one.what == what})
