"""What `erase` does on a cluster: a user leaves the store that nodes share, and stays out at every door."""

import secrets
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

import click
from msgspec.structs import asdict

from lendsignal.cli.giving import clock_of
from lendsignal.cli.words import print_json
from lendsignal.clock import from_us
from lendsignal.config import Config
from lendsignal.errors import InputError
from lendsignal.log.postgres import database_of, slots_of
from lendsignal.log.postgres.erasing import SlotErasing, Struck
from lendsignal.role.cluster import store_of

STILL_THERE = (
    "Not by this: what platforms were told, what an archive or a topic of yours holds, and copies made"
    " before. Rows that went stand in the server's pages until it vacuums, and in its write-ahead log until"
    " that goes."
)


def erase(config: Config, user: tuple[str, str], by: str, *, dry_run: bool, yes: bool, json_: bool) -> None:
    """Counts, asks, keeps the user out, and takes everything of theirs out of the store."""
    clock = clock_of(config)
    with _erasing(config) as erasing:
        if not json_ or dry_run:
            _told(erasing.counted(*user), json_=json_)
        if dry_run:
            return
        if not yes and not click.confirm("Erase for good?", err=True):
            click.echo("nothing was changed", err=True)
            sys.exit(1)
        receipt, asked_us = f"er-{secrets.token_hex(8)}", clock.now_us()
        erasing.keep_out(*user, receipt, asked_us)
        erasing.note(receipt, asked_us, by, None, Struck())
        struck = erasing.strike(*user)
        erasing.note(receipt, asked_us, by, clock.now_us(), struck)
    if json_:
        print_json({"receipt": receipt, **asdict(struck)})
        return
    click.echo(f"erasure {receipt}: done, and nothing of this user comes in any more")
    _told(struck, json_=False)
    click.echo(STILL_THERE)


def allow_again(config: Config, user: tuple[str, str], *, json_: bool) -> None:
    """What the user does from now on is taken again, as a new user's."""
    with _erasing(config) as erasing:
        n = int(erasing.allow_again(*user, clock_of(config).now_us()))
    print_json({"allowed_again": n}) if json_ else click.echo(f"{n} may come in again, from now on")


def shown(config: Config, receipt: str | None, *, json_: bool) -> None:
    """One erasure, or every one, the youngest first. Raises `InputError` where that receipt is none."""
    with _erasing(config) as erasing:
        found = [
            {"receipt": name, "asked": from_us(asked), "by": by, "ended": ended and from_us(ended)}
            | asdict(struck)
            for name, asked, by, ended, struck in erasing.noted()
            if receipt in (None, name)
        ]
    if receipt is not None and not found:
        raise InputError("receipt", "there is none of that number")
    if json_:
        print_json(found[0] if receipt is not None else found)
        return
    for one in found:
        ended = "BROKEN OFF: erase the user once more" if one["ended"] is None else "done"
        click.echo(
            f"{one['receipt']}  {one['asked']:%Y-%m-%d %H:%M:%S} UTC by {one['by']}: {ended};"
            f" {one['events']:,} events, {one['records']:,} records, {one['deliveries']:,} open deliveries"
        )
    if not found:
        click.echo("nobody was ever erased")


def _told(found: Struck, *, json_: bool) -> None:
    if json_:
        print_json(asdict(found))
        return
    for name, words in (
        ("events", "events in the log"),
        ("states", "states"),
        ("timers", "timers"),
        ("records", "events' records for the senders"),
        ("deliveries", "open deliveries"),
        ("requests", "kept requests and answers"),
        ("refused", "refused events"),
    ):
        click.echo(f"{getattr(found, name):>10,}  {words}")


@contextmanager
def _erasing(config: Config) -> Iterator[SlotErasing]:
    with closing(database_of(store_of(config))) as database:
        yield SlotErasing(database, slots_of(database))
