"""What an erasure takes back: an event in the log that names records, and nobody.

So it comes behind everything that it takes back, for every reader of the stream, in every replay.
"""

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from lendsignal.model import Event, EventType, SkipReason, to_us
from lendsignal.plan.records import RECORDS_PER_EVENT, Record, Withdrawn, record_id

ERASED_WORD = "erased"
"""Why what was planned for somebody who was erased is not sent."""

RECORDS = "records"
"""What the properties begin with that name records."""

IN_ONE_PROPERTY = 40
"""Numbers in one text, which has 1,024 characters at most."""

IN_ONE_EVENT = 240
"""So many records follow from one event, below `RECORDS_PER_EVENT`."""

assert IN_ONE_EVENT <= RECORDS_PER_EVENT


def erasures_of(pattern: Event, receipt: str, records: Sequence[int]) -> list[Event]:
    """The events by which these records' deliveries are taken back. `pattern` gives moment and actor."""
    found = []
    for place, start in enumerate(range(0, len(records), IN_ONE_EVENT)):
        named = records[start : start + IN_ONE_EVENT]
        texts = {
            f"{RECORDS}{number}": " ".join(map(str, named[first : first + IN_ONE_PROPERTY]))
            for number, first in enumerate(range(0, len(named), IN_ONE_PROPERTY))
        }
        found.append(
            replace(
                pattern,
                type=EventType.ERASED,
                event_id=f"{ERASED_WORD}-{receipt}-{place}",
                properties={"receipt": receipt, **texts},
            )
        )
    return found


def taken_out(sequence: int, event: Event) -> list[tuple[int, Record]]:
    """The records that follow from such an event; none from the husk of an erased one."""
    now_us = to_us(event.received_at)
    return [
        (
            record_id(sequence, place),
            Withdrawn(number, ERASED_WORD, SkipReason.SUPPRESSED, now_us),
        )
        for place, number in enumerate(_named(event))
    ]


def _named(event: Event) -> Iterator[int]:
    for name, text in event.properties.items():
        if name.startswith(RECORDS) and isinstance(text, str):
            yield from map(int, text.split())
