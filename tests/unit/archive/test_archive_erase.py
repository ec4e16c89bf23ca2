"""Taking people out of the archive: every row of theirs goes, no other changes, however it is killed."""

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.acme import us
from tests.desk import TOKEN, Desk, acme, borrower, borrowers, verdicts
from tests.scripted import platform
from tests.unit.archive.reader import Archive
from tests.unit.report.kept import Kept

from lendsignal.archive import TABLES, Book, Folder
from lendsignal.archive.keeper import Keeper, brought_up, erase
from lendsignal.archive.settings import ArchiveSettings
from lendsignal.log import DataFolder, open_feeds
from lendsignal.model.attribution import Attribution, Recorded
from lendsignal.report import load

THEIRS = {
    "events": "user_id = 'u1'",
    "touches": "user_id = 'u1'",
    "conversions": "user_id = 'u1'",
    "deliveries": "record in (select record from conversions where user_id = 'u1')",
    "outcomes": "delivery // 64 in (select record from conversions where user_id = 'u1')",
}
"""What is u1's in each table, as anybody would ask for it."""


@pytest.fixture
def lender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """Four borrowers whose loans were sent."""

    def answered(connection: Any, ending: Any) -> bool:
        return verdicts("accepted")(connection, ending)

    monkeypatch.setenv("ACME_TOKEN", TOKEN)
    single = acme(facts={"batch": 1})
    with platform(answered) as played, Desk(tmp_path / "data", single, sandbox=played.url) as desk:
        yield desk.tell(*borrowers(4)).quiet()


def others(archive: Archive) -> dict[str, list[tuple[Any, ...]]]:
    """Every row that is not u1's."""
    return {
        name: archive.query(f"select * from {name} where not ({theirs}) order by all")
        for name, theirs in THEIRS.items()
    }


def whole(archive: Archive) -> dict[str, list[tuple[Any, ...]]]:
    return {name: archive.query(f"select * from {name} order by all") for name in THEIRS}


def test_every_row_of_a_user_goes_and_every_other_stays_as_it_was(lender: Desk, tmp_path: Path) -> None:
    archive = Archive(tmp_path / "kept", events_at_once=3)
    archive.take(lender)
    expected = others(archive)
    n = sum(len(archive.query(f"select 1 from {name} where {theirs}")) for name, theirs in THEIRS.items())
    untouched = {
        name: bytes_
        for name, bytes_ in archive.files().items()
        if name.startswith(("events", "touches", "conversions"))
        and not archive.query(f"select 1 from '{archive.root}/{name}' where user_id = 'u1'")
    }

    assert archive.keeper.erase([("acme", "u1")], lender.log.end()) == n > 0
    assert whole(archive) == expected
    after = archive.files()
    assert {name: after[name] for name in untouched} == untouched, "files without the user are left alone"
    assert not any(b"u1" in bytes_ for bytes_ in after.values())
    assert sum(part.rows for part in archive.book.parts()) == sum(map(len, expected.values()))


def test_who_is_not_there_changes_nothing(lender: Desk, tmp_path: Path) -> None:
    archive = Archive(tmp_path / "kept")
    archive.take(lender)
    before = archive.files()

    assert archive.keeper.erase([("acme", "nobody"), ("other", "u1")], lender.log.end()) == 0
    assert archive.files() == before


def test_a_user_without_any_row_left_leaves_no_empty_file(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "data").tell(*borrower("u1"))
    archive = Archive(tmp_path / "kept")
    archive.keeper.turn(kept.log, None)
    archive.keeper.erase([("acme", "u1")], kept.log.end())

    assert not list(archive.root.glob("touches/**/*.parquet"))
    assert {part.table for part in archive.book.parts()} == {"events"}, "the policy's own event"


def test_what_the_log_still_holds_does_not_come_in_again_and_what_comes_later_does(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "data").tell(*borrowers(3))
    archive = Archive(tmp_path / "kept")
    archive.keeper.erase([("acme", "u1")], kept.log.end())  # before anything was archived
    archive.keeper.turn(kept.log, None)
    assert archive.query("select distinct user_id from events where user_id like 'u%' order by 1") == [
        ("u0",),
        ("u2",),
    ]

    later = borrower("u1", minutes=60)
    kept.tell(later[0])
    archive.keeper.turn(kept.log, None)
    assert archive.query("select type from events where user_id = 'u1'") == [("logged_in",)]


def test_a_person_is_every_user_of_that_person(tmp_path: Path) -> None:
    mine = [event for name in ("u1", "u2") for event in borrower(name, person_id="P-1")]
    kept = Kept(tmp_path / "data").tell(*mine, *borrower("u3"))
    brought_up(kept.folder, ArchiveSettings(), us(0))

    assert erase(kept.folder, ArchiveSettings(), [], persons=["P-1"]) > 0
    with load(kept.folder) as tables:
        assert tables.rows("select distinct user_id from event") == [("u3",)]


def test_what_an_mmp_told_of_a_user_goes_too_and_that_of_another_brands_user_stays(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "data").tell(*borrowers(2))
    told: dict[str, Any] = {"feed": "mmp", "mmp": "appsflyer"}
    kept.feed(
        Attribution(**told, app="acme-ng", id="1", user_id="u1", told_us=us(0)),
        Attribution(**told, app="acme-ng", id="2", user_id="u0", told_us=us(0)),
        Attribution(**told, app="elsewhere", id="3", user_id="u1", told_us=us(0)),
        Recorded(**told, app="acme-ng", id="1", name="ev", at_us=us(0), user_id="u1"),
    )
    brought_up(kept.folder, ArchiveSettings(), us(0))
    erase(kept.folder, ArchiveSettings(), [("acme", "u1")])

    left = f"select mmp_id from '{kept.folder.path}/archive/attributions/*/*.parquet' order by 1"
    assert duckdb.execute(left).fetchall() == [("2",), ("3",)]
    assert not list((kept.folder.path / "archive").glob("recorded/**/*.parquet"))
    assert open_feeds(kept.folder.feeds).counts().attributions == 3, (
        "the feeds' own file is not the archive's"
    )


class Killed(Exception):
    """The process ends here."""


@pytest.mark.parametrize("step", range(1, 22))
def test_a_kill_between_any_two_steps_is_ended_by_the_next_start(
    step: int, lender: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Archive(tmp_path / "kept", events_at_once=4)
    archive.take(lender)
    expected = others(archive)
    steps = iter(range(1, 1_000))
    for name, of in (
        ("put", Folder),
        ("move", Folder),
        ("drop", Folder),
        ("begin_erasing", Book),
        ("note_cuts", Book),
        ("end_erasing", Book),
    ):
        real = getattr(of, name)

        def act(*words: Any, real: Any = real) -> Any:
            if next(steps) == step:
                raise Killed
            return real(*words)

        monkeypatch.setattr(of, name, act)
    begun = step > 1  # nothing was written down before the first step
    try:
        archive.keeper.erase([("acme", "u1")], lender.log.end())
    except Killed:
        pass
    else:
        assert next(steps) <= step, "every step was tried"
    monkeypatch.undo()
    archive.book.close()
    again = Archive(archive.folder)

    assert whole(again) == expected if begun else others(again) == expected
    assert not list(again.root.rglob("*.cut"))
    again.keeper.compact(us(0) + 400 * 86_400_000_000)
    if begun:
        assert whole(again) == expected


ERASING = """
import sys
from pathlib import Path
from lendsignal.archive.keeper import erase
from lendsignal.archive.settings import ArchiveSettings
from lendsignal.log import DataFolder
print(erase(DataFolder(Path(sys.argv[1])), ArchiveSettings(), [("acme", "u1"), ("acme", "u77")]))
"""


def test_killed_for_real_at_any_instant_it_ends_with_nobody_but_the_others(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "data").tell(*borrowers(120))
    brought_up(kept.folder, ArchiveSettings(), us(0), events_at_once=10)
    files = f"{kept.folder.path}/archive/events/*/*.parquet"
    before = duckdb.execute(
        f"select * from '{files}' where user_id not in ('u1', 'u77') order by seq"
    ).fetchnumpy()
    chance = random.Random(seed := random.randrange(2**32))
    for _ in range(6):
        process = subprocess.Popen([sys.executable, "-c", ERASING, str(kept.folder.path)])
        try:
            process.wait(chance.uniform(0.5, 1.5))
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    subprocess.run([sys.executable, "-c", ERASING, str(kept.folder.path)], check=True, capture_output=True)

    after = duckdb.execute(f"select * from '{files}' order by seq").fetchnumpy()
    assert {name: list(column) for name, column in after.items()} == {
        name: list(column) for name, column in before.items()
    }, f"seed {seed}"
    book = Book(kept.folder.archive)
    Keeper(book, Folder(kept.folder.path / "archive")).close()
    assert sum(part.rows for part in book.parts() if part.table == "events") == len(before["seq"])
    book.close()


def test_a_running_archive_job_is_not_disturbed(tmp_path: Path) -> None:
    from lendsignal.errors import FolderInUse

    kept = Kept(tmp_path / "data").tell(*borrowers(2))
    brought_up(kept.folder, ArchiveSettings(), us(0))
    with kept.folder.lock("archive"), pytest.raises(FolderInUse):
        erase(kept.folder, ArchiveSettings(), [("acme", "u1")])


def test_a_folder_without_an_archive_has_nothing_to_erase(tmp_path: Path) -> None:
    assert erase(DataFolder(tmp_path), ArchiveSettings(), [("acme", "u1")]) == 0


def test_the_tables_that_name_users_are_all_cut() -> None:
    """A new table with a person in it has to be thought of."""
    naming = {table.name for table in TABLES if {"user_id", "person_id", "conversion_id"} & set(table.names)}

    assert naming == {
        "events", "touches", "instalments", "conversions", "deliveries", "attributions", "recorded"
    }  # fmt: skip
