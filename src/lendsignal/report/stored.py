"""The part of what the log keeps that reports look at: read in a third of the time of the whole.

Field names, and in arrays their order, are those of the structs that were written; a test reads real
records through these to hold them to it. Amounts stay the text they are kept as.
"""

from datetime import datetime
from operator import attrgetter
from typing import TypeAlias

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


class StoredEvent(Struct, frozen=True, gc=False):
    """The part of a stored `model.Event` that reports look at; amounts as the text they are kept in."""

    type: str
    brand: str
    user_id: str
    event_id: str
    occurred_at: datetime
    app: str | None = None
    actor: str = "user"
    time_precision: str = "instant"
    revision: int = 0
    test: bool = False
    history: bool = False
    application_id: str | None = None
    grant_id: str | None = None
    loan_id: str | None = None
    payment_id: str | None = None
    loan_number: int | None = None
    amount: str | None = None
    limit: str | None = None
    currency: str | None = None
    fee: str | None = None
    dpd: int | None = None
    device: Raw = Raw()


class StoredConversion(Struct, frozen=True, gc=False):
    """The part of a stored `model.Conversion` that reports look at."""

    id: str
    name: str
    brand: str
    user_id: str
    event_id: str
    event_type: str
    occurred_at: datetime
    received_at: datetime
    app: str | None = None
    loan_id: str | None = None
    loan_number: int | None = None
    certain: bool = True
    test: bool = False
    history: bool = False


class StoredSnapshot(Struct, frozen=True, array_like=True, gc=False):
    """A stored `resolve.Snapshot`."""

    app: str
    device: Raw


class StoredBinding(Struct, frozen=True, array_like=True, gc=False):
    """A stored `resolve.Binding`."""

    snapshot: Raw
    at_us: int


class StoredEntry(Struct, frozen=True, array_like=True, gc=False):
    """A stored `plan.Entry`."""

    destination: str
    kind: str
    name: str
    value: Raw
    settle_us: int
    skip: str | None = None


class StoredPlanned(Struct, frozen=True, array_like=True, tag="planned", gc=False):
    """A stored `plan.Planned`."""

    conversion: StoredConversion
    binding: StoredBinding | None
    other_install: StoredBinding | None
    entries: list[StoredEntry]
    contact: Raw
    consent: Raw
    at_us: int


class StoredRebound(Struct, frozen=True, array_like=True, tag="rebound", gc=False):
    """A stored `plan.Rebound`."""

    record: int
    conversion: StoredConversion
    binding: StoredBinding
    other_install: StoredBinding | None
    entries: list[StoredEntry]
    contact: Raw
    consent: Raw
    at_us: int


class StoredWithdrawn(Struct, frozen=True, array_like=True, tag="withdrawn", gc=False):
    """A stored `plan.Withdrawn`."""

    record: int


StoredRecord: TypeAlias = StoredPlanned | StoredRebound | StoredWithdrawn
"""One record of the sender's stream."""

stored_event = msgspec.msgpack.Decoder(StoredEvent).decode
stored_record = msgspec.msgpack.Decoder(StoredRecord).decode
_device = msgspec.msgpack.Decoder(StoredDevice).decode
_snapshot = msgspec.msgpack.Decoder(StoredSnapshot).decode

_KEY_OF = {
    "registered": attrgetter("user_id"),
    **{kind: attrgetter(field) for kind, field in KEY_FIELD.items()},
}


class Snapshots:
    """Numbers stored snapshots by the installation they show; equal bytes are read once.

    Numbers are those of `Installations.find`: ask its `root` when everything is read.
    """

    def __init__(self, gathered: Installations) -> None:
        self._gathered = gathered
        self._devices: dict[tuple[str, bytes], tuple[int | None, Ids]] = {}
        self._snapshots: dict[bytes, tuple[str, int | None]] = {}

    def of_device(self, app: str, device: Raw) -> tuple[int | None, Ids]:
        """The installation that a stored device of that app shows, and its ids."""
        key = (app, bytes(device))
        found = self._devices.get(key)
        if found is None:
            ids = ids_of(_device(device))
            found = self._devices[key] = (self._gathered.find(app, ids), ids)
        return found

    def of_snapshot(self, snapshot: Raw) -> tuple[str, int | None]:
        """The app of a stored snapshot and the installation it shows."""
        key = bytes(snapshot)
        found = self._snapshots.get(key)
        if found is None:
            read = _snapshot(snapshot)
            found = self._snapshots[key] = (read.app, self.of_device(read.app, read.device)[0])
        return found


def key_of(event: StoredEvent) -> str | None:
    """The business key the event is about, as `model.key_of` gives it."""
    read = _KEY_OF.get(event.type)
    return None if read is None else read(event)
