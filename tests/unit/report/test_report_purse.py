"""A currency that somebody asks for becomes part of a query: nothing else may come there."""

import pytest

from lendsignal.errors import InputError
from lendsignal.report.earnings import Purse


@pytest.mark.parametrize(
    "told", ["", "usd", "US", "USDT", "USD\n", "ÜSD", "USD'", "' UNION SELECT CONTENT FROM READ_TEXT('X') --"]
)
def test_money_is_told_in_three_capital_letters_or_not_at_all(told: str) -> None:
    with pytest.raises(InputError, match="three letters") as refused:
        Purse(currency=told)

    assert refused.value.field == "currency"


def test_a_currency_and_none_are_taken() -> None:
    assert Purse(currency="NGN").currency == "NGN"
    assert Purse().currency is None
