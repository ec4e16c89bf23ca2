"""What is remembered of one user between events: the one value that decisions read and replace."""

from collections.abc import Mapping

from msgspec import Struct

from lendsignal.derive import Ledger
from lendsignal.model import Consent, Contact, Conversion
from lendsignal.plan.records import Entry
from lendsignal.resolve import Touches

RECENT = 256
"""Ids of events without a business key that are remembered to tell repeats."""

OPEN = 24
"""Planned conversions that a late touch may still move, or a reversal or an ended consent take back."""

CORRECTABLE = 24
"""Conversions whose value may still be restated, or which may be taken back, where a destination lets us."""

PENNED = 64
"""Conversions that may wait for one user's first touch; what comes beyond is skipped at once.

So many mean that the id stands for nobody in particular; and one touch releases them all, as the records
of one event."""


class Seen(Struct, frozen=True, array_like=True, gc=False):
    """One fact that came in: its revision, a checksum of its content, and when it was said to occur."""

    revision: int
    content: int
    occurred_us: int


class Penned(Struct, frozen=True, array_like=True, gc=False):
    """A conversion that waits for its user's first touch."""

    conversion: Conversion
    expires_us: int


class Opened(Struct, frozen=True, array_like=True, gc=False):
    """A planned conversion: its record, the moment it binds at, the loan and the payment it is about."""

    record: int
    binds_us: int
    loan_id: str | None
    payment_id: str | None
    received_us: int


class Told(Struct, frozen=True, array_like=True, gc=False):
    """What one destination is told of a conversion: the entry, with the value it was told last.

    `deliveries` are those that may tell it; `last` is the latest correction, 0 for none.
    """

    entry: Entry
    deliveries: tuple[int, ...]
    last: int = 0


class Correctable(Struct, frozen=True, array_like=True, gc=False):
    """A planned conversion that some destination lets us correct; `corrected_us`: when it last was, or 0."""

    record: int
    conversion: Conversion
    told: tuple[Told, ...]
    planned_us: int
    corrected_us: int = 0


class UserState(Struct, frozen=True, array_like=True, gc=False):
    """All that decisions know of one user. Events older than `forgotten_us` may be forgotten repeats.

    `person` is the `person_id` that the user was last said to be. What a person's users share is a state of
    its own, under `person_state_key`, of which only the ledger is used (`derive.person`).
    `seen` are business facts, `recent` events without a business key, oldest first; both by a hash of what
    names them. `consent` is the one that occurred latest, at `consent_us`.
    """

    key: str
    touches: Touches = Touches()
    ledger: Ledger = Ledger()
    seen: Mapping[int, Seen] = {}
    recent: Mapping[int, Seen] = {}
    pen: tuple[Penned, ...] = ()
    opened: tuple[Opened, ...] = ()
    consent: Consent | None = None
    contact: Contact | None = None
    test: bool = False
    forgotten_us: int = 0
    consent_us: int = 0
    person: str | None = None
    correctable: tuple[Correctable, ...] = ()


def person_state_key(person_id: str) -> str:
    """The key of the state that a person's users share; no user has it, for every brand has a name."""
    return f":{person_id}"
