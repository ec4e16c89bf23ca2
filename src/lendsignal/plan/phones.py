"""Phones of many users: whose phone an event shows, and which phones its decision asks about."""

from collections.abc import Set

from lendsignal.model import Event, is_touch
from lendsignal.plan.policy import Policy
from lendsignal.plan.state import UserState
from lendsignal.resolve import Binding, Snapshot, phone_keys

NONE: frozenset[int] = frozenset()
"""No phone."""


def phones_shown(event: Event, policy: Policy) -> tuple[int, ...]:
    """The keys of the phone that a touch shows of its user; none where nobody counts a phone's users."""
    if not policy.resolve.shared_device_users or not is_touch(event):
        return ()
    assert event.device is not None
    return phone_keys(event.brand, Snapshot(event.app or "", event.device))


def phones_asked(state: UserState, event: Event, policy: Policy) -> Set[int]:
    """The keys of every phone that the event's conversions could be bound to; none where it makes no odds."""
    resolve = policy.resolve
    if not resolve.shared_device_users or resolve.shared_device != "skip":
        return NONE
    return set(phones_shown(event, policy)).union(
        *[phone_keys(event.brand, snapshot) for snapshot in state.touches.snapshots]
    )


def is_shared(brand: str, binding: Binding, shared: Set[int]) -> bool:
    """Whether the binding is to one of these phones."""
    return bool(shared) and not shared.isdisjoint(phone_keys(brand, binding.snapshot))
