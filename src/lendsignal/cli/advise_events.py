"""`advise events`: which event each ad set should optimise for, with the evidence."""

import csv
from datetime import timedelta
from pathlib import Path

import click

from lendsignal import config as configuration
from lendsignal.cli.showing import as_tables, show
from lendsignal.cli.words import as_json, configured
from lendsignal.errors import InputError
from lendsignal.log import DataFolder
from lendsignal.settings import duration
from lendsignal.value.worth import APPLICATION


def _span(context: click.Context, option: click.Parameter, given: str | None) -> timedelta | None:
    try:
        return None if given is None else duration(given)
    except ValueError:
        raise click.BadParameter(f"{given!r}: write it like 30d", context, option) from None


def _current(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """`EVENT` for all, `AD_SET=EVENT` for one."""
    pairs = (one.rpartition("=") for one in given)
    return {ad_set: event for ad_set, _, event in pairs}


@click.command()
@click.option(
    "--objective",
    type=click.Choice(["acquisition", "re-engagement"]),
    default="acquisition",
    show_default=True,
    help="New users, or those whom an ad brought back.",
)
@click.option(
    "--by",
    type=click.Choice(["app", "channel", "campaign", "ad_set"]),
    default="campaign",
    show_default=True,
    help="What learns by itself.",
)
@click.option(
    "--form",
    type=click.Choice(["simple", "features"]),
    default="simple",
    show_default=True,
    help="By users' correlation, or by what campaigns and hours foretell: for 12,000 installs and more.",
)
@click.option(
    "--current",
    multiple=True,
    callback=_current,
    metavar="[AD_SET=]EVENT",
    help="What ad sets optimise for now; without a name, all of them.",
)
@click.option(
    "--window",
    callback=_span,
    metavar="SPAN",
    help="The ad accounts' window after a click, such as 1d; by default each platform's usual one.",
)
@click.option(
    "--horizon",
    callback=_span,
    default="60d",
    show_default=True,
    metavar="SPAN",
    help="Until when after an install profit is counted; younger installs do not tell of profit.",
)
@click.option(
    "--values",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="What `lendsignal value score` wrote: profit as a model predicts it, without waiting for it; and"
    " value_at_apply as one more event, where the model values applicants.",
)
@click.option(
    "--half-learned",
    type=click.FloatRange(1),
    default=100,
    show_default=True,
    help="K: conversions at which a platform has learned half of what it could.",
)
@click.option(
    "--least",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Ad sets of fewer installs are left out.",
)
@configured
@as_json
@as_tables
def events(
    objective: str,
    by: str,
    form: str,
    current: dict[str, str],
    window: timedelta | None,
    horizon: timedelta,
    values: Path | None,
    half_learned: float,
    least: int,
    config_path: Path,
    json_: bool,
    csv_: bool,
) -> None:
    """Which event to optimise for: what each would earn, how sure that is, and what would change it.

    Example: lendsignal advise events --current first_loan --html events.html
    """
    import numpy as np  # here, as below: these libraries are for this alone

    from lendsignal.advise.choice import Rules
    from lendsignal.advise.choosing import SEED, Wished, advice_on
    from lendsignal.report import load
    from lendsignal.report.choice_rows import comings, grants_and_loans

    if values is not None and objective != "acquisition":
        raise click.UsageError("--values are of new users: they tell nothing of re-engagement")
    worth, hoped = (None, None) if values is None else (_worth(values), _hoped(values))
    with load(DataFolder(configuration.load(config_path).data)) as tables:
        found = comings(tables, objective, horizon, worth, hoped)  # type: ignore[arg-type]
        counts = grants_and_loans(tables)
        as_of = tables.as_of
    known = {event.name for one in found for event in one.events}
    for event in current.values():
        if found and event not in known:
            raise click.UsageError(f"--current: {event!r} is none of {', '.join(sorted(known))}")
    wished = Wished(
        objective=objective,  # type: ignore[arg-type]
        by=by,  # type: ignore[arg-type]
        rules=Rules(form=form, half_learned=half_learned),  # type: ignore[arg-type]
        current=current,
        window=window,
        horizon=horizon,
        least=least,
    )
    advice = advice_on(found, counts, wished, np.random.default_rng(SEED), as_of=as_of)
    show(advice, json_=json_, csv_=csv_)


def _worth(path: Path) -> dict[str, float]:
    """What each user is worth: as told at the first loan, else at the first grant, and there by what truly
    came as far as that is known."""
    found: dict[str, tuple[bool, float]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["moment"] == APPLICATION:
                    continue  # who was never granted is worth nothing here, whatever was hoped
                lent = row["moment"] == "disbursed"
                user = f"{row['brand']}:{row['user_id']}"
                if lent or user not in found:
                    known = (
                        row["predicted_value"] if lent else row["realised_value"] or row["predicted_value"]
                    )
                    found[user] = lent, float(known)
    except (KeyError, ValueError) as error:
        raise InputError(str(path.name), "must be what `lendsignal value score` writes") from error
    return {user: value for user, (_, value) in found.items()}


def _hoped(path: Path) -> dict[str, float]:
    """What was said of each user at the application; empty where the model does not speak of applicants."""
    with path.open(newline="", encoding="utf-8") as file:
        return {
            f"{row['brand']}:{row['user_id']}": float(row["predicted_value"])
            for row in csv.DictReader(file)
            if row["moment"] == APPLICATION
        }
