"""Parquet out of the log: every event, touch, conversion, delivery and outcome, once, for any engine to read.

`keeper.Keeper`, who writes it, is imported by its module's name: it brings DuckDB.
"""

from typing import TYPE_CHECKING

from lendsignal.later import later

if TYPE_CHECKING:
    from lendsignal.archive.book import Book, Part, archived_events
    from lendsignal.archive.layout import FEEDS, TABLES, VERSION, Column, Kind, Table
    from lendsignal.archive.place import Bucket, Folder, Place, place_at
    from lendsignal.archive.settings import ArchiveSettings

__all__ = [
    "FEEDS",
    "TABLES",
    "VERSION",
    "ArchiveSettings",
    "Book",
    "Bucket",
    "Column",
    "Folder",
    "Kind",
    "Part",
    "Place",
    "Table",
    "archived_events",
    "place_at",
]

__getattr__ = later(
    __name__,
    {
        "book": "Book Part archived_events",
        "layout": "FEEDS TABLES VERSION Column Kind Table",
        "place": "Bucket Folder Place place_at",
        "settings": "ArchiveSettings",
    },
)
