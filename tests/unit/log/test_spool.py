"""What a door of a cluster does while the store is away."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from random import Random
from threading import Event as Signal

import pytest
from tests.acme import again, loan, login
from tests.running import until

from lendsignal.errors import LogError
from lendsignal.log import Fact, Quarantined
from lendsignal.log.spool import Spool, standing_of
from lendsignal.model import Event
from lendsignal.plan import Verdict

REFUSED = Quarantined(received_us=7, source="backend", field="amount", rule="must be a number", body=b"{}")


class Store:
    """A store in memory that can be away, take what it is told without an answer, or freeze."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.refused: list[Quarantined] = []
        self.is_away = False
        self.is_mute = False
        self.takes_no_refusals = False
        self.thaw = Signal()
        self.thaw.set()

    def append(self, events: Sequence[Event], *, imported: tuple[str, str, int, bool] | None = None) -> int:
        self.thaw.wait(60)
        if self.is_away:
            raise LogError("the store does not answer")
        self.events += events
        if self.is_mute and events:
            raise LogError("the connection broke")
        return 0

    def imported(self, file: str) -> tuple[int, bool]:
        return (3, False)

    def refuse(self, refused: Sequence[Quarantined]) -> None:
        if self.is_away or self.takes_no_refusals:
            raise LogError("the store does not answer")
        self.refused += refused

    def find(self, event_id: str) -> list[tuple[Fact, Verdict | None]]:
        if self.is_away:
            raise LogError("the store does not answer")
        return [(Fact(9, one), Verdict.TAKEN) for one in self.events if one.event_id == event_id]

    def quarantined(self, limit: int = 100) -> list[Quarantined]:
        return self.refused

    def refusals(self) -> dict[tuple[str, str], int]:
        return {}


@contextmanager
def spool(store: Store, path: Path, *, limit: int = 1_000_000, starts: bool = True) -> Iterator[Spool]:
    with closing(
        Spool(
            store,
            store,
            store,
            path / "spool.sqlite",
            lambda: 5,
            limit=limit,
            patience_seconds=0.2,
            away_seconds=0.01,
        )
    ) as one:
        if starts:
            one.start()
        yield one


def of(user: str, *names: str) -> list[Event]:
    return [again(loan(1, name), user_id=user, event_id=f"{user}-{name}") for name in names]


def names(events: Sequence[Event], user: str) -> list[str]:
    return [one.event_id for one in events if one.user_id == user]


def empty(one: Spool) -> None:
    until(lambda: one.standing().rows == 0, "all of it is in the store")


def test_events_go_straight_to_a_store_that_is_there(tmp_path: Path) -> None:
    store = Store()
    with spool(store, tmp_path) as one:
        one.append(of("u1", "a", "b"))
        one.refuse([REFUSED])

        assert names(store.events, "u1") == ["u1-a", "u1-b"]
        assert store.refused == [REFUSED]
        assert one.standing().rows == 0


def test_events_are_kept_while_the_store_is_away_and_told_in_order_when_it_is_back(tmp_path: Path) -> None:
    store = Store()
    with spool(store, tmp_path) as one:
        store.is_away = True
        one.append([*of("u1", "a"), *of("u2", "x")])
        one.refuse([REFUSED])
        one.append(of("u1", "b", "c"))

        assert store.events == []
        assert one.standing().rows == 5
        store.is_away = False
        empty(one)
        assert names(store.events, "u1") == ["u1-a", "u1-b", "u1-c"]
        assert names(store.events, "u2") == ["u2-x"]
        assert store.refused == [REFUSED]


def test_who_has_nothing_waiting_need_not_wait_behind_the_others(tmp_path: Path) -> None:
    store = Store()
    with spool(store, tmp_path, starts=False) as one:
        store.is_away = True
        one.append(of("u1", "a"))
        store.is_away = False
        one._is_away = False  # as the drain would find it

        one.append([*of("u1", "b"), *of("u2", "x")])

        assert [event.event_id for event in store.events] == ["u2-x"]
        one.start()
        empty(one)
        assert names(store.events, "u1") == ["u1-a", "u1-b"]


def test_where_events_go_elsewhere_than_refusals_they_do_not_wait_for_those(tmp_path: Path) -> None:
    """So it is over a topic while PostgreSQL is away: each event is told once, however long that lasts."""
    store = Store()
    with spool(store, tmp_path) as one:
        store.takes_no_refusals = True
        one.refuse([REFUSED])
        one.append(of("u1", "a", "b"))
        until(lambda: names(store.events, "u1") == ["u1-a", "u1-b"], "the events are in the store")
        until(lambda: not one._is_away, "it takes events")
        one.append(of("u1", "c"))
        one.refuse([REFUSED])

        assert one.standing().rows == 2
        store.takes_no_refusals = False
        empty(one)
        assert names(store.events, "u1") == ["u1-a", "u1-b", "u1-c"]
        assert store.refused == [REFUSED, REFUSED]


def test_what_was_kept_is_still_there_for_who_opens_the_file_next(tmp_path: Path) -> None:
    store = Store()
    store.is_away = True
    with spool(store, tmp_path, starts=False) as one:
        one.append(of("u1", "a"))

    store.is_away = False
    with spool(store, tmp_path, starts=False) as one:
        one.append(of("u1", "b"))
        assert store.events == [], "it goes behind what was kept"
        one.start()
        empty(one)

    assert names(store.events, "u1") == ["u1-a", "u1-b"]


def test_what_the_store_took_without_saying_so_is_told_again_under_the_same_id(tmp_path: Path) -> None:
    store = Store()
    with spool(store, tmp_path, starts=False) as one:
        store.is_mute = True
        one.append(of("u1", "a"))
        store.is_mute = False
        one.append(of("u1", "b"))
        one.start()
        empty(one)

    assert names(store.events, "u1") == ["u1-a", "u1-a", "u1-b"]


def test_a_store_that_freezes_keeps_nobody_waiting_for_long(tmp_path: Path) -> None:
    store = Store()
    with spool(store, tmp_path) as one:
        store.thaw.clear()
        one.append(of("u1", "a"))
        one.append(of("u1", "b"))

        assert one.standing().rows == 2
        store.thaw.set()
        empty(one)
        found = names(store.events, "u1")
        assert sorted(found) in (["u1-a", "u1-a", "u1-b"], ["u1-a", "u1-b"])
        assert list(dict.fromkeys(found)) == ["u1-a", "u1-b"]


def test_beyond_its_limit_nothing_more_is_taken_and_what_is_there_stays(tmp_path: Path) -> None:
    store = Store()
    with spool(store, tmp_path, limit=600) as one:
        store.is_away = True
        one.append(of("u1", "a"))
        with pytest.raises(LogError, match="nothing more fits"):
            one.append(of("u1", *(f"b{number}" for number in range(20))))
        with suppress(LogError):
            for number in range(20):
                one.append(of("u1", f"c{number}"))

        assert one.standing() == standing_of(tmp_path / "spool.sqlite")
        assert one.standing().bytes <= 600
        assert one.standing().oldest_us == 5
        store.is_away = False
        empty(one)
        one.append(of("u1", "z"))
        until(lambda: names(store.events, "u1")[-1] == "u1-z")


def test_an_event_that_waits_is_found_and_not_decided(tmp_path: Path) -> None:
    store = Store()
    with spool(store, tmp_path) as one:
        (told,) = of("u1", "a")
        one.append([told])
        store.is_away = True
        one.append([login(2, "p", user_id="u2", event_id="waits")])

        assert [(fact.seq, verdict) for fact, verdict in one.find("waits")] == [(0, None)]
        with pytest.raises(LogError):
            one.find("u1-a")
        store.is_away = False
        empty(one)
        assert one.find("u1-a") == [(Fact(9, told), Verdict.TAKEN)]


def test_an_import_waits_until_the_spool_is_drained(tmp_path: Path) -> None:
    store = Store()
    with spool(store, tmp_path) as one:
        store.is_away = True
        one.append(of("u1", "a"))

        with pytest.raises(LogError, match="the import goes on"):
            one.append(of("u1", "b"), imported=("f", "f.csv", 1, False))


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_happens_everybodys_events_reach_the_store_in_the_order_of_their_answers(
    tmp_path: Path, seed: int
) -> None:
    print("seed", seed)
    chance, store = Random(seed), Store()
    answered: dict[str, list[str]] = {}
    for _ in range(3):
        with spool(store, tmp_path) as one:
            for _ in range(60):
                match chance.randrange(6):
                    case 0:
                        store.is_away = not store.is_away
                    case 1:
                        store.is_mute = not store.is_mute
                    case _:
                        told = [
                            event
                            for user in chance.sample(["u1", "u2", "u3"], chance.randrange(1, 4))
                            for event in of(user, f"{len(answered.get(user, []))}")
                        ]
                        one.append(told)
                        for event in told:
                            answered.setdefault(event.user_id, []).append(event.event_id)
            store.is_mute = False
    store.is_away = False
    with spool(store, tmp_path) as one:
        empty(one)

    for user, expected in answered.items():
        assert list(dict.fromkeys(names(store.events, user))) == expected
