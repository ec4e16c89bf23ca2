"""The file of orders: durable before the command returns, in order, and readable by who is not the sender."""

from contextlib import closing
from pathlib import Path

import apsw
import pytest

from lendsignal.errors import LogError
from lendsignal.log import Again, Cancel, Halt, LetGo, Order, open_orders

ALL: list[Order] = [
    Halt(("acme-ng", "acme-ke"), "campaign_review"),
    LetGo(("*",)),
    Cancel("acme-ng", (64, 130)),
    Again("acme-ng", "disbursement", "dead", "invalid_field", ((65, 0), (194, 3)), 12),
]


def test_every_order_is_read_as_it_was_given_and_in_that_order(tmp_path: Path) -> None:
    with closing(open_orders(tmp_path / "orders.sqlite")) as orders:
        assert orders.give(ALL[:3], "ada", 5) == [1, 2, 3]
        assert orders.give(ALL[3:], "ben", 6) == [4]

        assert orders.after(0, 10) == list(enumerate(ALL, 1))
        assert orders.after(0) == [(1, ALL[0])]
        assert orders.after(2, 1) == [(3, ALL[2])]
        assert orders.after(4) == []
        assert orders.last() == 4


def test_an_order_is_on_disk_when_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "orders.sqlite"
    with closing(open_orders(path)) as orders, closing(open_orders(path, read_only=True)) as other:
        assert other.last() == 0
        orders.give(ALL, "ada", 5)

        assert [order for _, order in other.after(0, 10)] == ALL


def test_who_ordered_and_when_stays(tmp_path: Path) -> None:
    path = tmp_path / "orders.sqlite"
    with closing(open_orders(path)) as orders:
        orders.give(ALL[:1], "ada", 1_773_133_200_000_000)

    with closing(apsw.Connection(str(path))) as stranger:
        found = stranger.execute("select who, at_us from orders").fetchall()
    assert found == [("ada", 1_773_133_200_000_000)]


def test_orders_are_given_all_or_none(tmp_path: Path) -> None:
    with closing(open_orders(tmp_path / "orders.sqlite")) as orders:
        with pytest.raises(TypeError):
            orders.give([ALL[0], object()], "ada", 5)  # type: ignore[list-item]

        assert orders.last() == 0


def test_two_may_give_orders_at_once(tmp_path: Path) -> None:
    path = tmp_path / "orders.sqlite"
    with closing(open_orders(path)) as one, closing(open_orders(path)) as two:
        assert (one.give(ALL[:1], "ada", 5), two.give(ALL[1:2], "ben", 6)) == ([1], [2])

        assert one.last() == two.last() == 2


def test_a_file_that_is_not_there_is_not_made_by_who_only_reads(tmp_path: Path) -> None:
    with pytest.raises(LogError):
        open_orders(tmp_path / "orders.sqlite", read_only=True)

    assert list(tmp_path.iterdir()) == []
