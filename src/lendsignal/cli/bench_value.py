"""`bench value`: what training and scoring of predicted value cost, and how what is said is met."""

from pathlib import Path
from typing import Literal

import click
from msgspec import to_builtins
from rich.console import Console
from rich.table import Table

from lendsignal.cli.measure import rows_of
from lendsignal.cli.words import as_json, print_json


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
    type=click.Choice(["grant", "apply"]),
    default="grant",
    show_default=True,
    help="When they are valued: at the grant, or at the application, before anybody decided.",
)
@click.option(
    "--chart",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw what was said and what came, as SVG.",
)
@as_json
def bench_value(users: int, at: Literal["grant", "apply"], chart: Path | None, json_: bool) -> None:
    """Training and scoring of predicted value, on made-up borrowers of whom all is known.

    Example: lendsignal bench value --users 1000000
    """
    from lendsignal.bench.valuing import value_users  # here: its libraries are for this alone
    from lendsignal.report.chart import Lines, Series, svg

    found = value_users(users, lambda doing: click.echo(f"… {doing}", err=True), at=at)
    if chart is not None:
        drawn = Lines(
            title="Value said and value that came, by tenths of the users",
            at=tuple(float(place) for place in range(1, len(found.deciles) + 1)),
            series=(
                Series(name="trees: said", values=tuple(one.said for one in found.deciles)),
                Series(name="trees: came", values=tuple(one.came for one in found.deciles)),
                Series(name="look-up: said", values=tuple(one.said for one in found.lookup_deciles)),
                Series(name="look-up: came", values=tuple(one.came for one in found.lookup_deciles)),
            ),
            across="tenths of the users by what was said, the lowest first",
            axis="mean value within 90 days; a first loan is 100",
        )
        chart.write_text(svg(drawn))
    if json_:
        print_json(found)
        return
    table = Table("figure", "value", box=None)
    figures = {name: value for name, value in to_builtins(found).items() if "deciles" not in name}
    for name, value in rows_of(figures):
        table.add_row(name, value)
    Console().print(table)
