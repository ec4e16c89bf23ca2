"""Laws of corrections: whatever comes in whatever order, what a platform is left with is what is so."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from tests.acme import again, event, loan, login, source, target, told

from lendsignal.model import Event, Money
from lendsignal.plan import Corrected, Planned, compile_policy, delivery_id

TARGETS = {"google_ads-ng": target("google_ads-ng", "acme-ng", corrects="everything")}
POLICY = compile_policy(
    source(targets=TARGETS, send={"disbursement": "ev_ln"}, value={"disbursement": "fee"})
)

tellings = st.tuples(st.integers(0, 4), st.integers(1, 5))
"""A revision of the loan, and its fee."""


def loan_as_told(minutes: int, revision: int, fee: int) -> Event:
    made = loan(0, arrives=minutes, fee=Decimal(fee), revision=revision)
    return again(made, event_id=f"L1-{revision}-{fee}")


def after(fees: list[tuple[int, int]], reversed_at: int | None) -> list[Event]:
    events = [loan_as_told(minutes, *one) for minutes, one in enumerate(fees, 1)]
    if reversed_at is not None:
        events.insert(reversed_at, event("loan_cancelled", 30, loan_id="L1"))
    return [login(-5, "a"), *events]


@given(st.lists(tellings, min_size=1, max_size=8), st.none() | st.integers(0, 8))
def test_the_platform_ends_with_the_value_of_the_highest_revision_or_with_nothing(
    fees: list[tuple[int, int]], reversed_at: int | None
) -> None:
    place = None if reversed_at is None else min(reversed_at, len(fees))
    found = told(*after(fees, place), policy=POLICY)
    # A slow, obvious version: of each revision the first telling counts, of higher ones only what rises.
    told_fees: list[int] = []
    highest = -1
    for number, (revision, fee) in enumerate(fees):
        if place is not None and number >= place:
            break
        if revision > highest:
            highest = revision
            told_fees.append(fee)
    first = [one for one in found.records.values() if isinstance(one, Planned)]
    changes = [one for one in found.records.values() if isinstance(one, Corrected)]
    values = [one.entries[0].value for one in [*first, *changes] if one.entries]

    if place == 0:
        assert changes == []
    else:
        expected = [
            Money(Decimal(fee), "NGN") for n, fee in enumerate(told_fees) if n == 0 or fee != told_fees[n - 1]
        ]
        assert values == expected + ([None] if place is not None else [])


@given(st.lists(tellings, min_size=1, max_size=8), st.none() | st.integers(1, 8))
def test_a_correction_waits_for_what_was_planned_before_it_and_for_nothing_else(
    fees: list[tuple[int, int]], reversed_at: int | None
) -> None:
    place = None if reversed_at is None else min(reversed_at, len(fees))
    found = told(*after(fees, place), policy=POLICY)
    known: set[int] = set()
    moment = 0
    for number, record in found.records.items():
        if isinstance(record, Corrected):
            assert set(record.corrects[0]) <= known
            assert record.corrected_us > moment
            moment = record.corrected_us
        if isinstance(record, (Planned, Corrected)):
            known |= {delivery_id(number, at) for at in range(len(record.entries))}
