"""Decides the log's events in order, in batches that are kept whole: the second transaction of the door."""

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence

from lendsignal.clock import Clock, from_us
from lendsignal.errors import DataError
from lendsignal.log import Decided, Fact, Log
from lendsignal.model import Event, EventType, person_key
from lendsignal.plan import (
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
    not_routed,
    reopened,
    version_of,
)

logger = logging.getLogger(__name__)

AT_ONCE = 2_000
"""Events decided in one transaction at most."""

STATES_AT_HAND = 4_096
"""States kept decoded between batches."""


class Decider:
    """Moves the log's decide cursor. One at a time over a data folder.

    `ring` is called after a commit that gave the sender something to do.
    """

    def __init__(self, log: Log, source: PolicySource, clock: Clock, ring: Callable[[], None]) -> None:
        self._log = log
        self._clock = clock
        self._ring = ring
        self._position = log.position()
        self._states: OrderedDict[str, UserState] = OrderedDict()
        wanted = version_of(source)
        current = log.policy()
        self._policy = self._policy_of(current) if current else compile_policy(source)
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
            self._log.fire(due, [_pen_expired(*timer) for timer in due])

    def _decide(self, facts: Sequence[Fact]) -> None:
        states: dict[str, UserState] = {}
        records: list[tuple[int, Record]] = []
        verdicts: list[tuple[int, Verdict]] = []
        timers: list[tuple[str, Timer]] = []
        tally: Counter[tuple[str, str]] = Counter()
        planned: dict[int, Planned] = {}
        policy, rules = None, self._policy
        for fact in facts:
            event = fact.event
            if event.type == EventType.POLICY_CHANGED:
                policy = str(event.properties["version"])
                rules = self._policy_of(policy)
                continue
            key = person_key(event)
            state = states.get(key) or self._state(key)
            decision = self._decision(state, fact, rules, planned)
            states[key] = decision.state
            records += decision.records
            timers += [(key, timer) for timer in decision.timers]
            if decision.verdict is not Verdict.TAKEN:
                verdicts.append((fact.seq, decision.verdict))
            tally["event", event.type] += 1
            tally["verdict", decision.verdict.value] += 1
            for number, record in decision.records:
                if isinstance(record, Planned):
                    planned[number] = record
                    tally["conversion", record.conversion.name] += 1
            unrouted = not_routed(decision.records)
            if unrouted:
                tally["not_routed", ""] += unrouted
        position = facts[-1].seq
        self._log.commit(
            Decided(
                after=self._position,
                position=position,
                states=states,
                records=records,
                verdicts=verdicts,
                timers=timers,
                tally=tally,
                policy=policy,
            )
        )
        self._position, self._policy = position, rules
        self._remember(states)
        if records:
            self._ring()

    def _decision(
        self, state: UserState, fact: Fact, policy: Policy, planned: Mapping[int, Planned]
    ) -> Decision:
        """The decision; an event that cannot be decided is marked so and stops nobody else.

        `planned` are the records of this batch, which the log does not have yet.
        """
        try:
            wanted = reopened(state, fact.event)
            opened = {number: planned[number] for number in wanted if number in planned}
            opened |= self._log.planned(number for number in wanted if number not in planned)
            return decide(state, fact.seq, fact.event, policy, opened)
        except Exception as error:
            logger.error("event %d cannot be decided: %s", fact.seq, type(error).__name__)
            return Decision(state, Verdict.FAILED)

    def _state(self, key: str) -> UserState:
        state = self._states.get(key)
        return state if state is not None else self._log.state(key) or UserState(key)

    def _remember(self, states: dict[str, UserState]) -> None:
        for key, state in states.items():
            self._states[key] = state
            self._states.move_to_end(key)
        while len(self._states) > STATES_AT_HAND:
            self._states.popitem(last=False)

    def _policy_of(self, version: str) -> Policy:
        source = self._log.policy_source(version)
        if source is None:
            raise DataError(f"the policy {version} that the log was decided by is not kept in it")
        return compile_policy(source)


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


def _pen_expired(due_us: int, conversion: str, person: str) -> Event:
    brand, _, user_id = person.partition(":")
    due = from_us(due_us)
    return Event(
        type=EventType.PEN_EXPIRED,
        brand=brand,
        user_id=user_id,
        event_id=f"pen-{conversion}",
        occurred_at=due,
        received_at=due,
        actor="system",
    )
