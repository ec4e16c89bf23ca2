"""Rows of an exported table: CSV in whatever dress an export or a spreadsheet gives it, also gzipped."""

import codecs
import csv
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lendsignal.errors import InputError

DELIMITERS = ",;\t|"

CELL_LIMIT = 1_000_000
"""Characters in one cell: raw data has whole addresses and JSON in them."""


def read_table(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Every row by its number, from 1, with the heading's own names; lines without any cell are passed over.

    Raises `InputError` where the file is no table of text. Lines above the heading that exports of ad
    accounts begin with, and sums below the last row, are not rows: see `is_sum`.
    """
    with _opened(path) as lines:
        csv.field_size_limit(CELL_LIMIT)
        try:
            reader = csv.reader(lines, delimiter=_delimiter(path))
            names = next((row for row in reader if len(row) > 1), None)
            if names is None:
                raise InputError("file", "has no heading: a first line that names at least two columns")
            for number, row in enumerate(reader, start=1):
                if any(cell.strip() for cell in row):
                    yield number, dict(zip(names, row, strict=False))
        except csv.Error as error:
            raise InputError("file", f"is no CSV: {error}") from None
        except (UnicodeDecodeError, EOFError, gzip.BadGzipFile):
            raise InputError("file", "is no text that can be read: UTF-8, or UTF-16 with its mark") from None


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    encoding = _encoding(path)
    if path.suffix == ".gz":
        with gzip.open(path, "rt", newline="", encoding=encoding) as lines:
            yield lines
    else:
        with path.open(newline="", encoding=encoding) as plain:
            yield plain


def _head(path: Path) -> bytes:
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                return file.read(65_536)
        with path.open("rb") as plain:
            return plain.read(65_536)
    except (EOFError, gzip.BadGzipFile):
        raise InputError("file", "is no gzip file") from None


def _encoding(path: Path) -> str:
    head = _head(path)
    return "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def _delimiter(path: Path) -> str:
    """The sign that stands most often in the first line that has any."""
    for line in _head(path).decode(_encoding(path), "ignore").splitlines():
        counts = {sign: line.count(sign) for sign in DELIMITERS}
        if any(counts.values()):
            return max(counts, key=lambda sign: counts[sign])
    return ","
