"""What a person asked the sender to do, in a file of its own: any process may append, the sender obeys.

An order stands on disk before its command returns, is carried out once, and stays as a record of who
asked for what. A sender that is down obeys when it starts.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw
import msgspec
from msgspec import Struct

from lendsignal.log.sqlite import Guard, connect, row, rows, transaction

SCHEMA = """
create table if not exists orders (
    id integer primary key,
    at_us integer not null,
    who text not null,                  -- the system's user name, or that of the console
    body blob not null                  -- msgpack of Order
);
create table if not exists cursor (name text primary key, position integer not null) without rowid;
"""

EVERY = "*"
"""In place of a destination's name: all of them, also those that are added later."""


class Halt(Struct, frozen=True, tag="halt"):
    """Send nothing to these destinations until they are let go."""

    destinations: tuple[str, ...]
    reason: str = "by_hand"


class LetGo(Struct, frozen=True, tag="let_go"):
    """Send to these destinations again, whoever stopped them."""

    destinations: tuple[str, ...]


class Cancel(Struct, frozen=True, tag="cancel"):
    """Never send these deliveries, unless they have left already."""

    destination: str
    deliveries: tuple[int, ...]


class Again(Struct, frozen=True, tag="again"):
    """Send these deliveries through again under the same ids.

    Each is its id and the record whose binding holds (0: its own). They had ended as `what` for `reason`,
    or were held (`held`), when packs of receipts up to `pack` were read: one that changed since is passed
    over.
    """

    destination: str
    conversion: str
    what: str
    reason: str
    deliveries: tuple[tuple[int, int], ...]
    pack: int


Order = Halt | LetGo | Cancel | Again


class Given(Struct, frozen=True):
    """An order as it was given: by whom, and when."""

    number: int
    at_us: int
    who: str
    order: Order


_out = msgspec.msgpack.Encoder().encode
_in = msgspec.msgpack.Decoder(Order).decode


class Orders:
    """The file of orders."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._db = connection
        self._lock = Guard(connection)

    def give(self, orders: Sequence[Order], who: str, at_us: int) -> list[int]:
        """Makes orders durable, all or none, and returns their numbers."""
        with self._lock, transaction(self._db):
            numbers = []
            for order in orders:
                self._db.execute(
                    "insert into orders (at_us, who, body) values (?, ?, ?)", (at_us, who, _out(order))
                )
                numbers.append(int(self._db.last_insert_rowid()))
        return numbers

    def after(self, number: int, limit: int = 1) -> list[tuple[int, Order]]:
        """The orders behind a number, in the order they were given."""
        with self._lock:
            found = rows(
                self._db, "select id, body from orders where id > ? order by id limit ?", (number, limit)
            )
        return [(one, _in(body)) for one, body in found]

    def youngest(self, limit: int) -> Iterator[Given]:
        """The last orders with who gave them, youngest first."""
        with self._lock:
            found = rows(
                self._db, "select id, at_us, who, body from orders order by id desc limit ?", (limit,)
            )
        return (Given(one, at_us, who, _in(body)) for one, at_us, who, body in found)

    def last(self) -> int:
        """The number of the last order; 0 where there was none."""
        with self._lock:
            found = row(self._db, "select max(id) from orders")
        return 0 if found is None or found[0] is None else int(found[0])

    def close(self) -> None:
        with self._lock:
            self._db.close()


def open_orders(path: Path, *, read_only: bool = False) -> Orders:
    """The orders kept at `path`; made where they are missing, unless they are only to be read."""
    return Orders(connect(path, SCHEMA, read_only=read_only))
