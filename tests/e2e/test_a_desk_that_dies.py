"""A desk of a cluster is killed in the middle of traffic, and another one goes on."""

import json
from pathlib import Path

import pytest
from tests.desked import House, house_at, leader, leading
from tests.noded import Node
from tests.running import BackEnd, borrowing, until

from lendsignal.clock import SystemClock
from lendsignal.log import DataFolder
from lendsignal.log.copied import copy_standing
from lendsignal.replay.comparing import DIGITS, differences


def test_where_a_desk_dies_another_goes_on_with_pulls_and_an_archive_of_its_own(tmp_path: Path) -> None:
    """`kill -9` in the middle of traffic: each archive has every event once, and the pull reads on."""
    with house_at(tmp_path) as house:
        until(lambda: leader(house), "the first desk leads")
        BackEnd(house.works).send(borrowing(79))
        assert_another_goes_on(house)
        assert_both_tell_the_same(house)


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


def assert_both_tell_the_same(house: House) -> None:
    """The one that died comes back: two copies of one store, equal row by row, and by either engine."""
    house.first.start().ready()
    house.works.idle()
    since = SystemClock().now_us()
    until(lambda: whole_us(house.first) > since, "the copy that was away is whole")
    until(lambda: whole_us(house.second) > since, "the other copy is whole")

    found = differences(folder_of(house.first), folder_of(house.second))
    assert {name: one for name, one in found.items() if not one.is_none} == {}
    assert found["events"].rows > 20
    assert found["outcomes"].rows > 20
    pytest.importorskip("chdb")
    for name in ("funnel", "delivery", "bindings"):
        by_duckdb = house.first.verb("report", name, "--json")
        by_clickhouse = house.second.verb("report", "--engine", "clickhouse", name, "--json")
        assert figures(by_clickhouse) == figures(by_duckdb), name


def figures(told: str) -> object:
    """A report in JSON: of fractions the last digits depend on the order in which they are added."""
    return json.loads(told, parse_float=lambda text: f"{float(text):.{DIGITS}g}")


def folder_of(desk: Node) -> DataFolder:
    return DataFolder(desk.folder / "data")


def whole_us(desk: Node) -> int:
    """The moment up to which the copy of a desk was all of the store."""
    found = copy_standing(folder_of(desk))
    return 0 if found is None else found.whole_us
