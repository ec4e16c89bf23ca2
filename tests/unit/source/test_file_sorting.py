"""Sorting beyond memory: the same order whether items fit or are spilt to temporary files."""

import pytest

from lendsignal.source.files.sorting import Sorted

ITEMS = [((n * 7 % 23, f"user-{n % 3}", n), f"body {n}".encode()) for n in range(100)]


@pytest.mark.parametrize("at_hand", [1, 7, 100, 1_000])
def test_items_come_in_the_order_of_their_keys_however_few_fit_in_memory(at_hand: int) -> None:
    with Sorted(at_hand) as found:
        for key, body in ITEMS:
            found.put(key, body)

        assert found.count == 100
        assert list(found) == sorted(ITEMS)
        assert list(found) == sorted(ITEMS)  # and once more: it can be read again


def test_nothing_put_is_nothing_read() -> None:
    with Sorted() as found:
        assert list(found) == []
