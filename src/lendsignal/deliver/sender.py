"""The sending loop: read the records, claim, encode, pace, sign, send, record; retry or pause.

One process sends for a data folder. What it must not forget is committed before it is acted on: a
delivery is claimed on disk before its request leaves, and its outcome is on disk before it is let go.
"""

import logging
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby

import msgspec
from msgspec import Struct

from lendsignal.clock import MICROSECOND, Clock
from lendsignal.deliver.line import Line, Outlet, outlets_by_name
from lendsignal.deliver.settings import DeliverSettings, Unknown
from lendsignal.deliver.transport import Done, NoAnswer, Transport
from lendsignal.deliver.wire import MissingSecret, kept, secrets_of, wire, without_secrets
from lendsignal.destination.spec import Hold, Item, Request, Response, Retries
from lendsignal.errors import TransportError
from lendsignal.log import Changes, Dead, Deliveries, Log, Open, Receipt, Stage
from lendsignal.model import (
    Accepted,
    App,
    Consent,
    Contact,
    Delivery,
    Outcome,
    Paused,
    Pending,
    Rejected,
    Retry,
    Skip,
    SkipReason,
    Split,
    id_of,
)
from lendsignal.plan import Entry, Planned, Rebound, Record, Withdrawn, delivery_id, record_of
from lendsignal.resolve import Binding

logger = logging.getLogger(__name__)

RECORDS_AT_ONCE = 2_000
ANSWER_KEPT = 400
"""Bytes of an answer that are kept with the receipt."""

FLUSH_SECONDS = 0.02
"""How long an outcome may wait for company before it is committed."""

HELD_SECONDS = 30.0
"""How often held deliveries are looked through for those whose time with a person is over."""

BODIES_AT_HAND = 30_000
"""Planned deliveries kept in memory between planning and sending, so that they need not be read again."""


class Body(Struct, frozen=True):
    """What is sent in a delivery: frozen at planning, the binding until the first claim."""

    entry: Entry
    conversion_id: str
    conversion: str
    occurred_at: datetime
    user_id: str
    binding: Binding | None
    contact: Contact | None
    consent: Consent | None


class Flight(Struct, frozen=True):
    """A request on its way: its deliveries with their items, and when it left."""

    line: Line
    deliveries: list[Open]
    request: Request
    sent_us: int


class Sender:
    """Sends what the records plan. `turn` does a round and is called for ever; `drain` ends well."""

    def __init__(
        self,
        log: Log,
        deliveries: Deliveries,
        outlets: Mapping[str, Outlet],
        apps: Mapping[str, App],
        settings: DeliverSettings,
        clock: Clock,
        *,
        bells: Iterable[tuple[object, Callable[[], None]]] = (),
    ) -> None:
        self._log = log
        self._store = deliveries
        self._apps = apps
        self._settings = settings
        self._clock = clock
        self._transport = Transport(bells)
        self._position = deliveries.position()
        self._changes = Changes()
        self._changed_at = 0.0
        self._bodies: dict[int, Body] = {}
        self._rebounds: dict[int, tuple[int, ...]] = {}
        self._strikes: dict[tuple[int, str], int] = {}
        self._held_at = 0.0
        self._lines = outlets_by_name(outlets, settings, time.monotonic())
        self._secrets = {name: secrets_of(outlet.own) for name, outlet in outlets.items()}
        self._recover()

    @property
    def in_flight(self) -> int:
        """Requests on their way."""
        return len(self._transport)

    def turn(self, longest_wait: float = 0.25) -> bool:
        """One round. Returns whether there was anything to do."""
        read = self._read()
        self._let_held_go()
        started = self._start()
        company = self.in_flight > 0 and time.monotonic() - self._changed_at < FLUSH_SECONDS
        if self._changes and not company:
            self._commit()
        wait = 0.0 if read or started else self._wait_for(longest_wait)
        done = self._transport.wait(wait)
        for one in done:
            self._ended(one)
        return bool(read or started or done)

    def drain(self) -> None:
        """Starts nothing more, waits for answers within the limit, and commits what came."""
        until = time.monotonic() + self._settings.drain.total_seconds()
        while self._transport and (left := until - time.monotonic()) > 0:
            for one in self._transport.wait(min(left, 0.1)):
                self._ended(one)
        self._commit()

    def close(self) -> None:
        """Lets connections go; deliveries in flight are found as claimed when the sender starts again."""
        self._transport.close()

    # reading the stream

    def _read(self) -> int:
        records = self._log.records(self._position, RECORDS_AT_ONCE)
        if not records:
            return 0
        for number, record in records:
            self._apply(number, record)
        self._position = records[-1][0]
        self._changes.position = self._position
        self._touched()
        return len(records)

    def _apply(self, number: int, record: Record) -> None:
        match record:
            case Planned():
                for place, entry in enumerate(record.entries):
                    self._open(number, place, entry, record)
            case Rebound():
                self._rebind(number, record)
            case Withdrawn():
                what = "skipped" if record.skip is not None else "cancelled"
                reason = record.skip.value if record.skip is not None else record.reason
                for _, one in self._family(record.record):
                    if one is not None:
                        self._withdraw(one, what, reason, record.at_us)

    def _open(self, number: int, place: int, entry: Entry, record: Planned | Rebound) -> None:
        name = record.conversion.name
        self._changes.add(entry.destination, name, "planned")
        if entry.unvalued:
            self._changes.add(entry.destination, name, "unvalued")
        if entry.skip is not None:
            self._changes.add(entry.destination, name, "skipped", entry.skip.value)
            return
        bound = 0 if isinstance(record, Planned) else number
        delivery = Open(
            entry.destination,
            delivery_id(number, place),
            Stage.WAITING,
            record.at_us + entry.settle_us,
            bound=bound,
        )
        self._changes.keep(delivery)
        line = self._lines.get(entry.destination)
        if line is not None and line.offer(delivery) and len(self._bodies) < BODIES_AT_HAND:
            self._bodies[delivery.id] = _body(record, entry)

    def _rebind(self, number: int, record: Rebound) -> None:
        """Deliveries not yet claimed follow the late touch; what was sent stays and is counted."""
        family = self._family(record.record)
        staying = {entry.destination for entry in record.entries}
        for place, entry in enumerate(record.entries):
            before = _counterpart(entry, family, staying)
            if before is None:
                self._reopen(number, place, entry, record)
                continue
            family.remove(before)
            was, one = before
            if was.skip is not None:
                continue
            if one is None or self._is_claimed(one, record.at_us):
                self._changes.add(was.destination, record.conversion.name, "late_touch")
            elif one.destination == entry.destination:
                moved = msgspec.structs.replace(one, bound=number)
                self._bodies.pop(one.id, None)
                self._changes.keep(moved)
                line = self._lines.get(one.destination)
                if line is not None and one.id in line.items:
                    line.items[one.id] = moved
            else:
                self._finish(one, "cancelled", "rebound")
                self._reopen(number, place, entry, record)
        for _, one in family:
            if one is not None and not self._is_claimed(one, record.at_us):
                self._finish(one, "cancelled", "rebound")

    def _reopen(self, number: int, place: int, entry: Entry, record: Rebound) -> None:
        self._open(number, place, entry, record)
        self._note_rebound(number, record)

    def _note_rebound(self, number: int, record: Rebound) -> None:
        """Remembers where deliveries of a planned record went that are open under another record's id."""
        known = self._rebounds.get(record.record, ())
        if number not in known:
            self._rebounds[record.record] = (*known, number)

    def _withdraw(self, one: Open, what: str, reason: str, at_us: int) -> None:
        """Not sent again, tried or not; one that is on its way is marked, so that it is not repeated."""
        if one.stage is Stage.HELD or (self._clock.replay and one.due_us <= at_us):
            return
        if one.stage is Stage.WAITING:
            self._finish(one, what, reason)
            return
        marked = msgspec.structs.replace(one, reason=f"{what} {reason}")
        self._changes.keep(marked)
        line = self._lines.get(one.destination)
        if line is not None and one.id in line.items:
            line.items[one.id] = marked

    def _family(self, number: int) -> list[tuple[Entry, Open | None]]:
        """What a record planned, moves to other apps included, each with its delivery while that is open."""
        found: list[tuple[Entry, Open | None]] = []
        for record in (number, *self._rebounds.get(number, ())):
            planned = self._log.record(record)
            if isinstance(planned, (Planned, Rebound)):
                for place, entry in enumerate(planned.entries):
                    found.append((entry, self._find(entry.destination, delivery_id(record, place))))
        return found

    def _find(self, destination: str, number: int) -> Open | None:
        line = self._lines.get(destination)
        if line is not None and number in line.items:
            return line.items[number]
        if (destination, number) in self._changes.kept:
            return self._changes.kept[destination, number]
        if (destination, number) in self._changes.finished:
            return None
        return self._store.one(destination, number)

    def _is_claimed(self, one: Open, at_us: int) -> bool:
        """Whether the device is frozen: tried or being tried; in a replay also when its time had come."""
        tried = one.stage is not Stage.WAITING or one.first_us > 0
        return tried or (self._clock.replay and one.due_us <= at_us)

    # starting requests

    def _start(self) -> int:
        now, now_us = time.monotonic(), self._clock.now_us()
        flights: list[Flight] = []
        for line in self._lines.values():
            self._refill(line)
            flights += self._flights(line, now, now_us)
        if not flights:
            return 0
        # Claimed on disk before anything leaves: after a crash we know what may have arrived.
        self._commit()
        for flight in flights:
            self._send(flight)
        return len(flights)

    def _flights(self, line: Line, now: float, now_us: int) -> list[Flight]:
        flights: list[Flight] = []
        spec = line.outlet.spec
        batch = 1 if line.paused else spec.batch
        while line.may_start(now_us) and line.bucket.ready_in(now) == 0:
            due = line.due(now_us, batch if spec.batch_by is None else min(batch, 25) if batch > 1 else 1)
            if not due:
                break
            ready = [pair for one in due if (pair := self._ready(line, one, now_us)) is not None]
            for group in _grouped(ready, spec.batch_by):
                if not line.may_start(now_us) or not line.bucket.take(now):
                    for one, _ in group:
                        line.put(one)
                    continue
                flight = self._claimed(line, group, now_us)
                if flight is not None:
                    flights.append(flight)
        return flights

    def _ready(self, line: Line, one: Open, now_us: int) -> tuple[Open, Item] | None:
        """The delivery's item, where it is to be sent: its window open, its ids there."""
        body = self._body(one)
        closes_us = line.gives_up_us(one, body.occurred_at)
        if closes_us is not None and now_us >= closes_us:
            if one.first_us:
                self._die(line, one, "window_closed", b"", b"", now_us)
            else:
                self._finish(one, "skipped", SkipReason.TOO_OLD.value)
            return None
        try:
            item = encoded(line.outlet, self._apps, body)
        except Exception as error:
            self._unmade(line, one, error, now_us)
            return None
        if isinstance(item, Skip):
            self._finish(one, "skipped", item.reason.value)
            return None
        return one, item

    def _unmade(self, line: Line, one: Open, error: Exception, now_us: int) -> None:
        """Our own fault in one delivery: it is dead, and stops nobody else."""
        logger.error(
            "delivery %d cannot be encoded for %s: %s", one.id, one.destination, type(error).__name__
        )
        self._die(line, one, "encode_failed", b"", b"", now_us)

    def _claimed(self, line: Line, group: Sequence[tuple[Open, Item]], now_us: int) -> Flight | None:
        try:
            request = line.outlet.module.request([item for _, item in group], line.outlet.own)
        except Exception as error:
            for one, _ in group:
                self._unmade(line, one, error, now_us)
            return None
        claimed: list[Open] = []
        for one, _ in group:
            flying = msgspec.structs.replace(one, stage=Stage.CLAIMED, first_us=one.first_us or now_us)
            line.items[one.id] = flying
            line.flying.add(one.id)
            self._changes.keep(flying)
            claimed.append(flying)
        line.requests += 1
        return Flight(line, claimed, request, now_us)

    def _send(self, flight: Flight) -> None:
        outlet = flight.line.outlet
        try:
            ready = wire(
                flight.request,
                outlet.spec.auth,
                self._secrets[outlet.name],
                hosts=outlet.hosts,
                sandbox=self._settings.sandbox,
                now_us=flight.sent_us,
            )
            self._transport.start(
                ready,
                flight,
                outlet.common.timeout.total_seconds(),
                private=self._settings.sandbox is not None or outlet.allows_private,
            )
        except MissingSecret as error:
            logger.error("%s: %s", outlet.name, error)
            self._settle(flight, [Paused("no_secret")] * len(flight.deliveries), None)
        except TransportError as error:
            logger.error("%s: %s", outlet.name, error)
            self._settle(flight, [Paused("host_not_declared")] * len(flight.deliveries), None)
        except Exception as error:
            logger.error("%s: its requests cannot be made: %s", outlet.name, type(error).__name__)
            self._settle(flight, [Paused("unusable_request")] * len(flight.deliveries), None)

    # what came of them

    def _ended(self, done: Done) -> None:
        flight: Flight = done.token
        line, result = flight.line, done.result
        if isinstance(result, NoAnswer):
            if result.reason == "private_address":
                logger.error("%s: its host stands for a private address, which is refused", line.outlet.name)
                self._settle(flight, [Paused("private_address")] * len(flight.deliveries), None)
                return
            for one in flight.deliveries:
                self._unanswered(flight, one, result)
            line.requests -= 1
            self._probed(line)
            self._touched()
            return
        try:
            outcomes = line.outlet.module.classify(result, len(flight.deliveries))
            if len(outcomes) != len(flight.deliveries):
                raise ValueError(f"{len(outcomes)} outcomes for {len(flight.deliveries)} items")
        except Exception as error:
            logger.error("an answer of %s cannot be read: %s", line.outlet.name, type(error).__name__)
            outcomes = [Retry("unreadable_answer")] * len(flight.deliveries)
        self._settle(flight, outcomes, without_secrets(result, self._secrets[line.outlet.name]))

    def _settle(self, flight: Flight, outcomes: Sequence[Outcome], response: Response | None) -> None:
        line = flight.line
        line.requests -= 1
        if any(isinstance(outcome, Accepted) for outcome in outcomes):
            if line.paused is not None:
                logger.warning("%s takes deliveries again", line.outlet.name)
                self._changes.paused[line.outlet.name] = None
            line.resume()
        for one, outcome in zip(flight.deliveries, outcomes, strict=True):
            self._came(flight, one, outcome, response, len(flight.deliveries))
        self._probed(line)
        self._touched()

    def _probed(self, line: Line) -> None:
        """A probe that did not get through, in whatever way, is followed by the next after a while."""
        if line.paused is not None:
            line.pause(line.paused, self._clock.now_us())

    def _came(
        self, flight: Flight, one: Open, outcome: Outcome, response: Response | None, size: int
    ) -> None:
        line, now_us = flight.line, self._clock.now_us()
        line.flying.discard(one.id)
        answer = b"" if response is None else response.body
        match outcome:
            case Accepted(confirmed, reason):
                word = reason or ("confirmed" if confirmed else "unconfirmed")
                self._finish(one, "accepted", word, flight, response)
            case Rejected(reason):
                self._receipt(one, "dead", reason, flight, response)
                self._die(line, one, reason, kept(flight.request), answer, now_us, told=True)
            case Split(reason) if size > 1:
                half = (size + 1) // 2
                self._again(line, one, reason, now_us, flight, response, batch=half, counts=False)
            case Split(reason):
                self._receipt(one, "dead", reason, flight, response)
                self._die(line, one, reason, kept(flight.request), answer, now_us, told=True)
            case Retry(reason, after, counts):
                if not counts:
                    line.slow_down(after, now_us)
                if self._is_out(line, one, reason):
                    self._receipt(one, "dead", reason, flight, response)
                    self._die(line, one, reason, kept(flight.request), answer, now_us, told=True)
                else:
                    due = line.retry_at(one, after, now_us) if counts else line.held_until_us
                    self._again(line, one, reason, due, flight, response, counts=counts)
            case Paused(reason):
                if line.paused != reason:
                    logger.error(
                        "%s is paused: %s; nothing is lost, a person must act", line.outlet.name, reason
                    )
                    self._changes.paused[line.outlet.name] = (now_us, reason)
                line.pause(reason, now_us)
                self._again(line, one, reason, now_us, flight, response, counts=False)
            case Pending(handle):
                self._finish(one, "accepted", f"pending {handle}"[:64], flight, response)

    def _unanswered(self, flight: Flight, one: Open, ended: NoAnswer) -> None:
        """No answer: safe to try again where nothing left; otherwise as `on_unknown` says."""
        line, now_us = flight.line, self._clock.now_us()
        line.flying.discard(one.id)
        if not ended.left:
            due = line.retry_at(one, None, now_us)
            return self._again(line, one, ended.reason, due, flight, None)
        if self._may_repeat(line, one):
            due = line.retry_at(one, None, now_us)
            return self._again(line, one, ended.reason, due, flight, None, unknown=1)
        return self._hold(line, one, ended.reason, flight)

    def _is_out(self, line: Line, one: Open, reason: str) -> bool:
        """Whether the platform's own limit for this answer is reached; other tries do not count for it.

        Counted in memory: a restart grants the tries again, which loses nothing.
        """
        limit = line.outlet.spec.tries_on.get(reason)
        if limit is None:
            return False
        strikes = self._strikes.get((one.id, reason), 0) + 1
        self._strikes[one.id, reason] = strikes
        return strikes >= limit

    def _may_repeat(self, line: Line, one: Open) -> bool:
        match line.outlet.on_unknown:
            case Retries(times):
                return one.unknown < times
            case Unknown(retry=int(times)):
                return one.unknown < times
            case Hold() | Unknown():
                return False

    def _hold(self, line: Line, one: Open, reason: str, flight: Flight | None = None) -> None:
        """The ambiguous end under `hold`: kept for a person, tried by nobody; `due_us` is when that ends."""
        span = _held_for(line.outlet)
        held = msgspec.structs.replace(
            one,
            stage=Stage.HELD,
            due_us=one.due_us if span is None else self._clock.now_us() + span // MICROSECOND,
            unknown=one.unknown + 1,
            reason="unknown",
        )
        line.drop(one.id)
        self._bodies.pop(one.id, None)
        self._changes.keep(held)
        self._receipt(held, "held", f"unknown: {reason}", flight, None)

    def _again(
        self,
        line: Line,
        one: Open,
        reason: str,
        due_us: int,
        flight: Flight,
        response: Response | None,
        *,
        counts: bool = True,
        unknown: int = 0,
        batch: int = 0,
    ) -> None:
        withdrawn = _withdrawal(line.items.get(one.id, one))
        if withdrawn is not None:
            self._finish(one, *withdrawn, flight, response)
            return
        self._receipt(one, "retry", reason, flight, response)
        waiting = msgspec.structs.replace(
            one,
            stage=Stage.WAITING,
            due_us=due_us,
            attempts=one.attempts + counts,
            unknown=one.unknown + unknown,
            batch=batch or one.batch,
            reason=reason,
        )
        line.put(waiting)
        self._changes.keep(waiting)

    def _die(
        self,
        line: Line,
        one: Open,
        reason: str,
        request: bytes,
        answer: bytes,
        now_us: int,
        *,
        told: bool = False,
    ) -> None:
        self._changes.dead.append(Dead(one.id, one.destination, now_us, reason, request, answer[:65_536]))
        self._finish(one, "dead", reason, told=told)

    def _finish(
        self,
        one: Open,
        what: str,
        reason: str,
        flight: Flight | None = None,
        response: Response | None = None,
        *,
        told: bool = False,
    ) -> None:
        """A delivery is open no more: counted, and a receipt says why."""
        body = self._body(one)
        if not told:
            self._receipt(one, what, reason, flight, response)
        self._changes.add(one.destination, body.conversion, what, reason.partition(" ")[0])
        self._changes.finish(one.destination, one.id)
        line = self._lines.get(one.destination)
        if line is not None:
            line.drop(one.id)
            for word in line.outlet.spec.tries_on:
                self._strikes.pop((one.id, word), None)
        self._bodies.pop(one.id, None)
        self._touched()

    def _receipt(
        self, one: Open, what: str, reason: str, flight: Flight | None, response: Response | None
    ) -> None:
        logger.debug("%s: delivery %d: %s %s", one.destination, one.id, what, reason)
        self._changes.receipts.append(
            Receipt(
                id=one.id,
                destination=one.destination,
                what=what,
                reason=reason,
                attempt=one.attempts + 1 if flight is not None else 0,
                sent_us=flight.sent_us if flight is not None else 0,
                answered_us=self._clock.now_us(),
                status=response.status if response is not None else 0,
                answer=response.body[:ANSWER_KEPT] if response is not None else b"",
                bound=one.bound,
            )
        )

    # keeping

    def _body(self, one: Open) -> Body:
        """What is to be sent, read again from the records where it is not at hand."""
        body = self._bodies.get(one.id)
        if body is not None:
            return body
        number, place = record_of(one.id)
        planned = self._log.record(number)
        assert isinstance(planned, (Planned, Rebound)), "an open delivery's record is in the log"
        body = _body(planned, planned.entries[place])
        if one.bound and one.bound != number:
            rebound = self._log.record(one.bound)
            assert isinstance(rebound, Rebound), "a binding's record is in the log"
            body = msgspec.structs.replace(body, binding=rebound.binding)
        return body

    def _commit(self) -> None:
        if self._changes:
            self._store.commit(self._changes)
            self._changes = Changes()
            self._changed_at = 0.0

    def _touched(self) -> None:
        if not self._changed_at:
            self._changed_at = time.monotonic()

    def _refill(self, line: Line) -> None:
        """Brings waiting deliveries from the store where memory has room again."""
        if not line.more_in_store or len(line.items) > self._settings.window // 2:
            return
        self._commit()
        found = self._store.open(line.outlet.name, line.hand, self._settings.window // 2)
        for one in found:
            if one.id not in line.items:
                line.put(one)
        if len(found) < self._settings.window // 2:
            line.more_in_store, line.hand = False, 0
        else:
            line.hand = found[-1].id

    def _wait_for(self, longest: float) -> float:
        """How long nothing can be due, in seconds."""
        now, now_us = time.monotonic(), self._clock.now_us()
        wait = min(longest, FLUSH_SECONDS) if self._changes else longest
        for line in self._lines.values():
            due = line.next_due_us()
            if due is None:
                continue
            if line.paused is not None:
                due = max(due, line.probe_us)
            due = max(due, line.held_until_us)
            seconds = max((due - now_us) / 1_000_000, line.bucket.ready_in(now))
            if seconds > 0 or line.may_start(now_us):
                wait = min(wait, max(seconds, 0.0))
        return wait

    def _recover(self) -> None:
        """After a stop of any kind: what was claimed may have arrived; what waited still waits."""
        for name in self._store.destinations():
            line = self._lines.get(name)
            if line is None:
                logger.error("destination %s has deliveries and is not configured: they wait", name)
                continue
            for one in self._all(name, Stage.CLAIMED):
                self._ambiguous(line, one)
            line.more_in_store = True
        for number in sorted({record_of(moved)[0] for moved in self._store.moved()}):
            record = self._log.record(number)
            if isinstance(record, Rebound):
                self._note_rebound(number, record)
        for name, (since, reason) in self._store.paused().items():
            if name in self._lines:
                self._lines[name].pause(reason, since)
                self._lines[name].probe_us = 0
        self._commit()

    def _ambiguous(self, line: Line, one: Open) -> None:
        withdrawn = _withdrawal(one)
        if withdrawn is not None:
            self._finish(one, *withdrawn)
        elif self._may_repeat(line, one):
            self._receipt(one, "retry", "stopped", None, None)
            again = msgspec.structs.replace(
                one,
                stage=Stage.WAITING,
                unknown=one.unknown + 1,
                due_us=self._clock.now_us(),
                reason="stopped",
            )
            self._changes.keep(again)
        else:
            self._hold(line, one, "stopped")

    def _let_held_go(self) -> None:
        """Held deliveries that no person released in the time that `hold` gives are dead."""
        if time.monotonic() < self._held_at:
            return
        self._held_at = time.monotonic() + HELD_SECONDS
        now_us = self._clock.now_us()
        for name, line in self._lines.items():
            if _held_for(line.outlet) is None:
                continue
            self._commit()
            for one in [held for held in self._all(name, Stage.HELD) if held.due_us <= now_us]:
                self._die(line, one, "unknown", self._request(line, one), b"", now_us)

    def _request(self, line: Line, one: Open) -> bytes:
        """The request of a delivery as it is kept, made again; nothing where it cannot be."""
        try:
            item = encoded(line.outlet, self._apps, self._body(one))
            if not isinstance(item, Skip):
                return kept(line.outlet.module.request([item], line.outlet.own))
        except Exception as error:
            logger.error("delivery %d cannot be shown: %s", one.id, type(error).__name__)
        return b""

    def _all(self, name: str, stage: Stage) -> Iterable[Open]:
        after = 0
        while found := self._store.open(name, after, RECORDS_AT_ONCE, stage):
            yield from found
            after = found[-1].id


def _counterpart(
    entry: Entry, family: Sequence[tuple[Entry, Open | None]], staying: Container[str]
) -> tuple[Entry, Open | None] | None:
    """Whose place an entry takes: of the same destination, else of the same kind in the app that is left.

    What is open comes first: what is not was sent already, or moved on by an earlier touch.
    """
    same = [pair for pair in family if pair[0].destination == entry.destination]
    alike = [pair for pair in family if pair[0].kind == entry.kind and pair[0].destination not in staying]
    still = (pair for pair in (*same, *alike) if pair[1] is not None)
    return next(still, next(iter((*same, *alike)), None))


def _withdrawal(one: Open) -> tuple[str, str] | None:
    """What was said of a delivery while its request was on the way: (skipped or cancelled, reason)."""
    what, _, reason = one.reason.partition(" ")
    return (what, reason) if what in ("skipped", "cancelled") and reason else None


def _held_for(outlet: Outlet) -> timedelta | None:
    """How long a held delivery waits for a person; `None`: for ever."""
    match outlet.on_unknown:
        case Unknown(hold=span):
            return span
        case Hold() | Retries():
            return None


def _body(record: Planned | Rebound, entry: Entry) -> Body:
    conversion = record.conversion
    return Body(
        entry=entry,
        conversion_id=conversion.id,
        conversion=conversion.name,
        occurred_at=conversion.occurred_at.astimezone(UTC),
        user_id=conversion.user_id,
        binding=record.binding,
        contact=record.contact,
        consent=record.consent,
    )


def encoded(outlet: Outlet, apps: Mapping[str, App], body: Body) -> Item | Skip:
    """The destination's item for a body, or why there is none: no login, no id the platform knows by."""
    if body.binding is None:
        return Skip(SkipReason.NO_LOGIN)
    snapshot = body.binding.snapshot
    wanted = outlet.spec.any_of_ids
    if wanted and not any(id_of(snapshot.device, kind) for kind in wanted):
        return Skip(SkipReason.NO_DEVICE_ID)
    delivery = Delivery(
        id=body.conversion_id,
        name=body.entry.name,
        occurred_at=body.occurred_at,
        user_id=body.user_id,
        app=apps.get(snapshot.app, outlet.app),
        device=snapshot.device,
        value=body.entry.value,
        contact=body.contact if outlet.common.share_contact else None,
        consent=body.consent,
    )
    return outlet.module.encode(delivery, outlet.own)


def rendered(
    outlet: Outlet, apps: Mapping[str, App]
) -> Callable[[int, Planned | Rebound, Entry, Binding | None], Request | Skip | None]:
    """What makes a delivery's request again as it was or will be sent, alone and without its secret."""

    def render(
        delivery: int, record: Planned | Rebound, entry: Entry, binding: Binding | None
    ) -> Request | Skip | None:
        body = msgspec.structs.replace(_body(record, entry), binding=binding)
        item = encoded(outlet, apps, body)
        return item if isinstance(item, Skip) else outlet.module.request([item], outlet.own)

    return render


def _grouped(
    ready: Sequence[tuple[Open, Item]], batch_by: str | None
) -> Iterable[Sequence[tuple[Open, Item]]]:
    """Items by the request: those that must be alike in one key together, bisected ones in small parts."""
    if not ready:
        return
    key = batch_by or ""
    ordered = sorted(ready, key=lambda pair: (pair[0].batch, str(pair[1].get(key, "")) if key else ""))
    for (batch, _), group in groupby(
        ordered, key=lambda pair: (pair[0].batch, str(pair[1].get(key, "")) if key else "")
    ):
        members = list(group)
        size = batch or len(members)
        for start in range(0, len(members), size):
            yield members[start : start + size]
