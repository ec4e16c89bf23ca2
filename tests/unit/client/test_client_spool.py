"""The spool of the Python client: what is kept, by whom, and how much."""

import stat
from pathlib import Path
from threading import Barrier, Thread

import pytest

from lendsignal.client.events import Made
from lendsignal.client.spool import NotKept, Spool, SpoolFull


def one(name: str, *, durable: bool = True) -> Made:
    return Made(name, b'{"event_id":"%s"}' % name.encode(), durable)


def ids(spool: Spool) -> list[str]:
    return [kept.event_id for kept in spool.batch(1_000, 1_000_000)]


def test_what_was_put_is_there_in_order_for_whoever_opens_the_file_next(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.sqlite", 100)
    for name in "abc":
        spool.put(one(name))

    # Not closed: as a process leaves it that is killed.
    assert ids(Spool(tmp_path / "spool.sqlite", 100)) == ["a", "b", "c"]
    spool.close()


def test_only_the_owner_may_read_the_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "deep" / "spool.sqlite", 100)
    spool.put(one("a"))

    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "deep").iterdir()} == {0o600}
    spool.close()


def test_what_was_sent_does_not_stay_in_the_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.sqlite", 100)
    spool.put(Made("a", b'{"phone":"a-made-up-number"}', True))
    spool.settle(spool.batch(10, 1_000), {})
    spool.close()

    assert b"a-made-up-number" not in (tmp_path / "spool.sqlite").read_bytes()


def test_an_event_that_is_not_durable_waits_in_memory_until_it_is_written(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.sqlite", 100)
    spool.put(one("a", durable=False))

    assert (ids(spool), spool.count()) == ([], 1)
    spool.write()
    assert (ids(spool), spool.count()) == (["a"], 1)
    spool.close()


def test_callers_at_the_same_time_all_find_their_event_kept(tmp_path: Path) -> None:
    spool, start = Spool(tmp_path / "spool.sqlite", 10_000), Barrier(8)

    def caller(number: int) -> None:
        start.wait()
        for n in range(20):
            spool.put(one(f"{number}-{n}"))

    threads = [Thread(target=caller, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    kept = ids(spool)
    assert len(kept) == len(set(kept)) == 160
    for number in range(8):
        own = [name for name in kept if name.startswith(f"{number}-")]
        assert own == [f"{number}-{n}" for n in range(20)]
    spool.close()


def test_a_full_spool_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.sqlite", 2)
    spool.put(one("a"))
    spool.put(one("b"))

    with pytest.raises(SpoolFull):
        spool.put(one("c"))

    assert ids(spool) == ["a", "b"]
    spool.settle(spool.batch(1, 1_000), {})
    spool.put(one("d"))
    assert ids(spool) == ["b", "d"]
    spool.close()


def test_what_the_disk_does_not_take_is_told_to_the_caller(tmp_path: Path) -> None:
    (tmp_path / "spool.sqlite").mkdir()
    spool = Spool(tmp_path / "spool.sqlite", 10)

    with pytest.raises(NotKept):
        spool.put(one("a"))
    with pytest.raises(NotKept):
        spool.put(one("b"))
    assert not spool._waiting


def test_a_batch_has_so_many_bytes_but_always_one_event(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.sqlite", 100)
    for name in ("aaaa", "bbbb", "cccc"):  # 19 bytes each, and a comma
        spool.put(one(name))

    assert [len(spool.batch(10, size)) for size in (1, 20, 39, 40, 60)] == [1, 1, 1, 2, 3]
    assert len(spool.batch(2, 1_000)) == 2
    spool.close()


def test_a_refused_event_is_kept_apart_until_it_is_sent_again_or_dropped(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.sqlite", 100)
    for name in "abc":
        spool.put(one(name))

    found = spool.settle(spool.batch(10, 1_000), {1: ("dpd", "must be less")})

    assert [(kept.event_id, kept.field, kept.rule) for kept in found] == [("b", "dpd", "must be less")]
    assert ids(spool) == []
    assert spool.refused() == found
    assert spool.release(found[0].id, b'{"event_id":"b","dpd":1}')
    assert not spool.release(found[0].id, None)
    assert (ids(spool), spool.refused()) == (["b"], [])
    spool.close()


def test_a_refused_event_does_not_print_what_it_holds(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.sqlite", 100)
    spool.put(Made("a", b'{"phone":"a-made-up-number"}', True))
    found = spool.settle(spool.batch(10, 1_000), {0: ("loan_id", "is needed for disbursed")})

    assert "made-up" not in repr(found)
    assert found[0].event == {"phone": "a-made-up-number"}
    spool.close()
