"""Every place but the log that knows of people, and how they leave it."""

from collections.abc import Collection, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import apsw
import msgspec
from msgspec import Struct

from lendsignal.archive.rows import key_number
from lendsignal.clock import Clock
from lendsignal.config import Config
from lendsignal.errors import FolderInUse, NotYet
from lendsignal.log import DataFolder, Log, open_audiences, open_deliveries, open_feeds, open_shelf
from lendsignal.log.erasures import ASKED, DONE, NOT_THERE, WAITS, About, Stepped, empty_log_of
from lendsignal.plan import event_of, record_id
from lendsignal.plan.records import ENTRIES_PER_RECORD, RECORDS_PER_EVENT


class Step(Struct, frozen=True):
    """What came of a step: its state, how many rows went, and a note for people."""

    state: str
    n: int = 0
    note: str = ""


def waits(why: str) -> Step:
    """Something else must happen first."""
    return Step(WAITS, 0, why)


def deliveries(folder: DataFolder, log: Log, receipt: str, older: Collection[int] = ()) -> Step:
    """Requests, answers and offers of their deliveries, and the records that these were planned by.

    `older` are records of theirs that the log does not have any more (see `gone_records`). Nobody may send by
    a record that is emptied: it waits until the sender has read what takes the deliveries back and none of
    them is open. Where no sender runs, none may start meanwhile.
    """
    if not log.erasing.left(receipt) and not older:
        return Step(DONE)
    placed = [*log.erasing.placed(receipt), *older]
    if not folder.deliveries.exists():
        return Step(DONE, log.erasing.empty(receipt))
    try:
        lock = folder.lock("send")
    except FolderInUse:
        last = _last_order(log, receipt)
        with closing(open_deliveries(folder.deliveries)) as store:
            if last is None or store.position() < last:
                return waits("the sender has not read yet what takes deliveries back")
        return _emptied(folder, log, receipt, placed)
    with lock:
        return _emptied(folder, log, receipt, placed)


def gone_records(config: Config, folder: DataFolder, log: Log, about: About) -> set[int]:
    """The records of theirs that went out of the log for their age, as the archive knows them.

    Raises `FolderInUse` while the archive is written.
    """
    first = log.cutting.first()
    if first <= 1:
        return set()
    from lendsignal.archive.keeper import records_of  # here: it brings DuckDB

    return {one for one in records_of(folder, config.archive, about.users) if event_of(one)[0] < first}


def _emptied(folder: DataFolder, log: Log, receipt: str, placed: Collection[int]) -> Step:
    with closing(open_deliveries(folder.deliveries)) as store:
        open_ = store.still_open(placed)
        if open_:
            return waits(f"{open_} deliveries are on their way, or wait for the sender to end them")
        dead, answers = store.let_go(placed)
    offers = 0
    if folder.relay.exists():
        with closing(open_shelf(folder.relay)) as shelf:
            for record in placed:
                first = record * ENTRIES_PER_RECORD
                offers += shelf.let_go(first, first + ENTRIES_PER_RECORD - 1)
    records = log.erasing.empty(receipt)
    return Step(DONE, records, f"{dead} kept requests, {answers} answers, {offers} offers for apps")


def _last_order(log: Log, receipt: str) -> int | None:
    """The last record that takes a delivery back; 0 where none does, `None` while it is not decided."""
    orders = log.erasing.orders(receipt)
    if not orders:
        return 0
    if log.position() < orders[-1]:
        return None
    found = log.records(record_id(orders[-1], 0) - 1, RECORDS_PER_EVENT)
    return max((number for number, _ in found if event_of(number)[0] == orders[-1]), default=0)


def feeds(
    folder: DataFolder, installations: Sequence[tuple[str, str]], users: Sequence[tuple[str, str]]
) -> Step:
    """What MMPs told of their installations and of them."""
    if not folder.feeds.exists():
        return Step(NOT_THERE)
    with closing(open_feeds(folder.feeds)) as store:
        return Step(DONE, store.erase(installations, users))


def archive(config: Config, folder: DataFolder, about: About, clock: Clock) -> Step:
    """Every row of theirs in the archive's files, which are written anew without it."""
    from lendsignal.archive.keeper import brought_up, erase  # here: they bring DuckDB

    if not folder.archive.exists():
        return Step(NOT_THERE)
    persons = [] if about.person is None else [about.person]
    n = erase(folder, config.archive, about.users, persons)
    # The days of the feeds that were struck are written anew by the next turn of the archive.
    brought_up(folder, config.archive, clock.now_us())
    return Step(DONE, n)


ONCE, TWICE = "lists are built without them soon", "lists are built once more: two builds are kept of each"


def audiences(config: Config, folder: DataFolder, about: About, clock: Clock, before: Stepped | None) -> Step:
    """Contacts and ids that lists are made of. The lists follow: the platforms are told to let go by the
    ordinary difference, and the ids by which they are told go when they have said yes.

    The job of the lists is told to build all of them soon, and once more after that.
    """
    from lendsignal.audience.planning import builder  # here: it brings DuckDB and numpy

    if not folder.audiences.exists():
        return Step(NOT_THERE)
    asked = before is not None and before.state == ASKED
    with folder.lock("audience"):
        if not asked:
            with closing(builder(config, clock)) as found:
                found.forget({f"{brand}:{user}" for brand, user in about.users})
        left = _on_lists(folder, [key_number(*user) for user in about.users])
        if not left or not config.lists:
            return Step(DONE, len(about.users))
        with closing(open_audiences(folder.audiences)) as book:
            if before is None or not asked:
                book.move("whole_us", 0)
                return Step(ASKED, 0, ONCE)
            if before.note == ONCE and book.position("whole_us") > before.at_us:
                book.move("whole_us", 0)
                return Step(ASKED, 0, TWICE)
    return Step(ASKED, 0, before.note)


def _on_lists(folder: DataFolder, keys: Sequence[int]) -> int:
    """How many files of lists hold one of these users."""
    from lendsignal.audience.files import Files, quoted

    with closing(open_audiences(folder.audiences, read_only=True)) as book:
        names = [name for kind in ("ids", "members", "confirmed") for name in book.files(kind)]
    n = 0
    with closing(Files(folder)) as files:
        named = ", ".join(map(str, keys)) or "null"
        for name in names:
            path = files.root / name
            if path.exists():
                query = f"select 1 from read_parquet({quoted(path)}) where user_key in ({named}) limit 1"
                n += files.db.execute(query).fetchone() is not None
    return n


def spools(about: About) -> Step:
    """Events that wait, or were refused, in files of the Python client on this machine."""
    if not about.spools:
        return Step(NOT_THERE)
    n = 0
    for place in about.spools:
        if not Path(place).exists():
            raise NotYet(place)
        db = apsw.Connection(place, flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            db.set_busy_timeout(30_000)
            db.execute("pragma secure_delete = on")
            n += _struck_from(db, about)
        finally:
            db.close()
        empty_log_of(Path(place))
    return Step(DONE, n)


def _struck_from(db: apsw.Connection, about: About) -> int:
    n = 0
    for table in ("event", "refused"):
        db.execute("begin immediate")
        try:
            for id_, body in db.execute(f"select id, body from {table}").fetchall():
                if _is_theirs(body, about):
                    db.execute(f"delete from {table} where id = ?", (id_,))
                    n += 1
            db.execute("commit")
        except BaseException:
            db.execute("rollback")
            raise
    return n


def _is_theirs(body: object, about: About) -> bool:
    try:
        found = msgspec.json.decode(body if isinstance(body, bytes) else str(body))
    except msgspec.DecodeError:
        return False
    if not isinstance(found, dict):
        return False
    if about.person is not None and found.get("person_id") == about.person:
        return True
    return (found.get("brand"), found.get("user_id")) in about.users


def files(folder: DataFolder) -> Step:
    """Folds the write-ahead logs into their files and cuts them off: old pages stand there until then."""
    left = [path.name for path in folder.databases() if not empty_log_of(path)]
    return waits(f"somebody reads {', '.join(left)}") if left else Step(DONE)


SCRUBBED_ROLES = ("run", "core", "door", "send", "web", "pull", "import", "archive", "audience", "erase")


def scrubbed(folder: DataFolder) -> int:
    """Writes every database anew, so that no page holds a copy of what was deleted; bytes they had before.

    SQLite leaves such copies behind where it moves rows between pages. Needs as much free disk as the largest
    file has, and the folder for itself: raises `FolderInUse` where any role is at work.
    """
    before = 0
    with ExitStack() as alone:
        for role in SCRUBBED_ROLES:
            alone.enter_context(folder.lock(role))
        for path in folder.databases():
            before += path.stat().st_size
            db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
            try:
                db.execute("vacuum")
            finally:
                db.close()
            empty_log_of(path)
    return before
