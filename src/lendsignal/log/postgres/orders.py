"""What people ordered, in rows: any node may append, every sender obeys over its own slots."""

from collections.abc import Iterator, Sequence

import msgspec

from lendsignal.log.orders import Given, Order
from lendsignal.log.postgres.connection import Database

_out = msgspec.msgpack.Encoder().encode
_in = msgspec.msgpack.Decoder(Order).decode


class OrderRows:
    """The orders of a cluster, as `log.Orders` keeps those of a data folder."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def give(self, orders: Sequence[Order], who: str, at_us: int) -> list[int]:
        """Makes orders durable, all or none, and returns their numbers.

        One gives at a time, so that nobody who follows passes over one that is committed late.
        """
        with self._database.transaction() as session:
            session.rows("lock table orders in exclusive mode")
            found = session.row("select coalesce(max(id), 0) from orders")
            last = 0 if found is None else int(found[0])
            for number, order in enumerate(orders, last + 1):
                session.rows("insert into orders values (%s, %s, %s, %b)", number, at_us, who, _out(order))
        return list(range(last + 1, last + 1 + len(orders)))

    def after(self, number: int, limit: int = 1) -> list[tuple[int, Order]]:
        """The orders behind a number, in the order they were given."""
        found = self._database.rows(
            "select id, body from orders where id > %s order by id limit %s", number, limit
        )
        return [(one, _in(body)) for one, body in found]

    def youngest(self, limit: int) -> Iterator[Given]:
        """The last orders with who gave them, youngest first."""
        found = self._database.rows(
            "select id, at_us, who, body from orders order by id desc limit %s", limit
        )
        return (Given(one, at_us, who, _in(body)) for one, at_us, who, body in found)

    def last(self) -> int:
        """The number of the last order; 0 where there was none."""
        found = self._database.row("select coalesce(max(id), 0) from orders")
        return 0 if found is None else int(found[0])

    def close(self) -> None:
        self._database.close()
