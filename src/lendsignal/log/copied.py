"""A data folder that is a reading copy of a cluster's store: what it is a copy of, how old, who leads.

The role `desk` alone writes such a folder (`log.copied_log`, `log.copied_deliveries`). Whoever decides or
sends over a folder of its own leaves it alone.
"""

import os
import secrets
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

import apsw
import msgspec
from msgspec import Struct

from lendsignal.errors import LogError
from lendsignal.log.deliveries import DELIVERIES_PER_RECORD
from lendsignal.log.folder import DataFolder
from lendsignal.log.sqlite import row
from lendsignal.plan import event_of, record_id

SCHEMA = """
create table if not exists copied (     -- which event of the store each one here is
    seq integer primary key,
    store integer not null              -- its number there, which is that of its records too
);
create index if not exists copied_store on copied (store);
create table if not exists copied_slot (    -- how far each slot is copied
    slot integer primary key,
    xid text not null,                  -- the last event: its transaction and row, and its day in the store
    id integer not null,
    day text not null,
    place integer not null,             -- how many events of the slot are here or went before
    record integer not null             -- the last event of the slot that has records, by its number there
);
create table if not exists copied_stale (   -- people whose states are to be brought
    key blob primary key                -- UTF-8
) without rowid;
create table if not exists copied_note (name text primary key, body blob not null) without rowid;
"""
"""Beside the tables of a log, in its own file."""

STORE = "store"
"""The note that says which store a log is a copy of."""


class Lead(Struct, frozen=True, kw_only=True):
    """The lease of what one desk does for all, as the role `desk` of this folder has it.

    `until_us`: until then nobody else can have it, in microseconds since 1970 by this machine's clock.
    """

    holder: str
    epoch: int
    until_us: int


class CopyStanding(Struct, frozen=True, kw_only=True):
    """How a copy stands. `whole_us`: the moment up to which it was all of the store, in microseconds since
    1970; 0: it never was yet. `behind`: events that were decided there and not here at the last look.
    `wrong`: what keeps it from going on, in words; empty: nothing."""

    whole_us: int
    behind: int
    wrong: str = ""


Told = TypeVar("Told", Lead, CopyStanding)


def lead(folder: DataFolder, now_us: int) -> Lead | None:
    """The lease, where this folder's desk has it by now; `None`: another's, or nobody's yet."""
    found = _read(folder.desk_lead, Lead)
    return None if found is None or now_us >= found.until_us else found


def tell_lead(folder: DataFolder, found: Lead | None) -> None:
    """Says in the folder that its desk has the lease, or has it no more."""
    _tell(folder.desk_lead, found)


def copy_standing(folder: DataFolder) -> CopyStanding | None:
    """How the folder's copy stood at the last turn of its desk; `None`: there was none."""
    return _read(folder.desk_standing, CopyStanding)


def tell_standing(folder: DataFolder, found: CopyStanding) -> None:
    """Says in the folder how its copy stands."""
    _tell(folder.desk_standing, found)


def desk_name(folder: DataFolder) -> str:
    """What this desk is called: drawn once, and kept beside its files, so that no backup carries it along.

    By it its archive lies apart from those of other desks, and an erasure knows who is through.
    """
    path = folder.path / "desk.name"
    try:
        return path.read_text()
    except FileNotFoundError:
        fresh = path.with_name(f"desk.name.{os.getpid()}")
        fresh.write_text(f"desk-{secrets.token_hex(4)}")
        with suppress(FileExistsError):  # another process of this node was first
            os.link(fresh, path)
        fresh.unlink()
        return path.read_text()


def copy_of(log: Path) -> str | None:
    """The store that a log is a copy of, by its random word; `None`: a plain install's, or not there."""
    if not log.exists():
        return None
    return _asked(log, _store_of)


def store_record(log: Path, record: int) -> int | None:
    """The number that a record of a copy has in the store; `None`: the copy does not have its event."""
    sequence, place = event_of(record)
    found = _asked(log, lambda db: row(db, "select store from copied where seq = ?", (sequence,)))
    return None if found is None else record_id(found[0], place)


def store_delivery(log: Path, delivery: int) -> int | None:
    """The number that a delivery of a copy has in the store; `None` as for its record."""
    record, entry = divmod(delivery, DELIVERIES_PER_RECORD)
    found = store_record(log, record)
    return None if found is None else found * DELIVERIES_PER_RECORD + entry


def folder_delivery(log: Path, delivery: int) -> int | None:
    """The number that a delivery of the store has in the copy; `None`: the copy does not have its event."""
    record, entry = divmod(delivery, DELIVERIES_PER_RECORD)
    sequence, place = event_of(record)
    found = _asked(log, lambda db: row(db, "select seq from copied where store = ?", (sequence,)))
    return None if found is None else record_id(found[0], place) * DELIVERIES_PER_RECORD + entry


Found = TypeVar("Found")


def _asked(log: Path, ask: Callable[[apsw.Connection], Found]) -> Found:
    try:
        with closing(apsw.Connection(str(log), flags=apsw.SQLITE_OPEN_READONLY)) as db:
            db.set_busy_timeout(30_000)
            return ask(db)
    except apsw.Error as error:
        raise LogError(f"{log.name} cannot be read: {error}") from error


def _store_of(db: apsw.Connection) -> str | None:
    if row(db, "select 1 from sqlite_master where name = 'copied_note'") is None:
        return None
    found = row(db, "select body from copied_note where name = ?", (STORE,))
    return None if found is None else bytes(found[0]).decode()


def _read(path: Path, kind: type[Told]) -> Told | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError):
        return None


def _tell(path: Path, found: Struct | None) -> None:
    if found is None:
        path.unlink(missing_ok=True)
        return
    fresh = path.with_name(path.name + ".new")
    with suppress(OSError):  # for others to know; the copy goes on
        fresh.write_bytes(msgspec.json.encode(found))
        fresh.replace(path)
