"""What the sender knows and must not forget: lines in memory, and changes on their way to the disk.

Every change of a delivery goes through here, so that counts, receipts, rows and queues always say the same.
"""

import logging
from collections.abc import Callable, Mapping
from random import Random

import msgspec

from lendsignal.clock import Clock, from_us
from lendsignal.deliver.body import Body, body_of, encoded
from lendsignal.deliver.brakes import HOUR_US, WEEK_HOURS, Refusals, is_unusual
from lendsignal.deliver.common_pace import CommonPace
from lendsignal.deliver.line import DAY_US, MICROSECONDS, Line
from lendsignal.deliver.meters import DeliverMeters
from lendsignal.deliver.outlet import Outlet
from lendsignal.deliver.pace import Pace
from lendsignal.deliver.settings import DeliverSettings, Unknown
from lendsignal.deliver.wire import kept
from lendsignal.destination.spec import Hold, Item, Response, Retries
from lendsignal.errors import Damaged, LaneMoved, LogError, Overtaken
from lendsignal.log import EVERY, Changes, Dead, Deliveries, Log, Open, Pause, Placing, Receipt, Stage, Stop
from lendsignal.log.shared import Shared
from lendsignal.model import App, Skip
from lendsignal.plan import Entry, Placed, Rebound, delivery_id, record_of

logger = logging.getLogger(__name__)

ANSWER_KEPT = 400
"""Bytes of an answer that are kept with the receipt."""

DEAD_ANSWER_KEPT = 65_536

BODIES_AT_HAND = 30_000
"""Planned deliveries kept in memory between planning and sending, so that they need not be read again."""

RECORDS_AHEAD = 64
"""Records read at once where a body is not at hand."""

LANE_AGAIN_US = 100_000
"""How soon a lane that another sender is busy in is looked at again."""

PARK_US = 30_000_000
"""What waits longer than this leaves memory to what can be sent."""

ROWS_AT_ONCE = 2_000

PROVEN = frozenset(("confirmed", "already_known"))
"""Words of an accepted delivery by which the platform says for certain that it has it."""

COMMIT_AGAIN_SECONDS = 1.0
"""How soon a disk that took nothing is tried again."""


class Book:
    """The deliveries of all destinations, in memory and in the store. One process keeps it.

    `shared`: other senders keep the rest of the same store, and what it stands for is told among them.
    """

    def __init__(
        self,
        log: Log,
        store: Deliveries,
        outlets: Mapping[str, Outlet],
        apps: Mapping[str, App],
        settings: DeliverSettings,
        clock: Clock,
        steady: Callable[[], float],
        chance: Random,
        meters: DeliverMeters,
        shared: Shared | None = None,
    ) -> None:
        self.log = log
        self.store = store
        self.shared = shared
        self.apps = apps
        self.settings = settings
        self.clock = clock
        self.steady = steady
        self.changes = Changes()
        self.changed_at: float | None = None
        self.trouble: str | None = None
        self.doubt_until_us = 0
        self.doubted_us = 0
        self.everything: Pause | None = store.paused().get(EVERY)
        self.bodies: dict[int, Body] = {}
        self.shelf: Placing | None = None
        self.names = {old: outlet.name for outlet in outlets.values() for old in outlet.common.formerly}
        self.lines = _lines(outlets, settings, steady(), chance, _paces(shared, clock))
        self.corrects = any(outlet.spec.corrections is not None for outlet in outlets.values())
        self._refusals = {name: Refusals(settings.brakes) for name in outlets}
        self._lane_ends: dict[tuple[str, int], tuple[int, int] | None] = {}
        self._hours: dict[str, dict[int, int]] = {}
        self._agreed: dict[str, tuple[bool, int]] = {}
        self._begun: dict[str, tuple[int, set[int]]] = {}
        self._tried_at = 0.0
        self.meters = meters
        meters.watch(self, counts_on=shared is None)

    # what is open

    def name(self, destination: str) -> str:
        """The name that a destination of a record has today."""
        return self.names.get(destination, destination)

    def plan(self, number: int, place: int, entry: Entry, record: Placed) -> None:
        """A delivery that a record plans, or one that it skips with a reason."""
        destination, conversion = self.name(entry.destination), record.conversion.name
        self.changes.add(destination, conversion, "planned")
        if entry.unvalued:
            self.changes.add(destination, conversion, "unvalued")
        if entry.skip is not None:
            self.changes.add(destination, conversion, "skipped", entry.skip.value)
            return
        delivery = Open(
            destination,
            delivery_id(number, place),
            Stage.WAITING,
            min(record.at_us, self.clock.now_us()) + entry.settle_us,
            bound=number if isinstance(record, Rebound) else 0,
        )
        self.changes.keep(delivery)
        line = self.lines.get(destination)
        if line is None:
            return
        self._count(line, record.at_us)
        if line.outlet.period is not None:
            delivery.due_us = line.scheduled_us(delivery.due_us)
            self.park(line, delivery)
        elif line.offer(delivery) and len(self.bodies) < BODIES_AT_HAND:
            self.bodies[delivery.id] = body_of(record, entry)

    def body(self, one: Open) -> Body:
        """What is to be sent, read again from the records where it is not at hand."""
        body = self.bodies.get(one.id)
        if body is not None:
            return body
        number, place = record_of(one.id)
        self._read_ahead(number)
        body = self.bodies.get(one.id)
        if body is not None:
            return body
        planned = self.log.record(number)
        assert isinstance(planned, Placed), "an open delivery's record is in the log"
        body = body_of(planned, planned.entries[place])
        if one.bound and one.bound != number:
            rebound = self.log.record(one.bound)
            assert isinstance(rebound, Rebound), "a binding's record is in the log"
            body = msgspec.structs.replace(body, binding=rebound.binding)
        if len(self.bodies) < BODIES_AT_HAND:
            self.bodies[one.id] = body
        return body

    def _read_ahead(self, number: int) -> None:
        """What comes from the store comes in order: the next bodies are read with the one that is wanted."""
        if len(self.bodies) >= BODIES_AT_HAND:
            return
        for following, record in self.log.records(number - 1, RECORDS_AHEAD):
            if isinstance(record, Placed):
                for place, entry in enumerate(record.entries):
                    delivery = delivery_id(following, place)
                    line = self.lines.get(self.name(entry.destination))
                    waiting = line.items.get(delivery) if line is not None else None
                    if waiting is not None and waiting.bound in (0, following):
                        self.bodies.setdefault(delivery, body_of(record, entry))

    def find(self, destination: str, number: int) -> Open | None:
        """A delivery while it is open."""
        line = self.lines.get(destination)
        if line is not None and number in line.items:
            return line.items[number]
        if number in self.changes.kept:
            return self.changes.kept[number]
        if number in self.changes.finished:
            return None
        return self.store.one(destination, number)

    def request_of(self, one: Open) -> bytes:
        """The request of a delivery as it is kept, made again; nothing where it cannot be."""
        line = self.lines.get(one.destination)
        if line is None:
            return b""
        try:
            item = self.item(line, one, self.body(one))
            if not isinstance(item, Skip):
                return kept(line.outlet.module.request([item], line.outlet.own))
        except Exception as error:
            logger.error("delivery %d cannot be shown: %s", one.id, type(error).__name__)
        return b""

    def item(self, line: Line, one: Open, body: Body) -> Item | Skip:
        """The destination's item for a delivery, at the moment it is sent as."""
        stamped = from_us(one.stamp_us) if one.stamp_us else None
        return encoded(line.outlet, self.apps, body, stamped)

    # what becomes of it

    def finish(
        self,
        one: Open,
        what: str,
        reason: str,
        response: Response | None = None,
        sent_us: int = 0,
    ) -> None:
        """A delivery is open no more: counted, and a receipt says why."""
        body = self.body(one)
        if what == "accepted" and not body.corrects:
            self.meters.accepted(one.destination, body, one.first_us, self.clock.now_us())
        self.receipt(one, what, reason, response, sent_us)
        self.changes.add(one.destination, body.conversion, what, reason.partition(" ")[0])
        self.changes.finish(one)
        line = self.lines.get(one.destination)
        if line is not None:
            self._note_told(line, one, what, reason)
            line.drop(one)
        self.bodies.pop(one.id, None)
        self.touched()

    def _note_told(self, line: Line, one: Open, what: str, reason: str) -> None:
        """Remembers what the platform has now, where it lets us correct it.

        What left and was never answered may have arrived, however it ended: it counts too, unless the
        platform would take the correction of what it has not for something new.
        """
        corrections = line.outlet.spec.corrections
        if corrections is None:
            return
        if corrections.on_proof:
            is_there = what == "accepted" and reason in PROVEN
        else:
            is_there = what == "accepted" or one.unknown > 0
        if is_there:
            self.changes.told[one.destination, one.id] = self.clock.now_us()

    def is_told(self, destination: str, delivery: int) -> bool:
        """Whether the platform has what this delivery told, and lets us correct it."""
        return (destination, delivery) in self.changes.told or self.store.is_told(destination, delivery)

    def die(
        self,
        one: Open,
        reason: str,
        request: bytes = b"",
        response: Response | None = None,
        sent_us: int = 0,
    ) -> None:
        """Nobody tries it again by himself; the request, without its secret, and the answer are kept."""
        answer = b"" if response is None else response.body[:DEAD_ANSWER_KEPT]
        conversion, now_us = self.body(one).conversion, self.clock.now_us()
        self.changes.dead.append(Dead(one.id, one.destination, conversion, now_us, reason, request, answer))
        self.finish(one, "dead", reason, response, sent_us)

    def again(
        self,
        one: Open,
        reason: str,
        due_us: int,
        response: Response | None = None,
        sent_us: int = 0,
        *,
        counts: bool = True,
        unknown: int = 0,
        batch: int = 0,
    ) -> None:
        """It is tried again when it is due; what was said of it meanwhile ends it instead."""
        one.unknown += unknown
        withdrawn = withdrawal(one)
        if withdrawn is not None:
            self.finish(one, *withdrawn, response, sent_us)
            return
        self.receipt(one, "retry", reason, response, sent_us)
        one.strikes = one.strikes + 1 if one.reason == reason else 1
        one.stage, one.due_us, one.reason = Stage.WAITING, due_us, reason
        one.attempts += counts
        one.batch = batch or one.batch
        self.changes.keep(one)
        line = self.lines.get(one.destination)
        if line is None:
            return
        line.flying.discard(one.id)
        if one.lane:
            line.lanes.waits(one.lane, one.id, one.first_us)
            line.put(one)
        elif due_us - self.clock.now_us() > PARK_US:
            self.park(line, one)
        else:
            line.put(one)
        self.touched()

    def unanswered(self, one: Open, reason: str, sent_us: int, response: Response | None = None) -> None:
        """It left and nobody knows whether it arrived: again, or held, as `on_unknown` says.

        A `response` that nobody can read is no answer either.
        """
        line = self.lines[one.destination]
        if self.may_repeat(line, one):
            due_us = line.retry_at(one, None, self.clock.now_us())
            self.again(one, reason, due_us, response, sent_us, unknown=1)
        else:
            self.hold(line, one, reason, sent_us, response)

    def may_repeat(self, line: Line, one: Open) -> bool:
        """Whether one more ambiguous end may be followed by another try."""
        match line.outlet.on_unknown:
            case Retries(times):
                return one.unknown < times
            case Unknown(retry=int(times)):
                return one.unknown < times
            case Hold() | Unknown():
                return False

    def hold(
        self, line: Line, one: Open, reason: str, sent_us: int = 0, response: Response | None = None
    ) -> None:
        """The ambiguous end under `hold`: kept for a person, tried by nobody; `due_us` is when that ends.

        What was said of it meanwhile ends it instead, so that nobody releases what was withdrawn.
        """
        one.unknown += 1
        withdrawn = withdrawal(one)
        if withdrawn is not None:
            self.finish(one, *withdrawn, response, sent_us)
            return
        span = line.outlet.held_for
        self.receipt(one, "held", f"unknown: {reason}", response, sent_us)
        one.stage, one.reason, one.strikes = Stage.HELD, "unknown", 0
        one.due_us = NEVER_US if span is None else self.clock.now_us() + span // MICROSECONDS
        line.drop(one)
        self.bodies.pop(one.id, None)
        self.changes.keep(one)
        self.touched()

    def pend(self, one: Open, handle: str, response: Response | None, sent_us: int) -> None:
        """The platform took it in and will say later what became of it; its lane goes on.

        Verdicts are asked for so long since this try, however long it took to come to it. An app is
        waited for until the window closes.
        """
        line = self.lines[one.destination]
        self.receipt(one, "pending", f"pending {handle}"[:200], response, sent_us)
        one.stage, one.reason, one.strikes = Stage.PENDING, f"pending {handle}", 0
        one.first_us = sent_us
        ends_us = line.gives_up_us(one, self.body(one).occurred_at) if line.outlet.shelved else None
        one.due_us = ends_us or self.clock.now_us() + line.outlet.spec.verdict_after // MICROSECONDS
        if line.outlet.shelved:
            self.bodies.pop(one.id, None)  # an app may take days: memory is for what can be sent
        line.drop(one)
        line.pending_us = min(line.pending_us or one.due_us, one.due_us)
        self.changes.keep(one)
        self.touched()

    def withdraw(self, one: Open, what: str, reason: str, at_us: int) -> bool:
        """Not sent again, tried or not; one that is on its way is marked, so that it is not repeated.

        A held one ends too: nobody is to release what a user forbids or a lender took back.
        """
        if one.stage is Stage.PENDING and not self.recall(one):
            self._mark(one, what, reason)
            return False
        if one.stage is not Stage.HELD and self.clock.replay and one.due_us <= at_us:
            return False
        if one.stage is Stage.CLAIMED:
            self._mark(one, what, reason)
        else:
            self.finish(one, what, reason)
        return True

    def recall(self, one: Open) -> bool:
        """Takes a delivery off the shelf, so that it is free to be moved or taken back; False where its app
        has fetched it, or it never was there."""
        line = self.lines.get(one.destination)
        if self.shelf is None or line is None or not line.outlet.shelved or one.stage is not Stage.PENDING:
            return False
        if not self.shelf.recall(one.destination, one.id):
            return False
        one.stage, one.reason, one.first_us = Stage.WAITING, "", 0
        one.due_us = self.clock.now_us()
        line.put(one)
        self.changes.keep(one)
        self.touched()
        return True

    def _mark(self, one: Open, what: str, reason: str) -> None:
        """It is out of our hands: so it ends if it comes back, and no app is given it once more."""
        line = self.lines.get(one.destination)
        if self.shelf is not None and line is not None and line.outlet.shelved:
            self.shelf.withhold(one.destination, one.id)
        one.withdrawn = f"{what} {reason}"
        self.changes.keep(one)
        self.touched()

    def receipt(self, one: Open, what: str, reason: str, response: Response | None, sent_us: int = 0) -> None:
        """What came of one try, or of none where `sent_us` is 0."""
        logger.debug("%s: delivery %d: %s %s", one.destination, one.id, what, reason)
        self.changes.receipts.append(
            Receipt(
                one.id,
                one.destination,
                what,
                reason,
                one.attempts + 1 if sent_us else 0,
                sent_us,
                self.clock.now_us(),
                response.status if response is not None else 0,
                response.body[:ANSWER_KEPT] if response is not None else b"",
                one.bound,
                one.stamp_us,
            )
        )

    # lanes

    def last_of(self, destination: str, lane: int) -> tuple[int, int] | None:
        """The last that was sent in a lane: the moment it was sent as, in µs since 1970, and its id."""
        key = (destination, lane)
        if key not in self._lane_ends:
            if len(self._lane_ends) > BODIES_AT_HAND:
                self._lane_ends.clear()
            self._lane_ends[key] = self.changes.lanes.get(key) or self.store.last_of(destination, lane)
        return self._lane_ends[key]

    def sent_in_lane(self, one: Open, at_us: int) -> None:
        """The lane is at this delivery now."""
        key = (one.destination, one.lane)
        last = self.last_of(*key)
        self.changes.lanes_before.setdefault(key, 0 if last is None else last[1])
        self._lane_ends[key] = self.changes.lanes[key] = (at_us, one.id)

    def stays_in_lane(self, one: Open) -> None:
        """It was not sent after all: the lane is where the store says."""
        key = (one.destination, one.lane)
        self.changes.lanes.pop(key, None)
        self.changes.lanes_before.pop(key, None)
        self._lane_ends.pop(key, None)

    def waits_for_another(self, line: Line, one: Open, last: int, now_us: int) -> bool:
        """Whether the last of its lane is another sender's and still on its way: two users of one phone may
        share a lane and no slot."""
        if self.shared is None:
            return False
        since_us = now_us - line.outlet.common.lane_wait // MICROSECONDS
        if not self.shared.is_on_its_way(one.destination, last, since_us):
            return False
        self._lane_ends.pop((one.destination, one.lane), None)
        one.due_us = now_us + LANE_AGAIN_US
        line.put(one)
        return True

    # stopping and starting

    def stop(self, name: str, kind: Stop, reason: str) -> None:
        """A destination sends nothing until it is probed, or let go by a person."""
        line, now_us = self.lines[name], self.clock.now_us()
        before = line.stopped
        line.stop(Pause(now_us, kind, reason), now_us)
        stopped = line.stopped
        if stopped is None or (before is not None and (before.kind, before.reason) == (kind, reason)):
            return
        if stopped.kind is kind:
            if kind is Stop.PERSON:
                logger.warning("%s is paused by order: %s", name, reason)
            else:
                logger.error("%s is paused: %s; nothing is lost, a person must act", name, reason)
            self.changes.paused[name] = stopped
            self.touched()

    def resume(self, name: str, *, probed: bool = False) -> None:
        """A destination sends again: by order, or (`probed`) because its platform takes deliveries."""
        line = self.lines.get(name)
        if line is not None:
            if line.stopped is not None:
                logger.warning("%s takes deliveries again", name)
            line.resume()
            self._refusals[name].forget()
        self.changes.paused[name] = None
        if probed:
            self.changes.probed.add(name)
        else:
            self.changes.probed.discard(name)
        self.touched()

    def listen(self) -> None:
        """What other senders stopped, let go or counted is so here too; what is ours stands in the store
        first."""
        if self.shared is None or self.changes.paused or self.changes.agreed:
            return
        self._agreed.clear()
        self._hours.clear()
        paused = self.store.paused()
        self.everything = paused.get(EVERY)
        for name, line in self.lines.items():
            pause, before = paused.get(name), line.stopped
            if pause is None and before is not None:
                line.resume()
                self._refusals[name].forget()
            elif pause is not None and (before is None or before.kind is not pause.kind):
                line.resume()
                line.stop(pause, self.clock.now_us())

    def agree(self, name: str) -> None:
        """A person looked at what a brake held: the first run is over, and the volume of a day is right."""
        self._agreed[name] = self.changes.agreed[name] = (True, self.clock.now_us() + DAY_US)
        self.touched()

    def answered(self, name: str, *, refused: bool) -> None:
        """One verdict of the platform: too many refusals among the last ones stop the destination."""
        if self._refusals[name].note(refused):
            self.stop(name, Stop.BRAKE, "mass_reject")

    def may_begin(self, line: Line, one: Open) -> bool:
        """Whether a delivery goes on, or is among the first that go before a person looked at them."""
        cap = line.outlet.common.first_run
        name = line.outlet.name
        if cap is None or one.first_us or self.agreed(name)[0]:
            return True
        if name not in self._begun:
            self._begun[name] = (self._sent_before(name), set())
        before, begun = self._begun[name]
        if one.id not in begun:
            if self.shared is not None and not self.shared.begins(name, one.id, cap, before):
                return False
            if self.shared is None and before + len(begun) >= cap:
                return False
        begun.add(one.id)
        return True

    def _sent_before(self, name: str) -> int:
        """Deliveries of a destination that were tried before this start."""
        tally = self.store.tally()
        ended = (n for (one, _, what, _), n in tally.items() if one == name and what in ("accepted", "dead"))
        return sum(ended) + self.store.tried(name)

    def agreed(self, name: str) -> tuple[bool, int]:
        """What a person said to the brakes of a destination."""
        if name not in self._agreed:
            self._agreed[name] = self.store.agreed(name)
        return self._agreed[name]

    def _count(self, line: Line, at_us: int) -> None:
        """One more planned: an hour far above the busiest of the week stops the destination."""
        name, hour = line.outlet.name, at_us // HOUR_US
        self.changes.volume[name, hour] = self.changes.volume.get((name, hour), 0) + 1
        hours = self._hours.get(name)
        counted_anew = hours is None or hour not in hours
        if hours is None or hour not in hours:
            hours = self._hours[name] = self.store.volume(name, hour - WEEK_HOURS)
            for (other, when), n in self.changes.volume.items():
                if other == name:
                    hours[when] = hours.get(when, 0) + n
        else:
            hours[hour] += 1
        n, brakes = hours[hour], self.settings.brakes
        looks = n % 64 == 0 or (counted_anew and self.shared is not None)
        if n >= brakes.volume_from and looks and line.stopped is None:
            quiet = self.agreed(name)[1] > self.clock.now_us()
            if not quiet and is_unusual(hours, hour, brakes):
                self.stop(name, Stop.BRAKE, "unusual_volume")

    # keeping

    def touched(self) -> None:
        """Something changed that is not on disk yet."""
        if self.changed_at is None:
            self.changed_at = self.steady()

    def commit(self) -> bool:
        """Makes what changed durable. False where the disk does not take it: nothing is forgotten, and
        nothing may leave until it does. Raises `Overtaken` where another sender has what is ours by now."""
        if not self.changes:
            return self.trouble is None or self._tries()
        if not self._tries():
            return False
        begun = self.steady()
        try:
            self.store.commit(self.changes)
        except (Damaged, Overtaken):  # no wait makes that good again
            raise
        except LaneMoved:  # no trouble of the store: whoever claimed looks again
            return False
        except LogError as error:
            if self.trouble is None:
                logger.error("%s; sending waits, nothing is lost", error)
            self.trouble, self._tried_at = str(error), self.steady()
            return False
        self.meters.committed(self.changes, self.steady() - begun)
        if self.trouble is not None:
            logger.warning("the deliveries can be written again")
        self.trouble, self.changes, self.changed_at = None, Changes(), None
        return True

    def forget(self) -> None:
        """What changed and is not on disk never was."""
        self.changes, self.changed_at = Changes(), None

    def _tries(self) -> bool:
        return self.trouble is None or self.steady() - self._tried_at >= COMMIT_AGAIN_SECONDS

    def refill(self, line: Line, now_us: int) -> None:
        """Brings deliveries from the store where memory has room again, parked ones when they are due."""
        room = self.settings.window // 2
        if line.parked_us is not None and line.parked_us <= now_us and line.has_room():
            self._unpark(line, now_us)
        if not line.more_in_store or not line.has_room() or not self.commit():
            return
        found = self.store.open(line.outlet.name, line.hand, room)
        for one in found:
            if one.id not in line.items:
                line.put(one)
        if len(found) < room:
            line.more_in_store, line.hand = False, 0
        else:
            line.hand = found[-1].id

    def park(self, line: Line, one: Open) -> None:
        """To the store until it is due."""
        one.stage = Stage.PARKED
        self.changes.keep(one)
        line.drop(one)
        self.bodies.pop(one.id, None)
        line.parked_us = one.due_us if line.parked_us is None else min(line.parked_us, one.due_us)
        line.parked_hand = min(line.parked_hand, (one.due_us, one.id - 1))

    def delay(self, line: Line, one: Open, due_us: int) -> None:
        """Not tried now, and not because of itself: looked at again then."""
        one.due_us = due_us
        self.changes.keep(one)
        self.touched()
        if due_us - self.clock.now_us() > PARK_US:
            self.park(line, one)
        else:
            line.put(one)

    def _unpark(self, line: Line, now_us: int) -> None:
        if not self.commit():
            return
        name = line.outlet.name
        found = self.store.due_of(name, Stage.PARKED, line.parked_hand, now_us, ROWS_AT_ONCE)
        for one in found:
            line.parked_hand = (one.due_us, one.id)
            if one.id not in line.items:
                one.stage = Stage.WAITING
                line.put(one)
        if len(found) < ROWS_AT_ONCE:
            following = self.store.due_of(name, Stage.PARKED, line.parked_hand, NEVER_US, 1)
            line.parked_us = following[0].due_us if following else None

    def shift(self, by_us: int, doubt_us: int) -> None:
        """The clock was set by so much: every wait stays as long, and for `doubt_us` no window closes that
        would still be open by the time before."""
        logger.error("the clock was set by %.0f s; waits are kept, windows are judged later", by_us / 1e6)
        self.meters.jumped()
        if self.commit():
            self.store.shift(by_us)
        for line in self.lines.values():
            line.shift(by_us)
        for pace in {id(line.pace): line.pace for line in self.lines.values()}.values():
            pace.shift(by_us)
        self.doubt_until_us = self.clock.now_us() + doubt_us if by_us > 0 else 0
        self.doubted_us = by_us


NEVER_US = 1 << 62
"""Later than any time there is."""


def withdrawal(one: Open) -> tuple[str, str] | None:
    """What was said of a delivery while it was out of our hands: (skipped or cancelled, reason)."""
    what, _, reason = one.withdrawn.partition(" ")
    return (what, reason) if reason else None


Paced = Callable[[tuple[str, str], float, float | None, float], Pace]
"""Makes the pace of an account: which, how many a second, how many at once, and when."""


def _paces(shared: Shared | None, clock: Clock) -> Paced:
    """Our own pace for an account where we alone send to it, else the one that all senders share."""
    if shared is None:
        return lambda account, most, burst, now: Pace(most, burst, now)
    return lambda account, most, burst, now: CommonPace(shared.purse(account), most, burst, now, clock)


def _lines(
    outlets: Mapping[str, Outlet], settings: DeliverSettings, now: float, chance: Random, paced: Paced
) -> dict[str, Line]:
    """An empty line for each destination; those of one account share its pace."""
    paces: dict[tuple[str, str], Pace] = {}
    lines: dict[str, Line] = {}
    for name, outlet in outlets.items():
        most = outlet.common.per_second or outlet.spec.per_second
        burst = outlet.common.burst or outlet.spec.burst
        pace = paces.get(outlet.account)
        if pace is None:
            pace = paces[outlet.account] = paced(outlet.account, most, burst, now)
        # The slowest limit that is set for an account counts for all that share it.
        pace.most = min(pace.most, most)
        pace.rate = min(pace.rate, pace.most)
        again = max(0.1, most * settings.again_share)
        lines[name] = Line(outlet, settings, pace, Pace(again, max(1.0, again / 4), now), chance)
    return lines
