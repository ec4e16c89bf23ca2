"""Verbs that bring in what MMPs and ad accounts tell: where users came from, and what it cost."""

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

import click
from rich.progress import Progress, TaskID

from lendsignal import config as configuration
from lendsignal.cli.words import as_json, configured, print_json, progress_bar
from lendsignal.clock import clock_at
from lendsignal.config import Config
from lendsignal.log import DataFolder, open_feeds
from lendsignal.source.feeds import Brought, import_attribution, import_spend, told
from lendsignal.source.feeds.files import FeedStore

T = TypeVar("T")

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
FILES = click.argument("files", nargs=-1, required=True, type=FILE)
DRY_RUN = click.option("--dry-run", is_flag=True, help="Read and count everything; change nothing.")


@click.command("attribution")
@FILES
@click.option("--feed", "name", required=True, help="The [feed.NAME] that they are of.")
@DRY_RUN
@configured
@as_json
def attribution(files: tuple[Path, ...], name: str, dry_run: bool, config_path: Path, json_: bool) -> None:
    """Bring in an MMP's files: installations and where they came from, and the events it recorded.

    CSV, also gzipped, with the MMP's own headings. Importing a file again changes nothing.

    Example: lendsignal import attribution installs.csv in-app-events.csv --feed appsflyer
    """
    config = configuration.load(config_path)
    feed = _named(name, config.feeds, "feed", "--feed")
    now_us = clock_at(config.replay_clock).now_us()
    found: dict[str, Brought] = {}
    feeds = _store(config, dry_run)
    try:
        with progress_bar(quiet=json_, unit="rows") as bar:
            for path in files:
                task = bar.add_task(path.name, total=None)
                moved = partial(_moved, bar, task)
                found[path.name] = import_attribution(feeds, path, feed, now_us, moved)
    finally:
        _close(feeds)
    _show(found, json_)


@click.command("spend")
@FILES
@click.option("--feed", "name", required=True, help="The [spend.NAME] that they are of.")
@click.option(
    "--names", multiple=True, type=FILE, help="A table of what campaigns, ad sets or ads are called."
)
@DRY_RUN
@configured
@as_json
def spend(
    files: tuple[Path, ...],
    name: str,
    names: tuple[Path, ...],
    dry_run: bool,
    config_path: Path,
    json_: bool,
) -> None:
    """Bring in cost by campaign and day: the days that a file tells of are replaced by it.

    A file with a row that cannot be taken is not taken at all; the exit code is then 1.

    Example: lendsignal import spend google.csv --feed google-ng --names campaigns.csv
    """
    config = configuration.load(config_path)
    feed = _named(name, config.spend, "spend", "--feed")
    feeds = _store(config, dry_run)
    try:
        found = {path.name: import_spend(feeds, path, feed, names) for path in files}
    finally:
        _close(feeds)
    _show(found, json_)
    if any(one.refused for one in found.values()):
        click.echo("nothing was taken of files with refused rows", err=True)
        sys.exit(1)


def _moved(bar: Progress, task: TaskID, rows: int) -> None:
    bar.update(task, completed=rows)


def _named(name: str, known: Mapping[str, T], section: str, option: str) -> T:
    if name not in known:
        allowed = ", ".join(known) or "none is there"
        raise click.BadParameter(f"no [{section}.{name}]; there is: {allowed}", param_hint=option)
    return known[name]


def _store(config: Config, dry_run: bool) -> FeedStore | None:
    """Where facts go: the folder's feeds, or on a cluster the store, whence each desk follows them."""
    if dry_run:
        return None
    if config.store is None:
        return open_feeds(DataFolder(config.data).feeds)
    from lendsignal.log.postgres import database_of
    from lendsignal.log.postgres.told import ToldRows

    return ToldRows(database_of(config.store), clock_at(config.replay_clock).now_us)


def _close(feeds: FeedStore | None) -> None:
    if feeds is not None:
        feeds.close()


def _show(found: Mapping[str, Brought], json_: bool) -> None:
    if json_:
        print_json(found)
        return
    for file, one in found.items():
        click.echo(f"{file}: {one.rows:,} rows\n{told(one)}")
