"""PostgreSQL as we use it: one connection a thread of work, with limits that keep a frozen node harmless.

psycopg is loaded here and nowhere above: an embedded install never needs it (`lendsignal[cluster]`).
"""

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from threading import RLock
from typing import Any

import psycopg
from msgspec import Struct
from psycopg.abc import RV, PQGen

from lendsignal.errors import LogError
from lendsignal.log.store import StoreSettings
from lendsignal.model import reveal

SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,40}")

SESSION = {
    # Compiling a plan takes longer than these statements do.
    "jit": "off",
    # An answer says that an event is durable.
    "synchronous_commit": "on",
    "default_transaction_isolation": "read\\ committed",
    "timezone": "UTC",
}
"""Of every session of ours, beside its limits."""


class Limits(Struct, frozen=True, kw_only=True):
    """How long anything of ours may take or be silent, so that a frozen node is harmless."""

    connect: timedelta = timedelta(seconds=5)
    statement: timedelta = timedelta(seconds=30)
    lock: timedelta = timedelta(seconds=10)
    idle: timedelta = timedelta(seconds=3)
    silence: timedelta = timedelta(seconds=5)

    def session(self) -> dict[str, str]:
        """In PostgreSQL's words."""
        return {
            # A node that freezes within a transaction keeps its cursor rows locked: without this limit nobody
            # can take its slots over until it wakes.
            "idle_in_transaction_session_timeout": _milliseconds(self.idle),
            # An open writing transaction anywhere in the server holds back what can be read:
            # see `slots.SlotLog`.
            "statement_timeout": _milliseconds(self.statement),
            "lock_timeout": _milliseconds(self.lock),
            # The server too gives up a link whose other end is silent, also in the middle of an answer.
            "tcp_keepalives_idle": f"{self._quiet}s",
            "tcp_keepalives_interval": "1s",
            "tcp_keepalives_count": "2",
            "tcp_user_timeout": _milliseconds(self.silence),
        }

    def link(self) -> dict[str, Any]:
        """In libpq's words."""
        return {
            "connect_timeout": max(2, round(self.connect / timedelta(seconds=1))),  # libpq takes no less
            # A host that loses its power says no goodbye: the link is given up after so much silence.
            "keepalives": 1,
            "keepalives_idle": self._quiet,
            "keepalives_interval": 1,
            "keepalives_count": 2,
            "tcp_user_timeout": self.silence // timedelta(milliseconds=1),
        }

    @property
    def answer(self) -> float:
        """Seconds that a server has for an answer: a statement may take so long, and then it is silent.

        The server's own limits do not count where the server stands still.
        """
        return (self.statement + self.silence) / timedelta(seconds=1)

    @property
    def _quiet(self) -> int:
        """Seconds of quiet until the other end is asked, twice and a second apart, whether it is there."""
        return max(1, round(self.silence / timedelta(seconds=1)) - 2)


def _milliseconds(span: timedelta) -> str:
    return f"{round(span / timedelta(milliseconds=1))}ms"


class Answering(psycopg.Connection[tuple[Any, ...]]):
    """A connection that is given up where no answer comes for `patience` seconds; `None`: it waits for ever.

    A server that froze keeps the link alive and says nothing. Whoever waited for it could not go to the one
    that was promoted meanwhile.
    """

    patience: float | None = None

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """See psycopg. What was asked may have been done or not, as where a link breaks."""
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.OperationalError as error:
            if self.pgconn.transaction_status != psycopg.pq.TransactionStatus.ACTIVE:
                raise
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer within {self.patience:g} s") from error


class Database:
    """One connection, made when it is needed and again when it broke. Safe to share between threads.

    `url` is libpq's (`postgresql://user@host:port/name`); a password comes from the environment or from a
    password file, and never stands in a message of ours. `schema` is the one our tables stand in.
    """

    def __init__(self, url: str, schema: str = "lendsignal", limits: Limits | None = None) -> None:
        if not SCHEMA_NAME.fullmatch(schema):
            raise LogError(f"{schema!r} cannot be a schema's name: small letters, digits and _ can")
        self.schema = schema
        self._url = url
        self._limits = limits or Limits()
        self._lock = RLock()
        self._connection: Answering | None = None

    @contextmanager
    def transaction(self) -> Iterator["Session"]:
        """All of what is done within, or none of it; within another transaction it is a part of that one.

        Raises `LogError` where the database cannot be reached or does not take it. What was said to a
        connection that broke while it was committing may be there or not.
        """
        with self._lock, _translated():
            connection = self._connected()
            if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                yield Session(connection)
                return
            with connection.transaction():
                yield Session(connection)
            if connection.closed:  # psycopg is silent where the link broke before it came to commit
                raise psycopg.OperationalError("the connection broke, and what was done may not be kept")

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Every row of one statement, which is a transaction of its own where none is open."""
        with self._lock, _translated():
            return Session(self._connected()).rows(query, *values)

    def row(self, query: str, *values: Any) -> tuple[Any, ...] | None:
        """The first row of one statement, or `None`."""
        found = self.rows(query, *values)
        return found[0] if found else None

    def close(self) -> None:
        """Lets the connection go."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _connected(self) -> Answering:
        if self._connection is None or self._connection.closed:
            words = {"search_path": self.schema, **SESSION, **self._limits.session()}
            options = " ".join(f"-c {name}={value}" for name, value in words.items())
            self._connection = Answering.connect(
                self._url,
                autocommit=True,
                options=options,
                application_name="lendsignal",
                **self._limits.link(),
            )
            self._connection.patience = self._limits.answer
        return self._connection


def database_of(store: StoreSettings) -> Database:
    """The store of a configuration, not connected yet. Raises `LogError` where its address is not set."""
    url = reveal(store.url)
    if url is None:
        raise LogError(f"the address of the store is not set: {store.url}")
    limits = Limits(
        connect=store.connect_timeout,
        statement=store.statement_timeout,
        lock=store.lock_timeout,
        idle=store.idle_timeout,
        silence=store.silence,
    )
    return Database(url, store.schema, limits)


class Session:
    """Statements of one transaction. Lists of values go as binary arrays, so that one statement does all."""

    def __init__(self, connection: Answering) -> None:
        self._connection = connection

    @contextmanager
    def unhurried(self) -> Iterator[None]:
        """What is done within may take as long as it takes. Only within a transaction."""
        connection, patience = self._connection, self._connection.patience
        self.rows("set local statement_timeout = 0")
        connection.patience = None
        try:
            yield
        finally:
            connection.patience = patience

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Every row of a statement; nothing of one that gives none."""
        with self._connection.cursor(binary=True) as cursor:
            cursor.execute(query.encode(), values or None)
            return [] if cursor.description is None else cursor.fetchall()

    def row(self, query: str, *values: Any) -> tuple[Any, ...] | None:
        """The first row of a statement, or `None`."""
        found = self.rows(query, *values)
        return found[0] if found else None

    def changed(self, query: str, *values: Any) -> int:
        """How many rows a statement changed."""
        with self._connection.cursor(binary=True) as cursor:
            cursor.execute(query.encode(), values or None)
            return cursor.rowcount


def was_in_the_way(error: LogError) -> bool:
    """Whether somebody else's locks were why nothing was done: it may be tried again at once."""
    return isinstance(error.__cause__, (psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable))


def numbers(values: Iterable[int]) -> Sequence[int]:
    """Whole numbers as one value of a statement; raises `OverflowError` for what 64 bits do not hold."""
    return array("q", values).tolist()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        # The first line only: what follows may quote a row.
        said = str(error).strip().partition("\n")[0]
        raise LogError(f"the database does not take it ({type(error).__name__}): {said}") from error
