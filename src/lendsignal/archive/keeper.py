"""Brings what is decided and delivered into the archive, each thing once, however often it is broken off.

A range of positions is written down before its files are made, and its files are named by it: whoever does
it again after a kill writes the same rows under the same names. What no book counts is left over and goes.
"""

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from pathlib import Path

import msgspec

from lendsignal.archive.book import Book, Part
from lendsignal.archive.layout import (
    CONVERSIONS,
    DELIVERIES,
    EVENTS,
    OUTCOMES,
    TABLES,
    TOUCHES,
    VERSION,
    WITHDRAWALS,
    Row,
    Table,
    day_of,
    days_of,
)
from lendsignal.archive.parquet import Press
from lendsignal.archive.place import Place, place_at
from lendsignal.archive.rows import (
    conversion_row,
    delivery_rows,
    event_row,
    outcome_row,
    touch_row,
    withdrawal_row,
)
from lendsignal.archive.settings import ArchiveSettings
from lendsignal.errors import DataError, NotYet
from lendsignal.log import DataFolder, Deliveries, Log, open_deliveries, open_log
from lendsignal.plan import Record, Withdrawn, event_of, record_id

EVENTS_AT_ONCE = 20_000
"""Events of the log that go into one file a table and day at most."""

PACKS_AT_ONCE = 5_000
"""Commits of the sender that do."""

RECORDS_AT_ONCE = 5_000

CLOSED_AFTER_US = 7_200_000_000
"""How long after its end a UTC day is left alone before its files become one."""

FILES = "_files.json"
LAYOUT = "_layout.json"
MARK = "_archive-"
"""How the file's name begins that says whose archive lies there."""

_BY_NAME = {table.name: table for table in TABLES}

_OURS = re.compile(
    rf"({'|'.join(_BY_NAME)})/day=\d{{4}}-\d\d-\d\d/\d{{15,}}-\d{{15,}}\.parquet(\.new)?(\.part)?"
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
    ) -> None:
        self._book = book
        self._events_at_once = events_at_once
        self._packs_at_once = packs_at_once
        self._place = place
        self._press = Press()
        self.has_more = False
        """Whether the last turn took as much of a stream as it may, so that another is worth its files."""
        self._tidy()

    def close(self) -> None:
        """Lets memory go."""
        self._press.close()

    def turn(self, log: Log, deliveries: Deliveries | None) -> int:
        """Takes at most one piece of each stream; how many rows that were. 0: nothing is left to take."""
        self.has_more = False
        written = self._take_log(log)
        if deliveries is not None:
            written += self._take_outcomes(deliveries)
        if written:
            self._tell()
        return written

    def _take_log(self, log: Log) -> int:
        end = min(log.position(), self._book.reach("log") + self._events_at_once)
        after, upto = self._book.begin("log", end)
        if upto <= after:
            return 0
        self.has_more |= upto != end or upto - after >= self._events_at_once
        version = log.policy()
        source = None if version is None else log.policy_source(version)
        apps = {} if source is None else source.derive.default_app
        rows: dict[str, list[Row]] = {table.name: [] for table in TABLES}
        for fact, verdict in log.decided(after, upto):
            rows[EVENTS.name].append(event_row(fact, verdict))
            touch = touch_row(fact, verdict, apps.get)
            if touch is not None:
                rows[TOUCHES.name].append(touch)
        if len(rows[EVENTS.name]) != upto - after:
            raise DataError(f"events {after + 1} to {upto} are not all in the log any more")
        for number, record in _records(log, after, upto):
            if isinstance(record, Withdrawn):
                rows[WITHDRAWALS.name].append(withdrawal_row(number, record))
            else:
                rows[CONVERSIONS.name].append(conversion_row(number, record))
                rows[DELIVERIES.name].extend(delivery_rows(number, record))
        return self._written("log", after, upto, rows)

    def _take_outcomes(self, deliveries: Deliveries) -> int:
        reach = self._book.reach("outcomes")
        packs: list[tuple[int, list[Row]]] = []
        end = deliveries.pack_behind(reach, self._packs_at_once)
        after, upto = self._book.begin("outcomes", end)
        for pack, receipts in deliveries.all_receipts(after):
            if pack > upto:
                break
            packs.append((pack, [outcome_row(pack, place, one) for place, one in enumerate(receipts)]))
        if not packs:
            return 0
        self.has_more |= upto != end or len(packs) >= self._packs_at_once
        return self._written(
            "outcomes", after, upto, {OUTCOMES.name: [row for _, pack in packs for row in pack]}
        )

    def _written(self, stream: str, after: int, upto: int, rows: Mapping[str, Sequence[Row]]) -> int:
        made: list[Part] = []
        for name, found in rows.items():
            table = _BY_NAME[name]
            for day, part in sorted(days_of(table, found).items()):
                file = f"{_folder(table, day)}/{after + 1:015d}-{upto:015d}.parquet"
                with _scratch() as path:
                    self._press.write(table, part, path)
                    self._place.put(file, path)
                made.append(Part(file, name, day, after + 1, upto, len(part)))
        self._book.end(stream, upto, made)
        return sum(part.rows for part in made)

    # days that are over

    def compact(self, now_us: int) -> int:
        """Makes the files of each day that is over one; how many files went."""
        closed = day_of(now_us - CLOSED_AFTER_US)
        of_day: dict[tuple[str, int], list[Part]] = {}
        for part in self._book.parts():
            if part.day < closed:
                of_day.setdefault((part.table, part.day), []).append(part)
        gone = 0
        for (name, day), parts in of_day.items():
            if len(parts) > 1:
                self._merge(_BY_NAME[name], day, parts)
                gone += len(parts) - 1
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
        self._book.replace(parts, Part(file, table.name, day, first, last, found))
        # Whoever looks into the folder meanwhile misses rows for a moment, but sees none twice.
        for part in parts:
            self._place.drop(part.name)
        self._place.move(file + ".new", file)

    # what lies there

    def _tidy(self) -> None:
        """Ends what was broken off: a merged file gets its name, and what does not count goes.

        Only files of ours go, and none where another data folder writes: raises `DataError` then, and where
        files that count are not there.
        """
        counts, found = {part.name for part in self._book.parts()}, set(self._place.names())
        self._refuse_anothers(counts, found)
        for name in sorted(found):
            if name.endswith(".parquet.new") and name.removesuffix(".new") in counts:
                self._place.move(name, name.removesuffix(".new"))
            elif name not in counts and _OURS.fullmatch(name):
                self._place.drop(name)
        self._tell()

    def _refuse_anothers(self, counts: Set[str], found: Set[str]) -> None:
        mark = f"{MARK}{self._book.owner()}.json"
        if any(name.startswith(MARK) and name != mark for name in found):
            raise DataError(
                "where the archive is to be written lies that of another data folder, or of this one's lost"
                " archive.sqlite: choose another `archive.to`, or empty it"
            )
        missing = sum(name not in found and name + ".new" not in found for name in counts)
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
        book = Book(folder.archive)
        closing.callback(book.close)
        keeper = Keeper(book, place_at(settings.to, folder.path), events_at_once=events_at_once)
        closing.callback(keeper.close)
        written = 0
        while True:
            written += keeper.turn(log, sent)
            tell(book.reach("log"), log.position())
            if not keeper.has_more:  # what came in meanwhile waits: it would be a file for every moment
                break
        return written, keeper.compact(now_us)


def _records(log: Log, after: int, upto: int) -> Iterator[tuple[int, Record]]:
    """What was decided of the events in that range, in order."""
    place = record_id(after + 1, 0) - 1
    while found := log.records(place, RECORDS_AT_ONCE):
        for number, record in found:
            if event_of(number)[0] > upto:
                return
            yield number, record
        place = found[-1][0]


def _folder(table: Table, day: int) -> str:
    return f"{table.name}/day={_day(day)}"


def _day(day: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


@contextmanager
def _scratch() -> Iterator[Path]:
    """A path for a file in the making; what is left of it goes."""
    with tempfile.TemporaryDirectory(prefix="lendsignal-archive-") as folder:
        yield Path(folder) / "part"
