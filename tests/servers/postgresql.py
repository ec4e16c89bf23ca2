"""A genuine PostgreSQL for scenario tests, on the loopback, in a folder of its own.

Its own zone is Manila's, so that a time that is read in the server's zone shows.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.servers.daemon import Daemon, free_port, own_folder, program, run_as_server
from tests.servers.network import Machine

PASSWORD = "made-up-reader-password-7d1"

BINARIES = "usr/lib/postgresql/*/bin"


class PostgreSql(Daemon):
    """A server with the database `loans` and the user `lender`, who owns it."""

    kind = "postgresql"

    def __init__(self, folder: Path, machine: Machine | None = None, **settings: str) -> None:
        self.port = free_port()
        self.host = "127.0.0.1" if machine is None else machine.address
        data = folder / "data"
        run_as_server(
            [program("initdb", BINARIES), "-D", str(data), "-U", "lender", "-A", "trust", "-E", "UTF8", "-N"],
            folder,
        )
        known = {
            "port": self.port,
            "listen_addresses": self.host,
            "unix_socket_directories": "",
            "timezone": "Asia/Manila",
            "shared_buffers": "16MB",
            **settings,
        }
        options = [word for name, value in known.items() for word in ("-c", f"{name}={value}")]
        on: Sequence[str] = ()
        if machine is not None:
            on = machine.words
            with (data / "pg_hba.conf").open("a") as allowed:
                allowed.write("host all all all trust\n")
        super().__init__(
            [program("postgres", BINARIES), "-D", str(data), *options], folder, self._answers_now, on
        )

    @property
    def url(self) -> str:
        """As the configuration has it, without a password."""
        return f"postgresql+psycopg://lender@{self.host}:{self.port}/postgres"

    @property
    def plain_url(self) -> str:
        """As PostgreSQL's own programs have it."""
        return f"postgresql://lender@{self.host}:{self.port}/postgres"

    def connect(self) -> Any:
        """A connection of the lender's own; nothing is committed by itself."""
        import psycopg

        return psycopg.connect(
            host=self.host, port=self.port, user="lender", dbname="postgres", password=PASSWORD
        )

    def execute(self, *statements: str) -> None:
        """Statements in one transaction."""
        with self.connect() as one:
            for statement in statements:
                one.execute(statement)
        one.close()

    def _answers_now(self) -> bool:
        import psycopg

        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def postgresql(machine: Machine | None = None, **settings: str) -> Iterator[PostgreSql]:
    """The server, with settings of its own, while the block runs; on a `machine` of its own, or here."""
    program("initdb", BINARIES)
    with own_folder() as folder:
        one = PostgreSql(folder, machine, **settings)
        try:
            one.start()
            yield one
        finally:
            one.kill()
