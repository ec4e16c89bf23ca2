"""The doctor's look at what goes into a cluster's store: a node's spool, and a folder that is moved."""

from collections.abc import Iterator
from contextlib import closing

from lendsignal.cli import giving
from lendsignal.cli.findings import Finding, act, look, ok, span
from lendsignal.config import Config
from lendsignal.log.postgres import database_of
from lendsignal.log.spool import FULL, Spooled
from lendsignal.role.cluster import store_of
from lendsignal.role.spooling import MEGABYTE, TOLD_SHARE, waiting_in

LONG_SECONDS = 60.0
"""A store that fails over is back before."""


def spool(config: Config) -> Iterator[Finding]:
    """What this node's door has taken and the store has not yet."""
    limit = store_of(config).spool_megabytes * MEGABYTE
    events, told = waiting_in(config.data)
    if events.oldest_us is None and told.oldest_us is None:
        yield ok("spool", "nothing waits for the store")
    yield from _waiting(config, events, "events", limit)
    yield from _waiting(config, told, "messages of MMPs", limit // TOLD_SHARE)


def _waiting(config: Config, found: Spooled, what: str, limit: int) -> Iterator[Finding]:
    if found.oldest_us is None:
        return
    waited = max(0.0, (giving.clock_of(config).now_us() - found.oldest_us) / 1e6)
    said = (
        f"{found.rows:,} {what} wait for the store, {found.bytes / 1e6:,.1f} MB, the first for {span(waited)}"
    )
    if found.bytes > FULL * limit:
        yield act("spool", f"{said}: the door soon takes no more", "see to the store; store.spool_megabytes")
    elif waited > LONG_SECONDS:
        yield act("spool", said, "see to the store, and keep this node's `ingest` running: it drains them")
    else:
        yield look("spool", said)


def moving(config: Config) -> Iterator[Finding]:
    """Whether a data folder is being taken in: until it is, nothing is decided or sent."""
    with closing(database_of(store_of(config))) as database:
        if database.row("select to_regclass('moving')::oid") == (None,):
            return
        found = database.row("select done_at from moving")
    if found is not None and found[0] is None:
        said = "a data folder is half moved here, and until it is whole nothing is decided or sent"
        yield act(
            "moving", said, "run `lendsignal migrate-store` to its end: docs/how-to/move-to-a-cluster.md"
        )
    elif found is not None:
        yield ok("moving", f"a data folder was taken in on {found[0]:%Y-%m-%d}")
