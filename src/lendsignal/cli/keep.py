"""What `archive` does: Parquet out of the log, while the service runs or not."""

from pathlib import Path

import click
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from lendsignal import config as configuration
from lendsignal.archive import TABLES, Book
from lendsignal.cli.words import as_json, configured, print_json, progress_bar, with_overrides
from lendsignal.clock import clock_at, from_us
from lendsignal.errors import NotYet
from lendsignal.log import DataFolder, open_log


class Kept(Struct, frozen=True):
    """One table of the archive: how many rows in how many files, and the days they lie on."""

    table: str
    rows: int
    files: int
    first_day: str | None
    last_day: str | None


@click.group()
def archive() -> None:
    """Parquet files of everything, for reports and for other engines."""


@archive.command()
@configured
@with_overrides
@as_json
@click.option(
    "--piece",
    type=click.IntRange(min=1),
    default=None,
    help="Events in one file at most; smaller pieces take less memory.",
)
def write(config_path: Path, overrides: dict[str, object], json_: bool, piece: int | None) -> None:
    """Write what is new, make days that are over one file, and prepare a large archive for reports.

    A running service does this by itself; by hand it is for folders whose service is stopped, and safe at any
    time: whoever comes second waits for nothing and writes nothing twice.
    """
    from lendsignal.archive.keeper import EVENTS_AT_ONCE, brought_up  # it brings DuckDB
    from lendsignal.report.preparing import prepare

    config = configuration.load(config_path, overrides=overrides)
    folder, now_us = DataFolder(config.data), clock_at(config.replay_clock).now_us()
    with progress_bar(quiet=json_) as bar:
        task = bar.add_task("archiving", total=None)
        written, merged = brought_up(
            folder,
            config.archive,
            now_us,
            tell=lambda done, total: bar.update(task, completed=done, total=total),
            events_at_once=piece or EVENTS_AT_ONCE,
        )
        prepare(folder, now_us)
    if json_:
        print_json({"rows": written, "merged_files": merged})
    else:
        click.echo(f"{written:,} rows written, {merged} files merged")


@archive.command("status")
@configured
@with_overrides
@as_json
def status_(config_path: Path, overrides: dict[str, object], json_: bool) -> None:
    """What the archive holds, and how far behind the log it is."""
    config = configuration.load(config_path, overrides=overrides)
    folder = DataFolder(config.data)
    try:
        book = Book(folder.archive, read_only=True)
    except NotYet:
        raise NotYet("nothing is archived yet: run the service, or `lendsignal archive write`") from None
    parts = book.parts()
    found = []
    for table in TABLES:
        own = [part for part in parts if part.table == table.name]
        days = [from_us(part.day * 86_400_000_000).date().isoformat() for part in own]
        found.append(
            Kept(
                table.name,
                sum(part.rows for part in own),
                len(own),
                min(days, default=None),
                max(days, default=None),
            )
        )
    log = open_log(folder.log, read_only=True)
    behind = log.position() - book.reach("log")
    log.close()
    address = book.address() or config.archive.to
    book.close()
    if json_:
        print_json({"address": address, "behind_events": behind, "tables": found})
        return
    shown = Table("table", "rows", "files", "first day", "last day")
    for one in found:
        shown.add_row(one.table, f"{one.rows:,}", str(one.files), one.first_day or "–", one.last_day or "–")
    Console().print(shown)
    click.echo(f"{behind:,} events behind the log")
