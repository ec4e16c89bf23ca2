"""How a whole cluster stands, as its tables tell: how far it is, who works, and which slots nobody has."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic

from msgspec import Struct

from lendsignal.errors import LogError
from lendsignal.log.log import Fact
from lendsignal.log.postgres.connection import Database
from lendsignal.log.postgres.deliveries import SlotDeliveries
from lendsignal.log.postgres.rows import read_event
from lendsignal.model import Event
from lendsignal.plan import record_id

LOOK_SECONDS = 15.0
"""How often a node looks what the whole cluster has done: every node tells the same."""

COUNTED = 20_000
"""Events that wait in one slot are counted up to so many: who is further behind needs no better number."""

_WAITING = f"""
select cursor.slot, (select count(*) from (
    select 1 from event where event.slot = cursor.slot and (event.xid, event.id) > (cursor.xid, cursor.id)
        and event.day >= cursor.day - 1 limit {COUNTED}
) behind) from cursor
"""

_DECIDED = """
select coalesce((select sum(place) from cursor), 0)::bigint
    - coalesce((select convert_from(body, 'UTF8')::bigint from note where name = 'moved'), 0)
"""
"""Events that are decided. A data folder that was moved here raised every slot's place by all of its own."""

_UNREAD = f"""
select exists (select 1 from sending join lateral (
    select 1 from record where record.slot = sending.slot
        and record.seq > sending.position / {record_id(1, 0)} limit 1
) behind on true)
"""

_UNHELD = """
select count(*) from {table} left join node
on node.name = {table}.owner and node.until > clock_timestamp() where node.name is null
"""


class Standing(Struct, frozen=True, kw_only=True):
    """`nodes`: who is alive, by what it does. `unheld`: slots that nobody alive has, by the same.

    `events` that wait are counted up to `COUNTED` a slot.
    """

    events: int
    decided: int
    read_by_sender: bool
    waiting: Mapping[str, Mapping[str, int]]
    due: Sequence[str]
    paused: Mapping[str, str]
    slots: int
    nodes: Mapping[str, int]
    unheld: Mapping[str, int]
    policy: str | None


def standing(database: Database, slots: int, now_us: int) -> Standing:
    """How the cluster stands now. Raises `LogError` where the store does not answer."""
    behind = dict(database.rows(_WAITING))
    decided = _number(database, _DECIDED)
    # In the order in which things happen: what is still to be read by a sender now is open at the next look,
    # and what is due at that one is claimed at the one behind it.
    unread = database.row(_UNREAD)
    sending = SlotDeliveries(database, slots, range(slots))
    due = sending.due(now_us)
    waiting, paused = sending.waiting(), sending.paused()
    found = database.row("select version from wanted where kind = 'policy'")
    return Standing(
        events=decided + sum(behind.values()),
        decided=decided,
        read_by_sender=unread == (False,),
        waiting=waiting,
        due=sorted(due),
        paused={name: pause.reason for name, pause in paused.items()},
        slots=slots,
        nodes=dict(
            database.rows("select kind, count(*) from node where until > clock_timestamp() group by 1")
        ),
        unheld={
            kind: _number(database, _UNHELD.format(table=table))
            for kind, table in (("work", "cursor"), ("send", "sending"))
        },
        policy=None if found is None else found[0],
    )


def waiting_by_slot(database: Database) -> dict[int, int]:
    """Events that are durable and not decided, of every slot that has any; each up to `COUNTED`."""
    return {slot: n for slot, n in database.rows(_WAITING) if n}


def oldest_waiting(database: Database) -> Event | None:
    """Of the events that are not decided the one that came first; `None`: all are."""
    found = database.row(
        "select first.body from cursor cross join lateral ("
        " select event.id, event.body from event where event.slot = cursor.slot"
        " and (event.xid, event.id) > (cursor.xid, cursor.id) and event.day >= cursor.day - 1"
        " order by event.xid, event.id limit 1) first order by first.id limit 1"
    )
    return None if found is None else read_event(found[0])


class ClusterCounts:
    """What a whole cluster has decided and has yet to decide; looked up anew every `every_seconds`.

    Where the store does not answer, what it said last stands. `elsewhere` counts what waits outside of it.
    Not for more than one thread.
    """

    def __init__(
        self,
        database: Database,
        every_seconds: float = LOOK_SECONDS,
        steady: Callable[[], float] = monotonic,
        elsewhere: Callable[[], int] = lambda: 0,
    ) -> None:
        self._database = database
        self._elsewhere = elsewhere
        self._every = every_seconds
        self._steady = steady
        self._look_at = float("-inf")
        self._tally: dict[tuple[str, str], int] = {}
        self._decided = 0
        self._waiting = 0
        self._oldest: Event | None = None
        self._due = 0

    def tally(self) -> Mapping[tuple[str, str], int]:
        """Counts kept with the decisions, of all slots; looks where it is time to."""
        now = self._steady()
        if now >= self._look_at:
            self._look_at = now + self._every
            with suppress(LogError):
                self._look()
        return self._tally

    def position(self) -> int:
        """Events that are decided."""
        return self._decided

    def end(self) -> int:
        """Events that are durable."""
        return self._decided + self._waiting

    def read(self, after: int, limit: int) -> Sequence[Fact]:
        """The first of those that are not decided, whatever is asked for."""
        return [] if self._oldest is None else [Fact(0, self._oldest)]

    def timers_due(self, now_us: int) -> int:
        """How many timers' moment had come by the database's clock."""
        return self._due

    def _look(self) -> None:
        found = self._database.rows("select what, name, sum(n)::bigint from tally group by 1, 2")
        self._tally = {(what, name): n for what, name, n in found if n}
        self._waiting = sum(waiting_by_slot(self._database).values()) + self._elsewhere()
        self._decided = _number(self._database, _DECIDED)
        self._oldest = oldest_waiting(self._database)
        self._due = _number(
            self._database,
            "select count(*) from timer where due_us <= extract(epoch from clock_timestamp()) * 1000000",
        )


def _number(database: Database, query: str) -> int:
    found = database.row(query)
    return 0 if found is None else int(found[0])
