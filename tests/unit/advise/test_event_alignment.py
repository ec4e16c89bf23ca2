"""How well what can be foreseen of an event points at profit."""

from typing import Any

import numpy as np
import pytest

from lendsignal.advise.alignment import LEAST, alignment

COUNT = 40_000


def made(seed: int, leaning: float, noise: float = 3.0) -> tuple[Any, Any, Any]:
    """Features, two signals and profit: the first signal's predictable part has the correlation `leaning`
    with profit's, the second is profit's own; the same luck moves both signals and profit."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((COUNT, 6))
    toward, aside = np.linalg.qr(rng.standard_normal((6, 2)))[0].T
    luck = rng.standard_normal(COUNT)
    mine = x @ (leaning * toward + np.sqrt(1 - leaning**2) * aside)
    signals = np.column_stack([mine + luck * noise, x @ toward + luck * noise])
    return x, signals, x @ toward + luck * noise


@pytest.mark.parametrize("leaning", [-0.6, 0.0, 0.7])
def test_the_alignment_of_predictable_parts_is_found_under_shared_luck(leaning: float) -> None:
    found = alignment(*made(1, leaning), np.random.default_rng(2))

    # The luck that both share makes the plain correlation 0.9 + leaning/10, whatever can be foreseen.
    assert found.plain[0] == pytest.approx(0.9 + leaning / 10, abs=0.02)
    assert found.split_half[0] == pytest.approx(leaning, abs=0.1)
    assert found.split_half[1] == pytest.approx(1, abs=1e-9)


def test_the_part_of_a_signal_that_can_be_foreseen_is_its_r_squared() -> None:
    found = alignment(*made(1, 0.7), np.random.default_rng(2))

    assert found.explained == pytest.approx([0.1, 0.1], abs=0.01)
    assert found.spread == pytest.approx(1, abs=0.05)


def test_it_is_the_mean_over_all_pairs_of_parts() -> None:
    x, signals, profit = (each[:400] for each in made(3, 0.7, noise=1.0))
    found = alignment(x, signals, profit, np.random.default_rng(4), draws=1)

    # The slow version, part by part; parts are drawn first of all, so that the same generator cuts them.
    order = np.array_split(np.random.default_rng(4).permutation(400), 80)
    y = np.column_stack([signals, profit])
    x, y = x - x.mean(axis=0), (y - y.mean(axis=0)) / y.std(axis=0)
    shared = x.T @ x / 400
    inverse = np.linalg.inv(shared + np.eye(6) * np.trace(shared) / 6 / 20)
    weights = [80 * inverse @ x[part].T @ y[part] / 400 for part in order]
    pairs = [weights[i].T @ shared @ weights[j] for i in range(80) for j in range(80) if i != j]
    crossed = np.mean(pairs, axis=0)
    slow = crossed[0, 2] / np.sqrt(crossed[0, 0] * crossed[2, 2])

    assert slow == pytest.approx(np.clip(slow, -1.5, 1.5))
    assert found.explained == pytest.approx(np.maximum(np.diag(crossed)[:2], 0))
    assert found.rho_draws.shape == (1, 2)


def test_a_little_data_leans_on_the_guess_and_much_on_what_is_seen() -> None:
    x, signals, profit = made(5, 0.2, noise=6.0)
    little = alignment(x[:1_000], signals[:1_000], profit[:1_000], np.random.default_rng(6))
    much = alignment(x, signals, profit, np.random.default_rng(6))

    assert little.weight[0] < 0.5 < much.weight[0]
    assert abs(much.rho[0] - 0.2) < abs(little.rho[0] - 0.2)
    assert little.rho_draws.std(axis=0)[0] > much.rho_draws.std(axis=0)[0]


def test_without_anything_to_foresee_only_the_guess_is_left() -> None:
    rng = np.random.default_rng(7)
    luck = rng.standard_normal(LEAST * 4)
    found = alignment(rng.standard_normal((LEAST * 4, 3)), luck[:, None], luck, rng)

    assert found.weight[0] < 0.2 or np.isnan(found.split_half[0])
    assert found.rho[0] == pytest.approx(0.95, abs=0.2)


def test_the_order_of_signals_and_the_unit_of_profit_change_nothing() -> None:
    x, signals, profit = made(8, 0.4)
    one = alignment(x, signals, profit, np.random.default_rng(9))
    other = alignment(x, signals[:, ::-1] * 7, profit * 1_000, np.random.default_rng(9))

    assert other.split_half == pytest.approx(one.split_half[::-1])
    assert other.explained == pytest.approx(one.explained[::-1])
    assert other.spread == pytest.approx(1_000 * one.spread)
