"""What `erase` does on a cluster: people leave the store that nodes share, and stay out at every door."""

import sys

import click
from msgspec.structs import asdict

from lendsignal.cli.giving import clock_of
from lendsignal.cli.words import print_json
from lendsignal.config import Config
from lendsignal.erase import in_store
from lendsignal.erase.asking import Counts
from lendsignal.erase.receipt import receipt_of
from lendsignal.log.erasures import About
from lendsignal.log.postgres.erasing import Struck


def erase(config: Config, about: About, by: str, *, dry_run: bool, yes: bool, json_: bool) -> None:
    """Counts, asks, and takes everything of theirs out of the store. Desks and platforms follow."""
    clock = clock_of(config)
    if not json_ or dry_run:
        _told(*in_store.counted(config, about, clock), json_=json_)
    if dry_run:
        return
    if not yes and not click.confirm("Erase for good?", err=True):
        click.echo("nothing was changed", err=True)
        sys.exit(1)
    job = in_store.ask(config, about, by, clock)
    in_store.carried_on(
        config,
        clock,
        receipt=job.receipt,
        told=lambda step: None if json_ else click.echo(f"… {step}", err=True),
    )
    found = receipt_of(config, job.receipt)
    print_json(found) if json_ else click.echo(found.told())


def _told(counts: Counts, found: Struck, *, json_: bool) -> None:
    if json_:
        print_json({**asdict(counts), **asdict(found)})
        return
    click.echo(f"{counts.users:>10,}  users")
    click.echo(f"{counts.installations:>10,}  installations ({', '.join(counts.apps) or 'no app'})")
    for name, words in (
        ("events", "events in the log"),
        ("states", "states"),
        ("timers", "timers"),
        ("records", "events' records for the senders"),
        ("refused", "refused events"),
    ):
        click.echo(f"{getattr(found, name):>10,}  {words}")
