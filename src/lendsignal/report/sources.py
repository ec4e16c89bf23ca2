"""The rows that reports read, at one moment: the archive's, and those that are not archived yet.

Both are rows of the archive's tables, made by the same hands, so that a figure does not depend on how much of
it is archived. Nothing is written, and no file of the archive goes away meanwhile.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
from msgspec import Struct

from lendsignal.archive import FEEDS, TABLES, VERSION, Book, Part, Table, place_at
from lendsignal.archive.layout import ATTRIBUTIONS, EVENTS, OUTCOMES
from lendsignal.archive.place import Bucket
from lendsignal.archive.readers import reading as archive_reading
from lendsignal.archive.taking import FEED_OF, OF_LOG, Erased, Rows, rows_of_log, rows_of_outcomes, undecided
from lendsignal.errors import Damaged, DataError, LogError, NotYet
from lendsignal.log import DataFolder, Deliveries, Feeds, Log
from lendsignal.log.sqlite import DAMAGE, connect
from lendsignal.report.making import word

if TYPE_CHECKING:
    import duckdb

TABLE_OF: Mapping[str, Table] = {f"raw_{table.name}": table for table in TABLES}
"""Each table of the archive by the name that reports ask it by."""

KNOWN_BY: Mapping[str, str] = {
    "events": "received_at",
    "touches": "received_at",
    "instalments": "received_at",
    "conversions": "planned_at",
    "deliveries": "planned_at",
    "withdrawals": "withdrawn_at",
    "outcomes": '"at"',
    "attributions": "told_at",
    "recorded": "happened_at",
    "spend": "(spent_on + 1)::timestamptz",
}
"""Since when a row was known: of spend, whose feed does not say, since the day was over."""


class Lying(Struct, frozen=True, kw_only=True):
    """A table's rows: the archive's files that have them, those that are not archived yet, and, in SQL, which
    of all of them were known; empty: all."""

    table: Table
    files: tuple[str, ...]
    rows: Sequence[tuple[object, ...]]
    known: str


class Sources:
    """What a data folder holds. The deliveries are opened first, so that what they speak of is in the log."""

    def __init__(
        self, folder: DataFolder, as_of: datetime | None = None, *, archived_only: bool = False
    ) -> None:
        self._open = ExitStack()
        self._as_of = as_of
        self._archived_only = archived_only
        self.taken_away = 0
        """How often rows left the archive."""
        self._is_listed = False
        try:
            self._parts, self._reach, self._erased = self._archive(folder)
            self._sent = self._open.enter_context(reading(folder.deliveries))
            self._logged = self._open.enter_context(reading(folder.log))
            self._told = self._open.enter_context(reading(folder.feeds))
        except BaseException:
            self._open.close()
            raise
        self._of_log: Rows | None = None

    @property
    def log(self) -> Log | None:
        """The log, where there is one."""
        return None if self._logged is None else Log(self._logged)

    @property
    def sent(self) -> apsw.Connection | None:
        """The file of deliveries, where there is one."""
        return self._sent

    @property
    def reach(self) -> Mapping[str, int]:
        """How far the archive is, by stream: log and outcomes."""
        return self._reach

    @property
    def archived_events(self) -> int:
        """The rows of `events` in the archive."""
        return sum(part.rows for part in self._parts if part.table == EVENTS.name)

    @property
    def told_files(self) -> frozenset[str]:
        """The archive's files of attributions: a day that is told anew has another name."""
        return frozenset(part.name for part in self._parts if part.table == ATTRIBUTIONS.name)

    @property
    def told_since(self) -> bool:
        """Whether a feed told of attributions that the archive does not have yet."""
        return bool(self._new(ATTRIBUTIONS)[0])

    def put(self, db: "duckdb.DuckDBPyConnection", name: str) -> None:
        """Makes a table of the archive known to DuckDB, as a view over its files and what came after them."""
        from lendsignal.archive.parquet import arriving

        lying = self.lying(name)
        columns = ", ".join(f'"{column}"' for column in lying.table.names)
        parts = []
        if lying.files:
            self._make_readable(db)
            paths = ", ".join(map(word, lying.files))
            parts.append(f"select {columns} from read_parquet([{paths}], hive_partitioning = false)")
        if lying.rows or not lying.files:
            with arriving(db, lying.table, lying.rows) as query:
                db.execute(f"create table new_{lying.table.name} as {query}")
            parts.append(f"select {columns} from new_{lying.table.name}")
        known = f" where {lying.known}" if lying.known else ""
        db.execute(f"create view {name} as select * from ({' union all '.join(parts)}){known}")

    def lying(self, name: str, copies: Path | None = None) -> "Lying":
        """Where the rows of a table lie, for whoever reads them. `copies`: a folder to which files of an
        object store are brought, for an engine that reads files alone."""
        table, known = TABLE_OF[name], ""
        rows, stale = self._new(table)
        files = [part for part in self._parts if part.table == table.name and part.day not in stale]
        if self._as_of is not None:
            moment = word(self._as_of.astimezone(UTC).isoformat())
            known = f"coalesce({KNOWN_BY[table.name]} <= {moment}::timestamptz, true)"
        addresses = tuple(self._address(part.name, copies) for part in files)
        return Lying(table=table, files=addresses, rows=rows, known=known)

    def _address(self, name: str, copies: Path | None) -> str:
        if copies is None or not isinstance(self._place, Bucket):
            return self._place.address(name)
        try:
            return str(self._place.local(name, copies))
        except LogError as error:
            raise DataError(f"the archive cannot be read: {error}") from error

    def close(self) -> None:
        """Lets the files go."""
        self._open.close()

    def _archive(self, folder: DataFolder) -> tuple[list[Part], dict[str, int], Erased]:
        """The archive's files that count, how far it is, and who was taken out of it."""
        nothing: dict[str, int] = {"log": 0, "outcomes": 0, "feeds": 0}
        if not folder.archive.exists():
            return [], nothing, Erased({})
        self._open.enter_context(archive_reading(folder.archive))
        try:
            book = Book(folder.archive, read_only=True)
        except NotYet:
            return [], nothing, Erased({})
        try:
            address = book.address()
            if book.layout() != VERSION or address is None:
                return [], nothing, Erased({})  # of an older layout: the log has all of it
            self._place = place_at(address, folder.path)
            reach = {stream: book.reach(stream) for stream in nothing}
            self.taken_away = book.taken_away()
            return book.parts(), reach, Erased(book.erased())
        finally:
            book.close()

    def _make_readable(self, db: "duckdb.DuckDBPyConnection") -> None:
        import duckdb

        if not isinstance(self._place, Bucket):
            return
        with suppress(duckdb.InvalidInputException):  # it is known already
            db.register_filesystem(self._place.files)
        # No file changes while somebody reads, and one list tells of all of them: otherwise each look into
        # one asks the store some eight times what it is.
        with suppress(duckdb.CatalogException):  # older releases have no such setting
            db.execute("set validate_external_file_cache = 'NO_VALIDATION'")
        if not self._is_listed:
            self._is_listed = True
            self._place.learn()

    def _new(self, table: Table) -> tuple[list[tuple[object, ...]], Collection[int]]:
        """The rows that are not archived, and the days on which they take the place of archived ones."""
        if self._archived_only:
            return [], ()
        if table in FEEDS:
            return self._new_of_feed(table)
        if table is OUTCOMES:
            if self._sent is None:
                return [], ()
            packs = rows_of_outcomes(Deliveries(self._sent), self._reach["outcomes"], 2**62)
            return [row for _, pack in packs for row in pack], ()
        if table in OF_LOG:
            return self._new_of_log()[table.name], ()
        raise AssertionError(f"nobody brings {table.name}")

    def _new_of_log(self) -> Rows:
        if self._of_log is None:
            log = self.log
            if log is None:
                self._of_log = {table.name: [] for table in OF_LOG}
            else:
                after = self._reach["log"]
                position = max(log.position(), after)
                self._of_log, _ = rows_of_log(log, after, position, self._erased)
                self._of_log[EVENTS.name] += undecided(log, position, log.end())
        return self._of_log

    def _new_of_feed(self, table: Table) -> tuple[list[tuple[object, ...]], Collection[int]]:
        if self._told is None:
            return [], ()
        feeds, kind = Feeds(self._told), FEED_OF[table.name]
        days = [day for one, day, _ in feeds.changed(self._reach["feeds"] - 1) if one == kind]
        return [row for day in days for row in feeds.told_on(kind, day)], set(days)


@contextmanager
def reading(path: Path) -> Iterator[apsw.Connection | None]:
    """A connection that reads one moment's state of a file and never writes; `None` without such a file."""
    if not path.exists():
        yield None
        return
    db = connect(path, "", read_only=True)
    try:
        db.execute("begin")
        has_tables = db.execute("select count(*) from sqlite_master").fetchone()
        yield db if has_tables and has_tables[0] else None
    except DAMAGE as error:
        raise Damaged(path.name, str(error)) from error
    finally:
        db.close()
