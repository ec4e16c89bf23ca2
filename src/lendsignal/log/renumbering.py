"""What speaks of events, records and deliveries by number, told anew by other numbers; pure.

Records and deliveries are numbered by the event that they follow from (`plan.records`), so one rule for
events is a rule for all of them. Ids of conversions are hashes of what they are: they stay.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from msgspec.structs import replace

from lendsignal.log.deliveries import DELIVERIES_PER_RECORD, Open, Receipt
from lendsignal.plan import Corrected, Planned, Rebound, Record, UserState, Withdrawn, event_of, record_id
from lendsignal.plan.state import Correctable, Told


class Renumbered(ABC):
    """Everything by the numbers that `sequence` gives events."""

    @abstractmethod
    def sequence(self, sequence: int) -> int:
        """An event's other number."""

    def record(self, number: int) -> int:
        """A record's number; 0 stands for none."""
        sequence, place = event_of(number)
        return record_id(self.sequence(sequence), place) if number else 0

    def delivery(self, number: int) -> int:
        """A delivery's number; 0 stands for none."""
        record, entry = divmod(number, DELIVERIES_PER_RECORD)
        return self.record(record) * DELIVERIES_PER_RECORD + entry if number else 0

    def state(self, state: UserState) -> UserState:
        """A state that speaks of records and deliveries by their other numbers."""
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
