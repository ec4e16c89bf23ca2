"""Takes what a data folder keeps into the tables of a cluster, which have decided nothing yet.

Rows go in portions, each one transaction together with how far it brings its table: a move that was killed
goes on there. Until the end nobody decides or sends by what is half there, for every slot is the move's own.
At the end both sides are read once more and compared, table by table; then all slots are let go at once.

Events of a folder stand in the tables as those of transaction 0, before every other, and their `id` is the
number that the folder gave them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from hashlib import blake2b
from itertools import islice

import msgspec
from msgspec import Struct

from lendsignal.errors import DataError, LogError
from lendsignal.log.copying import Tell, silent
from lendsignal.log.folder import DataFolder
from lendsignal.log.postgres.connection import Database, Session
from lendsignal.log.postgres.house import House, Row
from lendsignal.log.postgres.schema import BY_DAY, LOCK, TODAY, slots_of

NAME = "move"
"""Who has the slots while a move is under way: a node that does not fall silent."""

AT_ONCE = 1_000
"""Rows of one transaction. The largest are states, of some kilobytes each."""

SCHEMA = """
create table if not exists moving (     -- one row: the folder that is, or was, taken in
    one boolean primary key default true check (one),
    mark text not null,                 -- see House.mark
    today date not null,
    done_at timestamptz
);
create table if not exists moved (      -- how many rows of each table are here
    name text primary key,
    n bigint not null
);
"""


class Table(Struct, frozen=True):
    """A table of the cluster: its columns with their types, and which of its rows a folder's are."""

    columns: str
    types: str
    where: str = "true"
    is_shared: bool = False
    """Doors or an operator may have put rows of their own there."""
    conflict: str = "do nothing"
    lasting: int | None = None
    """Of how many columns, from the first, a row keeps what it had; doors write the others meanwhile."""

    def insert(self, name: str) -> str:
        arrays = ", ".join(f"%b::{kind}[]" for kind in self.types.split())
        extra, value = (", xid", ", '0'::xid8") if name == "event" else ("", "")
        return (
            f"insert into {name} ({self.columns}{extra}) select {self.columns}{value} from unnest({arrays})"
            f" with ordinality as one({self.columns}, turn) order by turn on conflict {self.conflict}"
        )


_OPEN = (
    "slot, destination, id, stage, due_us, attempts, unknown, bound, batch, first_us, lane, stamp_us, again,"
    " strikes, reason, withdrawn"
)

TABLES: Mapping[str, Table] = {
    "event": Table("slot, id, name, body, day", "smallint bigint bigint bytea date", "xid = '0'"),
    "verdict": Table("slot, id, verdict, day", "smallint bigint text date"),
    "record": Table("slot, seq, body, day", "smallint bigint bytea date"),
    "state": Table("slot, key, version, body", "smallint bytea bigint bytea"),
    "timer": Table("slot, due_us, conversion, person", "smallint bigint text bytea"),
    "phone": Table("slot, key, who", "smallint bigint bigint"),
    "tally": Table("slot, what, name, n", "smallint text text bigint"),
    "rule": Table("kind, version, body", "text text bytea", is_shared=True),
    "imported": Table("file, name, rows, done", "text text bigint boolean", is_shared=True),
    "quarantine": Table(
        "received_us, source, field, rule, body, kept, state",
        "bigint bytea bytea bytea bytea bytea text",
        is_shared=True,
    ),
    "note": Table(
        "name, body",
        "text bytea",
        "name = 'kept out'",
        conflict="(name) do update set body = excluded.body",
    ),
    "kept_out": Table("who, receipt, at_us, allowed_us", "bytea text bigint bigint"),
    "api_key": Table(
        "sha256, source, made_us, expires_us, scopes", "text text bigint bigint text", is_shared=True
    ),
    "key_end": Table("sha256, at_us", "text bigint", is_shared=True),
    "key_use": Table("sha256, last_us, requests", "text bigint bigint", is_shared=True, lasting=1),
    "open": Table(
        _OPEN,
        "smallint text bigint smallint bigint integer integer bigint integer bigint bigint bigint boolean"
        " integer text text",
    ),
    "lane": Table("destination, lane, last_us, delivery", "text bigint bigint bigint"),
    "receipt": Table("slot, low, high, body", "smallint bigint bigint bytea"),
    "dead": Table(
        "slot, id, destination, conversion, at_us, reason, request, answer",
        "smallint bigint text text bigint text bytea bytea",
    ),
    "offer": Table(
        "slot, destination, delivery, address, conversion, item, placed_us, expires_us, fetched_us,"
        " acknowledged_us, withheld",
        "smallint text bigint text text bytea bigint bigint bigint bigint boolean",
    ),
    "paused": Table("destination, since_us, kind, reason", "text bigint text text"),
    "volume": Table("destination, hour, n", "text bigint bigint"),
    "agreed": Table("destination, first_run, quiet_until_us", "text boolean bigint"),
    "told": Table("slot, destination, id, at_us", "smallint text bigint bigint"),
    "renamed": Table("old, new", "text text"),
    "delivery_tally": Table(
        "slot, destination, conversion, what, reason, n", "smallint text text text text bigint"
    ),
}
"""What is taken along, in the order in which it is."""


class Seen(Struct, frozen=True):
    """A table's rows as one side shows them: how many, and a number that changes with any of them."""

    rows: int = 0
    digest: str = f"{0:016x}"


class Moved(Struct, frozen=True, kw_only=True):
    """What was taken along. `is_new`: by this run, and not by an earlier one."""

    last_event: int
    slots: int
    tables: Mapping[str, Seen]
    is_new: bool = True


def looked_at(folder: DataFolder, slots: int, keep: int, today: date, tell: Tell = silent) -> Moved:
    """What a move would take along; nothing is written, and no cluster is needed."""
    house = House(folder, slots, keep, today)
    try:
        tables = {name: _seen(_told(house, name, tell)) for name in TABLES}
        return Moved(last_event=house.last, slots=slots, tables=tables)
    finally:
        house.close()


def move(database: Database, folder: DataFolder, keep: int, tell: Tell = silent) -> Moved:
    """Takes a folder's rows into prepared tables, compares both sides, and lets the cluster begin.

    Whoever calls has every role over the folder, and all its events are decided. May be called again after
    any end. Raises `LogError` where the cluster has decided events already, or has taken in another folder,
    `DataError` where both sides differ at the end.
    """
    slots = slots_of(database)
    house = House(folder, slots, keep, _today(database))
    try:
        mark = house.mark()
        if _is_done(database, mark):
            return Moved(last_event=house.last, slots=slots, tables={}, is_new=False)
        house.set_today(_begin(database, house, mark))
        for name in TABLES:
            _copy(database, house, name, tell)
        tables = _compared(database, house, tell)
        _finish(database, house)
    finally:
        house.close()
    return Moved(last_event=house.last, slots=slots, tables=tables)


def _today(database: Database) -> date:
    found = database.row(f"select {TODAY}")
    assert found is not None, "a select without a table gives one row"
    return found[0]  # type: ignore[no-any-return]


def _is_done(database: Database, mark: str) -> bool:
    """Whether that folder is here; raises `LogError` where it is another, or has gone on since."""
    if database.row("select to_regclass('moving')") == (None,):
        return False
    found = database.row("select mark from moving where done_at is not null")
    if found is None:
        return False
    if found[0] != mark:
        raise LogError(
            "the store has taken in a data folder already, and this is another one, or has gone on since"
        )
    return True


def _begin(database: Database, house: House, mark: str) -> date:
    """Makes the slots the move's own; throws away what an earlier one left of another moment. Gives the day
    that counts as today."""
    with database.transaction() as session:
        session.rows(f"select pg_advisory_xact_lock({LOCK})")
        for statement in SCHEMA.split(";\n"):
            if statement.strip():
                session.rows(statement)
        session.rows(
            "insert into node values (%s, %s, 'infinity')"
            " on conflict (name) do update set until = 'infinity'",
            NAME,
            NAME,
        )
        _refuse_what_works(session, house.last)
        session.rows(
            "update cursor set owner = %s, epoch = epoch + 1 where owner is distinct from %s", NAME, NAME
        )
        session.rows(
            "update sending set owner = %s, epoch = epoch + 1 where owner is distinct from %s", NAME, NAME
        )
        found = session.row("select mark, today from moving")
        if found is not None and found[0] != mark:
            _throw_away(session)
            found = None
        if found is None:
            session.rows(f"insert into moving (mark, today) values (%s, {TODAY})", mark)
            session.rows(
                "insert into moved select name, 0 from unnest(%b::text[]) as one(name)", list(TABLES)
            )
            # What doors take from now on has other numbers than what the folder took.
            session.rows(
                "select setval('event_id', greatest(%s::bigint, (select last_value from event_id)))",
                max(1, house.last),
            )
        (today,) = session.rows("select today from moving")[0]
        house.set_today(today)
        for day in house.days():
            for table in BY_DAY:
                part = f"{table}_{day:%Y%m%d}"
                if session.row("select to_regclass(%s)", part) == (None,):
                    session.rows(
                        f"create table {part} partition of {table}"
                        f" for values from ('{day}') to (date '{day}' + 1)"
                    )
    return today  # type: ignore[no-any-return]


def _refuse_what_works(session: Session, last: int) -> None:
    """Raises `LogError` where the cluster has decided anything, or its numbers are in the folder's way."""
    decided = session.row("select count(*) from cursor where place > 0")
    if decided != (0,):
        raise LogError("the store has decided events already: a data folder goes into one that has not")
    if session.row("select count(*) from kept_out") != (0,) and session.row("select 1 from moving") is None:
        raise LogError("people were erased from the store already, under another salt: take an empty schema")
    first = session.row(
        "select min(id) from event where xid <> '0' and name not in"
        " (select name from event where xid <> '0' group by name"
        "  having count(*) >= (select slots from shape))"
    )
    if first is not None and first[0] is not None and first[0] <= last:
        raise LogError(
            "a door of the store has taken events already, before the move began: let doors open when it"
            " has begun, or take a schema of its own"
        )


def _throw_away(session: Session) -> None:
    """What was copied of a folder that has gone on since."""
    with session.unhurried():  # a whole log may have to go
        for name, table in TABLES.items():
            if not table.is_shared:
                session.rows(f"delete from {name} where {table.where}")
    session.rows("delete from moving")
    session.rows("delete from moved")


# copying


def _copy(database: Database, house: House, name: str, tell: Tell) -> None:
    """The rows of one table behind those that are there."""
    found = database.row("select n from moved where name = %s", name)
    done = 0 if found is None else int(found[0])
    rows = islice(_told(house, name, tell), done, None)
    table = TABLES[name]
    insert = table.insert(name)
    while portion := list(islice(rows, AT_ONCE)):
        with database.transaction() as session:
            session.rows(insert, *(list(column) for column in zip(*portion, strict=True)))
            session.rows("update moved set n = n + %s where name = %s", len(portion), name)


def _told(house: House, name: str, tell: Tell, doing: str = "") -> Iterator[Row]:
    """The folder's rows of a table, and somebody hears how many went by."""
    whole = house.counted(name)
    for done, row in enumerate(house.rows(name)):
        if done % AT_ONCE == 0:
            tell(f"{doing}{name}", done, whole)
        yield row
    tell(f"{doing}{name}", whole, whole)


# comparing


def _compared(database: Database, house: House, tell: Tell) -> dict[str, Seen]:
    """Both sides of every table; raises `DataError` where they differ."""
    found: dict[str, Seen] = {}
    for name, table in TABLES.items():
        ours = _seen(_told(house, name, tell, "comparing "))
        if not (_holds(database, house, name) if table.is_shared else _holds_only(database, name, ours)):
            raise DataError(
                f"{name}: the {ours.rows} rows of the folder are not what the store has; it was left as it"
                " is, and nothing works by it: look for who writes to it, then empty its schema and begin"
                " again"
            )
        found[name] = ours
    return found


def _holds_only(database: Database, name: str, ours: Seen) -> bool:
    """Whether the store has these rows and no others."""
    return _seen(_rows_of(database, name, TABLES[name])) == ours


def _holds(database: Database, house: House, name: str) -> bool:
    """Whether the store has the folder's rows, among others: such tables are small."""
    columns = TABLES[name].lasting
    theirs = Counter(_hash(row[:columns]) for row in _rows_of(database, name, TABLES[name]))
    return Counter(_hash(row[:columns]) for row in house.rows(name)) <= theirs


def _rows_of(database: Database, name: str, table: Table) -> Iterator[Row]:
    """What stands in the table, in portions by where its rows lie."""
    # By ctid: a cursor needs an open transaction, which the limit of idle ones may end while we count.
    for part in _parts_of(database, name):
        after = "(0,0)"
        while True:
            found = database.rows(
                f"select ctid::text as lies_at, {table.columns} from {part}"
                f" where ctid > %s::tid and {table.where} order by ctid limit %s",
                after,
                AT_ONCE,
            )
            if not found:
                break
            after = found[-1][0]
            yield from (row[1:] for row in found)


def _parts_of(database: Database, name: str) -> list[str]:
    found = database.rows(
        "select inhrelid::regclass::text from pg_inherits where inhparent = %s::regclass order by 1", name
    )
    return [part for (part,) in found] or [name]


def _seen(rows: Iterable[Sequence[object]]) -> Seen:
    """Of each row a hash of 64 bits; their sum does not depend on the order."""
    n = total = 0
    for row in rows:
        n += 1
        total += _hash(row)
    return Seen(n, f"{total % (1 << 64):016x}")


def _hash(row: Sequence[object]) -> int:
    return int.from_bytes(blake2b(_encoded(row), digest_size=8).digest(), "big")


_encoded: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode


# ending


def _finish(database: Database, house: House) -> None:
    """The cluster goes on where the folder ended: every slot behind the folder's last event."""
    versions, places = house.versions(), house.places()
    with database.transaction() as session:
        mine = session.row("select count(*) from cursor where owner is distinct from %s", NAME)
        if mine != (0,):
            raise LogError("another process has taken slots while the folder was moved: begin again")
        for kind, version in versions.items():
            if version is not None:
                session.rows("insert into wanted values (%s, %s) on conflict do nothing", kind, version)
        session.rows(
            "update cursor set owner = null, epoch = epoch + 1, xid = '0', id = %s, place = %s, policy = %s,"
            " cuts = %s, value = %s",
            house.last,
            house.last,
            versions["policy"],
            versions["cuts"],
            versions["value"],
        )
        session.rows(
            "update sending set owner = null, epoch = epoch + 1, position = one.position"
            " from unnest(%b::smallint[], %b::bigint[]) as one(slot, position)"
            " where sending.slot = one.slot",
            [slot for slot, _ in places],
            [place for _, place in places],
        )
        # How many more events the places of all slots say than there are: who counts takes them off.
        session.rows(
            "insert into note select 'moved', convert_to(((count(*) - 1) * %s)::text, 'UTF8') from cursor"
            " on conflict (name) do update set body = excluded.body",
            house.last,
        )
        # Doors that are there already have keys and who is kept out in memory.
        session.rows(
            "insert into changed select unnest(%b::text[]), 1"
            " on conflict (what) do update set n = changed.n + 1",
            ["erasures", "keys"],
        )
        session.rows("delete from node where name = %s", NAME)
        session.rows("update moving set done_at = now()")
