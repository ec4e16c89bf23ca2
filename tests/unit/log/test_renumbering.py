"""What the numbers of a data folder become in a cluster."""

from random import Random

from msgspec.structs import replace
from tests.acme import loan, login, told

from lendsignal.log import Open, Receipt, Stage
from lendsignal.log.postgres.renumbering import UNKNOWN, Renumbering
from lendsignal.plan import (
    Corrected,
    Planned,
    Rebound,
    UserState,
    Withdrawn,
    delivery_id,
    event_of,
    record_id,
    record_of,
)
from lendsignal.plan.state import Correctable, Opened, Told

SLOTS = 4
NUMBERS = Renumbering([UNKNOWN, 3, 0, 3, 1, UNKNOWN], SLOTS)
"""Five events, of the slots 3, 0, 3 and 1; the fifth is not in the log any more."""


def test_the_event_n_of_a_slot_becomes_n_times_the_slots_and_the_slot() -> None:
    assert [NUMBERS.sequence(n) for n in range(1, 6)] == [7, 8, 15, 17, 20]


def test_records_and_deliveries_follow_their_event_and_0_stays_none() -> None:
    assert NUMBERS.record(record_id(3, 5)) == record_id(15, 5)
    assert NUMBERS.delivery(delivery_id(record_id(4, 7), 9)) == delivery_id(record_id(17, 7), 9)
    assert (NUMBERS.record(0), NUMBERS.delivery(0)) == (0, 0)


def test_no_number_comes_twice_and_the_order_within_a_slot_stays() -> None:
    chance = Random(1)
    slots = [UNKNOWN, *(chance.randrange(SLOTS) for _ in range(500))]
    one = Renumbering(slots, SLOTS)
    numbers = [one.sequence(n) for n in range(1, 501)]

    assert len(set(numbers)) == 500
    for slot in range(SLOTS):
        mine = [number for number in numbers if number % SLOTS == slot]
        assert mine == sorted(mine)
        assert len(mine) == slots[1:].count(slot)


def test_what_is_read_of_each_slot_is_what_was_read_of_all() -> None:
    """Whatever record was read last, each slot's place lies behind what was read and before the rest."""
    places = [(event, place) for event in range(1, 5) for place in range(3)]
    for read in range(len(places)):
        position = record_id(*places[read])
        for number, (event, place) in enumerate(places):
            slot = NUMBERS.slot(event)
            is_read = NUMBERS.record(record_id(event, place)) <= NUMBERS.place(position, slot)
            assert is_read == (number <= read), (position, event, place)
    assert NUMBERS.place(0, 2) == 0


def a_plan() -> Planned:
    """Some conversion's."""
    return told(login(0, "a"), loan(1)).planned()[0]


def test_a_state_speaks_of_its_records_and_deliveries_by_their_new_numbers() -> None:
    planned = a_plan()
    of_entry = Told(planned.entries[0], (delivery_id(record_id(1, 0), 2),), delivery_id(record_id(3, 1), 0))
    state = UserState(
        "acme:u1",
        opened=(Opened(record_id(1, 0), 5, "L1", None, 6),),
        correctable=(Correctable(record_id(3, 0), planned.conversion, (of_entry,), 7),),
    )

    found = NUMBERS.state(state)

    assert found.opened[0] == replace(state.opened[0], record=record_id(7, 0))
    (correctable,) = found.correctable
    assert correctable.record == record_id(15, 0)
    assert correctable.told[0].deliveries == (delivery_id(record_id(7, 0), 2),)
    assert correctable.told[0].last == delivery_id(record_id(15, 1), 0)
    bare = UserState("acme:u2")
    assert NUMBERS.state(bare) is bare


def test_records_speak_of_others_by_their_new_numbers() -> None:
    planned = a_plan()
    parts = planned.conversion, planned.known, planned.entries
    rebound = Rebound(*parts, record=record_id(1, 2))
    withdrawn = Withdrawn(record_id(2, 1), "loan_cancelled", None, 9)
    corrected = Corrected(
        *parts,
        record=record_id(4, 0),
        corrects=((delivery_id(record_id(1, 0), 1),),),
        corrected_us=3,
        reason="repaid",
    )

    assert NUMBERS.records([planned, rebound, withdrawn, corrected]) == [
        planned,
        replace(rebound, record=record_id(7, 2)),
        replace(withdrawn, record=record_id(8, 1)),
        replace(corrected, record=record_id(17, 0), corrects=((delivery_id(record_id(7, 0), 1),),)),
    ]


def test_open_deliveries_and_receipts_keep_all_but_their_numbers() -> None:
    number = delivery_id(record_id(3, 0), 1)
    one = Open("x", number, Stage.HELD, 5, 1, 2, record_id(1, 4), lane=9, reason="unknown")
    receipt = Receipt(number, "x", "accepted", "confirmed", 1, 2, 3, 200, b"yes", record_id(1, 4), 8)

    fresh = delivery_id(record_id(15, 0), 1)
    assert NUMBERS.open(one) == replace(one, id=fresh, bound=record_id(7, 4))
    assert NUMBERS.receipt(receipt) == replace(receipt, id=fresh, bound=record_id(7, 4))
    assert event_of(record_of(fresh)[0])[0] % SLOTS == NUMBERS.slot(3)
