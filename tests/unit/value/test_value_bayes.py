"""The nested look-up: a cell of many users speaks for itself, one of few is drawn to the wider cell."""

from typing import Any

import numpy as np
import pytest

from lendsignal.value.bayes import Prior, looked_up, lookup
from lendsignal.value.users import DAY_US, Loans, Number, Part, Users, Word, buckets
from lendsignal.value.worth import SEPARATOR

NO_LOANS = Loans(
    **{
        name: np.array([], dtype=np.int64 if name in ("user", "number") else float)
        for name in Loans.__struct_fields__
    }
)


def users(**facts: Any) -> Users:
    """Users with these numbers and words, in the order given; `None` in a word: not known."""
    n = len(next(iter(facts.values())))
    at_us = np.arange(n, dtype=np.int64) * DAY_US
    numbers = {name: values for name, values in facts.items() if not isinstance(values[0], str | None)}
    words = {name: values for name, values in facts.items() if name not in numbers}
    return Users(
        at_us=at_us,
        followed=np.full(n, 90.0),
        numbers={name: Number(np.array(values, dtype=float), at_us) for name, values in numbers.items()},
        words={name: word(values, at_us) for name, values in words.items()},
        loans=NO_LOANS,
    )


def word(values: list[str | None], at_us: Any) -> Word:
    kinds = tuple(sorted({one for one in values if one is not None}))
    return Word(np.array([-1 if one is None else kinds.index(one) for one in values]), kinds, at_us)


def whole(values: list[float]) -> Part:
    return Part(np.ones(len(values), dtype=bool), np.array(values), 90.0)


def test_a_cell_is_drawn_to_the_wider_one_as_far_as_chance_explains_it() -> None:
    """Bühlmann and Straub's formulas by hand, on two channels of ten and twenty users."""
    channel = ["a"] * 10 + ["b"] * 20
    value = [8.0, 12.0] * 5 + [1.0, 3.0] * 10

    table = lookup(users(channel=channel), [whole(value)], ("channel",))

    # ȳ = 10 and 2 over a mean of 14/3; s² = (10·4 + 20·1)/28; Σ n (ȳ_g − μ)² = 10·(16/3)² + 20·(8/3)².
    mean, within = 14 / 3, 60 / 28
    between = (10 * (16 / 3) ** 2 + 20 * (8 / 3) ** 2 - within) / 30
    z = 10 / (10 + within / between)
    cell = table.cells[SEPARATOR + "a"]
    assert table.cells[""].mean == pytest.approx(mean)
    assert cell.mean == pytest.approx(mean + z * (10 - mean))
    assert cell.sd == pytest.approx((z * within / 10) ** 0.5)
    assert cell.n == 10


def test_cells_that_differ_by_chance_alone_all_say_what_the_wider_one_says() -> None:
    channel, value = ["a", "b"] * 50, [0.0, 0.0, 10.0, 10.0] * 25

    table = lookup(users(channel=channel), [whole(value)], ("channel",))

    assert {cell.mean for cell in table.cells.values()} == {5.0}


def test_cells_add_up_what_the_parts_say_and_the_wider_one_answers_where_a_part_has_nobody() -> None:
    channel = ["a"] * 20 + ["b"] * 20
    early = whole([4.0] * 20 + [2.0] * 20)
    old_users = np.array([True] * 20 + [False] * 20)
    late = Part(old_users, np.full(20, 7.0), 90.0)

    table = lookup(users(channel=channel), [early, late], ("channel",))

    # Of b nobody is old enough for the late part: all say 7 of it.
    assert table.cells[SEPARATOR + "a"].mean == pytest.approx(11.0)
    assert table.cells[SEPARATOR + "b"].mean == pytest.approx(9.0)


def test_a_campaign_is_told_as_three_tenths_more_than_its_channel_at_most() -> None:
    channel, campaign = ["meta"] * 4_000, ["cold"] * 2_000 + ["hot"] * 2_000
    value = [0.0, 2.0] * 1_000 + [18.0, 20.0] * 1_000

    table = lookup(users(channel=channel, campaign=campaign), [whole(value)], ("channel", "campaign"))

    of = {path.split(SEPARATOR)[-1]: cell.mean for path, cell in table.cells.items()}
    assert [of["cold"], of["meta"], of["hot"]] == pytest.approx([7.0, 10.0, 13.0])


def test_the_table_says_of_many_what_it_says_of_each() -> None:
    chance = np.random.default_rng(5)
    score = chance.normal(600, 50, 2_000)
    score[::7] = np.nan
    term = chance.choice([14.0, 30.0], 2_000)
    channel = chance.choice(["meta", "google", ""], 2_000).tolist()
    some = users(**{"score v1": score, "term_days": term, "channel": [one or None for one in channel]})
    table = lookup(some, [whole((np.nan_to_num(score, nan=500.0) + term).tolist())])

    said = looked_up(table, some)

    assert table.levels == ("score", "term_days", "channel")
    assert said.tolist() == [table.cell(some.facts(place)).mean for place in range(len(some))]


def test_the_order_of_users_changes_nothing() -> None:
    chance = np.random.default_rng(6)
    score, value = chance.normal(600, 50, 500), chance.normal(5, 9, 500)
    order = chance.permutation(500)

    one = lookup(users(**{"score v1": score}), [whole(value.tolist())])
    other = lookup(users(**{"score v1": score[order]}), [whole(value[order].tolist())])

    assert one.edges == other.edges
    assert one.cells.keys() == other.cells.keys()
    assert [cell.mean for cell in one.cells.values()] == pytest.approx(
        [other.cells[path].mean for path in one.cells]
    )


def test_before_there_is_history_finance_speaks_for_as_many_users_as_it_is_given() -> None:
    one = users(channel=["a"] * 100)

    table = lookup(one, [whole([30.0] * 100)], ("channel",), Prior(6.0, 500.0))

    assert table.cells[""].mean == pytest.approx((100 * 30 + 500 * 6) / 600)
    nobody = lookup(one, [Part(np.zeros(100, dtype=bool), np.array([]), 90.0)], ("channel",), Prior(6.0))
    assert nobody.cells[""].mean == 6.0


def test_every_young_user_tells_of_the_early_spans_and_of_no_later_one() -> None:
    at_us = np.array([0, 0], dtype=np.int64)
    loans = Loans(
        user=np.array([0, 0, 1]),
        number=np.array([0, 1, 0]),
        opened=np.array([0.0, 20.0, 0.0]),
        due=np.array([14.0, 34.0, 14.0]),
        term=np.full(3, 14.0),
        amount=np.full(3, 100.0),
        fee=np.full(3, 15.0),
        lost=np.array([0.0, 90.0, 0.0]),
        result=np.array([15.0, -90.0, 14.0]),
        ended=np.array([13.0, np.inf, 12.0]),
    )
    some = Users(at_us=at_us, followed=np.array([60.0, 25.0]), numbers={}, words={}, loans=loans)

    early, late, last = buckets(some, (20.0, 40.0, 90.0))

    assert (early.users.tolist(), early.value.tolist()) == ([True, True], [15.0, 14.0])
    assert (late.users.tolist(), late.value.tolist()) == ([True, False], [-90.0])
    assert last.users.tolist() == [False, False]
