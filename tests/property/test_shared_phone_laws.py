"""Laws of shared phones: neither batches nor a rehearsal change what is skipped, and a plain count agrees."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.acme import again, event, loan, login, phone, source, us

from lendsignal.decide import Decider
from lendsignal.decide.rehearsal import Rehearsal
from lendsignal.log import Log, open_log
from lendsignal.model import Device, Event, SkipReason, is_touch
from lendsignal.plan import Planned, Record, compile_policy, event_of
from lendsignal.resolve import ResolveSettings

ENOUGH = 2
POLICY = source(resolve=ResolveSettings(shared_device_users=ENOUGH, shared_device="skip"))
USERS = ("u1", "u2", "u3")
KINDS = ("appsflyer_id", "firebase_app_instance_id", "gaid")


class Clock:
    """A clock that stands still before any timer."""

    replay = False

    def now_us(self) -> int:
        return us(0)


devices = st.sampled_from(
    [phone("a"), phone("b"), phone("c"), Device(gaid="gaid-a"), Device(appsflyer_id="af-b", gaid="gaid-a")]
)
happenings = st.builds(
    lambda one, user: again(one, user_id=user, event_id=f"{one.event_id}-{user}"),
    st.one_of(
        st.builds(
            lambda at, device, by: login(at, device, actor=by, event_id=f"login-{at}"),
            st.integers(0, 99),
            devices,
            st.sampled_from(["user", "user", "agent"]),
        ),
        st.builds(lambda at: event("registered", at, device=phone("a")), st.integers(0, 99)),
        st.builds(lambda at, n: loan(at, f"L{n}", loan_number=n), st.integers(0, 99), st.integers(1, 5)),
    ),
    st.sampled_from(USERS),
)


def arriving(events: Sequence[Event]) -> list[Event]:
    return [again(one, received_at=event("x", 100 + n).received_at) for n, one in enumerate(events)]


streams = st.lists(happenings, max_size=30).map(arriving)


def decided(batches: Sequence[Sequence[Event]]) -> Log:
    """A log in memory with these batches decided one after the other."""
    log = open_log(Path(":memory:"))
    decider = Decider(log, POLICY, Clock(), lambda: None)
    while decider.turn():
        pass
    for batch in batches:
        log.append(batch) if batch else None
        while decider.turn():
            pass
    return log


def records(log: Log) -> list[tuple[int, Record]]:
    return log.records(0, 100_000)


@given(streams, st.lists(st.integers(0, 30), max_size=8))
def test_how_events_fall_into_batches_changes_no_record(events: list[Event], cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]

    whole, parts, single = (
        decided([events]),
        decided([events[start:end] for start, end in pairwise(edges)]),
        decided([[one] for one in events]),
    )

    assert records(whole) == records(parts) == records(single)
    for log in (whole, parts, single):
        log.close()


@given(streams)
def test_a_rehearsal_skips_what_the_log_skipped(events: list[Event]) -> None:
    log = decided([events[:10], events[10:]])
    rehearsal = Rehearsal(compile_policy(POLICY))

    rehearsed = [pair for fact in log.read(0, 1_000) for pair in rehearsal.tell(fact)]

    assert rehearsed == records(log)
    log.close()


@settings(max_examples=300)
@given(streams)
def test_what_is_skipped_is_what_counting_everybody_by_every_id_would_skip(events: list[Event]) -> None:
    """Slow and obvious: who showed an id so far, and the ids of the phone that a loan is bound to."""
    log = decided([events])
    planned = [(event_of(number)[0], one) for number, one in records(log) if isinstance(one, Planned)]
    taken = {fact.seq for fact, verdict in log.decided(0, log.end()) if verdict == "taken"}
    users: dict[tuple[str, str], set[str]] = {}
    for fact in log.read(0, 1_000):
        one = fact.event
        if fact.seq in taken and is_touch(one) and one.device is not None:
            for kind in KINDS:
                users.setdefault((kind, getattr(one.device, kind) or ""), set()).add(one.user_id)
        for _, record in (pair for pair in planned if pair[0] == fact.seq):
            device = None if record.binding is None else record.binding.snapshot.device
            ids = [(kind, value) for kind in KINDS if (value := getattr(device, kind, None))]
            expected = any(len(users.get(one, ())) >= ENOUGH for one in ids)
            skips = {entry.skip for entry in record.entries} - {SkipReason.FIRST_UNKNOWN}
            if skips:
                assert skips == {SkipReason.SHARED_DEVICE if expected else None}
    log.close()


@given(streams)
def test_a_count_never_falls_so_a_users_later_loans_on_that_phone_are_skipped_too(
    events: list[Event],
) -> None:
    log = decided([events])
    shared: set[Device] = set()
    for _, record in records(log):
        if isinstance(record, Planned) and record.binding is not None:
            device = record.binding.snapshot.device
            skips = {entry.skip for entry in record.entries} - {SkipReason.FIRST_UNKNOWN}
            if device in shared and skips:
                assert skips == {SkipReason.SHARED_DEVICE}
            if SkipReason.SHARED_DEVICE in skips:
                shared.add(device)
    log.close()
