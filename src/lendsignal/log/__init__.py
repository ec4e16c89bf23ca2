"""The event log, the states and the deliveries on disk; the only SQL of the live path."""

from lendsignal.log.deliveries import (
    Changes,
    Dead,
    Deliveries,
    Open,
    Receipt,
    Stage,
    open_deliveries,
)
from lendsignal.log.folder import Bell, DataFolder, Ringer, RoleLock
from lendsignal.log.log import Attribution, Decided, Fact, Log, Quarantined, open_log

__all__ = [
    "Attribution",
    "Bell",
    "Changes",
    "DataFolder",
    "Dead",
    "Decided",
    "Deliveries",
    "Fact",
    "Log",
    "Open",
    "Quarantined",
    "Receipt",
    "Ringer",
    "RoleLock",
    "Stage",
    "open_deliveries",
    "open_log",
]
