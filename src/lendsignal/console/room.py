"""What pages look at: the configuration, the data folder, and its tables as they stood a moment ago."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from threading import Lock
from typing import TYPE_CHECKING, TypeAlias

from lendsignal.clock import clock_at
from lendsignal.config import Config
from lendsignal.log import DataFolder
from lendsignal.log.people import People, open_people

if TYPE_CHECKING:  # reports bring their database with them: loaded when the first page looks at one
    from lendsignal.report import Report, Tables
    from lendsignal.report.slices import Slice

Maker: TypeAlias = "Callable[[Config, Tables, Slice, Mapping[str, str]], Report]"
"""Makes a report of a slice, with the report's own words."""

FRESH_SECONDS = 5.0
"""How old tables may be while the folder is being written."""


class Room:
    """One data folder as all pages see it; safe to be used from several threads."""

    def __init__(self, config: Config, makers: Mapping[str, Maker] | None = None) -> None:
        self.config = config
        self.makers = makers or {}
        self.folder = DataFolder(config.data)
        self.clock = clock_at(config.replay_clock)
        self._tables: Tables | None = None
        self._written = -1
        self._read_at = 0.0
        self._reading = Lock()

    def now_us(self) -> int:
        """The service's present moment, in microseconds since 1970."""
        return self.clock.now_us()

    @contextmanager
    def tables(self) -> Iterator["Tables"]:
        """The tables of every report, for one page at a time; read again where something came since."""
        from lendsignal.report import load

        with self._reading:
            written = self.folder.last_written()
            old = time.monotonic() - self._read_at > FRESH_SECONDS
            if self._tables is None or (old and written != self._written):
                if self._tables is not None:
                    self._tables.close()
                    self._tables = None
                self._tables = load(self.folder)
                self._written, self._read_at = written, time.monotonic()
            yield self._tables

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
