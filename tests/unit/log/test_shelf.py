"""The shelf on disk: who is offered what, and what is left after each step."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lendsignal.log import Acknowledged, Offer, Shelf, open_shelf

HOUR = 3_600_000_000


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    one = open_shelf(tmp_path / "relay.sqlite")
    yield one
    one.close()


def offer(delivery: int, address: str = "ada", **changes: object) -> Offer:
    return Offer(
        **{  # type: ignore[arg-type]
            "destination": "app-ng",
            "delivery": delivery,
            "address": address,
            "conversion": f"c{delivery}",
            "item": f'{{"id":"c{delivery}"}}'.encode(),
            "expires_us": 24 * HOUR,
            **changes,
        }
    )


def fetched(shelf: Shelf, address: str = "ada", now_us: int = HOUR, limit: int = 100) -> list[str]:
    return [item.decode() for item in shelf.fetch("app-ng", address, now_us, limit)]


def test_only_the_address_it_waits_at_is_given_an_offer(shelf: Shelf) -> None:
    shelf.place([offer(1), offer(2, "bola")], 10)

    assert fetched(shelf) == ['{"id":"c1"}']
    assert fetched(shelf, "bola") == ['{"id":"c2"}']
    assert shelf.fetch("app-mx", "ada", HOUR, 100) == []


def test_what_is_fetched_and_not_acknowledged_is_given_again(shelf: Shelf) -> None:
    shelf.place([offer(1)], 10)

    assert fetched(shelf, now_us=20) == fetched(shelf, now_us=30) == ['{"id":"c1"}']
    assert shelf.fetched_us("app-ng", 1) == 20


def test_what_is_acknowledged_is_not_given_again(shelf: Shelf) -> None:
    shelf.place([offer(1), offer(2)], 10)
    fetched(shelf, now_us=20)

    assert shelf.acknowledge("app-ng", "ada", ["c1"], 30) == 1
    assert shelf.acknowledge("app-ng", "ada", ["c1"], 40) == 0
    assert fetched(shelf) == ['{"id":"c2"}']
    assert shelf.acknowledged(10) == [Acknowledged("app-ng", 1, 20, 30)]


def test_nobody_acknowledges_what_was_not_given_to_him(shelf: Shelf) -> None:
    shelf.place([offer(1), offer(2, "bola")], 10)
    fetched(shelf, "bola")

    assert shelf.acknowledge("app-ng", "ada", ["c1", "c2"], 30) == 0
    assert shelf.acknowledged(10) == []


def test_placing_again_changes_nothing(shelf: Shelf) -> None:
    shelf.place([offer(1)], 10)
    fetched(shelf, now_us=20)
    shelf.acknowledge("app-ng", "ada", ["c1"], 30)
    shelf.place([offer(1, "bola")], 40)

    assert shelf.acknowledged(10) == [Acknowledged("app-ng", 1, 20, 30)]
    assert fetched(shelf, "bola") == []


def test_an_offer_can_be_taken_back_until_it_is_fetched(shelf: Shelf) -> None:
    shelf.place([offer(1), offer(2, "bola")], 10)
    fetched(shelf, "bola")

    assert shelf.recall("app-ng", 1)
    assert not shelf.recall("app-ng", 2)
    assert fetched(shelf) == []
    assert fetched(shelf, "bola") == ['{"id":"c2"}']


def test_what_is_withheld_is_not_given_again_and_may_still_be_acknowledged(shelf: Shelf) -> None:
    shelf.place([offer(1)], 10)
    fetched(shelf)
    shelf.withhold("app-ng", 1)

    assert fetched(shelf) == []
    assert shelf.acknowledge("app-ng", "ada", ["c1"], 30) == 1


def test_nothing_is_given_out_from_the_moment_it_expires(shelf: Shelf) -> None:
    shelf.place([offer(1)], 10)

    assert fetched(shelf, now_us=24 * HOUR) == []
    assert fetched(shelf, now_us=24 * HOUR - 1) == ['{"id":"c1"}']


def test_a_shut_destination_gives_nothing_out_until_it_is_open_again(shelf: Shelf) -> None:
    shelf.place([offer(1)], 10)
    shelf.shut({"app-ng"})

    assert fetched(shelf) == []
    shelf.shut(set())
    assert fetched(shelf) == ['{"id":"c1"}']


def test_the_oldest_come_first_and_no_more_than_asked_for(shelf: Shelf) -> None:
    shelf.place([offer(3)], 10)
    shelf.place([offer(1), offer(2)], 20)

    assert fetched(shelf, limit=2) == ['{"id":"c3"}', '{"id":"c1"}']
    assert shelf.fetched_us("app-ng", 2) == 0


def test_what_was_cleared_away_is_gone(shelf: Shelf) -> None:
    shelf.place([offer(1), offer(2)], 10)
    shelf.clear([("app-ng", 1)])

    assert shelf.among("app-ng", [1, 2, 3]) == {2}


def test_what_waits_under_a_former_name_is_the_new_ones(shelf: Shelf) -> None:
    shelf.place([offer(1)], 10)
    shelf.rename("app-ng", "app-ke")

    assert fetched(shelf) == []
    assert shelf.fetch("app-ke", "ada", HOUR, 10) == [b'{"id":"c1"}']


def test_two_processes_see_one_shelf(tmp_path: Path, shelf: Shelf) -> None:
    other = open_shelf(tmp_path / "relay.sqlite")
    try:
        shelf.place([offer(1)], 10)

        assert fetched(other) == ['{"id":"c1"}']
        assert not shelf.recall("app-ng", 1)
    finally:
        other.close()
