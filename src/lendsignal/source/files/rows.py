"""Rows out of CSV, JSON Lines, JSON and Parquet files, each with its number.

What cannot be read is said, not skipped. Gzip is recognised by its first bytes. Text is UTF-8. Rows are
numbered from 1 after the header; a row of a text file also has its line. Blank lines are no rows.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Literal

import msgspec
from msgspec import Struct

from lendsignal.errors import InputError
from lendsignal.source.reading import read_json

Format = Literal["csv", "jsonl", "json", "parquet"]
Cell = str | int | float | bool | Decimal | datetime | date | list[Any] | None

LARGEST_JSON = 200_000_000
"""Bytes of a JSON file that is no JSON Lines."""

LONGEST_LINE = 1_000_000
"""Characters in one line; a longer one is reported and left out."""

AT_ONCE = 2_048
"""Parquet rows fetched at a time, and rows between two calls of `moved`."""


class Row(Struct, frozen=True):
    """One row. `cells` are named by column; objects within JSON are flattened: `device.gaid`.

    `whole` is the JSON object of a row that was one.
    """

    number: int
    line: int | None
    cells: Mapping[str, Cell]
    whole: dict[str, Any] | None = None


class BadRow(Struct, frozen=True):
    """A row that cannot be read, and why; without what stood in it."""

    number: int
    line: int | None
    rule: str


class Layout(Struct, frozen=True):
    """How a file is to be read. `delimiter` is for CSV only."""

    format: Format
    delimiter: str = ","


def format_of(name: str) -> Format | None:
    """The format a file's name tells, with or without `.gz`; `None` where it tells none."""
    ending = name.lower().removesuffix(".gz").rpartition(".")[2]
    match ending:
        case "csv" | "tsv" | "txt":
            return "csv"
        case "jsonl" | "ndjson":
            return "jsonl"
        case "json":
            return "json"
        case "parquet":
            return "parquet"
        case _:
            return None


def rows(path: Path, layout: Layout, moved: Callable[[int], None] = lambda _: None) -> Iterator[Row | BadRow]:
    """Every row of the file in its order; `moved` is told the bytes of the file read so far.

    Raises `InputError` named after the file where it cannot be opened, has no usable header, or is cut off
    or damaged in the middle: such a file is nobody's whole truth.
    """
    number = 0
    try:
        match layout.format:
            case "csv":
                found = _csv(path, layout.delimiter, moved)
            case "jsonl":
                found = _jsonl(path, moved)
            case "json":
                found = _json(path, moved)
            case "parquet":
                found = _parquet(path, moved)
        for row in found:
            number = row.number
            yield row
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise InputError(path.name, f"its gzip data is cut off or damaged after row {number}") from None
    except OSError as error:
        raise InputError(path.name, f"cannot be read: {error.strerror}") from None


def columns_of(path: Path, layout: Layout) -> tuple[str, ...] | None:
    """The names of the columns, in order; `None` for JSON, where every row has its own."""
    match layout.format:
        case "csv":
            try:
                with _opened(path) as (_, stream), closing(_Lines(stream)) as lines:
                    return _header(csv.reader(lines, delimiter=layout.delimiter, strict=True), path)
            except (EOFError, gzip.BadGzipFile, zlib.error):
                raise InputError(path.name, "its gzip data is damaged") from None
            except OSError as error:
                raise InputError(path.name, f"cannot be read: {error.strerror}") from None
        case "parquet":
            return tuple(name for name, _ in _parquet_columns(path))
        case "jsonl" | "json":
            return None


class _opened:  # noqa: N801 - reads as the statement it is used in
    """The file and its unpacked bytes."""

    def __init__(self, path: Path) -> None:
        self._raw = path.open("rb")
        packed = self._raw.peek(2)[:2] == b"\x1f\x8b"
        self._stream: IO[bytes] = io.BufferedReader(gzip.GzipFile(fileobj=self._raw)) if packed else self._raw

    def __enter__(self) -> tuple[IO[bytes], IO[bytes]]:
        return self._raw, self._stream

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._raw.close()


class _Lines:
    """The lines of a text file, and what is wrong with those just read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
        self.number = 0
        self._wrong: str | None = None

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._text.readline(LONGEST_LINE)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) >= LONGEST_LINE and not line.endswith(("\n", "\r")):
            while line and not line.endswith(("\n", "\r")):
                line = self._text.readline(LONGEST_LINE)
            self._wrong = f"is longer than {LONGEST_LINE:,} characters"
            return "\n"
        if not line.isascii():
            try:
                line.encode()
            except UnicodeEncodeError:
                self._wrong = "is not UTF-8 text"
        if "\0" in line:
            self._wrong = "has a NUL byte"
        return line

    def close(self) -> None:
        """Leaves the stream to who opened it."""
        self._text.detach()

    def wrong(self) -> str | None:
        """What is wrong with the lines since the last call."""
        wrong, self._wrong = self._wrong, None
        return wrong


def _header(reader: Iterator[list[str]], path: Path) -> tuple[str, ...]:
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise InputError(path.name, f"its header is no CSV: {error}") from None
    if not header:
        raise InputError(path.name, "is empty: the first line must name the columns")
    names = tuple(name.strip() for name in header)
    if "" in names:
        raise InputError(path.name, f"column {names.index('') + 1} of its header has no name")
    if len(set(names)) < len(names):
        twice = next(name for number, name in enumerate(names) if name in names[:number])
        raise InputError(path.name, f"names the column {twice!r} twice")
    return names


def _csv(path: Path, delimiter: str, moved: Callable[[int], None]) -> Iterator[Row | BadRow]:
    with _opened(path) as (raw, stream), closing(_Lines(stream)) as lines:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        header = _header(reader, path)
        if wrong := lines.wrong():
            raise InputError(path.name, f"its header {wrong}")
        number = 0
        while True:
            line, rule, cells = lines.number + 1, None, []
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                rule = f"is no CSV: {error}"
            rule = lines.wrong() or rule
            if rule is None and not cells:
                continue
            number += 1
            if rule is None and len(cells) != len(header):
                rule = f"has {len(cells)} cells where the header has {len(header)}"
            if rule is None:
                yield Row(number, line, dict(zip(header, cells, strict=True)))
            else:
                several = f" (up to line {lines.number})" if lines.number > line else ""
                yield BadRow(number, line, rule + several)
            if number % AT_ONCE == 0:
                moved(raw.tell())
        moved(raw.tell())


def _jsonl(path: Path, moved: Callable[[int], None]) -> Iterator[Row | BadRow]:
    with _opened(path) as (raw, stream):
        number = line = 0
        while text := stream.readline(LONGEST_LINE):
            line += 1
            long = len(text) >= LONGEST_LINE and not text.endswith(b"\n")
            while long and text and not text.endswith(b"\n"):
                text = stream.readline(LONGEST_LINE)
            if not long and not text.strip():
                continue
            number += 1
            if long:
                yield BadRow(number, line, f"is longer than {LONGEST_LINE:,} characters")
            else:
                try:
                    found = read_json(text.removeprefix(b"\xef\xbb\xbf") if line == 1 else text)
                except InputError as error:
                    yield BadRow(number, line, error.rule)
                else:
                    yield Row(number, line, dict(flat(found)), found)
            if number % AT_ONCE == 0:
                moved(raw.tell())
        moved(raw.tell())


def _json(path: Path, moved: Callable[[int], None]) -> Iterator[Row | BadRow]:
    """The objects of one array, or the one object that the file is; it is in memory whole."""
    with _opened(path) as (_, stream):
        text = stream.read(LARGEST_JSON + 1).removeprefix(b"\xef\xbb\xbf")
    if len(text) > LARGEST_JSON:
        raise InputError(path.name, f"is JSON of more than {LARGEST_JSON:,} bytes: write one object a line")
    try:
        items = msgspec.json.decode(text, type=list[msgspec.Raw]) if text.lstrip()[:1] == b"[" else [text]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InputError(path.name, "is no whole JSON") from None
    for number, item in enumerate(items, 1):
        try:
            found = read_json(bytes(item))
        except InputError as error:
            yield BadRow(number, None, error.rule)
        else:
            yield Row(number, None, dict(flat(found)), found)
    moved(path.stat().st_size)


def flat(found: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Cell]]:
    """The cells of a JSON object, with those of inner objects under `outer.inner`."""
    for name, value in found.items():
        if isinstance(value, dict):
            yield from flat(value, f"{above}{name}.")
        else:
            yield above + name, value


def _parquet_columns(path: Path) -> list[tuple[str, str]]:
    import duckdb  # takes a third of a second to load: only who reads Parquet waits for it

    try:
        with duckdb.connect(":memory:") as db:
            found = db.execute("describe select * from read_parquet(?)", [str(path)]).fetchall()
    except duckdb.Error as error:
        raise InputError(path.name, f"cannot be read as Parquet: {type(error).__name__}") from None
    return [(str(name), str(kind)) for name, kind, *_ in found]


def _parquet(path: Path, moved: Callable[[int], None]) -> Iterator[Row | BadRow]:
    import duckdb

    columns = _parquet_columns(path)
    size = path.stat().st_size
    number = 0
    try:
        with duckdb.connect(":memory:") as db:
            total = db.execute("select count(*) from read_parquet(?)", [str(path)]).fetchall()[0][0]
            chosen = ", ".join(_selected(name, kind) for name, kind in columns)
            found = db.execute(f"select {chosen} from read_parquet(?)", [str(path)])
            while several := found.fetchmany(AT_ONCE):
                for values in several:
                    number += 1
                    cells = {
                        name: value.replace(tzinfo=UTC) if _zoned(kind) and value is not None else value
                        for (name, kind), value in zip(columns, values, strict=True)
                    }
                    yield Row(number, None, dict(flat(cells)))
                moved(size * number // max(total, 1))
    except duckdb.Error as error:
        raise InputError(
            path.name, f"cannot be read as Parquet after row {number}: {type(error).__name__}"
        ) from None
    moved(size)


def _selected(name: str, kind: str) -> str:
    """The column as Python can take it: DuckDB's zoned times would need one more library."""
    quoted = '"' + name.replace('"', '""') + '"'
    if _zoned(kind):
        return f"make_timestamp(epoch_us({quoted}))"
    if kind.startswith(("TIMESTAMP", "DATETIME")):
        return f"{quoted}::timestamp"
    return f"{quoted}::varchar" if kind in ("UUID", "TIME", "INTERVAL") else quoted


def _zoned(kind: str) -> bool:
    return kind == "TIMESTAMP WITH TIME ZONE"
