"""Which device an event belongs to: the device of the latest login."""

from lendsignal.resolve.settings import ResolveSettings
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
    "device_at",
    "existed_at",
    "first_install",
    "same_installation",
    "shows_installation",
    "with_touch",
]
