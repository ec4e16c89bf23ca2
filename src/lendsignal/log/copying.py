"""A copy of one database while others write it."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw

from lendsignal.errors import Damaged, LogError
from lendsignal.log.sqlite import BUSY_MS, DAMAGE

PAGES_AT_ONCE = 4_000

Tell = Callable[[str, int, int], None]
"""Hears the name of a file, how much of it is done, and how much there is."""


def silent(name: str, done: int, whole: int) -> None:
    """Tells nobody."""


def copy_database(path: Path, to: Path, tell: Tell = silent) -> None:
    """One database as it is at one moment, whoever writes it meanwhile; one file without a write-ahead log.

    Nobody who writes waits for it: it reads one snapshot, and the file's write-ahead log grows until it ends.
    Raises `LogError` where it cannot be read or the copy cannot be written.
    """
    try:
        source = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        with closing(source), closing(apsw.Connection(str(to))) as copy:
            source.set_busy_timeout(BUSY_MS)
            source.execute("begin")  # one snapshot: what is written meanwhile does not begin it anew
            size = int(source.execute("pragma page_size").get)
            source.execute("select 1 from sqlite_master limit 1").fetchall()
            with copy.backup("main", source, "main") as steps:
                while not steps.done:
                    steps.step(PAGES_AT_ONCE)
                    whole = steps.page_count * size
                    tell(path.name, whole - steps.remaining * size, whole)
            source.execute("rollback")
            copy.execute("pragma journal_mode = delete").fetchall()
    except DAMAGE as error:
        raise Damaged(path.name, str(error)) from error
    except apsw.Error as error:
        raise LogError(f"{path.name} cannot be copied: {error}") from error
