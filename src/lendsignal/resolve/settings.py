"""What a lender may set about binding events to devices."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Literal

from msgspec import Meta, Struct


class ResolveSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a conversion waits for the phone's own login, and what becomes of phones of many users."""

    settle: Annotated[
        timedelta,
        Meta(description="how long a delivery waits before it is bound for good, as the login may race it"),
    ] = timedelta(seconds=2)
    pen_after: Annotated[
        timedelta,
        Meta(description="a first touch this long after the event still releases it from the holding pen"),
    ] = timedelta(hours=1)
    pen_for: Annotated[
        timedelta,
        Meta(description="how long a conversion without any touch waits before it is skipped as no_login"),
    ] = timedelta(hours=24)
    clock_ahead: Annotated[
        timedelta,
        Meta(description="touches further ahead of our clock than this are refused, nearer ones are clamped"),
    ] = timedelta(hours=48)
    shared_device_users: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000,
            description="so many users of a brand on one phone make it a shared one; 0: they are not counted",
        ),
    ] = 0
    shared_device: Annotated[
        Literal["bind", "skip"],
        Meta(description="what is bound to a shared phone: sent like any other, or skipped as shared_device"),
    ] = "bind"


def contradictions(settings: ResolveSettings) -> Iterator[tuple[str, str, str]]:
    """What cannot be meant: (key, what was found, what is allowed)."""
    if settings.shared_device_users == 1:
        yield "resolve.shared_device_users", "1, which every phone has", "0 for off, or 2 and more"
    if settings.shared_device == "skip" and not settings.shared_device_users:
        allowed = "shared_device_users = 3, or another number of users, beside it"
        yield "resolve.shared_device", "skip, and no number of users", allowed
