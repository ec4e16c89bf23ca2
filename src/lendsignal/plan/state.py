"""What is remembered of one user between events: the one value that decisions read and replace."""

from collections.abc import Mapping

from msgspec import Struct

from lendsignal.derive import Ledger
from lendsignal.model import Consent, Contact, Conversion
from lendsignal.resolve import Touches

RECENT = 256
"""Ids of events without a business key that are remembered to tell repeats."""

OPEN = 24
"""Planned conversions whose device a late touch may still change."""


class Seen(Struct, frozen=True, array_like=True):
    """One business fact that came in: its revision and a hash of its content."""

    revision: int
    content: int


class Recent(Struct, frozen=True, array_like=True):
    """One event without a business key that came in."""

    event_id: str
    content: int
    occurred_us: int


class Penned(Struct, frozen=True, array_like=True):
    """A conversion that waits for its user's first touch."""

    conversion: Conversion
    expires_us: int


class Opened(Struct, frozen=True, array_like=True):
    """A planned conversion: which record planned it, when it binds, and the touch it is bound to."""

    record: int
    binds_us: int
    touch_us: int
    loan_id: str | None
    received_us: int


class UserState(Struct, frozen=True, array_like=True):
    """All that decisions know of one user. Events older than `forgotten_us` may be forgotten repeats."""

    key: str
    touches: Touches = Touches()
    ledger: Ledger = Ledger()
    seen: Mapping[int, Seen] = {}
    recent: tuple[Recent, ...] = ()
    pen: tuple[Penned, ...] = ()
    opened: tuple[Opened, ...] = ()
    consent: Consent | None = None
    contact: Contact | None = None
    test: bool = False
    forgotten_us: int = 0
