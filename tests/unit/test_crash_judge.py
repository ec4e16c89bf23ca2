"""The judge of the crash suite finds each broken promise in a made-up history, and none in a kept one."""

import random
from collections.abc import Sequence

import pytest
from msgspec.structs import replace
from tests.crash.judge import History, Moment, Outlet, judged
from tests.crash.unsynced import HEAD, MAGIC, SECTOR, Kind, Note, notes_in, torn, unsynced

EVENTS = ["ann-0", "ann-1", "ann-2", "bob-0"]
PLANNED = {event: [f"c-{event}"] for event in EVENTS}
WHOLE = [f"c-{event}" for event in EVENTS]


def history(*outlets: Outlet, logged: Sequence[str] = EVENTS) -> History:
    """Four events of two users, all acknowledged."""
    return History(
        acknowledged=frozenset(EVENTS),
        logged=frozenset(logged),
        moments={event: Moment(event[:3], int(event[4:])) for event in EVENTS},
        outlets={f"outlet-{number}": outlet for number, outlet in enumerate(outlets)},
    )


HOLDS = Outlet(policy="hold", planned=PLANNED, received=WHOLE, in_flight=[2, 1])
RETRIES = Outlet(policy="retry", planned=PLANNED, received=WHOLE, in_flight=[2, 1])


def test_a_history_in_which_everything_arrived_once_breaks_nothing() -> None:
    found = judged(history(HOLDS, RETRIES))

    assert found.broken == []
    assert (found.lost, found.doubled, found.held) == (0, {"hold": 0, "retry": 0}, 0)
    assert found.in_flight == {"hold": 3, "retry": 3}
    assert found.in_flight_max == 2


def test_a_delivery_that_was_neither_received_nor_held_is_lost() -> None:
    found = judged(history(replace(HOLDS, received=WHOLE[1:])))

    assert found.lost == 1
    assert found.broken == ["1 outlet-0: neither received nor held: c-ann-0"]


def test_a_delivery_that_is_held_is_not_lost() -> None:
    found = judged(history(replace(HOLDS, received=WHOLE[1:], held=frozenset(WHOLE[:1]))))

    assert (found.lost, found.held) == (0, 1)
    assert found.broken == []


def test_an_acknowledged_event_that_is_not_in_the_log_is_lost() -> None:
    found = judged(history(HOLDS, logged=EVENTS[:3]))

    assert found.lost == 1
    assert "not in the log: bob-0" in found.broken[0]


def test_an_acknowledged_event_that_planned_nothing_is_lost() -> None:
    forgot = {event: ids for event, ids in PLANNED.items() if event != "bob-0"}
    found = judged(history(replace(HOLDS, planned=forgot, received=WHOLE[:3])))

    assert found.lost == 1
    assert found.broken == ["1 outlet-0: neither received nor held: bob-0"]


def test_under_hold_one_double_is_one_too_many() -> None:
    found = judged(history(replace(HOLDS, received=[*WHOLE, WHOLE[0]])))

    assert found.doubled == {"hold": 1, "retry": 0}
    assert found.broken == ["outlet-0: 1 doubled under hold, 3 were in flight"]


@pytest.mark.parametrize(("repeats", "is_kept"), [(3, True), (4, False)])
def test_under_retry_as_many_may_double_as_were_in_flight(repeats: int, is_kept: bool) -> None:
    found = judged(history(replace(RETRIES, received=[*WHOLE, *[WHOLE[0]] * repeats])))

    assert found.doubled["retry"] == repeats
    assert (found.broken == []) == is_kept


@pytest.mark.parametrize(("held", "is_kept"), [(3, True), (4, False)])
def test_under_hold_as_many_may_be_held_as_were_in_flight(held: int, is_kept: bool) -> None:
    found = judged(history(replace(HOLDS, held=frozenset(WHOLE[:held]))))

    assert (found.broken == []) == is_kept


def test_under_retry_nothing_is_held() -> None:
    assert judged(history(replace(RETRIES, held=frozenset(WHOLE[:1])))).broken


def test_what_was_never_planned_must_not_arrive() -> None:
    found = judged(history(replace(RETRIES, received=[*WHOLE, "c-stranger"])))

    assert found.broken == ["1 outlet-0: received and never planned: c-stranger"]


def test_one_behind_a_later_one_of_the_same_user_is_disordered() -> None:
    swapped = ["c-ann-0", "c-ann-2", "c-bob-0", "c-ann-1"]
    found = judged(history(replace(RETRIES, received=swapped, ordered=True)))

    assert found.disordered == 1
    assert found.broken == ["1 outlet-0: behind a later one of the same user: c-ann-1"]


def test_where_no_order_is_promised_none_is_asked_for() -> None:
    found = judged(history(replace(RETRIES, received=WHOLE[::-1])))

    assert found.disordered is None
    assert found.broken == []


def test_users_do_not_wait_for_each_other() -> None:
    mixed = ["c-bob-0", "c-ann-0", "c-ann-1", "c-ann-2"]

    assert judged(history(replace(RETRIES, received=mixed, ordered=True))).disordered == 0


def test_a_repeat_is_not_disordered_for_its_first_receipt_counts() -> None:
    repeated = [*WHOLE, "c-ann-0"]

    assert judged(history(replace(RETRIES, received=repeated, ordered=True))).disordered == 0


def test_one_that_is_held_is_set_aside_in_the_order() -> None:
    held = ["c-ann-0", "c-ann-2", "c-ann-1", "c-bob-0"]
    outlet = replace(HOLDS, received=held, held=frozenset(["c-ann-1"]), ordered=True)

    assert judged(history(outlet)).disordered == 0


# what a power cut takes


def wrote(number: int, inode: int = 1) -> Note:
    return Note(number=number, kind=Kind.WRITE, name=f"file-{inode}", inode=inode)


def test_a_sync_makes_safe_what_was_written_to_that_file_before_it() -> None:
    sync = Note(number=3, kind=Kind.SYNC, name="file-1", inode=1)

    assert unsynced([wrote(1), wrote(2, inode=2), sync, wrote(4)]) == [wrote(2, inode=2), wrote(4)]


def test_a_write_during_a_sync_is_not_made_safe_by_it() -> None:
    sync = Note(number=1, kind=Kind.SYNC, name="file-1", inode=1)

    assert unsynced([sync, wrote(2)]) == [wrote(2)]


def test_a_name_is_safe_once_the_folder_is_synced() -> None:
    made, sync = Note(number=1, kind=Kind.CREATE, name="a"), Note(number=2, kind=Kind.SYNC_FOLDER, name="")

    assert unsynced([made]) == [made]
    assert unsynced([made, sync]) == []


def test_a_note_that_was_cut_off_with_its_process_is_the_last() -> None:
    head = HEAD.pack(MAGIC, 7, Kind.WRITE, 9, 100, 4, 200, 4, b"log.sqlite", b"")
    whole = head + b"abcd"

    assert [note.before for note in notes_in(whole + head + b"ab")] == [b"abcd"]
    assert list(notes_in(whole[:-1])) == []


def test_a_torn_write_reaches_the_disk_in_whole_sectors_of_its_own_bytes() -> None:
    chance = random.Random(4)
    left = bytes(n % 251 for n in range(3 * SECTOR))

    for _ in range(200):
        for offset, part in torn(100, left, chance):
            assert left[offset - 100 :].startswith(part)
            assert offset == 100 or offset % SECTOR == 0
            assert offset + len(part) == 100 + len(left) or (offset + len(part)) % SECTOR == 0
