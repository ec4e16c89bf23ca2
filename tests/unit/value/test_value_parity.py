"""Groups of users side by side: what was said, what came, who is told of."""

import numpy as np
import pytest
from tests.unit.value.test_value_later import users

from lendsignal.value.parity import OTHERS, UNKNOWN, groups_of, parity
from lendsignal.value.users import Number, Users, Word, words_of


def word(*parts: tuple[str | None, int]) -> Word:
    values = [name for name, count in parts for _ in range(count)]
    return words_of(values, np.zeros(len(values), dtype=np.int64))


def test_each_group_has_what_was_said_of_it_what_came_and_how_many_of_it_are_told_of() -> None:
    group = word(("f", 200), ("m", 400))
    # Of the women half are told of, of the men three in four.
    said = np.concatenate([np.tile([10.0, -2.0], 100), np.tile([8.0, 8.0, 8.0, -4.0], 100)])
    came = np.concatenate([np.tile([30.0, -10.0], 100), np.tile([8.0, 6.0, 6.0, 0.0], 100)])
    men, women = parity(said, came, group)

    assert (men.name, men.users, women.name, women.users) == ("m", 400, "f", 200)
    assert [men.said, men.came] == pytest.approx([5, 5])
    assert [women.said, women.came, women.se] == pytest.approx([4, 10, 20 / 200**0.5])
    assert [men.told, women.told, women.ratio] == pytest.approx([0.75, 0.5, 2 / 3])
    # Six less than came, of a standard error of 1.41.
    assert women.off == pytest.approx(-6 / (20 / 200**0.5))
    assert women.remark == "told of less than four fifths as often, worth more than is said"
    assert men.remark == ""


def test_small_groups_stand_together_and_whose_value_is_not_known_yet_is_left_out() -> None:
    group = word(("a", 150), ("b", 60), ("c", 50), (None, 120))
    came = np.full(380, 3.0)
    came[:20] = np.nan
    found = parity(np.ones(380), came, group)

    assert {one.name: one.users for one in found} == {"a": 130, UNKNOWN: 120, OTHERS: 110}


def test_a_single_group_is_held_against_nothing() -> None:
    assert parity(np.ones(150), np.ones(150), word(("a", 150))) == ()
    assert parity(np.ones(150), np.full(150, np.nan), word(("a", 75), ("b", 75))) == ()


def test_a_number_is_cut_into_quarters_of_the_users() -> None:
    one = users(101, 15.0)
    known = np.zeros(101, dtype=np.int64)
    age = np.arange(101.0)
    age[100] = np.nan
    told = Users(
        at_us=one.at_us,
        followed=one.followed,
        numbers={"age": Number(age, known)},
        words={"os": word(("android", 101))},
        loans=one.loans,
    )
    found = groups_of(told, "age")

    assert found is not None
    assert found.kinds == ("to 24.75", "24.75 to 49.5", "49.5 to 74.25", "74.25 to")
    assert np.bincount(found.places[:100]).tolist() == [25, 25, 25, 25]
    assert found.places[100] == -1
    os = groups_of(told, "os")
    assert os is not None
    assert os.kinds == ("android",)
    assert groups_of(told, "gender") is None
