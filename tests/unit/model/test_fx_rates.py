"""Rates by date: what is told is used on its days, and nothing else is."""

from datetime import date, timedelta
from decimal import Decimal

from lendsignal.model.rates import Rate, Rates


def rate(day: int, value: str, base: str = "USD", quote: str = "NGN") -> Rate:
    return Rate(day=date(2026, 11, day), base=base, quote=quote, rate=Decimal(value))


def on(rates: Rates, day: int, base: str = "USD", quote: str = "NGN") -> Decimal | None:
    return rates.at(date(2026, 11, day), base, quote)


def test_a_rate_holds_from_its_day_to_the_next() -> None:
    rates = Rates([rate(10, "1500"), rate(3, "1450")])

    assert [on(rates, day) for day in (2, 3, 9, 10, 11)] == [
        None,
        Decimal(1450),
        Decimal(1450),
        Decimal(1500),
        Decimal(1500),
    ]


def test_an_old_rate_is_not_stretched() -> None:
    rates = Rates([rate(3, "1450")], good_for=timedelta(days=7))

    assert on(rates, 10) == Decimal(1450)
    assert on(rates, 11) is None


def test_a_pair_the_other_way_round_is_inverted_and_the_younger_one_holds() -> None:
    rates = Rates([rate(3, "1600"), rate(5, "0.0005", "NGN", "USD")])

    assert on(rates, 3, "NGN", "USD") == 1 / Decimal(1600)
    assert on(rates, 5) == 2000
    assert on(rates, 5, "NGN", "USD") == Decimal("0.0005")


def test_nothing_is_crossed_over_a_third_currency() -> None:
    rates = Rates([rate(3, "1450"), rate(3, "129", "USD", "KES")])

    assert on(rates, 3, "NGN", "KES") is None


def test_a_currency_is_worth_itself() -> None:
    assert on(Rates(), 1, "NGN", "NGN") == 1


def test_an_amount_is_converted_exactly() -> None:
    rates = Rates([rate(3, "1450.25")])

    assert rates.converted(Decimal("0.10"), date(2026, 11, 3), "USD", "NGN") == Decimal("145.025")
    assert rates.converted(Decimal(1), date(2026, 11, 1), "USD", "NGN") is None
