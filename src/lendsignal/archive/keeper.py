"""Brings what is decided and delivered into the archive, each thing once, however often it is broken off.

A range of positions is written down before its files are made, and its files are named by it: whoever does
it again after a kill writes the same rows under the same names. What no book counts is left over and goes.
"""

import re
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec

from lendsignal.archive.book import Book, Part
from lendsignal.archive.layout import (
    ATTRIBUTIONS,
    CONVERSIONS,
    DELIVERIES,
    EVENTS,
    OUTCOMES,
    RECORDED,
    TABLES,
    TOUCHES,
    VERSION,
    WITHDRAWALS,
    Row,
    Table,
    day_of,
    days_of,
)
from lendsignal.archive.parquet import Press, quoted
from lendsignal.archive.place import Place, place_at
from lendsignal.archive.prepared import drop_prepared
from lendsignal.archive.readers import changing
from lendsignal.archive.settings import ArchiveSettings
from lendsignal.archive.taking import FEED_OF, Erased, erased_key, rows_of_log, rows_of_outcomes
from lendsignal.clock import MICROSECOND
from lendsignal.errors import DataError, NotYet
from lendsignal.log import DataFolder, Deliveries, Feeds, Log, open_deliveries, open_feeds, open_log
from lendsignal.log.copied import copy_of, desk_name
from lendsignal.plan.records import ENTRIES_PER_RECORD

EVENTS_AT_ONCE = 20_000
"""Events of the log that go into one file a table and day at most."""

PACKS_AT_ONCE = 5_000
"""Commits of the sender that do."""

CLOSED_AFTER_US = 7_200_000_000
"""How long after its end a UTC day is left alone before its files become one."""

ALIKE = 8
"""So many small files in a row, of about one size, become one while their day goes on."""

SMALL = 1_000
"""Rows that a file may have and still be of the smallest size; each further size is eight times as large."""

CUT = ".cut"
"""How a file's name ends that is to take the place of the one it was cut from."""

DAYS_AT_ONCE = 400
"""Days of feeds that one turn writes anew at most."""

FEEDS_STREAM = "feeds"
"""What the book calls the tellings of feeds; its position is one more than the last turn that is in."""

FILES = "_files.json"
LAYOUT = "_layout.json"
LEADING = "_leading.json"
"""Beside the archives of several desks: which of them is that of the leading one."""

MARK = "_archive-"
"""How the file's name begins that says whose archive lies there."""

_BY_NAME = {table.name: table for table in TABLES}

_TABLE_OF_FEED = {kind: _BY_NAME[name] for name, kind in FEED_OF.items()}

_OURS = re.compile(
    rf"({'|'.join(_BY_NAME)})/day=\d{{4}}-\d\d-\d\d/\d{{15,}}-\d{{15,}}\.parquet(\.new|\.cut)?(\.part)?"
)
"""Names that we give: nothing else is ever taken away."""


class Keeper:
    """The one process that writes an archive. `turn` takes the next piece, `compact` makes days one file."""

    def __init__(
        self,
        book: Book,
        place: Place,
        *,
        events_at_once: int = EVENTS_AT_ONCE,
        packs_at_once: int = PACKS_AT_ONCE,
        changing: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`changing` is held while files that count go away or become others."""
        self._book = book
        self._events_at_once = events_at_once
        self._packs_at_once = packs_at_once
        self._place = place
        self._changing = changing
        self._press = Press()
        self.has_more = False
        """Whether the last turn took as much of a stream as it may, so that another is worth its files."""
        self._tidy()
        self._end_erasing(self._book.reach("log"))

    def close(self) -> None:
        """Lets memory go."""
        self._press.close()

    def turn(self, log: Log, deliveries: Deliveries | None, feeds: Feeds | None = None) -> int:
        """Takes at most one piece of each stream; how many rows that were. 0: nothing is left to take."""
        self.has_more = False
        written = self._take_log(log)
        if deliveries is not None:
            written += self._take_outcomes(deliveries)
        if feeds is not None:
            written += self._take_feeds(feeds)
        if written:
            self._tell()
        return written

    def _take_log(self, log: Log) -> int:
        # What went while there was no archive, or it was off, is nowhere: it goes on where the log begins.
        reach = max(self._book.reach("log"), log.cutting.first() - 1)
        end = min(log.position(), reach + self._events_at_once)
        after, upto = self._book.begin("log", end, reach)
        if upto <= after:
            return 0
        self.has_more |= upto != end or upto - after >= self._events_at_once
        rows, read = rows_of_log(log, after, upto, Erased(self._book.erased()))
        if read != max(0, upto - max(after, log.cutting.first() - 1)):
            raise DataError(f"events {after + 1} to {upto} are not all in the log any more")
        return self._written("log", after, upto, rows)

    def _take_outcomes(self, deliveries: Deliveries) -> int:
        reach = self._book.reach("outcomes")
        end = deliveries.pack_behind(reach, self._packs_at_once)
        after, upto = self._book.begin("outcomes", end)
        packs = list(rows_of_outcomes(deliveries, after, upto))
        if not packs:
            return 0
        self.has_more |= upto != end or len(packs) >= self._packs_at_once
        return self._written(
            "outcomes", after, upto, {OUTCOMES.name: [row for _, pack in packs for row in pack]}
        )

    def _take_feeds(self, feeds: Feeds) -> int:
        """Writes anew each day of which something was told since the last turn; how many rows those have."""
        changed = feeds.changed(self._book.reach(FEEDS_STREAM) - 1)[:DAYS_AT_ONCE]
        if not changed:
            return 0
        self.has_more |= len(changed) == DAYS_AT_ONCE
        gone: list[Part] = []
        made: list[Part] = []
        kept_from = self._book.forgotten()
        for kind, day, turn in changed:
            table = _TABLE_OF_FEED[kind]
            gone += [part for part in self._parts(table) if part.day == day]
            rows = feeds.told_on(kind, day) if day >= kept_from else []
            if not rows:
                continue
            file = f"{_folder(table, day)}/{0:015d}-{turn:015d}.parquet"
            with _scratch() as path:
                self._press.write(table, rows, path)
                self._place.put(file + ".new", path)
            made.append(Part(file, table.name, day, 0, turn, len(rows)))
        with self._changing():
            self._book.tell_days(FEEDS_STREAM, changed[-1][2] + 1, gone, made)
            kept = {part.name for part in made}
            for part in gone:
                if part.name not in kept:
                    self._place.drop(part.name)
            for part in made:
                self._place.move(part.name + ".new", part.name)
        return sum(part.rows for part in made)

    def _written(self, stream: str, after: int, upto: int, rows: Mapping[str, Sequence[Row]]) -> int:
        made: list[Part] = []
        kept_from = self._book.forgotten()
        for name, found in rows.items():
            table = _BY_NAME[name]
            for day, part in sorted(days_of(table, found).items()):
                if day < kept_from:
                    continue
                file = f"{_folder(table, day)}/{after + 1:015d}-{upto:015d}.parquet"
                with _scratch() as path:
                    self._press.write(table, part, path)
                    self._place.put(file, path)
                made.append(Part(file, name, day, after + 1, upto, len(part)))
        self._book.end(stream, upto, made)
        return sum(part.rows for part in made)

    # days that are over for good

    def forget(self, before_day: int) -> int:
        """Takes the files of days before that one (in days since 1970, UTC) away; how many rows went.

        They stop counting first: after a kill what is left of them is cleared away with the next keeper, and
        no day before that one is written again.
        """
        if before_day <= self._book.forgotten():
            return 0
        with self._changing():
            gone = self._book.forget_before(before_day)
            for part in gone:
                self._place.drop(part.name)
        if gone:
            self._tell()
        return sum(part.rows for part in gone)

    # many small files

    def compact(self, now_us: int) -> int:
        """Makes the files of each day that is over one, and fewer of those of a day that goes on; how many
        files went."""
        closed = day_of(now_us - CLOSED_AFTER_US)
        of_day: dict[tuple[str, int], list[Part]] = {}
        for part in self._book.parts():
            of_day.setdefault((part.table, part.day), []).append(part)
        gone = 0
        for (name, day), parts in of_day.items():
            for run in [parts] if day < closed else alike(parts):
                if len(run) > 1:
                    self._merge(_BY_NAME[name], day, run)
                    gone += len(run) - 1
        if gone:
            self._tell()
        return gone

    def _merge(self, table: Table, day: int, parts: Sequence[Part]) -> None:
        first, last = parts[0].first, max(part.last for part in parts)
        file = f"{_folder(table, day)}/{first:015d}-{last:015d}.parquet"
        with _scratch() as path:
            copies = [self._place.local(part.name, path.parent) for part in parts]
            found = self._press.merge(table, copies, path)
            if found != sum(part.rows for part in parts):
                raise DataError(
                    f"the archive's {table.name} of {_day(day)} holds other rows than were written"
                )
            self._place.put(file + ".new", path)
        with self._changing():
            self._book.replace(parts, Part(file, table.name, day, first, last, found))
            # Whoever looks into the folder by himself misses rows for a moment, but sees none twice.
            for part in parts:
                self._place.drop(part.name)
            self._place.move(file + ".new", file)

    # who is taken out

    def users_of(self, person_id: str) -> set[tuple[str, str]]:
        """Every (brand, user id) whose events named this person."""
        found: set[tuple[str, str]] = set()
        for part in self._parts(EVENTS):
            with _scratch() as path:
                found.update(
                    self._press.rows(
                        "select distinct brand, user_id from {files} where person_id = " + quoted(person_id),
                        [self._place.local(part.name, path.parent)],
                    )
                )
        return found

    def everyone(self) -> set[tuple[str, str, str | None]]:
        """Every brand, user id and person id that an event names."""
        named = "select distinct brand, user_id, person_id from {files}"
        return {(str(brand), str(user), person) for brand, user, person in self._look(EVENTS, named)}

    def records_of(self, users: Collection[tuple[str, str]]) -> set[int]:
        """The records that planned something for users (brand, user id), as far as they are in."""
        found: set[int] = set()
        if not users:
            return found
        theirs = _theirs([erased_key(*user) for user in users])
        conversions = self._look(CONVERSIONS, f"select record, conversion_id from {{files}} where {theirs}")
        found.update(record for record, _ in conversions)
        if conversions:
            named = ", ".join(sorted({quoted(conversion) for _, conversion in conversions}))
            # A correction has no row in conversions.
            planned = f"select record from {{files}} where conversion_id in ({named})"
            found.update(record for (record,) in self._look(DELIVERIES, planned))
        return found

    def erase(self, users: Collection[tuple[str, str]], upto: int) -> int:
        """Takes users (brand, user id) out of every table, with all that was derived for them and sent; how
        many rows went.

        Nothing of them up to position `upto` of the log comes in again. What is broken off is ended by the
        next keeper of this book. Readers meanwhile see everything as it was; the other rows stay as they are.
        """
        self._book.begin_erasing({erased_key(*user) for user in users})
        return self._end_erasing(upto)

    def _end_erasing(self, upto: int) -> int:
        users = self._book.erasing()
        if not users:
            return 0
        before = {part.name: part.rows for part in self._book.parts()}
        if self._book.cuts() is None:
            left = self._cut_out(users)
            self._book.note_cuts(left)
        cuts = self._book.cuts() or {}
        with self._changing():
            for name, rows in cuts.items():
                if rows:
                    self._place.move(name + CUT, name)
                else:
                    self._place.drop(name)
                    self._place.drop(name + CUT)
            self._book.end_erasing(upto)
        self._tell()
        return sum(before[name] - rows for name, rows in cuts.items())

    def _cut_out(self, users: Set[bytes]) -> dict[str, int]:
        theirs = _theirs(users)
        with tempfile.TemporaryDirectory(prefix="lendsignal-archive-") as scratch:
            files = [self._place.local(part.name, Path(scratch)) for part in self._parts(CONVERSIONS)]
            self._press.gather(
                "gone",
                "record bigint, conversion_id varchar",
                f"select record, conversion_id from {{files}} where {theirs}",
                files,
            )
            planned = [self._place.local(part.name, Path(scratch)) for part in self._parts(DELIVERIES)]
            self._press.gather(  # a correction has no row in conversions
                "gone_record",
                "record bigint",
                "select record from gone union select record from {files}"
                " where conversion_id in (select conversion_id from gone)",
                planned,
            )
            touches = [self._place.local(part.name, Path(scratch)) for part in self._parts(TOUCHES)]
            self._press.gather(
                "app_of", "app varchar, brand varchar", "select distinct app, brand from {files}", touches
            )
        theirs_by_app = (
            "user_id <> '' and exists (select 1 from app_of where app_of.app = told.app"
            f" and {theirs.replace('brand', 'app_of.brand', 1).replace('user_id', 'told.user_id', 1)})"
        )
        in_records = "in (select record from gone_record)"
        gone = {table.name: theirs if "brand" in table.names else "false" for table in TABLES} | {
            DELIVERIES.name: f"record {in_records}",
            WITHDRAWALS.name: f"withdraws {in_records}",
            OUTCOMES.name: f"delivery // {ENTRIES_PER_RECORD} {in_records}",
            # An MMP names no brand: it is that of the app.
            ATTRIBUTIONS.name: theirs_by_app,
            RECORDED.name: theirs_by_app,
        }
        return self._cut_files(gone)

    def _cut_files(self, gone: Mapping[str, str]) -> dict[str, int]:
        """Puts beside each file that holds such rows one without them; the rows that are left, by name."""
        left: dict[str, int] = {}
        for part in self._book.parts():
            with _scratch() as path:
                source = self._place.local(part.name, path.parent)
                rows = self._press.cut(_BY_NAME[part.table], source, path, gone[part.table])
                if rows is not None:
                    self._place.put(part.name + CUT, path)
                    left[part.name] = rows
        return left

    def _look(self, table: Table, query: str) -> list[tuple[Any, ...]]:
        """What a query finds in all files of a table, one after the other."""
        found: list[tuple[Any, ...]] = []
        for part in self._parts(table):
            with _scratch() as path:
                found += self._press.rows(query, [self._place.local(part.name, path.parent)])
        return found

    def _parts(self, table: Table) -> list[Part]:
        return [part for part in self._book.parts() if part.table == table.name]

    # what lies there

    def _tidy(self) -> None:
        """Ends what was broken off: a merged file gets its name, and what does not count goes.

        Only files of ours go, and none where another data folder writes: raises `DataError` then, and where
        files that count are not there.
        """
        counts, found = {part.name for part in self._book.parts()}, set(self._place.names())
        self._refuse_anothers(counts, found)
        cuts = self._book.cuts() or {}
        for name in sorted(found):
            if name.endswith(".parquet.new") and name.removesuffix(".new") in counts:
                self._place.move(name, name.removesuffix(".new"))
            elif name not in counts and _OURS.fullmatch(name) and name.removesuffix(CUT) not in cuts:
                self._place.drop(name)
        self._tell()

    def _refuse_anothers(self, counts: Set[str], found: Set[str]) -> None:
        mark = f"{MARK}{self._book.owner()}.json"
        if any(name.startswith(MARK) and name != mark for name in found):
            raise DataError(
                "where the archive is to be written lies that of another data folder, or of this one's lost"
                " archive.sqlite: choose another `archive.to`, or empty it"
            )
        cuts = self._book.cuts() or {}  # files that nobody has rows in are gone before they stop counting
        missing = sum(
            name not in found and name + ".new" not in found and cuts.get(name) != 0 for name in counts
        )
        if missing:
            raise DataError(
                f"{missing} of {len(counts)} files of the archive are not where `archive.to` says: bring them"
                " there, or remove archive.sqlite and have written anew what the log still has"
            )
        if mark not in found:
            self._put_json(mark, {"written_by": "lendsignal"})

    def _tell(self) -> None:
        """Says beside the tables what they are and which files count at this moment."""
        files: dict[str, list[str]] = {table.name: [] for table in TABLES}
        for part in self._book.parts():
            files[part.table].append(part.name)
        columns = {
            table.name: [
                {"name": one.name, "type": one.kind.value, "meaning": one.meaning} for one in table.columns
            ]
            for table in TABLES
        }
        self._put_json(FILES, files)
        self._put_json(LAYOUT, {"version": VERSION, "tables": columns})

    def _put_json(self, name: str, said: object) -> None:
        with _scratch() as path:
            path.write_bytes(msgspec.json.format(msgspec.json.encode(said), indent=1))
            self._place.put(name, path)


def brought_up(
    folder: DataFolder,
    settings: ArchiveSettings,
    now_us: int,
    *,
    tell: Callable[[int, int], None] = lambda done, total: None,
    events_at_once: int = EVENTS_AT_ONCE,
) -> tuple[int, int]:
    """Takes what is new and makes days that are over one file: (rows written, files merged away).

    Days that are kept no longer go (`settings.keep_for`).

    What comes in while the last piece is written is left to the next call. `tell` hears how many events of
    how many are in. Raises `FolderInUse` where another process is at it, `NotYet` where there is no log,
    `DataError` where files that count are gone or the archive is another's.
    """
    with folder.lock("archive"), ExitStack() as closing:
        log = open_log(folder.log, read_only=True)
        closing.callback(log.close)
        try:
            sent = open_deliveries(folder.deliveries, read_only=True)
            closing.callback(sent.close)
        except NotYet:
            sent = None
        told = open_feeds(folder.feeds) if folder.feeds.exists() else None
        if told is not None:
            closing.callback(told.close)
        book = Book(folder.archive)
        closing.callback(book.close)
        old = book.layout()
        if old not in (0, VERSION):
            _refuse_part(log, old)
            book.start_anew(VERSION)
        keeper = _keeper(book, folder, settings, events_at_once=events_at_once)
        closing.callback(keeper.close)
        book.note(VERSION, address_of(folder, settings))
        written = 0
        while True:
            written += keeper.turn(log, sent, told)
            tell(book.reach("log"), log.position())
            if not keeper.has_more:  # what came in meanwhile waits: it would be a file for every moment
                break
        if settings.keep_for is not None:
            keeper.forget(day_of(now_us - settings.keep_for // MICROSECOND))
        return written, keeper.compact(now_us)


def erase(
    folder: DataFolder,
    settings: ArchiveSettings,
    users: Collection[tuple[str, str]],
    persons: Collection[str] = (),
) -> int:
    """Takes users, and all users of persons, out of a folder's archive; how many rows went.

    What the log still holds of them is not archived again. Raises `FolderInUse` while the archive is written:
    try again then. 0 where there is no archive.
    """
    if not folder.archive.exists():
        return 0
    with folder.lock("archive"), ExitStack() as closing:
        log = open_log(folder.log, read_only=True)
        closing.callback(log.close)
        book = Book(folder.archive)
        closing.callback(book.close)
        keeper = _keeper(book, folder, settings)
        closing.callback(keeper.close)
        everyone = {user for person in persons for user in keeper.users_of(person)} | set(users)
        drop_prepared(folder.archive)
        return keeper.erase(everyone, log.end())


def records_of(folder: DataFolder, settings: ArchiveSettings, users: Collection[tuple[str, str]]) -> set[int]:
    """The records of users (brand, user id) in a folder's archive.

    Raises `FolderInUse` while it is written.
    """
    if not folder.archive.exists():
        return set()
    with folder.lock("archive"), ExitStack() as closing:
        book = Book(folder.archive)
        closing.callback(book.close)
        keeper = _keeper(book, folder, settings)
        closing.callback(keeper.close)
        return keeper.records_of(users)


def everyone(folder: DataFolder, settings: ArchiveSettings) -> set[tuple[str, str, str | None]]:
    """Every brand, user id and person id in a folder's archive. Raises `FolderInUse` while it is written."""
    if not folder.archive.exists():
        return set()
    with folder.lock("archive"), ExitStack() as closing:
        book = Book(folder.archive)
        closing.callback(book.close)
        keeper = _keeper(book, folder, settings)
        closing.callback(keeper.close)
        return keeper.everyone()


def _refuse_part(log: Log, layout: int) -> None:
    """Raises `DataError` where the log does not have all that an archive of an older layout holds."""
    if log.cutting.cut() or log.cutting.first() > 1:
        raise DataError(
            f"the archive is of layout {layout}, and the log does not have its beginning any more to write it"
            f" anew in layout {VERSION}: keep that folder, remove archive.sqlite, and choose another"
            " `archive.to`"
        )


def _theirs(users: Collection[bytes]) -> str:
    """SQL of whether a row is of one of these users, by what the book knows them by."""
    named = ", ".join(f"'{user.hex()}'" for user in sorted(users))
    return f"sha256(brand || chr(31) || user_id) in ({named})"


def _keeper(book: Book, folder: DataFolder, settings: ArchiveSettings, **pieces: int) -> Keeper:
    place = place_at(address_of(folder, settings), folder.path)
    return Keeper(book, place, changing=lambda: changing(folder.archive), **pieces)


def address_of(folder: DataFolder, settings: ArchiveSettings, log: Path | None = None) -> str:
    """Where a folder's archive lies: `archive.to`, and of a desk's copy of a cluster's store below it, under
    the desk's name. `log`: that of a backup which is to be put in place of its own.

    Every desk numbers its copy for itself, so that no two of them can write one archive.
    """
    if _lies_within(settings.to) or copy_of(log or folder.log) is None:
        return settings.to
    return f"{settings.to.rstrip('/')}/{desk_name(folder)}"


def point_to(folder: DataFolder, settings: ArchiveSettings, since: str) -> bool:
    """Says at `archive.to` that this folder's archive is that of the leading desk; false where that is within
    the data folder. `since`: a moment, for people."""
    if _lies_within(settings.to):
        return False
    address = address_of(folder, settings)
    said = {"archive": address.removeprefix(f"{settings.to.rstrip('/')}/"), "since": since}
    with _scratch() as path:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(said), indent=1))
        place_at(settings.to, folder.path).put(LEADING, path)
    return True


def _lies_within(address: str) -> bool:
    return "://" not in address and not Path(address).is_absolute()


def alike(parts: Sequence[Part]) -> list[list[Part]]:
    """Runs of files of about one size that follow each other, each long enough to be worth one file."""
    runs: list[list[Part]] = []
    for part in parts:
        if not runs or size_of(runs[-1][0].rows) != size_of(part.rows):
            runs.append([])
        runs[-1].append(part)
    return [run for run in runs if len(run) >= ALIKE]


def size_of(rows: int) -> int:
    """The size of a file: 0 up to `SMALL` rows, and one more for each time eight as many."""
    return 0 if rows <= SMALL else ((rows // SMALL).bit_length() - 1) // 3 + 1


def _folder(table: Table, day: int) -> str:
    return f"{table.name}/day={_day(day)}"


def _day(day: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


@contextmanager
def _scratch() -> Iterator[Path]:
    """A path for a file in the making; what is left of it goes."""
    with tempfile.TemporaryDirectory(prefix="lendsignal-archive-") as folder:
        yield Path(folder) / "part"
