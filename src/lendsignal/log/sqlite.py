"""SQLite as we use it: write-ahead log, every commit on disk before it is said to be."""

from pathlib import Path

import apsw
import apsw.bestpractice

from lendsignal.errors import LogError

BUSY_MS = 30_000
CHECKPOINT_PAGES = 4_000
"""Pages in the write-ahead log before it is folded into the database: 16 MB, a few times a minute at speed."""


def connect(path: Path, schema: str, *, read_only: bool = False) -> apsw.Connection:
    """A connection with our pragmas; the tables are made where they are missing.

    Raises `LogError` with what to do where the file is damaged or cannot be opened.
    """
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    try:
        connection = apsw.Connection(str(path), flags=flags)
        connection.set_busy_timeout(BUSY_MS)
        if not read_only:
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = full")
            connection.execute(f"pragma wal_autocheckpoint = {CHECKPOINT_PAGES}")
            connection.execute(schema)
        connection.execute("pragma temp_store = memory")
        connection.execute("pragma cache_size = -65536")
    except apsw.Error as error:
        raise LogError(f"{path}: {error}; see docs/how-to/recover-a-data-folder.md") from error
    return connection
