"""How states and records stand in a row of PostgreSQL: each whole, with its installations and contacts.

In a data folder those stand once, and rows speak of them by number (`log.packing`). Here the numbers are
places in the row itself: a slot can move, and a person be erased, by its rows alone.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec import Raw, Struct

from lendsignal.log.packing import (
    Part,
    encode,
    pack_part,
    pack_records,
    pack_state,
    part_of,
    read_records,
    read_state,
    records_of,
    state_of,
)
from lendsignal.model import Event
from lendsignal.plan import Record, UserState, record_id
from lendsignal.resolve import Snapshot


class WholeRow(Struct, frozen=True, array_like=True, gc=False):
    """A row: the parts that its body speaks of by their places, each packed, and the body."""

    parts: tuple[Raw, ...]
    body: Raw


read_event = msgspec.msgpack.Decoder(Event).decode
_read = msgspec.msgpack.Decoder(WholeRow).decode


def pack_whole_state(state: UserState) -> bytes:
    """A state as it is kept; raises `OverflowError` for a number of more than 64 bits."""
    return _packed(lambda number_of: pack_state(state, number_of))


def whole_state_of(row: bytes) -> UserState:
    """The state that was packed."""
    kept = _read(row)
    return state_of(read_state(kept.body), [part_of(part) for part in kept.parts].__getitem__)


def whole_snapshots_of(row: bytes) -> list[Snapshot]:
    """The installations that a state remembers."""
    parts = [part_of(part) for part in _read(row).parts]
    return [part for part in parts if isinstance(part, Snapshot)]


def pack_whole_records(records: Sequence[Record]) -> bytes:
    """The records of one event as they are kept; raises as `pack_whole_state`."""
    return _packed(lambda number_of: pack_records(records, number_of))


def whole_records_of(row: bytes) -> list[Record]:
    """The records that were packed."""
    kept = _read(row)
    return records_of(read_records(kept.body), [part_of(part) for part in kept.parts].__getitem__)


def unpacked_records(rows: Iterable[tuple[int, bytes]]) -> list[tuple[int, Record]]:
    """The records of some events, each with its number."""
    return [
        (record_id(seq, place), record)
        for seq, row in rows
        for place, record in enumerate(whole_records_of(row))
    ]


def _packed(pack: Callable[[Callable[[Part], int]], bytes]) -> bytes:
    places: dict[Part, int] = {}
    body = pack(lambda part: places.setdefault(part, len(places)))
    return encode(WholeRow(tuple([Raw(pack_part(part)) for part in places]), Raw(body)))
