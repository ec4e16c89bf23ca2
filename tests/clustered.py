"""A cluster over one PostgreSQL for tests: doors, workers, and what they left behind, by user."""

from collections.abc import Sequence
from random import Random
from secrets import token_hex
from typing import Any

import msgspec
from tests.acme import again, consent_of, event, loan, login, us

from lendsignal.decide.decider import policy_changed
from lendsignal.decide.slots import SlotDecider
from lendsignal.log.postgres import Database, DoorLog, Leases, RuleRows, SlotLog, Terms, prepare
from lendsignal.log.postgres.rows import unpacked_records, whole_state_of
from lendsignal.model import Event
from lendsignal.plan import Placed, PolicySource, Record, UserState, Withdrawn, version_of


class Clock:
    """A clock that the test sets, in minutes after T0."""

    replay = False

    def __init__(self, minutes: float = 0) -> None:
        self.minutes = minutes

    def now_us(self) -> int:
        return us(self.minutes)


class Steady:
    """A second passes each time that somebody asks: every turn of a worker tends its leases."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


class Cluster:
    """Fresh tables in a schema of their own. Everything that it opened closes with it."""

    def __init__(self, url: str, slots: int = 4, policy: PolicySource | None = None) -> None:
        self.url = url
        self.slots = slots
        self.schema = f"cluster_{token_hex(4)}"
        self._open: list[Database] = []
        self.database = self.connect()
        prepare(self.database, slots)
        self.rules = RuleRows(self.database)
        self.clock = Clock()
        self._puts = 0
        if policy is not None:
            self.put_policy(policy)

    def connect(self) -> Database:
        self._open.append(Database(self.url, self.schema))
        return self._open[-1]

    def door(self) -> DoorLog:
        return DoorLog(self.connect(), self.slots)

    def worker(self, name: str = "", kind: type[SlotLog] = SlotLog) -> SlotDecider:
        """A worker that works when it is told to. It falls silent only where a test says so."""
        database = self.connect()
        leases = Leases(database, name or token_hex(4), terms=Terms(lease_seconds=600.0))
        return SlotDecider(kind(database, leases, self.slots), self.clock, steady=Steady())

    def put_policy(self, policy: PolicySource) -> None:
        self._puts += 1
        version = version_of(policy)
        self.rules.put_policy(version, policy, policy_changed(version, self._puts, self.clock.now_us()))

    def silence(self, name: str) -> None:
        """By the database's clock that worker has said nothing for too long."""
        self.database.rows(
            "update node set until = clock_timestamp() - interval '1 second' where name = %s", name
        )

    def held(self, name: str) -> int:
        """How many slots a worker has by the database's word."""
        return len(self.database.rows("select 1 from cursor where owner = %s", name))

    # what was left behind

    def records(self) -> list[tuple[int, Record]]:
        return unpacked_records(self.database.rows("select seq, body from record order by slot, seq"))

    def states(self) -> dict[str, UserState]:
        found = self.database.rows("select key, body from state")
        return {key.decode(): whole_state_of(body) for key, body in found}

    def tally(self) -> dict[tuple[str, str], int]:
        found = self.database.rows("select what, name, sum(n)::bigint from tally group by 1, 2")
        return {(what, name): n for what, name, n in found if n}

    def close(self) -> None:
        self.database.rows(f"drop schema {self.schema} cascade")
        for one in self._open:
            one.close()


EMPTY = """
do $$ declare one text; begin
    for one in select oid::regclass::text from pg_class where relnamespace = current_schema()::regnamespace
        and relkind in ('r', 'p') and not relispartition and relname <> 'shape'
    loop execute 'delete from ' || one; end loop;
    insert into cursor (slot) select generate_series(0, slots - 1) from shape;
    insert into sending (slot) select generate_series(0, slots - 1) from shape;
end $$
"""


def emptied(database: Database) -> None:
    """The tables as they were when they were made, for the next test: to make them costs far more."""
    database.rows(EMPTY)


def decide_all(*workers: SlotDecider) -> None:
    """Until none of them finds anything any more, twice in a row: leases may change hands in between."""
    idle = 0
    while idle < 2:
        worked = [one.turn() for one in workers]  # each has its turn
        idle = 0 if any(worked) else idle + 1


def lives(records: Sequence[tuple[int, Record]]) -> dict[str, list[Any]]:
    """What was decided of every user, in order, told without the numbers that engines give."""
    placed = {number: one for number, one in records if isinstance(one, Placed)}
    found: dict[str, list[Any]] = {}
    for number, record in records:
        about = placed[record.record if isinstance(record, Withdrawn) else number].conversion
        told: dict[str, Any] = {**msgspec.to_builtins(record), "kind": type(record).__name__}
        if "record" in told:
            told["record"] = placed[told["record"]].conversion.id
        found.setdefault(f"{about.brand}:{about.origin.user_id}", []).append(told)
    return found


def happenings(chance: Random, n: int, users: int) -> list[Event]:
    """Made-up events of so many users, as they arrive one after the other; a tenth are told twice."""
    found: list[Event] = []
    for number in range(n):
        user, at = f"u{chance.randrange(users)}", float(number)
        match chance.randrange(10):
            case 0 | 1 | 2:
                told = login(at - chance.randrange(60), chance.choice("abc"))
            case 3:
                told = event("registered", at)
            case 4 | 5 | 6:
                told = loan(at, f"{user}-L{chance.randrange(4)}", revision=number)
            case 7:
                told = event("loan_cancelled", at, loan_id=f"{user}-L{chance.randrange(4)}", revision=number)
            case 8:
                told = consent_of(at, chance.random() < 0.7)
            case _:
                told = event("overdue", at, loan_id=f"{user}-L1", dpd=chance.randrange(25, 90))
        name = f"{number}-{told.event_id}"
        found.append(again(told, user_id=user, event_id=name, received_at=event("any", at).received_at))
        if chance.random() < 0.1:
            found.append(found[-1])
    return found
