"""One slot as a log in one piece, for tools and for the exam of every engine: not for speed.

Its events are numbered from 1 on as in a data folder, for the tables are made with a single slot.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from secrets import token_hex

from msgspec.structs import replace

from lendsignal.errors import LogError, Overtaken
from lendsignal.log.log import Decided, Fact, Move
from lendsignal.log.postgres.connection import Database
from lendsignal.log.postgres.door import DoorLog
from lendsignal.log.postgres.leases import Leases
from lendsignal.log.postgres.rows import read_event, unpacked_records, whole_records_of
from lendsignal.log.postgres.schema import prepare
from lendsignal.log.postgres.slots import SlotLog, Stretch
from lendsignal.model import Event
from lendsignal.plan import Record, UserState, Verdict, event_of, record_id

PATIENCE_SECONDS = 5.0
"""How long what was appended here may be hidden behind somebody else's open transaction."""

_READABLE = "event.slot = 0 and event.xid < pg_snapshot_xmin(pg_current_snapshot())"

_DROPPED = """
select cursor.place - (
    select count(*) from event where slot = 0 and (event.xid, event.id) <= (cursor.xid, cursor.id)
) from cursor where slot = 0
"""
"""How many decided events are not in the table any more."""


class WholeLog:
    """A log in one slot. Whoever commits takes the slot from whoever had it, who is refused from then on."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._door = DoorLog(database, 1)
        self._leases = Leases(database, f"whole-{token_hex(8)}")
        self._slot = SlotLog(database, self._leases, 1)
        self._rules = self._slot.rules
        self.imported = self._door.imported
        self.refuse = self._door.refuse
        self.quarantined = self._door.quarantined
        self.refusals = self._door.refusals
        self.states = self._slot.states
        self.planned = self._slot.planned
        self.phones = self._slot.phones
        self.keep_policy = self._rules.keep_policy
        self.policy_source = self._rules.policy_source
        self.cut_table = self._rules.cut_table
        self.promotion = self._rules.promotion

    # appending

    def append(self, events: Sequence[Event], *, imported: tuple[str, str, int, bool] | None = None) -> int:
        """Makes events durable in this order and returns the number of the first."""
        with self._database.transaction() as session:
            self._door.append(events, imported=imported)
            found = session.row("select pg_current_xact_id()::text, currval('event_id')") if events else None
        if found is None:
            return self.end() + 1
        xid, last = found
        (n,) = self._when_readable(xid, last)
        return int(n) - len(events) + 1

    def append_decided(self, events: Sequence[Event], decide: Callable[[int], Decided | None]) -> int:
        """Makes events durable; they are decided later."""
        return self.append(events)

    def _when_readable(self, xid: str, last: int) -> tuple[int]:
        """The number of an event that was just appended, once nothing can come before it any more."""
        for _ in range(int(PATIENCE_SECONDS / 0.01)):
            found = self._database.row(
                f"select ({_DROPPED}) + count(*), %s::text::xid8 < pg_snapshot_xmin(pg_current_snapshot())"
                " from event"
                " where slot = 0 and (event.xid, event.id) <= (%s::text::xid8, %s)",
                xid,
                xid,
                last,
            )
            if found is not None and found[1]:
                return (found[0],)
            self._database.rows("select pg_sleep(0.01)")
        raise LogError("an open transaction hides what was appended")

    # reading

    def end(self) -> int:
        """The number of the last event; 0 in an empty log."""
        found = self._database.row(f"select ({_DROPPED}) + count(*) from event where {_READABLE}")
        return 0 if found is None else int(found[0])

    def position(self) -> int:
        """The last event that is decided."""
        found = self._database.row("select place from cursor where slot = 0")
        return 0 if found is None else int(found[0])

    def read(self, after: int, limit: int) -> list[Fact]:
        """The events behind position `after`, in order."""
        found = self._database.rows(
            "select number, body from ("
            f" select ({_DROPPED}) + row_number() over (order by event.xid, event.id) as number, body"
            f" from event where {_READABLE}) numbered where number > %s order by number limit %s",
            after,
            limit,
        )
        return [Fact(number, read_event(body)) for number, body in found]

    def scan(self, containing: bytes | None = None) -> Iterator[Fact]:
        """Every event in order, or those whose stored bytes contain a text."""
        found = self._database.rows(
            "select number, body from ("
            f" select ({_DROPPED}) + row_number() over (order by event.xid, event.id) as number, body"
            f" from event where {_READABLE}) numbered where position(%b::bytea in body) > 0 order by number",
            containing or b"",
        )
        return (Fact(number, read_event(body)) for number, body in found)

    def find(self, event_id: str) -> list[tuple[Fact, Verdict | None]]:
        """The events of that id, oldest first, each with its verdict; `None` where it is not decided yet."""
        return self._door.find(event_id)

    def records(self, after: int, limit: int) -> list[tuple[int, Record]]:
        """The sender's stream behind a record id, in order."""
        found = self._database.rows(
            "select seq, body from record where slot = 0 and seq >= %s order by seq limit %s",
            event_of(after)[0],
            limit + 1,
        )
        return [one for one in unpacked_records(found) if one[0] > after][:limit]

    def last_record(self) -> int:
        """The id of the last record in the sender's stream; 0 where there is none."""
        found = self._database.row("select seq, body from record where slot = 0 order by seq desc limit 1")
        return 0 if found is None else record_id(found[0], len(whole_records_of(found[1])) - 1)

    def record(self, number: int) -> Record | None:
        """One record of the sender's stream."""
        seq, place = event_of(number)
        found = self._database.row("select body from record where slot = 0 and seq = %s", seq)
        records = [] if found is None else whole_records_of(found[0])
        return records[place] if place < len(records) else None

    def state(self, key: str) -> UserState | None:
        """What is remembered of one person; `None` for somebody new."""
        return self.states([key]).get(key)

    # deciding

    def commit(self, decided: Decided) -> None:
        """Keeps a batch of decisions whole.

        Raises `LogError` where another process has decided these events already, or has the slot by now.
        """
        if not self._slot.held:
            self._slot.take()
        found = self._database.row("select place, xid::text, id, day from cursor where slot = 0")
        assert found is not None, "made with the tables"
        place, xid, last, day = found
        if place != decided.after:
            raise Overtaken("another process decides over this log")
        behind = self._database.rows(
            f"select event.id, event.xid::text, event.day from event where {_READABLE}"
            " and (event.xid, event.id) > (%s::text::xid8, %s) order by event.xid, event.id limit %s",
            xid,
            last,
            decided.position - place,
        )
        ids = [id_ for id_, _, _ in behind] or [last]
        xid, day = behind[-1][1:] if behind else (xid, day)
        move = Move(0, decided.position, decided.policy, decided.cuts, decided.value)
        self._slot.commit_at(replace(decided, moves=(move,)), {0: Stretch(place + 1, ids, xid, day)})

    def due(self, now_us: int, limit: int = 1000) -> list[tuple[int, str, str]]:
        """Timers whose moment has come: (due, conversion, person)."""
        return self._slot.due_in([0], now_us, limit)

    def timers_due(self, now_us: int) -> int:
        """How many timers' moment has come."""
        found = self._database.row("select count(*) from timer where due_us <= %s", now_us)
        return 0 if found is None else int(found[0])

    def fire(self, timers: Sequence[tuple[int, str, str]], events: Sequence[Event]) -> int:
        """Turns timers into events, in one transaction."""
        return self._slot.fire(timers, events)

    def next_timer(self) -> int | None:
        """When the next timer is due, in microseconds since 1970."""
        return self._slot.next_timer_in([0])

    def tally(self) -> Mapping[tuple[str, str], int]:
        """Counts kept with the decisions."""
        found = self._database.rows("select what, name, sum(n)::bigint from tally group by 1, 2")
        return {(what, name): n for what, name, n in found if n}

    # rules

    def policy(self) -> str | None:
        """The version of the policy that the last decided event was decided by."""
        return self._in_force("policy")

    def cuts(self) -> str | None:
        """The version of the tiers' cuts that the last decided event was decided by."""
        return self._in_force("cuts")

    def value(self) -> str | None:
        """The version of the value model that the last decided event was decided by."""
        return self._in_force("value")

    def _in_force(self, kind: str) -> str | None:
        found = self._database.row(f"select {kind} from cursor where slot = 0")
        return None if found is None else found[0]

    def close(self) -> None:
        self._database.close()


def open_whole_log(url: str, schema: str) -> WholeLog:
    """The log in that schema of a database; its tables are made where they are missing, with one slot."""
    database = Database(url, schema)
    prepare(database, 1)
    return WholeLog(database)
