"""The event log, the states and the deliveries on disk; the only SQL of the live path."""

from lendsignal.log.deliveries import (
    Changes,
    Dead,
    Deliveries,
    Open,
    Pause,
    Receipt,
    Stage,
    Stop,
    open_deliveries,
)
from lendsignal.log.folder import Bell, DataFolder, Ringer, RoleLock
from lendsignal.log.log import Attribution, Decided, Fact, Log, Quarantined, open_log
from lendsignal.log.orders import (
    EVERY,
    Again,
    Cancel,
    Given,
    Halt,
    LetGo,
    Order,
    Orders,
    open_orders,
)
from lendsignal.log.pulse import Pulse, seconds_since_beat
from lendsignal.log.relay import Acknowledged, Offer, Shelf, open_shelf
from lendsignal.log.sqlite import damage
from lendsignal.log.whole import refuse_damage

__all__ = [
    "EVERY",
    "Acknowledged",
    "Again",
    "Attribution",
    "Bell",
    "Cancel",
    "Changes",
    "DataFolder",
    "Dead",
    "Decided",
    "Deliveries",
    "Fact",
    "Given",
    "Halt",
    "LetGo",
    "Log",
    "Offer",
    "Open",
    "Order",
    "Orders",
    "Pause",
    "Pulse",
    "Quarantined",
    "Receipt",
    "Ringer",
    "RoleLock",
    "Shelf",
    "Stage",
    "Stop",
    "damage",
    "open_deliveries",
    "open_log",
    "open_orders",
    "open_shelf",
    "refuse_damage",
    "seconds_since_beat",
]
