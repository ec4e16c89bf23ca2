"""What a lender may set about which conversions are derived."""

from typing import Annotated, Literal

from msgspec import Meta, Struct


class TierSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Quality tiers of granted users, by a given table of cuts."""

    shares: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=99)], ...],
        Meta(description="nested shares of the best users, in percent"),
    ] = (20, 30, 50, 70)
    cut_table: Annotated[
        str | None,
        Meta(description="CSV of cuts: share,cut and optionally country,product,score_version,valid_from"),
    ] = None
    higher_is_better: Annotated[bool, Meta(description="whether a higher score is a better user")] = True
    per: Annotated[
        Literal["user", "grant"],
        Meta(description="a tier fires once per user, at the first grant, or per grant"),
    ] = "user"


class DeriveSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rules of derivation beyond the events themselves."""

    default_dpd: Annotated[
        int, Meta(ge=1, description="days past due from which a loan counts as in default")
    ] = 60
