"""The numbers that what a data folder keeps has in a cluster; pure.

A folder numbers its events from 1 on; there the event n of a slot is n * slots + slot, so that the order
stays and no number comes twice. Everything that speaks of one by number is told anew (`log.renumbering`).
"""

from collections.abc import Callable, Sequence

from lendsignal.log.renumbering import Renumbered
from lendsignal.log.slots import sequence_of
from lendsignal.plan import event_of, record_id

Numbered = Callable[[int], int]

UNKNOWN = -1
"""In place of a slot: the event is not in the log any more."""


class Renumbering(Renumbered):
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
