"""How predictions of value are judged: by rank, by sum, by tenths, by drift."""

import numpy as np
import pytest

from lendsignal.value.judging import campaign_weeks, deciles, judged, normalised_gini, psi, psi_limit
from lendsignal.value.users import DAY_US, Word


def slow_gini(said: list[float], came: list[float]) -> float:
    """By the definition, user by user; what was said differs between all of them."""

    def area(order: list[int]) -> float:
        total, reached, found = sum(came), 0.0, 0.0
        for rank, user in enumerate(order, 1):
            reached += came[user]
            found += rank / len(order) - reached / total
        return found

    users = range(len(came))
    return area(sorted(users, key=lambda user: said[user])) / area(sorted(users, key=lambda user: came[user]))


def test_gini_is_what_its_definition_says_with_losses_among_the_values() -> None:
    chance = np.random.default_rng(1)
    came = chance.normal(5, 40, 300)
    said = came + chance.normal(0, 60, 300)

    assert normalised_gini(said, came) == pytest.approx(slow_gini(said.tolist(), came.tolist()), abs=1e-12)
    assert normalised_gini(came, came) == pytest.approx(1.0)
    assert normalised_gini(-came, came) < -0.9


def test_users_of_whom_the_same_is_said_have_no_order_among_each_other() -> None:
    came = np.array([1.0, 9.0, 4.0, 2.0])

    assert normalised_gini(np.zeros(4), came) == pytest.approx(0.0)
    assert normalised_gini(np.array([0, 1, 1, 0]), came) == normalised_gini(
        np.array([0, 1, 1, 0]), came[[3, 2, 1, 0]]
    )


def test_gini_says_nothing_where_users_brought_nothing_in_all() -> None:
    assert np.isnan(normalised_gini(np.array([1.0, 2.0]), np.array([-3.0, 3.0])))


def test_a_judgement_is_what_a_pencil_says() -> None:
    said, came = np.arange(1.0, 21.0), np.arange(2.0, 42.0, 2.0)

    found = judged(said, came)

    assert found.bias == pytest.approx(-0.5)
    assert [found.gini, found.spearman] == pytest.approx([1.0, 1.0])
    # The best half brings 22 … 40, 31 on average, and all 21; the best fifth 34 … 40, 37.
    assert [found.top50, found.top20] == pytest.approx([31 / 21, 37 / 21])
    assert [(one.users, one.said, one.came) for one in deciles(said, came)][:2] == [
        (2, 1.5, 3.0),
        (2, 3.5, 7.0),
    ]
    # Each tenth is off by what was said of it: 10.5 on average.
    assert found.decile_error == pytest.approx(10.5 / 21)


def test_only_weeks_with_enough_users_of_a_campaign_are_told_of() -> None:
    at_us = np.array([0, 1, 2, 8, 9, 10, 11]) * DAY_US
    campaign = Word(np.array([0, 0, 1, 1, 1, 1, -1]), ("north", "south"), at_us)
    said, came = np.array([1.0, 2, 4, 8, 16, 32, 64]), np.array([1.0, 5, 4, 10, 10, 20, 64])

    weeks = campaign_weeks(said, came, at_us, campaign, least=2)

    assert [(one.campaign, one.week_us // DAY_US, one.users, one.said, one.came) for one in weeks] == [
        ("north", 0, 2, 3.0, 6.0),
        ("south", 7, 3, 56.0, 40.0),
    ]
    assert weeks[1].error == pytest.approx(0.4)


def test_drift_is_nothing_where_nothing_moved_and_above_its_limit_where_values_did() -> None:
    chance = np.random.default_rng(3)
    before, same, moved = chance.normal(size=4_000), chance.normal(size=2_000), chance.normal(0.6, 1, 2_000)

    assert psi(before, same) < psi_limit(4_000, 2_000) < psi(before, moved)
