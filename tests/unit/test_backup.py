"""A copy holds everything of one moment, is read through before it is put back, and never mixes."""

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import apsw
import pytest
from tests.acme import loan
from tests.released.folders import VERSIONS, unpacked
from tests.released.make import known

from lendsignal import backup as copies
from lendsignal.archive import Book
from lendsignal.errors import FolderInUse, LogError, NotYet
from lendsignal.log import Changes, DataFolder, open_deliveries, open_log, refuse_damage

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """A lender's data, with an archive of Parquet, a feed, a pull, keys and members."""
    found = DataFolder(tmp_path / "data")
    unpacked(VERSIONS[0], found.path)
    model = found.value_models / "v1" / "model.json"
    model.parent.mkdir(parents=True)
    model.write_text('{"made": "up"}')
    return found


def backed_up(folder: DataFolder, to: Path) -> copies.Manifest:
    return copies.backup(folder, to, archive="archive", portfolio="acme", now=NOW)


def restored(folder: DataFolder, copy: Path, *, replace: bool = False) -> copies.Manifest:
    return copies.restore(folder, copy, archive="archive", replace=replace, now=NOW)


@pytest.fixture
def copy(folder: DataFolder, tmp_path: Path) -> Path:
    backed_up(folder, tmp_path / "copy")
    return tmp_path / "copy"


def test_what_is_put_back_is_what_was_copied(folder: DataFolder, copy: Path, tmp_path: Path) -> None:
    fresh = DataFolder(tmp_path / "fresh")
    manifest = restored(fresh, copy)
    refuse_damage(fresh)

    assert known(fresh.path) == known(folder.path)
    assert manifest.events == known(fresh.path)["events"] + 1  # with our own
    with closing(Book(fresh.archive, read_only=True)) as book:
        parts = [part.name for part in book.parts()]
    assert parts
    for name in parts:
        assert (fresh.path / "archive" / name).read_bytes() == (folder.path / "archive" / name).read_bytes()
    assert (fresh.value_models / "v1" / "model.json").exists()
    assert not fresh.restoring.exists()


def test_a_copy_has_no_write_ahead_logs_and_names_every_file_with_its_sum(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    there = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}

    assert there == {one["name"] for one in manifest["files"]} | {"manifest.json"}
    assert not [name for name in there if name.endswith(("-wal", "-shm"))]
    assert manifest["forms"]["log.sqlite"] == 1


def test_what_is_written_while_it_is_copied_is_in_it_or_not_and_the_log_is_never_behind(
    folder: DataFolder, tmp_path: Path
) -> None:
    """Between any two files the door appends, something is decided, and the sender reads it."""
    log, deliveries = open_log(folder.log), open_deliveries(folder.deliveries)
    before, steps = log.end(), 0

    def meanwhile(name: str, done: int, whole: int) -> None:
        nonlocal steps
        steps += 1
        log.append([loan(steps, f"L-{steps}", event_id=f"more-{steps}")])
        with closing(apsw.Connection(str(folder.log))) as db:
            db.execute("insert into record select ?, body from record limit 1", (before + steps,))
        changes = Changes()
        changes.position = log.last_record()
        deliveries.commit(changes)

    with closing(log), closing(deliveries):
        copies.backup(folder, tmp_path / "copy", archive="archive", portfolio="a", now=NOW, tell=meanwhile)
        manifest = copies.looked_through(tmp_path / "copy")

    assert before < manifest.events <= before + steps


def test_a_copy_is_noted_in_the_folder_and_whole_or_not_there(
    folder: DataFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert copies.last_backup(folder) is None

    def breaks(*given: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(copies, "_sync_all", breaks)
        with pytest.raises(OSError, match="No space"):
            backed_up(folder, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert copies.last_backup(folder) is None

    manifest = backed_up(folder, tmp_path / "copy")
    note = copies.last_backup(folder)
    assert note is not None
    assert (note.made_at, note.bytes, note.events) == (NOW, manifest.bytes, manifest.events)


def test_where_a_copy_may_not_be(folder: DataFolder, copy: Path, tmp_path: Path) -> None:
    with pytest.raises(LogError, match="is there already"):
        backed_up(folder, copy)
    with pytest.raises(LogError, match="within the data folder"):
        backed_up(folder, folder.path / "copy")
    with pytest.raises(NotYet):
        backed_up(DataFolder(tmp_path / "none"), tmp_path / "other")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def noise(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 0xFF
    path.write_bytes(body)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        *(
            (name, spoil)
            for name in ("log.sqlite", "deliveries.sqlite")
            for spoil in (Path.unlink, cut, noise)
        ),
        *(("manifest.json", spoil) for spoil in (Path.unlink, cut)),
    ],
)
def test_a_copy_that_is_not_whole_changes_nothing(
    folder: DataFolder, copy: Path, tmp_path: Path, name: str, spoil: Callable[[Path], None]
) -> None:
    spoil(copy / name)
    before = known(folder.path)

    with pytest.raises(LogError):
        restored(folder, copy, replace=True)
    assert known(folder.path) == before
    assert not folder.restoring.exists()


def test_what_is_there_is_not_written_over_and_moved_aside_only_when_told(
    folder: DataFolder, copy: Path
) -> None:
    with closing(open_log(folder.log)) as log:
        log.append([loan(0, "later")])
    with pytest.raises(LogError, match="--replace"):
        restored(folder, copy)

    restored(folder, copy, replace=True)
    aside = folder.path / "before-20261122T120000Z"
    refuse_damage(folder)
    with closing(open_log(aside / "log.sqlite")) as old, closing(open_log(folder.log)) as new:
        assert old.end() == new.end() + 1


def test_nothing_is_put_back_under_a_service_that_runs(folder: DataFolder, copy: Path) -> None:
    with folder.lock("core"), pytest.raises(FolderInUse):
        restored(folder, copy, replace=True)


def test_a_restore_that_was_broken_off_starts_nothing_and_is_done_again(
    folder: DataFolder, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it breaks off: after every third file."""
    whole, real = known(folder.path), copies._copy_file
    monkeypatch.setattr(copies, "synced", lambda path: None)
    names = [one.name for one in copies.looked_through(copy).files if not one.name.startswith("archive/")]
    for after in range(0, len(names), 3):
        left = [after]

        def breaks(path: Path, to: Path, left: list[int] = left) -> None:
            if not left[0]:
                raise InterruptedError
            left[0] -= 1
            real(path, to)

        with monkeypatch.context() as broken:
            broken.setattr(copies, "_copy_file", breaks)
            with pytest.raises(InterruptedError):
                restored(folder, copy, replace=True)
        with pytest.raises(LogError, match="broken off"):
            refuse_damage(folder)
        restored(folder, copy)
        refuse_damage(folder)
        assert known(folder.path) == whole
        for aside in folder.path.glob("before-*"):
            shutil.rmtree(aside)


def test_deliveries_ahead_of_their_log_are_refused_though_every_sum_is_right(copy: Path) -> None:
    """As two copies of different moments that somebody put together."""
    deliveries = copy / "deliveries.sqlite"
    with closing(apsw.Connection(str(deliveries))) as db:
        db.execute("update cursor set position = 1 << 40 where name = 'records'")
        assert db.changes() == 1
    manifest = json.loads((copy / "manifest.json").read_text())
    for one in manifest["files"]:
        if one["name"] == deliveries.name:
            one["sha256"] = copies._sha256(deliveries)
    (copy / "manifest.json").write_text(json.dumps(manifest))

    with pytest.raises(LogError, match="ahead of its log"):
        copies.looked_through(copy)


def test_a_copy_of_a_newer_version_is_refused(copy: Path) -> None:
    with closing(apsw.Connection(str(copy / "keys.sqlite"))) as db:
        db.execute("pragma user_version = 9")
    manifest = json.loads((copy / "manifest.json").read_text())
    for one in manifest["files"]:
        if one["name"] == "keys.sqlite":
            one["sha256"] = copies._sha256(copy / "keys.sqlite")
    (copy / "manifest.json").write_text(json.dumps(manifest))

    with pytest.raises(LogError, match=r"keys\.sqlite has form 9"):
        copies.looked_through(copy)
