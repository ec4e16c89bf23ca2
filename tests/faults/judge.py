"""What must hold at every request, every answer, every commit and at the end; told in sentences.

The judge keeps a book of his own. He reads the planned records and what is on disk, sees what leaves and
what comes back, and trusts no count of the sender's.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from tests.desk import TOKEN, WHATS
from tests.faults.platform import Answer, Platform
from tests.faults.setting import Place, Setting
from tests.faults.world import SECOND, Broken, World

from lendsignal.clock import to_us
from lendsignal.deliver import NoAnswer
from lendsignal.deliver.sender import Flight
from lendsignal.log import EVERY, Again, Cancel, Changes, Deliveries, Halt, LetGo, Log, Orders, Receipt, Stage
from lendsignal.plan import Corrected, Planned, Rebound, Withdrawn, delivery_id

WITHOUT_ANSWER = ("retry", "held", "skipped", "cancelled")
"""What a try without an answer may come to."""

LONG = 100_000.0
"""Seconds for which nobody here waits."""

PATIENCE_US = 1_800_000_000
"""Within this a calm world has sent whatever there is: the longest wait, lanes and probes together."""

CLOCK_SLACK = 6.0
"""Seconds by which a clock that was set may shorten a wait: less counts as no change."""


class Sent(Struct):
    """One request's part in a conversion. `end` says how it ended as far as the sender was told: empty
    while it is on the way, else `said`, `refused` (never left), `unknown`. `is_kept`: that is on disk."""

    number: int
    sent_us: int
    stamp_us: int
    end: str = ""
    word: str = ""
    is_kept: bool = False


class Life(Struct):
    """One conversion at one destination, whichever deliveries it was planned as. `unknown` counts its
    ambiguous ends since a person last released it, `ambiguous` all of them; `first` is the first try."""

    place: Place
    conversion: str
    name: str
    occurred_us: int
    user: str
    due_us: int
    sent: list[Sent] = []
    asked: list[tuple[int, str]] = []
    first: float = 0.0
    unknown: int = 0
    ambiguous: int = 0
    releases: int = 0
    is_released: bool = False
    is_withdrawn: bool = False

    @property
    def last(self) -> Sent | None:
        """The last request that carried it."""
        return self.sent[-1] if self.sent else None


class Row(Struct):
    """An open delivery as the judge saw it committed."""

    stage: Stage
    destination: str
    again: bool
    first_us: int


class Request(Struct):
    """A request on its way. `asks`: for a verdict."""

    place: Place
    lives: list[Life]
    sent_us: int
    asks: bool


class Judge:
    """Sees everything and says `Broken` at the first promise that is."""

    def __init__(self, world: World, setting: Setting, log: Log, orders: Orders) -> None:
        self.world = world
        self.lives: dict[tuple[str, str], Life] = {}
        self.by_delivery: dict[int, Life] = {}
        self.rows: dict[int, Row] = {}
        self.ends: dict[int, Receipt] = {}
        self.store: Deliveries
        self._setting = setting
        self._places = {place.name: place for place in setting.places}
        self._log = log
        self._orders = orders
        self._numbers = 0
        self._flying: dict[int, Request] = {}
        self._position = 0
        self.order = 0
        self._planned: Counter[tuple[str, str]] = Counter()
        self._rebounds: dict[int, list[int]] = {}
        self._stops: dict[str, str] = {}
        self._since: dict[str, int] = {}
        self._quiet_from: dict[str, float] = {}
        self._slow_until: dict[str, float] = {}
        self._tokens: dict[str, tuple[float, float]] = {}
        self._lanes: dict[tuple[str, str], tuple[int, str]] = {}
        self._begun: dict[str, set[str]] = {}
        self._agreed: set[str] = set()
        self._starts = 0
        self._planned_now: list[int] = []

    def check(self, true: bool, sentence: str) -> None:
        """Says so where it is not."""
        if not true:
            self.world.say(f"BROKEN: {sentence}")
            raise Broken(sentence)

    # what leaves

    def sends(self, name: str, token: object, items: Sequence[Mapping[str, Any]]) -> int:
        """Conversions leave for a destination, in one request. Returns its number."""
        assert isinstance(token, Flight)
        place = self._places[name]
        self._numbers += 1
        lives: list[Life] = []
        check = self.check
        check(len(items) == len(token.deliveries), "a request holds another number of rows than was claimed")
        check(
            len(items) <= place.batch, f"{len(items)} rows in a request to {name}, which takes {place.batch}"
        )
        if place.by_user:
            check(len({item["user"] for item in items}) == 1, "a request mixes what must be apart")
        for item, one in zip(items, token.deliveries, strict=True):
            life = self.by_delivery.get(one.id)
            check(life is not None and life.place is place, f"delivery {one.id} of {name} was never planned")
            assert life is not None
            check(life.conversion == item["id"], f"delivery {one.id} carries another conversion's id")
            lives.append(life)
        self.world.say(
            f"→ {self._numbers} to {name}: {' '.join(f'{one.id}' for one in token.deliveries)}"
            f" ({', '.join(f'{life.user} {life.name}' for life in lives)})"
        )
        self._may_leave(place, token, len(items))
        for item, one, life in zip(items, token.deliveries, lives, strict=True):
            self._may_be_sent(life, one.id, token.sent_us)
            self._is_in_order(life, one.id, int(item["at"]))
        for item, life in zip(items, lives, strict=True):
            life.first = life.first or self.world.steady()
            life.is_released = False
            life.sent.append(Sent(self._numbers, token.sent_us, int(item["at"])))
        self._flying[self._numbers] = Request(place, lives, token.sent_us, False)
        return self._numbers

    def asks(self, name: str, token: object) -> tuple[int, int]:
        """A question for a verdict leaves. Returns its number and how many deliveries it asks for."""
        assert isinstance(token, Flight)
        self._numbers += 1
        place = self._places[name]
        self.world.say(f"→ {self._numbers} to {name}: what became of {token.deliveries[0].reason}?")
        self._may_leave(place, token, 0)
        lives = [self.by_delivery[one.id] for one in token.deliveries]
        self._flying[self._numbers] = Request(place, lives, token.sent_us, True)
        return self._numbers, len(lives)

    def _may_leave(self, place: Place, token: Flight, rows: int) -> None:
        """Pauses, orders, slow-downs and the pace of the account."""
        world, name, check = self.world, place.name, self.check
        now = world.steady()
        flying = [one for one in self._flying.values() if one.place is place]
        check(len(flying) < place.concurrency, f"more than {place.concurrency} requests to {name} at once")
        check(EVERY not in self._stops, "something leaves while everything is halted")
        stop = self._stops.get(name)
        # A brake may fall while a turn gathers what it sends: what was gathered before it goes.
        gathered = name in self._since and token.sent_us <= self._since[name]
        check(stop in (None, "platform") or gathered, f"something leaves for {name}, which {stop} stopped")
        if stop == "platform":
            check(rows <= 1 and not flying, f"{name} is paused and gets more than a probe")
            since, least = now - self._quiet_from.get(name, float("-inf")), self._setting.probe_after
            check(since >= least - 0.001 or bool(world.jumps), f"{name} is probed after {since:.3f} s")
            self._quiet_from[name] = now
        until = self._slow_until.get(place.account, 0.0)
        slack = CLOCK_SLACK if world.jumps else 0.001
        check(now >= until - slack, f"{name} asked to be left alone for {until - now:.3f} s more")
        self._take_token(place, now, token.sent_us)
        if rows and place.first_run is not None and name not in self._agreed:
            begun = self._begun.setdefault(name, set())
            begun.update(self.by_delivery[one.id].conversion for one in token.deliveries)
            limit = place.first_run * self._starts
            check(len(begun) <= limit, f"{len(begun)} first deliveries to {name}, which may have {limit}")

    def _take_token(self, place: Place, now: float, sent_us: int) -> None:
        """The account's bucket, by when it was decided to send: the disk may have been slow since."""
        if self.world.jumps:
            return
        decided = now - (self.world.now_us() - sent_us) / SECOND
        burst = max(1.0, place.burst)
        tokens, at = self._tokens.get(place.account, (burst, decided))
        tokens = min(burst, tokens + max(0.0, decided - at) * place.most)
        self.check(tokens >= 0.99, f"faster than {place.most} a second to {place.account}")
        self._tokens[place.account] = tokens - 1, max(at, decided)

    def _may_be_sent(self, life: Life, delivery: int, decided_us: int) -> None:
        """Claimed on disk, not too late, not withdrawn, and no double that could have been known of."""
        check, place, world = self.check, life.place, self.world
        row = self.store.one(place.name, delivery)
        check(row is not None and row.stage is Stage.CLAIMED, f"{delivery} leaves and is not claimed on disk")
        closes_us = life.occurred_us + int(place.max_age * SECOND)
        if place.late == "skip":
            check(decided_us < closes_us, f"{delivery} leaves after its window closed")
        elif life.first and not life.is_released and not world.jumps:
            check(
                world.steady() < life.first + self._setting.retry_for + 60,
                f"{delivery} is still tried after {self._setting.retry_for} s",
            )
        if not world.jumps:
            check(decided_us >= life.due_us, f"{delivery} leaves before it is due")
        check(not life.is_withdrawn, f"{delivery} leaves and was withdrawn")
        last = life.last
        if last is None or life.is_released:
            return
        number = f"{delivery} ({life.user} {life.name})"
        check(last.end != "", f"{number} leaves again while it is on its way")
        if last.end == "said":
            final = not last.word.startswith(("retry", "throttled", "paused", "split"))
            check(not final, f"{number} leaves again, and it was {last.word}")
        elif last.end == "unknown":
            allowed = place.retry or 0
            check(life.unknown <= allowed, f"{number} leaves again after {life.unknown} ambiguous ends")

    def _is_in_order(self, life: Life, delivery: int, stamp_us: int) -> None:
        """One of a lane at a time; the head first; what is sent rises."""
        place, check = life.place, self.check
        if not place.has_lanes:
            return
        lane = f"the lane of {life.user} at {place.name}"
        for request in self._flying.values():
            busy = (
                not request.asks and request.place is place and life.user in [x.user for x in request.lives]
            )
            check(not busy, f"two of {lane} are on their way")
        before = self._lanes.get((place.name, life.user))
        if before is not None and before[1] != life.conversion and place.ordered in ("skip", "restamp"):
            step = int(place.rises * SECOND)
            rises = stamp_us // step > before[0] // step if step else stamp_us >= before[0]
            check(rises, f"{delivery} is behind a later one in {lane}")
        self._lanes[place.name, life.user] = stamp_us, life.conversion
        if self.world.jumps:
            return
        for number, row in self.rows.items():
            other = self.by_delivery[number]
            # One that was pending gave its place at the head away, and one sent through again never had it.
            gave_way = row.again or bool(other.asked)
            waits = row.stage is Stage.WAITING and row.first_us > 0 and not gave_way
            if not waits or number == delivery or row.destination != place.name or other.user != life.user:
                continue
            passed = self.world.now_us() >= row.first_us + int(place.lane_wait * SECOND)
            check(passed, f"{delivery} passes {number}, the head of {lane}, which waits to be tried again")

    # what comes back

    def hears(self, number: int, what: Answer | NoAnswer) -> None:
        """The sender is given the end of a request."""
        request = self._flying.pop(number)
        place, name = request.place, request.place.name
        words = list(what.words) if isinstance(what, Answer) else []
        if any(word in ("accepted", "unconfirmed") for word in words) and self._stops.get(name) == "platform":
            del self._stops[name]
        for word in words:
            kind, _, rest = word.partition(":")
            if kind == "paused" and name not in self._stops:
                self._stops[name] = "platform"
                self._quiet_from[name] = self.world.steady()
            if kind == "throttled":
                until = self.world.steady() + float(rest or 1)
                if rest or self._slow_until.get(place.account, 0.0) <= self.world.steady():
                    before = self._slow_until.get(place.account, 0.0)
                    self._slow_until[place.account] = max(before, until)
        for place_in, life in enumerate(request.lives):
            if request.asks:
                if words:
                    self._is_told(life, request.sent_us, words[place_in])
                continue
            sent = next(one for one in reversed(life.sent) if one.number == number)
            if isinstance(what, NoAnswer):
                sent.end = "unknown" if what.left else "refused"
                life.unknown += what.left
                life.ambiguous += what.left
            elif words[place_in] == "retry:unreadable_answer":
                # A yes that nobody can read is no answer: the platform may have counted it.
                sent.end = "unknown"
                life.unknown += 1
                life.ambiguous += 1
            else:
                sent.end, sent.word = "said", words[place_in]
                if sent.word.startswith("split:") and len(words) == 1:
                    sent.word = f"rejected:{sent.word.partition(':')[2]}"

    def _is_told(self, life: Life, sent_us: int, word: str) -> None:
        life.asked.append((sent_us, word))
        last = life.last
        assert last is not None
        if word.startswith("retry:busy"):
            last.word = word

    # what is committed

    def sees_commit(self, changes: Changes) -> None:
        """The disk took these changes; now all that is on it must agree."""
        for number in changes.finished:
            self.rows.pop(number, None)
        for number, one in changes.kept.items():
            self.rows[number] = Row(one.stage, one.destination, one.again, one.first_us)
            if one.stage is Stage.PENDING and number in self.by_delivery:
                # Nobody can take back what the platform took in: its verdict is followed.
                self.by_delivery[number].is_withdrawn = False
        for name, pause in changes.paused.items():
            if pause is None:
                self._stops.pop(name, None)
            else:
                self._stops[name], self._since[name] = pause.kind.value, pause.since_us
        for receipt in changes.receipts:
            if receipt.what in WHATS:
                self.ends[receipt.id] = receipt
            else:
                self.ends.pop(receipt.id, None)
        if changes.position is not None:
            assert isinstance(changes.position, int), "a data folder has one stream"
            self._read_to(changes.position)
        for receipt in changes.receipts:
            self._sees_receipt(receipt)
        if changes.obeyed is not None:
            self._sees_order(changes.obeyed[0], changes)
        self._is_accounted_for()

    def _read_to(self, position: int) -> None:
        """Records that the sender says it has read."""
        for number, record in self._log.records(self._position, 10_000):
            if number > position:
                break
            match record:
                case Withdrawn():
                    self._withdraws(record)
                case Planned() | Rebound():
                    self._plans(number, record)
                case Corrected():
                    raise AssertionError("nobody lets himself be corrected in these worlds")
        self._position = position

    def _plans(self, number: int, record: Planned | Rebound) -> None:
        if isinstance(record, Rebound):
            self._rebounds.setdefault(record.record, []).append(number)
        for place_in, entry in enumerate(record.entries):
            delivery = delivery_id(number, place_in)
            if isinstance(record, Planned):
                self._planned[entry.destination, record.conversion.name] += 1
            elif delivery not in self.rows and delivery not in self.ends:
                continue  # it only moved the delivery that there was
            if entry.skip is not None:
                continue
            conversion = record.conversion
            life = self.lives.setdefault(
                (entry.destination, conversion.id),
                Life(
                    place=self._places[entry.destination],
                    conversion=conversion.id,
                    name=conversion.name,
                    occurred_us=to_us(conversion.occurred_at),
                    user=conversion.user_id,
                    due_us=record.at_us + entry.settle_us,
                ),
            )
            self.by_delivery[delivery] = life
            self._planned_now.append(delivery)

    def _sees_order(self, number: int, changes: Changes) -> None:
        """An order is carried out, in its turn and with all that follows from it."""
        self.check(number == self.order + 1, f"order {number} is carried out after {self.order}")
        self.order = number
        ((_, order),) = self._orders.after(number - 1)
        match order:
            case Halt():
                pass  # the pause itself is seen in what is committed
            case LetGo(destinations):
                names = set(self._places) if EVERY in destinations else set(destinations)
                self.check(not names & set(self._stops), "what was let go is still stopped")
                self._agreed.update(names)
            case Cancel(_, deliveries):
                for one in deliveries:
                    self._is_taken_back(one, but=(Stage.PENDING,))
            case Again(_, _, _, _, pairs):
                for one, _ in pairs:
                    if one in changes.kept and changes.kept[one].again:
                        life = self.by_delivery[one]
                        life.is_released, life.is_withdrawn = True, False
                        life.first, life.unknown, life.releases = 0.0, 0, life.releases + 1

    def _withdraws(self, record: Withdrawn) -> None:
        for number in (record.record, *self._rebounds.get(record.record, ())):
            for place_in in range(len(self._places)):
                self._is_taken_back(delivery_id(number, place_in), but=(Stage.HELD, Stage.PENDING))

    def _is_taken_back(self, delivery: int, but: Sequence[Stage]) -> None:
        """It is over for a delivery; one that is on its way may still arrive, and is not repeated."""
        row = self.rows.get(delivery)
        if row is not None and row.stage not in but:
            self.check(row.stage is Stage.CLAIMED, f"{delivery} is taken back, and waits all the same")
            self.by_delivery[delivery].is_withdrawn = True

    def _sees_receipt(self, receipt: Receipt) -> None:
        """What is recorded of a try is what was said of it; and no secret is in it."""
        self.check(TOKEN.encode() not in receipt.answer, "a recorded answer holds the token")
        life = self.by_delivery.get(receipt.id)
        if life is None or not receipt.sent_us:
            return
        what, reason = receipt.what, receipt.reason
        recorded = f"{receipt.id} is recorded as {what} {reason}"
        sent = next((one for one in life.sent if one.sent_us == receipt.sent_us), None)
        told = next((word for at, word in life.asked if at == receipt.sent_us), None)
        if told is not None:
            self.check(_agrees(told, what, reason), f"{recorded}, and the verdict was {told}")
        elif sent is None or not sent.end:
            over = (what, reason) == ("accepted", "no_verdict")
            self.check(over, f"{recorded}, and nobody said anything")
        elif sent.end == "said":
            sent.is_kept = True
            self.check(_agrees(sent.word, what, reason), f"{recorded}, and the platform said {sent.word}")
        else:
            sent.is_kept = True
            self.check(what in WITHOUT_ANSWER, f"{recorded}, and there was no answer")

    def _is_accounted_for(self) -> None:
        """planned = accepted + dead + open + skipped + cancelled, by destination and conversion."""
        books: Counter[tuple[str, str]] = Counter()
        planned: Counter[tuple[str, str]] = Counter()
        for (name, conversion, what, _), n in self.store.tally().items():
            if what in WHATS:
                books[name, conversion] += n if what == "planned" else -n
                if what == "planned":
                    planned[name, conversion] += n
                self.check(n >= 0, f"{n} {what} at {name}")
        stored = {
            (one.destination, one.id): one.stage
            for name in self._places
            for stage in Stage
            for one in self.store.open(name, 0, 100_000, stage)
        }
        for (name, number), _ in stored.items():
            books[name, self.by_delivery[number].name] -= 1
        wrong = {key: n for key, n in books.items() if n}
        self.check(not wrong, f"planned is not accepted + dead + open + skipped + cancelled: {wrong}")
        kept = {(row.destination, number): row.stage for number, row in self.rows.items()}
        self.check(stored == kept, "the rows on disk are not those that were committed")
        for key, n in self._planned.items():
            more = bool(self._rebounds)
            fits = planned[key] >= n if more else planned[key] == n
            self.check(fits, f"{planned[key]} of {n} planned deliveries of {key} were counted")
        for delivery in self._planned_now:
            is_there = delivery in self.rows or delivery in self.ends
            self.check(is_there, f"{delivery} is planned, read, and nowhere")
        self._planned_now.clear()

    # the process

    def starts_anew(self) -> None:
        """A sender starts over what is on disk."""
        self._starts += 1
        self._stops = {name: pause.kind.value for name, pause in self.store.paused().items()}

    def dies(self) -> None:
        """What was not on disk when the process died is not known any more."""
        for life in self.lives.values():
            for sent in life.sent:
                if sent.end == "" or (sent.end in ("said", "refused") and not sent.is_kept):
                    sent.end = "unknown"
                    life.unknown += 1
                    life.ambiguous += 1
        self._flying.clear()
        self._quiet_from.clear()
        self._slow_until.clear()
        self._tokens.clear()

    # the end

    @property
    def is_at_rest(self) -> bool:
        """Whether everything is read and obeyed, and what is open waits for a person alone."""
        finished = all(
            row.stage is Stage.HELD and (hold is None or hold > LONG)
            for row in self.rows.values()
            for hold in (self._places[row.destination].hold,)
        )
        read = self._position >= self._log.last_record() and self.order >= self._orders.last()
        return finished and read and not self._flying

    @property
    def needs_a_person(self) -> bool:
        """Whether a destination waits to be let go."""
        return any(kind != "platform" for kind in self._stops.values())

    def ends_well(self, platforms: Mapping[str, Platform], calm_us: int) -> None:
        """Nothing lost, nothing made up, no double without a reason; calm since `calm_us`."""
        check = self.check
        check(self._position >= self._log.last_record(), "planned records were never read")
        check(self.order >= self._orders.last(), "an order was never carried out")
        for number, row in self.rows.items():
            check(row.stage is Stage.HELD, f"{number} never came to an end: {row.stage.name.lower()}")
            hold = self._places[row.destination].hold
            check(hold is None or hold > LONG, f"{number} is held for longer than {hold} s")
        for number, life in self.by_delivery.items():
            check(number in self.rows or number in self.ends, f"{number} is lost")
            end = self.ends.get(number)
            if end is None:
                continue
            counted = platforms[life.place.name].counted.get(life.conversion)
            is_there = bool(counted) or end.reason == "no_verdict"
            check(end.what != "accepted" or is_there, f"{number} is accepted, and the platform has it not")
            if (
                life.place.late == "skip"
                and not self.world.jumps
                and life.occurred_us + int(life.place.max_age * SECOND) > calm_us + PATIENCE_US
            ):
                late = end.reason in ("window_closed", "too_old")
                check(not late, f"{number} was not sent in time, with all the time there is")
        for name, platform in platforms.items():
            for conversion, requests in platform.counted.items():
                check((name, conversion) in self.lives, f"{name} has {conversion}, which nobody planned")
                life = self.lives[name, conversion]
                most = 1 + life.releases + (life.ambiguous if life.place.retry else 0)
                check(len(requests) <= most, f"{name} counted {conversion} {len(requests)} times")
        for one in self.store.all_dead(limit=10_000):
            check(TOKEN.encode() not in one.request + one.answer, "a dead delivery holds the token")
            check(self.ends[one.id].what == "dead", f"{one.id} is kept as dead, and is not")
        if self._setting.faults.is_fair:
            self._was_fast()

    def _was_fast(self) -> None:
        """Where nothing went wrong, nobody waited longer than there was reason to."""
        for number, life in self.by_delivery.items():
            end, place = self.ends[number], life.place
            if end.what != "accepted" or place.picky or place.pends or place.first_run:
                continue
            queue = len(self.lives) * (1.0 + 1.0 / place.most)
            bound = place.linger + place.period + place.timeout + queue
            waited = (end.answered_us - life.due_us) / SECOND
            self.check(waited <= bound, f"{number} waited for {waited:.1f} s and nothing was wrong")


def _agrees(word: str, what: str, reason: str) -> bool:
    """Whether what is recorded of an answer is what it said."""
    kind, _, said = word.partition(":")
    match kind:
        case "accepted":
            return (what, reason) == ("accepted", "confirmed")
        case "unconfirmed":
            return (what, reason) == ("accepted", "unconfirmed")
        case "rejected":
            return (what, reason) == ("dead", said)
        case "pending":
            return (what, reason) in (("pending", f"pending {said}"), ("accepted", "no_verdict"))
        case "throttled":
            return what in ("skipped", "cancelled") or (what, reason) == ("retry", "throttled")
        case _:  # to be tried again, unless it was taken back meanwhile, or this is the third 500 in a row
            ended = what in ("skipped", "cancelled") or (what == "dead" and reason == "http_500")
            return ended or (what, reason) == ("retry", said)
