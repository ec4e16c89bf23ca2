"""Laws of deciding: no conversion twice in whatever order, and the right device in the end."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.acme import Told, again, consent_of, event, loan, login, phone, source, told, us

from lendsignal.derive import CustomSettings, Cut, Tiers, binds_at
from lendsignal.model import Device, Event
from lendsignal.plan import Planned, Policy, Rebound, UserState, Withdrawn, compile_policy
from lendsignal.resolve import Snapshot, Touches, device_at, with_touch

POLICY = compile_policy(source(tiers=Tiers(cuts=(Cut(share=20, cut=720), Cut(share=50, cut=610)))))
OWN = source(send={"any": "ev_a", "loyal": "ev_b", "graced": "ev_c", "paid": "ev_d"}, value={"paid": "own"})
CUSTOM = compile_policy(
    msgspec.structs.replace(
        OWN,
        derive=msgspec.structs.replace(
            OWN.derive,
            custom={
                "any": CustomSettings(when="user.loans > 0 || event.test || has(event.score)"),
                "loyal": CustomSettings(when="user.loans >= 2", once_per="user"),
                "graced": CustomSettings(when="event.type == 'overdue' && event.dpd < 30", once_per="loan"),
                "paid": CustomSettings(
                    when="event.type in ['repaid', 'disbursed'] && has(snapshot.app)",
                    once_per="payment",
                    value="event.outstanding",
                ),
            },
        ),
    )
)
EACH_GRANT = compile_policy(source(tiers=Tiers(cuts=(Cut(share=50, cut=610),), per_grant=True)))

minutes = st.integers(0, 300)
numbers = st.sampled_from([None, 1, 2, 3])
names = st.sampled_from(["1", "2", "3"])
devices = st.sampled_from(
    [phone("a"), phone("b"), Device(appsflyer_id="af-a"), Device(gaid="gaid-a"), Device(model="blank")]
)


def built(kind: str, key: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Event]:
    """Events of a kind with one of few keys, so that repeats, conflicts and revisions happen."""
    drawn = {key: names, "revision": st.sampled_from([0, 0, 0, 1]), **fields}
    return st.builds(lambda at, **given: event(kind, at, **given), minutes, **drawn)


happenings = st.one_of(
    st.builds(lambda at, device: login(at, device), minutes, devices),
    st.builds(lambda at: event("registered", at), minutes),
    built("applied", "application_id", loan_number=numbers),
    built("credit_granted", "grant_id", loan_number=numbers, score=st.sampled_from([500.0, 650.0, 800.0])),
    st.builds(lambda at, name, number: loan(at, name, loan_number=number), minutes, names, numbers),
    built(
        "repaid",
        "payment_id",
        loan_id=names,
        outstanding=st.sampled_from([Decimal(0), Decimal(5)]),
    ),
    built("overdue", "loan_id", dpd=st.sampled_from([-1, 0, 30, 60, 90])),
    built("defaulted", "loan_id"),
    built("disbursement_reversed", "loan_id"),
    built("repayment_reversed", "payment_id"),
    st.builds(lambda at, allowed: consent_of(at, allowed), minutes, st.sampled_from([True, False, None])),
)


def arriving(events: Sequence[Event]) -> list[Event]:
    """The events in this order, each arriving a minute after the one before and after it happened."""
    return [again(one, received_at=event("x", 400 + n).received_at) for n, one in enumerate(events)]


streams = st.lists(happenings, max_size=25).map(arriving)


@given(streams, st.sampled_from([POLICY, EACH_GRANT, CUSTOM]))
def test_no_conversion_is_planned_twice_whatever_comes_in_whatever_order(
    events: list[Event], policy: Any
) -> None:
    ids = [one.conversion.id for one in told(*events, *events, policy=policy).planned()]

    assert len(ids) == len(set(ids))


@given(streams, st.sampled_from([POLICY, CUSTOM]))
def test_what_was_told_before_changes_nothing_when_it_is_told_again(
    events: list[Event], policy: Policy
) -> None:
    before = told(*events, policy=policy)
    state, records = before.state, dict(before.records)

    before.tell(*(again(one, event_id=one.event_id, source="again") for one in events))

    assert (before.state, before.records) == (state, records)


@given(streams)
def test_every_conversion_is_planned_or_waits_and_nothing_else_is(events: list[Event]) -> None:
    """What was derived: the deliveries planned, and the conversions in the pen, each once."""
    after = told(*events, policy=POLICY)

    waiting = [one.conversion.id for one in after.state.pen]
    planned = [one.conversion.id for one in after.planned()]
    assert len(set(waiting + planned)) == len(waiting) + len(planned)
    assert {timer.conversion for timer in after.timers} >= set(waiting)


@given(streams)
def test_what_is_moved_or_taken_back_was_planned_before(events: list[Event]) -> None:
    after = told(*events, policy=POLICY)

    for number, record in after.records.items():
        if isinstance(record, (Rebound, Withdrawn)):
            assert record.record < number
            assert isinstance(after.records[record.record], Planned)


numbered = st.lists(
    st.one_of(
        st.builds(lambda at: event("registered", at), minutes),
        st.builds(
            lambda at, n: event("applied", at, application_id=f"A{n}", loan_number=n),
            minutes,
            st.integers(1, 4),
        ),
        st.builds(
            lambda at, n, score: event("credit_granted", at, grant_id=f"G{n}", loan_number=n, score=score),
            minutes,
            st.integers(1, 4),
            st.sampled_from([500.0, 650.0, 800.0]),
        ),
        st.builds(lambda at, n: loan(at, f"L{n}", loan_number=n), minutes, st.integers(1, 4)),
    ),
    max_size=12,
    unique_by=lambda one: (one.type, one.loan_number),
)


@given(numbered, st.data())
def test_where_loans_are_numbered_the_order_of_arrival_changes_no_conversion(
    events: list[Event], data: st.DataObject
) -> None:
    touch = login(-9, "a")
    shuffled = data.draw(st.permutations(events))

    one, other = (told(touch, *arriving(order), policy=POLICY) for order in (events, shuffled))

    assert {record.conversion.id for record in one.planned()} == {
        record.conversion.id for record in other.planned()
    }


moved = st.lists(
    st.one_of(
        st.builds(lambda at, device: login(at, device, event_id=f"t{at}-{device}"), minutes, devices),
        st.builds(lambda at, n: loan(at, f"L{n}", loan_number=2), minutes, st.integers(0, 9)),
    ),
    max_size=16,
    unique_by=lambda one: one.event_id,
)


@settings(max_examples=300)
@given(moved)
def test_every_conversion_ends_on_the_device_of_the_last_login_whatever_came_late(
    events: list[Event],
) -> None:
    """The binding after all late touches is the one that knowing everything from the start would give."""
    after = told(*arriving(events), policy=POLICY)
    known = Touches()
    for one in events:
        if one.device is not None:
            at = us((one.occurred_at - event("x", 0).occurred_at).total_seconds() / 60)
            known = with_touch(known, at, one.event_id, at, Snapshot("acme-ng", one.device))

    for planned in after.planned():
        at = round(binds_at_of(planned, events) * 1_000_000)
        right = device_at(known, at)
        if right is not None:
            assert final_device(after, planned) == right.snapshot.device


def binds_at_of(planned: Planned, events: list[Event]) -> float:
    (about,) = (one for one in events if one.event_id == planned.conversion.event_id)
    return binds_at(about, POLICY.derive).timestamp()


def final_device(after: Told, planned: Planned) -> Device | None:
    moves = [one for one in after.rebound() if one.conversion.id == planned.conversion.id]
    binding = moves[-1].binding if moves else planned.binding
    return None if binding is None else binding.snapshot.device


@given(streams, st.integers(0, 30), st.sampled_from([POLICY, CUSTOM]))
def test_a_state_decides_the_same_after_it_was_stored(events: list[Event], cut: int, policy: Policy) -> None:
    """Stored between any two events and read again, as after a restart."""
    straight, stored = Told(policy), Told(policy)
    for n, one in enumerate(events):
        straight.tell(one)
        if n == cut:
            packed = msgspec.msgpack.encode(stored.state)
            stored.state = msgspec.msgpack.decode(packed, type=UserState)
        stored.tell(one)

    assert stored.records == straight.records
    assert stored.state == straight.state
