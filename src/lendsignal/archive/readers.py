"""Who reads the archive's files now: none of them goes away or changes while somebody does."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def reading(beside: Path) -> Iterator[None]:
    """Files stay what they are meanwhile. `beside` is the archive's book; any number may read at once."""
    with _held(beside, fcntl.LOCK_SH):
        yield


@contextmanager
def changing(beside: Path) -> Iterator[None]:
    """Nobody reads meanwhile: waits until those who do have ended, which takes as long as a report."""
    with _held(beside, fcntl.LOCK_EX):
        yield


@contextmanager
def _held(beside: Path, how: int) -> Iterator[None]:
    with beside.with_suffix(".readers").open("a") as file:
        fcntl.flock(file, how)
        yield
