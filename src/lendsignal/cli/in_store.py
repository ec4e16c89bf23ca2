"""Steering a cluster: orders are rows that every sender carries out over its own slots; and how it stands."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from lendsignal.cli.giving import who
from lendsignal.clock import Clock
from lendsignal.config import Config
from lendsignal.deliver import Standing, Stopped, stopped
from lendsignal.deliver.giving import Came, waited_for
from lendsignal.deliver.standing import standings
from lendsignal.log import Order
from lendsignal.log.postgres import Database, database_of, slots_of
from lendsignal.log.postgres.deliveries import SlotDeliveries
from lendsignal.log.postgres.orders import OrderRows
from lendsignal.role.cluster import ClusterStatus, cluster_status, store_of


def give(config: Config, orders: Sequence[Order], clock: Clock) -> Came:
    """Makes orders durable, and waits a while for what all senders together say. Raises `LogError`."""
    with _store(config) as database:
        numbers = OrderRows(database).give(orders, who(), clock.now_us())
        return waited_for(lambda: _came(database, numbers))


def stopped_now(config: Config) -> dict[str, Stopped]:
    """What is stopped now, and by whom."""
    with _store(config) as database:
        orders = OrderRows(database)
        return {name: stopped(name, pause, orders) for name, pause in _deliveries(database).paused().items()}


def standing_now(config: Config, clock: Clock) -> tuple[ClusterStatus, list[Standing]]:
    """How far the cluster is, and how each destination stands."""
    with _store(config) as database:
        found = standings(_deliveries(database), OrderRows(database), config.outlets)
        return cluster_status(database, config, clock), found


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


@contextmanager
def _store(config: Config) -> Iterator[Database]:
    with closing(database_of(store_of(config))) as database:
        yield database
