"""A desk of a cluster is killed in the middle of traffic, and another one goes on."""

from pathlib import Path

from tests.desked import House, house_at, leader, leading
from tests.running import BackEnd, borrowing, until


def test_where_a_desk_dies_another_goes_on_with_pulls_and_an_archive_of_its_own(tmp_path: Path) -> None:
    """`kill -9` in the middle of traffic: each archive has every event once, and the pull reads on."""
    with house_at(tmp_path) as house:
        until(lambda: leader(house), "the first desk leads")
        BackEnd(house.works).send(borrowing(79))
        assert_another_goes_on(house)


def assert_another_goes_on(house: House) -> None:
    """The first desk dies, and the second one has everything."""
    house.second.start()
    until(lambda: house.archived(house.second), "the other desk has an archive, too")
    was = leader(house)
    house.put("b.jsonl", *borrowing(80, prefix="before"))
    BackEnd(house.works).send([event for number in range(81, 85) for event in borrowing(number)])
    house.first.kill()
    house.expire()
    house.put("c.jsonl", *borrowing(85, prefix="behind"))
    BackEnd(house.works).send([event for number in range(86, 90) for event in borrowing(number)])

    wanted = {one["event_id"] for number in (*range(81, 85), *range(86, 90)) for one in borrowing(number)}
    wanted |= {one["event_id"] for one in borrowing(80, prefix="before")}
    wanted |= {one["event_id"] for one in borrowing(85, prefix="behind")}
    until(lambda: leader(house) not in ("", was), "the other desk leads")
    until(lambda: wanted <= set(house.archived(house.second)), "the other archive has everything")
    assert max(house.archived(house.second).values()) == 1
    until(lambda: leading(house) == house.owner(house.second), "its archive is said to lead")
