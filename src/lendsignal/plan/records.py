"""What decisions write for the sender: an ordered stream of records, each replayable to the same bytes."""

from msgspec import Struct

from lendsignal.model import Consent, Contact, Conversion, Money, SkipReason
from lendsignal.resolve import Binding

RECORDS_PER_EVENT = 256
ENTRIES_PER_RECORD = 64


class Entry(Struct, frozen=True, array_like=True):
    """One delivery: name, value and wait are frozen here. `skip` is set where it is never sent.

    `unvalued`: the route wanted a value and there was none to send.
    """

    destination: str
    kind: str
    name: str
    value: Money | None
    settle_us: int
    skip: SkipReason | None = None
    unvalued: bool = False


class Planned(Struct, frozen=True, array_like=True, tag="planned"):
    """A conversion and its deliveries; `entries` is empty where no route takes it, or for history.

    `other_install` is the first installation's binding where it is another than `binding`.
    """

    conversion: Conversion
    binding: Binding | None
    other_install: Binding | None
    entries: tuple[Entry, ...]
    contact: Contact | None
    consent: Consent | None
    at_us: int

    @property
    def first_install(self) -> Binding | None:
        """What the rule of the first installation says."""
        return self.other_install or self.binding


class Rebound(Struct, frozen=True, array_like=True, tag="rebound"):
    """A late touch moved a planned conversion to another device: deliveries not yet claimed follow it.

    `entries` are those of the new device's app; each takes the place of the one of the same kind.
    """

    record: int
    conversion: Conversion
    binding: Binding
    other_install: Binding | None
    entries: tuple[Entry, ...]
    contact: Contact | None
    consent: Consent | None
    at_us: int

    @property
    def first_install(self) -> Binding | None:
        """What the rule of the first installation says."""
        return self.other_install or self.binding


class Withdrawn(Struct, frozen=True, array_like=True, tag="withdrawn"):
    """Deliveries of a planned conversion that are not yet claimed are not to be sent.

    `skip` where the user's consent ended; otherwise they are cancelled, because the loan was undone.
    """

    record: int
    reason: str
    skip: SkipReason | None
    at_us: int


Record = Planned | Rebound | Withdrawn


def record_id(sequence: int, number: int) -> int:
    """Where the `number`-th record of an event stands in the stream: the same in every replay."""
    return sequence * RECORDS_PER_EVENT + number


def delivery_id(record: int, entry: int) -> int:
    """The id of a record's entry."""
    return record * ENTRIES_PER_RECORD + entry


def record_of(delivery: int) -> tuple[int, int]:
    """The record and the entry that a delivery id stands for."""
    return divmod(delivery, ENTRIES_PER_RECORD)
