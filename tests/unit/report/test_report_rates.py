"""Intervals of shares. Expected ones are printed in R. G. Newcombe, "Two-sided confidence intervals for the
single proportion", Statistics in Medicine 17 (1998) 857–872, table I, method 3."""

import pytest

from lendsignal.report.rates import Rate, wilson


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_the_published_one(hits: int, n: int, low: float, high: float) -> None:
    found = wilson(hits, n)

    assert found == pytest.approx((low, high), abs=5e-5)


def test_a_share_of_nothing_is_no_share() -> None:
    rate = Rate(0, 0)

    assert (rate.value, rate.low, rate.high, rate.remark) == (None, None, None, "empty")


def test_a_share_of_few_is_called_thin() -> None:
    assert Rate(7, 29).remark == "thin"
    assert Rate(7, 30).remark == ""
