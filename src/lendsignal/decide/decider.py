"""Decides the log's events in order, in batches that are kept whole: the second transaction of the door."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic

from msgspec import Struct
from msgspec.structs import replace

from lendsignal.clock import Clock, from_us
from lendsignal.decide.meters import DecideMeters
from lendsignal.decide.phones import BatchPhones
from lendsignal.derive import CutTable
from lendsignal.errors import DataError, LogError, Outrun
from lendsignal.log import Decided, Fact, Move, OneLog, Remembering
from lendsignal.model import Event, EventType, person_key
from lendsignal.plan import (
    LIKELY,
    Decision,
    Planned,
    Policy,
    PolicySource,
    Record,
    Timer,
    UserState,
    Verdict,
    compile_policy,
    decide,
    is_not_routed,
    people_of,
    person_state_key,
    reopened,
    taken_out,
    version_of,
    with_cuts,
)
from lendsignal.value import Valuer

logger = logging.getLogger(__name__)

AT_ONCE = 2_000
"""Events decided in one transaction at most."""

FEW = 100
"""Events that are decided before whoever sent them is answered: that takes less than one more commit."""

POLICY_CHANGED, TIERS_CUT, TAKEN = EventType.POLICY_CHANGED.value, EventType.TIERS_CUT.value, Verdict.TAKEN
VALUE_PROMOTED = EventType.VALUE_PROMOTED.value
"""Looked up once: a member of an enumeration is found by a call."""

ERASED = EventType.ERASED.value

OF_RULES = frozenset((POLICY_CHANGED, TIERS_CUT, VALUE_PROMOTED))
"""Events that put other rules into force."""

APART = OF_RULES | {ERASED}
"""Events that are nobody's."""

NEVER_US = 1 << 62
"""Later than any timer."""

STATES_AT_HAND = 4_096
"""States kept decoded between batches, and as many that were used before them."""

RULES_AT_HAND = 8
"""Sets of rules kept ready: slots whose rules change one after the other share them."""

WHOLE_LOG = 0
"""The one slot of a log that is not parted."""


class Versions(Struct, frozen=True):
    """The rules in force at a place in the log: policy, cuts of the tiers, value model; `None`: none yet."""

    policy: str | None = None
    cuts: str | None = None
    value: str | None = None


UNCHANGED = Versions()


class Rules(Struct, frozen=True):
    """What events are decided by, under the versions that the log knows it by."""

    versions: Versions
    source: PolicySource
    cuts: CutTable | None
    valuer: Valuer | None
    policy: Policy


class Batch(Struct, frozen=True):
    """What events come to, with the states and each slot's rules after them."""

    decided: Decided
    states: dict[str, UserState]
    rules: dict[int, Rules]


class Deciding:
    """Decides batches of events in memory, by states and rules out of a log.

    Rules stand by slot: each slot of a log is at a place of its own. What is decided counts as known once
    `_took` hears that it is on disk.
    """

    def __init__(
        self, log: Remembering, ring: Callable[[], None], meters: DecideMeters | None = None
    ) -> None:
        self._memory = log
        self._ring = ring
        self._meters = meters
        self._rules: dict[int, Rules] = {}
        self._ready: dict[Versions, Rules] = {}
        self._due_us = 0
        self._recent: dict[str, UserState] = {}
        self._older: dict[str, UserState] = {}

    def _decided(self, parts: Sequence[tuple[int, Sequence[Fact]]], after: int, position: int) -> Batch:
        """What the next events of these slots come to, which nobody knows of yet.

        `after` and `position` are the places before and behind them, in a log that is not parted.
        """
        facts = parts[0][1] if len(parts) == 1 else [fact for _, part in parts for fact in part]
        keys = [person_key(fact.event) for fact in facts]
        states = self._states_of(keys)
        people = _people(facts, states)
        if people:
            states.update(self._states_of(people))
        records: list[tuple[int, Record]] = []
        verdicts: list[tuple[int, Verdict]] = []
        timers: list[tuple[str, Timer]] = []
        tally = _Tally()
        planned: dict[int, Planned] = {}
        phones = BatchPhones(self._memory, facts, states)
        keyed = iter(keys)
        moves: list[Move] = []
        after_them: dict[int, Rules] = {}
        for slot, part in parts:
            ruling = self._rules[slot]
            rules = ruling.policy
            for fact, key in zip(part, keyed, strict=False):
                event = fact.event
                if event.type in APART:
                    if event.type == ERASED:
                        records += taken_out(fact.seq, event)
                        continue
                    ruling = self._changed(ruling, event)
                    rules = ruling.policy
                    continue
                before = states.get(key) or UserState(key)
                decision = self._decision(before, fact, rules, planned, states, phones)
                states[key] = decision.state
                for person in decision.people:
                    states[person.key] = person
                tally.pen += len(decision.state.pen) - len(before.pen)
                tally.types.append(event.type)
                if decision.verdict is not TAKEN:
                    verdicts.append((fact.seq, decision.verdict))
                if decision.timers:
                    timers += [(key, timer) for timer in decision.timers]
                if decision.records:
                    records += decision.records
                    for number, record in decision.records:
                        if isinstance(record, Planned):
                            planned[number] = record
                            tally.conversions.append(record.conversion.name)
                            tally.not_routed += is_not_routed(record)
            changed = _changes(self._rules[slot], ruling)
            moves.append(Move(slot, part[-1].seq, changed.policy, changed.cuts, changed.value))
            after_them[slot] = ruling
        last = moves[-1]
        decided = Decided(
            after=after,
            position=position,
            states=states,
            records=records,
            verdicts=verdicts,
            timers=timers,
            tally=tally.counts(verdicts),
            policy=last.policy,
            cuts=last.cuts,
            value=last.value,
            phones=phones.fresh,
            moves=moves,
        )
        return Batch(decided, states, after_them)

    def _changed(self, rules: Rules, event: Event) -> Rules:
        """The rules from an event on that puts others into force."""
        version = str(event.properties["version"])
        versions, source, cuts, valuer = rules.versions, rules.source, rules.cuts, rules.valuer
        if event.type == POLICY_CHANGED:
            versions = replace(versions, policy=version)
        elif event.type == TIERS_CUT:
            versions = replace(versions, cuts=version)
        else:
            versions = replace(versions, value=version)
        ready = self._ready.get(versions)
        if ready is not None:
            return ready
        if event.type == POLICY_CHANGED:
            source = self._source_of(version)
        elif event.type == TIERS_CUT:
            cuts = self._cuts_of(version)
        else:
            valuer = self._valuer_of(version)
        return self._compiled(versions, source, cuts, valuer)

    def _compiled(
        self, versions: Versions, source: PolicySource, cuts: CutTable | None, valuer: Valuer | None
    ) -> Rules:
        while len(self._ready) >= RULES_AT_HAND:
            del self._ready[next(iter(self._ready))]
        policy = compile_policy(with_cuts(source, cuts), valuer)
        found = self._ready[versions] = Rules(versions, source, cuts, valuer, policy)
        return found

    def _took(self, batch: Batch, seconds: float) -> None:
        """It is on disk, which took so long: from now on it is what is known."""
        if self._meters is not None:
            self._meters.committed(seconds)
        self._rules.update(batch.rules)
        self._due_us = min([self._due_us, *(timer.due_us for _, timer in batch.decided.timers)])
        self._remember(batch.states)
        if batch.decided.records:
            self._ring()

    def _decision(
        self,
        state: UserState,
        fact: Fact,
        policy: Policy,
        planned: Mapping[int, Planned],
        states: Mapping[str, UserState],
        phones: BatchPhones,
    ) -> Decision:
        """The decision; an event that cannot be decided is marked so and stops nobody else.

        `planned` are the records of this batch, which the log does not have yet, `states` its states and
        `phones` the phones that it is about.
        """
        try:
            opened: dict[int, Planned] = {}
            wanted = reopened(state, fact.event)
            if wanted:
                opened = self._memory.planned(number for number in wanted if number not in planned)
                opened |= {number: planned[number] for number in wanted if number in planned}
            joined = people_of(state, fact.event)
            people = {key: states[key] for key in joined if key in states} if joined else None
            if not policy.resolve.shared_device_users:
                return decide(state, fact.seq, fact.event, policy, opened, people)
            shared = phones.shared(state, fact.event, policy)
            decision = decide(state, fact.seq, fact.event, policy, opened, people, shared)
            if decision.verdict is TAKEN:
                phones.take(fact.event, policy)
            return decision
        except (LogError, DataError):  # the log's fault, and not the event's
            raise
        except Exception as error:
            logger.error("event %d cannot be decided: %s", fact.seq, type(error).__name__)
            return Decision(state, Verdict.FAILED)

    def _states_of(self, keys: Iterable[str]) -> dict[str, UserState]:
        """What is remembered of these people; those who are new are missing."""
        states: dict[str, UserState] = {}
        unknown: set[str] = set()
        for key in keys:
            state = self._recent.get(key) or self._older.get(key)
            if state is None:
                unknown.add(key)
            else:
                states[key] = state
        if unknown:
            states.update(self._memory.states(unknown))
        return states

    def _forget(self) -> None:
        """Somebody was erased: nothing that was in memory is trusted."""
        self._recent, self._older = {}, {}

    def _remember(self, states: dict[str, UserState]) -> None:
        if len(self._recent) > STATES_AT_HAND:
            self._recent, self._older = {}, self._recent
        self._recent.update(states)

    def _source_of(self, version: str) -> PolicySource:
        source = self._memory.policy_source(version)
        if source is None:
            raise DataError(f"the policy {version} that the log was decided by is not kept in it")
        return source

    def _cuts_of(self, version: str | None) -> CutTable | None:
        table = None if version is None else self._memory.cut_table(version)
        if table is None and version is not None:
            raise DataError(f"the cuts {version} that the log was decided by are not kept in it")
        return table

    def _valuer_of(self, version: str | None) -> Valuer | None:
        promotion = None if version is None else self._memory.promotion(version)
        if promotion is None and version is not None:
            raise DataError(f"the value model {version} that the log was decided by is not kept in it")
        return None if promotion is None else Valuer(promotion)


class Decider(Deciding):
    """Moves the log's decide cursor. One at a time over a data folder.

    `ring` is called after a commit that gave the sender something to do.
    """

    def __init__(
        self,
        log: OneLog,
        source: PolicySource,
        clock: Clock,
        ring: Callable[[], None],
        meters: DecideMeters | None = None,
    ) -> None:
        super().__init__(log, ring, meters)
        self._log = log
        self._clock = clock
        self._position = log.position()
        wanted = version_of(source)
        current = log.policy()
        versions = Versions(current, log.cuts(), log.value())
        self._rules[WHOLE_LOG] = self._compiled(
            versions,
            self._source_of(current) if current else source,
            self._cuts_of(versions.cuts),
            self._valuer_of(versions.value),
        )
        # Among events that wait to be decided may be a change to a policy that is wanted no more.
        if current != wanted or log.end() > self._position:
            log.keep_policy(wanted, source)
            log.append([policy_changed(wanted, log.end(), clock.now_us())])

    @property
    def position(self) -> int:
        """The last event that is decided."""
        return self._position

    def append(self, events: Sequence[Event]) -> int:
        """Has the log take events, and returns the number of the first.

        A few are decided in the same transaction, where nothing else waits before them.
        """
        if len(events) > FEW:
            return self._log.append(events)
        batch: Batch | None = None
        begun = 0.0

        def decide_next(first: int) -> Decided | None:
            nonlocal batch, begun
            if first != self._position + 1:
                return None
            batch, begun = self._next(_facts(first, events)), monotonic()
            return batch.decided

        try:
            first = self._log.append_decided(events, decide_next)
        except Outrun:
            self._forget()
            return self._log.append(events)
        if batch is not None:
            self._moved(batch, monotonic() - begun)
        return first

    def turn(self, first: int = 0, appended: Sequence[Event] = ()) -> bool:
        """Decides what is next; true while more waits. Just appended events need not be read again."""
        self._fire_timers()
        if appended and first + len(appended) - 1 == self._position:
            return False
        if appended and first == self._position + 1:
            facts = _facts(first, appended)
        else:
            facts = self._log.read(self._position, AT_ONCE)
        if not facts:
            return False
        batch, begun = self._next(facts), monotonic()
        try:
            self._log.commit(batch.decided)
        except Outrun:
            self._forget()
            return True
        self._moved(batch, monotonic() - begun)
        return not appended or first != self._position + 1 - len(facts)

    def _next(self, facts: Sequence[Fact]) -> Batch:
        return self._decided([(WHOLE_LOG, facts)], self._position, facts[-1].seq)

    def _moved(self, batch: Batch, seconds: float) -> None:
        self._position = batch.decided.position
        self._took(batch, seconds)

    def _fire_timers(self) -> None:
        """Nobody else sets timers, so the log is not asked while none can be due."""
        now_us = self._clock.now_us()
        if now_us < self._due_us:
            return
        due = self._log.due(now_us)
        if due:
            self._log.fire(due, [pen_expired(*timer) for timer in due])
        else:
            self._due_us = self._log.next_timer() or NEVER_US


def _facts(first: int, events: Sequence[Event]) -> list[Fact]:
    return [Fact(first + number, event) for number, event in enumerate(events)]


def _changes(before: Rules, after: Rules) -> Versions:
    """The versions that came into force in between; `None`: as before."""
    if after is before:
        return UNCHANGED
    was, now = before.versions, after.versions
    return Versions(
        None if now.policy == was.policy else now.policy,
        None if now.cuts == was.cuts else now.cuts,
        None if now.value == was.value else now.value,
    )


def _people(facts: Sequence[Fact], states: Mapping[str, UserState]) -> set[str]:
    """The keys of the states that these users share with others of the same person."""
    found = {fact.event.person_id for fact in facts} | {state.person for state in states.values()}
    return {person_state_key(one) for one in found if one is not None}


class _Tally:
    """What a batch of decisions adds to the counts."""

    def __init__(self) -> None:
        self.types: list[str] = []
        self.conversions: list[str] = []
        self.not_routed = 0
        self.pen = 0
        """How many more conversions wait for a first login; fewer, where it is below 0."""

    def counts(self, verdicts: Sequence[tuple[int, Verdict]]) -> dict[tuple[str, str], int]:
        """Counts by what is counted; `verdicts` are those of events that were not simply taken."""
        found = {("event", kind): n for kind, n in Counter(self.types).items()}
        words = Counter(verdict.value for _, verdict in verdicts)
        words["taken"] = len(self.types) - len(verdicts)
        found |= {("verdict", word): n for word, n in words.items()}
        found |= {("conversion", name): n for name, n in Counter(self.conversions).items()}
        found["not_routed", ""] = self.not_routed
        found["pen", ""] = self.pen
        return {what: n for what, n in found.items() if n}


def policy_changed(version: str, end: int, now_us: int) -> Event:
    """The event from whose place on a policy applies; `end` tells one time of it from another."""
    now = from_us(now_us)
    return Event(
        type=EventType.POLICY_CHANGED,
        brand="lendsignal",
        user_id="lendsignal",
        event_id=f"policy-{version}-{end}",
        occurred_at=now,
        received_at=now,
        actor="system",
        properties={"version": version},
    )


def pen_expired(due_us: int, conversion: str, person: str) -> Event:
    """The event by which a conversion's time in the holding pen ends, or an application's wait."""
    likely = conversion.startswith(LIKELY)
    brand, _, user_id = person.partition(":")
    due = from_us(due_us)
    return Event(
        type=EventType.DECISION_DUE if likely else EventType.PEN_EXPIRED,
        brand=brand,
        user_id=user_id,
        event_id=f"likely-{conversion.removeprefix(LIKELY)}" if likely else f"pen-{conversion}",
        occurred_at=due,
        received_at=due,
        actor="system",
    )
