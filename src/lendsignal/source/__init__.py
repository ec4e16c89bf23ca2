"""How events come in, and what is asked of them at the door."""

from lendsignal.source.attribution import read_attribution
from lendsignal.source.door import Door
from lendsignal.source.intake import Full, Intake
from lendsignal.source.meters import SourceMeters
from lendsignal.source.openapi import event_schema, openapi
from lendsignal.source.reading import Reader, derived_id, masked, read_array, read_event, read_json, reader_of
from lendsignal.source.relay import Relay, RelayDoor
from lendsignal.source.settings import DoorSettings, SourceSettings

__all__ = [
    "Door",
    "DoorSettings",
    "Full",
    "Intake",
    "Reader",
    "Relay",
    "RelayDoor",
    "SourceMeters",
    "SourceSettings",
    "derived_id",
    "event_schema",
    "masked",
    "openapi",
    "read_array",
    "read_attribution",
    "read_event",
    "read_json",
    "reader_of",
]
