"""What an operator does with a whole data folder: copy it, put a copy back, bring it to a new version."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from msgspec import Struct

from lendsignal import backup as copies
from lendsignal import config as configuration
from lendsignal.cli import giving
from lendsignal.cli.words import as_json, configured, print_json, progress_bar
from lendsignal.clock import SystemClock, from_us
from lendsignal.config import Config
from lendsignal.errors import LogError
from lendsignal.log import DataFolder, Form, damage, form_at
from lendsignal.log import migrate as brought_up
from lendsignal.log.copying import Tell, copy_database


@contextmanager
def progress(*, quiet: bool, unit: str = "bytes") -> Iterator[Tell]:
    """A bar that tells which file is being worked on and how far that is."""
    with progress_bar(quiet=quiet, unit=unit) as bar:
        task = bar.add_task("looking", total=None)

        def tell(name: str, done: int, whole: int) -> None:
            bar.update(task, description=name, completed=done, total=whole)

        yield tell


@click.command()
@click.argument("to", type=click.Path(path_type=Path))
@configured
@as_json
def backup(to: Path, config_path: Path, json_: bool) -> None:
    """Copy the whole data folder into the new folder TO, while the service runs or not.

    Archive, lists and value models are in it; the configuration and its secrets are not. The copy appears
    under its name when it is whole and on disk.

    Example: lendsignal backup /mnt/copies/2026-11-22
    """
    config = configuration.load(config_path)
    folder = giving.folder_of(config)
    with progress(quiet=json_) as tell:
        made = copies.backup(
            folder,
            to,
            archive=_address(config, folder, folder.log),
            portfolio=config.portfolio,
            now=from_us(SystemClock().now_us()),
            tell=tell,
        )
    if json_:
        print_json(made)
        return
    click.echo(
        f"{len(made.files)} files, {made.bytes / 1e6:,.1f} MB, {made.events:,} events in {to}\n"
        f"look through it at any time: lendsignal restore {to} --dry-run"
    )


@click.command()
@click.argument("source", metavar="FROM", type=click.Path(path_type=Path, file_okay=False))
@click.option("--dry-run", is_flag=True, help="Read the whole copy and say whether it is good.")
@click.option("--replace", is_flag=True, help="Move what is in the data folder aside first.")
@click.option(
    "--erasures",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file of `lendsignal erase --export`: who was erased since stays erased; may be repeated.",
)
@configured
@as_json
def restore(
    source: Path,
    dry_run: bool,
    replace: bool,
    erasures: tuple[Path, ...],
    config_path: Path,
    json_: bool,
) -> None:
    """Put the copy FROM in place of the data folder. The service must be stopped.

    Every byte of the copy is read before anything is changed. What was there is kept as `before-…` in the
    data folder. What came in after the copy must be sent again by its sources. Who was erased since the copy
    was made is kept out of it and erased once more.

    Example: lendsignal restore /mnt/copies/2026-11-22 --dry-run
    """
    config = configuration.load(config_path)
    with progress(quiet=json_) as tell:
        if dry_run:
            found = copies.looked_through(source, tell)
        else:
            _set_aside(config, erasures)
            found = copies.restore(
                DataFolder(config.data),
                source,
                archive=_address(config, DataFolder(config.data), source / "log.sqlite"),
                replace=replace,
                now=from_us(SystemClock().now_us()),
                tell=tell,
            )
    again = 0 if dry_run else _erased_again(config)
    if found.portfolio != config.portfolio:
        click.echo(f"warning: the copy is of portfolio {found.portfolio!r}", err=True)
    if json_:
        print_json({"restored": not dry_run, "copy": found, "erased_again": again})
        return
    what = "is whole" if dry_run else f"is in place in {config.data}"
    click.echo(
        f"the copy of {found.made_at:%Y-%m-%d %H:%M:%S} UTC {what}: {found.events:,} events, "
        f"made by version {found.version}"
    )
    if again:
        click.echo(f"{again:,} users who were erased since are erased once more by lendsignal run")
    if not dry_run:
        click.echo("sources must send again what came in later: docs/how-to/back-up-and-restore.md")


def _address(config: Config, folder: DataFolder, log: Path) -> str:
    """Where the archive of a folder lies that has, or is to have, that log: that of a desk of a cluster has a
    place of its own."""
    if config.store is None:
        return config.archive.to
    from lendsignal.archive.keeper import address_of  # here: it brings DuckDB

    return address_of(folder, config.archive, log)


def _set_aside(config: Config, files: Sequence[Path]) -> None:
    """Keeps the erasures out of the way of the copy."""
    from lendsignal.erase.again import set_aside  # here: few verbs need it

    unread = set_aside(config, files)
    if unread is not None:
        click.echo(
            f"warning: the log of this folder cannot be read ({unread}): who was erased since the copy is"
            f" known from {DataFolder(config.data).erased.name} and --erasures alone",
            err=True,
        )


def _erased_again(config: Config) -> int:
    """How many of the copy are erased once more; what must wait is done when the service runs."""
    from lendsignal.erase.again import erased_again

    try:
        return erased_again(config, giving.clock_of(config))
    except LogError as error:
        click.echo(f"warning: erasures wait until the service runs: {error}", err=True)
        return 0


class Brought(Struct, frozen=True, kw_only=True):
    """What was done, or tried on a copy, with one file."""

    form: Form
    done: bool
    seconds: float = 0.0
    bytes: int = 0


@click.command()
@click.option("--dry-run", is_flag=True, help="Do it to copies, which are thrown away, and change nothing.")
@configured
@as_json
def migrate(dry_run: bool, config_path: Path, json_: bool) -> None:
    """Bring the data folder of an older version to this one's form. The service must be stopped.

    Each file goes from one form to the next in one transaction, so that a kill leaves it whole, and the verb
    goes on where it was. There is no way back: make a copy first with the version that you leave.

    Example: lendsignal migrate --dry-run
    """
    config = configuration.load(config_path)
    folder = giving.folder_of(config)
    forms = [(path, form) for path in folder.databases() if (form := form_at(path))]
    with progress(quiet=json_) as tell:
        if dry_run:
            found = [_tried(path, form, tell) for path, form in forms]
        else:
            with copies.in_nobodys_use(folder):
                found = [_brought(path, form) for path, form in forms]
    if json_:
        print_json({"dry_run": dry_run, "files": found})
        return
    for one in found:
        click.echo(_told(one, dry_run=dry_run))


def _tried(path: Path, form: Form, tell: Tell) -> Brought:
    """The steps of one file on a copy beside it, which goes away again."""
    if form.is_current:
        return Brought(form=form, done=False)
    with tempfile.TemporaryDirectory(prefix="migrate-", dir=path.parent) as scratch:
        copy = Path(scratch) / path.name
        size = path.stat().st_size
        if shutil.disk_usage(scratch).free < 2 * size:
            raise LogError(f"a trial with {path.name} needs {2 * size / 1e6:,.0f} MB of free disk")
        copy_database(path, copy, tell)
        return _brought(copy, form)


def _brought(path: Path, form: Form) -> Brought:
    if form.is_current:
        return Brought(form=form, done=False)
    clock = SystemClock()
    begun = clock.now_us()
    brought_up(path)
    if wrong := damage(path):
        raise LogError(f"{path.name} is damaged after its migration ({wrong}): put its copy back")
    return Brought(form=form, done=True, seconds=(clock.now_us() - begun) / 1e6, bytes=path.stat().st_size)


def _told(one: Brought, *, dry_run: bool) -> str:
    form = one.form
    if not one.done:
        return f"{form.file:<20} form {form.found}, current"
    how = "tried on a copy" if dry_run else "done"
    steps = "".join(f"\n{'':<20} - {step}" for step in form.steps)
    return f"{form.file:<20} form {form.found} → {form.known}, {how} in {one.seconds:,.1f} s{steps}"
