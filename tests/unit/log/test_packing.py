"""States and records as they are kept: what they have in common stands once, and nothing is lost by it."""

from collections.abc import Sequence

import pytest
from tests.acme import Told, consent_of, event, loan, login, told, us

from lendsignal.log.packing import (
    Part,
    pack_part,
    pack_records,
    pack_state,
    part_of,
    parts_of_records,
    parts_of_state,
    read_records,
    read_state,
    records_of,
    state_of,
)
from lendsignal.model import Contact
from lendsignal.plan import Planned, Rebound, Record, Withdrawn, event_of

CONTACT = Contact(email="ab" * 32, phone_e164="cd" * 32)


class Shelf:
    """Parts by number, as a log keeps them."""

    def __init__(self) -> None:
        self.parts: list[Part] = []

    def number_of(self, part: Part) -> int:
        if part not in self.parts:
            self.parts.append(part)
        return self.parts.index(part)

    def at(self, number: int) -> Part:
        return part_of(pack_part(self.parts[number]))


def life() -> Told:
    """A life with every kind of record: planned with and without a device, moved, and taken back."""
    return told(
        loan(-30, "L0", loan_number=1),
        event("registered", -9, contact=CONTACT),
        login(0, "a"),
        loan(5, "L1", loan_number=2),
        login(3, "b", app="acme-ios", arrives=6),
        consent_of(7, False),
        event("loan_cancelled", 8, loan_id="L1"),
        loan(9, "L2", time_precision="day"),
    )


def followed(after: Told, sequence: int) -> list[Record]:
    """The records of one event."""
    return [record for number, record in after.records.items() if event_of(number)[0] == sequence]


def through(records: Sequence[Record], shelf: Shelf) -> list[Record]:
    """The records, packed and unpacked."""
    return records_of(read_records(pack_records(records, shelf.number_of)), shelf.at)


def test_records_and_the_state_are_unpacked_as_they_were_packed() -> None:
    after, shelf = life(), Shelf()

    for sequence in range(1, after.sequence + 1):
        assert through(followed(after, sequence), shelf) == followed(after, sequence)
    kept = read_state(pack_state(after.state, shelf.number_of))
    assert state_of(kept, shelf.at) == after.state
    assert {type(one) for one in after.records.values()} == {Planned, Rebound, Withdrawn}


def test_what_an_event_gives_to_all_its_conversions_stands_once() -> None:
    after, shelf = told(login(0, "a"), loan(5, "L77", loan_number=1)), Shelf()

    body = pack_records(followed(after, 2), shelf.number_of)

    assert len(followed(after, 2)) == 2
    assert body.count(b"disbursed-L77") == 1
    assert b"af-a" not in body
    one, other = records_of(read_records(body), shelf.at)
    assert isinstance(one, Planned)
    assert isinstance(other, Planned)
    assert one.conversion.origin is other.conversion.origin
    assert one.known is other.known


def test_what_is_spoken_of_by_number_is_named() -> None:
    """So that it can be fetched before it is needed: the new phone, the first phone and the contact."""
    after, shelf = life(), Shelf()
    old, new, contact = (
        shelf.number_of(after.state.touches.snapshots[0]),
        shelf.number_of(after.state.touches.snapshots[1]),
        shelf.number_of(CONTACT),
    )

    (moved, *_) = [one for one in after.records.values() if isinstance(one, Rebound)]
    kept = read_records(pack_records([moved], shelf.number_of))
    assert set(parts_of_records(kept)) == {old, new, contact}
    assert set(parts_of_state(read_state(pack_state(after.state, shelf.number_of)))) == {old, new, contact}


@pytest.mark.parametrize("minutes", [0.0, 1.5])
def test_moments_keep_their_microseconds(minutes: float) -> None:
    (record, *_) = followed(told(login(-5, "a"), loan(minutes)), 2)

    (found,) = through([record], Shelf())

    assert isinstance(found, Planned)
    assert found.conversion.origin.occurred_us == us(minutes)
