"""Verbs of the operator: check, run, look how it is, bring in files, make keys."""

import secrets
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
import msgspec

from lendsignal import config as configuration
from lendsignal import run as running
from lendsignal.cli import bring
from lendsignal.cli.giving import standing
from lendsignal.cli.steer import told_stop
from lendsignal.cli.words import as_json, configured, print_json, progress_bar, with_overrides
from lendsignal.clock import clock_at
from lendsignal.config import config_schema
from lendsignal.destination import registry
from lendsignal.errors import ConfigError
from lendsignal.log import DataFolder
from lendsignal.settings import duration_text
from lendsignal.source import event_schema
from lendsignal.source.files import read_map


@click.command()
@configured
@with_overrides
@click.option("--roles", default=",".join(running.ROLES), show_default=True, help="Which child processes.")
def run(config_path: Path, roles: str, overrides: dict[str, Any]) -> None:
    """Run the service: one process a role, restarted when it dies, until Ctrl-C or SIGTERM."""
    wanted = tuple(role.strip() for role in roles.split(",") if role.strip())
    unknown = set(wanted) - set(running.ROLES)
    if unknown or not wanted:
        raise click.UsageError(f"--roles takes {', '.join(running.ROLES)}; found {roles!r}")
    config = configuration.load(config_path, overrides=overrides)
    for warning in config.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"data     {config.data}")
    running.run(config, wanted, tuple(f"--set={key}={value}" for key, value in overrides.items()), _announce)


def _announce(role: str, address: str) -> None:
    name, path = {"core": ("events", "/v1/events"), "web": ("pages", "/")}[role]
    click.echo(f"{name:<8} {address}{path}")


@click.command()
@configured
@as_json
def check(config_path: Path, json_: bool) -> None:
    """Check the configuration: every mistake at once, and which secrets are set."""
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
        print_json({"ok": True, "problems": [], "warnings": config.warnings, "secrets": config.secrets})
        return
    for warning in config.warnings:
        click.echo(f"warning: {warning}")
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
    now = running.status(config.data, clock_at(config.replay_clock), config.outlets)
    found = standing(config)
    sender = running.sending(DataFolder(config.data))
    if json_:
        each = [{**msgspec.structs.asdict(one), "next": one.next_words} for one in found]
        print_json({**msgspec.structs.asdict(now), "sender": sender or "runs", "destinations": each})
        return
    click.echo(f"events   {now.events} in the log, {now.decided} decided")
    for one in found:
        counts = {"waiting": one.waiting, "on the way": one.claimed, "held": one.held}
        counts |= {"for a verdict": one.pending, "dead": one.dead}
        parts = ", ".join(f"{n:,} {word}" for word, n in counts.items() if n) or "nothing waits"
        click.echo(f"{one.destination:<24} {parts}{'' if one.configured else '; NOT CONFIGURED'}")
        for stop in one.stopped:
            click.echo(f"{'':<24} PAUSED{' (everything)' if stop.everything else ''} {told_stop(stop)}")
        for words in one.next_words:
            click.echo(f"{'':<24} > {words}")
    if sender:
        click.echo(sender)
    click.echo("idle" if now.idle else "busy")


@click.command("import")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--map", "map_path", type=click.Path(path_type=Path, exists=True), help="How rows become events."
)
@click.option("--dry-run", is_flag=True, help="Count, sample and name everything odd; change nothing.")
@click.option("--send-since", metavar="TIME", help="Send conversions of events since then; by default none.")
@click.option(
    "--attribution",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="CSV of installations and where they came from.",
)
@configured
@as_json
def import_(
    files: tuple[Path, ...],
    map_path: Path | None,
    dry_run: bool,
    send_since: str | None,
    attribution: Path | None,
    config_path: Path,
    json_: bool,
) -> None:
    """Bring in files of events: CSV, JSON Lines or Parquet, also gzipped, by a map.

    History fills state and reports and is not sent, unless --send-since says so. Importing the same files
    again adds nothing; an interrupted import goes on where it stopped.
    """
    if files and map_path is None:
        raise click.UsageError("files need --map; docs/how-to/import-files.md shows how to write one")
    if not files and attribution is None:
        raise click.UsageError("nothing to import: name FILES with --map, or --attribution FILE")
    config = configuration.load(config_path)
    since = None if send_since is None else bring.moment(send_since)
    rules = None if map_path is None else read_map(map_path)
    if attribution is not None and not dry_run:
        bring.attribution(DataFolder(config.data), attribution)
    if rules is not None and dry_run:
        with progress_bar(quiet=json_, unit="bytes") as bar:
            found = bring.dry_run(config, files, rules, bar)
        print_json(found) if json_ else click.echo(bring.told(found))
    elif rules is not None:
        with progress_bar(quiet=json_, unit="bytes") as bar:
            imported = bring.files(config, files, rules, since, bar)
        print_json(imported) if json_ else click.echo(bring.summed_up(imported))


@click.group()
def keys() -> None:
    """API keys of sources."""


@keys.command("new")
@click.argument("source")
@as_json
def new_key(source: str, json_: bool) -> None:
    """Make an API key for a source. It is shown once and kept nowhere."""
    key = f"ls_{secrets.token_urlsafe(32)}"
    digest = sha256(key.encode()).hexdigest()
    if json_:
        print_json({"source": source, "key": key, "key_sha256": digest})
        return
    click.echo(f"key (give it to {source}; it is shown only now):\n  {key}")
    click.echo(f'configuration:\n  [source.{source}]\n  key_sha256 = "{digest}"')


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
            "ids": [one.value for one in module.SPEC.any_of_ids],
            "auth": type(module.SPEC.auth).__name__,
            "per_second": module.SPEC.per_second,
            "source": module.SPEC.docs,
            "date": module.SPEC.docs_read,
        }
        for kind, module in registry().items()
    ]


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
