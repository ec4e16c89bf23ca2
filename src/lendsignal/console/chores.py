"""Work that a form starts and nobody waits for: one at a time, and what came of the last is told."""

import logging
from collections.abc import Callable
from threading import Lock, Thread

from msgspec import Struct

from lendsignal.errors import InputError, LendsignalError

logger = logging.getLogger(__name__)


class Chore(Struct, frozen=True, kw_only=True):
    """Something that was started. Moments are microseconds since 1970; `ended_us` is `None` while it runs."""

    name: str
    who: str
    started_us: int
    ended_us: int | None = None
    said: str = ""
    good: bool = True


class Chores:
    """What one console works at, in a thread of its own."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._last: Chore | None = None
        self._thread: Thread | None = None
        self._lock = Lock()

    @property
    def last(self) -> Chore | None:
        """The one at work, else the last that ended."""
        return self._last

    def start(self, name: str, who: str, work: Callable[[], str]) -> None:
        """Starts `work`, which says what came of it. Raises `InputError` while another one runs."""
        with self._lock:
            if self._last is not None and self._last.ended_us is None:
                raise InputError("work", f"{self._last.name} is at work: wait until it has ended")
            self._last = Chore(name=name, who=who, started_us=self._now_us())
            self._thread = Thread(target=self._do, args=(self._last, work), name="chore", daemon=True)
            self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Waits for the one at work; whether it has ended."""
        if self._thread is not None:
            self._thread.join(seconds)
            return not self._thread.is_alive()
        return True

    def _do(self, chore: Chore, work: Callable[[], str]) -> None:
        said, good = "", False
        try:
            said, good = work(), True
        except LendsignalError as error:
            said = str(error)
        except Exception as error:
            logger.exception("%s ended by a mistake of ours", chore.name)
            said = f"it ended by a mistake of ours: {type(error).__name__}"
        self._last = Chore(
            name=chore.name,
            who=chore.who,
            started_us=chore.started_us,
            ended_us=self._now_us(),
            said=said,
            good=good,
        )
