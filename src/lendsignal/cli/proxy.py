"""`proxy fit`, `proxy show`, `report proxy`: the early, predicted conversion."""

import sys
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from lendsignal import config as configuration
from lendsignal.cli.showing import as_tables
from lendsignal.cli.showing import show as shown
from lendsignal.cli.slicing import sliced
from lendsignal.cli.understand import report
from lendsignal.cli.words import as_json, configured, print_json
from lendsignal.config import Config
from lendsignal.log import DataFolder, open_log
from lendsignal.report import load
from lendsignal.report.slices import Slice
from lendsignal.role.reports import proxy_of
from lendsignal.settings import duration
from lendsignal.value import LikelyModel

if TYPE_CHECKING:
    from lendsignal.report.proxy import Proxy


def _span(context: click.Context, option: click.Parameter, given: str | None) -> timedelta | None:
    try:
        return None if given is None else duration(given)
    except ValueError:
        raise click.BadParameter(f"{given!r}: write it like 30m or 7d", context, option) from None


def _asked(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--after --within --precision`: what is fitted, and by what."""
    options = (
        click.option(
            "--after",
            callback=_span,
            metavar="SPAN",
            help="How long an application waits before it is told of; by default proxy.after.",
        ),
        click.option(
            "--within",
            callback=_span,
            default="7d",
            show_default=True,
            metavar="SPAN",
            help="By when a grant counts; younger applications are not looked at.",
        ),
        click.option(
            "--precision",
            type=click.FloatRange(0.5, 0.999),
            default=0.9,
            show_default=True,
            help="How many of those told of are to be granted.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@report.command("proxy")
@_asked
@sliced
@configured
@as_json
@as_tables
def report_proxy(
    one: Slice,
    after: timedelta | None,
    within: timedelta,
    precision: float,
    config_path: Path,
    json_: bool,
    csv_: bool,
) -> None:
    """How well a grant can be told while the review lasts, on history that nothing was fitted to.

    Sliced are the applications that it is judged by; the model is one for all.

    Example: lendsignal report proxy --after 1h --precision 0.95 --by app
    """
    config = configuration.load(config_path)
    with load(DataFolder(config.data)) as tables:
        found = proxy_of(config, tables, one, after=after, within=within, precision=precision)
    shown(found, json_=json_, csv_=csv_)


@click.group()
def proxy() -> None:
    """The early proxy likely_credit: applications that will very likely be granted, told of before."""


@proxy.command()
@_asked
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("likely.json"),
    show_default=True,
    help="Where the table of weights goes; proxy.model names it.",
)
@configured
@as_json
def fit(
    after: timedelta | None,
    within: timedelta,
    precision: float,
    out: Path,
    config_path: Path,
    json_: bool,
) -> None:
    """Fit a table of weights to the log's history and write it; it counts once proxy.model names it.

    Ends with 1 and writes nothing where the history is too short, or no threshold is precise enough.

    Example: lendsignal proxy fit --precision 0.95 --out likely.json
    """
    found = _fitted(configuration.load(config_path), after, within, precision)
    click.echo(found.report.to_json() if json_ else found.report.to_text())
    if found.model is None or found.model.threshold is None:
        click.echo(f"nothing is written: no probability is right {precision:.1%} of the time", err=True)
        sys.exit(1)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(found.model)) + b"\n")
    click.echo(f"written: {out}; set proxy.model to it, route likely_credit, and start again", err=True)


@proxy.command()
@configured
@as_json
def show(config_path: Path, json_: bool) -> None:
    """The table of weights that the configuration names."""
    likely = configuration.load(config_path).policy.derive.likely
    if json_:
        print_json(likely)
    elif likely is None:
        click.echo("no [proxy] model: there is no likely_credit; `lendsignal proxy fit` makes one")
    else:
        click.echo(f"likely_credit from P = {likely.model.threshold} on, after {likely.after}")
        for line in _lines(likely.model):
            click.echo(line)


def _lines(model: LikelyModel) -> list[str]:
    """The weights, in steps of one standard deviation for numbers."""
    numbers = [
        f"{one.name:<28} {model.slope * one.weight:+.3f} a deviation of {one.scale:.4g} from {one.mean:.4g};"
        f" unknown {model.slope * one.unknown:+.3f}"
        for one in model.numbers
    ]
    words = [
        f"{one.name + ' ' + word:<28} {model.slope * weight:+.3f}"
        for one in model.words
        for word, weight in one.weights.items()
    ]
    return [f"{'(all)':<28} {model.slope * model.intercept + model.shift:+.3f}", *numbers, *words]


def _fitted(config: Config, after: timedelta | None, within: timedelta, precision: float) -> "Proxy":
    from lendsignal.report.proxy import proxy as fitted  # here: its library is for these verbs alone

    folder, after = DataFolder(config.data), after or config.proxy.after
    with closing(open_log(folder.log, read_only=True)) as log, load(folder) as tables:
        return fitted(log, after=after, within=within, precision=precision, tables=tables)
