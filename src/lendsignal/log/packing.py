"""How states and records are kept: what several of them have in common stands once.

The records of one event are one row: the event's facts and what was known of the person stand once in it,
and its records point at them. Installations and contacts stand in a table of their own,
and every state and record speaks of them by number. What is unpacked equals what was packed, and shares in
memory what it shared on disk.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from lendsignal.derive import Ledger
from lendsignal.model import Consent, Contact, Conversion, Money, Origin, SkipReason
from lendsignal.plan import (
    Correctable,
    Corrected,
    Entry,
    Known,
    Opened,
    Penned,
    Planned,
    Rebound,
    Record,
    Seen,
    UserState,
    Withdrawn,
)
from lendsignal.resolve import Binding, Mark, Snapshot, Touches

Part: TypeAlias = Snapshot | Contact
"""What is spoken of by number."""


class KeptState(Struct, frozen=True, array_like=True, gc=False):
    """A `plan.UserState`: snapshots and contact by number."""

    key: str
    snapshots: tuple[int, ...]
    marks: tuple[Mark, ...]
    ledger: Ledger
    seen: Mapping[int, Seen]
    recent: Mapping[int, Seen]
    pen: tuple[Penned, ...]
    opened: tuple[Opened, ...]
    consent: Consent | None
    contact: int | None
    test: bool
    forgotten_us: int
    consent_us: int
    person: str | None = None
    correctable: tuple[Correctable, ...] = ()


class KeptPart(Struct, frozen=True, array_like=True, gc=False):
    """A `Part`, one of the two."""

    snapshot: Snapshot | None
    contact: Contact | None


class KeptBinding(Struct, frozen=True, array_like=True, gc=False):
    """A `resolve.Binding`."""

    snapshot: int
    at_us: int


class KeptKnown(Struct, frozen=True, array_like=True, gc=False):
    """A `plan.Known`: contact by number."""

    at_us: int
    binding: KeptBinding | None
    other_install: KeptBinding | None
    contact: int | None
    consent: Consent | None


class KeptPlanned(Struct, frozen=True, array_like=True, tag=0, gc=False):
    """A `plan.Planned`: `origin` and `known` are places in `KeptRecords`."""

    origin: int
    known: int
    id: bytes
    name: str
    certain: bool
    history: bool
    entries: tuple[Entry, ...]
    predicted: bool
    tier_version: str | None
    value: Money | None = None


class KeptRebound(Struct, frozen=True, array_like=True, tag=1, gc=False):
    """A `plan.Rebound` of the planned `record`; the rest as in `KeptPlanned`."""

    record: int
    planned: KeptPlanned


class KeptWithdrawn(Struct, frozen=True, array_like=True, tag=2, gc=False):
    """A `plan.Withdrawn`."""

    record: int
    reason: str
    skip: SkipReason | None
    at_us: int


class KeptCorrected(Struct, frozen=True, array_like=True, tag=3, gc=False):
    """A `plan.Corrected` of the planned `record`; `planned` as in `KeptPlanned`."""

    record: int
    planned: KeptPlanned
    corrects: tuple[tuple[int, ...], ...]
    corrected_us: int
    reason: str


Kept: TypeAlias = KeptPlanned | KeptRebound | KeptWithdrawn | KeptCorrected


class KeptRecords(Struct, frozen=True, array_like=True, gc=False):
    """Every record that follows from one event, in order."""

    origins: list[Origin]
    known: list[KeptKnown]
    records: list[Kept]


NumberOf: TypeAlias = Callable[[Part], int]
PartAt: TypeAlias = Callable[[int], Any]

encode = msgspec.msgpack.Encoder().encode
read_state = msgspec.msgpack.Decoder(KeptState).decode
read_records = msgspec.msgpack.Decoder(KeptRecords).decode
_kept_part = msgspec.msgpack.Decoder(KeptPart).decode


def pack_part(part: Part) -> bytes:
    """A part as it is kept."""
    return encode(KeptPart(part, None) if isinstance(part, Snapshot) else KeptPart(None, part))


def part_of(body: bytes) -> Part:
    """The part that was packed."""
    kept = _kept_part(body)
    part = kept.snapshot or kept.contact
    assert part is not None, "one of the two"
    return part


def pack_state(state: UserState, number_of: NumberOf) -> bytes:
    """A state as it is kept."""
    contact = state.contact
    return encode(
        KeptState(
            state.key,
            tuple(map(number_of, state.touches.snapshots)),
            state.touches.marks,
            state.ledger,
            state.seen,
            state.recent,
            state.pen,
            state.opened,
            state.consent,
            None if contact is None else number_of(contact),
            state.test,
            state.forgotten_us,
            state.consent_us,
            state.person,
            state.correctable,
        )
    )


def parts_of_state(kept: KeptState) -> Sequence[int]:
    """The parts that a state speaks of."""
    return kept.snapshots if kept.contact is None else (*kept.snapshots, kept.contact)


def state_of(kept: KeptState, part_at: PartAt) -> UserState:
    """The state that was packed."""
    return UserState(
        kept.key,
        Touches(tuple([part_at(number) for number in kept.snapshots]), kept.marks),
        kept.ledger,
        kept.seen,
        kept.recent,
        kept.pen,
        kept.opened,
        kept.consent,
        None if kept.contact is None else part_at(kept.contact),
        kept.test,
        kept.forgotten_us,
        kept.consent_us,
        kept.person,
        kept.correctable,
    )


def pack_records(records: Sequence[Record], number_of: NumberOf) -> bytes:
    """The records of one event as they are kept."""
    origins: list[Origin] = []
    known: list[Known] = []
    kept: list[Kept] = []
    for record in records:
        if isinstance(record, Withdrawn):
            kept.append(KeptWithdrawn(record.record, record.reason, record.skip, record.at_us))
            continue
        conversion = record.conversion
        planned = KeptPlanned(
            # Mostly there is one of each.
            0 if origins and conversion.origin is origins[0] else _place(origins, conversion.origin),
            0 if known and record.known is known[0] else _place(known, record.known),
            bytes.fromhex(conversion.id),
            conversion.name,
            conversion.certain,
            conversion.history,
            record.entries,
            conversion.predicted,
            conversion.tier_version,
            conversion.value,
        )
        match record:
            case Planned():
                kept.append(planned)
            case Rebound():
                kept.append(KeptRebound(record.record, planned))
            case Corrected():
                corrects, corrected_us = record.corrects, record.corrected_us
                kept.append(KeptCorrected(record.record, planned, corrects, corrected_us, record.reason))
    return encode(KeptRecords(origins, [_kept_known(one, number_of) for one in known], kept))


def _kept_known(known: Known, number_of: NumberOf) -> KeptKnown:
    binding, other, contact = known.binding, known.other_install, known.contact
    return KeptKnown(
        known.at_us,
        None if binding is None else KeptBinding(number_of(binding.snapshot), binding.at_us),
        None if other is None else KeptBinding(number_of(other.snapshot), other.at_us),
        None if contact is None else number_of(contact),
        known.consent,
    )


def parts_of_records(kept: KeptRecords) -> Iterator[int]:
    """The parts that the records of an event speak of."""
    for known in kept.known:
        if known.binding is not None:
            yield known.binding.snapshot
        if known.other_install is not None:
            yield known.other_install.snapshot
        if known.contact is not None:
            yield known.contact


def records_of(kept: KeptRecords, part_at: PartAt) -> list[Record]:
    """The records that were packed."""
    known = [_known(one, part_at) for one in kept.known]
    found: list[Record] = []
    for one in kept.records:
        if isinstance(one, KeptWithdrawn):
            found.append(Withdrawn(one.record, one.reason, one.skip, one.at_us))
            continue
        planned = one if isinstance(one, KeptPlanned) else one.planned
        conversion = Conversion(
            planned.id.hex(),
            planned.name,
            kept.origins[planned.origin],
            planned.certain,
            planned.history,
            planned.predicted,
            planned.tier_version,
            planned.value,
        )
        was, entries = known[planned.known], planned.entries
        match one:
            case KeptPlanned():
                found.append(Planned(conversion, was, entries))
            case KeptRebound():
                found.append(Rebound(conversion, was, entries, record=one.record))
            case KeptCorrected():
                found.append(
                    Corrected(
                        conversion,
                        was,
                        entries,
                        record=one.record,
                        corrects=one.corrects,
                        corrected_us=one.corrected_us,
                        reason=one.reason,
                    )
                )
    return found


def _known(kept: KeptKnown, part_at: PartAt) -> Known:
    binding, other = kept.binding, kept.other_install
    return Known(
        None if binding is None else Binding(part_at(binding.snapshot), binding.at_us),
        None if other is None else Binding(part_at(other.snapshot), other.at_us),
        None if kept.contact is None else part_at(kept.contact),
        kept.consent,
        kept.at_us,
    )


def _place(parts: list[Any], part: object) -> int:
    """Where the part stands in the list; it is put there where it is missing."""
    if part not in parts:
        parts.append(part)
    return parts.index(part)
