"""Money: an exact amount with its currency, never a float and never without a currency."""

from decimal import Decimal

from msgspec import Struct

ZERO_DECIMAL = frozenset("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split())
"""Currencies without a minor unit in ISO 4217: their amounts are whole numbers."""


class Money(Struct, frozen=True, array_like=True, gc=False):
    """An amount in major units (12.50, not 1250) of an ISO 4217 currency, upper case."""

    amount: Decimal
    currency: str

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"


def plain(amount: Decimal) -> str:
    """The amount in digits: no exponent, no thousands separator, no trailing zeros."""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
