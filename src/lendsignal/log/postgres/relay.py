"""The shelf of a cluster: what waits here until the app itself fetches it, and any door gives it out.

An offer stands in its delivery's slot, and the sender of that slot alone places it, takes it back and clears
it away: each of these is guarded by the slot's epoch. Doors give out by address, whatever the slot. What is
stopped is not given out from the moment that it is: a door reads the row of the pause itself.
"""

from collections.abc import Collection, Iterable, Sequence
from time import monotonic

from lendsignal.log.orders import EVERY
from lendsignal.log.postgres.arrays import bigints, bodies, smallints, texts
from lendsignal.log.postgres.connection import Database
from lendsignal.log.postgres.deliveries import Guard, slot_of_delivery
from lendsignal.log.relay import Acknowledged, Offer

SCHEMA = """
create table if not exists offer (      -- what an app is to fetch
    slot smallint not null,             -- its delivery's
    destination text not null,
    delivery bigint not null,
    address text not null,              -- hash of the user and the installation it is bound to
    conversion text not null,           -- the id that the app knows it by
    item bytea not null,                -- what the app gets, as JSON
    placed_us bigint not null,
    expires_us bigint not null,         -- from then on it is not given out
    fetched_us bigint not null default 0,       -- when it was first given out; 0: not yet
    acknowledged_us bigint not null default 0,  -- when the app said that it logged it; 0: not yet
    withheld boolean not null default false,    -- fetched, then taken back: not given out again
    primary key (slot, destination, delivery)
) with (fillfactor = 70);
create index if not exists offer_of on offer (address, destination);
create index if not exists offer_done on offer (slot, acknowledged_us) where acknowledged_us > 0;
"""

_ONE = "slot = %s and destination = %s and delivery = %s"

_WAITING = f"""
select item, slot, delivery, fetched_us from offer
where address = %s and destination = %s and expires_us > %s and acknowledged_us = 0 and not withheld
    and not exists (select 1 from paused where paused.destination in (offer.destination, '{EVERY}'))
order by placed_us, delivery limit %s
"""


class DoorShelf:
    """The shelf as a door sees it, whichever sender placed what is on it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def fetch(self, destination: str, address: str, now_us: int, limit: int) -> list[bytes]:
        """What waits for one user's installation, oldest first, marked as fetched on disk before it is told.

        What was fetched and not acknowledged is among it again.
        """
        values = (address, destination, now_us, limit)
        found = self._database.rows(_WAITING, *values)
        # Most fetches find nothing, or nothing new: those write nothing.
        if all(fetched_us for *_, fetched_us in found):
            return [bytes(item) for item, *_ in found]
        with self._database.transaction() as session:
            # Looked up again, and held: the sender may be taking one back.
            found = session.rows(f"{_WAITING} for update of offer", *values)
            session.rows(
                "update offer set fetched_us = %s from unnest(%b::smallint[], %b::bigint[])"
                " as one(slot, delivery) where offer.slot = one.slot and offer.destination = %s"
                " and offer.delivery = one.delivery and offer.fetched_us = 0",
                now_us,
                smallints([slot for _, slot, _, _ in found]),
                bigints([delivery for _, _, delivery, _ in found]),
                destination,
            )
        return [bytes(item) for item, *_ in found]

    def acknowledge(self, destination: str, address: str, conversions: Collection[str], now_us: int) -> int:
        """The installation has logged these; how many of them were waiting for that word.

        What it was never given, or another installation was, stays as it is.
        """
        with self._database.transaction() as session:
            return session.changed(
                "update offer set acknowledged_us = %s where address = %s and destination = %s"
                " and conversion = any(%b::text[]) and fetched_us > 0 and acknowledged_us = 0",
                now_us,
                address,
                destination,
                # No id of ours holds a NUL, and no text of PostgreSQL can.
                texts([one for one in conversions if "\0" not in one]),
            )

    def close(self) -> None:
        """Lets its connection go."""
        self._database.close()


class SlotShelf:
    """The shelf as the sender of some slots sees it: their offers. Whatever it writes is guarded.

    What apps acknowledged is looked for again after `idle_seconds` where there was nothing: each look costs
    the server something.
    """

    def __init__(
        self,
        database: Database,
        slots: int,
        mine: Collection[int],
        guard: Guard = lambda session, slots: None,
        *,
        idle_seconds: float = 0.0,
    ) -> None:
        self._database = database
        self._slots = slots
        self._mine = sorted(mine)
        self._guard = guard
        self._idle_seconds = idle_seconds
        self._silent_at = float("-inf")

    def disown(self, slots: Collection[int]) -> None:
        """These are not ours any more: what is to be placed there is for their next holder."""
        self._mine = [slot for slot in self._mine if slot not in slots]

    def place(self, offers: Sequence[Offer], now_us: int) -> None:
        """Makes offers durable, all or none; one that is there stays as it is, fetched or not."""
        placed = [(slot, one) for one in offers if (slot := self._slot(one.delivery)) in self._mine]
        if not placed:
            return
        with self._database.transaction() as session:
            self._guard(session, {slot for slot, _ in placed})
            session.rows(
                "insert into offer (slot, destination, delivery, address, conversion, item, placed_us,"
                " expires_us) select slot, destination, delivery, address, conversion, item, %s, expires_us"
                " from unnest(%b::smallint[], %b::text[], %b::bigint[], %b::text[], %b::text[], %b::bytea[],"
                " %b::bigint[]) as one(slot, destination, delivery, address, conversion, item, expires_us)"
                " on conflict do nothing",
                now_us,
                smallints([slot for slot, _ in placed]),
                texts([one.destination for _, one in placed]),
                bigints([one.delivery for _, one in placed]),
                texts([one.address for _, one in placed]),
                texts([one.conversion for _, one in placed]),
                bodies([one.item for _, one in placed]),
                bigints([one.expires_us for _, one in placed]),
            )

    def recall(self, destination: str, delivery: int) -> bool:
        """Takes an offer off before it is fetched. False: the app has fetched it, and it stays."""
        key = (self._slot(delivery), destination, delivery)
        with self._database.transaction() as session:
            self._guard(session, key[:1])
            session.rows(f"delete from offer where {_ONE} and fetched_us = 0", *key)
            return session.row(f"select 1 from offer where {_ONE}", *key) is None

    def withhold(self, destination: str, delivery: int) -> None:
        """A fetched offer is not given out again; what the app says of it still counts."""
        key = (self._slot(delivery), destination, delivery)
        with self._database.transaction() as session:
            self._guard(session, key[:1])
            session.rows(f"update offer set withheld = true where {_ONE}", *key)

    def fetched_us(self, destination: str, delivery: int) -> int:
        """When an offer was first given out; 0: never, or it is not here."""
        found = self._database.row(
            f"select fetched_us from offer where {_ONE}", self._slot(delivery), destination, delivery
        )
        return 0 if found is None else int(found[0])

    def among(self, destination: str, deliveries: Collection[int]) -> set[int]:
        """Those of the deliveries that are here."""
        found = self._database.rows(
            "select delivery from offer where slot = any(%b::smallint[]) and destination = %s"
            " and delivery = any(%b::bigint[])",
            smallints(self._mine),
            destination,
            bigints(deliveries),
        )
        return {number for (number,) in found}

    def acknowledged(self, limit: int) -> list[Acknowledged]:
        """What apps said they have logged and the sender has not cleared away, oldest first."""
        if monotonic() - self._silent_at < self._idle_seconds:
            return []
        found = self._database.rows(
            "select destination, delivery, fetched_us, acknowledged_us from offer"
            " where acknowledged_us > 0 and slot = any(%b::smallint[]) order by acknowledged_us limit %s",
            smallints(self._mine),
            limit,
        )
        if not found:
            self._silent_at = monotonic()
        return [Acknowledged(*one) for one in found]

    def expired(self, before_us: int, limit: int) -> list[tuple[str, int]]:
        """Offers (destination, delivery) that no app was given any more before that moment, oldest first."""
        found = self._database.rows(
            "select destination, delivery from offer where expires_us < %s and slot = any(%b::smallint[])"
            " order by expires_us limit %s",
            before_us,
            smallints(self._mine),
            limit,
        )
        return [(name, delivery) for name, delivery in found]

    def clear(self, offers: Iterable[tuple[str, int]]) -> None:
        """Offers whose delivery has ended, on disk, are needed no more."""
        ended = sorted((self._slot(delivery), name, delivery) for name, delivery in offers)
        with self._database.transaction() as session:
            self._guard(session, {slot for slot, _, _ in ended})
            session.rows(
                "delete from offer using unnest(%b::smallint[], %b::text[], %b::bigint[])"
                " as one(slot, destination, delivery) where offer.slot = one.slot"
                " and offer.destination = one.destination and offer.delivery = one.delivery",
                smallints([slot for slot, _, _ in ended]),
                texts([name for _, name, _ in ended]),
                bigints([delivery for _, _, delivery in ended]),
            )

    def shut(self, destinations: Collection[str]) -> None:
        """Nothing is to be done: every door sees for itself what is paused."""

    def rename(self, old: str, new: str) -> None:
        """What waits in our slots under a destination's former name is its own."""
        if not self._mine:
            return
        with self._database.transaction() as session:
            self._guard(session, self._mine)
            session.rows(
                "update offer set destination = %s where destination = %s and slot = any(%b::smallint[])"
                " and not exists (select 1 from offer other where other.slot = offer.slot"
                " and other.destination = %s and other.delivery = offer.delivery)",
                new,
                old,
                smallints(self._mine),
                new,
            )

    def _slot(self, delivery: int) -> int:
        return slot_of_delivery(delivery, self._slots)
