"""A PostgreSQL that stands still while somebody waits for its answer: the link lives, and nobody speaks."""

import signal
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import timedelta
from typing import Any

import pytest
from psycopg import OperationalError
from tests.running import until
from tests.servers.postgresql import PostgreSql, postgresql

from lendsignal.errors import LogError
from lendsignal.log.postgres import Database
from lendsignal.log.postgres.connection import Limits

BRISK = Limits(statement=timedelta(seconds=1), silence=timedelta(seconds=0.5))


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSql]:
    with postgresql() as one:
        yield one


@pytest.fixture
def database(server: PostgreSql) -> Iterator[Database]:
    with closing(Database(server.plain_url, limits=BRISK)) as one:
        yield one


def session_of(database: Database) -> Any:
    """Which session of the server answers, however busy the machine is."""

    def asked() -> Any:
        with suppress(LogError):
            return database.row("select pg_backend_pid()")
        return None

    return until(asked, "the server answers")


def test_a_server_that_freezes_is_given_up_and_another_connection_is_made(
    server: PostgreSql, database: Database
) -> None:
    before = session_of(database)
    server.signal_all(signal.SIGSTOP)
    try:
        with pytest.raises(LogError, match=r"no answer within 1\.5 s"):
            database.rows("select 1")
    finally:
        server.signal_all(signal.SIGCONT)

    assert session_of(database) != before


def test_a_commit_that_is_not_answered_is_not_taken_for_kept(server: PostgreSql, database: Database) -> None:
    session_of(database)

    def freeze() -> None:
        with database.transaction():
            server.signal_all(signal.SIGSTOP)

    try:
        with pytest.raises(LogError, match="no answer"):
            freeze()
    finally:
        server.signal_all(signal.SIGCONT)


def test_a_transaction_that_went_on_over_a_broken_link_is_not_taken_for_kept(
    server: PostgreSql, database: Database
) -> None:
    def go_on() -> None:
        with database.transaction() as session:
            server.signal_all(signal.SIGSTOP)
            with suppress(OperationalError):
                session.rows("select 1")

    session_of(database)
    try:
        with pytest.raises(LogError, match="the connection broke"):
            go_on()
    finally:
        server.signal_all(signal.SIGCONT)


def test_what_may_take_long_takes_as_long_as_it_does(database: Database) -> None:
    session_of(database)
    with pytest.raises(LogError, match=r"statement timeout|no answer"):
        database.rows("select pg_sleep(30)")
    session_of(database)

    with database.transaction() as session, session.unhurried():
        assert session.rows("select 1 from pg_sleep(2)") == [(1,)]
