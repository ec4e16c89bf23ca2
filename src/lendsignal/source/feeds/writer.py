"""Group commit for feeds: one thread makes durable whatever came in while the last commit ran."""

import logging
from collections.abc import Callable, Iterable, Sequence
from threading import Condition, Thread
from typing import Protocol

from lendsignal.source.feeds.feed import Fact
from lendsignal.source.intake import Full

logger = logging.getLogger(__name__)

QUEUE = 20_000
"""Facts that may wait to be written before who brings more is told to come again."""

AT_ONCE = 2_000

Done = Callable[[Exception | None], None]


class Teller(Protocol):
    """Where facts are kept: the feeds of a data folder, or of a cluster's store."""

    def take(self, facts: Iterable[Fact]) -> None: ...

    def close(self) -> None: ...


class FeedWriter:
    """Takes facts from any thread; `done` is called in the writer's own, when they are durable or refused."""

    def __init__(self, feeds: Teller, *, limit: int = QUEUE) -> None:
        self._feeds = feeds
        self._limit = limit
        self._waiting: list[tuple[Sequence[Fact], Done]] = []
        self._count = 0
        self._wake = Condition()
        self._stopping = False
        self._thread = Thread(target=self._run, name="feeds", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Writes what has come in, then ends and closes the store."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()
        self._feeds.close()

    def submit(self, facts: Sequence[Fact], done: Done) -> None:
        """Has facts made durable; raises `Full` where too many wait already."""
        with self._wake:
            if (self._count and self._count + len(facts) > self._limit) or self._stopping:
                raise Full("too many messages of feeds wait to be written")
            self._waiting.append((facts, done))
            self._count += len(facts)
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._stopping:
                    self._wake.wait()
                if not self._waiting:
                    return
                batch = self._taken()
            error: Exception | None = None
            try:
                self._feeds.take([fact for facts, _ in batch for fact in facts])
            except Exception as failure:
                logger.error("the store of feeds does not take messages: %s", failure)
                error = failure
            for _, done in batch:
                try:
                    done(error)
                except RuntimeError:  # whoever asked is gone, and its loop closed
                    logger.warning("nobody waits for an answer any more")

    def _taken(self) -> list[tuple[Sequence[Fact], Done]]:
        n = taken = 0
        while taken < len(self._waiting) and (not taken or n < AT_ONCE):
            n += len(self._waiting[taken][0])
            taken += 1
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        self._count -= n
        return batch
