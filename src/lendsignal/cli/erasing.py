"""What `erase` does: a person leaves every place that knows of them, and there is a receipt."""

import sys
import time
from contextlib import suppress
from pathlib import Path

import click

from lendsignal import config as configuration
from lendsignal.cli.giving import clock_of, who
from lendsignal.cli.words import as_json, configured, print_json
from lendsignal.config import Config
from lendsignal.errors import FolderInUse, NotYet
from lendsignal.log import DataFolder

PATIENCE_SECONDS = 60.0
"""How long a person waits for a step that waits for somebody else; the running service goes on."""

LOOK_SECONDS = 0.2
"""How often it is looked whether the sender, a process of its own, has taken back what waited."""


@click.command()
@click.argument("user", required=False)
@click.option("--brand", help="Whose user it is, where the lender has several brands.")
@click.option("--person", help="Instead of one user: every user of this person, by `person_id`.")
@click.option(
    "--spool",
    "spools",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file of the Python client on this machine that may hold events of theirs; may be repeated.",
)
@click.option("--dry-run", is_flag=True, help="Only count.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--allow-again", is_flag=True, help="Take what they do from now on, as a new user's.")
@click.option("--scrub", is_flag=True, help="Write the databases anew; only while no service runs.")
@click.option("--receipt", help="Print this receipt, and do nothing.")
@click.option("--list", "list_", is_flag=True, help="Print every receipt, the youngest first.")
@click.option(
    "--export",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write every erasure into this file, to be kept apart from copies; `restore --erasures` reads it.",
)
@configured
@as_json
def erase(
    user: str | None,
    brand: str | None,
    person: str | None,
    spools: tuple[Path, ...],
    dry_run: bool,
    yes: bool,
    allow_again: bool,
    scrub: bool,
    receipt: str | None,
    list_: bool,
    export: Path | None,
    config_path: Path,
    json_: bool,
) -> None:
    """Erase a user, and keep the user out from then on. Counts first, then asks.

    USER is a `user_id`, or `brand:user_id`. What cannot be done at once, such as what a platform says later,
    is carried on by the running service, or by the same command once more; `--receipt` tells how far it is.

    Example: lendsignal erase acme:u-88231 --dry-run
    """
    from lendsignal.erase import asking  # here: few verbs need it
    from lendsignal.erase.receipt import receipt_of

    config = configuration.load(config_path)
    if config.store is not None and (spools or scrub or export is not None):
        raise click.UsageError("--spool, --scrub and --export are of a data folder: this is a cluster's node")
    if list_ or receipt is not None:
        _shown(config, receipt, json_=json_)
        return
    if scrub:
        from lendsignal.erase.places import scrubbed

        n = scrubbed(DataFolder(config.data))
        print_json({"bytes": n}) if json_ else click.echo(f"{n / 1e6:,.1f} MB of databases are written anew")
        return
    if export is not None:
        _exported(config, export, json_=json_)
        return
    about = asking.subject_of(config, user, brand=brand, person=person, spools=spools)
    clock = clock_of(config)
    if allow_again:
        n = asking.allow_again(config, about, clock)
        print_json({"allowed_again": n}) if json_ else click.echo(f"{n} may come in again, from now on")
        return
    if json_ and not dry_run and not yes:
        raise click.UsageError("--json cannot ask: add --yes, or --dry-run")
    if config.store is not None:
        from lendsignal.cli import erasing_in_store as in_store  # with the store's client

        in_store.erase(config, about, who(), dry_run=dry_run, yes=yes, json_=json_)
        return
    if not json_ or dry_run:
        _count(config, about, json_=json_)
    if dry_run:
        return
    if not yes and not click.confirm("Erase for good?", err=True):
        click.echo("nothing was changed", err=True)
        sys.exit(1)
    job = asking.ask(config, about, who(), clock)
    _carried_on(config, job.receipt, quiet=json_)
    found = receipt_of(config, job.receipt)
    print_json(found) if json_ else click.echo(found.told())


def _exported(config: Config, to: Path, *, json_: bool) -> None:
    from lendsignal.erase.again import nameless, remembered, written

    found = remembered(config)
    n = 0 if found is None else len(found.kept_out.rows)
    if found is not None:
        written(to, nameless(found))
    print_json({"kept_out": n}) if json_ else click.echo(
        f"{n:,} who are kept out, by hash, are in {to}" if n else "nobody was ever erased: nothing is written"
    )


def _shown(config: Config, receipt: str | None, *, json_: bool) -> None:
    from lendsignal.erase.receipt import receipt_of, receipts

    found = [receipt_of(config, receipt)] if receipt is not None else receipts(config)
    if json_:
        print_json(found[0] if receipt is not None else found)
        return
    click.echo("\n\n".join(one.told() for one in found) or "nobody was ever erased")


def _count(config: Config, about: object, *, json_: bool) -> None:
    from lendsignal.erase.asking import Counts, counted
    from lendsignal.log.erasures import About

    assert isinstance(about, About)
    try:
        found = counted(config, about)
    except NotYet:
        found = Counts(users=len(about.users), events=0, installations=0, refused=0, apps=())
    if json_:
        print_json(found)
        return
    click.echo(f"{found.users:>10,}  users")
    click.echo(f"{found.events:>10,}  events in the log")
    click.echo(f"{found.installations:>10,}  logins of installations ({', '.join(found.apps) or 'no app'})")
    click.echo(f"{found.refused:>10,}  refused events")


def _carried_on(config: Config, receipt: str, *, quiet: bool) -> None:
    """Does what can be done here, and waits a while for the rest."""
    from lendsignal.erase.job import carried_on
    from lendsignal.erase.receipt import receipt_of

    folder, end = DataFolder(config.data), time.monotonic() + PATIENCE_SECONDS
    while True:
        with suppress(FolderInUse):  # the service is at it
            carried_on(
                config,
                clock_of(config),
                receipt=receipt,
                told=lambda step: None if quiet else click.echo(f"… {step}", err=True),
            )
        ringer = folder.ringer("send")
        ringer.ring()
        ringer.close()
        found = receipt_of(config, receipt)
        waiting = [one for one in found.places if one.state in ("open", "waits")]
        if not waiting or not folder.is_running("send") or time.monotonic() >= end:
            return
        time.sleep(LOOK_SECONDS)
