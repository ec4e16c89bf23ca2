"""Decides the log's events in order, in batches that are kept whole: the second transaction of the door."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic

from msgspec import Struct

from lendsignal.clock import Clock, from_us
from lendsignal.decide.meters import DecideMeters
from lendsignal.decide.phones import BatchPhones
from lendsignal.derive import CutTable
from lendsignal.errors import DataError, LogError
from lendsignal.log import Decided, Fact, Log
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

OF_RULES = frozenset((POLICY_CHANGED, TIERS_CUT, VALUE_PROMOTED))
"""Events that put other rules into force."""

NEVER_US = 1 << 62
"""Later than any timer."""

STATES_AT_HAND = 4_096
"""States kept decoded between batches, and as many that were used before them."""


class Decider:
    """Moves the log's decide cursor. One at a time over a data folder.

    `ring` is called after a commit that gave the sender something to do.
    """

    def __init__(
        self,
        log: Log,
        source: PolicySource,
        clock: Clock,
        ring: Callable[[], None],
        meters: DecideMeters | None = None,
    ) -> None:
        self._log = log
        self._clock = clock
        self._ring = ring
        self._meters = meters
        self._position = log.position()
        self._due_us = 0
        self._recent: dict[str, UserState] = {}
        self._older: dict[str, UserState] = {}
        wanted = version_of(source)
        current = log.policy()
        self._cuts = self._cuts_of(log.cuts())
        self._source = self._source_of(current) if current else source
        self._valuer = self._valuer_of(log.value())
        self._policy = compile_policy(with_cuts(self._source, self._cuts), self._valuer)
        # Among events that wait to be decided may be a change to a policy that is wanted no more.
        if current != wanted or log.end() > self._position:
            log.keep_policy(wanted, source)
            log.append([_policy_changed(wanted, log.end(), clock)])

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
        batch: _Batch | None = None
        begun = 0.0

        def decide_next(first: int) -> Decided | None:
            nonlocal batch, begun
            if first != self._position + 1:
                return None
            batch, begun = self._decided(_facts(first, events)), monotonic()
            return batch.decided

        first = self._log.append_decided(events, decide_next)
        if batch is not None:
            self._took(batch, monotonic() - begun)
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
        batch, begun = self._decided(facts), monotonic()
        self._log.commit(batch.decided)
        self._took(batch, monotonic() - begun)
        return not appended or first != self._position + 1 - len(facts)

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

    def _decided(self, facts: Sequence[Fact]) -> "_Batch":
        """What these come to, which nobody knows of yet."""
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
        phones = BatchPhones(self._log, facts, states)
        version: str | None = None
        cuts_version: str | None = None
        value_version: str | None = None
        source, cuts, valuer, rules = self._source, self._cuts, self._valuer, self._policy
        for fact, key in zip(facts, keys, strict=True):
            event = fact.event
            if event.type in OF_RULES:
                if event.type == POLICY_CHANGED:
                    version = str(event.properties["version"])
                    source = self._source_of(version)
                elif event.type == TIERS_CUT:
                    cuts_version = str(event.properties["version"])
                    cuts = self._cuts_of(cuts_version)
                else:
                    value_version = str(event.properties["version"])
                    valuer = self._valuer_of(value_version)
                rules = compile_policy(with_cuts(source, cuts), valuer)
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
        decided = Decided(
            after=self._position,
            position=facts[-1].seq,
            states=states,
            records=records,
            verdicts=verdicts,
            timers=timers,
            tally=tally.counts(verdicts),
            policy=version,
            cuts=cuts_version,
            value=value_version,
            phones=phones.fresh,
        )
        return _Batch(decided, states, rules, source, cuts, valuer)

    def _took(self, batch: "_Batch", seconds: float) -> None:
        """It is on disk, which took so long: from now on it is what is known."""
        if self._meters is not None:
            self._meters.committed(seconds)
        self._position, self._policy = batch.decided.position, batch.rules
        self._source, self._cuts, self._valuer = batch.source, batch.cuts, batch.valuer
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
                opened = self._log.planned(number for number in wanted if number not in planned)
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
            states.update(self._log.states(unknown))
        return states

    def _remember(self, states: dict[str, UserState]) -> None:
        if len(self._recent) > STATES_AT_HAND:
            self._recent, self._older = {}, self._recent
        self._recent.update(states)

    def _source_of(self, version: str) -> PolicySource:
        source = self._log.policy_source(version)
        if source is None:
            raise DataError(f"the policy {version} that the log was decided by is not kept in it")
        return source

    def _cuts_of(self, version: str | None) -> CutTable | None:
        table = None if version is None else self._log.cut_table(version)
        if table is None and version is not None:
            raise DataError(f"the cuts {version} that the log was decided by are not kept in it")
        return table

    def _valuer_of(self, version: str | None) -> Valuer | None:
        promotion = None if version is None else self._log.promotion(version)
        if promotion is None and version is not None:
            raise DataError(f"the value model {version} that the log was decided by is not kept in it")
        return None if promotion is None else Valuer(promotion)


class _Batch(Struct, frozen=True):
    """What events come to, with the states and the rules after them."""

    decided: Decided
    states: dict[str, UserState]
    rules: Policy
    source: PolicySource
    cuts: CutTable | None
    valuer: Valuer | None


def _facts(first: int, events: Sequence[Event]) -> list[Fact]:
    return [Fact(first + number, event) for number, event in enumerate(events)]


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


def _policy_changed(version: str, end: int, clock: Clock) -> Event:
    now = from_us(clock.now_us())
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
