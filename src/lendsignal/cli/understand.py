"""Verbs that show what happened: explain, report."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from lendsignal import config as configuration
from lendsignal.cli.loans import delay_, reconcile_, vintages_
from lendsignal.cli.showing import as_tables, show
from lendsignal.cli.words import as_json, configured
from lendsignal.clock import from_us
from lendsignal.config import Config
from lendsignal.deliver import Body, Outlet, rendered
from lendsignal.deliver.body import encoded
from lendsignal.log import DataFolder, open_log
from lendsignal.model import App, Skip, SkipReason
from lendsignal.plan import Entry
from lendsignal.report import (
    Known,
    Reach,
    attribution,
    bindings,
    coverage,
    delivery,
    devices,
    funnel,
    installations,
    load,
    spend,
)
from lendsignal.report import explain as explanation


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


@click.group()
def report() -> None:
    """Funnel, bindings, installations, coverage, delivery, delay, reconcile, vintages, attribution, spend.

    Text for people, --json or --csv for programs, --chart and --html for those who look.
    """


@report.command("funnel")
@click.option(
    "--by", type=click.Choice(["channel", "media_source", "campaign", "app"]), help="Slice by this."
)
@click.option(
    "--binding",
    type=click.Choice(["last_login", "first_install"]),
    default="last_login",
    show_default=True,
    help="Which installation's origin counts.",
)
@configured
@as_json
@as_tables
def funnel_(by: str | None, binding: str, config_path: Path, json_: bool, csv_: bool) -> None:
    """Registered → applied → granted → disbursed → repaid → lost, with rates and intervals.

    Example: lendsignal report funnel --by campaign --binding first_install
    """
    with load(_folder(config_path)) as tables:
        show(funnel(tables, by=by, binding=binding), json_=json_, csv_=csv_)  # type: ignore[arg-type]


@report.command("bindings")
@configured
@as_json
@as_tables
def bindings_(config_path: Path, json_: bool, csv_: bool) -> None:
    """First install against last login, on the same loans.

    Example: lendsignal report bindings --json
    """
    with load(_folder(config_path)) as tables:
        show(bindings(tables), json_=json_, csv_=csv_)


@report.command("installations")
@configured
@as_json
@as_tables
def installations_(config_path: Path, json_: bool, csv_: bool) -> None:
    """Reinstalls and other phones, by channel and week, and which ids outlive them.

    Example: lendsignal report installations --csv
    """
    with load(_folder(config_path), ids=True) as tables:
        show(installations(tables), json_=json_, csv_=csv_)


@report.command("devices")
@click.option("--top", type=click.IntRange(1, 100_000), default=50, show_default=True, help="Rows at most.")
@configured
@as_json
@as_tables
def devices_(top: int, config_path: Path, json_: bool, csv_: bool) -> None:
    """Phones with the most users, rings of users, and how the loans on them do.

    Example: lendsignal report devices --top 20
    """
    with load(_folder(config_path)) as tables:
        show(devices(tables, top=top), json_=json_, csv_=csv_)


@report.command("delivery")
@configured
@as_json
@as_tables
def delivery_(config_path: Path, json_: bool, csv_: bool) -> None:
    """What became of every delivery, why, and how long it took.

    Example: lendsignal report delivery --csv
    """
    with load(_folder(config_path)) as tables:
        show(delivery(tables), json_=json_, csv_=csv_)


@report.command("coverage")
@click.option(
    "--days",
    type=click.IntRange(1, 3_650),
    default=30,
    show_default=True,
    help="Users active within so many.",
)
@configured
@as_json
@as_tables
def coverage_(days: int, config_path: Path, json_: bool, csv_: bool) -> None:
    """Which ids the active users are known by, what they consented to, and which destinations reach them.

    Example: lendsignal report coverage --days 7
    """
    config = configuration.load(config_path)
    log = open_log(DataFolder(config.data).log, read_only=True)
    try:
        found = coverage(log, days, _reaches(config), _unasked(config))
    finally:
        log.close()
    show(found, json_=json_, csv_=csv_)


def _unasked(config: Config) -> dict[str, bool]:
    """By app, whether a user who was never asked counts as consenting."""
    default = config.policy.consent_default
    return {name: default.get(app.country, True) for name, app in config.apps.items()}


def _reaches(config: Config) -> dict[str, Reach]:
    """What each destination with a route would make of a user, under the first name that it is sent."""
    names: dict[str, str] = {}
    for route in config.policy.routes:
        for name in route.send.values():
            names.setdefault(route.to, name)
    return {
        name: Reach(outlet.common.kind, outlet.app.name, _tried(outlet, config.apps, names[name]))
        for name, outlet in config.outlets.items()
        if name in names
    }


def _tried(outlet: Outlet, apps: Mapping[str, App], name: str) -> Callable[[Known], SkipReason | None]:
    entry = Entry(outlet.name, outlet.common.kind, name, None, 0)

    def tried(who: Known) -> SkipReason | None:
        body = Body(
            entry=entry,
            conversion_id="0" * 32,
            conversion="",
            occurred_at=from_us(who.at_us),
            user_id=who.user_id,
            binding=who.binding,
            contact=who.contact,
            consent=who.consent,
            occurred_us=who.at_us,
            received_us=who.at_us,
        )
        item = encoded(outlet, apps, body)
        return item.reason if isinstance(item, Skip) else None

    return tried


@report.command("attribution")
@click.option(
    "--by",
    type=click.Choice(["channel", "media_source", "campaign", "ad_set", "ad"]),
    default="campaign",
    show_default=True,
    help="How far down the rows go.",
)
@configured
@as_json
@as_tables
def attribution_(by: str, config_path: Path, json_: bool, csv_: bool) -> None:
    """Where users came from, as the MMPs say, and what they say they recorded.

    Example: lendsignal report attribution --by channel
    """
    with load(_folder(config_path), recorded=True) as tables:
        show(attribution(tables, by=by), json_=json_, csv_=csv_)  # type: ignore[arg-type]


@report.command("spend")
@click.option("--currency", help="Convert to this currency, by [fx]; by default fx.currency.")
@configured
@as_json
@as_tables
def spend_(currency: str | None, config_path: Path, json_: bool, csv_: bool) -> None:
    """What campaigns cost, by campaign and day, and what an install cost.

    Without a currency each cost stays in its own. What no rate can convert is left out and listed.

    Example: lendsignal report spend --currency USD
    """
    config = configuration.load(config_path)
    wanted = None if currency is None else currency.upper()
    with load(DataFolder(config.data)) as tables:
        show(spend(tables, config.rates, wanted or config.currency), json_=json_, csv_=csv_)


def _folder(config_path: Path) -> DataFolder:
    return DataFolder(configuration.load(config_path).data)


for verb in (delay_, reconcile_, vintages_):
    report.add_command(verb)
