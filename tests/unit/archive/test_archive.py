"""The archive: every row once, under the same name however often it is written, for any engine to read."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import apsw
import duckdb
import pytest
from tests.acme import DAY, event, login, moment, us
from tests.desk import TOKEN, Desk, acme, borrower, borrowers, verdicts
from tests.scripted import platform
from tests.unit.archive.reader import Archive

from lendsignal.archive import TABLES, Book, Folder, place_at
from lendsignal.archive.keeper import ALIKE, Keeper, brought_up, size_of
from lendsignal.archive.settings import ArchiveSettings
from lendsignal.errors import DataError


@pytest.fixture
def lender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """Four borrowers whose loans were sent."""

    def answered(connection: Any, ending: Any) -> bool:
        return verdicts("accepted")(connection, ending)

    monkeypatch.setenv("ACME_TOKEN", TOKEN)
    single = acme(facts={"batch": 1})
    with platform(answered) as played, Desk(tmp_path / "data", single, sandbox=played.url) as desk:
        yield desk.tell(*borrowers(4)).quiet()


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "kept")


def test_every_event_conversion_delivery_and_outcome_is_there_once(lender: Desk, archive: Archive) -> None:
    assert archive.take(lender) > 0

    # A policy, and a login and a loan for each of the four.
    assert archive.query("select type, count(*) from events group by 1 order by 1") == [
        ("disbursed", 4),
        ("lendsignal.policy_changed", 1),
        ("logged_in", 4),
    ]
    assert archive.query("select count(*), count(distinct gaid) from touches") == [(4, 4)]
    accepted = "select count(*) from deliveries join outcomes using (delivery) where what = 'accepted'"
    assert archive.query(accepted) == [(4,)]
    bound = archive.query(
        "select count(*) from conversions c join deliveries d using (record, conversion_id)"
        " join touches t on t.user_id = c.user_id and t.gaid = c.gaid where c.name = 'disbursement'"
    )
    assert bound == [(4,)]


def test_moments_money_and_days_come_back_as_what_they_were(tmp_path: Path, archive: Archive) -> None:
    with Desk(tmp_path / "data", acme()) as desk:
        desk.tell(
            login(-5, "u1"),
            event("disbursed", 0, user_id="u1", loan_id="L1", amount=Decimal("15000.125"), currency="NGN"),
        )
        archive.take(desk)

    ((at_us, amount, currency, day),) = archive.query(
        "select occurred_at, amount, currency, day from events where type = 'disbursed'"
    )
    assert (at_us, amount, currency) == (us(0), Decimal("15000.12500000"), "NGN")
    assert str(day) == moment(0).date().isoformat()


def test_what_is_new_is_added_and_what_is_there_stays(lender: Desk, archive: Archive) -> None:
    archive.take(lender)
    before = archive.files()
    assert archive.take(lender) == 0, "nothing is written where nothing is new"
    lender.tell(*borrowers(3, minutes=DAY))
    archive.take(lender)

    after = archive.files()
    assert {name: after[name] for name in before} == before
    assert archive.query("select count(*), count(distinct seq) from events") == [(15, 15)]


def test_rows_lie_on_the_utc_day_on_which_they_came_to_be_known(lender: Desk, archive: Archive) -> None:
    lender.tell(*borrower("late", 2 * DAY))
    archive.take(lender)

    found = archive.query("select count(*) from events where day <> received_at::date")
    assert found == [(0,)]
    assert len(archive.query("select distinct day from touches")) == 2


class Killed(Exception):
    """The process ends here."""


@pytest.mark.parametrize("step", range(1, 9))
def test_a_kill_between_any_two_steps_loses_no_row_and_doubles_none(
    step: int, lender: Desk, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are put and the book is written: whichever comes last before the kill, the next start ends it."""
    steps = iter(range(1, 1_000))

    def dying(name: str, of: type) -> None:
        real = getattr(of, name)

        def act(*words: Any) -> Any:
            if next(steps) == step:
                raise Killed
            return real(*words)

        monkeypatch.setattr(of, name, act)

    dying("put", Folder)
    dying("end", Book)
    with pytest.raises(Killed):
        archive.take(lender)
    monkeypatch.undo()
    archive.book.close()
    lender.tell(*borrowers(2, minutes=30)).turns(3)  # meanwhile more came: the broken piece stays what it was
    again = Archive(archive.folder)
    again.take(lender)
    whole = Archive(tmp_path / "whole")
    whole.take(lender)

    for table in TABLES:
        order = ", ".join(table.key)
        if list(whole.root.glob(f"{table.name}/*/*.parquet")):
            words = f"select * from {table.name} order by {order}"
            assert again.query(words) == whole.query(words), table.name


def test_however_it_was_cut_into_pieces_a_day_that_is_over_has_the_same_bytes(
    lender: Desk, tmp_path: Path
) -> None:
    at_once = Archive(tmp_path / "one")
    piecewise = Archive(tmp_path / "many", events_at_once=2, packs_at_once=1)
    at_once.take(lender)
    piecewise.take(lender)
    assert len(piecewise.files()) > len(at_once.files())
    later = us(0) + 400 * 86_400_000_000
    at_once.keeper.compact(later)
    piecewise.keeper.compact(later)

    events = [name for name in piecewise.files() if name.startswith("events/")]
    assert len(events) == 1
    assert piecewise.files()[events[0]] == at_once.files()[events[0]]
    order = "select * from conversions order by record"
    assert piecewise.query(order) == at_once.query(order)


@pytest.mark.parametrize("step", range(1, 10))
def test_a_kill_while_a_day_becomes_one_file_loses_no_row_and_doubles_none(
    step: int, lender: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Archive(tmp_path / "kept", events_at_once=3)
    archive.take(lender)
    before = archive.query("select * from events order by seq")
    steps = iter(range(1, 1_000))
    for name, of in (("put", Folder), ("drop", Folder), ("move", Folder), ("replace", Book)):
        real = getattr(of, name)

        def act(*words: Any, real: Any = real) -> Any:
            if next(steps) == step:
                raise Killed
            return real(*words)

        monkeypatch.setattr(of, name, act)
    with pytest.raises(Killed):
        archive.keeper.compact(us(0) + 400 * 86_400_000_000)
    monkeypatch.undo()
    archive.book.close()
    again = Archive(archive.folder)

    assert again.query("select * from events order by seq") == before


def test_what_nobody_counts_is_cleared_away(lender: Desk, archive: Archive) -> None:
    archive.take(lender)
    stray = archive.root / "events" / "day=2026-03-10" / "000000000000001-000000000000777.parquet"
    stray.parent.mkdir(exist_ok=True, parents=True)
    stray.write_bytes(b"left over")
    archive.book.close()
    Archive(archive.folder)

    assert not stray.exists()


def test_a_file_that_is_not_ours_is_never_taken_away(lender: Desk, archive: Archive) -> None:
    archive.take(lender)
    others = [archive.root / name for name in ("report.xlsx", "events/notes.txt", "sales/day=1/1-2.parquet")]
    for path in others:
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(b"somebody's own")
    archive.book.close()
    Archive(archive.folder)

    assert all(path.exists() for path in others)


def test_the_archive_of_another_data_folder_is_left_alone(
    lender: Desk, archive: Archive, tmp_path: Path
) -> None:
    archive.take(lender)
    before = archive.files()
    another = Book(tmp_path / "another.sqlite")

    with pytest.raises(DataError, match="another data folder"):
        Keeper(another, Folder(archive.root))
    assert archive.files() == before
    another.close()


def test_a_folder_from_which_files_are_gone_is_not_written_on_as_if_they_were_there(
    lender: Desk, archive: Archive, tmp_path: Path
) -> None:
    archive.take(lender)
    n = len(archive.files())

    with pytest.raises(DataError, match=f"{n} of {n} files"):
        Keeper(archive.book, Folder(tmp_path / "elsewhere"))


def test_an_archive_in_object_storage_has_every_row_once_also_when_its_days_are_one_file(
    lender: Desk, tmp_path: Path
) -> None:
    book, root = Book(tmp_path / "archive.sqlite"), f"memory://lender-{tmp_path.name}/lender"
    place = place_at(root, tmp_path)
    keeper = Keeper(book, place, events_at_once=2)
    while keeper.turn(lender.log, None):
        continue
    keeper.compact(us(DAY * 30))
    names = [name for name in place.names() if name.startswith("events/")]

    assert names == [part.name for part in book.parts() if part.table == "events"]
    copies = [str(place.local(name, tmp_path)) for name in names]
    assert len(names) == 1
    with duckdb.connect() as db:
        counted = db.execute(f"select count(*), count(distinct seq) from read_parquet({copies})").fetchall()
    assert counted == [(9, 9)]
    keeper.close()
    book.close()


def test_what_comes_in_while_it_writes_waits_and_gets_no_file_for_every_moment(lender: Desk) -> None:
    """Otherwise a busy service had its archive written without end, in files of a few rows each."""
    told: list[tuple[int, int]] = []

    def tell(done: int, total: int) -> None:
        told.append((done, total))
        if len(told) < 5:
            lender.tell(*borrower(f"late-{len(told)}")).quiet()

    brought_up(lender.folder, ArchiveSettings(), us(0), tell=tell)
    assert told == [(9, 9)]

    brought_up(lender.folder, ArchiveSettings(), us(0), tell=tell, events_at_once=2)
    assert told[1:] == [(11, 11), (13, 13), (15, 15), (17, 17), (17, 17)]


def test_no_contact_and_no_answer_of_a_platform_gets_in(lender: Desk, archive: Archive) -> None:
    archive.take(lender)

    columns = {column.name for table in TABLES for column in table.columns}
    assert not columns & {"phone", "email", "contact", "answer", "request", "ip", "user_agent"}


def test_small_files_of_a_day_that_goes_on_become_fewer_and_no_row_changes(
    lender: Desk, tmp_path: Path
) -> None:
    archive = Archive(tmp_path / "kept", events_at_once=1)
    archive.take(lender)
    before, n = archive.query("select * from events order by seq"), len(archive.files())
    gone = archive.keeper.compact(us(0))

    assert gone >= ALIKE - 1
    assert len(archive.files()) == n - gone
    assert archive.query("select * from events order by seq") == before
    assert archive.keeper.compact(us(0)) == 0, "what is left is worth no other file"


def test_files_are_of_one_size_up_to_eight_times_as_many_rows() -> None:
    assert [size_of(rows) for rows in (1, 1_000, 1_001, 7_999, 8_000, 63_999, 64_000)] == [
        0,
        0,
        1,
        1,
        2,
        2,
        3,
    ]


def test_an_archive_of_an_older_layout_is_written_anew_as_long_as_the_log_has_all(lender: Desk) -> None:
    brought_up(lender.folder, ArchiveSettings(), us(0))
    files = sorted((lender.folder.path / "archive").rglob("*.parquet"))
    book = Book(lender.folder.archive)
    book.note(1, None)
    book.close()
    stray = files[0].with_name("000000000000001-000000000000002.parquet")
    stray.write_bytes(files[0].read_bytes())
    rows, _ = brought_up(lender.folder, ArchiveSettings(), us(0))

    assert rows > 0
    assert sorted((lender.folder.path / "archive").rglob("*.parquet")) == files
    again = Book(lender.folder.archive)
    assert again.layout() == 2
    again.close()


def test_an_older_layout_that_the_log_cannot_write_anew_is_left_as_it_is(lender: Desk) -> None:
    brought_up(lender.folder, ArchiveSettings(), us(0))
    files = {path: path.read_bytes() for path in (lender.folder.path / "archive").rglob("*.parquet")}
    book = Book(lender.folder.archive)
    book.note(1, None)
    book.close()
    with apsw.Connection(str(lender.folder.log)) as forgetting:
        forgetting.execute("delete from event where seq = 1")

    with pytest.raises(DataError, match="layout 1"):
        brought_up(lender.folder, ArchiveSettings(), us(0))
    assert {path: path.read_bytes() for path in files} == files
