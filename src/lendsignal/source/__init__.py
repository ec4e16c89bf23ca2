"""How events come in, and what is asked of them at the door.

Everything is loaded when it is asked for: a role without a door has no use for what serves HTTP.
"""

from typing import TYPE_CHECKING

from lendsignal.later import later

if TYPE_CHECKING:
    from lendsignal.source.body import Held
    from lendsignal.source.door import Door
    from lendsignal.source.hatch import Hatch
    from lendsignal.source.intake import Full, Inlet, Intake
    from lendsignal.source.keys import Access, Keyring, access_of
    from lendsignal.source.kinds import Kit, PullPlan, feed_kinds
    from lendsignal.source.mending import Mender, Patch, kept_of, patched, shown_of, through_again
    from lendsignal.source.meters import SourceMeters, rule_word
    from lendsignal.source.openapi import event_schema
    from lendsignal.source.passing import Passing
    from lendsignal.source.pull import Puller, PullMeters, PullSettings, pull_all
    from lendsignal.source.pulled import INNER_KEY, INNER_PATH, InnerDoor, IntoTheLog, OverTheDoor
    from lendsignal.source.reading import (
        Reader,
        derived_id,
        masked,
        read_array,
        read_event,
        read_json,
        reader_of,
    )
    from lendsignal.source.relay import Relay, RelayDoor
    from lendsignal.source.segment_door import SEGMENT_PATHS, SegmentDoor
    from lendsignal.source.settings import (
        EVERY_SCOPE,
        DoorSettings,
        KeySettings,
        SegmentSettings,
        SourceSettings,
    )
    from lendsignal.source.watch import QuarantineMeters, QuarantineStanding, position_at, quarantine_standing

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
    "position_at",
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

__getattr__ = later(
    __name__,
    {
        "body": "Held",
        "door": "Door",
        "hatch": "Hatch",
        "intake": "Full Inlet Intake",
        "keys": "Access Keyring access_of",
        "kinds": "Kit PullPlan feed_kinds",
        "mending": "Mender Patch kept_of patched shown_of through_again",
        "meters": "SourceMeters rule_word",
        "openapi": "event_schema",
        "passing": "Passing",
        "pull": "Puller PullMeters PullSettings pull_all",
        "pulled": "INNER_KEY INNER_PATH InnerDoor IntoTheLog OverTheDoor",
        "reading": "Reader derived_id masked read_array read_event read_json reader_of",
        "relay": "Relay RelayDoor",
        "segment_door": "SEGMENT_PATHS SegmentDoor",
        "settings": "EVERY_SCOPE DoorSettings KeySettings SegmentSettings SourceSettings",
        "watch": "QuarantineMeters QuarantineStanding position_at quarantine_standing",
    },
)
