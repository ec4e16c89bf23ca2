"""What `plan` does: the last days through a changed configuration, and what would be sent differently."""

import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from lendsignal import config as configuration
from lendsignal.cli.beginning import tell_beginning
from lendsignal.cli.words import as_json, configured, print_json, progress_bar, with_overrides
from lendsignal.config import Config
from lendsignal.decide.difference import Change, Line, Rule, Volume
from lendsignal.decide.previewing import (
    DAY_US,
    Plan,
    Side,
    in_force,
    plan_of,
    rehearsed,
    youngest,
)
from lendsignal.log import DataFolder, Log, open_log

ALONE = 50_000
"""Events up to which a second process would not be worth its start."""

CHANGED = 3
"""What the command ends with where something changes; 0: nothing does."""


@click.command()
@configured
@with_overrides
@as_json
@click.option(
    "--against",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Compare with this configuration; by default with what the log is decided by now.",
)
@click.option(
    "--days", type=click.FloatRange(min=0.04), default=7.0, show_default=True, help="Days looked at."
)
@click.option(
    "--binding",
    type=click.Choice(["last_login", "first_install"]),
    default="last_login",
    show_default=True,
    help="Which installation counts afterwards; before, it is that of the last login.",
)
@click.option("--history", is_flag=True, help="Take imported past as if it had happened live.")
@click.option("--by-day", is_flag=True, help="Show each day and campaign apart.")
def plan(
    config_path: Path,
    overrides: dict[str, object],
    json_: bool,
    against: Path | None,
    days: float,
    binding: Rule,
    history: bool,
    by_day: bool,
) -> None:
    """Show what a changed configuration would have sent, before anything is sent.

    Decides the whole log anew in memory, under both sets of rules, and compares the deliveries of the last
    days. Nothing is written and nothing leaves. Ends with 0 where nothing changes, and with 3 otherwise.

    Example: lendsignal plan --config changed.toml --days 14
    """
    config = configuration.load(config_path, overrides=overrides)
    log = open_log(DataFolder(config.data).log, read_only=True)
    try:
        found = _compared(config, log, against, days, binding, history, quiet=json_)
    finally:
        log.close()
    if json_:
        print_json(found)
    else:
        _print(found, by_day=by_day)
    sys.exit(CHANGED if found.changes else 0)


def _compared(
    config: Config, log: Log, against: Path | None, days: float, rule: Rule, live: bool, *, quiet: bool
) -> Plan:
    tell_beginning(log, "who came in before counts as new under both sets of rules")
    before_source = in_force(log) if against is None else configuration.load(against).policy
    until_us = youngest(log)
    since_us = until_us - int(days * DAY_US)
    data = config.data
    present = Side(data, before_source, config.apps, since_us, "last_login", live)
    changed = Side(data, config.policy, config.apps, since_us, rule, live)
    with progress_bar(quiet=quiet) as bar, ProcessPoolExecutor(1, get_context("spawn")) as beside:
        task = bar.add_task("rehearsing", total=log.end())
        # A long log is decided under both sets of rules at once, each on a core of its own.
        apart = beside.submit(rehearsed, present) if log.end() > ALONE else None
        after = rehearsed(changed, lambda done: bar.update(task, completed=done))
        before = rehearsed(present) if apart is None else apart.result()
    return plan_of(before, after, log, since_us, until_us)


def _print(found: Plan, *, by_day: bool) -> None:
    console = Console()
    click.echo(
        f"{found.events:,} events decided anew; deliveries of events from {found.since} to {found.until}:"
        f" {found.deliveries_before:,} before, {found.deliveries_after:,} after, {found.unchanged:,} the same"
    )
    if found.undecidable:
        click.echo(f"{found.undecidable:,} events cannot be decided under one of the two")
    if not found.changes:
        click.echo("nothing changes")
    else:
        console.print(_lines(found.changes, by_day=by_day))
        console.print(_weekly(found.weekly))


def _lines(changes: Sequence[Line], *, by_day: bool) -> Table:
    heads = [
        "conversion",
        "destination",
        *(["campaign", "day"] if by_day else []),
        *(one.value for one in Change),
    ]
    shown = Table(*heads, title="what would be sent otherwise")
    counts: dict[tuple[str, ...], Counter[Change]] = {}
    for line in changes:
        key = (line.conversion, line.destination, *((line.campaign, line.day) if by_day else ()))
        counts.setdefault(key, Counter())[line.change] += line.deliveries
    for key, of in counts.items():
        shown.add_row(*key, *(f"{of[one]:,}" if of[one] else "" for one in Change))
    return shown


def _weekly(weekly: Sequence[Volume]) -> Table:
    shown = Table(
        "conversion", "destination", "a week before", "a week after", "learning wants", title="volume"
    )
    for one in weekly:
        wanted = "" if one.learning is None else f"{one.learning:,} an ad set"
        short = one.learning is not None and one.after < one.learning
        shown.add_row(
            one.conversion,
            one.destination,
            f"{one.before:,.1f}",
            f"{one.after:,.1f}{' (too few)' if short else ''}",
            wanted,
        )
    return shown
