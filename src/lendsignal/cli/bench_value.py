"""`bench value`: what training and scoring of predicted value cost, and how what is said is met."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
from msgspec import to_builtins
from rich.console import Console
from rich.table import Table

from lendsignal.cli.measure import rows_of
from lendsignal.cli.words import as_json, print_json

if TYPE_CHECKING:
    from lendsignal.bench.valuing import Valuing
    from lendsignal.report.chart import Lines


@click.command("value")
@click.option(
    "--users",
    type=click.IntRange(5_000),
    default=100_000,
    show_default=True,
    help="Users that are learned from.",
)
@click.option(
    "--at",
    type=click.Choice(["grant", "apply", "loan"]),
    default="grant",
    show_default=True,
    help="When they are valued: at the grant, at the application, before anybody decided, or at the loan.",
)
@click.option(
    "--chart",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw what was said and what came, as SVG; at the loan the cautious side of it.",
)
@as_json
def bench_value(users: int, at: Literal["grant", "apply", "loan"], chart: Path | None, json_: bool) -> None:
    """Training and scoring of predicted value, on made-up borrowers of whom all is known.

    Example: lendsignal bench value --users 1000000
    """
    from lendsignal.bench.valuing import value_users  # here: its libraries are for this alone
    from lendsignal.report.chart import svg

    found = value_users(users, lambda doing: click.echo(f"… {doing}", err=True), at=at)
    if chart is not None:
        chart.write_text(svg(_of_low(found) if at == "loan" else _of_means(found)))
    if json_:
        print_json(found)
        return
    table = Table("figure", "value", box=None)
    tenths = ("deciles", "lookup_deciles", "low_tenths")
    figures = {name: value for name, value in to_builtins(found).items() if name not in tenths}
    for name, value in rows_of(figures):
        table.add_row(name, value)
    Console().print(table)


def _of_means(found: "Valuing") -> "Lines":
    """What was said and what came by trees and by look-up."""
    return _by_tenths(
        "Value said and value that came, by tenths of the users",
        "mean value within 90 days; a first loan is 100",
        {
            "trees: said": [one.said for one in found.deciles],
            "trees: came": [one.came for one in found.deciles],
            "look-up: said": [one.said for one in found.lookup_deciles],
            "look-up: came": [one.came for one in found.lookup_deciles],
        },
    )


def _of_low(found: "Valuing") -> "Lines":
    """What three in ten were said to bring less than, what they did, and the mean that came."""
    return _by_tenths(
        "What three in ten of the users bring less than",
        "value within 90 days; a first loan is 100",
        {
            "three in ten less: said": [one.said for one in found.low_tenths],
            "three in ten less: came": [one.came for one in found.low_tenths],
            "mean that came": [one.mean for one in found.low_tenths],
        },
    )


def _by_tenths(title: str, axis: str, series: Mapping[str, Sequence[float]]) -> "Lines":
    from lendsignal.report.chart import Lines, Series

    return Lines(
        title=title,
        at=tuple(float(place) for place in range(1, 11)),
        series=tuple(Series(name=name, values=tuple(values)) for name, values in series.items()),
        across="tenths of the users by what was said, the lowest first",
        axis=axis,
    )
