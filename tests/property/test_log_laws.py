"""Laws of the log and its decider: batches and replays change nothing."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.acme import DAY, again, consent_of, event, loan, login, source, us

from lendsignal.decide import Decider
from lendsignal.log import Log, open_log
from lendsignal.model import Event
from lendsignal.plan import PolicySource, Record, UserState, version_of

USERS = ("u1", "u2")
OLD, NEW = source(send={"disbursement": "ev_old", "credit": "ev_c"}), source(default_dpd=30)


class Clock:
    """A clock that the test sets, in minutes after T0."""

    replay = False

    def __init__(self, minutes: float = 0) -> None:
        self.minutes = minutes

    def now_us(self) -> int:
        return us(self.minutes)


minutes = st.integers(0, 300)
happenings = st.builds(
    lambda one, user: again(one, user_id=user),
    st.one_of(
        st.builds(
            lambda at, name, by: login(at, name, actor=by),
            minutes,
            st.sampled_from("abc"),
            st.sampled_from(["user", "user", "agent"]),
        ),
        st.builds(lambda at: event("registered", at), minutes),
        st.builds(lambda at, n: loan(at, f"L{n}"), minutes, st.integers(1, 4)),
        st.builds(
            lambda at, n: event("repaid", at, payment_id=f"P{n}", loan_id="L1", outstanding=Decimal(0)),
            minutes,
            st.integers(1, 3),
        ),
        st.builds(lambda at, dpd: event("overdue", at, loan_id="L1", dpd=dpd), minutes, st.integers(25, 65)),
        st.builds(lambda at, n: event("loan_cancelled", at, loan_id=f"L{n}"), minutes, st.integers(1, 4)),
        st.builds(lambda at, allowed: consent_of(at, allowed), minutes, st.booleans()),
    ),
    st.sampled_from(USERS),
)


def arriving(events: Sequence[Event]) -> list[Event]:
    return [again(one, received_at=event("x", 400 + n).received_at) for n, one in enumerate(events)]


streams = st.lists(happenings, max_size=30).map(arriving)


def outcome(log: Log) -> tuple[list[tuple[int, Record]], list[UserState | None], dict[tuple[str, str], int]]:
    """Everything that deciding leaves: the records, the states and the counts."""
    return log.records(0, 100_000), [log.state(f"acme:{user}") for user in USERS], log.tally()


def decided(batches: Sequence[Sequence[Event]], *, together: bool) -> Log:
    """A log in memory with these batches appended, decided each by itself or in the end all at once."""
    log = open_log(Path(":memory:"))
    decider = Decider(log, OLD, Clock(), lambda: None)
    for batch in batches:
        if batch:
            first = log.append(batch)
            if not together:
                while decider.turn(first, batch):
                    first, batch = 0, ()
    while decider.turn():
        pass
    return log


@settings(max_examples=60)
@given(streams, st.lists(st.integers(0, 30), max_size=8))
def test_how_events_fall_into_batches_changes_no_state_and_no_record(
    events: list[Event], cuts: list[int]
) -> None:
    edges = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]
    batches = [events[start:end] for start, end in pairwise(edges)]

    whole, parts, single = (
        decided([events], together=True),
        decided(batches, together=False),
        decided([[one] for one in events], together=False),
    )

    assert outcome(whole) == outcome(parts) == outcome(single)
    for log in (whole, parts, single):
        log.close()


def lived(before: Sequence[Event], after: Sequence[Event], waits: bool) -> Log:
    """A log with a life: a policy, events, another policy while some wait, more events, timers that fire."""
    log = open_log(Path(":memory:"))
    decider = Decider(log, OLD, Clock(), lambda: None)
    log.append(before) if before else None
    if not waits:
        while decider.turn():
            pass
    decider = Decider(log, NEW, clock := Clock(), lambda: None)
    log.append(after) if after else None
    while decider.turn():
        pass
    clock.minutes = 3 * DAY
    while decider.turn():
        pass
    return log


def replayed(log: Log, policies: Sequence[PolicySource]) -> Log:
    """The same events in a fresh log, decided from the first one on."""
    fresh = open_log(Path(":memory:"))
    for policy in policies:
        fresh.keep_policy(version_of(policy), policy)
    fresh.append([fact.event for fact in log.read(0, 100_000)])
    decider = Decider(fresh, NEW, Clock(-DAY), lambda: None)
    while decider.turn():
        pass
    return fresh


@settings(max_examples=60)
@given(streams, streams, st.booleans())
def test_replaying_the_whole_log_gives_the_same_states_and_records(
    before: list[Event], after: list[Event], waits: bool
) -> None:
    log = lived(before, after, waits)

    fresh = replayed(log, (OLD, NEW))

    assert outcome(fresh) == outcome(log)
    for one in (log, fresh):
        one.close()
