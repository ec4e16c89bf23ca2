"""API keys that were made at the command line, when any key ends, and when each was last used; in a file of
its own, so that a key is good or ended without a restart.

Of a key only its SHA-256 is kept.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import apsw
from msgspec import Struct

from lendsignal.log.folder import DataFolder
from lendsignal.log.sqlite import TellingGuard, connect, rows, transaction
from lendsignal.log.store import StoreSettings

SCHEMA = """
create table if not exists api_key (
    sha256 text primary key,
    source text not null,
    made_us integer not null,
    expires_us integer,                 -- null: never
    scopes text                         -- words with blanks between; null: all of the source's
) without rowid;
create table if not exists key_end (    -- an end that was set later, also of a key in the configuration
    sha256 text primary key,
    at_us integer not null
) without rowid;
create table if not exists key_use (
    sha256 text primary key,
    last_us integer not null,
    requests integer not null
) without rowid;
"""

ID_LENGTH = 12
"""Digits of its SHA-256 by which people speak of a key: enough to tell any two apart, no help to guess it."""


class ApiKey(Struct, frozen=True, kw_only=True):
    """One key that was made at the command line. Moments are microseconds since 1970, UTC; `None`: never.

    `scopes`: what it is good for; `None`: everything that its source's keys are.
    """

    sha256: str
    source: str
    made_us: int
    expires_us: int | None = None
    scopes: tuple[str, ...] | None = None


def key_of(sha256: str, source: str, made_us: int, expires_us: int | None, scopes: str | None) -> ApiKey:
    """A key as every engine keeps it: its scopes as words in one text."""
    return ApiKey(
        sha256=sha256,
        source=source,
        made_us=made_us,
        expires_us=expires_us,
        scopes=None if scopes is None else tuple(scopes.split()),
    )


class KeyUse(Struct, frozen=True):
    """When a key was last used, in microseconds since 1970, and in how many requests so far."""

    last_us: int
    requests: int


class KeyStore(Protocol):
    """What doors and people ask of wherever keys are kept."""

    def add(self, key: ApiKey) -> None: ...

    def end(self, sha256: str, at_us: int) -> None: ...

    def all(self) -> list[ApiKey]: ...

    def ends(self) -> dict[str, int]: ...

    def note(self, used: Mapping[str, KeyUse]) -> None: ...

    def uses(self) -> dict[str, KeyUse]: ...

    def version(self) -> int: ...

    def close(self) -> None: ...


class Keys:
    """The file of keys. The command line writes it and the door reads it; the door alone notes their use.

    Every call raises `LogError` where the disk does not take it.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._db = connection
        self._lock = TellingGuard(connection)

    def add(self, key: ApiKey) -> None:
        """Makes a key good."""
        scopes = None if key.scopes is None else " ".join(key.scopes)
        with self._lock, transaction(self._db):
            self._db.execute(
                "insert into api_key values (?, ?, ?, ?, ?)",
                (key.sha256, key.source, key.made_us, key.expires_us, scopes),
            )

    def end(self, sha256: str, at_us: int) -> None:
        """Has a key end at that moment, or earlier where an earlier end is set."""
        with self._lock, transaction(self._db):
            self._db.execute(
                "insert into key_end values (?, ?)"
                " on conflict do update set at_us = min(at_us, excluded.at_us)",
                (sha256, at_us),
            )

    def all(self) -> list[ApiKey]:
        """Every key that was made, oldest first, ended ones included."""
        query = "select sha256, source, made_us, expires_us, scopes from api_key order by made_us, sha256"
        with self._lock:
            found = rows(self._db, query)
        return [key_of(*one) for one in found]

    def ends(self) -> dict[str, int]:
        """The ends that were set later, by the key's SHA-256."""
        with self._lock:
            return dict(rows(self._db, "select sha256, at_us from key_end"))

    def note(self, used: Mapping[str, KeyUse]) -> None:
        """Adds what came in since."""
        with self._lock, transaction(self._db):
            self._db.executemany(
                "insert into key_use values (?, ?, ?) on conflict do update set"
                " last_us = max(last_us, excluded.last_us), requests = requests + excluded.requests",
                [(digest, use.last_us, use.requests) for digest, use in used.items()],
            )

    def uses(self) -> dict[str, KeyUse]:
        """How each key was used, by its SHA-256."""
        with self._lock:
            found = rows(self._db, "select sha256, last_us, requests from key_use")
        return {digest: KeyUse(last, n) for digest, last, n in found}

    def version(self) -> int:
        """A number that changes when another connection has written."""
        with self._lock:
            ((number,),) = rows(self._db, "pragma data_version")
        return int(number)

    @property
    def path(self) -> str:
        """Where it is kept."""
        return self._db.filename

    def close(self) -> None:
        self._db.close()


def open_keys(path: Path) -> Keys:
    """The keys kept in a file, which is made where it is missing. Raises `LogError` where it cannot be."""
    return Keys(connect(path, SCHEMA))


def keys_of(folder: DataFolder, store: StoreSettings | None) -> KeyStore:
    """Where an install has its keys: in a file, or in the store that its nodes share. Raises `LogError`."""
    if store is None:
        return open_keys(folder.keys)
    from lendsignal.log.postgres.connection import database_of
    from lendsignal.log.postgres.keys import KeyRows

    return KeyRows(database_of(store))
