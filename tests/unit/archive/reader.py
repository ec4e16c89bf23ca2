"""An archive in a folder, and what a reader who knows nothing of us finds there."""

from pathlib import Path
from typing import Any

import duckdb
from tests.desk import Desk

from lendsignal.archive import TABLES, Book, Folder
from lendsignal.archive.keeper import Keeper
from lendsignal.log import open_deliveries


class Archive:
    """An archive in a folder, and what a reader who knows nothing of us finds there."""

    def __init__(self, folder: Path, **pieces: Any) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.book = Book(folder / "archive.sqlite")
        self.root = folder / "archive"
        self.keeper = Keeper(self.book, Folder(self.root), **pieces)

    def take(self, desk: Desk) -> int:
        """Everything that is new; how many rows."""
        sent = open_deliveries(desk.folder.deliveries, read_only=True)
        written = 0
        while found := self.keeper.turn(desk.log, sent):
            written += found
        sent.close()
        return written

    def query(self, words: str) -> list[tuple[Any, ...]]:
        """Rows by DuckDB, with each table as a view over its files; moments in microseconds since 1970."""
        with duckdb.connect() as db:
            db.execute("set TimeZone = 'UTC'")
            for table in TABLES:
                if list(self.root.glob(f"{table.name}/*/*.parquet")):
                    db.execute(
                        f"create view {table.name} as select * from"
                        f" read_parquet('{self.root}/{table.name}/*/*.parquet', hive_partitioning = true)"
                    )
            found = db.sql(words)
            columns = (
                f'epoch_us("{name}")' if str(kind) == "TIMESTAMP WITH TIME ZONE" else f'"{name}"'
                for name, kind in zip(found.columns, found.types, strict=True)
            )
            return found.project(", ".join(columns)).fetchall()

    def files(self) -> dict[str, bytes]:
        """Every file with its bytes."""
        return {
            path.relative_to(self.root).as_posix(): path.read_bytes()
            for path in sorted(self.root.rglob("*.parquet"))
        }
