"""Makes the file of `prepared`: what every report of a large archive would otherwise make for itself."""

import logging
import time
from pathlib import Path

import duckdb
import msgspec
from msgspec import Struct

from lendsignal.archive.prepared import (
    FROM_EVENTS,
    drop_half_made,
    failed_beside,
    made_beside,
    prepared_beside,
)
from lendsignal.log import DataFolder, synced
from lendsignal.report.installations import KINDS
from lendsignal.report.making import word
from lendsignal.report.prepared import (
    FORM,
    FROM_PLACED,
    KEPT,
    YOUNGEST,
    About,
    about,
    fingerprint,
    is_of_phone,
)
from lendsignal.report.sources import Sources
from lendsignal.report.tables import Tables

NEW_SHARE = 0.01
"""The share of events that are not prepared, from which on it is done again."""

REST = 20
"""It is not done again before so many times as long as it took have passed."""

MEMORY = "3GB"
"""What DuckDB keeps in memory meanwhile at most; the rest lies on disk."""

EVENTS_A_PIECE = 2_000_000
"""Events that are sorted at once, about."""

DONE_WITH = {
    "conversion": ("conversion",),
    "placed_loan": ("bound", "event_touch", "loans_of"),
    "journey": ("journey",),
    "brought": ("brought",),
    "agreed": ("agreed",),
}
"""Tables that nobody needs any more once one is in the file."""

TAKEN_FROM = {"conversion": ("conversion",), "placed_loan": ("placed_loan", "counted")}
"""What others take from the file, once a table is in it: it is quicker than making it again."""

OF_FILE = {
    "conversion": "select * from prepared.conversion",
    "placed_loan": "select * from prepared.placed_loan",
    "counted": FROM_PLACED["counted"],
}

logger = logging.getLogger(__name__)


def prepare(folder: DataFolder, now_us: int, *, from_events: int = FROM_EVENTS, anew: bool = False) -> bool:
    """Prepares what the archive holds, where it is time to; whether it was done.

    A kill leaves what was there before. `anew` does it however little is new. One thread of work. Raises
    `FolderInUse` where the archive is being written.
    """
    with folder.lock("archive"):
        sources = Sources(folder, archived_only=True)
        try:
            if sources.archived_events < max(from_events, 1):
                sources.close()
                return False
            tables = Tables(sources, threads=1, memory=MEMORY)
        except BaseException:
            sources.close()
            raise
        with tables:
            if not anew and not _is_due(tables, sources, folder.archive, now_us):
                return False
            made = made_beside(folder.archive)
            drop_half_made(folder.archive)
            started = time.perf_counter()
            try:
                _make(tables, sources, made, now_us)
            except duckdb.Error as error:
                # Without disk or memory for it reports do without; it is tried again after the usual rest.
                logger.warning("nothing is prepared for reports: %s", str(error).splitlines()[0])
                failed = _Failed(seconds=time.perf_counter() - started, at_us=now_us)
                failed_beside(folder.archive).write_bytes(msgspec.json.encode(failed))
                return False
        failed_beside(folder.archive).unlink(missing_ok=True)
        _put(made, prepared_beside(folder.archive))
    return True


class _Failed(Struct, frozen=True):
    """When it was tried in vain, and how long that took."""

    seconds: float
    at_us: int


def _is_due(tables: Tables, sources: Sources, book: Path, now_us: int) -> bool:
    path, failed = prepared_beside(book), failed_beside(book)
    if failed.exists():
        last = msgspec.json.decode(failed.read_bytes(), type=_Failed)
        if now_us - last.at_us < last.seconds * 1e6 * REST:
            return False
    if not path.exists():
        return True
    before = None
    if tables.attached(path):
        before = about(tables)
        tables.db.db.execute("detach prepared")
    if before is None or before.form != FORM or before.taken_away != sources.taken_away:
        return True
    if now_us - before.made_us < before.seconds * 1e6 * REST:
        return False
    new = sources.archived_events - before.events
    return before.fingerprint != fingerprint(tables) or new > before.events * NEW_SHARE


def _make(tables: Tables, sources: Sources, path: Path, now_us: int) -> None:
    started = time.perf_counter()
    kinds = {
        "install_kinds": ", ".join(str(n) for n in range(len(KINDS)) if not is_of_phone(n)),
        "phone_kinds": ", ".join(str(n) for n in range(len(KINDS)) if is_of_phone(n)),
    }
    shown = " union all ".join(
        f"select shown, {place}::utinyint as kind, app, {kind.value} as value from touch_look"
        f" where {kind.value} is not null"
        for place, kind in enumerate(KINDS)
    )
    tables.db.execute(f"create view look_id as {shown}")
    tables.db.db.execute(f"attach {word(str(path))} as prepared")
    pieces = 1 + sources.archived_events // EVENTS_A_PIECE
    for name, query in KEPT.items():
        for piece in range(pieces if "{piece}" in query else 1):
            chosen = query.format(**kinds, pieces=pieces, piece=piece)
            act = f"insert into prepared.{name}" if piece else f"create table prepared.{name} as"
            tables.db.execute(f"{act} {chosen}")
        for done in DONE_WITH.get(name, ()):
            tables.db.db.execute(f"drop table main.{done}")
        for view in TAKEN_FROM.get(name, ()):
            tables.db.db.execute(f"create or replace view main.{view} as {OF_FILE[view]}")
    tables.db.execute("create table prepared.told_file (name varchar)")
    tables.fill_rows("prepared.told_file", ("name",), [(name,) for name in sorted(sources.told_files)])
    said = About(
        form=FORM,
        fingerprint=fingerprint(tables),
        taken_away=sources.taken_away,
        log=sources.reach["log"],
        outcomes=sources.reach["outcomes"],
        events=sources.archived_events,
        devices=tables.number(
            "select count(distinct device) + count(*) filter (device is null) from installation"
        ),
        youngest_us=tables.number(YOUNGEST),
        seconds=time.perf_counter() - started,
        made_us=now_us,
    )
    words = {"said": msgspec.json.encode(said).decode()}
    tables.db.execute("create table prepared.about as select $said as said", words)
    tables.db.db.execute("detach prepared")


def _put(made: Path, path: Path) -> None:
    """Gives the file its name when it is whole and on disk."""
    synced(made)
    made.replace(path)
    synced(path.parent)
