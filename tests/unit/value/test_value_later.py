"""What later loans bring, by the predicted value and the first loans that are settled."""

from typing import Any

import numpy as np
import pytest

from lendsignal.value.later import LEAST, later_loans
from lendsignal.value.users import DAY_US, Loans, Users


def users(count: int, first: Any, **changes: Any) -> Users:
    """Users a day apart, each with a first loan that leaves `first`, and a second one that leaves 7."""
    who = np.repeat(np.arange(count), 2)
    results = np.column_stack([np.broadcast_to(first, count), np.full(count, 7.0)]).ravel()
    columns: dict[str, Any] = {
        "user": who,
        "number": np.tile([0, 1], count),
        "opened": np.tile([0.0, 20.0], count),
        "due": np.tile([14.0, 34.0], count),
        "term": np.full(2 * count, 14.0),
        "amount": np.full(2 * count, 100.0),
        "fee": np.full(2 * count, 15.0),
        "lost": np.zeros(2 * count),
        "result": results,
        "ended": np.full(2 * count, np.inf),
    }
    return Users(
        at_us=changes.get("at_us", np.arange(count) * DAY_US // 10),
        followed=np.full(count, 90.0),
        numbers={},
        words={},
        loans=Loans(**columns),
    )


def test_later_loans_bring_what_is_predicted_beyond_the_first_loan() -> None:
    first = np.where(np.arange(400) % 4 == 0, -90.0, 15.0)
    found = later_loans(first + 40.0, users(400, first), 90.0)

    assert found is not None
    assert found.mean == pytest.approx(40)
    assert found.users == 400
    assert found.se == pytest.approx(0, abs=1e-9)


def test_first_loans_that_are_not_settled_say_nothing() -> None:
    first = np.where(np.arange(500) < 300, 15.0, np.nan)
    found = later_loans(np.full(500, 25.0), users(500, first), 90.0)

    assert found is not None
    assert found.mean == pytest.approx(10)
    assert found.users == 300


def test_users_of_long_ago_say_nothing_of_today() -> None:
    # A hundred users of a year before, whose first loan left 1,000.
    at_us = np.concatenate([np.zeros(100, dtype=np.int64), 365 * DAY_US + np.arange(300)])
    first = np.concatenate([np.full(100, 1_000.0), np.full(300, 15.0)])
    found = later_loans(np.full(400, 20.0), users(400, first, at_us=at_us), 90.0)

    assert found is not None
    assert found.mean == pytest.approx(5)
    assert found.users == 300


def test_too_few_first_loans_say_nothing() -> None:
    assert later_loans(np.full(LEAST - 1, 20.0), users(LEAST - 1, 15.0), 90.0) is None
    assert later_loans(np.full(300, 20.0), users(300, np.nan), 90.0) is None
