"""Parts of pages that were reckoned a moment ago, for whoever asks the same of the same data."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock

MOST_LETTERS = 12_000_000
"""All that is kept, in letters of HTML: some hundred reports."""


class Answers:
    """The latest answers by what was asked; safe to be used from several threads.

    What two ask for at the same time is reckoned once. What raises is not kept.
    """

    def __init__(self, most: int = MOST_LETTERS) -> None:
        self._most = most
        self._letters = 0
        self._kept: OrderedDict[Hashable, str] = OrderedDict()
        self._at_work: dict[Hashable, Lock] = {}
        self._lock = Lock()

    def of(self, asked: Hashable, made: Callable[[], str]) -> str:
        """The answer, `made` where there is none yet."""
        with self._lock:
            if asked in self._kept:
                self._kept.move_to_end(asked)
                return self._kept[asked]
            mine = self._at_work.setdefault(asked, Lock())
        with mine:
            with self._lock:
                if asked in self._kept:  # somebody else made it meanwhile
                    return self._kept[asked]
            try:
                found = made()
                self._keep(asked, found)
            finally:
                with self._lock:
                    self._at_work.pop(asked, None)
        return found

    def _keep(self, asked: Hashable, found: str) -> None:
        if len(found) > self._most:
            return
        with self._lock:
            self._letters += len(found) - len(self._kept.pop(asked, ""))
            self._kept[asked] = found
            while self._letters > self._most:
                _, oldest = self._kept.popitem(last=False)
                self._letters -= len(oldest)
