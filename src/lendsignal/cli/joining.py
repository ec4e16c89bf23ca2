"""How a data folder is taken into the store of a cluster, once and for all."""

from contextlib import closing
from datetime import UTC
from pathlib import Path

import click
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lendsignal import backup as copies
from lendsignal import config as configuration
from lendsignal.cli.moving import progress
from lendsignal.cli.words import as_json, configured, print_json
from lendsignal.clock import SystemClock, clock_at, from_us
from lendsignal.config import Config
from lendsignal.decide import Decider
from lendsignal.errors import LogError
from lendsignal.log import DataFolder, open_deliveries, open_log, open_orders, synced
from lendsignal.log.store import StoreSettings
from lendsignal.model import Secret

STAYS = {
    "people": "who signs in to the console",
    "audiences": "lists and what platforms have of them",
    "feeds": "what attribution feeds told",
    "pulls": "places of pulls",
    "relay": "what phones are to fetch",
    "proposals": "advice that waits for a person",
    "alerts": "alerts and silences",
}
"""Files whose content does not go to a cluster."""


class Joined(Struct, frozen=True, kw_only=True):
    """What was, or would be, taken along, by table; `stays` are the files that stay behind."""

    dry_run: bool
    is_new: bool
    events: int
    slots: int
    schema: str
    rows: dict[str, int]
    digests: dict[str, str]
    stays: list[str]


@click.command("migrate-store")
@click.option(
    "--to",
    "variable",
    metavar="VARIABLE",
    help="The environment variable with the address of the store; without it, [store] of the configuration.",
)
@click.option("--schema", help="The schema of its tables; without it, that of [store].")
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path, file_okay=False),
    help="The data folder; without it, that of the configuration.",
)
@click.option("--dry-run", is_flag=True, help="Count what would be taken along, and change nothing.")
@configured
@as_json
def migrate_store(
    variable: str | None,
    schema: str | None,
    source: Path | None,
    dry_run: bool,
    config_path: Path,
    json_: bool,
) -> None:
    """Take a data folder into the store of a cluster, which goes on where the folder ended.

    The service over the folder must be stopped, and the store prepared. States, events of the days that are
    kept, open and ended deliveries, rules, keys and who was erased go along, and every id of a conversion
    stays. At the end both sides are read again and compared. After a kill the same command goes on.

    Example: lendsignal migrate-store --to STORE_URL --dry-run
    """
    config = configuration.load(config_path)
    store = _store(config, variable, schema)
    path = source or config.data
    if not path.is_dir():
        raise LogError(f"there is no data folder at {path}")
    folder = DataFolder(path)
    with progress(quiet=json_, unit="rows") as tell:
        # Loaded here: nobody else at the command line needs the store's client.
        from lendsignal.log.postgres import database_of, moving
        from lendsignal.role.work import days_kept

        keep = days_kept(config, clock_at(config.replay_clock))

        if dry_run:
            today = from_us(SystemClock().now_us()).astimezone(UTC).date()
            found = moving.looked_at(folder, store.slots, keep, today, tell)
        else:
            with copies.in_nobodys_use(folder):
                if not folder.moved.exists():
                    _settle(config, folder)
                with closing(database_of(store)) as database:
                    found = moving.move(database, folder, keep, tell)
                _mark(folder, store.schema)
    _show(_joined(folder, found, store, dry_run=dry_run), folder, json_=json_)


def _store(config: Config, variable: str | None, schema: str | None) -> StoreSettings:
    store = config.store
    if variable is not None:
        url = Secret(env=variable)
        store = StoreSettings(url=url) if store is None else replace(store, url=url)
    if store is None:
        raise click.UsageError("say where to: --to VARIABLE, or a [store] in the configuration")
    if store.kafka is not None:
        raise LogError(
            "a data folder moves to a store whose log is PostgreSQL, and [store.kafka] says another"
        )
    return store if schema is None else replace(store, schema=schema)


def _settle(config: Config, folder: DataFolder) -> None:
    """Decides what waits; raises `LogError` where a person's order or an erasure is not through."""
    with (
        closing(open_log(folder.log)) as log,
        closing(open_deliveries(folder.deliveries)) as deliveries,
        closing(open_orders(folder.orders)) as orders,
    ):
        if deliveries.order() < orders.last():
            waiting = orders.last() - deliveries.order()
            raise LogError(
                f"{waiting} orders of people wait for the sender: start the service until they are"
                " carried out"
            )
        if log.erasing.oldest() is not None:
            raise LogError("an erasure is under way: start the service until it is through")
        policy = log.policy()
        if log.end() > log.position():
            source = log.policy_source(policy) if policy is not None else None
            decider = Decider(log, source or config.policy, clock_at(config.replay_clock), lambda: None)
            while decider.turn():
                pass


def _mark(folder: DataFolder, schema: str) -> None:
    """From now on no service starts over the folder. Written aside first: a half mark says nothing."""
    if folder.moved.exists():
        return
    aside = folder.moved.with_suffix(".part")
    moment = from_us(SystemClock().now_us())
    aside.write_bytes(msgspec.json.encode({"moved_at": moment, "schema": schema}))
    synced(aside)
    aside.replace(folder.moved)
    synced(folder.path)


def _joined(folder: DataFolder, found: object, store: StoreSettings, *, dry_run: bool) -> Joined:
    from lendsignal.log.postgres.moving import Moved

    assert isinstance(found, Moved)
    return Joined(
        dry_run=dry_run,
        is_new=found.is_new,
        events=found.last_event,
        slots=found.slots,
        schema=store.schema,
        rows={name: seen.rows for name, seen in found.tables.items()},
        digests={name: seen.digest for name, seen in found.tables.items()},
        stays=[name for name in STAYS if (folder.path / f"{name}.sqlite").exists()],
    )


def _show(joined: Joined, folder: DataFolder, *, json_: bool) -> None:
    if json_:
        print_json(joined)
        return
    if not joined.is_new:
        click.echo(f"{folder.path} is in the store already: nothing was done")
        return
    for name, n in joined.rows.items():
        if n:
            click.echo(f"{name:<16} {n:>14,}")
    if joined.stays:
        click.echo("stays in the folder: " + "; ".join(f"{name} ({STAYS[name]})" for name in joined.stays))
    if joined.dry_run:
        click.echo(f"this would go into the schema {joined.schema}; nothing was changed")
    else:
        click.echo(
            f"all of it is in the schema {joined.schema}, in {joined.slots} slots, and both sides are equal;"
            " no service starts over the folder any more"
        )
