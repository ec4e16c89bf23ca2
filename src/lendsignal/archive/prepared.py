"""Where tables lie that were made of the archive once for all reports. They are made anew at any time."""

from pathlib import Path

FROM_EVENTS = 200_000
"""Events in the archive from which on reports are worth preparing for."""


def prepared_beside(book: Path) -> Path:
    """Their file, by that of the archive's book."""
    return book.with_name("prepared.duckdb")


def drop_prepared(book: Path) -> None:
    """Takes them away: who reads them now ends in peace, and reports cost more until they are made anew."""
    prepared_beside(book).unlink(missing_ok=True)
    drop_half_made(book)


def failed_beside(book: Path) -> Path:
    """What is noted where they could not be made, for want of disk or memory."""
    return book.with_name("prepared.failed")


def drop_half_made(book: Path) -> None:
    """Takes away what a kill left of those that were being made, DuckDB's own journal included."""
    made = made_beside(book)
    for path in (made, made.with_name(made.name + ".wal")):
        path.unlink(missing_ok=True)


def made_beside(book: Path) -> Path:
    """The file of those that are being made: it gets its name when it is whole."""
    return book.with_name("prepared.part")
