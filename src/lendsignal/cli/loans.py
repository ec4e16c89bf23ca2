"""Reports of what a lender decides and lends: delay, reconcile, vintages."""

import gzip
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import TypeVar

import click
from msgspec.structs import replace

from lendsignal import config as configuration
from lendsignal.cli.giving import clock_of
from lendsignal.cli.showing import as_tables, show
from lendsignal.cli.slicing import dated, sliced
from lendsignal.cli.words import as_json, configured
from lendsignal.config import Config
from lendsignal.errors import InputError
from lendsignal.log import DataFolder, open_alerts
from lendsignal.model import Secret
from lendsignal.report import Paid, delay, load, read_ledger, reconcile
from lendsignal.report.ledger import FIELDS
from lendsignal.report.reconcile import CHECKS, Reconciliation
from lendsignal.report.slices import Slice
from lendsignal.report.vintages import BY_CAMPAIGN, vintages
from lendsignal.role.reports import limits_of, zone_of

T = TypeVar("T")


@click.command("delay")
@sliced
@dated
@configured
@as_json
@as_tables
def delay_(one: Slice, as_of: datetime | None, config_path: Path, json_: bool, csv_: bool) -> None:
    """How long decisions and postings take, and why; what came on the same day and inside the window.

    Example: lendsignal report delay --by app --every week
    """
    config = configuration.load(config_path)
    windows = {name: outlet.spec for name, outlet in config.outlets.items()}
    with load(DataFolder(config.data), as_of=as_of) as tables:
        show(delay(tables, windows, one), json_=json_, csv_=csv_)


@click.command("vintages")
@sliced
@dated
@configured
@as_json
@as_tables
def vintages_(one: Slice, as_of: datetime | None, config_path: Path, json_: bool, csv_: bool) -> None:
    """Loans by week or month of disbursement: repaid, late, lost, and developed to maturity.

    By week, unless --every says otherwise; the second half is by campaign, unless --by says otherwise.

    Example: lendsignal report vintages --every month --where loans=first
    """
    with load(DataFolder(configuration.load(config_path).data), as_of=as_of) as tables:
        found = vintages(tables, replace(one, by=one.by or BY_CAMPAIGN.by))
        show(found, json_=json_, csv_=csv_)


def _pairs(context: click.Context, option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    pairs = dict(one.split("=", 1) for one in given if "=" in one)
    if len(pairs) != len(given) or set(pairs) - set(FIELDS):
        raise click.BadParameter(
            f"must be one of {', '.join(FIELDS)}, then = and what it is", context, option
        )
    return pairs


@click.command("reconcile")
@click.option(
    "--ledger",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The lender's loans: CSV, also .gz.",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    callback=_pairs,
    metavar="FIELD=NAME",
    help=f"What the ledger calls {', '.join(FIELDS)}.",
)
@click.option(
    "--ledger-url",
    metavar="URL",
    help="Instead of a file: the lender's database, as SQLAlchemy writes it and without a password.",
)
@click.option("--ledger-query", metavar="SELECT", help="What to ask it; a row a loan that was paid out.")
@click.option(
    "--ledger-password", metavar="ENV", help="The variable that holds the password of the URL's user."
)
@click.option("--currency", help="The ledger's currency, where it has no column for it.")
@click.option("--timezone", help="The ledger's time zone; by default that of the apps.")
@click.option("--brand", help="The ledger's brand, where there are several.")
@click.option("--since", "since_too", type=click.DateTime(["%Y-%m-%d"]), help="Another word for --from.")
@click.option("--until", "until_too", type=click.DateTime(["%Y-%m-%d"]), help="Another word for --to.")
@click.option(
    "--late-after",
    type=float,
    default=3.0,
    show_default=True,
    help="Hours after which a loan that we are told of is late.",
)
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="CHECK=PERCENT",
    help=f"The share beyond which {', '.join(CHECKS)} is an alarm.",
)
@click.option(
    "--alarm",
    is_flag=True,
    help="Have the alert targets told too, until the next one with --alarm is within its limits.",
)
@sliced
@dated
@configured
@as_json
@as_tables
def reconcile_(
    one: Slice,
    ledger: Path | None,
    ledger_url: str | None,
    ledger_query: str | None,
    ledger_password: str | None,
    columns: dict[str, str],
    currency: str | None,
    timezone: str | None,
    brand: str | None,
    since_too: datetime | None,
    until_too: datetime | None,
    late_after: float,
    limits: tuple[str, ...],
    alarm: bool,
    as_of: datetime | None,
    config_path: Path,
    json_: bool,
    csv_: bool,
) -> None:
    """Three ledgers: the lender's loans, what was told and sent, and what platforms recorded.

    Days of the lender's loans are those of the ledger. The exit code is 1 where a kind of difference is
    beyond its limit.

    Example: lendsignal report reconcile --ledger loans.csv --column loan_id=LoanNo --limit missing=0.5
    """
    config = configuration.load(config_path)
    zone = _said(zone_of, config, timezone)
    known = _said(limits_of, limits)
    if (ledger_url is None) != (ledger_query is None) or (ledger is not None and ledger_url is not None):
        raise click.UsageError("say where the books are: --ledger FILE, or --ledger-url and --ledger-query")
    paid = None if ledger is None else _ledger(ledger, columns, zone, currency)
    if ledger_url is not None and ledger_query is not None:
        from lendsignal.source.books import books  # the database's own library is for this alone

        password = None if ledger_password is None else Secret(env=ledger_password)
        paid = books(
            ledger_url, ledger_query, password=password, columns=columns, zone=zone, currency=currency
        )
    with load(DataFolder(config.data), as_of=as_of) as tables:
        found = reconcile(
            tables,
            paid,
            replace(one, since=one.since or _day(since_too), until=one.until or _day(until_too)),
            zone=zone,
            limits=known,
            late_after=timedelta(hours=late_after),
            brand=brand,
        )
        show(found, json_=json_, csv_=csv_)
    if alarm:
        _note(config, found)
    if not found.is_well:
        click.echo("differences are beyond their limits", err=True)
        sys.exit(1)


def _note(config: Config, found: Reconciliation) -> None:
    """Has the running service's watcher say what is beyond its limit, or that nothing is any more."""
    rows = [row for row in found.checks.records() if not row["well"]]
    beyond = dict.fromkeys(f"{row['step']} {row['check']}" for row in rows)
    with closing(open_alerts(DataFolder(config.data).alerts)) as store:
        store.note("reconcile", None if found.is_well else ", ".join(beyond), clock_of(config).now_us())


def _day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date()


def _said(make: Callable[..., T], *given: object) -> T:
    """What is made of an option's words; a wrong one is the option's."""
    try:
        return make(*given)
    except InputError as error:
        raise click.UsageError(f"--{error}") from None


def _ledger(path: Path, columns: dict[str, str], zone: tzinfo, currency: str | None) -> list[Paid]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", newline="") as lines:
            return read_ledger(lines, columns=columns, zone=zone, currency=currency)
    except (UnicodeDecodeError, gzip.BadGzipFile):
        raise InputError("ledger", "must be CSV in UTF-8, or that as .gz") from None
