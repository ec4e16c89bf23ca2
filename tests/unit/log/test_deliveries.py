"""The sender's file: what a commit keeps, how it is found again, and what a rename moves."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lendsignal.errors import LogError
from lendsignal.log import Changes, Dead, Deliveries, Open, Pause, Receipt, Stage, Stop, open_deliveries

HOUR = 492_537
"""An hour since 1970."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Deliveries]:
    with closing(open_deliveries(tmp_path / "deliveries.sqlite")) as found:
        yield found


def waiting(number: int, due_us: int = 5, **fields: object) -> Open:
    return Open("acme-ng", number, Stage.WAITING, due_us, **fields)  # type: ignore[arg-type]


def commit(store: Deliveries, *deliveries: Open) -> None:
    changes = Changes()
    for one in deliveries:
        changes.keep(one)
    store.commit(changes)


def test_an_open_delivery_is_read_as_it_was_kept(store: Deliveries) -> None:
    one = Open(
        destination="acme-ng",
        id=64,
        stage=Stage.PARKED,
        due_us=11,
        attempts=2,
        unknown=3,
        bound=4,
        batch=5,
        first_us=6,
        lane=7,
        stamp_us=8,
        again=True,
        strikes=9,
        reason="http_503",
    )
    commit(store, one)

    assert store.one("acme-ng", 64) == one
    assert store.open("acme-ng", 0, 10, Stage.PARKED) == [one]


def test_what_was_never_planned_is_not_there_and_asking_leaves_no_trace(store: Deliveries) -> None:
    assert store.one("nobody-ng", 64) is None
    assert store.open("nobody-ng", 0, 10) == []
    assert store.first_due("nobody-ng", Stage.PARKED) is None
    assert store.last_of("nobody-ng", 7) is None
    assert store.volume("nobody-ng", 0) == {}
    assert store.agreed("nobody-ng") == (False, 0)
    assert store.pending("nobody-ng", 99) == []
    assert store.destinations() == []


def test_a_finished_delivery_is_open_no_more_and_one_that_is_reopened_is(store: Deliveries) -> None:
    one = waiting(64)
    commit(store, one)
    changes = Changes()
    changes.finish(one)
    store.commit(changes)
    assert store.one("acme-ng", 64) is None
    changes = Changes()
    changes.finish(one)
    changes.reopen(one)
    store.commit(changes)

    assert store.one("acme-ng", 64) == one


def test_stages_are_read_in_the_order_they_are_due_page_by_page(store: Deliveries) -> None:
    parked = [
        Open("acme-ng", number, Stage.PARKED, due) for number, due in ((1, 30), (2, 10), (3, 20), (4, 10))
    ]
    commit(store, *parked, waiting(9, 1), Open("acme-ke", 5, Stage.PARKED, 1))

    first = store.due_of("acme-ng", Stage.PARKED, (0, 0), 25, 2)
    assert [(one.due_us, one.id) for one in first] == [(10, 2), (10, 4)]
    assert [one.id for one in store.due_of("acme-ng", Stage.PARKED, (10, 4), 25, 2)] == [3]
    assert (store.first_due("acme-ng", Stage.PARKED), store.first_due("acme-ng", Stage.HELD)) == (10, None)


@pytest.mark.parametrize("stage", [Stage.HELD, Stage.PARKED, Stage.PENDING])
def test_a_stage_is_found_without_looking_through_what_waits(store: Deliveries, stage: Stage) -> None:
    commit(store, waiting(64))
    plans = [
        store._db.execute(f"explain query plan {query}").fetchall()
        for query in (
            f"select min(due_us) from open where destination = 1 and stage = {int(stage)} and stage > 0",
            f"select id from open where destination = 1 and stage = {int(stage)} and stage > 0"
            " and due_us <= 9 and (due_us, id) > (1, 1) order by due_us, id limit 3",
        )
    ]

    assert all("unsettled" in str(plan) for plan in plans)


def test_a_verdict_is_asked_for_all_rows_of_a_request_and_for_no_others(store: Deliveries) -> None:
    rows = [(3, 20, "job-1"), (1, 20, "job-1"), (2, 10, "job-2"), (4, 99, "job-3")]
    pending = [
        Open("acme-ng", number, Stage.PENDING, due, reason=f"pending {job}") for number, due, job in rows
    ]
    commit(store, *pending)

    assert store.pending("acme-ng", 9) == []
    assert [one.id for one in store.pending("acme-ng", 25)] == [2]
    commit(store, Open("acme-ng", 2, Stage.PENDING, 50, reason="pending job-2"))
    assert [one.id for one in store.pending("acme-ng", 25)] == [1, 3]


def test_a_lane_remembers_the_last_that_was_sent(store: Deliveries) -> None:
    for last in ((60, 64), (90, 65)):
        changes = Changes()
        changes.lanes["acme-ng", 7] = last
        store.commit(changes)

    assert (store.last_of("acme-ng", 7), store.last_of("acme-ng", 8)) == ((90, 65), None)


def test_volume_is_added_up_by_the_hour(store: Deliveries) -> None:
    for n in (4, 5):
        changes = Changes()
        changes.volume = {("acme-ng", HOUR): n, ("acme-ng", HOUR - 9): 1, ("acme-ke", HOUR): 7}
        changes.add("acme-ng", "disbursement", "planned")
        store.commit(changes)

    assert store.volume("acme-ng", HOUR - 8) == {HOUR: 9}
    assert store.volume("acme-ng", HOUR - 9) == {HOUR: 9, HOUR - 9: 2}


def test_what_a_person_agreed_to_is_kept(store: Deliveries) -> None:
    changes = Changes()
    changes.agreed["acme-ng"] = (True, 77)
    store.commit(changes)

    assert (store.agreed("acme-ng"), store.agreed("acme-ke")) == ((True, 77), (False, 0))


def test_an_order_and_what_came_of_it_are_one_commit(store: Deliveries) -> None:
    changes = Changes()
    changes.order, changes.obeyed = 3, (3, 10, 2)
    store.commit(changes)

    assert (store.order(), store.obeyed(3), store.obeyed(4)) == (3, (10, 2), None)


def test_pauses_say_who_and_why_and_end(store: Deliveries) -> None:
    changes = Changes()
    changes.paused = {"acme-ng": Pause(5, Stop.BRAKE, "first_run"), "*": Pause(6, Stop.PERSON, "by_hand")}
    store.commit(changes)
    changes = Changes()
    changes.paused = {"*": None}
    store.commit(changes)

    assert store.paused() == {"acme-ng": Pause(5, Stop.BRAKE, "first_run")}


def test_a_dead_delivery_that_is_sent_again_is_dead_no_more(store: Deliveries) -> None:
    dead = Dead(64, "acme-ng", "disbursement", 9, "invalid_field", b"request", b"answer")
    changes = Changes()
    changes.dead.append(dead)
    changes.add("acme-ng", "disbursement", "dead", "invalid_field")
    store.commit(changes)
    assert (store.dead(64), store.all_dead()) == (dead, [dead])
    changes = Changes()
    changes.revived.append(64)
    changes.add("acme-ng", "disbursement", "dead", "invalid_field", -1)
    store.commit(changes)

    assert (store.dead(64), store.all_dead(), dict(store.tally())) == (None, [], {})


def test_what_is_open_follows_from_the_counts_and_is_told_by_stage(store: Deliveries) -> None:
    changes = Changes()
    stages = [Stage.WAITING, Stage.PARKED, Stage.CLAIMED, Stage.HELD, Stage.PENDING, Stage.PENDING]
    for number, stage in enumerate(stages, 64):
        changes.keep(Open("acme-ng", number, stage, 5))
    changes.add("acme-ng", "disbursement", "planned", n=10)
    for what in ("accepted", "dead", "skipped", "cancelled"):
        changes.add("acme-ng", "disbursement", what)
    changes.add("acme-ng", "disbursement", "late_touch")
    store.commit(changes)

    assert store.waiting() == {"acme-ng": {"waiting": 2, "claimed": 1, "held": 1, "pending": 2}}


def test_a_destination_has_something_due_whether_it_is_parked_or_not(store: Deliveries) -> None:
    commit(store, waiting(64, 5), Open("acme-ke", 65, Stage.PARKED, 7), Open("acme-gh", 66, Stage.HELD, 1))

    assert [store.due(moment) for moment in (4, 5, 7)] == [set(), {"acme-ng"}, {"acme-ng", "acme-ke"}]


def test_every_wait_moves_when_the_clock_is_set(store: Deliveries) -> None:
    commit(store, *(Open("acme-ng", number, stage, 100 + number) for number, stage in enumerate(Stage, 1)))
    store.shift(-50)

    found = [one.due_us for stage in Stage for one in store.open("acme-ng", 0, 9, stage)]
    assert sorted(found) == [51, 52, 53, 54, 55]


def test_tried_ones_are_counted(store: Deliveries) -> None:
    commit(store, waiting(64), waiting(65, first_us=7), Open("acme-ng", 66, Stage.HELD, 1, first_us=8))

    assert (store.tried("acme-ng"), store.tried("acme-ke")) == (2, 0)


def test_a_commit_that_the_disk_does_not_take_changes_nothing(store: Deliveries) -> None:
    commit(store, waiting(64))
    changes = Changes()
    changes.position = 9
    for number in range(65, 3_000):
        changes.keep(Open("new-ng", number, Stage.WAITING, 5, reason="x" * 100))
    pages = store._db.pragma("page_count")
    store._db.execute(f"pragma max_page_count = {pages}")
    with pytest.raises(LogError, match="the deliveries cannot be written"):
        store.commit(changes)
    assert (store.position(), store.destinations(), store.open("new-ng", 0, 9)) == (0, ["acme-ng"], [])
    store._db.execute("pragma max_page_count = 1000000")
    store.commit(changes)

    assert (store.position(), len(store.open("new-ng", 0, 9_999))) == (9, 2_935)


def kept_for(name: str, delivery: int, hour_n: int) -> Changes:
    """A little of everything that is kept for a destination."""
    changes = Changes()
    changes.keep(Open(name, delivery, Stage.WAITING, 5))
    changes.dead.append(Dead(delivery + 1, name, "disbursement", 9, "invalid_field", b"", b""))
    changes.receipts.append(Receipt(delivery + 1, name, "dead", "invalid_field"))
    changes.add(name, "disbursement", "planned", n=2)
    changes.add(name, "disbursement", "dead", "invalid_field")
    changes.lanes[name, 7] = (60, delivery)
    changes.volume[name, HOUR] = hour_n
    changes.agreed[name] = (True, 77)
    changes.paused[name] = Pause(5, Stop.PERSON, "by_hand")
    return changes


def test_a_rename_moves_everything_that_is_kept(store: Deliveries) -> None:
    store.commit(kept_for("old-ng", 64, 4))
    store.rename("old-ng", "new-ng")

    assert store.destinations() == ["new-ng"]
    assert [one.id for one in store.open("new-ng", 0, 9)] == [64]
    assert [one.destination for one in store.all_dead()] == ["new-ng"]
    assert store.last_of("new-ng", 7) == (60, 64)
    assert store.volume("new-ng", 0) == {HOUR: 4}
    assert store.agreed("new-ng") == (True, 77)
    assert store.paused() == {"new-ng": Pause(5, Stop.PERSON, "by_hand")}
    assert store.waiting() == {"new-ng": {"waiting": 1}}
    assert store.renamed() == {"old-ng": "new-ng"}


def test_a_rename_adds_to_what_the_new_name_has_already(store: Deliveries) -> None:
    store.commit(kept_for("new-ng", 128, 3))
    store.commit(kept_for("old-ng", 64, 4))
    store.rename("old-ng", "new-ng")

    assert store.volume("new-ng", 0) == {HOUR: 7}
    assert [one.id for one in store.open("new-ng", 0, 9)] == [64, 128]
    assert store.tally()["new-ng", "disbursement", "planned", ""] == 4
    assert store.tally()["new-ng", "disbursement", "dead", "invalid_field"] == 2


def test_who_is_renamed_twice_is_known_by_the_last_name_and_may_go_back(
    store: Deliveries,
) -> None:
    store.commit(kept_for("one-ng", 64, 4))
    store.rename("one-ng", "two-ng")
    store.rename("two-ng", "three-ng")
    assert store.renamed() == {"one-ng": "three-ng", "two-ng": "three-ng"}
    store.rename("three-ng", "one-ng")

    assert store.renamed() == {"two-ng": "one-ng", "three-ng": "one-ng"}
    assert store.destinations() == ["one-ng"]


def test_receipts_of_one_delivery_and_of_all_are_read_in_order(store: Deliveries) -> None:
    for number, what in ((64, "retry"), (65, "held"), (64, "accepted")):
        changes = Changes()
        changes.receipts.append(Receipt(number, "acme-ng", what, "why", bound=3))
        store.commit(changes)

    assert [one.what for one in store.receipts(64)] == ["retry", "accepted"]
    assert [one.what for _, pack in store.all_receipts(1) for one in pack] == ["held", "accepted"]
    assert store.last_pack() == 3


def tried(store: Deliveries, *numbers: int, dead: int | None = None) -> None:
    """A pack of receipts of these deliveries, one of them dead."""
    changes = Changes()
    changes.receipts += [Receipt(number, "acme-ng", "retry", "http_503") for number in numbers]
    if dead is not None:
        changes.dead.append(Dead(dead, "acme-ng", "disbursement", 9, "invalid_field", b"", b""))
    store.commit(changes)


def packs(store: Deliveries) -> list[int]:
    return [pack for pack, _ in store.all_receipts()]


def test_packs_go_that_tell_of_old_deliveries_alone_and_the_last_stays(store: Deliveries) -> None:
    for numbers in ((64, 70), (65, 300), (66,), (67,)):
        tried(store, *numbers)

    assert store.forget(0, upto=99, before=256, limit=10) == (3, 2, False)
    # The second tells of a young delivery too, and the next pack is numbered by the fourth.
    assert packs(store) == [2, 4]
    tried(store, 400)
    assert store.last_pack() == 5


def test_no_pack_goes_beyond_what_was_asked_for_and_a_piece_says_where_it_ended(store: Deliveries) -> None:
    for number in range(64, 70):
        tried(store, number)

    assert store.forget(0, upto=3, before=256, limit=2) == (2, 2, False)
    assert store.forget(2, upto=3, before=256, limit=2) == (3, 1, False)
    assert store.forget(3, upto=3, before=256, limit=2) == (3, 0, True)
    assert store.forget(3, upto=99, before=68, limit=2) == (5, 1, False)
    assert packs(store) == [5, 6]


def test_receipts_of_a_dead_delivery_stay_as_long_as_that_does(store: Deliveries) -> None:
    tried(store, 64, 66, dead=66)
    tried(store, 65, 67)
    tried(store, 68)
    assert store.forget(0, upto=99, before=256, limit=10) == (2, 2, False)

    assert [[one.id for one in pack] for _, pack in store.all_receipts()] == [[66], [68]]
    assert [one.reason for one in store.receipts(66)] == ["http_503"]
    assert store.forget(0, upto=99, before=256, limit=10) == (1, 0, False)
    changes = Changes()
    changes.bury_us = 10
    store.commit(changes)
    store.forget(0, upto=99, before=256, limit=10)
    assert packs(store) == [3]
