"""Verbs of the operator: check, run, look how it is, bring in files."""

import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import msgspec

from lendsignal import config as configuration
from lendsignal import journal
from lendsignal import run as running
from lendsignal.cli import ahead, bring, feeding, switching, touching
from lendsignal.cli.alerts import open_alarms
from lendsignal.cli.giving import standing
from lendsignal.cli.pulling import pull_states, told_pull
from lendsignal.cli.steer import told_stop
from lendsignal.cli.words import as_json, configured, print_json, progress_bar, with_overrides
from lendsignal.clock import clock_at, from_us
from lendsignal.config import Config, config_schema
from lendsignal.deliver import First, Standing
from lendsignal.destination import registry
from lendsignal.destination.spec import Corrections
from lendsignal.errors import ConfigError
from lendsignal.log import DataFolder
from lendsignal.role import EVERY_ROLE, NODE_ROLES, ROLES, refuse_other_roles
from lendsignal.role import standing as stands
from lendsignal.settings import duration_text
from lendsignal.source import event_schema
from lendsignal.source.files import read_map


@click.command()
@configured
@with_overrides
@click.option(
    "--role",
    "--roles",
    "roles",
    metavar="ROLE,...",
    help=f"Which child processes, of {', '.join(ROLES)}; with [store], of {', '.join(NODE_ROLES)}. All.",
)
def run(config_path: Path, roles: str | None, overrides: dict[str, Any]) -> None:
    """Run the service: one process a role, restarted when it dies, until Ctrl-C or SIGTERM.

    With [store] in the configuration it is one node of a cluster: any number of them, with any of the roles.

    SIGHUP reads the configuration again: a good one is taken up role by role without losing an event or a
    connection, a bad one is named, mistake by mistake, and the old one goes on.
    """
    wanted = None if roles is None else tuple(role.strip() for role in roles.split(",") if role.strip())
    if wanted is not None and (not wanted or set(wanted) - set(EVERY_ROLE)):
        raise click.UsageError(f"--role takes {', '.join(EVERY_ROLE)}; found {roles!r}")
    config = configuration.load(config_path, overrides=overrides)
    refuse_other_roles(config, wanted or ())
    for warning in config.warnings:
        journal.warned(warning)
    # What a switch missed stands in the folder's log, and a node has none.
    missed = switching.missed_lines(config) if config.store is None else ()
    for line in (*ahead.token_lines(config), *missed):
        if line.startswith("warning: "):
            journal.warned(line.removeprefix("warning: "))
        else:
            click.echo(line, err=True)
    click.echo(f"data     {config.data}")
    running.run(config, wanted, tuple(f"--set={key}={value}" for key, value in overrides.items()), _announce)


def _announce(role: str, address: str) -> None:
    name, path = ("pages", "/") if role == "web" else ("events", "/v1/events")
    click.echo(f"{name:<8} {address}{path}")


@click.command()
@configured
@as_json
def check(config_path: Path, json_: bool) -> None:
    """Check the configuration: every mistake at once, and which secrets are set.

    Warns of tokens that end soon and of rules that platforms have for lenders. Both stop nothing.
    """
    try:
        config = configuration.load(config_path)
    except ConfigError as error:
        if not json_:
            raise
        problems = [
            {
                "key": one.key,
                "found": one.found,
                "allowed": one.allowed,
                "origin": one.origin,
                "nearest": one.nearest,
            }
            for one in error.problems
        ]
        print_json({"ok": False, "problems": problems, "warnings": []})
        sys.exit(2)
    if json_:
        told = {"warnings": config.warnings, "secrets": config.secrets, "templates": config.templates}
        coming = {
            "tokens": ahead.tokens(config),
            "policy": ahead.policy(config),
            "switches": switching.switches(config),
        }
        print_json({"ok": True, "problems": [], **told, **coming})
        return
    for warning in config.warnings:
        click.echo(f"warning: {warning}")
    lines = (
        *ahead.token_lines(config),
        *ahead.policy_lines(ahead.policy(config)),
        *switching.switch_lines(config),
    )
    for line in lines:
        click.echo(line)
    for name, members in config.templates.items():
        click.echo(f"template {name} stands for {', '.join(members)}")
    for key in config.secrets:
        click.echo(f"secret   {key} is set")
    click.echo(
        f"ok: {len(config.apps)} apps, {len(config.outlets)} destinations, "
        f"{sum(len(route.send) for route in config.policy.routes)} routed conversions, data in {config.data}"
    )


@click.command()
@configured
@as_json
def status(config_path: Path, json_: bool) -> None:
    """How far the service is: what waits where, who stopped what, and what to type next."""
    config = configuration.load(config_path)
    if config.store is not None:
        _cluster(config, json_=json_)
        return
    now = stands.status(config.data, clock_at(config.replay_clock), config.outlets)
    found = standing(config)
    sender = stands.sending(DataFolder(config.data))
    ends = {one.destination: one for one in ahead.tokens(config)}
    if json_:
        each = [
            {
                **msgspec.structs.asdict(one),
                "next": one.next_words,
                "token_expires": ends[one.destination].expires if one.destination in ends else None,
            }
            for one in found
        ]
        print_json(
            {
                **msgspec.structs.asdict(now),
                "sender": sender or "runs",
                "destinations": each,
                "pulls": pull_states(config),
                "alarms": open_alarms(config),
            }
        )
        return
    click.echo(f"events   {now.events} in the log, {now.decided} decided")
    for pulled in pull_states(config):
        click.echo(f"pull {pulled.name:<19} {told_pull(pulled)}")
    for one in found:
        end = ends.get(one.destination)
        _destination(one, now.now_us, () if end is None or end.state == "fine" else (end.told(),))
    if sender:
        click.echo(sender)
    for alarm in open_alarms(config):
        click.echo(f"ALARM    {alarm.said}, since {from_us(alarm.since_us):%Y-%m-%d %H:%M} UTC")
        click.echo(f"{'':<24} > {alarm.do}")
    click.echo("idle" if now.idle else "busy")


def _destination(one: Standing, now_us: int, also: Sequence[str] = ()) -> None:
    """What waits for a destination and why, who stopped it, what else is to be known, and what to type."""
    counts = {"waiting": one.waiting, "on the way": one.claimed, "held": one.held}
    counts |= {"for a verdict": one.pending, "dead": one.dead}
    parts = ", ".join(f"{n:,} {word}" for word, n in counts.items() if n) or "nothing waits"
    click.echo(f"{one.destination:<24} {parts}{'' if one.configured else '; NOT CONFIGURED'}")
    if one.first is not None and one.first.tries and not one.stopped:
        click.echo(f"{'':<24} {_told_first(one.first, now_us)}")
    for stop in one.stopped:
        click.echo(f"{'':<24} PAUSED{' (everything)' if stop.everything else ''} {told_stop(stop)}")
    for line in also:
        click.echo(f"{'':<24} {line}")
    for words in one.next_words:
        click.echo(f"{'':<24} > {words}")


def _told_first(first: First, now_us: int) -> str:
    """Why what was planned first still waits, and for how long."""
    times = "once" if first.tries == 1 else f"{first.tries} times"
    left = max(0, (first.due_us - now_us + 999_999) // 1_000_000)
    when = f"again in {duration_text(timedelta(seconds=left))}" if left else "again now"
    return f"the oldest was tried {times}: {first.reason}; {when}"


def _cluster(config: Config, *, json_: bool) -> None:
    """The same of a whole cluster."""
    from lendsignal.cli.in_store import standing_now  # with the store's client

    now, found = standing_now(config, clock_at(config.replay_clock))
    if json_:
        each = [{**msgspec.structs.asdict(one), "next": one.next_words} for one in found]
        print_json({**msgspec.structs.asdict(now), "destinations": each})
        return
    click.echo(f"events   {now.events} in the log, {now.decided} decided")
    alive = ", ".join(f"{n} {kind}" for kind, n in sorted(now.nodes.items())) or "none"
    click.echo(f"nodes    {alive}; {now.slots} slots")
    for kind, doing in (("work", "decides"), ("send", "sends")):
        if now.unheld[kind]:
            click.echo(f"NOBODY   {doing} {now.unheld[kind]} of them: lendsignal run --role {kind}")
    for one in found:
        _destination(one, now.now_us)
    click.echo("idle" if now.idle else "busy")


class Importing(click.Group):
    """Verbs for what can be brought in; files named without one are events."""

    default = "events"

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in context.help_option_names):
            args = [self.default, *args]
        return super().parse_args(context, args)


@click.group("import", cls=Importing)
def import_() -> None:
    """Bring in files: events, attribution, cost. FILES without a verb are events."""


import_.add_command(feeding.attribution)
import_.add_command(feeding.spend)
import_.add_command(touching.touches)


@import_.command("events")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--map", "map_path", type=click.Path(path_type=Path, exists=True), help="How rows become events."
)
@click.option("--dry-run", is_flag=True, help="Count, sample and name everything odd; change nothing.")
@click.option("--send-since", metavar="TIME", help="Send conversions of events since then; by default none.")
@configured
@as_json
def import_events(
    files: tuple[Path, ...],
    map_path: Path | None,
    dry_run: bool,
    send_since: str | None,
    config_path: Path,
    json_: bool,
) -> None:
    """Bring in files of events: CSV, JSON Lines or Parquet, also gzipped, by a map.

    History fills state and reports and is not sent, unless --send-since says so. Importing the same files
    again adds nothing; an interrupted import goes on where it stopped.
    """
    if files and map_path is None:
        raise click.UsageError("files need --map; docs/how-to/import-files.md shows how to write one")
    if not files:
        raise click.UsageError("nothing to import: name FILES with --map")
    config = configuration.load(config_path)
    since = None if send_since is None else bring.moment(send_since)
    rules = None if map_path is None else read_map(map_path)
    if rules is not None and dry_run:
        with progress_bar(quiet=json_, unit="bytes") as bar:
            found = bring.dry_run(config, files, rules, bar)
        print_json(found) if json_ else click.echo(bring.told(found))
    elif rules is not None:
        with progress_bar(quiet=json_, unit="bytes") as bar:
            imported = bring.files(config, files, rules, since, bar)
        print_json(imported) if json_ else click.echo(bring.summed_up(imported))


def platform_facts() -> list[dict[str, Any]]:
    """What each destination's file says of its platform, by kind: spans as text, `None` where there is none.

    `order` is what happens to a delivery that comes after a later one of its lane, where there are lanes.
    """
    return [
        {
            "kind": kind,
            "label": module.SPEC.label,
            "batch": module.SPEC.batch,
            "batch_by": module.SPEC.batch_by,
            "window": duration_text(module.SPEC.max_age),
            "late": module.SPEC.late,
            "order": module.SPEC.out_of_order if hasattr(module, "lane") else None,
            "value": "negative allowed" if module.SPEC.negative_value else "positive",
            "dedupe": None if module.SPEC.dedupe is None else duration_text(module.SPEC.dedupe),
            "corrections": None if module.SPEC.corrections is None else _corrections(module.SPEC.corrections),
            "ids": [one.value for one in module.SPEC.any_of_ids],
            "auth": type(module.SPEC.auth).__name__,
            "per_second": module.SPEC.per_second,
            "fields": sorted(module.FIELDS),
            "source": module.SPEC.docs,
            "date": module.SPEC.docs_read,
        }
        for kind, module in registry().items()
    ]


def _corrections(allowed: Corrections) -> str:
    """What can be changed about a conversion later, and how long."""
    what = "taken back or restated" if allowed.retracts else "restated"
    return f"{what} within {duration_text(allowed.within)}"


@click.command()
@as_json
def destinations(json_: bool) -> None:
    """The platforms we can send to, with the facts of each."""
    facts = platform_facts()
    if json_:
        print_json(facts)
        return
    for fact in facts:
        click.echo(
            f"{fact['kind']:<12} {fact['label']}: batch {fact['batch']}, window {fact['window']}, "
            f"{fact['source']}"
        )


@click.command()
@click.argument("what", type=click.Choice(["config", "events"]))
def schema(what: str) -> None:
    """The JSON Schema of the configuration, or of an event."""
    found = config_schema() if what == "config" else event_schema()
    click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
