"""Which device an event belongs to: the device of the latest login."""

from lendsignal.resolve.phones import phone_keys
from lendsignal.resolve.settings import ResolveSettings, contradictions
from lendsignal.resolve.touches import (
    Binding,
    Mark,
    Snapshot,
    Touches,
    device_at,
    existed_at,
    first_install,
    same_installation,
    shows_installation,
    with_touch,
)

__all__ = [
    "Binding",
    "Mark",
    "ResolveSettings",
    "Snapshot",
    "Touches",
    "contradictions",
    "device_at",
    "existed_at",
    "first_install",
    "phone_keys",
    "same_installation",
    "shows_installation",
    "with_touch",
]
