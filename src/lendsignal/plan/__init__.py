"""Which conversion goes where."""

from lendsignal.plan.decide import Decision, Timer, Verdict, decide, not_routed, reopened
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
    Entry,
    Planned,
    Rebound,
    Record,
    Withdrawn,
    delivery_id,
    record_id,
    record_of,
)
from lendsignal.plan.settings import RouteSettings, ValueRule
from lendsignal.plan.state import UserState

__all__ = [
    "Decision",
    "Entry",
    "Planned",
    "Policy",
    "PolicySource",
    "Rebound",
    "Record",
    "RouteSettings",
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
    "known_conversions",
    "not_routed",
    "record_id",
    "record_of",
    "reopened",
    "version_of",
]
