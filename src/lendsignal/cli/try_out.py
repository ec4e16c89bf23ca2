"""Verbs for trying it out: the demo, the generator, the sandbox, the bench."""

import logging
import signal
import sys
from pathlib import Path

import click
import msgspec

from lendsignal import sandbox as stand_ins
from lendsignal import simulate
from lendsignal.bench import measure
from lendsignal.cli.words import as_json, print_json, progress_bar
from lendsignal.clock import clock_at


@click.command()
def demo() -> None:
    """A made-up lender, the service and the sandboxes, from one command."""


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="The folder to write."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Same seed and parameters, same bytes.")
@click.option(
    "--parameters", type=click.Path(path_type=Path, exists=True), help="A parameters file; see --defaults."
)
@click.option("--defaults", is_flag=True, help="Print the default parameters file and stop.")
@click.option("--users", type=int, help="How many users, instead of the parameters' number.")
@as_json
def generate(
    out: Path, seed: int, parameters: Path | None, defaults: bool, users: int | None, json_: bool
) -> None:
    """Make up a lender: events, attribution and spend, and the truth in a folder of its own."""
    if defaults:
        click.echo(simulate.as_toml(simulate.Parameters()))
        return
    chosen = simulate.load(parameters) if parameters else simulate.Parameters()
    with progress_bar(quiet=json_) as bar:
        task = bar.add_task("making a lender", total=100)
        summary = simulate.generate(
            out,
            chosen,
            seed,
            lambda doing, done: bar.update(task, description=doing, completed=round(done * 100)),
        )
    if json_:
        print_json(summary)
    else:
        click.echo(f"{out}: {summary}")


@click.command()
@click.option(
    "--settings", type=click.Path(path_type=Path, exists=True), required=True, help="Accounts to play."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=int, default=8900, show_default=True, help="Port; 0 picks a free one.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to remember what was received.")
@click.option("--clock", type=click.Path(path_type=Path), help="A replay clock shared with the service.")
def sandbox(settings: Path, host: str, port: int, folder: Path | None, clock: Path | None) -> None:
    """Strict stand-ins of every platform, on this machine."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    stand_ins.serve(
        stand_ins.settings_at(settings),
        host=host,
        port=port,
        folder=folder,
        clock=clock_at(clock),
        announce=lambda address: click.echo(f"sandbox listening on {address}"),
    )


@click.command()
@click.option("--quick", is_flag=True, help="Smaller numbers, within 45 seconds.")
@as_json
def bench(quick: bool, json_: bool) -> None:
    """Throughput, delay and memory of the whole service on this machine, with fsync on.

    Every figure is of this run on this machine: compare ratios, not machines.
    """
    logging.getLogger().setLevel(logging.WARNING)
    figures = measure(quick=quick, tell=lambda doing: click.echo(f"… {doing}", err=True))
    if json_:
        print_json(figures)
        return
    for name, value in msgspec.to_builtins(figures).items():
        shown = f"{value:,.1f}" if isinstance(value, float) else value
        click.echo(f"{name:<26} {shown}")
