"""What a door of a cluster does with what MMPs tell while the store is away."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event as Signal

import pytest
from tests.running import until

from lendsignal.errors import LogError
from lendsignal.log.told_spool import Fact, ToldSpool, told_standing_of
from lendsignal.model.attribution import Ad, Attribution, AttributionKind, Recorded


class Store:
    """A store in memory that can be away, take what it is told without an answer, or freeze."""

    def __init__(self) -> None:
        self.told: list[Fact] = []
        self.is_away = False
        self.is_mute = False
        self.thaw = Signal()
        self.thaw.set()

    def take(self, facts: Iterable[Fact]) -> None:
        self.thaw.wait(60)
        if self.is_away:
            raise LogError("the store does not answer")
        self.told += facts
        if self.is_mute:
            raise LogError("the connection broke")

    def close(self) -> None:
        self.is_away = True


def came(id_: str) -> Attribution:
    return Attribution(
        feed="af",
        mmp="appsflyer",
        app="acme-ng",
        id=id_,
        kind=AttributionKind.INSTALL,
        at_us=1,
        told_us=2,
        ad=Ad(channel="meta", media_source="Facebook Ads", campaign="lagos"),
        user_id="u1",
    )


def recorded(id_: str) -> Recorded:
    return Recorded(feed="af", mmp="appsflyer", app="acme-ng", id=id_, name="ev_ln", at_us=3)


@contextmanager
def spool(
    store: Store, path: Path, *, limit: int = 1_000_000, starts: bool = True, patience: float = 60.0
) -> Iterator[ToldSpool]:
    one = ToldSpool(
        store,
        store,
        path / "told.sqlite",
        lambda: 5,
        limit=limit,
        patience_seconds=patience,
        away_seconds=0.01,
    )
    try:
        if starts:
            one.start()
        yield one
    finally:
        store.thaw.set()
        one.close()


def empty(one: ToldSpool) -> None:
    until(lambda: one.standing().rows == 0, "all of it is in the store")


def test_facts_go_straight_to_a_store_that_is_there(tmp_path: Path) -> None:
    store = Store()
    with spool(store, tmp_path, starts=False) as one:
        one.take([came("a"), recorded("b")])

        assert store.told == [came("a"), recorded("b")]
        assert one.standing().rows == 0


def test_facts_are_kept_while_the_store_is_away_and_told_in_order_when_it_is_back(tmp_path: Path) -> None:
    store = Store()
    with spool(store, tmp_path) as one:
        store.is_away = True
        one.take([came("a")])
        one.take([recorded("b"), came("c")])

        assert (store.told, one.standing().rows, one.standing().oldest_us) == ([], 3, 5)
        assert told_standing_of(tmp_path / "told.sqlite") == one.standing()
        store.is_away = False
        empty(one)
        one.take([came("d")])
        until(lambda: len(store.told) == 4, "the last one is there too")
        assert store.told == [came("a"), recorded("b"), came("c"), came("d")]


def test_who_tells_waits_no_longer_than_patience_lasts_for_a_store_that_froze(tmp_path: Path) -> None:
    store = Store()
    with spool(store, tmp_path, patience=0.2) as one:
        store.thaw.clear()
        one.take([came("a")])
        one.take([came("b")])
        assert one.standing().rows == 2

        store.thaw.set()
        empty(one)
        assert {fact.id for fact in store.told} == {"a", "b"}


def test_what_the_store_took_without_saying_so_is_told_again(tmp_path: Path) -> None:
    store = Store()
    with spool(store, tmp_path, starts=False) as one:
        store.is_mute = True
        one.take([came("a")])
        assert one.standing().rows == 1
        store.is_mute = False
    store.is_away = False
    with spool(store, tmp_path) as one:
        empty(one)

    assert store.told == [came("a"), came("a")]


def test_what_waits_is_drained_by_whoever_opens_the_file_next(tmp_path: Path) -> None:
    store = Store()
    store.is_away = True
    with spool(store, tmp_path) as one:
        one.take([came("a")])
    store.is_away = False
    with spool(store, tmp_path, starts=False) as one:
        one.take([came("b")])
        assert store.told == [], "it goes behind what waits"
        one.start()
        empty(one)

    assert store.told == [came("a"), came("b")]


def test_a_full_spool_refuses_what_does_not_fit(tmp_path: Path) -> None:
    store = Store()
    with spool(store, tmp_path, limit=400) as one:
        store.is_away = True
        one.take([recorded("a")])
        with pytest.raises(LogError, match="nothing more fits"):
            one.take([came(str(number)) for number in range(9)])

        assert one.standing().rows == 1


def test_where_there_is_no_file_nothing_waits(tmp_path: Path) -> None:
    assert told_standing_of(tmp_path / "told.sqlite").rows == 0
