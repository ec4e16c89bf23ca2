"""What is said of files that nobody could have written: by name, and never as something else."""

from contextlib import closing
from pathlib import Path

import apsw
import pytest
from tests.acme import loan

from lendsignal.errors import Damaged, LogError, NotYet
from lendsignal.log import Changes, Receipt, damage, open_deliveries, open_log

PAGE = 4096


def filled(path: Path) -> None:
    """A log of a few hundred events, folded into its database."""
    with closing(open_log(path)) as log:
        log.append([loan(n, f"L{n}") for n in range(300)])


def spoil(path: Path, table: str) -> None:
    """Noise in place of the page that a table begins with."""
    with closing(apsw.Connection(str(path))) as db:
        db.execute("pragma wal_checkpoint(truncate)").fetchall()
        ((root,),) = db.execute("select rootpage from sqlite_master where name = ?", (table,)).fetchall()
    assert isinstance(root, int)
    with path.open("r+b") as file:
        file.seek((root - 1) * PAGE)
        file.write(b"\x5a" * PAGE)


def test_a_whole_file_has_no_damage(tmp_path: Path) -> None:
    filled(tmp_path / "log.sqlite")

    assert damage(tmp_path / "log.sqlite") is None
    assert damage(tmp_path / "log.sqlite", seconds=5) is None


def test_a_look_that_has_no_time_still_sees_the_beginning_of_every_table(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    filled(path)
    spoil(path, "event")

    assert damage(path, seconds=0) == "database disk image is malformed"
    assert damage(path) is not None


def test_reading_and_writing_a_damaged_page_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    filled(path)
    spoil(path, "event")

    with closing(open_log(path)) as log:
        for touch in (lambda: log.read(0, 10), lambda: log.append([loan(0)]), lambda: list(log.scan())):
            with pytest.raises(
                Damaged, match=r"^log\.sqlite is damaged \(database disk image is malformed\)"
            ):
                touch()
        # The lock is free again, and what is whole is still read.
        assert log.position() == 0


def test_bytes_that_are_whole_for_sqlite_and_no_event_are_damage_too(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    filled(path)
    with closing(apsw.Connection(str(path))) as db:
        db.execute("update event set body = x'c1c1c1' where seq = 7")

    with closing(open_log(path)) as log:
        assert len(log.read(0, 6)) == 6
        with pytest.raises(Damaged, match="what it keeps cannot be read"):
            log.read(0, 7)


def test_receipts_that_cannot_be_unpacked_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "deliveries.sqlite"
    changes = Changes()
    changes.receipts.append(Receipt(64, "appsflyer-ng", "accepted", "confirmed"))
    with closing(open_deliveries(path)) as deliveries:
        deliveries.commit(changes)
        with closing(apsw.Connection(str(path))) as db:
            db.execute("update receipt set body = x'00'")
        with pytest.raises(Damaged, match=r"^deliveries\.sqlite is damaged"):
            list(deliveries.all_receipts())


def test_a_commit_into_a_damaged_file_is_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "deliveries.sqlite"
    open_deliveries(path).close()
    spoil(path, "tally")
    changes = Changes()
    changes.add("appsflyer-ng", "disbursement", "planned")

    with closing(open_deliveries(path)) as deliveries, pytest.raises(Damaged, match=r"deliveries\.sqlite"):
        deliveries.commit(changes)


def test_a_file_that_is_not_made_yet_is_told_from_one_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(NotYet):
        open_log(tmp_path / "log.sqlite", read_only=True)
    assert not (tmp_path / "log.sqlite").exists()

    (tmp_path / "log.sqlite").write_text("a letter " * 200)
    with pytest.raises(Damaged, match="file is not a database"):
        open_log(tmp_path / "log.sqlite", read_only=True)


def test_nothing_is_made_in_a_file_that_is_another_program_s(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    with closing(apsw.Connection(str(path))) as db:
        db.execute("create table bookmark (url text)")
    before = path.read_bytes()

    with pytest.raises(LogError, match="has no table 'event'"):
        open_log(path)
    assert path.read_bytes() == before
