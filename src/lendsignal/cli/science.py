"""`bench science`: what the decision methods reach where the truth is known."""

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from lendsignal.cli.measure import rows_of
from lendsignal.cli.words import as_json, print_json


@click.command()
@click.option("--quick", is_flag=True, help="Fewer and smaller worlds, within a minute.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(["tiers", "value", "event_choice", "bids", "holdout"]),
    help="This part alone; may be given several times.",
)
@click.option(
    "--charts",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the pictures of the parts to this folder, as SVG.",
)
@as_json
def science(quick: bool, only: tuple[str, ...], charts: Path | None, json_: bool) -> None:
    """What the decision methods reach on made-up worlds, where the truth is known.

    Tiers, predicted value, event choice, bids and holdouts; the same seeds give the same figures.

    Example: lendsignal bench science --only bids --charts pictures
    """
    from lendsignal.bench.science import charts_of_science, measure_science  # here: its libraries are slow
    from lendsignal.report.chart import svg

    found = measure_science(quick, lambda doing: click.echo(f"… {doing}", err=True), only)
    if charts is not None:
        charts.mkdir(parents=True, exist_ok=True)
        for key, pictures in charts_of_science(found).items():
            for number, chart in enumerate(pictures, 1):
                (charts / f"{key}-{number}.svg").write_text(svg(chart), encoding="utf-8")
    if json_:
        print_json(found)
        return
    table = Table("figure", "value", box=None)
    for name, value in rows_of(found):
        table.add_row(name, value)
    Console().print(table)
