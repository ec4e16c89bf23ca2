"""Copies of a data folder that is in use, and how one is put back.

Every database is copied by SQLite's own online backup, each as it was at one moment, in an order in which no
file can know more than one that is copied after it: what depends on the log (archive, lists, pulls, feeds,
alarms, keys, members) first, then the deliveries, then the orders that they obeyed, the log last. So a copy
is never one that `run` refuses: its log is of the same moment as its deliveries, or later.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from lendsignal import __version__
from lendsignal.archive import Book, Place, place_at
from lendsignal.archive.readers import reading
from lendsignal.errors import LogError, NotYet
from lendsignal.log import (
    DataFolder,
    damage,
    form_at,
    open_audiences,
    open_deliveries,
    open_log,
    open_orders,
    synced,
)
from lendsignal.log.copying import Tell, copy_database, silent
from lendsignal.log.keeping import uncut
from lendsignal.log.whole import refuse_other_forms

MANIFEST = "manifest.json"
TRIES = 5
"""How often lists are copied anew where one of their files went while it was copied."""

PIECE = 1 << 20
ROLES = ("run", "core", "door", "send", "web", "pull", "import", "archive", "audience", "erase")
"""Whoever works on a folder: none of them may while files are put back or brought to another form."""

MOVED_ASIDE = ("archive", "audiences", "models")
"""Folders that belong to the databases; of the rest only these are moved away by a restore."""


class Copied(Struct, frozen=True, kw_only=True):
    """One file of a copy: its name below the copy's folder, its size, and its SHA-256."""

    name: str
    bytes: int
    sha256: str


class Manifest(Struct, frozen=True, kw_only=True):
    """What a copy holds, and of when. `made_at` is UTC; what came in after it is not in the copy."""

    version: str
    made_at: datetime
    portfolio: str
    events: int
    forms: dict[str, int]
    files: Sequence[Copied]

    @property
    def bytes(self) -> int:
        return sum(one.bytes for one in self.files)


class Note(Struct, frozen=True, kw_only=True):
    """What the folder remembers of its last copy."""

    made_at: datetime
    to: str
    bytes: int
    events: int


def last_backup(folder: DataFolder) -> Note | None:
    """When this folder was last copied, and where; `None`: never, or nobody knows."""
    try:
        return msgspec.json.decode(folder.backup_note.read_bytes(), type=Note)
    except (OSError, msgspec.DecodeError):
        return None


# making a copy


def backup(
    folder: DataFolder,
    to: Path,
    *,
    archive: str,
    portfolio: str,
    now: datetime,
    tell: Tell = silent,
) -> Manifest:
    """Copies a folder, in use or not, into the new folder `to`. `archive` is `archive.to` of the settings.

    It appears under its name when it is whole and on disk; what was broken off is called `….part` and may be
    deleted. Raises `LogError` where `to` is there already, lies within the data folder, or something of what
    is copied is missing or damaged.
    """
    if to.exists():
        raise LogError(f"{to} is there already: a copy has a folder of its own")
    if to.resolve().is_relative_to(folder.path.resolve()):
        raise LogError(f"{to} lies within the data folder: it would be lost with it")
    if not folder.log.exists():
        raise NotYet(f"{folder.path} holds no log: there is nothing to copy yet")
    refuse_other_forms(folder)
    part = to.with_name(to.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700, parents=True)
    late = (folder.deliveries, folder.orders, folder.relay, folder.log)
    with uncut(folder.log):  # what the others speak of must be there in the log, which comes last
        _copy_archive(folder, place_at(archive, folder.path), part, tell)
        _copy_lists(folder, part, tell)
        for path in folder.databases():
            if path not in (folder.archive, folder.audiences, *late):
                copy_database(path, part / path.name, tell)
        for path in late:
            if path.exists():
                copy_database(path, part / path.name, tell)
    _copy_models(folder, part, tell)
    manifest = _described(part, portfolio, now)
    (part / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    _refuse_two_moments(DataFolder(part))
    _sync_all(part)
    part.replace(to)
    synced(to.parent)
    with suppress(OSError):  # on a full disk the copy is good all the same
        note = Note(made_at=now, to=str(to), bytes=manifest.bytes, events=manifest.events)
        folder.backup_note.write_bytes(msgspec.json.encode(note))
    return manifest


def _copy_archive(folder: DataFolder, place: Place, part: Path, tell: Tell) -> None:
    """The archive's book, then its files, while nobody puts one in place of another."""
    if not folder.archive.exists():
        return
    with reading(folder.archive):
        copy_database(folder.archive, part / folder.archive.name, tell)
        with closing(Book(part / folder.archive.name, read_only=True)) as book:
            counting = {one.name for one in book.parts()}
        there = [name for name in place.names() if not name.endswith(".part")]
        gone = [name for name in counting if name not in there and f"{name}.new" not in there]
        if gone:
            raise LogError(f"{gone[0]} of the archive is missing, and {len(gone) - 1} more")
        with tempfile.TemporaryDirectory() as scratch:
            for number, name in enumerate(there):
                tell("archive", number, len(there))
                with suppress(FileNotFoundError):  # it did not count, and went
                    _copy_file(place.local(name, Path(scratch)), part / "archive" / name)


def _copy_lists(folder: DataFolder, part: Path, tell: Tell) -> None:
    """The book of lists, then the files that count in it; again where one of them went meanwhile."""
    if not folder.audiences.exists():
        return
    to = part / folder.audiences.name
    for _ in range(TRIES):
        to.unlink(missing_ok=True)
        copy_database(folder.audiences, to, tell)
        with closing(open_audiences(to, read_only=True)) as book:
            names = book.files()
        try:
            for name in names:
                _copy_file(folder.audience_files / name, part / "audiences" / name)
        except FileNotFoundError:
            continue
        return
    raise LogError("the files of lists change faster than they are copied: try again, or stop the service")


def _copy_models(folder: DataFolder, part: Path, tell: Tell) -> None:
    """After the log: every model that it speaks of lies there by then."""
    if folder.value_models.is_dir():
        for path in sorted(folder.value_models.rglob("*")):
            if path.is_file():
                _copy_file(path, part / "models" / "value" / path.relative_to(folder.value_models))


def _copy_file(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, to)


def _described(part: Path, portfolio: str, now: datetime) -> Manifest:
    with closing(open_log(part / "log.sqlite", read_only=True)) as log:
        events = log.end()
    forms = {form.file: form.found for path in sorted(part.glob("*.sqlite")) if (form := form_at(path))}
    files = [
        Copied(name=path.relative_to(part).as_posix(), bytes=path.stat().st_size, sha256=_sha256(path))
        for path in _files(part)
    ]
    return Manifest(
        version=__version__, made_at=now, portfolio=portfolio, events=events, forms=forms, files=files
    )


# putting one back


def looked_through(copy: Path, tell: Tell = silent) -> Manifest:
    """What a copy holds, after every byte of it was read. Raises `LogError` where it cannot be put back:
    a file that is missing, changed or damaged, of a newer version, or of another moment than the others."""
    try:
        manifest = msgspec.json.decode((copy / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise LogError(f"{copy} is no copy of `lendsignal backup`: it has no {MANIFEST}") from None
    except (OSError, msgspec.DecodeError) as error:
        raise LogError(f"{copy / MANIFEST} cannot be read") from error
    for number, one in enumerate(manifest.files):
        tell("looking", number, len(manifest.files))
        path = copy / one.name
        if not path.is_file():
            raise LogError(f"{one.name} is missing in {copy}")
        if _sha256(path) != one.sha256:
            raise LogError(f"{one.name} in {copy} is not as it was copied")
        if path.suffix == ".sqlite" and (wrong := damage(path)):
            raise LogError(f"{one.name} in {copy} is damaged ({wrong})")
    tell("looking", len(manifest.files), len(manifest.files))
    _refuse_newer(DataFolder(copy))
    return manifest


def restore(
    folder: DataFolder,
    copy: Path,
    *,
    archive: str,
    replace: bool = False,
    now: datetime,
    tell: Tell = silent,
) -> Manifest:
    """Puts a copy in place, after it was looked through; `replace` moves what is there to `before-…` first.

    Raises `LogError` where the folder is in use, holds data and `replace` is not said, or the copy is not
    whole. What is broken off is refused by `run` until it is done again, which begins from the start.
    """
    with in_nobodys_use(folder):
        manifest = looked_through(copy, tell)
        if not replace and not folder.restoring.exists() and (there := _data_of(folder)):
            raise LogError(
                f"{folder.path} holds data already ({there[0].name}): --replace moves it aside first"
            )
        shutil.rmtree(folder.restoring, ignore_errors=True)
        fresh = folder.restoring / "files"
        fresh.mkdir(parents=True)
        place = place_at(archive, folder.path)
        synced(folder.path)
        aside = _not_there(folder.path / f"before-{now:%Y%m%dT%H%M%SZ}")
        for path in _data_of(folder):
            aside.mkdir(exist_ok=True)
            path.replace(aside / path.name)
        for number, one in enumerate(manifest.files):
            tell("restoring", number, len(manifest.files))
            source, name = copy / one.name, one.name
            if name.startswith("archive/"):
                scratch = fresh / "archive-file"
                shutil.copyfile(source, scratch)
                place.put(name.removeprefix("archive/"), scratch)
            else:
                _copy_file(source, folder.path / name)
                synced(folder.path / name)
        for inner in (folder.audience_files, folder.value_models):
            if inner.is_dir():
                _sync_all(inner)
        synced(folder.path)
        shutil.rmtree(folder.restoring)
        synced(folder.path)
        tell("restoring", len(manifest.files), len(manifest.files))
    return manifest


def in_nobodys_use(folder: DataFolder) -> ExitStack:
    """Every role over the folder, while the block runs. Raises `FolderInUse` where somebody has one."""
    with ExitStack() as held:
        for role in ROLES:
            held.enter_context(folder.lock(role))
        return held.pop_all()


def _data_of(folder: DataFolder) -> list[Path]:
    """What a restore would write over: databases with their write-ahead logs, and the folders beside them."""
    found = [path for path in folder.path.glob("*.sqlite*") if path.stat().st_size]
    return sorted(found) + [folder.path / name for name in MOVED_ASIDE if (folder.path / name).exists()]


def _not_there(path: Path) -> Path:
    """That path, or the next one like it that nothing lies at: what is kept aside is never written over."""
    found, number = path, 2
    while found.exists():
        found, number = path.with_name(f"{path.name}-{number}"), number + 1
    return found


def _refuse_newer(folder: DataFolder) -> None:
    """Raises `LogError` where a file of a copy is newer than this version, or two are not of one moment.

    An older form is good: `migrate` brings it up once it is in place.
    """
    forms = [form for path in folder.databases() if (form := form_at(path))]
    for form in forms:
        if form.found > form.known:
            raise LogError(
                f"{form.file} has form {form.found}, and this version knows form {form.known} at most:"
                " install the version that made this copy"
            )
    if all(form.is_current for form in forms):
        _refuse_two_moments(folder)


def _refuse_two_moments(folder: DataFolder) -> None:
    """Raises `LogError` where the deliveries know more than the log or the orders; nothing is written."""
    with ExitStack() as opened:
        log = opened.enter_context(closing(open_log(folder.log, read_only=True)))
        if not folder.deliveries.exists():
            return
        deliveries = opened.enter_context(closing(open_deliveries(folder.deliveries, read_only=True)))
        if deliveries.position() > log.last_record():
            raise LogError("the deliveries of this copy are ahead of its log")
        if folder.orders.exists():
            orders = opened.enter_context(closing(open_orders(folder.orders, read_only=True)))
            if deliveries.order() > orders.last():
                raise LogError("the deliveries of this copy are ahead of its orders")


# files


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MANIFEST:
            yield path


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _sync_all(folder: Path) -> None:
    """Everything below a folder is on disk, and under its name."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() or path.is_file():
            synced(path)
