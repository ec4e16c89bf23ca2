"""Where a door of a cluster puts events while the store is away: a file of its own, drained in order.

What is answered is durable either way. While the file holds anything of a user, what comes of that user goes
behind it, so that everybody's events reach the store in the order in which they were answered. What the store
may have taken without saying so is told once more, and is a `duplicate` there.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Condition, Lock, Thread

import apsw
import msgspec
from msgspec import Struct

from lendsignal.errors import DataError, LogError
from lendsignal.log.engine import Taking
from lendsignal.log.log import Fact
from lendsignal.log.numbers import number_of_user
from lendsignal.log.patience import Patience
from lendsignal.log.quarantine import Quarantined
from lendsignal.log.sqlite import BUSY_MS, Guard, connect, row, rows, transaction
from lendsignal.model import Event, person_key
from lendsignal.plan import Verdict

logger = logging.getLogger(__name__)

SCHEMA = """
create table if not exists spooled (
    id integer primary key autoincrement,   -- the order in which they came
    who integer,                            -- number_of_user; null: a refusal, which is nobody's
    at_us integer not null,
    body blob not null                      -- msgpack of Event, or of Quarantined
);
"""

AT_ONCE = 500
"""Rows that the store is told together."""

PATIENCE_SECONDS = 5.0
"""How long the store may take for events that somebody waits for."""

AWAY_SECONDS = 0.25
"""How soon a store that did not answer is tried again."""

TROUBLE_SECONDS = 5.0
"""How soon it is tried again where something is wrong that is not the store's absence."""

STOP_SECONDS = 5.0

FULL = 0.95
"""The share of its limit at which a spool counts as full: other doors had better be asked."""

_out = msgspec.msgpack.Encoder().encode
_event = msgspec.msgpack.Decoder(Event).decode
_refused = msgspec.msgpack.Decoder(Quarantined).decode


class Spooled(Struct, frozen=True, kw_only=True):
    """What waits for the store. `oldest_us`: when the first of it came; `None` where nothing waits."""

    rows: int = 0
    bytes: int = 0
    oldest_us: int | None = None


class Spool:
    """A log as a door sees it, which takes events also while the store does not.

    `direct` is the store for whoever waits for an answer. `drained` and `asked` are the same over connections
    of their own: nobody who looks something up, and nothing that waited, holds up who writes. `limit` is how
    many bytes may wait; beyond them events are refused with `LogError`. Safe to share between
    threads. One process has the file at a time.
    """

    def __init__(
        self,
        direct: Taking,
        drained: Taking,
        asked: Taking,
        path: Path,
        now_us: Callable[[], int],
        *,
        limit: int,
        patience_seconds: float = PATIENCE_SECONDS,
        away_seconds: float = AWAY_SECONDS,
    ) -> None:
        self._direct = direct
        self._drained = drained
        self._asked = asked
        self._now_us = now_us
        self._limit = limit
        self._away_seconds = away_seconds
        self._db = connect(path, SCHEMA)
        self._file = Guard(self._db)
        self._line: Patience[Sequence[Event]] = Patience(direct.append, patience_seconds)
        self._appending = Lock()
        self._changed = Condition()
        self._held: Counter[int | None] = Counter()
        self._rows = self._bytes = 0
        for who, size in self._db.execute("select who, length(body) from spooled"):
            self._held[who] += 1
            self._rows += 1
            self._bytes += size
        self._is_away = bool(self._held)  # until the drain has found it there
        self._stopping = False
        self._thread = Thread(target=self._drain, name="spool", daemon=True)

    def start(self) -> None:
        """Begins to drain what waits, now and whenever something does."""
        self._thread.start()

    def close(self) -> None:
        """Ends; what waits is drained by whoever opens the file next."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)
        self._line.end()
        if not self._thread.is_alive():  # else it still waits for a store that is frozen
            with self._file:
                self._db.close()

    # taking

    def append(self, events: Sequence[Event], *, imported: tuple[str, str, int, bool] | None = None) -> int:
        """Makes events durable, here or in the store. They are numbered when they are decided: 0.

        Raises `LogError` where neither takes them. An import goes to the store alone.
        """
        if imported is not None:
            if self._held:
                raise LogError("events wait for the store: the import goes on when they are there")
            return self._direct.append(events, imported=imported)
        whose = [number_of_user(person_key(event)) for event in events]
        with self._appending:
            behind = {place for place, who in enumerate(whose) if self._is_away or who in self._held}
            ahead = [event for place, event in enumerate(events) if place not in behind]
            if ahead and not self._told(ahead):
                behind = set(range(len(events)))
            if behind:
                self._keep([(whose[place], _out(events[place])) for place in sorted(behind)])
        return 0

    def refuse(self, refused: Sequence[Quarantined]) -> None:
        """Keeps what the door refused, durably. While some wait here, others do too."""
        if not self._is_away and not self._held[None]:
            try:
                self._direct.refuse(refused)
                return
            except LogError as error:
                self._goes_away(error)
        self._keep([(None, _out(one)) for one in refused])

    def _told(self, events: Sequence[Event]) -> bool:
        """Whether the store has taken them."""
        try:
            self._line.tell(events)
        except DataError:
            raise
        except LogError as error:
            self._goes_away(error)
            return False
        return True

    def _goes_away(self, error: LogError) -> None:
        with self._changed:
            if not self._is_away:
                logger.warning("%s; events are kept here until it does", error)
            self._is_away = True

    def _keep(self, found: Sequence[tuple[int | None, bytes]]) -> None:
        size = sum(len(body) for _, body in found)
        if self._bytes + size > self._limit:
            raise LogError(
                f"the store is away, and {self._bytes:,} bytes wait for it already: nothing more fits"
            )
        at_us = self._now_us()
        try:
            with self._file, transaction(self._db):
                self._db.executemany(
                    "insert into spooled (who, at_us, body) values (?, ?, ?)",
                    [(who, at_us, body) for who, body in found],
                )
        except apsw.Error as error:
            raise LogError(f"the spool cannot be written: {error}") from error
        with self._changed:
            self._held.update(who for who, _ in found)
            self._rows += len(found)
            self._bytes += size
            self._changed.notify_all()

    # what is asked

    def imported(self, file: str) -> tuple[int, bool]:
        """How many rows of that file are durable already, and whether it was finished."""
        return self._asked.imported(file)

    def find(self, event_id: str) -> list[tuple[Fact, Verdict | None]]:
        """The events of that id, oldest first, each with its verdict; `None` where it is not decided yet.

        What waits here has no number yet: 0. Raises `LogError` where nothing does and the store is away.
        """
        found = [(Fact(0, event), None) for event in self._waiting_events() if event.event_id == event_id]
        try:
            return [*self._asked.find(event_id), *found]
        except LogError:
            if found:
                return list(found)
            raise

    def _waiting_events(self) -> list[Event]:
        if not self._held:
            return []
        with self._file:
            found = rows(self._db, "select body from spooled where who is not null order by id")
        return [_event(body) for (body,) in found]

    def quarantined(self, limit: int = 100) -> list[Quarantined]:
        """The youngest refusals first, of those in the store."""
        return self._asked.quarantined(limit)

    def refusals(self) -> dict[tuple[str, str], int]:
        """How many events were refused, by field and rule, of those in the store."""
        return self._asked.refusals()

    def standing(self) -> Spooled:
        """What waits."""
        with self._file:
            first = row(self._db, "select at_us from spooled order by id limit 1")
        return Spooled(rows=self._rows, bytes=self._bytes, oldest_us=None if first is None else first[0])

    @property
    def is_full(self) -> bool:
        """Whether the store is away and hardly anything more fits."""
        return self._is_away and self._bytes >= self._limit * FULL

    # draining

    def _drain(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._held or self._is_away)
                if self._stopping:
                    return
            try:
                if self._drain_events():
                    continue
            except LogError as error:
                self._goes_away(error)
                self._rest(self._away_seconds)
                continue
            except Exception as error:  # what waits stays where it is, and the doctor tells for how long
                self._is_stuck(error)
                continue
            try:
                self._drain_refusals()
            except LogError:  # events may go elsewhere than refusals: they are not held up by them
                self._rest(self._away_seconds)
            except Exception as error:
                self._is_stuck(error)

    def _is_stuck(self, error: Exception) -> None:
        logger.error("the spool is not drained: %s: %s", type(error).__name__, error)
        self._rest(TROUBLE_SECONDS)

    def _rest(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, seconds)

    def _drain_events(self) -> bool:
        """The first that wait go to the store, and out of the file once they are durable there; whether there
        were any."""
        found = self._first("who is not null")
        if not found and not self._is_away:
            return False
        # With nothing to tell, it is asked whether it answers.
        self._drained.append([_event(body) for _, _, body in found])
        self._drop(found)
        with self._changed:
            if self._is_away:
                logger.info("the store takes events again; %d wait here", self._rows)
            self._is_away = False
        return bool(found)

    def _drain_refusals(self) -> None:
        found = self._first("who is null")
        if found:
            self._drained.refuse([_refused(body) for _, _, body in found])
        self._drop(found)

    def _first(self, which: str) -> list[tuple[int, int | None, bytes]]:
        with self._file:
            return rows(
                self._db, f"select id, who, body from spooled where {which} order by id limit ?", (AT_ONCE,)
            )

    def _drop(self, found: Sequence[tuple[int, int | None, bytes]]) -> None:
        if found:
            with self._file, transaction(self._db):
                self._db.executemany("delete from spooled where id = ?", [(one[0],) for one in found])
        with self._changed:
            for _, who, body in found:
                self._rows -= 1
                self._bytes -= len(body)
                self._held[who] -= 1
                if not self._held[who]:
                    del self._held[who]


def standing_of(path: Path) -> Spooled:
    """What waits in a file, while a door works with it or not; nothing where there is none."""
    if not path.exists():
        return Spooled()
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        db.set_busy_timeout(BUSY_MS)
        found = row(db, "select count(*), coalesce(sum(length(body)), 0), min(at_us) from spooled")
    except apsw.Error as error:
        raise LogError(f"{path.name} cannot be read: {error}") from error
    finally:
        db.close()
    assert found is not None, "an aggregate gives one row"
    return Spooled(rows=found[0], bytes=found[1], oldest_us=found[2])
