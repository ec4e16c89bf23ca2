"""The tables of a cluster. The slot leads every key, so that one day slots can move to other servers.

What grows by the day (events, verdicts, records) is parted by day and let go of by dropping a day.
"""

from lendsignal.errors import LogError
from lendsignal.log.postgres.connection import Database, Session
from lendsignal.log.postgres.deliveries import SCHEMA as DELIVERIES
from lendsignal.log.slots import SLOTS

DAYS_AHEAD = 7
"""Days that tables are made for beforehand: so long the service goes on where nobody tends them."""

BY_DAY = ("event", "verdict", "record")

TODAY = "(now() at time zone 'utc')::date"
"""The database's day, in UTC. No node's clock says where a row goes."""

SCHEMA = f"""
create table if not exists shape (      -- one row: how the tables were made
    one boolean primary key default true check (one),
    slots integer not null,
    version integer not null
);
create sequence if not exists event_id;
create table if not exists event (
    slot smallint not null,
    xid xid8 not null default pg_current_xact_id(),
    id bigint not null default nextval('event_id'),
    name bigint not null,               -- of event_id: numbers.number_of_event
    body bytea not null,                -- msgpack of model.Event
    day date not null default {TODAY},
    primary key (slot, xid, id, day)
) partition by range (day);
create index if not exists event_by_name on event (name);
create table if not exists verdict (    -- only what is not simply taken
    slot smallint not null,
    id bigint not null,                 -- of the event
    verdict text not null,
    day date not null default {TODAY},
    primary key (slot, id, day)
) partition by range (day);
create table if not exists record (
    slot smallint not null,
    seq bigint not null,                -- of the event that they follow from
    body bytea not null,                -- rows.pack_whole_records
    day date not null default {TODAY},
    primary key (slot, seq, day)
) partition by range (day);
create table if not exists cursor (     -- how far a slot is decided, and by whom
    slot smallint primary key,
    xid xid8 not null default '0',      -- of the last decided event
    id bigint not null default 0,       -- of the last decided event
    day date not null default '2000-01-01',
    place bigint not null default 0,    -- how many events of the slot are decided
    epoch bigint not null default 0,    -- rises with every owner: who comes with an older one is refused
    owner text,
    policy text,                        -- the versions in force behind that event
    cuts text,
    value text
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
create table if not exists node (       -- who works here, by the database's clock
    name text primary key,
    kind text not null,
    until timestamptz not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
create table if not exists state (
    slot smallint not null,
    key bytea not null,                 -- UTF-8: a lender's id may hold what no text of PostgreSQL can
    version bigint not null,            -- rises with every change
    body bytea not null,                -- rows.pack_whole_state
    primary key (slot, key)
) with (fillfactor = 70);
create table if not exists timer (
    slot smallint not null,
    due_us bigint not null,
    conversion text not null,
    person bytea not null,              -- UTF-8
    primary key (slot, due_us, conversion)
);
create index if not exists timer_due on timer (due_us);
create table if not exists phone (      -- of slots of their own: a phone is not one person's
    slot smallint not null,
    key bigint not null,
    who bigint not null,                -- number_of_user
    primary key (slot, key, who)
);
create table if not exists tally (
    slot smallint not null,             -- one of those that were decided together
    what text not null,
    name text not null,
    n bigint not null,
    primary key (slot, what, name)
) with (fillfactor = 70);
create table if not exists rule (       -- every set of rules there ever was
    kind text not null,                 -- policy, cuts, value
    version text not null,
    body bytea not null,
    primary key (kind, version)
);
create table if not exists wanted (     -- the version that every slot comes to last
    kind text primary key,
    version text not null
);
create table if not exists imported (
    file text primary key,
    name text not null,
    rows bigint not null,
    done boolean not null
);
create table if not exists quarantine (
    id bigint generated always as identity primary key,
    received_us bigint not null,
    source bytea not null,              -- these three in UTF-8: they may quote what was sent
    field bytea not null,
    rule bytea not null,
    body bytea not null,
    kept bytea,
    state text not null default 'open'
);
"""

SCHEMA += DELIVERIES

VERSION = 1

LOCK = 7_021_154_260_118
"""An advisory lock of our own: one makes tables at a time."""


def prepare(database: Database, slots: int = SLOTS) -> None:
    """Makes what is missing: schema, tables, a cursor for each slot, the tables of the next days.

    `slots` counts the first time only; raises `LogError` where the tables were made for another number.
    """
    with database.transaction() as session:
        session.rows(f"select pg_advisory_xact_lock({LOCK})")
        session.rows(f"create schema if not exists {database.schema}")
        for statement in SCHEMA.split(";\n"):
            if statement.strip():
                session.rows(statement)
        session.rows(
            "insert into shape (slots, version) values (%s, %s) on conflict do nothing", slots, VERSION
        )
        made = session.row("select slots, version from shape")
        if made != (slots, VERSION):
            raise LogError(f"the tables were made for (slots, version) {made}, and not {(slots, VERSION)}")
        session.rows(
            "insert into cursor (slot) select generate_series(0, %s - 1) on conflict do nothing", slots
        )
        session.rows(
            "insert into sending (slot) select generate_series(0, %s - 1) on conflict do nothing", slots
        )
        _make_days(session)


def slots_of(database: Database) -> int:
    """The number of slots that the tables were made for; raises `LogError` where there are none."""
    if database.row("select to_regclass('shape')") == (None,):
        raise LogError(f"the schema {database.schema!r} has no tables of ours yet")
    found = database.row("select slots from shape")
    assert found is not None, "made with the tables"
    return int(found[0])


def tend_days(database: Database, keep: int) -> list[str]:
    """Makes the tables of the next days and drops those of days longer ago than `keep`; the dropped ones.

    A day with an event that is not decided yet is kept, and all that came after it. Raises `LogError` where
    somebody else is in the way for longer than a second; the next time is soon enough.
    """
    dropped: list[str] = []
    with database.transaction() as session:
        # Everybody waits behind who waits for a whole table: rather later than long.
        session.rows("set local lock_timeout = '1s'")
        session.rows(f"select pg_advisory_xact_lock({LOCK})")
        _make_days(session)
        oldest = session.row(
            f"select least({TODAY} - %s::integer, (select min(event.day) from event join cursor using (slot)"
            " where (event.xid, event.id) > (cursor.xid, cursor.id)))",
            keep,
        )
        assert oldest is not None, "a select without a table gives one row"
        for table in BY_DAY:
            for (part,) in session.rows(
                "select inhrelid::regclass::text from pg_inherits where inhparent = %s::regclass", table
            ):
                if part.rpartition("_")[2] < f"{oldest[0]:%Y%m%d}":
                    session.rows(f"drop table {part}")
                    dropped.append(part)
    return sorted(dropped)


def _make_days(session: Session) -> None:
    """Today's table and those of the days to come; yesterday's too, for what begins before midnight."""
    for (day,) in session.rows(
        f"select {TODAY} + n from generate_series(-1, %s::integer) as days(n)", DAYS_AHEAD
    ):
        for table in BY_DAY:
            part = f"{table}_{day:%Y%m%d}"
            if session.row("select to_regclass(%s)", part) == (None,):
                session.rows(
                    f"create table {part} partition of {table}"
                    f" for values from ('{day}') to (date '{day}' + 1)"
                )
