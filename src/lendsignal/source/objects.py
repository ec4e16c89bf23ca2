"""Files in a folder, on this machine or in an object store: each of them once, also when it is rewritten.

The folder is looked through at every turn. A file that has not changed for `settle`, or that has its marker
beside it, is read. What makes its events the same ones is what they say, and which repetition of it they
are: a file that is written anew, or under another name, makes events only for the rows that are new.
Nothing in the folder is changed, unless `archive` names a place for the files that were read.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta, Struct

from lendsignal.clock import to_us
from lendsignal.errors import InputError, Problem, PullError
from lendsignal.model import Secret, reveal
from lendsignal.source.files.events import hash_of
from lendsignal.source.files.rows import BadRow, Format, Layout, Row, format_of, rows
from lendsignal.source.kinds import Kit
from lendsignal.source.pull import Batch, Feed, Pulled, Unread
from lendsignal.source.rowmap import RowMap, Rows, problems_of_rows


class Settings(RowMap, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A folder and its files."""

    folder: Annotated[
        str,
        Meta(description="a folder, from this file's own, or an address such as s3://bucket/loans"),
    ]
    match: Annotated[
        str | tuple[str, ...], Meta(description="patterns of file names; * and ? stand for anything")
    ] = "*"
    format: Annotated[
        Format | None, Meta(description="how files are written; by default as their names say")
    ] = None
    delimiter: Annotated[
        str, Meta(min_length=1, max_length=1, description="what stands between CSV cells")
    ] = ","
    settle: Annotated[timedelta, Meta(description="a file is read when it has not changed for so long")] = (
        timedelta(seconds=30)
    )
    marker: Annotated[
        str | None,
        Meta(description='a file is read once this stands beside it: ".done" waits for x.csv.done'),
    ] = None
    archive: Annotated[
        str | None, Meta(description="where files go that were read to their end; by default they stay")
    ] = None
    access_key: Annotated[Secret | None, Meta(description="where the object store's access key is kept")] = (
        None
    )
    secret_key: Annotated[Secret | None, Meta(description="where its secret key is kept")] = None
    endpoint: Annotated[str | None, Meta(description="address of an S3-compatible store other than AWS")] = (
        None
    )
    region: Annotated[str | None, Meta(description="the store's region")] = None


def problems(settings: Settings) -> Iterator[Problem]:
    """What types cannot tell is wrong."""
    if not settings.folder:
        yield Problem("folder", "nothing", "a folder, or an address such as s3://bucket/loans")
    if (settings.access_key is None) != (settings.secret_key is None):
        yield Problem("secret_key", "one of the two keys", "both access_key and secret_key, or neither")
    yield from problems_of_rows(settings)


class Found(Struct, frozen=True):
    """A file as the folder shows it: `stamp` changes whenever its content does."""

    path: str
    name: str
    stamp: str
    changed_us: int | None


class Store(Protocol):
    """Where the files are. Whatever goes wrong is an `OSError` or a `PullError`."""

    def found(self) -> list[Found]:
        """Every file, by path."""

    def local(self, path: str) -> Any:
        """A context with the file on this machine: itself, or a copy that goes away."""

    def move(self, path: str, name: str) -> None:
        """Moves a file into the archive."""


class LocalFolder:
    """A folder of this machine, with the folders below it."""

    def __init__(self, folder: Path, archive: Path | None) -> None:
        self._folder = folder
        self._archive = archive

    def found(self) -> list[Found]:
        """Every file, by path; hidden ones and the archive are left alone."""
        if not self._folder.is_dir():
            raise PullError("not_found", "the folder is not there")
        files = []
        for above, folders, names in os.walk(self._folder):
            folders[:] = sorted(
                one for one in folders if not one.startswith(".") and Path(above, one) != self._archive
            )
            for name in names:
                path = Path(above, name)
                with suppress(FileNotFoundError):
                    state = path.stat()
                    stamp = f"{state.st_size} {state.st_mtime_ns} {state.st_ino}"
                    relative = str(path.relative_to(self._folder))
                    files.append(Found(relative, name, stamp, state.st_mtime_ns // 1_000))
        return sorted(files, key=lambda one: one.path)

    @contextmanager
    def local(self, path: str) -> Iterator[Path]:
        """The file itself."""
        yield self._folder / path

    def move(self, path: str, name: str) -> None:
        """Moves a file into the archive; one of the same name there gets a number behind it."""
        assert self._archive is not None
        self._archive.mkdir(parents=True, exist_ok=True)
        target, n = self._archive / name, 0
        while target.exists():
            n += 1
            target = self._archive / f"{name}.{n}"
        (self._folder / path).rename(target)


class RemoteFolder:
    """A prefix of an object store, through fsspec."""

    def __init__(self, settings: Settings) -> None:
        try:
            import fsspec
        except ImportError:
            raise PullError("no_driver", "fsspec is not installed: pip install lendsignal[objects]") from None
        scheme = settings.folder.partition("://")[0]
        try:
            self._files = fsspec.filesystem(scheme, **_options(scheme, settings))
        except (ImportError, ValueError):
            raise PullError("no_driver", f"what reads {scheme}:// is not installed") from None
        self._root = settings.folder.partition("://")[2].strip("/")
        archive = settings.archive
        self._archive = (
            None if archive is None else archive.partition("://")[2].strip("/") or archive.strip("/")
        )

    def found(self) -> list[Found]:
        """Every file below the prefix, by path."""
        self._files.invalidate_cache()
        with _asked():
            listed: Mapping[str, Mapping[str, Any]] = self._files.find(self._root, detail=True)
        files = []
        for path, facts in listed.items():
            if facts.get("type") != "file" or (self._archive and path.startswith(f"{self._archive}/")):
                continue
            changed = facts.get("LastModified") or facts.get("mtime") or facts.get("updated")
            us = to_us(changed) if isinstance(changed, datetime) and changed.tzinfo is not None else None
            stamp = f"{facts.get('size')} {facts.get('ETag') or facts.get('md5Hash') or changed}"
            files.append(Found(path, path.rpartition("/")[2], stamp, us))
        return sorted(files, key=lambda one: one.path)

    @contextmanager
    def local(self, path: str) -> Iterator[Path]:
        """A copy in a temporary folder, under the file's own name."""
        with tempfile.TemporaryDirectory(prefix="lendsignal-") as folder:
            copy = Path(folder, path.rpartition("/")[2])
            with _asked():
                self._files.get_file(path, str(copy))
            yield copy

    def move(self, path: str, name: str) -> None:
        """Moves a file into the archive."""
        with _asked():
            self._files.mv(path, f"{self._archive}/{name}")


@contextmanager
def _asked() -> Iterator[None]:
    """What an object store says is wrong, as a `PullError` without its words: they may hold a key's id."""
    try:
        yield
    except PermissionError:
        raise PullError("unauthorised", "the object store does not let these keys in") from None
    except FileNotFoundError:
        raise PullError("not_found", "the bucket or the file is not there") from None
    except Exception as error:
        raise PullError("unreachable", f"the object store does not answer ({type(error).__name__})") from None


def _options(scheme: str, settings: Settings) -> dict[str, Any]:
    """What fsspec needs to reach the store; without keys it looks where the cloud's own tools do."""
    if scheme not in ("s3", "s3a"):
        return {"skip_instance_cache": True}
    patience = {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 1}}
    options: dict[str, Any] = {
        "skip_instance_cache": True,
        "use_listings_cache": False,
        "config_kwargs": patience,  # whoever reads comes again by itself
    }
    if settings.access_key is not None and settings.secret_key is not None:
        options |= {"key": reveal(settings.access_key), "secret": reveal(settings.secret_key)}
    client = {"endpoint_url": settings.endpoint, "region_name": settings.region}
    options["client_kwargs"] = {name: value for name, value in client.items() if value is not None}
    return options


class Read(Struct, frozen=True, kw_only=True):
    """What is noted of a file: which content of it was read to its end, and how it looked then."""

    stamp: str
    hash: str
    rows: int


class Mark(Struct, frozen=True, kw_only=True):
    """The file that is being read, its content, and how many rows of it are durable; none: `row` is 0."""

    path: str = ""
    hash: str = ""
    row: int = 0


class _Open(Struct, kw_only=True):
    """A file that is being read."""

    file: Found
    hash: str
    rows: Iterator[Row | BadRow]
    close: Any
    repeats: Counter[bytes]
    done: int = 0


def feed(settings: Settings, kit: Kit) -> Feed:
    """The feed. Raises `PullError` where the store's library is not there."""
    return FilesFeed(settings, kit, _store(settings, kit.folder))


def _store(settings: Settings, folder: Path) -> Store:
    scheme, has_scheme, rest = settings.folder.partition("://")
    if has_scheme and scheme != "file":
        return RemoteFolder(settings)
    where = folder / Path(rest if has_scheme else settings.folder).expanduser()
    archive = None if settings.archive is None else where / Path(settings.archive).expanduser()
    return LocalFolder(where, archive)


class FilesFeed:
    """Goes through the folder, file by file in the order of their paths, and begins anew."""

    waits_itself = False

    def __init__(self, settings: Settings, kit: Kit, store: Store) -> None:
        self._settings = settings
        self._kit = kit
        self._store = store
        self._rows = Rows(kit.name, settings)
        self._patterns = (settings.match,) if isinstance(settings.match, str) else settings.match
        self._open: _Open | None = None
        self._seen: dict[str, tuple[str, int]] = {}
        self._finished: list[Found] = []
        self._closed: set[str] = set()

    def read(self, mark: bytes | None, limit: int) -> Batch:
        """The next rows of the file that is open, or of the next one that is to be read."""
        at = _marked(mark)
        one = self._open
        if one is None or one.file.path != at.path or one.done != at.row:
            self._shut()
            due = self._due()
            if due is None and self._closed:
                raise PullError("unreadable", f"{len(self._closed)} files cannot be opened")
            if due is None:
                return Batch(behind=timedelta(0))
            try:
                one = self._opened(due, at)
            except InputError:
                self._closed.add(due.path)  # the others first
                return Batch(more=True)
            if one is None:
                return Batch(more=True, notes=self._noted(due))
            self._open = one
        return self._next(one, limit)

    def kept(self, batch: Batch) -> None:
        """Moves the files that were read to their end, where there is an archive."""
        finished, self._finished = self._finished, []
        if self._settings.archive is not None:
            for one in finished:
                self._store.move(one.path, one.name)

    def close(self) -> None:
        """Lets go of the file."""
        self._shut()

    def _next(self, one: _Open, limit: int) -> Batch:
        events: list[Pulled] = []
        unread: list[Unread] = []
        n, ended = 0, False
        try:
            for row in islice(one.rows, limit):
                n += 1
                where = f"{one.file.path} row {row.number}"
                if isinstance(row, BadRow):
                    unread.append(Unread(where=where, field="row", rule=row.rule))
                else:
                    made, bad = self._rows.pulled(row, where, None, one.repeats)
                    events += made
                    unread += bad
            ended = n < limit
        except InputError as error:
            # The rows so far count all the same; when the file is rewritten it is read again.
            unread.append(Unread(where=one.file.path, field="file", rule=error.rule))
            ended = True
        one.done += n
        notes: dict[str, bytes] = {}
        mark = Mark(path=one.file.path, hash=one.hash, row=one.done)
        if ended:
            self._shut()
            notes = self._note(Read(stamp=one.file.stamp, hash=one.hash, rows=one.done), one.file)
            mark = Mark()
        return Batch(
            events=events, unread=unread, mark=_encode(mark), notes=notes, rows=n, more=True, behind=None
        )

    def _due(self) -> Found | None:
        """The first file that is whole, and not read yet as it looks now."""
        found = self._store.found()
        names = {one.path for one in found}
        self._seen = {path: seen for path, seen in self._seen.items() if path in names}
        for one in found:
            if one.path in self._closed or not self._is_wanted(one.name) or not self._is_whole(one, names):
                continue
            before = self._before(one.path)
            if before is None or before.stamp != one.stamp:
                return one
            if self._settings.archive is not None:
                self._store.move(one.path, one.name)  # read before a crash, and not moved yet
        return None

    def _is_wanted(self, name: str) -> bool:
        if name.startswith(".") or (self._settings.marker and name.endswith(self._settings.marker)):
            return False
        return any(fnmatchcase(name, pattern) for pattern in self._patterns)

    def _is_whole(self, one: Found, names: set[str]) -> bool:
        """Whether nobody writes the file any more, as far as can be told.

        A file's own time counts where it lies in the past; else the time since which we see it as it is.
        """
        if self._settings.marker is not None:
            return one.path + self._settings.marker in names
        now_us = self._kit.clock.now_us()
        stamp, since_us = self._seen.get(one.path, ("", 0))
        if stamp != one.stamp:
            since_us = now_us if one.changed_us is None else min(now_us, one.changed_us)
            self._seen[one.path] = (one.stamp, since_us)
        settle_us = self._settings.settle // timedelta(microseconds=1)
        return now_us - since_us >= settle_us

    def _opened(self, file: Found, at: Mark) -> _Open | None:
        """The file behind its last durable row; `None` where this very content was read before.

        Raises `InputError` where it cannot be opened.
        """
        context = self._store.local(file.path)
        path: Path = context.__enter__()
        try:
            digest = hash_of(path)
            before = self._before(file.path)
            if before is not None and before.hash == digest:
                context.__exit__(None, None, None)
                return None
            form = self._settings.format or format_of(file.name)
            if form is None:
                found: Iterator[Row | BadRow] = _formless(file.name)
            else:
                tabs = ".tsv" in file.name.lower() and self._settings.delimiter == ","
                found = rows(path, Layout(form, "\t" if tabs else self._settings.delimiter))
            one = _Open(
                file=file,
                hash=digest,
                rows=found,
                close=lambda: context.__exit__(None, None, None),
                repeats=Counter(),
            )
            if at.path == file.path and at.hash == digest:
                for row in islice(found, at.row):  # counted again, so that repetitions keep their numbers
                    if isinstance(row, Row):
                        self._rows.pulled(row, "", None, one.repeats)
                one.done = at.row
        except BaseException:
            context.__exit__(None, None, None)
            raise
        return one

    def _noted(self, file: Found) -> dict[str, bytes]:
        """That a file looks different and says the same."""
        before = self._before(file.path)
        assert before is not None
        return self._note(msgspec.structs.replace(before, stamp=file.stamp), file)

    def _note(self, read: Read, file: Found) -> dict[str, bytes]:
        self._finished.append(file)
        return {file.path: _encode(read)}

    def _before(self, path: str) -> Read | None:
        found = self._kit.pulls.note(self._kit.name, path)
        return None if found is None else msgspec.json.decode(found, type=Read)

    def _shut(self) -> None:
        one, self._open = self._open, None
        if one is not None:
            close = getattr(one.rows, "close", None)
            if close is not None:
                close()
            one.close()


def _formless(name: str) -> Iterator[Row | BadRow]:
    raise InputError(
        name, 'has a name that tells no format: set format = "csv", "jsonl", "json" or "parquet"'
    )
    yield  # a generator: what is wrong is said when it is read, like everything about a file


_encode = msgspec.json.Encoder().encode


def _marked(mark: bytes | None) -> Mark:
    try:
        return Mark() if mark is None else msgspec.json.decode(mark, type=Mark)
    except msgspec.DecodeError:
        raise PullError("other_mark", "it was read in another way before: give the pull a new name") from None
