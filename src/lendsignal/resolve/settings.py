"""What a lender may set about binding events to devices."""

from datetime import timedelta
from typing import Annotated

from msgspec import Meta, Struct


class ResolveSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a conversion waits for the phone's own login."""

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
