"""Decides the log's events in order, in batches that are kept whole: the second transaction of the door."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic

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

logger = logging.getLogger(__name__)

AT_ONCE = 2_000
"""Events decided in one transaction at most."""

POLICY_CHANGED, TIERS_CUT, TAKEN = EventType.POLICY_CHANGED.value, EventType.TIERS_CUT.value, Verdict.TAKEN
"""Looked up once: a member of an enumeration is found by a call."""

OF_RULES = frozenset((POLICY_CHANGED, TIERS_CUT))
"""Events that put other rules into force."""

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
        self._recent: dict[str, UserState] = {}
        self._older: dict[str, UserState] = {}
        wanted = version_of(source)
        current = log.policy()
        self._cuts = self._cuts_of(log.cuts())
        self._source = self._source_of(current) if current else source
        self._policy = compile_policy(with_cuts(self._source, self._cuts))
        # Among events that wait to be decided may be a change to a policy that is wanted no more.
        if current != wanted or log.end() > self._position:
            log.keep_policy(wanted, source)
            log.append([_policy_changed(wanted, log.end(), clock)])

    @property
    def position(self) -> int:
        """The last event that is decided."""
        return self._position

    def turn(self, first: int = 0, appended: Sequence[Event] = ()) -> bool:
        """Decides what is next; true while more waits. Just appended events need not be read again."""
        self._fire_timers()
        if appended and first == self._position + 1:
            facts = [Fact(first + number, event) for number, event in enumerate(appended)]
        else:
            facts = self._log.read(self._position, AT_ONCE)
        if not facts:
            return False
        self._decide(facts)
        return not appended or first != self._position + 1 - len(facts)

    def _fire_timers(self) -> None:
        due = self._log.due(self._clock.now_us())
        if due:
            self._log.fire(due, [pen_expired(*timer) for timer in due])

    def _decide(self, facts: Sequence[Fact]) -> None:
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
        source, cuts, rules = self._source, self._cuts, self._policy
        for fact, key in zip(facts, keys, strict=True):
            event = fact.event
            if event.type in OF_RULES:
                if event.type == POLICY_CHANGED:
                    version = str(event.properties["version"])
                    source = self._source_of(version)
                else:
                    cuts_version = str(event.properties["version"])
                    cuts = self._cuts_of(cuts_version)
                rules = compile_policy(with_cuts(source, cuts))
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
        position, begun = facts[-1].seq, monotonic()
        self._log.commit(
            Decided(
                after=self._position,
                position=position,
                states=states,
                records=records,
                verdicts=verdicts,
                timers=timers,
                tally=tally.counts(verdicts),
                policy=version,
                cuts=cuts_version,
                phones=phones.fresh,
            )
        )
        if self._meters is not None:
            self._meters.committed(monotonic() - begun)
        self._position, self._policy = position, rules
        self._source, self._cuts = source, cuts
        self._remember(states)
        if records:
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
