"""Decides events in memory and keeps nothing: what a policy would have made of the past."""

import heapq
import logging
from collections.abc import Callable, Sequence

import msgspec

from lendsignal.clock import to_us
from lendsignal.decide.decider import OF_RULES, POLICY_CHANGED, TIERS_CUT, pen_expired
from lendsignal.decide.phones import PhoneUsers
from lendsignal.errors import DataError, LogError
from lendsignal.log import Fact
from lendsignal.model import Event, person_key
from lendsignal.plan import Planned, Policy, Record, UserState, Verdict, decide, people_of, reopened

logger = logging.getLogger(__name__)

OURS = "lendsignal."
"""What the types of our own events begin with: a rehearsal makes its own."""

FIRED_FROM = 1 << 48
"""Where the numbers of events begin that a rehearsal makes itself, far behind those of any log."""


class Rehearsal:
    """One policy over events in their order. `live`: imported past counts as if it happened live.

    `with_cuts` gives the policy with the tiers' cuts of a version, `with_value` that with a promoted value
    model: they change where they did in the log.
    Timers fire as the events' arrival passes them. An event that cannot be decided is counted in `failed`.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        live: bool = False,
        with_cuts: Callable[[str], Policy] | None = None,
        with_value: Callable[[str], Policy] | None = None,
    ) -> None:
        self._policy = policy
        self._with_cuts = with_cuts
        self._with_value = with_value
        self._live = live
        self._states: dict[str, UserState] = {}
        self._open: dict[str, dict[int, Planned]] = {}
        self._phones = PhoneUsers()
        self._timers: list[tuple[int, str, str]] = []
        self._fired = FIRED_FROM
        self.failed = 0

    def tell(self, fact: Fact) -> Sequence[tuple[int, Record]]:
        """What follows from the next event, timers that were due before it included."""
        event = fact.event
        if event.type.startswith(OURS):
            anew = self._with_cuts if event.type == TIERS_CUT else self._with_value
            if event.type in OF_RULES and event.type != POLICY_CHANGED and anew is not None:
                self._policy = anew(str(event.properties["version"]))
            return ()
        if self._live and event.history:
            event = msgspec.structs.replace(event, history=False)
        found = list(self.wait(to_us(event.received_at))) if self._timers else []
        found += self._decide(fact.seq, event)
        return found

    def wait(self, until_us: int) -> Sequence[tuple[int, Record]]:
        """What follows from time passing, up to that moment."""
        found: list[tuple[int, Record]] = []
        while self._timers and self._timers[0][0] <= until_us:
            due_us, conversion, person = heapq.heappop(self._timers)
            self._fired += 1
            found += self._decide(self._fired, pen_expired(due_us, conversion, person))
        return found

    def _decide(self, number: int, event: Event) -> Sequence[tuple[int, Record]]:
        key = person_key(event)
        state = self._states.get(key) or UserState(key)
        mine = self._open.get(key)
        opened = {one: mine[one] for one in reopened(state, event) if one in mine} if mine else {}
        try:
            shared = self._phones.shared(state, event, self._policy)
            joined = people_of(state, event)
            people = {one: self._states[one] for one in joined if one in self._states} if joined else None
            decision = decide(state, number, event, self._policy, opened, people, shared)
        except (LogError, DataError):
            raise
        except Exception as error:  # as the live path has it: it stops nobody else
            logger.error("event %d cannot be decided: %s", number, type(error).__name__)
            self.failed += 1
            return ()
        if decision.verdict is Verdict.TAKEN:
            self._phones.take(event, self._policy)
        self._states[key] = decision.state
        for person in decision.people:
            self._states[person.key] = person
        for timer in decision.timers:
            heapq.heappush(self._timers, (timer.due_us, timer.conversion, key))
        if decision.records or mine:
            self._remember(key, decision.state, decision.records)
        return decision.records

    def _remember(self, key: str, state: UserState, records: Sequence[tuple[int, Record]]) -> None:
        """Only what a late touch could still move is kept."""
        known = self._open.get(key, {}) | {n: one for n, one in records if isinstance(one, Planned)}
        kept = {one.record: known[one.record] for one in state.opened if one.record in known}
        if kept:
            self._open[key] = kept
        else:
            self._open.pop(key, None)
