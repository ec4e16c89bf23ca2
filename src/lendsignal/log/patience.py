"""Tells a store things one after the other, and waits for its word for so long alone."""

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswer
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

from lendsignal.errors import LogError

T = TypeVar("T")


class Patience(Generic[T]):
    """Tells the store in a thread of its own, so that a store that froze keeps nobody waiting for long.

    Used by one thread at a time.
    """

    def __init__(self, told: Callable[[T], object], seconds: float) -> None:
        self._told = told
        self._seconds = seconds
        self._asked: SimpleQueue[tuple[T, Future[None]] | None] = SimpleQueue()
        self._last: Future[None] | None = None
        Thread(target=self._run, name="store", daemon=True).start()

    def tell(self, what: T) -> None:
        """Returns when it is durable. Raises what the store raised, `LogError` where it says nothing: then
        it may be durable or not."""
        if self._last is not None and not self._last.done():
            raise LogError("the store still says nothing")
        answer: Future[None] = Future()
        self._last = answer
        self._asked.put((what, answer))
        try:
            answer.result(self._seconds)
        except NoAnswer as error:
            raise LogError(f"the store has said nothing for {self._seconds:g} s") from error

    def end(self) -> None:
        """No more will come."""
        self._asked.put(None)

    def _run(self) -> None:
        while (asked := self._asked.get()) is not None:
            what, answer = asked
            try:
                self._told(what)
                answer.set_result(None)
            except Exception as error:
                with suppress(Exception):
                    answer.set_exception(error)
