"""Which conversion goes where."""

from lendsignal.plan.decide import Decision, Timer, Verdict, decide, is_not_routed, reopened
from lendsignal.plan.policy import (
    Policy,
    PolicySource,
    Step,
    Target,
    compile_policy,
    double_counting,
    known_conversions,
    version_of,
)
from lendsignal.plan.records import (
    RECORDS_PER_EVENT,
    Entry,
    Known,
    Placed,
    Planned,
    Rebound,
    Record,
    Withdrawn,
    delivery_id,
    event_of,
    record_id,
    record_of,
)
from lendsignal.plan.settings import RouteSettings, ValueRule
from lendsignal.plan.state import Opened, Penned, Seen, UserState

__all__ = [
    "RECORDS_PER_EVENT",
    "Decision",
    "Entry",
    "Known",
    "Opened",
    "Penned",
    "Placed",
    "Planned",
    "Policy",
    "PolicySource",
    "Rebound",
    "Record",
    "RouteSettings",
    "Seen",
    "Step",
    "Target",
    "Timer",
    "UserState",
    "ValueRule",
    "Verdict",
    "Withdrawn",
    "compile_policy",
    "decide",
    "delivery_id",
    "double_counting",
    "event_of",
    "is_not_routed",
    "known_conversions",
    "record_id",
    "record_of",
    "reopened",
    "version_of",
]
