"""The part of what the log keeps that reports look at: read in a third of the time of the whole.

Field names, and in arrays their order, are those of the structs that were written; a test reads real
records through these to hold them to it. Amounts stay the text they are kept as.
"""

from datetime import datetime
from operator import attrgetter

import msgspec
from msgspec import Raw, Struct

from lendsignal.model import KEY_FIELD
from lendsignal.report.installations import Ids, Installations, ids_of


class StoredDevice(Struct, frozen=True, gc=False):
    """The ids of a stored `model.Device`."""

    appsflyer_id: str | None = None
    firebase_app_instance_id: str | None = None
    adjust_adid: str | None = None
    branch_identity: str | None = None
    singular_sdid: str | None = None
    kochava_device_id: str | None = None
    meta_anon_id: str | None = None
    gaid: str | None = None
    idfa: str | None = None
    idfv: str | None = None
    oaid: str | None = None
    android_id: str | None = None


class StoredInstalment(Struct, frozen=True, gc=False):
    """A stored `model.Instalment`: an ISO date, and the amount as text."""

    due_date: str
    amount: str


class StoredEvent(Struct, frozen=True, gc=False):
    """The part of a stored `model.Event` that reports look at; amounts as the text they are kept in."""

    type: str
    brand: str
    user_id: str
    event_id: str
    occurred_at: datetime
    received_at: datetime
    app: str | None = None
    actor: str = "user"
    time_precision: str = "instant"
    revision: int = 0
    test: bool = False
    history: bool = False
    purpose: str = "optimisation"
    application_id: str | None = None
    grant_id: str | None = None
    loan_id: str | None = None
    payment_id: str | None = None
    loan_number: int | None = None
    amount: str | None = None
    limit: str | None = None
    currency: str | None = None
    fee: str | None = None
    term_days: int | None = None
    schedule: tuple[StoredInstalment, ...] = ()
    due_date: str | None = None
    outstanding: str | None = None
    dpd: int | None = None
    device: Raw = Raw()


class StoredOrigin(Struct, frozen=True, array_like=True, gc=False):
    """The part of a stored `model.Origin` that reports look at."""

    brand: str
    user_id: str
    event_id: str
    event_type: str
    occurred_us: int
    received_us: int
    binds_us: int
    app: str | None
    day_precision: bool
    loan_id: str | None
    payment_id: str | None
    loan_number: int | None
    amount: Raw
    fee: Raw
    test: bool


class StoredBinding(Struct, frozen=True, array_like=True, gc=False):
    """A stored `packing.KeptBinding`."""

    snapshot: int
    at_us: int


class StoredKnown(Struct, frozen=True, array_like=True, gc=False):
    """The part of a stored `packing.KeptKnown` that reports look at."""

    at_us: int
    binding: StoredBinding | None
    other_install: StoredBinding | None


class StoredEntry(Struct, frozen=True, array_like=True, gc=False):
    """A stored `plan.Entry`."""

    destination: str
    kind: str
    name: str
    value: Raw
    settle_us: int
    skip: str | None = None


class StoredPlanned(Struct, frozen=True, array_like=True, tag=0, gc=False):
    """A stored `packing.KeptPlanned`."""

    origin: int
    known: int
    id: bytes
    name: str
    certain: bool
    history: bool
    entries: list[StoredEntry]


class StoredRebound(Struct, frozen=True, array_like=True, tag=1, gc=False):
    """A stored `packing.KeptRebound`."""

    record: int
    planned: StoredPlanned


class StoredWithdrawn(Struct, frozen=True, array_like=True, tag=2, gc=False):
    """A stored `packing.KeptWithdrawn`."""

    record: int


class StoredRecords(Struct, frozen=True, array_like=True, gc=False):
    """A stored `packing.KeptRecords`: all that follows from one event."""

    origins: list[StoredOrigin]
    known: list[StoredKnown]
    records: list[StoredPlanned | StoredRebound | StoredWithdrawn]


class StoredSnapshot(Struct, frozen=True, array_like=True, gc=False):
    """A stored `resolve.Snapshot`."""

    app: str
    device: Raw


class StoredPart(Struct, frozen=True, array_like=True, gc=False):
    """A stored `packing.KeptPart`: a snapshot, or a contact, which no report looks at."""

    snapshot: StoredSnapshot | None


stored_event = msgspec.msgpack.Decoder(StoredEvent).decode
stored_records = msgspec.msgpack.Decoder(StoredRecords).decode
_device = msgspec.msgpack.Decoder(StoredDevice).decode
_part = msgspec.msgpack.Decoder(StoredPart).decode

_KEY_OF = {
    "registered": attrgetter("user_id"),
    **{kind: attrgetter(field) for kind, field in KEY_FIELD.items()},
}


class Snapshots:
    """Numbers stored snapshots by the installation they show; equal devices are read once.

    Numbers are those of `Installations.find`: ask its `root` when everything is read.
    """

    def __init__(self, gathered: Installations) -> None:
        self._gathered = gathered
        self._devices: dict[tuple[str, bytes], tuple[int | None, Ids]] = {}
        self._snapshots: dict[int, tuple[str, int | None]] = {}

    def add(self, number: int, part: bytes) -> None:
        """Takes what the log speaks of by that number, where it is a snapshot."""
        snapshot = _part(part).snapshot
        if snapshot is not None:
            installation, _ = self.of_device(snapshot.app, snapshot.device)
            self._snapshots[number] = (snapshot.app, installation)

    def of_device(self, app: str, device: Raw) -> tuple[int | None, Ids]:
        """The installation that a stored device of that app shows, and its ids."""
        key = (app, bytes(device))
        found = self._devices.get(key)
        if found is None:
            ids = ids_of(_device(device))
            found = self._devices[key] = (self._gathered.find(app, ids), ids)
        return found

    def of_snapshot(self, number: int) -> tuple[str, int | None]:
        """The app of a stored snapshot and the installation it shows."""
        return self._snapshots[number]


def key_of(event: StoredEvent) -> str | None:
    """The business key the event is about, as `model.key_of` gives it."""
    read = _KEY_OF.get(event.type)
    return None if read is None else read(event)
