"""The client relay from the sender's side: deliveries go on the shelf, and the app's word ends them."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Protocol, cast

import msgspec
from msgspec import Struct

from lendsignal.clock import Clock
from lendsignal.deliver.book import NEVER_US, ROWS_AT_ONCE, Book, withdrawal
from lendsignal.deliver.line import Line
from lendsignal.deliver.wire import Done, NoAnswer, Wire
from lendsignal.destination.spec import SHELF, Response
from lendsignal.errors import Damaged, LogError, Overtaken
from lendsignal.log import Offer, Open, Placing, Stage

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.05
"""How often acknowledgements are looked for."""

AGAIN_SECONDS = 5.0
"""How soon a shelf that could not be written is tried again."""

TIDY_SECONDS = 600.0
"""How often offers are looked for that a kill left behind when their deliveries had ended."""

LEFT_US = 3_600_000_000
"""How long after its window such an offer goes: by then its delivery has ended, where anybody ends it."""


SAID = Response(status=200)
"""The app's word, as a receipt keeps it: given out when it was fetched, and answered with a yes."""


class Parcel(Protocol):
    """What the sender knows of a request on its way: its line, and its deliveries in the body's order."""

    @property
    def line(self) -> Line: ...

    @property
    def deliveries(self) -> Sequence[Open]: ...


class Inner(Protocol):
    """The network behind: what leaves the house goes there."""

    def start(self, wire: Wire, token: object, timeout_seconds: float, *, private: bool = True) -> None: ...

    def wait(self, seconds: float) -> list[Done]: ...

    def close(self) -> None: ...

    def __len__(self) -> int: ...


class _Event(Struct, frozen=True):
    id: str
    occurred_at: datetime


class _Placed(Struct, frozen=True):
    address: str
    event: msgspec.Raw


class _Body(Struct, frozen=True):
    offers: list[_Placed]


_body = msgspec.json.Decoder(_Body).decode
_event = msgspec.json.Decoder(_Event).decode


class Carrier:
    """A network that puts on the shelf what stays in the house and hands on the rest.

    What was started since the last wait is placed by the next one in a single commit.
    """

    def __init__(self, inner: Inner, shelf: Placing, clock: Clock) -> None:
        self._inner = inner
        self._shelf = shelf
        self._clock = clock
        self._started: list[tuple[Parcel, list[Offer]]] = []

    def start(self, wire: Wire, token: object, timeout_seconds: float, *, private: bool = True) -> None:
        """Takes a request; for the shelf, `token` is the sender's flight."""
        if wire.url != SHELF:
            self._inner.start(wire, token, timeout_seconds, private=private)
            return
        parcel = cast(Parcel, token)
        self._started.append((parcel, list(_offers(parcel, wire.body))))

    def wait(self, seconds: float) -> list[Done]:
        """What ended; an offer ends as soon as it stands on the shelf."""
        placed = self._placed()
        return placed + self._inner.wait(0.0 if placed else seconds)

    def close(self) -> None:
        """What was not placed yet is found as claimed when the sender starts again."""
        self._started.clear()
        self._inner.close()

    def __len__(self) -> int:
        return len(self._started) + len(self._inner)

    def _placed(self) -> list[Done]:
        if not self._started:
            return []
        started, self._started = self._started, []
        result: Response | NoAnswer = Response(status=200)
        try:
            self._shelf.place([offer for _, offers in started for offer in offers], self._clock.now_us())
        except (Damaged, Overtaken):  # no wait makes that good again
            raise
        except LogError as error:
            logger.error("%s; the app's deliveries wait, nothing is lost", error)
            result = NoAnswer("not_placed", left=False)
        return [Done(parcel, result) for parcel, _ in started]


def _offers(parcel: Parcel, body: bytes) -> Iterator[Offer]:
    for one, placed in zip(parcel.deliveries, _body(body).offers, strict=True):
        event = _event(placed.event)
        ends_us = parcel.line.gives_up_us(one, event.occurred_at)
        yield Offer(
            destination=one.destination,
            delivery=one.id,
            address=placed.address,
            conversion=event.id,
            item=bytes(placed.event),
            expires_us=NEVER_US if ends_us is None else ends_us,
        )


class Pickups:
    """The sender's place at the shelf: it ends what apps acknowledged and what nobody came for in time.

    A delivery's end is on disk before its offer is cleared away, so what a crash leaves is found again.
    """

    def __init__(self, book: Book, shelf: Placing) -> None:
        self._book = book
        self._shelf = shelf
        self._lines = [line for line in book.lines.values() if line.outlet.shelved]
        self._looked_at = self._tidied_at = float("-inf")
        self._shut: set[str] | None = None
        book.shelf = shelf

    def recover(self) -> None:
        """After a stop of any kind the shelf says where each delivery stands, so that none is in doubt:
        what is there waits for its app, what is not is placed again."""
        book = self._book
        for line in self._lines:
            for stage in (Stage.CLAIMED, Stage.PENDING):
                for found in self._pages(line, stage):
                    here = self._shelf.among(line.outlet.name, [one.id for one in found])
                    for one in found:
                        if one.id not in here:
                            one.stage, one.reason, one.first_us = Stage.WAITING, "", 0
                            one.due_us = book.clock.now_us()
                            book.changes.keep(one)
                        elif one.stage is Stage.CLAIMED:
                            book.pend(one, "relay", None, one.first_us)
            book.commit()

    def turn(self) -> bool:
        """A look at the shelf; returns whether there was anything to do."""
        now = self._book.steady()
        if now - self._looked_at < LOOK_SECONDS or self._book.trouble is not None:
            return False
        self._looked_at = now
        try:
            self._keep_shut()
            done = self._acknowledged() + sum(self._over(line) for line in self._lines)
            self._tidy(now)
        except (Damaged, Overtaken):
            raise
        except LogError as error:
            logger.error("%s; the app's deliveries wait, nothing is lost", error)
            self._looked_at = now + AGAIN_SECONDS
            return False
        if done:
            self._looked_at = float("-inf")
        return done > 0

    def _keep_shut(self) -> None:
        """What is stopped gives nothing out either."""
        book = self._book
        stopped = {
            line.outlet.name
            for line in self._lines
            if book.everything is not None or line.stopped is not None
        }
        if stopped != self._shut:
            self._shelf.shut(stopped)
            self._shut = stopped

    def _acknowledged(self) -> int:
        book, found = self._book, self._shelf.acknowledged(ROWS_AT_ONCE)
        for said in found:
            one = book.find(said.destination, said.delivery)
            if one is not None:
                # Whatever was said of it meanwhile: the app has logged it.
                book.finish(one, "accepted", "acknowledged", SAID, said.fetched_us)
                if said.destination in book.lines:
                    book.answered(said.destination, refused=False)
        self._clear((said.destination, said.delivery) for said in found)
        return len(found)

    def _over(self, line: Line) -> int:
        """What waited until its window closed."""
        book, name, now_us = self._book, line.outlet.name, self._book.clock.now_us()
        if line.pending_us is None or line.pending_us > now_us or not book.commit():
            return 0
        found = book.store.due_of(name, Stage.PENDING, (0, 0), now_us, ROWS_AT_ONCE)
        for one in found:
            withdrawn = withdrawal(one)
            fetched_us = self._shelf.fetched_us(name, one.id)
            if withdrawn is not None:
                book.finish(one, *withdrawn, None, fetched_us)
            elif fetched_us:
                book.die(one, "not_acknowledged", book.request_of(one), None, fetched_us)
            else:
                book.die(one, "not_fetched", book.request_of(one))
        if self._clear((name, one.id) for one in found):
            line.pending_us = book.store.first_due(name, Stage.PENDING)
        return len(found)

    def _tidy(self, now: float) -> None:
        """Takes off the shelf what a kill left there between a delivery's end and its offer's."""
        if now - self._tidied_at < TIDY_SECONDS:
            return
        self._tidied_at = now
        book = self._book
        found = self._shelf.expired(book.clock.now_us() - LEFT_US, ROWS_AT_ONCE)
        self._clear(one for one in found if book.find(*one) is None)

    def _clear(self, offers: Iterable[tuple[str, int]]) -> bool:
        """Takes ended deliveries off the shelf once their end is on disk."""
        ended = list(offers)
        if ended and not self._book.commit():
            return False
        if ended:
            self._shelf.clear(ended)
        return True

    def _pages(self, line: Line, stage: Stage) -> Iterator[list[Open]]:
        after = 0
        while found := self._book.store.open(line.outlet.name, after, ROWS_AT_ONCE, stage):
            after = found[-1].id
            yield found
