"""The append-only event log, the states and the records of deliveries on disk; the only SQL of the live path."""

from lendsignal.log.deliveries import (
    Answered,
    Attempt,
    Deliveries,
    Open,
    Receipt,
    open_deliveries,
)
from lendsignal.log.folder import DataFolder, RoleLock
from lendsignal.log.log import Decided, Fact, Log, Quarantined, open_log

__all__ = [
    "Answered",
    "Attempt",
    "DataFolder",
    "Decided",
    "Deliveries",
    "Fact",
    "Log",
    "Open",
    "Quarantined",
    "Receipt",
    "RoleLock",
    "open_deliveries",
    "open_log",
]
