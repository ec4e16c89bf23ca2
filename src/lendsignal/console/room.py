"""What pages look at: the configuration, the data folder, and its tables as they stood a moment ago."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeAlias

from lendsignal.clock import clock_at
from lendsignal.config import Config
from lendsignal.console.answers import Answers
from lendsignal.console.chores import Chores
from lendsignal.console.drafts import Drafts
from lendsignal.decide.promoting import Promoting
from lendsignal.deliver import Standing
from lendsignal.deliver.giving import standing
from lendsignal.deliver.steering import Steering, steering_of
from lendsignal.errors import LogError
from lendsignal.log import DataFolder, KeyStore, keys_of, open_log
from lendsignal.log.people import People, open_people
from lendsignal.log.refusals import Refusing, refusing

if TYPE_CHECKING:  # reports bring their database with them: loaded when the first page looks at one
    from lendsignal.report import Report, Tables
    from lendsignal.report.slices import Slice

Maker: TypeAlias = "Callable[[Config, Tables, Slice, Mapping[str, str]], Report]"
"""Makes a report of a slice, with the report's own words."""

InStep: TypeAlias = Callable[[Config, Sequence[str]], str]
"""Tells the platforms what changed in these lists, and says what came of it."""

Market: TypeAlias = Callable[[Sequence[str], int, int], "Report"]
"""Compares strategies, each the text of a file, in so many made-up worlds from a seed on."""

FRESH_SECONDS = 5.0
"""How old tables may be while the folder is being written."""

FRESH_TIMES = 20
"""Tables that took long to read may be older: so many times what reading them took, so that a busy folder
keeps no processor busy with reading it."""


class Room:
    """One data folder as all pages see it; safe to be used from several threads.

    On a cluster the folder is a desk's copy, which pages read and nobody here writes: what they change goes
    to the store, by the ways below.
    """

    def __init__(
        self,
        config: Config,
        makers: Mapping[str, Maker] | None = None,
        in_step: InStep | None = None,
        market: Market | None = None,
    ) -> None:
        self.config = config
        self.makers = makers or {}
        self.in_step = in_step
        self.market = market
        self.folder = DataFolder(config.data)
        self.clock = clock_at(config.replay_clock)
        self.answers = Answers()
        self.chores = Chores(self.now_us)
        self.drafts = Drafts(config.path)
        self._tables: Tables | None = None
        self._written = -1
        self._read_at = 0.0
        self._took = 0.0
        self._reading = Lock()

    def now_us(self) -> int:
        """The service's present moment, in microseconds since 1970."""
        return self.clock.now_us()

    def position(self) -> tuple[int, int]:
        """Which data pages are told of now: it changes when the next `tables` are others."""
        return (self._written if self._are_good() else self._last_written(), _written(self.folder.proposals))

    @contextmanager
    def tables(self) -> Iterator["Tables"]:
        """The tables of every report, for one page at a time; read again where something came since."""
        from lendsignal.report import load

        with self._reading:
            if self._tables is None or not self._are_good():
                if self._tables is not None:
                    self._tables.close()
                    self._tables = None
                begun = time.monotonic()
                written = self._last_written()
                self._tables = load(self.folder)
                self._written, self._read_at = written, time.monotonic()
                self._took = self._read_at - begun
            yield self._tables

    def _are_good(self) -> bool:
        """Whether the tables that were read last are those to be told of."""
        if self._tables is None:
            return False
        young = time.monotonic() - self._read_at <= max(FRESH_SECONDS, FRESH_TIMES * self._took)
        return young or self._last_written() == self._written

    def _last_written(self) -> int:
        """When something that tables are made of was written last."""
        return max(self.folder.last_written(), _written(self.folder.feeds))

    def steering(self) -> Steering:
        """The way to whoever sends."""
        return steering_of(self.folder, self.config.store)

    def standing(self) -> list[Standing]:
        """How each destination stands. While the store is away that is told by the copy, without who."""
        try:
            return self.steering().standing(self.config.outlets)
        except LogError:
            if self.config.store is None:
                raise
            return standing(self.folder, self.config.outlets)

    def refusing(self, *, read_only: bool = False) -> AbstractContextManager[Refusing]:
        """What the doors refused, while the block runs."""
        return refusing(self.folder, self.config.store, read_only=read_only)

    @contextmanager
    def rules(self) -> Iterator[Promoting]:
        """Where a value model is put in force."""
        store = self.config.store
        if store is None:
            with closing(open_log(self.folder.log)) as log:
                yield log
            return
        # With the store's client, which no other install has.
        from lendsignal.log.cluster import rules_of
        from lendsignal.log.postgres import database_of

        with closing(database_of(store)) as database:
            yield rules_of(store, database)

    @contextmanager
    def keys(self) -> Iterator[KeyStore]:
        """The keys of sources."""
        with closing(keys_of(self.folder, self.config.store)) as found:
            yield found

    @contextmanager
    def people(self) -> Iterator[People]:
        """The members of the console."""
        with closing(open_people(self.folder.people)) as people:
            yield people

    def close(self) -> None:
        """Lets the tables go."""
        with self._reading:
            if self._tables is not None:
                self._tables.close()
                self._tables = None


def _written(path: Path) -> int:
    """When a database was written last, in nanoseconds of the file system's clock; 0: never."""
    latest = 0
    for file in (path, Path(f"{path}-wal")):
        with suppress(FileNotFoundError):
            latest = max(latest, file.stat().st_mtime_ns)
    return latest
