"""What a lender may set about how users are valued."""

from datetime import timedelta
from typing import Annotated

from msgspec import Meta, Struct

Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$")]
Cost = Annotated[float, Meta(ge=0)]


class WorthSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a user is worth: what loans leave over within a horizon, net of losses, funding and costs."""

    horizon: Annotated[
        timedelta, Meta(description="loans count that fall due so long after the first grant or loan")
    ] = timedelta(days=90)
    grace: Annotated[
        timedelta,
        Meta(description="how long after its due day a loan is settled: what comes later is not counted"),
    ] = timedelta(days=30)
    funding_rate: Annotated[
        float, Meta(ge=0, le=2, description="what the money lent out costs a year, 0.2 = a fifth of it")
    ] = 0.0
    loan_cost: Annotated[
        dict[Currency, Cost],
        Meta(description="currency = what one loan costs: paying out, checks, collection"),
    ] = {}
    payment_cost: Annotated[
        dict[Currency, Cost], Meta(description="currency = what taking one repayment costs")
    ] = {}
    prior: Annotated[
        dict[Currency, float],
        Meta(
            description="currency = what finance expects of a user; counts while there is too little history"
        ),
    ] = {}
    properties: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=128)], ...],
        Meta(description="further properties of grants and loans that the model may go by"),
    ] = ()
    protected: Annotated[
        bool,
        Meta(description="whether such a property may be a protected one, such as age or gender"),
    ] = False
