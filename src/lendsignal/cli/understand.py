"""Verbs that show what happened: explain, quarantine, report."""

import sys
from pathlib import Path

import click

from lendsignal import config as configuration
from lendsignal.cli.words import as_json, configured, print_json
from lendsignal.clock import from_us
from lendsignal.deliver import rendered
from lendsignal.log import DataFolder, open_log
from lendsignal.report import Report, bindings, delivery, funnel, load
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


@click.command()
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many to show."
)
@configured
@as_json
def quarantine(limit: int, config_path: Path, json_: bool) -> None:
    """What the door refused, and why; youngest first. Contacts are masked."""
    log = open_log(DataFolder(configuration.load(config_path).data).log, read_only=True)
    try:
        found, counts = log.quarantined(limit), log.refusals()
    finally:
        log.close()
    if json_:
        shown = [
            {
                "id": one.id,
                "received_at": from_us(one.received_us),
                "source": one.source,
                "field": one.field,
                "rule": one.rule,
                "body": one.body.decode("utf-8", "replace"),
            }
            for one in found
        ]
        totals = [{"field": field, "rule": rule, "n": n} for (field, rule), n in sorted(counts.items())]
        print_json({"counts": totals, "events": shown})
        return
    for (field, rule), n in sorted(counts.items(), key=lambda pair: -pair[1]):
        click.echo(f"{n:>8}  {field}: {rule}")
    for one in found:
        click.echo(f"\n{from_us(one.received_us):%Y-%m-%d %H:%M:%S} UTC from {one.source or 'nobody known'}")
        click.echo(f"  {one.field}: {one.rule}\n  {one.body.decode('utf-8', 'replace')[:400]}")
    if not found:
        click.echo("nothing is in quarantine")


@click.group()
def report() -> None:
    """Funnel, bindings, delivery: text for people, --json or --csv for programs."""


def _as_csv(command: click.decorators.FC) -> click.decorators.FC:
    return click.option("--csv", "csv_", is_flag=True, help="Print each table as CSV.")(command)


@report.command("funnel")
@click.option("--by", type=click.Choice(["media_source", "campaign", "app"]), help="Slice by this.")
@click.option(
    "--binding",
    type=click.Choice(["last_login", "first_install"]),
    default="last_login",
    show_default=True,
    help="Which installation's origin counts.",
)
@configured
@as_json
@_as_csv
def funnel_(by: str | None, binding: str, config_path: Path, json_: bool, csv_: bool) -> None:
    """Registered → applied → granted → disbursed → repaid → lost, with rates and intervals.

    Example: lendsignal report funnel --by campaign --binding first_install
    """
    with load(_folder(config_path)) as tables:
        _show(funnel(tables, by=by, binding=binding), json_=json_, csv_=csv_)  # type: ignore[arg-type]


@report.command("bindings")
@configured
@as_json
@_as_csv
def bindings_(config_path: Path, json_: bool, csv_: bool) -> None:
    """First install against last login, on the same loans.

    Example: lendsignal report bindings --json
    """
    with load(_folder(config_path)) as tables:
        _show(bindings(tables), json_=json_, csv_=csv_)


@report.command("delivery")
@configured
@as_json
@_as_csv
def delivery_(config_path: Path, json_: bool, csv_: bool) -> None:
    """What became of every delivery, why, and how long it took.

    Example: lendsignal report delivery --csv
    """
    with load(_folder(config_path)) as tables:
        _show(delivery(tables), json_=json_, csv_=csv_)


def _folder(config_path: Path) -> DataFolder:
    return DataFolder(configuration.load(config_path).data)


def _show(found: Report, *, json_: bool, csv_: bool) -> None:
    if json_:
        click.echo(found.to_json())
    elif csv_:
        for name, text in found.to_csv().items():
            click.echo(f"# {name}\n{text}")
    else:
        click.echo(found.to_text())
