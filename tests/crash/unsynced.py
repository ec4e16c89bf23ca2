"""A power cut for killed processes: takes back from their files what was never synced.

`unsynced.c`, loaded into the processes, noted what each write replaced. A cut undoes every unsynced write,
newest first, which is a disk that nothing unsynced reached. A torn cut then lets chance bring some of them
back, whole or by sectors, later ones without earlier ones: a disk writes in what order it likes.
"""

import os
import random
import shutil
import struct
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from pathlib import Path

from msgspec import Struct

SOURCE = Path(__file__).with_name("unsynced.c")
NAME = 256
HEAD = struct.Struct(f"<QQQQqqqq{NAME}s{NAME}s")
"""One note, as `struct note` of the C file."""

MAGIC = 0x6465636E79736E75
SECTOR = 512
"""What a disk writes whole or not at all, in bytes."""


class Kind(IntEnum):
    """What a note is about, as the C file numbers it."""

    WRITE = 1
    TRUNCATE = 2
    CREATE = 3
    UNLINK = 4
    RENAME = 5
    SYNC = 6
    SYNC_FOLDER = 7


class Note(Struct, frozen=True, kw_only=True):
    """One call of a process: for writes the bytes `before` it and how long the file was.

    `name` is the file's within the folder; `other` the new one of a rename, or under which a removed file
    is kept.
    """

    number: int
    kind: Kind
    name: str
    other: str = ""
    inode: int = 0
    offset: int = 0
    count: int = 0
    size_before: int = 0
    before: bytes = b""


class Cut(Struct, frozen=True, kw_only=True):
    """What a power cut took: calls that were undone, and how many of them chance brought back."""

    undone: int
    brought_back: int = 0


def compiled(folder: Path) -> Path | None:
    """The shim as a shared library in `folder`; `None` where the machine has no C compiler."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    library = folder / "unsynced.so"
    words = [compiler, "-shared", "-fPIC", "-O2", "-Wall", "-std=gnu11", "-o", str(library), str(SOURCE)]
    subprocess.run([*words, "-ldl", "-lpthread"], check=True, timeout=60)
    return library


class Disk:
    """The disk under one data folder: gives processes the shim, and takes back what they did not sync."""

    def __init__(
        self, library: Path, folder: Path, notes: Path, *, lies: bool = False, sync_us: int = 0
    ) -> None:
        """`notes` must be on the same file system as `folder`. `lies`: its syncs are worth nothing.

        `sync_us`: microseconds that a sync takes at least.
        """
        self.folder = folder.resolve()
        self._notes = notes.resolve()
        self._notes.mkdir(parents=True, exist_ok=True)
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "UNSYNCED_FOLDER": str(self.folder),
            "UNSYNCED_NOTES": str(self._notes),
            "UNSYNCED_SLOW": str(sync_us),
            **({"UNSYNCED_LIES": "1"} if lies else {}),
        }

    def cut(self, chance: random.Random | None = None) -> Cut:
        """The power goes, once every process is dead. With `chance` some unsynced writes survive, torn."""
        notes = sorted(
            (note for path in self._notes.glob("*.notes") for note in notes_in(path.read_bytes())),
            key=lambda note: note.number,
        )
        for shared in self.folder.glob("*-shm"):
            shared.unlink()
        lost = unsynced(notes)
        after = [self._undo(note) for note in reversed(lost)][::-1]
        back = 0 if chance is None else self._bring_back(lost, after, chance)
        shutil.rmtree(self._notes)
        self._notes.mkdir()
        return Cut(undone=len(lost), brought_back=back)

    def _undo(self, note: Note) -> bytes:
        """Takes one call back; gives what a write had left behind."""
        path = self.folder / note.name
        match note.kind:
            case Kind.WRITE | Kind.TRUNCATE:
                with path.open("r+b") as file:
                    file.seek(note.offset)
                    after = file.read(note.count)
                    file.seek(note.offset)
                    file.write(note.before)
                    file.truncate(note.size_before)
                return after
            case Kind.CREATE:
                path.unlink(missing_ok=True)
            case Kind.UNLINK:
                if not path.exists():
                    os.link(self._notes / note.other, path)
            case Kind.RENAME:
                if (self.folder / note.other).exists():
                    (self.folder / note.other).rename(path)
            case Kind.SYNC | Kind.SYNC_FOLDER:
                raise AssertionError("a sync is not undone")
        return b""

    def _bring_back(self, lost: Sequence[Note], after: Sequence[bytes], chance: random.Random) -> int:
        """Does some of the lost calls again. A journal of the file system keeps the names in their order."""
        names = [note for note in lost if note.kind in (Kind.CREATE, Kind.UNLINK, Kind.RENAME)]
        kept = {note.number for note in names[: chance.randint(0, len(names))]}
        back = 0
        for note, left in zip(lost, after, strict=True):
            path = self.folder / note.name
            match note.kind:
                case Kind.CREATE if note.number in kept:
                    path.touch()
                case Kind.UNLINK if note.number in kept:
                    path.unlink(missing_ok=True)
                case Kind.RENAME if note.number in kept:
                    path.rename(self.folder / note.other)
                case Kind.TRUNCATE if path.exists() and chance.random() < 0.5:
                    os.truncate(path, note.offset)
                case Kind.WRITE if path.exists() and (parts := torn(note.offset, left, chance)):
                    with path.open("r+b") as file:
                        for offset, part in parts:
                            file.seek(offset)
                            file.write(part)
                case _:
                    continue
            back += 1
        return back


def notes_in(data: bytes) -> Iterable[Note]:
    """The notes of one process; the last one may be cut off, as its process was."""
    at = 0
    while at + HEAD.size <= len(data):
        magic, number, kind, inode, offset, count, size_before, kept, name, other = HEAD.unpack_from(data, at)
        if magic != MAGIC:
            raise ValueError(f"no note at byte {at}")
        at += HEAD.size
        if at + kept > len(data):
            return
        yield Note(
            number=number,
            kind=Kind(kind),
            name=_text(name),
            other=_text(other),
            inode=inode,
            offset=offset,
            count=count,
            size_before=size_before,
            before=data[at : at + kept],
        )
        at += kept


def unsynced(notes: Sequence[Note]) -> list[Note]:
    """The calls that no later sync made safe, oldest first.

    Bytes are safe by a sync of their file, names by a sync of the folder: POSIX promises no more.
    """
    files: dict[int, int] = {}
    folder = 0
    for note in notes:
        if note.kind is Kind.SYNC:
            files[note.inode] = max(note.number, files.get(note.inode, 0))
        elif note.kind is Kind.SYNC_FOLDER:
            folder = max(note.number, folder)
    lost = []
    for note in notes:
        match note.kind:
            case Kind.WRITE | Kind.TRUNCATE:
                safe = note.number < files.get(note.inode, 0)
            case Kind.CREATE | Kind.UNLINK | Kind.RENAME:
                safe = note.number < folder
            case Kind.SYNC | Kind.SYNC_FOLDER:
                safe = True
        if not safe:
            lost.append(note)
    return lost


def torn(offset: int, left: bytes, chance: random.Random) -> list[tuple[int, bytes]]:
    """Which parts of a write reached the disk: all, none, or any of its sectors."""
    fate = chance.random()
    if fate < 0.4:
        return []
    if fate < 0.8:
        return [(offset, left)] if left else []
    ends = [*range(SECTOR - offset % SECTOR, len(left), SECTOR), len(left)]
    sectors = zip([0, *ends], ends, strict=False)
    return [(offset + start, left[start:end]) for start, end in sectors if chance.random() < 0.5]


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode()
