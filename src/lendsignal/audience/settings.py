"""What a lender writes about its lists."""

from datetime import timedelta
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from lendsignal.model.audience import Use

Kind: TypeAlias = Literal[
    "good_repayers",
    "top_tier",
    "repeat_eligible",
    "applied_not_disbursed",
    "granted_not_drawn",
    "lapsed_good",
    "existing_customers",
    "open_loan",
    "in_arrears",
    "written_off",
]
"""The lists that are ready."""


class AudienceSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One list: a ready one (`kind`), or one of your own (`sql` or `rule`)."""

    kind: Annotated[Kind | None, Meta(description="a ready list")] = None
    sql: Annotated[
        str | None,
        Meta(description='"select user from …" over the documented tables; may select a value beside it'),
    ] = None
    rule: Annotated[
        str | None, Meta(description="CEL over user and snapshot: whoever fulfils it now is on the list")
    ] = None
    use: Annotated[
        Use | None,
        Meta(description="seed, retargeting or exclusion; by default what the ready list is made for"),
    ] = None
    to: Annotated[
        tuple[str, ...], Meta(description="the [audience_account.NAME]s that get it; nobody by default")
    ] = ()
    apps: Annotated[
        tuple[str, ...],
        Meta(description="only users whose last login was in one of these; the whole portfolio by default"),
    ] = ()
    countries: Annotated[
        tuple[Annotated[str, Meta(pattern="^[A-Z]{2}$")], ...],
        Meta(description="only users of these countries; a seed is best of one"),
    ] = ()
    within: Annotated[
        timedelta | None, Meta(description="how far back what puts a user on the list may lie")
    ] = None
    cooling: Annotated[
        timedelta | None, Meta(description="how long a user is left alone after what puts him on the list")
    ] = None
    at_least: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="loans that must be paid back")
    ] = None
    late_days: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="days past due that a good repayer may have had at most"),
    ] = None
    share: Annotated[
        Annotated[int, Meta(ge=1, le=99)] | None, Meta(description="which tier top_tier means, in percent")
    ] = None
    basis: Annotated[
        Literal["score", "predicted_value"] | None, Meta(description="which tiers top_tier means")
    ] = None
    value: Annotated[
        Literal["realised", "predicted"] | None,
        Meta(description="what members are ranked by, and sent with where the platform takes values"),
    ] = None
    top: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="only so many members, the most valuable")
    ] = None
    code: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,63}$")] | None,
        Meta(description="its name on the platforms; a generated one that says nothing by default"),
    ] = None
    campaigns: Annotated[
        tuple[str, ...],
        Meta(description="ids or names of the campaigns that run on its look-alikes, for the report"),
    ] = ()


class AudiencesSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How lists are built and kept in step while the service runs."""

    every: Annotated[
        timedelta, Meta(description="how often lists that follow a loan's state are brought up to date")
    ] = timedelta(minutes=5)
    whole: Annotated[timedelta, Meta(description="how often every list is built anew from everything")] = (
        timedelta(days=1)
    )
    anew: Annotated[
        timedelta,
        Meta(
            description="how often each list is told anew as a whole, so that whoever vanished at the"
            " platform comes back and strangers go"
        ),
    ] = timedelta(days=7)
    retire_after: Annotated[
        timedelta,
        Meta(
            description="how long a list that the configuration no longer has stays on its platforms before"
            " it is emptied there"
        ),
    ] = timedelta(days=1)
    special_category: Annotated[
        tuple[Annotated[str, Meta(pattern="^[A-Z]{2}$")], ...],
        Meta(
            description="countries where ads for credit are a special category: no look-alikes and no"
            " exclusions on the platforms that say so; by default US and CA, and Europe for Meta"
        ),
    ] = ()
