"""The numbers that what a data folder keeps has in a cluster; pure.

A folder numbers its events from 1 on; there the event n of a slot is n * slots + slot, so that the order
stays and no number comes twice. Records and deliveries are numbered by their event (`plan.records`), and
everything that speaks of one by number is told anew. Ids of conversions are hashes of what they are: they
stay.
"""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from lendsignal.log.deliveries import DELIVERIES_PER_RECORD, Open, Receipt
from lendsignal.log.slots import sequence_of
from lendsignal.plan import Corrected, Planned, Rebound, Record, UserState, Withdrawn, event_of, record_id
from lendsignal.plan.state import Correctable, Told

Numbered = Callable[[int], int]

UNKNOWN = -1
"""In place of a slot: the event is not in the log any more."""


class Renumbering:
    """What numbers become. `slot_of_event` holds each event's slot, by the folder's number of the event."""

    def __init__(self, slot_of_event: Sequence[int], slots: int) -> None:
        self._slot_of_event = slot_of_event
        self._slots = slots

    def slot(self, sequence: int) -> int:
        """The slot of an event; 0 for one that nothing is known of: only its number still speaks of it."""
        known = self._slot_of_event
        return max(0, known[sequence]) if 0 <= sequence < len(known) else 0

    def sequence(self, sequence: int) -> int:
        """An event's number."""
        return sequence_of(sequence, self.slot(sequence), self._slots)

    def record(self, number: int) -> int:
        """A record's number; 0 stands for none."""
        sequence, place = event_of(number)
        return record_id(self.sequence(sequence), place) if number else 0

    def delivery(self, number: int) -> int:
        """A delivery's number; 0 stands for none."""
        record, entry = divmod(number, DELIVERIES_PER_RECORD)
        return self.record(record) * DELIVERIES_PER_RECORD + entry if number else 0

    def place(self, position: int, slot: int) -> int:
        """How far a slot's records are read where the folder's are read to the record `position`.

        In the slot of that record's event it is that record; in another, the end of all that stood before.
        """
        sequence, place = event_of(position)
        if not position:
            return 0
        return record_id(
            sequence_of(sequence, slot, self._slots), place if slot == self.slot(sequence) else 255
        )

    def state(self, state: UserState) -> UserState:
        """A state that speaks of records and deliveries by their numbers in the cluster."""
        if not state.opened and not state.correctable:
            return state
        return replace(
            state,
            opened=tuple([replace(one, record=self.record(one.record)) for one in state.opened]),
            correctable=tuple(map(self._correctable, state.correctable)),
        )

    def _correctable(self, one: Correctable) -> Correctable:
        return replace(one, record=self.record(one.record), told=tuple(map(self._told, one.told)))

    def _told(self, one: Told) -> Told:
        deliveries = tuple(map(self.delivery, one.deliveries))
        return replace(one, deliveries=deliveries, last=self.delivery(one.last))

    def records(self, records: Sequence[Record]) -> list[Record]:
        """The records of one event."""
        return [self._record(one) for one in records]

    def _record(self, record: Record) -> Record:
        match record:
            case Planned():
                return record
            case Corrected():
                corrects = tuple([tuple(map(self.delivery, one)) for one in record.corrects])
                return replace(record, record=self.record(record.record), corrects=corrects)
            case Rebound() | Withdrawn():
                return replace(record, record=self.record(record.record))

    def open(self, one: Open) -> Open:
        """An open delivery."""
        return replace(one, id=self.delivery(one.id), bound=self.record(one.bound))

    def receipt(self, one: Receipt) -> Receipt:
        """What came of a try."""
        return replace(one, id=self.delivery(one.id), bound=self.record(one.bound))
