"""What a lender writes about routes: which conversion goes where, under what name, with what value."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from msgspec import Meta, Struct

Positive = Annotated[float, Meta(gt=0)]
Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$")]

ValueBasis = Literal["principal", "fee", "margin", "predicted", "predicted_low", "own"]
"""What a value is made of. `own`: the conversion's own rule; `margin`: see `ValueSettings`; `predicted_low`:
what seven in ten of such users bring at least, as the model in force says."""


class ValueSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value that is worked on before it is sent: haircut, currency, floor, cap, bins, in this order."""

    of: Annotated[ValueBasis | Positive, Meta(description="the basis, or a fixed amount")]
    loss_rate: Annotated[
        float, Meta(ge=0, le=1, description="margin: the part of the principal that is lost on average")
    ] = 0.0
    cost: Annotated[
        float, Meta(ge=0, description="margin: what a loan costs to fund and collect, in its own currency")
    ] = 0.0
    haircut: Annotated[float, Meta(ge=0, lt=1, description="taken off, 0.1 = a tenth")] = 0.0
    currency: Annotated[
        Currency | None, Meta(description="sent in this currency, by the rate of the event's day")
    ] = None
    floor: Annotated[
        Positive | None, Meta(description="a smaller gain is sent as this; what is no gain is not")
    ] = None
    cap: Annotated[Positive | None, Meta(description="a larger value is sent as this")] = None
    bins: Annotated[
        tuple[Positive, ...], Meta(description="values are sent as the largest of these that they reach")
    ] = ()
    negative: Annotated[
        Literal["plain", "zero", "send"],
        Meta(description="what is not above 0 is sent without a value, as 0, or as it is"),
    ] = "plain"
    otherwise: Annotated[
        Positive | None,
        Meta(description="where there is nothing to go by: the mean of such users, in the currency sent"),
    ] = None


ValueRule = Positive | ValueBasis | ValueSettings


class RouteSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Conversions → one destination. A route of the file that names several is several of these."""

    to: Annotated[
        str,
        Meta(description='the destination\'s name; or a list of names and patterns such as "appsflyer-*"'),
    ]
    send: Annotated[
        dict[str, str], Meta(description="conversion = the event's name at the destination, a neutral code")
    ]
    value: Annotated[
        dict[str, ValueRule],
        Meta(description='conversion = a basis such as "principal", a fixed amount, or a table of more'),
    ] = {}
    mode: Annotated[
        Literal["live", "shadow"],
        Meta(description="shadow: everything but the sending, for conversions without a live_from"),
    ] = "live"
    live_from: Annotated[
        dict[str, datetime],
        Meta(description="conversion = the moment from which on it is sent, by the event's own time"),
    ] = {}
    live_until: Annotated[
        dict[str, datetime],
        Meta(description="conversion = the moment before which it is sent, by the event's own time"),
    ] = {}
    settle: Annotated[timedelta | None, Meta(description="overrides resolve.settle for this route")] = None
    also_sent_by: Annotated[
        tuple[Literal["sdk"], ...], Meta(description="who else sends these conversions to the same platform")
    ] = ()
