"""What a lender writes about routes: which conversion goes where, under what name, with what value."""

from datetime import timedelta
from typing import Annotated, Literal

from msgspec import Meta, Struct

ValueRule = Annotated[float, Meta(gt=0)] | Literal["principal", "fee", "predicted"]


class RouteSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Conversions → one destination."""

    to: Annotated[str, Meta(description="the destination's name")]
    send: Annotated[
        dict[str, str], Meta(description="conversion = the event's name at the destination, a neutral code")
    ]
    value: Annotated[
        dict[str, ValueRule],
        Meta(description='conversion = "principal", "fee", "predicted" or a fixed amount'),
    ] = {}
    settle: Annotated[timedelta | None, Meta(description="overrides resolve.settle for this route")] = None
    also_sent_by: Annotated[
        tuple[Literal["sdk"], ...], Meta(description="who else sends these conversions to the same platform")
    ] = ()
