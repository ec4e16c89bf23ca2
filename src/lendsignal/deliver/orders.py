"""Carries out what people ordered: stop, let go, cancel, send through again."""

import logging
from collections.abc import Sequence

from lendsignal.deliver.book import Book
from lendsignal.deliver.choose import is_forbidden
from lendsignal.errors import LogError
from lendsignal.log import (
    EVERY,
    Again,
    Cancel,
    Halt,
    LetGo,
    Open,
    Order,
    Orders,
    Pause,
    Stage,
    Stop,
)
from lendsignal.plan import Placed, record_of

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
"""How often orders are looked for."""

CHANGES = ("accepted", "dead", "skipped", "cancelled", "held")
"""Receipts after which a delivery is no more what it was when it was chosen."""


class Obedience:
    """The sender's place among the orders. An order and what follows from it are one commit."""

    def __init__(self, book: Book, orders: Orders) -> None:
        self._book = book
        self._orders = orders
        self._done = book.store.order()
        self._looked_at = -LOOK_SECONDS

    def turn(self) -> bool:
        """Carries out the next order, if there is one and everything before it is on disk."""
        now = self._book.steady()
        if now - self._looked_at < LOOK_SECONDS:
            return False
        found = self._orders.after(self._done)
        if not found:
            self._looked_at = now
            return False
        if not self._book.commit():
            return False
        self._book.listen()
        number, order = found[0]
        try:
            done, passed_over = self._carried_out(number, order)
        except LogError:  # half of it must not be kept: it is carried out anew
            self._book.forget()
            raise
        self._book.changes.order = self._done = number
        self._book.changes.obeyed = (number, done, passed_over)
        self._book.touched()
        return self._book.commit()

    def _carried_out(self, number: int, order: Order) -> tuple[int, int]:
        """Deliveries (or destinations) it reached, and those it came too late for.

        Of several senders each carries it out over the deliveries that are its own; what it says of
        destinations one of them does, and the others hear of it.
        """
        shared = self._book.shared
        match order:
            case Halt() | LetGo() if shared is not None and not shared.speaks(number):
                return 0, 0
            case Halt(destinations, reason):
                return sum(self._halt(self._book.name(name), reason) for name in destinations), 0
            case LetGo(destinations):
                return sum(self._let_go(self._book.name(name)) for name in destinations), 0
            case Cancel(deliveries=chosen):
                ours = [one for one in chosen if shared is None or shared.concerns(number, one)]
                return self._cancel(order, ours)
            case Again(deliveries=chosen):
                bound = [one for one in chosen if shared is None or shared.concerns(number, one[0])]
                return self._again(order, bound)

    def _halt(self, name: str, reason: str) -> int:
        book = self._book
        if name == EVERY:
            book.everything = Pause(book.clock.now_us(), Stop.PERSON, reason)
            book.changes.paused[EVERY] = book.everything
            logger.warning("everything is paused by order")
        elif name in book.lines:
            book.stop(name, Stop.PERSON, reason)
        else:
            return 0
        return 1

    def _let_go(self, name: str) -> int:
        book = self._book
        if name == EVERY:
            book.everything = None
            book.changes.paused[EVERY] = None
            return 1 + sum(self._let_go(one) for one, line in book.lines.items() if line.stopped)
        if name not in book.lines:
            return 0
        stopped = book.lines[name].stopped
        if stopped is not None and stopped.kind is Stop.BRAKE:
            book.agree(name)
        book.resume(name)
        return 1

    def _cancel(self, order: Cancel, deliveries: Sequence[int]) -> tuple[int, int]:
        book, done = self._book, 0
        for number in deliveries:
            one = book.find(book.name(order.destination), number)
            if one is not None:
                done += book.withdraw(one, "cancelled", "by_hand", 0)
        return done, len(deliveries) - done

    def _again(self, order: Again, deliveries: Sequence[tuple[int, int]]) -> tuple[int, int]:
        changed = {
            receipt.id
            for _, pack in self._book.store.all_receipts(order.pack)
            for receipt in pack
            if receipt.what in CHANGES
        }
        done, name = 0, self._book.name(order.destination)
        for number, bound in deliveries:
            one = self._book.find(name, number)
            if number in changed:
                continue
            if order.what == "held":
                if one is not None and one.stage is Stage.HELD:
                    self._wait(one)
                    done += 1
            elif one is None and self._may_be_sent(name, number):
                self._reopen(order, number, bound)
                done += 1
        return done, len(deliveries) - done

    def _may_be_sent(self, name: str, number: int) -> bool:
        """Whether the log holds what is to be sent, and its user does not forbid it by now."""
        record, place = record_of(number)
        planned = self._book.log.record(record)
        if not isinstance(planned, Placed) or place >= len(planned.entries):
            return False
        if self._book.name(planned.entries[place].destination) != name:
            return False
        return not is_forbidden(self._book.log, planned)

    def _reopen(self, order: Again, number: int, bound: int) -> None:
        book, name = self._book, self._book.name(order.destination)
        book.changes.add(name, order.conversion, order.what, order.reason, -1)
        book.changes.add(name, order.conversion, "replayed", f"{order.what} {order.reason}")
        if order.what == "dead":
            book.changes.revived.append(number)
        now_us = book.clock.now_us()
        self._wait(Open(name, number, Stage.WAITING, now_us, bound=bound, first_us=now_us))

    def _wait(self, one: Open) -> None:
        """Its turn comes at the pace for what is sent through again."""
        one.again, one.due_us, one.reason = True, self._book.clock.now_us(), "by_hand"
        self._book.receipt(one, "released", "by_hand", None)
        self._book.changes.reopen(one)
        line = self._book.lines.get(one.destination)
        if line is not None:
            self._book.park(line, one)
        else:
            one.stage = Stage.WAITING
