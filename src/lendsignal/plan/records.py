"""What decisions write for the sender: an ordered stream of records, each replayable to the same bytes."""

from msgspec import Struct

from lendsignal.model import Consent, Contact, Conversion, Money, SkipReason
from lendsignal.resolve import Binding

RECORDS_PER_EVENT = 256
ENTRIES_PER_RECORD = 64


class Entry(Struct, frozen=True, array_like=True, gc=False):
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


class Known(Struct, frozen=True, gc=False):
    """What was known of the person when something was planned: shared by what one event plans.

    `other_install` is the first installation's binding where it is another than `binding`.
    """

    binding: Binding | None
    other_install: Binding | None
    contact: Contact | None
    consent: Consent | None
    at_us: int


class Placed(Struct, frozen=True, gc=False):
    """A conversion, the device it belongs to and its deliveries."""

    conversion: Conversion
    known: Known
    entries: tuple[Entry, ...]

    @property
    def binding(self) -> Binding | None:
        """The device that counts."""
        return self.known.binding

    @property
    def other_install(self) -> Binding | None:
        """The first installation's, where it is another."""
        return self.known.other_install

    @property
    def first_install(self) -> Binding | None:
        """What the rule of the first installation says."""
        return self.known.other_install or self.known.binding

    @property
    def contact(self) -> Contact | None:
        """The user's hashed contact at the time."""
        return self.known.contact

    @property
    def consent(self) -> Consent | None:
        """What the user allowed at the time."""
        return self.known.consent

    @property
    def at_us(self) -> int:
        """When it was decided, in microseconds since 1970."""
        return self.known.at_us


class Planned(Placed, frozen=True, gc=False):
    """A conversion and its deliveries; `entries` is empty where no route takes it, or for history."""


class Rebound(Placed, frozen=True, kw_only=True, gc=False):
    """A late touch moved a planned conversion to another device: deliveries not yet claimed follow it.

    `record` planned it. `entries` are those of the new device's app; each takes the place of the one of the
    same kind.
    """

    record: int

    @property
    def binding(self) -> Binding:
        """The device that counts now."""
        assert self.known.binding is not None, "what moved has a device"
        return self.known.binding


class Withdrawn(Struct, frozen=True, gc=False):
    """Deliveries of a planned conversion that are not yet claimed are not to be sent.

    `skip` where the user's consent ended; otherwise they are cancelled, because the loan was undone.
    """

    record: int
    reason: str
    skip: SkipReason | None
    at_us: int


class Corrected(Placed, frozen=True, kw_only=True, gc=False):
    """What destinations may have been told of a planned conversion is not so: its value, or that it is one.

    `conversion` is the one that `record` planned, with the facts as they are known now and a name of its own
    (`correction_name`). Of each entry `corrects` holds the deliveries that may have told of it, an earlier
    correction among them: it is sent once all of them have ended and the platform has the conversion. An
    entry without a value takes the conversion back. `reason` is the type of the event that corrects;
    `corrected_us` rises with every correction of one conversion, by a second at least.
    """

    record: int
    corrects: tuple[tuple[int, ...], ...]
    corrected_us: int
    reason: str


Record = Planned | Rebound | Withdrawn | Corrected


def correction_name(conversion: str, *, undone: bool) -> str:
    """What a correction of a conversion is counted as."""
    return f"{conversion}_{'retraction' if undone else 'restatement'}"


def record_id(sequence: int, number: int) -> int:
    """Where the `number`-th record of an event stands in the stream: the same in every replay."""
    return sequence * RECORDS_PER_EVENT + number


def event_of(record: int) -> tuple[int, int]:
    """The event that a record follows from, and which of its records it is."""
    return divmod(record, RECORDS_PER_EVENT)


def delivery_id(record: int, entry: int) -> int:
    """The id of a record's entry."""
    return record * ENTRIES_PER_RECORD + entry


def record_of(delivery: int) -> tuple[int, int]:
    """The record and the entry that a delivery id stands for."""
    return divmod(delivery, ENTRIES_PER_RECORD)
