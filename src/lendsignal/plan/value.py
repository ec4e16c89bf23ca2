"""What a conversion is worth at a destination: the route's rule, worked out in exact numbers."""

from collections.abc import Sequence
from datetime import date
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal

from lendsignal.model import ZERO_DECIMAL, Conversion, Money
from lendsignal.model.rates import Rates
from lendsignal.plan.settings import ValueBasis, ValueRule, ValueSettings

CENT, UNIT, MILL = Decimal("0.01"), Decimal(1), Decimal("0.001")

THREE_DECIMAL = frozenset("BHD IQD JOD KWD LYD OMR TND".split())
"""Currencies of ISO 4217 whose minor unit is a thousandth."""


def value_of(
    rule: ValueRule, conversion: Conversion, app_currency: str | None, rates: Rates, day: date | None = None
) -> Money | None:
    """What the rule says the conversion is worth; `None` where there is nothing to say, or no gain.

    Fixed amounts, floor, cap, bins and `otherwise` are in the currency that is sent: the rule's own, else
    the app's for a fixed amount and the event's for anything else. `day` is the UTC day whose rate counts,
    by default the conversion's. Values in currencies without a minor unit are whole numbers.
    """
    if isinstance(rule, ValueSettings):
        return _worked(rule, conversion, app_currency, rates, day)
    if isinstance(rule, int | float):
        return Money(_exact(rule), app_currency) if app_currency else None
    money = _basis(rule, conversion, 0.0, 0.0)
    return _rounded(money) if money is not None and money.amount > 0 else None


def _worked(
    rule: ValueSettings, conversion: Conversion, app_currency: str | None, rates: Rates, day: date | None
) -> Money | None:
    if isinstance(rule.of, int | float):
        currency = rule.currency or app_currency
        money = Money(_exact(rule.of), currency) if currency else None
    else:
        money = _basis(rule.of, conversion, rule.loss_rate, rule.cost)
    if money is not None and rule.haircut and money.amount > 0:
        money = Money(money.amount * (1 - _exact(rule.haircut)), money.currency)
    if money is not None and rule.currency is not None:
        on = day or conversion.occurred_at.date()
        amount = rates.converted(money.amount, on, money.currency, rule.currency)
        money = None if amount is None else Money(amount, rule.currency)
    if money is None:
        currency = rule.currency or app_currency
        if rule.otherwise is None or currency is None:
            return None
        return _rounded(Money(_exact(rule.otherwise), currency))
    amount = money.amount
    if amount <= 0:
        match rule.negative:
            case "plain":
                return None
            case "zero":
                return Money(Decimal(0), money.currency)
            case "send":
                return _rounded(money)
    amount = _binned(_within(amount, rule), rule.bins)
    found = _rounded(Money(amount, money.currency))
    return found if found.amount > 0 or rule.negative != "plain" else None


def _basis(of: ValueBasis, conversion: Conversion, loss_rate: float, cost: float) -> Money | None:
    origin = conversion.origin
    match of:
        case "principal":
            return origin.amount
        case "fee":
            return origin.fee
        case "predicted":
            # What a model says is of a new user; of another of the person's users it was told before.
            return None if origin.valued and conversion.name == "repeat_loan" else origin.predicted
        case "predicted_low":
            return _cautious(conversion)
        case "own":
            return conversion.value
        case "margin":
            return _margin(origin.fee, origin.amount, loss_rate, cost)


def _cautious(conversion: Conversion) -> Money | None:
    """The cautious side of what the model in force says; `None` where it has none, or none speaks."""
    valued = conversion.origin.valued
    if valued is None or valued.low is None or conversion.name == "repeat_loan":
        return None
    return Money(_exact(valued.low), valued.currency)


def _margin(fee: Money | None, principal: Money | None, loss_rate: float, cost: float) -> Money | None:
    """fee − loss_rate × principal − cost. Where a loss counts, a loan without a principal says nothing."""
    if fee is None or (principal is None and loss_rate):
        return None
    lost = principal.amount * _exact(loss_rate) if principal is not None else Decimal(0)
    return Money(fee.amount - lost - _exact(cost), fee.currency)


def _within(amount: Decimal, rule: ValueSettings) -> Decimal:
    if rule.floor is not None:
        amount = max(amount, _exact(rule.floor))
    return amount if rule.cap is None else min(amount, _exact(rule.cap))


def _binned(amount: Decimal, bins: Sequence[float]) -> Decimal:
    """The largest bin that is reached; below the first one there is nothing."""
    if not bins:
        return amount
    reached = [_exact(one) for one in bins if _exact(one) <= amount]
    return max(reached, default=Decimal(0))


def _rounded(money: Money) -> Money:
    """To the currency's minor unit, half of it upwards."""
    if not money.amount % 1:
        return money
    step = UNIT if money.currency in ZERO_DECIMAL else MILL if money.currency in THREE_DECIMAL else CENT
    if money.amount == money.amount.quantize(step, rounding=ROUND_DOWN):
        return money
    return Money(money.amount.quantize(step, rounding=ROUND_HALF_UP), money.currency)


def _exact(number: float) -> Decimal:
    return Decimal(repr(number))
