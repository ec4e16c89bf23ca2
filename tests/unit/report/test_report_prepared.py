"""What was prepared of the archive changes how long a report takes, and nothing of what it says."""

import random
from collections.abc import Callable
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from tests.acme import DAY, event, loan, login, moment, phone, source, us
from tests.unit.report.kept import Fate, Kept
from tests.unit.report.world import policy, told, world

from lendsignal.archive.keeper import brought_up, erase
from lendsignal.archive.prepared import prepared_beside
from lendsignal.archive.settings import ArchiveSettings
from lendsignal.log import DataFolder
from lendsignal.model import Device
from lendsignal.report import Tables, bindings, delivery, funnel, load, preparing
from lendsignal.report.delay import delay
from lendsignal.report.making import TABLES, VIEWS
from lendsignal.report.preparing import prepare
from lendsignal.report.vintages import vintages

EVERY_TABLE = sorted({*TABLES, *VIEWS, "app", "installation", "look_number"} - {"planned_delivery"})


def archived(kept: Kept, now_us: int = 0) -> Kept:
    brought_up(kept.folder, ArchiveSettings(), now_us)
    return kept


def prepared(kept: Kept) -> Kept:
    """Archived as it stands, and prepared."""
    assert prepare(archived(kept).folder, us(0), from_events=1, anew=True)
    return kept


def uses(folder: DataFolder) -> bool:
    """Whether reports take what was prepared."""
    with load(folder) as tables:
        return tables.is_prepared


def content(folder: DataFolder, *, of_prepared: bool) -> dict[str, list[str]]:
    with load(folder, prepared=of_prepared) as tables:
        assert tables.is_prepared == of_prepared
        return {name: sorted(map(repr, tables.rows(f"select * from {name}"))) for name in EVERY_TABLE}


def assert_same(folder: DataFolder, *reports: Callable[[Tables], object]) -> None:
    """All tables are the same with what was prepared and without it, and so is what is computed of them."""
    plain, quick = (content(folder, of_prepared=choice) for choice in (False, True))
    for name in EVERY_TABLE:
        assert quick[name] == plain[name], name
    for report in reports:
        with load(folder, prepared=False) as slow, load(folder) as fast:
            assert repr(report(fast)) == repr(report(slow))


def started(tmp_path: Path) -> Kept:
    """Two users of two phones, archived and prepared."""
    kept = Kept(tmp_path / "data").tell(
        login(0, "old"), loan(1), login(2, "theirs", user_id="u9"), loan(3, "L9", user_id="u9")
    )
    kept.attribute(("acme-ng", "af-old", "Facebook Ads", "fb_1"))
    return prepared(kept)


def test_nothing_new_is_the_same_in_however_many_pieces_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparing, "EVENTS_A_PIECE", 2)
    assert_same(started(tmp_path).folder)


NEW = {
    "a loan": [loan(9, "L2")],
    "a late login on another phone": [login(0.5, "new", arrives=9)],
    "a new phone": [login(9, "new"), loan(10, "L2")],
    "a new user of a phone": [login(9, "old", user_id="u7"), loan(10, "L7", user_id="u7")],
    "another system of a known phone": [login(9, phone("old", os="ios"), arrives=9)],
    "a staff member": [event("applied", 9, application_id="A1", user_id="u9", test=True)],
    "a correction": [loan(9, "L1", revision=2, amount=7)],
    "a reversal": [event("loan_cancelled", 9, loan_id="L1")],
    "a loan without any login": [loan(9, "L8", user_id="nobody")],
    "a registration told late": [event("registered", -9, user_id="u9", arrives=9)],
}


@pytest.mark.parametrize("new", NEW)
def test_what_came_in_since_is_in_the_tables(tmp_path: Path, new: str) -> None:
    kept = started(tmp_path).tell(*NEW[new])

    assert_same(kept.folder)


def test_what_came_in_and_was_archived_since_is_in_the_tables(tmp_path: Path) -> None:
    kept = archived(started(tmp_path).tell(*chain.from_iterable(NEW.values())))

    assert_same(kept.folder, funnel, bindings, vintages, delay)


def test_what_mmps_tell_since_is_in_the_tables(tmp_path: Path) -> None:
    kept = started(tmp_path).attribute(("acme-ng", "af-theirs", "Google Ads", "g_1"))
    assert_same(kept.folder)

    assert_same(archived(kept).folder)


@pytest.mark.parametrize("seed", range(1))
def test_wherever_the_history_of_a_lender_is_cut_the_tables_are_the_same(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    events = list(told(world(users=25, days=30, seed=seed)))
    first, then = sorted(chance.sample(range(len(events) // 3, len(events)), 2))
    print("seed", seed, "cut at", first, then, "of", len(events))
    kept = prepared(Kept(tmp_path / "data", policy()).tell(*events[:first]))
    kept.tell(*events[first:then])
    archived(kept, us(0) + chance.choice((0, 400)) * DAY * 60_000_000).tell(*events[then:])

    assert_same(kept.folder, funnel, bindings, vintages)


def test_a_delivery_that_ended_since_or_was_tried_again_is_what_it_is_now(tmp_path: Path) -> None:
    """Some waited when it was prepared, some were dead and are replayed, some are planned later, or moved."""
    ends: list[Fate | None] = [None, Fate("dead", "http_400"), Fate("accepted", "confirmed", 5)]
    kept = Kept(tmp_path / "data")
    for n in range(9):
        kept.tell(login(n, f"p{n}", user_id=f"u{n}"), loan(n + 0.5, f"L{n}", user_id=f"u{n}"))
    kept.send(lambda name, planned, entry: ends[name // 64 % 3])
    prepared(kept).tell(loan(90, "L99", user_id="u3"), login(3.25, "late", user_id="u3", arrives=91))
    assert_same(kept.folder, delivery)

    kept.send(lambda name, planned, entry: ends[(name // 64 + 1) % 3])
    assert_same(kept.folder, delivery)
    assert_same(archived(kept).folder, delay)


def test_an_id_that_ties_two_phones_together_has_everything_made_anew(tmp_path: Path) -> None:
    kept = started(tmp_path)
    both = msgspec.structs.replace(phone("old"), gaid=phone("theirs").gaid)
    kept.tell(login(9, both))

    assert not uses(kept.folder)
    assert uses(prepared(kept).folder)
    assert_same(kept.folder)


def test_a_name_that_another_installation_has_already_has_everything_made_anew(tmp_path: Path) -> None:
    kept = started(tmp_path)
    name = phone("old").appsflyer_id
    kept.tell(login(9, Device(adjust_adid=name, gaid="g-else"), user_id="u5"))

    assert not uses(kept.folder)
    with load(kept.folder) as tables:
        assert tables.number("select count(*) from installation") == 3


def test_what_was_asked_of_an_earlier_moment_is_not_taken_from_what_is_prepared_now(tmp_path: Path) -> None:
    kept = started(tmp_path)
    with load(kept.folder, as_of=moment(2)) as tables:
        assert not tables.is_prepared
        assert tables.number("select count(*) from counted where type = 'disbursed'") == 1


def test_another_policy_has_everything_made_anew(tmp_path: Path) -> None:
    kept = started(tmp_path)
    kept.log.close()
    made = source()
    changed = Kept(
        kept.folder.path,
        msgspec.structs.replace(made, derive=msgspec.structs.replace(made.derive, default_dpd=31)),
    )

    assert not uses(changed.folder)
    assert uses(prepared(changed).folder)


def test_who_is_erased_is_in_nothing_that_was_prepared(tmp_path: Path) -> None:
    kept = started(tmp_path)
    assert erase(kept.folder, ArchiveSettings(), [("acme", "u9")]) > 0

    assert not prepared_beside(kept.folder.archive).exists()
    assert uses(prepared(kept).folder)
    with load(kept.folder) as tables:
        assert tables.rows("select distinct user_id from counted where user_id is not null") == [("u1",)]
    assert_same(kept.folder)


def test_days_that_are_kept_no_longer_are_in_nothing_that_was_prepared(tmp_path: Path) -> None:
    kept = started(tmp_path)
    brought_up(kept.folder, ArchiveSettings(keep_for=timedelta(days=30)), us(0) + 40 * DAY * 60_000_000)

    assert not uses(kept.folder)


@pytest.mark.parametrize("bytes_", [b"", b"no database", b"\0" * 5000])
def test_a_file_that_cannot_be_read_is_made_anew_and_harms_nobody(tmp_path: Path, bytes_: bytes) -> None:
    kept = started(tmp_path)
    prepared_beside(kept.folder.archive).write_bytes(bytes_)
    assert not uses(kept.folder)

    assert prepare(kept.folder, us(0), from_events=1)
    assert uses(kept.folder)


def test_a_kill_while_it_is_made_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = archived(started(tmp_path).tell(loan(9, "L2")))
    before = prepared_beside(kept.folder.archive).read_bytes()

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(preparing, "_put", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare(kept.folder, us(0), from_events=1, anew=True)
    monkeypatch.undo()

    assert prepared_beside(kept.folder.archive).read_bytes() == before
    assert_same(kept.folder)
    assert prepare(kept.folder, us(0), from_events=1, anew=True)
    assert_same(kept.folder)


def test_it_is_done_again_when_enough_is_new_and_it_has_rested(tmp_path: Path) -> None:
    kept = started(tmp_path)
    long_after = us(0) + DAY * 60_000_000

    assert not prepare(kept.folder, long_after, from_events=1), "nothing is new"
    archived(kept.tell(loan(9, "L2")))
    assert not prepare(kept.folder, us(0), from_events=1), "it was done just now"
    assert prepare(kept.folder, long_after, from_events=1)
    assert not prepare(kept.folder, long_after, from_events=100), "so few events need no preparing"


def test_without_room_for_it_reports_do_without_and_it_rests_before_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: Any) -> None:
        raise duckdb.OutOfMemoryException("no room")

    kept = archived(Kept(tmp_path / "data").tell(login(0, "old"), loan(1)))
    real, tried = preparing._make, list[int]()

    def counted(*given: Any) -> None:
        tried.append(1)
        real(*given)

    monkeypatch.setattr(preparing, "_make", no_room)
    monkeypatch.setattr(preparing, "REST", 1_000_000)
    assert not prepare(kept.folder, us(0), from_events=1)
    assert not uses(kept.folder)

    monkeypatch.setattr(preparing, "_make", counted)
    assert not prepare(kept.folder, us(0) + 1, from_events=1)
    assert not tried
    assert prepare(kept.folder, us(0) + 30 * DAY * 60_000_000, from_events=1)
    assert uses(kept.folder)
