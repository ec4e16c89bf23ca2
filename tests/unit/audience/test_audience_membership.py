"""What is confirmed becomes what is intended, whatever happens on the way."""

from pathlib import Path

import pytest
from tests.unit.audience.lists import Memory, built, membership

from lendsignal.audience.membership import Membership
from lendsignal.log import DataFolder
from lendsignal.model.audience import Action, Sync

ACTIONS: tuple[Action, ...] = ("add", "remove")


def synced(found: Membership, sync: Sync, platform: Memory, limit: int = 3) -> None:
    for opened in found.open(sync):
        platform.take(opened.action, opened.members)
        found.confirm(sync, opened.number)
    for action in ACTIONS:
        while (chunk := found.next(sync, action, limit)) is not None:
            platform.take(action, chunk.members)
            found.confirm(sync, chunk.number)


def has(platform: Memory) -> dict[int, float | None]:
    return {int(name.removeprefix("gaid-")): value for name, value in platform.members.items()}


def test_a_list_is_told_in_chunks_and_then_only_what_changes(tmp_path: Path) -> None:
    platform = Memory()
    built(DataFolder(tmp_path), {key: float(key) for key in range(1, 11)})
    found, sync = membership(tmp_path)
    synced(found, sync, platform)
    assert has(platform) == {key: float(key) for key in range(1, 11)}
    assert found.next(sync, "add", 100) is None

    # 2 and 3 leave, 11 joins, 5 is worth twice as much, and 6 hardly more than before.
    after = {1: 1.0, 4: 4.0, 5: 10.0, 6: 6.1, 7: 7.0, 8: 8.0, 9: 9.0, 10: 10.0, 11: 11.0}
    built(DataFolder(tmp_path), after)
    adds = found.next(sync, "add", 100)
    removes = found.next(sync, "remove", 100)
    assert adds is not None
    assert removes is not None

    assert [(one.key, one.value) for one in adds.members] == [(5, 10.0), (11, 11.0)]
    assert [(one.key, one.gaid) for one in removes.members] == [(2, "gaid-2"), (3, "gaid-3")]
    counts = found.counts(sync)
    assert (counts.intended, counts.confirmed, counts.adds, counts.removes) == (9, 10, 2, 2)
    found.confirm(sync, adds.number)
    found.confirm(sync, removes.number)
    counts = found.counts(sync)
    assert (counts.intended, counts.confirmed, counts.adds, counts.removes) == (9, 9, 0, 0)
    found.close()


def test_a_chunk_that_was_claimed_and_did_not_end_comes_again_with_the_same_members(tmp_path: Path) -> None:
    built(DataFolder(tmp_path), dict.fromkeys(range(1, 8), 1.0))
    found, sync = membership(tmp_path)
    first, second = found.next(sync, "add", 3), found.next(sync, "add", 3)
    assert first is not None
    assert second is not None
    found.pending(sync, second.number, "job-1")
    found.confirm(sync, second.number)
    found.close()

    again, sync = membership(tmp_path)
    (opened,) = again.open(sync)
    assert opened.number == first.number
    assert opened.members == first.members
    third = again.next(sync, "add", 3)
    assert third is not None
    assert [one.key for one in third.members] == [7]
    again.close()


def test_a_new_build_waits_for_what_is_open_and_then_knows_what_was_confirmed(tmp_path: Path) -> None:
    built(DataFolder(tmp_path), dict.fromkeys(range(1, 8), 1.0))
    found, sync = membership(tmp_path)
    first = found.next(sync, "add", 3)
    assert first is not None
    built(DataFolder(tmp_path), {2: 1.0, 9: 1.0})
    assert found.next(sync, "add", 3) is None, "a chunk of the build before is open"

    found.confirm(sync, first.number)
    removes, adds = found.next(sync, "remove", 10), found.next(sync, "add", 10)
    assert removes is not None
    assert adds is not None
    assert [one.key for one in removes.members] == [1, 3], "nobody else was ever there"
    assert [one.key for one in adds.members] == [9]
    found.close()


def test_a_refused_member_is_not_confirmed_and_not_asked_for_again(tmp_path: Path) -> None:
    platform = Memory()
    built(DataFolder(tmp_path), {1: 1.0, 2: 1.0, 3: 1.0})
    found, sync = membership(tmp_path)
    chunk = found.next(sync, "add", 10)
    assert chunk is not None
    found.confirm(sync, chunk.number, {2: "invalid_id"})
    assert found.next(sync, "add", 10) is None

    counts = found.counts(sync)
    assert (counts.confirmed, counts.adds, counts.refused) == (2, 0, 1)
    built(DataFolder(tmp_path), {1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0})
    synced(found, sync, platform)
    assert sorted(has(platform)) == [4]
    found.try_refused(sync)
    synced(found, sync, platform)
    assert sorted(has(platform)) == [2, 4]
    found.close()


def test_a_refused_removal_is_asked_for_again_with_the_next_build(tmp_path: Path) -> None:
    built(DataFolder(tmp_path), {1: 1.0, 2: 1.0})
    found, sync = membership(tmp_path)
    synced(found, sync, Memory())
    built(DataFolder(tmp_path), {1: 1.0})
    chunk = found.next(sync, "remove", 10)
    assert chunk is not None
    found.refuse(sync, chunk.number, "too_small")
    assert found.next(sync, "remove", 10) is None
    assert found.next(sync, "add", 10) is None
    assert found.counts(sync).confirmed == 2

    built(DataFolder(tmp_path), {1: 1.0, 3: 1.0})
    again = found.next(sync, "remove", 10)
    assert again is not None
    assert [one.key for one in again.members] == [2]
    found.close()


def test_a_replace_is_made_of_one_build_and_starts_again_after_a_crash(tmp_path: Path) -> None:
    built(DataFolder(tmp_path), dict.fromkeys(range(1, 8), 1.0))
    found, sync = membership(tmp_path)
    assert found.next(sync, "add", 3) is not None
    found.freeze(sync)
    assert [one.key for one in found.everyone(sync, None, 4)] == [1, 2, 3, 4]
    built(DataFolder(tmp_path), {1: 1.0})
    found.close()

    found, sync = membership(tmp_path)
    assert [one.key for one in found.everyone(sync, 4, 4)] == [5, 6, 7], "the build it was begun with"
    assert found.next(sync, "add", 3) is None
    found.replaced(sync, {7: "invalid_id"})
    removes = found.next(sync, "remove", 10)
    assert removes is not None
    assert [one.key for one in removes.members] == [2, 3, 4, 5, 6]
    found.close()


def test_an_end_told_twice_counts_once(tmp_path: Path) -> None:
    built(DataFolder(tmp_path), {1: 1.0, 2: 1.0})
    found, sync = membership(tmp_path)
    chunk = found.next(sync, "add", 10)
    assert chunk is not None
    found.confirm(sync, chunk.number)
    found.confirm(sync, chunk.number)
    found.refuse(sync, chunk.number, "late")

    assert found.counts(sync).confirmed == 2
    assert found.counts(sync).refused == 0
    found.close()


def test_what_the_platform_tells_stays(tmp_path: Path) -> None:
    built(DataFolder(tmp_path), {1: 1.0})
    found, sync = membership(tmp_path)
    found.set_remote(sync, "23847")
    found.note(sync, "session", b"9778993")
    found.pause(sync, "terms_not_accepted")
    found.close()

    found, sync = membership(tmp_path)
    assert (sync.remote, sync.state, sync.reason) == ("23847", "paused", "terms_not_accepted")
    assert found.noted(sync, "session") == b"9778993"
    found.resume(sync)
    assert found.syncs()[0].state == "ready"
    found.close()


@pytest.mark.parametrize("limit", [1, 1000])
def test_an_emptied_list_is_removed_whole(tmp_path: Path, limit: int) -> None:
    platform = Memory()
    built(DataFolder(tmp_path), dict.fromkeys(range(5), 1.0))
    found, sync = membership(tmp_path)
    synced(found, sync, platform, limit)
    assert len(has(platform)) == 5
    built(DataFolder(tmp_path), {})
    synced(found, sync, platform, limit)

    assert has(platform) == {}
    found.close()
