"""The tables of a cluster. The slot leads every key, so that one day slots can move to other servers.

What grows by the day (events, verdicts, records, receipts) is parted by day and let go of by dropping a day.
"""

from collections.abc import Mapping, Sequence
from datetime import date

from msgspec import Struct

from lendsignal.errors import LogError
from lendsignal.log.postgres.connection import Database, Session, was_in_the_way
from lendsignal.log.postgres.deliveries import SCHEMA as DELIVERIES
from lendsignal.log.postgres.deliveries import UPGRADE as UPGRADE_OF_DELIVERIES
from lendsignal.log.postgres.deliveries import UPGRADE_OF_RECEIPTS
from lendsignal.log.postgres.erasing import FUNCTION
from lendsignal.log.postgres.erasures import SCHEMA as ERASURES
from lendsignal.log.postgres.erasures import UPGRADE as UPGRADE_OF_ERASURES
from lendsignal.log.postgres.pulls import SCHEMA as PULLS
from lendsignal.log.postgres.receipts import UPGRADE as UPGRADE_TO_DAYS_OF_RECEIPTS
from lendsignal.log.postgres.relay import SCHEMA as SHELF
from lendsignal.log.postgres.told import SCHEMA as TOLD
from lendsignal.log.slots import SLOTS
from lendsignal.plan import delivery_id, record_id

DAYS_AHEAD = 7
"""Days that tables are made for beforehand: so long the service goes on where nobody tends them."""

BY_DAY = ("event", "verdict", "record")
"""Tables whose days go together; those of `receipt` go when nothing of theirs is wanted: see `forgetting`."""

TODAY = "(now() at time zone 'utc')::date"
"""The database's day, in UTC. No node's clock says where a row goes."""

WORD = "md5(random()::text || clock_timestamp()::text)"

SCHEMA = f"""
create table if not exists shape (      -- one row: how the tables were made
    one boolean primary key default true check (one),
    slots integer not null,
    version integer not null,
    word text not null default {WORD}   -- by which a copy knows which store it is of
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
    state text not null default 'open', -- open, asked, taken, dropped
    event_id bytea,                     -- of what was taken, in UTF-8
    who text,                           -- who last did something about it
    at_us bigint
);
create index if not exists quarantine_asked on quarantine (id) where state = 'asked';
create table if not exists desk (       -- where the pages of a cluster are, by the database's clock
    name text primary key,
    address text not null,
    until timestamptz not null
) with (fillfactor = 50);
create table if not exists api_key (    -- made at the command line; of a key only its SHA-256 is kept
    sha256 text primary key,
    source text not null,
    made_us bigint not null,
    expires_us bigint,                  -- null: never
    scopes text                         -- words with blanks between; null: all of the source's
);
create table if not exists key_end (    -- an end that was set later, also of a key in the configuration
    sha256 text primary key,
    at_us bigint not null
);
create table if not exists key_use (
    sha256 text primary key,
    last_us bigint not null,
    requests bigint not null
) with (fillfactor = 50);
create table if not exists changed (    -- who has something in memory looks here whether it is another now
    what text primary key,
    n bigint not null
) with (fillfactor = 50);
create table if not exists kept_out (   -- who was erased: what is said of them does not come in again
    who bytea primary key,              -- salted hash of brand and user
    receipt text not null,
    at_us bigint not null,
    allowed_us bigint                   -- what occurs from then on is taken; null: nothing is
);
create table if not exists note (name text primary key, body bytea not null);
create table if not exists erasure (    -- what went by each of them; nothing about whom
    receipt text primary key,
    asked_us bigint not null,
    asked_by text not null,
    ended_us bigint,
    found text not null default '',     -- JSON: how many rows of each kind
    salt bytea,
    subjects text,                      -- JSON: salted hashes of whom it is about
    about bytea                         -- msgpack of erasures.About; null when it has ended
);
create table if not exists single (     -- what one node does for all, by the database's clock
    name text primary key,
    holder text not null,
    epoch bigint not null,
    until timestamptz not null,
    done timestamptz                    -- when it was last done
) with (fillfactor = 50);
"""

SCHEMA += DELIVERIES + SHELF + PULLS + TOLD + ERASURES

VERSION = 4

UPGRADE_OF_QUARANTINE = (
    "alter table if exists quarantine add column if not exists event_id bytea",
    "alter table if exists quarantine add column if not exists who text",
    "alter table if exists quarantine add column if not exists at_us bigint",
)
"""For tables that were made when nobody mended what doors refused."""

UPGRADE_OF_SHAPE = (f"alter table shape add column if not exists word text not null default {WORD}",)
"""For tables that were made when nobody copied a store."""

UPGRADES: Mapping[int, Sequence[str]] = {
    2: UPGRADE_OF_DELIVERIES,
    3: (*UPGRADE_OF_QUARANTINE, *UPGRADE_OF_RECEIPTS, *UPGRADE_OF_ERASURES, *UPGRADE_OF_SHAPE),
    4: UPGRADE_TO_DAYS_OF_RECEIPTS,
}
"""By version: what brings tables of the version before to it, where `create … if not exists` does not."""

LOCK = 7_021_154_260_118
"""An advisory lock of our own: one makes tables at a time."""

LOCK_SECONDS, TRIES = 2, 30
"""How long making tables waits for who works with them, and how often it comes again."""


class Prepared(Struct, frozen=True, kw_only=True):
    """What `prepare` came to: the tables that it made, and the version they were of before; `None`: none."""

    before: int | None
    version: int
    slots: int
    made: tuple[str, ...]


class _OnlyLooked(Exception):
    """Takes everything back."""


def prepare(database: Database, slots: int = SLOTS, *, dry_run: bool = False) -> Prepared:
    """Makes what is missing: schema, tables, a cursor for each slot, the tables of the next days.

    `slots` counts the first time only; raises `LogError` where the tables were made for another number, or by
    a younger version. `dry_run` does all of it and takes it back: what it cannot do, it could not do.

    Nodes may work meanwhile. To change a table it waits for who writes into it, and others wait behind it: so
    it waits a moment only, and comes again.
    """
    tries = 0
    while True:
        tries += 1
        try:
            return _prepared_at_once(database, slots, dry_run)
        except LogError as error:
            if tries == TRIES or not was_in_the_way(error):
                raise


def _prepared_at_once(database: Database, slots: int, dry_run: bool) -> Prepared:
    found: list[Prepared] = []
    try:
        with database.transaction() as session:
            session.rows(f"set local lock_timeout = '{LOCK_SECONDS}s'")
            session.rows(f"select pg_advisory_xact_lock({LOCK})")
            found.append(_prepared(session, database.schema, slots))
            if dry_run:
                raise _OnlyLooked
    except _OnlyLooked:
        pass
    return found[0]


def _prepared(session: Session, schema: str, slots: int) -> Prepared:
    before = _version(session)
    if before is not None and before[1] > VERSION:
        raise LogError(
            f"the schema {schema!r} is of form {before[1]}, and this version knows {VERSION}:"
            " install the version that made it"
        )
    if before is not None and before[0] != slots:
        raise LogError(f"the tables were made for {before[0]} slots, and not for {slots}")
    known = _tables(session, schema)
    if session.row("select to_regnamespace(%s)::oid", schema) == (None,):  # to make it needs another right
        session.rows(f"create schema {schema}")
    if before is not None and before[1] < VERSION:
        with session.unhurried():  # a large table is read once
            for version in range(before[1] + 1, VERSION + 1):
                for statement in UPGRADES.get(version, ()):
                    session.rows(statement)
    for statement in SCHEMA.split(";\n"):
        if statement.strip():
            session.rows(statement)
    session.rows("insert into shape (slots, version) values (%s, %s) on conflict do nothing", slots, VERSION)
    session.rows("update shape set version = %s", VERSION)
    session.rows(FUNCTION)
    for table in ("cursor", "sending"):
        session.rows(
            f"insert into {table} (slot) select generate_series(0, %s - 1) on conflict do nothing", slots
        )
    _make_days(session)
    return Prepared(
        before=None if before is None else before[1],
        version=VERSION,
        slots=slots,
        made=tuple(sorted(_tables(session, schema) - known)),
    )


def _tables(session: Session, schema: str) -> set[str]:
    found = session.rows("select tablename::text from pg_tables where schemaname = %s", schema)
    return {name for (name,) in found}


def _version(session: Session) -> tuple[int, int] | None:
    """(slots, version) of the tables; `None`: there are none yet."""
    if session.row("select to_regclass('shape')::oid") == (None,):
        return None
    found = session.row("select slots, version from shape")
    return None if found is None else (int(found[0]), int(found[1]))


def slots_of(database: Database) -> int:
    """The number of slots that the tables were made for.

    Raises `LogError` where there are none, where they are of another version than this one knows, or where
    they were loaded into a server that gives smaller transaction numbers than theirs: what comes in there
    would stand before what is decided, and nobody would read it.
    """
    with database.transaction() as session:
        found = _version(session)
        is_ahead = found is not None and session.row(
            "select 1 from cursor where xid > pg_snapshot_xmax(pg_current_snapshot()) limit 1"
        )
    if found is None:
        raise LogError(
            f"the schema {database.schema!r} has no tables of ours yet: `lendsignal store prepare` makes them"
        )
    if found[1] != VERSION:
        do = (
            "`lendsignal store prepare` brings them there"
            if found[1] < VERSION
            else "install the version that made them"
        )
        raise LogError(f"the tables of the store are of form {found[1]}, and not of {VERSION}: {do}")
    if is_ahead:
        raise LogError(
            "the store was loaded into a server whose transaction numbers are behind those of its rows: close"
            " it before anything comes in, and see docs/how-to/move-the-store.md"
        )
    return found[0]


_UNDECIDED = """
select min(event.day) from event join cursor using (slot)
where (event.xid, event.id) > (cursor.xid, cursor.id)
"""

_UNREAD = f"""
select min(first.day) from sending cross join lateral (
    select record.day from record where record.slot = sending.slot
        and record.seq > sending.position / {record_id(1, 0)} order by record.seq limit 1
) first
"""

_UNSENT = f"""
select min(record.day) from (select slot, min(id) as id from open group by slot) first
join record on record.slot = first.slot and record.seq = first.id / {delivery_id(record_id(1, 0), 0)}
"""


def tend_days(database: Database, keep: int) -> list[str]:
    """Makes the tables of the next days and drops those of days longer ago than `keep`; the dropped ones.

    A day is kept, with all that came after it, as long as it has an event that is not decided, a record that
    no sender has read, or one of whose deliveries any is open. Raises `LogError` where somebody else is in
    the way for longer than a second; the next time is soon enough.
    """
    dropped: list[str] = []
    with database.transaction() as session:
        # Everybody waits behind who waits for a whole table: rather later than long.
        session.rows("set local lock_timeout = '1s'")
        session.rows(f"select pg_advisory_xact_lock({LOCK})")
        _make_days(session)
        oldest = oldest_day(session, keep)
        for table in BY_DAY:
            for part in days_before(session, table, oldest):
                session.rows(f"drop table {part}")
                dropped.append(part)
    return sorted(dropped)


def oldest_day(session: Session, keep: int) -> date:
    """The first day that is kept: so many days ago, or earlier where somebody needs an earlier one."""
    found = session.row(
        f"select least({TODAY} - %s::integer, ({_UNDECIDED}), ({_UNREAD}), ({_UNSENT}))", keep
    )
    assert found is not None, "a select without a table gives one row"
    return found[0]  # type: ignore[no-any-return]


def days_before(session: Session, table: str, day: date) -> list[str]:
    """A table's parts of days before that one, the oldest first. Parts without a day are not among them."""
    found = session.rows(
        "select inhrelid::regclass::text from pg_inherits where inhparent = %s::regclass order by 1", table
    )
    return [part for (part,) in found if part.rpartition("_")[2] < f"{day:%Y%m%d}"]


def _make_days(session: Session) -> None:
    """Today's table and those of the days to come; yesterday's too, for what begins before midnight."""
    first = first_day(session, "receipt")
    for (day,) in session.rows(
        f"select {TODAY} + n from generate_series(-1, %s::integer) as days(n)", DAYS_AHEAD
    ):
        # What was there before receipts were laid by day is one part, and all days before are in it.
        tables = BY_DAY if first is not None and day < first else (*BY_DAY, "receipt")
        for table in tables:
            part = f"{table}_{day:%Y%m%d}"
            if session.row("select to_regclass(%s)", part) == (None,):
                session.rows(
                    f"create table {part} partition of {table}"
                    f" for values from ('{day}') to (date '{day}' + 1)"
                )


def first_day(session: Session | Database, table: str) -> date | None:
    """The day of a table's oldest part that has one; `None`: there is none."""
    found = session.row(
        "select min(right(inhrelid::regclass::text, 8)::date) from pg_inherits"
        " where inhparent = %s::regclass and inhrelid::regclass::text ~ '_[0-9]{8}$'",
        table,
    )
    return None if found is None else found[0]
