"""Steering a cluster: orders are rows that every sender carries out over its own slots."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager

from msgspec import Struct

from lendsignal.clock import Clock
from lendsignal.deliver.giving import Came, waited_for
from lendsignal.deliver.standing import Standing, Stopped, standings, stopped
from lendsignal.log import Order
from lendsignal.log.postgres import Database, database_of, slots_of
from lendsignal.log.postgres.deliveries import RecordRows, SlotDeliveries
from lendsignal.log.postgres.orders import OrderRows
from lendsignal.log.postgres.rows import unpacked_records, whole_state_of
from lendsignal.log.slots import place_in_slot, slot_of
from lendsignal.log.store import StoreSettings
from lendsignal.plan import Placed, Record, UserState, event_of


class StoreRecords(RecordRows):
    """The records of all slots, for who chooses among their deliveries.

    What was read ahead is answered as it was then: whoever sends looks once more.
    """

    def __init__(self, database: Database, slots: int) -> None:
        super().__init__(database, slots)
        self._ahead: dict[int, Record | None] = {}
        self._users: dict[str, UserState | None] = {}

    def read_ahead(self, records: Sequence[int]) -> None:
        """Reads these, and what is known of their users, by two statements; those of before are forgotten."""
        sequences = sorted({event_of(number)[0] for number in records})
        found = self._database.rows(
            "select record.seq, record.body from unnest(%b::smallint[], %b::bigint[]) as wanted(slot, seq)"
            " join record using (slot, seq) order by 1",
            [place_in_slot(one, self._slots)[1] for one in sequences],
            sequences,
        )
        self._ahead = {**dict.fromkeys(records), **dict(unpacked_records(found))}
        origins = [one.conversion.origin for one in self._ahead.values() if isinstance(one, Placed)]
        keys = sorted({f"{origin.brand}:{origin.user_id}" for origin in origins})
        known = self._database.rows(
            "select key, body from unnest(%b::smallint[], %b::bytea[]) as wanted(slot, key)"
            " join state using (slot, key)",
            [slot_of(key, self._slots) for key in keys],
            [key.encode() for key in keys],
        )
        self._users = {
            **dict.fromkeys(keys),
            **{key.decode(): whole_state_of(body) for key, body in known},
        }

    def record(self, number: int) -> Record | None:
        """One record."""
        return self._ahead[number] if number in self._ahead else super().record(number)

    def state(self, key: str) -> UserState | None:
        """What is remembered of one person; `None` for somebody new."""
        return self._users[key] if key in self._users else super().state(key)

    @property
    def cutting(self) -> "DaysGoWhole":
        """What is about to go."""
        return DaysGoWhole()


class DaysGoWhole:
    """A cluster announces nothing: a day goes when none of its deliveries is open, and what goes meanwhile
    the sender finds gone."""

    def cut(self) -> int:
        """No event is announced to go."""
        return 0


class StoreLooked(Struct, frozen=True):
    """Records and deliveries of the whole cluster."""

    log: StoreRecords
    deliveries: SlotDeliveries


class StoreSteering:
    """Steers all senders of a cluster."""

    def __init__(self, store: StoreSettings) -> None:
        self._store = store

    def give(self, orders: Sequence[Order], clock: Clock, by: str) -> Came:
        """Makes orders durable, and waits a while for what all senders together say."""
        with self._opened() as database:
            numbers = OrderRows(database).give(orders, by, clock.now_us())
            return waited_for(lambda: _came(database, numbers))

    def standing(self, configured: Iterable[str]) -> list[Standing]:
        """How each destination stands."""
        with self._opened() as database:
            return standings(_deliveries(database), OrderRows(database), configured)

    def stopped(self) -> dict[str, Stopped]:
        """What is stopped now, and by whom."""
        with self._opened() as database:
            orders, paused = OrderRows(database), _deliveries(database).paused()
            return {name: stopped(name, pause, orders) for name, pause in paused.items()}

    @contextmanager
    def looked(self) -> Iterator[StoreLooked]:
        """Everything, as the store has it now."""
        with self._opened() as database:
            yield StoreLooked(StoreRecords(database, slots_of(database)), _deliveries(database))

    @contextmanager
    def _opened(self) -> Iterator[Database]:
        with closing(database_of(self._store)) as database:
            yield database


def _came(database: Database, numbers: Sequence[int]) -> Came:
    store = _deliveries(database)
    obeyed = [one for number in numbers if (one := store.obeyed(number)) is not None]
    alive = database.row("select 1 from node where kind = 'send' and until > clock_timestamp() limit 1")
    return Came(
        orders=tuple(numbers),
        done=sum(done for done, _ in obeyed),
        passed_over=sum(passed for _, passed in obeyed),
        open=len(numbers) - len(obeyed),
        sender_runs=alive is not None,
    )


def _deliveries(database: Database) -> SlotDeliveries:
    slots = slots_of(database)
    return SlotDeliveries(database, slots, range(slots))
