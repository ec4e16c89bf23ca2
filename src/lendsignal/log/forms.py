"""Which form each file of the data folder has, and the steps that bring older forms to today's.

The number of the form stands in the file itself (`pragma user_version`). A table that older versions may
pass over needs no step, for missing tables are made whenever a file is opened; everything else does: a column
more, another meaning, a body that is packed otherwise.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import apsw
from msgspec import Struct

from lendsignal.errors import Damaged, LogError, OtherForm

FIRST = 1
"""The form that version 0.1.0 made. Its first checkouts wrote no number: 0 in a file with tables is 1."""


class Step(Struct, frozen=True, kw_only=True):
    """The way from one form of a file to the next.

    `work` runs within the transaction that notes the new number: all of it happens, or nothing.
    """

    does: str
    work: Callable[[apsw.Connection], object]


STEPS: Mapping[str, Sequence[Step]] = {}
"""By file name, from form 1 on. A step that was released stays as it is for ever."""


class Form(Struct, frozen=True, kw_only=True):
    """The form of one file: the number in it, the number this version works on, and what lies between."""

    file: str
    found: int
    known: int
    steps: Sequence[str] = ()

    @property
    def is_current(self) -> bool:
        return self.found == self.known


def known_form(name: str) -> int:
    """The form of a file that this version works on."""
    return FIRST + len(STEPS.get(name, ()))


def form_of(db: apsw.Connection) -> int | None:
    """The number of a file's form; `None` where it has no tables yet."""
    if not db.execute("select 1 from sqlite_master where type = 'table'").fetchone():
        return None
    return _number(db) or FIRST


def note_form(db: apsw.Connection, number: int) -> None:
    """Writes the number into the file, where another stands there."""
    if _number(db) != number:
        db.execute(f"pragma user_version = {number:d}")


def _number(db: apsw.Connection) -> int:
    return int(db.execute("pragma user_version").get)


def refuse_other_form(db: apsw.Connection, name: str) -> None:
    """Raises `OtherForm` where the file is of an older or a newer version than works on it."""
    found, known = form_of(db), known_form(name)
    if found is not None and found != known:
        raise OtherForm(name, found, known)


def form_at(path: Path) -> Form | None:
    """The form of a file on disk; `None` where it is not there or empty. Raises `LogError` where it is
    no database."""
    if not path.exists() or path.stat().st_size == 0:
        return None
    db = _opened(path, apsw.SQLITE_OPEN_READONLY)
    try:
        found = form_of(db)
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise Damaged(path.name, str(error)) from error
    finally:
        db.close()
    if found is None:
        return None
    known = known_form(path.name)
    steps = [step.does for step in STEPS.get(path.name, ())[found - FIRST :]]
    return Form(file=path.name, found=found, known=known, steps=steps)


def migrate(path: Path) -> Form:
    """Brings a file to today's form, step by step; the form that it had.

    Each step is durable, with its number, before the next begins: what is broken off goes on where it was.
    Raises `OtherForm` where the file is newer than this version.
    """
    before = form_at(path)
    if before is None:
        raise LogError(f"{path} is not there or has no tables")
    if before.found > before.known:
        raise OtherForm(path.name, before.found, before.known)
    db = _opened(path, apsw.SQLITE_OPEN_READWRITE)
    try:
        db.execute("pragma synchronous = full")
        for number, step in enumerate(STEPS.get(path.name, ()), FIRST + 1):
            if number <= before.found:
                continue
            db.execute("begin immediate")
            try:
                step.work(db)
                note_form(db, number)
                db.execute("commit")
            except BaseException:
                if db.in_transaction:
                    db.execute("rollback")
                raise
        note_form(db, before.known)
    finally:
        db.close()
    return before


def _opened(path: Path, flags: int) -> apsw.Connection:
    try:
        db = apsw.Connection(str(path), flags=flags)
    except apsw.Error as error:
        raise LogError(f"{path} cannot be opened by this user: {error}") from error
    db.set_busy_timeout(30_000)
    return db
