"""Keeps the log bounded: what is older than `log.keep_for`, and needed by nobody, goes.

It turns in the thread that decides, between two batches, a few milliseconds at a time: so nobody else writes
to the log for its sake, and no event waits for long. Whoever still needs something holds the cut back.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import timedelta

import apsw

from lendsignal.archive import Book
from lendsignal.clock import MICROSECOND, Clock, from_us, to_us
from lendsignal.config import Config
from lendsignal.errors import DataError, LogError, NotYet
from lendsignal.log import DataFolder, Log, open_audiences, open_deliveries, open_orders
from lendsignal.log.keeping import Cut, Holder, cut_of, cutting, span_of
from lendsignal.metrics import Meters
from lendsignal.plan import delivery_id, event_of, record_id, record_of

logger = logging.getLogger(__name__)

REST_SECONDS = 0.05
"""Between two pieces at least, and as often so long as a piece took: the rest of the time is for events."""

RESTS = 10

SWEEP_SECONDS = 6 * 3_600.0
"""How often installations and contacts that nobody speaks of are looked for, after events went."""

PACKS_AT_ONCE = 20
"""Packs of receipts that are looked at in one transaction of the sender's file."""

LAST = 2**62
"""Behind every pack."""

FAR = 200
"""Pieces that are looked at to tell a person how the log stands."""


def windows_of(config: Config, now_us: int) -> dict[str, timedelta]:
    """How far back each destination, and own cuts of the tiers, may look into the log."""
    now = from_us(now_us)
    found = {
        f"destination {name}": ends - now
        for name, outlet in config.outlets.items()
        if (ends := outlet.too_old_from(now)) is not None
    }
    if config.policy.derive.tiers.rolling:
        found["tiers"] = config.tiers.window
    return found


def holders(config: Config, folder: DataFolder, log: Log) -> Iterator[Holder]:
    """Who needs events, and from where on."""
    yield from _sending(folder, log)
    if config.archive.keep:
        yield Holder("archive", _archived(folder))
    if config.lists:
        yield Holder("audiences", _told(folder))
    oldest = log.erasing.oldest()
    if oldest is not None:
        yield Holder("erase", oldest - 1)


def _sending(folder: DataFolder, log: Log) -> Iterator[Holder]:
    """The sender's place in the stream, open deliveries, and orders that are on their way to the sender."""
    last = log.last_record()
    try:
        store = open_deliveries(folder.deliveries, read_only=True)
    except NotYet:
        if last:
            yield Holder("send", 0)
        return
    with closing(store):
        position = store.position()
        if position < last:
            yield Holder("send", max(0, event_of(position)[0] - 1))
        for name, number in store.first_open().items():
            yield Holder(f"destination {name}", event_of(record_of(number)[0])[0] - 1)
        if folder.orders.exists():
            with closing(open_orders(folder.orders, read_only=True)) as orders:
                if orders.last() > store.order():
                    yield Holder("orders", log.cutting.first() - 1)


def _archived(folder: DataFolder, stream: str = "log") -> int:
    try:
        book = Book(folder.archive, read_only=True)
    except NotYet:
        return 0
    with closing(book):
        return book.reach(stream)


def _told(folder: DataFolder) -> int:
    try:
        book = open_audiences(folder.audiences, read_only=True)
    except NotYet:
        return 0
    with closing(book):
        return book.position("told")


class LogKeeper:
    """Does what is due, a piece at a time. `turn` is called by the thread that decides, and takes little."""

    def __init__(
        self,
        config: Config,
        folder: DataFolder,
        log: Log,
        clock: Clock,
        meters: "KeepMeters | None" = None,
        steady: Callable[[], float] = time.monotonic,
        sweep_seconds: float = SWEEP_SECONDS,
    ) -> None:
        self._config = config
        self._folder = folder
        self._log = log
        self._clock = clock
        self._meters = meters
        self._steady = steady
        self._look_seconds = config.log.every.total_seconds()
        self._sweep_seconds = sweep_seconds
        self._next = self._look_at = 0.0
        self._sweep_at = 0.0
        self._aged = 0
        self._may_go = self._announced = 0
        self._has_gone = False
        self._work: Iterator[None] | None = None
        self._begins = self._pack = 0
        self._packs_at = 0.0

    def turn(self) -> bool:
        """Does a piece, where one is due; whether it did. What goes wrong is said, and tried again later."""
        now = self._steady()
        if now < self._next:
            return False
        try:
            done = self._piece(now)
        except (LogError, DataError, apsw.Error) as error:
            logger.warning("nothing goes out of the log: %s", error)
            self._work, self._look_at, done = None, now + self._look_seconds, False
            self._log.cutting.end_marking()
        after = self._steady()
        self._next = after + max(REST_SECONDS, RESTS * (after - now))
        return done

    def _piece(self, now: float) -> bool:
        if self._work is None:
            if now < self._look_at:
                return False
            self._work = self._round()
        if next(self._work, _OVER) is _OVER:
            self._work, self._look_at = None, self._steady() + self._look_seconds
        return True

    def _round(self) -> Iterator[None]:
        """From one look to the next, a piece after the other."""
        yield from self._looked()
        yield from self._taken()
        yield from self._forgotten()
        if self._has_gone and self._steady() >= self._sweep_at:
            yield from self._swept()

    def _looked(self) -> Iterator[None]:
        """Finds what is old enough, and announces what may go of it."""
        side, now_us = self._log.cutting, self._clock.now_us()
        waiting = self._log.read(self._log.position(), 1)
        if waiting:  # what it may move is kept until it is decided
            now_us = min(now_us, to_us(waiting[0].event.received_at))
        span, _ = span_of(self._config.log.keep_for, windows_of(self._config, now_us))
        before_us = now_us - span // MICROSECOND
        self._aged, more = max(self._aged, side.cut()), True
        while more:
            self._aged, more = side.aged(self._aged, before_us)
            yield
        before = side.cut()
        found = self._cut(before)
        if found.position > before:
            side.announce(found.position)
        self._may_go, self._announced = self._announced, found.position

    def _taken(self) -> Iterator[None]:
        """Lets go what was announced at the look before this one, as far as nobody came to need it since."""
        upto = min(self._may_go, self._cut(0).position)
        while True:
            # A person may have what is dead sent again at any moment.
            needed = min([upto, *(one.position for one in _sending(self._folder, self._log))])
            with cutting(self._folder.log) as free:
                taken = self._log.cutting.take(needed) if free else 0  # not while a copy is made
            if not taken:
                return
            self._has_gone = True
            if self._meters is not None:
                self._meters.took(taken)
            yield

    def _forgotten(self) -> Iterator[None]:
        """Lets go what came of deliveries whose events have gone, once the archive has it."""
        first = self._log.cutting.first()
        anew = self._steady() >= self._packs_at
        if first <= 1 or (first == self._begins and not anew) or not self._folder.deliveries.exists():
            return
        if anew:  # of what was dead somebody may have let go
            self._pack, self._packs_at = 0, self._steady() + self._sweep_seconds
        upto = _archived(self._folder, "outcomes") if self._config.archive.keep else LAST
        before = delivery_id(record_id(first, 0), 0)
        with closing(open_deliveries(self._folder.deliveries)) as store:
            young = False
            while not young:
                with cutting(self._folder.log) as free:
                    if not free:
                        return
                    after, _, young = store.forget(self._pack, upto, before, PACKS_AT_ONCE)
                if not young:
                    self._pack = after
                yield
        self._begins = first

    def _cut(self, before: int) -> Cut:
        needed = list(holders(self._config, self._folder, self._log))
        return cut_of(before, self._aged, min(self._log.position(), self._log.end()), needed)

    def _swept(self) -> Iterator[None]:
        """Lets installations and contacts go that nobody speaks of any more."""
        side = self._log.cutting
        side.begin_marking()
        while side.mark():
            yield
        # Whoever read what spoke of them a moment ago is done by then.
        until = self._steady() + self._look_seconds
        while self._steady() < until:
            yield
        more = True
        while more:
            _, more = side.sweep()
            yield
        self._has_gone, self._sweep_at = False, self._steady() + self._sweep_seconds


_OVER = object()


class KeepMeters(Meters):
    """How far back the log goes and what room it takes. `log` is a reader's own."""

    def __init__(self, log: Log, clock: Clock) -> None:
        super().__init__()
        self._log = log
        self._clock = clock
        self._oldest = self.gauge(
            "lendsignal_log_oldest_seconds",
            "How long ago the log's oldest event came in; 0 without any.",
        )
        self._bytes = self.gauge(
            "lendsignal_log_bytes", "Room that log.sqlite takes, by what it is used for.", "use"
        )
        self._gone = self.counter(
            "lendsignal_log_events_gone_total",
            "Events that went out of the log for their age.",
        )

    def took(self, events: int) -> None:
        """So many went."""
        self._gone.add(n=events)

    def sample(self) -> None:
        since = self._log.cutting.since()
        age_us = 0 if since is None else self._clock.now_us() - to_us(since)
        self._oldest.set(max(0, age_us) / 1e6)
        whole, free = self._log.cutting.bytes()
        self._bytes.stand({("data",): float(whole - free), ("free",): float(free)})


def kept_since(config: Config, folder: DataFolder, log: Log, now_us: int) -> tuple[timedelta, str, Cut]:
    """For how long events are kept, for whose sake, and where the log could be cut now with who holds it."""
    span, whose = span_of(config.log.keep_for, windows_of(config, now_us))
    before_us = now_us - span // MICROSECOND
    aged = log.cutting.cut()
    for _ in range(FAR):
        aged, more = log.cutting.aged(aged, before_us)
        if not more:
            break
    found = cut_of(log.cutting.cut(), aged, log.position(), list(holders(config, folder, log)))
    return span, whose, found


_WORDS: Mapping[str, str] = {
    "send": "the sender has not read what was decided of it: see that `send` runs",
    "archive": "the archive does not have it yet: `lendsignal archive status`",
    "audiences": "lists have not read it yet: see that `audience` runs",
    "erase": "an erasure goes on: `lendsignal erase status`",
    "orders": "an order is not carried out yet: see that `send` runs",
}


def held_by(one: Holder) -> str:
    """Who holds the cut back, in words, with what to do."""
    return _WORDS.get(one.name, f"{one.name} has deliveries that are still open: `lendsignal status`")
