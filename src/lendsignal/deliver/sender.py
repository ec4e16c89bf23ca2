"""The sending loop: read the records, claim, encode, pace, sign, send, record; retry or pause.

One process sends for a data folder. What it must not forget is committed before it is acted on: a
delivery is claimed on disk before its request leaves, and its outcome is on disk before it is let go.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from hashlib import blake2b
from random import Random
from typing import Protocol

from msgspec import Struct

from lendsignal.clock import Clock, to_us
from lendsignal.deliver.body import Body, delivery_of, fitting, grouped
from lendsignal.deliver.book import ROWS_AT_ONCE, Book
from lendsignal.deliver.late import LateTransport
from lendsignal.deliver.line import MICROSECONDS, Line
from lendsignal.deliver.meters import DeliverMeters
from lendsignal.deliver.orders import Obedience
from lendsignal.deliver.outlet import Outlet
from lendsignal.deliver.reader import MOMENT_SECONDS, Reader
from lendsignal.deliver.relay import Carrier, Pickups
from lendsignal.deliver.settings import DeliverSettings
from lendsignal.deliver.tokens import HOST as TOKEN_HOST
from lendsignal.deliver.tokens import Tokens
from lendsignal.deliver.topic import Courier, Reports
from lendsignal.deliver.wire import (
    Done,
    MissingSecret,
    NoAnswer,
    Wire,
    kept,
    secrets_of,
    wire,
    without_secrets,
)
from lendsignal.destination.spec import Bearer, Item, Request, Response, Spec, by_status
from lendsignal.errors import Damaged, LogError, TransportError
from lendsignal.log import Deliveries, Log, Open, Orders, Placing, Stage, Stop
from lendsignal.log.shared import Shared
from lendsignal.model import (
    Accepted,
    App,
    Delivery,
    Outcome,
    Paused,
    Pending,
    Rejected,
    Retry,
    Skip,
    SkipReason,
    Split,
)

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 0.02
"""How long an outcome may wait for company before it is committed: mostly the next claims are."""

HELD_SECONDS = 30.0
"""How often held deliveries are looked through for those whose time with a person is over."""

BURIED_SECONDS = 3_600.0
"""How often dead deliveries are let go of that are kept no longer."""

LISTEN_SECONDS = 0.25
"""How often what other senders stopped or let go is looked for."""

CLOCK_SLACK_US = 5_000_000
"""By how much the clock may part from steady time between two turns before it counts as set."""

DOUBT_US = 300_000_000
"""How long after the clock was set forward no window is judged by it: it may be set back."""

LOOK_AGAIN_US = 1_000_000
"""How soon after what it corrects is due a correction is looked at again."""

LONGEST_LOOK_US = 300_000_000
"""The longest wait between two such looks."""

FORGOTTEN_US = 60 * 86_400_000_000
"""How long it is remembered what platforms were told: longer than any takes corrections."""

LONGEST_ASK_US = 3_600_000_000
"""The longest wait between two questions for a verdict."""


NO_AUTH = Bearer("", optional=True)
"""What asks for a token has none."""


class Network(Protocol):
    """What carries requests: `deliver.Transport`, or the simulation's."""

    def start(self, wire: Wire, token: object, timeout_seconds: float, *, private: bool = True) -> None: ...

    def wait(self, seconds: float) -> list[Done]: ...

    def close(self) -> None: ...

    def __len__(self) -> int: ...


class Flight(Struct):
    """A request on its way: its deliveries, and when it was made ready by the clock.

    `left` is set as it leaves, in steady seconds.
    `asks`: it asks for their verdict. `fetches`: it carries none and fetches the token they are sent with.
    """

    line: Line
    deliveries: list[Open]
    request: Request
    sent_us: int
    asks: bool = False
    fetches: bool = False
    left: float = 0.0


class Sender:
    """Sends what the records plan. `turn` does a round and is called for ever; `drain` ends well.

    Where several send from one store, each has what is its own in `log` and `deliveries`, and `shared` is
    what they have in common. `may_leave` is asked at the last moment before a request leaves.
    `clock` tells the time that windows and waits are in; `steady` counts seconds and is never set.
    """

    def __init__(
        self,
        log: Log,
        deliveries: Deliveries,
        outlets: Mapping[str, Outlet],
        apps: Mapping[str, App],
        settings: DeliverSettings,
        clock: Clock,
        *,
        orders: Orders | None = None,
        shelf: Placing | None = None,
        bells: Iterable[tuple[object, Callable[[], None]]] = (),
        network: Network | None = None,
        steady: Callable[[], float] = time.monotonic,
        chance: Random | None = None,
        meters: DeliverMeters | None = None,
        shared: Shared | None = None,
        may_leave: Callable[[], bool] | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._steady = steady
        reports = Reports() if any(outlet.is_topic for outlet in outlets.values()) else None
        if reports is not None:
            bells = [*bells, (reports, reports.quiet)]
        self._network: Network = LateTransport(bells, may_leave) if network is None else network
        if shelf is not None:
            self._network = Carrier(self._network, shelf, clock)
        if reports is not None:
            self._network = Courier(self._network, reports)
        _adopt(deliveries, shelf, outlets)
        self._meters = meters or DeliverMeters()
        self.book = Book(
            log, deliveries, outlets, apps, settings, clock, steady, chance or Random(), self._meters, shared
        )
        self._lines = self.book.lines
        self._secrets = {name: secrets_of(outlet.own) for name, outlet in outlets.items()}
        self._tokens = Tokens(outlets, self._secrets, steady)
        self._reader = Reader(self.book)
        self._orders = None if orders is None else Obedience(self.book, orders)
        self._pickups = None if shelf is None else Pickups(self.book, shelf)
        self._is_lost: Callable[[int], bool] = lambda delivery: False
        self._held_at = self._bury_at = self._listened_at = float("-inf")
        self._time = (clock.now_us(), steady())
        self._recover()

    @property
    def in_flight(self) -> int:
        """Requests on their way."""
        return len(self._network)

    def turn(self, longest_wait: float = 0.25) -> bool:
        """One round. Returns whether there was anything to do."""
        book = self.book
        self._watch_the_clock()
        self._listen()
        obeyed = self._orders is not None and self._orders.turn()
        read = 0 if book.trouble is not None else self._reader.turn()
        if self._pickups is not None:
            obeyed |= self._pickups.turn()
        self._let_held_go()
        started = self._start()
        changed_at = book.changed_at
        if changed_at is not None and self._steady() - changed_at >= FLUSH_SECONDS:
            book.commit()
        longest_wait = min(longest_wait, MOMENT_SECONDS) if self._reader.is_full else longest_wait
        wait = 0.0 if read or started or obeyed else self._wait_for(longest_wait)
        done = self._network.wait(wait)
        self._watch_the_clock()
        for one in done:
            self._ended(one)
        return bool(read or started or done or obeyed)

    def drain(self) -> None:
        """Starts nothing more, waits for answers within the limit, and commits what came."""
        if isinstance(self._network, Courier):
            self._network.recall()
        until = self._steady() + self._settings.drain.total_seconds()
        while len(self._network) and (left := until - self._steady()) > 0:
            self.settle(min(left, 0.1))
        self.book.commit()

    def settle(self, longest_wait: float) -> bool:
        """A round that starts nothing. Whether no answer is awaited any more, and all that came is kept."""
        if not len(self._network) and self.book.commit():
            return True
        for one in self._network.wait(longest_wait):
            self._ended(one)
        return self.book.commit() and not len(self._network)

    def disown(self, is_lost: Callable[[int], bool]) -> None:
        """These deliveries are another sender's by now: what they come to is not ours to write.

        Nothing that was not committed is kept, for it may rest on them.
        """
        self._is_lost = is_lost
        self.book.forget()

    def close(self) -> None:
        """Lets connections go; deliveries in flight are found as claimed when the sender starts again."""
        self._network.close()

    # starting requests

    def _start(self) -> int:
        book, now, now_us = self.book, self._steady(), self._clock.now_us()
        if book.everything is not None or (book.trouble is not None and not book.commit()):
            return 0
        flights: list[Flight] = []
        try:
            for flight in self._prepared(now, now_us):
                flights.append(flight)
        except LogError:  # what is claimed for them in memory never left
            for flight in flights:
                self._stays(flight)
            raise
        if not flights:
            return 0
        # Claimed on disk before anything leaves: after a crash we know what may have arrived.
        if not book.commit():
            for flight in flights:
                self._stays(flight)
            return 0
        for flight in flights:
            self._send(flight)
        return len(flights)

    def _prepared(self, now: float, now_us: int) -> Iterator[Flight]:
        """The requests that may leave now, claimed in memory one after the other."""
        for line in self._lines.values():
            if line.stopped is None or line.stopped.kind is Stop.PLATFORM:
                self.book.refill(line, now_us)
                line.pass_slow_heads(now_us)
                if self._tokens.missing(line.outlet.name):
                    yield from self._fetching(line, now, now_us)
                    continue
                yield from self._flights(line, now, now_us)
                yield from self._asking(line, now, now_us)

    def _flights(self, line: Line, now: float, now_us: int) -> Iterator[Flight]:
        spec = line.outlet.spec
        while line.may_start(now_us) and line.pace.ready_in(now) == 0:
            due = line.due(now_us, self._at_once(line, now), now)
            if not due:
                break
            ready = [pair for one in due if (pair := self._ready(line, one, now_us)) is not None]
            if line.outlet.common.first_run is not None:
                ready = self._beginning(line, ready)
            for group in self._requests(spec, ready):
                if not line.may_start(now_us) or not line.pace.take(now, line.could_send()):
                    for one, _ in group:
                        line.put(one)
                    continue
                flight = self._claimed(line, group, now_us)
                if flight is not None:
                    yield flight

    def _at_once(self, line: Line, now: float) -> int:
        """Deliveries to look at together: a batch; or, of those with requests of their own, as many as may
        leave now."""
        spec = line.outlet.spec
        if line.stopped:
            return 1
        if spec.batch == 1:
            free = line.outlet.common.concurrency - line.requests
            return max(1, min(free, line.pace.available(now)))
        return spec.batch

    def _requests(
        self, spec: Spec, ready: Sequence[tuple[Open, Item]]
    ) -> Iterable[Sequence[tuple[Open, Item]]]:
        """What goes together: alike where the platform wants it, and no larger than it takes."""
        if spec.batch == 1:
            yield from ([pair] for pair in ready)
            return
        for group in grouped(ready, spec.batch_by):
            yield from fitting(group, spec.max_bytes)

    def _ready(self, line: Line, one: Open, now_us: int) -> tuple[Open, Item] | None:
        """The delivery's item, where it is to be sent now.

        What the store does not tell at this moment is no fault of the delivery: it is looked at again.
        """
        try:
            return self._judged(line, one, now_us)
        except Damaged:
            raise
        except LogError as error:
            logger.warning("%s; delivery %d waits", error, one.id)
            one.due_us = now_us + LOOK_AGAIN_US
            line.put(one)
            return None

    def _judged(self, line: Line, one: Open, now_us: int) -> tuple[Open, Item] | None:
        """The delivery's item, where it is to be sent: its window open, its ids there, its lane free."""
        book, outlet = self.book, line.outlet
        body = book.body(one)
        closes_us = (
            outlet.corrects_until_us(body.occurred_us)
            if body.corrects
            else line.gives_up_us(one, body.occurred_at)
        )
        if closes_us is not None and now_us >= closes_us:
            if now_us < book.doubt_until_us and now_us - book.doubted_us < closes_us:
                one.due_us = book.doubt_until_us
                line.put(one)
            elif one.first_us:
                book.die(one, "window_closed", book.request_of(one))
            else:
                book.finish(one, "skipped", SkipReason.TOO_OLD.value)
            return None
        if body.corrects and not self._may_correct(line, one, body, now_us):
            return None
        try:
            if outlet.lane is not None:
                delivery = delivery_of(outlet, book.apps, body)
                if isinstance(delivery, Delivery) and not self._in_order(line, one, delivery, now_us):
                    return None
            item = book.item(line, one, body)
        except LogError:
            raise
        except Exception as error:
            self._unmade(one, error)
            return None
        if isinstance(item, Skip):
            book.finish(one, "skipped", item.reason.value)
            return None
        return one, item

    def _may_correct(self, line: Line, one: Open, body: Body, now_us: int) -> bool:
        """Whether a correction may go: all that told what it corrects has ended, and the platform has it.

        What never got there needs none.
        """
        book, name = self.book, line.outlet.name
        for number in body.corrects:
            earlier = book.find(name, number)
            if earlier is not None:
                looks_us = max(earlier.due_us, now_us) + LOOK_AGAIN_US
                book.delay(line, one, min(looks_us, now_us + LONGEST_LOOK_US))
                return False
        if any(book.is_told(name, number) for number in body.corrects):
            return True
        book.finish(one, "cancelled", "nothing_told")
        return False

    def _beginning(self, line: Line, ready: Sequence[tuple[Open, Item]]) -> list[tuple[Open, Item]]:
        """Those that may go before a person looked at a destination's first ones; without any it stops."""
        found = []
        for one, item in ready:
            if self.book.may_begin(line, one):
                found.append((one, item))
            else:
                line.put(one)
        if ready and not found:
            self.book.stop(line.outlet.name, Stop.BRAKE, "first_run")
        return found

    def _in_order(self, line: Line, one: Open, delivery: Delivery, now_us: int) -> bool:
        """Whether it is this delivery's turn in its lane, and at what moment it is sent as.

        The lane is frozen with the device, at the first claim. What comes after a later one of its lane
        was sent is sent as it is, a little after that one, or not at all.
        """
        book, outlet = self.book, line.outlet
        assert outlet.lane is not None
        if not one.first_us or not one.lane:
            lane = _lane_number(outlet.lane(delivery, outlet.own))
            if one.lane and one.lane != lane:
                line.free(one)
            one.lane = lane
        if not one.lane:
            return True
        occurred_us = to_us(delivery.occurred_at)
        if not line.lanes.lets(one.lane, one.id, occurred_us, now_us):
            return False
        line.lanes.goes(one.lane, one.id)
        last = book.last_of(outlet.name, one.lane)
        if last is not None and book.waits_for_another(line, one, last[1], now_us):
            return False
        rises_us = outlet.spec.rises // MICROSECONDS
        at_us = one.stamp_us or occurred_us
        if last is not None and last[1] != one.id and not _comes_after(at_us, last[0], rises_us):
            match outlet.out_of_order:
                case "skip":
                    book.finish(one, "skipped", SkipReason.OUT_OF_ORDER.value)
                    return False
                case "restamp":
                    one.stamp_us = last[0] + max(rises_us, 1)
                case _:
                    pass
        return True

    def _unmade(self, one: Open, error: Exception) -> None:
        """Our own fault in one delivery: it is dead, and stops nobody else."""
        logger.error(
            "delivery %d cannot be encoded for %s: %s", one.id, one.destination, type(error).__name__
        )
        self.book.die(one, "encode_failed")

    def _claimed(self, line: Line, group: Sequence[tuple[Open, Item]], now_us: int) -> Flight | None:
        try:
            request = line.outlet.module.request([item for _, item in group], line.outlet.own)
        except Exception as error:
            for one, _ in group:
                self._unmade(one, error)
            return None
        claimed: list[Open] = []
        for one, _ in group:
            one.stage = Stage.CLAIMED
            if not one.first_us:
                one.first_us = now_us
            line.flying.add(one.id)
            self.book.changes.keep(one)
            if one.lane:
                self._moves_lane_on(line, one)
            claimed.append(one)
        line.requests += 1
        return Flight(line, claimed, request, now_us)

    def _moves_lane_on(self, line: Line, one: Open) -> None:
        """What is claimed is the last that was sent in its lane, unless it goes behind a later one as it is.

        Only what is claimed: its stamp is on disk in the same commit, and what never left passes nobody.
        """
        book, name = self.book, line.outlet.name
        at_us = one.stamp_us or to_us(book.body(one).occurred_at)
        last = book.last_of(name, one.lane)
        rises_us = line.outlet.spec.rises // MICROSECONDS
        if last is None or last[1] == one.id or _comes_after(at_us, last[0], rises_us):
            book.sent_in_lane(one, at_us)

    def _stays(self, flight: Flight) -> None:
        """The disk did not take the claim, so nothing left."""
        line = flight.line
        line.requests -= 1
        if flight.fetches:
            self._tokens.took(line.outlet.name, None)
        if flight.asks:
            line.asking = False
            return
        for one in flight.deliveries:
            one.stage = Stage.WAITING
            if one.lane:
                self.book.stays_in_lane(one)
            if one.first_us == flight.sent_us:
                one.first_us = 0
            line.flying.discard(one.id)
            self.book.changes.keep(one)
            line.put(one)

    def _asking(self, line: Line, now: float, now_us: int) -> list[Flight]:
        """The question for a verdict that is due, one at a time; of a paused platform it is the probe."""
        ask = line.outlet.ask
        if ask is None or line.asking or line.pending_us is None or line.pending_us > now_us:
            return []
        if not line.may_start(now_us) or line.pace.ready_in(now) > 0 or not self.book.commit():
            return []
        pending = self.book.store.pending(line.outlet.name, now_us)
        if not pending:
            line.pending_us = self.book.store.first_due(line.outlet.name, Stage.PENDING)
            return []
        if not line.pace.take(now):
            return []
        handle = pending[0].reason.partition(" ")[2]
        try:
            request = ask(handle, line.outlet.own)
        except Exception as error:
            logger.error("%s cannot be asked for its verdict: %s", line.outlet.name, type(error).__name__)
            for one in pending:
                self.book.finish(one, "accepted", "no_verdict")
            return []
        line.asking = True
        line.requests += 1
        return [Flight(line, pending, request, now_us, asks=True)]

    def _fetching(self, line: Line, now: float, now_us: int) -> list[Flight]:
        """The question for the token that this destination sends with, when it has something to send."""
        name, due_us = line.outlet.name, line.next_due_us(now, now_us)
        if due_us is None or due_us > now_us or not line.may_start(now_us) or not self._tokens.may_ask(name):
            return []
        try:
            request = self._tokens.request(name, now_us)
        except MissingSecret as error:
            logger.error("%s: %s", name, error)
            self.book.stop(name, Stop.PLATFORM, "no_secret")
            self._probed(line)
            return []
        line.requests += 1
        return [Flight(line, [], request, now_us, fetches=True)]

    def _fetched(self, flight: Flight, result: Response | NoAnswer) -> None:
        """The token, or why there is none; without one nothing of this destination has left."""
        line, now_us = flight.line, self._clock.now_us()
        line.requests -= 1
        response = None if isinstance(result, NoAnswer) else result
        match self._tokens.took(line.outlet.name, response):
            case Paused(reason):
                self.book.stop(line.outlet.name, Stop.PLATFORM, reason)
                self._probed(line)
            case Retry(after=after):
                line.pace.slow_down(after, self._steady(), now_us)
            case _:
                pass

    def _send(self, flight: Flight) -> None:
        outlet = flight.line.outlet
        flight.left = self._steady()
        try:
            ready = wire(
                flight.request,
                NO_AUTH if flight.fetches else outlet.spec.auth,
                self._secrets[outlet.name],
                hosts=(TOKEN_HOST,) if flight.fetches else outlet.hosts,
                sandbox=self._settings.sandbox,
                now_us=flight.sent_us,
            )
            self._network.start(
                ready,
                flight,
                outlet.common.timeout.total_seconds(),
                private=self._settings.sandbox is not None or outlet.allows_private,
            )
        except MissingSecret as error:
            logger.error("%s: %s", outlet.name, error)
            self._not_sent(flight, "no_secret")
        except TransportError as error:
            logger.error("%s: %s", outlet.name, error)
            self._not_sent(flight, "host_not_declared")
        except Exception as error:
            logger.error("%s: its requests cannot be made: %s", outlet.name, type(error).__name__)
            self._not_sent(flight, "unusable_request")

    def _not_sent(self, flight: Flight, reason: str) -> None:
        """A mistake in the set-up: the destination waits for a person."""
        if flight.fetches:
            self._fetched(flight, NoAnswer(reason, left=False))
        else:
            self._settle(flight, [Paused(reason)] * len(flight.deliveries), None)

    # what came of them

    def _ended(self, done: Done) -> None:
        assert isinstance(done.token, Flight)
        flight, result = done.token, done.result
        if flight.fetches:
            self._fetched(flight, result)
            return
        line = flight.line
        status = None if isinstance(result, NoAnswer) else result.status
        self._meters.ended(line.outlet.name, status, self._steady() - flight.left)
        if isinstance(result, NoAnswer):
            self._unanswered(flight, result)
            return
        self._mind_the_allowance(line, result)
        read = line.outlet.verdict if flight.asks else line.outlet.module.classify
        if flight.asks and (read is None or not isinstance(by_status(result), Accepted)):
            refused = by_status(result)
            if isinstance(refused, Retry) and not refused.counts:
                line.pace.slow_down(refused.after, self._steady(), self._clock.now_us())
            outcomes: Sequence[Outcome] = [_not_told(result)] * len(flight.deliveries)
        else:
            assert read is not None
            outcomes = self._outcomes(flight, result, read)
        self._settle(flight, outcomes, without_secrets(result, self._secrets[line.outlet.name]))

    def _outcomes(
        self, flight: Flight, result: Response, read: Callable[[Response, int], Sequence[Outcome]]
    ) -> Sequence[Outcome]:
        count = len(flight.deliveries)
        try:
            outcomes = read(result, count)
            if len(outcomes) != count:
                raise ValueError(f"{len(outcomes)} outcomes for {count} items")
        except Exception as error:
            name = flight.line.outlet.name
            logger.error("an answer of %s cannot be read: %s", name, type(error).__name__)
            if flight.asks:
                return [Pending("")] * count
            return [Retry("unreadable_answer")] * count
        return outcomes

    def _mind_the_allowance(self, line: Line, result: Response) -> None:
        used = line.outlet.spec.used_percent
        percent = used(result) if used is not None else None
        if percent is not None:
            line.pace.used(percent, self._steady())

    def _unanswered(self, flight: Flight, ended: NoAnswer) -> None:
        """No answer: safe to try again where nothing left; otherwise as `on_unknown` says."""
        line, book, now_us = flight.line, self.book, self._clock.now_us()
        if ended.reason == "private_address":
            logger.error("%s: its host stands for a private address, which is refused", line.outlet.name)
            self._settle(flight, [Paused("private_address")] * len(flight.deliveries), None)
            return
        if flight.asks:
            self._settle(flight, [Pending("")] * len(flight.deliveries), None)
            return
        line.requests -= 1
        for one in flight.deliveries:
            if self._is_lost(one.id):
                continue
            line.flying.discard(one.id)
            if ended.left:
                book.unanswered(one, ended.reason, flight.sent_us)
            else:
                due_us = line.retry_at(one, None, now_us)
                book.again(one, ended.reason, due_us, None, flight.sent_us)
        self._probed(line)

    def _settle(self, flight: Flight, outcomes: Sequence[Outcome], response: Response | None) -> None:
        line = flight.line
        line.requests -= 1
        if flight.asks:
            line.asking = False
        if _lets_us_in(outcomes, response):
            line.pace.taken()
            if line.stopped is not None and line.stopped.kind is Stop.PLATFORM:
                self.book.resume(line.outlet.name, probed=True)
        for one, outcome in zip(flight.deliveries, outcomes, strict=True):
            if self._is_lost(one.id):
                continue
            line.flying.discard(one.id)
            if flight.asks:
                self._told(flight, one, outcome, response)
            else:
                self._came(flight, one, outcome, response)
        self._probed(line)
        self.book.touched()

    def _probed(self, line: Line) -> None:
        """A probe that did not get through, in whatever way, is followed by the next after a while."""
        if line.stopped is not None and line.stopped.kind is Stop.PLATFORM:
            line.stop(line.stopped, self._clock.now_us())

    def _came(self, flight: Flight, one: Open, outcome: Outcome, response: Response | None) -> None:
        """What an answer to the delivery itself means for it."""
        line, book, now_us, sent_us = flight.line, self.book, self._clock.now_us(), flight.sent_us
        name = line.outlet.name
        match outcome:
            case Accepted(confirmed, reason):
                word = reason or ("confirmed" if confirmed else "unconfirmed")
                book.finish(one, "accepted", word, response, sent_us)
                book.answered(name, refused=False)
            case Rejected(reason):
                book.die(one, reason, kept(flight.request), response, sent_us)
                book.answered(name, refused=True)
            case Split(reason) if len(flight.deliveries) > 1:
                half = (len(flight.deliveries) + 1) // 2
                book.again(one, reason, now_us, response, sent_us, batch=half, counts=False)
            case Split(reason):
                book.die(one, reason, kept(flight.request), response, sent_us)
                book.answered(name, refused=True)
            case Retry("unreadable_answer" as reason) if response is not None and response.status < 300:
                # It says yes and nothing else that can be read: the platform may have taken it.
                book.unanswered(one, reason, sent_us, response)
            case Retry(reason, after, counts):
                if not counts:
                    line.pace.slow_down(after, self._steady(), now_us)
                if self._is_out(line, one, reason):
                    book.die(one, reason, kept(flight.request), response, sent_us)
                else:
                    due = self._due_again(line, one, reason, after) if counts else line.pace.waits_until_us
                    book.again(one, reason, due, response, sent_us, counts=counts)
            case Paused(reason):
                self._tokens.forget(name)
                book.stop(name, Stop.PLATFORM, reason)
                book.again(one, reason, now_us, response, sent_us, counts=False)
            case Pending(handle) if line.outlet.ask is None and not line.outlet.shelved:
                book.finish(one, "accepted", f"pending {handle}"[:64], response, sent_us)
            case Pending(handle):
                book.pend(one, handle, response, sent_us)

    def _told(self, flight: Flight, one: Open, outcome: Outcome, response: Response | None) -> None:
        """What the platform's later word means for the delivery."""
        line, book, now_us, sent_us = flight.line, self.book, self._clock.now_us(), flight.sent_us
        spec = line.outlet.spec
        match outcome:
            case Accepted(confirmed, reason):
                word = reason or ("confirmed" if confirmed else "unconfirmed")
                book.finish(one, "accepted", word, response, sent_us)
                book.answered(line.outlet.name, refused=False)
            case Rejected(reason) | Split(reason):
                book.die(one, reason, book.request_of(one), response, sent_us)
                book.answered(line.outlet.name, refused=True)
            case Retry(reason, after, counts):
                book.again(one, reason, line.retry_at(one, after, now_us), response, sent_us, counts=counts)
            case Paused(reason):
                book.stop(line.outlet.name, Stop.PLATFORM, reason)
                one.due_us = now_us + spec.verdict_after // MICROSECONDS
                book.changes.keep(one)
            case Pending():
                if now_us - one.first_us > spec.verdict_within // MICROSECONDS:
                    book.finish(one, "accepted", "no_verdict", response, sent_us)
                    return
                waited = max(now_us - one.first_us, spec.verdict_after // MICROSECONDS)
                one.due_us = now_us + min(waited, LONGEST_ASK_US)
                book.changes.keep(one)

    def _is_out(self, line: Line, one: Open, reason: str) -> bool:
        """Whether the platform's own limit for this answer, so often in a row, is reached."""
        limit = line.outlet.spec.tries_on.get(reason)
        return limit is not None and _times(one, reason) >= limit

    def _due_again(self, line: Line, one: Open, reason: str, after: timedelta | None) -> int:
        """When it is tried again. The last try that a platform's limit leaves takes the longest wait where
        the window lasts that long: by then an outage that answers alike is over."""
        now_us = self._clock.now_us()
        due_us = line.retry_at(one, after, now_us)
        if after is not None or line.outlet.spec.tries_on.get(reason) != _times(one, reason) + 1:
            return due_us
        last_us = max(due_us, now_us + self._settings.longest_retry // MICROSECONDS)
        closes_us = line.gives_up_us(one, self.book.body(one).occurred_at)
        return last_us if closes_us is None or last_us < closes_us else due_us

    # time

    def _wait_for(self, longest: float) -> float:
        """How long nothing can be due, in seconds."""
        now, now_us = self._steady(), self._clock.now_us()
        wait = min(longest, FLUSH_SECONDS) if self.book.changed_at is not None else longest
        if self.book.everything is not None or self.book.trouble is not None:
            return wait
        for line in self._lines.values():
            due = line.next_due_us(now, now_us)
            if due is None:
                continue
            if line.stopped is not None:
                if line.stopped.kind is not Stop.PLATFORM:
                    continue
                due = max(due, line.probe_us)
            due = max(due, line.pace.waits_until_us)
            seconds = max((due - now_us) / 1_000_000, line.pace.ready_in(now))
            if seconds > 0 or line.may_start(now_us):
                wait = min(wait, max(seconds, 0.0))
        return wait

    def _listen(self) -> None:
        """What other senders stopped or let go."""
        now = self._steady()
        if self.book.shared is not None and now - self._listened_at >= LISTEN_SECONDS:
            self._listened_at = now
            self.book.listen()

    def _watch_the_clock(self) -> None:
        """A clock that was set, either way, shortens no wait and closes no window at once."""
        now_us, now = self._clock.now_us(), self._steady()
        then_us, then = self._time
        self._time = (now_us, now)
        by_us = now_us - then_us - int((now - then) * 1_000_000)
        if abs(by_us) > CLOCK_SLACK_US and not self._clock.replay:
            self.book.shift(by_us, DOUBT_US)

    # starting again

    def _recover(self) -> None:
        """After a stop of any kind: what was claimed may have arrived; what waited still waits."""
        book = self.book
        if self._pickups is not None:
            self._pickups.recover()
        for name in book.store.destinations():
            line = self._lines.get(name)
            if line is None:
                if book.store.waiting().get(name):
                    logger.error("destination %s has deliveries and is not configured: they wait", name)
                continue
            for one in self._all(name, Stage.CLAIMED):
                self._ambiguous(line, one)
            book.commit()
            for one in book.store.tried_in_lanes(name):
                line.lanes.waits(one.lane, one.id, one.first_us)
            line.more_in_store = True
            line.parked_us = book.store.first_due(name, Stage.PARKED)
            line.pending_us = book.store.first_due(name, Stage.PENDING)
        for name, pause in book.store.paused().items():
            if name in self._lines:
                self._lines[name].stop(pause, self._clock.now_us())
                self._lines[name].probe_us = 0
        book.commit()

    def _ambiguous(self, line: Line, one: Open) -> None:
        book = self.book
        if book.may_repeat(line, one):
            book.again(one, "stopped", self._clock.now_us(), counts=False, unknown=1)
        else:
            book.hold(line, one, "stopped")

    def _let_held_go(self) -> None:
        """Held deliveries that no person released in the time that `hold` gives are dead."""
        now = self._steady()
        if now < self._held_at:
            return
        self._held_at = now + HELD_SECONDS
        now_us = self._clock.now_us()
        if self.book.corrects:
            self.book.changes.forget_us = now_us - FORGOTTEN_US
        if self._settings.dead_for is not None and now >= self._bury_at:
            self._bury_at = now + BURIED_SECONDS
            self.book.changes.bury_us = now_us - self._settings.dead_for // timedelta(microseconds=1)
            self.book.touched()
        for name, line in self._lines.items():
            if line.outlet.held_for is not None and self.book.commit():
                for one in self.book.store.due_of(name, Stage.HELD, (0, 0), now_us, ROWS_AT_ONCE):
                    self.book.die(one, "unknown", self.book.request_of(one))

    def _all(self, name: str, stage: Stage) -> Iterable[Open]:
        after = 0
        while found := self.book.store.open(name, after, ROWS_AT_ONCE, stage):
            yield from found
            after = found[-1].id


def _adopt(store: Deliveries, shelf: Placing | None, outlets: Mapping[str, Outlet]) -> None:
    """What waits under a destination's former names is its own."""
    known = store.destinations()
    for outlet in outlets.values():
        for old in outlet.common.formerly:
            if old not in outlets and shelf is not None:
                shelf.rename(old, outlet.name)
            if old in known and old not in outlets:
                logger.warning("what waits for %s is sent by %s from now on", old, outlet.name)
                store.rename(old, outlet.name)


def _lane_number(lane: str | None) -> int:
    """A lane's name as the store keeps it; 0: none."""
    if lane is None:
        return 0
    return int.from_bytes(blake2b(lane.encode(), digest_size=8).digest(), "big") >> 1 or 1


def _times(one: Open, reason: str) -> int:
    """How often in a row it was answered so, this time included."""
    return one.strikes + 1 if one.reason == reason else 1


def _comes_after(at_us: int, last_us: int, rises_us: int) -> bool:
    """Whether a moment lies far enough behind the last of the lane, in the platform's own steps."""
    if rises_us:
        return at_us // rises_us > last_us // rises_us
    return at_us >= last_us


def _lets_us_in(outcomes: Sequence[Outcome], response: Response | None) -> bool:
    """Whether one of them shows that the platform takes deliveries: accepted, or taken in for later."""
    for outcome in outcomes:
        match outcome:
            case Accepted():
                return True
            case Pending() if response is not None and isinstance(by_status(response), Accepted):
                return True
            case _:
                pass
    return False


def _not_told(result: Response) -> Outcome:
    """A question for a verdict that was refused: bad credentials stop the destination, else ask again."""
    outcome = by_status(result)
    return outcome if isinstance(outcome, Paused) else Pending("")
