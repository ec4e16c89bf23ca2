"""Many values as one value of a statement: arrays as PostgreSQL takes them in binary, made without a call a
value.

The form is that of `array_send` in PostgreSQL's source: dimensions, whether there are nulls, the type of the
values, their number and the first one's place; then each with its length before it, all big-endian. None of
ours holds a null.
"""

import struct
import sys
from array import array
from collections.abc import Iterable, Sequence

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

_length = struct.Struct(">i").pack
_head = struct.Struct(">iiIii").pack
_empty = struct.Struct(">iiI").pack


class Packed:
    """An array made ready to be sent; each type of its values has a kind of its own."""

    __slots__ = ("body",)

    value_oid = 0
    array_oid = 0

    def __init__(self, values: Sequence[bytes] | bytes, n: int) -> None:
        oid = self.value_oid
        parts = [values] if isinstance(values, bytes) else values
        self.body = b"".join((_head(1, 0, oid, n, 1), *parts)) if n else _empty(0, 0, oid)


class _SmallInts(Packed):
    value_oid, array_oid = 21, 1005


class _Ints(Packed):
    value_oid, array_oid = 23, 1007


class _BigInts(Packed):
    value_oid, array_oid = 20, 1016


class _Booleans(Packed):
    value_oid, array_oid = 16, 1000


class _Texts(Packed):
    value_oid, array_oid = 25, 1009


class _Bodies(Packed):
    value_oid, array_oid = 17, 1001


def smallints(values: Iterable[int]) -> Packed:
    """As `smallint[]`; raises `OverflowError` for what 16 bits do not hold."""
    return _SmallInts(*_fixed(array("h", values)))


def ints(values: Iterable[int]) -> Packed:
    """As `integer[]`; raises `OverflowError` for what 32 bits do not hold."""
    return _Ints(*_fixed(array("i", values)))


def bigints(values: Iterable[int]) -> Packed:
    """As `bigint[]`; raises `OverflowError` for what 64 bits do not hold."""
    return _BigInts(*_fixed(array("q", values)))


def booleans(values: Iterable[bool]) -> Packed:
    """As `boolean[]`."""
    return _Booleans(*_fixed(array("b", values)))


def texts(values: Sequence[str]) -> Packed:
    """As `text[]`: quick where few words stand in it many times."""
    known = {value: _with_length(value.encode()) for value in set(values)}
    return _Texts([known[value] for value in values], len(values))


def bodies(values: Sequence[bytes]) -> Packed:
    """As `bytea[]`."""
    return _Bodies([part for value in values for part in (_length(len(value)), value)], len(values))


def _with_length(value: bytes) -> bytes:
    return _length(len(value)) + value


def _fixed(values: "array[int]") -> tuple[bytes, int]:
    """Values of one width, each behind its length: byte by byte of all of them at once."""
    n, width = len(values), values.itemsize
    if sys.byteorder == "little":
        values.byteswap()
    raw, step = values.tobytes(), 4 + width
    body = bytearray(n * step)
    body[3::step] = bytes((width,)) * n
    for place in range(width):
        body[4 + place :: step] = raw[place::width]
    return bytes(body), n


def _dumper_of(kind: type[Packed]) -> type[Dumper]:
    class Sent(Dumper):
        format = Format.BINARY
        oid = kind.array_oid

        def dump(self, obj: Packed) -> Buffer:
            return obj.body

    return Sent


for _kind in Packed.__subclasses__():
    psycopg.adapters.register_dumper(_kind, _dumper_of(_kind))
