"""Rows of the lender's own database: a query with a cursor column, or an outbox table.

A query is read in pages behind the largest cursor so far. Transactions end in another order than the one in
which they took their numbers or times, so each round begins a little earlier again, at `overlap`: what was
read before is remembered and passed over. A PostgreSQL outbox needs no overlap: its rows carry the number
of their transaction, and only those before the oldest open one are read.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta, Struct

from lendsignal.clock import from_us
from lendsignal.errors import InputError, Problem, PullError
from lendsignal.model import Secret, reveal
from lendsignal.source.files.rows import Row
from lendsignal.source.files.values import DateColumn, TimeColumn
from lendsignal.source.kinds import Kit
from lendsignal.source.pull import Batch, Feed, Pulled, Unread, digest_of
from lendsignal.source.reading import read_json
from lendsignal.source.rowmap import RowMap, Rows, problems_of_rows

PATIENCE: Mapping[str, Mapping[str, int]] = {
    "postgresql": {"connect_timeout": 10, "keepalives_idle": 30, "tcp_user_timeout": 60_000},
    "mysql": {"connect_timeout": 10, "read_timeout": 120, "write_timeout": 60},
    "mariadb": {"connect_timeout": 10, "read_timeout": 120, "write_timeout": 60},
}
"""What drivers are asked so that a server that went away silently does not keep a pull for ever: seconds, and
milliseconds for `tcp_user_timeout`."""

ALWAYS: Mapping[str, Sequence[str]] = {
    # A TIMESTAMP of MariaDB is shown in the session's zone: always UTC here, wherever the server stands.
    "mysql": ("set time_zone = '+00:00'",),
    "postgresql": ("set time zone 'UTC'", "set statement_timeout = '120s'"),
}

SESSION: Mapping[str, Sequence[str]] = {
    "mysql": ("set session transaction read only",),
    "postgresql": ("set session characteristics as transaction read only",),
}
"""What a session that only reads promises the database."""

CLOCKS_DIFFER = timedelta(hours=1)
FURTHEST_EAST = timedelta(hours=14)

T = TypeVar("T")

Value = int | str | datetime | date | Decimal


class Settings(RowMap, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A database, and either a query or an outbox table."""

    url: Annotated[
        str,
        Meta(description="SQLAlchemy URL without a password: postgresql+psycopg://reader@db.internal/loans"),
    ]
    password: Annotated[Secret | None, Meta(description="where the password of the URL's user is kept")] = (
        None
    )
    query: Annotated[str | None, Meta(description="a SELECT without ORDER BY and LIMIT")] = None
    cursor: Annotated[
        str | None, Meta(description="a column of the query that rises with each change: a time or a number")
    ] = None
    key: Annotated[
        str | tuple[str, ...], Meta(description="the columns that make a row one; by default the cursor")
    ] = ()
    overlap: Annotated[
        timedelta, Meta(description="how far behind the largest time rows may still appear or change")
    ] = timedelta(minutes=10)
    overlap_numbers: Annotated[
        int, Meta(ge=0, description="the same for a cursor of numbers: how many numbers behind the largest")
    ] = 1_000
    outbox: Annotated[
        str | None, Meta(description="a table as `lendsignal outbox` makes it, in place of a query")
    ] = None
    delete: Annotated[bool, Meta(description="delete rows of the outbox once they are durable here")] = False


def problems(settings: Settings) -> Iterator[Problem]:
    """What types cannot tell is wrong."""
    if re.search(r"://[^/@]*:[^/@]+@", settings.url):
        yield Problem(
            "url", "a password in it (not shown)", 'the URL without it, and password = { env = "…" }'
        )
    if "://" not in settings.url:
        yield Problem(
            "url", "no URL", "an SQLAlchemy URL such as postgresql+psycopg://reader@db.internal/loans"
        )
    if (settings.query is None) == (settings.outbox is None):
        yield Problem("query", "both or neither of query and outbox", "one of them")
    if settings.query is not None:
        if settings.cursor is None:
            yield Problem("cursor", "nothing", "a column of the query that rises with each change")
        if settings.delete:
            yield Problem("delete", "true beside a query", "true for an outbox only")
        if not settings.event:
            yield Problem("event", "nothing", "the events that a row makes, as [[pull.NAME.event]]")
        yield from problems_of_rows(settings)
    if settings.outbox is not None:
        if not re.fullmatch(r"\w+(\.\w+)?", settings.outbox):
            yield Problem("outbox", "no plain name", "the name of a table, or schema.table")
        for name in ("cursor", "event", "revision", "computed", "column"):
            if getattr(settings, name):
                yield Problem(name, "a rule beside outbox", "nothing: its rows hold whole events")


def feed(settings: Settings, kit: Kit) -> Feed:
    """The feed. Raises `PullError` where the database cannot be reached."""
    database = Database(settings)
    try:
        if settings.outbox is None:
            return QueryFeed(settings, kit, database)
        if database.dialect == "postgresql" and not settings.delete:
            return OrderedOutbox(settings, kit, database)
        return (
            QueuedOutbox(settings, kit, database)
            if settings.delete
            else ScannedOutbox(settings, kit, database)
        )
    except BaseException:
        database.close()
        raise


class Database:
    """A connection. Whatever the driver raises becomes a `PullError`, without values or passwords."""

    def __init__(self, settings: Settings) -> None:
        try:
            import sqlalchemy
        except ImportError:
            raise PullError("no_driver", "SQLAlchemy is not installed: pip install lendsignal[sql]") from None
        self.sql = sqlalchemy
        try:
            url = sqlalchemy.make_url(settings.url)
            if settings.password is not None:
                url = url.set(password=reveal(settings.password) or "")
            if url.drivername == "postgresql":
                url = url.set(drivername="postgresql+psycopg")
            if url.drivername in ("mysql", "mariadb"):
                url = url.set(drivername=f"{url.drivername}+pymysql")
            backend = url.get_backend_name()
            self._engine = sqlalchemy.create_engine(
                url,
                poolclass=sqlalchemy.NullPool,
                connect_args=PATIENCE.get(backend, {}),
                hide_parameters=True,
            )
        except ImportError as error:
            raise PullError("no_driver", f"the driver {error.name} of the URL is not installed") from None
        except sqlalchemy.exc.ArgumentError:
            raise PullError("no_driver", "the URL is none that SQLAlchemy can read") from None
        self.dialect = "mysql" if backend == "mariadb" else backend
        self._asked = () if settings.delete else SESSION.get(self.dialect, ())
        self._connection: Any = None

    def quoted(self, name: str) -> str:
        """A name as this database takes it in a query."""
        return ".".join(self._engine.dialect.identifier_preparer.quote(part) for part in name.split("."))

    def rows(self, query: Any, values: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """The names of a query's columns, and its rows, in a transaction of their own."""
        with self._talking() as connection, connection.begin():
            found = connection.execute(query, values)
            return tuple(found.keys()), [tuple(one) for one in found]

    def run(self, statement: Any, values: Mapping[str, Any]) -> None:
        """One statement, committed."""
        with self._talking() as connection, connection.begin():
            connection.execute(statement, values)

    def close(self) -> None:
        """Ends the connection; what goes wrong with that does not matter any more."""
        connection, self._connection = self._connection, None
        with suppress(Exception):
            if connection is not None:
                connection.close()
        self._engine.dispose()

    def _talking(self) -> "_Talking":
        return _Talking(self)

    def connection(self) -> Any:
        """The connection, made where it is not there."""
        if self._connection is None:
            self._connection = self._engine.connect()
            with self._connection.begin():
                for statement in (*ALWAYS.get(self.dialect, ()), *self._asked):
                    self._connection.execute(self.sql.text(statement))
        return self._connection


class _Talking:
    """The connection for as long as a block; its errors as ours."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> Any:
        try:
            return self._database.connection()
        except self._database.sql.exc.SQLAlchemyError as error:
            raise self._said(error) from None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, self._database.sql.exc.SQLAlchemyError):
            raise self._said(error) from None

    def _said(self, error: Any) -> PullError:
        """What went wrong as one word: databases tell their troubles in sentences that may hold values."""
        exc = self._database.sql.exc
        original = getattr(error, "orig", None)
        code = getattr(original, "sqlstate", None) or (getattr(original, "args", None) or ("",))[0]
        text = str(original).lower()
        name = f"{type(error).__name__} {code if isinstance(code, (int, str)) and len(str(code)) < 8 else ''}"
        if (
            str(code) in ("28P01", "28000", "1045", "1044", "42501", "1142")
            or "password authentication" in text
        ):
            return PullError(
                "unauthorised", f"the database lets this user not in, or not read ({name.strip()})"
            )
        if isinstance(error, (exc.ProgrammingError, exc.DataError)):
            return PullError(
                "bad_query", f"the query is not taken, or gives what cannot be read ({name.strip()})"
            )
        if isinstance(error, (exc.OperationalError, exc.InterfaceError, exc.DBAPIError)):
            return PullError("unreachable", f"the database does not answer ({name.strip()})")
        return PullError("broken", type(error).__name__)


class Mark(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a query was read. A round goes from `start` to `until`, and `at` is the last row of it so far.

    Values are a word for their type and their text. `None`: from the beginning, or no round is open.
    """

    start: tuple[str, str] | None = None
    until: tuple[str, str] | None = None
    at: tuple[tuple[str, str], ...] | None = None


_mark_out = msgspec.json.Encoder().encode


def marked(mark: bytes, kind: type[T]) -> T:
    """The mark as this way of reading wrote it. Raises `PullError` where another one did."""
    try:
        return msgspec.json.decode(mark, type=kind)
    except msgspec.DecodeError:
        raise PullError("other_mark", "it was read in another way before: give the pull a new name") from None


class QueryFeed:
    """Rounds over a query. Each begins `overlap` before the largest cursor that the round before it saw.

    A row is found if it can be read before the largest cursor is more than the overlap ahead of its own.
    """

    waits_itself = False

    def __init__(self, settings: Settings, kit: Kit, database: Database) -> None:
        self._settings = settings
        self._kit = kit
        self._database = database
        self._rows = Rows(kit.name, settings)
        self._query = plain_text(settings.query or "")
        self._cursor = settings.cursor or ""
        key = (settings.key,) if isinstance(settings.key, str) else settings.key
        self._key = key or (self._cursor,)
        self._order = (self._cursor, *(name for name in self._key if name != self._cursor))

    def read(self, mark: bytes | None, limit: int) -> Batch:
        """The next page of the round that is open, or the first of a new one."""
        at = Mark() if mark is None else marked(mark, Mark)
        if at.until is None:
            largest = self._largest()
            if largest is None:
                return Batch()
            at = Mark(start=at.start, until=packed(largest))
        assert at.until is not None
        names, found = self._page(at, limit)
        missing = [name for name in self._order if name not in names]
        if missing:
            raise PullError("bad_query", f"the query has no column {missing[0]!r}")
        events: list[Pulled] = []
        unread: list[Unread] = []
        for number, values in enumerate(found):
            cells = {name: _cell(value) for name, value in zip(names, values, strict=True)}
            key = [str(cells[name]) for name in self._key]
            where = f"row {', '.join(f'{name}={one}' for name, one in zip(self._key, key, strict=True))}"
            made, bad = self._rows.pulled(Row(number, None, cells), where[:200], key)
            events += made
            unread += bad
        if len(found) < limit:
            done = Mark(start=self._earlier(unpacked(at.until)))
            return Batch(
                events=events, unread=unread, mark=_mark_out(done), rows=len(found), behind=timedelta(0)
            )
        last = dict(zip(names, found[-1], strict=True))
        after = Mark(start=at.start, until=at.until, at=tuple(packed(last[name]) for name in self._order))
        return Batch(
            events=events,
            unread=unread,
            mark=_mark_out(after),
            rows=len(found),
            more=True,
            behind=self._behind(last[self._cursor]),
        )

    def kept(self, batch: Batch) -> None:
        """Nothing: the lender's rows stay as they are."""

    def close(self) -> None:
        """Ends the connection."""
        self._database.close()

    def _largest(self) -> Value | None:
        """The largest cursor; of times, the largest that is not still to come.

        One row of the year 2099 would otherwise put every row of today behind the overlap for good.
        """
        cursor = self._database.quoted(self._cursor)
        query = f"select max(q.{cursor}) from ({self._query}) q"
        largest = self._one(query, {})
        if isinstance(largest, datetime) and largest > (latest := self._latest(largest)):
            largest = self._one(f"{query} where q.{cursor} <= :latest", {"latest": latest})
        if largest is not None and not isinstance(largest, (int, str, datetime, date, Decimal)):
            raise PullError("bad_query", f"the cursor is a {type(largest).__name__}: take a time or a number")
        return largest

    def _one(self, query: str, values: Mapping[str, Any]) -> Any:
        _, ((found,),) = self._database.rows(self._database.sql.text(query), values)
        return found

    def _latest(self, like: datetime) -> datetime:
        """How late a row may be dated now. Clocks without a zone show up to 14 hours more than UTC's."""
        now = from_us(self._kit.clock.now_us())
        if like.tzinfo is None:
            return now.replace(tzinfo=None) + FURTHEST_EAST + CLOCKS_DIFFER
        return now + CLOCKS_DIFFER

    def _page(self, at: Mark, limit: int) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
        """The next rows in the order of cursor and key, behind `at` or from `start` on, up to `until`."""
        sql = self._database.sql
        names = [f"q.{self._database.quoted(name)}" for name in self._order]
        values: dict[str, Any] = {"until": unpacked(at.until) if at.until else None}
        where = [f"{names[0]} <= :until"]
        if at.at is not None:
            # Expanded, for not every database compares rows; the first condition lets it use the index.
            values |= {f"v{n}": unpacked(one) for n, one in enumerate(at.at)}
            steps = [
                " and ".join([*(f"{names[m]} = :v{m}" for m in range(n)), f"{names[n]} > :v{n}"])
                for n in range(len(names))
            ]
            where += [f"{names[0]} >= :v0", f"({' or '.join(f'({one})' for one in steps)})"]
        elif at.start is not None:
            values["start"] = unpacked(at.start)
            where.append(f"{names[0]} >= :start")
        query = (
            sql.select(sql.text("*"))
            .select_from(sql.text(f"({self._query}) q"))
            .where(sql.text(" and ".join(where)))
            .order_by(*(sql.text(name) for name in names))
            .limit(limit)
        )
        return self._database.rows(query, values)

    def _earlier(self, largest: Value) -> tuple[str, str]:
        """Where the next round begins; a cursor of texts has no overlap."""
        match largest:
            case datetime() | date():
                return packed(_earliest(largest, self._settings.overlap))
            case int() | Decimal():
                return packed(largest - self._settings.overlap_numbers)
            case str():
                return packed(largest)

    def _behind(self, value: Value) -> timedelta | None:
        """How long ago the rows were written that are read now; `None` where the cursor does not tell."""
        if not isinstance(value, datetime):
            return None
        if value.tzinfo is None:
            column = self._settings.column.get(self._cursor)
            zone = column.timezone if isinstance(column, (TimeColumn, DateColumn)) else None
            if zone is None:
                return None
            value = value.replace(tzinfo=ZoneInfo(zone))
        return max(from_us(self._kit.clock.now_us()) - value, timedelta(0))


def plain_text(query: str) -> str:
    """The query for SQLAlchemy, which would take `:word` for a value that it is to be given."""
    return re.sub(r"(?<![:\w\\]):(?=\w)", r"\\:", query.rstrip().rstrip(";"))


def _earliest(moment: datetime | date, overlap: timedelta) -> datetime | date:
    try:
        if isinstance(moment, datetime):
            return moment - overlap
        return moment - max(overlap, timedelta(days=1))
    except OverflowError:
        return moment


class Outbox:
    """What the feeds over an outbox share: a row is its number and one event as JSON."""

    waits_itself = False

    def __init__(self, settings: Settings, kit: Kit, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._table = database.quoted(settings.outbox or "")
        self._rows = Rows(kit.name, msgspec.structs.replace(settings, event=()))

    def _pulled(
        self, found: Sequence[tuple[int, object]], *, remembered: bool
    ) -> tuple[list[Pulled], list[Unread]]:
        events: list[Pulled] = []
        unread: list[Unread] = []
        for number, body in found:
            where = f"{self._settings.outbox} {number}"
            try:
                event = _object(body)
            except InputError as error:
                raw = body if isinstance(body, bytes) else str(body).encode()
                unread.append(Unread(where=where, field=error.field, rule=error.rule, body=raw))
                continue
            made, bad = self._rows.pulled(Row(number, None, {}, event), where, [str(number)])
            # A row of an outbox never changes, so that its number is all there is to remember of it.
            events += [
                msgspec.structs.replace(one, key=digest_of(str(number)) if remembered else None, content=b"")
                for one in made
            ]
            unread += bad
        return events, unread

    def kept(self, batch: Batch) -> None:
        """Nothing: the rows stay."""

    def close(self) -> None:
        """Ends the connection."""
        self._database.close()


class OrderedOutbox(Outbox):
    """A PostgreSQL outbox that keeps its rows, in the order of (transaction, number).

    Only rows of transactions before the oldest open one are read: nothing can appear behind the mark any
    more, however long a transaction was open. One that stays open holds the outbox up, not back: how long the
    oldest row has waited for it is how far the pull is behind.
    """

    AFTER = "(tx, id) > (cast(cast(:tx as text) as xid8), :id)"

    def read(self, mark: bytes | None, limit: int) -> Batch:
        """The next rows whose transactions, and all before them, have ended."""
        at = (0, 0) if mark is None else marked(mark, tuple[int, int])
        query = self._database.sql.text(
            f"select cast(cast(tx as text) as numeric), id, event from {self._table} where {self.AFTER}"
            " and tx < pg_snapshot_xmin(pg_current_snapshot()) order by tx, id limit :n"
        )
        _, found = self._database.rows(query, {"tx": str(at[0]), "id": at[1], "n": limit})
        events, unread = self._pulled([(one, body) for _, one, body in found], remembered=False)
        after = (int(found[-1][0]), int(found[-1][1])) if found else at
        full = len(found) == limit
        return Batch(
            events=events,
            unread=unread,
            mark=_mark_out(after) if found else None,
            rows=len(found),
            more=full,
            behind=None if full else self._held_up(*after),
        )

    def _held_up(self, transaction: int, number: int) -> timedelta:
        """How long the oldest row has waited that can be seen and not be read yet.

        Raises `PullError` where the database counts its transactions from the beginning, as one does that was
        restored into a new server.
        """
        query = self._database.sql.text(
            "select cast(cast(pg_snapshot_xmax(pg_current_snapshot()) as text) as numeric), now(),"
            f" (select min(created_at) from {self._table} where {self.AFTER})"
        )
        _, ((following, now, oldest),) = self._database.rows(query, {"tx": str(transaction), "id": number})
        if following <= transaction:
            raise PullError(
                "rewound", "transaction numbers went back, as after a restore: give the pull a new name"
            )
        return timedelta(0) if oldest is None else max(now - oldest, timedelta(0))


class ScannedOutbox(Outbox):
    """An outbox of another database that keeps its rows: by number, with `overlap_numbers`."""

    def read(self, mark: bytes | None, limit: int) -> Batch:
        """The next rows by number; behind the last one it begins anew, so many numbers earlier."""
        start, after = (0, 0) if mark is None else marked(mark, tuple[int, int])
        query = self._database.sql.text(
            f"select id, event from {self._table} where id > :id order by id limit :n"
        )
        _, found = self._database.rows(query, {"id": after, "n": limit})
        events, unread = self._pulled([(int(one), body) for one, body in found], remembered=True)
        largest = max(start, int(found[-1][0]) if found else 0)
        full = len(found) == limit
        then = int(found[-1][0]) if full else max(0, largest - self._settings.overlap_numbers)
        return Batch(
            events=events,
            unread=unread,
            mark=_mark_out((largest, then)),
            rows=len(found),
            more=full,
            behind=None if full else timedelta(0),
        )


class QueuedOutbox(Outbox):
    """An outbox whose rows are deleted once they are durable: whatever stands in it is still to be read.

    No order and no overlap is needed, and a transaction may stay open as long as it likes.
    """

    def __init__(self, settings: Settings, kit: Kit, database: Database) -> None:
        super().__init__(settings, kit, database)
        self._numbers: list[int] = []

    def read(self, mark: bytes | None, limit: int) -> Batch:
        """The first rows that stand in the table."""
        query = self._database.sql.text(f"select id, event from {self._table} order by id limit :n")
        _, found = self._database.rows(query, {"n": limit})
        self._numbers = [int(one) for one, _ in found]
        events, unread = self._pulled([(int(one), body) for one, body in found], remembered=True)
        full = len(found) == limit
        return Batch(
            events=events, unread=unread, rows=len(found), more=full, behind=None if full else timedelta(0)
        )

    def kept(self, batch: Batch) -> None:
        """Deletes the rows that were read."""
        if not self._numbers:
            return
        sql = self._database.sql
        statement = sql.text(f"delete from {self._table} where id in :ids").bindparams(
            sql.bindparam("ids", expanding=True)
        )
        self._database.run(statement, {"ids": self._numbers})


def _object(body: object) -> dict[str, Any]:
    """The JSON object in a cell: text, bytes, or what the driver made of a JSON column."""
    if isinstance(body, dict):
        return body
    raw = bytes(body) if isinstance(body, (bytes, memoryview)) else str(body).encode()
    try:
        return read_json(raw)
    except InputError as error:
        raise InputError("event", error.rule) from None


def _cell(value: Any) -> Any:
    """A database's value as the cell of a row."""
    match value:
        case None | str() | bool() | int() | float() | Decimal() | datetime() | date() | list():
            return value
        case bytes() | memoryview():
            return bytes(value).decode("utf-8", "replace")
        case timedelta():
            return value.total_seconds()
        case dict():
            return msgspec.json.encode(value).decode()
        case _:
            return str(value)


def packed(value: Value) -> tuple[str, str]:
    """A cursor's value as a word for its type, and its text."""
    match value:
        case bool():
            raise PullError("bad_query", "the cursor is yes or no: take a time or a number")
        case int():
            return "int", str(value)
        case Decimal():
            return "decimal", str(value)
        case datetime():
            return "datetime", value.isoformat()
        case date():
            return "date", value.isoformat()
        case str():
            return "str", value
        case _:
            return "str", str(value)


def unpacked(written: tuple[str, str]) -> Value:
    """The value that `packed` wrote."""
    word, text = written
    match word:
        case "int":
            return int(text)
        case "decimal":
            return Decimal(text)
        case "datetime":
            return datetime.fromisoformat(text)
        case "date":
            return date.fromisoformat(text)
        case _:
            return text


POSTGRESQL = """\
-- The outbox for lendsignal. Insert in the transaction that changes the loan.
create table {table} (
    id         bigint generated always as identity primary key,
    tx         xid8        not null default pg_current_xact_id(),  -- do not set it: it tells when to read
    event      jsonb       not null,
    created_at timestamptz not null default now()
);
create index on {table} (tx, id);

-- What reads it: may read, and delete where `delete = true`.
-- create role lendsignal login;
-- grant select, delete on {table} to lendsignal;

-- Example:
-- insert into {table} (event) values (jsonb_build_object(
--     'type', 'disbursed', 'brand', 'acme', 'user_id', 'u-1', 'loan_id', 'L-1',
--     'amount', 25000, 'currency', 'NGN', 'occurred_at', now()));
"""

MARIADB = """\
-- The outbox for lendsignal. Insert in the transaction that changes the loan.
create table {table} (
    id         bigint unsigned not null auto_increment primary key,
    event      json            not null,
    created_at timestamp(3)    not null default current_timestamp(3)
) engine = InnoDB;

-- What reads it: may read, and delete where `delete = true`, which is advised here.
-- create user lendsignal identified by '…';
-- grant select, delete on {table} to lendsignal;

-- Example:
-- insert into {table} (event) values (json_object(
--     'type', 'disbursed', 'brand', 'acme', 'user_id', 'u-1', 'loan_id', 'L-1', 'amount', 25000,
--     'currency', 'NGN', 'occurred_at', date_format(utc_timestamp(3), '%Y-%m-%dT%H:%i:%s.%fZ')));
"""

DIALECTS: Mapping[str, str] = {"postgresql": POSTGRESQL, "mariadb": MARIADB, "mysql": MARIADB}


def outbox_sql(dialect: str, table: str) -> str:
    """The SQL that makes an outbox table."""
    return DIALECTS[dialect].format(table=table)
