"""The shelf: what waits here until the app itself fetches it, in a data folder in a file of its own.

The sender places, takes back and clears away; the door gives out and notes what the app acknowledged. An
offer is known by its destination and delivery, so that placing it again changes nothing. A cluster's shelf is
a table of its store: `log.postgres.relay`.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import apsw
from msgspec import Struct

from lendsignal.errors import LogError
from lendsignal.log.sqlite import Guard, connect, row, rows, transaction

SCHEMA = """
create table if not exists offer (
    destination text not null,
    delivery integer not null,
    address text not null,              -- hash of the user and the installation it is bound to
    conversion text not null,           -- the id that the app knows it by
    item blob not null,                 -- what the app gets, as JSON
    placed_us integer not null,
    expires_us integer not null,        -- from then on it is not given out
    fetched_us integer not null,        -- when it was first given out; 0: not yet
    acknowledged_us integer not null,   -- when the app said that it logged it; 0: not yet
    withheld integer not null,          -- 1: fetched, then taken back: not given out again
    primary key (destination, delivery)
) without rowid;
create index if not exists offer_of on offer (address, destination);
create index if not exists offer_done on offer (acknowledged_us) where acknowledged_us > 0;
create table if not exists shut (destination text primary key) without rowid;
"""

ONE = "destination = ? and delivery = ?"

WAITING = """
select item, delivery, fetched_us from offer
where address = ? and destination = ? and expires_us > ? and acknowledged_us = 0 and withheld = 0
    and destination not in (select destination from shut)
order by placed_us, delivery limit ?
"""


class Offer(Struct, frozen=True, kw_only=True):
    """One delivery for the app to fetch. `item` is its JSON; from `expires_us` on it is not given out."""

    destination: str
    delivery: int
    address: str
    conversion: str
    item: bytes
    expires_us: int


class Acknowledged(Struct, frozen=True):
    """A delivery that the app says it has logged. Microseconds since 1970."""

    destination: str
    delivery: int
    fetched_us: int
    acknowledged_us: int


class Giving(Protocol):
    """The shelf as a door sees it. Raises `LogError` where the shelf does not answer."""

    def fetch(self, destination: str, address: str, now_us: int, limit: int) -> list[bytes]: ...

    def acknowledge(
        self, destination: str, address: str, conversions: Collection[str], now_us: int
    ) -> int: ...


class Placing(Protocol):
    """The shelf as a sender sees it: the offers of its own deliveries. Raises `LogError` where the shelf does
    not take it, `Overtaken` where another sender has these deliveries by now."""

    def place(self, offers: Sequence[Offer], now_us: int) -> None: ...

    def recall(self, destination: str, delivery: int) -> bool: ...

    def withhold(self, destination: str, delivery: int) -> None: ...

    def fetched_us(self, destination: str, delivery: int) -> int: ...

    def among(self, destination: str, deliveries: Collection[int]) -> set[int]: ...

    def acknowledged(self, limit: int) -> list[Acknowledged]: ...

    def expired(self, before_us: int, limit: int) -> list[tuple[str, int]]: ...

    def clear(self, offers: Iterable[tuple[str, int]]) -> None: ...

    def shut(self, destinations: Collection[str]) -> None: ...

    def rename(self, old: str, new: str) -> None: ...


class Shelf:
    """The file of offers. The sender and the door both write it, each change a transaction of its own.

    Whatever writes raises `LogError` where the disk does not take it.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._db = connection
        self._lock = Guard(connection)

    # the sender's side

    def place(self, offers: Sequence[Offer], now_us: int) -> None:
        """Makes offers durable, all or none; one that is there stays as it is, fetched or not."""
        with self._writing():
            self._db.executemany(
                "insert or ignore into offer values (?, ?, ?, ?, ?, ?, ?, 0, 0, 0)",
                [
                    (
                        one.destination,
                        one.delivery,
                        one.address,
                        one.conversion,
                        one.item,
                        now_us,
                        one.expires_us,
                    )
                    for one in offers
                ],
            )

    def recall(self, destination: str, delivery: int) -> bool:
        """Takes an offer off before it is fetched. False: the app has fetched it, and it stays."""
        with self._writing():
            self._db.execute(f"delete from offer where {ONE} and fetched_us = 0", (destination, delivery))
            return not self._has(destination, delivery)

    def withhold(self, destination: str, delivery: int) -> None:
        """A fetched offer is not given out again; what the app says of it still counts."""
        with self._writing():
            self._db.execute(f"update offer set withheld = 1 where {ONE}", (destination, delivery))

    def fetched_us(self, destination: str, delivery: int) -> int:
        """When an offer was first given out; 0: never, or it is not here."""
        with self._lock:
            found = row(self._db, f"select fetched_us from offer where {ONE}", (destination, delivery))
        return 0 if found is None else int(found[0])

    def among(self, destination: str, deliveries: Collection[int]) -> set[int]:
        """Those of the deliveries that are here."""
        if not deliveries:
            return set()
        with self._lock:
            found = rows(
                self._db,
                "select delivery from offer where destination = ? and delivery between ? and ?",
                (destination, min(deliveries), max(deliveries)),
            )
        return {number for (number,) in found}.intersection(deliveries)

    def acknowledged(self, limit: int) -> list[Acknowledged]:
        """What apps said they have logged and the sender has not cleared away, oldest first."""
        with self._lock:
            found = rows(
                self._db,
                "select destination, delivery, fetched_us, acknowledged_us from offer"
                " where acknowledged_us > 0 order by acknowledged_us limit ?",
                (limit,),
            )
        return [Acknowledged(*one) for one in found]

    def expired(self, before_us: int, limit: int) -> list[tuple[str, int]]:
        """Offers (destination, delivery) that no app was given any more before that moment, oldest first."""
        with self._lock:
            return rows(
                self._db,
                "select destination, delivery from offer where expires_us < ? order by expires_us limit ?",
                (before_us, limit),
            )

    def clear(self, offers: Iterable[tuple[str, int]]) -> None:
        """Offers whose delivery has ended, on disk, are needed no more."""
        with self._writing():
            self._db.executemany(f"delete from offer where {ONE}", list(offers))

    def let_go(self, first: int, last: int) -> int:
        """Offers of deliveries from `first` to `last`, whose user was erased, go; how many there were."""
        with self._writing():
            self._db.execute("pragma secure_delete = on")
            self._db.execute("delete from offer where delivery between ? and ?", (first, last))
            return self._db.changes()

    def shut(self, destinations: Collection[str]) -> None:
        """Nothing of these destinations is given out, and of all others everything is."""
        with self._writing():
            self._db.execute("delete from shut")
            self._db.executemany("insert into shut values (?)", [(name,) for name in destinations])

    def rename(self, old: str, new: str) -> None:
        """What waits under a destination's former name is its own."""
        with self._writing():
            self._db.execute("update or ignore offer set destination = ? where destination = ?", (new, old))

    # the door's side

    def fetch(self, destination: str, address: str, now_us: int, limit: int) -> list[bytes]:
        """What waits for one user's installation, oldest first, marked as fetched on disk before it is told.

        What was fetched and not acknowledged is among it again.
        """
        values = (address, destination, now_us, limit)
        with self._lock:
            found = rows(self._db, WAITING, values)
            # Most fetches find nothing, or nothing new: those write nothing.
            if all(fetched_us for _, _, fetched_us in found):
                return [item for item, _, _ in found]
            with self._writing():
                # Looked up again: the sender may have taken one back meanwhile.
                found = rows(self._db, WAITING, values)
                self._db.executemany(
                    f"update offer set fetched_us = ? where {ONE} and fetched_us = 0",
                    [(now_us, destination, delivery) for _, delivery, _ in found],
                )
        return [item for item, _, _ in found]

    def acknowledge(self, destination: str, address: str, conversions: Collection[str], now_us: int) -> int:
        """The installation has logged these; how many of them were waiting for that word.

        What it was never given, or another installation was, stays as it is.
        """
        n = 0
        with self._writing():
            for conversion in conversions:
                self._db.execute(
                    "update offer set acknowledged_us = ? where address = ? and destination = ?"
                    " and conversion = ? and fetched_us > 0 and acknowledged_us = 0",
                    (now_us, address, destination, conversion),
                )
                n += self._db.changes()
        return n

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with self._lock, transaction(self._db):
                yield
        except apsw.Error as error:
            raise LogError(f"the relay's shelf cannot be written: {error}") from error

    def _has(self, destination: str, delivery: int) -> bool:
        return row(self._db, f"select 1 from offer where {ONE}", (destination, delivery)) is not None


def open_shelf(path: Path) -> Shelf:
    """The shelf kept at `path`; made where it is missing."""
    return Shelf(connect(path, SCHEMA))
