"""Verbs that show what happened: explain, report."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from lendsignal import config as configuration
from lendsignal.cli.loans import delay_, reconcile_, vintages_
from lendsignal.cli.showing import as_tables, show
from lendsignal.cli.slicing import dated, sliced
from lendsignal.cli.words import as_json, configured
from lendsignal.deliver import rendered
from lendsignal.log import DataFolder
from lendsignal.report import (
    attribution,
    bindings,
    delivery,
    devices,
    funnel,
    installations,
    load,
    spend,
)
from lendsignal.report import explain as explanation
from lendsignal.report.arrivals import BY_WEEK
from lendsignal.report.attribution import Level
from lendsignal.report.engine import Engine
from lendsignal.report.slices import Cohort, Slice
from lendsignal.report.tables import answered_by
from lendsignal.role.reports import coverage_of, health_of, purse_of, tiers_of


@click.command()
@click.argument("event_or_user")
@configured
@as_json
def explain(event_or_user: str, config_path: Path, json_: bool) -> None:
    """The life of one event, or of one user, through the rooms, and why this device.

    EVENT_OR_USER is an event's id, a user's id, or brand:user_id. Requests are shown without their secrets.
    """
    config = configuration.load(config_path)
    renders = {name: rendered(outlet, config.apps) for name, outlet in config.outlets.items()}
    found = explanation(DataFolder(config.data), event_or_user, renders)
    click.echo(found.to_json() if json_ else found.to_text())
    if found.kind == "nothing":
        sys.exit(1)


class Examples(click.Group):
    """A group that shows the example of each of its verbs beneath their list."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One line a verb that has one."""
        found = [self.commands[name].help or "" for name in self.list_commands(ctx)]
        with formatter.section("Examples"):
            for text in found:
                example = text.partition("Example: ")[2].partition("\n\n")[0]
                if example:
                    formatter.write(f"  {' '.join(example.split())}\n")


@click.group(cls=Examples)
@click.option(
    "--engine",
    type=click.Choice([engine.value for engine in Engine]),
    default=Engine.DUCKDB.value,
    show_default=True,
    help="Who answers; stands before the report's name. ClickHouse needs lendsignal[clickhouse].",
)
@click.pass_context
def report(ctx: click.Context, engine: str) -> None:
    """Funnel, bindings, vintages, tiers, delay, delivery, reconcile, attribution, spend, and more.

    Text for people, --json or --csv for programs, --chart and --html for those who look.
    """
    ctx.with_resource(answered_by(Engine(engine)))


def in_currency(command: Any) -> Any:
    """`--currency`: in which one cost and revenue are told."""
    return click.option(
        "--currency", help="Convert to this currency, by [fx]; by default fx.currency, else each its own."
    )(command)


@report.command("funnel")
@click.option(
    "--cohort",
    type=click.Choice(["install", "registration"]),
    help="By the day on which users came, instead of that of each event.",
)
@in_currency
@sliced
@dated
@configured
@as_json
@as_tables
def funnel_(
    one: Slice,
    cohort: Cohort | None,
    currency: str | None,
    as_of: datetime | None,
    config_path: Path,
    json_: bool,
    csv_: bool,
) -> None:
    """Installed → registered → applied → granted → disbursed → repaid → lost, and what each step cost.

    With rates, time to each step, revenue, loss and the return on spend by age of the cohort.

    Example: lendsignal report funnel --by campaign --binding first_install
    """
    config = configuration.load(config_path)
    with load(DataFolder(config.data), as_of=as_of) as tables:
        found = funnel(tables, one, cohort=cohort, purse=purse_of(config, currency))
        show(found, json_=json_, csv_=csv_)


@report.command("bindings")
@click.option(
    "--switched",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The day from which on you send by the last login: what MMPs recorded before and since.",
)
@sliced
@dated
@configured
@as_json
@as_tables
def bindings_(
    one: Slice, switched: datetime | None, as_of: datetime | None, config_path: Path, json_: bool, csv_: bool
) -> None:
    """First install against last login, on the same loans.

    Example: lendsignal report bindings --where country=NG --json
    """
    with load(_folder(config_path), as_of=as_of) as tables:
        day = None if switched is None else switched.date()
        show(bindings(tables, one, switched=day), json_=json_, csv_=csv_)


@report.command("installations")
@sliced
@dated
@configured
@as_json
@as_tables
def installations_(one: Slice, as_of: datetime | None, config_path: Path, json_: bool, csv_: bool) -> None:
    """Reinstalls and other phones, by channel and week, and which ids outlive them.

    Example: lendsignal report installations --by campaign --every month --csv
    """
    with load(_folder(config_path), as_of=as_of) as tables:
        one = replace(one, by=one.by or BY_WEEK.by, every=one.every or BY_WEEK.every)
        show(installations(tables, one), json_=json_, csv_=csv_)


@report.command("devices")
@click.option("--top", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Rows at most.")
@sliced
@dated
@configured
@as_json
@as_tables
def devices_(
    one: Slice, top: int, as_of: datetime | None, config_path: Path, json_: bool, csv_: bool
) -> None:
    """Phones with the most users, rings of users, and how the loans on them do.

    Of the slice --where, --from and --to say which loans count.

    Example: lendsignal report devices --top 20
    """
    with load(_folder(config_path), as_of=as_of) as tables:
        show(devices(tables, one, top=top), json_=json_, csv_=csv_)


@report.command("delivery")
@sliced
@dated
@configured
@as_json
@as_tables
def delivery_(one: Slice, as_of: datetime | None, config_path: Path, json_: bool, csv_: bool) -> None:
    """What became of every delivery, why, and how long it took.

    Example: lendsignal report delivery --every day --csv
    """
    with load(_folder(config_path), as_of=as_of) as tables:
        show(delivery(tables, one), json_=json_, csv_=csv_)


@report.command("coverage")
@click.option(
    "--days",
    type=click.IntRange(1, 3_650),
    default=30,
    show_default=True,
    help="Users active within so many, unless --from or --to says on which days.",
)
@sliced
@dated
@configured
@as_json
@as_tables
def coverage_(
    one: Slice, days: int, as_of: datetime | None, config_path: Path, json_: bool, csv_: bool
) -> None:
    """Which ids the active users are known by, what they consented to, and which destinations reach them.

    Example: lendsignal report coverage --days 7 --by channel
    """
    config = configuration.load(config_path)
    with load(DataFolder(config.data), as_of=as_of) as tables:
        show(coverage_of(config, tables, one, days), json_=json_, csv_=csv_)


@report.command("health")
@configured
@as_json
@as_tables
def health_(config_path: Path, json_: bool, csv_: bool) -> None:
    """Every count beside what is expected of it, the delays of the last day, and what is alarming now.

    Example: lendsignal report health --html health.html
    """
    show(health_of(configuration.load(config_path)), json_=json_, csv_=csv_)


@report.command("attribution")
@click.option(
    "--level",
    type=click.Choice(["channel", "media_source", "campaign", "ad_set", "ad"]),
    default="campaign",
    show_default=True,
    help="How far down the rows go.",
)
@sliced
@dated
@configured
@as_json
@as_tables
def attribution_(
    one: Slice, level: Level, as_of: datetime | None, config_path: Path, json_: bool, csv_: bool
) -> None:
    """Where users came from, as the MMPs say, and what they say they recorded.

    Example: lendsignal report attribution --level channel --every month
    """
    with load(_folder(config_path), as_of=as_of) as tables:
        show(attribution(tables, one, level=level), json_=json_, csv_=csv_)


@report.command("spend")
@in_currency
@sliced
@dated
@configured
@as_json
@as_tables
def spend_(
    one: Slice, currency: str | None, as_of: datetime | None, config_path: Path, json_: bool, csv_: bool
) -> None:
    """What campaigns cost, by campaign and day, and what an install cost.

    Without a currency each cost stays in its own. What no rate can convert is left out and listed.

    Example: lendsignal report spend --by channel --every week
    """
    config = configuration.load(config_path)
    purse = purse_of(config, currency)
    with load(DataFolder(config.data), as_of=as_of) as tables:
        show(spend(tables, purse.rates, purse.currency, one), json_=json_, csv_=csv_)


def _folder(config_path: Path) -> DataFolder:
    return DataFolder(configuration.load(config_path).data)


@report.command("tiers")
@click.option(
    "--what-if",
    "what_if",
    type=click.IntRange(1, 99),
    multiple=True,
    metavar="PERCENT",
    help="Cut at this share as well, by the scores that the grants came with; may be repeated.",
)
@sliced
@dated
@configured
@as_json
@as_tables
def tiers_(
    one: Slice, as_of: datetime | None, what_if: tuple[int, ...], config_path: Path, json_: bool, csv_: bool
) -> None:
    """Whether each tier keeps its share, what its loans came to, drift of scores, and every cut.

    Example: lendsignal report tiers --every month --html tiers.html
    """
    config = configuration.load(config_path)
    with load(DataFolder(config.data), as_of=as_of) as tables:
        show(tiers_of(config, tables, one, what_if), json_=json_, csv_=csv_)


for verb in (delay_, reconcile_, vintages_):
    report.add_command(verb)
