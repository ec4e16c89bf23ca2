"""The log of a cluster, on PostgreSQL: any number append, each slot is decided by whoever leases it."""

from lendsignal.log.postgres.connection import Database, Limits, database_of
from lendsignal.log.postgres.door import DoorLog
from lendsignal.log.postgres.leases import Leases, Terms
from lendsignal.log.postgres.rulebook import RuleRows
from lendsignal.log.postgres.schema import Prepared, prepare, slots_of, tend_days
from lendsignal.log.postgres.slots import Gained, SlotLog
from lendsignal.log.postgres.whole import WholeLog, open_whole_log

__all__ = [
    "Database",
    "DoorLog",
    "Gained",
    "Leases",
    "Limits",
    "Prepared",
    "RuleRows",
    "SlotLog",
    "Terms",
    "WholeLog",
    "database_of",
    "open_whole_log",
    "prepare",
    "slots_of",
    "tend_days",
]
