"""Whose ledger of lists counts on a cluster: what platforms were told stands in one desk's folder.

Another desk's ledger knows neither the lists on the platforms nor who is on them: it would make them once
more, and leave those on them who are to go. So the store says by which ledger platforms are told.
"""

import secrets
from contextlib import closing

from lendsignal.config import Config
from lendsignal.errors import LendsignalError, LogError
from lendsignal.log import DataFolder, open_audiences
from lendsignal.role.leading import leading

NOTE = "lists"
"""The row of `note` that says it."""

MARK = "ledger"
"""The cursor of the ledger's own number; a backup carries it along."""


def refuse_another_ledger(config: Config, *, take_over: bool = False) -> None:
    """Raises `LendsignalError` where platforms are not told from here: another desk leads, or they were told
    by another ledger and this one is not to `take_over`. A data folder's own install has one alone."""
    if config.store is None:
        return
    from lendsignal.log.postgres import database_of  # with the store's client
    from lendsignal.log.postgres.singles import led

    ours = leading(config)
    if ours is None:
        raise LendsignalError("another desk leads, or none does yet: platforms are told of lists there")
    mark = str(_mark(DataFolder(config.data))).encode()
    with closing(database_of(config.store)) as database, led(database, ours).transaction() as session:
        if take_over:
            session.rows("delete from note where name = %s", NOTE)
        session.rows("insert into note values (%s, %b) on conflict do nothing", NOTE, mark)
        found = session.row("select body from note where name = %s", NOTE)
    assert found is not None, "it was put there"
    if bytes(found[0]) != mark:
        raise LogError(
            "platforms were told of lists by another desk, whose folder knows who is on them: put a backup of"
            " it here, or begin anew by `lendsignal audience sync --take-over` and take its lists away there"
        )


def _mark(folder: DataFolder) -> int:
    with closing(open_audiences(folder.audiences)) as book:
        found = book.position(MARK)
        if not found:
            found = secrets.randbits(62) | 1
            book.move(MARK, found)
        return found
