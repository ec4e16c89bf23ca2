"""The doctor's look at what goes into a cluster's store: a node's spool, and a folder that is moved."""

from collections.abc import Iterator
from contextlib import closing

from lendsignal.cli import giving
from lendsignal.cli.findings import Finding, act, look, ok, span
from lendsignal.config import Config
from lendsignal.log.postgres import database_of
from lendsignal.log.spool import FULL, standing_of
from lendsignal.role.cluster import store_of
from lendsignal.role.spooling import FILE, MEGABYTE

LONG_SECONDS = 60.0
"""A store that fails over is back before."""


def spool(config: Config) -> Iterator[Finding]:
    """What this node's door has taken and the store has not yet."""
    found = standing_of(config.data / FILE)
    if found.oldest_us is None:
        yield ok("spool", "nothing waits for the store")
        return
    waited = max(0.0, (giving.clock_of(config).now_us() - found.oldest_us) / 1e6)
    said = (
        f"{found.rows:,} events wait for the store, {found.bytes / 1e6:,.1f} MB, the first for {span(waited)}"
    )
    if found.bytes > FULL * store_of(config).spool_megabytes * MEGABYTE:
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
