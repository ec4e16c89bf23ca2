"""Days that are kept no longer leave the archive whole, and never come back."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.acme import DAY, us
from tests.desk import TOKEN, Desk, acme, borrower, borrowers, verdicts
from tests.scripted import platform
from tests.unit.archive.reader import Archive

from lendsignal.archive import Book, Folder
from lendsignal.archive.keeper import brought_up
from lendsignal.archive.layout import day_of
from lendsignal.archive.settings import ArchiveSettings
from lendsignal.report import load

FIRST = day_of(us(0))


@pytest.fixture
def lender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """Two borrowers on one day, and three of whom is told two days later; all of it was sent."""

    def answered(connection: Any, ending: Any) -> bool:
        return verdicts("accepted")(connection, ending)

    later = [event for name in ("u7", "u8", "u9") for event in borrower(name, 2 * DAY)]
    monkeypatch.setenv("ACME_TOKEN", TOKEN)
    single = acme(facts={"batch": 1})
    with platform(answered) as played, Desk(tmp_path / "data", single, sandbox=played.url) as desk:
        yield desk.tell(*borrowers(2)).quiet().tell(*later).quiet()


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "kept")


def days(archive: Archive, table: str = "events") -> list[int]:
    return sorted({part.day for part in archive.book.parts() if part.table == table})


def test_days_before_the_one_that_is_named_go_from_every_table(lender: Desk, archive: Archive) -> None:
    archive.take(lender)
    rows = sum(part.rows for part in archive.book.parts())
    assert days(archive) == [FIRST, FIRST + 2]

    gone = archive.keeper.forget(FIRST + 1)

    left = archive.book.parts()
    assert {part.day for part in left} == {FIRST + 2}
    assert gone == rows - sum(part.rows for part in left) > 0
    assert set(archive.files()) == {part.name for part in left}
    assert archive.query("select count(*) from touches") == [(3,)]


def test_what_is_written_later_of_a_day_that_went_stays_out(lender: Desk, archive: Archive) -> None:
    archive.keeper.forget(FIRST + 1)
    archive.take(lender)

    assert days(archive) == [FIRST + 2]
    assert archive.book.reach("log") == lender.log.position()


@pytest.mark.parametrize("step", range(1, 5))
def test_a_kill_while_days_go_leaves_no_file_that_does_not_count(
    step: int, lender: Desk, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        """The process ends here."""

    archive.take(lender)
    steps = iter(range(1, 1_000))
    for name, of in (("forget_before", Book), ("drop", Folder)):
        real = getattr(of, name)

        def act(*words: Any, real: Any = real) -> Any:
            if next(steps) == step:
                raise Killed
            return real(*words)

        monkeypatch.setattr(of, name, act)
    with pytest.raises(Killed):
        archive.keeper.forget(FIRST + 1)
    monkeypatch.undo()
    archive.book.close()
    again = Archive(archive.folder)
    again.keeper.forget(FIRST + 1)

    assert days(again) == [FIRST + 2]
    assert set(again.files()) == {part.name for part in again.book.parts()}


def test_the_archives_job_takes_days_away_that_are_older_than_is_asked_for(lender: Desk) -> None:
    now_us = us(0) + 32 * 86_400_000_000
    brought_up(lender.folder, ArchiveSettings(keep_for=timedelta(days=31)), now_us)

    book = Book(lender.folder.archive)
    assert sorted({part.day for part in book.parts() if part.table == "events"}) == [FIRST + 2]
    book.close()
    with load(lender.folder) as tables:
        assert tables.number("select count(*) from counted where type = 'disbursed'") == 3


def test_a_span_shorter_than_events_are_sent_for_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 30d"):
        ArchiveSettings(keep_for=timedelta(days=29))
