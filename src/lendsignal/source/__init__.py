"""How events come in, and what is asked of them at the door.

What serves HTTP is loaded when it is asked for: a role without a door has no use for its libraries.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lendsignal.source.intake import Full, Inlet, Intake
from lendsignal.source.keys import Access, Keyring, access_of
from lendsignal.source.kinds import Kit, PullPlan, feed_kinds
from lendsignal.source.mending import Mender, Patch, kept_of, patched, shown_of, through_again
from lendsignal.source.meters import SourceMeters, rule_word
from lendsignal.source.pull import Puller, PullMeters, PullSettings, pull_all
from lendsignal.source.reading import Reader, derived_id, masked, read_array, read_event, read_json, reader_of
from lendsignal.source.settings import (
    EVERY_SCOPE,
    DoorSettings,
    KeySettings,
    SegmentSettings,
    SourceSettings,
)
from lendsignal.source.watch import QuarantineMeters, QuarantineStanding, quarantine_standing

if TYPE_CHECKING:
    from lendsignal.source.body import Held
    from lendsignal.source.door import Door
    from lendsignal.source.hatch import Hatch
    from lendsignal.source.openapi import event_schema
    from lendsignal.source.passing import Passing
    from lendsignal.source.pulled import INNER_KEY, INNER_PATH, InnerDoor, IntoTheLog, OverTheDoor
    from lendsignal.source.relay import Relay, RelayDoor
    from lendsignal.source.segment_door import SEGMENT_PATHS, SegmentDoor

__all__ = [
    "EVERY_SCOPE",
    "INNER_KEY",
    "INNER_PATH",
    "SEGMENT_PATHS",
    "Access",
    "Door",
    "DoorSettings",
    "Full",
    "Hatch",
    "Held",
    "Inlet",
    "InnerDoor",
    "Intake",
    "IntoTheLog",
    "KeySettings",
    "Keyring",
    "Kit",
    "Mender",
    "OverTheDoor",
    "Passing",
    "Patch",
    "PullMeters",
    "PullPlan",
    "PullSettings",
    "Puller",
    "QuarantineMeters",
    "QuarantineStanding",
    "Reader",
    "Relay",
    "RelayDoor",
    "SegmentDoor",
    "SegmentSettings",
    "SourceMeters",
    "SourceSettings",
    "access_of",
    "derived_id",
    "event_schema",
    "feed_kinds",
    "kept_of",
    "masked",
    "patched",
    "pull_all",
    "quarantine_standing",
    "read_array",
    "read_event",
    "read_json",
    "reader_of",
    "rule_word",
    "shown_of",
    "through_again",
]

LATER = {
    "INNER_KEY": "pulled",
    "INNER_PATH": "pulled",
    "SEGMENT_PATHS": "segment_door",
    "Door": "door",
    "Hatch": "hatch",
    "Held": "body",
    "InnerDoor": "pulled",
    "IntoTheLog": "pulled",
    "OverTheDoor": "pulled",
    "Passing": "passing",
    "Relay": "relay",
    "RelayDoor": "relay",
    "SegmentDoor": "segment_door",
    "event_schema": "openapi",
}
"""Where those stand that serve HTTP, or that speak to who does."""


def __getattr__(name: str) -> Any:
    """One of them, loaded now."""
    if name in LATER:
        return getattr(import_module(f"{__name__}.{LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
