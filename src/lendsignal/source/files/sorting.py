"""Sorting more items than memory holds: sorted runs in temporary files, merged when they are read."""

import heapq
import tempfile
from collections.abc import Iterator
from typing import IO, Any

import msgspec

Key = tuple[Any, ...]

AT_HAND = 200_000
"""Items held in memory, about 100 MB of events; as many again are never needed."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[list[Any], bytes]).decode


class Sorted:
    """Items by their keys: put in any order, read in the order of the keys. Keys must differ.

    Temporary files take about as many bytes as the items; they have no name and go with the process.
    """

    def __init__(self, at_hand: int = AT_HAND) -> None:
        self._at_hand = at_hand
        self._items: list[tuple[Key, bytes]] = []
        self._runs: list[IO[bytes]] = []
        self.count = 0

    def put(self, key: Key, item: bytes) -> None:
        """Takes one item. Keys are tuples of numbers and texts, all of one shape."""
        self._items.append((key, item))
        self.count += 1
        if len(self._items) >= self._at_hand:
            self._write()

    def __iter__(self) -> Iterator[tuple[Key, bytes]]:
        """Every item in order; may be read more than once, but not twice at a time."""
        self._items.sort()
        return heapq.merge(self._items, *map(_read, self._runs))

    def close(self) -> None:
        """Lets go of memory and files."""
        self._items.clear()
        for run in self._runs:
            run.close()

    def __enter__(self) -> "Sorted":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self) -> None:
        self._items.sort()
        run = tempfile.TemporaryFile(prefix="lendsignal-import-")  # noqa: SIM115 - closed by `close`
        for key, item in self._items:
            body = _encode((key, item))
            run.write(len(body).to_bytes(4, "big") + body)
        self._runs.append(run)
        self._items.clear()


def _read(run: IO[bytes]) -> Iterator[tuple[Key, bytes]]:
    run.seek(0)
    while size := run.read(4):
        key, item = _decode(run.read(int.from_bytes(size, "big")))
        yield tuple(key), item
