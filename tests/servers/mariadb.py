"""A genuine MariaDB for scenario tests, on the loopback, in a folder of its own; its zone is Manila's."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.servers.daemon import Daemon, free_port, own_folder, program, run_as_server

PASSWORD = "made-up-reader-password-7d1"


class MariaDb(Daemon):
    """A server with the database `loans` and the user `lender`, who signs in with a password."""

    kind = "mariadb"

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        first = folder / "first.sql"
        first.write_text(
            "create database if not exists loans character set utf8mb4;\n"
            f"create user if not exists lender@localhost identified by '{PASSWORD}';\n"
            f"create user if not exists lender@'127.0.0.1' identified by '{PASSWORD}';\n"
            "grant all on loans.* to lender@localhost, lender@'127.0.0.1';\n"
        )
        first.chmod(0o644)
        data = folder / "data"
        run_as_server(
            [
                program("mariadb-install-db", "usr/bin"),
                "--no-defaults",
                f"--datadir={data}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
            folder,
        )
        super().__init__(
            [
                program("mariadbd", "usr/sbin"),
                "--no-defaults",
                f"--datadir={data}",
                f"--port={self.port}",
                "--bind-address=127.0.0.1",
                f"--socket={folder}/s",
                f"--pid-file={folder}/pid",
                f"--init-file={first}",
                "--default-time-zone=+08:00",
                "--innodb-buffer-pool-size=16M",
            ],
            folder,
            self._answers_now,
        )

    @property
    def url(self) -> str:
        """As the configuration has it, without a password."""
        return f"mariadb+pymysql://lender@127.0.0.1:{self.port}/loans"

    def connect(self) -> Any:
        """A connection of the lender's own; nothing is committed by itself."""
        import pymysql

        return pymysql.connect(
            host="127.0.0.1", port=self.port, user="lender", password=PASSWORD, database="loans"
        )

    def execute(self, *statements: str) -> None:
        """Statements in one transaction."""
        one = self.connect()
        with one.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        one.commit()
        one.close()

    def _answers_now(self) -> bool:
        import pymysql

        try:
            self.connect().close()
        except pymysql.Error:
            return False
        return True


@contextmanager
def mariadb() -> Iterator[MariaDb]:
    """The server, while the block runs."""
    program("mariadbd", "usr/sbin")
    with own_folder() as folder:
        one = MariaDb(folder)
        try:
            one.start()
            yield one
        finally:
            one.kill()
