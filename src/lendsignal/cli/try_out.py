"""Verbs for trying it out: the demo, the generator, the sandbox."""

import logging
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import click
from msgspec.structs import replace

from lendsignal import demo as demonstration
from lendsignal import sandbox as stand_ins
from lendsignal import simulate
from lendsignal.cli.words import as_json, print_json, progress_bar
from lendsignal.clock import clock_at, from_us
from lendsignal.errors import LendsignalError
from lendsignal.settings import duration


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo-data"),
    show_default=True,
    help="Where it keeps everything; a second start goes on from there.",
)
@click.option("--headless", is_flag=True, help="No pages to look at; free ports.")
@click.option("--for", "for_", metavar="DURATION", help="End by itself after so long, such as 60s.")
@click.option("--seed", type=int, default=1, show_default=True, help="Which made-up lender.")
@click.option("--port", type=int, default=8321, show_default=True, help="Port for events, if free.")
@click.option("--web-port", type=int, default=8322, show_default=True, help="Port for the pages, if free.")
@as_json
def demo(
    folder: Path, headless: bool, for_: str | None, seed: int, port: int, web_port: int, json_: bool
) -> None:
    """A made-up lender, the service and the sandboxes, from one command.

    Four weeks of history are played in seconds, then the lender goes on living, ten minutes a second.
    """
    started = time.monotonic()
    seconds = _seconds(for_)
    say = (lambda text: None) if json_ else click.echo
    if json_:
        logging.getLogger().setLevel(logging.WARNING)
    world = demonstration.lender_of(folder, seed, datetime.now(UTC).date())
    show = demonstration.Show(folder, world, headless=headless, port=port, web_port=web_port)
    for number in (signal.SIGTERM, signal.SIGHUP):  # a closed terminal is a stop like any other
        signal.signal(number, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        show.start()
        say(f"events   {show.stage.service}/v1/events")
        say(f"pages    {show.stage.pages}/")
        say(f"sandbox  {show.stage.sandbox}")
        say(f"folder   {folder}")
        with progress_bar(quiet=json_) as bar:
            task = bar.add_task(
                "four weeks of history", total=show.history, completed=min(show.played, show.history)
            )
            show.play_history(lambda played: bar.update(task, completed=played))
        if not json_:
            _print_reports(show)
            say("live: ten minutes of the lender's day a second; Ctrl-C stops, a second start goes on")
        left = float("inf") if seconds is None else max(0.0, seconds - (time.monotonic() - started))
        with progress_bar(quiet=json_) as bar:
            task = bar.add_task("live", total=len(show), completed=show.played)

            def told(played: int, now_us: int) -> None:
                bar.update(task, completed=played, description=f"live {from_us(now_us):%Y-%m-%d %H:%M} UTC")

            show.play_live(left, told)
        result = show.result()
        if json_:
            print_json(result)
        else:
            _print_reports(show)
        if show.over and seconds is None and not headless:
            say("the made-up lender's story is told; the pages stay until Ctrl-C")
            while True:
                time.sleep(1)
                show.stage.tend()
        if not result.balanced:
            raise LendsignalError("the books do not balance: see the result")
    except KeyboardInterrupt:
        say("stopping; a second start goes on from here")
    finally:
        show.stop()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return duration(text).total_seconds()
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--for") from None


def _print_reports(show: demonstration.Show) -> None:
    for found in show.reports():
        click.echo(found.to_text())


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="The folder to write."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Same seed and parameters, same bytes.")
@click.option(
    "--parameters", type=click.Path(path_type=Path, exists=True), help="A parameters file; see --defaults."
)
@click.option("--defaults", is_flag=True, help="Print the default parameters file and stop.")
@click.option(
    "--users", type=click.IntRange(min=1), help="How many users, instead of the parameters' number."
)
@as_json
def generate(
    out: Path, seed: int, parameters: Path | None, defaults: bool, users: int | None, json_: bool
) -> None:
    """Make up a lender: events, attribution and spend, and the truth in a folder of its own."""
    if defaults:
        click.echo(simulate.as_toml(simulate.Parameters()))
        return
    chosen = simulate.load(parameters) if parameters else simulate.Parameters()
    if users is not None:
        chosen = replace(chosen, period=replace(chosen.period, users=users))
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
@click.option("--chaos", type=int, metavar="SEED", help="Fail in every way there is, by this seed.")
def sandbox(
    settings: Path, host: str, port: int, folder: Path | None, clock: Path | None, chaos: int | None
) -> None:
    """Strict stand-ins of every platform, on this machine."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    stand_ins.serve(
        stand_ins.settings_at(settings, chaos=chaos),
        host=host,
        port=port,
        folder=folder,
        clock=clock_at(clock),
        announce=lambda address: click.echo(f"sandbox listening on {address}"),
    )
