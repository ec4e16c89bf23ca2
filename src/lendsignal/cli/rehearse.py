"""What `plan` does: the last days through a changed configuration, and what would be sent differently."""

import gc
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import click
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from lendsignal import config as configuration
from lendsignal.cli.words import as_json, configured, print_json, progress_bar, with_overrides
from lendsignal.clock import from_us, to_us
from lendsignal.config import Config
from lendsignal.decide.difference import Change, Line, Picture, Rule, Volume, differences, volumes
from lendsignal.decide.rehearsal import OURS, Rehearsal
from lendsignal.derive import CutTable
from lendsignal.errors import DataError, NotYet
from lendsignal.log import DataFolder, Fact, Log, open_feeds, open_log
from lendsignal.model import INSTALL_SCOPED, App, id_of
from lendsignal.plan import Policy, PolicySource, compile_policy, with_cuts
from lendsignal.resolve import Binding
from lendsignal.value import Valuer

NOT_ATTRIBUTED = "(not attributed)"

READ_AT_ONCE = 5_000

ALONE = 50_000
"""Events up to which a second process would not be worth its start."""

DAY_US = 86_400_000_000
CHANGED = 3
"""What the command ends with where something changes; 0: nothing does."""


class Plan(Struct, frozen=True, kw_only=True):
    """What a changed configuration would have sent otherwise. `since` and `until` bound the events' times."""

    since: str
    until: str
    events: int
    undecidable: int
    deliveries_before: int
    deliveries_after: int
    unchanged: int
    changes: Sequence[Line]
    weekly: Sequence[Volume]


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
    before_source = _in_force(log) if against is None else configuration.load(against).policy
    until_us = _youngest(log)
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
    changes = differences(before.picture, after.picture)
    was, now = before.picture.would, after.picture.would
    return Plan(
        since=_moment(since_us),
        until=_moment(until_us),
        events=log.end(),
        undecidable=max(before.failed, after.failed),
        deliveries_before=len(was),
        deliveries_after=len(now),
        unchanged=sum(1 for key, one in was.items() if now.get(key) == one),
        changes=changes,
        weekly=volumes(before.picture, after.picture, days),
    )


class Side(Struct, frozen=True):
    """One set of rules, and the past that is decided by it."""

    data: Path
    source: PolicySource
    apps: Mapping[str, App]
    since_us: int
    rule: Rule
    live: bool


class Rehearsed(Struct, frozen=True):
    """What came of one side; `failed` events could not be decided."""

    picture: Picture
    failed: int


def rehearsed(side: Side, tell: Callable[[int], None] = lambda done: None) -> Rehearsed:
    """Decides the whole log by one set of rules; `tell` is told how many events are done."""
    gc.set_threshold(200_000, 50, 100)  # states are trees without cycles: the collector would only walk them
    log = open_log(DataFolder(side.data).log, read_only=True)

    rules = _Rules(log, side.source)
    rehearsal = Rehearsal(
        compile_policy(side.source), live=side.live, with_cuts=rules.cut_by, with_value=rules.valued_by
    )
    told = _campaigns(DataFolder(side.data))
    picture = Picture(side.apps, since_us=side.since_us, rule=side.rule, campaign_of=told)
    for facts in _facts(log):
        for fact in facts:
            for number, record in rehearsal.tell(fact):
                picture.add(number, record)
        tell(facts[-1].seq)
    log.close()
    return Rehearsed(picture.closed(), rehearsal.failed)


class _Rules:
    """A policy with the cuts and the value model that were in force last, as the log tells of them."""

    def __init__(self, log: Log, source: PolicySource) -> None:
        self._log = log
        self._source = source
        self._cuts: CutTable | None = None
        self._valuer: Valuer | None = None

    def cut_by(self, version: str) -> Policy:
        self._cuts = self._log.cut_table(version)
        return self._policy()

    def valued_by(self, version: str) -> Policy:
        promotion = self._log.promotion(version)
        self._valuer = None if promotion is None else Valuer(promotion)
        return self._policy()

    def _policy(self) -> Policy:
        return compile_policy(with_cuts(self._source, self._cuts), self._valuer)


def _campaigns(folder: DataFolder) -> Callable[[Binding], str] | None:
    """What names the campaign that an installation came from, as feeds say last; `None` without any feed."""
    try:
        feeds = open_feeds(folder.feeds, read_only=True)
    except NotYet:
        return None
    known = {(one.app, one.id): one.ad.campaign or one.ad.channel for one in feeds.attributions()}
    feeds.close()

    def of(binding: Binding) -> str:
        app, device = binding.snapshot.app, binding.snapshot.device
        found = (known.get((app, word)) for kind in INSTALL_SCOPED if (word := id_of(device, kind)))
        return next(filter(None, found), NOT_ATTRIBUTED)

    return of


def _in_force(log: Log) -> PolicySource:
    version = log.policy()
    source = None if version is None else log.policy_source(version)
    if source is None:
        raise DataError("nothing was decided in this data folder yet: compare with another file by --against")
    return source


def _facts(log: Log) -> Iterator[Sequence[Fact]]:
    after = 0
    while facts := log.read(after, READ_AT_ONCE):
        yield facts
        after = facts[-1].seq


def _youngest(log: Log) -> int:
    """When the last of the lender's events occurred, as far as the last thousand tell."""
    last = log.read(max(0, log.end() - 1_000), 1_000)
    events = (fact.event for fact in last if not fact.event.type.startswith(OURS))
    return max((to_us(event.occurred_at) for event in events), default=0)


def _moment(us: int) -> str:
    return from_us(us).strftime("%Y-%m-%dT%H:%M:%SZ")


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
