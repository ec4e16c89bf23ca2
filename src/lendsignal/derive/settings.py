"""What a lender may set about which conversions are derived."""

from datetime import timedelta
from typing import Annotated, Literal

from msgspec import Meta, Struct

from lendsignal.derive.tiers import Basis


class TierSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Quality tiers of granted users: by a given table of cuts, or by cuts out of the lender's own grants."""

    shares: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=99)], ...],
        Meta(description="nested shares of the best users, in percent"),
    ] = (20, 30, 50, 70)
    cut_table: Annotated[
        str | None,
        Meta(
            description="CSV of cuts: share,cut and optionally brand,app,country,product,score_version,"
            "valid_from,basis,ties"
        ),
    ] = None
    basis: Annotated[
        tuple[Basis, ...],
        Meta(description="what own cuts rank by: the score, a predicted value, or both; none without it"),
    ] = ()
    scope: Annotated[
        tuple[Literal["brand", "app", "country", "product"], ...],
        Meta(description="own cuts are made for each of these, widest first; empty: for the whole portfolio"),
    ] = ("country", "product")
    window: Annotated[timedelta, Meta(description="grants so far back make own cuts")] = timedelta(days=28)
    at_least: Annotated[
        int,
        Meta(ge=1, description="grants of a scope that stand alone; fewer are blended with the wider scope"),
    ] = 500
    parent_weight: Annotated[
        int, Meta(ge=0, description="how many grants the wider scope counts for where it is blended in")
    ] = 1000
    not_before: Annotated[timedelta, Meta(description="how long cuts stand at least, whatever drifts")] = (
        timedelta(days=7)
    )
    planned_every: Annotated[timedelta, Meta(description="how long cuts stand at most")] = timedelta(days=90)
    tolerance: Annotated[
        float,
        Meta(
            gt=0, lt=1, description="how far off a tier may be before cuts are made anew: 0.1 = 22 % of 20 %"
        ),
    ] = 0.1
    sigmas: Annotated[
        float, Meta(gt=0, description="and how many standard deviations of chance it must be off by as well")
    ] = 3.0
    recut: Annotated[
        Literal["automatic", "by_hand"],
        Meta(description="who makes own cuts: the service as they fall due, or `lendsignal tiers recut`"),
    ] = "automatic"
    whole_ties: Annotated[
        bool,
        Meta(
            description="grants with exactly the cut's score all belong; otherwise a part, to keep the share"
        ),
    ] = False
    higher_is_better: Annotated[bool, Meta(description="whether a higher score is a better user")] = True
    per: Annotated[
        Literal["user", "grant"],
        Meta(description="a tier fires once per user, at the first grant, or per grant"),
    ] = "user"


class ProxySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The early, predicted conversion `likely_credit`; without a model there is none."""

    after: Annotated[
        timedelta, Meta(description="how long an application may wait for its decision before it is told of")
    ] = timedelta(minutes=30)
    model: Annotated[
        str | None,
        Meta(description="the table of weights that `lendsignal proxy fit` wrote, from this file's folder"),
    ] = None


class DeriveSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rules of derivation beyond the events themselves."""

    default_dpd: Annotated[
        int, Meta(ge=1, description="days past due from which a loan counts as in default")
    ] = 60
    first: Annotated[
        Literal["brand", "portfolio"],
        Meta(
            description="whether a person's first loan, grant and application are counted with each brand,"
            " or once over all of them"
        ),
    ] = "brand"
    history: Annotated[
        Literal["in_part", "whole"],
        Meta(
            description="whole: every loan there ever was is in the log, so that who has none in it had none;"
            " in_part: only who was seen registering counts as known"
        ),
    ] = "in_part"
