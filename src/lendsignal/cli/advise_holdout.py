"""`advise holdout plan|read|users`: what a holdout can see, what it says, and who is in it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lendsignal import config as configuration
from lendsignal.advise.holdout import (
    Design,
    MatchParity,
    match_parity,
    rate_design,
    sights,
)
from lendsignal.cli.showing import as_tables, show
from lendsignal.cli.words import as_json, configured
from lendsignal.config import Config
from lendsignal.errors import LendsignalError
from lendsignal.log import DataFolder
from lendsignal.plan import Holdout, is_held_out
from lendsignal.settings import duration

if TYPE_CHECKING:  # the reports' library is for who asks the ledger
    from lendsignal.report.holdout_rows import Eligible, Entered

HORIZON = timedelta(days=28)


def _span(context: click.Context, option: click.Parameter, given: str) -> timedelta:
    try:
        return duration(given)
    except ValueError:
        raise click.BadParameter(f"{given!r}: write it like 28d", context, option) from None


def _matched(context: click.Context, option: click.Parameter, given: str | None) -> tuple[int, int] | None:
    """FOUND/UPLOADED as two numbers."""
    if given is None:
        return None
    found, _, uploaded = given.partition("/")
    if not found.isdigit() or not uploaded.isdigit() or not 0 <= int(found) <= int(uploaded) > 0:
        raise click.BadParameter(f"{given!r}: write it like 3600/9000", context, option)
    return int(found), int(uploaded)


_part = click.FloatRange(0, 1, min_open=True)
_horizon = click.option(
    "--horizon",
    callback=_span,
    default="28d",
    show_default=True,
    metavar="SPAN",
    help="How long after entering an outcome counts.",
)
_eligible = click.option(
    "--eligible",
    type=click.Choice(("borrowers", "registered")),
    default="borrowers",
    show_default=True,
    help="Who is in it: who has borrowed before, or whoever has registered.",
)
_begin = click.option(
    "--from",
    "begin",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    help="When it began, UTC; by default the holdout's own `from`.",
)


@click.group()
def holdout() -> None:
    """Holdouts: what would have come anyway, told from what retargeting brought."""


@holdout.command()
@click.option("--rate", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Who borrows anyway.")
@click.option("--eligible", "users", type=click.IntRange(1), help="Users at the start.")
@click.option("--weekly", type=click.IntRange(0), default=0, show_default=True, help="More each week.")
@click.option("--reach", type=_part, default=0.4, show_default=True, help="Of the treated, reached by ads.")
@click.option(
    "--explained",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Of the variance, known from before.",
)
@click.option("--share", "shares", type=_part, multiple=True, help="Held out; may be given several times.")
@click.option("--weeks", type=click.IntRange(0), multiple=True, help="Of pooling; several times, too.")
@click.option("--lift", type=click.FloatRange(0, min_open=True), help="The effect hoped for, 0.1 = a tenth.")
@_horizon
@as_tables
@configured
@as_json
def plan(
    rate: float | None,
    users: int | None,
    weekly: int,
    reach: float,
    explained: float,
    shares: Sequence[float],
    weeks: Sequence[int],
    lift: float | None,
    horizon: timedelta,
    config_path: Path,
    csv_: bool,
    json_: bool,
) -> None:
    """The smallest effect that a holdout would see; less is not promised.

    Without --rate and --eligible it goes by the ledger of the configuration's data folder: its past
    borrowers, how many borrow again within the horizon, and how many join them each week.

    Example: lendsignal advise holdout plan --rate 0.10 --eligible 50000 --lift 0.2
    """
    from lendsignal.advise.holdout.reading import POOLED, SHARES, plan_of, promise

    if (rate is None) != (users is None):
        raise click.UsageError("say both --rate and --eligible, or none of them to go by the ledger")
    if rate is not None and users is not None:
        design = rate_design(rate, users, weekly=weekly, reach=reach, explained=explained)
    else:
        design = _own_design(configuration.load(config_path), horizon, reach)
    if any(not 0 < share < 1 for share in shares):
        raise click.BadParameter("must be below 1", param_hint="--share")
    asked = None if lift is None else lift * design.mean
    found = sights(design, shares or SHARES, weeks or POOLED, asked=asked)
    said = "" if asked is None else promise(design, asked, found)
    show(plan_of(design, found, said), json_=json_, csv_=csv_)


def _own_design(config: Config, horizon: timedelta, reach: float) -> Design:
    from lendsignal.advise.holdout.reading import own_design
    from lendsignal.report.holdout_ledger import entered
    from lendsignal.report.tables import load

    with load(DataFolder(config.data)) as tables:
        if tables.as_of is None:
            raise LendsignalError("no events yet: say --rate and --eligible")
        rows = entered(tables, tables.as_of - 2 * horizon, horizon=horizon)
    return own_design(rows, reach)


@holdout.command()
@click.argument("name")
@_begin
@_horizon
@_eligible
@click.option("--reach", type=_part, help="Part of the treated whom ads reached.")
@click.option(
    "--reach-held-out", type=_part, default=None, help="The same of the held out, whom no list excludes."
)
@click.option("--spend", type=click.FloatRange(0, min_open=True), help="What the treated cost.")
@click.option(
    "--matched-treated", callback=_matched, metavar="FOUND/UPLOADED", help="By the platform's list."
)
@click.option("--matched-held-out", callback=_matched, metavar="FOUND/UPLOADED", help="The same.")
@as_tables
@configured
@as_json
def read(
    name: str,
    begin: datetime | None,
    horizon: timedelta,
    eligible: "Eligible",
    reach: float | None,
    reach_held_out: float | None,
    spend: float | None,
    matched_treated: tuple[int, int] | None,
    matched_held_out: tuple[int, int] | None,
    config_path: Path,
    csv_: bool,
    json_: bool,
) -> None:
    """What a holdout of the configuration says by now, by the lender's own ledger.

    Example: lendsignal advise holdout read lapsed --reach 0.4 --spend 12000
    """
    from lendsignal.advise.holdout.reading import Asked, reading_of

    if (matched_treated is None) != (matched_held_out is None):
        raise click.UsageError("say both --matched-treated and --matched-held-out")
    if reach is not None and reach_held_out is not None and reach_held_out >= reach:
        raise click.BadParameter("must be below --reach", param_hint="--reach-held-out")
    config = configuration.load(config_path)
    one = _holdout(config, name)
    rows = _rows(config, one, begin, horizon, eligible)
    parity: MatchParity | None = None
    if matched_treated is not None and matched_held_out is not None:
        parity = match_parity(matched_treated, matched_held_out)
    asked = Asked(
        name=one.name,
        share=one.share,
        horizon=horizon,
        reach=reach,
        reach_control=reach_held_out or 0.0,
        spend=spend,
        matched=parity,
    )
    show(reading_of(rows, one, asked), json_=json_, csv_=csv_)


@holdout.command()
@click.argument("name")
@click.option(
    "--arm",
    type=click.Choice(("held-out", "treated")),
    default="held-out",
    show_default=True,
    help="Whom to write: the exclusion list, or the list to reach.",
)
@_begin
@_eligible
@configured
def users(name: str, arm: str, begin: datetime | None, eligible: "Eligible", config_path: Path) -> None:
    """The users of one arm, `brand:user_id` a line: for lists that are uploaded by hand.

    Example: lendsignal advise holdout users lapsed --arm held-out > exclude.txt
    """
    config = configuration.load(config_path)
    one = _holdout(config, name)
    rows = _rows(config, one, begin, HORIZON, eligible)
    for user in rows.users:
        if is_held_out(one.salt, one.share, user) == (arm == "held-out"):
            click.echo(user)


def _holdout(config: Config, name: str) -> Holdout:
    known = {one.name: one for one in config.policy.holdouts}
    if name not in known:
        allowed = f"there is {', '.join(known)}" if known else "the configuration has no [holdout.NAME]"
        raise click.BadParameter(allowed, param_hint="NAME")
    return known[name]


def _rows(
    config: Config, one: Holdout, begin: datetime | None, horizon: timedelta, eligible: "Eligible"
) -> "Entered":
    from lendsignal.report.holdout_ledger import began, entered_by
    from lendsignal.report.tables import load

    since = began(one) if begin is None else begin.replace(tzinfo=UTC)
    if since is None:
        raise click.UsageError(f"holdout {one.name} has no `from`: say --from, the day on which it began")
    with load(DataFolder(config.data)) as tables:
        return entered_by(tables, one, since, horizon=horizon, eligible=eligible)
