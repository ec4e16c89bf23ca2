"""What there is to see of a cluster's store and its server; looking changes nothing."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from lendsignal.log.postgres.connection import Database

WATCHED = ("fsync", "full_page_writes", "autovacuum", "synchronous_commit", "synchronous_standby_names")
"""Settings of the server that durability and speed hang on."""

OURS = ("idle_in_transaction_session_timeout", "statement_timeout", "lock_timeout", "synchronous_commit")
"""Settings that each session of ours brings; what stands between may take them away."""

BUSY_TABLES = ("cursor", "sending", "node", "open", "state", "delivery_tally", "tally", "lane", "single")
"""Tables whose rows change all the time."""


class Writing(Struct, frozen=True):
    """A transaction that writes and is open: reading waits for it. Whose it is, and for how many seconds."""

    name: str
    user: str
    seconds: float


class Server(Struct, frozen=True, kw_only=True):
    """The server as our connection sees it. `is_remote`: it is reached over a network."""

    version: int
    is_standby: bool
    is_remote: bool
    is_encrypted: bool
    settings: Mapping[str, str]
    ours: Mapping[str, str]
    connections: int
    allowed: int
    bytes: int


class Days(Struct, frozen=True):
    """The tables by day: how many there are, and how many days beyond today are made."""

    tables: int
    ahead: int


class Dead(Struct, frozen=True):
    """A table's rows that are gone and take room until the server vacuums."""

    table: str
    live: int
    dead: int
    vacuumed: bool


def server(database: Database) -> Server:
    """The server and the connection to it."""
    found = database.row(
        "select current_setting('server_version_num')::integer, pg_is_in_recovery(),"
        " coalesce(inet_server_addr() is not null and not inet_server_addr() << '127.0.0.0/8'"
        "  and inet_server_addr() <> '::1', false),"
        " coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false),"
        " (select count(*) from pg_stat_activity where backend_type = 'client backend'),"
        " current_setting('max_connections')::integer"
        "  - current_setting('superuser_reserved_connections')::integer,"
        " pg_database_size(current_database())"
    )
    assert found is not None, "a select without a table gives one row"
    version, is_standby, is_remote, is_encrypted, connections, allowed, size = found
    return Server(
        version=version,
        is_standby=is_standby,
        is_remote=is_remote,
        is_encrypted=is_encrypted,
        settings=_settings(database, WATCHED),
        ours=_settings(database, OURS),
        connections=connections,
        allowed=allowed,
        bytes=size,
    )


def _settings(database: Database, names: Sequence[str]) -> dict[str, str]:
    found = database.rows(
        "select name, current_setting(name) from unnest(%b::text[]) as one(name)", list(names)
    )
    return dict(found)


def oldest_writing(database: Database) -> Writing | None:
    """Of the transactions that write, anywhere in the server, the one open longest; but for our own."""
    found = database.row(
        "select name, owner, seconds from ("
        " select coalesce(nullif(application_name, ''), 'unnamed') as name, usename::text as owner,"
        "  extract(epoch from clock_timestamp() - xact_start)::float8 as seconds from pg_stat_activity"
        "  where backend_xid is not null and pid <> pg_backend_pid()"
        " union all select 'prepared ' || gid, owner::text,"
        "  extract(epoch from clock_timestamp() - prepared)::float8 from pg_prepared_xacts"
        ") writing where seconds is not null order by seconds desc limit 1"
    )
    return None if found is None else Writing(*found)


def days(database: Database) -> Days:
    """How far the tables by day reach."""
    found = database.row(
        "select count(*), coalesce(max(right(inhrelid::regclass::text, 8)::date)"
        " - (now() at time zone 'utc')::date, -1)"
        " from pg_inherits where inhparent = 'event'::regclass"
    )
    assert found is not None, "a count gives one row"
    return Days(int(found[0]), int(found[1]))


def dead_rows(database: Database) -> list[Dead]:
    """How the tables stand whose rows change all the time."""
    found = database.rows(
        "select relname::text, n_live_tup, n_dead_tup, last_autovacuum is not null or last_vacuum is not null"
        " from pg_stat_user_tables where schemaname = %s and relname = any(%b::text[]) order by 1",
        database.schema,
        list(BUSY_TABLES),
    )
    return [Dead(*one) for one in found]


def open_refusals(database: Database) -> int:
    """Refused events that wait for a person."""
    found = database.row("select count(*) from quarantine where state = 'open'")
    return 0 if found is None else int(found[0])
