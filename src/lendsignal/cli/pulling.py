"""Verbs of what we fetch ourselves: look at a pull, read it once, print the SQL of an outbox."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import click
from msgspec.structs import replace

from lendsignal import config as configuration
from lendsignal.cli import bring
from lendsignal.cli.giving import clock_of
from lendsignal.cli.words import as_json, configured, print_json
from lendsignal.config import Config
from lendsignal.errors import InputError, NotYet
from lendsignal.log import DataFolder, Marks, PullState, open_log, open_pulls
from lendsignal.role.leading import marks_of
from lendsignal.source import IntoTheLog, Kit, Puller, read_event, read_json
from lendsignal.source.pull import Batch, Hand, Handed
from lendsignal.source.pulled import as_sent
from lendsignal.source.sql import DIALECTS, outbox_sql

SHOWN = 10
"""Rows that a dry run shows by default."""


@click.command()
@click.argument("name")
@click.option("--once", is_flag=True, help="Read until nothing is left, without the service, and end.")
@click.option("--dry-run", is_flag=True, help="Show the first rows and the events they become; keep nothing.")
@click.option("--rows", default=SHOWN, show_default=True, help="Rows that a dry run shows.")
@configured
@as_json
def pull(name: str, once: bool, dry_run: bool, rows: int, config_path: Path, json_: bool) -> None:
    """Read one [pull.NAME] here and now: to look at it, or as a job of your own.

    A running service reads it by itself. Ends with 1 where what it reads from cannot be read.
    """
    if not (once or dry_run):
        raise click.UsageError("say --dry-run to look, or --once to read without the service")
    config = configuration.load(config_path)
    if name not in config.pulls:
        raise click.UsageError(f"no [pull.{name}]; there is {', '.join(config.pulls) or 'none'}")
    if dry_run:
        found = preview(config, name, rows)
        print_json(found) if json_ else click.echo(told(found))
        return
    state = read_once(config, name)
    print_json(state) if json_ else click.echo(
        f"{state.rows:,} rows read so far, {state.events:,} events, {state.refused:,} in quarantine"
    )


@click.command()
@click.option("--dialect", type=click.Choice(sorted(DIALECTS)), required=True, help="Whose SQL.")
@click.option("--table", default="lendsignal_outbox", show_default=True, help="What the table is called.")
def outbox(dialect: str, table: str) -> None:
    """Print the SQL of an outbox table, into which your own transactions insert events."""
    click.echo(outbox_sql(dialect, table))


def preview(config: Config, name: str, rows: int) -> dict[str, Any]:
    """What the next reading would find: its events, or why the door would refuse them."""
    with _pulls_to_look_at(config) as pulls:
        puller = _puller(config, name, pulls, _nowhere, rows)
        try:
            batch = puller.preview()
        finally:
            puller.close()
    received_at = bring.now_of(config)
    reader = bring.reader_of_config(config)
    shown: list[dict[str, Any]] = []
    for one in batch.events:
        entry: dict[str, Any] = {"where": one.where, "event": _without_people(one.event)}
        try:
            read_event(read_json(as_sent(one.event)), received_at, reader, source=name)
        except InputError as error:
            entry["refused"] = str(error)
        shown.append(entry)
    unread = [{"where": one.where, "field": one.field, "rule": one.rule} for one in batch.unread]
    return {"rows": batch.rows, "events": shown, "unread": unread, "more": batch.more}


def told(found: dict[str, Any]) -> str:
    """A dry run for people."""
    lines: list[str] = []
    for one in found["events"]:
        lines.append(f"{one['where']}")
        lines += [f"    {name:<18} {value}" for name, value in _flat(one["event"])]
        if "refused" in one:
            lines.append(f"    REFUSED            {one['refused']}")
    lines += [
        f"{one['where']}\n    UNREADABLE         {one['field']}: {one['rule']}" for one in found["unread"]
    ]
    more = "; more wait" if found["more"] else ""
    lines.append(f"{found['rows']} rows, {len(found['events'])} events, nothing was kept{more}")
    return "\n".join(lines)


def read_once(config: Config, name: str) -> PullState:
    """Reads a pull to its end, into the log, and has it decided; for where no service reads it."""
    if config.store is not None:
        return _read_once_into_the_store(config, name)
    folder = DataFolder(config.data)
    with folder.lock("pull"):
        pulls = open_pulls(folder.pulls)
        log = open_log(folder.log)
        puller = _puller(
            config, name, pulls, IntoTheLog(log, bring.reader_of_config(config, log), clock_of(config)), None
        )
        try:
            while puller.turn():
                continue
            bring.decided(config, folder, log)
        finally:
            puller.close()
            log.close()
            pulls.close()
        return puller.state


def _read_once_into_the_store(config: Config, name: str) -> PullState:
    """The same on a cluster, whose workers decide. Refused where another node reads at this moment."""
    from lendsignal.role.fetching import reading_alone  # with the store's client

    with reading_alone(config) as (marks, hand):
        puller = _puller(config, name, marks, hand, None)
        try:
            while puller.turn():
                continue
        finally:
            puller.close()
        return puller.state


def pull_states(config: Config) -> Sequence[PullState]:
    """How every configured pull stands; one that was never started is missing."""
    try:
        pulls = marks_of(config, read_only=True)
    except NotYet:
        return ()
    try:
        return [one for one in pulls.standing() if one.name in config.pulls]
    finally:
        pulls.close()


def told_pull(one: PullState) -> str:
    """How a pull stands, for people."""
    parts = [f"{one.rows:,} rows", f"{one.events:,} events"]
    if one.refused:
        parts.append(f"{one.refused:,} in quarantine")
    if one.behind_us:
        parts.append(f"{one.behind_us / 1e6:.0f} s behind")
    if one.state == "trouble":
        parts.append(f"TROUBLE {one.reason}: {one.detail}")
    return ", ".join(parts)


def _puller(config: Config, name: str, pulls: Marks, hand: Hand, rows: int | None) -> Puller:
    plan, clock = config.pulls[name], clock_of(config)
    common = plan.common
    if rows is not None:
        common = replace(common, batch=rows)
    kit = Kit(name=name, folder=config.path.parent, pulls=pulls, clock=clock)
    return Puller(name, common, partial(plan.open, kit), hand, pulls, clock)


def _nowhere(pull: str, batch: Batch) -> Handed:
    raise AssertionError("a dry run hands nothing over")


@contextmanager
def _pulls_to_look_at(config: Config) -> Iterator[Marks]:
    """Marks that may be written to, so that looking changes nothing."""
    if config.store is not None:
        from lendsignal.role.fetching import marks_to_look_at  # with the store's client

        with marks_to_look_at(config) as marks:
            yield marks
        return
    folder = DataFolder(config.data)
    with tempfile.TemporaryDirectory(prefix="lendsignal-") as place:
        copy = Path(place, "pulls.sqlite")
        if folder.pulls.exists():
            _copied(folder.pulls, copy)
        pulls = open_pulls(copy)
        try:
            yield pulls
        finally:
            pulls.close()


def _copied(path: Path, copy: Path) -> None:
    with apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY) as db:
        db.execute("vacuum into ?", (str(copy),))


def _without_people(event: dict[str, Any]) -> dict[str, Any]:
    """An event without what may not be printed: contacts and scores."""
    return {
        name: "(not shown)" if name in ("email", "phone", "score") else value for name, value in event.items()
    }


def _flat(event: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in event.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield above + name, value
