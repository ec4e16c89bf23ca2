"""The event log, the states and the deliveries on disk; the only SQL of the live path."""

from typing import TYPE_CHECKING

from lendsignal.later import later

if TYPE_CHECKING:
    from lendsignal.log.alerts import Alerts, Raised, Silence, Told, open_alerts
    from lendsignal.log.audiences import Allowed, Audiences, Build, ChunkRow, SyncRow, open_audiences
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
    from lendsignal.log.disk import synced
    from lendsignal.log.engine import OneLog, Remembering, Rulebook, Taking
    from lendsignal.log.erasing import NOBODY, KeptOut, Struck, Trace, WhoIsKeptOut
    from lendsignal.log.feeds import FeedCounts, Feeds, open_feeds
    from lendsignal.log.folder import Bell, DataFolder, Ringer, RoleLock
    from lendsignal.log.forms import Form, form_at, known_form, migrate
    from lendsignal.log.keys import ID_LENGTH, ApiKey, Keys, KeyStore, KeyUse, keys_of, open_keys
    from lendsignal.log.log import Decided, Fact, Log, Move, open_log
    from lendsignal.log.numbers import number_of_user
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
    from lendsignal.log.pulls import Marks, Pulls, PullState, open_pulls
    from lendsignal.log.pulse import Pulse, seconds_since_beat
    from lendsignal.log.quarantine import STATES, Kind, Mended, Quarantine, Quarantined, Wanted
    from lendsignal.log.relay import Acknowledged, Giving, Offer, Placing, Shelf, open_shelf
    from lendsignal.log.sqlite import damage
    from lendsignal.log.stream import OneStream, Recorded, Stream
    from lendsignal.log.whole import refuse_damage

__all__ = [
    "EVERY",
    "ID_LENGTH",
    "NOBODY",
    "STATES",
    "Acknowledged",
    "Again",
    "Alerts",
    "Allowed",
    "ApiKey",
    "Audiences",
    "Bell",
    "Build",
    "Cancel",
    "Changes",
    "ChunkRow",
    "DataFolder",
    "Dead",
    "Decided",
    "Deliveries",
    "Fact",
    "FeedCounts",
    "Feeds",
    "Form",
    "Given",
    "Giving",
    "Halt",
    "KeptOut",
    "KeyStore",
    "KeyUse",
    "Keys",
    "Kind",
    "LetGo",
    "Log",
    "Marks",
    "Mended",
    "Move",
    "Offer",
    "OneLog",
    "OneStream",
    "Open",
    "Order",
    "Orders",
    "Pause",
    "Placing",
    "PullState",
    "Pulls",
    "Pulse",
    "Quarantine",
    "Quarantined",
    "Raised",
    "Receipt",
    "Recorded",
    "Remembering",
    "Ringer",
    "RoleLock",
    "Rulebook",
    "Shelf",
    "Silence",
    "Stage",
    "Stop",
    "Stream",
    "Struck",
    "SyncRow",
    "Taking",
    "Told",
    "Trace",
    "Wanted",
    "WhoIsKeptOut",
    "damage",
    "form_at",
    "keys_of",
    "known_form",
    "migrate",
    "number_of_user",
    "open_alerts",
    "open_audiences",
    "open_deliveries",
    "open_feeds",
    "open_keys",
    "open_log",
    "open_orders",
    "open_pulls",
    "open_shelf",
    "refuse_damage",
    "seconds_since_beat",
    "synced",
]

__getattr__ = later(
    __name__,
    {
        "alerts": "Alerts Raised Silence Told open_alerts",
        "audiences": "Allowed Audiences Build ChunkRow SyncRow open_audiences",
        "deliveries": "Changes Dead Deliveries Open Pause Receipt Stage Stop open_deliveries",
        "disk": "synced",
        "engine": "OneLog Remembering Rulebook Taking",
        "erasing": "NOBODY KeptOut Struck Trace WhoIsKeptOut",
        "feeds": "FeedCounts Feeds open_feeds",
        "folder": "Bell DataFolder Ringer RoleLock",
        "forms": "Form form_at known_form migrate",
        "keys": "ID_LENGTH ApiKey Keys KeyStore KeyUse keys_of open_keys",
        "log": "Decided Fact Log Move open_log",
        "numbers": "number_of_user",
        "orders": "EVERY Again Cancel Given Halt LetGo Order Orders open_orders",
        "pulls": "Marks Pulls PullState open_pulls",
        "pulse": "Pulse seconds_since_beat",
        "quarantine": "STATES Kind Mended Quarantine Quarantined Wanted",
        "relay": "Acknowledged Giving Offer Placing Shelf open_shelf",
        "sqlite": "damage",
        "stream": "OneStream Recorded Stream",
        "whole": "refuse_damage",
    },
)
