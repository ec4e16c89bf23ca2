"""Where a door of a cluster puts what MMPs told while the store is away: a file, drained in order.

What is answered is durable either way. While anything waits here, all that comes goes behind it. What the
store may have taken without saying so is told once more, and changes nothing there.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from threading import Condition, Thread
from typing import Protocol, TypeAlias

import apsw
import msgspec

from lendsignal.errors import LogError
from lendsignal.log.patience import Patience
from lendsignal.log.spool import (
    AT_ONCE,
    AWAY_SECONDS,
    PATIENCE_SECONDS,
    STOP_SECONDS,
    TROUBLE_SECONDS,
    Spooled,
)
from lendsignal.log.sqlite import BUSY_MS, Guard, connect, row, rows, transaction
from lendsignal.model.attribution import Attribution, Recorded

logger = logging.getLogger(__name__)

Fact: TypeAlias = Attribution | Recorded

SCHEMA = """
create table if not exists told (
    id integer primary key autoincrement,   -- the order in which they came
    at_us integer not null,
    kind text not null,                     -- attribution, recorded
    body blob not null                      -- msgpack of it
);
"""

STANDING = "select count(*), coalesce(sum(length(body)), 0), min(at_us) from told"

_out = msgspec.msgpack.Encoder().encode
_attribution = msgspec.msgpack.Decoder(Attribution).decode
_recorded = msgspec.msgpack.Decoder(Recorded).decode


class Telling(Protocol):
    """The store's side, which a fact that is told again changes nothing in."""

    def take(self, facts: Iterable[Fact]) -> None: ...

    def close(self) -> None: ...


class ToldSpool:
    """The feeds of a cluster as a door sees them: it takes facts also while the store does not.

    `direct` is the store for whoever waits for an answer, `drained` the same over a connection of its own.
    `limit` is how many bytes may wait; beyond them facts are refused with `LogError`. One thread tells it,
    and one process has the file at a time.
    """

    def __init__(
        self,
        direct: Telling,
        drained: Telling,
        path: Path,
        now_us: Callable[[], int],
        *,
        limit: int,
        patience_seconds: float = PATIENCE_SECONDS,
        away_seconds: float = AWAY_SECONDS,
    ) -> None:
        self._direct = direct
        self._drained = drained
        self._now_us = now_us
        self._limit = limit
        self._away_seconds = away_seconds
        self._db = connect(path, SCHEMA)
        self._file = Guard(self._db)
        self._line: Patience[Sequence[Fact]] = Patience(direct.take, patience_seconds)
        self._changed = Condition()
        self._waits = _standing(self._db)
        self._is_away = self._waits.rows > 0  # until the drain has found it there
        self._stopping = False
        self._thread = Thread(target=self._drain, name="told", daemon=True)

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
            self._direct.close()
            self._drained.close()

    def take(self, facts: Iterable[Fact]) -> None:
        """Makes facts durable, here or in the store. Raises `LogError` where neither takes them."""
        found = list(facts)
        if not found or (not self._is_away and not self._waits.rows and self._was_told(found)):
            return
        self._keep(found)

    def standing(self) -> Spooled:
        """What waits."""
        with self._file:
            return _standing(self._db)

    def _was_told(self, facts: Sequence[Fact]) -> bool:
        """Whether the store has taken them."""
        try:
            self._line.tell(facts)
        except LogError as error:
            self._goes_away(error)
            return False
        return True

    def _goes_away(self, error: LogError) -> None:
        with self._changed:
            if not self._is_away:
                logger.warning("%s; what MMPs tell is kept here until it does", error)
            self._is_away = True
            self._changed.notify_all()

    def _keep(self, facts: Sequence[Fact]) -> None:
        packed = [(_kind_of(one), _out(one)) for one in facts]
        size = sum(len(body) for _, body in packed)
        if self._waits.bytes + size > self._limit:
            raise LogError(
                f"the store is away, and {self._waits.bytes:,} bytes of what MMPs told wait for it already:"
                " nothing more fits"
            )
        at_us = self._now_us()
        try:
            with self._file, transaction(self._db):
                self._db.executemany(
                    "insert into told (at_us, kind, body) values (?, ?, ?)",
                    [(at_us, kind, body) for kind, body in packed],
                )
        except apsw.Error as error:
            raise LogError(f"the spool cannot be written: {error}") from error
        self._look()

    def _look(self) -> None:
        with self._changed:
            self._waits = self.standing()
            self._changed.notify_all()

    # draining

    def _drain(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._waits.rows or self._is_away)
                if self._stopping:
                    return
            try:
                self._drain_once()
            except LogError as error:
                self._goes_away(error)
                self._rest(self._away_seconds)
            except Exception as error:  # what waits stays where it is, and the doctor tells for how long
                logger.error("what MMPs told is not drained: %s: %s", type(error).__name__, error)
                self._rest(TROUBLE_SECONDS)

    def _rest(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, seconds)

    def _drain_once(self) -> None:
        """The first that wait go to the store; each goes out of the file once it is durable there."""
        with self._file:
            found = rows(self._db, "select id, kind, body from told order by id limit ?", (AT_ONCE,))
        if found:
            self._drained.take([_read(kind, body) for _, kind, body in found])
            with self._file, transaction(self._db):
                self._db.execute("delete from told where id <= ?", (found[-1][0],))
            self._look()
        with self._changed:
            if self._is_away:
                logger.info("the store takes what MMPs tell again; %d wait here", self._waits.rows)
            self._is_away = False


def told_standing_of(path: Path) -> Spooled:
    """What waits in a file, while a door works with it or not; nothing where there is none."""
    if not path.exists():
        return Spooled()
    try:
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as db:
            db.set_busy_timeout(BUSY_MS)
            return _standing(db)
    except apsw.Error as error:
        raise LogError(f"{path.name} cannot be read: {error}") from error


def _standing(db: apsw.Connection) -> Spooled:
    found = row(db, STANDING)
    assert found is not None, "an aggregate gives one row"
    return Spooled(rows=found[0], bytes=found[1], oldest_us=found[2])


def _kind_of(fact: Fact) -> str:
    return "attribution" if isinstance(fact, Attribution) else "recorded"


def _read(kind: str, body: bytes) -> Fact:
    return _attribution(body) if kind == "attribution" else _recorded(body)
